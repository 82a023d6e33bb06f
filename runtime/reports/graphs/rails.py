"""A graph as text: a line for each box, and a rail for each value that is under way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from runtime.reports.graphs.boxes import Box, Picture

_SIGNS = {
    frozenset("ud"): "│", frozenset("udr"): "├", frozenset("udl"): "┤", frozenset("dl"): "╮", frozenset("dr"): "╭",
    frozenset("ul"): "╯", frozenset("ur"): "╰", frozenset("ulr"): "┴", frozenset("dlr"): "┬", frozenset("udlr"): "┼",
    frozenset("lr"): "─", frozenset("u"): "╵", frozenset("d"): "╷",
}  # fmt: skip
_PORT, _NODE = "○", "●"
_MOST_NAMES = 3
# Beyond these nobody reads a line, and all of them together may be more than there is memory.
_MOST_RAILS, _MOST_LETTERS = 500, 200


def text_lines(picture: Picture) -> list[str]:
    """The picture as lines of text. A rail is one value; where it goes into several boxes it runs on beside them."""
    drawn = []
    for rails, box in _drawn(picture):
        if len(rails) > 2 * _MOST_RAILS:
            return [f"not drawn: more than {_MOST_RAILS} values are under way at the same time"]
        drawn.append((rails, box))
    column = max((len(rails) for rails, box in drawn if box is not None), default=0) + 2
    cells = [_cells(box) if isinstance(box, Box) else ("",) * 4 for _, box in drawn]
    widths = [max((len(cell[part]) for cell in cells), default=0) for part in range(4)]
    lines = []
    for (rails, box), cell in zip(drawn, cells, strict=True):
        if isinstance(box, str):
            lines.append(f"{rails.ljust(column)}{box}")
            continue
        shown = [text.ljust(width) for text, width in zip(cell[:3], widths, strict=False) if width]
        shown.append(cell[3].rjust(widths[3]))
        lines.append(f"{rails.ljust(column)}{'  '.join(shown)}".rstrip())
    return lines


def gives_text(box: Box) -> str:
    """The types of the results: of several that are alike, the number and the type."""
    gives = [type for type in box.gives if type]
    return f"{len(gives)} x {gives[0]}" if len(gives) > 1 and len(set(gives)) == 1 else ", ".join(gives)


def _cells(box: Box) -> tuple[str, str, str, str]:
    """What it does, what it gives, its name, its parameters."""
    if box.kind == "port":
        return _short(box.label), _short("  ".join(box.gives)), box.text, ""
    count = f"{box.count:,}" if box.count else ""
    return _short(box.text), _short(gives_text(box)), _short(box.label), count


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"


def _drawn(picture: Picture) -> Iterator[tuple[str, Box | str | None]]:
    rails = _Rails(picture.boxes)
    begins = {repeat.start: repeat for repeat in picture.repeats}
    ends = {repeat.stop for repeat in picture.repeats}
    for index, box in enumerate(picture.boxes):
        if index in ends and index not in begins:
            yield rails.straight(), "┄┄┄"
        if index in begins:
            repeat = begins[index]
            yield rails.straight(), f"┄┄┄ {repeat.times} times{_named(repeat.names)}"
        yield from rails.box(index, box)
    if len(picture.boxes) in ends:
        yield rails.straight(), "┄┄┄"


def _named(names: Sequence[str]) -> str:
    found = [name for name in names if name]
    if len(set(found)) < len(names):
        return ""
    shown = found if len(found) <= _MOST_NAMES else [*found[:2], "…", found[-1]]
    return f": {', '.join(shown)}"


class _Rails:
    """The values under way, from left to right; None is a rail that is free."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.last: dict[tuple[int, int], int] = {}
        for index, box in enumerate(boxes):
            for read in box.reads:
                self.last[read] = index
        self.rails: list[tuple[int, int] | None] = []

    def straight(self) -> str:
        return _line({column: frozenset("ud") for column, value in enumerate(self.rails) if value is not None})

    def box(self, index: int, box: Box) -> Iterator[tuple[str, Box | None]]:
        read = sorted({self.rails.index(value) for value in box.reads})
        over = [column for column in read if self.last[self.rails[column]] == index]  # type: ignore[index]
        own = over[0] if over else self._free(max(read, default=-1) + 1)
        if read and read != [own]:
            yield self._joined(read, over, own), None
        for column in over:
            self.rails[column] = None
        self._set(own, (index, -1))
        marks = {c: frozenset("ud") for c, value in enumerate(self.rails) if value is not None and c != own}
        yield _line(marks, {own: _PORT if box.kind == "port" else _NODE}), box
        results = [(index, number) for number in range(len(box.gives)) if (index, number) in self.last]
        self.rails[own] = None
        columns = [own, *(self._take(own + 1) for _ in results[1:])]
        for column, value in zip(columns, results, strict=False):
            self._set(column, value)
        if len(results) > 1:
            yield self._spread(own, columns), None
        while self.rails and self.rails[-1] is None:
            self.rails.pop()

    def _joined(self, read: Sequence[int], over: Sequence[int], own: int) -> str:
        marks = {c: set("ud") for c, value in enumerate(self.rails) if value is not None}
        left, right = min(*read, own), max(*read, own)
        for column in {*read, own}:
            up = "u" if column in read else ""
            down = "d" if column == own or column not in over else ""
            marks[column] = {*up, *down, *("l" if column > left else ""), *("r" if column < right else "")}
        return _line(marks, {}, (left, right))

    def _spread(self, own: int, columns: Iterable[int]) -> str:
        marks = {c: set("ud") for c, value in enumerate(self.rails) if value is not None}
        *_, last = columns
        for column in columns:
            marks[column] = {"d", *("u" if column == own else "l"), *("r" if column < last else "")}
        return _line(marks, {}, (own, last))

    def _free(self, start: int) -> int:
        return next((c for c in range(start, len(self.rails)) if self.rails[c] is None), max(start, len(self.rails)))

    def _take(self, start: int) -> int:
        column = self._free(start)
        self._set(column, (-1, -1))
        return column

    def _set(self, column: int, value: tuple[int, int]) -> None:
        self.rails += [None] * (column + 1 - len(self.rails))
        self.rails[column] = value


def _line(marks: object, signs: dict[int, str] | None = None, span: tuple[int, int] = (0, -1)) -> str:
    """Marks by column; between the columns of ``span`` the line runs across, behind the rails that it passes."""
    found: dict[int, frozenset[str]] = {column: frozenset(sides) for column, sides in dict(marks).items()}  # type: ignore[call-overload]
    shown = {column: _SIGNS[sides] for column, sides in found.items()} | (signs or {})
    parts = []
    for column in range(max(shown, default=-1) + 1):
        across = span[0] <= column < span[1]
        parts.append(shown.get(column, "─" if span[0] <= column <= span[1] else " ") + ("─" if across else " "))
    return "".join(parts).rstrip()
