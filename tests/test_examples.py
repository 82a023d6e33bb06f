"""The examples run as they are, reach what they promise, and their exports compute the same as NumPy does."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlc
from runtime.disk.png import png
from runtime.programs.project import open_project

EXAMPLES = Path(__file__).parent.parent / "examples"


def trained(
    name: str,
    folder: Path,
    data: str = "",
    set: dict[str, int] | None = None,
    model: str | None = None,
    train: str | None = None,
    **fit: int,
) -> tuple[Any, dict[str, Any]]:
    """The example after its training, exported to ``folder``, and its data, where that is arrays. ``set`` makes it
    smaller, ``epochs`` or ``steps`` cut the training short; of several models and train blocks ``model`` and ``train``
    are meant. The run folder is ``folder / "run"``."""
    fitted = dlc.load(EXAMPLES / f"{name}.dl", set=set, model=model, train=train)
    fitted.fit(out=folder / "run", **fit)
    fitted.export(folder / f"{name}.onnx")
    path = EXAMPLES / "data" / f"{data or name}.npz"
    if not path.exists():
        return fitted, {}
    with np.load(path) as file:
        return fitted, dict(file)


def assert_onnx_agrees(model: Any, path: Path, **arrays: np.ndarray[Any, Any]) -> None:
    """NumPy and ONNX Runtime to 1e-5, whatever the batch size, which was never the one of the training."""
    session = dlc.InferenceSession(path)
    for size in (1, 2, 7, 64):
        batch = {name: np.resize(rows, (size, *rows.shape[1:])) for name, rows in arrays.items()}
        (result,) = session.run(batch).values()
        np.testing.assert_allclose(result, model.predict(batch), rtol=1e-5, atol=1e-5)


def run_script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A script of the examples in a process of its own, which finds no dlc."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def written_by(name: str, *arguments: str | Path) -> list[str]:
    """The lines that a script of the examples prints."""
    outcome = run_script(name, *arguments)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    return outcome.stdout.removesuffix("\n").split("\n")


def made_by(script: str) -> Any:
    """The namespace of a script in ``examples/make``."""
    return runpy.run_path(str(EXAMPLES / "make" / script))


def rows_of(table: str) -> list[tuple[str, ...]]:
    """The rows of a table of the examples, without that of its names."""
    with open(EXAMPLES / "data" / table, encoding="utf-8", newline="") as file:
        return list(map(tuple, csv.reader(file)))[1:]


def test_every_example_is_tested_and_has_its_line_in_the_gallery() -> None:
    tests, readme = Path(__file__).read_text(encoding="utf-8"), (EXAMPLES.parent / "README.md").read_text("utf-8")
    for path in EXAMPLES.glob("*.dl"):
        assert f'trained("{path.stem}", ' in tests, path
        assert f"| [{path.stem}](examples/{path.name}) |" in readme, path


def test_all_data_has_a_source() -> None:
    told = (EXAMPLES / "data" / "README.md").read_text("utf-8")
    for path in (EXAMPLES / "data").iterdir():
        assert path.name == "README.md" or re.search(
            rf"^\| (`[^`]+`, )?`{re.escape(path.name)}`(, `[^`]+`)? \|", told, re.M
        ), path


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("make/*.py")))
def test_made_data_is_what_its_script_makes(script: str) -> None:
    name = script.removesuffix(".py")
    made, path = made_by(script)[name](), EXAMPLES / "data" / f"{name}.npz"
    if not path.exists():
        assert made == rows_of(f"{name}.csv")
        return
    with np.load(path) as file:
        assert set(made) == set(file.files)
        for key, array in made.items():
            assert array.dtype == file[key].dtype
            assert np.array_equal(array, file[key]), key


def test_xor_is_solved(tmp_path: Path) -> None:
    model, data = trained("xor", tmp_path)
    assert len(model.history) <= 1000
    assert model.evaluate(split="train")["accuracy"] == 1.0
    assert model.predict(data["x"]).round().tolist() == data["y"].tolist()
    assert_onnx_agrees(model, tmp_path / "xor.onnx", x=data["x"])


def test_digits_are_read_with_97_percent(tmp_path: Path) -> None:
    model, data = trained("digits", tmp_path)
    assert model.evaluate(split="test")["accuracy"] >= 0.97
    assert {array.shape for name, array in model.weights.items() if name.endswith(".weight")} == {
        (64, 64),
        (64, 32),
        (32, 10),
    }
    assert_onnx_agrees(model, tmp_path / "digits.onnx", image=data["image"])


def test_digits_are_read_with_98_5_percent_by_a_convolutional_network(tmp_path: Path) -> None:
    model, data = trained("digits_conv", tmp_path, "digits")
    assert model.evaluate(split="test")["accuracy"] >= 0.985
    assert_onnx_agrees(model, tmp_path / "digits_conv.onnx", image=data["image"])


def test_the_digits_that_a_transfer_begins_with(tmp_path: Path) -> None:
    model, data = trained("low_digits", tmp_path, epochs=4)
    assert model.evaluate(split="test")["accuracy"] >= 0.9
    assert_onnx_agrees(model, tmp_path / "low_digits.onnx", image=data["image"])


def test_the_stored_network_is_that_of_its_file() -> None:
    stored = dlc.InferenceSession(EXAMPLES / "data" / "low_digits.onnx")
    assert stored.description.source_sha256 == open_project(EXAMPLES / "low_digits.dl").fingerprint
    with np.load(EXAMPLES / "data" / "low_digits.npz") as data:
        (scores,) = stored.run({"image": data["image"]}).values()
        assert np.mean(scores.argmax(1) == data["label"]) >= 0.99


def test_a_transfer_beats_a_start_from_scratch_on_200_pictures(tmp_path: Path) -> None:
    tuned, data = trained("transfer", tmp_path, "high_digits", model="HighDigits", train="transfer")
    assert_onnx_agrees(tuned, tmp_path / "transfer.onnx", image=data["image"])
    scratch = dlc.load(EXAMPLES / "transfer.dl", model="Scratch", train="scratch")
    scratch.fit()
    reached, beside = (model.evaluate(split="test")["accuracy"] for model in (tuned, scratch))
    assert reached >= 0.95
    assert reached >= beside + 0.01


def test_larger_digits_are_read_by_feed_forward_networks(tmp_path: Path) -> None:
    deep, data = trained("mnist_deep", tmp_path, "mnist", epochs=8)
    wide, _ = trained("mnist_wide", tmp_path / "wide", "mnist", epochs=8)
    for model, path in ((deep, tmp_path / "mnist_deep.onnx"), (wide, tmp_path / "wide" / "mnist_wide.onnx")):
        assert model.evaluate(split="test")["accuracy"] >= 0.88
        np.testing.assert_allclose(model.predict(data["image"][:9]).sum(1), 1.0, rtol=1e-5)
        assert_onnx_agrees(model, path, image=data["image"])


def test_larger_digits_are_read_better_by_a_convolutional_network(tmp_path: Path) -> None:
    model, data = trained("mnist_conv", tmp_path, "mnist", epochs=4)
    assert model.evaluate(split="test")["accuracy"] >= 0.9
    assert_onnx_agrees(model, tmp_path / "mnist_conv.onnx", image=data["image"])


def test_shapes_are_told_apart(tmp_path: Path) -> None:
    model, data = trained("shapes", tmp_path, epochs=3)
    assert model.evaluate(split="test")["accuracy"] >= 0.4  # a tenth would be chance
    assert_onnx_agrees(model, tmp_path / "shapes.onnx", image=data["image"])


def test_digits_survive_an_autoencoder(tmp_path: Path) -> None:
    model, data = trained("autoencoder", tmp_path, "mnist", epochs=5, model="Encoder")
    assert_onnx_agrees(model, tmp_path / "autoencoder.onnx", image=data["image"])
    spread = float(np.std(data["image"] / 255, axis=0).mean())
    assert model.evaluate(split="validate")["mae"] < 0.4 * spread
    assert len(list((tmp_path / "run" / "pictures").glob("rebuilt-*.png"))) == 5


def test_a_variational_autoencoder_invents_digits(tmp_path: Path) -> None:
    model, data = trained("vae", tmp_path, "mnist", epochs=5, model="Decoder")
    code = np.random.default_rng(0).standard_normal((64, 12)).astype(np.float32)
    assert_onnx_agrees(model, tmp_path / "vae.onnx", code=code)
    images = sampled(tmp_path / "vae.onnx", tmp_path)
    assert images.shape == (64, 28, 28)
    assert_looks_like(images, data["image"])
    assert len(list((tmp_path / "run" / "pictures").glob("*.png"))) == 10


def test_a_generator_learns_from_its_critic(tmp_path: Path) -> None:
    model, data = trained("gan", tmp_path, "mnist", epochs=3, model="Generator")
    noise = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    assert_onnx_agrees(model, tmp_path / "gan.onnx", noise=noise, label=np.arange(64) % 10)
    images = sampled(tmp_path / "gan.onnx", tmp_path)
    assert images.shape == (80, 28, 28)
    assert_looks_like(images, data["image"])
    assert {path.name for path in (tmp_path / "run" / "pictures").iterdir()} == {
        f"digits-000{epoch}.png" for epoch in (1, 2, 3)
    }


def test_only_generators_of_images_are_drawn_from(tmp_path: Path) -> None:
    for name, model in (("xor", None), ("vae", "Encoder")):
        dlc.load(EXAMPLES / f"{name}.dl", model=model).export(tmp_path / f"{name}.onnx")
    for name, message in (
        ("xor", "gives output ['N', 1]: images are [N, height, width]"),
        ("vae", "takes image ['N', 28, 28]: a generator takes noise [N, D], and perhaps classes [N]"),
        ("none", f"there is no file {tmp_path / 'none.onnx'}"),
    ):
        outcome = run_script("sample_images.py", tmp_path / f"{name}.onnx", "-o", tmp_path / "samples.png")
        assert outcome.returncode == 2
        assert outcome.stderr.endswith(f"{message}\n")
    assert not (tmp_path / "samples.png").exists()


def sampled(path: Path, folder: Path) -> np.ndarray[Any, Any]:
    """What the script beside the examples draws of an ONNX file."""
    picture = folder / "samples.png"
    assert written_by("sample_images.py", path, "-o", picture) == [f"wrote {picture}"]
    names = runpy.run_path(str(EXAMPLES / "sample_images.py"))
    images: np.ndarray[Any, Any] = names["sample"](path, 0)
    assert picture.read_bytes() == png(names["sheet"](images))
    return images


def assert_looks_like(images: np.ndarray[Any, Any], digits: np.ndarray[Any, Any]) -> None:
    """Brightness lies where digits have it, and the images differ from one another."""
    found, expected = images.mean(0).ravel(), digits.mean(0).ravel()
    assert np.corrcoef(found, expected)[0, 1] > 0.5
    assert images.std(0).max() > 0.1


def test_dropout_penalty_and_augmentation_keep_a_network_from_learning_by_heart(tmp_path: Path) -> None:
    gaps = {}
    for twin, model in (("plain", "Plain"), ("regularised", "Regularised")):
        fitted, data = trained("overfitting", tmp_path / twin, "mnist", epochs=25, model=model, train=twin)
        seen, unseen = (fitted.evaluate(split=split)["accuracy"] for split in ("train", "validate"))
        gaps[twin] = seen - unseen, unseen
        assert_onnx_agrees(fitted, tmp_path / twin / "overfitting.onnx", image=data["image"])
    assert gaps["regularised"][0] < 0.75 * gaps["plain"][0]
    assert gaps["regularised"][1] > gaps["plain"][1] + 0.02


def test_diabetes_is_predicted_as_well_as_by_least_squares(tmp_path: Path) -> None:
    model, data = trained("diabetes", tmp_path)
    from runtime.programs.project import open_project
    from runtime.training.job import make_job

    splits = make_job(open_project(EXAMPLES / "diabetes.dl")).prepare()
    assert splits.test is not None
    train, test = splits.train.rows, splits.test.rows
    inputs = np.hstack([data["features"], np.ones((442, 1))]).astype(np.float64)
    target = data["progression"].astype(np.float64)
    linear = inputs[test] @ np.linalg.lstsq(inputs[train], target[train], rcond=None)[0]
    error, mean_error = (float(np.sqrt(np.mean((p - target[test]) ** 2))) for p in (linear, target[train].mean()))
    figures = model.evaluate(split="test")
    assert figures["rmse"] < 1.03 * error
    assert figures["rmse"] < 0.85 * mean_error
    assert_onnx_agrees(model, tmp_path / "diabetes.onnx", features=data["features"])


def test_a_series_is_forecast_better_than_by_its_last_value(tmp_path: Path) -> None:
    model, data = trained("forecast", tmp_path, "waves", epochs=15)
    figures = model.evaluate(split="test")
    assert figures["rmse"] < 0.6 * figures["last_value"]
    series = data["series"].astype(np.float32)
    assert_onnx_agrees(model, tmp_path / "forecast.onnx", series=series)
    assert_onnx_agrees(model, tmp_path / "forecast.onnx", series=series[:, -30:])


def test_ratings_are_told_better_than_by_their_mean(tmp_path: Path) -> None:
    model, data = trained("recommend", tmp_path, "ratings")
    figures = model.evaluate(split="test")
    assert figures["rmse"] < 0.75
    assert figures["always_mean"] > 1.1
    pairs = {name: data[name].astype(np.int64) for name in ("person", "film")}
    assert_onnx_agrees(model, tmp_path / "recommend.onnx", **pairs)


def test_dates_are_translated(tmp_path: Path) -> None:
    """A smaller network, for one epoch: it has the order of things, and some dates whole."""
    model, _ = trained("dates", tmp_path, set={"width": 32, "depth": 1}, epochs=1)
    assert model.evaluate(split="test")["accuracy"] > 0.65
    file = tmp_path / "dates.onnx"
    random = np.random.default_rng(0)
    for size, done in ((32, 11), (7, 1)):
        written, so_far = random.integers(0, 61, (64, size)), random.integers(0, 12, (64, done))
        assert_onnx_agrees(model, file, written=written, so_far=so_far)

    wanted = {text: iso for text, iso in rows_of("dates.csv") if iso.startswith("1999")}
    found = dict(line.split("  ->  ") for line in written_by("translate.py", file, *wanted))
    pairs = [zip(found[text].ljust(10), iso, strict=False) for text, iso in wanted.items()]
    assert np.mean([sum(a == b for a, b in pair) / 10 for pair in pairs]) > 0.55
    drawn = [written_by("translate.py", file, "3 May 1997", "--temperature", "2", "--seed", seed) for seed in "112"]
    assert drawn[0] == drawn[1] != drawn[2]
    for wrong, sentence in (("", "has 0 characters"), ("M\u00e4r 3", "does not know"), ("1" * 33, "takes 1 to 32")):
        outcome = run_script("translate.py", file, wrong)
        assert outcome.returncode == 2
        assert sentence in outcome.stderr


def test_intents_are_told_in_phrasings_that_training_never_saw(tmp_path: Path) -> None:
    model, _ = trained("intents", tmp_path, epochs=3)
    assert model.evaluate(split="test")["accuracy"] > 0.8
    metadata = dlc.InferenceSession(tmp_path / "intents.onnx").metadata
    assert {intent for _, intent in rows_of("intents.csv")} == set(json.loads(metadata["dlc.labels"]))
    for size in (80, 33):
        text = np.random.default_rng(0).integers(0, 65, (64, size))
        assert_onnx_agrees(model, tmp_path / "intents.onnx", text=text)


def test_names_are_invented(tmp_path: Path) -> None:
    """120 steps: it knows which letters follow each other. Knowing nothing is a perplexity of 27."""
    model, _ = trained("names", tmp_path, steps=120)
    assert model.evaluate(split="test")["perplexity"] < 12
    file = tmp_path / "names.onnx"
    assert_onnx_agrees(model, file, tokens=np.arange(64 * 20).reshape(64, 20) % 27)

    names = written_by("generate.py", file, "--lines", "30", "--start", "ma")
    assert len(names) == 30
    assert len(set(names)) > 10
    assert all(re.fullmatch("ma[a-z]*", name) for name in names)
    assert names == written_by("generate.py", file, "--lines", "30", "--start", "ma", "--seed", "0")
    assert names != written_by("generate.py", file, "--lines", "30", "--start", "ma", "--seed", "1")
    assert len(set(written_by("generate.py", file, "--lines", "5", "--temperature", "0"))) == 1
    for wrong, sentence in (
        (["--start", "Ü"], "does not know 'Ü'"),
        (["--temperature", "-1"], "a temperature is 0 or more"),
        (["--lines", "0"], "are 1 or more"),
    ):
        outcome = run_script("generate.py", file, *wrong)
        assert outcome.returncode == 2
        assert sentence in outcome.stderr


def test_shakespeare_is_written(tmp_path: Path) -> None:
    """A smaller network, for 250 steps; what it writes is longer than what it can look back on."""
    model, _ = trained("shakespeare", tmp_path, set={"width": 32, "depth": 1}, steps=250)
    assert model.evaluate(split="validate")["perplexity"] < 22
    file = tmp_path / "shakespeare.onnx"
    assert_onnx_agrees(model, file, tokens=np.arange(64 * 64).reshape(64, 64) % 62)
    assert_onnx_agrees(model, file, tokens=np.arange(64 * 5).reshape(64, 5) % 62)

    scene = written_by("generate.py", file, "--start", "ROMEO:", "--length", "150", "--temperature", "0.8")
    assert scene[0].startswith("ROMEO:")
    assert len("\n".join(scene)) == 156


def test_scripts_refuse_other_files(tmp_path: Path) -> None:
    trained("xor", tmp_path, epochs=1)
    for script, rest, sentence in (
        ("generate.py", [], "has no input tokens"),
        ("translate.py", ["3 May 1997"], "has no input written"),
    ):
        for file, told in ((tmp_path / "xor.onnx", sentence), (tmp_path / "none.onnx", "there is no file")):
            outcome = run_script(script, file, *rest)
            assert outcome.returncode == 2
            assert told in outcome.stderr


def test_scripts_need_numpy_and_onnx_runtime_alone() -> None:
    allowed = {"numpy", "onnxruntime", *sys.stdlib_module_names, *(path.stem for path in EXAMPLES.glob("*.py"))}
    for path in EXAMPLES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= allowed, path


def test_data_is_what_its_readme_says() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    digits, diabetes = datasets.load_digits(), datasets.load_diabetes(scaled=False)
    with np.load(EXAMPLES / "data" / "digits.npz") as file:
        assert file["image"].dtype == np.uint8
        assert np.array_equal(file["image"], digits.images)
        assert np.array_equal(file["label"], digits.target)
    with np.load(EXAMPLES / "data" / "diabetes.npz") as file:
        assert np.array_equal(file["features"], diabetes.data.astype(np.float32))
        assert np.array_equal(file["progression"][:, 0], diabetes.target.astype(np.float32))


def test_examples_run_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    assert len(dlc.load("copy/xor.dl").fit(epochs=1)) == 1
