"""The figures of a run as TensorBoard's event files, written by tensorboardX while the run goes on."""

from __future__ import annotations

from pathlib import Path

from runtime.extras import needs
from runtime.training.history import Row
from runtime.training.progress import Progress, Relay


class Events(Relay):
    """A progress that writes event files to ``folder``; what it is told goes on to ``shown``.

    Figures over the training samples are called ``train/loss`` and so on, those of validation ``val/loss``. Their step
    is the epoch or, where rows of the history are counted by steps, the step. A resumed run goes on in a new file,
    which TensorBoard reads behind those before it.
    """

    def __init__(self, folder: Path, shown: Progress) -> None:
        """Raises DiagnosticError E0810 without tensorboardX."""
        super().__init__(shown)
        with needs("tensorboardX", "tensorboard", "writing event files"):
            from tensorboardX import SummaryWriter

        # flush_secs: long epochs are to be seen when they end.
        self._writer = SummaryWriter(str(folder), flush_secs=10)

    def epoch(self, row: Row) -> None:
        for name, value in row.figures.items():
            part = "val" if name.startswith("val.") else "train"
            self._writer.add_scalar(f"{part}/{name.removeprefix('val.')}", value, row.place)
        super().epoch(row)

    def stop(self) -> None:
        self._writer.close()
        super().stop()
