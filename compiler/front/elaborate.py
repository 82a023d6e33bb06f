"""A whole file: from its tree to the graphs of its models and train blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compiler.diagnostics import Label, Sink, error
from compiler.foreign import Reader
from compiler.front import tree
from compiler.front.foreign_model import tuned_alone, with_models
from compiler.front.imports import Imported, declare
from compiler.front.models import ElaboratedModel
from compiler.front.names import check_names
from compiler.front.spaces import search_spaces
from compiler.front.training import ElaboratedTrain, elaborate_train
from compiler.front.values import DslValue
from compiler.program import SearchSpace, StoredWeights


@dataclass(frozen=True)
class Elaborated:
    """The meaning of a file: everything has a type, and nothing was optimised yet. ``imported`` are the other files
    that it is made of; ``about`` is what the file says of itself, by the words author, license and description;
    ``stored`` are the files that weights come from."""

    models: dict[str, ElaboratedModel]
    trains: dict[str, ElaboratedTrain]
    constants: dict[str, DslValue]
    imported: Imported
    spaces: dict[str, SearchSpace]
    about: dict[str, str]
    stored: tuple[StoredWeights, ...]


def elaborate(file: tree.File, overrides: Mapping[str, str], sink: Sink, reader: Reader) -> Elaborated:
    """Elaborate every declaration of ``file``; mistakes go to ``sink``, and what has any is left out. ``reader`` reads
    networks in other formats."""
    declarations, imported = declare(file, overrides, sink, reader)
    models = {model.name.name: declarations.elaborated(model) for model in declarations.models()}
    stored = tuple(declarations.stored())
    trains = {train.name.name: elaborate_train(declarations, train) for train in declarations.trains()}
    check_names(declarations, file)
    sound = {
        name: replace(model, weights=declarations.begun(model.weights))
        for name, model in models.items()
        if model is not None
    }
    sound_trains = {name: train for name, train in trains.items() if train is not None}
    alone = tuned_alone(imported.foreign, sound, sound_trains.values())
    return Elaborated(
        sound | alone,
        {name: with_models(train, alone) for name, train in sound_trains.items()},
        declarations.constants(),
        imported,
        search_spaces(declarations, file),
        _about(file, sink),
        stored,
    )


def _about(file: tree.File, sink: Sink) -> dict[str, str]:
    first: dict[str, tree.Setting] = {}
    for statement in file.about:
        before = first.setdefault(statement.name, statement)
        if before is not statement:
            label = Label(before.span, "first given here")
            title = f"{statement.name} stands twice in one file"
            help = "name them in one text, with commas in between" if statement.name == "author" else ()
            sink.report(error("E0202", title, statement.span, "given again here", labels=[label], help=help))
    return {word: node.value.value for word, node in first.items() if isinstance(node.value, tree.String)}
