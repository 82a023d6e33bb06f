"""Where a run took place, for its record: versions and the machine, as texts."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from compiler.version import VERSION

_RUNTIMES = ("onnxruntime-gpu", "onnxruntime")


def environment() -> dict[str, str]:
    """The versions of dlc and of what computes, the system, and the processors that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = {
        "dlc": VERSION,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "NumPy": _version("numpy"),
        "ONNX": _version("onnx"),
        "ONNX Runtime": next(filter(None, map(_version, _RUNTIMES)), ""),
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{_processor()}, {cores} core{'s' * (cores != 1)} to use",
    }
    return {name: text for name, text in found.items() if text}


def _version(package: str) -> str:
    """The version of an installed package, without importing it; "" where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, text = line.partition(":")
                if name.strip() == "model name":
                    return text.strip()
    except OSError:
        pass
    return platform.machine()
