"""Whether a network can learn one batch by heart: if it can't, it will not learn many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from compiler.diagnostics import DiagnosticError
from compiler.program import TrainProgram
from runtime.data.batches import DataSet
from runtime.data.split import Splits
from runtime.inspect.batch import Batch
from runtime.training.job import Job
from runtime.training.judge import Judgement, judge
from runtime.training.loop import Trainer

# Numbers are learned by heart where this share of their spread is left, or less.
_SPREAD = 0.05
# Losses without targets are where they have fallen to this share.
_FALLEN = 0.05
# The loss still falls where the last fifth of the steps brought this share of what all steps brought.
_FALLING = 0.02


@dataclass(frozen=True)
class Overfit:
    """What came out: ``losses`` after every step, those of the trained weights at both ends with dropout off, and
    ``learned``, with ``reached`` saying in words how well."""

    source: str
    samples: int
    losses: Sequence[float]
    before: float
    after: float
    learned: bool
    reached: str
    still: tuple[str, ...]
    failure: DiagnosticError | None = None

    @property
    def hints(self) -> list[str]:
        """What to try, where it was not learned."""
        if self.learned:
            return []
        if self.failure is not None:
            return ["the numbers got out of hand: a smaller learning rate, or inputs scaled to about -1 to 1"]
        found = []
        if self.still:
            shown = ", ".join(self.still[:3]) + (" …" if len(self.still) > 3 else "")
            found.append(f"never changed: {shown}: nothing of them reaches the loss (a dead relu, a frozen part?)")
        tail = self.losses[-max(2, len(self.losses) // 5) :]
        if self.after > self.before:
            found.append("the loss has risen: try a smaller learning rate")
        elif tail[0] - tail[-1] > _FALLING * (self.losses[0] - tail[-1]):
            found.append("the loss still falls: try more --steps, or a larger learning rate")
        else:
            found.append("the loss has come to rest: is the network large enough, does the loss get all that it needs,")
            found.append("and do the targets belong to the inputs? `dlc inspect` shows the values in the network")
        return found


def overfit(job: Job, batch: Batch, steps: int) -> Overfit:
    """Trains for ``steps`` steps on ``batch`` alone, from fresh weights, and looks at what was learned."""
    count = len(next(iter(batch.inputs.values())))
    data = DataSet(batch.inputs, np.arange(count), batch.source)
    counts = replace(job.program.settings, epochs=None, steps=steps, batch=count, accumulate=1)
    settings = replace(counts, stop=None, interval=None)
    program: TrainProgram = replace(job.program, settings=settings)
    trainer = Trainer(program, job.make_engine, Splits(data))
    first = {name: array.copy() for name, array in trainer.weights.items()}
    before = trainer.evaluate(data).figures["loss"]
    failure = None
    try:
        trainer.fit()
    except DiagnosticError as problem:
        failure = problem
    names = trainer.history.names
    losses = trainer.history[names[0]] if names else []
    trained = {name for loss in job.project.checked.elaborated.trains[program.name].losses for name in loss.over}
    still = tuple(name for name in first if name in trained and np.array_equal(first[name], trainer.weights[name]))
    if failure is not None:
        return Overfit(batch.source, count, losses, before, float("nan"), False, "", still, failure)
    after = trainer.evaluate(data).figures["loss"]
    judgement = judge(job.project, program.name, trainer.weights, data)
    learned, reached = _verdict(judgement, before, after)
    return Overfit(batch.source, count, losses, before, after, learned, reached, still)


def _verdict(judgement: Judgement | None, before: float, after: float) -> tuple[bool, str]:
    """Right about every class; or near every number; or, without targets to compare with, a loss that all but went."""
    if judgement is None:
        share = after / before if before > 0 else float("nan")
        return share <= _FALLEN, f"the loss has come down to {100 * share:.3g}% of what it was"
    if judgement.classes:
        right = int((judgement.predicted == judgement.wanted).sum())
        return right == len(judgement.wanted), f"{right:,} of {len(judgement.wanted):,} predictions are right"
    error = float(np.mean(np.square(judgement.predicted - judgement.wanted)))
    spread = float(np.var(judgement.wanted)) or 1.0
    return error <= _SPREAD * spread, f"{100 * error / spread:.3g}% of the targets' variance is left unexplained"
