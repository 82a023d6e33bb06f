"""How the words of a `.dl` file are coloured: one list of rules, for Pygments and for the editors that read TextMate
grammars. ``python -m dlc.highlighting > editors/vscode/dl.tmLanguage.json`` writes the latter anew.

Statement words are names wherever the language does not expect them, so rules look at what stands around a word.
Pygments comes with rich, and is what the entry point ``pygments.lexers`` loads this module for.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from pygments import token
from pygments.lexer import RegexLexer, bygroups

DECLARATIONS = ("import", "author", "license", "description", "const", "model", "block", "train", "weights")
STATEMENTS = (
    "minimize", "measure", "draw", "data", "validate", "test", "batch", "epochs", "steps", "stop", "clip", "clip_value",
    "accumulate", "average", "keep", "seed", "freeze",
)  # fmt: skip
PARTICLES = ("in", "log", "over", "with", "as", "from", "patience", "every")
BODIES = ("layer", "residual", "repeat")
CHOICES = ("if", "else")
LOGIC = ("and", "or", "not")
BOOLEANS = ("true", "false")
TYPES = ("u8", "i8", "i32", "i64", "f16", "bf16", "f32", "f64", "bool")

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_BEGIN = r"(^[ \t]*|(?<=[;{])[ \t]*)"  # of a line or stage


class Rule(NamedTuple):
    """A pattern, and the TextMate scope of each of its groups, which are all that it matches."""

    pattern: str
    scopes: tuple[str, ...]


def _words(words: tuple[str, ...]) -> str:
    return rf"({'|'.join(words)})\b"


RULES = (
    Rule(r"(#.*)", ("comment.line.number-sign",)),
    Rule(r'("(?:[^"\\\n]|\\.)*")', ("string.quoted.double",)),
    Rule(
        rf"{_BEGIN}(model|block|train|const)\b([ \t]+)({_NAME})(?=[ \t]*[(=])",
        ("text", "keyword.declaration", "text", "entity.name.type"),
    ),
    Rule(
        rf"{_BEGIN}(weights)([ \t]+)({_NAME})(?=[ \t]+from\b)",
        ("text", "keyword.declaration", "text", "entity.name.type"),
    ),
    Rule(rf"{_BEGIN}(import)\b(?=[ \t]+[\w\"])", ("text", "keyword.declaration")),
    Rule(rf"{_BEGIN}(author|license|description)\b(?=[ \t]+\")", ("text", "keyword.declaration")),
    Rule(rf"{_BEGIN}{_words(STATEMENTS)}(?=[ \t]+[\w\"\[(.*])", ("text", "keyword.other")),
    Rule(rf"{_BEGIN}({_NAME})([ \t]*:)", ("text", "entity.name.label", "punctuation")),
    Rule(rf"(?<=[ \t]){_words(PARTICLES)}(?=[ \t]+[\w\"(])", ("keyword.other",)),
    Rule(rf"\b(layer)(?=[ \t]+{_NAME})", ("keyword.control",)),
    Rule(r"(?<![.\w])(residual)(?=[ \t]*(?:\{|$|#))", ("keyword.control",)),
    Rule(r"\b(repeat)(?=[ \t]+[\w(])", ("keyword.control",)),
    Rule(rf"\b{_words(CHOICES)}", ("keyword.control",)),
    Rule(rf"\b{_words(LOGIC)}", ("keyword.operator.word",)),
    Rule(rf"\b{_words(BOOLEANS)}", ("constant.language",)),
    Rule(rf"\b{_words(TYPES)}", ("storage.type",)),
    Rule(r"\b(it)\b", ("variable.language",)),
    Rule(rf"\b({_NAME})(?=\()", ("entity.name.function",)),
    Rule(rf"\b({_NAME})(?=[ \t]*=(?!=))", ("variable.parameter",)),
    Rule(r"\b([A-Z][A-Za-z0-9_]*)", ("entity.name.type",)),
    Rule(rf"({_NAME})", ("variable.other",)),
    Rule(
        r"(\.?[0-9](?:[eE][+-]?[0-9]|[A-Za-z0-9_.])*(?:%(?![A-Za-z0-9_(]))?)",
        ("constant.numeric",),
    ),
    Rule(r"(->)", ("keyword.operator.arrow",)),
    Rule(r"(\*\*|//|[=!<>]=|[-+*/%@<>=])", ("keyword.operator",)),
    Rule(r"([()\[\]{},:;.])", ("punctuation",)),
    Rule(r"([ \t]+)", ("text",)),
)

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
