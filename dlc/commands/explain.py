"""``dlc explain``: the long story of an error code, a layer, a loss …, and the source of the standard library."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.terminal import table, tell, width_of

if TYPE_CHECKING:
    from compiler.front.catalogue.entry import Entry, Kind

_KINDS: tuple[Kind, ...] = (
    "layer", "function", "augmentation", "loss", "metric", "optimizer", "schedule", "initialiser", "reader", "encoding",
    "split",
)  # fmt: skip
_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)


@click.command(short_help="Explain an error code, a layer, a loss …")
@click.argument("word", required=False)
def explain(word: str | None) -> None:
    """Explain an error code, or what stands in a model file: a layer, a function, an augmentation, a loss, a metric, an
    optimizer, an initialiser, a reader of data. Of a module of the standard library, show the source. Without a WORD,
    list them all.

    \b
    Examples:
      dlc explain E0301
      dlc explain dense
      dlc explain std.mlp
      dlc explain
    """
    if word is None:
        tell("\n\n".join(_everything()))
        return
    found = _about(word)
    if not found:
        raise _unknown(word)
    tell("\n\n".join(found))


def _about(word: str) -> list[str]:
    """Every explanation of ``word``: a name may be a loss and a metric."""
    from compiler.diagnostics import all_codes
    from compiler.diagnostics import explain as story
    from compiler.front.imports import library

    if word.upper() in all_codes():
        return [_plain(story(word.upper()))]
    if word in library():
        return [_source(library()[word])]
    return [_entry(entry) for entry in _entries() if entry.name == word]


def _entries() -> Iterator[Entry]:
    from compiler.front.catalogue import entries

    for kind in _KINDS:
        yield from (entry for entry in entries(kind).values() if entry.kind == kind)


def _source(module: Path) -> str:
    return module.read_text(encoding="utf-8").rstrip()


def _entry(entry: Entry) -> str:
    return f"{entry.kind} {entry.signature}\n\n{entry.documentation.replace('``', '`').strip()}"


def _plain(markdown: str) -> str:
    """Markdown as a terminal shows it best: code indented instead of fenced."""
    indented = _FENCE.sub(lambda block: re.sub(r"^(?=.)", "    ", block[1], flags=re.MULTILINE), markdown)
    return indented.removeprefix("# ").strip()


def _everything() -> Iterator[str]:
    from compiler.diagnostics import all_codes, title
    from compiler.front.imports import library

    width = width_of(sys.stdout)
    for kind in _KINDS:
        rows = [(entry.signature, entry.summary.replace("``", "`")) for entry in _entries() if entry.kind == kind]
        yield "\n".join(table((kind, ""), rows, yields=1, width=width))
    modules = [(name, _source(path).partition("\n")[0].lstrip("# ")) for name, path in library().items()]
    yield "\n".join(table(("library", ""), modules, yields=1, width=width))
    yield "\n".join(table(("code", ""), [(code, title(code)) for code in all_codes()]))


def _unknown(word: str) -> Exception:
    from compiler.diagnostics import DiagnosticError, all_codes, did_you_mean, error
    from compiler.front.imports import library

    near = did_you_mean(word, [*all_codes(), *(entry.name for entry in _entries()), *library()])
    advice = f"did you mean {near}?" if near else "`dlc explain` lists everything there is"
    return DiagnosticError([error("E0201", f"there is nothing called {word} to explain", None, help=advice)])
