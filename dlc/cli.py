"""The command line: ``dlc COMMAND``. Commands import what they need when they run, so that each starts fast."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from dlc.commands.bench import bench
from dlc.commands.check import check
from dlc.commands.compile import compile_command
from dlc.commands.data import data_command
from dlc.commands.deploy import deploy
from dlc.commands.diff import diff
from dlc.commands.dump import dump
from dlc.commands.evaluate import evaluate
from dlc.commands.explain import explain
from dlc.commands.format import format_command
from dlc.commands.gradcheck import gradcheck
from dlc.commands.import_ import import_command
from dlc.commands.inspect import inspect_command
from dlc.commands.new import new
from dlc.commands.overfit import overfit
from dlc.commands.plot import plot
from dlc.commands.report import report_command
from dlc.commands.run import run
from dlc.commands.runs import runs_command
from dlc.commands.search import search
from dlc.commands.serve import serve
from dlc.commands.show import show
from dlc.commands.train import train
from dlc.terminal import remark, report

# What a shell reports for a program that Ctrl-C ended.
_INTERRUPTED = 130
# What a write fails with where there is no room left.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked:
        from compiler.version import VERSION

        click.echo(f"dlc {VERSION}")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Say the version and exit."
)
def cli() -> None:
    """A deep-learning compiler: write a network down, train it with NumPy, ship it as a proven ONNX file.

    \b
    Examples:
      dlc new spirals                   a model file to begin with, and data for it
      dlc check examples/digits.dl      every shape, parameter and multiply-add
      dlc train examples/digits.dl      train it, export it, prove the export
      dlc explain E0301                 the long story of an error
    """


for command in (
    check,
    data_command,
    train,
    evaluate,
    compile_command,
    run,
    bench,
    diff,
    import_command,
    serve,
    show,
    deploy,
    report_command,
    runs_command,
    plot,
    gradcheck,
    overfit,
    inspect_command,
    search,
    dump,
    explain,
    format_command,
    new,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: 0 well, 1 something wrong with the input, 2 wrong usage, 130 after Ctrl-C."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed by who started the process: nobody is to hear anything.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        with suppress(AttributeError):
            # A terminal that can't show a character gets a question mark rather than a traceback.
            getattr(sys, name).reconfigure(errors="replace")
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(arguments: list[str]) -> int:
    try:
        status = cli.main(arguments, prog_name="dlc", standalone_mode=False, obj=arguments)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        # Click turns a KeyboardInterrupt into an Abort, which has no words of its own.
        remark(f"dlc: {_words(stop.__cause__ or stop)}")
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        _silence()
        return 1
    except MemoryError as failure:
        remark(f"dlc: there is not enough memory: {_words(failure)}")
        return 1
    except Exception as failure:
        return _failed(failure)


def _failed(failure: Exception) -> int:
    """Says what went wrong: diagnostics where it is the input, and how to report it where it is dlc."""
    from compiler.diagnostics import DiagnosticError

    if isinstance(failure, DiagnosticError):
        report(failure.diagnostics)
        return 1
    if isinstance(failure, OSError) and failure.errno in _FULL:
        _silence()
        place = f" to {failure.filename}" if failure.filename else ""
        remark(f"dlc: cannot write{place}: {failure.strerror}; make room there, or write elsewhere")
        return 1
    if os.environ.get("DLC_TRACEBACK"):
        raise failure
    remark(f"dlc: internal error, a fault in dlc itself: {type(failure).__name__}: {_words(failure)}")
    remark("Please report it with the file and the command. With DLC_TRACEBACK=1 set, the traceback is shown.")
    return 1


def _silence() -> None:
    """Python would write what is left of the output at exit, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _words(failure: BaseException) -> str:
    """What an exception says, on one line."""
    return " ".join(str(failure).split()) or "stopped"
