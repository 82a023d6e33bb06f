"""Watching model files: what is looked at, and when it is looked at again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.watch import watch

PLAIN = "model A(x: f32[N, 3]) {\n    relu\n}\n"


class Ended(Exception):
    """There is nothing more to do."""


def watched(main: Path, *actions: Callable[[], object]) -> list[int]:
    """How many calls there were before each of the actions, each of which stands for a pause, and after the last."""
    calls: list[int] = []
    counts: list[int] = []
    steps: Iterator[Callable[[], object]] = iter(actions)

    def pause() -> None:
        counts.append(len(calls))
        action = next(steps, None)
        if action is None:
            raise Ended
        action()

    with pytest.raises(Ended):
        watch(main, calls.append, pause)
    return counts


def test_nothing_happens_while_nothing_is_saved(tmp_path: Path) -> None:
    main = tmp_path / "a.dl"
    main.write_text(PLAIN)
    assert watched(main, lambda: None, lambda: None) == [1, 1, 1]


def test_a_file_that_is_saved_or_replaced(tmp_path: Path) -> None:
    main, other = tmp_path / "a.dl", tmp_path / "b.dl"
    main.write_text(PLAIN)

    def replace() -> None:
        other.write_text(PLAIN)
        other.replace(main)

    assert watched(main, lambda: main.write_text(PLAIN + "# more\n"), replace, lambda: None) == [1, 2, 3, 3]


def test_a_file_that_is_away_for_a_moment(tmp_path: Path) -> None:
    main = tmp_path / "a.dl"
    main.write_text(PLAIN)
    assert watched(main, main.unlink, lambda: None, lambda: main.write_text(PLAIN + "\n")) == [1, 1, 1, 2]


def test_imported_files(tmp_path: Path) -> None:
    main, blocks, deep = (tmp_path / name for name in ("a.dl", "blocks.dl", "deep.dl"))
    main.write_text('import "blocks.dl"\n' + PLAIN)
    blocks.write_text('import "deep.dl"\n')
    counts = watched(
        main,
        lambda: deep.write_text("const a = 1\n"),  # it was missing
        lambda: deep.write_text("const a = 12\n"),
        lambda: blocks.write_text("const b = 1 \n"),  # no longer imports the other
        lambda: deep.write_text("const a = 123\n"),
        lambda: main.write_text("model ("),  # what it imports is unknown now
    )
    assert counts == [1, 2, 3, 4, 4, 5]
