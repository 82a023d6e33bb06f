"""Writing a graph in stages: a function for each of them, and one that runs them in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compiler.ir.dims import Dim, substitute, symbol
from compiler.ir.graph import Graph, Role, Value
from compiler.ops.parts import SUM, Place
from compiler.targets.numpy import preamble
from compiler.targets.numpy.function import FunctionWriter, written
from compiler.targets.numpy.literals import quoted
from compiler.targets.numpy.module import Shared
from compiler.targets.numpy.names import Names
from compiler.targets.numpy.plan import byte_size
from compiler.targets.numpy.signature import entry, size_checks, tuple_text
from compiler.targets.numpy.stages import START, Stage, Staged


class StagedWriter:
    """Writes a graph in stages; the counterpart of ``FunctionWriter``."""

    def __init__(self, staged: Staged, shared: Shared) -> None:
        self.staged, self.graph, self._shared = staged, staged.graph, shared
        self.names = Names(shared.names)
        self.name, self.bind_name = self.names.new(self.graph.name), self.names.new(f"bind_{self.graph.name}")
        shared.names.taken |= {self.name, self.bind_name}
        self.symbols: dict[str, Dim] = {s.name: symbol(self.names.new(s.name)) for s in self.graph.symbols}
        self.writers: dict[Graph, FunctionWriter] = {}
        for stage in staged.stages:
            if stage.graph not in self.writers:
                self.writers[stage.graph] = written(stage.graph, shared, staged.stage_of(stage))
        self.data = [self.names.new(value.name) for value in self.graph.inputs_of(Role.DATA)]
        self.results = dict(staged.results)
        # The multiply-adds of a stage in parts for one sample.
        self._work = staged.work // max(1, sum(stage.in_parts for stage in staged.stages))
        # The values that parts make and read.
        self._own = {
            name for stage in staged.stages if stage.in_parts for name in stage.made if staged.joins.get(name) != SUM
        }
        shared.helper("in_turn", preamble.IN_TURN)
        if staged.counts:
            shared.helper("cut_batch", CUT_BATCH)
            shared.helper("in_parts", IN_PARTS)
            shared.names.taken |= {"with_copies", "joined", "adding", "adding_up"}

    @property
    def sizes(self) -> list[str]:
        return [str(self.symbols[s.name]) for s in self.graph.symbols]

    def lines(self, timed: bool = False) -> Iterator[str]:
        for writer in self.writers.values():
            yield from writer.lines(timed)
            yield "\n"
        yield f"def {self.bind_name}({', '.join(['kept', *self.sizes])}, memory=_memory, share=in_turn):"
        yield f'    """Make `{self.name}` for these sizes, in stages."""'
        yield from size_checks(zip(self.graph.symbols, self.sizes, strict=True), self._required())
        yield "    # Arguments are copied into arrays that are always the same."
        own = [self.names.new(f"own_{name}") for name in self.data]
        for name, value in zip(own, self._arguments, strict=True):
            yield f"    {name} = {self._array(value)}"
        yield "    # What stages read and make, by name."
        pairs = zip(self._arguments, own, strict=True)
        yield f"    whole = {{{', '.join(f'{quoted(value.name)}: {name}' for value, name in pairs)}}}"
        if self.staged.counts:
            counts = ", ".join(f"{count}: {least}" for count, least in self.staged.counts.items())
            yield f"    parts = cut_batch({self.symbols[self.staged.symbol]}, {{{counts}}})"
        yield "    steps = []"
        for stage in self.staged.stages:
            yield from self._in_parts(stage) if stage.in_parts else self._at_once(stage)
        results = ", ".join(f"{quoted(name)}: whole[{quoted(value)}]" for name, value in self.results.items())
        yield f"    results = {{{results}}}"
        yield ""
        yield f"    def {self.name}({', '.join(self.data)}):"
        yield from (f"        np.copyto({target}, {name})" for target, name in zip(own, self.data, strict=True))
        yield "        for step in steps:"
        yield "            step()"
        yield "        return results"
        yield ""
        yield f"    return {self.name}"

    def _at_once(self, stage: Stage) -> Iterator[str]:
        """A stage that runs as a whole."""
        given = [f"whole[{quoted(name)}]" for name in stage.taken]
        yield f"    step, made = {self.writers[stage.graph].bind_name}("
        yield from (f"        {text}," for text in (*self.sizes, "memory", "share", *self._arrays(stage, given)))
        yield "    )"
        yield "    steps.append(step)"
        if stage.made:
            yield f"    whole.update(zip({tuple_text(map(quoted, stage.made))}, made))"

    def _in_parts(self, stage: Stage) -> Iterator[str]:
        """A stage in parts: what it reads, what of that is cut along which axis, and what every part has whole; what is
        put together behind it, and how. A part does not share its work: the others have parts of their own."""
        taken = stage.taken
        cuts = {name: self.staged.cuts[name] for name in taken if name in self.staged.cuts}
        whole = [name for name in taken if name != START and name not in cuts and name not in self._own]
        joins = [name for name in stage.made if name in self.staged.joins]
        sizes = ["size" if name == self.staged.symbol else str(dim) for name, dim in self.symbols.items()]
        arrays = self._arrays(stage, [f"given[{number}]" for number in range(len(taken))])
        yield "    steps += in_parts("
        yield "        whole,"
        yield "        parts,"
        yield f"        {tuple_text(map(quoted, taken))},"
        yield f"        {{{', '.join(f'{quoted(name)}: {axis}' for name, axis in cuts.items())}}},"
        yield f"        {tuple_text(map(quoted, whole))},"
        yield f"        {tuple_text(map(quoted, stage.made))},"
        yield f"        {{{', '.join(f'{quoted(name)}: {self._join(name)}' for name in joins)}}},"
        yield f"        lambda size, *given: {self.writers[stage.graph].bind_name}("
        yield from (f"            {text}," for text in (*sizes, "memory", "in_turn", *arrays))
        yield "        ),"
        yield "        memory,"
        yield "        share,"
        yield f"        {self._work}*{self.symbols[self.staged.symbol]},"
        yield "    )"

    def _arrays(self, stage: Stage, given: Sequence[str]) -> Iterator[str]:
        """What the function of a stage is bound to: the data inputs as ``given``, and what is kept."""
        data = iter(given)
        for item in self.writers[stage.graph].given:
            if item.role is Role.DATA:
                yield next(data)
            else:
                type = item.value.type
                shape = tuple_text(str(substitute(dim, self.symbols)) for dim in type.shape)
                yield f"_kept(kept, {quoted(stage.own(item.name))}, {self._shared.dtype(type.dtype)}, {shape})"

    @property
    def _arguments(self) -> Sequence[Value]:
        return self.graph.inputs_of(Role.DATA)

    def _array(self, value: Value) -> str:
        size, *shape = (str(substitute(dim, self.symbols)) for dim in (byte_size(value.type), *value.type.shape))
        return f"_array(memory({size}), {self._shared.dtype(value.type.dtype)}, {tuple_text(shape)})"

    def _required(self) -> dict[str, str]:
        return {
            f"{substitute(size, self.symbols)} >= {least}": sentence for size, least, sentence in self.staged.required
        }

    def _join(self, name: str) -> str:
        how = self.staged.joins[name]
        return f"({how.axis}, {substitute(how.outer, self.symbols)})" if isinstance(how, Place) else "None"

    def entry(self) -> Iterator[str]:
        """The entry in the module's table of functions."""
        neighbours = (
            tuple(map(stage.own, names))
            for stage in self.staged.stages
            for names in self.writers[stage.graph].neighbours()
        )
        return entry(self.graph, self.bind_name, self.symbols, neighbours, in_parts=True)


