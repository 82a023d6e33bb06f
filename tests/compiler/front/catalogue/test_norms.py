"""Normalisation layers against PyTorch: results, every gradient and running statistics, over a grid of settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
RNG = np.random.default_rng(0)


def numbers(*shape: int, shift: float = 0.0) -> Any:
    return (RNG.standard_normal(shape) + shift).astype(np.float32)


def tensor(array: Any, requires_grad: bool = False) -> Any:
    """In f64, so that every difference is one of ours."""
    return torch.tensor(array, dtype=torch.float64, requires_grad=requires_grad)


def backward(result: Any, received: Any) -> None:
    (result * tensor(received)).sum().backward()


def weights_of(module: Any) -> dict[str, Any]:
    """A module's weights and statistics, filled with numbers that are not the usual first ones."""
    found = {}
    module.double()
    for name, place in [*module.named_parameters(), *module.named_buffers()]:
        if place.dim():
            found[name] = np.abs(numbers(*place.shape)) + np.float32(0.5)
            with torch.no_grad():
                place.copy_(tensor(found[name]))
    return found


SHAPES = {
    torch.nn.BatchNorm1d: [(6, 5), (4, 3, 7), (2, 1, 1)],
    torch.nn.BatchNorm2d: [(4, 3, 5, 6), (1, 2, 3, 1)],
    torch.nn.BatchNorm3d: [(2, 3, 2, 3, 4)],
}
BATCH_NORMS = [(kind, shape) for kind, shapes in SHAPES.items() for shape in shapes]


@pytest.mark.parametrize(("kind", "shape"), BATCH_NORMS)
@pytest.mark.parametrize(("affine", "momentum", "eps"), [(True, 0.1, 1e-5), (False, 0.3, 1e-3), (True, 1.0, 1e-5)])
def test_batch_norm_trains_as_torch(
    bench: Any, agrees: Any, kind: Any, shape: tuple[int, ...], affine: bool, momentum: float, eps: float
) -> None:
    x, received = numbers(*shape, shift=2.0), numbers(*shape)
    module = kind(shape[1], affine=affine, momentum=momentum, eps=eps)
    weights = weights_of(module)
    settings = f"momentum={momentum}, eps={eps}" + ("" if affine else ", affine=false")
    named = {f"batch_norm.{name}": array for name, array in weights.items()}
    step = bench.step(f"batch_norm({settings})", {"x": x}, received, named)
    given = tensor(x, True)
    result = module(given)
    backward(result, received)
    agrees(step.result, result)
    agrees(step.gradients["x"], given.grad)
    for name, parameter in module.named_parameters():
        agrees(step.gradients[f"batch_norm.{name}"], parameter.grad)
    for name, buffer in module.named_buffers():
        if buffer.dim():
            agrees(step.kept[f"batch_norm.{name}"], buffer)


@pytest.mark.parametrize(("kind", "shape"), BATCH_NORMS)
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_takes_running_statistics_elsewhere(
    bench: Any, agrees: Any, kind: Any, shape: tuple[int, ...], affine: bool
) -> None:
    x = numbers(*shape)
    module = kind(shape[1], affine=affine).eval()
    named = {f"batch_norm.{name}": array for name, array in weights_of(module).items()}
    body = "batch_norm" if affine else "batch_norm(affine=false)"
    agrees(bench.infer(body, {"x": x}, named), module(tensor(x)))


def test_a_frozen_batch_norm_keeps_its_statistics(bench: Any, agrees: Any) -> None:
    x, received = numbers(4, 3, 5), numbers(4, 3, 5)
    module = torch.nn.BatchNorm1d(3)
    weights = weights_of(module)
    module.eval()
    named = {f"still.batch_norm.{name}": array for name, array in weights.items()}
    named["scale.prelu.weight"] = np.array([1.0], np.float32)
    body, frozen = "still: batch_norm\nscale: prelu", "freeze Net.still"
    step = bench.step(body, {"x": x}, received, named, statements=frozen)
    given = tensor(x, True)
    backward(torch.nn.functional.prelu(module(given), torch.ones(1, dtype=torch.float64)), received)
    agrees(step.gradients["x"], given.grad)
    for name, array in weights.items():
        np.testing.assert_array_equal(step.kept[f"still.batch_norm.{name}"], array)


def test_a_shared_batch_norm_follows_both_of_its_uses(bench: Any, agrees: Any) -> None:
    first, second, received = numbers(6, 4), numbers(6, 4, shift=3.0), numbers(6, 4)
    module = torch.nn.BatchNorm1d(4)
    named = {f"norm.batch_norm.{name}": array for name, array in weights_of(module).items()}
    body = "layer norm = batch_norm\n(x -> norm) + (y -> norm)"
    step = bench.step(body, {"x": first, "y": second}, received, named)
    agrees(step.result, module(tensor(first)) + module(tensor(second)))
    agrees(step.kept["norm.batch_norm.running_mean"], module.running_mean)
    agrees(step.kept["norm.batch_norm.running_var"], module.running_var)


