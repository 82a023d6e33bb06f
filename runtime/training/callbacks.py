"""Callbacks: a user's own code that is told how a training goes on, and may end it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from runtime.training.history import Row
from runtime.training.progress import Figures, Outline, Progress, Relay


class Callback:
    """To be subclassed: every method does nothing until it is overridden.

    A method that raises :class:`StopTraining` ends the training well, as if that epoch or batch had been the last; any
    other exception goes on to the caller of ``fit``.
    """

    def on_train_begin(self, epochs: int) -> None:
        """The training begins, of ``epochs`` epochs in all."""

    def on_batch_end(self, samples: int, figures: Callable[[], Figures]) -> None:
        """A batch of ``samples`` samples went through; ``figures()`` works out the figures of the epoch so far."""

    def on_epoch_end(self, row: Row) -> None:
        """An epoch is over: ``row.epoch`` is its number from 1, ``row.figures`` what was measured. With
        ``validate … every`` it is told of each row of the history, so after so many steps."""

    def on_train_end(self) -> None:
        """The training is over, for whatever reason."""


# A plain function is told of every epoch.
AnyCallback: TypeAlias = Callback | Callable[[Row], object]


class Told(Relay):
    """A progress that tells callbacks, in their order, before ``shown``."""

    def __init__(self, callbacks: Sequence[AnyCallback], shown: Progress) -> None:
        """Raises TypeError for what is neither a callback nor a function."""
        super().__init__(shown)
        given: Sequence[object] = callbacks
        for item in given:
            if not isinstance(item, Callback) and not callable(item):
                raise TypeError(f"a callback is a function, or of a subclass of dlc.Callback, and not {item!r}")
        self._callbacks = [item if isinstance(item, Callback) else _Function(item) for item in callbacks]

    def start(self, outline: Outline) -> None:
        super().start(outline)
        for callback in self._callbacks:
            callback.on_train_begin(outline.epochs)

    def advance(self, samples: int, figures: Callable[[], Figures]) -> None:
        super().advance(samples, figures)
        for callback in self._callbacks:
            callback.on_batch_end(samples, figures)

    def epoch(self, row: Row) -> None:
        super().epoch(row)
        for callback in self._callbacks:
            callback.on_epoch_end(row)

    def stop(self) -> None:
        super().stop()
        for callback in self._callbacks:
            callback.on_train_end()


class _Function(Callback):
    def __init__(self, function: Callable[[Row], object]) -> None:
        self._function = function

    def on_epoch_end(self, row: Row) -> None:
        self._function(row)
