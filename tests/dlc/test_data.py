"""``dlc data``: facts about files, and about what a train block learns from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.data.facts import array_facts, balance

Dlc = Callable[..., Any]


def test_arrays_and_classes(dlc: Dlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.array([[0.5, np.nan], [np.inf, -1], [2, 2]], np.float32)
    np.savez("a.npz", x=x, label=np.array([0, 2, 0]), word=np.array(["b", "a", "b"]))
    outcome = dlc("data", "a.npz")
    assert (outcome.code, outcome.err) == (0, "")
    assert (
        outcome.out
        == """\
a.npz: 3 arrays

array  type       values
-----  ---------  -------------------  -------------------
x      f32[3, 2]  -1 to 2, mean 0.875  1 NaN; 1 infinite
label  i64[3]     0 to 2, mean 0.6667  2 classes of 1 to 2
word   text[3]    2 different: b, a    2 classes of 1 to 2

label  samples
-----  -------  ------------------------
0            2  ████████████████████████
2            1  ████████████

word  samples
----  -------  ------------------------
a           1  ████████████
b           2  ████████████████████████
"""
    )


def test_a_table(dlc: Dlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("age,city\n30,Rome\n,Oslo\n41.5,Rome\n")
    out = dlc("data", "t.csv").out
    assert "age    f64[3]   30 to 41.5, mean 35.75   1 NaN" in out
    assert "city   text[3]  2 different: Rome, Oslo" in out


def test_a_text(dlc: Dlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.txt").write_text("abba\n\nbanana\n")
    out = dlc("data", "t.txt").out
    assert "t.txt: a text of 13 characters" in out
    assert r"characters  4 different: \nabn" in out
    assert "lines       2 with anything in them, 4 to 6 characters, mean 5.0" in out
    assert 'lines("t.txt")  gives 2 sequences of up to 7 steps; numbers from 0 to 3' in out


@pytest.mark.parametrize(("content", "why"), [(b"\0\0\x08\x01", "E0603"), (b"", "E0603")])
def test_a_file_of_an_unknown_kind(
    dlc: Dlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.bin").write_bytes(content)
    outcome = dlc("data", "t.bin")
    assert outcome.code == 1
    assert why in outcome.err


def test_bad_samples_are_refused_or_counted(dlc: Dlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.dl").write_text(TABLE)
    Path("t.csv").write_text("a,b\n" + "1,2\n" * 9 + "3,\n")
    outcome = dlc("train", "net.dl", "--no-export")
    assert outcome.code == 1
    assert "[E0616]: cannot read t.csv: line 11, column b: the value is missing" in outcome.err
    assert "leave such rows out: --skip-bad" in outcome.err
    outcome = dlc("train", "net.dl", "--no-export", "--skip-bad")
    assert (outcome.code, outcome.err) == (0, "")
    assert "net: 7 samples to train on, 2 to validate (last 20%)" in outcome.out
    assert "note: t.csv: 1 row that can't be used is left out" in outcome.out
    outcome = dlc("eval", "net.dl", "--skip-bad")
    assert outcome.out.startswith("validation samples: 2 of t.csv")


TABLE = """\
model Net(x: f32[N, 1]) -> f32[N, 1] { dense(1) }

train net(x: f32[N, 1], y: f32[N, 1]) {
    minimize mse(Net(x), y) with adam
    data csv("t.csv", x="a", y="b")
    validate last(20%)
    epochs 1
}
"""


def test_of_a_model_file(dlc: Dlc, net: Path) -> None:
    outcome = dlc("data", net)
    assert (outcome.code, outcome.err) == (0, "")
    assert "train net: net.npz" in outcome.out
    assert "shuffled 20%" in outcome.out
    assert "train on" in outcome.out


def test_augmentation_needs_a_model_file_that_augments(dlc: Dlc, net: Path) -> None:
    outcome = dlc("data", net, "--augmented", "sheet.png")
    assert outcome.code == 1
    assert "E0620" in outcome.err
    assert not Path("sheet.png").exists()
    assert dlc("data", "net.npz", "--augmented", "sheet.png").code == 2


AUGMENTED = """\
model Net(image: u8[N, 8, 8]) -> f32[N, 2] { cast(f32) / 255 -> flatten -> dense(2) }

train net(image: u8[N, 8, 8], label: i64[N]) {
    minimize cross_entropy(image -> random_shift(2) -> Net, label) with adam
    data "images.npz"
    epochs 1
}
"""


def test_a_sheet_of_what_augmentation_makes(dlc: Dlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pillow = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    Path("net.dl").write_text(AUGMENTED)
    image = np.zeros((12, 8, 8), np.uint8)
    image[:, 3:5, 3:5] = 255
    np.savez("images.npz", image=image, label=np.arange(12) % 2)
    outcome = dlc("data", "net.dl", "--augmented", "sheet.png")
    assert (outcome.code, outcome.err) == (0, "")
    first = Path("sheet.png").read_bytes()
    assert "wrote sheet.png" in outcome.out
    assert dlc("data", "net.dl", "--augmented", "sheet.png").code == 0
    assert Path("sheet.png").read_bytes() == first
    with pillow.open("sheet.png") as sheet:
        pixels = np.asarray(sheet)
    tiles = pixels[2:, 2:].reshape(8, 50, 8, 50, -1)[:, :48, :, :48, 0].transpose(0, 2, 1, 3)
    bright = tiles[:, :, ::6, ::6] == 255
    assert (bright[:, 0] == (image[:8] == 255)).all()
    assert (bright.sum(axis=(2, 3)) == 4).all()
    assert len({tile.tobytes() for tile in bright.reshape(64, 8, 8)}) > 8


def test_facts_of_a_column_in_one_class() -> None:
    facts = array_facts("y", np.zeros(5, np.uint8), ("low", "high"))
    assert (facts.values, facts.classes) == ("all 0", (("0 low", 5),))
    assert balance(facts.classes) == "1 class, 0 low"
    assert balance([("a", 2), ("b", 2)]) == "2 classes of 2 each"


def test_many_different_numbers_are_no_classes() -> None:
    assert array_facts("y", np.arange(1000)).classes == ()
    assert array_facts("y", np.arange(0)).values == "nothing"
