"""A network out of an ONNX file, called as a model of the language: whole, cut, shared, frozen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler import Checked
from compiler.diagnostics import Diagnostic, DiagnosticError, Source
from compiler.ops.running_norm import RunningNorm
from compiler.program import ModelProgram

RANDOM = np.random.default_rng(0)
NODES = """
    c = Conv(image, features.0.weight, features.0.bias) /features/features.0/Conv pads=1,1,1,1
    n = BatchNormalization(c, features.1.weight, features.1.bias, features.1.running_mean, val_7) /features/features.1/N
    r = Relu(n) /features/features.2/Relu
    p = GlobalAveragePool(r) /pool/GlobalAveragePool
    f = Flatten(p) /Flatten
    d = Dropout(f) /classifier/classifier.0/Dropout
    logits = Gemm(d, classifier.1.weight, classifier.1.bias) /classifier/classifier.1/Gemm transB=1
"""
STORED = {
    "features.0.weight": RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "features.0.bias": np.zeros(4, np.float32),
    "features.1.weight": np.ones(4, np.float32),
    "features.1.bias": np.zeros(4, np.float32),
    "features.1.running_mean": np.full(4, 0.5, np.float32),
    "val_7": np.full(4, 2.0, np.float32),
    "classifier.1.weight": RANDOM.normal(size=(5, 4)).astype(np.float32),
    "classifier.1.bias": np.arange(5, dtype=np.float32),
}
FEATURES = ["features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias"]
STATISTICS = ["features.1.running_mean", "features.1.running_var"]
CLASSIFIER = ["classifier.1.weight", "classifier.1.bias"]
MODEL = "model Net(image: f32[M, 3, 8, 8]) {{ {} }}"

Check = Callable[..., Checked]


@pytest.fixture
def check(tmp_path: Path, write_onnx: Callable[..., Path]) -> Check:
    """Checks a text that may call the network ``VGG``; its ``nodes`` and its inputs can be others."""

    def run(text: str, nodes: str = NODES, **inputs: list[int | str]) -> Checked:
        shapes = inputs or {"image": ["N", 3, "H", "W"]}
        write_onnx(tmp_path / "vgg.onnx", nodes, shapes, {"logits": ["N", 5]}, STORED)
        main = tmp_path / "main.dl"
        main.write_text(f'import "vgg.onnx" as VGG\n{text}')
        return compiler.check(Source(str(main), main.read_text()))

    return run


def names(program: ModelProgram) -> list[str]:
    return [weight.name for weight in program.weights]


def only(check: Check, text: str, nodes: str = NODES, **inputs: list[int | str]) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        check(text, nodes, **inputs)
    (found,) = caught.value.diagnostics
    return found


def full(parts: list[str]) -> list[str]:
    return [f"VGG.{part}" for part in parts]


def test_a_call_has_the_signature_and_the_weights_of_the_file(check: Check) -> None:
    program = compiler.compile_model(check(MODEL.format("VGG(image)")), "Net")
    assert str(program.graph.output("output").type) == "f32[M, 5]"
    assert names(program) == full(FEATURES + STATISTICS + CLASSIFIER)
    assert [weight.name for weight in program.weights if not weight.trainable] == full(STATISTICS)
    assert [weight.name for weight in program.weights if weight.decays] == full([FEATURES[0], CLASSIFIER[0]])
    for name, content in program.given.items():
        original = {"features.1.running_var": "val_7"}.get(name.removeprefix("VGG."), name.removeprefix("VGG."))
        assert np.array_equal(content.read(), STORED[original])


@pytest.mark.parametrize(
    "call", ["VGG", "VGG(image)", "it -> VGG", "image -> VGG()", "VGG(image=it)", "VGG(image=image)"]
)
def test_it_is_called_as_any_model(check: Check, call: str) -> None:
    assert str(check(MODEL.format(call)).elaborated.models["Net"].graph.outputs[0].value.type) == "f32[M, 5]"


def test_the_sizes_of_the_call_flow_in(check: Check) -> None:
    text = """
        model Net(image: f32[B, 3, 16, W]) { VGG(until="features") }
        model Other(image: f32[8, 3, 4, 4]) { VGG }
        model Twice(image: f32[B, 3, 8, 8]) { concat(image, image, axis=0) -> VGG }
    """
    models = check(text).elaborated.models
    assert str(models["Net"].graph.outputs[0].value.type) == "f32[B, 4, 16, W]"
    assert str(models["Other"].graph.outputs[0].value.type) == "f32[8, 5]"
    assert str(models["Twice"].graph.outputs[0].value.type) == "f32[2*B, 5]"


def test_two_calls_share_the_weights(check: Check) -> None:
    text = "model Twins(a: f32[N, 3, 8, 8], b: f32[N, 3, 4, 4]) { VGG(a) - VGG(b) }"
    program = compiler.compile_model(check(text), "Twins")
    assert names(program) == full(FEATURES + STATISTICS + CLASSIFIER)


@pytest.mark.parametrize(
    "place", ["features", "FEATURES", "features.2", "features.2.Relu", "Relu", "/features/features.2/Relu", "r"]
)
def test_until_keeps_what_comes_before(check: Check, place: str) -> None:
    program = compiler.compile_model(check(MODEL.format(f'VGG(until="{place}")')), "Net")
    assert str(program.graph.output("output").type) == "f32[M, 4, 8, 8]"
    assert names(program) == full(FEATURES + STATISTICS)


@pytest.mark.parametrize("place", ["features", "LowDigits.features", "lowdigits.features"])
def test_what_all_names_begin_with_may_be_said(tmp_path: Path, place: str) -> None:
    shutil.copy(Path(__file__).parents[3] / "examples/data/low_digits.onnx", tmp_path)
    main = tmp_path / "main.dl"
    main.write_text(
        f'import "low_digits.onnx" as Low\nmodel Net(image: u8[N, 28, 28]) {{ Low(until="{place}"); dense(3) }}'
    )
    program = compiler.compile_model(compiler.check(Source(str(main), main.read_text())), "Net")
    assert "Low.head.dense.weight" not in names(program)
    assert str(next(weight.type for weight in program.weights if weight.name == "Net.dense.weight")) == "f32[1024, 3]"


def test_from_begins_behind_a_place(check: Check) -> None:
    text = 'model Head(x: f32[N, 4]) -> f32[N, 5] { VGG(from="flatten") }'
    assert names(compiler.compile_model(check(text), "Head")) == full(CLASSIFIER)


def test_the_two_halves_are_the_whole(check: Check) -> None:
    text = f'{MODEL.format("VGG")}\nmodel Halves(image: f32[M, 3, 8, 8]) {{ VGG(until="pool") -> VGG(from="pool") }}'
    whole, halves = check(text).elaborated.models.values()
    assert [node.operation for node in whole.graph.nodes] == [node.operation for node in halves.graph.nodes]
    assert [item.weight.name for item in whole.weights] == [item.weight.name for item in halves.weights]


def test_several_places_give_several_values(check: Check) -> None:
    text = MODEL.format('a, b = image -> VGG(until=["features", "logits"]); mean(a, 1, 2, 3) + mean(b, 1)')
    assert str(check(text).elaborated.models["Net"].graph.outputs[0].value.type) == "f32[M]"


TWO = """
    a = Mul(left, scale) /left/Mul
    logits = Add(a, right.1) /Add
