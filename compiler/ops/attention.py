"""Scaled dot-product attention and its gradient.

A. Vaswani et al., "Attention is all you need" (2017), section 3.2.1, https://arxiv.org/abs/1706.03762.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.dims import Dim, equal, evaluate, floor_divide, product, symbol
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.attention_numpy import ATTENTION, GRADIENT, HIDDEN, SUM, Blocks
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Op,
    Sample,
    Sizes,
    Values,
    operation,
)
from compiler.ops.broadcast import unknown_equality
from compiler.ops.checks import need_bools, need_floats, need_one_dtype
from compiler.ops.expansion import expansion_of, expansion_parts, lower_expansion
from compiler.ops.fused import FusedOp
from compiler.ops.parts import Cut, Joined

if TYPE_CHECKING:
    from compiler.ir.graph import Value
    from compiler.ops.emit import Emit

VERB = "attend with {} to keys {} and values {}"
HEADS_FIRST = (0, 2, 1, 3)
# Keys [N, S, G, D] as what queries are multiplied by, [N, G, D, S].
KEYS = (0, 2, 3, 1)
N, T, S = symbol("N"), symbol("T"), symbol("S")
SIZES = {"N": 2, "T": 5, "S": 4}


def heads_first(b: Emit, x: Value, groups: Dim) -> Value:
    """x [N, T, H, D] as [N, G, H/G*T, D], so that one product serves all the heads of a group."""
    samples, length, heads, features = x.type.shape
    rows = floor_divide(heads, groups) * length
    return b.reshape(b.transpose(x, HEADS_FIRST), (samples, groups, rows, features))


def heads_last(b: Emit, x: Value, like: TensorType) -> Value:
    """The inverse: [N, G, H/G*T, E] as [N, T, H, E]."""
    samples, length, heads, _ = like.shape
    return b.transpose(b.reshape(x, (samples, heads, length, x.type.shape[3])), HEADS_FIRST)


def scale_of(q: TensorType) -> float:
    """``1 / sqrt(D)`` for queries [N, T, H, D]."""
    features = q.shape[3]
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
        """The softmax of the scores [N, H, T, S], of queries as :func:`heads_first` gives them and keys [N, G, D, S];
        ``type`` is that of q."""
        samples, length, heads, _ = type.shape
        zero, hidden = b.scalar(0, type.dtype), -HIDDEN[type.dtype]
        scores = b.matmul(b.mul(asking, scale_of(type)), keys)
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


@operation
@dataclass(frozen=True)
class Attention(Op):
    """``softmax(q @ k / sqrt(D)) @ v`` for each head: operands q [N, T, H, D], k [N, S, G, D] and v [N, S, G, E], the
    result is [N, T, H, E].

    G groups of keys and values serve H heads, H/G of them each. Then follow, as the form says, a mask (bool, of four
    axes that are 1 or those of [N, H, T, S]; a query sees the keys where it holds) and, for dropout, the weights that
    are kept (bool [N, H, T, S]). What a query sees for which everything is hidden is finite, but without a meaning.
    """

    causal: bool = False
    masked: bool = False
    rate: float = 0.0

    opcode = "attention"

    @property
    def form(self) -> Form:
        return Form(self.causal, self.masked, self.rate)

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
        q, k, v = (operand.astype(np.float64) for operand in operands[:3])
        masks = list(operands[3:])
        heads = q.shape[2] // k.shape[2]
        k, v = np.repeat(k, heads, axis=2), np.repeat(v, heads, axis=2)
        scores = np.einsum("nthd,nshd->nhts", q, k) / sqrt(q.shape[3])
        hidden = HIDDEN[DType.of(operands[0].dtype) or DType.F32]
        if self.masked:
            scores = scores - hidden * ~masks.pop(0)
        if self.causal:
            scores = scores - hidden * ~np.tri(q.shape[1], dtype=bool)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        if self.rate:
            weights *= masks.pop(0) / (1 - self.rate)
        return (np.einsum("nhts,nshe->nthe", weights, v).astype(operands[0].dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        q, _, v = c.input_types[:3]
        blocks = Blocks(c, 0, self.masked, self.causal, self.rate)
        common = blocks.common()
        asking = blocks.queries(c.inputs[0], q.shape[3], turned=True)
        out = blocks.queries(c.outputs[0], v.shape[3])
        operands = f"{asking}, {blocks.keys(c.inputs[1])}, {blocks.keys(c.inputs[2])}, {common}"
        scale, work = c.scalar(scale_of(q), q.dtype), f"{blocks.scores()}, {blocks.totals()}"
        c.line(f"{c.helper('attention', ATTENTION)}({operands}, {scale}, {out}, {work})")

    def onnx(self, c: OnnxLowering) -> None:
        lower_expansion(c, expansion_of(self.opcode, c.input_types, self.expand))

    def expand(self, b: Emit, q: Value, k: Value, v: Value, *masks: Value) -> tuple[Value, ...]:
        """The operations that this one stands for, made with ``b``."""
        groups = k.type.shape[2]
        mask, keep = self.form.apart(masks)
        asking, values = (heads_first(b, x, groups) for x in (q, v))
        weights = self.form.keep(b, self.form.weights(b, asking, b.transpose(k, KEYS), q.type, mask), keep)
        stacked = b.reshape(weights, (*asking.type.shape[:3], k.type.shape[1]))
        return (heads_last(b, b.matmul(stacked, values), q.type),)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def sample(form: Attention, heads: int, groups: int, keys: Dim, *masks: tuple[Dim, ...]) -> Sample:
            shapes = (N, T, heads, 4), (N, keys, groups, 4), (N, keys, groups, 3)
            types = [TensorType(DType.F32, shape) for shape in shapes]
            types += [TensorType(DType.BOOL, mask) for mask in masks]
            return Sample(form, tuple(types), sizes=SIZES, values=tuple(map(_values, types, range(9))))

        return (
            sample(cls(), 2, 2, S),
            sample(cls(causal=True), 2, 2, T),
            sample(cls(causal=True), 4, 2, T),
            sample(cls(masked=True), 3, 1, S, (N, 1, 1, S)),
            sample(cls(True, True), 4, 2, T, (1, 4, T, T)),
            sample(cls(rate=0.5), 2, 2, S, (N, 2, T, S)),
            sample(cls(True, True, 0.75), 4, 2, T, (N, 1, T, 1), (N, 4, T, T)),
        )


def _values(type: TensorType, seed: int) -> Array:
    """Random numbers; truth values of which the first on the last axis always holds, so that nothing sees nothing."""
    random, shape = np.random.default_rng(seed), [evaluate(dim, SIZES) for dim in type.shape]
    if type.dtype is not DType.BOOL:
        return random.uniform(-2, 2, shape).astype(np.float32)
    chosen = random.random(shape) < 0.5
    chosen[..., 0] = True
    return chosen


@operation
@dataclass(frozen=True)
class AttentionGradient(FusedOp):
    """The gradients of attention by q, k and v: of its result's gradient, its result, and its operands.

    The weights are worked out again, as they take far more memory than anything else.
    """

    causal: bool = False
    masked: bool = False
    rate: float = 0.0

    opcode = "attention_gradient"

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        q, k, v = inputs[2:5]
        return product(q.shape[:3]) * k.shape[1] * (3 * q.shape[3] + 2 * v.shape[3])

    def expand(self, b: Emit, *inputs: Value) -> tuple[Value, ...]:
        gradient, result, q, k, v, *masks = inputs
        form, groups = Form(self.causal, self.masked, self.rate), k.type.shape[2]
        mask, keep = form.apart(masks)
        asking, keys, values, given, made = (heads_first(b, x, groups) for x in (q, k, v, gradient, result))
        weights = form.weights(b, asking, b.transpose(k, KEYS), q.type, mask)
        shape, stacked = weights.type.shape, (*asking.type.shape[:3], k.type.shape[1])
        slopes = form.keep(b, b.reshape(b.matmul(given, b.transpose(values, (0, 1, 3, 2))), shape), keep)
        delta = b.reshape(b.sum(b.mul(given, made), (-1,)), (*shape[:3], 1))
        slopes = b.mul(b.mul(weights, b.sub(slopes, delta)), scale_of(q.type))
        slopes, weights = (b.reshape(x, stacked) for x in (slopes, form.keep(b, weights, keep)))
        to_q = heads_last(b, b.matmul(slopes, keys), q.type)
        to_k = b.transpose(b.matmul(b.transpose(slopes, (0, 1, 3, 2)), asking), HEADS_FIRST)
        to_v = b.transpose(b.matmul(b.transpose(weights, (0, 1, 3, 2)), given), HEADS_FIRST)
        return to_q, to_k, to_v

    def numpy(self, c: NumpyLowering) -> None:
        gradient, result, q, k, v = c.inputs[:5]
        type, blocks = c.input_types[2], Blocks(c, 2, self.masked, self.causal, self.rate)
        common, features = blocks.common(), type.shape[3]
        c.helper("attention_sum", SUM)
        scale = c.scalar(scale_of(type), type.dtype)
        delta = c.scratch(type.with_shape(type.shape[:3]))
        c.line(f"np.vecdot({gradient}, {result}, out={delta})")
        asking, to_q = (blocks.queries(name, features) for name in (q, c.outputs[0]))
        given = blocks.queries(gradient, c.input_types[0].shape[3])
        sums = c.shape((*blocks.batch, 1, type.shape[1]))
        delta = c.view(delta, f"transpose(0, 2, 1).reshape({sums})")
        to_k, to_v = (c.view(name, "transpose(0, 2, 1, 3)") for name in c.outputs[1:])
        work = f"{blocks.scores()}, {blocks.scores()}, {blocks.products()}, {blocks.totals()}"
        c.line(
            f"{c.helper('attention_gradient', GRADIENT)}({asking}, {blocks.keys(k)}, {blocks.keys(v)}, {common}, "
            f"{scale}, {given}, {delta}, {to_q}, {to_k}, {to_v}, {work})"
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return [_gradient_sample(sample) for sample in Attention.samples()]


def _gradient_sample(sample: Sample) -> Sample:
    form = sample.operation
    assert isinstance(form, Attention)
    (result,) = form.infer(sample.operands)
    operation, values = AttentionGradient(form.causal, form.masked, form.rate), sample.values or ()
    received = (_values(result, 10), _values(result, 11))
    return replace(sample, operation=operation, operands=(result, result, *sample.operands), values=received + values)


def _same(action: str, what: str, a: Dim, b: Dim) -> None:
    """TypeMismatch unless both sizes are known to be the same."""
    same = equal(a, b)
    if same is None:
        raise unknown_equality(action, a, b, f"the {what} have to be as many: {a} and {b}")
    if not same:
        raise TypeMismatch("E0301", f"cannot {action}", f"the {what} have to be as many: {a} and {b}")
