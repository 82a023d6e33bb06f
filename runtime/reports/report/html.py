"""Pieces of HTML that several parts of the report are made of."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from html import escape

_TOKEN = re.compile(
    r"(?P<comment>#[^\n]*)"
    r'|(?P<string>"(?:[^"\\\n]|\\.)*")'
    r"|(?P<keyword>\b(?:import|as|const|model|block|train|layer|residual|repeat|if|else|minimize|over|with|measure|data"
    r"|validate|test|batch|epochs|steps|stop|patience|clip|seed|freeze|and|or|not|true|false)\b)"
    r"|(?P<number>(?<![\w.])\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?%?)"
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
    end = 0
    for token in _TOKEN.finditer(text):
        yield escape(text[end : token.start()])
        yield f'<span class="{token.lastgroup}">{escape(token[0])}</span>'
        end = token.end()
    yield escape(text[end:])
