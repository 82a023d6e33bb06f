"""Finding the step, and the operation in it, at which a run went to NaN or infinity.

Updates are made in place, so that the weights from before a bad step are gone when it shows. A copy in memory
is renewed now and then; a run being deterministic, running again from the copy meets the same bad step.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from compiler.diagnostics import Diagnostic, error
from compiler.ir.graph import Graph
from runtime.data.batches import Batches
from runtime.disk.tensors import Array
from runtime.training.calls import Calls
from runtime.training.evaluation import Executor
from runtime.training.failure import blame, is_finite, not_finite, shown, update_of
from runtime.training.pace import Pace
from runtime.training.position import Position

# Copying may take this share of the time; running again then takes at most about its inverse times one copy.
_SHARE = 0.02


class Snapshot:
    """A copy of weights and state, which takes as much memory as they do, and the position at which it was taken."""

    def __init__(self, kept: Mapping[str, Array], position: Position) -> None:
        self._arrays = {name: array.copy() for name, array in kept.items()}
        self._position = position
        self._taken, self._cost = -np.inf, 0.0
        self.renew(kept, position)

    def renew(self, kept: Mapping[str, Array], position: Position) -> None:
        """Copies ``kept`` again, where that is due. What is not finite any more is left out: it is to be
        explained."""
        begun = time.perf_counter()
        if begun - self._taken < self._cost / _SHARE or not_finite(kept):
            return
        for name, array in self._arrays.items():
            np.copyto(array, kept[name])
        self._position, self._taken = position, time.perf_counter()
        self._cost = self._taken - begun

    def restore(self, kept: Mapping[str, Array]) -> Position:
        """Writes the copy back into ``kept`` and gives the position at which it was taken."""
        for name, array in self._arrays.items():
            np.copyto(kept[name], array)
        return self._position


def diagnose(
    calls: Calls,
    engine: Executor,
    batches: Batches,
    snapshot: Snapshot,
    failed: Position,
    pace: Pace,
    last: int,
) -> Diagnostic:
    """E0701: runs again from ``snapshot`` to the step, at the latest the one after ``failed``, that gave the
    first bad number. The run has this ``pace``, and ends with the step ``last``.

    Weights and state are afterwards as they were before that step.
    """
    kept = engine.kept
    position = snapshot.restore(kept)
    while position.step <= failed.step:
        position = position.wrapped(len(batches))
        inputs = batches.at(position.epoch, position.batch)
        begun = {name: array.copy() for name, array in kept.items()}
        pace.prepare(kept, position, last)
        for index in pace.due(position):
            for call in calls.of(index, inputs, batches.count(position.batch)):
                before = {name: array.copy() for name, array in kept.items()}
                loss = float(engine.call(call.graph.name, call.inputs).get("loss", 0.0))
                spoilt = {name: kept[name].copy() for name in not_finite(kept) if is_finite(before[name])}
                if not np.isfinite(loss) or spoilt:
                    for name, array in begun.items():
                        np.copyto(kept[name], array)
                    batch = f"batch {position.batch + 1} of {len(batches)}"
                    where = f"step {position.step + 1} (epoch {position.epoch}, {batch})"
                    return _explain(call.graph, {**before, **call.inputs}, loss, spoilt, where)
        pace.settle(engine)
        position = Position(position.epoch, position.batch + 1, position.step + 1)
    advice = "begin with other weights"
    return error("E0701", f"{_listed(not_finite(kept))} was NaN or infinite from the start", None, help=advice)


def _explain(
    graph: Graph, inputs: Mapping[str, Array], loss: float, spoilt: Mapping[str, Array], where: str
) -> Diagnostic:
    if not np.isfinite(loss):
        title = f"the loss became {shown(loss)} in {where}"
        return blame("E0701", title, graph, inputs, graph.output("loss"))
    name = next(iter(spoilt))
    what = "nan" if np.isnan(spoilt[name]).any() else "infinite"
    target = update_of(graph, name)
    assert target is not None, f"{name} changed, and no output of {graph.name} updates it"
    return blame("E0701", f"`{name}` became {what} in the update of {where}", graph, inputs, target)


def _listed(names: list[str]) -> str:
    return f"`{names[0]}`" if len(names) == 1 else f"`{names[0]}` and {len(names) - 1} more"
