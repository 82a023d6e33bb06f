"""What installed packages and all that they need take on the disk: ``python -m benchmarks.footprint NAME…``.

Prints a line of JSON, the number of packages and of bytes. Only the standard library is imported, as any interpreter
may be asked.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path


def footprint(names: Sequence[str]) -> tuple[int, int]:
    """The number of packages, and their bytes. What is named but not installed counts nothing."""
    known = {_plain(found.metadata["Name"]): found for found in distributions()}
    needed: dict[str, Distribution] = {}
    open_names = [_plain(name) for name in names]
    while open_names:
        name = open_names.pop()
        if name in known and name not in needed:
            needed[name] = known[name]
            open_names += [
                _plain(text) for text in known[name].requires or [] if "extra ==" not in text.replace("'", '"')
            ]
    return len(needed), sum(map(_bytes, needed.values()))


def _plain(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0] if found else "").lower()


def _bytes(package: Distribution) -> int:
    paths = [Path(str(package.locate_file(file))) for file in package.files or []]
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    print(json.dumps(footprint(sys.argv[1:])))
