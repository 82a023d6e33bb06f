"""PyTorch as an oracle: results and gradients of every differentiable operation, in f64, from its samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from compiler.ir.dims import Dim, evaluate
from compiler.ir.graph import Graph
from compiler.ir.tolerance import GRADIENT, excess, tolerance
from compiler.ir.types import DType
from compiler.ops import Emit, has_facet, registry
from compiler.ops.attention_numpy import HIDDEN
from compiler.ops.base import Array, Sample, Sizes
from compiler.ops.interpret import interpret_outputs

torch = pytest.importorskip("torch", reason="PyTorch is not installed: this oracle is left out")
functional = torch.nn.functional

Tensor = Any
Oracle = Callable[..., Tensor]


def numbers(dims: tuple[Dim, ...], sizes: Sizes) -> list[int]:
    return [evaluate(dim, sizes) for dim in dims]


def cut(o: Any, s: Sizes, x: Tensor) -> Tensor:
    ranges = zip(numbers(o.starts, s), numbers(o.stops, s), o.steps, strict=True)
    return x[tuple(slice(*part) for part in ranges)]


def pad(o: Any, s: Sizes, x: Tensor) -> Tensor:
    pairs = zip(reversed(numbers(o.before, s)), reversed(numbers(o.after, s)), strict=True)
    return functional.pad(x, [amount for pair in pairs for amount in pair], value=o.value)


def linear(o: Any, s: Sizes, a: Tensor, w: Tensor, *bias: Tensor) -> Tensor:
    before = sum(bias, a @ w)
    return before if o.activation is None else ORACLES[o.activation.opcode](o.activation, s, before)


def gather(o: Any, s: Sizes, x: Tensor, indices: Tensor) -> Tensor:
    axis = o.axis % x.ndim
    flat = torch.index_select(x, axis, indices.reshape(-1).long())
    return flat.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def scatter_add(o: Any, s: Sizes, indices: Tensor, updates: Tensor) -> Tensor:
    shape = numbers(o.shape, s)
    flat = updates.reshape(*shape[: o.axis], -1, *shape[o.axis + 1 :])
    return torch.zeros(shape, dtype=updates.dtype).index_add(o.axis, indices.reshape(-1).long(), flat)


def scatter_along(o: Any, s: Sizes, indices: Tensor, updates: Tensor) -> Tensor:
    return torch.zeros(numbers(o.shape, s), dtype=updates.dtype).scatter_add(o.axis, indices.long(), updates)


def attention(o: Any, s: Sizes, q: Tensor, k: Tensor, v: Tensor, *masks: Tensor) -> tuple[Tensor, Tensor]:
    heads = q.shape[2] // k.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    k, v = (x.repeat_interleave(heads, dim=1) for x in (k, v))
    scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
    left = list(masks)
    if o.masked:
        scores = scores - HIDDEN[DType.F64] * ~left.pop(0)
    if o.causal:
        scores = scores - HIDDEN[DType.F64] * ~torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril()
    weights = scores.softmax(-1)
    kept = weights * left.pop(0) / (1 - o.rate) if o.rate else weights
    return (kept @ v).transpose(1, 2), weights.transpose(2, 3).detach()


def batch_norm(o: Any, s: Sizes, x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    axes = [axis for axis in range(x.ndim) if axis != 1]
    result = functional.batch_norm(x, None, None, *parameters, training=True, eps=o.epsilon)
    return result, x.mean(axes), x.var(axes, correction=0)


def running_norm(o: Any, s: Sizes, x: Tensor, *statistics: Tensor) -> Tensor:
    # PyTorch has no gradients by the statistics.
    mean, variance, *parameters = (value.reshape(-1, *[1] * (x.ndim - 2)) for value in statistics)
    scale, bias = parameters or (1.0, 0.0)
    return (x - mean) / (variance + o.epsilon).sqrt() * scale + bias


def layer_norm(o: Any, s: Sizes, x: Tensor, *parameters: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[o.axis % x.ndim :], *parameters, eps=o.epsilon)


def rms_norm(o: Any, s: Sizes, x: Tensor, *parameters: Tensor) -> Tensor:
    return functional.rms_norm(x, x.shape[o.axis % x.ndim :], *parameters, eps=o.epsilon)


def padded(o: Any, s: Sizes, x: Tensor, value: float = 0.0) -> Tensor:
    sides = zip(reversed(numbers(o.before, s)), reversed(numbers(o.after, s)), strict=True)
    return functional.pad(x, [amount for side in sides for amount in side], value=value)


def by_rank(name: str, rank: int) -> Any:
    return getattr(functional, f"{name}{rank}d")


def conv(o: Any, s: Sizes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    convolve = by_rank("conv", x.ndim - 2)
    return convolve(padded(o, s, x), weight, bias, o.strides, 0, o.dilations, o.groups)


def conv_transpose(o: Any, s: Sizes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    result = by_rank("conv_transpose", x.ndim - 2)(x, weight, bias, o.strides, 0, 0, o.groups, o.dilations)
    # Beyond what the operands reach there is the bias alone.
    wanted = [a + b + c for a, b, c in zip(numbers(o.before, s), numbers(o.size, s), numbers(o.after, s), strict=True)]
    missing = [total - size for total, size in zip(wanted, result.shape[2:], strict=True)]
    more = torch.zeros_like(result) + (0 if bias is None else bias.reshape(-1, *[1] * (x.ndim - 2)))
    for axis, amount in enumerate(missing, 2):
        border = more.narrow(axis, 0, 1).expand([amount if a == axis else n for a, n in enumerate(more.shape)])
        result, more = torch.cat([result, border], axis), torch.cat([more, border], axis)
    for axis, (start, size) in enumerate(zip(numbers(o.before, s), numbers(o.size, s), strict=True), 2):
        result = result.narrow(axis, start, size)
    return result


def conv_weight(o: Any, s: Sizes, x: Tensor, gradient: Tensor) -> Tensor:
    """By what it is the gradient of."""
    shape = (gradient.shape[1], x.shape[1] // o.groups, *o.kernel)
    weight = torch.zeros(shape, dtype=x.dtype, requires_grad=True)
    result = conv(o, s, x, weight)
    return torch.autograd.grad(result, weight, gradient, create_graph=True)[0]


def max_pool(o: Any, s: Sizes, x: Tensor) -> Tensor:
    pool = by_rank("max_pool", x.ndim - 2)
    return pool(padded(o, s, x, -np.inf), o.kernel, o.strides, 0, o.dilations)


def avg_pool(o: Any, s: Sizes, x: Tensor) -> Tensor:
    pool = by_rank("avg_pool", x.ndim - 2)
    result = pool(padded(o, s, x), o.kernel, o.strides)
    ones = torch.ones_like(x)
    return result if o.count_padding else result / pool(padded(o, s, ones), o.kernel, o.strides)


def avg_pool_gradient(o: Any, s: Sizes, gradient: Tensor) -> Tensor:
    x = torch.zeros((*gradient.shape[:2], *numbers(o.size, s)), dtype=gradient.dtype, requires_grad=True)
    return torch.autograd.grad(avg_pool(o, s, x), x, gradient, create_graph=True)[0]


def resize(o: Any, s: Sizes, x: Tensor, size: tuple[Dim, ...] | None = None) -> Tensor:
    if o.mode == "nearest":
        return functional.interpolate(x, numbers(size or o.size, s))
    mode, aligned = ("linear", "bilinear", "trilinear")[x.ndim - 3], o.mode == "corners"
    return functional.interpolate(x, numbers(size or o.size, s), mode=mode, align_corners=aligned)


def resize_gradient(o: Any, s: Sizes, gradient: Tensor) -> Tensor:
    x = torch.zeros((*gradient.shape[:2], *numbers(o.size, s)), dtype=gradient.dtype, requires_grad=True)
    return torch.autograd.grad(resize(o, s, x, gradient.shape[2:]), x, gradient, create_graph=True)[0]


def extend(o: Any, s: Sizes, x: Tensor) -> Tensor:
    """By an index of where each element comes from."""
    for axis, widths in enumerate(zip(o.before, o.after, strict=True)):
        places = np.pad(np.arange(x.shape[axis]), widths, mode=o.mode)
        x = x.index_select(axis, torch.tensor(places))
    return x


def extend_gradient(o: Any, s: Sizes, gradient: Tensor) -> Tensor:
    sides = zip(gradient.shape, o.before, o.after, strict=True)
    shape = [dim - before - after for dim, before, after in sides]
    x = torch.zeros(shape, dtype=gradient.dtype, requires_grad=True)
    return torch.autograd.grad(extend(o, s, x), x, gradient, create_graph=True)[0]


def recurrent(o: Any, s: Sizes, *operands: Tensor) -> tuple[Tensor, ...]:
    """By PyTorch's cells, step by step."""
    given, made = o.named(operands), []
    for place, (weights, reverse) in enumerate(zip(given.weights, o.reversals, strict=True)):
        first = [state if len(given.weights) == 1 else state[:, place] for state in given.states]
        made.append(one_direction(o, given, weights, reverse, first))
    ends = zip(*(states for _, states in made), strict=True)
    states = [end[0] if len(made) == 1 else torch.stack(end, 1) for end in ends]
    return torch.cat([y for y, _ in made], 2), *states


