"""``dlc train``: from a model file to a run folder with a certified ONNX file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import remark, report, show_progress, table, tell, width_of

if TYPE_CHECKING:
    from runtime.data.split import Splits
    from runtime.inference.session import Device
    from runtime.inference.ship import Shipping
    from runtime.inspect.profile import Profile
    from runtime.programs.project import Project
    from runtime.training.folder import RunFolder
    from runtime.training.job import Changes, Job, Results
    from runtime.training.loop import Trainer
    from runtime.training.record import Recording


@click.command(short_help="Train, export to ONNX, and prove the export.")
@options.FILE
@click.argument("name", required=False)
@options.SET
@options.DATA
@options.SKIP_BAD
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Passes over the data.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Steps in all, in place of epochs.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Samples in a batch.")
@click.option("--accumulate", type=click.IntRange(1), metavar="N", help="Batches in a step, one update for all.")
@click.option("--seed", type=click.IntRange(0, 2**62 - 1), metavar="N", help="Where all random numbers come from.")
@click.option(
    "--time", "seconds", metavar="TIME", callback=options.duration,
    help="Train for 90s, 10m or 1.5h at most; --resume goes on from there.",
)  # fmt: skip
@click.option(
    "--memory", metavar="SIZE", callback=options.amount,
    help="Fit into 2GB or 500MB: large batches go through in smaller ones, if the numbers stay the same.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The run folder. Default: runs/NAME.")
@click.option("--resume", is_flag=True, help="Go on with the last run, bit for bit as if it had not stopped.")
@click.option("--overwrite", is_flag=True, help="Replace the run that --out holds.")
@options.DEVICE
@options.opset_options
@click.option("--no-export", is_flag=True, help="Write no ONNX file.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's event files to the run folder too.")
@click.option("--statistics", is_flag=True, help="Look at layers, gradients and updates whenever figures are taken.")
@click.option("--profile", is_flag=True, help="Show in the end where time and memory went, by lines of the source.")
@click.option("--no-report", is_flag=True, help="Write no report.html.")
@options.CHECK_PASSES
@click.pass_obj
def train(
    arguments: Sequence[str],
    file: Path,
    name: str | None,
    constants: dict[str, str],
    data: Path | None,
    skip_bad: bool,
    epochs: int | None,
    steps: int | None,
    batch: int | None,
    accumulate: int | None,
    seed: int | None,
    seconds: float | None,
    memory: int | None,
    out: Path | None,
    resume: bool,
    overwrite: bool,
    device: Device,
    opset: int,
    no_export: bool,
    tensorboard: bool,
    statistics: bool,
    profile: bool,
    no_report: bool,
) -> None:
    """Train the block NAME of a model file (its only one, if it has one) with NumPy.

    The run folder, runs/NAME or runs/NAME-2 and so on, gets weights.safetensors, history.csv, the model file as it was
    trained, a checkpoint after every epoch, each model as an ONNX file, certified: run in ONNX Runtime and compared
    with the NumPy program, and report.html with curves, predictions and the architecture. Ctrl-C stops between two
    steps; --resume goes on from there.

    \b
    Examples:
      dlc train examples/digits.dl
      dlc train examples/digits.dl --epochs 5 --set classes=10
      dlc train examples/digits.dl --time 10m
      dlc train examples/digits.dl --resume
      dlc train gan.dl gan --data faces.npz --out runs/faces
    """
    from runtime.inference.ship import Shipping, rehearse
    from runtime.programs.project import open_project
    from runtime.training.folder import open_run
    from runtime.training.job import Changes

    if resume and overwrite:
        raise click.UsageError("--resume goes on with a run, --overwrite replaces it: give one of them")
    if epochs is not None and steps is not None:
        raise click.UsageError("--epochs and --steps both say when training ends: give one of them")
    project = open_project(file, constants)
    if project.checked.warnings:
        report(project.checked.warnings)
    counts = {"epochs": epochs, "steps": steps, "batch": batch, "accumulate": accumulate, "seed": seed}
    job, splits = _made(project, name, Changes(data, skip_bad=skip_bad, **counts), memory)
    if splits.warnings:
        report(splits.warnings)
    if not no_export:
        for model in job.program.models:
            rehearse(project.model(model), device, opset)
    wanted = _Wanted(None if no_export else Shipping(device, opset), not no_report, tensorboard, statistics, profile)
    again = shlex.join(["dlc", *(word for word in arguments if word not in ("--resume", "--overwrite"))])
    with (
        open_run(job.program.name, out=out, resume=resume, overwrite=overwrite) as run,
        _advised(run, f"{again} --resume"),
    ):
        _train(job, splits, run, wanted, resume=resume, seconds=seconds)
    tell(f"all files are in {run.path}")


@contextmanager
def _advised(run: RunFolder, again: str) -> Iterator[None]:
    """Where Ctrl-C or a lack of memory ends the training inside, what to do is said too: ``again`` is the command that
    goes on with the run."""
    try:
        yield
    except KeyboardInterrupt as stop:
        further = f"; go on with: {again}" if run.checkpoint.exists() else ""
        raise KeyboardInterrupt(f"{str(stop) or 'stopped'}{further}") from None
    except MemoryError as failure:
        advice = "smaller batches take less: --memory 2GB finds such as fit"
        raise MemoryError(f"{str(failure) or 'the system gives no more'}; {advice}") from failure


def _made(project: Project, name: str | None, changes: Changes, memory: int | None) -> tuple[Job, Splits]:
    """The job and its data, made to fit into so much memory."""
    from runtime.amounts import bytes_text
    from runtime.training.fitting import fitted
    from runtime.training.job import make_job

    if memory is None:
        job = make_job(project, name, changes)
        return job, job.prepare()
    job, splits, plan = fitted(project, name, changes, memory)
    settings, asked = job.program.settings, changes.batch or project.train(name).settings.batch
    smaller = f", in batches of {settings.batch}, {settings.accumulate} in a step" if settings.batch < asked else ""
    remark(f"training takes about {bytes_text(plan.total)} of {bytes_text(memory)}{smaller}")
    return job, splits


@dataclass(frozen=True)
class _Wanted:
    """What a run is to leave beside the weights: an export, a report, event files, statistics of layers, a profile."""

    export: Shipping | None
    report: bool
    events: bool
    statistics: bool
    profile: bool


def _train(job: Job, splits: Splits, run: RunFolder, wanted: _Wanted, *, resume: bool, seconds: float | None) -> None:
    from runtime.inspect.profile import Profiler, make_profile, profiled
    from runtime.inspect.watching import observe
    from runtime.reports.report.write import write_report
    from runtime.reports.tensorboard import Events
    from runtime.training.job import results

    profiler = Profiler()
    job = profiled(job, profiler) if wanted.profile else job
    shown = Events(run.events, show_progress()) if wanted.events else show_progress()
    with job.recording(run, splits, shown, resume=resume) as recording:
        trainer = job.trainer(splits, run=run, resume=resume, progress=recording, seconds=seconds)
        tell(_opening(job.program.name, splits, run.path))
        for note in splits.notes:
            tell(f"note: {note}")
        if wanted.statistics:
            observe(job, trainer, run)
        profiler.start()
        trainer.fit()
        profiler.stop()
        found = results(trainer)
        recording.note_results(found.metrics)
        _tell_results(found)
        if wanted.export:
            _ship(job, trainer, run, wanted.export, recording)
    if wanted.profile:
        _tell_profile(make_profile(job, profiler, splits.train))
    if wanted.report:
        write_report(run.path, job, trainer.weights, splits, trainer.history, recording.record)


def _opening(name: str, splits: Splits, folder: Path) -> str:
    count = len(splits.train)
    sizes = [f"{count:,} sample{'s' * (count != 1)} to train on"]
    apart = (("validate", splits.validation, splits.validation_share), ("test", splits.test, splits.test_share))
    for use, part, share in apart:
        if part is not None:
            sizes.append(f"{len(part):,} to {use} ({share or f'of {part.source}'})")
    return f"{name}: {', '.join(sizes)}; run folder {folder}"


def _tell_results(found: Results) -> None:
    from dlc.tables import table_lines
    from runtime.training.progress import figures_line

    parts = [(title, part) for title, part in (("validation", found.validation), ("test", found.test)) if part.figures]
    for title, part in parts:
        tell(f"{title:<10}  {figures_line(part.figures)}")
    for title, part in parts[-1:]:
        for line in table_lines({f"{title} {name}": found for name, found in part.tables.items()}):
            tell(line)


def _ship(job: Job, trainer: Trainer, run: RunFolder, how: Shipping, recording: Recording) -> None:
    from runtime.inference.ship import ship

    splits, metrics = trainer.splits, recording.record.results
    data = splits.test or splits.validation or splits.train
    how = replace(how, metrics=metrics, data=data, names=splits.train.names)
    for name in job.program.models:
        path = run.model if len(job.program.models) == 1 else run.path / f"{name}.onnx"
        certificate = ship(job.project, job.project.model(name), trainer.weights, path, how)
        recording.note_export(path, certificate.summary())
        tell(f"{path}  {certificate.summary()}")
    if not job.program.models:
        remark("no model is trained here, so there is nothing to export")


def _tell_profile(profile: Profile) -> None:
    from runtime.amounts import bytes_text
    from runtime.inspect.profile import PARTS

    def row(title: str, text: str, seconds: Mapping[str, float], total: float, memory: str) -> tuple[str, ...]:
        parts = (f"{seconds[part]:.3f}" if part in seconds else "" for part in PARTS)
        return (title, text, *parts, f"{total:.3f}", f"{100 * total / (profile.total or 1.0):.1f}%", memory)

    rows = []
    for line in profile.lines:
        title = f"{Path(line.name).name}:{line.line}" if line.line else ""
        rows.append(row(title, line.text, line.seconds, line.total, bytes_text(line.bytes) if line.bytes else ""))
    rows.append(row("", "between the steps: batches, figures, checkpoints", {}, profile.outside, ""))
    sums = {part: sum(line.seconds.get(part, 0.0) for line in profile.lines) for part in PARTS}
    head = ("line", "source", *PARTS, "seconds", "share", "results")
    total = row("total", "", sums, profile.total, "")
    tell()
    tell("\n".join(table(head, rows, total=total, numbers=range(2, 9), yields=1, width=width_of(sys.stdout) or 150)))
    tell("(seconds of the whole training on one thread; results are the bytes that one step makes there)\n")
