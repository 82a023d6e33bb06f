"""One weight at one step, as optimizers see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType
from compiler.ops.emit import Emit

SCALAR = TensorType(DType.F64)


@dataclass(frozen=True)
class Turn:
    """One weight at one step: its content, its gradient, the contents of its slots, and what all weights share.

    ``time`` (f64 scalar) counts the updates from 1, this one included; ``rate`` is the learning rate, a number or where
    it has a schedule an f64 scalar; ``decays`` tells whether weight decay takes the weight in.
    """

    b: Emit
    weight: Value
    gradient: Value
    slots: Mapping[str, Value]
    time: Value
    rate: Value | float
    decays: bool

    def scaled(self, x: Value, factor: float | Value = 1.0) -> Value:
        """``rate · factor · x``."""
        b, rate = self.b, self.rate
        if isinstance(factor, Value):
            return b.mul(x, b.cast(b.mul(factor, rate), x.type.dtype))
        if isinstance(rate, Value):
            return b.mul(x, b.cast(rate if factor == 1.0 else b.mul(rate, factor), x.type.dtype))
        return b.mul(x, rate * factor)

    def shrunk(self, decay: float) -> Value:
        """The weight after weight decay that is decoupled from the gradient: times ``1 - rate · decay``."""
        if not decay or not self.decays:
            return self.weight
        if isinstance(self.rate, Value):
            return self.b.sub(self.weight, self.scaled(self.weight, decay))
        return self.b.mul(self.weight, 1.0 - self.rate * decay)

    def penalised(self, decay: float) -> Value:
        """The gradient after weight decay as a penalty: plus ``decay · weight``."""
        if not decay or not self.decays:
            return self.gradient
        return self.b.add(self.gradient, self.b.mul(self.weight, decay))


class UpdateRule(Protocol):
    """An optimizer: what it keeps for each weight, and one step of it."""

    @property
    def name(self) -> str: ...

    @property
    def lr(self) -> Any:
        """The learning rate: a number, or a schedule, which is not for the graph to know."""

    def slots(self, weight: TensorType) -> Mapping[str, tuple[TensorType, float]]:
        """The names of the tensors kept for a weight, their types, and what fills them at first."""

    def update(self, turn: Turn) -> tuple[Value, Mapping[str, Value]]:
        """The next content of the weight and of its slots."""
