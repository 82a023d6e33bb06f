"""The error function, which NumPy does not have: two functions for generated programs, written with NumPy alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.types import DType
from compiler.ops.base import Array, FacetError, Gradients, NumpyLowering, OnnxLowering, Sizes, Values, operation
from compiler.ops.unary import Unary

if TYPE_CHECKING:
    from compiler.ops.emit import Emit


@operation
@dataclass(frozen=True)
class Erf(Unary):
    """The error function ``2/sqrt(pi)`` times the integral of ``exp(-t*t)`` from 0 to x."""

    opcode = "erf"
    inplace = ()
    verb, onnx_kind = "take the error function of", "Erf"
    domain = (-4.0, 4.0)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        bell = b.exp(b.neg(b.square(inputs[0])))
        return (b.mul(gradients[0], b.mul(bell, 2 / math.sqrt(math.pi))),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (reference_erf(operands[0].astype(np.float64)).astype(operands[0].dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        lower_erf(c, c.inputs[0], c.outputs[0])

    def onnx(self, c: OnnxLowering) -> None:
        refuse_f64_erf(c)
        super().onnx(c)


def reference_erf(x: Array) -> Array:
    """The error function of f64 elements, by the C library."""
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def refuse_f64_erf(c: OnnxLowering) -> None:
    """Raise FacetError for f64, for which ONNX Runtime has no Erf and no way to compose it to that precision."""
    if c.output_types[0].dtype is DType.F64:
        raise FacetError("ONNX Runtime has no error function for f64: use f32, or gelu(approximate=tanh)")


def lower_erf(c: NumpyLowering, x: str, out: str) -> None:
    """Write the statements that fill the array ``out``, which is not ``x``, with the error function of ``x``."""
    type = c.output_types[0]
    if type.dtype is DType.F64:
        c.line(f"{c.helper('erf_f64', ERF_F64)}({x}, {out})")
    elif type.dtype is DType.F32:
        c.line(f"{c.helper('erf_f32', ERF_F32)}({x}, {out}, {c.scratch(type)})")
    else:
        single = type.with_dtype(DType.F32)
        wide, result = c.scratch(single), c.scratch(single)
        c.line(f"np.copyto({wide}, {x})")
        c.line(f"{c.helper('erf_f32', ERF_F32)}({wide}, {result}, {c.scratch(single)})")
        c.line(f"np.copyto({out}, {result}, casting='unsafe')")


# A minimax fit of atanh(erf(x))/x for |x| <= 4, of degree 6 in x*x, by reweighted least squares on Chebyshev nodes.
# The relative error is below 1e-7 in exact arithmetic and below 3e-7 in f32 (measured on 2 million points in -6 to 6).
# The argument is cut at 4.2, a little beyond, where tanh gives exactly 1 in f32.
ERF_F32 = '''\
def erf_f32(x, out, work):
    """The error function as tanh(x * P(x*x)), within 3e-7 of the value; `work` is overwritten, `out` is not `x`."""
    x.clip(np.float32(-4.2), np.float32(4.2), out=out)
    np.square(out, out=out)
    np.multiply(out, np.float32(1.41844278e-07), out=work)
    for coefficient in (-5.66832521e-06, 8.7636327e-05, -0.000619781762, -0.000191834468, 0.102769058):
        np.add(work, np.float32(coefficient), out=work)
        np.multiply(work, out, out=work)
    np.add(work, np.float32(1.12837927), out=work)
    x.clip(np.float32(-4.2), np.float32(4.2), out=out)
    np.multiply(work, out, out=out)
    np.tanh(out, out=out)
'''

# W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23 (1969), with the
# coefficients of his SPECFUN program CALERF. The second fit, meant for 0.46875 to 4, serves beyond 4 too: what it gets
# wrong of erfc there is far below the rounding of 1 - erfc.
ERF_F64 = '''\
def erf_f64(x, out):
    """The error function, within 1e-15 of the value."""
    a = (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
         3.20937758913846947e3)
    b = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
    c = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
         2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
         1.23033935479799725e3)
    d = (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
         3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3)
    size = np.minimum(np.abs(x), 6.0)
    square = size * size
    near = x * np.polyval(a, square) / np.polyval(b, square)
    far = np.copysign(1.0 - np.exp(-square) * np.polyval(c, size) / np.polyval(d, size), x)
    np.copyto(out, np.where(size <= 0.46875, near, far))
'''
