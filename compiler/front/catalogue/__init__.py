"""The catalogue: every layer, function, loss, metric, optimizer and initialiser, one entry each."""

from compiler.front.catalogue import (
    activations,
    attention,
    functions,
    initialisers,
    layers,
    losses,
    metrics,
    noise,
    norms,
    optimizers,
    pooling,
    recurrent,
    resizing,
    sequence,
    spatial,
    tensors,
)
from compiler.front.catalogue.entry import Entry, entries

__all__ = [
    "Entry",
    "activations",
    "attention",
    "entries",
    "functions",
    "initialisers",
    "layers",
    "losses",
    "metrics",
    "noise",
    "norms",
    "optimizers",
    "pooling",
    "recurrent",
    "resizing",
    "sequence",
    "spatial",
    "tensors",
]
