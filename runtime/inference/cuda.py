"""Why CUDA can't be used here, found by looking for each thing that it needs."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Sequence

PROVIDER = "CUDAExecutionProvider"
_PACKAGE = "onnxruntime-gpu[cuda,cudnn]"


def why_not(available: Sequence[str], version: str) -> Iterator[tuple[str, str]]:
    """What is missing and what to do about it, the most basic first; ``available`` are the providers that
    ONNX Runtime was built with and ``version`` the CUDA version that it was built for, such as "13.0"."""
    if sys.platform == "darwin":
        yield "there is no CUDA for macOS", "leave out --device, or give --device cpu"
        return
    if PROVIDER not in available:
        yield (
            "the onnxruntime that is installed was built without CUDA",
            f"pip uninstall -y onnxruntime onnxruntime-gpu, then pip install '{_PACKAGE}'",
        )
        return
    windows = sys.platform == "win32"
    driver = "nvcuda.dll" if windows else "libcuda.so.1"
    if not _loads(driver):
        yield f"there is no NVIDIA driver ({driver} is not found)", "install the driver of your NVIDIA graphics card"
    missing = [name for name in _libraries(version.partition(".")[0], windows) if not _loads(name)]
    if missing:
        yield f"CUDA libraries are not found: {', '.join(missing)}", f"pip install '{_PACKAGE}'"


def _libraries(major: str, windows: bool) -> tuple[str, ...]:
    if windows:
        return f"cudart64_{major}.dll", f"cublas64_{major}.dll", "cudnn64_9.dll"
    return f"libcudart.so.{major}", f"libcublas.so.{major}", "libcudnn.so.9"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
