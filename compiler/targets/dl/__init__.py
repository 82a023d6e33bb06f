"""The target that writes the language: a graph and its weights as a model file that a person can read.

What a file spells out in small operations is raised to layers (:mod:`.raiser` and the rules beside it), sums with
what they came from become residuals (:mod:`.residual`), what comes again blocks and repetitions (:mod:`.blocks`,
:mod:`.repeats`), and all of it becomes text (:mod:`.write`, :mod:`.file`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.ir.graph import Graph

if TYPE_CHECKING:
    from compiler.ops.base import Array


@dataclass(frozen=True)
class Decompiled:
    """``text`` is the model file, laid out roughly; ``model`` the name of the model in it. ``weights`` are the first
    weights in the order in which the model asks for them, each with the last part of its name. ``inputs`` and
    ``outputs`` are the names in the model by those of the graph."""

    text: str
    model: str
    weights: tuple[tuple[str, Array], ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def decompile(graph: Graph, weights: Mapping[str, Array], name: str, *, plain: bool = False) -> Decompiled:
    """The model file of ``graph``, in which the model is called ``name``; ``weights`` are by the names of the graph. A
    ``plain`` one has neither blocks nor repetitions.

    Raises DiagnosticError (E0923) for what the language has no words for.
    """
    from compiler.targets.dl.file import decompiled

    return decompiled(graph, weights, name, plain)
