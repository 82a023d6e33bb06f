"""Convolutional networks trained for a few steps beside PyTorch, from the same weights on the same batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import Source
from runtime.programs.engine import Engine

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
nn = torch.nn

DIGITS = """
model Net(image: f32[N, 1, 28, 28]) -> f32[N, 10] {
    conv(32, 3) -> relu -> max_pool(2)
    conv(64, 3) -> relu -> max_pool(2)
    flatten -> dense(128) -> relu -> dense(10)
}
"""
PICTURES = """
model Net(image: f32[N, 3, 64, 64]) -> f32[N, 10] {
    conv(32, 3) -> relu -> max_pool(2)
    flatten -> dense(128) -> relu -> dense(10)
}
"""
# Every kind of layer here, in a small net.
VARIOUS = """
model Net(image: f32[N, 2, 12, 12]) -> f32[N, 10] {
    conv(8, 3, pad=same) -> batch_norm -> relu
    x = it
    depthwise_conv(3, stride=2, pad=same) -> conv(8, 1) -> relu
    conv_transpose(8, 4, stride=2, pad=1)
    it + x -> avg_pool(2) -> upsample(2, mode=bilinear) -> crop(1)
    conv(12, 3, stride=2, groups=4) -> pixel_shuffle(2)
    pad(1, mode=reflect) -> conv(16, 3, dilation=2) -> relu -> global_avg_pool
    dense(10)
}
"""


class Various(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, 2, groups=8), nn.Conv2d(8, 8, 1),
                nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.Conv2d(8, 12, 3, 2, groups=4), nn.Conv2d(3, 16, 3, dilation=2),
                nn.Linear(16, 10),
            ]
        )  # fmt: skip

    def forward(self, image: Any) -> Any:
        functional = nn.functional
        first, norm, depthwise, mix, larger, smaller, last, head = self.layers
        x = norm(first(image)).relu()
        # 12 cells in steps of 2 take one cell of padding, at the end.
        side = larger(mix(depthwise(functional.pad(x, (0, 1, 0, 1)))).relu())
        x = functional.interpolate(functional.avg_pool2d(side + x, 2), scale_factor=2, mode="bilinear")
        x = functional.pixel_shuffle(smaller(x[..., 1:-1, 1:-1]), 2)
        x = last(functional.pad(x, (1, 1, 1, 1), mode="reflect")).relu()
        return head(x.mean((2, 3)))


def digits() -> Any:
    layers = (nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10))


def pictures() -> Any:
    layers = (nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(32 * 31 * 31, 128), nn.ReLU(), nn.Linear(128, 10))


@pytest.mark.parametrize(
    ("model", "make", "shape", "rate"),
    [(DIGITS, digits, (1, 28, 28), 0.1), (PICTURES, pictures, (3, 64, 64), 0.01), (VARIOUS, Various, (2, 12, 12), 0.1)],
    ids=["digits", "pictures", "various"],
)
def test_training_steps_are_those_of_torch(model: str, make: Any, shape: tuple[int, ...], rate: float) -> None:
    image = ", ".join(["N", *map(str, shape)])
    text = f"""{model}
    train net(image: f32[{image}], label: i64[N]) {{
        minimize cross_entropy(Net(image), label) with sgd({rate})
    }}
    """
    program = compiler.compile_train(compiler.check(Source("net.dl", text)), "net")
    twin = make().double()
    kept = begin(program, twin)
    engine = Engine(compiler.train_module(program), kept)
    random = np.random.default_rng(0)
    losses = []
    for size in (9, 9, 6, 9):
        images = random.standard_normal((size, *shape), dtype=np.float32)
        labels = random.integers(0, 10, size)
        found = float(engine.call(program.steps[0].name, {"image": images, "label": labels})["loss"])
        expected = nn.functional.cross_entropy(twin(torch.tensor(images).double()), torch.tensor(labels))
        parameters = list(twin.parameters())
        with torch.no_grad():
            for parameter, slope in zip(parameters, torch.autograd.grad(expected, parameters), strict=True):
                parameter -= rate * slope
        losses.append((found, float(expected.detach())))
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-4)
    assert len({round(loss, 6) for loss, _ in losses}) == len(losses)


def begin(program: compiler.TrainProgram, twin: Any) -> dict[str, Any]:
    """The first weights and state; those of the twin become the same."""
    initial = Engine(compiler.numpy_module([program.initial], "initial"), {"seed": np.array(0)}).call("initial", {})
    kept = {"seed": np.array(0), **{name: np.array(array, order="C") for name, array in initial.items()}}
    kept.setdefault("step", np.array(0))
    trained = [weight.name for weight in program.weights if weight.trainable]
    parameters = list(twin.parameters())
    assert len(trained) == len(parameters)
    for name, parameter in zip(trained, parameters, strict=True):
        # PyTorch's linear layers hold their kernels the other way round.
        weight = kept[name].T if "dense" in name and kept[name].ndim == 2 else kept[name]
        assert tuple(parameter.shape) == weight.shape
        with torch.no_grad():
            parameter.copy_(torch.tensor(weight))
    return kept
