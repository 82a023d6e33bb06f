"""The Python API."""

from __future__ import annotations

import copy
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlc

TWO = """\
model Twin(a: f32[N, 2], b: f32[N, 2]) -> (sum: f32[N, 2], apart: f32[N, 4]) {
    joined = concat(a, b)
    (a + b -> dense(2, bias=false, init=ones()), joined)
}
"""


@pytest.fixture
def data(net: Path) -> dict[str, Any]:
    with np.load("net.npz") as file:
        return dict(file)


def test_fit_evaluate_predict_export(net: Path, data: dict[str, Any]) -> None:
    model = dlc.load(net)
    history = model.fit(epochs=30)
    assert len(history) == 30
    assert history["loss"][-1] < history["loss"][0]
    figures = model.evaluate()
    assert set(figures) == {"loss", "accuracy"}
    assert figures["accuracy"] > 0.6
    scores = model.predict(data["x"])
    assert scores.shape == (60, 2)
    certificate = model.export("net.onnx")
    assert isinstance(certificate, dlc.Certificate)
    assert np.allclose(dlc.InferenceSession("net.onnx").run({"x": data["x"]})["output"], scores, atol=1e-5)
    assert not Path("runs").exists(), "nothing is written unless it is asked for"


def test_fresh_weights_are_those_of_the_first_step(net: Path) -> None:
    before = dlc.load(net).weights
    model = dlc.load(net)
    model.fit(epochs=1, out="run")
    assert {name: array.shape for name, array in before.items()} == {
        "Net.dense.weight": (3, 4),
        "Net.dense.bias": (4,),
        "Net.head.dense.weight": (4, 2),
        "Net.head.dense.bias": (2,),
    }
    text = net.read_text().replace("adam(0.05)", "sgd(0.0)")
    still = dlc.loads(text)
    still.fit(epochs=1)
    for name, array in still.weights.items():
        assert np.array_equal(array, before[name])


def test_looking_at_a_model_does_not_change_its_training(net: Path, data: dict[str, Any]) -> None:
    looked, other = dlc.load(net), dlc.load(net)
    looked.predict(data["x"])
    looked.fit(seed=5, epochs=2)
    other.fit(seed=5, epochs=2)
    for name, array in other.weights.items():
        assert np.array_equal(looked.weights[name], array)


def test_a_second_fit_goes_on_with_the_weights(net: Path) -> None:
    model = dlc.load(net)
    first = model.fit(epochs=20)["loss"][0]
    assert model.fit(epochs=1)["loss"][0] < 0.5 * first


def test_arrays_instead_of_files(net: Path, data: dict[str, Any]) -> None:
    model = dlc.load(net)
    model.fit(data, validate=0.5, test=0.25, epochs=2)
    assert model.evaluate(split="all") == model.evaluate(data)
    held_out = {"x": data["x"][:7], "y": data["y"][:7]}
    model.fit(data, validate=held_out, epochs=1)
    assert model.history["val.loss"] == [model.evaluate(held_out)["loss"]]
    assert dlc.load(net).fit({"x": [[1.0, 2.0, 3.0]] * 10, "y": [1] * 10}, epochs=1)["accuracy"]


def test_evaluate_uses_the_split_of_the_fit(net: Path, data: dict[str, Any]) -> None:
    model = dlc.load(net)
    model.fit(data, test=0.5, epochs=1, seed=9)
    assert model.evaluate() == model.evaluate(split="test") != model.evaluate(split="all")


def test_one_input_needs_no_name_and_lists_take_its_type(net: Path, data: dict[str, Any]) -> None:
    model = dlc.load(net)
    expected = model.predict({"x": data["x"][:2]})
    assert np.array_equal(model.predict(data["x"][:2]), expected)
    assert np.array_equal(model.predict(data["x"][:2].tolist()), expected)


def test_results_are_copies(net: Path, data: dict[str, Any]) -> None:
    model = dlc.load(net)
    first = model.predict(data["x"])
    kept = first.copy()
    model.predict(data["x"] + 1)
    assert np.array_equal(first, kept)
    model.weights["Net.dense.bias"] += 1
    assert np.array_equal(model.predict(data["x"]), kept)


