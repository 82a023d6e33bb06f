"""The stored LALR tables are those of the grammar as it is."""

from __future__ import annotations

import logging
from typing import Any

import lark
import pytest

import grammar
from grammar import tables


def canonical(parser: lark.Lark, symbol: str = "start") -> list[tuple[str, ...]]:
    """The parser's automaton with its states numbered in the order they are reached, whatever Lark called them."""
    automaton: Any = parser.parser.parser._parse_table  # type: ignore[union-attr]
    order = {automaton.start_states[symbol]: 0}
    waiting, rows = list(order), []
    for state in waiting:
        row = []
        for name, (action, target) in sorted(automaton.states[state].items()):
            if "Shift" in repr(action):
                if target not in order:
                    order[target] = len(order)
                    waiting.append(target)
                row.append(f"{name} {order[target]}")
            else:
                row.append(f"{name} {target}")
        rows.append(tuple(row))
    return rows


def test_the_stored_tables_are_used_and_equal_to_those_built_from_the_grammar() -> None:
    stored = tables.STORE.read_text(encoding="utf-8")
    assert stored == tables.stored_form(), "the grammar has changed: run `python -m grammar.tables`"
    loaded = tables.load()
    assert loaded.source_path == "<deserialized>"
    assert canonical(loaded) == canonical(tables.build())
    assert {repr(terminal) for terminal in loaded.terminals} == {
        repr(terminal) for terminal in tables.build().terminals
    }


def test_tables_of_another_grammar_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    other = grammar.text("dl").replace('"const"', '"constant"')
    monkeypatch.setattr(grammar, "text", lambda name: other)
    parser = tables.load()
    assert parser.source_path != "<deserialized>"
    assert parser.get_terminal("CONSTANT").pattern.value == "constant"


def test_the_grammar_has_no_conflicts(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lark.logger, "propagate", True)
    with caplog.at_level(logging.DEBUG, logger=lark.logger.name):
        tables.build(debug=True)
        assert "conflict" not in caplog.text.lower()
        lark.Lark('start: start "+" start | "1"', parser="lalr", debug=True)
        assert "conflict" in caplog.text.lower()
