"""The ONNX target: a graph and its weights as one ONNX file. The only package that imports onnx.

:func:`export` lives here and imports the rest when it is called, so that a command which exports nothing
does not load onnx.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from compiler.ir.graph import Graph
from compiler.targets.onnx.content import Content
from compiler.targets.onnx.releases import DEFAULT

if TYPE_CHECKING:
    from compiler.ops.base import Array, Device

NOTHING: Mapping[str, str] = MappingProxyType({})


def export(
    graph: Graph,
    weights: Mapping[str, Array],
    *,
    metadata: Mapping[str, str] = NOTHING,
    opset: int = DEFAULT,
    device: Device = "cpu",
) -> bytes:
    """``graph`` as an ONNX file that onnx's full check accepts; equal arguments give equal bytes.

    Inputs that ``weights`` names are embedded under their names, the others stay inputs; symbols become
    dynamic axes. ``metadata`` goes into the file's metadata; the IR version is that of the ``opset``; it runs anywhere,
    and is written for what ONNX Runtime has on ``device``. Raises
    DiagnosticError for what the user can change: an operation that ONNX can't express (E0901), an opset that is not
    supported or lacks an operation (E0902), an input and an output of one name (E0903), more than 2 GiB of weights
    (E0904). A weight that is missing or of another type is a ValueError.
    """
    from compiler.targets.onnx.model import export_graph

    return export_graph(graph, weights, metadata, opset, device)


def export_any(
    graph: Graph,
    weights: Mapping[str, Array],
    *,
    metadata: Mapping[str, str] = NOTHING,
    opset: int = DEFAULT,
    device: Device = "cpu",
) -> Content:
    """What :func:`export` gives, or the model with its large weights apart where they do not fit into one ONNX file."""
    from compiler.targets.onnx.model import export_apart, export_graph, is_large

    return (export_apart if is_large(weights) else export_graph)(graph, weights, metadata, opset, device)
