"""The networks in Keras 3, on whichever backend it runs. Pictures are channels last, as Keras has them on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from benchmarks.examples import EXAMPLES as EXAMPLE_INPUTS
from benchmarks.workloads import DEPTH, HEADS, LATENT, VOCABULARY, WIDTH, WINDOW

Tensor = Any


def chain(shape: tuple[int | None, ...], *parts: Any, dtype: str = "float32") -> keras.Model:
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts])


def dense(*units: int, activation: str = "relu", end: str | None = None) -> list[Any]:
    return [*(layers.Dense(count, activation) for count in units[:-1]), layers.Dense(units[-1], end)]


def conv64() -> keras.Model:
    first = (layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten())
    return chain((64, 64, 3), *first, *dense(128, 10))


def conv28() -> keras.Model:
    first = (layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2))
    second = (layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2))
    return chain((28, 28, 1), *first, *second, layers.Flatten(), layers.Dropout(0.5), layers.Dense(10))


class Attention(layers.Layer):
    """Heads that attend to the sequence itself or, ``crossing``, to another one."""

    def __init__(self, width: int, heads: int, causal: bool = False, bias: bool = False, crossing: bool = False):
        super().__init__()
        self.heads, self.causal, self.size = heads, causal, width // heads
        self.inner = layers.Dense(width if crossing else 3 * width, use_bias=bias)
        self.others = layers.Dense(2 * width, use_bias=bias) if crossing else None
        self.outer = layers.Dense(width, use_bias=bias)

    def call(self, x: Tensor, context: Tensor = None, seen: Tensor = None) -> Tensor:
        steps, width = ops.shape(x)[1], x.shape[2]
        parts = ops.split(self.inner(x), 1 if self.others else 3, -1)
        if self.others:
            parts += ops.split(self.others(context), 2, -1)
        q, k, v = (ops.reshape(part, (-1, ops.shape(part)[1], self.heads, self.size)) for part in parts)
        y = ops.dot_product_attention(q, k, v, mask=seen, is_causal=self.causal)
        return self.outer(ops.reshape(y, (-1, steps, width)))


class Layer(layers.Layer):
    """A layer of a Transformer, normalised before each part; ``crossing`` is one of a decoder."""

    def __init__(self, width: int, heads: int, causal: bool = False, bias: bool = False, crossing: bool = False):
        super().__init__()
        self.norms = [layers.LayerNormalization(epsilon=1e-5, center=bias) for _ in range(3 if crossing else 2)]
        self.attention = Attention(width, heads, causal, bias)
        self.crossing = Attention(width, heads, bias=bias, crossing=True) if crossing else None
        self.wide, self.narrow = layers.Dense(4 * width, "gelu", use_bias=bias), layers.Dense(width, use_bias=bias)

    def call(self, x: Tensor, seen: Tensor = None, context: Tensor = None) -> Tensor:
        x = x + self.attention(self.norms[0](x), seen=None if self.crossing else seen)
        if self.crossing:
            x = x + self.crossing(self.norms[2](x), context, seen)
        return x + self.narrow(self.wide(self.norms[1](x)))


class Embedded(layers.Layer):
    """A vector for each index, and one for its place; the table serves the other end too."""

    def __init__(self, vocabulary: int, length: int, width: int) -> None:
        super().__init__()
        begin = keras.initializers.RandomNormal(stddev=0.02)
        self.table = self.add_weight(shape=(vocabulary, width), initializer=begin, name="table")
        self.places = self.add_weight(shape=(length, width), initializer=begin, name="places")

    def call(self, x: Tensor, back: bool = False) -> Tensor:
        if back:
            return ops.matmul(x, ops.transpose(self.table))
        return ops.take(self.table, x, axis=0) + self.places[: ops.shape(x)[1]]


def gpt(vocabulary: int = VOCABULARY, bias: bool = False, steps: int | None = WINDOW) -> keras.Model:
    tokens = keras.Input((steps,), dtype="int64")
    embedded = Embedded(vocabulary, WINDOW, WIDTH)
    x = embedded(tokens)
    for _ in range(DEPTH):
        x = Layer(WIDTH, HEADS, causal=True, bias=bias)(x)
    x = layers.LayerNormalization(epsilon=1e-5, center=bias)(x)
    return keras.Model(tokens, embedded(x, back=True))


def generator() -> keras.Model:
    up = layers.Conv2DTranspose(64, 4, 2, "same", activation="relu")
    out = layers.Conv2DTranspose(1, 4, 2, "same", activation="tanh")
    return chain((LATENT,), layers.Dense(3136, "relu"), layers.Reshape((7, 7, 64)), up, out)


def critic() -> keras.Model:
    first = (layers.Conv2D(64, 4, 2, "same"), layers.LeakyReLU(0.2))
    second = (layers.Conv2D(64, 4, 2, "same"), layers.LeakyReLU(0.2))
    return chain((28, 28, 1), *first, *second, layers.Flatten(), layers.Dense(1))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "xor": lambda: chain((2,), *dense(4, 1)),
    "mlp_deep": lambda: chain((784,), *dense(64, 32, 10)),
    "mlp_wide": lambda: chain((784,), *dense(128, 10)),
    "conv64": conv64,
    "conv28": conv28,
    "rnn": lambda: chain((100, 1), layers.SimpleRNN(50, activation="relu"), layers.Dense(1)),
    "lstm": lambda: chain((100, 32), layers.LSTM(128), layers.Dense(10)),
    "gpt": gpt,
}


# The examples.


def with_fixed_sizes(network: keras.Model, example: str) -> keras.Model:
    """The same network for inputs of the sizes that the example's have."""
    inputs = [keras.Input(item.shape, dtype=item.dtype) for item in EXAMPLE_INPUTS[example]]
    return keras.Model(inputs, network(inputs if len(inputs) > 1 else inputs[0]))


