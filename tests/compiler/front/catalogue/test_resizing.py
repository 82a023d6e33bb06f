"""Layers that change the size of grids against PyTorch: results, gradients, and the exported file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
functional = torch.nn.functional
RNG = np.random.default_rng(0)
SIZES = {1: (5,), 2: (5, 4), 3: (3, 2, 4)}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def numbers(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def check(bench: Any, agrees: Any, body: str, x: Any, oracle: Any) -> None:
    """Compare a layer with ``oracle(x)``: trained, and exported."""
    given = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    expected = oracle(given)
    received = numbers(*expected.shape)
    step = bench.step(body, {"x": x}, received)
    (expected * torch.tensor(received, dtype=torch.float64)).sum().backward()
    agrees(step.result, expected)
    agrees(step.gradients["x"], given.grad)
    agrees(bench.infer(body, {"x": x}), expected)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("factor", [1, 2, 3, 1.5, 0.5])
@pytest.mark.parametrize("linear", [False, True])
def test_upsample_is_that_of_torch(bench: Any, agrees: Any, rank: int, factor: float, linear: bool) -> None:
    mode = MODES[rank] if linear else "nearest"

    def oracle(x: Any) -> Any:
        return functional.interpolate(x, scale_factor=factor, mode=mode, recompute_scale_factor=True)

    check(bench, agrees, f"upsample({factor}, mode={mode})", numbers(3, 2, *SIZES[rank]), oracle)


@pytest.mark.parametrize("size", [7, (3, 9), (1, 1), (5, 4), (10, 2)])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_resize_is_that_of_torch(bench: Any, agrees: Any, size: Any, mode: str) -> None:
    body = f"resize({size}, mode={mode})"
    check(bench, agrees, body, numbers(3, 2, 5, 4), lambda x: functional.interpolate(x, size, mode=mode))


@pytest.mark.parametrize("size", [7, (3, 9), (1, 1), (5, 4), (10, 2)])
def test_corners_may_meet(bench: Any, agrees: Any, size: Any) -> None:
    body = f"resize({size}, mode=bilinear, align_corners=true)"
    check(
        bench, agrees, body, numbers(3, 2, 5, 4),
        lambda x: functional.interpolate(x, size, mode="bilinear", align_corners=True),
    )  # fmt: skip


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("factor", [1, 2, 1.5])
def test_corners_may_meet_in_any_number_of_dimensions(bench: Any, agrees: Any, rank: int, factor: float) -> None:
    def oracle(x: Any) -> Any:
        options = {"mode": MODES[rank], "align_corners": True, "recompute_scale_factor": True}
        return functional.interpolate(x, scale_factor=factor, **options)

    check(bench, agrees, f"upsample({factor}, mode=linear, align_corners=true)", numbers(3, 2, *SIZES[rank]), oracle)


def test_each_dimension_may_have_its_own_factor(bench: Any, agrees: Any) -> None:
    check(
        bench, agrees, "upsample((2, 3), mode=linear)", numbers(2, 2, 3, 4),
        lambda x: functional.interpolate(x, scale_factor=(2, 3), mode="bilinear"),
    )  # fmt: skip


AMOUNTS = [("1", (1, 1, 1, 1)), ("(2, 1)", (1, 1, 2, 2)), ("((0, 1), (2, 3))", (2, 3, 0, 1)), ("0", (0, 0, 0, 0))]


@pytest.mark.parametrize(("amount", "sides"), AMOUNTS)
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pad_is_that_of_torch(bench: Any, agrees: Any, amount: str, sides: tuple[int, ...], mode: str) -> None:
    name = {"edge": "replicate"}.get(mode, mode)
    check(
        bench, agrees, f"pad({amount}, mode={mode})", numbers(3, 2, 5, 4),
        lambda x: functional.pad(x, sides, mode=name),
    )  # fmt: skip


def test_pad_with_a_value(bench: Any, agrees: Any) -> None:
    check(
        bench, agrees, "pad((1, 2), value=-1.5)", numbers(3, 2, 5),
        lambda x: functional.pad(x, (1, 2), value=-1.5),
    )  # fmt: skip


@pytest.mark.parametrize(("amount", "sides"), AMOUNTS)
def test_crop_is_the_inverse_of_pad(bench: Any, agrees: Any, amount: str, sides: tuple[int, ...]) -> None:
    check(
        bench, agrees, f"crop({amount})", numbers(3, 2, 6, 7),
        lambda x: functional.pad(x, [-side for side in sides]),
    )  # fmt: skip


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pixel_shuffle_is_that_of_torch(bench: Any, agrees: Any, factor: int) -> None:
    x = numbers(3, 2 * factor**2, 3, 4)
    check(bench, agrees, f"pixel_shuffle({factor})", x, lambda x: functional.pixel_shuffle(x, factor))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pixel_unshuffle_is_that_of_torch(bench: Any, agrees: Any, factor: int) -> None:
    x = numbers(3, 2, 2 * factor, 3 * factor)
    check(bench, agrees, f"pixel_unshuffle({factor})", x, lambda x: functional.pixel_unshuffle(x, factor))


@pytest.mark.parametrize("shape", [(2, 8, 3), (2, 8, 3, 4), (2, 8, 2, 3, 2)])
def test_unshuffle_undoes_shuffle_in_any_number_of_dimensions(bench: Any, shape: tuple[int, ...]) -> None:
    x = numbers(*shape)
    np.testing.assert_array_equal(bench.infer("pixel_shuffle(2) -> pixel_unshuffle(2)", {"x": x}), x)


@pytest.mark.parametrize(
    "body",
    [
        "upsample(2)", "upsample(3, mode=bilinear)", "upsample(1.5)", "upsample(0.5, mode=linear)", "pad(2)",
        "pad(1, mode=edge)", "pixel_shuffle(2)", "resize((7, W))", "resize((2 * H, 5), mode=linear)",
        "resize((2 * H, 5), mode=linear, align_corners=true)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("sizes", [(3, 4), (6, 5), (14, 10)])
def test_heights_and_widths_may_be_symbols(bench: Any, body: str, sizes: tuple[int, int]) -> None:
    x = numbers(2, 4, *sizes)
    fixed = body.replace("W", str(sizes[1])).replace("H", str(sizes[0]))
    expected = bench.infer(fixed, {"x": x})
    found = bench.infer(body, {"x": x}, None, {"x": "f32[N, 4, H, W]"})
    np.testing.assert_allclose(found, expected, rtol=1e-6)


MISTAKES = [
    ("f32[N, 3, 8, 8]", "upsample(0.1)", "E0404", "nothing is left of 8 cells with a factor of 0.1"),
    ("f32[N, 3, 8, 8]", "upsample(-1)", "E0404", "factor is at least 0, not -1"),
    ("f32[N, 3, 8]", "upsample(2, mode=bilinear)", "E0404", "bilinear is for 2 spatial dimensions, and f32[N, 3, 8] h"),
    ("f32[N, 3, 8, 8]", "upsample(2, mode=cubic)", "E0404", "mode of upsample is one of nearest, linear, bilinear"),
    ("f32[N, 3, 8, 8]", "upsample(2, align_corners=true)", "E0404", "corners are aligned where elements are interp"),
    ("f32[N, 3, 8, 8]", "resize(0)", "E0404", "size is at least 1, not 0"),
    ("f32[N, 3, 8, 8]", "resize((4, 4, 4))", "E0404", "size has 3 numbers, and f32[N, 3, 8, 8] has 2 spatial dimensio"),
    ("f32[N, 3]", "upsample(2)", "E0301", "upsample takes samples with channels and one to three spatial dimensions,"),
    ("f32[N, 3, 2, 8]", "pad(2, mode=reflect)", "E0301", "cannot pad f32[N, 3, 2, 8] by 2 along dimension 2 in the mo"),
    ("f32[N, 3, H, 8]", "pad(2, mode=reflect)", "E0302", "cannot pad f32[N, 3, H, 8] by 2 along dimension 2 in the mo"),
    ("f32[N, 3, 8, 8]", "pad(same)", "E0404", "there is no window here for which same would say how much to pad"),
    ("f32[N, 3, 8, 8]", "pad(1, mode=edge, value=1)", "E0404", "the mode edge takes its values from the image"),
    ("f32[N, 3, 8, 8]", "crop(4)", "E0301", "crop cuts away all of dimension 2 of f32[N, 3, 8, 8]"),
    ("f32[N, 3, H, 8]", "crop(1)", "E0302", "cannot slice f32[N, 3, H, 8] from 1 to H - 1 along axis 2: whether that"),
    ("f32[N, 6, 8, 8]", "pixel_shuffle(2)", "E0404", "6 channels can't be divided by 4"),
    ("f32[N, C, 8, 8]", "pixel_shuffle(2)", "E0302", "pixel_shuffle needs a fixed number of channels, but f32[N, C, "),
    ("f32[N, 3, 9, 8]", "pixel_unshuffle(2)", "E0404", "9 cells can't be divided into blocks of 2"),
]


@pytest.mark.parametrize(("type", "body", "code", "title"), MISTAKES)
def test_mistakes(type: str, body: str, code: str, title: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compiler.check(Source("net.dl", f"model Net(x: {type}) {{ {body} }}"))
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert found.title.startswith(title)
