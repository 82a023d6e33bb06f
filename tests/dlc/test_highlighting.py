"""Highlighting: what the parser takes for a keyword, number, text or comment looks like one, and nothing else does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from lark.lexer import PatternStr
from pygments import token

from compiler.front import highlighting
from compiler.front.parse import Layout
from compiler.front.signature import DTYPES
from dlc.highlighting import DlLexer, textmate
from grammar import tables

ROOT = Path(__file__).parents[2]
FOLDERS = ("examples", "compiler/library", "tests/models", "dlc/templates")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.dl"))]
FILES.append(ROOT / "tests" / "compiler" / "front" / "design_examples.dl")
STORED = ROOT / "editors" / "vscode" / "dl.tmLanguage.json"

Kinds = dict[int, str]  # what stands at each offset of a text


def by_pygments(text: str) -> Kinds:
    kinds = {}
    for start, kind, value in DlLexer().get_tokens_unprocessed(text):
        assert kind is not token.Error, value
        for offset in range(start, start + len(value)):
            kinds[offset] = str(kind)
    assert len(kinds) == len(text)
    return kinds


def by_textmate(text: str) -> Kinds:
    """What an editor does: on each line, again and again the rule that matches first."""
    rules = [(re.compile(rule["match"]), rule["captures"]) for rule in json.loads(STORED.read_text())["patterns"]]
    kinds: Kinds = {}
    start = 0
    for line in text.splitlines(keepends=True):
        position = 0
        while found := [(match, names) for rule, names in rules if (match := rule.search(line, position))]:
            match, names = min(found, key=lambda pair: pair[0].start())
            assert match.end() > position
            for number in range(1, len(match.groups()) + 1):
                scope = names.get(str(number), {"name": "text"})["name"]
                kinds |= dict.fromkeys(range(start + match.start(number), start + match.end(number)), scope)
            position = match.end()
        start += len(line)
    return kinds


KINDS = {
    "Pygments": (by_pygments, "Token.Keyword", "Token.Literal.Number", "Token.Literal.String", "Token.Comment"),
    "TextMate": (by_textmate, "keyword.", "constant.numeric", "string.", "comment."),
}
_WORDS = {word for words in (highlighting.LOGIC, highlighting.BOOLEANS) for word in words}


@pytest.mark.parametrize("tool", KINDS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_words_look_like_what_the_parser_takes_them_for(path: Path, tool: str) -> None:
    kinds_of, keyword, number, string, comment = KINDS[tool]
    text = path.read_text(encoding="utf-8")
    kinds = kinds_of(text)
    parsed = tables.load(postlex=Layout()).parse(text)
    meant = [item for item in parsed.scan_values(lambda _: True) if item.type != "_NEWLINE"]
    inside: set[int] = set()
    for item in meant:
        assert item.start_pos is not None
        assert item.end_pos is not None
        kind = kinds[item.start_pos]
        place = f"{item!r} in line {item.line} is {kind}"
        inside |= set(range(item.start_pos, item.end_pos))
        if item.type == "NUMBER":
            assert kind.startswith(number), place
            assert kinds[item.end_pos - 1] == kind, place
        elif item.type == "STRING":
            assert kind.startswith(string), place
        elif item.type in ("NAME", "PATTERN"):
            assert item in highlighting.TYPES or not kind.startswith(keyword), place
        elif item.isidentifier() and item not in _WORDS:
            assert kind.startswith(keyword), place
    for match in re.finditer(r"#[^\n]*", text):
        if match.start() not in inside:
            assert all(kinds[offset].startswith(comment) for offset in range(*match.span()))


@pytest.mark.parametrize(
    ("line", "word", "kind"),
    [
        ("    stem: conv(64, 7)", "stem", "entity.name.label"),
        ("    stem: conv(64, 7)", "conv", "entity.name.function"),
        ("    conv(64, pad=same)", "pad", "variable.parameter"),
        ("    validate 20%", "20%", "constant.numeric"),
        ("    validate 20%", "validate", "keyword.other"),
        ("    data = x", "data", "variable.parameter"),
        ("    test -> relu", "test", "variable.other"),
        ("model A(x: f32[N, 3]) {", "A", "entity.name.type"),
        ("model A(x: f32[N, 3]) {", "f32", "storage.type"),
        ("    a if not b else true", "not", "keyword.operator.word"),
        ("    a if not b else true", "true", "constant.language"),
        ('    data "a # b"  # c', '"a # b"', "string.quoted.double"),
        ('    data "a # b"  # c', "# c", "comment.line.number-sign"),
        ("    it @ x", "it", "variable.language"),
    ],
)
def test_scopes(line: str, word: str, kind: str) -> None:
    start = line.index(word)
    kinds = by_textmate(line)
    assert {kinds[offset] for offset in range(start, start + len(word))} == {f"{kind}.dl"}


def test_the_words_are_those_of_the_grammar() -> None:
    terminals = tables.build().terminals
    words = {t.pattern.value for t in terminals if isinstance(t.pattern, PatternStr) and t.pattern.value.isidentifier()}
    groups: Callable[[str], tuple[str, ...]] = highlighting.__dict__.__getitem__
    listed = [groups(name) for name in ("DECLARATIONS", "STATEMENTS", "PARTICLES", "BODIES", "CHOICES", "LOGIC")]
    assert {word for group in (*listed, highlighting.BOOLEANS) for word in group} == words | {"layer", "residual"}
    assert set(highlighting.TYPES) == set(DTYPES)


def test_the_stored_grammar_is_current() -> None:
    assert json.loads(STORED.read_text()) == textmate(), "run python -m dlc.highlighting > editors/vscode/…"
    package = json.loads((STORED.parent / "package.json").read_text())["contributes"]
    for path in (package["grammars"][0]["path"], package["languages"][0]["configuration"]):
        assert (STORED.parent / path).is_file()
