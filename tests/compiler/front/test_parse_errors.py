"""What is said about syntax errors, word for word, and that one mistake is one report."""

from __future__ import annotations

import pytest

from compiler.diagnostics import DiagnosticError, Sink, Source, render
from compiler.front import syntax_errors
from compiler.front.parse import parse, source_from_bytes
from grammar import tables


def report(text: str) -> str:
    sink = Sink()
    parse(Source("net.dl", text), sink)
    return render(sink.diagnostics)


def codes(text: str) -> list[str]:
    """The codes and lines of all errors."""
    sink = Sink()
    parse(Source("net.dl", text), sink)
    return [f"{one.code}:{one.primary.span.line}" for one in sink.errors if one.primary is not None]


def body(lines: str) -> str:
    """A text whose second line is the first of `lines`, with a sound model after it."""
    return f"model A(x: f32[N]) {{\n{lines}\n}}\n\nmodel B(x: f32[N]) {{ relu }}\n"


def test_unexpected_token() -> None:
    assert (
        report(body("    dense(16) relu"))
        == """\
error[E0101]: unexpected name `relu`
 --> net.dl:2:15
  |
2 |     dense(16) relu
  |               ^^^^ expected `->`, an operator or the end of the line
  |
  = help: begin a new line for the next stage, or join the two with `->`"""
    )


def test_unfinished_line() -> None:
    assert (
        report(body("    a +   # b"))
        == """\
error[E0101]: unexpected end of the line
 --> net.dl:2:8
  |
2 |     a +   # b
  |        ^ expected an expression"""
    )


def test_unterminated_string() -> None:
    assert (
        report('train t(x: f32[N]) {\n    data "a.npz  # }\n    batch 3\n}')
        == """\
error[E0102]: unterminated string
 --> net.dl:2:10
  |
2 |     data "a.npz  # }
  |          ^^^^^^^^^^^ the closing `"` is missing on this line"""
    )


def test_unexpected_characters() -> None:
    assert (
        report(body("    data(“a”)\n    σ = 1\n    b = \x00\n    $a"))
        == """\
error[E0103]: unexpected character `“`
 --> net.dl:2:10
  |
2 |     data(“a”)
  |          ^ left double quotation mark
  |
  = help: strings stand in double quotes, `"`

error[E0103]: unexpected character `σ`
 --> net.dl:3:5
  |
3 |     σ = 1
  |     ^ greek small letter sigma
  |
  = help: names are made of the letters a to z and A to Z, digits and `_`

error[E0103]: unexpected character U+0000
 --> net.dl:4:9
  |
4 |     b = �
  |         ^ a control character

error[E0103]: unexpected character `$`
 --> net.dl:5:5
  |
5 |     $a
  |     ^ dollar sign

4 errors"""
    )


def test_a_control_character_in_a_string_is_pointed_at() -> None:
    assert (
        report('const a = "b\x07c"')
        == """\
error[E0103]: unexpected character U+0007
 --> net.dl:1:13
  |
1 | const a = "b�c"
  |             ^ a control character"""
    )


def test_a_bracket_that_is_never_closed() -> None:
    assert (
        report(body("    dense(16\n    relu\n    dense(2)"))
        == """\
error[E0104]: `(` is never closed
 --> net.dl:3:5
  |
2 |     dense(16
  |          - opened here
3 |     relu
  |     ^^^^ `)` is missing before this"""
    )


def test_a_bracket_that_is_open_when_the_body_ends() -> None:
    assert (
        report(body("    concat([a, b"))
        == """\
error[E0104]: `[` is never closed
 --> net.dl:3:1
  |
2 |     concat([a, b
  |            - opened here
3 | }
  | ^ `]` is missing before this"""
    )


def test_a_brace_that_is_open_when_the_next_declaration_begins() -> None:
    assert (
        report("model A(x: f32[N]) {\n    relu\n\n# next\ntrain t(x: f32[N]) {\n    seed 0 0\n}\n")
        == """\
error[E0104]: `{` is never closed
 --> net.dl:5:1
  |
1 | model A(x: f32[N]) {
  |                    - opened here
5 | train t(x: f32[N]) {
  | ^^^^^ `}` is missing before this

error[E0101]: unexpected number `0`
 --> net.dl:6:12
  |
6 |     seed 0 0
  |            ^ expected `->`, an operator or the end of the line
  |
  = help: begin a new line for the next stage, or join the two with `->`

2 errors"""
    )


def test_a_brace_that_is_open_when_the_file_ends() -> None:
    assert (
        report("model A(x: f32[N]) {\n    residual {\n        relu\n\n# end\n")
        == """\
error[E0104]: `{` is never closed
 --> net.dl:3:13
  |
2 |     residual {
  |              - opened here
3 |         relu
  |             ^ the file ends without its `}`"""
    )


