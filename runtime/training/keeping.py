"""The checkpoints of epochs, or after steps, that a run keeps beside the one that it goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compiler.program import TrainProgram
from runtime.training.history import Row
from runtime.training.stopping import direction


def kept_places(program: TrainProgram, rows: Sequence[Row]) -> list[int]:
    """The places of the rows whose checkpoints stay, by the statement ``keep``: the best ones by the figure that
    ``stop`` watches, of equal ones the first, or without it the last ones."""
    count, stop = program.settings.keep or 0, program.settings.stop
    if stop is None:
        return [row.place for row in rows[-count:]] if count else []
    sign = -1.0 if direction(program, stop.measure) == "higher" else 1.0
    measured = [row for row in rows if row.figures.get(stop.measure, float("nan")) == row.figures.get(stop.measure)]
    return sorted(row.place for row in sorted(measured, key=lambda row: sign * row.figures[stop.measure])[:count])


def kept_file(folder: Path, place: int) -> Path:
    """Where the checkpoint of an epoch, or after a step, lies."""
    return folder / f"{place:04d}.safetensors"


def drop_others(folder: Path, places: Sequence[int]) -> None:
    """Removes the checkpoints of all but these places. Raises OSError."""
    wanted = {kept_file(folder, place) for place in places}
    for path in folder.glob("*.safetensors"):
        if path not in wanted:
            path.unlink()
