"""The page: well-formed, on its own, every picture readable, what it says true."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from runtime.programs.project import open_project
from runtime.reports.graphs.files import boxes_of_model
from runtime.reports.report.write import rewrite_report, write_report
from runtime.training.checkpoint import load_weights
from runtime.training.folder import open_run
from runtime.training.history import History
from runtime.training.job import Changes, Job, make_job, results
from runtime.training.progress import Silent
from runtime.training.record import Record, Recording

VOID = {"meta", "link", "img", "br"}
IMAGES = """\
model Net(image: u8[N, 8, 8]) -> f32[N, 3] {
    cast(f32) / 255 -> reshape(1, 8, 8)
    skip = conv(4, 3, pad=same)
    residual { conv(4, 3, pad=same) -> relu }
    it + skip
    flatten
    head: dense(3)
}
train net(image: u8[N, 8, 8], label: i64[N]) {
    minimize cross_entropy(Net(image), label) with adam(0.01)  # "a" < b
    measure accuracy(Net(image), label)
    validate 20%
    test 20%
    batch 16
    epochs 3
}
"""
NUMBERS = """\
model Line(x: f32[N, 2]) -> f32[N, 1] { dense(1) }
train line(x: f32[N, 2], y: f32[N, 1]) {
    minimize mse(Line(x), y) with sgd(0.1)
    epochs 2
}
"""


class Page(HTMLParser):
    """Checks the nesting while it reads; keeps tags, attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.tags if found == tag]

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self.texts)


def images(count: int = 100) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, count)
    image = rng.integers(0, 60, (count, 8, 8)).astype(np.uint8)
    image[np.arange(count), label] = 200
    return {"image": image, "label": label}


def train(folder: Path, text: str, arrays: dict[str, Any] | None = None) -> Job:
    """Trained with the arrays, or with the data that the text names."""
    if arrays is not None:
        np.savez(folder / "data.npz", **arrays)
    (folder / "net.dl").write_text(text)
    job = make_job(open_project(folder / "net.dl"), None, Changes(data=None if arrays is None else folder / "data.npz"))
    splits = job.prepare()
    with open_run(job.program.name, out=folder / "run") as run:
        with Recording(run, splits.sizes, Silent()) as recording:
            trainer = job.trainer(splits, run=run, progress=recording)
            trainer.fit()
            recording.note_results(results(trainer).metrics)
        write_report(run.path, job, trainer.weights, splits, trainer.history, recording.record)
    return job


def read(folder: Path) -> Page:
    return Page((folder / "run" / "report.html").read_text(encoding="utf-8"))


def decoded(source: str) -> Any:
    """The pixels of a picture in the page: u8[H, W]."""
    assert source.startswith("data:image/png;base64,")
    data = base64.b64decode(source.partition(",")[2], validate=True)
    width, height = struct.unpack(">II", data[16:24])
    start = data.index(b"IDAT") + 4
    rows = np.frombuffer(zlib.decompress(data[start : data.index(b"IEND") - 8]), np.uint8)
    return rows.reshape(height, 1 + width)[:, 1:]


def test_a_classifier_of_images(tmp_path: Path) -> None:
    arrays = images()
    train(tmp_path, IMAGES, arrays)
    page = read(tmp_path)
    assert len(page.all("img")) == 12
    for picture in page.all("img"):
        match = re.fullmatch(r"Sample (\d+): (?:taken for \d, is|rightly) (\d)(?:, but unsure)?", picture["alt"])
        assert match
        pixels = decoded(picture["src"])
        assert pixels.shape == (8, 8)
        wanted = [np.array_equal(pixels, image) for image in arrays["image"]]
        assert arrays["label"][wanted.index(True)] == int(match[2])
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == ["curves", "predictions", "worst", "architecture", "sizes", "environment", "source"]
    assert "Over 20 test samples" in page.text
    for text in ("test.accuracy", "weights.safetensors", "f32[N, 4, 8, 8]", "NumPy", '# "a" < b', "learning rate"):
        assert text in page.text


NAMES = """
model Net(tokens: i64[N, T]) -> f32[N, T, 4] { embed(4, 3) -> dense(4) }

train net(tokens: i64[N, 6], targets: i64[N, 6]) {
    minimize cross_entropy(Net(tokens), targets, ignore=-1) with adam
    data lines("names.txt")
    validate 50%
    batch 4
    epochs 1
}
"""


