"""A matrix product with what usually follows it, as one operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compiler.ir.dims import Dim, symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType
from compiler.ops.activation import Activation, Elu, Gelu, LeakyRelu, Relu, Sigmoid, Silu, Softplus, Tanh
from compiler.ops.base import Gradients, NumpyLowering, OnnxLowering, Op, Sample, Values, operation
from compiler.ops.emit import Emit
from compiler.ops.fused import FusedOp, StepLowering
from compiler.ops.matmul import MatMul, gradients_of_product, lower_matmul
from compiler.ops.relayed import RelayedLowering


@operation
@dataclass(frozen=True)
class Linear(FusedOp):
    """``activation(a @ w + bias)``: operands a, w and optionally the bias, which broadcasts to the product's shape.

    ``activation`` is an elementwise operation of one operand, or None.
    """

    activation: Op | None = None

    opcode = "linear"

    def expand(self, b: Emit, *inputs: Value) -> tuple[Value, ...]:
        a, weight, *bias = inputs
        result = b.matmul(a, weight)
        for value in bias:
            result = b.add(result, value)
        return (result if self.activation is None else b.add(self.activation, result),)

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        return MatMul().macs(inputs[:2], outputs)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        (left, weight, *bias), given, activation = inputs, gradients[0], self.activation
        if activation is not None:
            by_result = isinstance(activation, Activation) and activation.by_result
            before = () if by_result else (b.add(replace(self, activation=None), *inputs),)
            (found,) = activation.gradient(b, before, outputs, gradients)
            assert found is not None, "every activation has a gradient"
            given = found
        return *gradients_of_product(b, left, weight, given), *(given for _ in bias)

    def numpy(self, c: NumpyLowering) -> None:
        (out,), type = c.outputs, c.output_types[0]
        before = out if self.activation is None or 0 in self.activation.inplace else c.scratch(type)
        lower_matmul(c, before)
        if len(c.inputs) == 3:
            bias = c.view(c.inputs[2], "reshape(())") if c.input_types[2].size == 1 else c.inputs[2]
            c.line(f"np.add({before}, {bias}, out={before})")
        if self.activation is not None:
            self.activation.numpy(StepLowering(c, [(before, type)], (out, type)))

    def onnx(self, c: OnnxLowering) -> None:
        result = c.outputs if self.activation is None else None
        if len(c.inputs) == 3 and all(type.rank == 2 for type in c.input_types[:2]):
            before = c.node("Gemm", c.inputs, result)
        elif len(c.inputs) == 3:
            product = c.node("MatMul", c.inputs[:2])
            before = c.node("Add", (product, c.inputs[2]), result)
        else:
            before = c.node("MatMul", c.inputs, result)
        if self.activation is not None:
            type = c.output_types[0]
            self.activation.onnx(RelayedLowering(c, (before,), c.outputs, ([type], [type]), [True]))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        n = symbol("N")

        def sample(activation: Op | None, *shapes: tuple[Dim, ...]) -> Sample:
            return Sample(cls(activation), tuple(TensorType(DType.F32, shape) for shape in shapes), sizes={"N": 5})

        activations = (Relu(), Tanh(), Sigmoid(), LeakyRelu(0.2), Elu(), Gelu(), Gelu("tanh"), Silu(), Softplus())
        return (
            sample(None, (n, 4), (4, 3)),
            sample(None, (n, 4), (4, 3), (3,)),
            sample(None, (n, 4), (4, 3), (1, 3)),
            sample(None, (n, 2, 4), (4, 3), (3,)),
            sample(None, (n, 2, 4), (n, 4, 3), (2, 1)),
            sample(Relu(), (n, 4), (4, 3)),
            sample(Gelu(), (n, 2, 4), (4, 3), (3,)),
            *(sample(activation, (n, 4), (4, 3), (3,)) for activation in activations),
        )
