"""Binary cross-entropy of logits, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.ir.dims import symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType
from compiler.ops.activation import lower_clip
from compiler.ops.base import Gradients, NumpyLowering, Sample, Values, f32, operation
from compiler.ops.emit import Emit
from compiler.ops.fused import FusedOp


@operation
@dataclass(frozen=True)
class LogisticLoss(FusedOp):
    """``-(t·log p + (1 - t)·log(1 - p))`` with ``p = sigmoid(z)``: operands the logits z and the targets t.

    Computed as ``max(z, 0) - t·z + log(1 + exp(-|z|))``, which neither overflows nor loses the digits of a small loss.
    """

    opcode = "logistic_loss"
    elementwise = True
    inplace = (1,)

    def expand(self, b: Emit, *inputs: Value) -> tuple[Value, ...]:
        z, t = inputs
        return (b.add(b.sub(b.relu(z), b.mul(t, z)), b.softplus(b.neg(b.abs(z)))),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        z, t = inputs
        return b.mul(gradients[0], b.sub(b.sigmoid(z), t)), b.neg(b.mul(gradients[0], z))

    def numpy(self, c: NumpyLowering) -> None:
        (z, t), (out,), type = c.inputs, c.outputs, c.output_types[0]
        work = c.scratch(type)
        c.line(f"np.multiply({t}, {z}, out={out})")
        lower_clip(c, z, work, low=0)
        c.line(f"np.subtract({work}, {out}, out={out})")
        c.line(f"np.copysign({z}, {c.scalar(-1, type.dtype)}, out={work})")
        c.line(f"np.exp({work}, out={work})")
        c.line(f"np.log1p({work}, out={work})")
        c.line(f"np.add({out}, {work}, out={out})")

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        type = TensorType(DType.F32, (symbol("N"), 3))
        logits = f32([[-1000, -90, -20], [-1e-4, 1e-4, 20], [90, 1000, 3]])
        targets = f32([[0, 1, 0], [0.5, 1, 1], [0, 1, 0.25]])
        return (
            Sample(cls(), (type, type), sizes={"N": 4}),
            Sample(cls(), (type, TensorType(DType.F32)), sizes={"N": 4}),
            Sample(cls(), (type, type), sizes={"N": 3}, values=(logits, targets)),
        )
