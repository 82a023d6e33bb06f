"""Names that mean nothing, wherever they stand: in blocks that nothing calls and in branches that are not taken too."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.diagnostics import Span
from compiler.front import tree
from compiler.front.catalogue import entries
from compiler.front.declarations import Declarations
from compiler.front.expressions import WORDS, Evaluator
from compiler.front.scope import Naming, Scope
from compiler.front.signature import DTYPES

# Fields whose names are no uses of anything: what they bind, and what only a value or an entry can make sense of.
_BINDING = {tree.Parameter: "name", tree.Assign: "targets", tree.Layer: "name", tree.Repeat: "index"}
_OTHER = {
    tree.Model: "name", tree.Block: "name", tree.Output: "name", tree.ExpressionStage: "label", tree.Keyword: "name",
    tree.Attribute: "name", tree.TypeExpression: "dtype",
}  # fmt: skip


def check_names(declarations: Declarations, file: tree.File) -> None:
    """Report every name in the models and blocks of ``file`` that nothing in sight goes by, where elaboration, which is
    stricter, never came. It has to be done before: about a place that it has spoken of, nothing more is said."""
    evaluator = Evaluator(declarations)
    faulty = [error.primary.span for error in declarations.sink.errors if error.primary is not None]
    words = {word for entry in entries("layer").values() for p in entry.parameters for word in p.choices}
    known = {"it", *WORDS, *DTYPES, *words, *entries("layer"), *entries("initialiser")}
    for module in file.declarations:
        if not isinstance(module, tree.Model | tree.Block):
            continue
        scope = Scope(Naming(module.name.name))
        for name in _bound(module):
            scope.declare(name.name, 0, name.span)
        for name in _used(module):
            if name.name in known or evaluator.is_known(name.name, scope):
                continue
            if not any(_within(name.span, place) for place in faulty):
                evaluator.unknown(name, scope)


def _within(inner: Span, outer: Span) -> bool:
    return inner.source is outer.source and outer.start <= inner.start and inner.end <= outer.end


def _children(node: tree.Node) -> Iterator[tuple[str, tree.Node]]:
    """The nodes right below, with the fields that they stand in."""
    for field in type(node).__slots__:
        value = getattr(node, field)
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, tree.Node):
                yield field, child


def _bound(node: tree.Node) -> Iterator[tree.Name]:
    """The names that something below binds, the sizes of patterns among them."""
    if isinstance(node, tree.Dimension) and isinstance(node.size, tree.Name) and node.size.name[:1].isupper():
        yield node.size
    for field, child in _children(node):
        if isinstance(child, tree.Name):
            if _BINDING.get(type(node)) == field:
                yield child
        elif not isinstance(child, tree.Output):
            yield from _bound(child)


def _used(node: tree.Node) -> Iterator[tree.Name]:
    """The names that stand for something."""
    for field, child in _children(node):
        if not isinstance(child, tree.Name):
            yield from _used(child)
        elif field not in (_BINDING.get(type(node)), _OTHER.get(type(node))):
            yield child
