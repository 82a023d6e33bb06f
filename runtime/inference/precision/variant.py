"""A network in one precision, as it is told about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.disk.tensors import Array
from runtime.inference.precision.forms import Level, Precision
from runtime.inference.saving import save_model

PRECISIONS: tuple[Precision, ...] = ("fp16", "int8", "int8-dynamic")
# Rows of which the time is told.
ROWS = (1, 64)


@dataclass(frozen=True)
class Variant:
    """One precision of a network: the ``content`` of its file; its ``figures`` on the samples that judge it; ``times``,
    by the number of rows, the median of what its runs take of those of the f32 file, turn by turn; ``others``, the
    layers that lost too much, with what they have instead; ``overflowing``, those in f32 as f16 is too small for their
    numbers; and the bytes of the f32 file."""

    precision: Precision | Literal["f32"]
    content: bytes
    figures: Mapping[str, float]
    times: Mapping[int, float]
    others: Mapping[str, Level]
    overflowing: tuple[str, ...]
    bytes_of_f32: int

    @property
    def share(self) -> float:
        """Its size as a part of that of the f32 file."""
        return len(self.content) / self.bytes_of_f32

    def kept(self, level: Level) -> tuple[str, ...]:
        """The layers that have ``level`` instead."""
        return tuple(name for name, own in self.others.items() if own == level)

    def notes(self) -> list[str]:
        """Sentences about the layers that are not as the precision says."""
        said = {
            "stored in 8 bits and computed in f32, to lose less": self.kept("stored"),
            "in f32, to lose less": self.kept("f32"),
            "in f32, as f16 is too small for the numbers there": self.overflowing,
        }
        return [
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {how}" for how, names in said.items() if names
        ]

    def summary(self) -> str:
        """One line about it."""
        figures = ", ".join(f"{name} {figure:.4f}" for name, figure in self.figures.items())
        times = ", ".join(
            f"{ratio:.2f} of its time for {rows} row{'s' * (rows > 1)}" for rows, ratio in self.times.items()
        )
        parts = [f"{self.precision}: {len(self.content):,} bytes, {100 * self.share:.0f}% of f32", figures, times]
        return "; ".join([*parts, *self.notes()])

    def save(self, path: Path, trials: Iterable[Mapping[str, Array]] = ()) -> None:
        """Writes the file, or where ``path`` ends in ``.ort`` the ORT file of it, if that gives the same for the inputs
        ``trials``. Raises DiagnosticError E0801, and what :func:`runtime.inference.mobile.save_ort` raises."""
        save_model(path, self.content, trials)
