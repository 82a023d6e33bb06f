"""``import "vgg16.onnx" as VGG16``: a network from elsewhere, called as models of the language are, whole or cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compiler.diagnostics import DiagnosticError, Label, Span, did_you_mean, error
from compiler.foreign import Content, CutError, Port, Section
from compiler.front import tree
from compiler.front.arguments import Given
from compiler.front.catalogue.initialisers import given as given_content
from compiler.front.parts import ForeignUse, rows_of
from compiler.front.patterns import belongs
from compiler.front.trace import Trace, TracedWeight
from compiler.front.values import POISON, DslValue, Foreign, Poison, Tensor, describe, has_poison
from compiler.ir.dims import Dim, Poly, Symbol, as_symbol, equal, less_equal
from compiler.ir.graph import Value
from compiler.ir.types import TensorType
from compiler.ops.emit import Emit
from compiler.program import Given as GivenContent
from compiler.program import Weight

if TYPE_CHECKING:
    from compiler.front.expressions import Evaluator
    from compiler.front.scope import Scope

_CUTS = ("until", "from")


def call_foreign(
    evaluator: Evaluator,
    foreign: Foreign,
    at: Span,
    brought: list[Given] | None,
    given: list[Given],
    keywords: Sequence[tree.Keyword],
    scope: Scope,
) -> DslValue:
    """Call a network: every call shares its weights, which go by the name that the import gives it."""
    cuts = {keyword.name.name: keyword for keyword in keywords if keyword.name.name in _CUTS}
    inputs = [keyword for keyword in keywords if keyword.name.name not in _CUTS]
    section = _section(evaluator, foreign, cuts, scope)
    if section is None or not _owns_its_name(evaluator, foreign, at):
        return POISON
    arguments = _bind(evaluator, foreign, section, at, brought, given, inputs, scope)
    if arguments is None or not _fit(evaluator, foreign, section, at, arguments):
        return POISON
    trace = evaluator.graph()
    first = len(trace.b.nodes)
    try:
        results = section.write(_Host(trace, foreign, at), [argument.value for argument in arguments])
    except DiagnosticError as refused:
        for diagnostic in refused.diagnostics:
            help = (*diagnostic.help, "or stop before it: until=")
            evaluator.report(replace(diagnostic, primary=Label(at, "this needs them"), help=help))
        return POISON
    text = ", ".join(f"{name}={' '.join(keyword.value.span.text.split())}" for name, keyword in cuts.items())
    if text not in foreign.uses:
        foreign.uses[text] = ForeignUse(
            foreign.name, text, foreign.file, at, tuple(argument.value.type for argument in arguments),
            tuple(value.type for value in results), rows_of(trace, foreign.name, first), _weights(trace, foreign),
            dict(section.dropped),
        )  # fmt: skip
    tensors = tuple(Tensor(value, at) for value in results)
    return tensors[0] if len(tensors) == 1 else tensors


def write_alone(trace: Trace, foreign: Foreign, section: Section, inputs: Sequence[Value]) -> tuple[Value, ...]:
    """Write what was written before, on inputs of the same types, into the graph of ``trace``."""
    return section.write(_Host(trace, foreign, foreign.span), inputs)


@dataclass(frozen=True)
class _Host:
    """The graph of ``trace`` as the network sees it, called at the place ``span``."""

    trace: Trace
    foreign: Foreign
    span: Span

    @property
    def b(self) -> Emit:
        return self.trace.b

    @property
    def training(self) -> bool:
        return self.trace.training

    def is_frozen(self, name: str) -> bool:
        return any(belongs(self._full(name), part) for part in self.trace.frozen_parts)

    def at(self, place: str) -> AbstractContextManager[None]:
        return self.trace.at(self.span, self._full(place))

    def weight(self, name: str, type: TensorType, read: Content, *, decays: bool, trainable: bool) -> Value:
        weight = Weight(self._full(name), type, self.foreign.span, decays and trainable, trainable)
        init = given_content(GivenContent(self.foreign.file, read))
        return self.trace.adopt(weight, init) if trainable else self.trace.follow(weight, init)

    def update(self, name: str, value: Value, result: Value) -> None:
        self.trace.lead(self._full(name), value, result)

    def _full(self, name: str) -> str:
        return f"{self.foreign.name}.{name}"


# What is said of a call.


def _section(evaluator: Evaluator, foreign: Foreign, cuts: dict[str, tree.Keyword], scope: Scope) -> Section | None:
    """The part of the network that ``until`` and ``from`` leave; None after a report."""
    names: dict[str, tuple[str, ...]] = {}
    for parameter, keyword in cuts.items():
        value = evaluator.evaluate(keyword.value, scope)
        listed = value if isinstance(value, tuple) else (value,)
        if has_poison(value):
            return None
        if not listed or not all(isinstance(item, str) for item in listed):
            title = f"{parameter} of {foreign.name} is the name of a tensor, a node or a part, not {describe(value)}"
            help = f'write it in quotes, as in {foreign.name}({parameter}="flatten")'
            evaluator.report(error("E0403", title, keyword.value.span, describe(value), help=help))
            return None
        names[parameter] = tuple(str(item) for item in listed)
    try:
        return foreign.network.section(names.get("until", ()), names.get("from", ()))
    except CutError as problem:
        title = f"{foreign.name} can't be cut so: {problem.title}"
        span = cuts[problem.parameter].value.span
        evaluator.report(error("E0407", title, span, problem.detail, labels=_declared(foreign), help=problem.help))
        return None


def _bind(
    evaluator: Evaluator,
    foreign: Foreign,
    section: Section,
    at: Span,
    brought: list[Given] | None,
    given: list[Given],
    keywords: Sequence[tree.Keyword],
    scope: Scope,
) -> list[Tensor] | None:
    """A tensor for each input of the section, by position or by name; None after a report."""
    values: list[tuple[DslValue, Span]] = [
        (evaluator.evaluate(item.expression, scope) if item.expression else item.value or POISON, item.span)
        for item in (brought or []) + given
    ]
    names = [plain_name(port.name) for port in section.inputs]
    named = {keyword.name.name for keyword in keywords}
    missing = len([name for name in names if name not in named]) - len(values)
    if brought is None and missing == 1 and scope.current is not None and names[0] not in named:
        values.insert(0, (scope.current, at))
    assigned: dict[str, tuple[DslValue, Span]] = dict(zip(names, values, strict=False))
    sound = True
    if len(values) > len(names):
        title = f"{foreign.name} takes {len(names)} tensor{'s' * (len(names) != 1)} here, not {len(values)}"
        evaluator.report(error("E0405", title, values[len(names)][1], "one too many", labels=_declared(foreign)))
        sound = False
    for keyword in keywords:
        sound &= _assign(evaluator, foreign, keyword, names, assigned, scope)
    for name, port in zip(names, section.inputs, strict=True):
        if name not in assigned and sound:
            title = f"{foreign.name} needs {port} here"
            detail = f"{port.name} is missing"
            labels, help = _declared(foreign), f"give it by name: {name}=…"
            evaluator.report(error("E0402", title, at, detail, labels=labels, help=help))
            sound = False
    tensors = [assigned[name] for name in names if name in assigned]
    for value, span in tensors:
        if not isinstance(value, Tensor | Poison):
            title = f"{foreign.name} takes tensors, not {describe(value)}"
            evaluator.report(error("E0403", title, span, describe(value), labels=_declared(foreign)))
    found = [value for value, _ in tensors if isinstance(value, Tensor)]
    return found if sound and len(found) == len(names) else None


def _assign(
    evaluator: Evaluator,
    foreign: Foreign,
    keyword: tree.Keyword,
    names: Sequence[str],
    assigned: dict[str, tuple[DslValue, Span]],
    scope: Scope,
) -> bool:
    """Whether what is given by name is an input that was not given yet; False after a report."""
    name = keyword.name.name
    value = evaluator.evaluate(keyword.value, scope)
    if name not in names:
        near = did_you_mean(name, [*names, *_CUTS])
        help = f"did you mean {near}?" if near else f"it takes {', '.join([*names, *_CUTS])}"
        title, labels = f"{foreign.name} has no argument {name} here", _declared(foreign)
        evaluator.report(error("E0401", title, keyword.name.span, "not known", labels=labels, help=help))
        return False
    if name in assigned:
        evaluator.report(error("E0401", f"{foreign.name} gets {name} twice", keyword.span, "given already"))
        return False
    assigned[name] = value, keyword.value.span
    return True


def _fit(evaluator: Evaluator, foreign: Foreign, section: Section, at: Span, arguments: Sequence[Tensor]) -> bool:
    """Whether the arguments are of the types that the file says, its symbols standing for the sizes that are given;
    False after a report."""
    sizes: dict[Symbol, Dim] = {}
    for port, argument in zip(section.inputs, arguments, strict=True):
        problem = _mismatch(port, argument.value.type, sizes)
        if problem is None:
            continue
        code, detail, help = problem
        labels = _declared(foreign)
        if argument.span != at:
            labels.append(evaluator.made_here(argument))
        title = f"{foreign.name} takes {port}, but gets {argument.value.type}"
        evaluator.report(error(code, title, at, detail, labels=labels, help=help))
        return False
    return True


def _mismatch(port: Port, actual: TensorType, sizes: dict[Symbol, Dim]) -> tuple[str, str, tuple[str, ...]] | None:
    """The code, the words and the advice for a tensor that an input does not take; None where it does."""
    if port.type is None:
        return None
    if port.type.dtype != actual.dtype:
        advice = f"convert it: cast({port.type.dtype})"
        return "E0303", f"{actual.dtype} where {port.type.dtype} is needed", (advice,)
    if port.type.rank != actual.rank:
        wanted = port.type.rank
        return "E0301", f"{wanted} dimension{'s' * (wanted != 1)} needed, {actual.rank} given", ()
    for axis, (wanted_size, size) in enumerate(zip(port.type.shape, actual.shape, strict=True)):
        found = _mismatched_size(wanted_size, size, sizes)
        if found is not None:
            fixed = isinstance(wanted_size, int) and not isinstance(size, int)
            advice = "the file has a fixed size there: export it again with that dimension dynamic"
            return found[0], f"dimension {axis}: {found[1]}", (advice,) if fixed else ()
    return None


def _mismatched_size(wanted: Dim, actual: Dim, sizes: dict[Symbol, Dim]) -> tuple[str, str] | None:
    symbol = as_symbol(wanted)
    if symbol is not None and symbol not in sizes:
        sizes[symbol] = actual
        bounds = ((symbol.lower, actual), (actual, symbol.upper))
        for low, high in bounds:
            holds = True if high is None else less_equal(low, high)
            if not holds:
                text = f"{wanted} in the file has {symbol.bounds_text}"
                return ("E0301", f"{text}, not {actual}") if holds is False else ("E0302", f"{text}: {actual} may not")
        return None
    if isinstance(wanted, Poly):
        if symbol is None:
            return None  # a size that is computed of others, which ONNX does not say of inputs
        wanted = sizes[symbol]
    same = equal(wanted, actual)
    if same is None:
        return "E0302", f"whether {actual} equals {wanted} is not known"
    return None if same else ("E0301", f"{wanted} needed, {actual} given")


def _owns_its_name(evaluator: Evaluator, foreign: Foreign, at: Span) -> bool:
    owner = evaluator.graph().owners.setdefault(foreign.name, foreign.span)
    if owner == foreign.span:
        return True
    title = f"two models called {foreign.name} meet here"
    labels = [Label(owner, "one is declared here"), Label(foreign.span, "the other here")]
    detail = "their weights would have the same names"
    evaluator.report(error("E0202", title, at, detail, labels=labels, help="rename one of them"))
    return False


def _weights(trace: Trace, foreign: Foreign) -> tuple[TracedWeight, ...]:
    return tuple(item for name, item in trace.weights.items() if name.startswith(f"{foreign.name}."))


def _declared(foreign: Foreign) -> list[Label]:
    inputs, outputs = (", ".join(map(str, ports)) for ports in (foreign.network.inputs, foreign.network.outputs))
    several = len(foreign.network.outputs) != 1
    return [Label(foreign.span, f"the file has ({inputs}) -> {f'({outputs})' if several else outputs}")]


def plain_name(name: str) -> str:
    """What an input of a file is called in the language: ``input.1`` is ``input_1``."""
    word = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")
    return word if word[:1].isalpha() else f"input_{word}"