def pictures(side: int, most: int, *parts: Any) -> keras.Model:
    """Layers on pictures of bytes."""
    return chain((side, side), layers.Rescaling(1 / most), *parts, dtype="uint8")


def read(side: int, most: int, *units: int, activation: str = "relu", end: str | None = None) -> keras.Model:
    return pictures(side, most, layers.Flatten(), *dense(*units, activation=activation, end=end))


def draw(*units: int) -> keras.Model:
    return chain((units[0],), *dense(*units[1:], end="sigmoid"), layers.Reshape((28, 28)))


def unit(channels: int) -> list[Any]:
    conv = layers.Conv2D(channels, 3, padding="same", use_bias=False)
    return [conv, layers.BatchNormalization(epsilon=1e-5), layers.ReLU()]


def digits_conv() -> keras.Model:
    body = (*unit(32), *unit(32), layers.MaxPooling2D(2), *unit(64), *unit(64), layers.MaxPooling2D(2))
    return pictures(8, 16, layers.Reshape((8, 8, 1)), *body, layers.Flatten(), *dense(64, 10))


def mnist_conv() -> keras.Model:
    body = (*unit(16), layers.MaxPooling2D(2), *unit(32), *unit(32), layers.MaxPooling2D(2), *unit(64))
    end = (layers.MaxPooling2D(2), layers.Flatten(), *dense(64, 10))
    return pictures(28, 255, layers.Reshape((28, 28, 1)), *body, *end)


def five_digits(*widths: int) -> keras.Model:
    """The network of ``low_digits.dl``, with dense layers of these widths after its features."""
    first = (layers.Conv2D(32, 5, activation="relu"), layers.MaxPooling2D(2))
    second = (layers.Conv2D(64, 5, activation="relu"), layers.MaxPooling2D(2), layers.Flatten())
    return pictures(28, 255, layers.Reshape((28, 28, 1)), *first, *second, *dense(*widths))


def shapes() -> keras.Model:
    body = (layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPooling2D(2), layers.Flatten())
    return chain((64, 64, 3), layers.Rescaling(1 / 255), *body, *dense(128, 10, end="softmax"), dtype="uint8")


def gaussian() -> keras.Model:
    image = keras.Input((28, 28), dtype="uint8")
    x = layers.Dense(256, "relu")(layers.Flatten()(layers.Rescaling(1 / 255)(image)))
    return keras.Model(image, [layers.Dense(12)(x), layers.Dense(12)(x)])


