"""Who takes part: a module of steps, how it is called, and the environment of its process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# glibc gives large freed arrays back to the system in every step otherwise; frameworks that allocate pay for it.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_MMAP_THRESHOLD_": "4000000000"}
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


@dataclass(frozen=True)
class Contender:
    """``module`` has ``make(workload, **options)``; ``python`` names the interpreter that may be set for it."""

    module: str
    python: str
    options: Mapping[str, bool | str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


_ON_TENSORFLOW = {**KEEP_MEMORY, **_QUIET, "KERAS_BACKEND": "tensorflow"}
_ON_JAX = {**KEEP_MEMORY, **_QUIET, "KERAS_BACKEND": "jax"}

CONTENDERS = {
    "dlc": Contender("benchmarks.steps.dlc", "dlc"),
    "torch": Contender("benchmarks.steps.torch", "torch", {}, KEEP_MEMORY),
    "torch-1-thread": Contender("benchmarks.steps.torch", "torch", {"alone": True}, KEEP_MEMORY),
    "torch-compiled": Contender("benchmarks.steps.torch", "torch", {"compiled": True}, KEEP_MEMORY),
    "jax": Contender("benchmarks.steps.jax", "jax", {}, {**KEEP_MEMORY, **_QUIET}),
    "keras-tensorflow": Contender("benchmarks.steps.keras", "keras", {}, _ON_TENSORFLOW),
    "keras-jax": Contender("benchmarks.steps.keras", "jax", {}, _ON_JAX),
}
