"""Rows of sequences one behind the other, so that products have two axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import Source
from compiler.passes.flat_rows import _RULES, FlatRows
from runtime.inference.session import InferenceSession
from runtime.programs.engine import Engine

BEFORE = """
    data %x: f32[N, T, 4]
    weight %w: f32[4, 4]
    weight %b: f32[4]
    weight %v: f32[4, 2]
    %t0: f32[N, T, 4] = linear(%x, %w, %b) {activation=@relu}
    %t1: f32[N, T, 4] = add(%x, %t0)
    %t2: f32[N, T, 4] = layer_norm(%t1, %b)
    %t3: f32[N, T, 4] = linear(%t2, %w, %b)
    %t4: f32[N, T, 4] = linear(%t3, %w, %b)
    %t5: f32[N, T, 4] = linear(%t4, %w, %b)
    %t6: f32[N, T, 4] = linear(%t5, %w, %b)
    %t7: f32[N, T, 4] = linear(%t6, %w, %b)
    %t8: f32[N, T, 4] = linear(%t7, %w, %b)
    %t9: f32[N, T, 4] = linear(%t8, %w, %b)
    %y: f32[N, T, 2] = matmul(%t9, %v)
    return y=%y
"""
AFTER = """
    data %x: f32[N, T, 4]
    weight %w: f32[4, 4]
    weight %b: f32[4]
    weight %v: f32[4, 2]
    %t10: f32[N*T, 4] = reshape(%x) {shape=[N*T, 4]}
    %t11: f32[N*T, 4] = linear(%t10, %w, %b) {activation=@relu}
    %t12: f32[N*T, 4] = reshape(%x) {shape=[N*T, 4]}
    %t13: f32[N*T, 4] = add(%t11, %t12)
    %t14: f32[N*T, 4] = layer_norm(%t13, %b)
    %t15: f32[N*T, 4] = linear(%t14, %w, %b)
    %t16: f32[N*T, 4] = linear(%t15, %w, %b)
    %t17: f32[N*T, 4] = linear(%t16, %w, %b)
    %t18: f32[N*T, 4] = linear(%t17, %w, %b)
    %t19: f32[N*T, 4] = linear(%t18, %w, %b)
    %t20: f32[N*T, 4] = linear(%t19, %w, %b)
    %t21: f32[N*T, 4] = linear(%t20, %w, %b)
    %t22: f32[N*T, 2] = matmul(%t21, %v)
    %y: f32[N, T, 2] = reshape(%t22) {shape=[N, T, 2]}
    return y=%y
"""


def test_text_before_and_after(graphs: Any) -> None:
    after = graphs.applied(FlatRows(), graphs.read(BEFORE))
    assert graphs.unnamed(after) == graphs.unnamed(graphs.read(AFTER))


def test_one_product_is_not_worth_two_reshapes(graphs: Any) -> None:
    graph = graphs.read("""
        data %x: f32[N, T, 4]
        weight %w: f32[4, 4]
        weight %b: f32[4]
        %y: f32[N, T, 4] = linear(%x, %w, %b)
        return y=%y
    """)
    assert FlatRows().apply(graph) is graph


REFUSED = [
    ("is no sequence of rows", "%y: f32[N, 4] = linear(%x, %w, %b)", "f32[N, 4]"),
    ("is no sequence of rows", "%y: f32[2, T, 4] = linear(%x, %u, %b)", "f32[2, T, 4]"),
    ("is not the rows of", "%t: f32[2, 3, 4] = reshape(%x) {shape=[2, 3, 4]}\n%y: f32[2, 3, 4] = layer_norm(%t, %b)",
     "f32[2, 12]"),
    ("more than rows are normalised",
     "%t: f32[N, T, 4] = reshape(%x) {shape=[N, T, 4]}\n%y: f32[N, T, 4] = layer_norm(%t, %c) {axis=0}", "f32[N*T, 4]"),
    ("is f32[4], not f32[N, T, 4]",
     "%t: f32[N, T, 4] = reshape(%x) {shape=[N, T, 4]}\n%y: f32[N, T, 4] = add(%t, %b)", "f32[N*T, 4]"),
    ("not one matrix",
     "%t: f32[2, 5, 4] = reshape(%x) {shape=[2, 5, 4]}\n%y: f32[2, 5, 4] = matmul(%t, %u)", "f32[10, 4]"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "nodes", "type"), REFUSED, ids=["rows", "matrices", "other axes", "axes", "broadcast", "stack"]
)
def test_where_it_stays(graphs: Any, reason: str, nodes: str, type: str) -> None:
    weights = "weight %w: f32[4, 4]\nweight %b: f32[4]\nweight %u: f32[2, 4, 4]\nweight %c: f32[N, T, 4]\n"
    body = f"data %x: {type}\ndata %n: i64[N, T]\n{weights}{nodes}\nreturn y=%y"
    assert any(reason in str(refusal) for refusal in graphs.refusals(_RULES, graphs.read(body)))


NET = """
import std.transformer

model Net(x: f32[N, T <= 9, 8]) -> f32[N, T, 3] {
    position(9)
    repeat 2 { EncoderBlock(2, causal=true) }
    layer_norm -> dense(3)
}
"""


def test_a_transformer_has_gemm_alone_and_computes_the_same() -> None:
    import onnx

    program = compiler.compile_model(compiler.check(Source("net.dl", NET)), "Net")
    random = np.random.default_rng(0)
    weights = {
        w.name: random.standard_normal([d for d in w.type.shape if isinstance(d, int)]).astype(np.float32)
        for w in program.weights
    }
    content = compiler.onnx_file(program, weights)
    kinds = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert kinds.count("Gemm") == 9
    assert kinds.count("MatMul") == 4  # those of attention
    for samples, steps in ((1, 1), (3, 9), (2, 4)):
        x = random.standard_normal((samples, steps, 8)).astype(np.float32)
        expected = Engine(compiler.model_module(program), weights).call("infer", {"x": x})["output"]
        for optimise in (False, True):
            found = InferenceSession(content, optimise=optimise).run({"x": x})["output"]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
