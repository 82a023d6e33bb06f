"""Instructions counted and compared. Nothing is counted here, as that takes minutes."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks import counted, instructions


@pytest.mark.parametrize("case", ["check digits", "compile digits", "export mnist_conv", "step xor"])
def test_cases_work(case):
    make, rounds = counted.CASES[case]
    make()()
    assert rounds > 0


def test_with_perf(monkeypatch):
    said = {"0": "100,,instructions:u,1,100.00,,\n", "4": "noise\n900,,instructions:u,1,100.00,,\n"}
    monkeypatch.setattr(instructions, "_run", lambda command: said[command[-1]])
    assert instructions.with_perf("step xor", 4) == 200
    monkeypatch.setattr(instructions, "_run", lambda command: "<not supported>,,instructions:u")
    with pytest.raises(instructions.CannotCount, match="does not count"):
        instructions.with_perf("step xor", 4)


def test_with_valgrind(monkeypatch):
    monkeypatch.setattr(instructions, "_run", lambda command: "==7== Collected : 900\n")
    assert instructions.with_valgrind("step xor", 3) == 300
    monkeypatch.setattr(instructions, "_run", lambda command: "")
    with pytest.raises(instructions.CannotCount, match="does not tell"):
        instructions.with_valgrind("step xor", 3)


@pytest.fixture
def counts(monkeypatch):
    found = {"step xor": 1_500_000, "check digits": 300_000_000}
    monkeypatch.setattr(instructions, "counter", lambda: ("perf", lambda case, rounds: found[case]))
    return found


def test_counts_are_written_and_compared(counts, tmp_path):
    before = tmp_path / "before.csv"
    done = CliRunner().invoke(instructions.main, ["step xor", "check digits", "--csv", str(before)])
    assert done.exit_code == 0
    assert instructions.read_counts(before) == {"step xor": (1_500_000, "perf"), "check digits": (300_000_000, "perf")}
    counts["step xor"] = 3_000_000
    done = CliRunner().invoke(instructions.main, ["step xor", "check digits", "--compare", str(before)])
    assert "2.0000" in done.output
    assert "1.0000" in done.output


def test_what_another_tool_counted_is_not_compared():
    assert instructions.line("step xor", 100, {"step xor": (100, "valgrind")}, "perf")[2:] == ("", "")
    assert instructions.line("step xor", "failed: no memory", {}, "perf") == ("step xor", "failed: no memory")


def test_no_commit_of_that_name(counts):
    done = CliRunner().invoke(instructions.main, ["step xor", "--compare", "no-such-commit"])
    assert done.output == "skipped: no-such-commit is no file and no commit\n"


def test_without_a_tool_it_is_skipped_and_says_so(monkeypatch):
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None)
    done = CliRunner().invoke(instructions.main, ["step xor"])
    assert done.exit_code == 0
    assert done.output == "skipped: neither perf with counters nor valgrind is here\n"
