"""Where each value of a graph lives while a NumPy program runs: which values share memory and which are copied.

All of it is worked out from the graph alone, before any text is written. ``Plan.end`` is the position after the last
node, at which results are given back and kept arrays get their next content.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from compiler.ir.dims import Dim
from compiler.ir.graph import Graph, Node, Output, Role, Value
from compiler.ir.types import TensorType
from compiler.ops.base import Op, Storage
from compiler.targets.numpy.layout import channels_last
from compiler.targets.numpy.memory import Block


class Home(Enum):
    """What kind of array holds a value."""

    DATA = "data"  # an argument of the call
    GIVEN = "given"  # data that is always in the same array, as what goes from one stage to another
    KEPT = "kept"  # a weight or state, before its update
    CONSTANT = "constant"
    OWN = "own"  # written by the program: into a block, or into the kept array that it updates


@dataclass
class Plan:
    """Where the values live. ``root`` gives the value whose memory a value shows: itself, unless it is a view."""

    graph: Graph
    end: int
    root: dict[Value, Value] = field(default_factory=dict)
    home: dict[Value, Home] = field(default_factory=dict)  # of roots
    contiguous: set[Value] = field(default_factory=set)
    channels_last: set[Value] = field(default_factory=set)
    # The last position that reads a root or a view of it.
    last_use: dict[Value, int] = field(default_factory=dict)
    # The memory of each root that is at home in OWN, unless ``direct`` names the kept array it is written into.
    blocks: dict[Value, Block] = field(default_factory=dict)
    direct: dict[Value, Value] = field(default_factory=dict)
    # The operand whose memory a result takes over, by its index.
    shared: dict[Value, int] = field(default_factory=dict)
    # Blocks in which operands lie one behind the other, by the node's position and the operands; and for a block that
    # is a part of one, which it is and where it begins.
    rows: dict[tuple[int, tuple[int, ...]], Block] = field(default_factory=dict)
    inside: dict[Block, tuple[Block, Dim]] = field(default_factory=dict)
    # What happens at the end, in this order: results copied that are not the program's own, or not contiguous; sources
    # of updates moved away from kept arrays that are about to change; updates that were not written directly.
    returned: list[tuple[Output, Block | None]] = field(default_factory=list)
    staged: dict[Value, Block] = field(default_factory=dict)
    updates: list[tuple[Value, Value]] = field(default_factory=list)

    def home_of(self, value: Value) -> Home:
        return self.home[self.root[value]]

    def is_made_once(self, value: Value) -> bool:
        """Whether the statements that make the value are executed when the program is bound, not at each call."""
        home = self.home_of(value)
        return home is Home.CONSTANT or (home is not Home.DATA and self.root[value] is not value)


def make_plan(graph: Graph, data: Home = Home.DATA) -> Plan:
    """Plan the memory of ``graph``, whose data inputs are at home in ``data``; takes time in proportion to its nodes.

    Raises ValueError where an operation's storage contradicts its operands.
    """
    plan = Plan(graph, len(graph.nodes), channels_last=channels_last(graph))
    for item in graph.inputs:
        _add_root(plan, item.value, data if item.role is Role.DATA else Home.KEPT)
    for node in graph.nodes:
        _find_roots(plan, node)
    _find_last_uses(plan)
    updated = _updates(plan)
    for index, node in enumerate(graph.nodes):
        taking = _Taking(plan, index, node)
        for number, value in enumerate(node.outputs):
            if plan.home.get(value) is Home.OWN:
                _place(taking, number, value, updated)
    _plan_end(plan)
    for index, node in enumerate(graph.nodes):
        for operands in operation_of(node).side_by_side:
            _put_side_by_side(plan, index, node, operands)
    return plan


def byte_size(type: TensorType) -> Dim:
    """The bytes that an array of this type takes."""
    return type.size * type.dtype.bytes


def operation_of(node: Node) -> Op:
    """The node's operation, with all its facets."""
    assert isinstance(node.operation, Op)
    return node.operation


def _add_root(plan: Plan, value: Value, home: Home) -> None:
    plan.root[value] = value
    plan.home[value] = home
    if value not in plan.channels_last:
        plan.contiguous.add(value)


def _find_roots(plan: Plan, node: Node) -> None:
    operation = operation_of(node)
    for value in node.outputs:
        match operation.storage:
            case Storage.BUFFER:
                _add_root(plan, value, Home.OWN)
            case Storage.CONSTANT:
                _add_root(plan, value, Home.CONSTANT)
            case Storage.VIEW:
                _find_view(plan, operation, node.inputs[0], value)
    if operation.storage is Storage.CONSTANT and any(plan.home_of(value) is not Home.CONSTANT for value in node.inputs):
        raise ValueError(f"{operation.opcode} is made once, but an operand of it is not constant")


def _find_view(plan: Plan, operation: Op, operand: Value, value: Value) -> None:
    contiguous = operand in plan.contiguous
    if operation.needs_contiguous and not contiguous:
        _add_root(plan, value, Home.OWN)
        return
    plan.root[value] = plan.root[operand]
    if operation.keeps_contiguous and contiguous:
        plan.contiguous.add(value)


