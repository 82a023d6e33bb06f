import io
import math

import pytest
from rich.console import Console

from runtime.training.history import Row
from runtime.training.progress import Lines, Live, Outline, Silent, row_line

FIGURES = {"loss": 0.123456, "accuracy": 1.0, "val.loss": 0.00001234}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_one_line_per_epoch() -> None:
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream, clock)
    lines.start(Outline(12, 1, 1200))
    lines.note("going on in epoch 1 after 0 steps")
    for number in (1, 2):
        clock.now += 1.25
        lines.advance(50, dict)
        lines.epoch(Row(number, 10, FIGURES))
    lines.stop()
    assert stream.getvalue() == (
        "going on in epoch 1 after 0 steps\n"
        "epoch  1/12  loss 0.1235  accuracy 1.0000  val.loss 1.234e-05  1.25s\n"
        "epoch  2/12  loss 0.1235  accuracy 1.0000  val.loss 1.234e-05  1.25s\n"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.0000"), (0.001, "0.0010"), (0.00099, "9.900e-04"), (-12345.6, "-12345.6000"), (1e5, "1.000e+05"),
     (math.nan, "nan"), (math.inf, "inf")],
)  # fmt: skip
def test_numbers(value: float, shown: str) -> None:
    assert row_line(Row(1, 1, {"loss": value}), Outline(3, 1, 0)) == f"epoch 1/3  loss {shown}"


def test_a_terminal_shows_a_bar_and_finished_epochs() -> None:
    stream, clock = io.StringIO(), Clock()
    live = Live(Console(file=stream, force_terminal=True, width=120, legacy_windows=False), clock)
    live.start(Outline(3, 2, 3000, 1500))
    asked = 0

    def figures() -> dict[str, float]:
        nonlocal asked
        asked += 1
        return {"loss": 0.5}

    for _ in range(10):
        clock.now += 0.05
        live.advance(100, figures)
    assert asked <= 5
    for number in (2, 3):
        live.epoch(Row(number, 10, {"loss": 0.25}))
    live.note("[done]")
    live.stop()
    shown = stream.getvalue()
    for text in ("epoch 2/3", "loss 0.5000", "samples/s", "epoch 3/3  loss 0.2500", "[done]"):
        assert text in shown


def test_short_epochs_do_not_flood_the_terminal() -> None:
    stream, clock = io.StringIO(), Clock()
    live = Live(Console(file=stream, force_terminal=True, width=120), clock)
    live.start(Outline(1000, 1, 4000))
    for number in range(1, 1001):
        clock.now += 0.001
        live.epoch(Row(number, number, {"loss": 0.25}))
    live.stop()
    lines = [text for text in stream.getvalue().splitlines() if "loss 0.2500" in text]
    assert len(lines) <= 12
    assert "epoch 1000/1000" in lines[-1]


def test_stopping_before_the_start() -> None:
    Live(Console(file=io.StringIO())).stop()
    Silent().stop()
