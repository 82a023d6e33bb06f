"""Planned memory, held against what NumPy allocates."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.targets.numpy import sharing
from runtime.amounts import bytes_text, parse_bytes
from runtime.programs import visible
from runtime.programs.predict import Predictor
from runtime.programs.project import project_of_text
from runtime.training.job import Changes, Job, make_job
from runtime.training.planning import inference_sizes, plan_inference, plan_training, training_sizes

RNG = np.random.default_rng(0)
IMAGES = {"x": RNG.integers(0, 255, (64, 16, 16)).astype(np.uint8), "y": RNG.integers(0, 10, 64)}
SERIES = {"x": RNG.normal(size=(64, 40, 8)).astype(np.float32), "y": RNG.normal(size=(64, 1)).astype(np.float32)}
TOKENS = {"x": RNG.integers(0, 30, (32, 24)), "y": RNG.integers(0, 30, (32, 24))}
CONV = """
model Net(x: u8[N, 16, 16]) -> f32[N, 10] {
    cast(f32) / 255 -> reshape(1, 16, 16)
    conv(16, 3, pad=same) -> NORM relu -> max_pool(2) -> conv(32, 3, pad=same) -> relu
    flatten -> dense(64) -> relu -> dropout(0.3) -> dense(10)
}
train net(x: u8[N, 16, 16], y: i64[N]) {
    minimize cross_entropy(Net(x), y) with adam
    measure accuracy(Net(x), y)
    validate 50%
    epochs 1
    SETTINGS
}
"""
LSTM = """
model Net(x: f32[N, T, 8]) -> f32[N, 1] { lstm(64) -> dense(1) }
train net(x: f32[N, T <= 40, 8], y: f32[N, 1]) { minimize mse(Net(x), y) with adam; batch 16; epochs 1; stop loss }
"""
GPT = """
model Net(x: i64[N, T <= 24]) -> f32[N, T, 30] {
    embed(30, 64) -> position(24)
    repeat 2 {
        residual { layer_norm -> attention(4, causal=true) -> dropout(0.1) }
        residual { layer_norm -> dense(256) -> gelu -> dense(64) }
    }
    layer_norm -> dense(30)
}
train net(x: i64[N, T <= 24], y: i64[N, T]) {
    minimize cross_entropy(Net(x), y) with adamw; batch 16; epochs 1; average 0.99
}
"""

# The generator's step reads nothing of x.
TWO = """
model Maker(noise: f32[N, 8]) -> f32[N, 16, 16] { dense(256) -> tanh -> reshape(16, 16) }
model Judge(x: f32[N, 16, 16]) -> f32[N, 1] { flatten -> dense(64) -> relu -> dense(1) }
train both(x: f32[N, 16, 16], y: f32[N, 8]) {
    made = Maker(y)
    minimize bce(Judge(x), 1) + bce(Judge(stop_gradient(made)), 0) over Judge with adam
    minimize bce(Judge(made), 1) over Maker with adam
    batch 32
    epochs 1
}
"""
PAIRS = {"x": RNG.normal(size=(64, 16, 16)).astype(np.float32), "y": RNG.normal(size=(64, 8)).astype(np.float32)}


def conv(settings: str, norm: str = "") -> str:
    return CONV.replace("SETTINGS", settings).replace("NORM", norm)


PROGRAMS: dict[str, tuple[str, Any]] = {
    "conv": (conv("batch 32"), IMAGES),
    "batch norm": (conv("batch 32", "batch_norm ->"), IMAGES),
    "many channels": (conv("batch 32").replace("conv(16", "conv(48").replace("conv(32", "conv(48"), IMAGES),
    "accumulate": (conv("batch 8; accumulate 4"), IMAGES),
    "lstm": (LSTM, SERIES),
    "gpt": (GPT, TOKENS),
}


def job_of(name: str) -> Job:
    text, arrays = PROGRAMS[name]
    return make_job(project_of_text(text, Path()), None, Changes(data=arrays))


def most_allocated(make: Callable[[], Callable[[], object]]) -> int:
    """The bytes of the arrays that there are at most while what ``make`` gives runs, once it has run before. What
    Python's own objects take, such as the code of a module, is left out."""
    gc.collect()
    tracemalloc.start()
    try:
        run = make()
        run()
        gc.collect()
        only = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
        held = sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([only]).traces)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        run()
        return held + tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.fixture
