"""A source text with other values in it: what ``--set`` and the options of a training run stand for, written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compiler.diagnostics import Sink, Source, Span
from compiler.front import tree
from compiler.front.parse import parse


def resolve(
    source: Source, constants: Mapping[str, str], train: str = "", settings: Mapping[str, str] | None = None
) -> str:
    """The text of ``source`` with the values of ``constants`` and the statements of the block ``train`` replaced.

    ``settings`` gives whole statements by their first word, ``{"epochs": "epochs 5"}``; those that the block does not
    have are added at its end. The source has to be free of syntax errors; everything else in it stays as it is.
    """
    sink = Sink()
    file = parse(source, sink)
    sink.finish()
    text = source.text
    changes = sorted(_changes(file, constants, train, settings or {}), key=lambda change: change[0].start, reverse=True)
    for span, replacement in changes:
        text = text[: span.start] + replacement + text[span.end :]
    return text


def _changes(
    file: tree.File, constants: Mapping[str, str], train: str, settings: Mapping[str, str]
) -> Iterator[tuple[Span, str]]:
    for node in file.declarations:
        if isinstance(node, tree.Const) and node.name.name in constants:
            yield node.value.span, constants[node.name.name].strip()
        elif isinstance(node, tree.Train) and node.name.name == train:
            yield from _statements(node, settings)


def _statements(node: tree.Train, settings: Mapping[str, str]) -> Iterator[tuple[Span, str]]:
    found = {type(statement).__name__.lower(): statement.span for statement in node.statements}
    missing = [text for name, text in settings.items() if name not in found]
    yield from ((found[name], text) for name, text in settings.items() if name in found)
    if missing:
        end = node.span.end - len("}")
        at = Span(node.span.source, end, end)
        yield at, "".join(f"\n    {text}" for text in missing) + "\n"
