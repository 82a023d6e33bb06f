"""A whole file: from its tree to the graphs of its models and train blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.diagnostics import Sink
from compiler.front import tree
from compiler.front.imports import Imported, declare
from compiler.front.models import ElaboratedModel
from compiler.front.names import check_names
from compiler.front.spaces import search_spaces
from compiler.front.training import ElaboratedTrain, elaborate_train
from compiler.front.values import DslValue
from compiler.program import SearchSpace


@dataclass(frozen=True)
class Elaborated:
    """The meaning of a file: everything has a type, and nothing was optimised yet. ``imported`` are the other files
    that it is made of."""

    models: dict[str, ElaboratedModel]
    trains: dict[str, ElaboratedTrain]
    constants: dict[str, DslValue]
    imported: Imported
    spaces: dict[str, SearchSpace]


def elaborate(file: tree.File, overrides: Mapping[str, str], sink: Sink) -> Elaborated:
    """Elaborate every declaration of ``file``; mistakes go to ``sink``, and what has any is left out."""
    declarations, imported = declare(file, overrides, sink)
    models = {model.name.name: declarations.elaborated(model) for model in declarations.models()}
    trains = {train.name.name: elaborate_train(declarations, train) for train in declarations.trains()}
    check_names(declarations, file)
    return Elaborated(
        {name: model for name, model in models.items() if model is not None},
        {name: train for name, train in trains.items() if train is not None},
        declarations.constants(),
        imported,
        search_spaces(declarations, file),
    )
