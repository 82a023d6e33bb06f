"""The exact layout of what users see."""

from __future__ import annotations

import json
import re

from compiler.diagnostics import Label, Source, Span, error, harmless, render, warning

RESNET = Source(
    "resnet.dl",
    """\
block Basic(x: [N, C, H, W], channels) {
    residual {
        conv(channels, 3)
        relu
    }

    # two branches

    main = x -> conv(32, 3, pad=same)
    skip = x

    main + skip
}
""",
)


def place(source: Source, text: str, occurrence: int = 0) -> Span:
    start = [match.start() for match in re.finditer(re.escape(text), source.text)][occurrence]
    return source.span(start, start + len(text))


def test_the_example_of_the_design() -> None:
    diagnostic = error(
        "E0301",
        "cannot add f32[N, 32, 8, 8] and f32[N, 16, 8, 8]",
        place(RESNET, "main + skip"),
        "dimension 1 differs: 32 and 16",
        labels=[
            Label(place(RESNET, "conv(32, 3, pad=same)"), "this gives f32[N, 32, 8, 8]"),
            Label(place(RESNET, "x", 2), "this gives f32[N, 16, 8, 8]"),
        ],
        help="project the skip with a 1x1 convolution: x -> conv(32, 1)",
    )
    assert (
        render([diagnostic])
        == """\
error[E0301]: cannot add f32[N, 32, 8, 8] and f32[N, 16, 8, 8]
  --> resnet.dl:12:5
   |
 9 |     main = x -> conv(32, 3, pad=same)
   |                 --------------------- this gives f32[N, 32, 8, 8]
10 |     skip = x
   |            - this gives f32[N, 16, 8, 8]
12 |     main + skip
   |     ^^^^^^^^^^^ dimension 1 differs: 32 and 16
   |
   = help: project the skip with a 1x1 convolution: x -> conv(32, 1)"""
    )


def test_several_labels_on_one_line_stand_below_one_another() -> None:
    diagnostic = error(
        "E0301",
        "no",
        place(RESNET, "+"),
        labels=[Label(place(RESNET, "skip", 1), "right"), Label(place(RESNET, "main", 1), "left")],
        notes=["one", "two\nand more"],
    )
    assert (
        render([diagnostic])
        == """\
error[E0301]: no
  --> resnet.dl:12:10
   |
12 |     main + skip
   |          ^
   |     ---- left
   |            ---- right
   |
   = note: one
   = note: two
           and more"""
    )


def test_a_span_of_several_lines_is_marked_at_both_ends() -> None:
    body = RESNET.span(RESNET.text.index("residual"), RESNET.text.index("    }\n") + len("    }"))
    two_lines = RESNET.span(RESNET.text.index("conv(channels"), RESNET.text.index("relu") + len("relu"))
    assert (
        render([error("E0301", "long", body, "gives a pair")])
        == """\
error[E0301]: long
 --> resnet.dl:2:5
  |
2 |     residual {
  |     ^^^^^^^^^^
...
5 |     }
  |     ^ gives a pair"""
    )
    assert (
        render([error("E0301", "shorter", two_lines, "both")])
        == """\
error[E0301]: shorter
 --> resnet.dl:3:9
  |
3 |         conv(channels, 3)
  |         ^^^^^^^^^^^^^^^^^
4 |         relu
  |         ^^^^ both"""
    )


def test_a_span_that_ends_with_its_line_end_stays_on_the_line() -> None:
    source = Source("a.dl", "ab\r\ncd\n")
    assert render([error("E0301", "no", source.span(0, 4))]).splitlines()[-1] == "  | ^^"
    assert render([error("E0301", "no", source.span(0, 3))]).count("|") == 3


def test_labels_in_other_files_come_after_in_their_own_snippet() -> None:
    other = Source("blocks.dl", "\n\nblock Unit(x: [N]) { relu }\n")
    diagnostic = error(
        "E0202",
        "`Basic` is defined twice",
        place(RESNET, "Basic"),
        "again here",
        labels=[Label(place(other, "Unit"), "first here")],
        help="rename one",
    )
    assert (
        render([diagnostic])
        == """\
error[E0202]: `Basic` is defined twice
 --> resnet.dl:1:7
  |
1 | block Basic(x: [N, C, H, W], channels) {
  |       ^^^^^ again here
 ::: blocks.dl:3:7
  |
3 | block Unit(x: [N]) { relu }
  |       ---- first here
  |
  = help: rename one"""
    )


def test_without_a_place() -> None:
    assert render([error("E0404", "no rows", None, help="add some")]) == "error[E0404]: no rows\n  = help: add some"


