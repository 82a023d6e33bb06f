"""Model files as projects: reading them, Python values as constants, programs compiled once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError, Sink, Source
from compiler.front.parse import parse
from runtime.programs.project import constant_text, open_project, project_of_text

TEXT = "const units = 2\nmodel Net(x: f32[N, 3]) -> f32[N, units] { dense(units) }\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (-2.5, "-2.5"),
        (True, "true"),
        (np.float64(0.1), "0.1"),
        (np.array([1, 2]), "[1, 2]"),
        ((1, [2.5]), "[1, [2.5]]"),
        ('a "b" \\ é', '"a \\"b\\" \\\\ é"'),
    ],
)
def test_python_values_as_constants(value: Any, text: str) -> None:
    assert constant_text(value) == text
    sink = Sink()
    parse(Source("x", f"const x = {text}"), sink)
    assert sink.errors == []


def test_what_cannot_be_a_constant() -> None:
    for value in (None, {}, object()):
        with pytest.raises(TypeError, match="a constant is a number"):
            constant_text(value)


def test_a_program_is_compiled_once(tmp_path: Path) -> None:
    project = project_of_text(TEXT, tmp_path)
    assert project.model() is project.model("Net")


def test_the_text_with_constants_in_place(tmp_path: Path) -> None:
    (tmp_path / "net.dl").write_text(TEXT)
    project = open_project(tmp_path / "net.dl", {"units": "7"})
    assert project.text == TEXT.replace("units = 2", "units = 7")
    assert project.folder == tmp_path


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "net.dl", "model files end in .dl"),
        (tmp_path, "name a file in it"),
        (tmp_path / "no" / "net.dl", "there is no file"),
    ):
        with pytest.raises(DiagnosticError, match="E0809") as caught:
            open_project(path)
        assert said in str(caught.value)
    (tmp_path / "net.dl").write_text(TEXT)
    with pytest.raises(DiagnosticError, match=r"did you mean .*net\.dl"):
        open_project(tmp_path / "nett.dl")