@pytest.mark.parametrize("rows", [1, 2, 7, 64, 1000])
def test_any_batch_size(net: Path, rows: int) -> None:
    x = np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)
    model = dlc.load(net)
    alone = np.concatenate([model.predict(x[i : i + 1]) for i in range(rows)])
    assert np.allclose(model.predict(x), alone, atol=1e-6)


def test_several_inputs_and_outputs() -> None:
    model = dlc.loads(TWO)
    result = model.predict({"a": [[1, 2]], "b": [[3, 4]]})
    assert isinstance(result, dict)
    assert result["sum"].tolist() == [[10, 10]]
    assert result["apart"].tolist() == [[1, 2, 3, 4]]
    with pytest.raises(dlc.DiagnosticError, match="takes 2 inputs, and one array without a name was given"):
        model.predict([[1, 2]])


def test_weights_to_disk_and_back(net: Path, data: dict[str, Any]) -> None:
    model = dlc.load(net)
    model.fit(epochs=2, out="run")
    model.save("there/weights.safetensors")
    for path in ("there/weights.safetensors", "run", "run/checkpoint.safetensors"):
        other = dlc.load(net)
        other.load_weights(path)
        assert np.array_equal(other.predict(data["x"]), model.predict(data["x"]))


def test_a_run_folder_and_resuming(net: Path) -> None:
    dlc.load(net).fit(epochs=2, out="a")
    assert len(dlc.load(net).fit(epochs=4, out="a", resume=True)) == 4
    dlc.load(net).fit(epochs=4, out="b")
    assert Path("a/weights.safetensors").read_bytes() == Path("b/weights.safetensors").read_bytes()


