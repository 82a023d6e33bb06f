"""From an ONNX file of any origin to one that dlc wrote, proved to compute the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import compiler
from compiler.targets.onnx.content import changed, fingerprint
from compiler.targets.onnx.metadata import describe, said_elsewhere
from compiler.version import VERSION
from runtime.disk.tensors import Array
from runtime.inference.certify import Certificate, certified_export, trial_inputs
from runtime.inference.saving import save_model
from runtime.inference.session import Device, InferenceSession


def compile_again(file: Path, output: Path, device: Device, certify: bool, opset: int) -> Certificate | None:
    """Writes the network of ``file`` to ``output`` as an ONNX file of ``opset``, with the inputs, the outputs and the
    metadata of the file. It is run against that file in ONNX Runtime if ``certify``; gives the certificate, or None.

    Raises DiagnosticError: what :func:`compiler.import_onnx`, export and certification raise (E09xx), E0801 where the
    file can't be written.
    """
    from compiler.targets.onnx.file import with_metadata

    foreign = compiler.import_onnx(file)
    source = fingerprint(foreign.content)
    kept = said_elsewhere(foreign.metadata)
    # What the file says of itself holds of what computes the same; its certificate is its own.
    description = replace(
        describe(foreign.metadata, foreign.text), version=VERSION, source_sha256=source, certificate={}
    )
    if not certify:
        plain = compiler.onnx_model(foreign.program, foreign.weights, opset, device)
        told = {**kept, **description.as_metadata()}
        save_model(output, changed(plain, lambda content: with_metadata(content, told, description.text)))
        return None
    graph = compiler.onnx_graph(foreign.program)
    weights = {item.name: foreign.weights[item.name] for item in graph.inputs if item.name in foreign.weights}
    original = InferenceSession(foreign.content, device)

    def reference(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return original.run(inputs)

    content, certificate = certified_export(
        graph, weights, reference, description=description, device=device, opset=opset
    )
    trials = (inputs for _, inputs in trial_inputs(graph, weights, {}, None))
    save_model(output, changed(content, lambda file: with_metadata(file, kept)), trials, device)
    return certificate
