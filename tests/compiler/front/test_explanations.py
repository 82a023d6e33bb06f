"""Every code's explanation has a wrong example that gives this code and a right one that compiles."""

from __future__ import annotations

import re

import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source, all_codes, explain

_BLOCK = re.compile(r"```dl (wrong|right)\n(.*?)```", re.DOTALL)
CODES = [code for code in all_codes() if _BLOCK.search(explain(code))]


def example(code: str, kind: str) -> Source:
    blocks = [text for found, text in _BLOCK.findall(explain(code)) if found == kind]
    assert len(blocks) == 1, f"{code} has {len(blocks)} {kind} examples"
    return Source(f"{code}.dl", blocks[0])


def codes_of(source: Source) -> set[str]:
    try:
        checked = compiler.check(source)
        for name in checked.trains:
            compiler.compile_train(checked, name)
    except DiagnosticError as caught:
        return {diagnostic.code for diagnostic in caught.diagnostics}
    return {diagnostic.code for diagnostic in checked.warnings}


@pytest.mark.parametrize("code", CODES)
def test_wrong_example_gives_the_code(code: str) -> None:
    assert codes_of(example(code, "wrong")) == {code}


@pytest.mark.parametrize("code", CODES)
def test_right_example_compiles(code: str) -> None:
    assert codes_of(example(code, "right")) == set()


def test_codes_about_sources_have_examples() -> None:
    about_sources = {code for code in all_codes() if code[:3] in ("E01", "E02", "E03", "E04", "E05")}
    without = {code for code in about_sources - set(CODES) if "```console" not in explain(code)}
    assert without == set()
