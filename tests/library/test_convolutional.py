"""std.conv, std.residual and std.mobile against the same units written with PyTorch, as torchvision has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn


def unit(inputs: int, channels: int, kernel: int, stride: int = 1, groups: int = 1, activation: Any = None) -> Any:
    """Convolution, norm and activation."""
    conv = nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), *([activation] if activation else []))


class Residual(nn.Module):  # type: ignore[misc, name-defined]
    """The sum of two ways, and an activation."""

    def __init__(self, main: Any, skip: Any, after: Any = None) -> None:
        super().__init__()
        self.main, self.skip, self.after = main, skip, after or nn.Identity()

    def forward(self, x: Any) -> Any:
        return self.after(self.main(x) + self.skip(x))


class SqueezeExcite(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.reduce, self.restore = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: Any) -> Any:
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.restore(torch.relu(self.reduce(means))))


def randomised(module: Any) -> Any:
    """The module with random weights and running statistics, as it is used outside training."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.1)
    return module.eval()


def weights(*pairs: tuple[str, Any]) -> dict[str, Any]:
    """The tensors of the modules under these paths: of a unit those of its convolution and its norm."""
    found = {}
    for path, module in pairs:
        parts = {"conv": module[0], "batch_norm": module[1]} if isinstance(module, nn.Sequential) else {"": module}
        for kind, part in parts.items():
            prefix = f"{path}.{kind}." if kind else f"{path}."
            found |= {prefix + name: tensor.numpy() for name, tensor in part.state_dict().items() if tensor.dim()}
    return found


def agree(ours: Any, named: dict[str, Any], theirs: Any, x: Any) -> None:
    assert set(named) == {name for name, _ in ours.weights().items()}
    expected = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours.run({"x": x}, named), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (6, 1), (4, 2)])
def test_basic_block(net: Callable[..., Any], random: Callable[..., Any], channels: int, stride: int) -> None:
    first, second = unit(4, channels, 3, stride, activation=nn.ReLU()), unit(channels, channels, 3)
    plain = stride == 1 and channels == 4
    skip = nn.Identity() if plain else unit(4, channels, 1, stride)
    theirs = randomised(Residual(nn.Sequential(first, second), skip, nn.ReLU()))
    named = weights(("BasicBlock.main.ConvUnit", first), ("BasicBlock.main.ConvUnit_2", second))
    if not plain:
        named |= weights(("BasicBlock.project.ConvUnit", skip))
    ours = net("x: f32[N, 4, H, W]", f"BasicBlock({channels}, {stride})")
    agree(ours, named, theirs, random(2, 4, 9, 8))


@pytest.mark.parametrize(("channels", "stride", "groups"), [(2, 1, 1), (4, 1, 2), (2, 2, 1)])
def test_bottleneck(
    net: Callable[..., Any], random: Callable[..., Any], channels: int, stride: int, groups: int
) -> None:
    parts = [
        unit(8, channels, 1, activation=nn.ReLU()),
        unit(channels, channels, 3, stride, groups, nn.ReLU()),
        unit(channels, 4 * channels, 1),
    ]
    plain = stride == 1 and channels == 2
    skip = nn.Identity() if plain else unit(8, 4 * channels, 1, stride)
    theirs = randomised(Residual(nn.Sequential(*parts), skip, nn.ReLU()))
    places = ("reduce", "main", "restore")
    named = weights(*((f"Bottleneck.{place}.ConvUnit", part) for place, part in zip(places, parts, strict=True)))
    if not plain:
        named |= weights(("Bottleneck.project.ConvUnit", skip))
    ours = net("x: f32[N, 8, H, W]", f"Bottleneck({channels}, {stride}, groups={groups})")
    agree(ours, named, theirs, random(2, 8, 7, 8))


@pytest.mark.parametrize(("channels", "stride", "expand"), [(4, 1, 6), (4, 1, 1), (6, 2, 3)])
def test_inverted_residual(
    net: Callable[..., Any], random: Callable[..., Any], channels: int, stride: int, expand: int
) -> None:
    inner = 4 * expand
    first = [] if expand == 1 else [unit(4, inner, 1, activation=nn.ReLU6())]
    rest = [unit(inner, inner, 3, stride, inner, nn.ReLU6()), unit(inner, channels, 1)]
    whole = nn.Sequential(*first, *rest)
    theirs = randomised(Residual(whole, nn.Identity()) if stride == 1 and channels == 4 else whole)
    places = [*(["expand"] if first else []), "depthwise", "project"]
    pairs = ((f"InvertedResidual.{place}.ConvUnit", part) for place, part in zip(places, whole, strict=True))
    ours = net("x: f32[N, 4, H, W]", f"InvertedResidual({channels}, {stride}, {expand})")
    agree(ours, weights(*pairs), theirs, random(2, 4, 8, 7))


def test_squeeze_excite(net: Callable[..., Any], random: Callable[..., Any]) -> None:
    theirs = randomised(SqueezeExcite(8, 2))
    named = weights(("SqueezeExcite.squeeze.conv", theirs.reduce), ("SqueezeExcite.excite.conv", theirs.restore))
    agree(net("x: f32[N, 8, H, W]", "SqueezeExcite"), named, theirs, random(2, 8, 5, 4))


def test_separable_unit(net: Callable[..., Any], random: Callable[..., Any]) -> None:
    parts = [unit(4, 4, 3, 2, 4, nn.ReLU()), unit(4, 6, 1, activation=nn.ReLU())]
    theirs = randomised(nn.Sequential(*parts))
    named = weights(("SeparableUnit.depthwise.ConvUnit", parts[0]), ("SeparableUnit.pointwise.ConvUnit", parts[1]))
    agree(net("x: f32[N, 4, H, W]", "SeparableUnit(6, stride=2)"), named, theirs, random(2, 4, 8, 8))
