"""Small networks of the usual kinds in PyTorch, and their ONNX files by both of its exporters.

``python tests/exported/networks.py`` writes those files anew that tests take where PyTorch is not installed.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

DATA = Path(__file__).with_name("data")
EXPORTERS = ("torchscript", "dynamo")


class Vgg16(nn.Module):
    """Simonyan and Zisserman, 2014: the thirteen convolutions and three dense layers, 32 times narrower, on 32x32."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in (2, 2, 0, 4, 4, 0, 8, 8, 8, 0, 16, 16, 16, 0, 16, 16, 16, 0):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
            channels = width or channels
        self.features = nn.Sequential(*layers)
        dense = [nn.Linear(16, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 32), nn.ReLU(), nn.Dropout()]
        self.classifier = nn.Sequential(*dense, nn.Linear(32, 10))

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(image), 1))


class Basic(nn.Module):
    """A residual unit. He et al., 2015."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        main = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(main + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Basic(8, 8, 1), Basic(8, 8, 1))
        self.layer2 = nn.Sequential(Basic(8, 16, 2), Basic(16, 16, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(image))))
        return self.fc(self.avgpool(self.layer2(self.layer1(x))).flatten(1))


class Inverted(nn.Module):
    """An inverted residual with squeeze and excitation. Sandler et al., 2018; Howard et al., 2019."""

    def __init__(self, width: int, stride: int, activation: nn.Module) -> None:
        super().__init__()
        wide = 3 * width
        self.expand = nn.Sequential(nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), activation)
        depthwise = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(wide), activation)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, width, 1), nn.ReLU(), nn.Conv2d(width, wide, 1), nn.Hardsigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width))
        self.residual = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        wide = self.depthwise(self.expand(x))
        found = self.project(wide * self.squeeze(wide))
        return found + x if self.residual else found


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.blocks = nn.Sequential(Inverted(8, 1, nn.ReLU6()), Inverted(8, 2, nn.Hardswish()))
        self.classifier = nn.Linear(8, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(self.blocks(self.stem(image)).mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.lstm = nn.LSTM(8, 12, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.embed(tokens))[0].mean(1))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            part(x).view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) / (query.size(-1) ** 0.5) + mask
        mixed = (scores.softmax(-1) @ value).transpose(1, 2)
        return self.output(mixed.reshape(x.size(0), x.size(1), -1))


class EncoderLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = Attention(width, 2)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)
        self.intermediate, self.output = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.output(nn.functional.gelu(self.intermediate(x))))


class Bert(nn.Module):
    """An encoder as BERT is one, with the positions and the mask as it has them. Devlin et al., 2018."""

    positions: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places, self.kinds = nn.Embedding(30, 16), nn.Embedding(24, 16), nn.Embedding(2, 16)
        self.norm = nn.LayerNorm(16, eps=1e-12)
        self.layers = nn.ModuleList([EncoderLayer(16) for _ in range(2)])
        self.pooler, self.head = nn.Linear(16, 16), nn.Linear(16, 4)
        self.register_buffer("positions", torch.arange(24)[None])

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        places = self.positions[:, : tokens.size(1)]
        x = self.norm(self.words(tokens) + self.places(places) + self.kinds(torch.zeros_like(tokens)))
        shut = (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
        for layer in self.layers:
            x = layer(x, shut)
        return self.head(torch.tanh(self.pooler(x[:, 0])))


@dataclass(frozen=True)
class Example:
    """A network with arguments for it: the sizes of the ``dynamic`` axes are symbols in the file."""

    make: Callable[[], nn.Module]
    arguments: Callable[[], dict[str, Tensor]]
    dynamic: tuple[str, ...]


def _pictures() -> dict[str, Tensor]:
    return {"image": torch.randn(2, 3, 32, 32)}


def _words() -> dict[str, Tensor]:
    return {"tokens": torch.randint(0, 20, (2, 7))}


def _masked() -> dict[str, Tensor]:
    mask = torch.ones(2, 7, dtype=torch.int64)
    mask[1, 5:] = 0
    return {"tokens": torch.randint(0, 30, (2, 7)), "mask": mask}


EXAMPLES = {
    "vgg16": Example(Vgg16, _pictures, ("N",)),
    "resnet": Example(ResNet, _pictures, ("N",)),
    "mobilenet": Example(MobileNet, _pictures, ("N",)),
    "lstm": Example(Recurrent, _words, ("N", "T")),
    "bert": Example(Bert, _masked, ("N", "T")),
}


def made(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network with weights of its own, running statistics too, and arguments for it."""
    torch.manual_seed(sum(name.encode()))
    example = EXAMPLES[name]
    network = example.make().eval()
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
                if key.endswith("weight") and tensor.dim() > 1:
                    tensor.mul_(1.5)
    return network, example.arguments()


def export(name: str, exporter: str, path: Path) -> tuple[nn.Module, dict[str, Tensor]]:
    """Writes the ONNX file of the network ``name``; gives the network and arguments for it."""
    network, arguments = made(name)
    axes = {key: dict(enumerate(EXAMPLES[name].dynamic)) for key in arguments}
    options: dict[str, Any] = {"input_names": list(arguments), "output_names": ["logits"], "opset_version": 18}
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if exporter == "torchscript":
                # Unfolded, so that batch norms are still there.
                training = torch.onnx.TrainingMode.PRESERVE
                options |= {"dynamic_axes": axes, "do_constant_folding": False, "training": training}
            else:
                sizes = {symbol: torch.export.Dim(symbol, max=24) for symbol in EXAMPLES[name].dynamic}
                shapes = {key: {axis: sizes[symbol] for axis, symbol in names.items()} for key, names in axes.items()}
                options |= {"dynamic_shapes": shapes, "external_data": False, "verbose": False, "optimize": True}
            torch.onnx.export(network, tuple(arguments.values()), path, dynamo=exporter == "dynamo", **options)
    finally:
        logging.disable(logging.NOTSET)
    return network, arguments


def store(path: Path) -> None:
    """Leaves out of the file what only says where it was made; places in the network stay."""
    model = onnx.load(path)
    for node in model.graph.node:
        kept = [item for item in node.metadata_props if item.key == "pkg.torch.onnx.name_scopes"]
        node.ClearField("metadata_props")
        node.metadata_props.extend(kept)
        node.ClearField("doc_string")
    for item in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        item.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    onnx.save(model, path)


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    for name in sys.argv[1:] or EXAMPLES:
        for exporter in EXPORTERS:
            path = DATA / f"{name}_{exporter}.onnx"
            export(name, exporter, path)
            store(path)
