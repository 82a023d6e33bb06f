"""Writing a graph in stages: a function for each of them, and one that runs them in order."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.ir.dims import Dim, substitute, symbol
from compiler.ir.graph import Role
from compiler.ops.parts import SUM, Place
from compiler.targets.numpy import preamble
from compiler.targets.numpy.function import FunctionWriter, written
from compiler.targets.numpy.literals import quoted
from compiler.targets.numpy.module import Shared
from compiler.targets.numpy.names import Names
from compiler.targets.numpy.signature import entry, size_checks, tuple_text
from compiler.targets.numpy.stages import PARTS, START, Stage, Staged


class StagedWriter:
    """Writes a graph in stages; the counterpart of ``FunctionWriter``."""

    def __init__(self, staged: Staged, shared: Shared) -> None:
        self.staged, self.graph = staged, staged.graph
        self.names = Names(shared.names.taken)
        self.name, self.bind_name = self.names.new(self.graph.name), self.names.new(f"bind_{self.graph.name}")
        shared.names.taken |= {self.name, self.bind_name}
        self.symbols: dict[str, Dim] = {s.name: symbol(self.names.new(s.name)) for s in self.graph.symbols}
        self.writers = [written(stage.graph, shared, self.graph.symbols) for stage in staged.stages]
        self.data = [self.names.new(value.name) for value in self.graph.inputs_of(Role.DATA)]
        self.results = dict(staged.results)
        # The values that parts make and read.
        self._own = {
            output.name
            for stage in staged.stages
            if stage.in_parts
            for output in stage.graph.outputs
            if staged.joins.get(output.name) != SUM
        }
        self._in_stages = shared.helper("in_stages", IN_STAGES)
        self._cut = shared.helper("cut_batch", CUT_BATCH)
        shared.helper("join_parts", JOIN_PARTS)
        self._in_turn = shared.helper("in_turn", preamble.IN_TURN)

    @property
    def sizes(self) -> list[str]:
        return [str(self.symbols[s.name]) for s in self.graph.symbols]

    def lines(self, timed: bool = False) -> Iterator[str]:
        for writer in self.writers:
            yield from writer.lines(timed)
            yield "\n"
        yield f"def {self.bind_name}({', '.join(['kept', *self.sizes])}, run={self._in_turn}):"
        yield f'    """Make `{self.name}` for these sizes, in stages; `run` may take the parts of one in any order."""'
        yield from size_checks(zip(self.graph.symbols, self.sizes, strict=True), self._required())
        yield f"    batch = {self._cut}({self.symbols[self.staged.symbol]}, {PARTS}, {self.staged.least})"
        yield "    # For each stage what it reads, what of that is cut along which axis, and what every part has whole;"
        yield "    # what is put together behind it; and its functions."
        yield "    stages = ["
        for stage, writer in zip(self.staged.stages, self.writers, strict=True):
            yield from self._stage(stage, writer)
        yield "    ]"
        yield f"    joins = {{{', '.join(f'{quoted(n)}: {self._join(n)}' for n in self.staged.joins)}}}"
        results = ", ".join(f"{quoted(name)}: {quoted(value)}" for name, value in self.results.items())
        arguments = tuple_text(quoted(value.name) for value in self.graph.inputs_of(Role.DATA))
        yield f"    return {self._in_stages}({arguments}, stages, batch, joins, {{{results}}}, run)"

    def _stage(self, stage: Stage, writer: FunctionWriter) -> Iterator[str]:
        taken = [value.name for value in stage.graph.inputs_of(Role.DATA)]
        cuts = {name: self.staged.cuts[name] for name in taken if stage.in_parts and name in self.staged.cuts}
        given = [output.name for output in stage.graph.outputs if output.name in self.staged.joins]
        whole = [name for name in taken if name != START and name not in cuts and name not in self._own]
        # A part does not share its work with other threads: these have parts of their own.
        bound = f"{writer.bind_name}({', '.join(['kept', *self.sizes, *['run=run'] * writer.runs])})"
        if stage.in_parts:
            sizes = ["size" if name == self.staged.symbol else str(dim) for name, dim in self.symbols.items()]
            bound = f"[{writer.bind_name}({', '.join(['kept', *sizes])}) for _, size in batch]"
        yield "        ("
        yield f"            {tuple_text(map(quoted, taken))},"
        yield f"            {{{', '.join(f'{quoted(name)}: {axis}' for name, axis in cuts.items())}}},"
        yield f"            {tuple_text(map(quoted, whole))},"
        yield f"            {tuple_text(map(quoted, given))},"
        yield f"            {bound},"
        yield "        ),"

    def _required(self) -> dict[str, str]:
        return {
            f"{substitute(size, self.symbols)} >= {least}": sentence for size, least, sentence in self.staged.required
        }

    def _join(self, name: str) -> str:
        how = self.staged.joins[name]
        return f"({how.axis}, {substitute(how.outer, self.symbols)})" if isinstance(how, Place) else "None"

    def entry(self) -> Iterator[str]:
        """The entry in the module's table of functions."""
        return entry(self.graph, self.bind_name, self.symbols, in_parts=True)


