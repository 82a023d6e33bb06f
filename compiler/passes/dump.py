"""What a pipeline does to a graph, for people: the text after a pass, and what the pass changed."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import unified_diff

from compiler.ir.graph import Graph
from compiler.ir.text import to_text


@dataclass(frozen=True)
class Stage:
    """A graph after one pass; ``before`` is the graph that the pass was given."""

    name: str
    before: Graph
    after: Graph
    seconds: float

    @property
    def text(self) -> str:
        """The graph in its text form, large constants left out."""
        return to_text(self.after, full=False)

    @property
    def changed(self) -> bool:
        """Whether the pass did anything."""
        return self.before is not self.after and to_text(self.before) != to_text(self.after)

    def diff(self) -> str:
        """What the pass changed, as a unified diff; empty where it changed nothing."""
        lines = unified_diff(
            to_text(self.before, full=False).splitlines(),
            self.text.splitlines(),
            f"{self.after.name} before {self.name}",
            f"{self.after.name} after {self.name}",
            lineterm="",
        )
        return "\n".join(lines)
