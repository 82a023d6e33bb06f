"""``dlc deploy``; what it writes is in ``tests/runtime/deploy``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_a_repository_for_triton(dlc: Callable[..., Any], models: Path, tmp_path: Path) -> None:
    file = tmp_path / "my net.onnx"
    file.write_bytes((models / "net.onnx").read_bytes())
    outcome = dlc("deploy", "--to", "triton", tmp_path / "repository", file)
    assert outcome.out == f"wrote {tmp_path / 'repository' / 'my_net'} (batches of up to 64)\n"
    assert "is called my_net" in outcome.err
    outcome = dlc("deploy", "--to", "triton", tmp_path / "repository", file)
    assert (outcome.code, outcome.err[:12]) == (1, "error[E0940]")
    assert dlc("deploy", "--to", "triton", tmp_path / "repository", file, "--replace").code == 0
    outcome = dlc("deploy", "--to", "triton", tmp_path / "repository", file, "--name", "a/b")
    assert outcome.code == 2
    assert "'a/b' is no name for a model in Triton: write a_b" in outcome.err
    file.write_bytes(b"PK\x03\x04")
    outcome = dlc("deploy", "--to", "triton", tmp_path / "repository", file, "--name", "c")
    assert outcome.err.startswith("error[E0906]")
    assert not (tmp_path / "repository" / "c").exists()


def test_a_page(dlc: Callable[..., Any], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = dlc("deploy", "--to", "web", "page", models / "net.onnx", "--runtime", "package")
    assert (outcome.code, outcome.err[:12]) == (1, "error[E0942]")
    package = tmp_path / "package"
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text('{"name": "onnxruntime-web", "version": "1.2.3"}')
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        (package / "dist" / name).write_text(name)
    arguments = ("deploy", "--to", "web", "page", models / "images.onnx", "--runtime", "package", "--name", "Cats")
    assert dlc(*arguments, "--values", "0,16").out == (
        "wrote page (a form for image, onnxruntime-web 1.2.3): python3 -m http.server 8080 -d page\n"
    )
    assert json.loads(Path("page/model.json").read_text())["labels"] == ["cat", "dog", "größer"]
    assert Path("page/model.onnx").read_bytes() == (models / "images.onnx").read_bytes()
    assert Path("page/onnxruntime/ort-wasm-simd-threaded.wasm").is_file()
    assert "--replace" in dlc(*arguments).err
    assert dlc(*arguments, "--replace").code == 0
    for text in ("0", "1,1", "0,x", "0,inf"):
        assert dlc(*arguments, "--values", text).code == 2


@pytest.mark.parametrize(
    ("place", "given"),
    [
        ("web", ("--max-batch", 64)),
        ("web", ("--max-delay", 0)),
        ("web", ("--instances", 2)),
        ("web", ("--threads", 2)),
        ("web", ("--device", "cpu")),
        ("triton", ("--values", "0,1")),
        ("triton", ("--runtime", "package")),
    ],
)
def test_options_for_the_other_kind_of_folder(
    dlc: Callable[..., Any], models: Path, tmp_path: Path, place: str, given: tuple[Any, ...]
) -> None:
    outcome = dlc("deploy", "--to", place, tmp_path / "made", models / "net.onnx", *given)
    assert outcome.code == 2
    assert f"{given[0]} is for {'Triton' if place == 'web' else 'pages'}: leave it out with --to {place}" in outcome.err
    assert not (tmp_path / "made").exists()


def test_arguments_in_the_wrong_order(dlc: Callable[..., Any], models: Path) -> None:
    outcome = dlc("deploy", "--to", "triton", models / "net.onnx", "repository")
    assert outcome.code == 2
    assert f"the folder comes first: dlc deploy --to triton repository {models / 'net.onnx'}" in outcome.err


def test_what_serve_and_deploy_share_is_the_same(dlc: Callable[..., Any]) -> None:
    def said(command: str) -> list[str]:
        text = " ".join(dlc(command, "--help").out.split())
        return [
            text[text.index(f"{name} ") :].partition(" --")[0]
            for name in ("--max-batch N", "--max-delay MS", "--threads N", "--device [cpu|cuda]")
        ]

    assert said("serve") == said("deploy")
