"""Gradients accumulated over the batches of a step: held against the large batch, and against PyTorch."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from compiler.targets.numpy import sharing
from runtime.inspect.batch import first_batch
from runtime.inspect.overfit import overfit
from runtime.programs.project import Project
from runtime.programs.standalone import standalone
from runtime.programs.threads import VARIABLE
from runtime.training.checkpoint import load_checkpoint
from runtime.training.folder import RunFolder
from runtime.training.job import Changes, make_job
from runtime.training.loop import Interrupted, Trainer
from runtime.training.progress import Silent

RNG = np.random.default_rng(0)
# 7 samples of 57 are for validation: steps of 24 leave 2 for the last one of an epoch, in a batch that is not full.
DATA = {"x": RNG.standard_normal((57, 6)).astype(np.float32), "label": RNG.integers(0, 3, 57)}
DROPPING = "model Net(x: f32[N, 6]) -> f32[N, 3] { body: dense(16) -> relu -> dropout(0.3); head: dense(3) }\n"
PLAIN = DROPPING.replace(" -> dropout(0.3)", "")
NORMED = DROPPING.replace("dropout(0.3)", "batch_norm")
OTHER = "model Other(x: f32[N, 3]) -> f32[N, 1] { dense(4) -> tanh -> dense(1) }\n"
LOSS = "minimize cross_entropy(Net(x), label) with "
BLOCKS = {
    "plain": (PLAIN, f"{LOSS}adam(0.05)"),
    "noise": (DROPPING, "minimize cross_entropy(x -> random_noise(0.1) -> Net, label) with adam(1e-2)"),
    "draws": (DROPPING, "minimize mean(square(Net(x + normal(N, 6)) - normal(3))) with rmsprop(1e-2)"),
    "penalty": (DROPPING, "minimize cross_entropy(Net(x), label) + 1e-2 * l2(Net) with sgd(0.1, momentum=0.9)"),
    "clip": (DROPPING, f"{LOSS}sgd(0.1)\nclip 0.1\nclip_value 0.05"),
    "schedule": (DROPPING, f"{LOSS}adamw(cosine(1e-2, warmup=3), weight_decay=0.1)\naverage 0.8"),
    "plateau": (DROPPING, f"{LOSS}sgd(plateau(0.3, 0.5, 0, threshold=0.5))"),
    "frozen": (DROPPING, f"freeze Net.body\n{LOSS}lamb(1e-2)"),
    "turns": (
        f"{DROPPING}{OTHER}",
        "made = Net(x) + normal(N, 3)\n"
        "minimize mean(square(Other(stop_gradient(made)) - 1)) over Other with adam(1e-2)\n"
        "minimize mean(Other(made)) over Net with lion(1e-3) every 2",
    ),
}
KEPT = ("weights.safetensors", "checkpoint.safetensors", "history.csv")


def trainer(
    blocks: tuple[str, str], batch: int, accumulate: int = 1, *, data: Any = DATA, epochs: int = 4, **named: Any
) -> Trainer:
    models, block = blocks
    settings = f"batch {batch}\naccumulate {accumulate}\nvalidate 12%\nepochs {epochs}"
    text = f"{models}train net(x: f32[N, 6], label: i64[N]) {{\n{block}\nmeasure middle = mean(Net(x))\n{settings}\n}}"
    job = make_job(Project(compiler.check(Source("net.dl", text)), Path()), changes=Changes(data=data))
    return job.trainer(job.prepare(), **named)


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("batch", [8, 12])
def test_a_step_of_several_batches_is_that_of_a_large_one(name: str, batch: int) -> None:
    large, parts = trainer(BLOCKS[name], 24), trainer(BLOCKS[name], batch, 24 // batch)
    expected, found = large.fit(), parts.fit()
    assert [row.step for row in found] == [row.step for row in expected] == [3, 6, 9, 12]
    for figure in expected.names:
        np.testing.assert_allclose(found[figure], expected[figure], rtol=1e-4, atol=1e-5, err_msg=figure)
    for weight, array in large.kept.items():
        np.testing.assert_allclose(parts.kept[weight], array, rtol=1e-3, atol=2e-5, err_msg=weight)


def test_it_is_what_pytorch_accumulates() -> None:
    torch = pytest.importorskip("torch")
    made = trainer(BLOCKS["plain"], 8, 3, epochs=2)
    start = {name: torch.tensor(array, requires_grad=True) for name, array in made.weights.items()}
    optimizer = torch.optim.Adam(start.values(), lr=0.05)
    for step in range(6):
        inputs = made._batches.at(1 + step // 3, step % 3)
        x, label = torch.tensor(inputs["x"]), torch.tensor(inputs["label"])
        for begin in range(0, len(x), 8):
            hidden = x[begin : begin + 8] @ start["Net.body.dense.weight"] + start["Net.body.dense.bias"]
            scores = torch.relu(hidden) @ start["Net.head.dense.weight"] + start["Net.head.dense.bias"]
            loss = torch.nn.functional.cross_entropy(scores, label[begin : begin + 8])
            (loss * len(scores) / len(x)).backward()
        optimizer.step()
        optimizer.zero_grad()
    made.fit()
    for name, expected in start.items():
        np.testing.assert_allclose(made.weights[name], expected.detach().numpy(), rtol=1e-3, atol=1e-5)


def test_norms_see_each_batch_by_itself() -> None:
    made = trainer((NORMED, f"{LOSS}sgd(0.1)"), 25, 2, epochs=1)
    inputs = {name: array.copy() for name, array in made._batches.at(1, 0).items()}
    weight, bias = (made.weights[f"Net.body.dense.{name}"].copy() for name in ("weight", "bias"))
    made._step()
    running = np.zeros(16)
    for part in (inputs["x"][:25], inputs["x"][25:]):
        running = 0.9 * running + 0.1 * np.maximum(part @ weight + bias, 0).mean(0)
    np.testing.assert_allclose(made.kept["Net.body.batch_norm.running_mean"], running, rtol=1e-4)


@pytest.mark.parametrize("name", ["noise", "schedule", "turns"])
@pytest.mark.parametrize("after", [1, 5, 9])
def test_a_run_that_was_stopped_ends_as_if_it_had_not(name: str, after: int, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "whole", "net") as run:
        trainer(BLOCKS[name], 8, 3, run=run).fit()

    class Stop(Silent):
        left = after

        def advance(self, samples: int, figures: object) -> None:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)

    with RunFolder(tmp_path / "parts", "net") as run:
        with pytest.raises(Interrupted):
            trainer(BLOCKS[name], 8, 3, run=run, progress=Stop()).fit()
        trainer(BLOCKS[name], 8, 3, run=run, resume=True).fit()
    for file in KEPT:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


def test_sums_of_gradients_are_in_no_checkpoint(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "parts", "net") as run:
        trainer(BLOCKS["plain"], 8, 3, run=run).fit()
        found = load_checkpoint(run.checkpoint).kept
    with RunFolder(tmp_path / "whole", "net") as run:
        trainer(BLOCKS["plain"], 24, run=run).fit()
        assert set(load_checkpoint(run.checkpoint).kept) == set(found)
        # So a run may go on with another number of batches in its steps.
        assert len(trainer(BLOCKS["plain"], 12, 2, epochs=6, run=run, resume=True).fit()) == 6


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "LEAST_WORK", {4: 1, 2: 1})
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv(VARIABLE, threads)
        made = trainer(BLOCKS["noise"], 8, 3)
        assert "in_parts" in made.engine._signatures["step0"]  # type: ignore[attr-defined]
        made.fit()
        found.append({name: array.tobytes() for name, array in made.kept.items()})
    assert found[0] == found[1]
    monkeypatch.undo()
    whole = trainer(BLOCKS["noise"], 24)
    whole.fit()
    for name, array in whole.weights.items():
        np.testing.assert_allclose(made.weights[name], array, rtol=1e-3, atol=2e-5)


def test_a_step_with_a_bad_batch_is_found_and_undone(tmp_path: Path) -> None:
    bad = DATA["x"].copy()
    bad[:40, 2] = 3e38
    made = trainer((DROPPING, "minimize mean(exp(Net(x))) with sgd(0.1)"), 8, 3, data={**DATA, "x": bad})
    before = {name: array.tobytes() for name, array in made.kept.items()}
    with pytest.raises(DiagnosticError) as failed:
        made.fit()
    assert "in step 1 (epoch 1, batch 1 of 3)" in str(failed.value)
    assert {name: array.tobytes() for name, array in made.kept.items()} == before


def test_the_command_line_goes_before_the_block() -> None:
    text = f"{PLAIN}train net(x: f32[N, 6], label: i64[N]) {{ {LOSS}adam; batch 8; epochs 2 }}"
    project = Project(compiler.check(Source("net.dl", text)), Path())
    job = make_job(project, changes=Changes(data=DATA, accumulate=3))
    assert (job.program.settings.samples, len(job.program.updates)) == (24, 1)
    assert len(job.trainer(job.prepare()).fit().rows) == 2
    assert job.changes.statements(job.program.settings, Path(), Path()) == {"accumulate": "accumulate 3"}
    assert not make_job(project, changes=Changes(data=DATA)).program.updates


def test_a_file_of_its_own_makes_the_step_of_all_samples() -> None:
    text = f"{PLAIN}train net(x: f32[N, 6], label: i64[N]) {{ {LOSS}adam(0.05); batch 8; accumulate 3; epochs 1 }}"
    project = Project(compiler.check(Source("net.dl", text)), Path())
    module: dict[str, Any] = {}
    exec(standalone(project), module)
    made = make_job(project, changes=Changes(data=DATA))
    trainer = made.trainer(made.prepare())
    inputs = {name: array.copy() for name, array in trainer._batches.at(1, 0).items()}
    kept = {name: np.array(array) for name, array in module["bind_initial"]({"seed": np.array(0)})().items()}
    module["bind_step0"](kept, 24)(inputs["x"], inputs["label"])
    trainer._step()
    for name, array in trainer.weights.items():
        np.testing.assert_allclose(kept[name], array, rtol=1e-4, atol=1e-6)


def test_overfitting_takes_every_step_by_itself() -> None:
    text = f"{PLAIN}train net(x: f32[N, 6], label: i64[N]) {{ {LOSS}adam(0.05); accumulate 3\n"
    text += "validate 20% every 50; epochs 1 }"
    made = make_job(Project(compiler.check(Source("net.dl", text)), Path()), changes=Changes(data=DATA))
    assert len(overfit(made, first_batch(made, 8), 30).losses) == 30