def test_closing_brackets_without_a_partner() -> None:
    assert (
        report(body("    reshape([4, 2)]\n    relu)") + "}\n")
        == """\
error[E0105]: `)` does not close `[`
 --> net.dl:2:18
  |
2 |     reshape([4, 2)]
  |                  ^ `]` is expected
  |             - opened here

error[E0105]: `)` closes nothing
 --> net.dl:3:9
  |
3 |     relu)
  |         ^ nothing is open that it could close

error[E0105]: `}` closes nothing
 --> net.dl:7:1
  |
7 | }
  | ^ nothing is open that it could close

3 errors"""
    )


def test_malformed_numbers() -> None:
    assert (
        report("const a = 1O + 1e400\nconst b = 9223372036854775808")
        == """\
error[E0107]: `1O` is not a number
 --> net.dl:1:11
  |
1 | const a = 1O + 1e400
  |           ^^ not a number
  |
  = help: numbers are written `64`, `1_000`, `0.5`, `1e-4` or `20%`

error[E0107]: `1e400` is too large
 --> net.dl:1:16
  |
1 | const a = 1O + 1e400
  |                ^^^^^ this number does not fit a 64-bit float

error[E0107]: `9223372036854775808` is too large
 --> net.dl:2:11
  |
2 | const b = 9223372036854775808
  |           ^^^^^^^^^^^^^^^^^^^ this whole number does not fit 64 bits

3 errors"""
    )


@pytest.mark.parametrize(
    "number", ["0x10", "1__0", "1_", "1e", "1.2.3", "1._5", "2e-", "3D", "1" + "_0" * 9999, "9" * 9999]
)
def test_more_malformed_numbers(number: str) -> None:
    assert codes(f"const a = {number}")[0] == "E0107:1"


def test_unknown_escapes() -> None:
    assert (
        report(r'const a = "D:\data\u12 \\ \ud800"')
        == r"""error[E0108]: unknown escape `\d`
 --> net.dl:1:14
  |
1 | const a = "D:\data\u12 \\ \ud800"
  |              ^^
  |
  = help: write `\\` for a backslash; paths are written with `/` on every system

error[E0108]: unknown escape `\u`
 --> net.dl:1:19
  |
1 | const a = "D:\data\u12 \\ \ud800"
  |                   ^^
  |
  = help: write `\\` for a backslash; paths are written with `/` on every system

error[E0108]: unknown escape `\u`
 --> net.dl:1:27
  |
1 | const a = "D:\data\u12 \\ \ud800"
  |                           ^^
  |
  = help: write `\\` for a backslash; paths are written with `/` on every system

3 errors"""
    )


