"""Graphs in stages: in parts, in whatever order these run, they compute what the graph does, always the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import Source
from compiler.ir.graph import Origin
from compiler.ir.types import DType, TensorType
from compiler.ir.verify import verify
from compiler.ops import Emit
from compiler.program import TrainProgram
from compiler.targets.numpy import flat, sharing, staged, stages

F32_TABLE, INDEX = TensorType(DType.F32, (5, 2)), TensorType(DType.I64, (3,))
ROOT = Path(__file__).parents[4]
IMAGES = """
block Unit(x: [N, C, H, W], channels) { conv(channels, 3, pad=same) -> batch_norm -> relu }
model Net(x: f32[N, 1, 6, 6]) -> f32[N, 3] { Unit(4) -> Unit(4) -> max_pool(2) -> flatten -> dropout(0.3) -> dense(3) }
train t(x: f32[N, 1, 6, 6], label: i64[N]) {
    logits = Net(x)
    minimize cross_entropy(logits, label) + 0.1 * l2(Net) with sgd(0.1)
    measure accuracy(logits, label)
    clip 0.5
}
"""
SEQUENCES = """
model Net(x: f32[N, T, 3], lengths: i64[N]) -> f32[N, 3] {
    x -> lstm(5, lengths=lengths, bidirectional=true, sequence=true) -> gru(4, sequence=true)
    rnn(4, sequence=false) -> layer_norm -> dense(3)
}
train t(x: f32[N, T, 3], lengths: i64[N], label: i64[N]) {
    minimize cross_entropy(Net(x, lengths), label) with sgd(0.1)
}
"""
TEXTS = """
import std.transformer
model Net(x: i64[N, T <= 9]) -> f32[N, 3] {
    embed(7, 8) -> position(9) -> EncoderBlock(2, drop=0.2, causal=true) -> mean(1) -> dense(3)
}
train t(x: i64[N, T <= 9], label: i64[N]) { minimize cross_entropy(Net(x), label) with sgd(0.1) }
"""
MIXING = """
model Net(x: f32[N, 4]) -> f32[N, 3] { x - mean(x, 0) -> dense(5) -> tanh -> dense(3) }
train t(x: f32[N, 4], label: i64[N]) {
    logits = Net(x)
    minimize cross_entropy(logits, label) + 0.1 * mean(abs(logits @ transpose(logits))) with sgd(0.1)
}
"""
DRAWN = """
model Net(x: f32[N, T, 4]) -> f32[N, T, 3] { dense(5) -> tanh -> dropout(0.1) -> dense(3) }
train t(x: f32[N, T, 4]) { minimize mean(square(Net(normal(N, T, 4)))) with sgd(0.1) }
"""
CHANNELS = """
model Net(x: f32[N, 1, 8, 8]) -> f32[N, 3] {
    conv(48, 3, pad=same) -> relu -> conv(48, 3, pad=same) -> batch_norm -> relu -> flatten -> dense(3)
}
train t(x: f32[N, 1, 8, 8], label: i64[N]) { minimize cross_entropy(Net(x), label) with sgd(0.1) }
"""
FROZEN = IMAGES.replace("clip 0.5", "freeze Net.Unit.conv, Net.Unit_2.conv").replace("-> dropout(0.3)", "")
PROGRAMS = {
    "images": IMAGES,
    "channels": CHANNELS,
    "frozen": FROZEN,
    "sequences": SEQUENCES,
    "texts": TEXTS,
    "mixing": MIXING,
    "drawn": DRAWN,
}
Share = Callable[[Sequence[Callable[[], object]], int], Callable[[], None]]


def backwards(tasks: Sequence[Callable[[], object]], work: int) -> Callable[[], None]:
    def call() -> None:
        for task in reversed(tasks):
            task()

    return call


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any work pays for parts."""
    monkeypatch.setattr(sharing, "LEAST_WORK", {4: 1, 2: 1})


def program_of(text: str) -> TrainProgram:
    return compiler.compile_train(compiler.check(Source("test.dl", text)), "t")


def module_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(text, found)
    return found


def kept_for(module: dict[str, Any]) -> dict[str, np.ndarray]:
    fresh = module["bind_initial"]({"seed": np.array(3)})()
    return {
        "seed": np.array(3),
        "step": np.array(0),
        **{name: np.array(array, order="C") for name, array in fresh.items()},
    }


