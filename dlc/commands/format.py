"""``dlc fmt``: one layout for all model files."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import click

from dlc.terminal import remark, report, tell

_STREAM = Path("-")


@click.command("fmt", short_help="Lay model files out in the one usual way.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where a file is laid out otherwise.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
def format_command(files: tuple[Path, ...], check: bool, diff: bool) -> None:
    """Lay model files out in the one usual way: indentation, spaces, line ends. Comments and meaning stay.

    Names the files that it changes. Where lines were broken, before `->` or inside brackets, they stay so; those longer
    than 100 columns are broken there too. A file with syntax errors is left alone. With - for FILE, what comes in at
    stdin goes out at stdout.

    \b
    Examples:
      dlc fmt digits.dl
      dlc fmt --check *.dl
      dlc fmt --diff digits.dl
    """
    from compiler.diagnostics import DiagnosticError

    write = not check and not diff
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
        if diff:
            sys.stdout.write(_difference(path, before, after))
        elif write and path == _STREAM:
            sys.stdout.write(after.decode())
        elif before != after:
            tell(str(path))
    if len(files) > 1:
        remark(f"{changed} of {len(files)} files {'changed' if write else 'would change'}")
    if faulty or (check and changed):
        sys.exit(1)


def _laid_out(path: Path) -> tuple[bytes, bytes]:
    """The content of a file, and what it should be. Raises DiagnosticError where it can't be read."""
    from compiler.front.format import format_source
    from compiler.front.parse import source_from_bytes
    from runtime.project import read_model_file

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
    from runtime.output import save_output

    target = path.resolve()
    mode = target.stat().st_mode
    save_output(target, content)
    target.chmod(mode)
