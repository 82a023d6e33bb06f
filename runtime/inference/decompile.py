"""From an ONNX file to a model file that a person can read, with its weights beside it, proved to compute the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import compiler
from compiler.diagnostics import DiagnosticError, Source, error
from compiler.front.format import format_source
from compiler.program import ModelProgram
from compiler.targets.dl import decompile
from compiler.targets.onnx.metadata import describe
from runtime.disk.output import save_output
from runtime.disk.tensors import Array
from runtime.inference.certify import Certificate, certified_export
from runtime.inference.session import Device, InferenceSession
from runtime.training.weights import save_weights_file

WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class Written:
    """What was written: ``text`` is the model file; ``certificate`` says how the network compares with the ONNX file's
    in ONNX Runtime."""

    text: str
    weights: Mapping[str, Array]
    certificate: Certificate


def decompile_file(file: Path, output: Path, device: Device = "cpu") -> Written:
    """Writes the network of the ONNX file ``file`` as the model file ``output``, and its weights beside that.

    Raises DiagnosticError: what :func:`compiler.import_onnx` raises, E0923 for what the language has no words for,
    E0924 where what would be written does not compute the same, E0801 where it can't be written. Nothing is written
    then.
    """
    foreign = compiler.import_onnx(file)
    stored = output.with_suffix(WEIGHTS)
    name = model_name(file.stem)
    failures: list[DiagnosticError] = []
    for plain in (False, True):
        try:
            written = _proved(foreign, file, name, stored.name, device, plain)
        except DiagnosticError as failure:
            if failure.diagnostics[0].code == "E0923":
                raise
            failures.append(failure)
            continue
        save_weights_file(stored, written.weights, describe(foreign.metadata).names)
        save_output(output, written.text.encode())
        return written
    raise _differs(file, failures[-1])


def model_name(stem: str) -> str:
    """``resnet-50 v2`` as the name of a model: ``Resnet50V2``."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", stem) if word]
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return name if name[:1].isalpha() else f"Net{name}"


def _proved(foreign: compiler.ForeignModel, file: Path, name: str, stored: str, device: Device, plain: bool) -> Written:
    """The model file, if it compiles and computes what the ONNX file does. Raises DiagnosticError."""
    made = decompile(foreign.program.graph, foreign.weights, name, plain=plain)
    source = Source(f"{name}.dl", made.text)
    program = compiler.compile_model(compiler.check(source), name)
    weights = _named(program, made.weights)
    original = InferenceSession(foreign.content, device)

    def reference(inputs: Mapping[str, Array]) -> dict[str, Array]:
        results = original.run({key: inputs[shown] for key, shown in made.inputs.items()})
        return {shown: results[key] for key, shown in made.outputs.items()}

    graph = compiler.onnx_graph(program)
    _, certificate = certified_export(graph, weights, reference, device=device)
    head = f"# {file.name}, written as a model file: dlc import {file.name}\n\n"
    tail = f'\nweights {name} from "{stored}"\n' if weights else ""
    text = format_source(Source(source.name, f"{head}{made.text}{tail}"))
    return Written(text, weights, certificate)


def _named(program: ModelProgram, given: tuple[tuple[str, Array], ...]) -> dict[str, Array]:
    """The arrays by the names of the weights, which come in the same order."""
    named: dict[str, Array] = {}
    if len(given) != len(program.weights):
        raise _unfit(f"it asks for {len(program.weights)} weights, and {len(given)} are there")
    for weight, (ending, array) in zip(program.weights, given, strict=True):
        if not weight.name.endswith(f".{ending}") or weight.type.shape != array.shape:
            raise _unfit(f"{weight.name}: {weight.type} meets {ending} of the shape {list(array.shape)}")
        named[weight.name] = array.astype(weight.type.dtype.numpy)
    return named


def _unfit(why: str) -> DiagnosticError:
    return DiagnosticError([error("E0924", f"the model file has other weights than the network: {why}", None)])


def _differs(file: Path, failure: DiagnosticError) -> DiagnosticError:
    first = failure.diagnostics[0]
    title = f"{file} could not be written as a model file that computes the same"
    notes = [first.title, *first.notes]
    help = f'nothing was written; import the file itself in a model file: import "{file.name}" as Net'
    return DiagnosticError([error("E0924", title, None, notes=notes, help=help)])