def test_positional_after_named_argument() -> None:
    assert (
        report(body("    dense(bias=false, 16)"))
        == """\
error[E0109]: positional argument after a named one
 --> net.dl:2:23
  |
2 |     dense(bias=false, 16)
  |                       ^^ give this by name too, or move it to the front
  |           ---------- this one is given by name"""
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            "# größe\n".encode("latin-1"),
            "1:5\n  |\n1 | # gr��e\n  |     ^ the byte 0xF6 is not valid here\n  |\n  = help: save the file as UTF-8",
        ),
        (
            "const a = 1".encode("utf-16"),
            "1:1\n  |\n1 | ��c�o�n�s�t� �a� �=� �1�\n  | ^ the byte 0xFF is not valid here\n"
            "  |\n  = help: the file is encoded as UTF-16: save it as UTF-8",
        ),
        (
            b"\xef\xbb\xbfa\n\x08\x00\xfe",
            "2:3\n  |\n2 | ���\n  |   ^ the byte 0xFE is not valid here\n"
            "  |\n  = help: this does not look like a text file at all",
        ),
    ],
)
def test_bytes_that_are_no_utf8(data: bytes, expected: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        source_from_bytes("net.dl", data)
    assert str(caught.value) == f"error[E0110]: net.dl is not UTF-8 text\n --> net.dl:{expected}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "modle A(x: f32[N]) {}",
            "`author`, `block`, `const`, `description`, `import`, `license`, `model`, `train` or `weights`"
            "\n  |\n  = help: did you mean `model`?",
        ),
        ("const", "expected a name"),
        ("model A x", "expected `(`"),
        ("model A(3)", "expected a name or `)`"),
        ("model A(x: f32) {}", "expected `[`"),
        ("model A(x: f32[N]) relu", "expected `->` or `{`"),
        ("model A(x: f32[N]) -> {}", "expected a name, `(` or `[`"),
        ("model A(x: [N = 4]) {}", "expected `,`, `]` or an operator"),
        ("train t(x: f32[N]) { 3 }", "expected a statement or `}`"),
        ("train t(x: f32[N]) { minimise mse(x) with a }", "expected `=`\n  |\n  = help: did you mean `minimize`?"),
        ("train t(x: f32[N]) { q z }", "expected `=`\n  |\n  = help: values are named with `name = …`"),
        ("train t(x: f32[N]) { data = 3 }", "help: `data` begins a statement here; name the value otherwise"),
        ("train t(x: f32[N]) { minimize x }", "expected `over` or `with`"),
        ("train t(x: f32[N]) { freeze A() }", "expected `,` or the end of the line"),
        ("import blocks.dl as", "expected a name"),
        ('import "a" "b"', "expected `as` or the end of the line"),
        ("const a = if", "expected an expression"),
        ("const if = 1", "help: `if` is a word of the language and cannot be a name"),
        ("const a = f(true=1)", "expected `)`, `,`, `->` or an operator"),
        ("const a = 1 < 2 < 3", "help: comparisons do not chain: write `a < b and b < c`"),
        (body("if x = 1 { relu }"), "expected `{` or an operator\n  |\n  = help: `==` compares, `=` names a value"),
        (body("if x { relu } else relu"), "expected `if` or `{`"),
        (body("repeat 3 relu"), "expected `as`, `{` or an operator"),
        (body("repeat 3 as 4 {}"), "expected a name"),
        (body(": relu"), "expected a stage or `}`"),
        (body("x[]"), "expected an expression or `:`"),
        (body("x -> -> y"), "expected an expression"),
        (body("x -> => y"), "unexpected `=`"),
        (body("a ! b"), "help: negation is `not`"),
        (body("a, b"), "expected `=`"),
        (body("'a'"), 'help: strings stand in double quotes, `"`'),
        (body("a\u00a0b"), "no-break space\n  |\n  = help: it is no ordinary space: type it anew"),
        (body("x.3"), "expected a name"),
    ],
)
def test_what_could_stand_there(text: str, words: str) -> None:
    shown = report(text)
    assert words in shown
    assert shown.count("error[") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (body("a b\nc d\n\ne f"), ["E0101:2", "E0101:3", "E0101:5"]),
        (body("a b; c d; e"), ["E0101:2", "E0101:2"]),
        (body("f(1,\n  2\n  3,\n  4)\na b"), ["E0101:4", "E0101:6"]),
        (body("f(1,\n  2"), ["E0104:4"]),
        (body("residual {\n a b\n f(]\n}\nc d"), ["E0101:3", "E0105:4", "E0101:6"]),
        (body("residual { a } b\nc d"), ["E0101:2", "E0101:3"]),
        (body("residual x {\n a\n}\nc d"), ["E0101:2", "E0101:5"]),
        (body("if a { b } else { c d }\ne f"), ["E0101:2", "E0101:3"]),
        (body("f(x -> residual {\n a b\n})\nc d"), ["E0101:3", "E0101:5"]),
        (body('f("a\nb c'), ["E0102:2", "E0101:3"]),
        (body("f($\nb c"), ["E0103:2", "E0101:3"]),
        (body("a -> "), ["E0101:2"]),
        ("model A(x: f32[N,) {\n relu relu\n}\ntrain t() { seed }", ["E0105:1", "E0101:4"]),
        ("model A(x: f32[N] {\n relu\n}\nconst a =", ["E0101:1", "E0101:4"]),
        ("const a = \nconst b = )\nconst c = 3 3", ["E0101:1", "E0105:2", "E0101:3"]),
        ("}\n}\nconst a = 3\n}", ["E0105:1", "E0105:4"]),
        ("this is not\na model file\nat all", ["E0101:1"]),
        ("model A(x: f32[N]) {\n a b\nmodel B(x: f32[N]) {\n c d\n}", ["E0101:2", "E0104:3", "E0101:4"]),
        ("model A(x: f32[N]) {\n f(\nmodel B(x: f32[N]) {\n c\n}", ["E0104:3"]),
        ("\x00" * 50, ["E0103:1"]),
    ],
)
def test_all_errors_are_reported_and_none_twice(text: str, expected: list[str]) -> None:
    assert codes(text) == expected


def test_a_hopeless_file_is_given_up_on_and_this_is_said() -> None:
    sink = Sink()
    parse(Source("net.dl", body("a b\n" * 50)), sink)
    assert len(sink.errors) == 20
    assert [one.notes for one in sink.errors if one.notes] == [("too many errors: what follows was not read",)]


def test_the_words_for_groups_of_terminals_are_about_terminals_there_are() -> None:
    known = {terminal.name for terminal in tables.build().terminals}
    for _, _, members in syntax_errors._GROUPS:
        assert set(members.split()) <= known
    assert {*syntax_errors._OPERATORS.split(), *syntax_errors._KINDS, *syntax_errors._LINE_ENDS} <= known
