"""A loaded model as a graph: inputs, weights and nodes in order, and everything that can't be read told at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.dims import Dim, Symbol, symbol
from compiler.ir.graph import Graph, Origin, Role, Value
from compiler.ir.types import TensorType, TypeMismatch
from compiler.ops.base import Array
from compiler.ops.emit import Emit
from compiler.ops.interpret import interpret_outputs
from compiler.targets.onnx.metadata import bounds
from compiler.targets.onnx.read import families
from compiler.targets.onnx.read.known import fold_sizes
from compiler.targets.onnx.read.load import STANDARD, opset, shown
from compiler.targets.onnx.read.node import Node, Result, Results
from compiler.targets.onnx.read.tensors import Known, NotKnown, Tensor, Unsupported, dtype_of, materialise, tidy
from compiler.targets.onnx.read.written_out import written_out

# What is worked out while a file is read has at most so many elements, so that a small file can't fill the memory; what
# is larger is left to the program.
MOST_FOLDED = 2**20
_NO_ARRAYS: Mapping[str, Array] = {}
_IDENTIFIER = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True)
class Imported:
    """``graph`` takes data and weights and gives the outputs of the file; ``weights`` are the first ones, by the names
    of the graph. ``tensors`` are the values of the graph by the names that the file has for them."""

    graph: Graph
    weights: Mapping[str, Array]
    tensors: Mapping[str, Value]
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Refusal:
    """A node that can't be read. ``needed`` are the inputs of the model that would have to be known to read it."""

    kind: str
    node: str
    reason: str
    needed: tuple[str, ...] = ()


class Refused(DiagnosticError):
    """What can't be read of a model, all of it."""

    def __init__(self, name: str, refusals: Sequence[Refusal]) -> None:
        self.refusals = tuple(refusals)
        super().__init__([_told(name, refusals)])


def import_graph(
    model: onnx.ModelProto, name: str, fixed: Mapping[str, Array] = _NO_ARRAYS, prefix: str = ""
) -> Imported:
    """The graph of a model that :func:`.load.load` gave, called ``name``. Inputs that ``fixed`` names have that content
    and are none any more: what says a shape has to be known. ``prefix`` goes before the names of weights.

    Raises Refused (E0922) for what can't be read of it.
    """
    return _Importer(model, name, fixed, prefix).run()


