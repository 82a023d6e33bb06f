"""Convolution layers against PyTorch: results, every gradient, and the exported file, over a grid of settings."""

from __future__ import annotations

from collections.abc import Iterator
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


def tensor(array: Any, requires_grad: bool = False) -> Any:
    """In f64, so that every difference is one of ours."""
    return torch.tensor(array, dtype=torch.float64, requires_grad=requires_grad)


def text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(text, value))}{',' * (len(value) == 1)})"
    return str(value).lower() if isinstance(value, bool) else str(value)


def call(layer: str, *given: Any, **settings: Any) -> str:
    return f"{layer}({', '.join([*map(text, given), *(f'{name}={text(value)}' for name, value in settings.items())])})"


def check(bench: Any, agrees: Any, layer: str, body: str, x: Any, weights: dict[str, Any], oracle: Any) -> None:
    """Compare the layer with ``oracle(x, *weights)``: trained, and exported."""
    given, *values = tensor(x, True), *(tensor(array, True) for array in weights.values())
    expected = oracle(given, *values)
    received = numbers(*expected.shape)
    named = {f"{layer}.{name}": array for name, array in weights.items()}
    step = bench.step(body, {"x": x}, received, named)
    (expected * tensor(received)).sum().backward()
    agrees(step.result, expected)
    agrees(step.gradients["x"], given.grad)
    for name, value in zip(weights, values, strict=True):
        agrees(step.gradients[f"{layer}.{name}"], value.grad)
    agrees(bench.infer(body, {"x": x}, named), expected)


def convolutions() -> Iterator[object]:
    for rank in (1, 2, 3):
        for stride, pad, dilation, groups in (
            (1, 0, 1, 1), (1, 1, 1, 2), (2, 1, 1, 1), (1, 2, 2, 1), (2, 0, 1, 4), (3, 1, 1, 2),
        ):  # fmt: skip
            settings = {"stride": stride, "pad": pad, "dilation": dilation, "groups": groups}
            yield from (pytest.param(rank, 3, settings, bias) for bias in (True, False))
    yield pytest.param(2, (3, 2), {"stride": (2, 1), "pad": (1, 0), "dilation": (1, 2)}, True)
    yield pytest.param(2, (1, 5), {"pad": "valid"}, True)
    yield pytest.param(2, 1, {}, True)
    yield pytest.param(2, 1, {"stride": 2}, False)
    yield pytest.param(3, (1, 2, 3), {"stride": (1, 2, 1), "pad": (0, 1, 1)}, True)


@pytest.mark.parametrize(("rank", "kernel", "settings", "bias"), list(convolutions()))
def test_conv_is_that_of_torch(bench: Any, agrees: Any, rank: int, kernel: Any, settings: Any, bias: bool) -> None:
    groups = settings.get("groups", 1)
    sizes = kernel if isinstance(kernel, tuple) else (kernel,) * rank
    weights = {"weight": numbers(8, 4 // groups, *sizes)}
    if bias:
        weights["bias"] = numbers(8)
    body = call("conv", 8, kernel, **settings, bias=bias)
    options = {{"pad": "padding"}.get(name, name): value for name, value in settings.items()}

    def oracle(x: Any, weight: Any, bias: Any = None) -> Any:
        return getattr(functional, f"conv{rank}d")(x, weight, bias, **options)

    check(bench, agrees, "conv", body, numbers(3, 4, *SIZES[rank]), weights, oracle)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(6, 7), (9, 8)])
