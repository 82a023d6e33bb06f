"""Attention against torch.nn.MultiheadAttention and F.scaled_dot_product_attention: results and every gradient."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from compiler.ir.types import DType
from compiler.ops import attention, attention_numpy
from runtime.programs.engine import Engine

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
RNG = np.random.default_rng(0)


def numbers(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def tensor(array: Any, requires_grad: bool = False) -> Any:
    return torch.tensor(array, dtype=torch.float64, requires_grad=requires_grad)


def backward(result: Any, received: Any) -> None:
    (result * tensor(received)).sum().backward()


def masks(kind: str, samples: int, steps: int, seen: int) -> Any:
    """True where a key may be seen; the first one always."""
    if kind == "none":
        return None
    mask = RNG.random((samples, seen) if kind == "padding" else (samples, steps, seen)) < 0.6
    mask[..., 0] = True
    return mask


def module_of(features: int, heads: int, bias: bool = True) -> tuple[Any, dict[str, Any]]:
    """PyTorch's layer, and its weights as ours are called and laid out."""
    module = torch.nn.MultiheadAttention(features, heads, bias=bias, batch_first=True).double()
    weights = {}
    for name, place in module.named_parameters():
        array = numbers(*place.shape) * np.float32(0.4)
        with torch.no_grad():
            place.copy_(tensor(array))
        weights[f"attention.{name}"] = np.ascontiguousarray(array.T)
    return module, weights


def forbidden(mask: Any, causal: bool, steps: int, seen: int, heads: int) -> Any:
    """What PyTorch's layer takes: true where a key may not be seen, for each head."""
    banned = np.zeros((1, steps, seen), bool) if mask is None else ~(mask[:, None] if mask.ndim == 2 else mask)
    banned = banned | (~np.tri(steps, seen, dtype=bool) if causal else False)
    if banned.shape[0] == 1:
        return torch.tensor(banned[0])
    wide = np.broadcast_to(banned, (banned.shape[0], steps, seen))
    return torch.tensor(np.repeat(wide, heads, axis=0))


@pytest.mark.parametrize(("features", "heads"), [(8, 1), (8, 2), (12, 4)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["none", "padding", "steps"])
@pytest.mark.parametrize("bias", [True, False])
def test_self_attention_is_that_of_torch(
    bench: Any, agrees: Any, features: int, heads: int, causal: bool, kind: str, bias: bool
) -> None:
    samples, steps = 3, 5
    x, received, mask = numbers(samples, steps, features), numbers(samples, steps, features), masks(kind, 3, 5, 5)
    module, weights = module_of(features, heads, bias)
    inputs = {"x": x} if mask is None else {"x": x, "mask": mask}
    settings = [str(heads), *(["causal=true"] if causal else []), *(["bias=false"] if not bias else [])]
    body = f"attention({', '.join([*settings, *(['mask=mask'] if mask is not None else [])])})"
    check(bench, agrees, body, module, weights, inputs, received, {"attn_mask": forbidden(mask, causal, 5, 5, heads)})


def check(
    bench: Any, agrees: Any, body: str, module: Any, weights: Any, inputs: Any, received: Any, options: Any
) -> None:
    step = bench.step(body, inputs, received, weights)
    given = {name: tensor(array, True) for name, array in inputs.items() if array.dtype == np.float32}
    context = given.get("context", given["x"])
    result, _ = module(given["x"], context, context, need_weights=False, **options)
    backward(result, received)
    agrees(step.result, result)
    for name, leaf in given.items():
        agrees(step.gradients[name], leaf.grad)
    for name, place in module.named_parameters():
        if f"attention.{name}" in weights:
            agrees(step.gradients[f"attention.{name}"], place.grad.numpy().T)
    agrees(bench.infer(body, inputs, weights), result)


@pytest.mark.parametrize("kind", ["none", "padding", "steps"])
def test_cross_attention_is_that_of_torch(bench: Any, agrees: Any, kind: str) -> None:
    samples, steps, seen, features, heads = 3, 4, 6, 8, 2
    x, context, received = numbers(samples, steps, features), numbers(samples, seen, features), numbers(3, 4, 8)
    module, merged = module_of(features, heads)
    weights = {
        "attention.q_proj_weight": merged["attention.in_proj_weight"][:, :8].copy(),
        "attention.kv_proj_weight": merged["attention.in_proj_weight"][:, 8:].copy(),
        "attention.q_proj_bias": merged["attention.in_proj_bias"][:8].copy(),
        "attention.kv_proj_bias": merged["attention.in_proj_bias"][8:].copy(),
        "attention.out_proj.weight": merged["attention.out_proj.weight"],
        "attention.out_proj.bias": merged["attention.out_proj.bias"],
    }
    mask = masks(kind, samples, steps, seen)
    inputs = {"x": x, "context": context} if mask is None else {"x": x, "context": context, "mask": mask}
    body = f"x -> attention(2, context=context{', mask=mask' if mask is not None else ''})"
    options = {"attn_mask": forbidden(mask, False, steps, seen, heads)}
    check(bench, agrees, body, module, weights, inputs, received, options)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_heads_share_keys_and_values(bench: Any, agrees: Any, groups: int, causal: bool) -> None:
    heads, width, samples, steps = 4, 4, 2, 6
    features, total = heads * width, (heads + 2 * groups) * width
    x, received = numbers(samples, steps, features), numbers(samples, steps, features)
    arrays = {
        "in_proj_weight": numbers(features, total) * np.float32(0.3), "in_proj_bias": numbers(total),
        "out_proj.weight": numbers(features, features) * np.float32(0.3), "out_proj.bias": numbers(features),
    }  # fmt: skip
    leaves = {name: tensor(array, True) for name, array in arrays.items()} | {"x": tensor(x, True)}
    projected = leaves["x"] @ leaves["in_proj_weight"] + leaves["in_proj_bias"]
    apart = projected.reshape(samples, steps, heads + 2 * groups, width).transpose(1, 2)
    parts = apart.split((heads, groups, groups), 1)
    joined = torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=causal, enable_gqa=True)
    flat = joined.transpose(1, 2).reshape(samples, steps, features)
    result = flat @ leaves["out_proj.weight"] + leaves["out_proj.bias"]
    backward(result, received)
    weights = {f"attention.{name}": array for name, array in arrays.items()}
    body = f"attention(4, key_value_heads={groups}, causal={str(causal).lower()})"
    step = bench.step(body, {"x": x}, received, weights)
    agrees(step.result, result)
    for name, leaf in leaves.items():
        agrees(step.gradients["x" if name == "x" else f"attention.{name}"], leaf.grad)
    agrees(bench.infer(body, {"x": x}, weights), result)


