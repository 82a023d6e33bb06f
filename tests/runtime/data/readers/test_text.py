"""Texts as samples: windows and lines, their numbers, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlc
from compiler.diagnostics import DiagnosticError
from compiler.sources import DataSource
from compiler.targets.onnx.metadata import describe
from runtime.data.columns import Windows
from runtime.data.readers import Content, ReadError, Request
from runtime.data.readers.text import lines, windows
from runtime.data.sources import load_arrays
from runtime.programs.project import open_project
from runtime.training.job import Changes, make_job

WINDOWS: dict[str, Any] = {"window": 4, "unit": "characters", "stride": 1, "vocabulary": None}
LINES: dict[str, Any] = {"length": None, "unit": "characters", "vocabulary": None}
MODEL = """\
const vocab = 4

model Net(tokens: i64[N, T]) -> f32[N, T, vocab] {{
    embed(vocab, 8) -> dense(vocab)
}}

train net(tokens: i64[N, T], targets: i64[N, T]) {{
    minimize cross_entropy(Net(tokens), targets, ignore=-1) with adam
    {data}
    epochs 1
    batch 4
}}
"""


def rows(content: Content, name: str) -> list[list[int]]:
    array: Any = content[name]
    if isinstance(array, Windows):
        out = np.empty(array.shape, array.dtype)
        array.take(np.arange(len(array)), out)
        array = out
    found: list[list[int]] = array.tolist()
    return found


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes, name: str = "text.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


class TestWindows:
    def test_every_window_and_its_targets(self, written: Callable[..., Path]) -> None:
        content = windows(written("abcabd"), DataSource("text", WINDOWS), Request())
        assert content.names == {"tokens": ("a", "b", "c", "d"), "targets": ("a", "b", "c", "d")}
        assert rows(content, "tokens") == [[0, 1, 2, 0], [1, 2, 0, 1]]
        assert rows(content, "targets") == [[1, 2, 0, 1], [2, 0, 1, 3]]

    def test_there_is_one_copy_of_the_text(self, written: Callable[..., Path]) -> None:
        content = windows(written("ab" * 50_000), DataSource("text", {**WINDOWS, "window": 64}), Request())
        tokens, targets = content["tokens"], content["targets"]
        assert isinstance(tokens, Windows)
        assert isinstance(targets, Windows)
        assert tokens.values is targets.values
        assert tokens.values.nbytes == 100_000

    def test_bytes_are_their_own_numbers(self, written: Callable[..., Path]) -> None:
        content = windows(written(b"\xff\x00ab\r\n"), DataSource("text", {**WINDOWS, "unit": "bytes"}), Request())
        assert content.names == {}
        assert rows(content, "tokens") == [[255, 0, 97, 98], [0, 97, 98, 13]]

    def test_more_than_255_characters(self, written: Callable[..., Path]) -> None:
        text = "".join(chr(0x4E00 + number) for number in range(300)) + "😀"
        content = windows(written("\ufeff" + text), DataSource("text", WINDOWS), Request())
        assert "".join(content.names["tokens"]) == text
        assert rows(content, "targets")[-1] == [297, 298, 299, 300]

    def test_a_vocabulary_gives_the_numbers(self, written: Callable[..., Path]) -> None:
        content = windows(written("abcab"), DataSource("text", {**WINDOWS, "vocabulary": "xcba"}), Request())
        assert content.names["tokens"] == ("x", "c", "b", "a")
        assert rows(content, "tokens") == [[3, 2, 1, 3]]

    def test_known_names_keep_their_numbers(self, written: Callable[..., Path]) -> None:
        request = Request(names={"tokens": ("c", "b", "a")})
        assert rows(windows(written("abcab"), DataSource("text", WINDOWS), request), "tokens") == [[2, 1, 0, 2]]

    @pytest.mark.parametrize(
        ("text", "options", "code", "why"),
        [
            ("abcd", {}, "E0618", "it has 4 characters, and a window with its target takes 5"),
            (b"ab\ncd\xff", {}, "E0602", "it is not UTF-8: byte 5 (line 2) is 0xff"),
            ("ab\nxy", {"vocabulary": "ab\n"}, "E0617",
             "'x' in line 2 is not in the vocabulary that the model file gives (and 1 other character)"),
            ("a\u200bbcd", {"vocabulary": "abcd"}, "E0617",
             "'\\u200b' (U+200B) in line 1 is not in the vocabulary that the model file gives"),
        ],
    )  # fmt: skip
    def test_mistakes(
        self, written: Callable[..., Path], text: str | bytes, options: dict[str, Any], code: str, why: str
    ) -> None:
        with pytest.raises(ReadError) as caught:
            windows(written(text), DataSource("text", {**WINDOWS, **options}), Request())
        assert (caught.value.code, caught.value.why) == (code, why)


class TestLines:
    def test_padded_with_ends_and_marks(self, written: Callable[..., Path]) -> None:
        content = lines(written("ba\r\n\nabc\n"), DataSource("lines", LINES), Request())
        assert content.names == dict.fromkeys(("tokens", "targets"), ("\n", "a", "b", "c"))
        assert rows(content, "tokens") == [[0, 2, 1, 0], [0, 1, 2, 3]]
        assert rows(content, "targets") == [[2, 1, 0, -1], [1, 2, 3, 0]]
        assert rows(content, "mask") == [[True, True, True, False], [True] * 4]
        assert rows(content, "lengths") == [3, 4]

    def test_the_type_of_the_input_says_how_long(self, written: Callable[..., Path]) -> None:
        project = dlc.loads(MODEL.format(data="").replace("T]", "6]").replace("T, ", "6, "))._project
        inputs = {value.name: value.type for value in project.train().inputs}
        content = lines(written("ab"), DataSource("lines", LINES), Request(inputs=inputs))
        assert rows(content, "targets") == [[1, 2, 0, -1, -1, -1]]

    def test_bytes(self, written: Callable[..., Path]) -> None:
        content = lines(written(b"\xe9\n"), DataSource("lines", {**LINES, "unit": "bytes"}), Request())
        assert content.names == {}
        assert rows(content, "tokens") == [[0, 0xE9]]

    def test_a_line_too_long(self, written: Callable[..., Path]) -> None:
        path = written("ab\nabcd\nabcde")
        with pytest.raises(ReadError) as caught:
            lines(path, DataSource("lines", {**LINES, "length": 3}), Request())
        assert caught.value.why == "line 2 takes 5 steps with its end, more than 3, as 1 other line"
        content = lines(path, DataSource("lines", {**LINES, "length": 3}), Request(skip_bad=True))
        assert rows(content, "tokens") == [[0, 1, 2]]
        assert content.notes == ("2 lines longer than 2 are left out",)

    @pytest.mark.parametrize(("text", "length"), [("\n\r\n", None), ("abc", 3)])
    def test_nothing_left(self, written: Callable[..., Path], text: str, length: int | None) -> None:
        with pytest.raises(ReadError) as caught:
            lines(written(text), DataSource("lines", {**LINES, "length": length}), Request(skip_bad=True))
        assert caught.value.code == "E0618"


def test_a_text_does_not_tell_how_it_is_read(written: Callable[..., Path]) -> None:
    written("abc")
    with pytest.raises(DiagnosticError, match="E0603") as caught:
        load_arrays("text.txt")
    assert 'say how to read it: text("text.txt", window=64) or lines("text.txt")' in str(caught.value)


@pytest.mark.parametrize(("count", "size"), [(3, 4), (4, 3)])
def test_a_vocabulary_of_another_size_than_the_network(written: Callable[..., Path], count: int, size: int) -> None:
    written("abcd"[:count] * 9)
    text = MODEL.format(data='data text("text.txt", window=4)').replace("vocab = 4", f"vocab = {size}")
    with pytest.raises(DiagnosticError) as caught:
        dlc.loads(text).fit()
    report = str(caught.value)
    assert len(caught.value.diagnostics) == 2  # for the tokens and for the targets
    assert f"[E0615]: `tokens` in text.txt has {count} different characters, and the network {size}" in report
    assert f'they are "{"abcd"[:count]}"' in report
    assert f"let the network have {count}" in report


def test_the_names_travel_with_the_weights_and_the_onnx_file(written: Callable[..., Path], tmp_path: Path) -> None:
    written("abcd" * 20)
    written("dcba" * 9, "other.txt")
    data = 'data text("text.txt", window=4)\n    validate 20%\n    test "other.txt"'
    model = tmp_path / "net.dl"
    model.write_text(MODEL.format(data=data))
    trained = dlc.load(model)
    trained.fit(out=tmp_path / "run")
    trained.export(tmp_path / "net.onnx")
    letters = ("a", "b", "c", "d")
    assert trained.names == {"tokens": letters, "targets": letters}
    description = describe(dlc.InferenceSession(tmp_path / "net.onnx").metadata)
    assert description.labels == letters
    assert description.names["tokens"] == letters
    again = dlc.load(model)
    again.load_weights(tmp_path / "run")
    assert again.names == trained.names
    written("abxd" * 9)
    with pytest.raises(DiagnosticError, match="'x' in line 1 is not in the vocabulary of the training samples"):
        again.evaluate(tmp_path / "text.txt")


def test_the_run_folder_tells_of_the_data(written: Callable[..., Path], tmp_path: Path) -> None:
    written("abcd" * 20)
    model = tmp_path / "net.dl"
    model.write_text(MODEL.format(data='data text("text.txt", window=4)\n    validate 20%'))
    dlc.load(model).fit(out=tmp_path / "runs" / "net")
    told = (tmp_path / "runs" / "net" / "data.json").read_text()
    assert '"split": "last 20%"' in told
    assert '"tokens": [' in told
    assert 'data text("../../text.txt", window=4)' in (tmp_path / "runs" / "net" / "source.dl").read_text()


def test_another_file_is_read_in_the_same_way(written: Callable[..., Path], tmp_path: Path) -> None:
    written("abcd" * 20, "more.txt")
    model = tmp_path / "net.dl"
    model.write_text(MODEL.format(data='data text("text.txt", window=4)'))
    job = make_job(open_project(model), None, Changes(data=Path("more.txt")))
    assert job.prepare().train.source == "more.txt"
