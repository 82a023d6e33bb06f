"""What the front end and the readers of other formats have between them: a network from elsewhere, called as a model.

The front end calls a :class:`Network` and is the :class:`Host` of what that writes; a target reads the file. Neither
imports the other: ``compiler`` hands the :data:`Reader` to the front end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy.typing as npt

from compiler.ir.graph import Value
from compiler.ir.types import TensorType
from compiler.ops.emit import Emit

Content: TypeAlias = Callable[[], npt.NDArray[Any]]
# What a file holds, in pieces that lie one behind the other.
Parts: TypeAlias = Sequence[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output of a network; its sizes are symbols of the file, None where the file does not tell."""

    name: str
    type: TensorType | None

    def __str__(self) -> str:
        return self.name if self.type is None else f"{self.name}: {self.type}"


class CutError(Exception):
    """A network can't be cut where ``parameter`` says; the message is the title of the report."""

    def __init__(self, parameter: Literal["until", "from"], title: str, detail: str = "", help: str = "") -> None:
        super().__init__(title)
        self.parameter, self.title, self.detail, self.help = parameter, title, detail, help


class Host(Protocol):
    """The graph that a network is written into. Names of weights and places are those of the network alone: the host
    knows what it is called."""

    @property
    def b(self) -> Emit: ...

    @property
    def training(self) -> bool:
        """Whether batch norms take the statistics of the batch and are followed by the running ones."""

    def is_frozen(self, name: str) -> bool:
        """Whether the weight of that name is in a part that is not trained."""

    def at(self, place: str) -> AbstractContextManager[None]:
        """Stamp the place on what is added inside."""

    def weight(self, name: str, type: TensorType, read: Content, *, decays: bool, trainable: bool) -> Value:
        """The weight of that name, which begins as ``read`` gives it. One that is not ``trainable`` is as the updates
        before left it."""

    def update(self, name: str, value: Value, result: Value) -> None:
        """Let ``value`` be the content of a statistic after a training step that uses ``result``."""


class Section(Protocol):
    """A network, or what is left of it between two cuts."""

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What has to be given: first what stands for the tensors that it starts from, then inputs of the file."""

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def dropped(self) -> Mapping[str, TensorType]:
        """The weights of the file that it does not need."""

    def write(self, host: Host, arguments: Sequence[Value]) -> tuple[Value, ...]:
        """Write it into the graph of ``host``; a value for each output. Raises DiagnosticError (E0922) for what can't
        be brought into a graph."""


class Network(Protocol):
    """A file with a network: what a model of the language is made of."""

    @property
    def inputs(self) -> tuple[Port, ...]: ...

    @property
    def outputs(self) -> tuple[Port, ...]: ...

    @property
    def metadata(self) -> Mapping[str, str]: ...

    def files(self, name: str) -> Mapping[str, Parts]:
        """The files by which the network can be had again as ``name``, by their names in one folder, in the order in
        which they are to be written: one, or the data and then the model where they are too large for one."""

    def section(self, until: Sequence[str] = (), start: Sequence[str] = ()) -> Section:
        """The part of the network up to the tensors, nodes or parts ``until``, and behind ``start``; without them from
        its inputs to its outputs. Raises CutError."""


# Reads the network in a file; raises DiagnosticError.
Reader: TypeAlias = Callable[[Path], Network]
