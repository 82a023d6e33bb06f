"""Writing one graph as a function of a generated module: what is made once, and the statements of a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from compiler.ir.dims import Dim, evaluate, substitute, symbol, symbols
from compiler.ir.graph import Graph, Input, Node, Origin, Role, Value
from compiler.ir.types import TensorType
from compiler.ops.joint_step import JointStep
from compiler.targets.numpy.literals import quoted
from compiler.targets.numpy.memory import Block, Slot, assign_slots
from compiler.targets.numpy.module import Shared
from compiler.targets.numpy.names import Names, common_scope, input_name, place_of, value_name
from compiler.targets.numpy.node import NodeLowering
from compiler.targets.numpy.plan import Home, make_plan, operation_of
from compiler.targets.numpy.sharing import parts_of_work
from compiler.targets.numpy.signature import definition, dim_text, entry, size_checks, tuple_text

# What a symbol is taken to be where work is estimated.
_TYPICAL = 32


@dataclass(frozen=True, slots=True)
class _Declared:
    """An array at the beginning of its block's slot, which is known only when every block is."""

    name: str
    block: Block
    dtype: str
    shape: str
    turned: str


@dataclass(frozen=True, slots=True)
class StageOf:
    """What a function that is a stage of ``graph`` has to know of it: whether it works on a part of the batch, and how
    large symbols are as a rule."""

    graph: Graph
    in_parts: bool
    typical: Mapping[str, int]


