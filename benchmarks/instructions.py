"""Instructions counted: a guard against getting slower, which is the same whatever else the machine does.

``python -m benchmarks.instructions --csv now.csv`` counts with ``perf stat``, or where the machine has no counters
with valgrind, which takes minutes. ``--compare`` takes an earlier file, or a commit, which is counted the same way.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from benchmarks.counted import CASES
from benchmarks.race import ROOT
from benchmarks.tables import show, write_csv

COLUMNS = ("case", "instructions", "counted_by")
# One thread and one order of sets and dicts, so that counts are the same each time.
_STEADY = {"PYTHONHASHSEED": "0", "DLC_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
Counter = Callable[[str, int], int]


class CannotCount(Exception):
    """Why there is no count."""


def _run(command: Sequence[str]) -> str:
    """What a command says on its standard error. Raises CannotCount where it fails."""
    environment = {**os.environ, **_STEADY, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=ROOT)
    if done.returncode:
        raise CannotCount((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    return done.stderr


def _case(case: str, rounds: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.counted", case, str(rounds)]


def with_perf(case: str, rounds: int) -> int:
    """Instructions of one round, by ``perf stat``: those of a run less those of a run that only makes ready."""

    def counted(times: int) -> int:
        said = _run(["perf", "stat", "-x", ",", "-e", "instructions:u", "--", *_case(case, times)])
        found = re.search(r"^(\d+),", said, re.MULTILINE)
        if found is None:
            raise CannotCount("this machine does not count instructions")
        return int(found[1])

    return (counted(rounds) - counted(0)) // rounds


def with_valgrind(case: str, rounds: int) -> int:
    """Instructions of one round, by valgrind's callgrind, which begins anew where the case is ready."""
    options = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--zero-before=getpgid*"]
    found = re.search(r"Collected : (\d+)", _run(["valgrind", *options, *_case(case, rounds)]))
    if found is None:
        raise CannotCount("valgrind does not tell what it collected")
    return int(found[1]) // rounds


def counter() -> tuple[str, Counter]:
    """The name of what counts here, and how. Raises CannotCount where there is neither perf nor valgrind."""
    if shutil.which("perf"):
        command = ["perf", "stat", "-x", ",", "-e", "instructions:u", "--", "true"]
        probe = subprocess.run(command, capture_output=True, text=True, check=False)
        if re.search(r"^\d+,", probe.stderr, re.MULTILINE):
            return "perf", with_perf
    if shutil.which("valgrind"):
        return "valgrind", with_valgrind
    raise CannotCount("neither perf with counters nor valgrind is here")


def read_counts(path: Path) -> dict[str, tuple[int, str]]:
    """Counts and what counted them, by case, of a file that ``--csv`` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["case"]: (int(row["instructions"]), row["counted_by"]) for row in csv.DictReader(file)}


def counts_of_commit(commit: str, cases: Sequence[str]) -> dict[str, tuple[int, str]]:
    """The counts of another commit, in a work tree of its own. Raises CannotCount where it can't be counted."""
    with tempfile.TemporaryDirectory() as folder:
        tree, written = Path(folder) / "tree", Path(folder) / "counts.csv"
        git = ["git", "-C", str(ROOT), "worktree"]
        added = subprocess.run(
            [*git, "add", "--detach", str(tree), commit], capture_output=True, text=True, check=False
        )
        if added.returncode:
            raise CannotCount(f"{commit} is no file and no commit")
        try:
            command = [sys.executable, "-m", "benchmarks.instructions", *cases, "--csv", str(written)]
            environment = {**os.environ, "PYTHONPATH": str(tree)}
            subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.DEVNULL, check=False)
            if not written.exists():
                raise CannotCount(f"{commit} has no benchmark of instructions")
            return read_counts(written)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], capture_output=True, check=False)


@click.command()
@click.argument("cases", nargs=-1, metavar="[CASE]...")
@click.option("--compare", metavar="COMMIT|FILE", help="Counts to compare with: a file of --csv, or a commit.")
@click.option("--csv", "path", type=click.Path(path_type=Path), help="Where the counts are written.")
def main(cases: tuple[str, ...], compare: str | None, path: Path | None) -> None:
    """Count the instructions of CASEs (default: all), on one thread: checks, compilations, exports, training steps."""
    if unknown := [case for case in cases if case not in CASES]:
        raise click.UsageError(f"there is no case {unknown[0]}: there are {', '.join(CASES)}")
    chosen = cases or tuple(CASES)
    try:
        name, count = counter()
        before = {}
        if compare is not None:
            before = read_counts(Path(compare)) if Path(compare).is_file() else counts_of_commit(compare, chosen)
    except CannotCount as reason:
        click.echo(f"skipped: {reason}")
        return
    found: dict[str, int | str] = {}
    for case in chosen:
        click.echo(f"{case} …", err=True)
        try:
            found[case] = count(case, CASES[case][1])
        except CannotCount as reason:
            found[case] = f"failed: {reason}"
    head = ("case", f"million instructions ({name})", *(["before", "ratio"] if before else []))
    show("instructions counted", head, [[line(case, number, before, name) for case, number in found.items()]], words=1)
    if path:
        write_csv(path, COLUMNS, [(case, number, name) for case, number in found.items() if isinstance(number, int)])


def line(case: str, number: int | str, before: Mapping[str, tuple[int, str]], name: str) -> tuple[str, ...]:
    """A line of the table; what another tool has counted is not compared."""
    if isinstance(number, str):
        return (case, number, *[""] * (2 * bool(before)))
    shown = (case, f"{number / 1e6:,.2f}")
    if not before:
        return shown
    earlier, by = before.get(case, (0, ""))
    return (*shown, f"{earlier / 1e6:,.2f}", f"{number / earlier:.4f}") if earlier and by == name else (*shown, "", "")


if __name__ == "__main__":
    main()