CUT_BATCH = '''\
def cut_batch(size, most, least):
    """A batch cut evenly into at most so many parts, of at least so many samples: where each begins, and its size.
    There are 1, 2, 4 … of them, which two threads can share evenly."""
    count = 1 << max(1, min(most, size // least)).bit_length() - 1
    ends = [size * number // count for number in range(count + 1)]
    return [(start, end - start) for start, end in zip(ends, ends[1:])]
'''

IN_STAGES = '''\
def in_stages(arguments, stages, batch, joins, results, run):
    """A function that runs `stages` one after the other; those in parts by `run`, which calls every one of the
    functions that it is given, and comes back when all are done."""
    whole = {}
    parts = [{"samples before": np.array(start)} for start, _ in batch]

    def advance(function, taken, values):
        return lambda: values.update(function(*[values[name] for name in taken]))

    def join(name):
        def put_together():
            whole[name] = join_parts([values[name] for values in parts], joins[name], whole.get(name))

        return put_together

    def read(cuts, given):
        for values, (start, size) in zip(parts, batch):
            values.update((name, whole[name]) for name in given)
            for name, axis in cuts.items():
                own = whole[name][(*[slice(None)] * axis, slice(start, start + size))]
                values[name] = np.ascontiguousarray(own)

    def stage(taken, cuts, given, joined, functions):
        if not isinstance(functions, list):
            return advance(functions, taken, whole)
        tasks = [advance(function, taken, values) for function, values in zip(functions, parts)]
        endings = [join(name) for name in joined]

        def in_parts():
            read(cuts, given)
            run(tasks)
            run(endings)

        return in_parts

    steps = [stage(*each) for each in stages]

    def call(*arrays):
        whole.update(zip(arguments, arrays))
        for step in steps:
            step()
        return {name: whole[value] for name, value in results.items()}

    return call
'''

JOIN_PARTS = '''\
def join_parts(parts, how, out):
    """What parts give, put together, into `out` if there is one: added up where `how` is None, else one behind the
    other along an axis, in each of the runs that the axis is made of."""
    if how is None:
        out = np.empty_like(parts[0]) if out is None else out
        np.copyto(out, parts[0])
        for part in parts[1:]:
            np.add(out, part, out=out)
        return out
    axis, runs = how
    before, after = parts[0].shape[:axis], parts[0].shape[axis + 1 :]
    places = sum(part.shape[axis] for part in parts)
    out = np.empty((*before, places, *after), parts[0].dtype) if out is None else out
    joined = out.reshape(*before, runs, -1, *after)
    np.concatenate([part.reshape(*before, runs, -1, *after) for part in parts], axis + 1, out=joined)
    return out
'''
