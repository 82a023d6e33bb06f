"""The catalogue: every layer, function, loss, metric, optimizer and initialiser, one entry each."""

from compiler.front.catalogue import functions, initialisers, layers, losses, metrics, optimizers
from compiler.front.catalogue.entry import Entry, entries

__all__ = ["Entry", "entries", "functions", "initialisers", "layers", "losses", "metrics", "optimizers"]
