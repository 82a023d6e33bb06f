"""The only way to make a graph: infers every type, checks every operand and stamps where nodes came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from compiler.ir.graph import NOWHERE, Graph, Input, Node, Operation, Origin, Output, Role, Value
from compiler.ir.types import TensorType


class Builder:
    """Collects inputs, nodes and outputs, then :meth:`finish` gives the graph.

    Nodes get the origin that is current: ``with builder.at(origin): …``. A mistake of the caller (a value of another
    graph, a name taken) is a ValueError; operands that do not fit raise TypeMismatch.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._inputs: list[Input] = []
        self._nodes: list[Node] = []
        self._outputs: dict[str, Output] = {}
        # What made each value so far: None for an input.
        self._makers: dict[Value, Node | None] = {}
        self._input_origins: dict[str, Origin] = {}
        self._names: set[str] = set()
        self._next = 0
        self._origin = NOWHERE

    @property
    def origin(self) -> Origin:
        return self._origin

    @contextmanager
    def at(self, origin: Origin) -> Iterator[None]:
        """Stamp ``origin`` on what is added inside."""
        before, self._origin = self._origin, origin
        try:
            yield
        finally:
            self._origin = before

    def input(self, name: str, type: TensorType, role: Role = Role.DATA) -> Value:
        """A new input of the graph."""
        return self._enter(Input(self._value(type, name), role), self._origin)

    def keep_inputs(self, graph: Graph) -> None:
        """Take over the inputs of another graph, with their values."""
        for item in graph.inputs:
            self._claim(item.name)
        self._inputs += graph.inputs
        self._makers.update(dict.fromkeys([item.value for item in graph.inputs]))
        self._input_origins |= {item.name: NOWHERE for item in graph.inputs} | graph.input_origins

    def add(self, operation: Operation, *inputs: Value) -> Value:
        """Add a node with one result and give that result."""
        outputs = self.add_node(operation, inputs)
        if len(outputs) != 1:
            raise ValueError(f"{operation.opcode} has {len(outputs)} results: use add_node")
        return outputs[0]

    def add_node(
        self,
        operation: Operation,
        inputs: tuple[Value, ...],
        names: tuple[str, ...] = (),
        types: tuple[TensorType, ...] | None = None,
    ) -> tuple[Value, ...]:
        """Add a node and give its results, named ``names`` where given and free, numbered otherwise.

        ``types`` are those of the results, where they have been inferred from operands of these types before.
        """
        self._check(inputs)
        if types is None:
            types = operation.infer(tuple([value.type for value in inputs]))
        wanted = names or ("",) * len(types)
        taken = self._names
        outputs = tuple(
            [self._value(type, "" if name in taken else name) for type, name in zip(types, wanted, strict=True)]
        )
        self._append(Node(operation, inputs, outputs, self._origin))
        return outputs

    def copy(self, node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        """Add ``node`` of another graph again on other inputs; its names and its origin are kept.

        Its results are taken over where their names are free and their types the same, so that nodes which read them
        can be taken over as they are, as this one is on the same inputs.
        """
        names = [value.name for value in node.outputs]
        same = inputs == node.inputs
        alike = same or _types(inputs) == _types(node.inputs)
        if alike and self._names.isdisjoint(names):
            self._check(inputs)
            self.keep(node if same else Node(node.operation, inputs, node.outputs, node.origin))
            return node.outputs
        before, self._origin = self._origin, node.origin
        try:
            return self.add_node(node.operation, inputs, tuple(names), _types(node.outputs) if alike else None)
        finally:
            self._origin = before

    def keep(self, node: Node) -> None:
        """Take over a node with its results, where it is known that its operands are there and the names are free."""
        self._names.update([value.name for value in node.outputs])
        self._append(node)

    def adopt(self, values: tuple[Value, ...]) -> None:
        """Have the node added last give ``values`` of another graph, whose names are free and types the same, rather
        than its own results, which nothing has read yet."""
        last = self._nodes.pop()
        for value in last.outputs:
            del self._makers[value]
            self._names.remove(value.name)
        self.keep(Node(last.operation, last.inputs, values, last.origin))

    def reserve(self, graph: Graph) -> None:
        """Keep the names of ``graph`` for copies of its values, so that a rewrite renames nothing it keeps."""
        self._next = max(self._next, graph.free_number)

    def number_after(self, other: Builder) -> None:
        """Keep the names of values that ``other`` has numbered for copies of these."""
        self._next = max(self._next, other._next)

    def output(self, name: str, value: Value, updates: str | None = None) -> None:
        """Name ``value`` as a result of the graph."""
        if value not in self._makers:
            raise ValueError(f"{value} is not a value of graph {self.name}")
        if name in self._outputs:
            raise ValueError(f"graph {self.name} has an output {name} already")
        self._outputs[name] = Output(name, value, updates)

    def origin_of(self, value: Value) -> Origin:
        """Where ``value`` was made."""
        node = self._makers[value]
        return self._input_origins[value.name] if node is None else node.origin

    def producer(self, value: Value) -> Node | None:
        """The node that made ``value``; None for an input."""
        return self._makers.get(value)

    @property
    def inputs(self) -> Sequence[Input]:
        """The inputs so far, in order."""
        return self._inputs

    @property
    def nodes(self) -> Sequence[Node]:
        """The nodes added so far, in order."""
        return self._nodes

    def finish(self) -> Graph:
        """The graph as built so far."""
        inputs, nodes, outputs = tuple(self._inputs), tuple(self._nodes), tuple(self._outputs.values())
        return Graph(self.name, inputs, nodes, outputs, dict(self._input_origins))

    def _value(self, type: TensorType, name: str) -> Value:
        """A new value, with a number for a name where it is given none."""
        while not name:
            number, self._next = f"t{self._next}", self._next + 1
            name = "" if number in self._names else number
        self._claim(name)
        return Value(name, type)

    def _claim(self, name: str) -> None:
        if name in self._names:
            raise ValueError(f"graph {self.name} has a value {name} already")
        self._names.add(name)

    def _check(self, inputs: tuple[Value, ...]) -> None:
        for value in inputs:
            if value not in self._makers:
                raise ValueError(f"{value} is not a value of graph {self.name}")

    def _enter(self, item: Input, origin: Origin) -> Value:
        self._inputs.append(item)
        self._makers[item.value] = None
        self._input_origins[item.name] = origin
        return item.value

    def _append(self, node: Node) -> None:
        self._nodes.append(node)
        for value in node.outputs:
            self._makers[value] = node


def _types(values: tuple[Value, ...]) -> tuple[TensorType, ...]:
    return tuple([value.type for value in values])
