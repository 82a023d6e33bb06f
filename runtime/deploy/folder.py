"""Folders that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from compiler.diagnostics import DiagnosticError, error
from compiler.foreign import Parts
from runtime.disk.files import reason, write_bytes


def publish(folder: Path, files: Mapping[str, Parts], mark: str, replace: bool) -> None:
    """Makes ``folder`` with ``files``, by their paths in it: they are written beside it, and it takes its place when
    all are there. One that is there already is replaced if ``replace`` says so and it has the file ``mark``, by which
    it is known to be an earlier one.

    Raises DiagnosticError: E0940 for a folder that is there, E0801 where it can't be written.
    """
    folder = folder.absolute()
    _check_free(folder, mark, replace)
    made = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old.tmp")
    try:
        try:
            for name, content in files.items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                write_bytes(made / name, *content)
            if folder.exists():
                os.replace(folder, old)
            os.replace(made, folder)
        except BaseException:
            if old.exists() and not folder.exists():
                os.replace(old, folder)
            raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
    except OSError as failure:
        title, advice = f"cannot write {folder}: {reason(failure)}", "name a folder that you may write to"
        raise DiagnosticError([error("E0801", title, None, help=advice)]) from failure


def _check_free(folder: Path, mark: str, replace: bool) -> None:
    if not (folder.exists() or folder.is_symlink()):
        return
    if folder.is_dir() and not folder.is_symlink():
        if not any(folder.iterdir()) or (replace and (folder / mark).is_file()):
            return
        what = "there already" if (folder / mark).is_file() else f"there and not of dlc deploy: it has no {mark}"
    else:
        what = "there and no folder"
    help = "add --replace, or choose another one" if what == "there already" else "choose another one, or remove it"
    raise DiagnosticError([error("E0940", f"{folder} is {what}", None, help=help)])
