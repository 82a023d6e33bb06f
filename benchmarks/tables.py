"""Tables for the terminal, and as CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from runtime.disk.files import write_text


def show(title: str, head: Sequence[str], sections: Iterable[Sequence[Sequence[str]]], words: int = 2) -> None:
    """Print a table in sections; its first columns, so many, are text and the others numbers."""
    table = Table(title=title, title_justify="left", box=SIMPLE)
    for index, name in enumerate(head):
        table.add_column(name, justify="left" if index < words else "right")
    for rows in sections:
        for row in rows:
            table.add_row(*row)
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def milliseconds(seconds: float) -> str:
    """Three digits of a time in milliseconds."""
    return f"{1e3 * seconds:.3g}" if seconds < 0.1 else f"{1e3 * seconds:.0f}"


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to a file, beside its place first."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    write_text(path, text.getvalue())