def test_progress_is_shown_when_asked_for(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dlc.load(net).fit(epochs=2)
    assert capsys.readouterr().out == ""
    dlc.load(net).fit(epochs=2, progress=True)
    assert capsys.readouterr().out.startswith("epoch 1/2  loss ")


def test_constants_from_python(net: Path) -> None:
    assert dlc.load(net, set={"units": np.int64(9)}).weights["Net.dense.bias"].shape == (9,)
    with pytest.raises(TypeError, match="a constant is a number, a text, true or false, or a list of such, not dict"):
        dlc.load(net, set={"units": {}})


def test_text_with_paths_from_a_folder(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = net.read_text()
    monkeypatch.chdir(os.sep)
    assert len(dlc.loads(text, folder=tmp_path).fit(epochs=1)) == 1


def test_summary_is_what_a_check_shows(net: Path) -> None:
    summary = dlc.load(net).summary()
    assert summary.startswith("model Net(x: f32[N, 3]) -> f32[N, 2]\n")
    assert "train net(" in summary
    assert repr(dlc.load(net)) == "<dlc.Model of net.dl: Net>"


def test_which_model_and_which_block(net: Path, data: dict[str, Any]) -> None:
    net.write_text(TWO + net.read_text())
    with pytest.raises(dlc.DiagnosticError, match="has 2 models: Twin, Net"):
        dlc.load(net).predict(data["x"])
    assert dlc.load(net, model="Net").predict(data["x"]).shape == (60, 2)
    model = dlc.load(net)
    model.fit(epochs=1)
    assert set(model.weights) > {"Net.dense.bias", "Twin.dense.weight"}
    with pytest.raises(dlc.DiagnosticError, match="did you mean net"):
        dlc.load(net, train="nett")


@pytest.mark.parametrize(
    ("code", "inputs"),
    [
        ("E0910", {"X": np.zeros((1, 3), np.float32)}),
        ("E0911", np.zeros((1, 3))),
        ("E0912", np.zeros((1, 4), np.float32)),
        ("E0912", np.zeros(3, np.float32)),
        ("E0609", np.zeros((0, 3), np.float32)),
    ],
)
def test_inputs_that_do_not_fit(net: Path, code: str, inputs: Any) -> None:
    with pytest.raises(dlc.DiagnosticError, match=code):
        dlc.load(net).predict(inputs)


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("E0404", {"epochs": 0}),
        ("E0404", {"batch": -1}),
        ("E0404", {"seed": -1}),
        ("E0404", {"validate": 2.0}),
        ("E0601", {"data": "nowhere.npz"}),
        ("E0605", {"data": {"x": np.zeros((4, 3), np.float32)}}),
        ("E0804", {"out": "nowhere", "resume": True}),
    ],
)
def test_fits_that_cannot_be(net: Path, code: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(dlc.DiagnosticError, match=code):
        dlc.load(net).fit(**arguments)


def test_an_error_says_what_the_terminal_shows(net: Path) -> None:
    with pytest.raises(dlc.DiagnosticError) as caught:
        dlc.loads("model Net(x: f32[N, 3]) { dens(4) }")
    assert str(caught.value).startswith("error[E0201]: unknown name dens\n --> <text>:1:27\n")
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E0201"]


def test_a_network_that_becomes_infinite_keeps_its_last_good_weights(net: Path) -> None:
    model = dlc.loads(net.read_text().replace("adam(0.05)", "sgd(1e30)"))
    with pytest.raises(dlc.DiagnosticError, match="E0701"):
        model.fit()
    assert all(np.isfinite(array).all() for array in model.weights.values())


def test_names_of_the_package() -> None:
    assert set(dlc.__all__) <= set(dir(dlc))
    for name in dlc.__all__:
        assert getattr(dlc, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        dlc.lod  # noqa: B018


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_go_ways_of_their_own(
    net: Path, data: dict[str, Any], duplicate: Callable[[dlc.Model], dlc.Model]
) -> None:
    model = dlc.load(net, set={"units": 5})
    model.fit(data, epochs=2)
    scores = model.predict(data["x"])
    other = duplicate(model)
    assert np.array_equal(other.predict(data["x"]), scores)
    assert other.evaluate() == model.evaluate()
    other.fit(data, epochs=1)
    assert not np.array_equal(other.predict(data["x"]), scores)
    assert np.array_equal(model.predict(data["x"]), scores)
    assert other.history["loss"] != model.history["loss"]


def test_a_model_is_sent_to_another_process(net: Path, data: dict[str, Any]) -> None:
    model = dlc.load(net, set={"units": 5})
    model.fit(data, epochs=2)
    scores = model.predict(data["x"])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        assert np.array_equal(other.submit(model.predict, data["x"]).result(timeout=300), scores)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"epochs": "3"}, "[E0404]: epochs is a whole number, not '3'"),
        ({"batch": 2.5}, "[E0404]: batch is a whole number, not 2.5"),
        ({"seed": -1}, "[E0404]: seed is at least 0, not -1"),
        ({"data": 5}, "[E0404]: data is a data file, arrays by name, or samples one after another, not 5"),
        ({"data": [1, 2]}, "[E0605]: item 0 has one part, and the train block takes 2"),
        ({"epochs": np.int64(0)}, "[E0404]: epochs is at least 1, not "),
        ({"resume": True}, "[E0804]: there is no run folder to resume from"),
    ],
)
def test_arguments_of_fit_that_make_no_sense(net: Path, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(dlc.DiagnosticError) as caught:
        dlc.load(net).fit(**arguments)
    assert told in str(caught.value)


def test_counts_may_be_numbers_of_numpy(net: Path) -> None:
    assert len(dlc.load(net).fit(epochs=np.int64(2))) == 2


def test_what_is_no_callback_is_told_before_the_training(net: Path) -> None:
    with pytest.raises(TypeError, match="a callback is a function"):
        dlc.load(net).fit(callbacks=[5])  # type: ignore[list-item]


def test_a_split_that_there_is_not(net: Path) -> None:
    with pytest.raises(dlc.DiagnosticError, match="there is no split 'held out'"):
        dlc.load(net).evaluate(split="held out")  # type: ignore[arg-type]


def test_words_in_place_of_numbers(net: Path) -> None:
    with pytest.raises(dlc.DiagnosticError, match="E0911") as caught:
        dlc.load(net).predict([["a", "b"]])
    assert "words have to be numbered first" in str(caught.value)
