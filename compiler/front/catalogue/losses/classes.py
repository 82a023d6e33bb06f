"""Classification into exclusive classes."""

from __future__ import annotations

from compiler.front.catalogue.entry import ArgumentError, Context, Numbers, Operand, Value, entry
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.losses.common import (
    Given,
    at_labels,
    check_positive,
    check_smoothing,
    checked_axis,
    class_labels,
    class_logarithms,
    class_weights,
    mask_as,
    mean_of,
    same_dtype,
    same_shape,
    share,
)
from compiler.ops.emit import Emit


@entry("loss")
def cross_entropy(
    c: Context,
    x: Value,
    target: Value,
    *,
    weights: Numbers | None = None,
    ignore: int | None = None,
    mask: Value | None = None,
    smoothing: float = 0.0,
    given: Given = "auto",
    axis: int = -1,
) -> Value:
    """The mean of -log p(target) over all samples: classification into exclusive classes.

    ``x`` holds one score for each class along ``axis``; ``target`` either class indices (integers, the shape of ``x``
    without ``axis``) or probabilities of the shape of ``x`` (one-hot, or soft). ``smoothing`` mixes that share of the
    uniform distribution into the target (Szegedy et al., Rethinking the Inception architecture, 2016).

    ``weights=[…]`` has one weight for each class: with class indices the mean is the weighted one, divided by the sum
    of the weights met, with probabilities each term is multiplied, both as in PyTorch. Samples with the label
    ``ignore`` (such as -100, or that of padding) do not count; PyTorch ignores -100 unasked, here no label is.
    ``mask`` has the shape of the samples, or the first dimensions of it: 0 or false leaves a sample out, other numbers
    weigh it. Where nothing counts the loss is 0.

    With ``given=auto`` what softmax made is taken for probabilities and everything else for logits; either way the
    stable form is computed.
    """
    b = c.b
    need_float(x, "cross_entropy")
    axis = checked_axis(x, axis)
    check_smoothing(smoothing)
    of_classes = class_weights(b, "cross_entropy", x, axis, weights)
    scores = class_logarithms(b, x, given, axis)
    if target.type.dtype.is_integer or target.type.rank == x.type.rank - 1:
        return _of_labels(c, "cross_entropy", scores, target, axis, of_classes, ignore, mask, smoothing)
    if ignore is not None:
        raise ArgumentError("ignore", f"a label can be ignored among class indices, but the target is {target.type}")
    same_dtype("cross_entropy", x, target)
    same_shape("cross_entropy", x, target)
    weighted = scores if of_classes is None else b.mul(scores, _along(b, of_classes, x, axis))
    each = b.sum(b.mul(target, weighted), (axis,))
    if smoothing:
        each = _smoothed(b, each, weighted, axis, smoothing)
    return b.neg(mean_of(c, "cross_entropy", each, mask))


@entry("loss")
def nll(
    c: Context,
    x: Value,
    target: Value,
    *,
    weights: Numbers | None = None,
    ignore: int | None = None,
    mask: Value | None = None,
    axis: int = -1,
) -> Value:
    """The mean of -x[target]: cross-entropy where ``x`` holds logarithms of probabilities already.

    ``x`` has the classes along ``axis``; ``target`` holds class indices (integers, the shape of ``x`` without
    ``axis``). ``weights``, ``ignore`` and ``mask`` are those of ``cross_entropy``.
    """
    need_float(x, "nll")
    axis = checked_axis(x, axis)
    of_classes = class_weights(c.b, "nll", x, axis, weights)
    return _of_labels(c, "nll", x, target, axis, of_classes, ignore, mask)


@entry("loss")
def hinge(c: Context, x: Value, target: Operand, *, margin: float = 1.0, axis: int = -1) -> Value:
    """The mean of max(0, margin - t·x): how far scores are from the right side of the margin.

    Two classes: ``target`` holds -1 or 1 in the shape of ``x``, or is one such number for all. Several: ``x`` has their
    scores along ``axis`` and ``target`` holds class indices; the loss of a sample is then the mean over all classes of
    max(0, margin - x[target] + x[class]), the right class left out of the sum, as in PyTorch's ``multi_margin_loss``.
    """
    b = c.b
    need_float(x, "hinge")
    check_positive("margin", margin, "the margin")
    if not isinstance(target, Value) and target not in (-1, 1):
        raise ArgumentError("target", f"hinge takes -1 or 1 as the target, not {target:g}")
    if not isinstance(target, Value) or not target.type.dtype.is_integer:
        if isinstance(target, Value):
            same_dtype("hinge", x, target)
            same_shape("hinge", x, target)
        return b.mean(b.relu(b.sub(margin, b.mul(x, target))))
    axis = checked_axis(x, axis)
    labels = class_labels(c, "hinge", x, target, axis)
    shape = x.type.shape
    right = b.reshape(at_labels(b, x, labels.indices, axis), (*shape[:axis], 1, *shape[axis + 1 :]))
    each = b.relu(b.add(b.sub(x, right), margin))
    # The right class itself gives the margin, whatever the scores are.
    return b.sub(b.mean(each), margin / labels.classes)


def _of_labels(
    c: Context,
    loss: str,
    scores: Value,
    target: Value,
    axis: int,
    of_classes: Value | None,
    ignore: int | None,
    mask: Value | None,
    smoothing: float = 0.0,
) -> Value:
    """The mean over the samples of the negative score (log p) of their class."""
    b = c.b
    labels = class_labels(c, loss, scores, target, axis, ignore)
    each = at_labels(b, scores, labels.indices, axis)
    counted = None if labels.counted is None else b.cast(labels.counted, each.type.dtype)
    if mask is not None:
        factors = mask_as(b, loss, mask, each)
        counted = factors if counted is None else b.mul(counted, factors)
    own, weighted = None, scores
    if of_classes is not None:
        own, weighted = b.gather(of_classes, labels.indices), b.mul(scores, _along(b, of_classes, scores, axis))
        each = b.mul(each, own)
    if smoothing:
        each = _smoothed(b, each, weighted, axis, smoothing)
    if counted is None:
        return b.neg(b.mean(each) if own is None else share(b, each, own))
    return b.neg(share(b, b.mul(each, counted), counted if own is None else b.mul(counted, own)))


def _smoothed(b: Emit, each: Value, scores: Value, axis: int, smoothing: float) -> Value:
    return b.add(b.mul(each, 1.0 - smoothing), b.mul(b.mean(scores, (axis,)), smoothing))


def _along(b: Emit, of_classes: Value, x: Value, axis: int) -> Value:
    """A constant [classes] in a shape that broadcasts along ``axis``."""
    return b.reshape(of_classes, (x.type.shape[axis], *(1,) * (x.type.rank - axis - 1)))
