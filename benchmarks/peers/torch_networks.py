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
    """Heads that attend to the sequence itself or, ``crossing``, to another one."""

    def __init__(self, width: int, heads: int, *, causal: bool = False, bias: bool = False, crossing: bool = False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.inner = nn.Linear(width, width if crossing else 3 * width, bias=bias)
        self.others = nn.Linear(width, 2 * width, bias=bias) if crossing else None
        self.outer = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        batch, steps, width = x.shape
        parts = self.inner(x).chunk(1 if self.others else 3, 2)
        if self.others:
            parts += self.others(context).chunk(2, 2)
        q, k, v = (part.view(batch, -1, self.heads, width // self.heads).transpose(1, 2) for part in parts)
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        return self.outer(y.transpose(1, 2).reshape(batch, steps, width))


class Layer(nn.Module):
    """A layer of a Transformer, normalised before each part; ``crossing`` is one of a decoder."""

    def __init__(self, width: int, heads: int, *, causal: bool = False, bias: bool = False, crossing: bool = False):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=bias) for _ in range(3 if crossing else 2))
        self.attention = Attention(width, heads, causal=causal, bias=bias)
        self.crossing = Attention(width, heads, bias=bias, crossing=True) if crossing else None
        wide = nn.Linear(width, 4 * width, bias=bias)
        self.feed = nn.Sequential(wide, nn.GELU(), nn.Linear(4 * width, width, bias=bias))

    def forward(self, x: Tensor, mask: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.norms[0](x), mask=None if self.crossing else mask)
        if self.crossing:
            x = x + self.crossing(self.norms[2](x), context, mask)
        return x + self.feed(self.norms[1](x))


class GPT(nn.Module):
    def __init__(self, vocabulary: int = VOCABULARY, bias: bool = False) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, WIDTH), nn.Embedding(WINDOW, WIDTH)
        self.layers = nn.Sequential(*(Layer(WIDTH, HEADS, causal=True, bias=bias) for _ in range(DEPTH)))
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


# The examples, as far as they are not among the workloads.


class Pixels(nn.Module):
    """Bytes as numbers up to 1, flat or as one channel."""

    def __init__(self, most: int, channel: bool = False) -> None:
        super().__init__()
        self.most, self.channel = most, channel

    def forward(self, image: Tensor) -> Tensor:
        x = image.float() / self.most
        return x.unsqueeze(1) if self.channel else x.flatten(1)


def read(most: int, *sizes: int, activation: type[nn.Module] = nn.ReLU, end: nn.Module | None = None) -> nn.Sequential:
    """A perceptron on pictures, with dropout, which no exported file keeps."""
    layers: list[nn.Module] = [Pixels(most)]
    for inner, outer in pairwise(sizes):
        layers += [nn.Linear(inner, outer), activation(), nn.Dropout(0.1)]
    return nn.Sequential(*layers[:-2], *([end] if end else []))


def draw(*sizes: int) -> nn.Sequential:
    return nn.Sequential(*perceptron(*sizes), nn.Sigmoid(), nn.Unflatten(1, (28, 28)))


def unit(channels: int, more: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, more, 3, padding=1, bias=False), nn.BatchNorm2d(more), nn.ReLU())


def digits_conv() -> nn.Sequential:
    body = (unit(1, 32), unit(32, 32), nn.MaxPool2d(2), unit(32, 64), unit(64, 64), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(Pixels(16, True), *body, nn.Linear(256, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))


def mnist_conv() -> nn.Sequential:
    body = (unit(1, 16), nn.MaxPool2d(2), unit(16, 32), unit(32, 32), nn.MaxPool2d(2), unit(32, 64), nn.MaxPool2d(2))
    head = (nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))
    return nn.Sequential(Pixels(255, True), *body, *head)


