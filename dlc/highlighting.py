"""The words of a `.dl` file coloured by Pygments, and by editors that read TextMate grammars: ``python -m
dlc.highlighting > editors/vscode/dl.tmLanguage.json`` writes the grammar anew. The rules are those of
``compiler.front.highlighting``.

Pygments comes with rich, and is what the entry point ``pygments.lexers`` loads this module for.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pygments import token
from pygments.lexer import RegexLexer, bygroups

from compiler.front.highlighting import RULES

_TOKENS = {
    "text": token.Whitespace,
    "comment.line.number-sign": token.Comment.Single,
    "string.quoted.double": token.String,
    "keyword.declaration": token.Keyword.Declaration,
    "keyword.other": token.Keyword,
    "keyword.control": token.Keyword,
    "keyword.operator.word": token.Operator.Word,
    "keyword.operator.arrow": token.Operator,
    "keyword.operator": token.Operator,
    "constant.language": token.Keyword.Constant,
    "constant.numeric": token.Number,
    "storage.type": token.Keyword.Type,
    "variable.language": token.Name.Builtin.Pseudo,
    "variable.parameter": token.Name.Variable,
    "variable.other": token.Name,
    "entity.name.type": token.Name.Class,
    "entity.name.function": token.Name.Function,
    "entity.name.label": token.Name.Label,
    "punctuation": token.Punctuation,
}


class DlLexer(RegexLexer):  # type: ignore[misc]  # Pygments has no types
    """The Pygments lexer of `.dl` files."""

    name = "dl"
    url = ""
    aliases = ("dl", "dlc")
    filenames = ("*.dl",)
    flags = re.MULTILINE
    tokens = {
        "root": [
            *((rule.pattern, bygroups(*(_TOKENS[scope] for scope in rule.scopes))) for rule in RULES),
            (r"[\r\n]+", token.Whitespace),
        ]
    }


def textmate() -> dict[str, Any]:
    """The TextMate grammar of `.dl` files."""
    return {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "dl",
        "scopeName": "source.dl",
        "fileTypes": ["dl"],
        "patterns": [
            {
                "match": rule.pattern,
                "captures": {
                    str(number): {"name": f"{scope}.dl"}
                    for number, scope in enumerate(rule.scopes, 1)
                    if scope != "text"
                },
            }
            for rule in RULES
        ],
    }


if __name__ == "__main__":
    print(json.dumps(textmate(), indent=2))