class FunctionWriter:
    """Writes one graph; afterwards :meth:`lines` gives its text, and ``slots`` the memory that it works in.

    ``once`` and ``call`` are the statements that are executed when the function is bound, and at each call.
    """

    def __init__(self, graph: Graph, shared: Shared, stage: StageOf | None = None) -> None:
        """A stage is bound to the sizes of all symbols of the whole, and to the arrays that it reads: these are always
        the same."""
        self.graph, self.shared, self.stage = graph, shared, stage
        self._bound_to = stage.graph.symbols if stage else graph.symbols
        self.plan = make_plan(graph, Home.GIVEN if stage else Home.DATA)
        self.names = Names(shared.names)
        self.name, self.bind_name = self.names.new(graph.name), self.names.new(f"bind_{graph.name}")
        self.symbols: dict[str, Dim] = {s.name: symbol(self.names.new(s.name)) for s in self._bound_to}
        self.expressions: dict[Value, str] = {}
        # The arrays that are the same at each call, and what a stage takes of them when it is bound.
        self.fixed: set[str] = set()
        self.given: list[Input] = []
        self.once: list[str | _Declared] = []
        self.call: list[str] = []
        self._common = common_scope(graph)
        self._returned = {output.value: output.name for output in graph.outputs if output.updates is None}
        self._blocks: list[Block] = []
        self.results: dict[str, str] = {}
        self._made_once: dict[str, str] = {}
        # What has to hold for the sizes, and what to say where it does not.
        self.required: dict[str, str] = {}
        # The bytes of what is made once.
        self.tables: list[Dim] = []
        self._place: Origin | str = ""
        self._comment = "# "
        self._shapes: dict[tuple[Dim, ...], str] = {}
        # Whether it has to be a stage, whose arrays are always the same: something in it is bound to them, or had
        # better run at the same time as something else.
        self.shares = False
        self._write()
        places, self.slots = assign_slots(dict.fromkeys(self._blocks))
        self._slot_names = [self.names.new(f"memory_{number}") for number in range(1, len(self.slots) + 1)]
        self._memory = {block: self._slot_names[slot] for block, slot in places.items()}

    # What the lowering of a node asks for

    def dim(self, dim: Dim) -> str:
        """The text of a size in this function, safe inside any expression."""
        return dim_text(dim, self.symbols)

    def shape(self, dims: Sequence[Dim]) -> str:
        """The text of a tuple of sizes."""
        key = tuple(dims)
        if key not in self._shapes:
            self._shapes[key] = tuple_text(str(substitute(dim, self.symbols)) for dim in key)
        return self._shapes[key]

    def make_once(self, wanted: str, expression: str, bytes: Dim = 0) -> str:
        """The name of what ``expression`` gives when the function is bound; equal ones are made once.

        ``bytes`` is the memory that it takes, none for a view.
        """
        if expression not in self._made_once:
            self.tables.append(bytes)
            name = self._made_once[expression] = self.names.new(wanted)
            self.once.append(f"{name} = {expression}")
            self.fixed.add(name)
        return self._made_once[expression]

    def declare(self, wanted: str, type: TensorType, block: Block, channels_last: bool = False) -> str:
        """The name of a new array in ``block``: contiguous, or [N, C, *spatial] that lies there as
        [N, *spatial, C]."""
        name = self.names.new(wanted)
        self.fixed.add(name)
        self._blocks.append(self.plan.inside[block][0] if block in self.plan.inside else block)
        shape, turned = type.shape, ""
        if channels_last:
            shape, turned = (
                (shape[0], *shape[2:], shape[1]),
                f".transpose({(0, type.rank - 1, *range(1, type.rank - 1))})",
            )
        self.once.append(_Declared(name, block, self.shared.dtype(type.dtype), self.shape(shape), turned))
        return name

    def statement(self, text: str, place: Origin | str) -> None:
        """Add a statement to the call, under a comment that shows the place it comes from."""
        if place is not self._place:
            self._place = place
            shown = f"# {(place if isinstance(place, str) else place_of(place)) or 'from no line of the source'}"
            if shown != self._comment:
                self._comment = shown
                self.call.append(shown)
        self.call.append(text)

    def parts(self, work: Dim) -> int:
        """How many calls had better share so many multiply-adds: one in a part, as others have parts of their own."""
        if self.stage and self.stage.in_parts:
            return 1
        sizes = {s.name: s.nearest(_TYPICAL) for s in symbols(work)}
        return parts_of_work(evaluate(work, {**sizes, **(self.stage.typical if self.stage else {})}))

    def shared_call(self, calls: Sequence[str], work: Dim) -> str:
        """The name of a function of no arguments that makes all of ``calls``, at the same time if there is who does."""
        self.shares = True
        name = self.names.new("shared")
        self.once.append(f"{name} = share([{', '.join(f'lambda: {call}' for call in calls)}], {self.dim(work)})")
        return name

    def prepare(self, wanted: str, expression: str) -> str:
        """The name of a function that ``expression`` makes of arrays when this one is bound."""
        self.shares = True
        name = self.names.new(wanted)
        self.once.append(f"{name} = {expression}")
        return name

    # The graph, from the inputs to the end

    def _write(self) -> None:
        updated = {output.updates for output in self.graph.outputs}
        for item in self.graph.inputs:
            if item.role is Role.DATA or item.value in self.plan.last_use or item.name in updated:
                self._write_input(item)
        for index, node in enumerate(self.graph.nodes):
            for value in node.outputs:
                self.expressions[value] = self._result(node, value)
            once = all(self.plan.is_made_once(value) for value in node.outputs)
            lowering = NodeLowering(self, index, node, once)
            lowering.require_sizes()
            operation_of(node).numpy(lowering)
        self._write_end()

    def _write_input(self, item: Input) -> None:
        name = self.expressions[item.value] = self.names.new(input_name(item, self._common))
        if self.stage:
            self.given.append(item)
            self.fixed.add(name)
        elif item.role is not Role.DATA:
            type = item.value.type
            where = f"{quoted(item.name)}, {self.shared.dtype(type.dtype)}, {self.shape(type.shape)}"
            self.once.append(f"{name} = _kept(kept, {where})")
            self.fixed.add(name)

    def _result(self, node: Node, value: Value) -> str:
        """The name of what holds a result, which is declared where the program writes into it."""
        if value in self.plan.direct:
            return self.expressions[self.plan.direct[value]]
        wanted = self._returned.get(value) or value_name(value, node, self._common)
        if value in self.plan.blocks and value not in self.plan.shared:
            return self.declare(wanted, value.type, self.plan.blocks[value], value in self.plan.channels_last)
        name = self.names.new(wanted)
        if value in self.plan.shared:
            self.once.append(f"{name} = {self.expressions[node.inputs[self.plan.shared[value]]]}")
        if self.plan.home_of(value) is not Home.DATA:
            self.fixed.add(name)
        return name

    def _write_end(self) -> None:
        copies: dict[Block, str] = {}
        for output, block in self.plan.returned:
            source = self.expressions[output.value]
            if block is None:
                self.results[output.name] = source
                continue
            if block not in copies:
                copies[block] = self.declare(output.name, output.value.type, block)
                self.statement(f"np.copyto({copies[block]}, {source})", "results")
            self.results[output.name] = copies[block]
        staged: dict[Value, str] = {}
        for value, block in self.plan.staged.items():
            staged[value] = self.declare(f"old_{self.expressions[value]}", value.type, block)
            self.statement(f"np.copyto({staged[value]}, {self.expressions[value]})", "for the next call")
        for value, kept in self.plan.updates:
            source = staged.get(value, self.expressions[value])
            self.statement(f"np.copyto({self.expressions[kept]}, {source})", "for the next call")

    # The text

    @property
    def sizes(self) -> list[str]:
        """The parameters of the ``bind_…`` function behind ``kept``."""
        return [str(self.symbols[s.name]) for s in self._bound_to]

    @property
    def data(self) -> list[str]:
        """The parameters of the function."""
        return [self.expressions[value] for value in self.graph.inputs_of(Role.DATA)]

    def lines(self, timed: bool = False) -> Iterator[str]:
        """The ``bind_…`` function, which makes the function of one step and gives it back, for a stage with its
        results. A ``timed`` one tells ``_enter`` where it is."""
        if self.stage:
            arrays = (self.expressions[item.value] for item in self.given)
            yield from definition(self.bind_name, [*self.sizes, "memory", "share", *arrays])
        else:
            yield from definition(self.bind_name, ["kept", *self.sizes])
        yield f'    """Make `{self.name}` for these sizes."""'
        given = ("memory", "a function") if self.stage else ("kept", "a dict of arrays")
        yield from size_checks(zip(self._bound_to, self.sizes, strict=True), self.required, *given)
        if self.slots:
            yield "    # Memory, each piece for one result after the other."
        for name, slot in zip(self._slot_names, self.slots, strict=True):
            yield f"    {name} = {'' if self.stage else '_'}memory({self._slot_text(slot)})"
        yield "    # Arrays that stay the same at every call."
        for line in self.once:
            yield f"    {line if isinstance(line, str) else self._declaration(line)}"
        yield from self._results()
        yield ""
        yield f"    def {self.name}({'' if self.stage else ', '.join(self.data)}):"
        for line in self.call:
            yield f"        {line}"
            if timed and line.startswith("# "):
                yield f"        _enter({quoted(self.graph.name)}, {quoted(line[2:])})"
        if timed:
            yield '        _enter("", "")'
        if not self.stage:
            yield "        return results"
        elif not self.call:
            yield "        pass"
        yield ""
        yield f"    return {self.name}{', results' if self.stage else ''}"

    def _results(self) -> Iterator[str]:
        if self.stage:
            yield f"    results = {tuple_text(self.results.values())}"
            return
        items = [f"{quoted(name)}: {expression}" for name, expression in self.results.items()]
        if len(items) <= 3:
            yield f"    results = {{{', '.join(items)}}}"
            return
        yield "    results = {"
        yield from (f"        {item}," for item in items)
        yield "    }"

    def entry(self) -> Iterator[str]:
        """The entry in the module's table of functions."""
        return entry(self.graph, self.bind_name, self.symbols, self.neighbours(), in_parts=False)

    def neighbours(self) -> Iterator[tuple[str, ...]]:
        """The names of arrays that had best lie one behind the other where they are kept."""
        for node in self.graph.nodes:
            if isinstance(node.operation, JointStep):
                yield from (tuple(value.name for value in values) for values in node.operation.neighbours(node))

    def _slot_text(self, slot: Slot) -> str:
        sizes = [str(substitute(size, self.symbols)) for size in slot.sizes]
        return sizes[0] if len(sizes) == 1 else f"max({', '.join(sizes)})"

    def _declaration(self, line: _Declared) -> str:
        block, start = self.plan.inside.get(line.block, (line.block, 0))
        memory = f"{self._memory[block]}[{start}:]" if start else self._memory[block]
        return f"{line.name} = _array({memory}, {line.dtype}, {line.shape}){line.turned}"


def written(graph: Graph, shared: Shared, stage: StageOf | None = None) -> FunctionWriter:
    """The function of ``graph``, written anew where something of the module's took the name of one of its arrays."""
    while True:
        writer = FunctionWriter(graph, shared, stage)
        if not writer.names.taken & shared.names.taken:
            shared.names.taken |= {writer.name, writer.bind_name}
            return writer