def five_digits(*head: nn.Module) -> nn.Sequential:
    """The network of ``low_digits.dl``; ``head`` is what comes after its features."""
    first = (nn.Conv2d(1, 32, 5), nn.ReLU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(Pixels(255, True), *first, *second, *head)


def all_of_five_digits() -> nn.Sequential:
    return five_digits(nn.Linear(1024, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 5))


class Shapes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        body = (nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        head = (nn.Linear(32768, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10), nn.Softmax(1))
        self.layers = nn.Sequential(*body, *head)

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image.float() / 255)


class Gaussian(nn.Module):
    """The encoder of the variational autoencoder."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Pixels(255), nn.Linear(784, 256), nn.ReLU())
        self.centre, self.variance = nn.Linear(256, 12), nn.Linear(256, 12)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(image)
        return self.centre(x), self.variance(x)


class DigitGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classes, self.dense = nn.Embedding(10, 64), nn.Linear(128, 3136, bias=False)
        up = nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False)
        end = (nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid())
        self.layers = nn.Sequential(nn.BatchNorm2d(64), nn.ReLU(), up, nn.BatchNorm2d(32), nn.ReLU(), *end)

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        return self.layers(self.dense(torch.cat([noise, self.classes(label)], 1)).view(-1, 64, 7, 7))


class DigitCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        first = (nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Dropout(0.3))
        second = (nn.Conv2d(32, 64, 4, 2, 1), nn.LeakyReLU(0.2), nn.Dropout(0.3))
        self.body = nn.Sequential(*first, *second, nn.Flatten())
        self.features = nn.Sequential(nn.Linear(3136, 64), nn.LeakyReLU(0.2))
        self.classes, self.head = nn.Embedding(10, 64), nn.Linear(3136, 1)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        x = self.body(image)
        return self.head(x) + (self.features(x) * self.classes(label)).sum(1, keepdim=True)


class Diabetes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        mean = [48.5, 1.5, 26.4, 94.6, 189, 115, 49.8, 4.07, 4.64, 91.3]
        deviation = [13.1, 0.5, 4.4, 13.8, 34.6, 30.4, 12.9, 1.29, 0.52, 11.5]
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))
        self.layers = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, features: Tensor) -> Tensor:
        return 152 + 77 * self.layers((features - self.mean) / self.deviation)


class Forecast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = LastStep(nn.RNN(1, 50, nonlinearity="relu", batch_first=True), 1)

    def forward(self, series: Tensor) -> Tensor:
        return self.layers(series.unsqueeze(2))


class Recommender(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.taste, self.mood = nn.Embedding(400, 8), nn.Embedding(400, 1)
        self.quality, self.appeal = nn.Embedding(250, 8), nn.Embedding(250, 1)

    def forward(self, person: Tensor, film: Tensor) -> Tensor:
        likes = (self.taste(person) * self.quality(film)).sum(1)
        return 3.4 + likes + (self.mood(person) + self.appeal(film)).squeeze(1)


class Intents(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(65, 24, padding_idx=0)
        self.filters = nn.ModuleList(nn.Conv1d(24, 96, size, padding=size // 2) for size in (5, 7, 9))
        self.head = nn.Linear(288, 8)

    def forward(self, text: Tensor) -> Tensor:
        letters = self.letters(text).transpose(1, 2)
        return self.head(torch.cat([functional.relu(each(letters)).amax(2) for each in self.filters], 1))


class Names(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.letters, self.head = nn.Embedding(27, 32), nn.Linear(128, 27)
        self.lstm = nn.LSTM(32, 128, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.letters(tokens))[0])


class Translator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.letters, self.digits = nn.Embedding(61, 64), nn.Embedding(12, 64)
        self.places, self.so_far = nn.Embedding(32, 64), nn.Embedding(11, 64)
        self.encoder = nn.ModuleList(Layer(64, 4, bias=True) for _ in range(2))
        self.decoder = nn.ModuleList(Layer(64, 4, causal=True, bias=True, crossing=True) for _ in range(2))
        self.norms, self.head = nn.ModuleList(nn.LayerNorm(64) for _ in range(2)), nn.Linear(64, 12)

    def forward(self, written: Tensor, so_far: Tensor) -> Tensor:
        there = (written != 0)[:, None, None, :]
        memory = self.letters(written) + self.places(torch.arange(written.shape[1]))
        for layer in self.encoder:
            memory = layer(memory, there)
        memory = self.norms[0](memory)
        x = self.digits(so_far) + self.so_far(torch.arange(so_far.shape[1]))
        for layer in self.decoder:
            x = layer(x, there, memory)
        return self.head(self.norms[1](x))


EXAMPLES: dict[str, Callable[[], nn.Module]] = {
    "autoencoder.Encoder": lambda: read(255, 784, 128, 32),
    "autoencoder.Decoder": lambda: draw(32, 128, 784),
    "dates.Translator": Translator,
    "diabetes.Diabetes": Diabetes,
    "digits.Digits": lambda: read(16, 64, 64, 32, 10, activation=nn.GELU),
    "digits_conv.DigitsConv": digits_conv,
    "forecast.Forecast": Forecast,
    "gan.Generator": DigitGenerator,
    "gan.Critic": DigitCritic,
    "intents.Intents": Intents,
    "low_digits.LowDigits": all_of_five_digits,
    "mnist_conv.MnistConv": mnist_conv,
    "mnist_deep.MnistDeep": lambda: read(255, 784, 64, 32, 10, end=nn.Softmax(1)),
    "mnist_wide.MnistWide": lambda: read(255, 784, 128, 10, end=nn.Softmax(1)),
    "names.Names": Names,
    "overfitting.Plain": lambda: read(255, 784, 256, 128, 10),
    "overfitting.Regularised": lambda: read(255, 784, 256, 128, 10),
    "recommend.Recommender": Recommender,
    "shakespeare.GPT": lambda: GPT(62, bias=True),
    "shapes.Shapes": Shapes,
    "transfer.HighDigits": lambda: five_digits(nn.Dropout(0.5), nn.Linear(1024, 5)),
    "transfer.Scratch": all_of_five_digits,
    "vae.Encoder": Gaussian,
    "vae.Decoder": lambda: draw(12, 256, 784),
    "xor.Xor": lambda: nn.Sequential(*perceptron(2, 4, 1), nn.Sigmoid()),
}
