"""The GPT of the design: trained beside the same network in PyTorch from the same weights, and exported."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compiler
from compiler import Checked
from compiler.diagnostics import Source
from runtime.inference.session import InferenceSession
from runtime.programs.engine import Engine

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
functional = torch.nn.functional

GPT = """
block Transformer(x: [N, T, D], heads, drop=0.0) {
    residual { layer_norm -> attention(heads, causal=true) -> dropout(drop) }
    residual { layer_norm -> dense(4 * D) -> gelu -> dense(D) -> dropout(drop) }
}

model GPT(tokens: i64[N, T <= 64]) -> f32[N, T, 65] {
    layer token = embed(65, 128)
    token -> position(64)                # adds a learned position to every step
    repeat 4 { Transformer(heads=4) }
    layer_norm
    it @ transpose(token.weight)
}

train gpt(tokens: i64[N, 64], targets: i64[N, 64]) {
    minimize cross_entropy(GPT(tokens), targets) with adamw(1e-3)
    steps 4
}
"""


@pytest.fixture(scope="module")
def checked() -> Checked:
    return compiler.check(Source("gpt.dl", GPT))


@pytest.fixture(scope="module")
def first(checked: Checked) -> dict[str, Any]:
    """The weights and the state with which training begins."""
    module = compiler.train_module(compiler.compile_train(checked, "gpt"))
    engine = Engine(module, {"seed": np.array(7)})
    return {name: array.copy() for name, array in engine.call("initial", {}).items()}


def block(x: Any, w: dict[str, Any], path: str) -> Any:
    def weight(name: str) -> Any:
        return w[f"{path}.{name}"]

    def normal(x: Any, name: str) -> Any:
        return functional.layer_norm(x, (128,), weight(f"{name}.weight"), weight(f"{name}.bias"))

    y = normal(x, "layer_norm") @ weight("attention.in_proj_weight") + weight("attention.in_proj_bias")
    q, k, v = (part.unflatten(-1, (4, 32)).transpose(1, 2) for part in y.split(128, -1))
    joined = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
    x = x + joined @ weight("attention.out_proj.weight") + weight("attention.out_proj.bias")
    y = functional.gelu(normal(x, "layer_norm_2") @ weight("dense.weight") + weight("dense.bias"))
    return x + y @ weight("dense_2.weight") + weight("dense_2.bias")


def gpt(tokens: Any, w: dict[str, Any]) -> Any:
    x = w["GPT.token.embed.weight"][tokens] + w["GPT.position.weight"][: tokens.shape[1]]
    for number in range(4):
        x = block(x, w, f"GPT.repeat.{number}.Transformer")
    x = functional.layer_norm(x, (128,), w["GPT.layer_norm.weight"], w["GPT.layer_norm.bias"])
    return x @ w["GPT.token.embed.weight"].T


def test_it_has_as_many_parameters_as_nano_gpt(checked: Checked) -> None:
    """nanoGPT's 4 layers of 128 features with a block of 64 and 65 characters, biases included."""
    weights = compiler.compile_model(checked, "GPT").weights
    layer = 4 * 128 + 128 * 384 + 384 + 128 * 128 + 128 + 128 * 512 + 512 + 512 * 128 + 128
    expected = 65 * 128 + 64 * 128 + 4 * layer + 2 * 128
    assert sum(int(np.prod(weight.type.shape)) for weight in weights) == expected


def test_it_trains_as_in_torch(checked: Checked, first: dict[str, Any]) -> None:
    program = compiler.compile_train(checked, "gpt")
    engine = Engine(compiler.train_module(program), {name: array.copy() for name, array in first.items()})
    leaves = {w.name: torch.tensor(first[w.name], requires_grad=True) for w in program.weights}
    optimizer = torch.optim.AdamW(leaves.values(), lr=1e-3)
    random = np.random.default_rng(0)
    for _ in range(4):
        batch = random.integers(0, 65, (2, 4, 64))
        found = float(engine.call("step0", {"tokens": batch[0], "targets": batch[1]})["loss"])
        optimizer.zero_grad()
        tokens, targets = map(torch.tensor, batch)
        loss = functional.cross_entropy(gpt(tokens, leaves).flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        assert found == pytest.approx(float(loss.detach()), rel=1e-5)


def test_its_file_runs_at_lengths_never_seen(checked: Checked, first: dict[str, Any]) -> None:
    program = compiler.compile_model(checked, "GPT")
    weights = {weight.name: first[weight.name] for weight in program.weights}
    content = compiler.onnx_file(program, weights)
    leaves = {name: torch.tensor(array) for name, array in weights.items()}
    random = np.random.default_rng(1)
    for optimise in (False, True):
        session = InferenceSession(content, optimise=optimise)
        for samples, steps in ((1, 1), (3, 17), (2, 64)):
            tokens = random.integers(0, 65, (samples, steps))
            expected = gpt(torch.tensor(tokens), leaves).numpy()
            np.testing.assert_allclose(session.run({"tokens": tokens})["output"], expected, rtol=1e-5, atol=1e-5)


def test_its_file_keeps_norms_whole_and_has_the_shared_matrix_once(checked: Checked, first: dict[str, Any]) -> None:
    import onnx

    program = compiler.compile_model(checked, "GPT")
    file = onnx.load_from_string(compiler.onnx_file(program, {w.name: first[w.name] for w in program.weights}))
    kinds = [node.op_type for node in file.graph.node]
    assert kinds.count("LayerNormalization") == 9
    assert kinds.count("Gelu") == 4
    assert len(kinds) <= 116
    parameters = sum(int(np.prod(weight.type.shape)) for weight in program.weights)
    assert sum(int(np.prod(item.dims)) for item in file.graph.initializer) < parameters + 100
