"""Every way in which convolution, pooling and resizing become NumPy statements, whatever the sizes would choose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from compiler.ir.dims import symbol
from compiler.ir.tolerance import excess, tolerance
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops import Emit, conv_numpy, conv_parts_numpy, registry, samples
from compiler.ops.base import Array, Sample
from compiler.ops.conv import Conv, ConvTranspose, made
from compiler.ops.interpret import interpret_outputs
from compiler.ops.pool import MaxPool, MaxPoolTraining
from compiler.ops.pool import made as pooling
from compiler.ops.window import Window, padding_is_known, same_padding
from compiler.targets.numpy import generate

GRIDS = (
    "avg_pool", "avg_pool_gradient", "conv", "conv_transpose", "conv_weight", "max_pool", "max_pool_gradient",
    "max_pool_training", "resize", "resize_gradient",
)  # fmt: skip
N, H = symbol("N"), symbol("H")


def every_sample() -> Iterator[object]:
    for opcode in GRIDS:
        for index, sample in enumerate(registry()[opcode].samples()):
            yield pytest.param(sample, id=f"{opcode}-{index}")


def run(sample: Sample, operands: tuple[Array, ...]) -> list[Array]:
    b = Emit("step")
    values = [b.input(f"x{index}", type) for index, type in enumerate(sample.operands)]
    for index, result in enumerate(b.add_node(sample.operation, values)):
        b.output(f"y{index}", result)
    graph = b.finish()
    module: dict[str, Any] = {"__name__": "generated"}
    exec(compile(generate([graph]), "generated.py", "exec"), module)
    sizes = sample.sizes or {}
    step = module["bind_step"]({}, *(sizes[item.name] for item in graph.symbols))
    step(*(operand[::-1].copy() for operand in operands))  # leaves something else in the work arrays
    return list(step(*operands).values())


@pytest.mark.parametrize("sample", list(every_sample()))
@pytest.mark.parametrize(("places", "terms", "turn"), [(0, 1, 2), (0, 1000, 1), (1000, 1000, 2)])
def test_every_way_gives_the_same(
    sample: Sample, places: int, terms: int, turn: int, cases: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``turn`` samples at a time, of three: so that the last turn has fewer."""
    monkeypatch.setattr(conv_numpy, "_FEW_PLACES", places)
    monkeypatch.setattr(conv_parts_numpy, "FEW_TERMS", terms)
    monkeypatch.setattr(samples, "typical", lambda dim: samples.CACHE // turn)
    operands = cases.operands(sample)
    expected = sample.operation.reference(sample.sizes or {}, *operands)
    for found, wanted in zip(run(sample, operands), expected, strict=True):
        assert excess(found, wanted, tolerance(DType.F32)) <= 1


@pytest.mark.parametrize("sample", MaxPoolTraining.samples())
def test_of_elements_that_tie_the_first_counts_as_the_largest(sample: Sample) -> None:
    shape = [(sample.sizes or {}).get(str(dim), dim) for dim in sample.operands[0].shape]
    x = np.random.default_rng(3).integers(-1, 2, shape).astype(np.float32)
    expected = sample.operation.reference(sample.sizes or {}, x)
    for found, wanted in zip(run(sample, (x,)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("mirrored", "stride"), [(False, 1), (True, 1), (False, 2)])
def test_larger_convolutions_agree_with_their_reference(mirrored: bool, stride: int) -> None:
    """Sizes at which the choices are made as they are in earnest, in several turns."""
    padding = 1 if mirrored else 0
    window = Window((3, 3), (stride, stride), (1, 1), (padding, padding), (padding, padding))
    x = TensorType(DType.F32, (N, 12, 12, 13))
    places = window.places(x.shape[2:])
    attributes = made(Conv, 2, stride, 1, padding).attributes
    weight, given = TensorType(DType.F32, (16, 12, 3, 3)), TensorType(DType.F32, (N, 16, *places))
    random = np.random.default_rng(0)
    arrays = {
        name: random.standard_normal([33 if dim == N else dim for dim in type.shape], dtype=np.float32)
        for name, type in (("x", x), ("weight", weight), ("given", given))
    }
    b = Emit("step")
    values = {name: b.input(name, type) for name, type in (("x", x), ("weight", weight), ("given", given))}
    result = b.add(Conv(*attributes), values["x"], values["weight"])
    to_x, to_weight = Conv(*attributes).gradient(b, (values["x"], values["weight"]), (result,), (values["given"],))
    assert to_x is not None
    assert to_weight is not None
    for name, value in (("y", result), ("to x", to_x), ("to weight", to_weight)):
        b.output(name, value)
    graph = b.finish()
    module: dict[str, Any] = {"__name__": "generated"}
    exec(compile(generate([graph]), "generated.py", "exec"), module)
    found = module["bind_step"]({}, 33)(*arrays.values())
    for name, expected in interpret_outputs(graph, arrays).items():
        assert np.abs(found[name] - expected).max() <= 1e-5 * np.abs(expected).max()


# What does not fit


def mismatch(operation: Any, *shapes: tuple[Any, ...]) -> TypeMismatch:
    with pytest.raises(TypeMismatch) as caught:
        operation.infer(tuple(TensorType(DType.F32, shape) for shape in shapes))
    return caught.value


def test_a_window_larger_than_the_image_is_told_with_its_padding() -> None:
    said = mismatch(made(Conv, 2, 1, 1, 1), (N, 3, 2, 8), (4, 3, 5, 5))
    assert said.title == "cannot convolve f32[N, 3, 2, 8]: the 5x5 window is larger than what it slides over"
    assert said.detail == "dimension 2 is 2, 4 with its padding: a window of 5 does not fit"
    dilated = mismatch(made(Conv, 1, 1, 4), (N, 3, 8), (4, 3, 3))
    assert dilated.detail == "dimension 2 is 8: a window of 3, which spans 9 cells does not fit"


@pytest.mark.parametrize(
    ("operation", "shapes", "title"),
    [
        (made(Conv, 2), [(N, 4), (4, 3, 3, 3)], "cannot convolve f32[N, 4] and f32[4, 3, 3, 3]: it takes samples"),
        (made(Conv, 2), [(N, 4, 8, 8), (4, 3, 3, 3)], "cannot convolve f32[N, 4, 8, 8] by kernels f32[4, 3, 3, 3]"),
        (made(Conv, 2), [(N, H, 8, 8), (4, 3, 3, 3)], "cannot convolve f32[N, H, 8, 8] by kernels f32[4, 3, 3, 3]: wh"),
        (made(Conv, 2, groups=3), [(N, 9, 8, 8), (4, 3, 3, 3)], "cannot convolve f32[N, 9, 8, 8] in 3 groups to 4"),
        (made(Conv, 2, 0), [(N, 3, 8, 8), (4, 3, 3, 3)], "cannot convolve f32[N, 3, 8, 8] with a stride of 0x0: each"),
        (made(Conv, 2, 1, 0), [(N, 3, 8, 8), (4, 3, 3, 3)], "cannot convolve f32[N, 3, 8, 8] with a dilation of 0x0"),
        (made(Conv, 2, 1, 1, -1), [(N, 3, 8, 8), (4, 3, 3, 3)], "cannot convolve f32[N, 3, 8, 8] with a padding of -1"),
        (made(Conv, 2), [(N, 3, 8, 8), (4, 3, 3, 3), (3,)], "cannot convolve with the bias f32[3]: it has to be one"),
        (made(Conv, 1), [(N, 3, 8, 8), (4, 3, 3, 3)], "cannot convolve f32[N, 3, 8, 8] with a window of 2 axes"),
        (
            made(ConvTranspose, 2, size=(9, 9)), [(N, 3, 8, 8), (3, 4, 3, 3)],
            "cannot convolve by the transpose f32[N, 3, 8, 8] with kernels f32[3, 4, 3, 3] to f32[N, 4, 9, 9]",
        ),
        (pooling(MaxPool, 2, 3), [(N, 3, 8, 2)], "cannot max_pool f32[N, 3, 8, 2]: the 3x3 window is larger than what"),
        (pooling(MaxPool, 2, 3), [(N, 3)], "cannot max_pool f32[N, 3]: it takes samples, channels, and one to three"),
    ],
)  # fmt: skip
def test_mismatches(operation: Any, shapes: list[Any], title: str) -> None:
    said = mismatch(operation, *shapes)
    assert said.title.startswith(title)
    assert said.code in ("E0301", "E0302")


@pytest.mark.parametrize("operation", [made(Conv, 2), pooling(MaxPool, 2, (3, 3))])
def test_what_depends_on_the_sizes_is_checked_when_they_are_known(operation: Any) -> None:
    b = Emit("step")
    values = [b.input("x", TensorType(DType.F32, (N, 2, H, 5)))]
    values += [b.input("weight", TensorType(DType.F32, (2, 2, 3, 3)))] * (operation.opcode == "conv")
    b.output("y", b.add(operation, *values))
    module: dict[str, Any] = {"__name__": "generated"}
    exec(compile(generate([b.finish()]), "generated.py", "exec"), module)
    assert module["bind_step"]({}, H=3, N=1)
    for size in (1, 2):
        with pytest.raises(ValueError, match=r"the 3x3 window does not fit into dimension 2 of f32\[N, 2, H, 5\]"):
            module["bind_step"]({}, H=size, N=1)


# Padding that keeps the size


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("reach", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [5, 6, 7])
def test_same_padding(size: int, reach: int, stride: int) -> None:
    before, after = same_padding(size, reach, stride)
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert 0 <= before <= after <= before + 1
    window = Window((reach,), (stride,), (1,), (before,), (after,))
    assert window.places((size,)) == (-(-size // stride),)
    assert padding_is_known(size, reach, stride)


def test_same_padding_of_symbols() -> None:
    assert same_padding(H, 3, 1) == (1, 1)
    assert same_padding(2 * H, 3, 2) == (0, 1)
    assert same_padding(H, 1, 2) == (0, 0)
    before, after = same_padding(H, 3, 2)
    assert Window((3,), (2,), (1,), (before,), (after,)).places((H,)) == ((H + 1) // 2,)
    assert padding_is_known(H, 3, 2)
    assert not padding_is_known(H, 2, 3)
