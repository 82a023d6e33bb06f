"""The parser of the language, loaded from stored LALR tables where they are current.

Building the tables takes 150 ms, which is more than the rest of `dlc check` needs for a small file; loading them takes
about 10. They are stored as JSON in `dl.tables.json`. Tables made from another text of the grammar or by another
version of Lark are not used: the parser is then built from the grammar. `python -m grammar.tables` writes them anew.
"""

import hashlib
import json
from typing import Any

import lark
from lark.grammar import Rule
from lark.lexer import TerminalDef

import grammar

STORE = grammar.FOLDER / "dl.tables.json"
# How Lark writes an action that goes to another state.
_SHIFT = 0
_OPTIONS: dict[str, Any] = {"parser": "lalr", "keep_all_tokens": True, "maybe_placeholders": False}


def load(**options: Any) -> lark.Lark:
    """The parser for `dl.lark`, with Lark's `transformer` and `postlex` as `options`.

    All tokens are kept, so that a node's place can be told from its children; absent optional parts leave no trace.
    """
    stored = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
    if stored.get("origin") != _origin():
        return build(**options)
    table = stored["data"]["parser"]["parser"]
    table["tokens"] = _integer_keys(table["tokens"])
    table["states"] = {int(state): _integer_keys(actions) for state, actions in table["states"].items()}
    return lark.Lark._load_from_dict(  # type: ignore[no-any-return,no-untyped-call]
        stored["data"], _integer_keys(stored["memo"]), **options
    )


def build(**options: Any) -> lark.Lark:
    """The same parser, built from the grammar's text."""
    return lark.Lark(grammar.text("dl"), **_OPTIONS, **options)


def stored_form() -> str:
    """What the file of tables holds when it is current: the same text each time."""
    data, memo = build().memo_serialize([TerminalDef, Rule])
    data["parser"]["parser"] = _in_order(data["parser"]["parser"])
    return json.dumps({"origin": _origin(), "data": data, "memo": memo}, separators=(",", ":")) + "\n"


def _in_order(table: dict[str, Any]) -> dict[str, Any]:
    """An automaton with its states numbered in the order in which they are reached, and its tokens in that of their
    names: Lark keeps both in sets, which give them another number each time."""
    names = sorted(table["tokens"].values())
    waiting = list(table["start_states"].values())
    order = {state: number for number, state in enumerate(waiting)}
    rows = []
    for state in waiting:
        row = {}
        for name, token in sorted((table["tokens"][token], token) for token in table["states"][state]):
            action, target = table["states"][state][token]
            if action == _SHIFT:
                if target not in order:
                    order[target] = len(order)
                    waiting.append(target)
                target = order[target]
            row[names.index(name)] = [action, target]
        rows.append(row)
    return {
        "tokens": dict(enumerate(names)),
        "states": dict(enumerate(rows)),
        "start_states": {rule: order[state] for rule, state in table["start_states"].items()},
        "end_states": {rule: order[state] for rule, state in table["end_states"].items()},
    }


def _origin() -> dict[str, Any]:
    digest = hashlib.sha256(grammar.text("dl").encode()).hexdigest()
    return {"lark": lark.__version__, "grammar": digest, "options": _OPTIONS}


def _integer_keys(mapping: dict[str, Any]) -> dict[int, Any]:
    """JSON has strings for keys where Lark has integers."""
    return {int(key): value for key, value in mapping.items()}


if __name__ == "__main__":
    STORE.write_text(stored_form(), encoding="utf-8")
