"""One step of an optimizer on several small weights, as one operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from compiler.ir.graph import Node, Value
from compiler.ir.types import DType, TensorType
from compiler.ops.base import NumpyLowering, Sample, operation, without
from compiler.ops.chain import Step
from compiler.ops.elementwise import Add, Multiply, Subtract
from compiler.ops.emit import Emit
from compiler.ops.fused import FusedOp
from compiler.ops.weight_step import UpdateBody, WeightStep


@operation
@dataclass(frozen=True)
class JointStep(FusedOp):
    """The same ``WeightStep`` on ``count`` weights: operands the arrays of the first, those of the second, and so on,
    then the scalars, which they have in common; results those of the first, and so on.

    ``arrays`` are the operands of the step that are arrays. Those of them that are ``made`` in a program, as gradients
    are, it has one behind the other; of the others, which are kept, it works on those at once that it finds so.
    """

    step: WeightStep
    count: int
    arrays: tuple[int, ...]
    made: tuple[int, ...]

    opcode = "joint_step"
    onnx = without("the steps of an optimizer are not written for ONNX")

    def expand(self, b: Emit, *inputs: Value) -> tuple[Value, ...]:
        scalars = [index for index in range(self.step.operands) if index not in self.arrays]
        common = dict(zip(scalars, inputs[self.count * len(self.arrays) :], strict=True))
        results: list[Value] = []
        for number in range(self.count):
            own = {index: inputs[self._place(number, index)] for index in self.arrays} | common
            results += b.add_node(self.step, tuple(own[index] for index in range(self.step.operands)))
        return tuple(results)

    def overwritable(self, result: int) -> tuple[int, ...]:
        number, own = divmod(result, len(self.step.results))
        return tuple(self._place(number, index) for index in self.step.overwritable(own) if index in self.arrays)

    @property
    def side_by_side(self) -> tuple[tuple[int, ...], ...]:
        return tuple(self._of_all(index) for index in self.made)

    def neighbours(self, node: Node) -> Iterator[tuple[Value, ...]]:
        """The operands of ``node``, which has this operation, that had best lie one behind the other where they are
        kept."""
        for index in self.arrays:
            if index not in self.made:
                yield tuple(node.inputs[place] for place in self._of_all(index))

    def numpy(self, c: NumpyLowering) -> None:
        types = [c.input_types[place] for place in self._of_all(self.arrays[0])]
        sizes = [size for type in types if isinstance(size := type.size, int)]
        inputs = c.inputs
        scalars = inputs[self.count * len(self.arrays) :]
        own = dict(zip(self.arrays, types[:1] * len(self.arrays), strict=True))
        operands = [own.get(index, types[0].with_shape(())) for index in range(self.step.operands)]
        body = UpdateBody(self.step, operands, types[0])
        name = body.function(c)
        whole = types[0].with_shape((sum(sizes),))
        flat = {index: c.side_by_side(self._of_all(index)) for index in self.made}
        cuts = f"({', '.join(map(str, accumulate(sizes[:-1])))},)"
        groups = [
            f"np.split({flat[index]}, {cuts})" if index in flat else _tuple(inputs[p] for p in self._of_all(index))
            for index in self.arrays
        ]
        count, results = len(self.step.results), c.outputs
        groups += [_tuple(results[own::count]) for own in range(count)]
        groups += [f"np.split({c.scratch(whole)}, {cuts})" for _ in range(body.work)]
        rows = c.bound(f"{c.helper('in_rows', IN_ROWS)}({', '.join(groups)})", whole.with_shape((0,)))
        row = c.local("row")
        c.line(f"for {row} in {rows}:")
        c.line(f"    {name}(*{row}, {', '.join(scalars)})")

    def _place(self, number: int, index: int) -> int:
        """Where operand ``index`` of the step stands for weight ``number``."""
        return number * len(self.arrays) + self.arrays.index(index)

    def _of_all(self, index: int) -> tuple[int, ...]:
        return tuple(self._place(number, index) for number in range(self.count))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        first, second = TensorType(DType.F32, (3, 4)), TensorType(DType.F32, (5,))
        scalar = TensorType(DType.F32)
        steps = (Step(Multiply(), (2, 4)), Step(Add(), (5, 1)), Step(Multiply(), (6, 3)), Step(Subtract(), (0, 7)))
        momentum = WeightStep(5, steps, (1, 3))
        operands = (first, first, first, second, second, second, scalar, scalar)
        # Nothing is kept where an operation is tried by itself.
        return (Sample(cls(momentum, 2, (0, 1, 2), (0, 1, 2)), operands, 0.5, 2),)


def _tuple(names: Iterable[str]) -> str:
    return f"({', '.join(names)},)"


IN_ROWS = '''\
def in_rows(*groups):
    """Flat arrays to work on at once, in tuples with one of each group. A group has an array for every weight; where
    those of some weights lie one behind the other in memory, in every group, they are one array."""
    rows = []
    for arrays in zip(*groups):
        if rows and all(map(_follows, rows[-1], arrays)):
            rows[-1] = [_array_of(row, row.size + array.size) for row, array in zip(rows[-1], arrays)]
        else:
            rows.append([array.reshape(-1) for array in arrays])
    return rows


def _follows(row, array):
    """Whether an array begins where another one ends, in the same piece of memory."""
    return _owner(row) is _owner(array) and row.ctypes.data + row.nbytes == array.ctypes.data


def _array_of(row, size):
    """The array of `size` elements that begins where `row` does."""
    memory = _owner(row)
    return np.ndarray(size, row.dtype, memory, row.ctypes.data - memory.ctypes.data)


def _owner(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
'''
