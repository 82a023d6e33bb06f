"""Several operations one after the other as one, of which more than the last one's result is kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from compiler.ir.graph import Value
from compiler.ops.chain import Step
from compiler.ops.emit import Emit
from compiler.ops.fused import FusedOp


@dataclass(frozen=True)
class Steps(FusedOp):
    """Operations with one result each. There are ``operands`` of the whole; ``results`` are the numbers of the steps
    whose results are its own."""

    operands: int
    steps: tuple[Step, ...]
    results: tuple[int, ...]

    @cached_property
    def _hash(self) -> int:
        return hash((type(self), self.operands, self.steps, self.results))

    def __hash__(self) -> int:
        # A network has many of these, equal ones as a rule.
        return self._hash

    def expand(self, b: Emit, *inputs: Value) -> tuple[Value, ...]:
        values = list(inputs)
        for step in self.steps:
            values.append(b.add(step.operation, *(values[index] for index in step.operands)))
        return tuple(values[self.operands + number] for number in self.results)