def _find_last_uses(plan: Plan) -> None:
    for index, node in enumerate(plan.graph.nodes):
        for value in node.inputs:
            plan.last_use[plan.root[value]] = index
    for output in plan.graph.outputs:
        if not _is_idle(output):
            plan.last_use[plan.root[output.value]] = plan.end


def _is_idle(output: Output) -> bool:
    """Whether the output only says that a kept array stays as it is."""
    return output.updates == output.value.name


def _updates(plan: Plan) -> dict[Value, Value]:
    """For each value that may be written into a kept array that it updates, that input.

    Neither it nor a view of it may be a result: a caller could then change what is kept by writing into a result.
    """
    kept = {item.name: item.value for item in plan.graph.inputs}
    returned = {plan.root[output.value] for output in plan.graph.outputs if output.updates is None}
    return {
        output.value: kept[output.updates]
        for output in plan.graph.outputs
        if output.updates is not None and output.value not in returned
    }


def _place(taking: _Taking, number: int, value: Value, updated: dict[Value, Value]) -> None:
    """Decide where ``value`` is written: over what it updates, over a dying operand, or into a block of its own."""
    plan, index = taking.plan, taking.index
    kept = updated.get(value)
    if kept is not None and _may_overwrite(taking, number, value, kept):
        plan.direct[value] = kept
        return
    last = plan.last_use.get(value, index)
    for operand_index in taking.overwritable(number, value):
        block = plan.blocks.get(plan.root[taking.node.inputs[operand_index]])
        if block is not None:
            block.last = last
            plan.blocks[value] = block
            taking.take(value, operand_index)
            return
    plan.blocks[value] = Block(byte_size(value.type), index, last)


def _may_overwrite(taking: _Taking, number: int, value: Value, kept: Value) -> bool:
    """Whether a result of the node can be written straight into the kept array."""
    last = taking.plan.last_use.get(kept, -1)
    if last != taking.index:
        return last < taking.index
    for operand_index in taking.overwritable(number, value):
        if taking.plan.root[taking.node.inputs[operand_index]] is kept:
            taking.take(value, operand_index)
            return True
    return False


@dataclass
class _Taking:
    """What memory of its operands the results of a node, the one at ``index``, take over: each at most once."""

    plan: Plan
    index: int
    node: Node
    _taken: set[Value] = field(default_factory=set)

    @cached_property
    def _showing(self) -> dict[Value, list[int]]:
        """Which operands show the memory of each root."""
        found: dict[Value, list[int]] = {}
        for position, value in enumerate(self.node.inputs):
            found.setdefault(self.plan.root[value], []).append(position)
        return found

    def take(self, value: Value, operand_index: int) -> None:
        """Note that the result ``value`` takes over an operand's memory."""
        self.plan.shared[value] = operand_index
        self._taken.add(self.plan.root[self.node.inputs[operand_index]])

    def overwritable(self, number: int, value: Value) -> Iterator[int]:
        """The operands whose memory ``value``, result ``number``, may take over: the whole of it, at its last use,
        element by element. An operand that shows the same memory in another way forbids it."""
        plan, inputs = self.plan, self.node.inputs
        allowed = operation_of(self.node).overwritable(number)
        for operand_index in allowed:
            operand = inputs[operand_index]
            root = plan.root[operand]
            if (
                operand.type == value.type
                and root not in self._taken
                and (operand in plan.channels_last) == (value in plan.channels_last)
                and (operand in plan.contiguous or operand in plan.channels_last)
                and plan.last_use[root] == self.index
                and (operand is root or byte_size(operand.type) == byte_size(root.type))
                and all(inputs[position] is operand and position in allowed for position in self._showing[root])
            ):
                yield operand_index


def _put_side_by_side(plan: Plan, index: int, node: Node, operands: tuple[int, ...]) -> None:
    """Make one block of those that the operands have to themselves; what has none is copied into it."""
    row = plan.rows[index, operands] = Block(0, index, index)
    for operand in operands:
        value = node.inputs[operand]
        block, size = plan.blocks.get(plan.root[value]), byte_size(value.type)
        if block is not None and block not in plan.inside and block.bytes == size and value in plan.contiguous:
            plan.inside[block] = row, row.bytes
            row.first, row.last = min(row.first, block.first), max(row.last, block.last)
        row.bytes += size


def _plan_end(plan: Plan) -> None:
    changing = {output.updates for output in plan.graph.outputs if output.updates and not _is_idle(output)}
    inputs = {item.name: item.value for item in plan.graph.inputs}
    copies: dict[Value, Block] = {}
    for output in plan.graph.outputs:
        value = output.value
        root = plan.root[value]
        if output.updates is None:
            if plan.home[root] is not Home.OWN or value not in plan.contiguous:
                copies.setdefault(value, Block(byte_size(value.type), plan.end, plan.end))
            plan.returned.append((output, copies.get(value)))
        elif not _is_idle(output) and plan.direct.get(value) is not inputs[output.updates]:
            plan.updates.append((value, inputs[output.updates]))
            if plan.home[root] is Home.KEPT and root.name in changing:
                plan.staged.setdefault(value, Block(byte_size(value.type), plan.end, plan.end))
