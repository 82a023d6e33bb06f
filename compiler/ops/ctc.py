"""Connectionist temporal classification: how likely scores of each step are to spell a sequence of labels.

Graves et al., Connectionist temporal classification, 2006. A path gives each step a class; it spells what is left when
repetitions are joined and blanks are left out. The labels with a blank before, between and behind them are ``2·S + 1``
places; a path stays at its place, goes to the next, or past a blank between two different labels. All sums over paths
are made of logarithms in f64, in which what can't be reached is :data:`UNREACHED` rather than infinite: it can be
added, subtracted and compared without care.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.ir.dims import Dim, equal, symbol
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    Op,
    Sample,
    Sizes,
    Values,
    operation,
    without,
)
from compiler.ops.checks import listed, need_floats, need_indices
from compiler.ops.ctc_numpy import CTC, CTC_GRADIENT, UNREACHED, with_parts
from compiler.ops.parts import Cut, Joined
from compiler.ops.recurrent_numpy import mask_of, pair
from compiler.ops.shape import shape_text

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32, I32, I64 = DType.F32, DType.I32, DType.I64
N = symbol("N")
NO_ONNX = without("ONNX has no CTC loss; an exported model gives the scores, which is all that inference needs")


@dataclass(frozen=True)
class CtcBase(Op):
    """Operands: logarithms of probabilities [N, T, C], labels [N, S], how many steps of each sequence
    count [N], and how many labels [N] (i32 or i64). ``blank`` is the class that stands for no label."""

    blank: int

    onnx = NO_ONNX

    def paths_type(self, verb: str, inputs: tuple[TensorType, ...]) -> TensorType:
        """The type [T, N, 2·S + 1] of a number for each step and place. TypeMismatch for operands that do not fit."""
        scores, labels, *lengths = inputs[:4]
        need_floats(f"{verb} labels by the scores", scores)
        for type in (labels, *lengths):
            need_indices(f"{verb} with labels or lengths", type)
        _need_rank(verb, "scores", scores, 3)
        _need_rank(verb, "labels", labels, 2)
        for type in (labels, *lengths):
            if not equal(type.shape[0], scores.shape[0]) or (type is not labels and type.rank != 1):
                title = f"cannot {verb} {listed(inputs)}: labels and lengths belong to the {scores.shape[0]} sequences"
                raise TypeMismatch("E0301", title, f"{type} meets {scores}")
        return TensorType(DType.F64, (scores.shape[1], scores.shape[0], 2 * labels.shape[1] + 1))

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.by_carrier() if cut.axes[0] == 0 else None

    def places(self, labels: Array) -> tuple[Array, Array]:
        """The class of each place [N, 2·S + 1], and whether it can be reached from two places before it."""
        places = np.full((len(labels), 2 * labels.shape[1] + 1), self.blank)
        places[:, 1::2] = labels
        jumps = np.zeros(places.shape, bool)
        jumps[:, 3::2] = labels[:, 1:] != labels[:, :-1]
        return places, jumps

    def numpy_parts(self, c: NumpyLowering) -> str:
        """The expressions of what every walk along the paths needs, and of arrays to work in."""
        steps, batch, count = self.paths_type("", c.input_types).shape
        row = TensorType(DType.F64, (batch, count))
        spelled, jumps = c.scratch(row.with_dtype(I64)), c.scratch(row)
        emitted = c.scratch(c.input_types[0].with_shape((batch, steps, count)))
        beside = c.scratch(row.with_shape((batch, count + 2)))
        work, ends = [c.scratch(row) for _ in range(3)], c.scratch(TensorType(I64, (2, batch)))
        rows = c.bound(f"np.arange({c.dim(batch)}) * {c.dim(count + 2)}", TensorType(I64, (batch,)))
        alive = mask_of(c, c.inputs[2], steps, batch, (1,))
        return (
            f"{c.inputs[0]}, {c.inputs[1]}, {c.inputs[3]}, {alive}, {self.blank}, {spelled}, {jumps}, {emitted}, "
            f"{beside}, {ends}, {rows}, {pair(work)}"
        )


def _need_rank(verb: str, what: str, type: TensorType, rank: int) -> None:
    if type.rank != rank:
        wanted = shape_text(tuple(symbol(name) for name in ("N", "T", "C") if rank == 3 or name != "C"))
        raise TypeMismatch("E0301", f"cannot {verb} {what} {type}", f"they have to be {wanted}")


def _reachable(first: Array, second: Array, jump: Array, jumps: Array) -> Array:
    """The logarithm of the sum of what comes from three places; from the last of them where ``jumps``."""
    reached = np.logaddexp(np.logaddexp(first, second), np.where(jumps, jump, UNREACHED))
    return np.maximum(reached, UNREACHED)


def _shifted(values: Array, by: int) -> Array:
    """The values of the places ``by`` places before (behind, where it is negative)."""
    moved = np.full_like(values, UNREACHED)
    if by > 0:
        moved[by:] = values[:-by]
    else:
        moved[:by] = values[-by:]
    return moved


@operation
@dataclass(frozen=True)
class Ctc(CtcBase):
    """The negative logarithm of the probability of each sequence's labels [N], infinite where there are too few steps
    for them; and, for the gradient, that of all paths up to each step and place [T, N, 2·S + 1]."""

    opcode = "ctc"
    auxiliary = 1

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        walked = self.paths_type("spell", inputs)
        return inputs[0].with_shape((inputs[0].shape[0],)), walked

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        operands = (*inputs, *outputs, gradients[0])
        return b.add(CtcGradient(self.blank), *operands), None, None, None

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        scores, labels, lengths, counts = operands
        batch, steps, _ = scores.shape
        places, jumps = self.places(labels)
        losses, walked = np.zeros(batch), np.full((steps, *places.shape), UNREACHED)
        for n in range(batch):
            now = np.full(places.shape[1], UNREACHED)
            now[0] = 0
            for t in range(steps):
                if t < lengths[n]:
                    reached = _reachable(now, _shifted(now, 1), _shifted(now, 2), jumps[n])
                    # Before the first step stands the first place, from which the first label is reached too.
                    now = np.maximum(reached + scores[n, t, places[n]], UNREACHED)
                walked[t, n] = now
            ends = now[max(0, 2 * counts[n] - 1) : 2 * counts[n] + 1]
            losses[n] = -np.logaddexp.reduce(ends.astype(np.float64))
        losses[losses > -UNREACHED / 2] = np.inf
        return losses.astype(scores.dtype), walked

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"{with_parts(c, 'ctc', CTC)}({self.numpy_parts(c)}, {pair(c.outputs)})")

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        uses = _uses()[:-1]
        return [Sample(cls(blank), types, sizes={"N": len(values[0])}, values=values) for blank, types, values in uses]


@operation
@dataclass(frozen=True)
class CtcGradient(CtcBase):
    """The gradient of ctc to the logarithms of probabilities; operands are those of ctc, its results, and the gradient
    to its first one. Where labels can't be spelled it is 0."""

    opcode = "ctc_gradient"
    gradient = without("ctc can be differentiated once only")

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        self.paths_type("make the gradient of ctc from", inputs)
        return inputs[:1]

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        scores, labels, lengths, counts, losses, walked, given = operands
        batch, steps, _ = scores.shape
        places, jumps = self.places(labels)
        result = np.zeros(scores.shape)
        for n in range(batch):
            if not np.isfinite(losses[n]):
                continue
            left = np.full(places.shape[1], UNREACHED)
            left[max(0, 2 * counts[n] - 1) : 2 * counts[n] + 1] = 0
            for t in reversed(range(min(steps, int(lengths[n])))):
                share = np.exp(np.minimum(0, walked[t, n] + left + losses[n]))
                np.subtract.at(result[n, t], places[n], share * given[n])
                left = np.maximum(left + scores[n, t, places[n]], UNREACHED)
                over = np.roll(jumps[n], -2)
                left = _reachable(left, _shifted(left, -1), _shifted(left, -2), over)
        return (result.astype(scores.dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        steps, batch, count = self.paths_type("", c.input_types).shape
        classes = c.input_types[0].shape[2]
        shapes: list[tuple[Dim, ...]] = [(batch, count), (batch, steps, count), (batch, count, classes)]
        found = [c.scratch(TensorType(DType.F64, shape)) for shape in shapes]
        each = c.bound(f"np.arange({c.dim(classes)})", TensorType(I64, (classes,)))
        c.line(
            f"{with_parts(c, 'ctc_gradient', CTC_GRADIENT)}({self.numpy_parts(c)}, {pair(c.inputs[4:])}, "
            f"{pair([*found, each])}, {c.outputs[0]})"
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        found = []
        random = np.random.default_rng(4)
        for blank, types, values in _uses():
            losses, walked = Ctc(blank).reference({}, *values)
            given = random.uniform(-1, 1, losses.shape).astype(np.float32)
            one, paths = TensorType(F32, (N,)), TensorType(DType.F64, (len(walked), N, walked.shape[2]))
            whole = (*values, losses, walked, given)
            found.append(Sample(cls(blank), (*types, one, paths, one), sizes={"N": len(losses)}, values=whole))
        return found


def _uses() -> Sequence[tuple[int, tuple[TensorType, ...], Any]]:
    """Repeated labels, lengths of all kinds, no label at all; in the last one labels that can't be spelled too."""
    random = np.random.default_rng(7)

    def case(blank: int, labels: Any, lengths: Any, counts: Any, steps: int, classes: int, kind: DType) -> Any:
        scores = random.uniform(-3, 3, (len(labels), steps, classes))
        scores -= np.log(np.exp(scores).sum(2, keepdims=True))
        whole = [np.array(values, kind.numpy) for values in (labels, lengths, counts)]
        shapes: list[tuple[Dim, ...]] = [(N, *array.shape[1:]) for array in (scores, *whole)]
        types = tuple(TensorType(F32 if i == 0 else kind, shape) for i, shape in enumerate(shapes))
        return blank, types, (scores.astype(np.float32), *whole)

    return (
        case(0, [[1, 2], [1, 1], [2, 0]], [5, 4, 5], [2, 2, 1], 5, 4, I64),
        case(2, [[0, 1, 0], [0, 0, 0], [1, 2, 2], [1, 0, 1]], [6, 5, 6, 1], [3, 3, 0, 1], 6, 3, I32),
        case(1, [[0]], [1], [1], 1, 2, I64),
        case(0, [[1, 1], [2, 1]], [2, 9], [2, 2], 4, 3, I64),
    )
