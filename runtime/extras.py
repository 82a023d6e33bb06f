"""Libraries that only some uses of dlc need: imported when they are, and named with their remedy where they are not
installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compiler.diagnostics import DiagnosticError, error


@contextmanager
def needs(module: str, extra: str, what: str) -> Iterator[None]:
    """Inside, ``module`` is imported, which ``what`` needs and which ``dlc[extra]`` brings along.

    Raises DiagnosticError E0810 where it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as failure:
        if failure.name is None or failure.name.partition(".")[0] != module:
            raise
        title = f"{what} needs {module}, which is not installed"
        raise DiagnosticError([error("E0810", title, None, help=f"pip install 'dlc[{extra}]'")]) from failure