"""
SHAPES: dict[str, list[int | str]] = {"left": ["N", 5], "right.1": ["N", 5]}


@pytest.fixture
def check_two(tmp_path: Path, write_onnx: Callable[..., Path]) -> Check:
    """Checks a text that calls the network ``Two``, of two inputs."""
    stored = {"scale": np.ones(5, np.float32)}

    def run(text: str, nodes: str = "", **shapes: list[int | str]) -> Checked:
        write_onnx(tmp_path / "two.onnx", TWO, SHAPES, {"logits": ["N", 5], "a": ["N", 5]}, stored)
        main = tmp_path / "main.dl"
        main.write_text(f'import "two.onnx" as Two\nmodel Net(x: f32[N, 5], y: f32[N, 5]) {{ {text} }}')
        return compiler.check(Source(str(main), main.read_text()))

    return run


@pytest.mark.parametrize(
    "call", ["sum, a = Two(x, y)", "sum, a = (x, y) -> Two", "sum, a = Two(right_1=y, left=x)", "sum, a = x -> Two(y)"]
)
def test_several_inputs_and_outputs(check_two: Check, call: str) -> None:
    check_two(f"{call}; sum * a")


def test_what_is_missing_is_named(check_two: Check) -> None:
    wrong = only(check_two, "sum, a = Two(left=x); sum + a + y")
    assert (wrong.code, wrong.title) == ("E0402", "Two needs right.1: f32[N, 5] here")
    assert wrong.help == ("give it by name: right_1=…",)


def test_a_cut_behind_which_another_input_is_needed(check_two: Check) -> None:
    check_two('x -> Two(from="a", until="logits", right_1=y)')
    wrong = only(check_two, 'z = y -> Two(from="a", until="logits"); z + x')
    assert (wrong.code, wrong.title) == ("E0402", "Two needs right.1: f32[N, 5] here")


@pytest.mark.parametrize(
    ("call", "code", "title", "help"),
    [
        ('VGG(until="flaten")', "E0407", "there is no tensor, node or part flaten", "did you mean Flatten?"),
        ('VGG(until="Conv9")', "E0407", "there is no tensor, node or part Conv9", None),
        ('VGG(from="features", until="features.0")', "E0407", "features.0 is not computed from features", None),
        ('VGG(from="features", until="features")', "E0407", "nothing is left between the cuts", None),
        ('VGG(until=["features", "r"])', "E0407", "features is named twice", None),
        ("VGG(until=3)", "E0403", "until of VGG is the name of a tensor, a node or a part, not the number 3", None),
        ('VGG(untl="pool")', "E0401", "VGG has no argument untl here", "did you mean until?"),
        ("VGG(image, image)", "E0405", "VGG takes 1 tensor here, not 2", None),
        ("VGG(image, image=image)", "E0401", "VGG gets image twice", None),
        ("VGG(3)", "E0403", "VGG takes tensors, not the number 3", None),
    ],
)
def test_calls_that_can_not_be_made(check: Check, call: str, code: str, title: str, help: str | None) -> None:
    wrong = only(check, MODEL.format(call))
    assert wrong.code == code
    assert title in wrong.title
    assert help is None or wrong.help == (help,)


@pytest.mark.parametrize(
    ("type", "code", "detail"),
    [
        ("f32[N, 1, 8, 8]", "E0301", "dimension 1: 3 needed, 1 given"),
        ("f32[N, 3, 8]", "E0301", "4 dimensions needed, 3 given"),
        ("f64[N, 3, 8, 8]", "E0303", "f64 where f32 is needed"),
        ("f32[N, C, 8, 8]", "E0302", "dimension 1: whether C equals 3 is not known"),
    ],
)
def test_what_does_not_fit_shows_the_signature_of_the_file(check: Check, type: str, code: str, detail: str) -> None:
    wrong = only(check, f"model Net(x: {type}) {{ VGG }}")
    assert wrong.code == code
    assert wrong.title.startswith("VGG takes image: f32[N, 3, H, W], but gets ")
    assert wrong.primary is not None
    assert wrong.primary.text == detail
    assert wrong.labels[0].text == "the file has (image: f32[N, 3, H, W]) -> logits: f32[N, 5]"


def test_a_size_that_the_file_fixes(check: Check) -> None:
    wrong = only(check, "model Net(x: f32[N, 3, 8, 8]) { VGG }", image=[1, 3, 8, 8])
    assert wrong.help == ("the file has a fixed size there: export it again with that dimension dynamic",)


TRAIN = """
model Net(image: f32[N, 3, 8, 8]) -> f32[N, 5] {{ {call} }}
train net(image: f32[N, 3, 8, 8], label: i64[N]) {{
    {freeze}
    minimize cross_entropy(Net(image), label) {penalty} with sgd(0.1)
    epochs 1
}}
"""


def trained(check: Check, freeze: str = "", call: str = "VGG", penalty: str = "") -> compiler.ElaboratedTrain:
    return check(TRAIN.format(call=call, freeze=freeze, penalty=penalty)).elaborated.trains["net"]


def test_everything_is_trained_and_statistics_follow(check: Check) -> None:
    train = trained(check)
    assert train.losses[0].over == tuple(full(FEATURES + CLASSIFIER))
    assert [output.updates for output in train.losses[0].graph.outputs if output.updates] == full(STATISTICS)
    assert train.models == ("Net",), "which has no weights of its own"


@pytest.mark.parametrize(
    ("freeze", "left"),
    [
        ("freeze VGG.features", CLASSIFIER),
        ("freeze VGG.features.0", FEATURES[2:] + CLASSIFIER),
        ("freeze VGG.*.1", FEATURES[:2]),
        ("freeze VGG.classifier.1.weight", [*FEATURES, CLASSIFIER[1]]),
    ],
)
def test_parts_are_frozen_by_label_or_pattern(check: Check, freeze: str, left: list[str]) -> None:
    train = trained(check, freeze)
    assert train.losses[0].over == tuple(full(left))
    still = any(isinstance(node.operation, RunningNorm) for node in train.losses[0].graph.nodes)
    assert still == ("features.1.weight" not in left), "a frozen norm takes the statistics that it has"


def test_penalties_see_the_weights(check: Check) -> None:
    train = trained(check, penalty="+ 1e-4 * l2(VGG) + 1e-3 * l2(VGG.classifier)")
    assert train.losses[0].over == tuple(full(FEATURES + CLASSIFIER))


def test_a_penalty_on_a_part_that_is_not_there(check: Check) -> None:
    wrong = only(check, TRAIN.format(call="VGG", freeze="", penalty="+ l2(VGG.nothing)"))
    assert (wrong.code, wrong.title) == ("E0201", "VGG has no weight in nothing")


def test_what_is_frozen_has_to_be_there(check: Check) -> None:
    wrong = only(check, TRAIN.format(call="VGG", freeze="freeze VGG.featurs", penalty=""))
    assert (wrong.code, wrong.help) == ("E0201", ("did you mean VGG.features?",))


def test_what_a_broken_model_lacks_is_no_second_mistake(check: Check) -> None:
    wrong = only(check, TRAIN.format(call='VGG(until="featurs")', freeze="freeze VGG.features", penalty=""))
    assert wrong.code == "E0407"


def test_parts_have_rows_and_what_is_left_out_is_listed(check: Check) -> None:
    checked = check(MODEL.format('VGG(until="flatten")'))
    (use,) = checked.elaborated.imported.foreign[0].uses.values()
    assert [stage.path for stage in use.stages] == [
        "VGG.features.0", "VGG.features.1", "VGG.features.2", "VGG.pool", "VGG.Flatten",
    ]  # fmt: skip
    assert list(use.dropped) == CLASSIFIER
    assert use.call == 'VGG(until="flatten")'


def test_an_operator_that_is_not_known_stops_only_what_needs_it(check: Check) -> None:
    nodes = NODES.replace("logits = Gemm(", "raw = Gemm(") + "logits = Det(raw) /odd/Det\n"
    check(MODEL.format('VGG(until="classifier")'), nodes)
    wrong = only(check, MODEL.format("VGG"), nodes)
    assert wrong.code == "E0922"
    assert wrong.primary is not None


def test_a_name_is_needed(tmp_path: Path) -> None:
    (tmp_path / "my-net.onnx").write_bytes(b"")
    main = tmp_path / "main.dl"
    with pytest.raises(DiagnosticError) as caught:
        compiler.check(Source(str(main), 'import "my-net.onnx"\nmodel Net(x: f32[N]) { relu }'))
    (wrong,) = caught.value.diagnostics
    assert (wrong.code, wrong.help) == ("E0204", ('write import "my-net.onnx" as MyNet',))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no network")
    main = tmp_path / "main.dl"
    with pytest.raises(DiagnosticError) as caught:
        compiler.check(Source(str(main), 'import "net.onnx" as Other\nmodel Net(x: f32[N]) { Other }'))
    (wrong,) = caught.value.diagnostics
    assert wrong.code == "E0906"
    assert wrong.primary is not None
    assert wrong.primary.span.text == '"net.onnx"'


def test_files_without_one_load_nothing_of_onnx() -> None:
    code = (
        "import sys, compiler\nfrom compiler.diagnostics import Source\n"
        "compiler.check(Source('x', 'model Net(x: f32[N]) { relu }'))\nassert 'onnx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
