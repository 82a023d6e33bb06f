"""Sequences that a file has as plain rows, samples and steps in one axis, brought back to an axis for each; and those
that it has with the steps first, as recurrent operations want them, with the samples first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compiler.ir.dims import Dim, Poly, as_symbol, equal, product
from compiler.ir.graph import Graph, Node, Value
from compiler.ops.emit import Emit

# Operations along the last axis, by the attribute that says which one it is.
_ALONG = ("softmax", "log_softmax", "layer_norm", "rms_norm")
_RECURRENT = ("lstm", "gru", "rnn")
_TURN = (1, 0, 2)


def with_sequences(graph: Graph) -> Graph:
    """The graph in which rows [N·T, D] that were made of sequences, and sequences [T, N, D], are sequences [N, T, D],
    as far as layers take them."""
    return _Turns(_Rows(graph).run()).run()


class _Rows:
    last = 1  # the axis of the numbers of a row

    def __init__(self, graph: Graph) -> None:
        self.graph, self.b = graph, Emit(graph.name)
        self.values: dict[Value, Value] = {}
        # Rows of the old graph, or sequences with the steps first, and the sequences of the new one that they are.
        self.sequences: dict[Value, Value] = {}

    def run(self) -> Graph:
        self.b.reserve(self.graph)
        for item in self.graph.inputs:
            self.values[item.value] = self.b.input(item.name, item.value.type, item.role)
        for node in self.graph.nodes:
            with self.b.at(node.origin):
                self._node(node)
        for output in self.graph.outputs:
            self.b.output(output.name, self._plain(output.value), output.updates)
        return self.b.finish()

    def _node(self, node: Node) -> None:
        if node.operation.opcode == "reshape" and self._reshaped(node):
            return
        if any(value in self.sequences for value in node.inputs) and self._along(node):
            return
        made = self.b.copy(node, tuple(map(self._plain, node.inputs)))
        self.values.update(zip(node.outputs, made, strict=True))

    def _plain(self, value: Value) -> Value:
        """A value with the axes that it had."""
        if value not in self.values:
            self.values[value] = self.b.reshape(self.sequences[value], value.type.shape)
        return self.values[value]

    def _reshaped(self, node: Node) -> bool:
        """Sequences to rows, and rows to something else."""
        (x,), shape = node.inputs, node.output.type.shape
        source = self.sequences.get(x)
        source = self.values[x] if source is None else source
        before = source.type.shape
        rows = len(shape) == 2 and isinstance(shape[0], Poly) and as_symbol(shape[0]) is None and len(before) > 2
        if rows and equal(product(before[:2]), shape[0]) is True:
            self.sequences[node.output] = self._shaped(source, (*before[:2], shape[1]))
            return True
        if x in self.sequences:
            self.values[node.output] = self._shaped(source, shape)
            return True
        return False

    def _shaped(self, value: Value, shape: tuple[Dim, ...]) -> Value:
        same = len(value.type.shape) == len(shape) and all(
            equal(a, b) is True for a, b in zip(value.type.shape, shape, strict=True)
        )
        return value if same else self.b.reshape(value, shape)

    def _along(self, node: Node) -> bool:
        """A layer or a function that does with each row what it would do with each step."""
        operation: Any = node.operation
        first, *others = node.inputs
        sequence = next(self.sequences[value] for value in node.inputs if value in self.sequences)
        if operation.opcode == "matmul":
            fits = first in self.sequences and others[0] not in self.sequences and others[0].type.rank == 2
        elif operation.opcode in _ALONG:
            fits = first in self.sequences and operation.axis % (self.last + 1) == self.last
            operation = replace(operation, axis=2)
        else:
            fits = operation.elementwise and len(node.outputs) == 1
        leads = {value: self.sequences[value].type.shape[:2] for value in node.inputs if value in self.sequences}
        alike = all(lead == sequence.type.shape[:2] for lead in leads.values())
        small = all(value in leads or value.type.rank < 2 for value in node.inputs)
        if not fits or not alike or not (small or operation.opcode == "matmul"):
            return False
        operands = [self.sequences.get(value) or self._plain(value) for value in node.inputs]
        self.sequences[node.output] = self.b.add(operation, *operands)
        return True


class _Turns(_Rows):
    last = 2

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.results: set[Value] = set()  # what recurrent operations of the old graph give for each step

    def _node(self, node: Node) -> None:
        operation: Any = node.operation
        if operation.opcode in _RECURRENT:
            self.results.add(node.outputs[0])
        elif operation.elementwise or operation.opcode in ("matmul", *_ALONG):
            for value in self.results.intersection(node.inputs) - self.sequences.keys():
                self.sequences[value] = self.b.transpose(self.values[value], _TURN)
        elif operation.opcode == "transpose" and self._turned(node, tuple(operation.permutation)):
            return
        elif operation.opcode == "gather" and operation.axis == 0 and node.inputs[1] in self.sequences:
            table, indices = node.inputs
            self.sequences[node.output] = self.b.add(operation, self._plain(table), self.sequences[indices])
            return
        super()._node(node)

    def _turned(self, node: Node, permutation: tuple[int, ...]) -> bool:
        """Indices with the steps first, and sequences that get their samples first."""
        (x,) = node.inputs
        if permutation == _TURN and x in self.sequences:
            self.values[node.output] = self.sequences[x]
        elif permutation == _TURN[:2] and x.type.dtype.is_integer:
            self.sequences[node.output] = self._plain(x)
        else:
            return False
        return True

    def _plain(self, value: Value) -> Value:
        if value not in self.values:
            self.values[value] = self.b.transpose(self.sequences[value], _TURN[: value.type.rank])
        return self.values[value]

    def _reshaped(self, node: Node) -> bool:
        return False
