"""An ONNX graph being written: its nodes, its constants and its arithmetic on symbolic sizes."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PureWindowsPath
from typing import Any

import numpy as np
import onnx

from compiler.ir.dims import Atom, Dim, Floor, Monomial, Poly, Symbol, bounds
from compiler.ir.graph import NOWHERE, Node, Origin, Value
from compiler.ir.types import DType, TensorType
from compiler.ops.base import Array, Device, OnnxLowering
from compiler.ops.relayed import RelayedLowering
from compiler.targets.onnx.content import little_endian
from compiler.targets.onnx.names import Names, within
from compiler.targets.onnx.proto import attribute, outline_of, schema, tensor, value_info
from compiler.targets.onnx.releases import IR_VERSION, OPSETS

# Nodes carry metadata from this IR version on; before it the source place goes into doc_string.
_NODE_METADATA = 10
_AXES_INPUT = 18
_SHORT = 4  # constants of up to this many elements are named by their content


class OpsetError(Exception):
    """A node has no such form in the opset that was asked for, but from ``needed`` on."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"opset {needed}")
        self.needed = needed


class Writer:
    """Collects nodes and initializers. ``symbols`` gives the input and the axis that each symbol is read from. Arrays
    of ``largest`` bytes and more are not written into the model, which only tells their types, but kept in ``apart``: a
    single one may be too large for a message."""

    def __init__(
        self,
        names: Names,
        symbols: Mapping[str, tuple[str, int]],
        opset: int,
        device: Device = "cpu",
        largest: int | None = None,
    ) -> None:
        self.opset, self.device = opset, device
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.sources: dict[str, str] = {}
        self.made: set[str] = set()
        self.apart: dict[str, Array] = {}
        self._largest = largest
        self._names, self._node_names = names, Names()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._graphs = [_OpenGraph()]
        self._symbols = symbols
        self._atoms: dict[Atom, str] = {}
        self._sizes: dict[Dim, str] = {}
        self._shapes: dict[tuple[Dim, ...], str] = {}

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """The nodes of the network, without those inside them."""
        return self._graphs[0].nodes

    @contextmanager
    def inner(self) -> Iterator[list[onnx.NodeProto]]:
        """Nodes that are added in this context go into the list that it gives, for a graph inside a node."""
        outer = self._graphs
        self._graphs = [*outer, _OpenGraph()]
        try:
            yield self._graphs[-1].nodes
        finally:
            self._graphs = outer

    @contextmanager
    def _outermost(self) -> Iterator[None]:
        """What is added in this context can be read everywhere."""
        inner = self._graphs
        self._graphs = inner[:1]
        try:
            yield
        finally:
            self._graphs = inner

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str] | None = None,
        origin: Origin = NOWHERE,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Add a node and give the name of its first result.

        Where ``outputs`` are not given that is a fresh one, or the result of an equal node that has been added so.
        """
        inputs, given = self._in_opset(kind, inputs, attributes or {})
        declared = self._schema(kind, len(inputs), given).attributes
        details = [attribute(declared[key], given[key]) for key in sorted(given)]
        key = (kind, tuple(inputs), b"".join(detail.SerializeToString(deterministic=True) for detail in details))
        if outputs is None:
            for graph in self._graphs:
                if key in graph.anonymous:
                    return graph.anonymous[key]
        name = self._node_names.take(within(origin.scope, kind))
        results = [self._names.take(name)] if outputs is None else list(outputs)
        if outputs is None:
            self._graphs[-1].anonymous[key] = results[0]
        proto = onnx.NodeProto(op_type=kind, name=name, input=inputs, output=results, attribute=details)
        if origin.spans:
            self._stamp(proto, source_place(origin))
        self._graphs[-1].nodes.append(proto)
        self.made.update(results)
        return results[0]

    def _in_opset(
        self, kind: str, inputs: Sequence[str], given: Mapping[str, Any]
    ) -> tuple[Sequence[str], Mapping[str, Any]]:
        """Inputs and attributes as the opset has them: the axes of reductions became an input, of the sum earlier."""
        if self.opset >= _AXES_INPUT or not kind.startswith("Reduce") or kind == "ReduceSum" or len(inputs) == 1:
            return inputs, given
        return inputs[:1], {**given, "axes": self.stored(inputs[1]).tolist()}

    def _schema(self, kind: str, inputs: int, attributes: Mapping[str, Any]) -> onnx.defs.OpSchema:
        found = schema(kind, inputs, attributes, self.opset)
        if found is not None:
            return found
        later = [o for o in OPSETS if o > self.opset and schema(kind, inputs, attributes, o) is not None]
        if not later:
            raise ValueError(f"{kind} with {inputs} inputs and {sorted(attributes)} is in no opset")
        raise OpsetError(later[0])

    def _stamp(self, proto: onnx.NodeProto, place: str) -> None:
        self.sources[proto.name] = place
        if IR_VERSION[self.opset] >= _NODE_METADATA:
            proto.metadata_props.add(key="source", value=place)
        else:
            proto.doc_string = f"source: {place}"

    def store(self, name: str, array: Array) -> None:
        """Make an array an initializer."""
        if self._largest is None or array.nbytes < self._largest:
            self.initializers[name] = tensor(name, array)
            return
        self.initializers[name] = outline_of(name, array)
        self.apart[name] = array

    def stored(self, name: str) -> Array:
        """The content of an initializer."""
        if name in self.apart:
            return self.apart[name]
        return np.asarray(onnx.numpy_helper.to_array(self.initializers[name]))

    def fresh(self, wanted: str) -> str:
        """A name like ``wanted`` that no tensor has."""
        return self._names.take(wanted)

    def constant(self, array: Array, hint: str = "") -> str:
        """The name of an initializer with this content; equal ones are kept once."""
        key = (array.dtype.name, array.shape, bytes(little_endian(array)))
        if key not in self._constants:
            described = hint or f"{array.dtype.name}{list(array.shape)}"
            shown = str(array.tolist()) if array.size <= _SHORT else described
            name = self._names.take(f"constant {shown}")
            self._constants[key] = name
            self.store(name, array)
        return self._constants[key]

    def shape(self, dims: Sequence[Dim]) -> str:
        """The name of an int64 tensor that holds ``dims``."""
        key = tuple(dims)
        if key not in self._shapes:
            with self._outermost():
                self._shapes[key] = self._write_shape(key)
        return self._shapes[key]

    def _write_shape(self, dims: tuple[Dim, ...]) -> str:
        parts: list[str] = []
        numbers: list[int] = []
        for dim in (*dims, None):
            if isinstance(dim, int):
                numbers.append(dim)
                continue
            if numbers or not dims:
                parts.append(self.constant(np.array(numbers, np.int64)))
                numbers = []
            if dim is not None:
                parts.append(self.size(dim))
        if len(parts) == 1:
            return parts[0]
        name = self._names.take(f"shape({', '.join(map(str, dims))})")
        return self.node("Concat", parts, [name], attributes={"axis": 0})

    def size(self, dim: Dim) -> str:
        """The name of an int64 tensor of shape [1] that holds ``dim``; worked out once."""
        if isinstance(dim, int):
            return self.constant(np.array([dim], np.int64))
        if dim not in self._sizes:
            with self._outermost():
                self._sizes[dim] = self._sum(dim)
        return self._sizes[dim]

    def _sum(self, dim: Poly) -> str:
        # A positive term first, so that the others are added to or taken from something.
        terms = sorted(dim.terms, key=lambda term: term[1] < 0)
        total = ""
        for index, (monomial, coefficient) in enumerate(terms):
            last = f"size({dim})" if index == len(terms) - 1 else ""
            if not total:
                total = self._product(monomial, coefficient, last)
            else:
                term = self._product(monomial, abs(coefficient), "")
                total = self._compute("Sub" if coefficient < 0 else "Add", total, term, last)
        return total

    def _product(self, monomial: Monomial, coefficient: int, name: str) -> str:
        factors = [self._atom(atom) for atom, power in monomial for _ in range(power)]
        if coefficient != 1 or not factors:
            factors.append(self.size(coefficient))
        product, *others = factors
        for index, factor in enumerate(others):
            product = self._compute("Mul", product, factor, name if index == len(others) - 1 else "")
        return product

    def _atom(self, atom: Atom) -> str:
        if atom not in self._atoms:
            self._atoms[atom] = self._read(atom) if isinstance(atom, Symbol) else self._floor(atom)
        return self._atoms[atom]

    def _read(self, symbol: Symbol) -> str:
        source, axis = self._symbols[symbol.name]
        name = self._names.take(f"size({symbol})")
        return self.node("Shape", [source], [name], attributes={"start": axis, "end": axis + 1})

    def _floor(self, division: Floor) -> str:
        above, below = self.size(division.numerator), self.size(division.denominator)
        # Div cuts towards zero; Mod has the divisor's sign, so what it leaves divides evenly.
        if bounds(division.numerator)[0] < 0 or bounds(division.denominator)[0] < 1:
            above = self._compute("Sub", above, self._compute("Mod", above, below))
        return self._compute("Div", above, below, f"size({division})")

    def _compute(self, kind: str, a: str, b: str, name: str = "") -> str:
        return self.node(kind, [a, b], [self._names.take(name)] if name else None)


@dataclass
class _OpenGraph:
    """A graph whose nodes are being added, and the results of those that were added without names for them."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    anonymous: dict[tuple[str, tuple[str, ...], bytes], str] = field(default_factory=dict)


