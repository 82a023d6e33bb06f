"""The command line as a process: exit codes, what is imported, pipes that close, Ctrl-C, faults of dlc itself."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from compiler.version import VERSION
from dlc.__main__ import main
from dlc.cli import cli

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
HEAVY = ("onnx", "onnxruntime", "torch", "rich", "safetensors", "google.protobuf", "threadpoolctl")


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dlc", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT, **options)


def test_version_and_help(dlc: Callable[..., Any]) -> None:
    assert dlc("--version").out == f"dlc {VERSION}\n"
    assert dlc("--help").out.startswith("Usage: dlc [OPTIONS] COMMAND [ARGS]...")
    assert dlc().err.startswith("Usage: dlc ")


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_help_with_examples(dlc: Callable[..., Any], name: str) -> None:
    outcome = dlc(name, "--help")
    assert outcome.code == 0
    assert f"\n  Examples:\n    dlc {name} " in outcome.out
    for parameter in cli.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts} has no help"


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_examples_in_help_name_options_that_exist(name: str) -> None:
    text = "\n".join(re.findall(rf"^ *dlc {name} .*$", cli.commands[name].help or "", re.MULTILINE))
    known = {
        option for parameter in cli.commands[name].params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", text)) <= known


def imported_by(arguments: list[str], folder: Path) -> set[str]:
    """The modules that a command imports."""
    script = (
        "import json, sys\n"
        "from dlc.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as exit:\n    assert not exit.code, exit.code\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=300)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_check_imports_nothing_heavy(net: Path, tmp_path: Path) -> None:
    modules = imported_by(["check", str(net)], tmp_path)
    assert "numpy" in modules
    assert {name for name in HEAVY if name in modules} == set()
    late = ("compiler.targets.", "runtime.training.loop", "runtime.inference.session")
    assert not any(name.startswith(late) for name in modules)


def test_help_imports_almost_nothing(tmp_path: Path) -> None:
    modules = imported_by(["--help"], tmp_path)
    assert {name for name in (*HEAVY, "numpy", "lark", "compiler", "runtime") if name in modules} == set()


def test_the_package_imports_almost_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, dlc; print([m for m in ('numpy', 'click', 'compiler', 'runtime', 'lark') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.stdout == "[]\n"


def test_a_reader_that_goes_away(net: Path, tmp_path: Path) -> None:
    process = start("train", net, "--epochs", 2000, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("net: ")
    process.stdout.close()
    assert process.wait(timeout=300) == 1
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_an_output_without_room(net: Path, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dlc", "check", net],
            stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT, cwd=tmp_path, text=True, timeout=300,
        )  # fmt: skip
    told = "dlc: cannot write: No space left on device; make room there, or write elsewhere\n"
    assert (done.returncode, done.stderr) == (1, told)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_an_output_that_was_closed_before(net: Path, tmp_path: Path, closed: str) -> None:
    command = f"exec {shlex.quote(sys.executable)} -m dlc train {shlex.quote(str(net))} --epochs 2 --out run {closed}"
    done = subprocess.run(
        ["sh", "-c", command], env=ENVIRONMENT, cwd=tmp_path, timeout=300, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / "net.onnx").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C can't be sent to one process there")
def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(dlc: Callable[..., Any], net: Path, tmp_path: Path) -> None:
    process = start("train", net, "--epochs", 4000, "--set", "units=5", cwd=tmp_path)
    assert process.stdout is not None
    assert any(line.startswith("epoch    3/") for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    told = re.fullmatch(
        r"\n?dlc: stopped in epoch (\d+) after \d+ steps of it; "
        r"go on with: dlc train net\.dl --epochs 4000 --set units=5 --resume\n",
        errors,
    )
    assert told
    # It may have come far before the signal was there.
    outcome = dlc("train", net, "--epochs", int(told[1]) + 5, "--set", "units=5", "--resume")
    assert outcome.code == 0
    assert "\ngoing on in epoch " in outcome.out


def test_ctrl_c_while_the_command_line_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting:
        def __getattr__(self, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "dlc.cli", Interrupting())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_a_fault_of_dlc_is_told_in_two_lines(
    dlc: Callable[..., Any], net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr("dlc.overview.overview", fail)
    outcome = dlc("check", net)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        "dlc: internal error, a fault in dlc itself: ZeroDivisionError: division by zero\n"
        "Please report it with the file and the command. With DLC_TRACEBACK=1 set, the traceback is shown.\n"
    )
    monkeypatch.setenv("DLC_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        dlc("check", net)


def test_too_little_memory_is_no_fault_of_dlc(
    dlc: Callable[..., Any], net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr("dlc.overview.overview", fail)
    outcome = dlc("check", net)
    assert (outcome.code, outcome.err) == (1, "dlc: there is not enough memory: Unable to allocate 9 TiB\n")


def test_colour_only_on_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from dlc.terminal import wants_colour

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_colour(Terminal())
    assert not wants_colour(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())
