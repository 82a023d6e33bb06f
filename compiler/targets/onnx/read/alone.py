"""The graph of a file by itself: what a network is written into where no model of the language calls it."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager

import numpy as np

from compiler.foreign import Content
from compiler.ir.graph import Origin, Role, Value
from compiler.ir.types import TensorType
from compiler.ops.base import Array
from compiler.ops.emit import Emit
from compiler.targets.onnx.read.tensors import Unsupported


class Alone:
    """A host that collects the weights; ``prefix`` goes before their names. It is a graph for inference."""

    training = False

    def __init__(self, name: str, prefix: str = "") -> None:
        self.b = Emit(name)
        self.weights: dict[str, Array] = {}
        self._name, self._prefix = name, prefix
        self._taken: Counter[str] = Counter()

    def is_frozen(self, name: str) -> bool:
        return False

    def at(self, place: str) -> AbstractContextManager[None]:
        return self.b.at(Origin(scope=f"{self._name}.{place}"))

    def declare(self, name: str, type: TensorType) -> Value:
        """An input for data."""
        return self.b.input(self._free(name), type, Role.DATA)

    def give(self, name: str, value: Value) -> None:
        """Let ``value`` be an output. Raises Unsupported where its name is taken, as it has to be that of the file."""
        if self._taken[name]:
            raise Unsupported("its name is that of an input, a weight or another output too")
        self._taken[name] += 1
        self.b.output(name, value)

    def weight(self, name: str, type: TensorType, read: Content, *, decays: bool, trainable: bool) -> Value:
        name = self._free(f"{self._prefix}{name}")
        self.weights[name] = np.ascontiguousarray(read())
        return self.b.input(name, type, Role.WEIGHT)

    def update(self, name: str, value: Value, result: Value) -> None:
        raise AssertionError("nothing trains here")

    def _free(self, wanted: str) -> str:
        """A name for an input or an output of the graph that none has yet."""
        self._taken[wanted] += 1
        return wanted if self._taken[wanted] == 1 else self._free(f"{wanted}_{self._taken[wanted]}")
