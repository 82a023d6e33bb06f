"""The gradient of attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compiler.ir.dims import Dim, product
from compiler.ir.types import TensorType
from compiler.ops.attention_form import HEADS_FIRST, KEYS, Attending, Form, drawn, heads_first, heads_last, scale_of
from compiler.ops.attention_numpy import GRADIENT, SUM, Blocks
from compiler.ops.base import NumpyLowering, Sample, operation, registry
from compiler.ops.fused import FusedOp

if TYPE_CHECKING:
    from compiler.ir.graph import Value
    from compiler.ops.emit import Emit


@operation
@dataclass(frozen=True)
class AttentionGradient(FusedOp):
    """The gradients of attention by q, k and v: of its result's gradient, its result, where they are ``kept`` the
    weights [N, H, S, T] before dropout, and its operands, without the mask where the weights are kept.

    Otherwise the weights are worked out again, as those of long sequences take far more memory than anything else.
    """

    causal: bool = False
    masked: bool = False
    rate: float = 0.0
    kept: bool = False

    opcode = "attention_gradient"

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        q, k, v = inputs[2 + self.kept : 5 + self.kept]
        products = 2 if self.kept else 3
        return product(q.shape[:3]) * k.shape[1] * (products * q.shape[3] + 2 * v.shape[3])

    def expand(self, b: Emit, *inputs: Value) -> tuple[Value, ...]:
        gradient, result, *rest = inputs
        kept, (q, k, v, *masks) = rest[: int(self.kept)], rest[int(self.kept) :]
        form, groups = Form(self.causal, self.masked, self.rate), k.type.shape[2]
        mask, keep = form.apart(masks)
        asking, keys, values, given, made = (heads_first(b, x, groups) for x in (q, k, v, gradient, result))
        if kept:
            weights = b.transpose(kept[0], (0, 1, 3, 2))
        else:
            weights = form.weights(b, b.mul(asking, scale_of(q.type.shape[3])), b.transpose(k, KEYS), q.type, mask)
        shape, stacked = weights.type.shape, (*asking.type.shape[:3], k.type.shape[1])
        slopes = form.keep(b, b.reshape(b.matmul(given, b.transpose(values, (0, 1, 3, 2))), shape), keep)
        delta = b.reshape(b.sum(b.mul(given, made), (-1,)), (*shape[:3], 1))
        slopes = b.mul(b.mul(weights, b.sub(slopes, delta)), scale_of(q.type.shape[3]))
        slopes, weights = (b.reshape(x, stacked) for x in (slopes, form.keep(b, weights, keep)))
        to_q = heads_last(b, b.matmul(slopes, keys), q.type)
        to_k = b.transpose(b.matmul(b.transpose(slopes, (0, 1, 3, 2)), asking), HEADS_FIRST)
        to_v = b.transpose(b.matmul(b.transpose(weights, (0, 1, 3, 2)), given), HEADS_FIRST)
        return to_q, to_k, to_v

    def numpy(self, c: NumpyLowering) -> None:
        first = 2 + self.kept
        gradient, result, q, k, v = *c.inputs[:2], *c.inputs[first : first + 3]
        type = c.input_types[first]
        blocks = Blocks(c, first, self.masked, self.causal, self.rate, scale_of(type.shape[3]))
        common, features = blocks.common(), type.shape[3]
        c.helper("attention_sum", SUM)
        delta = c.scratch(type.with_shape(type.shape[:3]))
        c.line(f"np.vecdot({gradient}, {result}, out={delta})")
        c.line(f"np.multiply({delta}, {c.scalar(scale_of(type.shape[3]), type.dtype)}, out={delta})")
        asking, to_q = (blocks.queries(name, features) for name in (q, c.outputs[0]))
        given = blocks.queries(gradient, c.input_types[0].shape[3])
        sums = c.shape((*blocks.batch, 1, type.shape[1]))
        delta = c.view(delta, f"transpose(0, 2, 1).reshape({sums})")
        to_k, to_v = (c.view(name, "transpose(0, 2, 1, 3)") for name in c.outputs[1:])
        kept = blocks.weights(c.inputs[2]) if self.kept else None
        work = f"{blocks.scores()}, {blocks.scores()}, {blocks.turned()}, {blocks.products()}, {blocks.totals()}"
        c.line(
            f"{c.helper('attention_gradient', GRADIENT)}({asking}, {blocks.keys(k)}, {blocks.keys(v)}, {common}, "
            f"{given}, {delta}, {kept}, ({to_q}, {to_k}, {to_v}), ({work}))"
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        forward = registry()["attention"].samples()
        return [_sample(sample, kept) for kept in (False, True) for sample in forward]


def _sample(sample: Sample, kept: bool) -> Sample:
    """The sample of attention with what its gradient is given before its operands."""
    whole = sample.operation
    assert isinstance(whole, Attending)
    (result,), (q, k, *_), values = whole.infer(sample.operands), sample.operands, sample.values or ()
    received, operands = [result, result], sample.operands
    if kept:
        received.append(q.with_shape((q.shape[0], q.shape[2], k.shape[1], q.shape[1])))
        operands, values = operands[:3] + operands[3 + whole.masked :], values[:3] + values[3 + whole.masked :]
        operation = AttentionGradient(rate=whole.rate, kept=True)
    else:
        operation = AttentionGradient(whole.causal, whole.masked, whole.rate)
    values = tuple(drawn(type, seed) for seed, type in enumerate(received, 10)) + values
    return replace(sample, operation=operation, operands=(*received, *operands), values=values)