@pytest.mark.parametrize("heads", [0, 3])
@pytest.mark.parametrize("kind", ["none", "padding", "steps"])
def test_the_product_alone_is_that_of_torch(bench: Any, agrees: Any, heads: int, kind: str) -> None:
    front = (2, heads) if heads else (2,)
    q, k, v, received = (numbers(*front, *last) for last in ((4, 8), (6, 8), (6, 5), (4, 5)))
    mask = masks(kind, 2, 4, 6)
    inputs = {"q": q, "k": k, "v": v} | ({} if mask is None else {"mask": mask})
    body = f"scaled_dot_product(q, k, v{'' if mask is None else ', mask=mask'})"
    step = bench.step(body, inputs, received)
    leaves = [tensor(array, True) for array in (q, k, v)]
    told = None
    if mask is not None:
        told = torch.tensor(mask[:, None, :] if kind == "padding" else mask)
        told = told[:, None] if heads else told
    result = torch.nn.functional.scaled_dot_product_attention(*leaves, attn_mask=told)
    backward(result, received)
    agrees(step.result, result)
    for name, leaf in zip("qkv", leaves, strict=True):
        agrees(step.gradients[name], leaf.grad)
    agrees(bench.infer(body, inputs), result)


def test_dropout_drops_weights_while_training_only(bench: Any, agrees: Any) -> None:
    x = numbers(2, 16, 8)
    module, weights = module_of(8, 2)
    expected, _ = module(tensor(x), tensor(x), tensor(x))
    agrees(bench.infer("attention(2, dropout=0.5)", {"x": x}, weights), expected)
    values = numbers(1, 64, 4)
    step = bench.step("scaled_dot_product(x * 0, x * 0, x, dropout=0.25)", {"x": values}, numbers(1, 64, 4))
    # All weights are 1/64 here: each result is the mean of about 3/4 of the values, times 4/3.
    assert np.abs(step.result - values.mean(axis=1)).max() > 0.01
    np.testing.assert_allclose(step.result.mean(axis=1), values.mean(axis=1), atol=0.1)


