"""Attention: the layer with its projections, and the product alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from compiler.front.catalogue.entry import ArgumentError, Context, Initialiser, Value, entry
from compiler.front.catalogue.initialisers import GLOROT, ZEROS
from compiler.front.catalogue.layers import fixed_size, need_float
from compiler.front.catalogue.sequence import turned
from compiler.ir.dims import Dim, equal
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.attention import Attention, AttentionTraining
from compiler.ops.attention_form import HEADS_FIRST

Masks: TypeAlias = tuple[Value, ...]


@entry("layer")
def attention(
    c: Context,
    x: Value,
    heads: int,
    *,
    context: Value | None = None,
    mask: Value | None = None,
    causal: bool = False,
    key_value_heads: int | None = None,
    rotary: float | None = None,
    dropout: float = 0.0,
    bias: bool = True,
    init: Initialiser = GLOROT,
) -> Value:
    """Each step of a sequence gathers from the steps that it finds relevant, in ``heads`` different respects.

    Takes ``[N, T, D]``, ``heads`` divides D, and gives the same. It looks at itself, or at ``context`` ``[N, S, C]``;
    ``causal=true`` lets each step see itself and those before it only. ``mask`` is true where a step may be seen:
    ``bool[N, S]`` for padding, or ``bool[N, T, S]``. Fewer ``key_value_heads`` serve several heads each; ``rotary``
    is the base, usually 10000, of a rotary embedding of queries and keys; ``dropout`` drops weights while training.
    Scores are worked out in blocks, and again for the gradient, so that memory grows with T and not with T²; only
    dropout keeps a byte for each score while training. In ONNX Runtime a whole table of scores is made.

    Weights: ``in_proj_weight`` [D, D + 2·E] with the queries' columns first, then those of the keys and of the values,
    where E is D, or D·key_value_heads/heads; ``in_proj_bias``; ``out_proj.weight`` [D, D] and ``out_proj.bias``. They
    are those of torch.nn.MultiheadAttention, transposed. With a context there are ``q_proj_weight`` [D, D] and
    ``kv_proj_weight`` [C, 2·E] with their biases instead. Vaswani et al., Attention is all you need, 2017; fewer key
    and value heads: Ainslie et al., GQA, 2023.
    """
    groups = heads if key_value_heads is None else key_value_heads
    width = _check(x, context, heads, groups, rotary, dropout)
    if context is None:
        queries, keys, values = _own(c, x, (heads, groups, groups), width, bias, init)
    else:
        queries, keys, values = _crossed(c, x, context, (heads, groups, groups), width, bias, init)
    b, samples, steps, seen = c.b, *x.type.shape[:2], keys.type.shape[1]
    if rotary is not None:
        queries, keys = turned(b, queries, rotary), turned(b, keys, rotary)
    if causal and equal(steps, seen) is not True:
        raise ArgumentError("causal", f"causal attention has as many steps as it looks at, not {steps} and {seen}")
    masks: Masks = () if mask is None else (_mask(c, mask, (samples, steps, seen), "attention"),)
    joined = _attend(c, (queries, keys, values), masks, causal, dropout)
    return _project(c, b.reshape(joined, x.type.shape), "out_proj.", heads * width, bias, init)


def _own(
    c: Context, x: Value, heads: tuple[int, int, int], width: int, bias: bool, init: Initialiser
) -> tuple[Value, ...]:
    """Queries, keys and values of x, by one matrix."""
    projected = _project(c, x, "in_proj_", sum(heads) * width, bias, init)
    return c.b.split(c.b.reshape(projected, (*x.type.shape[:2], sum(heads), width)), heads, 2)


def _crossed(
    c: Context, x: Value, context: Value, heads: tuple[int, int, int], width: int, bias: bool, init: Initialiser
) -> tuple[Value, ...]:
    """Queries of x, and keys and values of the context, by a matrix each."""
    own, other = heads[0], heads[1:]
    asked = _project(c, x, "q_proj_", own * width, bias, init)
    given = _project(c, context, "kv_proj_", sum(other) * width, bias, init)
    pair = c.b.reshape(given, (*context.type.shape[:2], sum(other), width))
    return c.b.reshape(asked, (*x.type.shape[:2], own, width)), *c.b.split(pair, other, 2)


def _check(x: Value, context: Value | None, heads: int, groups: int, rotary: float | None, dropout: float) -> int:
    """The width of a head; TypeMismatch or ArgumentError where something does not fit."""
    for value in (x,) if context is None else (x, context):
        need_float(value, "attention")
        if value.type.rank != 3:
            raise TypeMismatch("E0301", f"attention takes sequences such as f32[N, T, 64], not {value.type}")
    features = fixed_size(x, -1, "attention")
    if heads < 1 or features % heads:
        fitting = ", ".join(str(number) for number in range(1, features + 1) if features % number == 0)
        raise ArgumentError(
            "heads",
            f"the {features} features can't be divided among {heads} heads",
            f"this is {x.type}",
            (f"the numbers of heads that fit are {fitting}",),
        )
    if groups < 1 or heads % groups:
        raise ArgumentError("key_value_heads", f"{groups} key and value heads can't serve {heads} heads evenly")
    if context is not None:
        _same_batch(x, context)
        if x.type.dtype is not context.type.dtype:
            raise ArgumentError("context", f"the context is {context.type}, and what looks at it {x.type}")
    if not 0.0 <= dropout < 1.0:
        raise ArgumentError("dropout", f"a dropout rate lies from 0 up to, not including, 1: {dropout} does not")
    if rotary is not None and (rotary <= 0 or features // heads % 2):
        reason = f"{features // heads} features in each head" if rotary > 0 else f"a base of {rotary}"
        raise ArgumentError("rotary", f"rotary takes a base above 0 and pairs of features, not {reason}")
    return features // heads


def _same_batch(x: Value, context: Value) -> None:
    if equal(x.type.shape[0], context.type.shape[0]) is not True:
        raise TypeMismatch(
            "E0301",
            f"attention of {x.type} can't look at {context.type}",
            f"there are {x.type.shape[0]} samples here and {context.type.shape[0]} there",
        )


def _project(c: Context, x: Value, name: str, units: int, bias: bool, init: Initialiser) -> Value:
    dtype, features = x.type.dtype, fixed_size(x, -1, "attention")
    result = c.b.matmul(x, c.weight(f"{name}weight", TensorType(dtype, (features, units)), init))
    if not bias:
        return result
    return c.b.add(result, c.weight(f"{name}bias", TensorType(dtype, (units,)), ZEROS, decays=False))


def _mask(c: Context, mask: Value, sizes: tuple[Dim, Dim, Dim], layer: str) -> Value:
    """A mask [N, S] or [N, T, S] as [N, 1, 1 or T, S]; ``sizes`` are N, T and S."""
    if mask.type.dtype is not DType.BOOL:
        raise ArgumentError(
            "mask",
            f"the mask of {layer} is bool, true where a step may be seen, not {mask.type}",
            help=("compare to get truth values, for example tokens != 0",),
        )
    samples, steps, seen = sizes
    wanted: dict[int, tuple[Dim, ...]] = {2: (samples, seen), 3: (samples, steps, seen)}
    shape = wanted.get(mask.type.rank, ())
    if not shape or not all(equal(*pair) for pair in zip(mask.type.shape, shape, strict=True)):
        forms = " or ".join(f"bool[{', '.join(map(str, form))}]" for form in wanted.values())
        raise ArgumentError("mask", f"the mask of {layer} has to be {forms}, not {mask.type}")
    return c.b.reshape(mask, (samples, 1, 1 if mask.type.rank == 2 else steps, seen))


def _attend(c: Context, operands: Sequence[Value], masks: Masks, causal: bool, dropout: float) -> Value:
    """Attention of q [N, T, H, D] to k and v [N, S, G, …], with dropout where the graph is for training."""
    (q, k, v), b, rate = operands, c.b, dropout if c.training else 0.0
    kind = AttentionTraining if c.training and AttentionTraining.pays(q, k, v) else Attention
    scores = (q.type.shape[0], q.type.shape[2], q.type.shape[1], k.type.shape[1])
    left = [b.random_keep(scores, *c.random(), rate)] if rate else []
    return b.add_node(kind(causal, bool(masks), rate), (*operands, *masks, *left))[0]


@entry("function")
def scaled_dot_product(
    c: Context, q: Value, k: Value, v: Value, *, mask: Value | None = None, causal: bool = False, dropout: float = 0.0
) -> Value:
    """softmax(q @ transpose(k) / sqrt(D)) @ v: attention without projections, for designs of your own.

    Takes q ``[N, H, T, D]``, k ``[N, G, S, D]`` and v ``[N, G, S, E]`` and gives ``[N, H, T, E]``; G divides H, and the
    heads may be left out of all three. ``mask`` is ``bool[N, S]`` or ``bool[N, T, S]``, true where a key may be seen.
    As torch.nn.functional.scaled_dot_product_attention.
    """
    b, rank = c.b, q.type.rank
    for value in (q, k, v):
        need_float(value, "scaled_dot_product")
    if rank not in (3, 4) or not rank == k.type.rank == v.type.rank:
        raise TypeMismatch(
            "E0301",
            f"scaled_dot_product can't take {q.type}, {k.type} and {v.type}",
            "all three are [N, T, D], or with heads [N, H, T, D]",
        )
    if not 0.0 <= dropout < 1.0:
        raise ArgumentError("dropout", f"a dropout rate lies from 0 up to, not including, 1: {dropout} does not")
    operands = [
        b.transpose(x, HEADS_FIRST) if rank == 4 else b.reshape(x, (*x.type.shape[:2], 1, x.type.shape[2]))
        for x in (q, k, v)
    ]
    masks: Masks = ()
    if mask is not None:
        sizes = q.type.shape[0], q.type.shape[-2], k.type.shape[-2]
        masks = (_mask(c, mask, sizes, "scaled_dot_product"),)
    result = _attend(c, operands, masks, causal, dropout)
    return b.transpose(result, HEADS_FIRST) if rank == 4 else b.reshape(result, (*q.type.shape[:2], v.type.shape[2]))