def all_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory comes from the system past NumPy, as tracemalloc would not see it."""
    monkeypatch.setattr(visible._memory, "take", lambda size: np.empty(size, np.uint8))


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_step_may_take_what_it_does_not_read(in_parts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "LEAST_WORK", dict.fromkeys((4, 2), 1 if in_parts else 10**15))
    program = make_job(project_of_text(TWO, Path()), None, Changes(data=PAIRS)).program
    assert plan_training(program, training_sizes(program)).total > 0


@pytest.mark.usefixtures("all_traced")
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("in_parts", [False, True])
def test_training_takes_what_was_planned(name: str, in_parts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "LEAST_WORK", dict.fromkeys((4, 2), 1 if in_parts else 10**15))
    job = job_of(name)
    splits = job.prepare()
    plan = plan_training(job.program, training_sizes(job.program))
    taken = most_allocated(lambda: job.trainer(splits)._round)
    assert plan.total == pytest.approx(taken, rel=0.2)


@pytest.mark.parametrize("name", PROGRAMS)
def test_inference_takes_what_was_planned(name: str) -> None:
    job = job_of(name)
    model = job.project.model()
    fresh = job.trainer(job.prepare()).weights
    inputs = {"x": np.ascontiguousarray(np.resize(PROGRAMS[name][1]["x"], (24, *PROGRAMS[name][1]["x"].shape[1:])))}
    sizes = inference_sizes(model, 24)
    plan = plan_inference(model, sizes | {"T": inputs["x"].shape[1]} if "T" in sizes else sizes)

    def make() -> Callable[[], object]:
        predictor = Predictor(model, {name: weight.copy() for name, weight in fresh.items()})
        return lambda: predictor.predict(inputs)

    assert plan.total - inputs["x"].nbytes == pytest.approx(most_allocated(make), rel=0.2)


def test_a_last_batch_takes_memory_of_its_own() -> None:
    program = job_of("conv").program
    sizes = training_sizes(program)
    whole, again = plan_training(program, sizes), plan_training(program, sizes, 17)
    assert whole.total < again.total < 2 * whole.total
    assert plan_training(program, sizes, 32) == whole


def test_sizes_that_are_not_the_batch() -> None:
    text = """
    model Net(tokens: u8[N, T]) -> f32[N, T, 256] { cast(i64) -> embed(256, 4) -> dense(256) }
    train net(tokens: u8[N, T], targets: u8[N, T]) {
        minimize cross_entropy(Net(tokens), targets) with adam; DATA steps 3
    }
    """
    windows = project_of_text(text.replace("DATA", 'data text("some.txt", unit=bytes, window=50);'), Path()).train()
    assert training_sizes(windows, 7) == {"N": 7, "T": 50}
    assert training_sizes(project_of_text(text.replace("DATA", ""), Path()).train()) == {"N": 32, "T": 32}
    bounded = text.replace("DATA", "").replace("train net(tokens: u8[N, T]", "train net(tokens: u8[N, T <= 12]")
    assert training_sizes(project_of_text(bounded, Path()).train())["T"] == 12


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("1.5 gb", 1_500_000_000),
        ("500M", 500_000_000),
        ("800_000", 800_000),
        ("3kB", 3000),
        ("7 bytes", 7),
    ],
)
def test_amounts_of_memory(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "nan", "inf", "1e400", "2XB", "two"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    assert parse_bytes(text) is None


def test_amounts_are_shown_in_three_digits() -> None:
    assert [bytes_text(size) for size in (7, 26_312, 1_500_000_000)] == ["7 bytes", "26.3 kB", "1.5 GB"]
