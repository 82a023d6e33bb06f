"""Augmentation: what it makes of images while training, that it repeats itself, and that evaluation is without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

import compiler
from compiler import Checked
from compiler.diagnostics import Source
from compiler.front.catalogue.entry import entries
from compiler.front.catalogue.mixing import larger_shares
from compiler.front.catalogue.warping import similarity
from compiler.front.trace import Trace
from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Output
from compiler.ir.types import DType, TensorType
from compiler.ops.base import Array
from compiler.ops.interpret import interpret_outputs
from runtime.programs.engine import Engine

Augment: TypeAlias = Callable[..., dict[str, Array]]

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 6, 5)).astype(np.uint8)
COLOUR = np.random.default_rng(1).normal(size=(64, 3, 6, 6)).astype(np.float32)
# Every augmentation of images, in a use that changes something.
STAGES = (
    "random_flip", "random_shift(2)", "random_crop((6, 5), pad=2)", "random_rotate(40)", "random_scale", "cutout(3)",
    "random_brightness", "random_contrast", "random_noise(3)", "mixup(4)",
)  # fmt: skip


def block(stages: str, type: str, seen: str = "") -> Checked:
    before = "(x, label)" if "mixup" in stages else "x"
    text = f"""
        model Net(x: {seen or type}) -> f32[N, 4] {{ cast(f32) -> flatten -> dense(4) }}
        train net(x: {type}, label: i64[N]) {{
            changed = {before} -> {stages}
            image = {"changed[0]" if "mixup" in stages else "changed"}
            minimize cross_entropy(Net(image), {"changed[1]" if "mixup" in stages else "label"}) with adam
        }}
    """
    return compiler.check(Source("test.dl", text))


def run(
    stages: str, x: Array, *, seed: int = 0, step: int = 0, label: Array | None = None, seen: str = ""
) -> dict[str, Array]:
    """What the augmentation of a train block makes of a batch, by the names of its inputs; ``seen`` is the type of it
    where that is another."""
    type = f"{DType.of(x.dtype)}[{', '.join(['N', *map(str, x.shape[1:])])}]"
    graph = compiler.augmented_graph(block(stages, type, seen), "net")
    engine = Engine(compiler.numpy_module([graph], "test"), {"seed": np.array(seed), "step": np.array(step)})
    inputs = {"x": x, "label": np.zeros(len(x), np.int64) if label is None else label}
    return {name: array.copy() for name, array in engine.call("augmented", inputs).items()}


def image(stages: str, x: Array, **states: Any) -> Array:
    return run(stages, x, **states)["x"]


def test_the_stages_here_are_all_that_there_are() -> None:
    known = {name for name, entry in entries("augmentation").items() if entry.kind == "augmentation"}
    assert {stage.partition("(")[0] for stage in STAGES} == known


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_seed_gives_the_same_images_and_each_step_others(stage: str) -> None:
    first = image(stage, IMAGES, seed=3, step=7)
    assert first.dtype == IMAGES.dtype
    assert first.shape == IMAGES.shape
    np.testing.assert_array_equal(image(stage, IMAGES, seed=3, step=7), first)
    assert not np.array_equal(first, IMAGES)
    for other in ({"seed": 4, "step": 7}, {"seed": 3, "step": 8}):
        assert not np.array_equal(image(stage, IMAGES, **other), first)


@pytest.mark.parametrize("stage", STAGES)
def test_evaluation_is_without_augmentation(stage: str) -> None:
    evaluate = block(stage, "u8[N, 6, 5]").elaborated.trains["net"].evaluate
    opcodes = {node.operation.opcode for node in evaluate.nodes}
    assert not opcodes & {"random_uniform", "random_bits", "crop_each", "flip_each", "gather", "round"}
    assert "seed" not in {item.name for item in evaluate.inputs}


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "random_noise(3)"])
def test_channels_of_a_sample_change_together(stage: str) -> None:
    sample = np.repeat(IMAGES[:, None], 3, axis=1)
    changed = image(stage, sample)
    assert changed.shape == sample.shape
    np.testing.assert_array_equal(changed[:, 0], changed[:, 1])
    np.testing.assert_array_equal(changed[:, 0], image(stage, IMAGES))


def test_flip_turns_half_of_the_images() -> None:
    turned = image("random_flip", IMAGES)
    kept = [bool((a == b).all()) for a, b in zip(IMAGES, turned, strict=True)]
    assert 16 < sum(kept) < 48
    for keep, before, after in zip(kept, IMAGES, turned, strict=True):
        np.testing.assert_array_equal(after, before if keep else before[:, ::-1])
    np.testing.assert_array_equal(image("random_flip(axis=vertical, chance=1.0)", IMAGES), IMAGES[:, ::-1])
    np.testing.assert_array_equal(image("random_flip(chance=1.0)", COLOUR), COLOUR[..., ::-1])


@pytest.mark.parametrize(("outside", "mode"), [("constant", "constant"), ("edge", "edge"), ("reflect", "reflect")])
def test_shift_moves_by_every_distance(outside: str, mode: Any) -> None:
    shifted = image(f"random_shift((2, 1), outside={outside})", IMAGES)
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (1, 1)), mode)
    found = set()
    for before, after in zip(padded, shifted, strict=True):
        places = [(y, x) for y in range(5) for x in range(3) if np.array_equal(before[y : y + 6, x : x + 5], after)]
        assert len(places) == 1
        found.add(places[0])
    assert {y for y, _ in found} == set(range(5))
    assert {x for _, x in found} == set(range(3))


def test_crop_cuts_windows_and_evaluation_the_middle() -> None:
    cropped = image("random_crop((4, 3))", IMAGES, seen="u8[N, 4, 3]")
    for before, after in zip(IMAGES, cropped, strict=True):
        windows = [before[y : y + 4, x : x + 3] for y in range(3) for x in range(3)]
        assert any(np.array_equal(window, after) for window in windows)
    graph = block("random_crop((4, 3))", "u8[N, 6, 5]", "u8[N, 4, 3]").elaborated.trains["net"].evaluate
    (cut,) = [node for node in graph.nodes if node.operation.opcode == "slice"]
    alone = Graph("cut", graph.inputs[:1], graph.nodes[:2], (Output("y", cut.output),))
    np.testing.assert_array_equal(interpret_outputs(alone, {"x": IMAGES})["y"][:, 0], IMAGES[:, 1:5, 1:4])


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_turned_and_stretched_images_are_those_of_grid_sample(mode: str) -> None:
    torch = pytest.importorskip("torch")
    along, across = np.float32([1, 0.31, 1.43, -0.93]), np.float32([0, 0.83, 0.11, 0.47])
    x = COLOUR[:4, :, :, :5].copy()
    trace = Trace("t", training=True, has_state=True)
    values = [
        trace.b.input(name, TensorType(DType.F32, (symbol("N"), *shape)))
        for name, shape in (("x", (3, 6, 5)), ("p", ()), ("q", ()))
    ]
    trace.b.output("y", similarity(trace, *values, mode, 0.0))
    engine = Engine(compiler.numpy_module([trace.b.finish()], "t"), {})
    found = engine.call("t", {"x": x, "p": along, "q": across})["y"]
    dy, dx = np.meshgrid(np.arange(6) - 2.5, np.arange(5) - 2.0, indexing="ij")
    p, q = along[:, None, None], across[:, None, None]
    grid = np.stack([(p * dx - q * dy) / 2.0, (p * dy + q * dx) / 2.5], -1).astype(np.float32)
    chosen = {"linear": "bilinear"}.get(mode, mode)
    expected = torch.nn.functional.grid_sample(torch.tensor(x), torch.tensor(grid), chosen, "zeros", align_corners=True)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_rotation_is_within_its_degrees_and_a_scale_within_its_factors() -> None:
    steps = np.tile(np.linspace(-1, 1, 21, dtype=np.float32)[:, None], (400, 1, 21))
    # The middle of a ramp along the rows has the slope cos(angle) along rows and -sin(angle) along columns.
    turned = image("random_rotate(25)", steps)
    angles = np.degrees(np.arctan2(turned[:, 10, 11] - turned[:, 10, 9], turned[:, 11, 10] - turned[:, 9, 10]))
    assert 24 < angles.max() <= 25.01
    assert -25.01 <= angles.min() < -24
    factors = 0.2 / (image("random_scale(0.5, 2.0)", steps)[:, [11, 9], 10] @ [1, -1])
    assert 0.499 < factors.min() < 0.52
    assert 1.9 < factors.max() < 2.001


def test_cutout_fills_one_square() -> None:
    full = np.ones((300, 1, 7, 8), np.float32)
    changed = image("cutout(3, value=-1)", full)[:, 0]
    sizes = set()
    for sample in changed:
        rows, columns = np.nonzero(sample == -1)
        sizes.add((np.ptp(rows) + 1, np.ptp(columns) + 1))
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert sizes == {(height, width) for height in (2, 3) for width in (2, 3)}


def test_brightness_contrast_and_noise_are_what_they_say() -> None:
    brighter = image("random_brightness(0.4)", COLOUR) / COLOUR
    np.testing.assert_allclose(brighter, np.broadcast_to(brighter[:, :1, :1, :1], brighter.shape), rtol=1e-4)
    assert 0.6 <= brighter.min() < 0.65
    assert 1.35 < brighter.max() <= 1.4001
    mean = COLOUR.mean((1, 2, 3), keepdims=True)
    stretched = (image("random_contrast(0.4)", COLOUR) - mean) / (COLOUR - mean)
    np.testing.assert_allclose(np.median(stretched, (1, 2, 3)), brighter[:, 0, 0, 0], rtol=1e-3)
    noise = image("random_noise(0.5)", COLOUR) - COLOUR
    assert abs(noise.mean()) < 0.03
    assert abs(noise.std() - 0.5) < 0.02
    assert image("random_noise(200)", IMAGES).min() == 0
    assert image("random_noise(200)", IMAGES).max() == 255


def test_mixup_mixes_targets_as_it_mixes_samples() -> None:
    label = np.arange(64) % 4
    found = run("mixup(4, alpha=1.0)", COLOUR, label=label)
    hot = np.eye(4, dtype=np.float32)[label]
    target = found["label"]
    own = target[np.arange(64), label]
    assert 0.5 <= own.min() < 0.55
    assert 0.95 < own.max() <= 1.0
    weight = own[:, None]
    np.testing.assert_allclose(target, weight * hot + (1 - weight) * np.roll(hot, 1, 0), rtol=1e-5, atol=1e-6)
    weight = own[:, None, None, None]
    np.testing.assert_allclose(found["x"], weight * COLOUR + (1 - weight) * np.roll(COLOUR, 1, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 5.0])
def test_shares_of_mixup_follow_a_beta_distribution(alpha: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    smaller = stats.beta(alpha, alpha).ppf((np.arange(4096) + 0.5) / 8192)
    np.testing.assert_allclose(larger_shares(alpha), 1 - smaller, atol=2e-5)


def test_mixed_targets_of_one_sample_are_its_own() -> None:
    found = run("mixup(4)", COLOUR[:1], label=np.array([2]))
    np.testing.assert_allclose(found["label"], [[0, 0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(found["x"], COLOUR[:1], rtol=1e-5, atol=1e-6)


def test_augmentation_passes_gradients_on() -> None:
    """A generator may learn through it: the sum of what is seen of an image has the gradient 1 where it is seen."""
    text = """
        model Net(x: f32[N, 2]) -> f32[N, 4, 4] { dense(16) -> reshape(4, 4) }
        train net(x: f32[N, 2]) { minimize mean(Net(x) -> random_shift(1) -> random_flip -> cutout(2)) with sgd(1.0) }
    """
    checked = compiler.check(Source("test.dl", text))
    program = compiler.compile_train(checked, "net")
    opcodes = [node.operation.opcode for node in program.steps[0].nodes]
    assert opcodes.count("paste_each") == 1
    assert opcodes.count("flip_each") == 2


def test_data_get_no_gradients() -> None:
    found = []
    for stages in ("random_rotate(10) -> random_shift(1)", "random_flip(chance=0)"):
        program = compiler.compile_train(block(stages, "f32[N, 6, 5]"), "net")
        opcodes = [node.operation.opcode for node in program.steps[0].nodes]
        assert "paste_each" not in opcodes
        found.append(opcodes.count("scatter_along"))
    assert found == [1, 1]  # that of the loss, which picks the score of the label


def test_two_views_of_one_input_have_names_of_their_own() -> None:
    text = """
        model Net(x: f32[N, 4, 4]) -> f32[N, 2] { flatten -> dense(2) }
        train net(x: f32[N, 4, 4]) {
            flipped = x -> random_flip
            minimize mse(flipped -> random_shift(1) -> Net, flipped -> random_shift(1) -> Net) with adam
        }
    """
    graph = compiler.augmented_graph(compiler.check(Source("test.dl", text)), "net")
    assert [output.name for output in graph.outputs] == ["x", "x_2"]
    engine = Engine(compiler.numpy_module([graph], "t"), {"seed": np.array(0), "step": np.array(0)})
    found = engine.call("augmented", {"x": COLOUR[:, 0, :4, :4].copy()})
    assert not np.array_equal(found["x"], found["x_2"])


def test_a_block_of_augmentation_may_be_called_in_a_train_block() -> None:
    text = """
        block Jitter(x: [N, H, W], pixels=1) { random_shift(pixels) -> random_flip }
        model Net(x: u8[N, 4, 4]) -> f32[N, 2] { cast(f32) -> flatten -> dense(2) }
        train net(x: u8[N, 4, 4], y: i64[N]) { minimize cross_entropy(x -> Jitter -> Net, y) with adam }
    """
    checked = compiler.check(Source("test.dl", text))
    opcodes = {node.operation.opcode for node in compiler.augmented_graph(checked, "net").nodes}
    assert {"crop_each", "flip_each"} <= opcodes


def test_symbolic_sizes() -> None:
    text = """
        model Net(x: f32[N, 1, H, W]) -> f32[N, 1] { mean(2, 3) -> dense(1) }
        train net(x: f32[N, 1, H, W], y: f32[N, 1]) {
            changed = x -> random_shift(1) -> random_rotate(9) -> random_scale(mode=nearest) -> cutout(2)
            minimize mse(Net(changed), y) with adam
        }
    """
    graph = compiler.augmented_graph(compiler.check(Source("test.dl", text)), "net")
    engine = Engine(compiler.numpy_module([graph], "t"), {"seed": np.array(0), "step": np.array(0)})
    for shape in ((2, 1, 5, 4), (3, 1, 4, 7)):
        assert engine.call("augmented", {"x": np.ones(shape, np.float32)})["x"].shape == shape
