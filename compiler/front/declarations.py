"""What a file declares: constants evaluated when they are needed, models elaborated once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from compiler.diagnostics import Label, Sink, Source, Span, did_you_mean, error
from compiler.front import tree
from compiler.front.catalogue.entry import ModelWeights
from compiler.front.catalogue.initialisers import given
from compiler.front.expressions import Evaluator
from compiler.front.limits import nested_too_deeply
from compiler.front.models import ElaboratedModel, elaborate_model
from compiler.front.parse import parse
from compiler.front.patterns import belongs
from compiler.front.scope import Naming, Scope
from compiler.front.stored.statement import stored_weights
from compiler.front.trace import TracedWeight
from compiler.front.values import (
    POISON,
    Callable,
    DslValue,
    Foreign,
    Namespace,
    Poison,
    describe,
    has_poison,
    same_kind,
)
from compiler.program import StoredWeights

_Named = TypeVar("_Named", tree.Parameter, tree.Output)


class Declarations:
    """The names of a file. ``overrides`` are the constants that the command line sets, as texts; ``imports`` what its
    import statements bring in, None where that could not be read; nothing outside ``folder`` is read."""

    def __init__(
        self,
        file: tree.File,
        sink: Sink,
        overrides: Mapping[str, str] | None = None,
        imports: Sequence[tuple[tree.Import, Declarations | Foreign | None]] = (),
        folder: Path | None = None,
    ) -> None:
        self.sink = sink
        self._folder = folder or Path(file.span.source.name).parent
        self._statements = file.weights
        self._others = [item for _, item in imports if isinstance(item, Declarations)]
        self._stored: list[StoredWeights] | None = None
        self._nodes: dict[str, tree.Declaration] = {}
        self._imported: dict[str, tuple[Span, Declarations]] = {}
        self._namespaces: dict[str, tuple[Span, Namespace | Callable | Poison]] = {}
        # Names may come from a file that could not be read: then nothing is said about one that is not known.
        self.are_all_known = True
        for statement, declarations in imports:
            self._bring_in(statement, declarations)
        self._constants: dict[str, DslValue] = {}
        self._pending: list[str] = []
        self._models: dict[str, ElaboratedModel | None] = {}
        self._in_progress: set[str] = set()
        for declaration in file.declarations:
            self._declare(declaration)
        self._overrides = {name: text for name, text in (overrides or {}).items() if self._can_set(name)}

    def __contains__(self, name: str) -> bool:
        if name in self._nodes:
            return not isinstance(self._nodes[name], tree.Train)
        return name in self._imported or name in self._namespaces

    def names(self) -> list[str]:
        """Every name that an expression can speak of, imported ones last."""
        return [*(name for name in self._nodes if name in self), *self._imported, *self._namespaces]

    def own_names(self) -> dict[str, Span]:
        """What an import of this file brings in: its own constants, models and blocks."""
        return {name: node.name.span for name, node in self._nodes.items() if not isinstance(node, tree.Train)}

    def models(self) -> list[tree.Model]:
        return [node for node in self._nodes.values() if isinstance(node, tree.Model)]

    def blocks(self) -> list[tree.Block]:
        return [node for node in self._nodes.values() if isinstance(node, tree.Block)]

    def trains(self) -> list[tree.Train]:
        return [node for node in self._nodes.values() if isinstance(node, tree.Train)]

    def constants(self) -> dict[str, DslValue]:
        """Every constant with its value, those with errors left out."""
        names = [name for name, node in self._nodes.items() if isinstance(node, tree.Const)]
        return {name: value for name in names if not has_poison(value := self.value(name))}

    def module_scope(self, name: str) -> Scope:
        """A scope for the body of ``name``, whose weights go by that name."""
        return Scope(Naming(name))

    def value(self, name: str) -> DslValue:
        """What a declared or imported name stands for."""
        if name in self._imported:
            return self._imported[name][1].value(name)
        if name in self._namespaces:
            return self._namespaces[name][1]
        node = self._nodes[name]
        if isinstance(node, tree.Model | tree.Block):
            return Callable(node, self)
        assert isinstance(node, tree.Const)
        if name not in self._constants:
            self._constants[name] = self._evaluate_constant(node)
        return self._constants[name]

    def elaborated(self, model: tree.Model) -> ElaboratedModel | None:
        """The model on its own; None where it has errors, which were reported."""
        name = model.name.name
        if name not in self._models:
            self._in_progress.add(name)
            self._models[name] = elaborate_model(self, model)
            self._in_progress.discard(name)
        return self._models[name]

    def stored(self) -> list[StoredWeights]:
        """What the statements ``weights`` of this file, and of those that it imports, give; mistakes are reported."""
        if self._stored is None:
            self._stored = [item for other in self._others for item in other.stored()]
            for statement in self._statements:
                found = stored_weights(self, statement, self._folder)
                before = next((item for item in self._stored if found and item.model == found.model), None)
                if before is not None:
                    title = f"{before.model} has weights from {before.file} already"
                    self.sink.report(error("E0202", title, statement.span, "said again", help="leave one of them out"))
                elif found is not None:
                    self._stored.append(found)
        return self._stored

    def begun(self, weights: Iterable[TracedWeight]) -> tuple[TracedWeight, ...]:
        """The weights, those with stored contents beginning as these."""
        contents = {name: content for item in self.stored() for name, content in item.given.items()}
        return tuple(
            replace(traced, init=given(contents[traced.weight.name])) if traced.weight.name in contents else traced
            for traced in weights
        )

    def is_sound(self, model: tree.Model) -> bool:
        """Whether the model's own body has no errors; one that is being elaborated counts as sound."""
        return model.name.name in self._in_progress or self.elaborated(model) is not None

    def is_in_progress(self, value: Callable) -> bool:
        """Whether ``value`` is a model whose body is being elaborated."""
        home = value.home or self
        return isinstance(value.target, tree.Model) and value.target.name.name in home._in_progress

    def model_weights(self, evaluator: Evaluator, value: Callable, part: str = "") -> ModelWeights | None:
        """The weights of a model, or of the part of it with the labels ``part`` such as ``body.last``, in the graph of
        ``evaluator``; None where ``value`` is no model."""
        if not isinstance(value.target, tree.Model):
            return None
        model = (value.home or self).elaborated(value.target)
        if model is None:
            return ModelWeights(value.name, (), ())
        trace = evaluator.graph()
        name = f"{model.name}.{part}" if part else model.name
        chosen = [traced for traced in model.weights if traced.weight.name.startswith(f"{name}.")]
        values = [(traced.weight, trace.adopt(traced.weight, traced.init)) for traced in chosen]
        decaying = tuple(value for weight, value in values if weight.decays)
        return ModelWeights(name, decaying, tuple(value for _, value in values))

    def foreign_weights(self, evaluator: Evaluator, foreign: Foreign, part: str) -> ModelWeights:
        """The weights of a network from elsewhere, or of the part of it ``part``, as far as it is used so far."""
        trace = evaluator.graph()
        name = f"{foreign.name}.{part}" if part else foreign.name
        used = {item.weight.name: item for use in foreign.uses.values() for item in use.weights}
        chosen = [item for item in used.values() if item.weight.trainable and belongs(item.weight.name, name)]
        values = [(item.weight, trace.adopt(item.weight, item.init)) for item in chosen]
        decaying = tuple(value for weight, value in values if weight.decays)
        return ModelWeights(name, decaying, tuple(value for _, value in values))

    def _bring_in(self, statement: tree.Import, brought: Declarations | Foreign | None) -> None:
        """Make the names of another file known, or the one name that stands for them all."""
        if statement.alias is not None:
            name = statement.alias
            if not self._taken(name.name, name.span):
                self._namespaces[name.name] = name.span, _under_one_name(name.name, brought)
            return
        declarations = None if isinstance(brought, Foreign) else brought
        if declarations is None:
            self.are_all_known = False
            return
        for found in declarations.own_names():
            if not self._taken(found, statement.span):
                self._imported[found] = statement.span, declarations

    def _declare(self, declaration: tree.Declaration) -> None:
        if not self._taken(declaration.name.name, declaration.name.span):
            self._nodes[declaration.name.name] = self._with_names_apart(declaration)

    def _with_names_apart(self, declaration: tree.Declaration) -> tree.Declaration:
        """The declaration, with other names for parameters and outputs whose names are taken, which is reported."""
        match declaration:
            case tree.Const():
                return declaration
            case tree.Block():
                reserved: tuple[str, ...] = ()
            case tree.Model():
                reserved = ("seed",)
            case tree.Train():
                reserved = ("seed", "step")
        parameters = self._apart(declaration.parameters, reserved)
        if isinstance(declaration, tree.Train):
            return replace(declaration, parameters=parameters)
        return replace(declaration, parameters=parameters, outputs=self._apart(declaration.outputs, ()))

    def _apart(self, nodes: tuple[_Named, ...], reserved: tuple[str, ...]) -> tuple[_Named, ...]:
        places: dict[str, Span] = {}
        apart: list[_Named] = []
        for node in nodes:
            name = node.name
            if name is not None:
                taken = name.name in places or name.name in reserved
                if taken:
                    self._report_taken(name, places.get(name.name))
                    node = replace(node, name=replace(name, name=f"{name.name} ({len(apart)})"))
                places.setdefault(name.name, name.span)
            apart.append(node)
        return tuple(apart)

    def _report_taken(self, name: tree.Name, before: Span | None) -> None:
        if before is not None:
            title, first = f"{name.name} is declared twice", Label(before, "first declared here")
            self.sink.report(error("E0202", title, name.span, "declared again here", labels=[first]))
            return
        note = "random numbers are drawn from a seed and the number of the step, which go by these names"
        title = f"{name.name} is no name for an input"
        self.sink.report(error("E0202", title, name.span, "give it another name", notes=note))

    def _taken(self, name: str, at: Span) -> bool:
        """Whether ``name`` is known already, which is reported."""
        before = self._first_place(name)
        if before is not None:
            self.sink.report(
                error(
                    "E0202",
                    f"{name} is declared twice",
                    at,
                    "declared again here",
                    labels=[Label(before, "first declared here")],
                )
            )
        return before is not None

    def _first_place(self, name: str) -> Span | None:
        if name in self._imported:
            return self._imported[name][0]
        if name in self._namespaces:
            return self._namespaces[name][0]
        node = self._nodes.get(name)
        return node.name.span if node else None

    def _can_set(self, name: str) -> bool:
        if isinstance(self._nodes.get(name), tree.Const):
            return True
        known = [key for key, node in self._nodes.items() if isinstance(node, tree.Const)]
        near = did_you_mean(name, known)
        declared = f"it declares {', '.join(known)}" if known else "it declares none"
        help = f"did you mean {near}?" if near else declared
        self.sink.report(error("E0201", f"--set {name}: the file has no constant {name}", None, help=help))
        return False

    def _evaluate_constant(self, node: tree.Const) -> DslValue:
        name = node.name.name
        if name in self._pending:
            cycle = " -> ".join([*self._pending[self._pending.index(name) :], name])
            self.sink.report(error("E0501", f"the constant {name} needs itself: {cycle}", node.value.span))
            return POISON
        self._pending.append(name)
        try:
            value = Evaluator(self).evaluate(node.value, self.module_scope(name))
            if name in self._overrides:
                value = self._override(node, value, self._overrides[name])
        except RecursionError:
            self.sink.report(nested_too_deeply(node.name.span, name))
            return POISON
        finally:
            self._pending.pop()
        if isinstance(value, Callable):
            self.sink.report(
                error("E0403", f"a constant is a value, not {describe(value)}", node.value.span, describe(value))
            )
            return POISON
        return value

    def _override(self, node: tree.Const, default: DslValue, text: str) -> DslValue:
        name = node.name.name
        source = Source(f"--set {name}", f"const {name} = {text}")
        before = len(self.sink.errors)
        file = parse(source, self.sink)
        if len(self.sink.errors) > before:
            return POISON
        declaration = file.declarations[0]
        assert isinstance(declaration, tree.Const)
        if file.imports or len(file.declarations) > 1:
            rest = Span(source, declaration.span.end, len(source.text))
            self.sink.report(error("E0502", f"--set {name} takes one value", rest, "more than a value"))
            return POISON
        value = Evaluator(self).evaluate(declaration.value, self.module_scope(name))
        if has_poison(value) or has_poison(default) or same_kind(default, value):
            return value
        self.sink.report(
            error(
                "E0502",
                f"--set {name}={text}: {name} is {describe(default)} in the file, not {describe(value)}",
                declaration.value.span,
                describe(value),
                labels=[Label(node.span, "declared here")],
            )
        )
        return POISON


def _under_one_name(name: str, brought: Declarations | Foreign | None) -> Namespace | Callable | Poison:
    """What the name of an import statement stands for."""
    if isinstance(brought, Foreign):
        return Callable(brought)
    return POISON if brought is None else Namespace(name, brought)