def test_dropout_has_the_gradient_of_what_was_kept(bench: Any, agrees: Any) -> None:
    q, k, v, received = numbers(2, 5, 4), numbers(2, 6, 4), numbers(2, 6, 6), numbers(2, 5, 6)
    eye = np.broadcast_to(np.eye(6, dtype=np.float32), (2, 6, 6)).copy()
    body = "scaled_dot_product(q, k, v, dropout=0.5)"
    # With the identity for values the result is the weights themselves.
    kept = bench.step(body, {"q": q, "k": k, "v": eye}, received).result
    leaves = [tensor(array, True) for array in (q, k, v)]
    weights = (leaves[0] @ leaves[1].transpose(1, 2) / 2).softmax(-1)
    chosen = torch.tensor(kept != 0)
    assert 10 < chosen.sum() < 50
    result = weights * chosen * 2 @ leaves[2]
    backward(result, received)
    step = bench.step(body, {"q": q, "k": k, "v": v}, received)
    agrees(step.result, result)
    for name, leaf in zip("qkv", leaves, strict=True):
        agrees(step.gradients[name], leaf.grad)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_blocks_of_every_size_give_the_same(
    bench: Any, agrees: Any, monkeypatch: pytest.MonkeyPatch, causal: bool, groups: int
) -> None:
    """As long sequences are cut into blocks, and wide scores do not fit the memory that is set aside for them."""
    q, k, v, received = numbers(3, 2, 7, 4), numbers(3, groups, 7, 4), numbers(3, groups, 7, 5), numbers(3, 2, 7, 5)
    mask = masks("steps", 3, 7, 7)
    inputs = {"q": q, "k": k, "v": v, "mask": mask}
    body = f"scaled_dot_product(q, k, v, mask=mask, causal={str(causal).lower()})"
    whole = bench.step(body, inputs, received)
    for queries, scores in ((2, 2**16), (3, 100), (7, 20)):
        source = attention_numpy.BLOCKS.replace("queries, 128", f"queries, {queries}")
        monkeypatch.setattr(attention_numpy, "BLOCKS", source.replace("65536", str(scores)))
        monkeypatch.setattr(attention_numpy, "MOST", scores)
        monkeypatch.setattr(attention_numpy, "QUERIES", queries)
        # Fewer than there are: the weights are not kept.
        monkeypatch.setattr(attention, "QUERIES", queries)
        cut = bench.step(body, inputs, received)
        agrees(cut.result, whole.result)
        for name in "qkv":
            agrees(cut.gradients[name], whole.gradients[name])
        monkeypatch.undo()


