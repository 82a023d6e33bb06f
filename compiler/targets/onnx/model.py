"""From a graph to the bytes of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from compiler.diagnostics import Diagnostic, DiagnosticError, error
from compiler.ir.dims import as_symbol
from compiler.ir.graph import Graph, Node, Role, Value
from compiler.ir.types import DType
from compiler.ops.base import Array, Device, FacetError, Op
from compiler.targets.onnx.apart import LEAST_APART, lean, split
from compiler.targets.onnx.content import MOST_WEIGHTS, SplitModel
from compiler.targets.onnx.fold import fold_weights
from compiler.targets.onnx.inner import used_names
from compiler.targets.onnx.metadata import bounds_metadata
from compiler.targets.onnx.names import Names, name_values
from compiler.targets.onnx.proto import value_info
from compiler.targets.onnx.releases import DEFAULT, IR_VERSION, OPSETS
from compiler.targets.onnx.writer import NodeWriter, OpsetError, Writer, source_place
from compiler.version import VERSION

_CHECKED = 2**20  # elements of a weight that the checker sees in a large model


class ExportError(Exception):
    """A file that would not be sound ONNX: always a mistake in dlc, never in a user's file."""


def export_graph(
    graph: Graph, weights: Mapping[str, Array], metadata: Mapping[str, str], opset: int, device: Device
) -> bytes:
    """See :func:`compiler.targets.onnx.export`."""
    if is_large(weights):
        raise _too_large(graph, weights)
    model, _ = _written(graph, weights, metadata, opset, device, apart=False)
    return bytes(model.SerializeToString(deterministic=True))


def export_apart(
    graph: Graph, weights: Mapping[str, Array], metadata: Mapping[str, str], opset: int, device: Device
) -> SplitModel:
    """See :func:`compiler.targets.onnx.export_any`."""
    return split(*_written(graph, weights, metadata, opset, device, apart=True))


def is_large(weights: Mapping[str, Array]) -> bool:
    """Whether the weights do not fit into one file."""
    return sum(array.nbytes for array in weights.values()) > MOST_WEIGHTS


def _written(
    graph: Graph, weights: Mapping[str, Array], metadata: Mapping[str, str], opset: int, device: Device, apart: bool
) -> tuple[onnx.ModelProto, Mapping[str, Array]]:
    """The model, and with ``apart`` its large weights, which are not in it."""
    _check_opset(opset)
    _check_weights(graph, weights)
    names = Names()
    values = name_values(graph, names)
    writer = Writer(names, _symbol_sources(graph, weights), opset, device, LEAST_APART if apart else None)
    for item in graph.inputs:
        if item.name in weights:
            writer.store(item.name, weights[item.name])
    _lower(graph, writer, values)
    _write_outputs(graph, writer, values)
    fold_weights(writer, {output.name for output in graph.outputs})
    model = _model(_graph_proto(graph, weights, writer, values), opset)
    entries = {**bounds_metadata(graph.symbols), **metadata}
    onnx.helper.set_model_props(model, dict(sorted(entries.items())))
    _check(lean(model, _CHECKED) if apart else model, writer.sources)
    return model, writer.apart


def _lower(graph: Graph, writer: Writer, values: dict[Value, str]) -> None:
    refused: list[Diagnostic] = []
    read = graph.output_values.union(*(node.inputs for node in graph.nodes))
    for node in graph.nodes:
        assert isinstance(node.operation, Op)
        lowering = NodeWriter(writer, node, values, read)
        try:
            node.operation.onnx(lowering)
        except FacetError as reason:
            refused.append(_no_onnx_form(graph, node, str(reason)))
        except OpsetError as old:
            refused.append(_too_old(node, writer.opset, old.needed))
        except Exception as mistake:
            mistake.add_note(f"while lowering {_shown(node)} to ONNX")
            raise
        else:
            if missing := lowering.missing():
                raise ExportError(f"the ONNX form of {_shown(node)} does not make {', '.join(missing)}")
    if refused:
        raise DiagnosticError(refused)


