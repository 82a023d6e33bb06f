"""How the words of a `.dl` file are told apart to be coloured: one list of rules, for the editors that read TextMate
grammars, for Pygments, and for pages.

Statement words are names wherever the language does not expect them, so rules look at what stands around a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

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

# In a pattern, `^` is the beginning of a line.
_COMPILED = tuple((re.compile(rule.pattern, re.MULTILINE), rule.scopes) for rule in RULES)


def scopes(text: str) -> Iterator[tuple[str, str]]:
    """The pieces of a text, in order, each with its scope: "text" where it has none."""
    position = 0
    while position < len(text):
        found = next(((match, names) for rule, names in _COMPILED if (match := rule.match(text, position))), None)
        if found is None:
            yield text[position], "text"
            position += 1
            continue
        match, names = found
        yield from ((match[number], scope) for number, scope in enumerate(names, 1))
        position = match.end()
