"""A source text with other values in it: what ``--set`` and the options of a training run stand for, written down."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from compiler.diagnostics import Sink, Source, Span
from compiler.foreign import Parts
from compiler.front import tree
from compiler.front.imports import Imported
from compiler.front.parse import parse


def resolve(
    source: Source,
    constants: Mapping[str, str],
    train: str = "",
    settings: Mapping[str, str] | None = None,
    paths: Mapping[Span, str] | None = None,
) -> str:
    """The text of ``source`` with the values of ``constants`` and the statements of the block ``train`` replaced.

    ``settings`` gives whole statements by their first word, ``{"epochs": "epochs 5"}``; those that the block does not
    have are added at its end. ``paths`` gives other paths for those that stand at these places of import statements;
    with it, statements ``weights`` become comments: what has moved has weights of its own.
    The source has to be free of syntax errors; everything else in it stays as it is.
    """
    sink = Sink()
    file = parse(source, sink)
    sink.finish()
    text = source.text
    changes = [*_changes(file, constants, train, settings or {}), *_other_paths(file, paths or {})]
    changes += [] if paths is None else _remarks(file)
    for span, replacement in sorted(changes, key=lambda change: change[0].start, reverse=True):
        text = text[: span.start] + replacement + text[span.end :]
    return text


def moved_imports(imported: Imported, folder: str) -> tuple[dict[Span, str], dict[str, Parts]]:
    """Where imported files stand once they are all in ``folder``, beside the main file: the path that each import
    statement then has to name, by the place where it names one now, and the contents by their paths in ``folder``.

    The files keep their places beside one another, so that a file which was moved so before stays where it is.
    """
    if not imported.sources and not imported.networks:
        return {}, {}
    base = os.path.commonpath([path.parent for path in (*imported.sources, *imported.networks)])
    folders = {source: path.parent for path, source in imported.sources.items()}
    paths = {}
    for span, target in imported.targets.items():
        if span.source in folders:
            path = os.path.relpath(target, folders[span.source])
        else:
            path = os.path.join(folder, os.path.relpath(target, base))
        paths[span] = path.replace(os.sep, "/")
    contents: dict[Path, Parts] = {
        at: [resolve(source, {}, paths=paths).encode()] for at, source in imported.sources.items()
    }
    for at, network in imported.networks.items():
        contents |= {at.with_name(name): parts for name, parts in network.files(at.name).items()}
    return paths, {at.relative_to(base).as_posix(): parts for at, parts in contents.items()}


def _changes(
    file: tree.File, constants: Mapping[str, str], train: str, settings: Mapping[str, str]
) -> Iterator[tuple[Span, str]]:
    for node in file.declarations:
        if isinstance(node, tree.Const) and node.name.name in constants:
            yield node.value.span, constants[node.name.name].strip()
        elif isinstance(node, tree.Train) and node.name.name == train:
            yield from _statements(node, settings)


def _other_paths(file: tree.File, paths: Mapping[Span, str]) -> Iterator[tuple[Span, str]]:
    for statement in file.imports:
        span = statement.source.span
        if span in paths:
            yield span, json.dumps(paths[span], ensure_ascii=False)


def _remarks(file: tree.File) -> Iterator[tuple[Span, str]]:
    for statement in file.weights:
        lines = statement.span.text.splitlines()
        yield statement.span, "\n".join(["# it began with", *(f"# {line}".rstrip() for line in lines)])


def _statements(node: tree.Train, settings: Mapping[str, str]) -> Iterator[tuple[Span, str]]:
    found = {tree.first_word(statement): statement.span for statement in node.statements}
    missing = [text for name, text in settings.items() if name not in found]
    yield from ((found[name], text) for name, text in settings.items() if name in found)
    if missing:
        end = node.span.end - len("}")
        at = Span(node.span.source, end, end)
        yield at, "".join(f"\n    {text}" for text in missing) + "\n"