def test_small_scores_need_no_largest_one(bench: Any, agrees: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, received, steps = (
        {"q": numbers(3, 7, 4), "k": numbers(3, 7, 4), "v": numbers(3, 7, 5)},
        numbers(3, 7, 5),
        [],
    )
    for small in (0.0, 40.0):
        monkeypatch.setitem(attention_numpy.SMALL, DType.F32, small)
        steps.append(bench.step("scaled_dot_product(q, k, v, causal=true)", inputs, received))
    agrees(steps[0].result, steps[1].result)
    for name in "qkv":
        agrees(steps[0].gradients[name], steps[1].gradients[name])


def test_scores_that_overflow_alone_do_no_harm(bench: Any) -> None:
    q = np.array([[[1e4, 0], [0, 1e4]]], np.float32)
    step = bench.step("scaled_dot_product(q, q, q)", {"q": q}, np.ones_like(q))
    np.testing.assert_allclose(step.result, q, rtol=1e-6)
    assert np.isfinite(step.gradients["q"]).all()


def test_a_query_that_may_see_nothing_is_finite(bench: Any) -> None:
    x, mask = numbers(2, 3, 4), np.zeros((2, 3), bool)
    _, weights = module_of(4, 2)
    body, inputs = "attention(2, mask=mask, causal=true)", {"x": x, "mask": mask}
    assert np.isfinite(bench.infer(body, inputs, weights)).all()
    step = bench.step(body, inputs, numbers(2, 3, 4), weights)
    assert all(np.isfinite(array).all() for array in step.gradients.values())


def test_an_exported_model_runs_at_lengths_never_seen(bench: Any, agrees: Any) -> None:
    module, weights = module_of(8, 2)
    for samples, steps in ((1, 1), (3, 17), (64, 5), (2, 130)):
        x = numbers(samples, steps, 8)
        banned = forbidden(None, True, steps, steps, 2)
        result, _ = module(tensor(x), tensor(x), tensor(x), attn_mask=banned, need_weights=False)
        agrees(bench.infer("attention(2, causal=true)", {"x": x}, weights, {"x": "f32[N, T, 8]"}), result)


def test_a_file_has_no_table_of_steps_times_steps(bench: Any) -> None:
    import onnx

    twice = "attention(2, causal=true)\nattention(2, causal=true)"
    program = bench.model(twice, {"x": numbers(1, 9, 8)}, {"x": "f32[N, T, 8]"})
    weights = {w.name: np.zeros([d for d in w.type.shape if isinstance(d, int)], np.float32) for w in program.weights}
    graph = onnx.load_from_string(compiler.onnx_file(program, weights)).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("Softmax") == 2
    assert kinds.count("MatMul") == 8
    # The second layer takes the mask of the first.
    assert (kinds.count("Range"), kinds.count("Where"), kinds.count("LessOrEqual")) == (1, 1, 1)
    assert sum(initializer.dims[0] for initializer in graph.initializer if len(initializer.dims) == 1) < 80


@pytest.mark.parametrize("dropout", ["0", "0.1"])
def test_memory_does_not_grow_with_the_square_of_the_steps(dropout: str) -> None:
    """A step keeps no table of steps by steps: with dropout a byte for each cell, which is kept or not."""
    text = f"""
        model Net(x: f32[N, T, 32]) -> f32[N, T, 32] {{ attention(8, causal=true, dropout={dropout}) }}
        train net(x: f32[N, T, 32], y: f32[N, T, 32]) {{ minimize mse(Net(x), y) with sgd(0.1) }}
    """
    program = compiler.compile_train(compiler.check(Source("test.dl", text)), "net")
    (name,) = (graph.name for graph in program.steps)
    module = compiler.train_module(program)
    kept = Engine(module, {"seed": np.array(0)}).call("initial", {})
    engine = Engine(module, {**{n: a.copy() for n, a in kept.items()}, "seed": np.array(0), "step": np.array(0)})
    x, table = numbers(1, 1024, 32), 8 * 1024 * 1024
    for function, tables in (("evaluate", 0), (name, dropout != "0")):
        tracemalloc.start()
        engine.call(function, {"x": x, "y": x})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # One table of scores would take 4 bytes a cell.
        assert peak < (2.5 + tables) * table


MISTAKES = [
    ("x: f32[N, T, 8]", "attention(3)", "E0404", "the 8 features can't be divided among 3 heads"),
    ("x: f32[N, T, 8]", "attention(4, key_value_heads=3)", "E0404", "3 key and value heads can't serve 4 heads evenly"),
    ("x: f32[N, 8]", "attention(2)", "E0301", "attention takes sequences such as f32[N, T, 64], not f32[N, 8]"),
    ("x: f32[N, T, 8], m: bool[N, S]", "attention(2, mask=m)", "E0404",
     "the mask of attention has to be bool[N, T] or bool[N, T, T], not bool[N, S]"),
    ("x: f32[N, T, 8], m: f32[N, T]", "attention(2, mask=m)", "E0404", "the mask of attention is bool"),
    ("x: f32[N, T, 8], y: f32[N, S, 8]", "x -> attention(2, context=y, causal=true)", "E0404",
     "causal attention has as many steps as it looks at, not T and S"),
    ("x: f32[N, T, 8], y: f32[M, S, 8]", "x -> attention(2, context=y)", "E0301",
     "attention of f32[N, T, 8] can't look at f32[M, S, 8]"),
    ("x: f32[N, T, 8]", "attention(2, dropout=1)", "E0404", "a dropout rate lies from 0 up to, not including, 1"),
    ("x: f32[N, T, 6]", "attention(2, rotary=100)", "E0404", "rotary takes a base above 0 and pairs of features"),
    ("x: f32[N, T, 8]", "scaled_dot_product(x, x, x -> flatten)", "E0301", "scaled_dot_product can't take"),
    ("x: f32[N, T, 8], y: f32[N, S, 8]", "scaled_dot_product(x, y, x)", "E0302", "have to be as many: S and T"),
]  # fmt: skip


@pytest.mark.parametrize(("signature", "body", "code", "title"), MISTAKES)
def test_mistakes_are_told(signature: str, body: str, code: str, title: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compiler.check(Source("test.dl", f"model Net({signature}) {{ {body} }}"))
    (diagnostic, *_) = caught.value.diagnostics
    assert diagnostic.code == code
    assert re.search(re.escape(title), str(caught.value))
