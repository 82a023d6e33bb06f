"""What layers call their tensors and how they lay them out in other programs: one function for each of them.

A recipe says which stored tensors a weight is made of. Names are those behind the place of the layer: where a dense
layer at ``head`` has ``head.dense.weight`` here, its recipe speaks of ``weight``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from compiler.front.stored.files import Array

Shape: TypeAlias = tuple[int, ...]

# The gates of recurrent layers as rows one behind the other: here, which is PyTorch's order, and elsewhere.
_GATES = {"lstm": "ifgo", "gru": "rzn", "rnn": "h"}
_KERAS_GATES = {"lstm": "ifgo", "gru": "zrn", "rnn": "h"}  # Keras writes c for g and h for n
_ONNX_GATES = {"lstm": "iofg", "gru": "zrn", "rnn": "h"}
KINDS = (
    "dense", "conv", "depthwise_conv", "separable_conv", "conv_transpose", "attention", "embed", "position",
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "prelu", *_GATES,
)  # fmt: skip
_TRIOS = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("q_lin", "k_lin", "v_lin"))


@dataclass(frozen=True)
class Recipe:
    """``sources`` are the names of stored tensors, of these shapes, that ``make`` makes the weight of; without any, it
    has a content of its own. ``how`` tells it in a word or two where the layout changes."""

    sources: tuple[str, ...]
    shapes: tuple[Shape, ...]
    make: Callable[[Sequence[Array]], Array]
    how: str = ""


Convention: TypeAlias = Callable[[str, str, Shape], Iterator[Recipe]]


def as_it_is(kind: str, tensor: str, shape: Shape) -> Iterator[Recipe]:
    """As dlc itself stores weights."""
    yield Recipe((tensor,), (shape,), lambda found: found[0])


def torch(kind: str, tensor: str, shape: Shape) -> Iterator[Recipe]:
    """PyTorch: matrices are [outputs, inputs]; attention has one matrix for queries, keys and values, or three."""
    if kind == "attention":
        yield from _torch_attention(tensor, shape)
    elif kind == "dense" and tensor == "weight":
        yield _turned(tensor, shape)
    else:
        yield from as_it_is(kind, tensor, shape)


def keras(kind: str, tensor: str, shape: Shape) -> Iterator[Recipe]:
    """Keras: kernels of convolutions are [*spatial, inputs, outputs], recurrent ones [inputs, gates]."""
    if kind in _GATES:
        yield from _keras_recurrent(kind, tensor, shape)
    elif kind in ("conv", "conv_transpose") and tensor == "weight":
        spatial = range(2, len(shape))
        stored = (*(shape[axis] for axis in spatial), shape[1], shape[0])
        order = (len(shape) - 1, len(shape) - 2, *range(len(shape) - 2))
        yield Recipe(("kernel",), (stored,), lambda found: found[0].transpose(order), "channels first")
    elif kind == "depthwise_conv" and tensor == "weight":
        stored, order = (*shape[2:], shape[0], 1), (len(shape) - 2, len(shape) - 1, *range(len(shape) - 2))
        for name in ("kernel", "depthwise_kernel"):
            yield Recipe((name,), (stored,), lambda found: found[0].transpose(order), "channels first")
    elif kind == "dense" and tensor == "weight":
        yield Recipe(("kernel",), (shape,), lambda found: found[0])
    elif kind in ("embed", "position") and tensor == "weight":
        yield Recipe(("embeddings",), (shape,), lambda found: found[0])
    else:
        names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        wanted = names.get(tensor, tensor) if kind.endswith("_norm") else tensor
        yield from as_it_is(kind, wanted, shape)


def onnx(kind: str, tensor: str, shape: Shape) -> Iterator[Recipe]:
    """The initializers of ONNX: recurrent layers have both directions and both biases in one tensor."""
    if kind not in _GATES:
        yield from as_it_is(kind, tensor, shape)
        return
    name, place = _recurrent(tensor)
    direction, rows = int(place.endswith("reverse")), shape[0]
    reordered = _reordered(kind, _ONNX_GATES[kind], rows)
    half = slice(0, rows) if name == "bias_ih" else slice(rows, 2 * rows)
    for directions in (2,) if direction else (1, 2):
        if name.startswith("weight"):
            source = "W" if name == "weight_ih" else "R"
            yield Recipe((source,), ((directions, *shape),), lambda found: reordered(found[0][direction]), "gates")
        else:
            stored = (directions, 2 * rows)
            yield Recipe(("B",), (stored,), lambda found: reordered(found[0][direction][half]), "gates")


CONVENTIONS: dict[str, Convention] = {"torch": torch, "keras": keras, "onnx": onnx}
# What such a program stores beside weights, and no layer here has.
BOOKKEEPING = {"torch": ("num_batches_tracked",), "keras": ("seed_generator_state",)}


def _turned(source: str, shape: Shape) -> Recipe:
    return Recipe((source,), ((shape[1], shape[0]),), lambda found: found[0].T, "transposed")


def _torch_attention(tensor: str, shape: Shape) -> Iterator[Recipe]:
    what = "weight" if len(shape) == 2 else "bias"
    how = "transposed" if len(shape) == 2 else ""
    if tensor.startswith("out_proj"):
        yield _turned(tensor, shape) if len(shape) == 2 else Recipe((tensor,), (shape,), lambda found: found[0])
        return
    # Columns of queries, keys and values here are rows there; the axis of the inputs, if any, is the last.
    width, features = shape[-1], shape[:-1]
    if tensor.startswith("in_proj_"):
        yield Recipe((tensor,), ((width, *features),), lambda found: found[0].T, how)
        own = features[0] if features else width // 3
        sizes = (own, (width - own) // 2, (width - own) // 2)
        for trio in _TRIOS:
            names, shapes = tuple(f"{name}.{what}" for name in trio), tuple((size, *features) for size in sizes)
            yield Recipe(names, shapes, lambda found: np.concatenate(found).T, "joined")
        return
    # With a context, queries have a matrix of their own.
    asks = tensor.startswith("q_proj")
    rows = 3 * width if asks else 3 * width // 2
    part = slice(0, width) if asks else slice(rows - width, rows)
    yield Recipe((f"in_proj_{what}",), ((rows, *features),), lambda found: found[0][part].T, "a part")
    for trio in _TRIOS:
        names = (f"{trio[0]}.{what}",) if asks else tuple(f"{name}.{what}" for name in trio[1:])
        shapes = ((width // len(names), *features),) * len(names)
        yield Recipe(names, shapes, lambda found: np.concatenate(found).T, "joined")


def _keras_recurrent(kind: str, tensor: str, shape: Shape) -> Iterator[Recipe]:
    name, place = _recurrent(tensor)
    rows = shape[0]
    reordered = _reordered(kind, _KERAS_GATES[kind], rows)
    if place != "l0":
        return
    weight, other = name.startswith("weight"), int(name == "bias_hh")
    for cell in ("", f"{kind}_cell.", "cell."):
        if weight:
            source = f"{cell}{'kernel' if name == 'weight_ih' else 'recurrent_kernel'}"
            yield Recipe((source,), ((shape[1], rows),), lambda found: reordered(found[0].T), "transposed")
            continue
        yield Recipe((f"{cell}bias",), ((2, rows),), lambda found: reordered(found[0][other]), "gates")
        if name == "bias_ih":
            yield Recipe((f"{cell}bias",), ((rows,),), lambda found: reordered(found[0]), "gates")
    if name == "bias_hh" and kind != "gru":
        yield Recipe((), (), lambda found: np.zeros(shape, np.float32), "zeros, as Keras has one bias")


def _recurrent(tensor: str) -> tuple[str, str]:
    """``weight_ih_l0_reverse`` as ``weight_ih`` and ``l0_reverse``."""
    name, _, place = tensor.partition("_l")
    return name, f"l{place}"


def _reordered(kind: str, order: str, rows: int) -> Callable[[Array], Array]:
    """Puts rows whose gates stand in ``order`` into the order that they have here."""
    size = rows // len(order)
    places = [order.index(gate) for gate in _GATES[kind]]

    def apply(array: Array) -> Array:
        return np.concatenate([array[place * size : (place + 1) * size] for place in places])

    return apply
