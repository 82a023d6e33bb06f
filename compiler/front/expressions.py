"""Evaluating expressions: constants to numbers, tensors to values of the graph.

Every mistake is reported where it stands and gives POISON, about which nothing more is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from compiler.diagnostics import Diagnostic, Label, Sink, Span, did_you_mean, error
from compiler.front import arithmetic, bodies, calls, indexing, tree
from compiler.front.catalogue import entries
from compiler.front.elsewhere import ELSEWHERE
from compiler.front.limits import MOST_STAGES, Budget, is_too_long
from compiler.front.scope import Scope
from compiler.front.signature import DTYPES, as_dim
from compiler.front.trace import Trace
from compiler.front.values import (
    NONE,
    POISON,
    Callable,
    DslValue,
    Instance,
    Namespace,
    Poison,
    Tensor,
    WeightGroup,
    describe,
    has_poison,
)
from compiler.ir.dims import Dim
from compiler.ir.types import TypeMismatch

if TYPE_CHECKING:
    from compiler.front.declarations import Declarations

# Words that stand for themselves, as in pad=same.
WORDS = frozenset({"same", "valid", NONE})
# An error deep inside blocks of blocks shows so many of the calls that led to it, the innermost.
MOST_CALLS_SHOWN = 4


class Evaluator:
    """Evaluates the expressions of one graph (``trace``), or of constants where there is no graph."""

    def __init__(self, declarations: Declarations, trace: Trace | None = None) -> None:
        self.declarations = declarations
        self.trace = trace
        # The models and blocks under elaboration, innermost last: one seen twice is a recursion.
        self.stack: list[tuple[tree.Model | tree.Block, Span]] = []
        self.budget = Budget()

    def within(self, home: Declarations | None) -> Evaluator:
        """This evaluator, seeing the names of another file."""
        if home is None or home is self.declarations:
            return self
        other = Evaluator(home, self.trace)
        other.stack = self.stack
        other.budget = self.budget
        return other

    @property
    def in_train_block(self) -> bool:
        """Whether what is built belongs to a train block itself, or to a block called there, and to no model."""
        in_model = any(isinstance(module, tree.Model) for module, _ in self.stack)
        return self.trace is not None and bool(self.trace.weightless) and not in_model

    @property
    def sink(self) -> Sink:
        return self.declarations.sink

    def report(self, diagnostic: Diagnostic) -> Poison:
        """Report, and give what the faulty expression is worth from then on. Inside a block or model that was called
        the report shows the calls."""
        shown = {label.span for label in (diagnostic.primary, *diagnostic.labels) if label is not None}
        calls = tuple(
            Label(span, f"in this call of {module.name.name}")
            for module, span in self.stack[-MOST_CALLS_SHOWN:]
            if span not in shown and span != module.name.span  # the module on its own, called by nobody
        )
        self.sink.report(replace(diagnostic, labels=(*diagnostic.labels, *calls)))
        return POISON

    def may_go_on(self, at: Span) -> bool:
        """Whether one more stage may be run. E0404 for the first that is one too many."""
        if self.budget.spend():
            return True
        if self.budget.just_spent:
            help = "copies in copies and calls in calls multiply: have fewer of them"
            self.report(error("E0404", f"this makes more than {MOST_STAGES} stages", at, help=help))
        return False

    def graph(self) -> Trace:
        """The graph under construction."""
        assert self.trace is not None
        return self.trace

    # Names

    def is_known(self, name: str, scope: Scope) -> bool:
        """Whether ``name`` means anything here."""
        return scope.find(name) is not None or name in self.declarations

    def means_anything(self, name: str, scope: Scope) -> bool:
        """Whether ``name`` means anything here, or is a word of the language."""
        return self.is_known(name, scope) or name in {"it", *WORDS, *DTYPES, *entries("layer")}

    def look_up(self, name: tree.Name, scope: Scope) -> DslValue:
        """What a name stands for: nearest first, then the file's declarations, then the catalogue."""
        if name.name == "it":
            if scope.current is not None:
                return scope.current
            return self.report(error("E0201", "there is no current value here", name.span, "nothing flows here yet"))
        binding = scope.find(name.name)
        if binding is not None:
            return binding.value
        if name.name in self.declarations:
            return self.declarations.value(name.name)
        if name.name in DTYPES:
            return DTYPES[name.name]
        if name.name in entries("layer"):
            return Callable(entries("layer")[name.name])
        if name.name in WORDS:
            return name.name
        return self.unknown(name, scope)

    def unknown(self, name: tree.Name, scope: Scope) -> Poison:
        """Report a name that nothing goes by, unless it may be that of something which could not be imported."""
        if not self.declarations.are_all_known:
            return POISON
        help: tuple[str, ...]
        near = did_you_mean(name.name, [*scope.names(), *self.declarations.names(), *entries("layer"), *DTYPES])
        if _stands_behind_slashes(name.span):
            help = ("// divides and rounds down: a comment begins with #",)
        elif name.name in ELSEWHERE:
            help = (f"that is {ELSEWHERE[name.name]} here",)
        elif (taken := scope.naming.taken(name.name)) and taken.labelled:
            help = (f"{name.name} is a label, which names weights: a value is named with {name.name} = …",)
        else:
            help = (f"did you mean {near}?",) if near else ()
        return self.report(error("E0201", f"unknown name {name.name}", name.span, "not found", help=help))

    # Expressions

    def evaluate(self, expression: tree.Expression, scope: Scope) -> DslValue:
        """The value of an expression; POISON after a report."""
        match expression:
            case tree.Number() | tree.String() | tree.Boolean():
                return expression.value
            case tree.Name():
                return self.look_up(expression, scope)
            case tree.Call():
                return calls.call(self, expression, scope)
            case tree.Chain():
                return self._chain(expression, scope)
            case tree.Tuple() | tree.List():
                return self._list(expression, scope)
            case tree.Unary():
                return self._unary(expression, scope)
            case tree.Binary() | tree.Compare():
                return self._binary(expression, scope)
            case tree.Logic():
                return self._logic(expression, scope)
            case tree.Conditional():
                return self._conditional(expression, scope)
            case tree.Attribute():
                return self._attribute(expression, scope)
            case tree.Index():
                return indexing.index(self, expression, scope)
            case _:
                return self.structure(expression, scope)

    def structure(self, expression: tree.Expression, scope: Scope) -> DslValue:
        """``residual``, ``repeat`` and ``if``, which have bodies of their own."""
        return bodies.structure(self, expression, scope)

    def body(self, body: tree.Body, scope: Scope) -> DslValue:
        """Run the stages of a body; its last current value is the result."""
        return bodies.run_body(self, body, scope)

    def stage(self, expression: tree.Expression, scope: Scope) -> DslValue:
        """The value of what stands as a stage or begins a chain: a layer there takes the current value."""
        value = self.evaluate(expression, scope)
        if isinstance(value, Callable | Instance):
            return calls.apply(self, value, expression.span, (), (), None, scope)
        return value

    def flow(self, expression: tree.Expression, scope: Scope) -> DslValue:
        """The value of a stage or of a step behind an arrow, which is a tensor or a tuple of tensors."""
        value = self.stage(expression, scope)
        if isinstance(value, Tensor | tuple) or has_poison(value):
            return value
        return self.report(
            error(
                "E0403",
                f"a stage gives a tensor, not {describe(value)}",
                expression.span,
                describe(value),
                help="name it with = if it is needed later, or remove it",
            )
        )

    def size(self, expression: tree.Expression, scope: Scope) -> Dim | None:
        """An expression as a size; None after a report."""
        value = self.evaluate(expression, scope)
        dim = as_dim(value)
        if dim is None and not has_poison(value):
            self.report(
                error("E0403", f"a size is a whole number, not {describe(value)}", expression.span, describe(value))
            )
        if isinstance(dim, int) and dim < 1:
            self.report(error("E0404", f"a size is at least 1, not {dim}", expression.span))
            return None
        return dim

    def condition(self, expression: tree.Expression, scope: Scope) -> bool | None:
        """An expression that is decided at compile time; None after a report."""
        value = self.evaluate(expression, scope)
        if isinstance(value, bool):
            return value
        if isinstance(value, Tensor):
            self.report(
                error(
                    "E0403",
                    f"a condition is decided at compile time, but this is {describe(value)}",
                    expression.span,
                    "known only when the model runs",
                    help="choose element by element with select(condition, then, otherwise)",
                )
            )
        elif not has_poison(value):
            self.report(error("E0403", f"a condition is true or false, not {describe(value)}", expression.span))
        return None

    def _chain(self, chain: tree.Chain, scope: Scope) -> DslValue:
        current = self.stage(chain.first, scope)
        for step in chain.steps:
            current = calls.step(self, step, current, scope)
        return current

    def _list(self, expression: tree.Tuple | tree.List, scope: Scope) -> DslValue:
        items = tuple([self.evaluate(item, scope) for item in expression.items])
        if is_too_long(items):
            return self.report(error("E0404", "this list is too large", expression.span))
        return items

    def _unary(self, expression: tree.Unary, scope: Scope) -> DslValue:
        value = self.evaluate(expression.operand, scope)
        if has_poison(value):
            return POISON
        return arithmetic.unary(self, expression, value, scope)

    def _binary(self, expression: tree.Binary | tree.Compare, scope: Scope) -> DslValue:
        # A long sum leans to the left: walking it by hand keeps its depth off the stack.
        pending: list[tree.Binary | tree.Compare] = []
        first: tree.Expression = expression
        while isinstance(first, tree.Binary | tree.Compare):
            pending.append(first)
            first = first.left
        left = self.evaluate(first, scope)
        for step in reversed(pending):
            right = self.evaluate(step.right, scope)
            if has_poison(left) or has_poison(right):
                left = POISON
            else:
                left = arithmetic.binary(self, step, left, right, scope)
        return left

    def _logic(self, expression: tree.Logic, scope: Scope) -> DslValue:
        left = self.evaluate(expression.left, scope)
        if isinstance(left, bool) and left == (expression.operator == "or"):
            return left
        right = self.evaluate(expression.right, scope)
        if has_poison(left) or has_poison(right):
            return POISON
        return arithmetic.logic(self, expression, left, right, scope)

    def _conditional(self, expression: tree.Conditional, scope: Scope) -> DslValue:
        holds = self.condition(expression.condition, scope)
        if holds is None:
            return POISON
        return self.evaluate(expression.then if holds else expression.otherwise, scope)

    def _attribute(self, expression: tree.Attribute, scope: Scope) -> DslValue:
        value = self.evaluate(expression.value, scope)
        name = expression.name.name
        known: tuple[str, ...] = ()
        if has_poison(value):
            return POISON
        if isinstance(value, Namespace):
            if name in value.declarations:
                return value.declarations.value(name)
            known = tuple(value.declarations.names())
        if isinstance(value, Tensor):
            if name == "shape":
                return value.value.type.shape
            known = ("shape",)
        if isinstance(value, Instance | WeightGroup):
            known = tuple(dict.fromkeys(weight.split(".")[0] for weight in value.weights))
            if name in value.weights:
                return Tensor(value.weights[name], expression.span)
            if name in known:
                prefix = f"{name}."
                inner = {key.removeprefix(prefix): v for key, v in value.weights.items() if key.startswith(prefix)}
                return WeightGroup(f"{value.name}.{name}", inner)
        near = did_you_mean(name, known)
        hints = [f"did you mean {near}?"] if near else []
        if isinstance(value, Instance) and not value.weights:
            hints.append(f"the weights of {value.name} exist from its first use on: use it before")
        return self.report(
            error("E0201", f"{describe(value)} has no {name}", expression.name.span, "not found", help=hints)
        )

    # Reports about operands

    def mismatch(self, problem: TypeMismatch, at: Span, operands: Iterable[DslValue]) -> Poison:
        """Report operands that do not fit: ``at`` is the operation, ``operands`` are what led to it.

        Operands that stand inside the operation need no label: they are in view, and the title names their types.
        """
        labels = [
            self.made_here(value)
            for value in operands
            if isinstance(value, Tensor) and (value.span.end <= at.start or value.span.start >= at.end)
        ]
        return self.report(error(problem.code, problem.title, at, problem.detail, labels=labels, help=problem.help))

    def made_here(self, tensor: Tensor) -> Label:
        """A label at the place where a tensor comes from."""
        declared = self.graph().b.producer(tensor.value) is None
        return Label(tensor.span, f"this {'is' if declared else 'gives'} {tensor.value.type}")


def _stands_behind_slashes(place: Span) -> bool:
    """Whether ``//`` stands right before ``place``, as before a comment in other languages."""
    return place.source.text[: place.start].rstrip(" \t").endswith("//")