def digit_generator() -> keras.Model:
    noise, label = keras.Input((64,)), keras.Input((), dtype="int64")
    x = layers.Dense(3136, use_bias=False)(ops.concatenate([noise, layers.Embedding(10, 64)(label)], 1))
    x = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5)(layers.Reshape((7, 7, 64))(x)))
    x = layers.Conv2DTranspose(32, 4, 2, "same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5)(x))
    return keras.Model([noise, label], layers.Conv2DTranspose(1, 4, 2, "same", activation="sigmoid")(x))


def digit_critic() -> keras.Model:
    image, label = keras.Input((28, 28, 1)), keras.Input((), dtype="int64")
    x = layers.LeakyReLU(0.2)(layers.Conv2D(32, 4, 2, "same")(image))
    x = layers.Flatten()(layers.LeakyReLU(0.2)(layers.Conv2D(64, 4, 2, "same")(x)))
    features = layers.LeakyReLU(0.2)(layers.Dense(64)(x))
    agreement = ops.sum(features * layers.Embedding(10, 64)(label), 1, keepdims=True)
    return keras.Model([image, label], layers.Dense(1)(x) + agreement)


def diabetes() -> keras.Model:
    mean = [48.5, 1.5, 26.4, 94.6, 189, 115, 49.8, 4.07, 4.64, 91.3]
    deviation = [13.1, 0.5, 4.4, 13.8, 34.6, 30.4, 12.9, 1.29, 0.52, 11.5]
    scaled = layers.Normalization(mean=mean, variance=[number**2 for number in deviation])
    return chain((10,), scaled, *dense(16, 1, activation="tanh"), layers.Rescaling(77, 152))


def recommender() -> keras.Model:
    person, film = keras.Input((), dtype="int64"), keras.Input((), dtype="int64")
    likes = ops.sum(layers.Embedding(400, 8)(person) * layers.Embedding(250, 8)(film), 1)
    leaning = layers.Embedding(400, 1)(person) + layers.Embedding(250, 1)(film)
    return keras.Model([person, film], 3.4 + likes + ops.squeeze(leaning, 1))


def intents() -> keras.Model:
    text = keras.Input((None,), dtype="int64")
    letters = layers.Embedding(65, 24)(text)
    found = [ops.max(layers.Conv1D(96, size, padding="same", activation="relu")(letters), 1) for size in (5, 7, 9)]
    return keras.Model(text, layers.Dense(8)(ops.concatenate(found, 1)))


def translator() -> keras.Model:
    written, so_far = keras.Input((None,), dtype="int64"), keras.Input((None,), dtype="int64")
    there = ops.not_equal(written, 0)[:, None, None, :]
    memory, x = Embedded(61, 32, 64)(written), Embedded(12, 11, 64)(so_far)
    for _ in range(2):
        memory = Layer(64, 4, bias=True)(memory, there)
    memory = layers.LayerNormalization(epsilon=1e-5)(memory)
    for _ in range(2):
        x = Layer(64, 4, causal=True, bias=True, crossing=True)(x, there, memory)
    return keras.Model([written, so_far], layers.Dense(12)(layers.LayerNormalization(epsilon=1e-5)(x)))


def names() -> keras.Model:
    lstm = layers.LSTM(128, return_sequences=True)
    return chain((None,), layers.Embedding(27, 32), lstm, layers.Dense(27), dtype="int64")


def forecast() -> keras.Model:
    return chain((None,), layers.Reshape((-1, 1)), layers.SimpleRNN(50, activation="relu"), layers.Dense(1))


EXAMPLES: dict[str, Callable[[], keras.Model]] = {
    "autoencoder.Encoder": lambda: read(28, 255, 128, 32),
    "autoencoder.Decoder": lambda: draw(32, 128, 784),
    "dates.Translator": translator,
    "diabetes.Diabetes": diabetes,
    "digits.Digits": lambda: read(8, 16, 64, 32, 10, activation="gelu"),
    "digits_conv.DigitsConv": digits_conv,
    "forecast.Forecast": forecast,
    "gan.Generator": digit_generator,
    "gan.Critic": digit_critic,
    "intents.Intents": intents,
    "low_digits.LowDigits": lambda: five_digits(64, 5),
    "mnist_conv.MnistConv": mnist_conv,
    "mnist_deep.MnistDeep": lambda: read(28, 255, 64, 32, 10, end="softmax"),
    "mnist_wide.MnistWide": lambda: read(28, 255, 128, 10, end="softmax"),
    "names.Names": names,
    "overfitting.Plain": lambda: read(28, 255, 256, 128, 10),
    "overfitting.Regularised": lambda: read(28, 255, 256, 128, 10),
    "recommend.Recommender": recommender,
    "shakespeare.GPT": lambda: gpt(62, bias=True, steps=None),
    "shapes.Shapes": shapes,
    "transfer.HighDigits": lambda: five_digits(5),
    "transfer.Scratch": lambda: five_digits(64, 5),
    "vae.Encoder": gaussian,
    "vae.Decoder": lambda: draw(12, 256, 784),
    "xor.Xor": lambda: chain((2,), *dense(4, 1, end="sigmoid")),
}
