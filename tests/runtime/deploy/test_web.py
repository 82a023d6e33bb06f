"""Pages that run a model: what they are told, and what headless Chromium computes, against ONNX Runtime in Python."""

from __future__ import annotations

import functools
import json
import os
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import dlc
from compiler.diagnostics import DiagnosticError
from compiler.targets.onnx.file import with_metadata
from runtime.deploy.npm import web_runtime
from runtime.deploy.web import deploy_web, description
from runtime.inference.session import InferenceSession

ROOT = Path(__file__).parents[3]
_PATIENCE = 180_000  # milliseconds
TEXT = """\
model Digits(image: u8[N, 28, 28]) -> f32[N, 10] {
    cast(f32) / 255
    flatten
    dense(10)
}

model Photos(image: f32[N, 3, 12, 10]) -> f32[N, 4] {
    flatten
    dense(4) -> softmax
}

model Letters(text: i64[N, T], strong: bool[N]) -> f32[N, 3] {
    sound = text -> embed(5, 8) -> mean(1)
    sound + cast(reshape(strong, 1), f32) -> dense(3)
}

model People(person: i64[N]) -> f32[N, 3] {
    embed(7, 3)
}

model Series(x: f32[N, T], by: f32[N, 2]) -> f32[N, T] {
    x * mean(by, 1, keep=true)
}

model Steps(x: f32[N, T <= 4, 3]) -> f32[N, T, 3] {
    relu
}

model Waves(x: f32[N, T]) -> f32[N, 2] {
    reshape(T, 1)
    rnn(20, sequence=true)
    rnn(150)
    dense(2)
}
"""


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ONNX files of the text above."""
    folder = tmp_path_factory.mktemp("web")
    for name in ("Digits", "Photos", "Letters", "People", "Series", "Steps", "Waves"):
        dlc.loads(TEXT, model=name).export(folder / f"{name.lower()}.onnx")
    letters = folder / "letters.onnx"
    labels, names = ["up", "<b>", "a b"], {"text": ["\n", " ", "a", "b", "ß"]}
    metadata = {"dlc.labels": json.dumps(labels), "dlc.names": json.dumps(names)}
    letters.write_bytes(with_metadata(letters.read_bytes(), metadata))
    return folder


@pytest.fixture(scope="session")
def package() -> Path:
    """The npm package of ONNX Runtime for browsers."""
    named = os.environ.get("ONNXRUNTIME_WEB")
    found = Path(named) if named else ROOT / "node_modules" / "onnxruntime-web"
    if not found.exists():
        pytest.skip("onnxruntime-web is not here: npm install onnxruntime-web, or name it with ONNXRUNTIME_WEB=PATH")
    return found


# Not for the session: the driver's event loop runs for as long as it is there, and no other can beside it.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        try:
            # The system's own, where there is one; a container's administrator can't have a sandbox.
            started = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"], timeout=_PATIENCE
            )
        except api.Error as failure:
            pytest.skip(f"Chromium does not start: {failure.message.splitlines()[0]}")
        yield started
        started.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def opened(browser: Any, package: Path, files: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Deploys a model, serves its folder from localhost and gives the page, once it is ready. A request to any other
    place, and a message of the console, fails the test."""
    servers, faults = [], []
    context = browser.new_context()
    context.set_default_timeout(_PATIENCE)

    def begin(name: str, values: tuple[float, float] | None = None) -> Any:
        deploy_web(files / f"{name}.onnx", tmp_path / name, name, package, values)
        handler = functools.partial(_Quiet, directory=str(tmp_path / name))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = f"http://127.0.0.1:{server.server_port}/"
        page = context.new_page()
        page.on(
            "request",
            lambda request: None if request.url.startswith((own, "blob:", "data:")) else faults.append(request.url),
        )
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda failure: faults.append(str(failure)))
        page.goto(own)
        page.wait_for_selector("body[data-ready=yes]", state="attached")
        return page

    yield begin
    context.close()
    for server in servers:
        server.shutdown()
        server.server_close()
    assert faults == []


