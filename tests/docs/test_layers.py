"""The reference of the catalogue is the one that the catalogue gives."""

from __future__ import annotations

from pathlib import Path

from compiler.front.catalogue.reference import COMMAND, reference

PAGE = Path(__file__).parent.parent.parent / "docs" / "layers.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), f"make it again: {COMMAND}"
