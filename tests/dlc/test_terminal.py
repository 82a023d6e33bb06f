"""Tables: columns, totals, and narrow terminals."""

from __future__ import annotations

from dlc.terminal import table

HEAD, ROWS = ("stage", "layer", "size"), [("a", "dense(4) -> relu", "10"), ("head", "dense(2)", "1,000")]


def test_columns_are_as_wide_as_they_need() -> None:
    assert table(HEAD, ROWS, total=("total", "", "1,010"), numbers=(2,)) == [
        "stage  layer              size",
        "-----  ----------------  -----",
        "a      dense(4) -> relu     10",
        "head   dense(2)          1,000",
        "-----  ----------------  -----",
        "total                    1,010",
    ]


def test_texts_give_way_on_a_narrow_terminal() -> None:
    lines = table(HEAD, ROWS, numbers=(2,), yields=1, width=26)
    assert lines == [
        "stage  layer          size",
        "-----  ------------  -----",
        "a      dense(4) ->…     10",
        "head   dense(2)      1,000",
    ]


def test_a_table_never_gets_so_narrow_that_nothing_is_left() -> None:
    assert table(HEAD, ROWS, numbers=(2,), yields=1, width=5) == table(HEAD, ROWS, numbers=(2,), yields=1, width=26)


def test_a_table_that_fits_is_left_alone() -> None:
    assert table(HEAD, ROWS, yields=1, width=200) == table(HEAD, ROWS)
