"""Pieces of HTML that several parts of the report are made of."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Sequence
from html import escape
from importlib import resources

from compiler.front.highlighting import scopes

# What the page's style tells apart, by the beginning of a scope.
_CLASSES = {
    "comment": "comment", "string": "string", "keyword.operator.arrow": "", "keyword.operator.word": "keyword",
    "keyword.operator": "", "keyword": "keyword", "constant.language": "keyword", "constant.numeric": "number",
}  # fmt: skip


def document(title: str, head: Sequence[str], parts: Sequence[str]) -> str:
    """A whole HTML file with the report's style. It refers to nothing outside itself."""
    style = resources.files("runtime.reports.report").joinpath("report.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            "<header>",
            *head,
            "</header>",
            "<main>",
            *parts,
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def section(name: str, title: str, *parts: str) -> str:
    """A part of the page with a heading, which links can lead to by ``name``."""
    return "\n".join([f'<section id="{name}">', f"<h2>{escape(title)}</h2>", *parts, "</section>"])


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str,
    numbers: Collection[int] = (),
    total: Sequence[str] | None = None,
) -> str:
    """A table that scrolls sideways where the screen is narrow; the columns ``numbers`` stand to the right."""

    def cells(row: Sequence[str], tag: str) -> str:
        made = []
        for index, text in enumerate(row):
            kind = ' class="number"' if index in numbers else ""
            scope = ' scope="col"' if tag == "th" else ""
            made.append(f"<{tag}{kind}{scope}>{escape(text)}</{tag}>")
        return f"<tr>{''.join(made)}</tr>"

    lines = [f"<table><caption>{escape(caption)}</caption>", f"<thead>{cells(head, 'th')}</thead>", "<tbody>"]
    lines += [cells(row, "td") for row in rows]
    lines.append("</tbody>")
    if total is not None:
        lines.append(f"<tfoot>{cells(total, 'td')}</tfoot>")
    return scrolled("\n".join([*lines, "</table>"]), caption)


def scrolled(content: str, label: str) -> str:
    """What may be wider than the screen, reachable with the keyboard too."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">\n{content}\n</div>'


def picture(content: bytes, description: str) -> str:
    """A PNG file in the page itself."""
    data = base64.b64encode(content).decode("ascii")
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'


def highlighted(text: str) -> str:
    """The text of a model file with its comments, texts, words of the language and numbers told apart."""
    return "".join(_highlighted(text))


def _highlighted(text: str) -> Iterator[str]:
    for piece, scope in scopes(text):
        kind = next((kind for start, kind in _CLASSES.items() if scope.startswith(start)), "")
        yield f'<span class="{kind}">{escape(piece)}</span>' if kind else escape(piece)