class NodeWriter:
    """What one operation sees of the writer while it is lowered: an ``OnnxLowering``. ``read`` are the values that
    something reads."""

    def __init__(self, writer: Writer, node: Node, names: dict[Value, str], read: Container[Value]) -> None:
        self._writer, self._origin, self._node, self._names = writer, node.origin, node, names
        self._read = read
        self.inputs = tuple(names[value] for value in node.inputs)
        self.outputs = tuple(names[value] for value in node.outputs)
        self.input_types: tuple[TensorType, ...] = tuple(value.type for value in node.inputs)
        self.output_types: tuple[TensorType, ...] = tuple(value.type for value in node.outputs)
        self.opset, self.device = writer.opset, writer.device

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str] | None = None, **attributes: Any) -> str:
        return self._writer.node(kind, inputs, outputs, self._origin, attributes)

    def constant(self, array: Array, hint: str = "") -> str:
        return self._writer.constant(array, within(self._origin.scope, hint) if hint else "")

    def scalar(self, value: float, dtype: DType) -> str:
        return self._writer.constant(np.array(value, dtype.numpy))

    def shape(self, dims: Sequence[Dim]) -> str:
        return self._writer.shape(dims)

    def alias(self, name: str) -> None:
        self._names[self._node.output] = name

    def name(self, wanted: str) -> str:
        return self._writer.fresh(within(self._origin.scope, wanted))

    def is_read(self, index: int) -> bool:
        return self._node.outputs[index] in self._read

    def graph(
        self,
        name: str,
        inputs: Sequence[TensorType],
        results: Sequence[TensorType],
        write: Callable[[OnnxLowering], None],
        text: str = "",
    ) -> onnx.GraphProto:
        operands = tuple(self.name(f"{name}/operand") for _ in inputs)
        made = tuple(self.name(f"{name}/result") for _ in results)
        with self._writer.inner() as nodes:
            write(_InnerLowering(self, operands, made, (inputs, results), [True] * len(results)))
        return onnx.GraphProto(
            name=within(self._origin.scope, name),
            doc_string=text,
            node=nodes,
            input=[value_info(*item) for item in zip(operands, inputs, strict=True)],
            output=[value_info(*item) for item in zip(made, results, strict=True)],
        )

    def missing(self) -> list[str]:
        """The results that something reads but that have been neither made nor given as something that there is."""
        names = [self._names[value] for value in self._node.outputs if value in self._read]
        there = (self.inputs, self._writer.made, self._writer.initializers)
        return [name for name in names if not any(name in place for place in there)]


class _InnerLowering(RelayedLowering):
    """What is lowered in a graph inside a node."""

    def alias(self, name: str) -> None:
        # A graph can't give what is around it under another name.
        self.node("Identity", (name,), self.outputs)


def source_place(origin: Origin) -> str:
    """``digits.dl:12:5``: the file without its folder, so that the bytes do not depend on where it lies."""
    if not origin.spans:
        return ""
    span = origin.spans[0]
    return f"{PureWindowsPath(span.source.name).name}:{span.line}:{span.column}"
