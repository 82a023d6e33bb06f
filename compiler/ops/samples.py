"""NumPy statements for a few samples of a batch at a time, so that what is worked on stays in the cache."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.dims import Dim, evaluate, product, symbols
from compiler.ir.types import TensorType
from compiler.ops.base import NumpyLowering
from compiler.ops.window import Window, ranges

# Arrays that are worked in take about this many bytes: they and what they are made of fit in a core's cache.
CACHE = 2**20
# What a symbol is taken to be where sizes are only ranked.
TYPICAL = 32


def typical(dim: Dim) -> int:
    """A likely value of ``dim``."""
    return evaluate(dim, {s.name: s.nearest(TYPICAL) for s in symbols(dim)})


class Samples:
    """A loop over ``samples``, each of which needs ``each`` bytes of work arrays; there is none where all fit at once.

    ``count`` is the first size of the work arrays. What is to be done once comes before :meth:`enter`.
    """

    def __init__(self, c: NumpyLowering, samples: Dim, each: Dim) -> None:
        most = max(1, CACHE // max(1, typical(each)))
        self._c, self._samples = c, samples
        self._fits = isinstance(samples, int) and samples <= most
        self.count = samples if isinstance(samples, int) and self._fits else most
        self._start = self._stop = self.number = c.dim(self.count)

    @property
    def looped(self) -> bool:
        return not self._fits

    def enter(self) -> None:
        """Begin the loop."""
        if self.looped:
            self._start, self._stop, self.number = map(self._c.local, ("start", "stop", "count"))
            samples = self._c.dim(self._samples)
            self._c.line(f"for {self._start} in range(0, {samples}, {self.count}):")
            self.line(f"{self._stop} = min({self._start} + {self.count}, {samples})")
            self.line(f"{self.number} = {self._stop} - {self._start}")

    def line(self, statement: str) -> None:
        """Add a statement that is executed for each few samples."""
        self._c.line(f"    {statement}" if self.looped else statement)

    def of(self, array: str, index: str = "") -> str:
        """The part of an array of all samples that the turn is about; ``index`` cuts further axes."""
        return _cut(array, f"{self._start}:{self._stop}" if self.looped else ":", index)

    def work(self, array: str, index: str = "") -> str:
        """The part of a work array that the turn needs: the last one may have fewer samples."""
        return _cut(array, f":{self.number}" if self.looped else ":", index)

    def of_rows(self, array: str, each: Dim) -> str:
        """The part of an array of all samples, of which each has so many rows, that the turn is about."""
        rows = self._c.dim(each)
        return f"{array}[{self._start}*{rows}:{self._stop}*{rows}]" if self.looped else array

    def work_rows(self, array: str, each: Dim) -> str:
        """The same part of a work array."""
        return f"{array}[:{self.number}*{self._c.dim(each)}]" if self.looped else array

    def joined(self, array: str, lead: Sequence[int], rest: Sequence[Dim]) -> str:
        """A name for [*lead, samples of the turn, *rest] at the beginning of the flat work array ``array``."""
        c = self._c
        if not self.looped:
            return settled(c, c.view(array, f"reshape({c.shape((*lead, self.count, *rest))})"), array)
        name = c.local(array)
        sizes = ", ".join([*map(str, lead), self.number, *map(c.dim, rest)])
        self.line(f"{name} = {array}[:{c.dim(product((*lead, *rest)))}*{self.number}].reshape({sizes})")
        return name


def _cut(array: str, samples: str, index: str) -> str:
    if samples == ":" and not index:
        return array
    if samples == ":" and index.startswith("..."):
        return f"{array}[{index}]"
    return f"{array}[{', '.join(filter(None, (samples, index)))}]"


class Image:
    """The operand that a window slides over: with its padding in a work array of a few samples, or as it stands.
    ``channels_last`` says how the work array is to lie."""

    def __init__(
        self,
        c: NumpyLowering,
        loop: Samples,
        x: str,
        type: TensorType,
        window: Window,
        fill: str = "0",
        channels_last: bool = False,
    ) -> None:
        self._c, self._loop, self._x = c, loop, x
        self.sizes = window.around(type.shape[2:])
        self.padded = window.padded
        self.array = x
        self._inside = ""
        if self.padded:
            self.array = c.scratch(type.with_shape((loop.count, type.shape[1], *self.sizes)), channels_last)
            self._inside = ranges(c, window.before, type.shape[2:], (1,) * window.rank)
            c.line(f"{self.array}.fill({fill})")

    def load(self) -> None:
        """Copy the samples of the turn between the padding, which no turn changes."""
        if self.padded:
            self._loop.line(f"np.copyto({self._loop.work(self.array, self._inside)}, {self._loop.of(self._x)})")

    def part(self, view: str, index: str = "") -> str:
        """The samples of the turn in a view of :attr:`array`."""
        return self._loop.work(view, index) if self.padded else self._loop.of(view, index)


def settled(c: NumpyLowering, expression: str, wanted: str) -> str:
    """A name for what ``expression`` gives; to be asked for before a loop."""
    if expression.isidentifier():
        return expression
    name = c.local(wanted)
    c.line(f"{name} = {expression}")
    return name


def windows(
    c: NumpyLowering,
    array: str,
    kernel: Sequence[int],
    places: Sequence[Dim],
    strides: Sequence[int],
    steps: Sequence[int],
) -> str:
    """A name for the view [..., *kernel, *places] of ``array`` [..., *spatial]: for each cell of a window what it meets
    at each place."""
    function = c.helper("windows", WINDOWS)
    numbers = (tuple(kernel), tuple(strides), tuple(steps))
    shown = ", ".join([c.shape(numbers[0]), c.shape(tuple(places)), *map(c.shape, numbers[1:])])
    return settled(c, c.view(array, f"{function}({{}}, {shown})"), "windows_seen")


WINDOWS = '''\
def windows(x, kernel, places, strides, steps):
    """What each cell of a window meets at each of its places on the last axes of `x`: [..., *kernel, *places], a view.

    Cells stand `steps` apart, and the window moves by `strides`.
    """
    rank = len(kernel)
    outer, inner = x.strides[:-rank], x.strides[-rank:]
    cells = [stride * step for stride, step in zip(inner, steps)]
    moves = [stride * move for stride, move in zip(inner, strides)]
    shape = (*x.shape[:-rank], *kernel, *places)
    return np.lib.stride_tricks.as_strided(x, shape, (*outer, *cells, *moves), writeable=False)
'''
