"""Sequences of labels that nobody has aligned with the steps of their input."""

from __future__ import annotations

from compiler.front.catalogue.entry import ArgumentError, Context, Value, entry
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.losses.common import Given, class_count, class_logarithms
from compiler.front.catalogue.recurrent import check_lengths
from compiler.ir.dims import equal
from compiler.ir.types import DType, TypeMismatch


@entry("loss")
def ctc(
    c: Context,
    x: Value,
    target: Value,
    *,
    lengths: Value | None = None,
    target_lengths: Value | None = None,
    blank: int = 0,
    zero_infinity: bool = False,
    given: Given = "auto",
) -> Value:
    """Connectionist temporal classification: how unlikely it is that the steps of a sequence spell its labels.

    ``x`` ``[N, T, classes]`` has scores of the classes for each step, logits or probabilities as in ``cross_entropy``;
    ``target`` ``[N, S]`` the labels, class indices, of which there may be fewer than steps. Steps spell what is left
    when repetitions are joined and then every ``blank`` is left out: ``--hh-e-l-ll-oo`` spells hello. ``lengths`` [N],
    whole numbers, tell how many steps of each sequence count (all where they are not given), ``target_lengths`` how
    many labels: without it those before the first ``blank``, which is what targets are to be padded with.

    The loss of a sequence, -log p(labels), is divided by the number of its labels, and the mean is over the N
    sequences, as in PyTorch (Keras does not divide). It is infinite where there are too few steps for the labels, one
    for each and one more between two equal ones; with ``zero_infinity=true`` such a sequence counts as 0 and teaches
    nothing. Graves et al., Connectionist temporal classification, 2006.
    """
    b = c.b
    _check(c, x, target, blank)
    batch, steps, _ = x.type.shape
    most = target.type.shape[1]
    if lengths is None:
        lengths = b.expand(b.size(steps, DType.I64), (batch,))
    else:
        check_lengths(c, "lengths", lengths, batch, steps)
    if target_lengths is None:
        ends = b.select(b.equal(target, blank), b.arange(most), b.size(most, DType.I64))
        target_lengths = b.min(ends, (1,))
    else:
        check_lengths(c, "target_lengths", target_lengths, batch, most)
    labels = target if target.type.dtype in (DType.I32, DType.I64) else b.cast(target, DType.I64)
    each = b.ctc(class_logarithms(b, x, given, 2), labels, lengths, target_lengths, blank)
    if zero_infinity:
        each = b.select(b.equal(each, float("inf")), 0.0, each)
    return b.mean(b.div(each, b.cast(b.maximum(target_lengths, 1), x.type.dtype)))


def _check(c: Context, x: Value, target: Value, blank: int) -> None:
    need_float(x, "ctc")
    if x.type.rank != 3:
        title = f"ctc takes the scores of sequences such as f32[N, T, 27], not {x.type}"
        raise TypeMismatch("E0301", title, f"this has {x.type.rank} dimensions, not samples, steps and classes")
    classes = class_count("ctc", x, 2)
    if not 0 <= blank < classes:
        raise ArgumentError("blank", f"the blank is one of the classes 0 to {classes - 1}, not {blank}")
    if not target.type.dtype.is_integer:
        title, help = f"ctc takes labels as integers, not {target.type}", ("declare them as i64, or add cast(i64)",)
        raise TypeMismatch("E0303", title, f"the target is {target.type.dtype}", help)
    if target.type.rank != 2 or not equal(target.type.shape[0], x.type.shape[0]):
        wanted = f"{target.type.dtype}[{x.type.shape[0]}, S]"
        title = f"ctc of {x.type} takes labels of the type {wanted}, not {target.type}"
        raise TypeMismatch("E0301", title, "one row of labels for each sequence is needed")
    c.index_range(target, classes)
