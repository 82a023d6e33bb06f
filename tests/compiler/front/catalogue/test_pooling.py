"""Pooling layers against PyTorch: results, gradients, and the exported file, over a grid of settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
functional = torch.nn.functional
RNG = np.random.default_rng(0)
SIZES = {1: (11,), 2: (7, 8), 3: (4, 5, 6)}


def numbers(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def ties(*shape: int) -> Any:
    """Few different numbers, so that many windows hold their maximum several times."""
    return RNG.integers(-2, 3, shape).astype(np.float32)


def check(bench: Any, agrees: Any, body: str, x: Any, oracle: Any, types: Any = None) -> None:
    """Compare a layer with ``oracle(x)``: trained, and exported."""
    given = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    expected = oracle(given)
    received = numbers(*expected.shape)
    step = bench.step(body, {"x": x}, received)
    (expected * torch.tensor(received, dtype=torch.float64)).sum().backward()
    agrees(step.result, expected)
    agrees(step.gradients["x"], given.grad)
    agrees(bench.infer(body, {"x": x}, None, types), expected)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    ("size", "stride", "pad", "dilation"), [(2, None, 0, 1), (3, 2, 1, 1), (3, 1, 1, 1), (2, 3, 0, 1), (2, 1, 1, 2)]
)
@pytest.mark.parametrize("make", [numbers, ties])
def test_max_pool_is_that_of_torch(
    bench: Any, agrees: Any, rank: int, size: int, stride: int | None, pad: int, dilation: int, make: Any
) -> None:
    """Also of which elements that tie takes the gradient."""
    given = "" if stride is None else f", stride={stride}"
    body = f"max_pool({size}{given}, pad={pad}, dilation={dilation})"
    pool = getattr(functional, f"max_pool{rank}d")
    check(bench, agrees, body, make(3, 2, *SIZES[rank]), lambda x: pool(x, size, stride, pad, dilation))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("size", "stride", "pad"), [(2, None, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)])
@pytest.mark.parametrize("count", [True, False])
def test_avg_pool_is_that_of_torch(
    bench: Any, agrees: Any, rank: int, size: int, stride: int | None, pad: int, count: bool
) -> None:
    given = "" if stride is None else f", stride={stride}"
    body = f"avg_pool({size}{given}, pad={pad}, count_pad={str(count).lower()})"
    pool = getattr(functional, f"avg_pool{rank}d")
    check(
        bench, agrees, body, numbers(3, 2, *SIZES[rank]),
        lambda x: pool(x, size, stride, pad, count_include_pad=count),
    )  # fmt: skip


CEILED = [(2, 2, 0), (3, 2, 1), (2, 3, 0), (3, 3, 1), (1, 2, 0), (2, 3, 1), (4, 3, 2), (3, 1, 1)]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("size", "stride", "pad"), CEILED)
def test_sizes_may_be_rounded_up(bench: Any, agrees: Any, rank: int, size: int, stride: int, pad: int) -> None:
    settings = f"({size}, stride={stride}, pad={pad}, ceil_mode=true"
    x, most = numbers(3, 2, *SIZES[rank]), getattr(functional, f"max_pool{rank}d")
    check(bench, agrees, f"max_pool{settings})", x, lambda x: most(x, size, stride, pad, ceil_mode=True))
    for count in (True, False):
        mean = getattr(functional, f"avg_pool{rank}d")
        check(
            bench, agrees, f"avg_pool{settings}, count_pad={str(count).lower()})", x,
            lambda x, mean=mean, count=count: mean(x, size, stride, pad, ceil_mode=True, count_include_pad=count),
        )  # fmt: skip


@pytest.mark.parametrize("dilation", [2, 3])
def test_dilated_windows_may_be_rounded_up(bench: Any, agrees: Any, dilation: int) -> None:
    for size, stride in ((2, 2), (3, 3), (2, 4)):
        check(
            bench, agrees, f"max_pool({size}, stride={stride}, dilation={dilation}, ceil_mode=true)",
            numbers(2, 2, 11, 12),
            lambda x, size=size, stride=stride: functional.max_pool2d(x, size, stride, 0, dilation, ceil_mode=True),
        )  # fmt: skip


@pytest.mark.parametrize("pad", ["(0, 1)", "((0, 0), (1, 1))"])
def test_each_dimension_may_have_its_own_window(bench: Any, agrees: Any, pad: str) -> None:
    body = f"max_pool((1, 3), stride=(2, 1), pad={pad})"
    check(bench, agrees, body, ties(2, 2, 5, 6), lambda x: functional.max_pool2d(x, (1, 3), (2, 1), (0, 1)))


def test_same_padding_counts_only_what_is_there(bench: Any, agrees: Any) -> None:
    """As Keras has it."""

    def oracle(x: Any) -> Any:
        padded, ones = functional.pad(x, (0, 1, 0, 1)), functional.pad(torch.ones_like(x), (0, 1, 0, 1))
        return functional.avg_pool2d(padded, 2) / functional.avg_pool2d(ones, 2)

    check(bench, agrees, "avg_pool(2, pad=same, count_pad=false)", numbers(2, 3, 5, 7), oracle)


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 6), (2, 3, 2, 3, 4)])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("layer", ["global_avg_pool", "global_max_pool"])
def test_global_pools(bench: Any, agrees: Any, shape: tuple[int, ...], keep: bool, layer: str) -> None:
    axes = list(range(2, len(shape)))
    function = torch.mean if layer == "global_avg_pool" else torch.amax
    body = f"{layer}(keep={str(keep).lower()})"
    sizes = ", ".join(["N", str(shape[1]), *"HWD"[: len(axes)]])
    check(
        bench, agrees, body, numbers(*shape), lambda x: function(x, dim=axes, keepdim=keep),
        {"x": f"f32[{sizes}]"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 3, 8), 4), ((2, 3, 7), 3), ((2, 3, 8, 8), 2), ((2, 3, 7, 8), (3, 5)), ((2, 3, 5, 6), 1),
        ((2, 2, 4, 5, 6), (2, 3, 4)), ((2, 3, 7, 6), (7, 4)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_pools_are_those_of_torch(
    bench: Any, agrees: Any, shape: tuple[int, ...], size: Any, kind: str
) -> None:
    pool = getattr(functional, f"adaptive_{kind}_pool{len(shape) - 2}d")
    check(bench, agrees, f"adaptive_{kind}_pool({size})", numbers(*shape), lambda x: pool(x, size))


@pytest.mark.parametrize(
    ("body", "sizes"),
    [
        ("max_pool(2)", [(2, 3), (7, 8)]),
        ("max_pool(3, stride=2, pad=same)", [(1, 1), (6, 5)]),
        ("avg_pool(3, stride=2, pad=same)", [(1, 1), (6, 5)]),
        ("avg_pool(3, stride=1, pad=1, count_pad=false)", [(1, 2), (4, 5)]),
        ("max_pool(3, stride=2, ceil_mode=true)", [(3, 4), (7, 8), (6, 6)]),
        ("max_pool(2, pad=1, stride=1, ceil_mode=true)", [(2, 3), (7, 8)]),
        ("avg_pool(3, stride=2, ceil_mode=true)", [(3, 4), (7, 8), (6, 6)]),
        ("avg_pool(4, stride=2, pad=1, ceil_mode=true)", [(3, 4), (7, 8), (6, 6)]),
    ],
)
def test_heights_and_widths_may_be_symbols(bench: Any, body: str, sizes: list[tuple[int, int]]) -> None:
    for height, width in sizes:
        x = numbers(2, 3, height, width)
        expected = bench.infer(body, {"x": x})
        np.testing.assert_array_equal(bench.infer(body, {"x": x}, None, {"x": "f32[N, 3, H, W]"}), expected)


MISTAKES = [
    ("f32[N, 3, 8, 8]", "max_pool(0)", "E0404", "size is at least 1, not 0"),
    ("f32[N, 3, 8, 8]", "max_pool(2, stride=0)", "E0404", "stride is at least 1, not 0"),
    ("f32[N, 3, 8, 8]", "max_pool(2, pad=2)", "E0404", "a window of 2 would see nothing but padding where pad is 2"),
    ("f32[N, 3, 2, 8]", "max_pool(3)", "E0301", "cannot max_pool f32[N, 3, 2, 8]: the 3x3 window is larger than what"),
    ("f32[N, 3, 8, 8]", "max_pool(3, pad=same, ceil_mode=true)", "E0404", "pad=same leaves out no cells that ceil_mo"),
    ("f32[N, 3, H, 8]", "max_pool(2, stride=3, ceil_mode=true)", "E0302", "ceil_mode of a window of 2 with a stride o"),
    ("f32[N, 3, H, 8]", "adaptive_max_pool(2)", "E0302", "adaptive_max_pool needs known sizes, but dimension 2 of f32"),
    ("f32[N, 3]", "max_pool(3)", "E0301", "max_pool takes samples with channels and one to three spatial dimensions,"),
    ("u8[N, 3, 8, 8]", "avg_pool(3)", "E0303", "avg_pool takes floating-point numbers, not u8[N, 3, 8, 8]"),
    ("f32[N, 3, 8, 8]", "avg_pool((1, 2, 3))", "E0404", "size has 3 numbers, and f32[N, 3, 8, 8] has 2 spatial dimens"),
    ("f32[N, 3]", "global_avg_pool", "E0301", "global_avg_pool takes samples with channels and one to three spatial d"),
    ("f32[N, 3, H, 8]", "adaptive_avg_pool(2)", "E0302", "adaptive_avg_pool needs known sizes, but dimension 2 of f32"),
    ("f32[N, 3, 4, 8]", "adaptive_avg_pool(5)", "E0404", "4 cells can't be divided into 5 parts"),
]


@pytest.mark.parametrize(("type", "body", "code", "title"), MISTAKES)
def test_mistakes(type: str, body: str, code: str, title: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compiler.check(Source("net.dl", f"model Net(x: {type}) {{ {body} }}"))
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert found.title.startswith(title)