def last_run(page: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs and outputs of the last run as arrays."""
    page.wait_for_function("() => window.lastRun")
    script = """() => Object.entries(window.lastRun).map(([_, group]) => Object.entries(group).map(([name, x]) =>
        [name, x.type, x.dims, Array.from(x.data, Number)]))"""
    found = [
        {name: np.array(data, type).reshape(dims) for name, type, dims, data in group}
        for group in page.evaluate(script)
    ]
    return found[0], found[1]


def check_last_run(page: Any, model: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    inputs, outputs = last_run(page)
    expected = InferenceSession(model).run(inputs)
    for name, array in expected.items():
        np.testing.assert_allclose(outputs[name], array, rtol=1e-5, atol=1e-5)
    return inputs, outputs


def draw(page: Any, *points: tuple[float, float]) -> None:
    """A stroke on the board, in shares of its sides."""
    box = page.locator("canvas.board").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def test_a_digit_is_drawn(opened: Callable[..., Any], files: Path) -> None:
    page = opened("digits")
    assert page.locator("#results").inner_text() == ""
    draw(page, (0.1, 0.1), (0.1, 0.3))  # small, in a corner
    page.wait_for_selector(".answer")
    inputs, _ = check_last_run(page, files / "digits.onnx")
    image = inputs["image"][0].astype(float)
    # As in MNIST: 20 pixels high or wide, with the centre of mass in the middle, and ink is high.
    high = np.argwhere(image > 30)
    assert np.abs(np.ptp(high, axis=0).max() + 1 - 20) <= 1
    middle = (np.indices(image.shape) * image).sum(axis=(1, 2)) / image.sum() + 0.5
    assert np.abs(middle - 14).max() < 0.5
    assert image.max() == 255
    # Every move of the pen is run, and what is shown may be of a later one by now: both are looked at together.
    told, scores = page.evaluate(
        "() => [document.querySelector('.answer strong').innerText, Array.from(lastRun.outputs.output.data)]"
    )
    assert told == str(np.argmax(scores))
    assert page.locator(".bars progress").count() == 10
    # The same stroke elsewhere and larger is the same picture, but for its edges.
    page.get_by_text("Clear").click()
    page.wait_for_function("() => !document.querySelector('.answer')")
    draw(page, (0.6, 0.2), (0.6, 0.8))
    page.wait_for_selector(".answer")
    page.get_by_label("light and dark exchanged").check()
    page.wait_for_function("() => window.lastRun.inputs.image.data[0] === 255")
    check_last_run(page, files / "digits.onnx")


def test_a_picture_is_opened(opened: Callable[..., Any], files: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    page = opened("photos")
    pixels = np.zeros((24, 40, 3), np.uint8)  # twice as high as the input, and too wide
    pixels[:12, 10:30] = (255, 0, 0)
    pixels[12:, 10:30] = (0, 51, 255)
    image.fromarray(pixels).save(tmp_path / "picture.png")
    page.locator("input[type=file]").set_input_files(tmp_path / "picture.png")
    page.wait_for_selector(".answer")
    inputs, outputs = check_last_run(page, files / "photos.onnx")
    expected = np.zeros((1, 3, 12, 10), np.float32)
    expected[0, 0, :6], expected[0, 1, 6:], expected[0, 2, 6:] = 1, 0.2, 1
    np.testing.assert_allclose(inputs["image"], expected, atol=1e-6)
    shown = page.locator(".bars .share").all_inner_texts()
    assert shown == [f"{100 * share:.1f}%" for share in outputs["output"][0]]
    (tmp_path / "no.png").write_text("no picture")
    page.locator("input[type=file]").set_input_files(tmp_path / "no.png")
    page.wait_for_selector("#message.wrong")
    assert page.locator("#message").inner_text() == "the file can't be read as a picture"


def test_text_and_labels(opened: Callable[..., Any], files: Path) -> None:
    page = opened("letters")
    page.get_by_label("text", exact=True).fill("ab ßa")
    page.locator("input[type=checkbox]").check()
    page.get_by_text("Run", exact=True).click()
    page.wait_for_selector(".answer")
    inputs, outputs = check_last_run(page, files / "letters.onnx")
    assert inputs["text"].tolist() == [[2, 3, 1, 4, 2]]
    assert inputs["strong"].tolist() == [True]
    # What a file calls its classes is text, and no markup.
    assert page.locator(".bars .label").all_inner_texts() == ["up", "<b>", "a b"]
    assert page.locator(".answer strong").inner_text() == ["up", "<b>", "a b"][outputs["output"].argmax()]
    page.get_by_label("length of text").fill("7")
    page.get_by_text("Run", exact=True).click()
    page.wait_for_function("() => window.lastRun.inputs.text.dims[1] === 7")
    assert check_last_run(page, files / "letters.onnx")[0]["text"].tolist() == [[2, 3, 1, 4, 2, 0, 0]]
    page.get_by_label("text", exact=True).fill("abc")
    page.get_by_text("Run", exact=True).click()
    page.wait_for_selector("#message.wrong")
    assert page.locator("#message").inner_text() == 'the model does not know "c" in text'


def test_numbers(opened: Callable[..., Any], files: Path) -> None:
    page = opened("series")
    fields = page.locator("input[type=number]")
    assert fields.count() == 2
    fields.nth(0).fill("3")
    fields.nth(1).fill("-0.5")
    for text in ("1, 2 3.5\n-4e-1", "[1, 2, 3.5, -0.4]", "[[1, 2, 3.5, -0.4]]"):
        page.evaluate("() => { window.lastRun = null }")
        page.get_by_label("x", exact=True).fill(text)
        page.get_by_text("Run", exact=True).click()
        inputs, _ = check_last_run(page, files / "series.onnx")
        np.testing.assert_allclose(inputs["x"], [[1, 2, 3.5, -0.4]], atol=1e-7)
        assert inputs["by"].tolist() == [[3, -0.5]]
    assert page.locator(".values").inner_text() == "1.25, 2.5, 4.375, -0.5"
    for text, sentence in (
        ("1, x", "x takes numbers"),
        ("[1, ", "the lists of x can't be read: write [[1, 2], [3, 4]]"),
    ):
        page.get_by_label("x", exact=True).fill(text)
        page.get_by_text("Run", exact=True).click()
        page.wait_for_function("text => document.querySelector('#message').textContent === text", arg=sentence)


def test_graphs_inside_nodes_run_in_the_browser(opened: Callable[..., Any], files: Path) -> None:
    page = opened("waves")
    page.get_by_label("x", exact=True).fill("1, 2, 3.5, -0.4, 0.25")
    page.get_by_text("Run", exact=True).click()
    assert check_last_run(page, files / "waves.onnx")[0]["x"].shape == (1, 5)


def test_steps_have_bounds(opened: Callable[..., Any], files: Path) -> None:
    page = opened("steps")
    field = page.get_by_label("x", exact=True)
    field.fill("1 -2 3 4 5 6")
    page.get_by_text("Run", exact=True).click()
    assert check_last_run(page, files / "steps.onnx")[0]["x"].shape == (1, 2, 3)
    assert page.locator("#results").inner_text()
    for text, sentence in (
        ("1 2 3 4", "x takes 3 numbers for each step, and 4 are given"),
        ("", "x takes 3 numbers for each step, and 0 are given"),
        ("1 2 3 " * 5, "x takes 1 to 4 in dimension 1, and has 5"),
    ):
        field.fill(text)
        page.get_by_text("Run", exact=True).click()
        page.wait_for_function("text => document.getElementById('message').innerText === text", arg=sentence)
        assert page.locator("#results").inner_text() == ""  # it would be that of other numbers


def test_indices_have_a_range(opened: Callable[..., Any], files: Path) -> None:
    page = opened("people")
    page.locator("input[type=number]").fill("7")
    page.get_by_text("Run", exact=True).click()
    page.wait_for_selector("#message.wrong")
    assert page.locator("#message").inner_text() == "person takes whole numbers from 0 to 6, and 7 is none"
    page.locator("input[type=number]").fill("6")
    page.get_by_text("Run", exact=True).click()
    assert check_last_run(page, files / "people.onnx")[0]["person"].tolist() == [6]


def test_narrow_pages_have_one_column(opened: Callable[..., Any]) -> None:
    page = opened("digits")
    page.set_viewport_size({"width": 360, "height": 740})
    draw(page, (0.3, 0.2), (0.6, 0.8))
    page.wait_for_selector(".answer")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    board, answer = (page.locator(name).bounding_box() for name in ("canvas.board", ".answer"))
    assert answer["y"] > board["y"] + board["height"]


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ("N, 28, 28", "u8", (28, 28, 1, "chw", 255)),
        ("N, 1, 8, 9", "f32", (8, 9, 1, "chw", 1)),
        ("N, 3, 64, 48", "f32", (64, 48, 3, "chw", 1)),
        ("N, 32, 30, 3", "u8", (32, 30, 3, "hwc", 255)),
        ("N, 784", "f32", (28, 28, 1, "chw", 1)),
        ("N, 783", "f32", None),
        ("N, T, 8", "f32", None),
        ("N, 3, 4", "f32", None),
        ("N, 2, 28, 28", "f32", None),
    ],
)
def test_what_is_a_picture(tmp_path: Path, shape: str, dtype: str, expected: Any) -> None:
    text = f"model Any(image: {dtype}[{shape}]) -> f32[{shape}] {{\n    cast(f32)\n}}\n"
    dlc.loads(text).export(tmp_path / "any.onnx")
    found = description(InferenceSession(tmp_path / "any.onnx"), "any", None)["image"]
    keys = ("rows", "columns", "channels", "layout", "high")
    assert (found and tuple(found[key] for key in keys)) == expected


def test_what_the_page_says_of_the_model(tmp_path: Path) -> None:
    about = 'description "Nothing is changed."\nauthor "Ada"\n'
    text = f"{about}model Any(x: f32[N, 4]) -> f32[N, 4] {{\n    relu\n}}\n"
    dlc.loads(text).export(tmp_path / "any.onnx")
    facts = dict(description(InferenceSession(tmp_path / "any.onnx"), "any", None)["facts"])
    assert (facts["what it is"], facts["author"]) == ("Nothing is changed.", "Ada")
    assert "runtime ONNX Runtime" in facts["certificate"]


def test_a_model_without_inputs_is_no_picture() -> None:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    zeros = helper.make_tensor("value", TensorProto.FLOAT, [2], [0.0, 1.0])
    graph = helper.make_graph([helper.make_node("Constant", [], ["y"], value=zeros)], "g", [], [value])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    found = description(InferenceSession(model.SerializeToString()), "any", None)
    assert (found["image"], found["inputs"]) == (None, [])


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as made:
        for name, content in files.items():
            item = tarfile.TarInfo(f"package/{name}")
            item.size = len(content)
            made.addfile(item, BytesIO(content))
    return path


WHOLE = {
    "package.json": json.dumps({"name": "onnxruntime-web", "version": "1.2.3"}).encode(),
    "dist/ort.wasm.bundle.min.mjs": b"module",
    "dist/ort-wasm-simd-threaded.wasm": b"wasm",
}


def test_the_package_is_found(tmp_path: Path) -> None:
    found = web_runtime(archive(tmp_path / "web.tgz", WHOLE), tmp_path)
    assert (found.version, sorted(found.files.values())) == ("1.2.3", [b"module", b"wasm"])
    folder = tmp_path / "node_modules" / "onnxruntime-web"
    (folder / "dist").mkdir(parents=True)
    for name, content in WHOLE.items():
        (folder / name).write_bytes(content)
    (tmp_path / "inner").mkdir()
    assert web_runtime(None, tmp_path / "inner") == found


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"package.json": b'{"name": "other"}'}, "it is another package than onnxruntime-web"),
        ({"package.json": b"{"}, "Expecting property name"),
        ({"dist/ort.wasm.bundle.min.mjs": None}, "filename 'package/dist/ort.wasm.bundle.min.mjs' not found"),
    ],
)
def test_what_is_no_such_package(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    files = {name: content for name, content in (WHOLE | change).items() if content is not None}
    with pytest.raises(DiagnosticError) as caught:
        web_runtime(archive(tmp_path / "web.tgz", files), tmp_path)
    assert caught.value.diagnostics[0].code == "E0942"
    assert sentence in str(caught.value)
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(DiagnosticError, match="E0942"):
        web_runtime(tmp_path / "text", tmp_path)
