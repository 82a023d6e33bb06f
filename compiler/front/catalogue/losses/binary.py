"""Classification into two classes, or into any number that do not exclude each other."""

from __future__ import annotations

from compiler.front.catalogue.entry import ArgumentError, Context, Numbers, Operand, Value, entry
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.losses.common import (
    Given,
    are_labels,
    are_probabilities,
    at_labels,
    binary_logarithms,
    check_positive,
    check_smoothing,
    checked_axis,
    class_labels,
    class_logarithms,
    class_weights,
    comparable,
    mean_of,
    operand,
    tiny,
)
from compiler.ops.emit import Emit


@entry("loss")
def bce(
    c: Context,
    x: Value,
    target: Operand,
    *,
    positive_weight: float = 1.0,
    weights: Numbers | None = None,
    mask: Value | None = None,
    given: Given = "auto",
    smoothing: float = 0.0,
) -> Value:
    """Binary cross-entropy: the mean of -(w·t·log p + (1 - t)·log(1 - p)) over all elements.

    ``target`` t has the shape of ``x``, or is one number for all. ``positive_weight`` w above 1 makes positives count
    for more, against a data set with few of them; ``weights=[…]`` has one weight for each label along the last
    dimension, by which its terms are multiplied, as PyTorch's ``weight``. ``mask`` has the shape of ``x``, or the first
    dimensions of it: 0 or false leaves an element out, other numbers weigh it. ``smoothing`` s moves targets to
    t·(1 - s) + s/2. With ``given=auto`` what sigmoid made is taken for probabilities and everything else for logits;
    either way the stable form is computed.
    """
    b = c.b
    comparable("bce", x, target)
    check_smoothing(smoothing)
    check_positive("positive_weight", positive_weight, "the weight of positives")
    wanted = operand(b, x, target)
    if smoothing:
        wanted = b.add(b.mul(wanted, 1.0 - smoothing), smoothing / 2)
    if not are_probabilities(b, x, given, "sigmoid") and positive_weight == 1:
        # softplus(x) - t*x is the same with p = sigmoid(x), and never overflows.
        each = b.sub(b.softplus(x), b.mul(wanted, x))
    else:
        positive, negative = binary_logarithms(b, x, given)
        if positive_weight != 1:
            positive = b.mul(positive, positive_weight)
        each = b.neg(b.add(b.mul(wanted, positive), b.mul(b.sub(1.0, wanted), negative)))
    if weights is not None:
        of_labels = class_weights(b, "bce", x, checked_axis(x, -1), weights)
        each = each if of_labels is None else b.mul(each, of_labels)
    return mean_of(c, "bce", each, mask)


@entry("loss")
def focal(
    c: Context,
    x: Value,
    target: Operand,
    *,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weights: Numbers | None = None,
    mask: Value | None = None,
    given: Given = "auto",
) -> Value:
    """The mean of -a·(1 - p)^gamma·log p, with p the probability of the right answer: what is easy counts for little.

    Two classes: ``target`` holds 0 or 1 in the shape of ``x``, or is one such number for all; a is ``alpha`` where it
    is 1 and 1 - ``alpha`` where it is 0. Several: ``x`` has their scores along the last dimension and ``target`` holds
    class indices; a is the class's entry in ``weights=[…]``, or 1. ``mask`` is that of ``bce``. Lin et al., Focal loss
    for dense object detection, 2017, and its values of gamma and alpha.
    """
    b = c.b
    need_float(x, "focal")
    if not gamma >= 0:
        raise ArgumentError("gamma", f"the exponent gamma is 0 or more, not {gamma:g}")
    if not 0 <= alpha <= 1:
        raise ArgumentError("alpha", f"the share alpha of positives lies from 0 to 1: {alpha:g} does not")
    if isinstance(target, Value) and are_labels(x, target):
        return _focal_of_labels(c, x, target, gamma, weights, mask, given)
    comparable("focal", x, target)
    if weights is not None:
        title = "weights belong to classes, but the target of focal is one answer for each element"
        raise ArgumentError("weights", title, help=("give class indices as the target, or set alpha",))
    positive, negative = binary_logarithms(b, x, given)
    wanted = operand(b, x, target)
    other = b.sub(1.0, wanted)
    right = b.add(b.mul(wanted, positive), b.mul(other, negative))
    wrong = b.add(b.mul(wanted, negative), b.mul(other, positive))
    factors = b.add(b.mul(wanted, alpha), b.mul(other, 1.0 - alpha))
    return b.neg(mean_of(c, "focal", b.mul(factors, _focused(b, right, wrong, gamma)), mask))


def _focal_of_labels(
    c: Context, x: Value, target: Value, gamma: float, weights: Numbers | None, mask: Value | None, given: Given
) -> Value:
    b, axis = c.b, x.type.rank - 1
    of_classes = class_weights(b, "focal", x, axis, weights)
    labels = class_labels(c, "focal", x, target, axis)
    right = at_labels(b, class_logarithms(b, x, given, axis), labels.indices, axis)
    wrong = b.log(b.maximum(b.neg(b.expm1(right)), tiny(x)))
    each = _focused(b, right, wrong, gamma)
    if of_classes is not None:
        each = b.mul(each, b.gather(of_classes, labels.indices))
    return b.neg(mean_of(c, "focal", each, mask))


def _focused(b: Emit, right: Value, wrong: Value, gamma: float) -> Value:
    """(1 - p)^gamma·log p of ``right``, log p, and ``wrong``, log(1 - p), which has a gradient where 1 - p is 0 too."""
    return b.mul(b.exp(b.mul(wrong, gamma)), right) if gamma else right
