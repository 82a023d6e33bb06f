"""Layouts of other programs: networks of PyTorch, loaded by their own names, give what PyTorch gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

torch = pytest.importorskip("torch")
Load: TypeAlias = Callable[..., Any]
TORCH = 'torch("net.safetensors")'


def arrays_of(module: Any, prefix: str = "") -> dict[str, Any]:
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return {f"{prefix}{name}": tensor.detach().numpy() for name, tensor in module.state_dict().items()}


def agree(actual: Any, expected: Any) -> None:
    assert np.allclose(actual, expected.detach().numpy(), atol=2e-5)


def drawn(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_a_convolutional_network(load: Load) -> None:
    nn = torch.nn
    net = nn.Sequential()
    net.add_module("conv", nn.Conv2d(2, 4, 3, padding=1))
    net.add_module("norm", nn.BatchNorm2d(4))
    net.add_module("up", nn.ConvTranspose2d(4, 2, 2, stride=2))
    net.add_module("flat", nn.Flatten())
    net.add_module("fc", nn.Linear(2 * 8 * 8, 128))
    arrays = arrays_of(net)
    arrays["norm.running_var"] = np.full(4, 2, np.float32)
    net.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    text = """model Net(x: f32[N, 2, 4, 4]) -> f32[N, 128] {
        conv: conv(4, 3, pad=1)
        norm: batch_norm
        up: conv_transpose(2, 2, stride=2)
        flatten
        fc: dense(128)
    }"""
    x = drawn(3, 2, 4, 4)
    loaded = load(text, arrays, TORCH)
    agree(loaded(x), net.eval()(torch.tensor(x)))
    (stored,) = loaded.project.checked.elaborated.stored
    assert stored.left_out == ("norm.num_batches_tracked",)


@pytest.mark.parametrize(
    ("layer", "module"),
    [
        ("lstm(5, layers=2, bidirectional=true, sequence=true)", lambda nn: nn.LSTM(3, 5, 2, True, True, 0, True)),
        ("gru(5, sequence=true)", lambda nn: nn.GRU(3, 5, batch_first=True)),
        ("rnn(5, sequence=true)", lambda nn: nn.RNN(3, 5, batch_first=True)),
    ],
)
def test_recurrent_layers(load: Load, layer: str, module: Any) -> None:
    net = module(torch.nn)
    x = drawn(2, 4, 3)
    loaded = load(f"model Net(x: f32[N, T, 3]) {{ memory: {layer} }}", arrays_of(net, "memory."), TORCH)
    agree(loaded(x), net(torch.tensor(x))[0])


@pytest.mark.parametrize("names", [("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), None])
def test_attention_in_one_matrix_or_three(load: Load, names: tuple[str, ...] | None) -> None:
    net = torch.nn.MultiheadAttention(6, 2, batch_first=True)
    arrays = arrays_of(net, "look.")
    if names is not None:
        for what in ("weight", "bias"):
            parts = np.split(arrays.pop(f"look.in_proj_{what}"), 3)
            arrays |= {f"look.{name}.{what}": part for name, part in zip(names, parts, strict=True)}
    x = drawn(2, 4, 6)
    given = torch.tensor(x)
    loaded = load("model Net(x: f32[N, T, 6]) -> f32[N, T, 6] { look: attention(2) }", arrays, TORCH)
    agree(loaded(x), net(given, given, given)[0])


def test_attention_to_something_else(load: Load) -> None:
    net = torch.nn.MultiheadAttention(6, 2, batch_first=True)
    x = drawn(2, 4, 6)
    given = torch.tensor(x)
    text = "model Net(x: f32[N, T, 6]) -> f32[N, T, 6] { look: attention(2, context=x * 2) }"
    agree(load(text, arrays_of(net, "look."), TORCH)(x), net(given, given * 2, given * 2)[0])


def test_keras(load: Load) -> None:
    """Its layouts, written down as its documentation has them, of the numbers of a network in PyTorch."""
    nn = torch.nn
    conv, dense, norm = nn.Conv2d(2, 4, 3, padding="same"), nn.Linear(4 * 9, 5), nn.LayerNorm(5)
    convs, denses, norms = arrays_of(conv), arrays_of(dense), arrays_of(norm)
    arrays = {
        "conv/kernel:0": convs["weight"].transpose(2, 3, 1, 0),
        "conv/bias:0": convs["bias"],
        "fc/kernel:0": denses["weight"].T,
        "fc/bias:0": denses["bias"],
        "norm/gamma:0": norms["weight"],
        "norm/beta:0": norms["bias"],
    }
    text = """model Net(x: f32[N, 2, 3, 3]) -> f32[N, 5] {
        conv: conv(4, 3, pad=same)
        flatten
        fc: dense(5)
        norm: layer_norm
    }"""
    x = drawn(2, 2, 3, 3)
    agree(load(text, arrays, 'keras("net.safetensors")')(x), norm(dense(conv(torch.tensor(x)).flatten(1))))


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_gates_of_keras_and_onnx(load: Load, kind: str) -> None:
    net = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](3, 5, batch_first=True)
    arrays = arrays_of(net)
    x = drawn(2, 4, 3)
    expected = net(torch.tensor(x))[0]
    text = f"model Net(x: f32[N, T, 3]) {{ memory: {kind}(5, sequence=true) }}"

    def in_order(array: Any, places: list[int]) -> Any:
        parts = np.split(array, len(places))
        return np.concatenate([parts[place] for place in places])

    # PyTorch has i f g o and r z n; Keras i f c o and z r h; ONNX i o f c and z r h.
    other = {"lstm": [0, 1, 2, 3], "gru": [1, 0, 2]}[kind]
    biases = [in_order(arrays[f"bias_{name}_l0"], other) for name in ("ih", "hh")]
    if kind == "lstm":
        agree_with = {"memory/lstm_cell/bias:0": biases[0] + biases[1]}
    else:
        agree_with = {"memory/gru_cell/bias:0": np.stack(biases)}
    keras = agree_with | {
        f"memory/{kind}_cell/{name}:0": in_order(arrays[f"weight_{short}_l0"], other).T
        for name, short in (("kernel", "ih"), ("recurrent_kernel", "hh"))
    }
    agree(load(text, keras, 'keras("net.safetensors")')(x), expected)
    other = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}[kind]
    onnx = {
        name: in_order(arrays[f"weight_{short}_l0"], other)[None]
        for name, short in (("memory.W", "ih"), ("memory.R", "hh"))
    }
    onnx["memory.B"] = np.concatenate([in_order(arrays[f"bias_{name}_l0"], other) for name in ("ih", "hh")])[None]
    agree(load(text, onnx, 'onnx("net.safetensors")')(x), expected)
