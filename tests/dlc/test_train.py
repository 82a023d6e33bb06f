"""dlc train: run folders, resuming, what a run tells, and everything that can be wrong before it begins."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# The same for the same run, byte for byte; times are in the others.
FILES = {"weights.safetensors", "checkpoint.safetensors", "history.csv", "source.dl", "data.json", "net.onnx"}
TIMES = {"run.json", "report.html"}


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_run_from_beginning_to_end(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("train", net)
    assert (outcome.code, outcome.err) == (0, "")
    assert {path.name for path in Path("runs/net").iterdir()} == FILES | TIMES
    opening, *epochs, validation, test, certificate, closing = outcome.out.splitlines()
    assert (
        opening
        == "net: 36 samples to train on, 12 to validate (shuffled 20%), 12 to test (shuffled 20%); run folder runs/net"
    )
    assert len(epochs) == 5
    for number, line in enumerate(epochs, 1):
        figures = r"loss \d\.\d+  accuracy \d\.\d+  val\.loss \d\.\d+  val\.accuracy \d\.\d+"
        assert re.fullmatch(rf"epoch {number}/5  {figures}  [\d.]+s", line)
    assert re.fullmatch(r"validation  loss \d\.\d+  accuracy \d\.\d+", validation)
    assert re.fullmatch(r"test        loss \d\.\d+  accuracy \d\.\d+", test)
    assert certificate.startswith("runs/net/net.onnx  certified: ")
    assert "N=1, 2, 7, 64, 12;" in certificate
    assert closing == "all files are in runs/net"
    assert len(table(Path("runs/net/history.csv"))) == 5


def test_the_next_run_gets_its_own_folder(dlc: Callable[..., Any], net: Path) -> None:
    for name in ("net", "net-2", "net-3"):
        assert dlc("train", net, "--epochs", 1).out.endswith(f"all files are in runs/{name}\n")


def test_options_go_before_the_file(dlc: Callable[..., Any], net: Path) -> None:
    arguments = ["train", net, "--epochs", 2, "--batch", 36, "--seed", 7, "--set", "units=9", "--out", "there"]
    assert dlc(*arguments).code == 0
    rows = table(Path("there/history.csv"))
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "1"), ("2", "2")]
    source = Path("there/source.dl").read_text()
    for line in ("const units = 9", "    epochs 2", "    batch 36", "    seed 7", '    data "../net.npz"'):
        assert line in source.splitlines()


def test_steps_in_place_of_epochs(dlc: Callable[..., Any], net: Path) -> None:
    assert dlc("train", net, "--steps", 3, "--batch", 36, "--out", "there").code == 0
    assert [row["step"] for row in table(Path("there/history.csv"))] == ["1", "2", "3"]
    source = Path("there/source.dl").read_text().splitlines()
    assert "    steps 3" in source
    assert not any("epochs" in line for line in source)
    outcome = dlc("train", net, "--steps", 3, "--epochs", 3)
    assert outcome.code == 2
    assert "--epochs and --steps both say when training ends" in outcome.err


def test_the_saved_source_trains_the_same(dlc: Callable[..., Any], net: Path) -> None:
    dlc("train", net, "--epochs", 2, "--set", "units=9", "--out", "first")
    assert dlc("train", "first/source.dl", "--out", "second").code == 0
    for name in ("weights.safetensors", "history.csv"):
        assert Path("first", name).read_bytes() == Path("second", name).read_bytes()


def test_two_runs_are_the_same_byte_for_byte(dlc: Callable[..., Any], net: Path) -> None:
    for name in ("a", "b"):
        dlc("train", net, "--out", name)
    for name in FILES:
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()


def test_a_resumed_run_is_the_same_as_one_that_went_on(dlc: Callable[..., Any], net: Path) -> None:
    dlc("train", net, "--epochs", 2)
    outcome = dlc("train", net, "--resume")
    assert outcome.code == 0
    assert "going on in epoch 3 after 10 steps" in outcome.out
    dlc("train", net, "--out", "whole")
    for name in ("weights.safetensors", "history.csv", "net.onnx", "checkpoint.safetensors"):
        assert Path("runs/net", name).read_bytes() == Path("whole", name).read_bytes()


def test_without_export(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("train", net, "--no-export")
    assert outcome.code == 0
    assert "certified" not in outcome.out
    assert {path.name for path in Path("runs/net").iterdir()} == FILES - {"net.onnx"} | TIMES


def test_other_data(dlc: Callable[..., Any], net: Path) -> None:
    Path("data").mkdir()
    x = np.zeros((10, 3), np.float32)
    np.savez("data/other.npz", x=x, y=np.zeros(10, np.int64))
    outcome = dlc("train", net, "--data", "data/other.npz", "--epochs", 1)
    assert outcome.out.startswith("net: 6 samples to train on, 2 to validate (shuffled 20%), 2 to test (shuffled 20%);")
    assert '    data "../../data/other.npz"' in Path("runs/net/source.dl").read_text().splitlines()


def test_several_models_get_a_file_each(dlc: Callable[..., Any], net: Path) -> None:
    text = net.read_text().replace("logits = x -> Net", "logits = x -> Net -> Second")
    net.write_text("model Second(x: f32[N, 2]) -> f32[N, 2] { dense(2) }\n" + text)
    outcome = dlc("train", net, "--epochs", 1)
    assert outcome.code == 0
    assert {path.name for path in Path("runs/net").glob("*.onnx")} == {"Net.onnx", "Second.onnx"}


def test_checking_passes(dlc: Callable[..., Any], net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLC_CHECK", "")
    assert dlc("train", net, "--epochs", 1, "--check-passes").code == 0


def test_which_train_block_has_to_be_clear(dlc: Callable[..., Any], net: Path) -> None:
    again = net.read_text()[net.read_text().index("train net") :].replace("train net", "train other")
    net.write_text(net.read_text() + again)
    outcome = dlc("train", net)
    assert outcome.code == 1
    assert outcome.err == (
        "error[E0203]: net.dl has 2 train blocks: net, other\n"
        "  = help: say which one, such as net behind the file, or train='net' from Python\n"
    )
    assert dlc("train", net, "other", "--epochs", 1).out.endswith("all files are in runs/other\n")
    outcome = dlc("train", net, "othr")
    assert outcome.err == "error[E0203]: there is no train block othr\n  = help: did you mean other?\n"


def test_a_file_without_train_block(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text(net.read_text()[: net.read_text().index("train net")])
    outcome = dlc("train", net)
    assert outcome.code == 1
    assert outcome.err.startswith("error[E0203]: net.dl has no train block\n")


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("E0605", lambda x, y: {"x": x}),
        ("E0606", lambda x, y: {"x": x, "y": y.astype(np.float32)}),
        ("E0607", lambda x, y: {"x": x[:, :2], "y": y}),
        ("E0608", lambda x, y: {"x": x, "y": y[1:]}),
        ("E0609", lambda x, y: {"x": x[:0], "y": y[:0]}),
        ("E0610", lambda x, y: {"x": np.where(x > 2, np.nan, x).astype(np.float32), "y": y}),
        ("E0611", lambda x, y: {"x": x, "y": y + 1}),
        ("E0604", lambda x, y: {"x": x, "y": np.array([[1], [2, 3]], object)}),
        ("E0612", lambda x, y: {"x": x[:2], "y": y[:2]}),
    ],
)
def test_data_that_does_not_fit(dlc: Callable[..., Any], net: Path, code: str, change: Callable[..., Any]) -> None:
    with np.load("net.npz") as file:
        arrays = change(file["x"], file["y"])
    np.savez("net.npz", **arrays)
    outcome = dlc("train", net)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"error[{code}]: ")
    assert "net.dl:" in outcome.err
    assert "= help: " in outcome.err
    assert not Path("runs").exists(), "nothing is written before the data is known to fit"


def test_missing_truncated_and_unreadable_data(dlc: Callable[..., Any], net: Path) -> None:
    whole = Path("net.npz").read_bytes()
    Path("net.npz").unlink()
    assert dlc("train", net).err.startswith("error[E0601]: there is no file net.npz\n  --> net.dl:13:5\n")
    Path("net.npz").write_bytes(whole[: len(whole) // 2])
    assert dlc("train", net).err.startswith("error[E0602]: cannot read net.npz: it is truncated, damaged or not")
    Path("net.npz").unlink()
    Path("net.npz").mkdir()
    assert dlc("train", net).err.startswith("error[E0602]: cannot read net.npz: it is a folder")


def test_an_output_folder_that_cannot_be_written(dlc: Callable[..., Any], net: Path) -> None:
    Path("taken").write_text("")
    for folder in ("taken", "taken/below"):
        outcome = dlc("train", net, "--out", folder)
        assert outcome.code == 1
        assert outcome.err.startswith(f"error[E0801]: cannot write to the output folder {folder}: ")


def test_a_folder_that_holds_a_run(dlc: Callable[..., Any], net: Path) -> None:
    dlc("train", net, "--epochs", 1, "--out", "there")
    outcome = dlc("train", net, "--out", "there")
    assert outcome.code == 1
    assert outcome.err.startswith("error[E0803]: there holds a training run already\n")
    assert dlc("train", net, "--out", "there", "--overwrite").code == 0


def test_resuming_what_is_not_there_or_of_another_model(dlc: Callable[..., Any], net: Path) -> None:
    assert dlc("train", net, "--resume").err.startswith("error[E0804]: ")
    dlc("train", net, "--epochs", 1)
    outcome = dlc("train", net, "--resume", "--set", "units=5")
    assert outcome.code == 1
    assert outcome.err.startswith("error[E0806]: runs/net/checkpoint.safetensors belongs to another model\n")
    outcome = dlc("train", net, "--resume", "--seed", 2)
    assert outcome.err.startswith("error[E0807]: ")
    assert dlc("train", net, "--resume", "--overwrite").code == 2


def test_a_loss_that_becomes_infinite_names_step_and_line(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text(net.read_text().replace("adam(0.05)", "sgd(1e30)"))
    outcome = dlc("train", net)
    assert outcome.code == 1
    assert outcome.err.startswith("error[E0701]: ")
    assert "in step " in outcome.err or "of step " in outcome.err
    assert " --> net.dl:" in outcome.err


def test_what_cannot_be_exported_is_told_before_training(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text(net.read_text().replace("-> f32[N, 2] {", "-> (x: f32[N, 2]) {"))
    outcome = dlc("train", net)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error[E0903]: ")
    assert not Path("runs").exists()
    assert dlc("train", net, "--no-export").code == 0


def test_a_profile(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("train", net, "--profile", "--no-export", "--no-report")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    head = next(index for index, line in enumerate(lines) if line.startswith("line "))
    assert lines[head].split() == [
        "line", "source", "forward", "backward", "update", "validation", "seconds", "share", "results",
    ]  # fmt: skip
    rows = [line.split()[0] for line in lines[head + 2 :] if line.startswith("net.dl")]
    assert rows == ["net.dl:4", "net.dl:5", "net.dl:10", "net.dl:11"]
    assert any(line.startswith("total") and line.rstrip().endswith("100.0%") for line in lines)


@pytest.mark.parametrize("text", ["", "0", "-1m", "ten", "m", "nan", "inf", "1d"])
def test_a_time_that_is_none_is_wrong_usage(text: str, dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("train", net, "--time", text)
    assert outcome.code == 2
    assert "is no time above 0: write 90s, 10m or 1.5h" in outcome.err


def test_a_run_whose_time_is_up_can_be_resumed(dlc: Callable[..., Any], net: Path) -> None:
    assert dlc("train", net, "--out", "whole").code == 0
    first = dlc("train", net, "--out", "parts", "--time", "0.000001s")
    assert first.code == 0
    assert "the time is up after 1 of" in first.out
    assert dlc("train", net, "--out", "parts", "--resume").code == 0
    for name in ("weights.safetensors", "history.csv"):
        assert Path("whole", name).read_bytes() == Path("parts", name).read_bytes()


def test_what_fits_into_the_memory(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("train", net, "--memory", "2GB", "--no-export", "--no-report")
    assert outcome.code == 0
    assert re.fullmatch(r"training takes about 11\d MB of 2 GB\n", outcome.err)
    outcome = dlc("train", net, "--memory", "50MB", "--no-export")
    assert outcome.code == 1
    assert "error[E0812]: training takes" in outcome.err
    outcome = dlc("train", net, "--memory", "much")
    assert outcome.code == 2
    assert "'much' is no amount of memory: write 2GB or 500MB" in outcome.err


def test_accumulated_gradients_and_statistics(dlc: Callable[..., Any], net: Path) -> None:
    assert dlc("train", net, "--accumulate", 2, "--statistics", "--no-export").code == 0
    assert "accumulate 2" in Path("runs/net/source.dl").read_text()
    assert {line["kind"] for line in table(Path("runs/net/statistics.csv"))} == {"layer", "weight"}


@pytest.mark.parametrize("moment", ["runtime.inference.ship.ship", "runtime.reports.report.write.write_report"])
def test_ctrl_c_after_the_last_step_says_how_to_go_on_too(
    dlc: Callable[..., Any], net: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(moment, interrupt)
        outcome = dlc("train", net)
    assert (outcome.code, outcome.err.strip()) == (130, f"dlc: stopped; go on with: dlc train {net} --resume")
    again = dlc("train", net, "--resume")
    assert (again.code, again.err) == (0, "")


def test_too_little_memory_for_a_step_says_what_takes_less(
    dlc: Callable[..., Any], net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("Unable to allocate 9 TB")

    monkeypatch.setattr("runtime.training.loop.Trainer.fit", fail)
    outcome = dlc("train", net)
    advice = "smaller batches take less: --memory 2GB finds such as fit"
    assert outcome.code == 1
    assert outcome.err == f"dlc: there is not enough memory: Unable to allocate 9 TB; {advice}\n"
