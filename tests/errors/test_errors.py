"""Deliberately wrong files: each gives exactly its golden report, and errors on exactly the lines that say so.

A line that must fail carries ``# error: [E0301]``. The reports stand beside the files and are written anew by
``pytest tests/errors --update-golden``; look at the difference before committing it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source, all_codes

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.dl"))
_EXPECTED = re.compile(r"# error[^:\n]*: \[([EW]\d{4})\]")


def compile_everything(source: Source) -> None:
    """Check the file and compile each of its train blocks, which is where gradients are made."""
    checked = compiler.check(source)
    for name in checked.trains:
        compiler.compile_train(checked, name)


def report_of(path: Path) -> DiagnosticError:
    with pytest.raises(DiagnosticError) as caught:
        compile_everything(Source(path.name, path.read_text(encoding="utf-8")))
    return caught.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_errors_stand_where_the_file_says(path: Path) -> None:
    expected = [
        (number, code)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for code in _EXPECTED.findall(line)
    ]
    found = [
        (diagnostic.primary.span.line if diagnostic.primary else 0, diagnostic.code)
        for diagnostic in report_of(path).diagnostics
        if diagnostic.severity == "error"
    ]
    assert found == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_report_is_the_golden_one(path: Path, update_golden: bool) -> None:
    golden = path.with_suffix(".txt")
    report = str(report_of(path)) + "\n"
    if update_golden:
        golden.write_text(report, encoding="utf-8")
    assert report == golden.read_text(encoding="utf-8")


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 50


def test_every_golden_report_belongs_to_a_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in FILES}


def test_every_code_about_sources_occurs() -> None:
    shown = {code for path in FILES for code in _EXPECTED.findall(path.read_text(encoding="utf-8"))}
    about_sources = {code for code in all_codes() if code[:3] in ("E02", "E03", "E04", "E05")}
    # What a command asks for, imports and stored weights have tests of their own.
    elsewhere = {"E0203", "E0204", "E0205", "E0213", "E0214", "E0407", "E0502"}
    assert about_sources - shown - elsewhere == set()
