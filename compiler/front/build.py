"""From what Lark reduces to the nodes of the tree.

Lark calls the attribute of `TreeBuilder` that has the name of the rule, with the rule's children: all its tokens, and
nodes built before. No Lark tree is made, and nothing recurses, however deeply the source is nested.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from lark import Token

from compiler.diagnostics import Label, Sink, Source, Span, error
from compiler.front import tree
from compiler.front.stored.nodes import StoredSource, WeightRule, WeightsFrom

Child = Token | tree.Node
Rule = Callable[["TreeBuilder", Sequence[Child]], Any]

_DIGITS = "[0-9]+(?:_[0-9]+)*"
_INTEGER = re.compile(_DIGITS)
_FLOAT = re.compile(rf"(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?(%?)")
_LARGEST_INTEGER = 2**63 - 1
_ESCAPE = re.compile(r"\\(u(?![dD][89a-fA-F])[0-9A-Fa-f]{4}|.)")  # halves of surrogate pairs are no characters
_ESCAPES = {"\\": "\\", '"': '"', "n": "\n", "t": "\t"}

# What the parse at hand works on. It is context because Lark binds its callbacks when the tables are loaded, once.
_job: ContextVar[tuple[Source, Sink]] = ContextVar("job")


@contextmanager
def building(source: Source, sink: Sink) -> Iterator[None]:
    """Inside, nodes get spans of `source`, and what is wrong with single tokens goes to `sink`."""
    token = _job.set((source, sink))
    try:
        yield
    finally:
        _job.reset(token)


def _span(children: Sequence[Child]) -> Span:
    first, last = children[0], children[-1]
    start = first.start_pos if isinstance(first, Token) else first.span.start
    end = last.end_pos if isinstance(last, Token) else last.span.end
    assert start is not None
    assert end is not None
    return Span(_job.get()[0], start, end)


def _nodes(children: Sequence[Child]) -> list[Any]:
    return [child for child in children if not isinstance(child, Token)]


def _node(kind: type[tree.Node]) -> Rule:
    """A rule whose nodes are the fields of `kind` in order; those left out at the end are None."""
    fields = len(kind.__slots__)

    def rule(_: "TreeBuilder", children: Sequence[Child]) -> tree.Node:
        nodes = _nodes(children)
        return kind(_span(children), *nodes, *[None] * (fields - len(nodes)))

    return rule


def _sequence(kind: type[tree.Node]) -> Rule:
    """A rule whose nodes together are the one field of `kind`."""

    def rule(_: "TreeBuilder", children: Sequence[Child]) -> tree.Node:
        return kind(_span(children), tuple(_nodes(children)))  # type: ignore[call-arg]

    return rule


def _setting(name: str) -> Rule:
    def rule(_: "TreeBuilder", children: Sequence[Child]) -> tree.Node:
        (value,) = _nodes(children)
        return tree.Setting(_span(children), name, value)

    return rule


def _template(kind: type[tree.Model] | type[tree.Block]) -> Rule:
    def rule(_: "TreeBuilder", children: Sequence[Child]) -> tree.Node:
        name, *signature, body = _nodes(children)
        parameters = tuple(node for node in signature if isinstance(node, tree.Parameter))
        outputs = tuple(node for node in signature if isinstance(node, tree.Output))
        return kind(_span(children), name, parameters, outputs, body)

    return rule


def _infix(kind: Any) -> Rule:
    def rule(_: "TreeBuilder", children: Sequence[Child]) -> tree.Node:
        left, operator, right = children
        built: tree.Node = kind(_span(children), str(operator), left, right)
        return built

    return rule


class TreeBuilder:
    """One attribute for each rule of the grammar."""

    import_file = _node(tree.Import)
    module = _sequence(tree.ModuleName)
    author = _setting("author")
    license = _setting("license")
    description = _setting("description")
    const = _node(tree.Const)
    model = _template(tree.Model)
    block = _template(tree.Block)
    tensor_parameter = _node(tree.Parameter)
    named_output = _node(tree.Output)

    body = _sequence(tree.Body)
    labelled_stage = _node(tree.ExpressionStage)
    layer = _node(tree.Layer)
    residual = _node(tree.Residual)
    rest = _node(tree.Rest)

    measure = _sequence(tree.Measure)
    draw = _sequence(tree.Draw)
    data = _node(tree.Data)
    test = _node(tree.Test)
    batch = _setting("batch")
    epochs = _setting("epochs")
    steps = _setting("steps")
    stop = _node(tree.Stop)
    clip = _setting("clip")
    clip_value = _setting("clip_value")
    accumulate = _setting("accumulate")
    average = _setting("average")
    keep = _setting("keep")
    seed = _setting("seed")
    freeze = _sequence(tree.Freeze)

    logic = _infix(tree.Logic)
    compare = _infix(tree.Compare)
    binary = _infix(tree.Binary)
    attribute = _node(tree.Attribute)
    keyword = _node(tree.Keyword)
    tuple_literal = _sequence(tree.Tuple)
    list_literal = _sequence(tree.List)

    def start(self, children: Sequence[Child]) -> tree.File:
        source = _job.get()[0]
        nodes = _nodes(children)
        imports = tuple(node for node in nodes if isinstance(node, tree.Import))
        weights = tuple(node for node in nodes if isinstance(node, WeightsFrom))
        about = tuple(node for node in nodes if isinstance(node, tree.Setting))
        others = tree.Import | tree.Setting | WeightsFrom
        declarations = tuple(node for node in nodes if not isinstance(node, others))
        return tree.File(Span(source, 0, len(source.text)), imports, declarations, about, weights)

    def weights(self, children: Sequence[Child]) -> WeightsFrom:
        model, source, *rules = _nodes(children)
        return WeightsFrom(_span(children), model, source, tuple(rules))

    mapping = _node(WeightRule)

    def stored(self, children: Sequence[Child]) -> StoredSource:
        *convention, path = _nodes(children)
        return StoredSource(_span(children), convention[0] if convention else None, path)

    def train(self, children: Sequence[Child]) -> tree.Train:
        name, *others = _nodes(children)
        parameters = tuple(node for node in others if isinstance(node, tree.Parameter))
        statements = tuple(node for node in others if not isinstance(node, tree.Parameter))
        return tree.Train(_span(children), name, parameters, statements)

    def parameter(self, children: Sequence[Child]) -> tree.Parameter:
        (name,) = _nodes(children)
        return tree.Parameter(_span(children), name, None, None)

    def default_parameter(self, children: Sequence[Child]) -> tree.Parameter:
        name, default = _nodes(children)
        return tree.Parameter(_span(children), name, None, default)

    def output(self, children: Sequence[Child]) -> tree.Output:
        (promised,) = _nodes(children)
        return tree.Output(_span(children), None, promised)

    def dimension(self, children: Sequence[Child]) -> tree.Dimension:
        nodes = _nodes(children)
        symbol_first = isinstance(nodes[0], tree.Name) and nodes[0].name[:1].isupper()
        if len(nodes) < 3 and (len(nodes) == 1 or symbol_first):
            nodes.insert(0, None)
        least, size, bound = (*nodes, None)[:3]
        return tree.Dimension(_span(children), size, least, bound)

    def type_expression(self, children: Sequence[Child]) -> tree.TypeExpression:
        nodes = _nodes(children)
        dtype = nodes.pop(0) if nodes and isinstance(nodes[0], tree.Name) else None
        return tree.TypeExpression(_span(children), dtype, tuple(nodes))

    def stage(self, children: Sequence[Child]) -> tree.ExpressionStage:
        (value,) = _nodes(children)
        return tree.ExpressionStage(_span(children), None, value)

    def assign(self, children: Sequence[Child]) -> tree.Assign:
        *targets, value = _nodes(children)
        return tree.Assign(_span(children), tuple(targets), value)

    def chain(self, children: Sequence[Child]) -> tree.Chain:
        first, *steps = _nodes(children)
        return tree.Chain(_span(children), first, tuple(steps))

    def repeat(self, children: Sequence[Child]) -> tree.Repeat:
        count, *index, body = _nodes(children)
        return tree.Repeat(_span(children), count, index[0] if index else None, body)

    def if_stage(self, children: Sequence[Child]) -> tree.If:
        condition, then, *others = _nodes(children)
        otherwise = others[0] if others else None
        if isinstance(otherwise, tree.If):
            otherwise = tree.Body(otherwise.span, (tree.ExpressionStage(otherwise.span, None, otherwise),))
        return tree.If(_span(children), condition, then, otherwise)

    def minimize(self, children: Sequence[Child]) -> tree.Minimize:
        loss, *over, last = _nodes(children)
        every = None
        if isinstance(last, tree.Setting):
            every, last = last.value, over.pop()
        return tree.Minimize(_span(children), loss, tuple(over), last, every)

    def validate(self, children: Sequence[Child]) -> tree.Validate:
        source, *every = _nodes(children)
        return tree.Validate(_span(children), source, every[0].value if every else None)

    every = _setting("every")

    def pattern(self, children: Sequence[Child]) -> tree.Name:
        return tree.Name(_span(children), str(children[0]))

    def conditional(self, children: Sequence[Child]) -> tree.Conditional:
        then, condition, otherwise = _nodes(children)
        return tree.Conditional(_span(children), condition, then, otherwise)

    def unary(self, children: Sequence[Child]) -> tree.Unary:
        operator, operand = children
        return tree.Unary(_span(children), "not" if operator == "not" else "-", _nodes([operand])[0])

    def call(self, children: Sequence[Child]) -> tree.Call:
        function, *arguments = _nodes(children)
        keywords = tuple(argument for argument in arguments if isinstance(argument, tree.Keyword))
        positional = tuple(argument for argument in arguments if not isinstance(argument, tree.Keyword))
        if keywords and positional and positional[-1].span.start > keywords[0].span.start:
            late = next(argument for argument in positional if argument.span.start > keywords[0].span.start)
            label = Label(keywords[0].span, "this one is given by name")
            title = "positional argument after a named one"
            _job.get()[1].report(
                error("E0109", title, late.span, "give this by name too, or move it to the front", labels=[label])
            )
        return tree.Call(_span(children), function, positional, keywords)

    def range(self, children: Sequence[Child]) -> tree.Range:
        low, high = _nodes(children)
        return tree.Range(_span(children), low, high, children[-1] == "log")

    def index(self, children: Sequence[Child]) -> tree.Index:
        value, *items = _nodes(children)
        return tree.Index(_span(children), value, tuple(items))

    def slice(self, children: Sequence[Child]) -> tree.Slice:
        parts: list[Any] = [None]
        for child in children:
            if isinstance(child, Token):
                parts.append(None)
            else:
                parts[-1] = child
        parts += [None] * (3 - len(parts))
        return tree.Slice(_span(children), *parts)

    def parentheses(self, children: Sequence[Child]) -> tree.Node:
        (inside,) = _nodes(children)
        widened: tree.Node = replace(inside, span=_span(children))
        return widened

    def name(self, children: Sequence[Child]) -> tree.Name:
        return tree.Name(_span(children), str(children[0]))

    def boolean(self, children: Sequence[Child]) -> tree.Boolean:
        return tree.Boolean(_span(children), children[0] == "true")

    def number(self, children: Sequence[Child]) -> tree.Number:
        span, text = _span(children), str(children[0])
        if _INTEGER.fullmatch(text):
            digits = text.replace("_", "").lstrip("0")
            value = int(digits or "0") if len(digits) < len(str(10 * _LARGEST_INTEGER)) else 10 * _LARGEST_INTEGER
            if value <= _LARGEST_INTEGER:
                return tree.Number(span, value, percent=False)
            return _bad_number(span, "this whole number does not fit 64 bits", "is too large")
        match = _FLOAT.fullmatch(text)
        if match is None:
            return _bad_number(span, "not a number", "is not a number")
        percent = match[1] == "%"
        measured = float(text.rstrip("%")) / (100 if percent else 1)
        if measured == float("inf"):
            return _bad_number(span, "this number does not fit a 64-bit float", "is too large")
        return tree.Number(span, measured, percent)

    def string(self, children: Sequence[Child]) -> tree.String:
        span, text = _span(children), str(children[0])

        def resolve(escape: re.Match[str]) -> str:
            letters = escape[1]
            if letters in _ESCAPES:
                return _ESCAPES[letters]
            if len(letters) > 1:
                return chr(int(letters[1:], 16))
            place = Span(span.source, span.start + escape.start(), span.start + escape.end())
            advice = "write `\\\\` for a backslash; paths are written with `/` on every system"
            _job.get()[1].report(error("E0108", f"unknown escape `{escape[0]}`", place, help=advice))
            return escape[0]

        return tree.String(span, _ESCAPE.sub(resolve, text)[1:-1])


def _bad_number(span: Span, text: str, what: str) -> tree.Number:
    shown = span.text if len(span.text) <= 30 else span.text[:30] + "…"
    advice = "numbers are written `64`, `1_000`, `0.5`, `1e-4` or `20%`" if text == "not a number" else ()
    _job.get()[1].report(error("E0107", f"`{shown}` {what}", span, text, help=advice))
    return tree.Number(span, 0, percent=False)
