"""How the commands speak: results on stdout, everything else on stderr, colour only where a person is looking."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from compiler.diagnostics import Diagnostic
    from runtime.training.progress import Progress

_NARROWEST = 12  # columns that are left of a text which has to give way
_GAP = "  "


def wants_colour(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal whose user has not asked for plain text (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width_of(stream: TextIO) -> int | None:
    """The columns of the terminal behind ``stream``; None where text is not looked at but kept."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def tell(text: str = "") -> None:
    """A line of the result."""
    from compiler.diagnostics import harmless

    print(harmless(text), flush=True)


def remark(text: str) -> None:
    """A line about the work, which is no part of the result."""
    from compiler.diagnostics import harmless

    print(harmless(text), file=sys.stderr)


def report(diagnostics: Iterable[Diagnostic]) -> None:
    """Errors and warnings, as they read with their places in the source."""
    from compiler.diagnostics import render

    print(render(diagnostics, wants_colour(sys.stderr)), file=sys.stderr)


def show_progress() -> Progress:
    """How a training shows its progress: a live bar for a person, a line for each epoch for a file or a pipe."""
    from runtime.training.progress import Lines, Live

    if not sys.stdout.isatty():
        return Lines(sys.stdout)
    from rich.console import Console

    return Live(Console())


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    total: Sequence[str] | None = None,
    numbers: Collection[int] = (),
    yields: int | None = None,
    width: int | None = None,
) -> list[str]:
    """The lines of a table: a head, a rule, the rows, and below another rule the ``total``.

    The columns ``numbers`` stand to the right. Where the table is wider than ``width``, the texts in column ``yields``
    are cut to make room.
    """
    last = [] if total is None else [total]
    widths = [max(map(len, column)) for column in zip(head, *rows, *last, strict=True)]
    if width is not None and yields is not None:
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
        widths[yields] = min(widths[yields], max(_NARROWEST, widths[yields] - max(0, excess)))

    def line(cells: Iterable[str]) -> str:
        shown = (
            _cut(cell, size).rjust(size) if index in numbers else _cut(cell, size).ljust(size)
            for index, (cell, size) in enumerate(zip(cells, widths, strict=True))
        )
        return _GAP.join(shown).rstrip()

    rule = _GAP.join("-" * size for size in widths)
    return [line(head), rule, *map(line, rows), *(text for row in last for text in (rule, line(row)))]


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"