def _no_onnx_form(graph: Graph, node: Node, reason: str) -> Diagnostic:
    spans = node.origin.spans
    return error(
        "E0901",
        f"{node.operation.opcode} cannot be exported to ONNX",
        spans[0] if spans else None,
        f"this needs {node.operation.opcode}",
        notes=reason,
        help=f"leave it out of {graph.name}, or write a NumPy program instead: dlc compile --target numpy",
    )


def _too_old(node: Node, opset: int, needed: int) -> Diagnostic:
    spans = node.origin.spans
    return error(
        "E0902",
        f"{node.operation.opcode} needs ONNX opset {needed}, and opset {opset} was asked for",
        spans[0] if spans else None,
        f"this needs {node.operation.opcode}",
        help=f"ask for opset {needed} or later, or for none: dlc takes opset {DEFAULT} then",
    )


def _write_outputs(graph: Graph, writer: Writer, values: Mapping[Value, str]) -> None:
    """An output may have neither the name of an input or a weight nor that of another output: it is a copy then."""
    for output in graph.outputs:
        if values[output.value] != output.name:
            writer.node("Identity", [values[output.value]], [output.name], graph.origin_of(output.value))


def _graph_proto(
    graph: Graph, weights: Mapping[str, Array], writer: Writer, values: Mapping[Value, str]
) -> onnx.GraphProto:
    outputs = {output.name for output in graph.outputs}
    used = used_names(writer.nodes)
    made = {values[value]: value.type for node in graph.nodes for value in node.outputs}
    return onnx.GraphProto(
        name=graph.name,
        node=writer.nodes,
        input=[value_info(item.name, item.value.type) for item in graph.inputs if item.name not in weights],
        output=[value_info(output.name, output.value.type) for output in graph.outputs],
        initializer=[proto for name, proto in writer.initializers.items() if name in used],
        value_info=[value_info(n, t) for n, t in made.items() if n in writer.made and n not in outputs],
    )


def _model(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    return onnx.ModelProto(
        ir_version=IR_VERSION[opset],
        opset_import=[onnx.OperatorSetIdProto(domain="", version=opset)],
        producer_name="dlc",
        producer_version=VERSION,
        graph=graph,
    )


def _check(model: onnx.ModelProto, sources: Mapping[str, str]) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as fault:
        named = [name for name in sources if name in str(fault)]
        place = f" (from {sources[max(named, key=len)]})" if named else ""
        raise ExportError(f"onnx refuses the file{place}: {fault}") from fault


def _check_opset(opset: int) -> None:
    if opset not in OPSETS:
        notes = f"dlc writes opset {OPSETS[0]} to {OPSETS[-1]}"
        help = f"leave it out: current and older runtimes read opset {DEFAULT}"
        raise DiagnosticError([error("E0902", f"ONNX opset {opset} is not supported", None, notes=notes, help=help)])


def _check_weights(graph: Graph, weights: Mapping[str, Array]) -> None:
    for item in graph.inputs:
        array = weights.get(item.name)
        if array is None:
            if item.role is Role.WEIGHT:
                raise ValueError(f"no content is given for weight {item.name}")
            continue
        expected = item.value.type
        if DType.of(array.dtype) is not expected.dtype or array.shape != expected.shape:
            raise ValueError(f"{item.name} is {expected}, not {array.dtype}{list(array.shape)}")


def _too_large(graph: Graph, weights: Mapping[str, Array]) -> DiagnosticError:
    total = sum(array.nbytes for array in weights.values())
    return DiagnosticError(
        [
            error(
                "E0904",
                f"{graph.name} has {total / 2**30:.2f} GiB of weights, too many for one ONNX file",
                None,
                notes="an ONNX file that carries its weights ends at 2 GiB",
                help="use fewer or smaller layers, or keep the weights in f16",
            )
        ]
    )


def _symbol_sources(graph: Graph, weights: Mapping[str, Array]) -> dict[str, tuple[str, int]]:
    """For each symbol, an input and an axis whose size it is."""
    found: dict[str, tuple[str, int]] = {}
    for item in graph.inputs:
        for axis, dim in enumerate(item.value.type.shape):
            symbol = as_symbol(dim)
            if symbol is not None and item.name not in weights:
                found.setdefault(symbol.name, (item.name, axis))
    return found


def _shown(node: Node) -> str:
    return f"{node.operation.opcode} ({source_place(node.origin) or 'without a place in the source'})"
