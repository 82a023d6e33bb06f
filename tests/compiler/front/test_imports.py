"""Imports: files of the same folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import compiler
from compiler import Checked
from compiler.diagnostics import DiagnosticError, Source

BLOCKS = """
const width = 8
block Unit(x: [N, D]) { dense(width) -> relu }
model Shared(x: f32[N, 4]) -> f32[N, 2] { dense(2) }
"""


@pytest.fixture
def check(tmp_path: Path) -> Callable[[dict[str, str]], Checked]:
    """Writes the files and checks ``main.dl``."""

    def run(files: dict[str, str]) -> Checked:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        path = tmp_path / "main.dl"
        return compiler.check(Source(str(path), path.read_text()))

    return run


Check = Callable[[dict[str, str]], Checked]


def error_of(check: Check, files: dict[str, str]) -> tuple[str, str]:
    with pytest.raises(DiagnosticError) as caught:
        check(files)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code, diagnostic.title


def test_declarations_come_in_and_see_their_own_file(check: Check) -> None:
    checked = check(
        {
            "parts/blocks.dl": BLOCKS,
            "main.dl": 'import "parts/blocks.dl"\nmodel Net(x: f32[N, 4]) { Unit -> dense(width) }',
        }
    )
    assert [str(*row.outputs) for row in checked.elaborated.models["Net"].stages] == ["f32[N, 8]"]


def test_an_alias_holds_the_names_together(check: Check) -> None:
    checked = check(
        {
            "blocks.dl": BLOCKS,
            "main.dl": 'import "blocks.dl" as b\nconst width = 3\nmodel Net(x: f32[N, 4]) { b.Unit -> dense(width) }',
        }
    )
    weights = [traced.weight for traced in checked.elaborated.models["Net"].weights]
    assert [str(weight.type) for weight in weights if weight.decays] == ["f32[4, 8]", "f32[8, 3]"]


def test_an_imported_model_keeps_its_weights_names(check: Check) -> None:
    files = {"blocks.dl": BLOCKS, "main.dl": 'import "blocks.dl"\nmodel Net(x: f32[N, 4]) { Shared }'}
    weights = check(files).elaborated.models["Net"].weights
    assert [traced.weight.name for traced in weights] == ["Shared.dense.weight", "Shared.dense.bias"]


def test_an_error_in_an_imported_file_is_shown_there(check: Check) -> None:
    with pytest.raises(DiagnosticError, match=r"blocks\.dl:1:25") as caught:
        check(
            {
                "blocks.dl": "block Unit(x: [N, D]) { dence(3) }",
                "main.dl": 'import "blocks.dl"\nmodel Net(x: f32[N, 4]) { Unit }',
            }
        )
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E0201"]


def test_a_missing_file(check: Check) -> None:
    code, title = error_of(check, {"blocks.dl": BLOCKS, "main.dl": 'import "block.dl"'})
    assert (code, title) == ("E0204", "there is no file block.dl")


def test_a_file_outside_the_folder(check: Check, tmp_path: Path) -> None:
    (tmp_path.parent / "outside.dl").write_text(BLOCKS)
    code, title = error_of(check, {"main.dl": 'import "../outside.dl"'})
    assert (code, title) == ("E0204", "../outside.dl lies outside the folder of the main file")


def test_a_link_out_of_the_folder(check: Check, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}_outside.dl"
    outside.write_text(BLOCKS)
    (tmp_path / "link.dl").symlink_to(outside)
    assert error_of(check, {"main.dl": 'import "link.dl"'})[0] == "E0204"


def test_a_circle_of_files(check: Check) -> None:
    code, title = error_of(check, {"a.dl": 'import "b.dl"', "b.dl": 'import "a.dl"', "main.dl": 'import "a.dl"'})
    assert (code, title) == ("E0205", "files import each other: a.dl -> b.dl -> a.dl")


def test_a_file_imported_twice_over(check: Check) -> None:
    checked = check(
        {
            "base.dl": "const width = 5",
            "a.dl": 'import "base.dl"\nblock A(x: [N, D]) { dense(width) }',
            "b.dl": 'import "base.dl"\nblock B(x: [N, D]) { dense(width) }',
            "main.dl": 'import "a.dl"\nimport "b.dl"\nmodel Net(x: f32[N, 4]) { A -> B }',
        }
    )
    assert len(checked.elaborated.models["Net"].weights) == 4


def test_a_name_that_two_files_declare(check: Check) -> None:
    code, title = error_of(
        check, {"a.dl": "const w = 1", "b.dl": "const w = 2", "main.dl": 'import "a.dl"\nimport "b.dl"'}
    )
    assert (code, title) == ("E0202", "w is declared twice")


def test_an_unknown_module_of_the_library(check: Check) -> None:
    assert error_of(check, {"main.dl": "import std.nothing"})[0] == "E0204"


def test_two_models_of_one_name_in_one_graph(check: Check) -> None:
    files = {
        "a.dl": BLOCKS,
        "b.dl": BLOCKS,
        "main.dl": 'import "a.dl" as a\nimport "b.dl" as b\nmodel Net(x: f32[N, 4]) { a.Shared(x) + b.Shared(x) }',
    }
    assert error_of(check, files) == ("E0202", "two models called Shared meet here")
    files["main.dl"] = 'import "a.dl" as a\nmodel Shared(x: f32[N, 4]) { a.Shared }'
    assert error_of(check, files) == ("E0202", "two models called Shared meet here")


def test_a_library_file_goes_by_its_module_name(check: Check) -> None:
    with pytest.raises(DiagnosticError, match=r"--> std\.mlp:\d+:(.*\n)+.*main\.dl:2:27\n"):
        check({"main.dl": "import std.mlp\nmodel Net(x: f32[N, 4]) { MLP([0], 2) }"})


def test_a_file_named_without_quotes(check: Check) -> None:
    with pytest.raises(DiagnosticError, match=r'a file is named in quotes: import "blocks\.dl"'):
        check({"blocks.dl": BLOCKS, "main.dl": "import blocks.dl\n"})
