"""What attention and its gradient mean, by other operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.dims import Dim, evaluate, floor_divide, symbol
from compiler.ir.types import DType, TensorType
from compiler.ops.attention_numpy import HIDDEN
from compiler.ops.base import Array, Op

if TYPE_CHECKING:
    from compiler.ir.graph import Value
    from compiler.ops.emit import Emit

N, T, S = symbol("N"), symbol("T"), symbol("S")
SIZES = {"N": 2, "T": 5, "S": 4}
HEADS_FIRST = (0, 2, 1, 3)
# Keys [N, S, G, D] as what queries are multiplied by, [N, G, D, S].
KEYS = (0, 2, 3, 1)


def heads_first(b: Emit, x: Value, groups: Dim) -> Value:
    """x [N, T, H, D] as [N, G, H/G*T, D], so that one product serves all the heads of a group."""
    samples, length, heads, features = x.type.shape
    rows = floor_divide(heads, groups) * length
    return b.reshape(b.transpose(x, HEADS_FIRST), (samples, groups, rows, features))


def heads_last(b: Emit, x: Value, like: TensorType) -> Value:
    """The inverse: [N, G, H/G*T, E] as [N, T, H, E]."""
    samples, length, heads, _ = like.shape
    return b.transpose(b.reshape(x, (samples, heads, length, x.type.shape[3])), HEADS_FIRST)


def scale_of(features: Dim) -> float:
    """``1 / sqrt(D)`` for queries of D features."""
    assert isinstance(features, int), "checked when types were inferred"
    return 1 / sqrt(features)


@dataclass(frozen=True)
class Form:
    """How attention looks at things: ``causal`` lets each query see the keys up to its own place only, ``masked`` says
    that there is a mask, and ``rate`` is the share of weights that is dropped, for which the others count for more."""

    causal: bool
    masked: bool
    rate: float

    def weights(self, b: Emit, asking: Value, keys: Value, type: TensorType, mask: Sequence[Value]) -> Value:
        """The softmax of the scores [N, H, T, S], of scaled queries as :func:`heads_first` gives them and keys
        [N, G, D, S]; ``type`` is that of q."""
        samples, length, heads, _ = type.shape
        zero, hidden = b.scalar(0, type.dtype), -HIDDEN[type.dtype]
        scores = b.matmul(asking, keys)
        scores = b.reshape(scores, (samples, heads, length, keys.type.shape[3]))
        if mask:
            scores = b.add(scores, b.select(mask[0], zero, hidden))
        if self.causal:
            place = b.arange(length)
            seen = b.less_equal(place, b.reshape(place, (length, 1)))
            scores = b.add(scores, b.select(seen, zero, hidden))
        return b.softmax(scores, -1)

    def keep(self, b: Emit, value: Value, keep: Sequence[Value]) -> Value:
        """``value`` where a weight is kept, in the measure in which those count for more, and 0 elsewhere."""
        return b.mul(b.mask(value, keep[0]), 1 / (1 - self.rate)) if keep else value

    def apart(self, masks: Sequence[Value]) -> tuple[Sequence[Value], Sequence[Value]]:
        """The mask, and the weights to keep: one or none of each."""
        return masks[: int(self.masked)], masks[int(self.masked) :]


@dataclass(frozen=True)
class Attending(Op):
    """An operation with the fields of a :class:`Form`."""

    causal: bool = False
    masked: bool = False
    rate: float = 0.0

    @property
    def form(self) -> Form:
        return Form(self.causal, self.masked, self.rate)


def drawn(type: TensorType, seed: int) -> Array:
    """Random numbers; truth values of which the first on the last axis always holds, so that nothing sees nothing."""
    random, shape = np.random.default_rng(seed), [evaluate(dim, SIZES) for dim in type.shape]
    if type.dtype is not DType.BOOL:
        return random.uniform(-2, 2, shape).astype(np.float32)
    chosen = random.random(shape) < 0.5
    chosen[..., 0] = True
    return chosen
