"""Exporting in a process of its own, which tells of each file how it went."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from benchmarks.examples import EXAMPLES

Export: TypeAlias = Callable[[str, Path, str, bool], None]


def tell_each(folder: Path, exporter: str, examples: Sequence[str], export: Export) -> None:
    """Have ``export`` write each example to ``folder`` and print a line of JSON for it: with ``absent`` where the
    framework is not installed, ``failed`` where there is no file. Where it can't leave all sizes free that are to be,
    it is asked again with only that of the rows free: ``fixed``. What else is printed goes to the standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for example in examples or EXAMPLES:
        path = folder / f"{example}.{exporter}.onnx"
        answer: dict[str, str | bool] = {"example": example}
        try:
            try:
                export(example, path, exporter, True)
            except ImportError:
                raise
            except Exception:  # whatever an exporter stumbles over is its result
                if not any(item.free for item in EXAMPLES[example]):
                    raise
                export(example, path, exporter, False)
                answer["fixed"] = True
        except ImportError as absence:
            answer["absent"] = str(absence)
        except Exception as failure:
            lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
            answer["failed"] = f"{type(failure).__name__}: {lines[0] if lines else ''}"
        print(json.dumps(answer), file=answers, flush=True)
