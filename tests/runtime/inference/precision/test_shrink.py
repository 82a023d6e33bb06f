"""Smaller files: what is in them, what they are judged by, and when there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from compiler.diagnostics import DiagnosticError
from compiler.targets.onnx.metadata import describe
from runtime.inference.precision.forms import Precision
from runtime.inference.precision.gate import Limits
from runtime.inference.precision.shrink import Shrinker
from runtime.inference.session import InferenceSession
from runtime.training.job import Changes

RANDOM = np.random.default_rng(0)
MLP = """
model Net(x: f32[N, 16]) -> f32[N, 4] {
    first: dense(48) -> relu
    second: dense(48) -> relu
    head: dense(4)
}
"""
CONV = """
model Net(x: f32[N, 1, 12, 12]) -> f32[N, 4] {
    stem: conv(16, 3, pad=same) -> batch_norm -> relu -> max_pool(2)
    body: conv(24, 3, pad=same) -> relu
    residual { conv(24, 3, pad=same) -> relu }
    flatten
    head: dense(4)
}
"""
WORDS = """
model Net(x: i64[N, T <= 12]) -> f32[N, 9] {
    embed(9, 32)
    lstm(24)
    head: dense(9)
}
"""
ATTENTION = """
model Net(x: i64[N, T <= 12]) -> f32[N, 9] {
    layer token = embed(9, 32)
    token -> position(12)
    residual { layer_norm -> attention(4, causal=true) }
    residual { layer_norm -> dense(64) -> gelu -> dense(32) }
    last: layer_norm
    mean(it, 1) @ transpose(token.weight)
}
"""
PRECISIONS: tuple[Precision, ...] = ("fp16", "int8", "int8-dynamic")


def normal(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def code(caught: pytest.ExceptionInfo[DiagnosticError]) -> str:
    return caught.value.diagnostics[0].code


def kinds(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.ModelProto.FromString(content).graph.node]


INPUTS = {
    MLP: normal(200, 16),
    CONV: normal(120, 1, 12, 12),
    WORDS: RANDOM.integers(0, 9, (200, 8)),
    ATTENTION: RANDOM.integers(0, 9, (200, 8)),
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", [MLP, CONV, WORDS, ATTENTION], ids=["mlp", "conv", "lstm", "attention"])
def test_a_smaller_file_keeps_the_figures(opened: Any, model: str, precision: Precision) -> None:
    made: Shrinker = opened(model, INPUTS[model], limits=Limits(drop=4))
    assert made.gate.before["accuracy"] == 1
    variant = made.variant(precision)
    assert variant.figures["accuracy"] >= 0.96
    assert not variant.others
    assert len(variant.content) < len(made.content)
    # The interface and what the file says of itself are those of f32.
    before, after = InferenceSession(made.content), InferenceSession(variant.content)
    assert [str(port) for port in (*before.inputs, *before.outputs)] == [
        str(p) for p in (*after.inputs, *after.outputs)
    ]
    assert before.metadata.items() - after.metadata.items() == {
        item for item in before.metadata.items() if item[0].startswith("dlc.certificate.")
    }


def test_what_8_bits_are_used_for(opened: Any) -> None:
    static = opened(CONV, INPUTS[CONV], limits=Limits(drop=4)).variant("int8").content
    held = onnx.ModelProto.FromString(static).graph.initializer
    large = [item for item in held if np.prod(item.dims) >= 256]
    assert {item.data_type for item in large} == {onnx.TensorProto.INT8}
    assert kinds(static).count("QuantizeLinear") >= 4
    assert "Relu" not in kinds(static)[:6]  # the range of what is quantized next cuts off what is below 0
    dynamic = opened(WORDS, INPUTS[WORDS], limits=Limits(drop=4)).variant("int8-dynamic").content
    assert {"DynamicQuantizeLSTM", "Cast"} <= set(kinds(dynamic))
    stored = opened(WORDS, INPUTS[WORDS], limits=Limits(drop=4)).variant("int8").content
    assert "LSTM" in kinds(stored)  # standard operations only
    assert {item.domain for item in onnx.ModelProto.FromString(stored).opset_import} == {""}


def test_the_same_twice(opened: Any) -> None:
    made = [opened(ATTENTION, INPUTS[ATTENTION], limits=Limits(drop=4)) for _ in range(2)]
    for precision in PRECISIONS:
        first, second = (each.variant(precision).content for each in made)
        assert first == second


def test_what_the_file_says_of_itself(opened: Any) -> None:
    made: Shrinker = opened(MLP, INPUTS[MLP], limits=Limits(drop=4))
    found = describe(InferenceSession(made.variant("int8").content).metadata)
    assert not found.certificate
    assert found.precision["kind"] == "int8"
    assert found.precision["samples"] == "100 samples of net.npz"
    assert found.precision["ranges"] == "100 samples of net.npz"
    assert found.precision["gate"].endswith("in f32 1, at most 4 points lower")
    assert (
        found.precision["parent.difference"]
        == describe(InferenceSession(made.content).metadata).certificate["difference"]
    )
    assert len(found.precision["parent.sha256"]) == 64


def outlier(array: Any) -> Any:
    """Weights of which one in each column is so large that 8 bits leave nothing of the others."""
    changed = array.copy()
    changed[0] = 1e4
    return changed


def test_a_layer_whose_inputs_reach_too_far_keeps_8_bits_for_its_weights(opened: Any) -> None:
    x = normal(200, 16)
    x[:, 0] = 0
    x[::7, 0] = 3000
    silent = {"Net.first.dense.weight": lambda array: np.concatenate([0 * array[:1], array[1:]])}
    made: Shrinker = opened(MLP, x, silent, Limits(drop=4))
    variant = made.variant("int8")
    assert variant.kept("stored") == ("first.dense",)
    assert variant.kept("f32") == ()
    assert variant.notes() == ["first.dense is stored in 8 bits and computed in f32, to lose less"]
    assert describe(InferenceSession(variant.content).metadata).precision["stored"] == "first.dense"


def test_a_layer_that_8_bits_are_too_few_for_stays_in_f32(opened: Any) -> None:
    x = normal(200, 16)
    x[:, 0] = 0
    made: Shrinker = opened(MLP, x, {"Net.first.dense.weight": outlier}, Limits(drop=4))
    for precision in ("int8", "int8-dynamic"):
        variant = made.variant(precision)
        assert variant.kept("f32") == ("first.dense",)
        assert variant.figures["accuracy"] >= 0.96


def test_where_nothing_helps_there_is_no_file(opened: Any, tmp_path: Path) -> None:
    model = "model Net(x: f32[N, 16]) -> f32[N, 48] { dense(48) }"
    x = normal(200, 16)
    x[:, 0] = 0
    made: Shrinker = opened(model, x, {"Net.dense.weight": outlier})
    with pytest.raises(DiagnosticError) as caught:
        made.variant("int8")
    assert code(caught) == "E0932"
    (found,) = caught.value.diagnostics
    assert found.title == "Net loses too much in int8: no file was written"
    assert found.notes[0].startswith("accuracy is 1.0000 in f32 and 0.")
    assert found.notes[0].endswith("in int8: at most 0.5 points lower is allowed")


def test_numbers_that_f16_is_too_small_for(opened: Any) -> None:
    model = """
    model Net(x: f32[N, 16]) -> f32[N, 4] {
        huge: square(it)
        small: sqrt(it + 1)
        first: dense(48) -> relu
        head: dense(4)
    }
    """
    made: Shrinker = opened(model, 1000 * normal(200, 16), limits=Limits(drop=4))
    variant = made.variant("fp16")
    assert variant.overflowing == ("huge", "small")
    assert variant.figures["accuracy"] >= 0.96
    assert variant.notes() == ["huge, small are in f32, as f16 is too small for the numbers there"]
    held = {item.name: item.data_type for item in onnx.ModelProto.FromString(variant.content).graph.initializer}
    assert held["Net.first.dense.weight f16"] == onnx.TensorProto.FLOAT16


def test_weights_that_f16_is_too_small_for(opened: Any) -> None:
    x = normal(200, 16)
    x[:, 0] = 0
    large = {"Net.first.dense.weight": lambda array: np.concatenate([0 * array[:1] + 1e5, array[1:]])}
    variant = opened(MLP, x, large, Limits(drop=4)).variant("fp16")
    assert variant.overflowing == ("first.dense",)


def test_networks_with_nothing_to_make_smaller(opened: Any) -> None:
    wide = "model Net(x: f64[N, 16]) -> f64[N, 32] { dense(32) }"
    tiny = "model Net(x: f32[N, 4]) -> f32[N, 4] { dense(4) }"
    for model, x, precisions in (
        (wide, normal(40, 16).astype(np.float64), PRECISIONS),
        (tiny, normal(40, 4), ("int8", "int8-dynamic")),
    ):
        made = opened(model, x)
        for precision in precisions:
            with pytest.raises(DiagnosticError, match="there is nothing in Net") as caught:
                made.variant(precision)
            assert code(caught) == "E0935"


def test_a_file_that_would_not_be_smaller(opened: Any) -> None:
    with pytest.raises(DiagnosticError, match="would not make the file of Net smaller") as caught:
        opened("model Net(x: f32[N, 4]) -> f32[N, 4] { dense(4) }", normal(40, 4), limits=Limits(drop=10)).variant(
            "fp16"
        )
    assert code(caught) == "E0933"


def test_without_samples_to_judge_by_there_is_no_file(opened: Any) -> None:
    train = (
        'train net(x: f32[N, 16], y: i64[N]) {{\n minimize cross_entropy(Net(x), y) with sgd(1)\n data "net.npz"\n}}'
    )
    with pytest.raises(DiagnosticError, match="sets no samples apart") as caught:
        opened(MLP, INPUTS[MLP], train=train)
    assert code(caught) == "E0931"
    x = normal(60, 16)
    made = opened(MLP, INPUTS[MLP], train=train, changes=Changes({"x": x, "y": np.zeros(60, np.int64)}))
    assert len(made.judged) == 60
    assert made.gate.better == {"loss": "lower"}


def test_samples_that_give_nan(opened: Any) -> None:
    x = np.abs(normal(200, 16))
    train = """
    train net(x: f32[N, 16], y: i64[N]) {{
        minimize cross_entropy(Net(x), y) with sgd(0.1)
        data "net.npz"
        validate last(50%)
    }}
    """
    model = "model Net(x: f32[N, 16]) -> f32[N, 32] { log -> dense(32) }"
    made: Shrinker = opened(model, x, train=train)
    made.calibration.arrays["x"][3, 5] = -1
    with pytest.raises(DiagnosticError, match="gives NaN") as caught:
        made.variant("int8")
    assert code(caught) == "E0934"


def test_measures_that_judge(opened: Any) -> None:
    train = """
    train net(x: f32[N, 16], y: i64[N]) {{
        scores = Net(x)
        minimize cross_entropy(scores, y) with sgd(0.1)
        measure accuracy(scores, y), confusion(scores, y), largest = mean(max(scores, 1)), perplexity(scores, y)
        data "net.npz"
        validate 50%
    }}
    """
    gate = opened(MLP, INPUTS[MLP], train=train).gate
    assert gate.better == {"accuracy": "higher", "largest": "same", "perplexity": "lower"}
