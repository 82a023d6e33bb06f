"""The networks in PyTorch, written as its users would: its own layers, its fused attention, its LSTM."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.workloads import DEPTH, HEADS, LATENT, VOCABULARY, WIDTH, WINDOW


def perceptron(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in pairwise(sizes):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def conv64() -> nn.Sequential:
    head = (nn.Flatten(), nn.Linear(32 * 31 * 31, 128), nn.ReLU(), nn.Linear(128, 10))
    return nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), *head)


def conv28() -> nn.Sequential:
    body = (nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*body, nn.Flatten(), nn.Dropout(0.5), nn.Linear(64 * 5 * 5, 10))


class LastStep(nn.Module):
    """A recurrent layer, and a linear one of its last step."""

    def __init__(self, recurrent: nn.RNNBase, outputs: int) -> None:
        super().__init__()
        self.recurrent, self.head = recurrent, nn.Linear(recurrent.hidden_size, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool, bias: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.inner, self.outer = nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, width = x.shape
        parts = self.inner(x).split(width, 2)
        q, k, v = (part.view(batch, steps, self.heads, width // self.heads).transpose(1, 2) for part in parts)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.outer(y.transpose(1, 2).reshape(batch, steps, width))


class Layer(nn.Module):
    """A layer of a Transformer, normalised before each part."""

    def __init__(self, width: int, heads: int, causal: bool = True, bias: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width, bias=bias), nn.LayerNorm(width, bias=bias)
        self.attention = Attention(width, heads, causal, bias)
        wide = nn.Linear(width, 4 * width, bias=bias)
        self.feed = nn.Sequential(wide, nn.GELU(), nn.Linear(4 * width, width, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        return x + self.feed(self.second(x))


class GPT(nn.Module):
    def __init__(self, vocabulary: int = VOCABULARY, bias: bool = False) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, WIDTH), nn.Embedding(WINDOW, WIDTH)
        self.layers = nn.Sequential(*(Layer(WIDTH, HEADS, bias=bias) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH, bias=bias)
        for table in (self.token, self.position):
            nn.init.normal_(table.weight, 0.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.token(x) + self.position(torch.arange(x.shape[1]))
        return self.norm(self.layers(embedded)) @ self.token.weight.T


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(LATENT, 64 * 7 * 7)
        self.up, self.out = nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ConvTranspose2d(64, 1, 4, 2, 1)

    def forward(self, noise: Tensor) -> Tensor:
        x = functional.relu(self.dense(noise)).view(-1, 64, 7, 7)
        return torch.tanh(self.out(functional.relu(self.up(x))))


def critic() -> nn.Sequential:
    first = (nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2))
    return nn.Sequential(*first, nn.Conv2d(64, 64, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(3136, 1))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "xor": lambda: perceptron(2, 4, 1),
    "mlp_deep": lambda: perceptron(784, 64, 32, 10),
    "mlp_wide": lambda: perceptron(784, 128, 10),
    "conv64": conv64,
    "conv28": conv28,
    "rnn": lambda: LastStep(nn.RNN(1, 50, nonlinearity="relu", batch_first=True), 1),
    "lstm": lambda: LastStep(nn.LSTM(32, 128, batch_first=True), 10),
    "gpt": GPT,
    "gan": lambda: nn.ModuleDict({"generator": Generator(), "critic": critic()}),
}
