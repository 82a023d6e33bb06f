"""Attention as NumPy statements, block by block: the scores of all queries are never there at once.

Arrays of the helpers have the axes [samples, groups, heads, …]: the heads of a group share their keys and values, whose
own third axis has length 1. Scores lie keys first, queries last, as NumPy reduces the last axis but one faster.
"""

from __future__ import annotations

from compiler.ir.dims import Dim, bounds
from compiler.ir.types import DType, TensorType
from compiler.ops.base import NumpyLowering

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
    sizes = samples, groups * heads, queries, k.shape[3], features
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
    sizes = samples, groups * heads, queries, k.shape[3], max(features, v.shape[4])
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


def helpers(c: NumpyLowering) -> None:
    """Put what both of the helpers call into the generated module."""
    sources = (("attention_blocks", BLOCKS), ("attention_work", WORK), ("attention_weights", WEIGHTS))
    for name, source in sources:
        c.helper(name, source)


class Heads:
    """The operands q [N, T, H, D], k [N, S, G, D] and v [N, S, G, E] as expressions of the axes that the helpers take."""

    def __init__(self, c: NumpyLowering, first: int, rate: float, masked: bool, causal: bool, scale: float) -> None:
        self.c, self.first = c, first
        q, k, v = c.input_types[first : first + 3]
        self.dtype, self.causal = q.dtype, causal
        self.samples, self.queries, heads, _ = q.shape
        self.keys, self.groups = k.shape[1:3]
        self.heads = floor_divide(heads, self.groups)
        self.scale = c.scalar(scale, self.dtype)
        self.bias = self._bias(first + 3) if masked else "None"
        self.keep = self._keep(first + 3 + masked) if rate else "None"
        self.share = c.scalar(1 - rate, self.dtype)
        self.triangle = self._triangle() if causal else "None"

    def queries_of(self, name: str, features: Dim, order: str = "(0, 2, 1, 3)") -> str:
        """An array [N, T, H, features] as [N, G, H/G, T, features]."""
        shape = self.c.shape((self.samples, self.groups, self.heads, self.queries, features))
        return self.c.view(name, f"transpose({order}).reshape({shape})")

    def keys_of(self, name: str) -> str:
        """An array [N, S, G, features] as [N, G, 1, S, features]."""
        return self.c.view(name, "transpose(0, 2, 1, 3)[:, :, None]")

    def scores(self, features: Dim) -> str:
        """An array to work in for the scores of one block."""
        most = self.samples * self.groups * self.heads * self.queries * self.keys
        return self.c.scratch(TensorType(self.dtype, (most if bounds(most)[1] <= SCORES else SCORES,)))