def one_direction(o: Any, given: Any, weights: Any, reverse: bool, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    (steps, batch, _), units = given.x.shape, weights.weight_hh.shape[1]
    kind = o.opcode.removesuffix("_training")
    cell = getattr(torch, f"{kind}_{o.activation}_cell" if kind == "rnn" else f"{kind}_cell")
    states = states or [torch.zeros(batch, units, dtype=torch.float64)] * o.state_count
    lengths = torch.full((batch,), steps) if given.lengths is None else given.lengths
    numbers = (*weights[:2], *(weights.biases or (None, None)))
    y = [torch.zeros(batch, units)] * steps
    for time in reversed(range(steps)) if reverse else range(steps):
        after = cell(given.x[time], states if o.state_count > 1 else states[0], *numbers)
        alive = (time < lengths)[:, None]
        pairs = zip(after if o.state_count > 1 else (after,), states, strict=True)
        states = [torch.where(alive, new, old) for new, old in pairs]
        y[time] = torch.where(alive, states[0], 0)
    return torch.stack(y), states


def ctc(o: Any, s: Sizes, scores: Tensor, labels: Tensor, lengths: Tensor, counts: Tensor) -> tuple[Tensor, ...]:
    """Label by label: PyTorch's own loss has the right gradient only behind its log_softmax."""
    losses = []
    for x, row, steps, count in zip(scores, labels.long(), lengths, counts, strict=True):
        places = [o.blank] + [place for label in row[:count] for place in (int(label), o.blank)]
        now = [torch.zeros(())] + [torch.tensor(-1e30)] * (len(places) - 1)
        for t in range(min(int(steps), x.shape[0])):
            before = [torch.tensor(-1e30)] * 2 + now
            now = [
                torch.logsumexp(torch.stack([before[i + 2], before[i + 1], *before[i : i + 1][: i > 2 and skips]]), 0)
                + x[t, place]
                for i, place in enumerate(places)
                for skips in [place != o.blank and place != places[i - 2]]
            ]
        losses.append(-torch.logsumexp(torch.stack(now[-2:]), 0))
    return (torch.stack(losses),)


def reduced(function: Callable[..., Tensor]) -> Oracle:
    # PyTorch reduces over all axes where it is given none.
    return lambda o, s, x: function(x, dim=o.axes, keepdim=o.keepdims) if o.axes else x.clone()


def crop_each(o: Any, s: Sizes, x: Tensor, tops: Tensor, lefts: Tensor) -> Tensor:
    height, width = (evaluate(dim, s) for dim in o.size)
    places = zip(x, tops.tolist(), lefts.tolist(), strict=True)
    return torch.stack([image[:, y : y + height, z : z + width] for image, y, z in places])


def paste_each(o: Any, s: Sizes, windows: Tensor, tops: Tensor, lefts: Tensor) -> Tensor:
    (height, width), (rows, columns) = windows.shape[2:], (evaluate(dim, s) for dim in o.size)
    placed = [
        functional.pad(window, (x, columns - width - x, y, rows - height - y))
        for window, y, x in zip(windows, tops.tolist(), lefts.tolist(), strict=True)
    ]
    return torch.stack(placed)


def flip_each(o: Any, s: Sizes, x: Tensor, condition: Tensor) -> Tensor:
    return torch.where(condition.reshape(-1, *[1] * (x.ndim - 1)), x.flip(o.axis), x)


ORACLES: dict[str, Oracle] = {
    "crop_each": crop_each,
    "flip_each": flip_each,
    "paste_each": paste_each,
    "add": lambda o, s, a, b: a + b,
    "sub": lambda o, s, a, b: a - b,
    "mul": lambda o, s, a, b: a * b,
    "div": lambda o, s, a, b: a / b,
    "pow": lambda o, s, a, b: torch.pow(a, b),
    "maximum": lambda o, s, a, b: torch.maximum(a, b),
    "minimum": lambda o, s, a, b: torch.minimum(a, b),
    "mod": lambda o, s, a, b: torch.remainder(a, b),
    "neg": lambda o, s, x: -x,
    "abs": lambda o, s, x: x.abs(),
    "sign": lambda o, s, x: x.sign(),
    "exp": lambda o, s, x: x.exp(),
    "log": lambda o, s, x: x.log(),
    "log1p": lambda o, s, x: x.log1p(),
    "expm1": lambda o, s, x: x.expm1(),
    "sqrt": lambda o, s, x: x.sqrt(),
    "square": lambda o, s, x: x.square(),
    "reciprocal": lambda o, s, x: x.reciprocal(),
    "sin": lambda o, s, x: x.sin(),
    "cos": lambda o, s, x: x.cos(),
    "erf": lambda o, s, x: x.erf(),
    "floor": lambda o, s, x: x.floor(),
    "ceil": lambda o, s, x: x.ceil(),
    "round": lambda o, s, x: x.round(),
    "tanh": lambda o, s, x: x.tanh(),
    "sigmoid": lambda o, s, x: x.sigmoid(),
    "relu": lambda o, s, x: x.relu(),
    # Above the threshold PyTorch takes x itself: at 20, where it is not given, that is seen in f64.
    "logistic_loss": lambda o, s, z, t: functional.binary_cross_entropy_with_logits(z, t + 0 * z, reduction="none"),
    "softplus": lambda o, s, x: functional.softplus(x, threshold=100),
    "leaky_relu": lambda o, s, x: functional.leaky_relu(x, o.slope),
    "elu": lambda o, s, x: functional.elu(x, o.alpha),
    "gelu": lambda o, s, x: functional.gelu(x, approximate=o.approximate),
    "silu": lambda o, s, x: functional.silu(x),
    "clip": lambda o, s, x: functional.hardtanh(x, o.low, o.high),
    "hard_sigmoid": lambda o, s, x: functional.hardsigmoid(x),
    "selu": lambda o, s, x: functional.selu(x),
    "softsign": lambda o, s, x: functional.softsign(x),
    "prelu": lambda o, s, x, slope: torch.where(x > 0, x, slope * x),
    "conv": conv,
    "conv_transpose": conv_transpose,
    "conv_weight": conv_weight,
    "max_pool": max_pool,
    "max_pool_training": max_pool,
    "avg_pool": avg_pool,
    "avg_pool_gradient": avg_pool_gradient,
    "resize": resize,
    "resize_gradient": resize_gradient,
    "extend": extend,
    "extend_gradient": extend_gradient,
    "ctc": ctc,
    "softmax": lambda o, s, x: x.softmax(o.axis),
    "cumsum": lambda o, s, x: x.flip(o.axis).cumsum(o.axis).flip(o.axis) if o.reverse else x.cumsum(o.axis),
    "layer_norm": layer_norm,
    "attention": lambda *given: attention(*given)[0],
    "attention_training": attention,
    "batch_norm": batch_norm,
    "running_norm": running_norm,
    "rms_norm": rms_norm,
    "group_norm": lambda o, s, x, *p: functional.group_norm(x, o.groups, *p, eps=o.epsilon),
    "log_softmax": lambda o, s, x: x.log_softmax(o.axis),
    "select": lambda o, s, condition, a, b: torch.where(condition, a, b),
    "mask": lambda o, s, x, condition: x * condition,
    "matmul": lambda o, s, a, b: a @ b,
    "transposed_matmul": lambda o, s, *m: torch.matmul(
        *(x.mT if t else x for x, t in zip(m, o.transposed, strict=True))
    ),
    "linear": linear,
    "sum": reduced(torch.sum),
    "mean": reduced(torch.mean),
    "max": reduced(torch.amax),
    "min": reduced(torch.amin),
    "reshape": lambda o, s, x: x.reshape(numbers(o.shape, s)),
    "transpose": lambda o, s, x: x.permute(o.permutation),
    "expand": lambda o, s, x: x.broadcast_to(numbers(o.shape, s)),
    "slice": cut,
    "pad": pad,
    "split": lambda o, s, x: torch.split(x, numbers(o.sizes, s), o.axis),
    "concat": lambda o, s, *parts: torch.cat(parts, o.axis),
    "cast": lambda o, s, x: x.to(getattr(torch, o.dtype.numpy.name)),
    "gather": gather,
    "scatter_add": scatter_add,
    "take_along": lambda o, s, x, indices: torch.gather(x, o.axis, indices.long()),
    "scatter_along": scatter_along,
    "rnn": recurrent,
    "lstm": recurrent,
    "lstm_training": recurrent,
    "gru": recurrent,
    "gru_training": recurrent,
    "stop_gradient": lambda o, s, x: x.detach(),
}


def differentiable() -> Iterator[tuple[str, int, Sample]]:
    """The samples from floats to floats."""
    for opcode, cls in sorted(registry().items()):
        if has_facet(cls, "gradient"):  # type: ignore[arg-type]
            for index, sample in enumerate(cls.samples()):
                result = sample.operation.infer(sample.operands)[0]
                if result.dtype is DType.F32 and any(type.dtype is DType.F32 for type in sample.operands):
                    yield opcode, index, sample


SAMPLES = list(differentiable())


def test_every_differentiable_operation_has_an_oracle() -> None:
    assert {opcode for opcode, _, _ in SAMPLES} - set(ORACLES) == set()


@pytest.mark.parametrize(
    ("opcode", "sample"), [pytest.param(opcode, sample, id=f"{opcode}-{index}") for opcode, index, sample in SAMPLES]
)
def test_results_and_gradients_are_those_of_torch(opcode: str, sample: Sample, cases: Any) -> None:
    sample = cases.in_f64(sample)
    operands = cases.operands(sample)
    tensors = [torch.tensor(o, requires_grad=o.dtype == np.float64) for o in operands]
    made = ORACLES[opcode](sample.operation, sample.sizes or {}, *tensors)
    expected = made if isinstance(made, tuple) else (made,)
    random = np.random.default_rng(2)
    floats = [result for result in expected if result.dtype == torch.float64]
    cotangents = [random.normal(size=tuple(result.shape)) for result in floats]
    named = {f"cotangent {index}": cotangent for index, cotangent in enumerate(cotangents)}
    found = interpret_outputs(both_ways(sample, cases), {**cases.arrays(sample, operands), **named})
    for index, result in enumerate(expected):
        assert excess(found[f"result {index}"], result.detach().numpy(), tolerance(DType.F64)) <= 1
    paired = [(result, torch.tensor(c)) for result, c in zip(floats, cotangents, strict=True) if result.requires_grad]
    if paired:
        torch.autograd.backward(*map(list, zip(*paired, strict=True)))
    for index, tensor in enumerate(tensors):
        if tensor.requires_grad:
            check_gradient(found.get(f"gradient {index}"), tensor)


def check_gradient(found: Array | None, tensor: Tensor) -> None:
    nothing = np.zeros(tuple(tensor.shape))
    expected = nothing if tensor.grad is None else tensor.grad.numpy()
    assert excess(nothing if found is None else found, expected, GRADIENT) <= 1, f"{found} for {expected}"


def both_ways(sample: Sample, cases: Any) -> Graph:
    """The operation and the gradients of the sum of all ``result * cotangent``."""
    b = Emit("both")
    values = cases.inputs(b, sample)
    results = b.add_node(sample.operation, values)
    for index, result in enumerate(results):
        b.output(f"result {index}", result)
    gradients = sample.operation.gradient(b, values, results, cases.cotangents(b, results))
    for index, (value, gradient) in enumerate(zip(values, gradients, strict=True)):
        if gradient is not None:
            b.output(f"gradient {index}", b.sum_to(gradient, value.type.shape))
    return b.finish()
