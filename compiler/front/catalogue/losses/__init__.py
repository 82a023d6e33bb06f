"""Losses: what training makes smaller. Each is a mean over all its elements unless it says otherwise, a scalar.

Classification losses take logits or probabilities. With ``given=auto`` a value that was made by softmax (for bce:
sigmoid) is taken for probabilities, everything else for logits; either way the stable form is computed.
"""

from compiler.front.catalogue.losses import binary, classes, distributions, embeddings, paths, regression
from compiler.front.catalogue.losses.binary import bce, focal
from compiler.front.catalogue.losses.classes import cross_entropy, nll

__all__ = [
    "bce",
    "binary",
    "classes",
    "cross_entropy",
    "distributions",
    "embeddings",
    "focal",
    "nll",
    "paths",
    "regression",
]
