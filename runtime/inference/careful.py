"""ONNX files of unknown origin, before ONNX Runtime sees them."""

from __future__ import annotations

from pathlib import Path

from compiler.targets.onnx.content import Content
from runtime.inference.session import Device, InferenceSession


def careful(path: Path) -> Content:
    """The model in ``path`` as one file that needs no other, if it fits: every byte as it was where it is of dlc.

    Raises DiagnosticError for a file that can't be read, that breaks a rule of ONNX or a limit, or names data that
    can't be had (E0905, E0906, E0920, E0921).
    """
    # Late, as onnx is needed only here.
    from compiler.targets.onnx.read.load import load

    return load(path).content


def careful_session(path: Path, device: Device = "cpu", threads: int | None = None) -> InferenceSession:
    """A session of what :func:`careful` gives. Raises DiagnosticError as it and InferenceSession do."""
    return InferenceSession(careful(path), device, threads=threads, name=path)
