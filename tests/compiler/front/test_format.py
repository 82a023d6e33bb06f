"""The canonical layout: what it looks like, and that it changes neither meaning nor comments, nor itself."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.diagnostics import Sink, Source, Span
from compiler.front import tree
from compiler.front.format import format_source
from compiler.front.parse import Layout, parse
from grammar import tables

ROOT = Path(__file__).parents[3]
FILES = sorted(path for folder in ("examples", "compiler", "tests") for path in (ROOT / folder).rglob("*.dl"))
DESIGN = Path(__file__).with_name("design_examples.dl").read_text(encoding="utf-8")
STRINGS_AND_COMMENTS = re.compile(r'"(?:[^"\\]|\\.)*"|(#[^\r\n]*)')


def formatted(text: str) -> str:
    return format_source(Source("test.dl", dedent(text)))


def meaning(text: str) -> Any:
    """The tree of a text without its places."""
    sink = Sink()
    file = parse(Source("test.dl", text), sink)
    assert sink.errors == []
    return _plain(file)


def _plain(value: Any) -> Any:
    if isinstance(value, tree.Node):
        names = (field.name for field in dataclasses.fields(value) if field.name != "span")
        return type(value).__name__, *(_plain(getattr(value, name)) for name in names)
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    assert not isinstance(value, Span)
    return value


def comments(text: str) -> list[str]:
    found = (match[1] for match in STRINGS_AND_COMMENTS.finditer(text))
    return [comment.rstrip(" \t") for comment in found if comment is not None]


def check_properties(text: str) -> None:
    """Formatting keeps the tree and the comments, and formatting again changes nothing."""
    after = format_source(Source("test.dl", text))
    assert meaning(after) == meaning(text)
    assert comments(after) == comments(text)
    assert format_source(Source("test.dl", after)) == after
    assert all(line == line.rstrip(" ") for line in after.split("\n"))
    assert "\r" not in after
    assert "\n\n\n" not in after
    assert after == "" or (after.endswith("\n") and not after.startswith("\n"))


LONG = "bce(Critic(image), 1) + bce(Critic(stop_gradient(fake)), 0) + l2(Critic)"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("const a=[ 1,2 , 3 ]", "const a = [1, 2, 3]"),
        ("const a = - 2**-3 if not(true)else 4", "const a = -2 ** -3 if not (true) else 4"),
        (
            f"train t(x: f32[N, 2]) {{\n    minimize {LONG} over Critic with adam(2e-4, beta1=0.5)\n}}",
            f"train t(x: f32[N, 2]) {{\n    minimize {LONG} over Critic\n        with adam(2e-4, beta1=0.5)\n}}",
        ),
        (
            "train t(x: f32[N, 2]) {\n minimize f(x) # a\n over C # b\n with adam # c\n}",
            "train t(x: f32[N, 2]) {\n    minimize f(x)  # a\n        over C  # b\n        with adam  # c\n}",
        ),
        (
            "train t(x: f32[N, 2]) {\n  minimize f(x) with adam\n  data  'x'\n\n  batch 8\n  epochs   3\n}",
            "train t(x: f32[N, 2]) {\n    minimize f(x) with adam\n    data     'x'\n\n    batch  8\n    epochs 3\n}",
        ),
        ("const a = [\n[1,  200,3],\n[40,5, 6]]", "const a = [\n    [ 1, 200, 3],\n    [40,   5, 6],\n]"),
        (
            "const a = [\n# no\n[1,  2], # one\n#two\n[40, 5]\n# end\n]",
            "const a = [\n    # no\n    [ 1, 2],  # one\n    #two\n    [40, 5],\n    # end\n]",
        ),
        (
            "const a = [\n[1,  2 # a\n],\n[40, 5]]",
            "const a = [\n    [\n        1,\n        2,  # a\n    ],\n    [40, 5],\n]",
        ),
        ("const a = [\n('a',  1),\n('bc',2)]", "const a = [\n    ('a',  1),\n    ('bc', 2),\n]"),
        ("const a = [\n[1,200],\n[40,5]]", "const a = [\n    [1, 200],\n    [40, 5],\n]"),
        ("const a = [\n[1,  2],\n[40, 5, 6]]", "const a = [\n    [1, 2],\n    [40, 5, 6],\n]"),
        ("const a = [\n[1,  2], # one\n[40, 5]]", "const a = [\n    [ 1, 2],  # one\n    [40, 5],\n]"),
        (
            "block b(x: [N], f=none) {\nif f != none # a\n{ f }; # b\n}",
            "block b(x: [N], f=none) {\n    if f != none {  # a\n        f\n    }  # b\n}",
        ),
        (
            "block b(x: [N]) # a\n # b\n{; # c\nrelu}",
            "block b(x: [N]) {  # a\n    # b\n    # c\n    relu\n}",
        ),
        (
            "block b(x: [N]) {\nf(a # a\n= # b\n1 # c\n)\n}",
            "block b(x: [N]) {\n    f(\n        a=1,  # a\n        # b\n        # c\n    )\n}",
        ),
    ],
)
def test_layout(text: str, after: str) -> None:
    text, after = (f"{part}\n".replace("'", '"') for part in (text, after))
    assert format_source(Source("test.dl", text)) == after
    check_properties(text)


def is_sound(path: Path) -> bool:
    sink = Sink()
    parse(Source(path.name, path.read_text(encoding="utf-8")), sink)
    return not sink.errors


TABLES = """\
const tables = [[
    [1,  "a", 20],
    [10, "bc",  3],
], [
    (1,  2),
    (10, 2),
]]
train net(x: f32[N, 3]) {
    minimize mse(Net(x), x) over Net with adam(1e-3)
    measure  mae(Net(x), x), error=mse(Net(x), x)
    batch    64
}
"""
SOUND = [path for path in FILES if is_sound(path)]


def test_files_are_found() -> None:
    assert len(SOUND) > 60


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_files_of_the_repository(path: Path) -> None:
    check_properties(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", ["examples", "compiler/library", "tests/models"])
def test_what_is_shipped_is_in_its_canonical_layout(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.dl"))
    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert format_source(Source(path.name, text)) == text, f"run dlc fmt {path}"


def test_the_readme_is_in_its_canonical_layout() -> None:
    blocks = re.findall(r"^```dl\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    for block in blocks:
        assert format_source(Source("README.md", block)) == block


# What stands between tokens, as the grammar allows it: within brackets, before what goes on with a line, elsewhere.
FREE = st.sampled_from(
    ["", " ", "\n", "\t", "  \n\n", " # a\n", "# b\r\n    # c\n", "\r\n", "\r", "\n# d\n\n\n  # e \t\n"]
)
BETWEEN_WORDS = st.sampled_from([" ", "\t", "   "])
ENDS = st.sampled_from(["\n", ";", "; # f\n", "\n\n\n", " # g\n", "\n  # h\n\n # i\n", " ;\r\n", "\n\t"])
CLOSE = ("(", ")", "[", "]", ",", ":", ".", "**", "*", "/", "+", "@", "==", "=", "{", "}")


@st.composite
def spaced_anew(draw: st.DrawFn) -> str:
    """A file of the repository with other spaces, line ends and comments between its tokens."""
    files = st.sampled_from(SOUND).map(lambda path: path.read_text(encoding="utf-8"))
    text = draw(st.one_of(files, st.sampled_from([DESIGN, TABLES])))
    assume(len(text) < 6000)
    parser = tables.load(postlex=Layout())
    tokens = list(parser.parse(text).scan_values(lambda token: True))
    opened: list[str] = []
    parts: list[str] = []
    before = "\n"
    for token in tokens:
        if token.type in ("_NEWLINE", "SEMICOLON"):
            before = "\n"
            continue
        if before in ("\n", "{") or token == "}":
            parts.append(draw(ENDS) if before == "\n" or draw(st.booleans()) else " ")
        elif opened[-1:] in (["("], ["["]) or token in ("->", "{", "else"):
            parts.append(draw(FREE) or (" " if not (before in CLOSE or token in CLOSE) else ""))
        else:
            parts.append(draw(BETWEEN_WORDS))
        parts.append(str(token))
        if token in ("(", "[", "{"):
            opened.append(str(token))
        elif token in (")", "]", "}"):
            opened.pop()
        before = str(token)
    return "".join(parts) + draw(st.sampled_from(["", "\n", " # end", "\n\n# end\n\n"]))


@settings(max_examples=150)
@given(spaced_anew())
def test_files_spaced_anew(text: str) -> None:
    sink = Sink()
    parse(Source("test.dl", text), sink)
    assume(not sink.errors)  # a number may have run into what follows it
    check_properties(text)


@settings(max_examples=60)
@given(st.integers(20, 99), st.sampled_from(SOUND))
def test_any_width(width: int, path: Path) -> None:
    """Narrow pages break lines in every place there is."""
    from compiler.front import format as module

    text = path.read_text(encoding="utf-8")
    before = module.WIDTH
    module.WIDTH = width
    try:
        check_properties(text)
    finally:
        module.WIDTH = before