def arrays(module: dict[str, Any], size: int, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    made = []
    for name, (dtype, shape) in module["SIGNATURES"]["step0"]["inputs"].items():
        sizes = [dim if isinstance(dim, int) else {"N": size, "T": 6}[dim] for dim in shape]
        if dtype == "float32":
            made.append(random.normal(size=sizes).astype(dtype))
        else:
            made.append(random.integers(1 if name == "lengths" else 0, 3, sizes).astype(dtype))
    return made


def train(
    text: str, size: int, share: Share | None = None, steps: int = 3
) -> tuple[dict[str, np.ndarray], list[float]]:
    """The arrays that are kept after some steps, and the losses on the way."""
    module = module_of(text)
    kept = kept_for(module)
    sizes = [{"N": size, "T": 6}[name] for name in module["SIGNATURES"]["step0"]["sizes"]]
    step = module["bind_step0"](kept, *sizes, **({} if share is None else {"share": share}))
    with np.errstate(all="ignore"):
        losses = [float(step(*arrays(module, size, number))["loss"]) for number in range(steps)]
    return kept, losses


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("size", [2, 3, 4, 7, 8])
def test_parts_compute_what_the_whole_does(name: str, size: int) -> None:
    program = program_of(PROGRAMS[name])
    whole, losses = train(compiler.numpy_module(program.graphs, "test"), size)
    parted, same = train(compiler.train_module(program), size)
    assert same == pytest.approx(losses, rel=1e-5)
    for key, array in whole.items():
        np.testing.assert_allclose(parted[key], array, rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_order_of_parts_changes_no_bit(name: str) -> None:
    text = compiler.train_module(program_of(PROGRAMS[name]))
    first, losses = train(text, 7)
    second, same = train(text, 7, backwards)
    assert losses == same
    assert all(first[key].tobytes() == second[key].tobytes() for key in first)


def test_parts_run_each_in_its_own_stage() -> None:
    program = program_of(IMAGES)
    staged = stages.in_stages(program.steps[0], "N", 8)
    assert staged is not None
    for stage in staged.stages:
        verify(stage.graph)
    first = next(stage.graph for stage in staged.stages if stage.in_parts)
    assert [node.operation.opcode for node in first.nodes if node.operation.opcode in ("conv", "conv_weight")] == [
        "conv"
    ]
    updated = {output.updates for stage in staged.stages[:-1] for output in stage.graph.outputs}
    assert updated == {None}
    assert not staged.stages[-1].in_parts


REPEATED = """
model Net(x: f32[N, 4]) -> f32[N, 3] { repeat LAYERS { dense(4) -> batch_norm -> relu } -> dense(3) }
train t(x: f32[N, 4], label: i64[N]) { minimize cross_entropy(Net(x), label) with sgd(0.1, momentum=0.9) }
"""


def test_stages_that_do_the_same_are_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def counts(layers: int) -> tuple[int, int]:
        made = stages.in_stages(program_of(REPEATED.replace("LAYERS", str(layers))).steps[0], "N", 8)
        assert made is not None
        return len(made.stages), len({stage.graph for stage in made.stages})

    # Whatever is not next to an end of the chain is there once.
    assert [counts(layers) for layers in (5, 6, 9)] == [(32, 12), (38, 12), (56, 12)]
    program = program_of(REPEATED.replace("LAYERS", "5"))
    kept, losses = train(compiler.train_module(program), 8)
    monkeypatch.setattr(stages, "_alike", tuple)
    apart, others = train(compiler.train_module(program), 8)
    assert losses == others
    assert all(kept[key].tobytes() == apart[key].tobytes() for key in apart)
    # Each layer has come to weights of its own.
    weights = [apart[f"Net.repeat.{layer}.dense.weight"] for layer in range(5)]
    assert not any(np.array_equal(a, b) for a, b in pairwise(weights))


def test_stages_that_complain_of_different_places_are_not_one_function() -> None:
    def picking(scope: str) -> stages.Stage:
        b = Emit("pick")
        table, index = (b.input(f"{scope} {name}", type) for name, type in (("table", F32_TABLE), ("index", INDEX)))
        with b.at(Origin(scope=scope)):
            b.output(f"{scope} picked", b.gather(table, index))
        return stages.Stage(b.finish(), in_parts=False)

    first, second, again = stages._alike([picking("Net.a"), picking("Net.b"), picking("Net.a")])
    assert first.graph is again.graph
    assert first.graph is not second.graph


def test_convolutions_of_many_channels_are_short_ones_in_parts_too() -> None:
    assert "short_conv_weight(" in compiler.train_module(program_of(CHANNELS))


def test_a_network_without_exchange_has_one_stage_in_parts() -> None:
    staged = stages.in_stages(program_of(TEXTS).steps[0], "N", 8)
    assert staged is not None
    assert sum(stage.in_parts for stage in staged.stages) == 1


def test_a_matrix_too_large_for_few_samples_is_multiplied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    model Net(x: f32[N, 40]) -> f32[N, 3] { tanh -> dense(50, bias=false) -> tanh -> dense(3, bias=false) }
    train t(x: f32[N, 40], label: i64[N]) { minimize cross_entropy(Net(x), label) with sgd(0.1) }
    """
    program = program_of(text)
    before, _ = train(compiler.train_module(program), 8)
    monkeypatch.setattr(flat, "_READ", 500)
    monkeypatch.setattr(flat, "_ADDED", 500)
    made = stages.in_stages(program.steps[0], "N", 8)
    assert made is not None
    kinds = {"matmul", "linear", "transposed_matmul"}
    nodes = [(stage.in_parts, node) for stage in made.stages for node in stage.graph.nodes]
    products = [in_parts for in_parts, node in nodes if node.operation.opcode in kinds]
    # The large weight is met by x and by the gradient; nothing goes back to x.
    assert sorted(products) == [False, False, True, True, True]
    after, _ = train(compiler.train_module(program), 8)
    for key, array in before.items():
        np.testing.assert_allclose(after[key], array, rtol=1e-4, atol=1e-5, err_msg=key)


def test_the_parts_of_a_batch_are_a_power_of_two() -> None:
    found: dict[str, Any] = {}
    exec("import numpy as np\n" + staged.CUT_BATCH, found)
    counts = {4: 10, 2: 3}
    cuts = {
        size: [place.stop - place.start for place, _ in found["cut_batch"](size, counts)]
        for size in (5, 6, 39, 42, 400)
    }
    assert cuts == {5: [5], 6: [3, 3], 39: [19, 20], 42: [10, 11, 10, 11], 400: [100] * 4}
    for size, parts in cuts.items():
        assert stages.Staged(None, "N", 0, 0, counts, (), {}, {}, {}, ()).part_sizes(size) == parts  # type: ignore[arg-type]


def test_dropout_is_that_of_the_whole_batch() -> None:
    text = """
    model Net(x: f32[N, 6]) -> f32[N, 6] { dropout(0.5) -> dense(6, bias=false) }
    train t(x: f32[N, 6], label: f32[N, 6]) { minimize mse(Net(x), label) with sgd(1.0) }
    """
    program = program_of(text)
    whole, _ = train(compiler.numpy_module(program.graphs, "test"), 8, steps=1)
    parted, _ = train(compiler.train_module(program), 8, steps=1)
    np.testing.assert_allclose(parted["Net.dense.weight"], whole["Net.dense.weight"], rtol=1e-5, atol=1e-6)


def test_sizes_that_a_batch_norm_refuses_are_refused() -> None:
    text = """
    model Net(x: f32[N, 4]) -> f32[N, 3] { dense(8) -> batch_norm -> dense(3) }
    train t(x: f32[N, 4], label: i64[N]) { minimize cross_entropy(Net(x), label) with sgd(0.1) }
    """
    module = module_of(compiler.train_module(program_of(text)))
    assert module["SIGNATURES"]["step0"]["in_parts"]
    with pytest.raises(ValueError, match="training takes two values of each channel or more"):
        module["bind_step0"](kept_for(module), 1)


def test_small_networks_run_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    path = ROOT / "examples" / "digits.dl"
    checked = compiler.check(Source(str(path), path.read_text(encoding="utf-8")))
    assert '"in_parts": True' not in compiler.train_module(compiler.compile_train(checked, "digits"))
