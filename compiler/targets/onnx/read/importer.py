"""A loaded model as a graph: inputs, weights and nodes in order, and everything that can't be read told at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from compiler.foreign import Host
from compiler.ir.dims import Dim, Symbol, symbol
from compiler.ir.graph import Graph, Value
from compiler.ir.types import TensorType, TypeMismatch
from compiler.ops.base import Array
from compiler.ops.emit import Emit
from compiler.ops.interpret import interpret_outputs
from compiler.ops.relayed import EITHER
from compiler.targets.onnx.inner import read_by
from compiler.targets.onnx.metadata import bounds
from compiler.targets.onnx.read import families
from compiler.targets.onnx.read.alone import Alone
from compiler.targets.onnx.read.known import fold_sizes
from compiler.targets.onnx.read.load import STANDARD, LoadedModel, opset, shown
from compiler.targets.onnx.read.naming import is_made_up, places
from compiler.targets.onnx.read.node import Node, Result, Results
from compiler.targets.onnx.read.refusals import Refusal, Refused
from compiler.targets.onnx.read.tensors import (
    Known,
    NotKnown,
    Tensor,
    Unbounded,
    Unsupported,
    dtype_of,
    materialise,
    tidy,
)
from compiler.targets.onnx.read.written_out import written_out

# What is worked out while a file is read has at most so many elements, so that a small file can't fill the memory; what
# is larger is left to the program.
MOST_FOLDED = 2**20
# What is added to scores that are not to count is larger, and no weight is.
_NO_WEIGHT = 1e4
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


def import_graph(model: LoadedModel, name: str, fixed: Mapping[str, Array] = _NO_ARRAYS, prefix: str = "") -> Imported:
    """The graph of a model that :func:`.load.load` gave, called ``name``. Inputs that ``fixed`` names have that content
    and are none any more: what says a shape has to be known. ``prefix`` goes before the names of weights.

    A size that has to be bounded, as there are only so many positions in a table, gets that bound. Raises Refused
    (E0922) for what can't be read of it.
    """
    limits: dict[str, int] = {}
    while True:
        try:
            return _imported(model, name, fixed, prefix, limits)
        except Refused as refused:
            found = dict(item.bound for item in refused.refusals if item.bound is not None)
            if found.keys() <= limits.keys():
                raise
            limits |= found


def _imported(
    model: LoadedModel, name: str, fixed: Mapping[str, Array], prefix: str, limits: Mapping[str, int]
) -> Imported:
    host = Alone(name, prefix)
    importer = Importer(model, name, host, fixed, limits=limits)
    for item in importer.inputs():
        importer.declare(item, host.declare)
    importer.run(model.proto.graph.node)
    for item in model.proto.graph.output:
        importer.result(item.name, host.give)
    importer.finish()
    values = {key: tensor for key, tensor in importer.tensors.items() if isinstance(tensor, Value)}
    return Imported(host.b.finish(), host.weights, values, importer.metadata)


@dataclass
class Importer:
    """Writes nodes of a model into the graph of ``host``. Weights are asked for by the names that ``names`` has for the
    initializers.

    To be used in this order: inputs are given, nodes are written, results are asked for, and :meth:`finish` tells what
    could not be read, all of it.
    """

    loaded: LoadedModel
    name: str
    host: Host
    fixed: Mapping[str, Array] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    tensors: dict[str, Tensor | None] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    # For each tensor the inputs of the model that it depends on.
    sources: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.b, self.model = self.host.b, self.loaded.proto
        self.opset = opset(self.model)
        self.metadata = {item.key: item.value for item in self.model.metadata_props}
        # ONNX itself can't say them: what a file of dlc tells of how large its sizes may be.
        self._bounds = bounds(self.metadata)
        self._unnamed = 0
        self._taken: Counter[str] = Counter()
        self._weight_names: dict[Known, str] = {}
        found = zip(self.model.graph.node, places(self.model.graph), strict=True)
        # By the first result, which no other node has.
        self._places = {made_by(node): (number, str(place)) for number, (node, place) in enumerate(found)}

    def inputs(self) -> list[onnx.ValueInfoProto]:
        """What the file takes: older files list what they store as well."""
        stored = {item.name for item in self.model.graph.initializer}
        return [item for item in self.model.graph.input if item.name not in stored]

    def run(self, nodes: Sequence[onnx.NodeProto], stored: Container[str] | None = None) -> None:
        """Write these nodes of the model, with the initializers ``stored``, by default all."""
        for proto in self.model.graph.initializer:
            if stored is None or proto.name in stored:
                self._initializer(proto)
        self._refuse_sparse(self.model.graph)
        self._nodes(nodes)

    def result(self, name: str, give: Callable[[str, Value], None]) -> None:
        """Hand the tensor ``name`` as a value to ``give``, unless it could not be read."""
        tensor = self.tensors[name]
        if tensor is not None:
            try:
                give(name, self.value(tensor))
            except Unsupported as problem:
                self._refuse("output", name, str(problem))

    def finish(self) -> None:
        """Raises Refused (E0922) where something could not be read."""
        if self.refusals:
            raise Refused(self.name, self.refusals)

    # What the file gives.

    def declare(self, item: onnx.ValueInfoProto, make: Callable[[str, TensorType], Value]) -> None:
        """Have ``make`` give the value of an input, of the type that the file tells."""
        self.sources[item.name] = frozenset([item.name])
        if item.name in self.fixed:
            self.tensors[item.name] = Known(item.name, np.asarray(self.fixed[item.name]))
            return
        try:
            self.tensors[item.name] = make(item.name, self.type(item))
        except Unsupported as problem:
            unranked = item.type.HasField("tensor_type") and not item.type.tensor_type.HasField("shape")
            self._refuse("input", item.name, str(problem), [item.name] if unranked else [])
            self.tensors[item.name] = None

    def give(self, name: str, value: Value) -> None:
        """Let ``value`` stand for the tensor ``name`` of the file."""
        self.sources[name] = frozenset([name])
        self.tensors[name] = value

    def type(self, item: onnx.ValueInfoProto) -> TensorType:
        """The type that the file tells of a tensor. Raises Unsupported for one that the language does not have."""
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
            return symbol(f"unnamed{self._unnamed}", self.limits.get(f"unnamed{self._unnamed}"))
        bound = self._bounds.get(dim.dim_param, Symbol(""))
        named = named if named[0].isalpha() else f"d{named}"
        uppers = [upper for upper in (bound.upper, self.limits.get(named)) if upper is not None]
        return symbol(named, min(uppers, default=None), bound.lower)

    def _initializer(self, proto: onnx.TensorProto) -> None:
        self.sources[proto.name] = frozenset()
        try:
            if proto.data_type not in onnx.TensorProto.DataType.values():
                dtype_of(proto.data_type)  # says so; onnx has no array for it
            array = self.loaded.array(proto)
            # A number on its own is a setting, such as an epsilon, in some files as an axis of one; other fractions are
            # learned.
            alone = array.ndim == 0 or (array.size == 1 and is_made_up(proto.name))
            weight = not alone and dtype_of(proto.data_type).is_float
            self.tensors[proto.name] = Known(proto.name, array, weight)
        except Unsupported as problem:
            self._refuse("initializer", proto.name, str(problem))
            self.tensors[proto.name] = None

    def _refuse_sparse(self, graph: onnx.GraphProto) -> None:
        for item in graph.sparse_initializer:
            self._refuse("initializer", item.values.name, "it is a sparse tensor")
            self.tensors[item.values.name] = None

    # Nodes.

    def _nodes(self, nodes: Sequence[onnx.NodeProto]) -> None:
        for number, node in enumerate(nodes):
            read = read_by(node)
            depends = frozenset().union(*(self.sources.get(item, frozenset()) for item in read))
            self.sources.update((item, depends) for item in node.output)
            if any(self.tensors[item] is None for item in read):
                self.tensors.update((item, None) for item in node.output)
                continue
            # Nodes that stand for another, or in a branch, are where that is.
            number, place = self._places.get(made_by(node), (number, ""))
            label = shown(node, number)
            try:
                with self.host.at(place) if place else nullcontext():
                    self._node(node)
            except NotKnown as problem:
                needed = self.sources.get(problem.tensor, frozenset())
                self._fail(node, label, str(problem), sorted(needed))
            except Unbounded as problem:
                self._fail(node, label, str(problem), bound=(problem.size.name, problem.most))
            except Unsupported as problem:
                self._fail(node, label, str(problem))
            except TypeMismatch as problem:
                self._fail(node, label, problem.title)
            except (ArithmeticError, LookupError, TypeError, ValueError) as problem:
                # onnx's checker does not compare ranks and attributes: where they make no sense, reading stumbles.
                self._fail(node, label, f"its operands and attributes do not go together ({problem})")

    def _fail(
        self,
        node: onnx.NodeProto,
        label: str,
        reason: str,
        needed: Sequence[str] = (),
        bound: tuple[str, int] | None = None,
    ) -> None:
        kind = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        self.refusals.append(Refusal(kind, label, reason, tuple(needed), bound))
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
            results = reader(self._seen(proto, operands))
        return self._keep(proto, results)

    def _branch(self, proto: onnx.NodeProto) -> None:
        """An If of which the condition is known, or does not matter: the nodes of the branch taken, in its place."""
        condition, branches = self.tensors[proto.input[0]], {item.name: item.g for item in proto.attribute}
        if all(graph.doc_string == EITHER for graph in branches.values()):
            graph = branches["else_branch"]
        elif isinstance(condition, Known) and not condition.symbolic:
            graph = branches["then_branch" if bool(condition.array.reshape(-1)[0]) else "else_branch"]
        else:
            raise NotKnown(proto.input[0], "condition")
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
            folded = fold_sizes(self._seen(proto, operands))
            if folded is not None:
                return folded
        if symbolic:
            return reader(self._seen(proto, operands))  # type: ignore[no-any-return]
        scratch = Emit("known")
        results = reader(Node(proto, self.opset, scratch, operands, _Constants(scratch)))
        listed = _listed(results)
        for index, item in enumerate(listed):
            if isinstance(item, Value):
                if not isinstance(item.type.size, int) or item.type.size > MOST_FOLDED:
                    return reader(self._seen(proto, operands))  # type: ignore[no-any-return]
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

    def _seen(self, proto: onnx.NodeProto, operands: Sequence[Tensor | None]) -> Node:
        return Node(proto, self.opset, self.b, operands, self)

    def around(self, name: str) -> Tensor:
        """A tensor that a graph inside a node reads."""
        found = self.tensors[name]
        assert found is not None, "a node that reads what could not be read is not read"
        return found

    def value(self, tensor: Tensor) -> Value:
        """The tensor as a value of the graph: a weight is asked for when it is first needed."""
        if isinstance(tensor, Value):
            return tensor
        if tensor.value is None:
            if tensor.weight:
                learned = not _is_mask(tensor.array)
                tensor.value = self._weight(self._weight_name(tensor), tensor, learned)
            else:
                tensor.value = materialise(self.b, tensor.array)
        return tensor.value

    def statistic(self, tensor: Tensor) -> tuple[str, Value]:
        """The name and the value of a weight that is a statistic. What another use of it left is seen by the next."""
        if isinstance(tensor, Value) or not tensor.weight:
            return "", self.value(tensor)
        name = self._weight_name(tensor)
        if tensor.value is None or self.host.training:
            tensor.value = self._weight(name, tensor, False)
        return name, tensor.value

    def _weight(self, name: str, tensor: Known, trainable: bool) -> Value:
        array = tensor.array
        return self.host.weight(name, tensor.type, lambda: array, decays=array.ndim > 1, trainable=trainable)

    def _weight_name(self, tensor: Known) -> str:
        """The name of a weight; those in the branches of an If may be called as others are."""
        if tensor not in self._weight_names:
            wanted = self.names.get(tensor.name, tensor.name)
            self._taken[wanted] += 1
            count = self._taken[wanted]
            self._weight_names[tensor] = wanted if count == 1 else f"{wanted}_{count}"
        return self._weight_names[tensor]


def _is_mask(array: Array) -> bool:
    """Whether an array keeps something out, such as the future in attention: it has numbers that no weight has."""
    return bool(np.abs(array).max(initial=0) >= _NO_WEIGHT) or not np.isfinite(array).all()


def made_by(node: onnx.NodeProto) -> str:
    """The first result of a node that has a name: no other node has it."""
    return next(filter(None, node.output), "")


def _listed(results: Results) -> Sequence[Result | None]:
    return [results] if isinstance(results, Value | np.ndarray) else results


@dataclass(frozen=True)
class _Constants:
    """Makes constants of tensors that are known."""

    b: Emit
    host: None = None

    def value(self, tensor: Tensor) -> Value:
        assert isinstance(tensor, Known)
        return materialise(self.b, tensor.array)

    def around(self, name: str) -> Tensor:
        raise Unsupported(f"it reads {name} from around it")

    def statistic(self, tensor: Tensor) -> tuple[str, Value]:
        return "", self.value(tensor)
