"""Scaled dot-product attention and its gradient.

A. Vaswani et al., "Attention is all you need" (2017), section 3.2.1, https://arxiv.org/abs/1706.03762.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.dims import Dim, bounds, equal, product
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.attention_form import KEYS, SIZES, Attending, N, S, T, drawn, heads_first, heads_last, scale_of
from compiler.ops.attention_gradient import AttentionGradient
from compiler.ops.attention_numpy import ATTENTION, HIDDEN, QUERIES, Blocks
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Sample,
    Sizes,
    Values,
    operation,
    without,
)
from compiler.ops.broadcast import unknown_equality
from compiler.ops.checks import need_bools, need_floats, need_one_dtype
from compiler.ops.expansion import expansion_of, expansion_parts, lower_expansion
from compiler.ops.parts import Cut, Joined

if TYPE_CHECKING:
    from compiler.ir.graph import Value
    from compiler.ops.emit import Emit

VERB = "attend with {} to keys {} and values {}"


@operation
@dataclass(frozen=True)
class Attention(Attending):
    """``softmax(q @ k / sqrt(D)) @ v`` for each head: operands q [N, T, H, D], k [N, S, G, D] and v [N, S, G, E], the
    result is [N, T, H, E].

    G groups of keys and values serve H heads, H/G of them each. Then follow, as the form says, a mask (bool, of four
    axes that are 1 or those of [N, H, T, S]; a query sees the keys where it holds) and, for dropout, the weights that
    are kept (bool [N, H, T, S]). What a query sees for which everything is hidden is finite, but without a meaning.
    """

    opcode = "attention"

    def scale(self, features: Dim) -> float:
        """What the products of queries and keys of so many features are multiplied by."""
        return scale_of(features)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        q, k, v = inputs[:3]
        need_floats(VERB, q, k, v)
        need_one_dtype(VERB, q, k, v)
        action = VERB.format(q, k, v)
        if not q.rank == k.rank == v.rank == 4:
            raise TypeMismatch("E0301", f"cannot {action}", "each of them has samples, places, heads and features")
        heads, groups, features = q.shape[2], k.shape[2], q.shape[3]
        if not isinstance(features, int):
            raise TypeMismatch("E0302", f"cannot {action}", f"the number of features, {features}, has to be known")
        if not isinstance(heads, int) or not isinstance(groups, int) or heads % groups:
            raise TypeMismatch("E0301", f"cannot {action}", f"{groups} heads of keys can't serve {heads} heads")
        _same(action, "samples", q.shape[0], k.shape[0])
        _same(action, "features of queries and keys", q.shape[3], k.shape[3])
        for axis, what in enumerate(("samples", "keys and values", "heads of keys and values")):
            _same(action, what, k.shape[axis], v.shape[axis])
        if self.causal:
            _same(action, "queries and keys, as causal attention has them,", q.shape[1], k.shape[1])
        scores = (q.shape[0], heads, q.shape[1], k.shape[1])
        for index, type in enumerate(inputs[3:]):
            need_bools("mask attention by", type)
            whole = index == 1 or not self.masked
            fits = type.rank == 4 and all(
                (one == 1 and not whole) or equal(one, other) for one, other in zip(type.shape, scores, strict=True)
            )
            if not fits:
                raise TypeMismatch("E0301", f"cannot mask attention by {type}", f"the scores are {list(scores)}")
        return (q.with_shape((*q.shape[:3], v.shape[3])),)

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        q, k, v = inputs[:3]
        return product(q.shape[:3]) * k.shape[1] * (q.shape[3] + v.shape[3])

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        operation = AttentionGradient(self.causal, self.masked, self.rate)
        found = b.add_node(operation, (gradients[0], outputs[0], *inputs))
        return (*found, *(None for _ in inputs[3:]))

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return expansion_parts(expansion_of(self.opcode, cut.operands, self.expand), cut)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (self._both(*operands)[0],)

    def _both(self, *operands: Array) -> tuple[Array, Array]:
        """The result, and the weights [N, H, S, T] before dropout."""
        q, k, v = (operand.astype(np.float64) for operand in operands[:3])
        masks = list(operands[3:])
        heads = q.shape[2] // k.shape[2]
        k, v = np.repeat(k, heads, axis=2), np.repeat(v, heads, axis=2)
        scores = np.einsum("nthd,nshd->nhts", q, k) * self.scale(q.shape[3])
        hidden = HIDDEN[DType.of(operands[0].dtype) or DType.F32]
        if self.masked:
            scores = scores - hidden * ~masks.pop(0)
        if self.causal:
            scores = scores - hidden * ~np.tri(q.shape[1], dtype=bool)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        left = weights * masks.pop(0) / (1 - self.rate) if self.rate else weights
        dtype = operands[0].dtype
        return np.einsum("nhts,nshe->nthe", left, v).astype(dtype), np.swapaxes(weights, 2, 3).astype(dtype)

    def numpy(self, c: NumpyLowering) -> None:
        lower_attention(self, c)

    def onnx(self, c: OnnxLowering) -> None:
        lower_expansion(c, expansion_of(self.opcode, c.input_types, self.expand))

    def expand(self, b: Emit, q: Value, k: Value, v: Value, *masks: Value) -> tuple[Value, ...]:
        """The operations that this one stands for, made with ``b``."""
        return self._expand(b, q, k, v, *masks)[:1]

    def _expand(self, b: Emit, q: Value, k: Value, v: Value, *masks: Value) -> tuple[Value, Value]:
        groups = k.type.shape[2]
        mask, keep = self.form.apart(masks)
        asking, values = (heads_first(b, x, groups) for x in (q, v))
        scale = self.scale(q.type.shape[3])
        scaled = asking if scale == 1 else b.mul(asking, scale)
        weights = self.form.weights(b, scaled, b.transpose(k, KEYS), q.type, mask)
        stacked = b.reshape(self.form.keep(b, weights, keep), (*asking.type.shape[:3], k.type.shape[1]))
        return heads_last(b, b.matmul(stacked, values), q.type), b.transpose(weights, (0, 1, 3, 2))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def sample(form: Attention, heads: int, groups: int, keys: Dim, *masks: tuple[Dim, ...]) -> Sample:
            shapes = (N, T, heads, 4), (N, keys, groups, 4), (N, keys, groups, 3)
            types = [TensorType(DType.F32, shape) for shape in shapes]
            types += [TensorType(DType.BOOL, mask) for mask in masks]
            return Sample(form, tuple(types), sizes=SIZES, values=tuple(map(drawn, types, range(9))))

        return (
            sample(cls(), 2, 2, S),
            sample(cls(causal=True), 2, 2, T),
            sample(cls(causal=True), 4, 2, T),
            sample(cls(masked=True), 3, 1, S, (N, 1, 1, S)),
            sample(cls(True, True), 4, 2, T, (1, 4, T, T)),
            sample(cls(rate=0.5), 2, 2, S, (N, 2, T, S)),
            sample(cls(True, True, 0.75), 4, 2, T, (N, 1, T, 1), (N, 4, T, T)),
        )


@operation
@dataclass(frozen=True)
class AttentionTraining(Attention):
    """Attention that keeps what its gradient needs as one more result: the weights [N, H, S, T] before dropout."""

    opcode = "attention_training"
    auxiliary = 1

    onnx = without("the weights are kept for the gradient: train with NumPy, and export the model")

    @staticmethod
    def pays(q: Value, k: Value, v: Value) -> bool:
        """Whether the weights take no more memory than the operands and the result together, and all queries of a
        sample are worked on at once."""
        keys, features = bounds(k.type.shape[1])[1], bounds(q.type.shape[3] + v.type.shape[3])[0]
        return bounds(q.type.shape[1])[1] <= QUERIES and keys <= 2 * features

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        q, k = inputs[:2]
        return *super().infer(inputs), q.with_shape((q.shape[0], q.shape[2], k.shape[1], q.shape[1]))

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        operation = AttentionGradient(rate=self.rate, kept=True)
        _, keep = self.form.apart(inputs[3:])
        found = b.add_node(operation, (gradients[0], *outputs, *inputs[:3], *keep))
        return (*found, *(None for _ in inputs[3:]))

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return self._both(*operands)

    def expand(self, b: Emit, q: Value, k: Value, v: Value, *masks: Value) -> tuple[Value, ...]:
        return self._expand(b, q, k, v, *masks)


@operation
@dataclass(frozen=True)
class ScaledAttention(Attention):
    """Attention to whose queries the factor ``1 / sqrt(D)`` has come before: ``softmax(q @ k) @ v``."""

    opcode = "scaled_attention"

    gradient = without("queries are scaled after the gradients are made: ask for those of the graph before")

    def scale(self, features: Dim) -> float:
        return 1.0


def lower_attention(op: Attention, c: NumpyLowering) -> None:
    """Write the call; where there is a second result, the weights are kept there."""
    q, _, v = c.input_types[:3]
    blocks = Blocks(c, 0, op.masked, op.causal, op.rate, op.scale(q.shape[3]))
    common = blocks.common()
    asking = blocks.queries(c.inputs[0], q.shape[3])
    out = blocks.queries(c.outputs[0], v.shape[3])
    kept = blocks.weights(c.outputs[1]) if len(c.outputs) > 1 else None
    operands = f"{asking}, {blocks.keys(c.inputs[1])}, {blocks.keys(c.inputs[2])}, {common}"
    work = f"{blocks.scores()}, {blocks.turned()}, {blocks.totals()}"
    c.line(f"{c.helper('attention', ATTENTION)}({operands}, {out}, {kept}, ({work}))")


def _same(action: str, what: str, a: Dim, b: Dim) -> None:
    """TypeMismatch unless both sizes are known to be the same."""
    same = equal(a, b)
    if same is None:
        raise unknown_equality(action, a, b, f"the {what} have to be as many: {a} and {b}")
    if not same:
        raise TypeMismatch("E0301", f"cannot {action}", f"the {what} have to be as many: {a} and {b}")
