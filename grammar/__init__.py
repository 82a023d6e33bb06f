"""The grammars, as text: `dl` is the language of .dl files, `ir` the text form of graphs."""

from pathlib import Path

FOLDER = Path(__file__).parent


def text(name: str) -> str:
    """The text of the grammar `name.lark`."""
    return (FOLDER / f"{name}.lark").read_text(encoding="utf-8")
