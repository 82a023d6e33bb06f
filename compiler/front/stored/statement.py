"""The statement ``weights MODEL from FILE { … }``: which weights a file gives, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.diagnostics import DiagnosticError, Label, Sink, did_you_mean, error
from compiler.front import tree
from compiler.front.stored.conventions import CONVENTIONS
from compiler.front.stored.files import FLOATS, Array, StoredFile, Unreadable, open_stored
from compiler.front.stored.match import Found, MappingRule, Matches, holes, match, tidy
from compiler.front.stored.nodes import WeightRule, WeightsFrom
from compiler.front.values import NONE, Poison
from compiler.front.values import Callable as Called
from compiler.ir.types import TensorType
from compiler.program import Given, StoredWeights

if TYPE_CHECKING:
    from compiler.front.declarations import Declarations

_SHOWN = 6  # names of one kind that a report lists


def stored_weights(declarations: Declarations, statement: WeightsFrom, folder: Path) -> StoredWeights | None:
    """What ``statement`` gives; None after a report. Nothing outside ``folder`` is read."""
    return _Statement(declarations, statement, folder).run()


@dataclass
class _Statement:
    declarations: Declarations
    statement: WeightsFrom
    folder: Path

    @property
    def _sink(self) -> Sink:
        return self.declarations.sink

    def run(self) -> StoredWeights | None:
        before = len(self._sink.errors)
        weights = self._weights()
        convention = self._convention()
        rules = self._rules()
        file = self._open()
        if weights is None or convention is None or rules is None or file is None or len(self._sink.errors) > before:
            return None
        shapes = {name: _shape(type) for name, type in weights.items()}
        matches = match(self.statement.model.name, shapes, file.outlines, list(rules), convention)
        self._report(matches, rules, weights, file)
        if len(self._sink.errors) > before:
            return None
        shown = self.statement.source.path.value
        return StoredWeights(
            self.statement.model.name,
            shown,
            tuple((found.weight, found.sources, _how(found, weights[found.weight])) for found in matches.found),
            tuple(matches.fresh),
            tuple(matches.left_out),
            {found.weight: Given(shown, self._reader(file, found, weights[found.weight])) for found in matches.found},
        )

    # What the statement says.

    def _weights(self) -> dict[str, TensorType] | None:
        """The weights of the model, by their names."""
        name = self.statement.model
        value = self.declarations.value(name.name) if name.name in self.declarations else None
        if isinstance(value, Poison):
            return None
        if not isinstance(value, Called) or not isinstance(value.target, tree.Model):
            models = [model.name.name for model in self.declarations.models()]
            near = did_you_mean(name.name, models)
            listed = f"the models are {', '.join(models)}" if models else "the file has no model"
            help = f"did you mean {near}?" if near else listed
            if value is not None or self.declarations.are_all_known:
                self._sink.report(error("E0201", f"there is no model {name.name}", name.span, "not found", help=help))
            return None
        model = (value.home or self.declarations).elaborated(value.target)
        if model is None:
            return None
        own = f"{name.name}."
        return {w.weight.name: w.weight.type for w in model.weights if w.weight.name.startswith(own)}

    def _convention(self) -> str | None:
        name = self.statement.source.convention
        if name is None or name.name in CONVENTIONS:
            return name.name if name else ""
        near = did_you_mean(name.name, CONVENTIONS)
        help = f"did you mean {near}?" if near else f"weights of {', '.join(CONVENTIONS)} can be read so"
        title = f"how {name.name} lays weights out is not known"
        self._sink.report(error("E0201", title, name.span, "not found", help=help))
        return None

    def _rules(self) -> dict[MappingRule, WeightRule] | None:
        found: dict[MappingRule, WeightRule] = {}
        sound = True
        for node in self.statement.rules:
            sides = [self._side(side) for side in (node.theirs, node.ours)]
            theirs, ours = (side if isinstance(side, str) else None for side in sides)
            if False in sides:
                sound = False
                continue
            unbound = [name for name in holes(ours or "") if theirs is not None and name not in holes(theirs)]
            if unbound:
                text = f"{{{unbound[0]}}} stands for nothing in {theirs}"
                sound = self._refuse(node.ours, text, f"write {{{unbound[0]}}} on both sides")
            elif theirs is None and ours is None:
                sound = self._refuse(node, "none -> none says nothing", "remove it")
            else:
                found[MappingRule(theirs, ours)] = node
        return found if sound else None

    def _side(self, side: tree.String | tree.Name) -> str | bool | None:
        """The text of a side, None for ``none``, False after a report."""
        if isinstance(side, tree.String):
            return side.value
        if side.name == NONE:
            return None
        return self._refuse(side, f"a side of a rule is a name in quotes, or {NONE}", f'write "{side.name}"')

    def _refuse(self, node: tree.Node, title: str, help: str) -> bool:
        self._sink.report(error("E0212", title, node.span, help=help))
        return False

    def _open(self) -> StoredFile | None:
        node = self.statement.source.path
        path = Path(node.span.source.name).parent / node.value
        help: tuple[str, ...]
        if not path.resolve().is_relative_to(self.folder.resolve()):
            why, help = "it lies outside the folder of the main file", ("copy the file into the folder, or below it",)
        elif not path.exists():
            near = did_you_mean(path.name, [other.name for other in path.parent.glob("*.*")])
            why, help = "there is no such file", (f"did you mean {near}?",) if near else ()
        else:
            try:
                return open_stored(path)
            except Unreadable as problem:
                why, help = str(problem), (problem.help,)
        title = f"cannot take weights from {node.value}: {why}"
        self._sink.report(error("E0211", title, node.span, "not read", help=help))
        return None

    # What comes of it.

    def _report(
        self,
        matches: Matches,
        rules: Mapping[MappingRule, WeightRule],
        weights: Mapping[str, TensorType],
        file: StoredFile,
    ) -> None:
        for rule in matches.idle:
            side = rules[rule].ours if rule.theirs is None else rules[rule].theirs
            where = "no weight of the model" if rule.theirs is None else f"nothing in {file.path.name}"
            text = rule.ours if rule.theirs is None else rule.theirs
            known = [name.removeprefix(f"{self.statement.model.name}.") for name in weights]
            names = known if rule.theirs is None else [tidy(name) for name in file.outlines]
            self._sink.report(
                error("E0212", f"{where} begins with {text}", side.span, "this matches nothing", help=_example(names))
            )
        if matches.clashes:
            first, second, name = matches.clashes[0]
            others = len(matches.clashes) - 1
            more = f", and so with {others} more pair{'s' * (others > 1)}" if others else ""
            help = "leave one of them out, with -> none, or let the rules give them two names"
            title = f"{first} and {second} both become {name}{more}"
            self._sink.report(error("E0212", title, self.statement.source.span, "all are in it", help=help))
        for found in matches.misshapen:
            self._report_shape(found, weights[found.weight])
        if (matches.missing or matches.unused) and not matches.clashes and not matches.idle:
            self._report_names(matches, weights, file)

    def _report_shape(self, found: Found, type: TensorType) -> None:
        pairs = zip(found.sources, found.outlines, found.recipe.shapes, strict=True)
        notes = [
            f"{source} is {outline}, and {list(shape)} of floating-point numbers is needed"
            for source, outline, shape in pairs
            if outline.shape != shape or outline.dtype not in FLOATS
        ]
        title = f"{found.weight}: {type} does not fit what {self.statement.source.path.value} has for it"
        turned = not self.statement.source.convention and _is_turned(found, type)
        help = f'its layout is that of PyTorch: from torch("{self.statement.source.path.value}")' if turned else ()
        span = self.statement.source.span
        labels = [Label(self.statement.model.span, "the model")]
        self._sink.report(error("E0213", title, span, "stored here", labels=labels, notes=notes, help=help))

    def _report_names(self, matches: Matches, weights: Mapping[str, TensorType], file: StoredFile) -> None:
        notes = _listed("it has nothing for", [f"{name}: {weights[name]}" for name in matches.missing])
        notes += _listed("it also has", [f"{tidy(name)}: {file.outlines[name]}" for name in matches.unused])
        name, shown = self.statement.model.name, self.statement.source.path.value
        title = f"{shown} does not have all weights of {name}"
        if not matches.missing:
            title = f"{shown} has what {name} has no place for"
        self._sink.report(
            error("E0214", title, self.statement.source.span, notes=notes, help=self._advice(matches, weights, file))
        )

    def _advice(self, matches: Matches, weights: Mapping[str, TensorType], file: StoredFile) -> list[str]:
        """Rules that would help: of equal shapes, or those that say that it is meant."""
        model = f"{self.statement.model.name}."
        for missing in matches.missing:
            size = prod(_shape(weights[missing]))
            fitting = [name for name in matches.unused if prod(file.outlines[name].shape) == size]
            if len(fitting) == 1 and size > 1:
                theirs, ours = tidy(fitting[0]).rpartition(".")[0], missing.removeprefix(model).rpartition(".")[0]
                return [f'if these are the same, a rule says so, in braces: "{theirs}" -> "{ours}"']
        advice = []
        if matches.missing:
            part = matches.missing[0].removeprefix(model).rpartition(".")[0]
            advice.append(f'what is to begin fresh is named by: none -> "{part}"')
        if matches.unused:
            advice.append(f'what is to be left out is named by: "{_stem(tidy(matches.unused[0]))}" -> none')
        return advice

    def _reader(self, file: StoredFile, found: Found, type: TensorType) -> Callable[[], Array]:
        def read() -> Array:
            try:
                arrays = [file.read(source) for source in found.sources]
            except Unreadable as problem:
                title = f"cannot take weights from {self.statement.source.path.value}: {problem}"
                span = self.statement.source.path.span
                raise DiagnosticError([error("E0211", title, span, "not read", help=problem.help)]) from problem
            return np.ascontiguousarray(found.recipe.make(arrays), type.dtype.numpy)

        return read


def _shape(type: TensorType) -> tuple[int, ...]:
    """The shape of a weight, which has no symbols."""
    return tuple(dim for dim in type.shape if isinstance(dim, int))


def _how(found: Found, type: TensorType) -> str:
    kinds = dict.fromkeys(outline.dtype for outline in found.outlines if outline.dtype != str(type.dtype))
    converted = [f"{' and '.join(kinds)} to {type.dtype}"] if kinds else []
    return ", ".join([*filter(None, [found.recipe.how]), *converted])


def _is_turned(found: Found, type: TensorType) -> bool:
    shape = _shape(type)
    return len(shape) == 2 and [outline.shape for outline in found.outlines] == [shape[::-1]]


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _example(names: Sequence[str]) -> str:
    few = ", ".join(names[:_SHOWN])
    return f"there is {few}{' …' if len(names) > _SHOWN else ''}" if names else "there is nothing at all"


def _listed(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{what} {', '.join(names[:_SHOWN])}{more}"]
