"""A group of elementwise operations, computed in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compiler.ir.dims import bounds, symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType
from compiler.ops.activation import Gelu, Relu, Sigmoid
from compiler.ops.base import NumpyLowering, Op, Sample, operation, without
from compiler.ops.choose import Mask, Select
from compiler.ops.compare import Greater
from compiler.ops.convert import Cast
from compiler.ops.elementwise import Add, Divide, Multiply, Subtract
from compiler.ops.emit import Emit
from compiler.ops.fused import FusedOp, StepLowering
from compiler.ops.unary import Exp, Sqrt, Square

# Arrays of more elements than LARGE are worked on in parts of BLOCK (512 KiB of f32), so that what one step writes is
# still in the cache when the next one reads it. Measured with Adam's update on a processor with 1 MiB of cache a core
# and 32 MiB shared: no gain at 2 million elements, a quarter less time at 16 million; parts of 128 KiB cost more than
# they save.
LARGE, BLOCK = 1 << 20, 1 << 17


@dataclass(frozen=True)
class Step:
    """One operation of a group. Operands below the number of the group's operands are those; the others are the results
    of earlier steps, in order."""

    operation: Op
    operands: tuple[int, ...]


@operation
@dataclass(frozen=True)
class ElementwiseChain(FusedOp):
    """Elementwise operations, each with one result, of which only the last step's is kept."""

    steps: tuple[Step, ...]

    opcode = "elementwise_chain"
    elementwise = True
    onnx = without("elementwise operations are not grouped for ONNX, whose runtimes do that themselves")

    def __post_init__(self) -> None:
        results = range(self.operand_count, self.operand_count + len(self.steps) - 1)
        if not self._read() >= set(results):
            raise ValueError("every step of a group but the last has to be read by a later one")

    @property
    def operand_count(self) -> int:
        """The number of the group's operands: the last step but one is the highest that is read."""
        return max(self._read()) + 2 - len(self.steps)

    def _read(self) -> set[int]:
        return {value for step in self.steps for value in step.operands}

    @property
    def inplace(self) -> tuple[int, ...]:
        # The last step may read an operand while it writes over it only where its operation allows that.
        last = self.steps[-1]
        spoiled = {value for place, value in enumerate(last.operands) if place not in last.operation.inplace}
        return tuple(value for value in range(self.operand_count) if value not in spoiled)

    def expand(self, b: Emit, *inputs: Value) -> tuple[Value, ...]:
        values = list(inputs)
        for step in self.steps:
            values.append(b.add(step.operation, *(values[index] for index in step.operands)))
        return (values[-1],)

    def numpy(self, c: NumpyLowering) -> None:
        graph = self.expansion(c.input_types)
        types = (*c.input_types, *(node.output.type for node in graph.nodes))
        if self._fits_blocks(c, types):
            _Blocks(c, self.steps, types).write()
        else:
            _Steps(c, self.steps, types).write()

    def _fits_blocks(self, c: NumpyLowering, types: Sequence[TensorType]) -> bool:
        shape = types[-1].shape
        return (
            bounds(types[-1].size)[0] > LARGE
            and all(type.shape in (shape, ()) for type in types)
            and all(c.contiguous(index) for index, type in enumerate(c.input_types) if type.shape)
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        n = symbol("N")
        f32 = TensorType(DType.F32, (n, 3))
        row, scalar = TensorType(DType.F32, (3,)), TensorType(DType.F32)
        sizes = {"N": 4}
        square_sum = (Step(Square(), (0,)), Step(Multiply(), (2, 1)), Step(Add(), (3, 0)))
        moment = (Step(Subtract(), (1, 0)), Step(Multiply(), (3, 2)), Step(Add(), (0, 4)))
        wide = (
            Step(Exp(), (0,)),
            Step(Add(), (0, 1)),
            Step(Gelu(), (3,)),
            Step(Multiply(), (4, 2)),
            Step(Relu(), (5,)),
        )
        chosen = (
            Step(Greater(), (0, 1)),
            Step(Cast(DType.F32), (2,)),
            Step(Select(), (2, 0, 3)),
            Step(Mask(), (4, 2)),
            Step(Sigmoid(), (5,)),
        )
        scaled = (Step(Sqrt(), (1,)), Step(Divide(), (0, 2)), Step(Gelu("tanh"), (3,)))
        return (
            Sample(cls(square_sum), (f32, f32), 0.5, 2, sizes),
            Sample(cls(square_sum), (row, f32), 0.5, 2, sizes),
            Sample(cls(moment), (f32, f32, scalar), sizes=sizes),
            Sample(cls(wide), (f32, row), sizes=sizes),
            Sample(cls(chosen), (f32, row), sizes=sizes),
            Sample(cls(scaled), (f32, scalar), 0.5, 2, sizes),
            Sample(cls((Step(Add(), (0, 0)),)), (f32,), sizes=sizes),
        )


class _Steps:
    """Writes the steps one after the other, into the result's buffer and as few others as it takes.

    ``names`` holds an expression for each operand and, as they are written, each step's result.
    """

    def __init__(self, c: NumpyLowering, steps: Sequence[Step], types: Sequence[TensorType]) -> None:
        self.c, self.steps, self.types = c, steps, types
        self.out = c.outputs[0]
        # Where the result was given an operand's memory, both are one name here.
        self.names = [self.out if c.shares(index) else name for index, name in enumerate(c.inputs)]
        self.first = len(self.names)
        self.last_use = {value: position for position, step in enumerate(steps) for value in step.operands}
        self.free: dict[TensorType, list[str]] = {}

    def write(self) -> None:
        for position in range(len(self.steps)):
            self.write_step(position, self.c)

    def write_step(self, position: int, c: NumpyLowering) -> None:
        step, type = self.steps[position], self.types[self.first + position]
        target = self._target(position)
        borrowed: list[tuple[TensorType, str]] = []
        operands = [(self.names[value], self.types[value]) for value in step.operands]
        step.operation.numpy(_Pooled(c, operands, (target, type), self.take, borrowed))
        self.names.append(target)
        for value in set(step.operands):
            own = value >= self.first and self.last_use[value] == position
            if own and self.names[value] not in (target, self.out):
                borrowed.append((self.types[value], self.names[value]))
        for kind, name in borrowed:
            self.free.setdefault(kind, []).append(name)

    def take(self, type: TensorType) -> str:
        """The name of a buffer that no living value is in."""
        waiting = self.free.get(type)
        return waiting.pop() if waiting else self.new_buffer(type)

    def new_buffer(self, type: TensorType) -> str:
        return self.c.scratch(type)

    def _target(self, position: int) -> str:
        """Where a step's result goes: over an operand that ends here, into the result's buffer, or into another."""
        if position == len(self.steps) - 1:
            return self.out
        type = self.types[self.first + position]
        for place in self.steps[position].operation.inplace:
            value = self.steps[position].operands[place]
            if value >= self.first and self.types[value] == type and self._ends_in_place(value, position):
                name = self.names[value]
                if name != self.out or self._may_wait_in_out(position):
                    return name
        if type == self.types[-1] and self._may_wait_in_out(position) and self._out_is_free(position):
            return self.out
        return self.take(type)

    def _ends_in_place(self, value: int, position: int) -> bool:
        """Whether the step reads ``value`` for the last time, and only where it may be written over."""
        step = self.steps[position]
        places = (place for place, operand in enumerate(step.operands) if operand == value)
        return self.last_use[value] == position and all(place in step.operation.inplace for place in places)

    def _may_wait_in_out(self, position: int) -> bool:
        """Whether the result of the step, kept in the result's buffer, is not in the way of the last step."""
        value, last = self.first + position, len(self.steps) - 1
        return self.last_use[value] < last or self._ends_in_place(value, last)

    def _out_is_free(self, position: int) -> bool:
        """Whether no value that is still read lies in the result's buffer."""
        return all(
            self.last_use.get(value, -1) < position or self._ends_in_place(value, position)
            for value, name in enumerate(self.names)
            if name == self.out
        )


class _Blocks(_Steps):
    """Writes the steps as a loop over parts of flat arrays; steps on scalars stand before it."""

    def __init__(self, c: NumpyLowering, steps: Sequence[Step], types: Sequence[TensorType]) -> None:
        super().__init__(c, steps, types)
        self.shape = types[-1].shape
        self.part, self.length = c.local("part"), c.local("length")
        self.views: dict[str, str] = {}
        self.head: list[str] = []
        self.body: list[str] = []

    def write(self) -> None:
        c = self.c
        arrays = {self.out: c.local("out_part")}
        for index, name in enumerate(self.names):
            if self.types[index].shape:
                arrays.setdefault(name, c.local(f"operand{index}_part"))
        whole = {part: c.view(name, "reshape(-1)") for name, part in arrays.items()}
        self.names = [arrays.get(name, name) for name in self.names]
        self.out, total = arrays[self.out], c.dim(self.types[-1].size)
        # What a step sees is a part of a flat array.
        self.types = [type.with_shape((BLOCK,)) if type.shape else type for type in self.types]
        for position in range(len(self.steps)):
            inside = bool(self.types[self.first + position].shape)
            self.write_step(position, _Into(c, self.body) if inside else c)
        start = c.local("start")
        c.line(f"for {start} in range(0, {total}, {BLOCK}):")
        c.line(f"    {self.part} = slice({start}, {start} + {BLOCK})")
        for part, name in whole.items():
            c.line(f"    {part} = {name}[{self.part}]")
        for line in [*self.head, *self.body]:
            c.line(f"    {line}")

    def take(self, type: TensorType) -> str:
        # A scalar is there during the whole loop, so that its place is never used again.
        return super().take(type) if type.shape else self.c.scratch(type)

    def _target(self, position: int) -> str:
        type = self.types[self.first + position]
        return super()._target(position) if type.shape else self.take(type)

    def new_buffer(self, type: TensorType) -> str:
        whole, part = self.c.scratch(type.with_shape((BLOCK,))), self.c.local("work_part")
        # The last part is shorter.
        self.head.append(f"{part} = {whole}[:{self.out}.size]")
        return part


class _Into(StepLowering):
    """Collects the statements of a loop's body, in which nothing can be made ahead of the call."""

    def __init__(self, c: NumpyLowering, body: list[str]) -> None:
        super().__init__(c, [], ("", TensorType(DType.F32)))
        self._body = body

    def line(self, statement: str) -> None:
        self._body.append(statement)

    def view(self, array: str, how: str) -> str:
        return f"{array}.{how}"


class _Pooled(StepLowering):
    """A step whose scratch arrays come from the group's own."""

    def __init__(
        self,
        c: NumpyLowering,
        operands: Sequence[tuple[str, TensorType]],
        result: tuple[str, TensorType],
        take: Callable[[TensorType], str],
        borrowed: list[tuple[TensorType, str]],
    ) -> None:
        super().__init__(c, operands, result)
        self._take, self._borrowed = take, borrowed

    def scratch(self, type: TensorType, channels_last: bool = False) -> str:
        name = self._take(type)
        self._borrowed.append((type, name))
        return name
