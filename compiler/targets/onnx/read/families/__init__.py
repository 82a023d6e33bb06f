"""The functions that read operators, by family. Importing this package registers them all."""

from compiler.targets.onnx.read.families import (
    activations,
    arithmetic,
    indices,
    linear,
    norms,
    recurrent,
    reductions,
    sampling,
    scan,
    shapes,
    windows,
)
from compiler.targets.onnx.read.node import readers

__all__ = [
    "activations",
    "arithmetic",
    "indices",
    "linear",
    "norms",
    "readers",
    "recurrent",
    "reductions",
    "sampling",
    "scan",
    "shapes",
    "windows",
]