def test_tabs_wide_and_odd_characters_keep_marks_aligned() -> None:
    source = Source("wide.dl", '\ta = "層\u0301層" + b\x1b[31m + c\n')
    assert (
        render([error("E0103", "odd", place(source, "b"), "here"), error("E0103", "wide", place(source, "層", 1))])
        == """\
error[E0103]: odd
 --> wide.dl:1:14
  |
1 |     a = "層\u0301層" + b�[31m + c
  |                  ^ here

error[E0103]: wide
 --> wide.dl:1:9
  |
1 |     a = "層\u0301層" + b�[31m + c
  |            ^^

2 errors"""
    )


def test_a_long_line_is_cut_around_its_mark() -> None:
    source = Source("long.dl", "start + " + "x + " * 100 + "middle" + " + y" * 100)
    middle = source.text.index("middle")
    header, *_, line, marks = render([error("E0301", "no", source.span(middle, middle + 6), "here")]).splitlines()
    assert header == "error[E0301]: no"
    assert line.startswith("1 | …")
    assert line.endswith("…")
    assert len(line) <= 120
    assert line.index("middle") == marks.index("^^^^^^")
    at_end = render([error("E0301", "no", source.span(len(source.text), len(source.text)))]).splitlines()
    assert at_end[-2].endswith("+ y")
    assert at_end[-1].index("^") == len(at_end[-2])
    whole = render([error("E0301", "no", source.span(0, len(source.text)), "here")]).splitlines()
    assert whole[-2].startswith("1 | start")
    assert whole[-1].index(" here") == len(whole[-2])


def test_marks_beyond_the_cut_stay_in_the_line() -> None:
    source = Source("long.dl", "first + " + "x + " * 100 + "last")
    far = Label(place(source, "last"), "far")
    line, first, last = render([error("E0301", "no", source.span(0, 5), "near", labels=[far])]).splitlines()[-3:]
    assert first == "  | ^^^^^ near"
    assert last.index("-") == line.index("…")


def test_an_empty_span_and_an_empty_line_are_pointed_at() -> None:
    source = Source("a.dl", "x\n\n")
    assert render([error("E0101", "end", source.span(2, 2), "here")]).splitlines()[-1] == "  | ^ here"
    assert render([error("E0101", "end", source.span(3, 3), "here")]).splitlines()[-2:] == ["3 |", "  | ^ here"]


def test_errors_and_warnings_are_counted() -> None:
    one, two = (error("E0301", "no", RESNET.span(at, at + 1)) for at in (0, 1))
    odd = warning("E0301", "hm", RESNET.span(2, 3))
    assert "error" not in render([odd])
    assert render([one]).count("error") == 1
    assert render([one, odd]).endswith("\n\n1 error, 1 warning")
    assert render([one, two, odd, odd]).endswith("\n\n2 errors, 2 warnings")
    assert render([]) == ""


def test_colour_changes_nothing_but_colour() -> None:
    diagnostics = [
        error("E0301", "no", place(RESNET, "main"), "a", labels=[Label(place(RESNET, "x"), "b")], help="c"),
        warning("E0301", "hm", place(RESNET, "skip"), notes="d"),
    ]
    coloured = render(diagnostics, colour=True)
    assert "\x1b[1;31merror[E0301]\x1b[0m" in coloured
    assert "\x1b[1;31m^^^^ a\x1b[0m" in coloured
    assert "\x1b[1;33m^^^^\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(diagnostics)


def test_what_is_quoted_from_elsewhere_is_shown_and_not_obeyed() -> None:
    odd = "\x1b[2J\u202e\x9b\r\n"
    text = render([error("E0905", f"cannot read {odd}", None, notes=f"{odd}two", help="é 日本 \t")])
    assert text == (
        "error[E0905]: cannot read \\u001b[2J\\u202e\\u009b\\u000d\\n\n"
        "  = note: \\u001b[2J\\u202e\\u009b\\u000d\n"
        "          two\n"
        "  = help: é 日本"
    )


def test_a_message_stays_short_whatever_it_quotes() -> None:
    text = render([error("E0905", f"cannot read {'a' * 10**6}", None, notes="b" * 10**6)])
    assert len(text) < 5_000
    assert "aaa … aaa" in text


def test_json_means_the_same_when_it_is_harmless() -> None:
    odd = '\x7f\x9b\u202e\\ " \n'
    shown = harmless(json.dumps(odd, ensure_ascii=False))
    assert json.loads(shown) == odd
    assert shown.isascii()