def test_texts_are_shown_as_texts(tmp_path: Path) -> None:
    """The rows of the worst samples have the line that went in, and the same as what was wanted, up to its end."""
    lines = ["abba", "bac", "cab", "a", "ccabc", "bb"]
    (tmp_path / "names.txt").write_text("\n".join(lines), encoding="utf-8")
    train(tmp_path, NAMES)
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    rows = re.findall(r"<tr>(.*?)</tr>", text[text.index('id="worst"') :].partition("</table>")[0], re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows[1:]]
    assert len(cells) == 3
    for _, _, predicted, wanted, tokens, targets in cells:
        assert wanted == tokens == targets
        assert wanted in lines
        assert len(predicted) <= len(wanted) + 1


def test_it_stands_alone_and_can_be_heard(tmp_path: Path) -> None:
    train(tmp_path, IMAGES, images())
    page = read(tmp_path)
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "base")
        assert attributes.get("src", "data:").startswith("data:")
        href = attributes.get("href", "data:")
        assert href.startswith("data:") or href[1:] in names
        for reference in attributes.get("aria-labelledby", "").split():
            assert reference in names
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or (attributes["role"], "aria-labelledby" in attributes) == (
                "img", True,
            )  # fmt: skip
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.findall(r"url\((?!#)|@import", text)


def test_skips_are_arrows(tmp_path: Path) -> None:
    job = train(tmp_path, IMAGES, images())
    found = boxes_of_model(job.project.checked.elaborated.models["Net"])
    assert [box.label or box.text for box in found] == [
        "image", "cast(f32) / 255 -> reshape(1, 8, 8)", "skip", "residual { conv(4, 3, pad=same) -> relu }",
        "it + skip", "flatten", "head", "output",
    ]  # fmt: skip
    assert [[source for source, _ in box.reads] for box in found] == [[], [0], [1], [1], [2, 3], [4], [5], [6]]
    assert sum(tag == "title" and text.startswith("it + skip gives") for tag, text in read(tmp_path).texts) == 1


@pytest.mark.parametrize("rate", ["0.01", "cosine(0.01)"])
def test_learning_rates(tmp_path: Path, rate: str) -> None:
    train(tmp_path, IMAGES.replace("adam(0.01)", f"adam({rate})"), images())
    page = read(tmp_path)
    assert [text for tag, text in page.texts if tag == "title"].count("learning rate over epochs") == 1
    told = [text for tag, text in page.texts if tag == "desc" and text.startswith(("adam", "at the end of the epoch"))]
    assert ["to 0.01," in text for text in told] == [rate == "0.01"]


def test_what_is_drawn_is_shown(tmp_path: Path) -> None:
    train(tmp_path, IMAGES.replace("    epochs 3\n", "    epochs 3\n    draw image\n"), images())
    page = read(tmp_path)
    (last,) = [picture for picture in page.all("img") if picture["alt"] == "image after epoch 3"]
    content = base64.b64decode(last["src"].partition(",")[2])
    assert content == (tmp_path / "run" / "pictures" / "image-0003.png").read_bytes()


def test_classes_have_their_names(tmp_path: Path) -> None:
    job = train(tmp_path, IMAGES, images())
    splits = job.prepare()
    named = replace(splits.test, names={"label": ("cat", "<dog>", "hen")}) if splits.test else None
    run, weights = tmp_path / "run", load_weights(tmp_path / "run" / "weights.safetensors", job.program)
    write_report(run, job, weights, replace(splits, test=named), History(), Record("net"))
    page = read(tmp_path)
    heads = [text for tag, text in page.texts if tag == "th"]
    assert heads[:5] == ["is", "cat", "<dog>", "hen", "recall"]
    assert all(re.search(r"(?:is|rightly) (?:cat|<dog>|hen)", picture["alt"]) for picture in page.all("img"))


def test_numbers(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    train(tmp_path, NUMBERS, {"x": x, "y": x[:, :1] * 3})
    page = read(tmp_path)
    assert page.all("img") == []
    assert "Predicted over wanted" in page.text
    assert len([1 for circle in page.all("circle") if circle.get("class") == "dot"]) == 50


def test_later_without_the_data(tmp_path: Path) -> None:
    train(tmp_path, IMAGES, images())
    first = read(tmp_path)
    assert rewrite_report(tmp_path / "run") == tmp_path / "run" / "report.html"
    assert read(tmp_path).tags == first.tags
    (tmp_path / "data.npz").unlink()
    rewrite_report(tmp_path / "run")
    page = read(tmp_path)
    assert "Nothing was predicted for this page:" in page.text
    assert page.all("img") == []
    assert "learning rate" in page.text


@pytest.mark.parametrize("left", ["history.csv", "run.json", "weights.safetensors"])
def test_a_run_folder_with_something_missing(tmp_path: Path, left: str) -> None:
    train(tmp_path, IMAGES, images())
    (tmp_path / "run" / left).unlink()
    rewrite_report(tmp_path / "run")
    assert "Architecture" in read(tmp_path).text


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match=r"E0804.*holds no training run"):
        rewrite_report(tmp_path)
