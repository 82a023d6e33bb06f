"""Attention as NumPy statements, block by block: the scores of all queries are never there at once.

Arrays of the helpers have the axes [samples, groups, heads, …]: the heads of a group share their keys and values, whose
own third axis has length 1. Scores lie keys first, queries last, as NumPy reduces the last axis but one faster.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.dims import Dim, bounds, floor_divide, product
from compiler.ir.types import DType, TensorType
from compiler.ops.arrays import filled
from compiler.ops.base import NumpyLowering

# What is taken from scores that are not to count: so much that they vanish beside it, and far from overflow.
HIDDEN = {DType.F16: 3e4, DType.BF16: 1e30, DType.F32: 1e30, DType.F64: 1e30}
# Scores up to this are not made smaller by the largest one before they are powers of e: their sums do not overflow, and
# none of them is 0. In f16 and bf16 the range is too small for that.
SMALL = {DType.F16: 0.0, DType.BF16: 0.0, DType.F32: 40.0, DType.F64: 300.0}
# How many queries of a sample are worked on at once, how many scores, and how large the arrays for these are: what fits
# into a processor's cache, and what a single sample may take of it.
QUERIES = 128
SCORES = 2**16
MOST = 2**18

BLOCKS = f'''
def attention_blocks(samples, heads, queries, keys, features, causal):
    """Samples, queries and the keys these look at, as slices: for each part of the samples the last queries first."""
    rows = min(queries, {QUERIES})
    count = max(1, {SCORES} // (heads * max(keys * rows, keys * features, rows * features)))
    for first in range(0, samples, count):
        part = slice(first, min(first + count, samples))
        for start in reversed(range(0, queries, rows)):
            stop = min(start + rows, queries)
            yield part, slice(start, stop), slice(0, stop if causal else keys)
'''

WORK = '''
def attention_work(work, *shape):
    """An array of `shape` at the beginning of `work`, or a new one where that is too small."""
    size = int(np.prod(shape))
    return (work[:size] if size <= work.size else np.empty(size, work.dtype)).reshape(shape)
'''

WEIGHTS = '''
def attention_weights(q, k, bias, how, weights, turned, totals):
    """Fill `weights` with the exponentials of `scale * k @ q + bias`, less its largest for each query unless all are
    `small`; gives their sums over the keys."""
    triangle, scale, small, ones = how
    *batch, queries, features = q.shape
    turned = attention_work(turned, *batch, features, queries)
    total = attention_work(totals, *batch, 1, queries)
    np.multiply(q.swapaxes(-1, -2), scale, out=turned)
    np.matmul(k, turned, out=weights)
    as_is = bias is None and -small <= weights.min() and weights.max() <= small
    if bias is not None:
        np.add(weights, bias, out=weights)
    if triangle is not None:
        last = weights[..., weights.shape[-2] - queries :, :]
        np.add(last, triangle[:queries, :queries], out=last)
    if not as_is:
        np.maximum.reduce(weights, axis=-2, keepdims=True, out=total)
        np.subtract(weights, total, out=weights)
    np.exp(weights, out=weights)
    np.matmul(ones[: weights.shape[-2]], weights, out=total[..., 0, :])
    return total
'''

ATTENTION = '''
def attention(q, k, v, bias, keep, share, how, out, kept, work):
    """Fill `out` with `softmax(scale * q @ k + bias) @ v`; `keep` drops weights of which the `share` is kept, and where
    `kept` is not None the weights before that go there."""
    scores, turned, totals = work
    samples, groups, heads, queries, features = q.shape
    keys = k.shape[3]
    if bias is not None:
        bias = np.broadcast_to(bias, (samples, groups, heads, keys, queries))
    sizes = samples, groups * heads, queries, keys, features
    for part, rows, keys in attention_blocks(*sizes, how[0] is not None):
        seen = None if bias is None else bias[part, :, :, keys, rows]
        asking, target = q[part, :, :, rows], out[part, :, :, rows]
        shape = *asking.shape[:3], keys.stop, asking.shape[3]
        weights = attention_work(scores, *shape) if kept is None else kept[part]
        total = attention_weights(asking, k[part, :, :, keys], seen, how, weights, turned, totals)
        if kept is not None:
            np.divide(weights, total, out=weights)
        left = weights
        if keep is not None:
            left = attention_work(scores, *shape)
            np.multiply(weights, keep[part, :, :, keys, rows], out=left)
        np.matmul(left.swapaxes(-1, -2), v[part, :, :, keys], out=target)
        if kept is None:
            np.divide(target, total.swapaxes(-1, -2), out=target)
        if keep is not None:
            np.divide(target, share, out=target)
'''

SUM = '''
def attention_sum(a, b, target, first, products):
    """Add `a @ b`, summed over the heads of each group, to `target`; `first` says that nothing is there yet."""
    heads = a.shape[2]
    if first and heads == 1:
        np.matmul(a, b, out=target[:, :, None])
        return
    product = attention_work(products, *a.shape[:4], b.shape[4])
    np.matmul(a, b, out=product)
    if first:
        np.add.reduce(product, axis=2, out=target)
        return
    for head in range(heads):
        np.add(target, product[:, :, head], out=target)
'''

GRADIENT = '''
def attention_gradient(q, k, v, bias, keep, share, how, g, delta, kept, results, work):
    """Fill the gradients to q, k and v, the `results`: `g` is that to the result, `delta` the sum of its products with
    the result times the scale. Without `kept` weights these are worked out again.

    Of q, g and the gradients to q the last axes are queries, features.
    """
    to_q, to_k, to_v = results
    scores, slopes, turned, products, totals = work
    samples, groups, heads, queries, features = q.shape
    keys = k.shape[3]
    if bias is not None:
        bias = np.broadcast_to(bias, (samples, groups, heads, keys, queries))
    sizes = samples, groups * heads, queries, keys, max(features, v.shape[4])
    for part, rows, keys in attention_blocks(*sizes, how[0] is not None):
        seen = None if bias is None else bias[part, :, :, keys, rows]
        asking, given, looked_at = q[part, :, :, rows], g[part, :, :, rows], k[part, :, :, keys]
        shape = *asking.shape[:3], keys.stop, asking.shape[3]
        if kept is None:
            weights = attention_work(scores, *shape)
            total = attention_weights(asking, looked_at, seen, how, weights, turned, totals)
            np.divide(weights, total, out=weights)
        else:
            weights = kept[part]
        slope = attention_work(slopes, *shape)
        scaled = attention_work(turned, *given.shape[:3], given.shape[4], given.shape[3])
        np.multiply(given.swapaxes(-1, -2), how[1], out=scaled)
        np.matmul(v[part, :, :, keys], scaled, out=slope)
        if keep is not None:
            counted = keep[part, :, :, keys, rows]
            np.multiply(slope, counted, out=slope)
            np.divide(slope, share, out=slope)
        np.subtract(slope, delta[part, ..., rows], out=slope)
        np.multiply(slope, weights, out=slope)
        np.matmul(slope.swapaxes(-1, -2), looked_at, out=to_q[part, :, :, rows])
        first = rows.stop == queries
        attention_sum(slope, asking, to_k[part, :, keys], first, products)
        if keep is not None:
            np.multiply(weights, counted, out=slope)
            np.divide(slope, share, out=slope)
            weights = slope
        attention_sum(weights, given, to_v[part, :, keys], first, products)
'''


@dataclass(frozen=True)
class Blocks:
    """What the statements of attention and of its gradient have in common.

    Operands ``first`` to ``first + 2`` are q [N, T, H, D], k [N, S, G, D] and v [N, S, G, E]; behind them stand a mask
    and the weights to keep, where there are any.
    """

    c: NumpyLowering
    first: int
    masked: bool
    causal: bool
    rate: float
    scale: float

    @property
    def dtype(self) -> DType:
        return self.c.input_types[self.first].dtype

    @property
    def batch(self) -> tuple[Dim, Dim, Dim]:
        """Samples, groups, and the heads of each."""
        samples, _, heads, _ = self.c.input_types[self.first].shape
        groups = self.c.input_types[self.first + 1].shape[2]
        return samples, groups, floor_divide(heads, groups)

    @property
    def lengths(self) -> tuple[Dim, Dim]:
        """How many queries and keys there are."""
        return self.c.input_types[self.first].shape[1], self.c.input_types[self.first + 1].shape[1]

    @property
    def features(self) -> tuple[Dim, Dim]:
        """How many features queries and keys have, and how many values."""
        return self.c.input_types[self.first].shape[3], self.c.input_types[self.first + 2].shape[3]

    def queries(self, name: str, features: Dim) -> str:
        """An array [N, T, H, features] as [N, G, H/G, T, features]."""
        shape = self.c.shape((*self.batch, self.lengths[0], features))
        return self.c.view(name, f"transpose(0, 2, 1, 3).reshape({shape})")

    def keys(self, name: str) -> str:
        """An array [N, S, G, features] as [N, G, 1, S, features]."""
        return self.c.view(name, "transpose(0, 2, 1, 3)[:, :, None]")

    def weights(self, name: str) -> str:
        """The weights [N, H, S, T] as [N, G, H/G, S, T]."""
        return self.c.view(name, f"reshape({self.c.shape((*self.batch, *reversed(self.lengths)))})")

    def scores(self) -> str:
        """An array to work in for the scores of a block."""
        return self._work(product((*self.batch, *self.lengths)))

    def turned(self) -> str:
        """An array to work in for the queries of a block, or for the gradients to what they were answered."""
        return self._work(*(product((*self.batch, self.lengths[0], features)) for features in self.features))

    def products(self) -> str:
        """An array to work in for the gradients to the keys, or to the values, of a block."""
        return self._work(*(product((*self.batch, self.lengths[1], features)) for features in self.features))

    def _work(self, *sizes: Dim) -> str:
        size = max(sizes, key=lambda size: bounds(size)[1])
        return self.c.scratch(TensorType(self.dtype, (size if bounds(size)[1] <= MOST else MOST,)))

    def totals(self) -> str:
        """An array to work in for one number to each query."""
        return self.c.scratch(TensorType(self.dtype, (product((*self.batch, self.lengths[0])),)))

    def common(self) -> str:
        """The arguments ``bias, keep, share, how`` of both helpers, as a text; ``how`` is for the weights."""
        for name, source in (("blocks", BLOCKS), ("work", WORK), ("weights", WEIGHTS)):
            self.c.helper(f"attention_{name}", source)
        bias = self._bias() if self.masked else "None"
        keep = self._keep() if self.rate else "None"
        scale, small = (self.c.scalar(value, self.dtype) for value in (self.scale, SMALL[self.dtype]))
        ones = filled(self.c, self.lengths[1], "1", self.dtype)
        share = self.c.scalar(1 - self.rate, self.dtype)
        return f"{bias}, {keep}, {share}, ({self._triangle()}, {scale}, {small}, {ones})"

    def _bias(self) -> str:
        """What is added to the scores: 0 where the mask holds, and else a number that leaves no weight."""
        c, index = self.c, self.first + 3
        type = c.input_types[index]
        bias = c.scratch(type.with_dtype(self.dtype))
        c.line(f"np.subtract({c.inputs[index]}, {c.scalar(1, self.dtype)}, out={bias})")
        c.line(f"np.multiply({bias}, {c.scalar(HIDDEN[self.dtype], self.dtype)}, out={bias})")
        heads = (1, 1) if type.shape[1] == 1 else self.batch[1:]
        shape = (type.shape[0], *heads, type.shape[3], type.shape[2])
        return c.view(bias, f"transpose(0, 1, 3, 2).reshape({c.shape(shape)})")

    def _keep(self) -> str:
        shape = self.c.shape((*self.batch, *reversed(self.lengths)))
        return self.c.view(self.c.inputs[self.first + 3 + self.masked], f"transpose(0, 1, 3, 2).reshape({shape})")

    def _triangle(self) -> str:
        """What is added to the scores of queries and the keys behind them, keys first; the corner of it is used."""
        if not self.causal:
            return "None"
        hidden = self.c.scalar(-HIDDEN[self.dtype], self.dtype)
        table = f"np.where(np.tri({QUERIES}, k=-1, dtype=bool), {hidden}, {self.c.scalar(0, self.dtype)})"
        return self.c.bound(table, TensorType(self.dtype, (QUERIES, QUERIES)))