CUT_BATCH = '''\
def cut_batch(size, counts):
    """A batch cut evenly into as many parts as may be, each of which has the least samples that `counts` tells for that
    many, or into one: where each lies, and what it reads and makes, by name."""
    count = next((count for count, least in counts.items() if size >= count * least), 1)
    ends = [size * number // count for number in range(count + 1)]
    return [(slice(start, end), {"samples before": np.array(start)}) for start, end in zip(ends, ends[1:])]
'''

IN_PARTS = '''\
def in_parts(whole, parts, taken, cuts, shown, made, joins, bind, memory, share, work):
    """The steps of a stage in parts. `bind` makes the function of a part, and what is `made`, of its size and of what
    is `taken`: some of that is cut out of the whole, along an axis, some is `shown` to every part, the rest is its own.
    What is in `joins` is put together: one behind the other along an axis, in each of the runs that the axis is made
    of, or added up. All parts do so much `work`."""
    tasks, before, after = [], [[] for _ in parts], [[] for _ in parts]
    for (place, values), copies in zip(parts, before):
        values.update((name, whole[name]) for name in shown)
        for name, axis in cuts.items():
            values[name] = piece = whole[name][(*[slice(None)] * axis, place)]
            if not piece.flags.c_contiguous:
                values[name] = _array(memory(piece.nbytes), piece.dtype, piece.shape)
                copies.append((values[name], piece))
        function, results = bind(place.stop - place.start, *[values[name] for name in taken])
        values.update(zip(made, results))
        tasks.append(function)
    sums = []
    for name, how in joins.items():
        own = [values[name] for _, values in parts]
        if len(own) == 1:
            whole[name] = own[0]
        elif how is None:
            whole[name] = _array(memory(own[0].nbytes), own[0].dtype, own[0].shape)
            sums.append((whole[name], own))
        else:
            whole[name], places = joined(own, *how, memory)
            for copies, copy in zip(after, places):
                copies.append(copy)
    tasks = [with_copies(*each) for each in zip(before, tasks, after)]
    return [share(tasks, work), *adding(sums, len(parts), share)]


def with_copies(before, function, after):
    """The function of a part, and what is copied before and after it."""
    if not before and not after:
        return function

    def call():
        for target, source in before:
            np.copyto(target, source)
        function()
        for target, source in after:
            np.copyto(target, source)

    return call


def joined(own, axis, runs, memory):
    """An array for what parts have one behind the other, and for each of them what is to be copied into it."""
    before, after = own[0].shape[:axis], own[0].shape[axis + 1 :]
    shape = (*before, sum(part.shape[axis] for part in own), *after)
    whole = _array(memory(sum(part.nbytes for part in own)), own[0].dtype, shape)
    target = whole.reshape(*before, runs, -1, *after)
    copies, start = [], 0
    for part in own:
        source = part.reshape(*before, runs, -1, *after)
        end = start + source.shape[axis + 1]
        copies.append((target[(*[slice(None)] * (axis + 1), slice(start, end))], source))
        start = end
    return whole, copies


def adding(sums, count, share):
    """The steps that add up what parts give, in one order whoever does it: large arrays in so many pieces."""
    pieces = [[] for _ in range(count)]
    for total, own in sums:
        rows = len(total) if total.ndim and total.size >= 16384 else 0
        if rows < count:
            pieces[0].append((total, own))
            continue
        for number, piece in enumerate(pieces):
            place = slice(rows * number // count, rows * (number + 1) // count)
            piece.append((total[place], [part[place] for part in own]))
    tasks = [adding_up(piece) for piece in pieces if piece]
    return [share(tasks, 8 * count * sum(total.size for total, _ in sums))] if len(tasks) > 1 else tasks


def adding_up(sums):
    def call():
        for total, (first, second, *others) in sums:
            np.add(first, second, out=total)
            for other in others:
                np.add(total, other, out=total)

    return call
'''
