"""Losses: what training makes smaller. Each is a mean over all its elements, a scalar.

Classification losses take logits or probabilities. With ``given=auto`` a value that was made by softmax (for bce:
sigmoid) is taken for probabilities, everything else for logits; either way the stable form is computed.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from compiler.front.catalogue.entry import ArgumentError, Context, Operand, Value, entry
from compiler.front.catalogue.layers import fixed_size, need_float
from compiler.ir.dims import equal
from compiler.ir.types import DType, TypeMismatch
from compiler.ops.emit import Emit

Given: TypeAlias = Literal["auto", "logits", "probabilities"]


def made_by(b: Emit, x: Value, opcode: str) -> bool:
    """Whether ``x`` is the result of the operation ``opcode``, views in between aside."""
    while (node := b.producer(x)) is not None:
        if node.operation.opcode in ("reshape", "stop_gradient"):
            x = node.inputs[0]
        else:
            return node.operation.opcode == opcode
    return False


def operand(b: Emit, x: Value, other: Operand) -> Value:
    """``other`` as a value: a number becomes a constant of the dtype of ``x``."""
    return other if isinstance(other, Value) else b.scalar(other, x.type.dtype)


def same_shape(loss: str, x: Value, target: Value) -> None:
    """TypeMismatch unless both have one shape: broadcasting in a loss hides mistakes."""
    known = [equal(a, b) for a, b in zip(x.type.shape, target.type.shape, strict=False)]
    if x.type.rank == target.type.rank and all(known):
        return
    code = "E0302" if x.type.rank == target.type.rank and False not in known else "E0301"
    raise TypeMismatch(
        code,
        f"{loss} compares {x.type} with {target.type}",
        "both have to have the same shape",
        ("a loss does not broadcast: reshape one of them",),
    )


def same_dtype(loss: str, x: Value, target: Value) -> None:
    """TypeMismatch unless both have one element type."""
    if x.type.dtype != target.type.dtype:
        raise TypeMismatch(
            "E0303",
            f"{loss} compares {x.type} with {target.type}",
            f"{x.type.dtype} and {target.type.dtype} are different element types",
            (f"convert the target: cast({x.type.dtype})",),
        )


def _tiny(x: Value) -> float:
    """The smallest normal number of the dtype: keeps the logarithm of a probability finite."""
    return _SMALLEST[x.type.dtype]


_SMALLEST = {DType.F16: 2.0**-14, DType.BF16: 2.0**-126, DType.F32: 2.0**-126, DType.F64: 2.0**-1022}


@entry("loss")
def cross_entropy(
    c: Context, x: Value, target: Value, *, smoothing: float = 0.0, given: Given = "auto", axis: int = -1
) -> Value:
    """The mean of -log p(target) over all samples: classification into exclusive classes.

    ``x`` holds one score for each class along ``axis``; ``target`` either class indices (integers, the shape of ``x``
    without ``axis``) or probabilities of the shape of ``x`` (one-hot, or soft). ``smoothing`` mixes that share of the
    uniform distribution into the target (Szegedy et al., Rethinking the Inception architecture, 2016).
    """
    b = c.b
    need_float(x, "cross_entropy")
    if not -x.type.rank <= axis < x.type.rank:
        raise ArgumentError("axis", f"{x.type} has no dimension {axis}")
    if not 0.0 <= smoothing < 1.0:
        raise ArgumentError("smoothing", f"label smoothing lies from 0 up to, not including, 1: {smoothing} does not")
    axis %= x.type.rank
    probabilities = given == "probabilities" or (given == "auto" and made_by(b, x, "softmax"))
    scores = b.log(b.maximum(x, _tiny(x))) if probabilities else b.log_softmax(x, axis)
    if target.type.dtype.is_integer:
        chosen = _scores_of_classes(c, x, scores, target, axis)
    else:
        if target.type.rank == x.type.rank - 1:
            raise TypeMismatch(
                "E0303",
                f"cross_entropy takes class indices as integers, not {target.type}",
                f"the target is {target.type.dtype}",
                ("declare the labels as i64, or convert them: cast(i64)",),
            )
        same_dtype("cross_entropy", x, target)
        same_shape("cross_entropy", x, target)
        chosen = b.sum(b.mul(target, scores), (axis,))
    loss = b.neg(b.mean(chosen))
    if smoothing:
        loss = b.add(b.mul(loss, 1.0 - smoothing), b.mul(b.mean(scores), -smoothing))
    return loss


def _scores_of_classes(c: Context, x: Value, scores: Value, target: Value, axis: int) -> Value:
    samples = (*x.type.shape[:axis], *x.type.shape[axis + 1 :])
    if target.type.rank != len(samples) or not all(map(equal, target.type.shape, samples)):
        wanted = x.type.with_shape(samples).with_dtype(target.type.dtype)
        raise TypeMismatch(
            "E0301",
            f"cross_entropy of {x.type} takes class indices of the type {wanted}, not {target.type}",
            f"one index for each row of {x.type.shape[axis]} scores is needed",
        )
    c.index_range(target, fixed_size(x, axis, "cross_entropy"))
    b = c.b
    indices = b.cast(target, DType.I64)
    column = b.reshape(indices, (*x.type.shape[:axis], 1, *x.type.shape[axis + 1 :]))
    return b.reshape(b.take_along(scores, column, axis), samples)


@entry("loss")
def bce(c: Context, x: Value, target: Operand, *, given: Given = "auto", smoothing: float = 0.0) -> Value:
    """Binary cross-entropy: the mean of -(t·log p + (1 - t)·log(1 - p)) over all elements.

    ``target`` has the shape of ``x``, or is one number for all. ``smoothing`` s moves targets to t·(1 - s) + s/2.
    """
    b = c.b
    need_float(x, "bce")
    if not 0.0 <= smoothing < 1.0:
        raise ArgumentError("smoothing", f"label smoothing lies from 0 up to, not including, 1: {smoothing} does not")
    wanted = operand(b, x, target)
    if isinstance(target, Value):
        same_dtype("bce", x, target)
        same_shape("bce", x, target)
    if smoothing:
        wanted = b.add(b.mul(wanted, 1.0 - smoothing), smoothing / 2)
    if given == "probabilities" or (given == "auto" and made_by(b, x, "sigmoid")):
        positive = b.log(b.maximum(x, _tiny(x)))
        negative = b.log(b.maximum(b.sub(1.0, x), _tiny(x)))
        each = b.add(b.mul(wanted, positive), b.mul(b.sub(1.0, wanted), negative))
        return b.neg(b.mean(each))
    # softplus(x) - t*x is the same with p = sigmoid(x), and never overflows.
    return b.mean(b.sub(b.softplus(x), b.mul(wanted, x)))


@entry("loss")
def mse(c: Context, x: Value, target: Operand) -> Value:
    """The mean squared error over all elements."""
    return c.b.mean(c.b.square(_difference(c, "mse", x, target)))


@entry("loss")
def mae(c: Context, x: Value, target: Operand) -> Value:
    """The mean absolute error over all elements."""
    return c.b.mean(c.b.abs(_difference(c, "mae", x, target)))


def _difference(c: Context, loss: str, x: Value, target: Operand) -> Value:
    need_float(x, loss)
    if isinstance(target, Value):
        same_dtype(loss, x, target)
        same_shape(loss, x, target)
    return c.b.sub(x, target)
