"""Profiles: the same numbers as without, every second in its place, the places those of the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import compiler
from runtime.inspect.profile import Profiler, make_profile, profiled
from runtime.programs.project import project_of_text
from runtime.training.job import Changes, Job, make_job

TEXT = """\
block Unit(x: [N, C], units) {
    dense(units) -> relu
}

model Net(x: f32[N, 4]) -> f32[N, 2] {
    body: Unit(64)
    head: dense(2)
}

train net(x: f32[N, 4], y: i64[N]) {
    minimize cross_entropy(Net(x), y) with adam
    validate 20%
    batch 8
    epochs 2
}
"""


class Clock:
    """A second passes whenever somebody looks."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def job() -> Job:
    rng = np.random.default_rng(0)
    data: dict[str, Any] = {"x": rng.normal(size=(50, 4)).astype(np.float32), "y": rng.integers(0, 2, 50)}
    return make_job(project_of_text(TEXT, Path()), None, Changes(data=data))


def test_every_second_is_somewhere() -> None:
    clock = Clock()
    profiler = Profiler(clock)
    made = profiled(job(), profiler)
    trainer = made.trainer(made.prepare())
    profiler.start()
    before = clock.now
    trainer.fit()
    profiler.stop()
    found = make_profile(made, profiler, trainer.splits.train)
    assert found.total == clock.now - before
    lines = {line.line: line for line in found.lines}
    assert {2, 7, 11} <= lines.keys() <= {0, 2, 6, 7, 11}
    assert lines[2].text == "dense(units) -> relu"
    assert set(lines[2].seconds) == {"forward", "backward", "update", "validation"}
    # 5 batches and 2 of validation in each of 2 epochs; what runs more often takes longer by this clock.
    assert lines[2].seconds["validation"] * 5 <= lines[2].seconds["forward"] * 2
    assert found.outside > 0
    # x @ w + b, over which relu and the gradients are written, and where it is above 0: 8 samples of 64 units in f32.
    assert lines[2].bytes >= 8 * 64 * (4 + 1)


def test_the_numbers_are_the_same() -> None:
    plain, timed = job(), profiled(job(), Profiler())
    weights = []
    for made in (plain, timed):
        trainer = made.trainer(made.prepare())
        trainer.fit()
        weights.append({name: array.tobytes() for name, array in trainer.weights.items()})
    assert weights[0] == weights[1]


def test_only_a_timed_module_tells_where_it_is() -> None:
    program = job().program
    assert "_enter" not in compiler.train_module(program)
    text = compiler.numpy_module(program.graphs, "t", timed=True)
    assert '_enter("step0", "<text>:2: dense(units) -> relu")' in text.replace("./<text>", "<text>").replace("'", '"')


SERIES = """\
model Net(x: f32[N, T, 3]) -> f32[N, 1] {
    lstm(8) -> batch_norm
    dense(1)
}
train net(x: f32[N, T, 3], y: f32[N, 1]) {
    minimize mse(Net(x), y) with adam(cosine(1e-2))
    batch 8; accumulate 2; epochs 2
    average 0.9; clip 1.0
}
"""


def test_of_steps_of_several_batches_and_of_sizes_that_the_data_has() -> None:
    rng, clock = np.random.default_rng(0), Clock()
    data = {"x": rng.normal(size=(40, 7, 3)).astype(np.float32), "y": rng.normal(size=(40, 1)).astype(np.float32)}
    profiler = Profiler(clock)
    made = profiled(make_job(project_of_text(SERIES, Path()), None, Changes(data=data)), profiler)
    trainer = made.trainer(made.prepare())
    profiler.start()
    before = clock.now
    trainer.fit()
    profiler.stop()
    found = make_profile(made, profiler, trainer.splits.train)
    assert found.total == clock.now - before
    assert all("validation" not in line.seconds for line in found.lines)
    lines = {line.line: line for line in found.lines}
    assert set(lines[3].seconds) == {"forward", "backward", "update"}
    # The sequence that lstm gives, for 8 samples of 7 steps.
    assert lines[2].bytes >= 8 * 7 * 8 * 4
