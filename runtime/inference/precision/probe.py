"""Whether ONNX Runtime survives a file: tried in a process of its own, as some files crash what loads them."""

from __future__ import annotations

import subprocess
import sys

_LOAD = """
import sys, onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
onnxruntime.InferenceSession(sys.stdin.buffer.read(), options, providers=["CPUExecutionProvider"])
"""
# What Windows reports for a process that touched memory which is not its own.
_ACCESS_VIOLATION = 0xC0000005


def survives(content: bytes) -> bool:
    """Whether a process that loads the ONNX file ``content`` on the CPU lives on. One that refuses it does.

    ONNX Runtime 1.31 is known to crash where a Transpose of f16 to another first axis feeds a MatMul.
    """
    done = subprocess.run([sys.executable, "-c", _LOAD], input=content, capture_output=True, check=False)
    return done.returncode >= 0 and done.returncode != _ACCESS_VIOLATION
