"""One step of an optimizer on one weight, as one operation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from compiler.ir.types import DType, TensorType
from compiler.ops.arrays import row_major
from compiler.ops.base import NumpyLowering, Op, Sample, operation, without
from compiler.ops.chain import Step
from compiler.ops.effort import ELEMENT
from compiler.ops.elementwise import Add, Binary, Divide, Multiply, Subtract
from compiler.ops.fused import StepLowering
from compiler.ops.steps import Steps
from compiler.ops.unary import Sqrt, Square, Unary

# Weights of more elements than this are worked on in parts of so many, 128 KiB of f32: what one statement writes is in
# the cache when the next one reads it.
BLOCK = 1 << 15


def _ranges(size: int, count: int) -> list[tuple[int, int]]:
    """Where the elements that one call updates begin and end."""
    return list(pairwise(size * number // count for number in range(count + 1)))


def can_be_step(operation: Op) -> bool:
    """Whether an operation is one call of NumPy, which takes nothing but its operands and where the result goes."""
    return type(operation).numpy in (Binary.numpy, Unary.numpy)


@operation
@dataclass(frozen=True)
class WeightStep(Steps):
    """Elementwise operations on a weight, its gradient and the optimizer's slots, all of one type, and on scalars.

    The results are the next contents. In a program all weights that are treated alike share one function, which updates
    them where they are.
    """

    opcode = "weight_step"
    onnx = without("the steps of an optimizer are not written for ONNX")

    __hash__ = Steps.__hash__

    def overwritable(self, result: int) -> tuple[int, ...]:
        return self.free_at(self.results[result])

    def free_at(self, number: int) -> tuple[int, ...]:
        """The operands that a step may write over, as it does so element by element and nothing needs them later."""
        step, later = self.steps[number], self.steps[number + 1 :]
        needed = {value for other in later for value in other.operands}
        needed |= {value for place, value in enumerate(step.operands) if place not in step.operation.inplace}
        return tuple(value for value in range(self.operands) if value not in needed)

    def numpy(self, c: NumpyLowering) -> None:
        type = c.output_types[0]
        body = UpdateBody(self, c.input_types, type)
        name = body.function(c)
        scalars = [c.inputs[index] for index in body.scalars]
        size = type.size
        assert isinstance(size, int), "weights have fixed sizes"
        if size <= BLOCK:
            work = [c.scratch(type) for _ in range(body.work)]
            arrays = [c.inputs[index] for index in body.arrays]
            c.line(f"{name}({', '.join([*arrays, *c.outputs, *work, *scalars])})")
            return
        flat = [c.view(row_major(c, index), "reshape(-1)") for index in body.arrays]
        flat += [c.view(array, "reshape(-1)") for array in c.outputs]
        over = c.function("update_all", body.loop(name))
        calls, effort = [], size * len(self.steps) * ELEMENT
        for start, stop in _ranges(size, c.parts(effort)):
            work = [c.scratch(type.with_shape((BLOCK,))) for _ in range(body.work)]
            calls.append(f"{over}({start}, {stop}, {', '.join([*flat, *work, *scalars])})")
        if len(calls) == 1:
            c.line(*calls)
        else:
            c.together(calls, effort)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return tuple(_samples(cls))


class UpdateBody:
    """The statements of all steps, into the results and as few work arrays as it takes. The function takes the
    ``arrays`` among the operands, the results, the work arrays, of which there are ``work``, and the ``scalars``."""

    def __init__(self, step: WeightStep, operands: Sequence[TensorType], type: TensorType) -> None:
        self._step, self._operands, self._type = step, operands, type
        self.arrays = [index for index, operand in enumerate(operands) if operand.shape]
        self.scalars = [index for index, operand in enumerate(operands) if not operand.shape]
        self.work = 0
        self._free: list[str] = []

    def function(self, c: NumpyLowering) -> str:
        """The name of the function."""
        step = self._step
        names = self._names()
        results = {number: f"next_{index + 1}" for index, number in enumerate(step.results)}
        targets = {self._first_written(number): name for number, name in results.items()} | results
        last_use = {value: position for position, each in enumerate(step.steps) for value in each.operands}
        lines: list[str] = []
        for position, each in enumerate(step.steps):
            ending = [
                names[value]
                for value in dict.fromkeys(each.operands)
                if value >= step.operands and last_use[value] == position and value - step.operands not in results
            ]
            operands = [(names[value], self._kind(value)) for value in each.operands]
            target = targets.get(position) or self._target(each, ending, operands)
            each.operation.numpy(_Line(c, operands, (target, self._type), lines))
            names.append(target)
            self._free += [name for name in ending if name != target and name not in results.values()]
        documentation = (
            '"""One step of an optimizer on a weight, or on a part of it: what is next is written into `next_…`."""'
        )
        return c.function("update", "\n    ".join([f"({', '.join(self._parameters())}):", documentation, *lines]))

    def _first_written(self, last: int) -> int:
        """The step that first writes into the array of a result: that which gives it or, so that less memory is gone
        through, one that makes an operand for that step alone. Every array that may be the result's is free by then."""
        step = self._step
        arrays = set(step.free_at(last)) & set(self.arrays)
        for value in step.steps[last].operands:
            first = value - step.operands
            readers = [number for number, each in enumerate(step.steps) if value in each.operands]
            places = [place for place, other in enumerate(step.steps[last].operands) if other == value]
            inplace = set(places) <= set(step.steps[last].operation.inplace)
            alone = first >= 0 and first not in step.results and readers == [last]
            if alone and inplace and arrays <= set(step.free_at(first)):
                return first
        return last

    def loop(self, function: str) -> str:
        """A function, from its parameters on, that calls ``function`` for elements of flat arrays, part by part."""
        names = self._names()
        parts = [*(names[index] for index in self.arrays), *self._results()]
        arguments = [f"{name}[part]" for name in parts]
        arguments += [f"work_{number + 1}[:length]" for number in range(self.work)]
        arguments += [names[index] for index in self.scalars]
        return "\n    ".join(
            [
                f"(start, stop, {', '.join(self._parameters())}):",
                '"""The same for elements `start` to `stop` of flat arrays, as many at a time as the cache holds."""',
                f"for first in range(start, stop, {BLOCK}):",
                f"    length = min({BLOCK}, stop - first)",
                "    part = slice(first, first + length)",
                f"    {function}({', '.join(arguments)})",
            ]
        )

    def _names(self) -> list[str]:
        return [f"x{index + 1}" for index in range(self._step.operands)]

    def _results(self) -> list[str]:
        return [f"next_{index + 1}" for index in range(len(self._step.results))]

    def _parameters(self) -> list[str]:
        names, work = self._names(), [f"work_{number + 1}" for number in range(self.work)]
        arrays, scalars = ([names[index] for index in indices] for indices in (self.arrays, self.scalars))
        return [*arrays, *self._results(), *work, *scalars]

    def _kind(self, value: int) -> TensorType:
        return self._operands[value] if value < self._step.operands else self._type

    def _target(self, step: Step, ending: Sequence[str], operands: Sequence[tuple[str, TensorType]]) -> str:
        """Over an operand that is needed no more, or in a work array."""
        for name in ending:
            if all(place in step.operation.inplace for place, (other, _) in enumerate(operands) if other == name):
                return name
        if self._free:
            return self._free.pop()
        self.work += 1
        return f"work_{self.work}"


