"""Tables in text form, row by row: quoting, line numbers, and rows that can't be used."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from runtime.data.readers.cells import Collector, Restart, is_number
from runtime.data.readers.content import ReadError, Request
from runtime.disk.files import reason

# Rows that are looked at together. With many more, the collection of garbage among them takes longer than reading.
_ROWS = 1 << 10
_PLAIN = Request()


class TableFile:
    """A file of rows; ``names`` are those of its columns, from its first line unless they are given."""

    def __init__(self, path: Path, delimiter: str, names: Sequence[str] | None) -> None:
        """Raises ReadError: E0602 where it can't be read or its first line has no names, E0618 where it is empty."""
        self.path, self.delimiter = path, delimiter
        self._headless = names is not None
        with self._opened() as reader:
            first = next(filter(None, reader), None)
        if first is None:
            raise ReadError("it has no rows", "give at least one sample", "E0618")
        self.names: tuple[str, ...] = tuple(names) if names is not None else tuple(name.strip() for name in first)
        if not self._headless and all(map(is_number, first)):
            why = "its first line has numbers where the names of the columns should be"
            raise ReadError(why, "give the names: csv(…, names=[…])")
        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise ReadError(f"two columns are called {twice!r}", "give every column a name of its own")

    def blocks(self) -> Iterator[list[list[str]]]:
        """The rows that have anything in them, in the order of the file."""
        with self._opened() as reader:
            if not self._headless:
                next(filter(None, reader), None)
            while block := list(islice(reader, _ROWS)):
                yield [row for row in block if row]

    def line_of(self, index: int) -> int:
        """The line in which a row ends. Reads the file again, as nothing is wrong with most rows."""
        with self._opened() as reader:
            for _ in islice(filter(None, reader), index + 1 + (not self._headless)):
                pass
            return int(reader.line_num)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """A reader of the rows. Raises ReadError for what goes wrong while it is used."""
        try:
            with open(self.path, encoding="utf-8-sig", newline="") as stream:
                reader = csv.reader(stream, delimiter=self.delimiter, strict=True)
                try:
                    yield reader
                except csv.Error as failure:
                    why = f"line {reader.line_num} is not quoted as a table is ({failure})"
                    raise ReadError(why, 'a quote inside of quotes is written twice: "so ""called"""') from failure
                except UnicodeDecodeError as failure:
                    why = f"it is not UTF-8, near line {reader.line_num + 1}: {failure.reason}"
                    raise ReadError(why, "save it as UTF-8") from failure
        except OSError as failure:
            raise ReadError(reason(failure), "see whether the path is right and you may read it") from failure


def read_cells(
    file: TableFile,
    collectors: Iterable[Collector],
    *,
    left_out: frozenset[int] = frozenset(),
    request: Request = _PLAIN,
) -> frozenset[int]:
    """Fills ``collectors`` with their columns but for the rows numbered in ``left_out``, and gives the numbers of all
    rows that are left out, those with ``skip_bad`` included that can't be used.

    Raises ReadError: E0616 for the first row that can't be used, E0618 where none is left.
    """
    found = list(collectors)
    while True:
        try:
            return _read(file, found, left_out, request)
        except Restart:
            for collector in found:
                collector.parts.clear()


def _read(
    file: TableFile, collectors: Sequence[Collector], left_out: frozenset[int], request: Request
) -> frozenset[int]:
    places = [file.names.index(collector.column) for collector in collectors]
    first, kept, skipped = 0, 0, set(left_out)
    for rows in file.blocks():
        bad = _ragged(file, rows)
        bad |= {index - first: "" for index in left_out if first <= index < first + len(rows)}
        if bad:
            rows = [row if index not in bad else [""] * len(file.names) for index, row in enumerate(rows)]
        columns = list(zip(*rows, strict=True))
        converted = []
        for collector, place in zip(collectors, places, strict=True):
            part, faults = collector.convert(columns[place] if rows else (), bad.keys())
            converted.append(part)
            for index, why in faults.items():
                bad.setdefault(index, f", column {collector.column}: {why}")
        told = [(index, why) for index, why in sorted(bad.items()) if why]
        if told and not request.skip_bad:
            advice = f"mend the file{request.or_leave_out('such rows')}"
            others = f" (and {len(told) - 1} more like it near there)" if len(told) > 1 else ""
            raise ReadError(f"line {file.line_of(first + told[0][0])}{told[0][1]}{others}", advice, "E0616")
        keep = [index for index in range(len(rows)) if index not in bad] if bad else None
        for collector, part in zip(collectors, converted, strict=True):
            collector.keep(part, keep)
        skipped.update(first + index for index in bad)
        first, kept = first + len(rows), kept + len(rows) - len(bad)
    if not kept:
        raise ReadError("it has no row that can be used", "give at least one sample", "E0618")
    return frozenset(skipped)


def _ragged(file: TableFile, rows: Sequence[list[str]]) -> dict[int, str]:
    wanted = len(file.names)
    if set(map(len, rows)) <= {wanted}:
        return {}
    return {
        index: f" has {len(row)} field{'s' * (len(row) != 1)} instead of {wanted}"
        for index, row in enumerate(rows)
        if len(row) != wanted
    }
