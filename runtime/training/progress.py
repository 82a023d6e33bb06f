"""What a run shows while it trains: a live bar on a terminal, one plain line per epoch elsewhere, or
nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

from runtime.training.history import Row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

Figures = Mapping[str, float]
# Seconds between two looks at the figures of an epoch at work, and between two lines above a live bar.
_REFRESH = 0.1
_BAR = 12  # columns of a live bar


@dataclass(frozen=True)
class Outline:
    """How much there is to do: ``epochs`` in all, in which so many ``samples`` go through, validation included.

    ``epoch``, from 1, is at work, and ``done`` of the samples went through before. ``steps`` are those of the whole run
    where the rows of its history are counted by steps, else 0.
    """

    epochs: int
    epoch: int
    samples: int
    done: int = 0
    steps: int = 0

    def place(self, row: Row) -> str:
        """``epoch  3/30``, or ``step  250/10000``."""
        last = self.epochs if row.unit == "epoch" else self.steps
        return f"{row.unit} {row.place:>{len(str(last))}}/{last}"

    def is_last(self, row: Row) -> bool:
        """Whether the run ends with a row."""
        return row.place == (self.epochs if row.unit == "epoch" else self.steps)


class StopTraining(Exception):
    """Raised by a progress or a callback: the training ends there, as if that had been its last epoch or batch."""


class Progress(Protocol):
    """Is told how a run goes on, and may raise :class:`StopTraining`."""

    def start(self, outline: Outline) -> None:
        """The run begins."""

    def advance(self, samples: int, figures: Callable[[], Figures]) -> None:
        """Some samples more went through; ``figures`` works out those of the epoch so far."""

    def epoch(self, row: Row) -> None:
        """An epoch is over, or as many steps as are counted together."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""

    def stop(self) -> None:
        """The run is over, for whatever reason."""


class Silent:
    """Shows nothing."""

    def start(self, outline: Outline) -> None:
        del outline

    def advance(self, samples: int, figures: Callable[[], Figures]) -> None:
        del samples, figures

    def epoch(self, row: Row) -> None:
        del row

    def note(self, text: str) -> None:
        del text

    def stop(self) -> None:
        return


class Observer(Protocol):
    """Looks into a run while it goes on, and keeps what it sees."""

    def before_step(self) -> None:
        """A step is about to be made."""

    def take(self, row: Row) -> None:
        """Figures were taken."""

    def save(self) -> None:
        """A checkpoint is being written. Raises OSError."""


class Relay:
    """Passes everything on to ``shown``: for what wants to be told of some of it."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    def start(self, outline: Outline) -> None:
        self._shown.start(outline)

    def advance(self, samples: int, figures: Callable[[], Figures]) -> None:
        self._shown.advance(samples, figures)

    def epoch(self, row: Row) -> None:
        self._shown.epoch(row)

    def note(self, text: str) -> None:
        self._shown.note(text)

    def stop(self) -> None:
        self._shown.stop()


class Lines(Silent):
    """One line per row of the history, for files and pipes: ``epoch 3/30  loss 0.1234  val.loss 0.2345  1.21s``."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.perf_counter) -> None:
        self._stream, self._clock = stream, clock
        self._outline, self._since = Outline(0, 1, 0), 0.0

    def start(self, outline: Outline) -> None:
        self._outline, self._since = outline, self._clock()

    def epoch(self, row: Row) -> None:
        now = self._clock()
        seconds, self._since = now - self._since, now
        self.note(f"{row_line(row, self._outline)}  {seconds:.2f}s")

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class Live(Silent):
    """A bar with the figures, samples per second and the time left; finished epochs stand above it."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.perf_counter) -> None:
        self._console, self._clock = console, clock
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._outline = Outline(0, 1, 0)
        self._title, self._waiting = "", 0
        self._refreshed = self._printed = -math.inf

    def start(self, outline: Outline) -> None:
        # Imported late: other ways to show a run do without rich.
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        self._outline, self._title = outline, _title(outline, outline.epoch, 0)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=_BAR),
            # Where the screen is narrow the last figures give way, and nothing else.
            TextColumn("{task.fields[figures]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            expand=True,
            transient=True,
        )
        self._task = self._bar.add_task(self._title, total=outline.samples, completed=outline.done, figures="", rate="")
        self._bar.start()

    def advance(self, samples: int, figures: Callable[[], Figures]) -> None:
        self._waiting += samples
        now = self._clock()
        if self._bar is None or self._task is None or now - self._refreshed < _REFRESH:
            return
        speed = self._bar.tasks[0].speed
        self._bar.update(
            self._task,
            advance=self._waiting,
            description=self._title,
            figures=figures_line(figures()),
            rate=f"{speed:,.0f} samples/s" if speed else "",
        )
        self._waiting, self._refreshed = 0, now

    def epoch(self, row: Row) -> None:
        self._title = _title(self._outline, row.epoch + 1, row.step)
        now = self._clock()
        # Epochs shorter than a blink would fill the screen faster than anyone reads.
        if now - self._printed >= _REFRESH or self._outline.is_last(row):
            self.note(row_line(row, self._outline))
            self._printed = now

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _title(outline: Outline, epoch: int, step: int) -> str:
    """What a bar says: the epoch at work, or the step after which there were figures."""
    if outline.steps:
        return f"after step {step}/{outline.steps}"
    return f"epoch {min(epoch, outline.epochs)}/{outline.epochs}"


def row_line(row: Row, outline: Outline) -> str:
    """``epoch  3/30  loss 0.1234  accuracy 0.9321``: always the same for the same row."""
    return f"{outline.place(row)}  {figures_line(row.figures)}"


def figures_line(figures: Figures) -> str:
    """Names and values; values that four decimals would not do justice are written with an exponent."""
    return "  ".join(f"{name} {_number(value)}" for name, value in figures.items())


def _number(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e5 or not math.isfinite(value):
        return f"{value:.4f}"
    return f"{value:.3e}"