class _Line(StepLowering):
    """Collects the statements of the function."""

    def __init__(
        self,
        c: NumpyLowering,
        operands: Sequence[tuple[str, TensorType]],
        result: tuple[str, TensorType],
        lines: list[str],
    ) -> None:
        super().__init__(c, operands, result)
        self._lines = lines

    def line(self, statement: str) -> None:
        self._lines.append(statement)


def _samples(cls: type[WeightStep]) -> Iterator[Sample]:
    scalar = TensorType(DType.F32)
    momentum = (Step(Multiply(), (2, 4)), Step(Add(), (5, 1)), Step(Multiply(), (6, 3)), Step(Subtract(), (0, 7)))
    adaptive = (
        Step(Square(), (1,)),
        Step(Add(), (2, 4)),
        Step(Sqrt(), (5,)),
        Step(Divide(), (1, 6)),
        Step(Multiply(), (7, 3)),
        Step(Subtract(), (0, 8)),
    )
    for shape in ((3, 4), (BLOCK + 3,)):
        weight = TensorType(DType.F32, shape)
        yield Sample(cls(5, momentum, (1, 3)), (weight, weight, weight, scalar, scalar), 0.5, 2)
        yield Sample(cls(4, adaptive, (1, 5)), (weight, weight, weight, scalar), 0.5, 2)
