"""Attention as NumPy statements, block by block: the scores of all queries are never there at once.

Arrays of the helpers have the axes [samples, groups, heads, …]: the heads of a group share their keys and values, whose
own third axis has length 1. Scores lie keys first, queries last, as NumPy reduces the last axis but one faster.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.dims import Dim, bounds, floor_divide, product
from compiler.ir.types import DType, TensorType
from compiler.ops.base import NumpyLowering

# What is taken from scores that are not to count: so much that they vanish beside it, and far from overflow.
HIDDEN = {DType.F16: 3e4, DType.BF16: 1e30, DType.F32: 1e30, DType.F64: 1e30}
# How many queries of a sample are worked on at once, and how many scores: what fits into a processor's cache.
QUERIES = 128
SCORES = 2**18

BLOCKS = f'''
def attention_blocks(samples, heads, queries, keys, features, causal):
    """Samples, queries and the keys these look at, as slices: for each part of the samples the last queries first."""
    rows = min(queries, {QUERIES})
    count = max(1, {SCORES} // (heads * keys * max(rows, features)))
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
def attention_weights(q, k, bias, triangle, scale, scores, totals):
    """The exponentials of `scale * k @ q + bias` less its largest for each query, and their sums over the keys."""
    *batch, keys, queries = *q.shape[:3], k.shape[3], q.shape[4]
    weights = attention_work(scores, *batch, keys, queries)
    total = attention_work(totals, *batch, 1, queries)
    np.matmul(k, q, out=weights)
    np.multiply(weights, scale, out=weights)
    if bias is not None:
        np.add(weights, bias, out=weights)
    if triangle is not None:
        last = weights[..., keys - queries :, :]
        np.add(last, triangle[:queries, :queries], out=last)
    np.maximum.reduce(weights, axis=-2, keepdims=True, out=total)
    np.subtract(weights, total, out=weights)
    np.exp(weights, out=weights)
    np.add.reduce(weights, axis=-2, keepdims=True, out=total)
    return weights, total
'''

ATTENTION = '''
def attention(q, k, v, bias, keep, share, triangle, scale, out, scores, totals):
    """Fill `out` with `softmax(scale * q @ k + bias) @ v`; `keep` drops weights of which the `share` is kept."""
    samples, groups, heads, features, queries = q.shape
    keys = k.shape[3]
    if bias is not None:
        bias = np.broadcast_to(bias, (samples, groups, heads, keys, queries))
    sizes = samples, groups * heads, queries, keys, features
    for part, rows, keys in attention_blocks(*sizes, triangle is not None):
        seen = None if bias is None else bias[part, :, :, keys, rows]
        weights, total = attention_weights(
            q[part, ..., rows], k[part, :, :, keys], seen, triangle, scale, scores, totals
        )
        if keep is not None:
            np.multiply(weights, keep[part, :, :, keys, rows], out=weights)
            np.multiply(total, share, out=total)
        target = out[part, :, :, rows]
        np.matmul(weights.swapaxes(-1, -2), v[part, :, :, keys], out=target)
        np.divide(target, total.swapaxes(-1, -2), out=target)
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
def attention_gradient(
    q, k, v, bias, keep, share, triangle, scale, g, delta, to_q, to_k, to_v, scores, slopes, products, totals
):
    """Fill the gradients to q, k and v: `g` is that to the result, `delta` the sum of its products with the result.

    Of q, g and the gradients to q the last axes are queries, features.
    """
    samples, groups, heads, queries, features = q.shape
    keys = k.shape[3]
    if bias is not None:
        bias = np.broadcast_to(bias, (samples, groups, heads, keys, queries))
    sizes = samples, groups * heads, queries, keys, max(features, v.shape[4])
    for part, rows, keys in attention_blocks(*sizes, triangle is not None):
        seen = None if bias is None else bias[part, :, :, keys, rows]
        asking, given, looked_at = q[part, :, :, rows], g[part, :, :, rows], k[part, :, :, keys]
        weights, total = attention_weights(
            asking.swapaxes(-1, -2), looked_at, seen, triangle, scale, scores, totals
        )
        np.divide(weights, total, out=weights)
        slope = attention_work(slopes, *weights.shape)
        np.matmul(v[part, :, :, keys], given.swapaxes(-1, -2), out=slope)
        if keep is not None:
            kept = keep[part, :, :, keys, rows]
            np.multiply(slope, kept, out=slope)
            np.divide(slope, share, out=slope)
        np.subtract(slope, delta[part, ..., rows], out=slope)
        np.multiply(slope, weights, out=slope)
        np.matmul(slope.swapaxes(-1, -2), looked_at, out=to_q[part, :, :, rows])
        first = rows.stop == queries
        attention_sum(slope, asking, to_k[part, :, keys], first, products)
        if keep is not None:
            np.multiply(weights, kept, out=weights)
            np.divide(weights, share, out=weights)
        attention_sum(weights, given, to_v[part, :, keys], first, products)
    np.multiply(to_q, scale, out=to_q)
    np.multiply(to_k, scale, out=to_k)
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

    def queries(self, name: str, features: Dim, turned: bool = False) -> str:
        """An array [N, T, H, features] as [N, G, H/G, T, features], or where it is ``turned`` with the queries last."""
        length = self.lengths[0]
        order, last = ("0, 2, 3, 1", (features, length)) if turned else ("0, 2, 1, 3", (length, features))
        return self.c.view(name, f"transpose({order}).reshape({self.c.shape((*self.batch, *last))})")

    def keys(self, name: str) -> str:
        """An array [N, S, G, features] as [N, G, 1, S, features]."""
        return self.c.view(name, "transpose(0, 2, 1, 3)[:, :, None]")

    def scores(self) -> str:
        """An array to work in for the scores of a block."""
        size = product((*self.batch, *self.lengths))
        return self.c.scratch(TensorType(self.dtype, (size if bounds(size)[1] <= SCORES else SCORES,)))

    def products(self) -> str:
        """An array to work in for the gradients to the keys, or to the values, of a block."""
        types = self.c.input_types[self.first : self.first + 3]
        sizes = [product((*self.batch, self.lengths[1], type.shape[3])) for type in types]
        size = max(sizes, key=lambda size: bounds(size)[1])
        return self.c.scratch(TensorType(self.dtype, (size if bounds(size)[1] <= SCORES else SCORES,)))

    def totals(self) -> str:
        """An array to work in for one number to each query."""
        return self.c.scratch(TensorType(self.dtype, (product((*self.batch, self.lengths[0])),)))

    def common(self) -> str:
        """The arguments ``bias, keep, share, triangle`` of both helpers, as a text."""
        for name, source in (("blocks", BLOCKS), ("work", WORK), ("weights", WEIGHTS)):
            self.c.helper(f"attention_{name}", source)
        bias = self._bias() if self.masked else "None"
        keep = self._keep() if self.rate else "None"
        return f"{bias}, {keep}, {self.c.scalar(1 - self.rate, self.dtype)}, {self._triangle()}"

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
