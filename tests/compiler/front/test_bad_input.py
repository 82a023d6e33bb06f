"""Input that no one means: what it is told, where, and how much work that takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import compiler
from compiler.diagnostics import Diagnostic, DiagnosticError, Source
from compiler.front.parse import source_from_bytes


def in_model(stages: str) -> str:
    return f"model A(x: f32[N, 3]) {{\n    {stages}\n}}\n"


def first_of(data: bytes) -> Diagnostic:
    """The first thing that is said about a file."""
    try:
        checked = compiler.check(source_from_bytes("bad.dl", data))
    except DiagnosticError as wrong:
        return wrong.diagnostics[0]
    return checked.warnings[0]


TOO_LARGE = "E0404: this number is too large"
BAD = {
    "10,000 round brackets": (in_model(f"dense({'(' * 10_000}4{')' * 10_000})"), "E0106: nested too deeply", 2),
    "10,000 square brackets": (f"const a = {'[' * 10_000}{']' * 10_000}", "E0106: nested too deeply", 1),
    "10,000 braces": (in_model("residual {" * 10_000 + "}" * 10_000), "E0106: nested too deeply", 2),
    "a null character": (in_model("relu\0"), "E0103: unexpected character U+0000", 2),
    "a form feed": (in_model("relu\f"), "E0103: unexpected character U+000C", 2),
    "a byte order mark inside": (in_model("relu \ufeff"), "E0103: unexpected character U+FEFF", 2),
    "a no-break space": (in_model("relu\u00a0-> relu"), "E0103: unexpected character U+00A0", 2),
    "quotes of a word processor": (in_model("dense(“a”)"), "E0103: unexpected character `“`", 2),
    "a string without end": (in_model('cast("f32)'), "E0102: unterminated string", 2),
    "a brace without end": ("model A(x: f32[N]) {\n    relu\n", "E0104: `{` is never closed", 2),
    "a value that hides a layer": (
        in_model("dense = x -> dense(4)\n    dense(3)"),
        "E0403: a tensor f32[N, 4] can't be called",
        3,
    ),
    "an unused name": (in_model("y = x -> dense(4)\n    x -> relu"), "W0201: y is never used", 2),
    "repeat 1e9": (
        in_model("repeat 1e9 { relu }"),
        "E0403: repeat takes a whole number or a list, not the number 1000000000.0",
        2,
    ),
    "a billion copies": (
        in_model("repeat 1_000_000_000 { relu }"),
        "E0404: repeat takes 0 to 10000 copies, not 1000000000",
        2,
    ),
    "copies of copies": (
        in_model("repeat 1000 { repeat 1000 { repeat 1000 { relu } } }"),
        "E0404: this makes more than 50000 stages",
        2,
    ),
    "no features": ("model A(x: f32[N, 0]) {\n    relu\n}\n", "E0404: a size is at least 1, not 0", 1),
    "negative features": ("model A(x: f32[N, 3 - 5]) {\n    relu\n}\n", "E0404: a size is at least 1, not -2", 1),
    "negative units": (in_model("dense(-4)"), "E0404: dense needs at least one unit, not -4", 2),
    "a window that leaves nothing": (
        "model A(x: f32[N, 3, 4, 4]) {\n    conv(4, 7)\n}\n",
        "E0301: cannot convolve f32[N, 3, 4, 4]: the 7x7 window is larger than what it slides over",
        2,
    ),
    "a tower of powers": ("const a = 9**9**9", TOO_LARGE, 1),
    "a tower of powers with a point": ("const a = 9.0**9**9", TOO_LARGE, 1),
    "a product beyond floats": ("const a = 1e308 * 10", TOO_LARGE, 1),
    "a sum beyond 64 bits": ("const a = 9223372036854775807 + 1", TOO_LARGE, 1),
    "100,000 digits": (f"const a = {'9' * 100_000}", f"E0107: `{'9' * 30}…` is too large", 1),
    "a large exponent": ("const a = 1e999999999", "E0107: `1e999999999` is too large", 1),
    "zero to a negative power": ("const a = 0 ** -1", "E0404: zero has no negative powers", 1),
    "the root of a negative number": (
        "const a = (-8) ** 0.5",
        "E0404: a negative number has no power that is not a whole number",
        1,
    ),
}


@pytest.mark.parametrize(("text", "said", "line"), BAD.values(), ids=BAD)
def test_what_is_said(text: str, said: str, line: int) -> None:
    found = first_of(text.encode())
    assert f"{found.code}: {found.title}" == said
    assert found.primary is not None
    assert found.primary.span.source.location(found.primary.span.start)[0] == line


@pytest.mark.parametrize(
    ("data", "place"),
    [(in_model("relu").encode("utf-16"), 0), (in_model("relu").encode().replace(b"relu", b"rel\xff"), 31)],
    ids=["UTF-16", "odd bytes"],
)
def test_what_is_no_text(data: bytes, place: int) -> None:
    found = first_of(data)
    assert f"{found.code}: {found.title}" == "E0110: bad.dl is not UTF-8 text"
    assert found.primary is not None
    assert found.primary.span.start == place


def test_line_ends_and_tabs_may_be_mixed() -> None:
    source = source_from_bytes("a.dl", b"\xef\xbb\xbfmodel A(x: f32[N, 3]) {\r\n\tdense(4)\r \trelu\n}\r\n")
    assert compiler.check(source).models == ("A",)


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_links_do_not_lead_out_of_the_folder(tmp_path: Path, linked: str) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.dl").write_text("const a = 1\n")
    link = inside / ("link.dl" if linked == "file" else "link")
    link.symlink_to(outside / "secret.dl" if linked == "file" else outside)
    name = "link.dl" if linked == "file" else "link/secret.dl"
    with pytest.raises(DiagnosticError, match=f"{name} lies outside the folder of the main file"):
        compiler.check(Source(str(inside / "main.dl"), f'import "{name}"\n'))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "blocks.dl").mkdir()
    with pytest.raises(DiagnosticError, match=r"blocks\.dl is a folder"):
        compiler.check(Source(str(tmp_path / "main.dl"), 'import "blocks.dl"\n'))


def test_work_grows_with_the_number_of_stages(work: Callable[[Callable[[], object]], int]) -> None:
    def check(stages: int) -> int:
        text = in_model("dense(8) -> relu\n    " * (stages // 2))
        return work(lambda: compiler.check(Source("large.dl", text)))

    check(10)
    few = check(100)
    assert check(2000) - few < 20.5 * few