@dataclass
class _Importer:
    model: onnx.ModelProto
    name: str
    fixed: Mapping[str, Array]
    prefix: str
    tensors: dict[str, Tensor | None] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    # For each tensor the inputs of the model that it depends on.
    sources: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.b = Emit(self.name)
        self.opset = opset(self.model)
        self._taken: Counter[str] = Counter()
        # ONNX itself can't say them: what a file of dlc tells of how large its sizes may be.
        self._bounds = bounds({item.key: item.value for item in self.model.metadata_props})
        self._unnamed = 0

    def run(self) -> Imported:
        graph = self.model.graph
        stored = {item.name for item in graph.initializer}
        for item in graph.input:
            if item.name not in stored:
                self._input(item)
        for proto in graph.initializer:
            self._initializer(proto)
        self._refuse_sparse(graph)
        self._nodes(graph.node)
        self._outputs(graph.output)
        if self.refusals:
            raise Refused(self.name, self.refusals)
        values = {name: tensor for name, tensor in self.tensors.items() if isinstance(tensor, Value)}
        metadata = {item.key: item.value for item in self.model.metadata_props}
        return Imported(self.b.finish(), self.weights, values, metadata)

    # What the file gives.

    def _input(self, item: onnx.ValueInfoProto) -> None:
        self.sources[item.name] = frozenset([item.name])
        if item.name in self.fixed:
            self.tensors[item.name] = Known(item.name, np.asarray(self.fixed[item.name]))
            return
        try:
            self.tensors[item.name] = self.b.input(self._free(item.name), self._type(item), Role.DATA)
        except Unsupported as problem:
            unranked = item.type.HasField("tensor_type") and not item.type.tensor_type.HasField("shape")
            self._refuse("input", item.name, str(problem), [item.name] if unranked else [])
            self.tensors[item.name] = None

    def _type(self, item: onnx.ValueInfoProto) -> TensorType:
        tensor = item.type.tensor_type
        if not item.type.HasField("tensor_type"):
            raise Unsupported(
                f"it is a {item.type.WhichOneof('value') or 'nothing'}, not a tensor".replace("_type", "")
            )
        if not tensor.HasField("shape"):
            raise Unsupported("its number of dimensions is not told")
        return TensorType(dtype_of(tensor.elem_type), tuple(self._dim(dim) for dim in tensor.shape.dim))

    def _dim(self, dim: onnx.TensorShapeProto.Dimension) -> Dim:
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            return int(dim.dim_value)
        named = _IDENTIFIER.sub("_", dim.dim_param)
        if not named:
            self._unnamed += 1
            return symbol(f"unnamed{self._unnamed}")
        bound = self._bounds.get(dim.dim_param, Symbol(""))
        return symbol(named if named[0].isalpha() else f"d{named}", bound.upper, bound.lower)

    def _initializer(self, proto: onnx.TensorProto) -> None:
        self.sources[proto.name] = frozenset()
        try:
            array = onnx.numpy_helper.to_array(proto)
            # A number on its own is a setting, such as an epsilon; what has axes and fractions is learned.
            weight = array.ndim > 0 and dtype_of(proto.data_type).is_float
            self.tensors[proto.name] = Known(proto.name, array, weight)
        except Unsupported as problem:
            self._refuse("initializer", proto.name, str(problem))
            self.tensors[proto.name] = None

    def _refuse_sparse(self, graph: onnx.GraphProto) -> None:
        for item in graph.sparse_initializer:
            self._refuse("initializer", item.values.name, "it is a sparse tensor")
            self.tensors[item.values.name] = None

    def _free(self, wanted: str) -> str:
        """A name for an input or an output of the graph that none has yet."""
        self._taken[wanted] += 1
        return wanted if self._taken[wanted] == 1 else self._free(f"{wanted}_{self._taken[wanted]}")

    # Nodes.

    def _nodes(self, nodes: Sequence[onnx.NodeProto]) -> None:
        for number, node in enumerate(nodes):
            roots = (self.sources.get(item, frozenset()) for item in node.input)
            depends = frozenset().union(*roots)
            self.sources.update((item, depends) for item in node.output)
            if any(item and self.tensors[item] is None for item in node.input):
                self.tensors.update((item, None) for item in node.output)
                continue
            label = shown(node, number)
            try:
                with self.b.at(Origin(scope=self._scope(node, number))):
                    self._node(node)
            except NotKnown as problem:
                needed = self.sources.get(problem.tensor, frozenset())
                self._fail(node, label, str(problem), sorted(needed))
            except Unsupported as problem:
                self._fail(node, label, str(problem))
            except TypeMismatch as problem:
                self._fail(node, label, problem.title)
            except (ArithmeticError, LookupError, TypeError, ValueError) as problem:
                # onnx's checker does not compare ranks and attributes: where they make no sense, reading stumbles.
                self._fail(node, label, f"its operands and attributes do not go together ({problem})")

    def _scope(self, node: onnx.NodeProto, number: int) -> str:
        return f"{self.name}.{_IDENTIFIER.sub('_', node.name or f'{node.op_type}_{number + 1}').strip('_')}"

    def _fail(self, node: onnx.NodeProto, label: str, reason: str, needed: Sequence[str] = ()) -> None:
        kind = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        self._refuse(kind, label, reason, needed)
        self.tensors.update((item, None) for item in node.output)

    def _refuse(self, kind: str, node: str, reason: str, needed: Sequence[str] = ()) -> None:
        self.refusals.append(Refusal(kind, node, reason, tuple(needed)))

    def _node(self, proto: onnx.NodeProto) -> None:
        if proto.domain not in STANDARD:
            raise Unsupported(f"it is of the domain {proto.domain}, outside the standard")
        if proto.op_type == "If":
            return self._branch(proto)
        operands = [self.tensors[item] if item else None for item in proto.input]
        while operands and operands[-1] is None:
            operands.pop()
        reader = families.readers().get(proto.op_type)
        if reader is None:
            return self._expand(proto, operands)
        known = [item for item in operands if isinstance(item, Known)]
        if len(known) == len([item for item in operands if item is not None]) and not any(
            item.weight for item in known
        ):
            results = self._folded(proto, reader, operands)
        else:
            results = reader(Node(proto, self.opset, self.b, operands, self._value))
        return self._keep(proto, results)

    def _branch(self, proto: onnx.NodeProto) -> None:
        """An If of which the condition is known: the nodes of the branch taken, in its place."""
        condition = self.tensors[proto.input[0]]
        if not isinstance(condition, Known) or condition.symbolic:
            raise NotKnown(proto.input[0], "condition")
        wanted = "then_branch" if bool(condition.array.reshape(-1)[0]) else "else_branch"
        graph = next(item.g for item in proto.attribute if item.name == wanted)
        for item in graph.initializer:
            self._initializer(item)
        self._refuse_sparse(graph)
        before = len(self.refusals)
        self._nodes(graph.node)
        for item, output in zip(proto.output, graph.output, strict=True):
            self.tensors[item] = self.tensors[output.name] if len(self.refusals) == before else None

    def _expand(self, proto: onnx.NodeProto, operands: Sequence[Tensor | None]) -> None:
        """An operator that the standard defines by others: these, in its place."""
        types = [None if item is None else item.type for item in operands]
        body, version = written_out(proto, types, self.opset)
        before, self.opset = self.opset, version
        failed = len(self.refusals)
        try:
            self._nodes(body)
        finally:
            self.opset = before
        if len(self.refusals) > failed:
            self.tensors.update((item, None) for item in proto.output)

    def _folded(self, proto: onnx.NodeProto, reader: Any, operands: Sequence[Tensor | None]) -> Results:
        """The results of a node of which all operands are known, worked out now."""
        known = [item for item in operands if isinstance(item, Known)]
        symbolic = any(item.symbolic for item in known)
        if symbolic or (known and all(item.array.dtype == np.int64 for item in known)):
            folded = fold_sizes(Node(proto, self.opset, self.b, operands, self._value))
            if folded is not None:
                return folded
        if symbolic:
            return reader(Node(proto, self.opset, self.b, operands, self._value))  # type: ignore[no-any-return]
        scratch = Emit("known")
        results = reader(Node(proto, self.opset, scratch, operands, lambda item: _constant(scratch, item)))
        listed = _listed(results)
        for index, item in enumerate(listed):
            if isinstance(item, Value):
                if not isinstance(item.type.size, int) or item.type.size > MOST_FOLDED:
                    return reader(Node(proto, self.opset, self.b, operands, self._value))  # type: ignore[no-any-return]
                scratch.output(str(index), item)
        found = interpret_outputs(scratch.finish(), {})
        return [found[str(index)] if isinstance(item, Value) else item for index, item in enumerate(listed)]

    def _keep(self, proto: onnx.NodeProto, results: Results) -> None:
        listed = _listed(results)
        for index, name in enumerate(proto.output):
            found = listed[index] if index < len(listed) else None
            if not name:
                continue
            if found is None:
                raise Unsupported(f"its result {index + 1} is not worked out")
            self.tensors[name] = Known(name, tidy(found)) if isinstance(found, np.ndarray) else found

    def _value(self, tensor: Tensor) -> Value:
        if isinstance(tensor, Value):
            return tensor
        if tensor.value is None:
            if tensor.weight:
                name = self._free(f"{self.prefix}{tensor.name}")
                tensor.value = self.b.input(name, tensor.type, Role.WEIGHT)
                self.weights[name] = np.ascontiguousarray(tensor.array)
            else:
                tensor.value = materialise(self.b, tensor.array)
        return tensor.value

    def _outputs(self, outputs: Sequence[onnx.ValueInfoProto]) -> None:
        for item in outputs:
            tensor = self.tensors[item.name]
            if tensor is not None:
                try:
                    self.b.output(self._free(item.name), self._value(tensor))
                except Unsupported as problem:
                    self._refuse("output", item.name, str(problem))


def _listed(results: Results) -> Sequence[Result | None]:
    return [results] if isinstance(results, Value | np.ndarray) else results


def _constant(b: Emit, tensor: Tensor) -> Value:
    assert isinstance(tensor, Known)
    return materialise(b, tensor.array)


def _told(name: str, refusals: Sequence[Refusal]) -> Any:
    count = len(refusals)
    reasons: dict[tuple[str, str], list[str]] = {}
    for item in refusals:
        reasons.setdefault((item.kind, item.reason), []).append(item.node)
    notes = []
    for (kind, reason), nodes in sorted(reasons.items()):
        few = ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
        times = f" ({len(nodes)} times)" if len(nodes) > 1 else ""
        notes.append(f"{kind}{times}: {reason}: {few}")
    what = f"{count} place{'s' * (count != 1)} of it cannot be brought into a graph"
    help = "export the network without these, for inference, and with fixed sizes where shapes are worked out"
    return error("E0922", f"cannot import {name}: {what}", None, notes=notes, help=help)
