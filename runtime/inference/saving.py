"""Where an exported model goes: one file, two where it is too large for one, or an ORT file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from compiler.diagnostics import DiagnosticError, error
from compiler.targets.onnx.content import Content, content_of
from runtime.disk.output import save_output
from runtime.disk.tensors import Array
from runtime.inference.mobile import SUFFIX, save_ort
from runtime.inference.session import Device


def save_model(
    path: Path, content: Content, trials: Iterable[Mapping[str, Array]] = (), device: Device = "cpu"
) -> None:
    """Writes an ONNX file, or where ``path`` ends in ``.ort`` what :func:`save_ort` makes of it, with the inputs
    ``trials``. Large weights that are apart go to a file beside it, ``net.onnx.1a2b3c4d.data``, named after what is in
    it: whatever happens in between, a model finds the weights that it was written with.

    Raises DiagnosticError E0801, and what :func:`save_ort` raises.
    """
    from compiler.targets.onnx.apart import files

    if path.suffix == SUFFIX:
        save_ort(path, one_file(content, "an ORT file"), trials, device)
        return
    before = _data_files(path)
    for name, parts in files(content, path.name).items():
        save_output(path if name == path.name else path.with_name(name), *parts)
        before.discard(name)
    for name in before:
        with suppress(OSError):
            path.with_name(name).unlink()


def sizes(path: Path) -> str:
    """What :func:`save_model` wrote at ``path``, and beside it, with its bytes: ``net.onnx, 1,234 bytes``."""
    beside = (file for file in path.parent.iterdir() if _own_data(path).fullmatch(file.name))
    return " and ".join(f"{file}, {file.stat().st_size:,} bytes" for file in (path, *sorted(beside)))


def one_file(content: Content, purpose: str) -> bytes:
    """The content of a model that has to be one file for this ``purpose``. Raises DiagnosticError E0904."""
    if isinstance(content, bytes):
        return content
    title = f"the weights take {content.size / 2**30:.2f} GiB, too many for {purpose}"
    notes = "that is made of one ONNX file, which ends at 2 GiB"
    raise DiagnosticError([error("E0904", title, None, notes=notes, help="use fewer or smaller layers")])


def _data_files(path: Path) -> set[str]:
    """The files that hold the weights of the model at ``path``, as far as they were written beside it by this."""
    from compiler.targets.onnx.apart import locations
    from compiler.targets.onnx.file import parse

    if not path.exists():
        return set()
    try:
        content = content_of(path)
        parse(content, str(path))
    except DiagnosticError:
        return set()
    return {name for name in locations(content) if _own_data(path).fullmatch(name)}


def _own_data(path: Path) -> re.Pattern[str]:
    """The names that data of the model at ``path`` have."""
    return re.compile(rf"{re.escape(path.name)}\.[0-9a-f]{{8}}\.data")