LAYER_NORMS = [
    ((6, 5), "", (5,)), ((3, 4, 8), "", (8,)), ((3, 4, 8), "-1, ", (8,)), ((3, 4, 8), "1, 2, ", (4, 8)),
    ((2, 3, 4, 5), "1, 2, 3, ", (3, 4, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axes", "features"), LAYER_NORMS)
@pytest.mark.parametrize(("settings", "options"), [
    ("eps=1e-5", {}), ("eps=0.01, bias=false", {"bias": False}), ("affine=false", {"elementwise_affine": False})
])  # fmt: skip
def test_layer_norm_is_that_of_torch(
    bench: Any, agrees: Any, shape: Any, axes: str, features: Any, settings: str, options: Any
) -> None:
    eps = 0.01 if "0.01" in settings else 1e-5
    module = torch.nn.LayerNorm(features, eps=eps, **options)
    check(bench, agrees, f"layer_norm({axes}{settings})", "layer_norm", module, numbers(*shape, shift=1.0))


def check(bench: Any, agrees: Any, body: str, layer: str, module: Any, x: Any) -> None:
    """A layer and a module of the same weights, while training and in an exported file."""
    received = numbers(*x.shape)
    named = {f"{layer}.{name}": array for name, array in weights_of(module).items()}
    step = bench.step(body, {"x": x}, received, named)
    given = tensor(x, True)
    result = module(given)
    backward(result, received)
    agrees(step.result, result)
    agrees(step.gradients["x"], given.grad)
    assert len(step.gradients) == 1 + len(named)
    for name, parameter in module.named_parameters():
        agrees(step.gradients[f"{layer}.{name}"], parameter.grad)
    agrees(bench.infer(body, {"x": x}, named), result)


@pytest.mark.parametrize(("shape", "axes"), [((6, 5), ()), ((3, 4, 8), ()), ((3, 4, 8), (1, 2))])
@pytest.mark.parametrize("affine", [True, False])
def test_rms_norm_is_that_of_torch(bench: Any, agrees: Any, shape: Any, axes: Any, affine: bool) -> None:
    sizes = [shape[axis] for axis in axes] or [shape[-1]]
    module = torch.nn.RMSNorm(sizes, eps=1e-6, elementwise_affine=affine)
    settings = ", ".join([*map(str, axes), "affine=true" if affine else "affine=false"])
    check(bench, agrees, f"rms_norm({settings})", "rms_norm", module, numbers(*shape, shift=0.5))


@pytest.mark.parametrize(("shape", "groups"), [
    ((3, 6, 4, 5), 1), ((3, 6, 4, 5), 2), ((3, 6, 4, 5), 6), ((2, 4, 7), 2), ((5, 12), 3), ((2, 4, 2, 3, 2), 2)
])  # fmt: skip
@pytest.mark.parametrize("affine", [True, False])
def test_group_norm_is_that_of_torch(bench: Any, agrees: Any, shape: Any, groups: int, affine: bool) -> None:
    module = torch.nn.GroupNorm(groups, shape[1], affine=affine)
    body = f"group_norm({groups}{'' if affine else ', affine=false'})"
    check(bench, agrees, body, "group_norm", module, numbers(*shape, shift=1.0))


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (2, 3, 2, 3, 2)])
@pytest.mark.parametrize("affine", [True, False])
def test_instance_norm_is_that_of_torch(bench: Any, agrees: Any, shape: Any, affine: bool) -> None:
    kinds = {3: torch.nn.InstanceNorm1d, 4: torch.nn.InstanceNorm2d, 5: torch.nn.InstanceNorm3d}
    module = kinds[len(shape)](shape[1], affine=affine)
    body = "instance_norm(affine=true)" if affine else "instance_norm"
    check(bench, agrees, body, "instance_norm", module, numbers(*shape, shift=1.0))


def test_layer_norm_over_axes_in_the_middle(bench: Any, agrees: Any) -> None:
    """As a channels-first net has it: over the channels, place by place."""
    x, received, weight, bias = numbers(3, 5, 4), numbers(3, 5, 4), numbers(5), numbers(5)
    named = {"layer_norm.weight": weight, "layer_norm.bias": bias}
    step = bench.step("layer_norm(1)", {"x": x}, received, named)
    tensors = [tensor(array, True) for array in (x, weight, bias)]
    normal = torch.nn.functional.layer_norm(tensors[0].transpose(1, 2), (5,), *tensors[1:])
    result = normal.transpose(1, 2)
    backward(result, received)
    agrees(step.result, result)
    for name, leaf in zip(("x", "layer_norm.weight", "layer_norm.bias"), tensors, strict=True):
        agrees(step.gradients[name], leaf.grad)
    agrees(bench.infer("layer_norm(1)", {"x": x}, named), result)


ONE_NODE = [
    ("layer_norm", (2, 5), ["LayerNormalization"]),
    ("batch_norm", (2, 5, 4), ["BatchNormalization"]),
    ("instance_norm(affine=true)", (2, 5, 4), ["InstanceNormalization"]),
]


@pytest.mark.parametrize(("body", "shape", "nodes"), ONE_NODE)
def test_a_norm_is_one_node_of_a_file(bench: Any, body: str, shape: Any, nodes: list[str]) -> None:
    import onnx

    program = bench.model(body, {"x": numbers(*shape)})
    weights = {w.name: np.ones([d for d in w.type.shape if isinstance(d, int)], np.float32) for w in program.weights}
    file = onnx.load_from_string(compiler.onnx_file(program, weights))
    assert [node.op_type for node in file.graph.node] == nodes


def test_rms_norm_is_one_node_from_opset_23_on(bench: Any) -> None:
    import onnx

    program = bench.model("rms_norm", {"x": numbers(2, 5)})
    weights = {"Net.rms_norm.weight": numbers(5)}
    file = onnx.load_from_string(compiler.onnx_file(program, weights, opset=23))
    assert [node.op_type for node in file.graph.node] == ["RMSNormalization"]
    bench.infer("rms_norm", {"x": numbers(4, 5)}, {"rms_norm.weight": numbers(5)}, opset=23)


def test_parameters_are_as_many_and_called_as_in_torch(bench: Any) -> None:
    program = bench.model("batch_norm -> group_norm(2)\nlayer_norm(1, 2)", {"x": numbers(2, 4, 3)})
    modules = {
        "batch_norm": torch.nn.BatchNorm1d(4), "group_norm": torch.nn.GroupNorm(2, 4),
        "layer_norm": torch.nn.LayerNorm((4, 3)),
    }  # fmt: skip
    expected = {
        f"Net.{layer}.{name}": tuple(place.shape)
        for layer, module in modules.items()
        for name, place in module.state_dict().items()
        if place.dim()
    }
    assert {weight.name: weight.type.shape for weight in program.weights} == expected
    assert {weight.name for weight in program.weights if not weight.trainable} == {
        "Net.batch_norm.running_mean", "Net.batch_norm.running_var"
    }  # fmt: skip
    assert not any(weight.decays for weight in program.weights)


def test_a_batch_of_one_is_refused_while_training(bench: Any) -> None:
    weights = {"norm.batch_norm.weight": numbers(3), "norm.batch_norm.bias": numbers(3)}
    weights |= {"norm.batch_norm.running_mean": numbers(3), "norm.batch_norm.running_var": numbers(3)}
    with pytest.raises(ValueError, match=r"Net.norm.batch_norm.* this batch has one"):
        bench.step("norm: batch_norm", {"x": numbers(1, 3)}, numbers(1, 3), weights)
    assert np.isfinite(bench.step("norm: batch_norm", {"x": numbers(2, 3)}, numbers(2, 3), weights).result).all()


MISTAKES = [
    ("f32[N, 6, 4]", "group_norm(4)", "E0404", "6 channels can't be divided into 4 groups"),
    ("f32[N, 6, 4]", "group_norm(0)", "E0404", "6 channels can't be divided into 0 groups"),
    ("f32[N, C, 4]", "batch_norm", "E0302", "batch_norm needs a fixed number of channels, but f32[N, C, 4] has C"),
    ("f32[N]", "batch_norm", "E0301", "batch_norm takes a batch of samples with channels, not f32[N]"),
    ("f32[N, 5]", "batch_norm(momentum=2)", "E0404", "the momentum of the running statistics lies from 0 to 1"),
    ("f32[N, 5]", "batch_norm(eps=0)", "E0404", "eps has to be above 0, not 0"),
    ("i64[N, 5]", "layer_norm", "E0303", "layer_norm takes floating-point numbers, not i64[N, 5]"),
    ("f32[N, 5]", "layer_norm(2)", "E0404", "f32[N, 5] has no dimension 2"),
    ("f32[N, 5]", "layer_norm(1, -1)", "E0404", "layer_norm takes different dimensions of f32[N, 5]"),
    ("f32[N, T]", "layer_norm", "E0302", "layer_norm needs a fixed number of features, but f32[N, T] has T of them"),
    ("f32[N, 5]", "instance_norm", "E0301", "instance_norm takes channels with several places, not f32[N, 5]"),
]


@pytest.mark.parametrize(("type", "body", "code", "title"), MISTAKES)
def test_mistakes_are_told(type: str, body: str, code: str, title: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compiler.check(Source("test.dl", f"model Net(x: {type}) {{ {body} }}"))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    assert title in diagnostic.title


def test_one_value_of_each_channel_is_refused_by_the_compiler() -> None:
    text = """
        model Net(x: f32[1, 5]) -> f32[1, 5] { batch_norm }
        train net(x: f32[1, 5], y: f32[1, 5]) { minimize mse(Net(x), y) with sgd(0.1) }
    """
    with pytest.raises(DiagnosticError, match=r"batch_norm can't be trained on f32\[1, 5\]"):
        compiler.check(Source("test.dl", text))


def test_norms_without_weights_take_symbolic_features(bench: Any, agrees: Any) -> None:
    x = numbers(3, 7)
    found = bench.infer("layer_norm(affine=false)", {"x": x}, types={"x": "f32[N, T]"})
    agrees(found, torch.nn.functional.layer_norm(tensor(x), (7,)))
