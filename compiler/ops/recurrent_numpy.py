"""What the NumPy statements of recurrent layers and of their gradients share."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.dims import Dim
from compiler.ir.types import DType, TensorType
from compiler.ops.base import NumpyLowering


def mask_of(c: NumpyLowering, lengths: str | None, steps: Dim, batch: Dim, columns: tuple[Dim, ...] = ()) -> str:
    """Write the statements that work out which sequences take part in each step; gives the expression of a pair of
    bool arrays [T, N, *columns], of those that do and those that do not, or None where all do."""
    if lengths is None:
        return "None"
    alive, dead = (c.scratch(TensorType(DType.BOOL, (steps, batch, *columns))) for _ in range(2))
    times = c.bound(f"np.arange({c.dim(steps)})[:, None]", TensorType(DType.I64, (steps, 1)))
    c.line(f"np.less({times}, {lengths}, out={c.view(alive, f'reshape({c.shape((steps, batch))})')})")
    c.line(f"np.logical_not({alive}, out={dead})")
    return f"({alive}, {dead})"


def pair(items: Sequence[str]) -> str:
    """The expression of a tuple of arrays, or None for nothing."""
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})" if items else "None"


def part_of(results: Sequence[str], units: Dim, place: int, count: int, c: NumpyLowering) -> list[str]:
    """The expressions of y [T, N, count·units] and of states [N, count, units] for one of ``count`` directions."""
    if count == 1:
        return list(results)
    y, *states = results
    columns = f"{c.dim(place * units)}:{c.dim((place + 1) * units)}"
    return [f"{y}[:, :, {columns}]", *states_of(states, place, count)]


def states_of(states: Sequence[str], place: int, count: int) -> list[str]:
    """The expressions of states [N, count, units] for one of ``count`` directions."""
    return list(states) if count == 1 else [f"{state}[:, {place}]" for state in states]


def together(units: Dim) -> int:
    """For how many steps to work out at once what need not go step by step: for so few that, with some dozens of
    sequences, it is in a processor's cache when the steps read it."""
    assert isinstance(units, int), "weights have fixed sizes"
    return max(1, min(8, 512 // units))


def with_helpers(c: NumpyLowering, name: str, source: str) -> str:
    """The name of a function of the generated module that calls those which recurrent layers share."""
    for shared, text in HELPERS.items():
        if f"{shared}(" in source:
            c.helper(shared, text)
    return c.helper(name, source)


HELPERS = {
    "recurrent_columns": '''\
def recurrent_columns(x, columns):
    """The inputs of each step as columns, with a row of ones for the bias where `columns` has room for it."""
    features = x.shape[2]
    np.copyto(columns[:, :features], x.transpose(0, 2, 1))
    columns[:, features:] = 1
''',
    "recurrent_rows": '''\
def recurrent_rows(x, rows):
    """The inputs of each step as rows, with a column of ones for the bias where `rows` has room for it."""
    features = x.shape[2]
    np.copyto(rows[:, :, :features], x)
    rows[:, :, features:] = 1
''',
    "recurrent_steps": '''\
def recurrent_steps(mask, reverse, *sequences):
    """For each step, from the last one on where `reverse`, its part of each sequence and of the two masks."""
    order = slice(None, None, -1 if reverse else 1)
    nothing = [None] * len(sequences[0])
    parts = [nothing if sequence is None else sequence[order] for sequence in sequences]
    return zip(*parts, *(part[order] for part in mask or (nothing, nothing)))
''',
    "weight_through_states": '''\
def weight_through_states(d_sums, y, reverse, out):
    """What all steps but the first give to the gradient of the weights of the state, in one product."""
    batch, states = y.shape[1], y.reshape(-1, y.shape[2])
    if reverse:
        np.matmul(d_sums[..., :-batch], states[batch:], out=out)
    else:
        np.matmul(d_sums[..., batch:], states[:-batch], out=out)
''',
}
