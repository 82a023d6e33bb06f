"""Similarity of embeddings, the vectors along the last dimension."""

from __future__ import annotations

from compiler.front.catalogue.entry import ArgumentError, Context, Operand, Value, entry
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.losses.common import check_positive, comparable
from compiler.ir.dims import equal
from compiler.ir.types import TypeMismatch
from compiler.ops.emit import Emit
from compiler.ops.shape import shape_text

# Added to squared lengths: the root of 0 has no gradient.
_EPSILON = 1e-12


@entry("loss")
def cosine_embedding(c: Context, x: Value, other: Value, label: Operand = 1, *, margin: float = 0.0) -> Value:
    """The mean of 1 - cos(x, other) where ``label`` is 1, and of max(0, cos(x, other) - margin) where it is -1.

    ``x`` and ``other`` ``[…, D]`` hold vectors; ``label`` holds 1 for those that are to be alike and -1 for those that
    are not, in the shape of the vectors' other dimensions, or is one number for all. As in PyTorch.
    """
    b = c.b
    _check_vectors("cosine_embedding", x, other)
    if not -1 <= margin <= 1:
        raise ArgumentError("margin", f"a cosine lies from -1 to 1, and so does its margin: {margin:g} does not")
    likeness = b.sum(b.mul(_unit(b, x), _unit(b, other)), (-1,))
    if not isinstance(label, Value):
        if label not in (-1, 1):
            raise ArgumentError("label", f"cosine_embedding takes -1 or 1 as the label, not {label:g}")
        each = b.sub(1.0, likeness) if label == 1 else b.relu(b.sub(likeness, margin))
        return b.mean(each)
    _check_labels("cosine_embedding", likeness, label)
    alike = b.greater(label, 0)
    return b.mean(b.select(alike, b.sub(1.0, likeness), b.relu(b.sub(likeness, margin))))


@entry("loss")
def contrastive(c: Context, x: Value, other: Value, same: Operand, *, margin: float = 1.0) -> Value:
    """The mean of d²/2 where ``same`` is 1, and of max(0, margin - d)²/2 where it is 0, with d = |x - other|.

    ``x`` and ``other`` ``[…, D]`` hold vectors, such as one network gives for the two of a pair; ``same`` tells whether
    they belong together, in the shape of the vectors' other dimensions, or as one number for all. Hadsell, Chopra and
    LeCun, Dimensionality reduction by learning an invariant mapping, 2006, where 0 stands for the same.
    """
    b = c.b
    _check_vectors("contrastive", x, other)
    check_positive("margin", margin, "the margin")
    distance = _distance(b, x, other)
    if isinstance(same, Value):
        _check_labels("contrastive", distance, same)
        together = b.cast(same, x.type.dtype)
    elif same in (0, 1):
        together = b.scalar(same, x.type.dtype)
    else:
        raise ArgumentError("same", f"contrastive takes 0 or 1 for a pair, not {same:g}")
    near, far = b.square(distance), b.square(b.relu(b.sub(margin, distance)))
    return b.mul(b.mean(b.add(b.mul(together, near), b.mul(b.sub(1.0, together), far))), 0.5)


@entry("loss")
def triplet(c: Context, anchor: Value, positive: Value, negative: Value, *, margin: float = 1.0) -> Value:
    """The mean of max(0, |anchor - positive| - |anchor - negative| + margin).

    The three ``[…, D]`` hold vectors: ``positive`` belongs with ``anchor``, ``negative`` does not. Distances are
    Euclidean. Schroff, Kalenichenko and Philbin, FaceNet, 2015 (which squares the distances); PyTorch's
    ``triplet_margin_loss`` and its margin.
    """
    b = c.b
    _check_vectors("triplet", anchor, positive)
    _check_vectors("triplet", anchor, negative)
    check_positive("margin", margin, "the margin")
    apart = b.sub(_distance(b, anchor, positive), _distance(b, anchor, negative))
    return b.mean(b.relu(b.add(apart, margin)))


def _check_vectors(loss: str, x: Value, other: Value) -> None:
    need_float(x, loss)
    if not x.type.rank:
        raise TypeMismatch("E0301", f"{loss} takes vectors along the last dimension, not the scalar {x.type}")
    comparable(loss, x, other)


def _check_labels(loss: str, each: Value, labels: Value) -> None:
    shape = each.type.shape
    if labels.type.rank != len(shape) or not all(map(equal, labels.type.shape, shape)):
        title = f"{loss} takes one label for each pair of vectors, {shape_text(shape)}, not {labels.type}"
        raise TypeMismatch("E0301", title, "the label has to have the shape of the vectors' other dimensions")


def _unit(b: Emit, x: Value) -> Value:
    """The vectors divided by their lengths."""
    return b.div(x, b.sqrt(b.add(b.sum(b.square(x), (-1,), keepdims=True), _EPSILON)))


def _distance(b: Emit, x: Value, other: Value) -> Value:
    """The Euclidean distance of the vectors."""
    return b.sqrt(b.add(b.sum(b.square(b.sub(x, other)), (-1,)), _EPSILON))
