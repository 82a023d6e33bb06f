"""What the commands and the Python API are made of: jobs, weights, exports, stages, summaries."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from compiler.diagnostics import DiagnosticError
from runtime.data.batches import DataSet
from runtime.disk.output import save_output
from runtime.inference.ship import Shipping, export_unproved, real_samples, ship
from runtime.programs.project import Project, project_of_text
from runtime.programs.stages import graph_names, stage_after, stages
from runtime.programs.standalone import standalone
from runtime.programs.summary import describe_train, summarise_model
from runtime.training.job import Changes, make_job
from runtime.training.weights import fresh_weights, load_model_weights, save_weights_file

TEXT = """\
model Net(x: f32[N, T, 3]) -> f32[N, T, 2] { dense(4) -> relu; head: dense(2) }

train net(x: f32[N, T, 3], y: i64[N, T]) {
    minimize cross_entropy(Net(x), y) with sgd(0.1)
    data "data/net.npz"
    validate "data/held_out.npz"
    steps 10
    stop val.loss patience 3
    clip 2.0
    seed 4
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return project_of_text(TEXT, tmp_path)


def test_changes_as_statements(project: Project, tmp_path: Path) -> None:
    settings = project.train().settings
    folder = tmp_path / "runs" / "net"
    assert Changes().statements(settings, tmp_path, folder) == {
        "data": 'data "../../data/net.npz"',
        "validate": 'validate "../../data/held_out.npz"',
    }
    changes = Changes(data=tmp_path / "runs" / "it's.npz", validate=0.25, epochs=3, batch=5)
    assert changes.statements(settings, tmp_path, folder) == {
        "data": 'data "../it\'s.npz"',
        "validate": "validate 0.25",
        "batch": "batch 5",
        "steps": "epochs 3",
    }
    assert Changes(steps=7).statements(settings, tmp_path, folder)["steps"] == "steps 7"
    in_epochs = project_of_text(TEXT.replace("steps 10", "epochs 2"), tmp_path).train().settings
    assert Changes(steps=7).statements(in_epochs, tmp_path, folder)["epochs"] == "steps 7"


def test_epochs_and_steps_take_each_others_place(project: Project) -> None:
    settings = project.train().settings
    in_epochs = Changes(epochs=3).applied(settings)
    assert (in_epochs.epochs, in_epochs.steps) == (3, None)
    in_steps = Changes(steps=7).applied(in_epochs)
    assert (in_steps.epochs, in_steps.steps) == (None, 7)
    with pytest.raises(DiagnosticError, match="both say when training ends"):
        Changes(epochs=3, steps=7).applied(settings)


def test_arrays_leave_the_statement_as_it_is(project: Project, tmp_path: Path) -> None:
    statements = Changes(data={"x": np.zeros(3)}).statements(project.train().settings, tmp_path, tmp_path)
    assert "data" not in statements


def test_counts_and_shares_out_of_range_are_all_told(project: Project) -> None:
    with pytest.raises(DiagnosticError) as caught:
        make_job(project, changes=Changes(epochs=0, batch=0, seed=-1, validate=1.0, test=0))
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E0404"] * 5


def test_summaries(project: Project) -> None:
    summary = summarise_model(*project.checked.elaborated.models.values())
    assert summary.title == "model Net(x: f32[N, T, 3]) -> f32[N, T, 2]"
    assert summary.rows == (
        ("", "dense(4) -> relu", "f32[N, T, 4]", "16", "12*T"),
        ("head", "dense(2)", "f32[N, T, 2]", "10", "8*T"),
    )
    assert summary.total == ("total", "", "", "26", "20*T")
    assert summarise_model(*project.checked.elaborated.models.values(), batch=5).rows[0][2:] == (
        "f32[5, T, 4]",
        "16",
        "60*T",
    )
    lines = describe_train(project.checked.elaborated.trains["net"])
    assert lines == [
        "train net(x: f32[N, T, 3], y: i64[N, T])",
        "  minimize cross_entropy(Net(x), y) with sgd(0.1)",
        "  trains    26 parameters of Net",
        "  data      data/net.npz, data/held_out.npz for validation",
        "  settings  batch 32, steps 10, stop val.loss patience 3, clip 2, seed 4",
    ]


def test_fresh_weights_are_those_of_the_block_that_trains_the_model(project: Project, tmp_path: Path) -> None:
    weights = fresh_weights(project, project.model())
    alone = project_of_text(TEXT[: TEXT.index("train")], tmp_path)
    assert any(not np.array_equal(weights[name], x) for name, x in fresh_weights(alone, alone.model()).items())
    zero = project_of_text(TEXT.replace("seed 4", "seed 0"), tmp_path)
    for name, array in fresh_weights(zero, zero.model()).items():
        assert np.array_equal(array, fresh_weights(alone, alone.model())[name])


def test_weights_of_one_model_out_of_several(project: Project, tmp_path: Path) -> None:
    weights = fresh_weights(project, project.model())
    save_weights_file(tmp_path / "new" / "w.safetensors", {**weights, "Other.dense.bias": np.zeros(3)}, {})
    loaded = load_model_weights(tmp_path / "new" / "w.safetensors", project.model())
    assert loaded.keys() == weights.keys()
    with pytest.raises(DiagnosticError, match="E0804"):
        load_model_weights(tmp_path / "none", project.model())
    save_weights_file(tmp_path / "less.safetensors", {"Net.dense.bias": weights["Net.dense.bias"]}, {})
    with pytest.raises(DiagnosticError, match="E0806"):
        load_model_weights(tmp_path / "less.safetensors", project.model())


def test_shipping_says_what_it_knows(project: Project, tmp_path: Path) -> None:
    model = project.model()
    weights = fresh_weights(project, model)
    how = Shipping(metrics={"test.accuracy": 0.5})
    ship(project, model, weights, tmp_path / "net.onnx", how)
    metadata = {item.key: item.value for item in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert metadata["dlc.metrics"] == '{"test.accuracy": 0.5}'
    export_unproved(project, model, weights, tmp_path / "unproved.onnx", how)
    unproved = {item.key: item.value for item in onnx.load(tmp_path / "unproved.onnx").metadata_props}
    assert unproved == {key: value for key, value in metadata.items() if not key.startswith("dlc.certificate")}


def test_nothing_is_written_where_certification_fails(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = project.model()
    (tmp_path / "net.onnx").write_text("before")
    other = fresh_weights(project, model)
    predictor = type("Wrong", (), {"run": lambda self, inputs: {"output": np.zeros((*inputs["x"].shape[:2], 2), "f4")}})
    monkeypatch.setattr("runtime.inference.ship.Predictor", lambda *_: predictor())
    with pytest.raises(DiagnosticError, match="E0914"):
        ship(project, model, other, tmp_path / "net.onnx", Shipping())
    assert (tmp_path / "net.onnx").read_text() == "before"


def test_real_samples_are_taken_where_they_fit(project: Project) -> None:
    x = np.random.default_rng(0).standard_normal((300, 5, 3)).astype(np.float32)
    data = DataSet({"x": x}, np.arange(200, 300)[::-1])
    samples = real_samples(project.model(), data)
    assert samples is not None
    assert np.array_equal(samples["x"], x[299:199:-1])
    for array in (x.astype(np.float64), x[:, :, :2], x[:, 0]):
        assert real_samples(project.model(), DataSet({"x": array}, np.arange(3))) is None
    assert real_samples(project.model(), DataSet({"z": x}, np.arange(3))) is None
    assert real_samples(project.model(), None) is None


def test_stages_end_with_what_the_target_gets(project: Project) -> None:
    assert graph_names(project) == ["Net", "net.initial", "net.step0", "net.evaluate"]
    for name in graph_names(project):
        found = stages(project, name)
        assert all(one.after is two.before for one, two in pairwise(found))
    found = stages(project, "net.step0")
    assert stage_after(found) is found[-1]
    assert stage_after(found, "gradient").name == "gradient"
    assert stage_after(found, "2") is found[1]
    with pytest.raises(DiagnosticError, match="there is no pass 0 here"):
        stage_after(found, "0")


def test_standalone_programs_of_several_models(tmp_path: Path) -> None:
    text = "model Pre(x: f32[N, T, 3]) -> f32[N, T, 3] { dense(3) }\n" + TEXT.replace("Net(x)", "Net(Pre(x))")
    project = project_of_text(text, tmp_path)
    names: dict[str, object] = {}
    exec(standalone(project), names)
    assert {"bind_initial", "bind_step0", "bind_evaluate", "bind_infer_Pre", "bind_infer_Net"} <= names.keys()
    exec(standalone(project, model="Pre"), names := {})
    assert "bind_infer" in names


def test_output_is_whole_or_as_before(tmp_path: Path) -> None:
    save_output(tmp_path / "new" / "file", b"one")
    assert (tmp_path / "new" / "file").read_bytes() == b"one"
    with pytest.raises(DiagnosticError, match="it is a folder"):
        save_output(tmp_path / "new", b"two")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_settings_stay_where_nothing_is_changed(project: Project) -> None:
    settings = project.train().settings
    assert Changes().applied(settings) == settings
    assert Changes(seed=9).applied(settings) == replace(settings, seed=9)


def test_a_batch_holds_no_more_samples_than_its_symbol_may_stand_for() -> None:
    text = "model Net(x: f32[N, 2]) -> f32[N, 1] { dense(1) }\n"
    text += "train net(x: f32[N <= 64, 2]) { minimize mean(Net(x)) with sgd(0.1); epochs 1 }"
    project = project_of_text(text, Path())
    assert make_job(project, changes=Changes(batch=64)).program.settings.batch == 64
    with pytest.raises(DiagnosticError, match="a batch has 65 samples, but N is at most 64 in `net`"):
        make_job(project, changes=Changes(batch=65))
