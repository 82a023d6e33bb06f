"""Which opset and which version of the file format each release of ONNX Runtime reads. Needs no onnx."""

from __future__ import annotations

import re

from compiler.diagnostics import DiagnosticError, error

OPSETS = range(17, 24)
DEFAULT = 21
# The file format (IR version) that came with each opset: https://onnx.ai/onnx/repo-docs/Versioning.html.
IR_VERSION = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}
# The newest opset of which each release has the operations, by https://onnxruntime.ai/docs/reference/compatibility.html
# and by trials of 1.15 to 1.31 with the samples of every operation. 1.15 takes files of opset 19, but not its Reshape;
# of 1.14, which could not be tried, the same is supposed.
RELEASES = {
    (1, 12): 17, (1, 13): 17, (1, 14): 17, (1, 15): 18, (1, 16): 19, (1, 17): 20, (1, 18): 21, (1, 19): 21,
    (1, 20): 21, (1, 21): 22, (1, 22): 22, (1, 23): 23, (1, 24): 25, (1, 25): 26,
}  # fmt: skip
_RELEASE = re.compile(r"(?:onnxruntime(?:-gpu)?\s*(?P<relation>==|>=|~=)\s*)?(?P<major>\d+)\.(?P<minor>\d+)(?:\.\d+)*")


def chosen_opset(opset: int | None = None, release: str | None = None) -> int:
    """The opset that is asked for by its number or by a release of ONNX Runtime that is to read the file, or else the
    usual one. Raises ValueError for both, DiagnosticError as :func:`opset_for` does."""
    if opset is not None and release is not None:
        raise ValueError("an opset and a release of ONNX Runtime both say which operations a file has: give one")
    if release is not None:
        return opset_for(release)
    return DEFAULT if opset is None else opset


def opset_for(release: str) -> int:
    """The newest opset that dlc writes and a release of ONNX Runtime reads: ``onnxruntime==1.17``, or with ``>=`` that
    release and all later ones, or ``1.17`` alone.

    Raises DiagnosticError E0902 for what is no release, or one that reads none of the opsets that dlc writes.
    """
    found = _RELEASE.fullmatch(release.strip())
    if found is None:
        raise DiagnosticError(
            [
                error(
                    "E0902",
                    f"{release} is no release of ONNX Runtime",
                    None,
                    help="write it like onnxruntime==1.17, onnxruntime>=1.17 or 1.17",
                )
            ]
        )
    asked = (int(found["major"]), int(found["minor"]))
    known = [version for version in RELEASES if version <= asked]
    if not known:
        first = ".".join(map(str, min(RELEASES)))
        raise DiagnosticError(
            [
                error(
                    "E0902",
                    f"ONNX Runtime {asked[0]}.{asked[1]} reads no opset that dlc writes",
                    None,
                    notes=f"dlc writes opset {OPSETS[0]} to {OPSETS[-1]}, which ONNX Runtime reads from {first} on",
                    help=f"use ONNX Runtime {first} or later where the model runs",
                )
            ]
        )
    # Every release reads what earlier ones read.
    return min(RELEASES[max(known)], OPSETS[-1])
