"""A pass: one named step from graph to graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from compiler.ir.graph import Graph

# Told of each pass: its name, the graph before and after it, and how many seconds it took.
Observer: TypeAlias = Callable[[str, Graph, Graph, float], None]


@dataclass(frozen=True)
class Pass(ABC):
    """Subclass, make it a frozen dataclass whose fields are the options, and name it."""

    name: ClassVar[str]
    # The passes that must have run before this one in the same pipeline.
    after: ClassVar[tuple[str, ...]] = ()
    # The passes that would be wrong after this one.
    never_followed_by: ClassVar[tuple[str, ...]] = ()
    # Whether the graph keeps exactly the inputs and outputs that it had.
    keeps_signature: ClassVar[bool] = True
    # Whether the results stay the same but for rounding.
    exact: ClassVar[bool] = True

    @abstractmethod
    def apply(self, graph: Graph) -> Graph:
        """The graph after this step; ``graph`` itself where there is nothing to do."""

    def exact_part(self) -> Pass | None:
        """What the checking mode compares: of a pass that changes results on purpose, the part that does not."""
        return self if self.exact else None
