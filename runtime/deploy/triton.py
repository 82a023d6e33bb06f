"""Model repositories for the Triton Inference Server: ``NAME/config.pbtxt``, ``NAME/1/model.onnx`` and labels.

The fields are those of https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto; what
Triton asks of them is in its documentation under "Model Configuration".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler.diagnostics import DiagnosticError, error
from compiler.foreign import Parts
from runtime.deploy.folder import publish
from runtime.disk.tensors import Array
from runtime.inference.bench import Plan, inputs_for
from runtime.inference.careful import careful
from runtime.inference.session import Device, InferenceSession
from runtime.programs.signature import Port
from runtime.serving.independence import why_alone
from runtime.serving.protocol import DATATYPES

_LABELS = "labels.txt"
_MARK = "config.pbtxt"


@dataclass(frozen=True)
class Triton:
    """How Triton is to run a model: ``batch`` rows at most together, for which requests wait ``delay`` seconds at most,
    with ``instances`` of it on the ``device``, of ``threads`` threads each where that is not left to ONNX Runtime."""

    batch: int = 64
    delay: float = 0.0
    device: Device = "cpu"
    instances: int = 1
    threads: int | None = None


@dataclass(frozen=True)
class Repository:
    """What was written: the ``folder`` of the model, and the most rows that run together, or why they don't."""

    folder: Path
    batch: int
    alone: str


def legal_name(text: str) -> str:
    """``text`` as a name that is one in paths and URLs everywhere: what is no letter, digit, ``_``, ``-`` or ``.`` is
    ``_``."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:128].lstrip(".") or "model"


def deploy_triton(path: Path, repository: Path, name: str, how: Triton, replace: bool = False) -> Repository:
    """Writes the model in ``path`` into a repository, as ``name``, which has to be legal.

    Raises DiagnosticError: what opening the file raises (E0905 to E0921), E0941 for what Triton can't take, E0940 and
    E0801 where the folder can't be written.
    """
    # Late, as onnx is needed only here.
    from compiler.targets.onnx.apart import files

    content = careful(path)
    session = InferenceSession(content, name=path)
    alone = why_alone(session)
    batch = 0 if alone else session.most_rows(how.batch)
    written: dict[str, Parts] = {f"1/{file}": parts for file, parts in files(content, "model.onnx").items()}
    written[_MARK] = [config(session, name, batch, how).encode()]
    if session.labels:
        # One a line: a label that has several is one line.
        written[_LABELS] = ["".join(" ".join(label.split()) + "\n" for label in session.labels).encode()]
    folder = repository / name
    publish(folder, written, _MARK, replace)
    return Repository(folder, batch, alone)


def config(session: InferenceSession, name: str, batch: int, how: Triton) -> str:
    """The text of ``config.pbtxt``, where ``batch`` rows run together, or 0 where rows don't. Raises DiagnosticError
    E0941."""
    faults = [*_faults(session.inputs, "input", batch), *_faults(session.outputs, "output", batch)]
    if faults:
        raise DiagnosticError(
            [error("E0941", f"Triton cannot run {session.name}: {why}", None, help=what) for why, what in faults]
        )
    sizes = _sizes_of_outputs(session)
    labelled = [port.name for port in session.outputs if sizes[port.name][-1:] == [len(session.labels)]][:1]
    parts = [
        f"name: {_text(name)}",
        'platform: "onnxruntime_onnx"',
        'default_model_filename: "model.onnx"',
        f"max_batch_size: {batch}",
        *(_tensor("input", port, _sizes(port.shape or ()), batch) for port in session.inputs),
        *(_tensor("output", port, sizes[port.name], batch, port.name in labelled) for port in session.outputs),
    ]
    if batch:
        parts.append(f"dynamic_batching {{ max_queue_delay_microseconds: {round(1e6 * how.delay)} }}")
    kind = "KIND_GPU" if how.device == "cuda" else "KIND_CPU"
    parts.append(f"instance_group [ {{ count: {how.instances} kind: {kind} }} ]")
    # Without a level of its own ONNX Runtime does all that it can to the graph.
    pinned = "true" if how.device == "cuda" else "false"
    parts.append(
        f"optimization {{ input_pinned_memory {{ enable: {pinned} }} output_pinned_memory {{ enable: {pinned} }} }}"
    )
    if how.threads is not None:
        value = f'{{ string_value: "{how.threads}" }}'
        parts.append(f'parameters {{ key: "intra_op_thread_count" value: {value} }}')
    return "\n".join(parts) + "\n"


def _faults(ports: Sequence[Port], kind: str, batch: int) -> list[tuple[str, str]]:
    found = []
    for port in ports:
        if port.shape is None:
            if kind == "input":  # a run tells the shapes of outputs
                text = f"the file does not say how many dimensions the input `{port.name}` has"
                found.append((text, "export it again with the shapes of its inputs"))
        elif not port.shape:
            text = f"the {kind} `{port.name}` is a scalar, which Triton does not have"
            found.append((text, "let it have a dimension of size 1"))
        elif 0 in port.shape:
            found.append((f"the {kind} `{port.name}` is {port}, which is always empty", "leave it out of the model"))
    return found


def _sizes_of_outputs(session: InferenceSession) -> Mapping[str, list[int]]:
    """The shapes of the outputs, -1 where free. ONNX files need not tell them: what a run gives tells how many
    dimensions there are."""
    told = {port.name: _sizes(port.shape or ()) for port in session.outputs}
    results: Mapping[str, Array] = session.run(inputs_for(session, session.most_rows(2), Plan()))
    return {
        name: sizes if len(sizes) == results[name].ndim else [-1] * results[name].ndim for name, sizes in told.items()
    }


def _sizes(shape: Sequence[int | str | None]) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in shape]


def _tensor(kind: str, port: Port, sizes: Sequence[int], batch: int, labelled: bool = False) -> str:
    """A tensor without the dimension of its batch. One that has no other is given one of size 1, as Triton asks."""
    inner = list(sizes[1:] if batch else sizes)
    fields = [f"name: {_text(port.name)}", f"data_type: TYPE_{DATATYPES[port.dtype]}", f"dims: {inner or [1]}"]
    if not inner:
        fields.append("reshape { shape: [ ] }")
    if labelled:
        fields.append(f"label_filename: {_text(_LABELS)}")
    return f"{kind} [\n  {{\n" + "".join(f"    {field}\n" for field in fields) + "  }\n]"


def _text(text: str) -> str:
    """A string of protobuf's text format: what JSON writes is one, when it is written as it is."""
    return json.dumps(text, ensure_ascii=False)
