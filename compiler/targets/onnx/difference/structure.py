"""What two ONNX files say of themselves, side by side: signature, versions, metadata, nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from compiler.targets.onnx.difference.nodes import NodeDifference, Side, compare_nodes
from compiler.targets.onnx.read.load import STANDARD


@dataclass(frozen=True)
class Change:
    """One thing that differs: what the first file says and what the second, None where it says nothing."""

    what: str
    first: str | None
    second: str | None


@dataclass(frozen=True)
class StructureDifference:
    """``same_inputs`` and ``same_outputs`` give for the names of the first file those of the second that stand for
    them; ``versions`` are of opsets and of the format."""

    signature: tuple[Change, ...]
    versions: tuple[Change, ...]
    metadata: tuple[Change, ...]
    nodes: NodeDifference
    same_inputs: Mapping[str, str]
    same_outputs: Mapping[str, str]

    @property
    def is_empty(self) -> bool:
        nodes = self.nodes
        return not (self.signature or self.versions or self.metadata or nodes.removed or nodes.added or nodes.changed)


def compare_structure(first: onnx.ModelProto, second: onnx.ModelProto) -> StructureDifference:
    """What differs between two models that :func:`compiler.targets.onnx.read.load.load` gave, weights aside."""
    ins, their_ins = inputs_of(first), inputs_of(second)
    outs, their_outs = _types(first.graph.output), _types(second.graph.output)
    same_inputs, same_outputs = _same(ins, their_ins), _same(outs, their_outs)
    signature = _changes("input", ins, their_ins) + _changes("output", outs, their_outs)
    if not signature and (list(ins), list(outs)) != (list(their_ins), list(their_outs)):
        signature.append(Change("order", ", ".join((*ins, *outs)), ", ".join((*their_ins, *their_outs))))
    return StructureDifference(
        tuple(signature),
        tuple(_changes("", _versions(first), _versions(second))),
        tuple(_changes("", _metadata(first), _metadata(second))),
        compare_nodes(Side(first), Side(second), same_inputs),
        same_inputs,
        same_outputs,
    )


def inputs_of(model: onnx.ModelProto) -> dict[str, str]:
    """The types of what a model is given, by name."""
    stored = {item.name for item in model.graph.initializer}
    return _types([item for item in model.graph.input if item.name not in stored])


def inputs_alone(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without what it does with its inputs: these can be read where that can't."""
    found = onnx.ModelProto(opset_import=model.opset_import, metadata_props=model.metadata_props)
    stored = {item.name for item in model.graph.initializer}
    found.graph.input.extend(item for item in model.graph.input if item.name not in stored)
    return found


def _types(items: Sequence[onnx.ValueInfoProto]) -> dict[str, str]:
    return {item.name: _type(item) for item in items}


def _type(item: onnx.ValueInfoProto) -> str:
    tensor = item.type.tensor_type
    if not item.type.HasField("tensor_type"):
        return str(item.type.WhichOneof("value") or "nothing").removesuffix("_type")
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    if not tensor.HasField("shape"):
        return f"{kind}[...]"
    sizes = (dim.dim_param or (str(dim.dim_value) if dim.HasField("dim_value") else "?") for dim in tensor.shape.dim)
    return f"{kind}[{', '.join(sizes)}]"


def _same(mine: Mapping[str, str], its: Mapping[str, str]) -> dict[str, str]:
    """Which names stand for which: equal ones, or else, where as many are left on both sides, those in one place."""
    found = {name: name for name in mine if name in its}
    left, right = [name for name in mine if name not in its], [name for name in its if name not in mine]
    return found | (dict(zip(left, right, strict=True)) if len(left) == len(right) else {})


def _versions(model: onnx.ModelProto) -> dict[str, str]:
    found = {
        f"opset of {item.domain}" if item.domain not in STANDARD else "opset": str(item.version)
        for item in model.opset_import
    }
    return {"IR version": str(model.ir_version), **found}


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    made = {"producer": f"{model.producer_name} {model.producer_version}".strip()}
    return {key: text for key, text in made.items() if text} | {item.key: item.value for item in model.metadata_props}


def _changes(kind: str, mine: Mapping[str, str], its: Mapping[str, str]) -> list[Change]:
    names = dict.fromkeys((*mine, *its))
    return [
        Change(f"{kind} {name}".strip(), mine.get(name), its.get(name))
        for name in names
        if mine.get(name) != its.get(name)
    ]
