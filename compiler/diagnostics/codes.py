"""The catalogue of diagnostic codes: one Markdown file each, in `explanations`, shipped with the package.

A file begins with `# E0301: title`. Codes about source text carry a block fenced as ```dl wrong and one fenced as
```dl right; codes about data, files or devices may show ```console blocks instead.
"""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "explanations"


@cache
def all_codes() -> tuple[str, ...]:
    """Every code there is, in order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("[EW][0-9][0-9][0-9][0-9].md")))


def explain(code: str) -> str:
    """The long story of a code, as Markdown. Raises KeyError for a code that does not exist."""
    if code not in all_codes():
        raise KeyError(code)
    return (_FOLDER / f"{code}.md").read_text(encoding="utf-8")


def title(code: str) -> str:
    """What the code stands for in a few words. Raises KeyError for a code that does not exist."""
    heading = explain(code).splitlines()[0]
    return heading.removeprefix(f"# {code}: ")
