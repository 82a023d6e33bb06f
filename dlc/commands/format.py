"""``dlc fmt``: one layout for all model files."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from dlc.terminal import remark, report, tell

_STREAM = Path("-")


@click.command("fmt", short_help="Lay model files out in the one usual way.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; show what would change, and exit with 1 if anything would.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
def format_command(paths: tuple[Path, ...], check: bool, diff: bool) -> None:
    """Lay model files out in the one usual way: indentation, spaces, line ends. Comments and meaning stay.

    A folder stands for all .dl files in it, and - for what comes in at stdin, which goes out at stdout. Names the files
    that it changes. Where lines were broken, before `->` or inside brackets, they stay so; those longer than 100
    columns are broken there too. Line ends become line feeds. A file with syntax errors is left alone.

    \b
    Examples:
      dlc fmt digits.dl
      dlc fmt --check .
      dlc fmt --diff digits.dl
    """
    from compiler.diagnostics import DiagnosticError

    write = not check and not diff
    files = _model_files(paths)
    changed = faulty = 0
    for path in files:
        try:
            before, after = _laid_out(path)
            if write and path != _STREAM and before != after:
                _replace(path, after)
        except DiagnosticError as wrong:
            report(wrong.diagnostics)
            faulty += 1
            continue
        changed += before != after
        if not write:
            sys.stdout.write(_difference(path, before, after))
        elif path == _STREAM:
            sys.stdout.write(after.decode())
        elif before != after:
            tell(str(path))
    if len(files) > 1:
        unread = f"; {faulty} with errors left alone" if faulty else ""
        remark(f"{changed} of {len(files)} files {'changed' if write else 'would change'}{unread}")
    if faulty or (check and changed):
        sys.exit(1)


def _model_files(paths: Sequence[Path]) -> list[Path]:
    """The files that are meant, each once; hidden folders, and runs with their copies of model files, are not."""
    found: dict[Path, None] = {}
    for path in paths:
        inside = sorted(path.rglob("*.dl")) if path.is_dir() else [path]
        for file in inside:
            folders = file.relative_to(path).parts[:-1]
            if not any(part.startswith(".") or part == "runs" for part in folders):
                found[file] = None
    return list(found)


def _laid_out(path: Path) -> tuple[bytes, bytes]:
    """The content of a file, and what it should be. Raises DiagnosticError where it can't be read."""
    from compiler.front.format import format_source
    from compiler.front.parse import source_from_bytes
    from runtime.programs.project import read_model_file

    content = sys.stdin.buffer.read() if path == _STREAM else read_model_file(path)
    source = source_from_bytes("<stdin>" if path == _STREAM else str(path), content)
    return content, format_source(source).encode()


def _difference(path: Path, before: bytes, after: bytes) -> str:
    """A unified diff, which ends with a newline unless it is empty."""
    old, new = (content.decode().splitlines(keepends=True) for content in (before, after))
    lines = difflib.unified_diff(old, new, f"{path}", f"{path} (dlc fmt)")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _replace(path: Path, content: bytes) -> None:
    """Writes the file anew, where a link points to, with the permissions that it had. Raises DiagnosticError E0801."""
    from runtime.disk.output import save_output

    target = path.resolve()
    mode = target.stat().st_mode
    save_output(target, content)
    target.chmod(mode)