def test_same_padding_gives_the_size_through_the_stride(
    bench: Any, agrees: Any, size: tuple[int, int], kernel: int, stride: int
) -> None:
    """As TensorFlow has it: the odd cell at the end."""
    amounts = []
    for length in reversed(size):
        total = max(0, (-(-length // stride) - 1) * stride + kernel - length)
        amounts += [total // 2, total - total // 2]

    def oracle(x: Any, weight: Any) -> Any:
        result = functional.conv2d(functional.pad(x, amounts), weight, stride=stride)
        assert tuple(result.shape[2:]) == tuple(-(-length // stride) for length in size)
        return result

    body = call("conv", 3, kernel, stride=stride, pad="same", bias=False)
    check(bench, agrees, "conv", body, numbers(2, 2, *size), {"weight": numbers(3, 2, kernel, kernel)}, oracle)


@pytest.mark.parametrize("pad", [((0, 1), (2, 3)), ((1, 0), (0, 0)), (2, 1)])
def test_padding_of_each_edge(bench: Any, agrees: Any, pad: Any) -> None:
    pairs = [part if isinstance(part, tuple) else (part, part) for part in pad]
    amounts = [amount for pair in reversed(pairs) for amount in pair]
    body = call("conv", 3, 3, pad=pad, bias=False)
    check(
        bench, agrees, "conv", body, numbers(2, 2, 5, 6), {"weight": numbers(3, 2, 3, 3)},
        lambda x, weight: functional.conv2d(functional.pad(x, amounts), weight),
    )  # fmt: skip


def test_the_edges_of_a_signal_may_be_one_pair(bench: Any, agrees: Any) -> None:
    """Causal convolution: the past alone is padded."""
    weights = {"weight": numbers(3, 2, 3), "bias": numbers(3)}
    check(
        bench, agrees, "conv", "conv(3, 3, pad=(2, 0))", numbers(2, 2, 9), weights,
        lambda x, weight, bias: functional.conv1d(functional.pad(x, (2, 0)), weight, bias),
    )  # fmt: skip


@pytest.mark.parametrize("multiplier", [1, 2, 3])
@pytest.mark.parametrize(("rank", "stride", "pad"), [(1, 1, 1), (2, 1, 1), (2, 2, 0), (3, 1, 0)])
def test_depthwise_conv_is_conv_with_a_group_a_channel(
    bench: Any, agrees: Any, rank: int, stride: int, pad: int, multiplier: int
) -> None:
    weights = {"weight": numbers(4 * multiplier, 1, *[3] * rank), "bias": numbers(4 * multiplier)}
    body = call("depthwise_conv", 3, multiplier=multiplier, stride=stride, pad=pad)

    def oracle(x: Any, weight: Any, bias: Any) -> Any:
        return getattr(functional, f"conv{rank}d")(x, weight, bias, stride, pad, 1, 4)

    check(bench, agrees, "depthwise_conv", body, numbers(3, 4, *SIZES[rank]), weights, oracle)


TRANSPOSED = [
    (1, 3, {}), (2, 3, {"stride": 2, "pad": 1, "output_pad": 1}), (2, 4, {"stride": 2, "pad": 1}),
    (2, 3, {"pad": 1}), (2, 3, {"dilation": 2}), (2, (2, 3), {"stride": (2, 1), "pad": (0, 1)}),
    (2, 3, {"stride": 3, "output_pad": 2, "groups": 2}), (2, 2, {"stride": 2, "groups": 4}),
    (3, 2, {"stride": 2, "output_pad": (1, 0, 1)}), (1, 5, {"stride": 4, "pad": 2, "output_pad": 3}), (2, 1, {}),
]  # fmt: skip


@pytest.mark.parametrize(("rank", "kernel", "settings"), TRANSPOSED)
@pytest.mark.parametrize("bias", [True, False])
def test_conv_transpose_is_that_of_torch(
    bench: Any, agrees: Any, rank: int, kernel: Any, settings: Any, bias: bool
) -> None:
    sizes = kernel if isinstance(kernel, tuple) else (kernel,) * rank
    weights = {"weight": numbers(4, 8 // settings.get("groups", 1), *sizes)}
    if bias:
        weights["bias"] = numbers(8)
    body = call("conv_transpose", 8, kernel, **settings, bias=bias)
    options = {{"pad": "padding", "output_pad": "output_padding"}.get(n, n): value for n, value in settings.items()}

    def oracle(x: Any, weight: Any, bias: Any = None) -> Any:
        return getattr(functional, f"conv_transpose{rank}d")(x, weight, bias, **options)

    check(bench, agrees, "conv_transpose", body, numbers(3, 4, *[4, 5, 3][:rank]), weights, oracle)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (4, 2), (5, 3), (2, 2), (2, 3)])
def test_transposed_same_padding_multiplies_the_size(bench: Any, kernel: int, stride: int) -> None:
    x, weight = numbers(2, 3, 4, 5), numbers(3, 2, kernel, kernel)
    body = call("conv_transpose", 2, kernel, stride=stride, pad="same", bias=False)
    made = bench.infer(body, {"x": x}, {"conv_transpose.weight": weight})
    assert made.shape == (2, 2, 4 * stride, 5 * stride)
    # It is the gradient of the convolution with the same arguments.
    back = call("conv", 3, kernel, stride=stride, pad="same", bias=False)
    given = numbers(*made.shape)
    convolved = bench.infer(back, {"x": given}, {"conv.weight": weight})
    np.testing.assert_allclose((made * given).sum(), (convolved * x).sum(), rtol=1e-4)


SYMBOLIC = [
    ("conv(3, 3, pad=same)", 3, [(1, 1), (5, 6)]),
    ("conv(3, 3, pad=same, stride=2)", 3, [(1, 2), (6, 7), (5, 5)]),
    ("conv(3, (1, 4), pad=same)", (1, 4), [(2, 1), (3, 9)]),
    ("conv(3, 2, stride=2)", 2, [(2, 2), (5, 6)]),
    ("conv(3, 3)", 3, [(3, 3), (6, 5)]),
]


@pytest.mark.parametrize(("body", "kernel", "sizes"), SYMBOLIC)
def test_heights_and_widths_may_be_symbols(bench: Any, body: str, kernel: Any, sizes: Any) -> None:
    """Every size of one file is that of a file for this size alone."""
    extent = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    weights = {"conv.weight": numbers(3, 2, *extent), "conv.bias": numbers(3)}
    for height, width in sizes:
        x = numbers(2, 2, height, width)
        expected = bench.infer(body, {"x": x}, weights)
        found = bench.infer(body, {"x": x}, weights, {"x": "f32[N, 2, H, W]"})
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_exported_convolutions_are_single_nodes() -> None:
    import onnx

    text = """
    model Net(x: f32[N, 3, H, W]) {
        conv(8, 3, pad=same) -> conv(8, 3, stride=2, pad=same) -> depthwise_conv(3, pad=1)
        conv_transpose(4, 4, stride=2, pad=1)
        max_pool(3, stride=2, pad=same) -> avg_pool(2, pad=same) -> upsample(2) -> global_avg_pool
    }
    """
    program = compiler.compile_model(compiler.check(Source("net.dl", text)), "Net")
    weights = {weight.name: numbers(*weight.type.shape) for weight in program.weights}
    graph = onnx.load_from_string(compiler.onnx_file(program, weights)).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds == ["Conv", "Conv", "Conv", "ConvTranspose", "MaxPool", "AveragePool", "Resize", "ReduceMean"]


def test_weights_begin_with_the_variance_of_their_fans() -> None:
    """Fans count the cells of the kernel, as in Keras."""
    text = """
    model Net(x: f32[N, 16, 30, 30]) {
        conv(64, 3) -> conv_transpose(16, 4, init=he, stride=2) -> depthwise_conv(5, init=glorot(normal=true))
    }
    """
    program = compiler.compile_model(compiler.check(Source("net.dl", text)), "Net")
    checked = compiler.check(Source("net.dl", text))
    graph = compiler.initial_graph(checked, "Net")
    from compiler.ops.interpret import interpret_outputs

    found = interpret_outputs(graph, {"seed": np.array(3)})
    assert [weight.name for weight in program.weights][::2] == [
        "Net.conv.weight", "Net.conv_transpose.weight", "Net.depthwise_conv.weight",
    ]  # fmt: skip
    assert found["Net.conv.weight"].shape == (64, 16, 3, 3)
    assert found["Net.conv_transpose.weight"].shape == (64, 16, 4, 4)
    assert found["Net.depthwise_conv.weight"].shape == (16, 1, 5, 5)
    variances = (2 / (9 * (16 + 64)), 2 / (16 * 64), 2 / (25 * (1 + 16)))
    for name, variance in zip(("conv", "conv_transpose", "depthwise_conv"), variances, strict=True):
        assert found[f"Net.{name}.weight"].var() == pytest.approx(variance, rel=0.15)
    assert np.abs(found["Net.conv.weight"]).max() <= np.sqrt(3 * variances[0])


MISTAKES = [
    ("f32[N, 3, 8, 8]", "conv(4, 3, stride=0)", "E0404", "stride is at least 1, not 0"),
    ("f32[N, 3, 8, 8]", "conv(4, 0)", "E0404", "kernel is at least 1, not 0"),
    ("f32[N, 3, 8, 8]", "conv(0, 3)", "E0404", "conv needs at least one channel, not 0"),
    ("f32[N, 3, 8, 8]", "conv(4, 3, pad=-1)", "E0404", "pad is at least 0, not -1"),
    ("f32[N, 3, 8, 8]", "conv(4, 3, pad=((0, -1), (0, 0)))", "E0404", "pad is at least 0, not -1"),
    ("f32[N, 3, 8, 8]", "conv(4, 3, groups=2)", "E0404", "3 input channels can't be divided into 2 groups"),
    ("f32[N, 4, 8, 8]", "conv(3, 3, groups=2)", "E0404", "3 output channels can't be divided into 2 groups"),
    ("f32[N, 3, 8]", "conv(4, (3, 3))", "E0404", "kernel has 2 numbers, and f32[N, 3, 8] has 1 spatial dimension"),
    ("f32[N, 8]", "conv(4, 3)", "E0301", "conv takes samples with channels and one to three spatial dimensions, not f"),
    ("i64[N, 3, 8, 8]", "conv(4, 3)", "E0303", "conv takes floating-point numbers, not i64[N, 3, 8, 8]"),
    ("f32[N, C, 8, 8]", "conv(4, 3)", "E0302", "conv needs a fixed number of channels, but f32[N, C, 8, 8] has C"),
    ("f32[N, 3, 4, 8]", "conv(4, 5)", "E0301", "cannot convolve f32[N, 3, 4, 8]: the 5x5 window is larger than what"),
    ("f32[N, 3, H, 8]", "conv(4, 2, stride=3, pad=same)", "E0302", "pad=same of a window of 2 with a stride of 3 depe"),
    ("f32[N, 3, 8, 8]", "conv(4, 3, pad=some)", "E0201", "unknown name some"),
    ("f32[N, 3, 8, 8]", "conv(4, 3, pad=1.5)", "E0403", "pad of conv is same, valid, a whole number, or one or a pair"),
    ("f32[N, 3, 8, 8]", "conv(4, x)", "E0403", "kernel of conv is a whole number, or one for each spatial dimension"),
    ("f32[N, 3, 8, 8]", "conv_transpose(4, 3, output_pad=1)", "E0404", "output_pad is below the stride or the dil"),
    ("f32[N, 3, 2, 2]", "conv_transpose(4, 3, pad=2)", "E0301", "conv_transpose cuts away all of f32[N, 3, 2, 2]"),
    ("f32[N, 3, 8, 8]", "conv_transpose(4, 3, pad=same, output_pad=1, stride=2)", "E0404", "pad=same gives size * str"),
    ("f32[N, 3, 8, 8]", "depthwise_conv(3, multiplier=0)", "E0404", "each channel has at least one kernel, not 0"),
]  # fmt: skip


@pytest.mark.parametrize(("type", "body", "code", "title"), MISTAKES)
def test_mistakes(type: str, body: str, code: str, title: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compiler.check(Source("net.dl", f"model Net(x: {type}) {{ {body} }}"))
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert found.title.startswith(title)
