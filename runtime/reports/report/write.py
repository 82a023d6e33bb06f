"""Making the report of a run: at its end from what is at hand, or later from what is in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from compiler.diagnostics import DiagnosticError, error
from runtime.data.split import Splits
from runtime.disk.output import save_output
from runtime.disk.tensors import Array
from runtime.inspect.watching import read_looks
from runtime.programs.project import open_project
from runtime.reports.report.content import Content, Rate
from runtime.reports.report.page import page
from runtime.training.checkpoint import load_weights
from runtime.training.folder import HISTORY, PICTURES, RECORD, REPORT, SOURCE, STATISTICS, WEIGHTS, imported_texts
from runtime.training.history import History, read_history
from runtime.training.job import Job, make_job
from runtime.training.judge import Judgement, judge
from runtime.training.record import Record, load_record

_SETS = {"test": "test samples", "validate": "validation samples", "train": "training samples"}


def write_report(
    folder: Path, job: Job, weights: Mapping[str, Array], splits: Splits, history: History, record: Record
) -> Path:
    """Writes the report of a run into its folder and gives its path. Raises DiagnosticError E0801."""
    judgement, judged = _judge(job, weights, splits)
    return _write(folder, job, history, record, judgement, judged)


def rewrite_report(folder: Path, block: str | None = None) -> Path:
    """Makes the report of the run in ``folder`` anew, whether it has ended or not, and gives its path.

    The train block is the one that the run's record names, or ``block``, or the only one. Where the data is not to be
    had any more the report does without what is made of it, and says so. Raises DiagnosticError: E0804 where the folder
    holds no run, what is wrong with the model file in it, E0801 where the report can't be written.
    """
    source = folder / SOURCE
    if not source.exists():
        advice = "name a run folder, such as runs/digits: it holds source.dl, weights.safetensors and history.csv"
        raise DiagnosticError([error("E0804", f"{folder} holds no training run", None, help=advice)])
    project = open_project(source)
    record = load_record(folder / RECORD)
    job = make_job(project, block or (record.block if record else None))
    history = read_history(folder / HISTORY)
    try:
        weights = load_weights(folder / WEIGHTS, job.program)
        judgement, judged = _judge(job, weights, job.prepare())
    except DiagnosticError as problem:
        judgement, judged = None, f"Nothing was predicted for this page: {problem.diagnostics[0].title}."
    return _write(folder, job, history, record or Record(job.program.name), judgement, judged)


def _judge(job: Job, weights: Mapping[str, Array], splits: Splits) -> tuple[Judgement | None, str]:
    """The judgement of the samples that say most, and which these are, or why there is none."""
    for name, data in (("test", splits.test), ("validate", splits.validation), ("train", splits.train)):
        if data is not None:
            judgement = judge(job.project, job.program.name, weights, data)
            if judgement is None:
                return None, "The loss compares no prediction with a target for each sample, so there is none to show."
            first = f"the first {judgement.samples:,} of " if judgement.samples < len(data) else ""
            return judgement, f"{first}{len(data):,} {_SETS[name]}"
    raise AssertionError("there always are training samples")


def _write(folder: Path, job: Job, history: History, record: Record, judgement: Judgement | None, judged: str) -> Path:
    names = [WEIGHTS, *sorted(path.name for path in folder.glob("*.onnx"))]
    files = {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}
    sources = {SOURCE: (folder / SOURCE).read_text(encoding="utf-8"), **imported_texts(folder)}
    rates, pictures = _rates(job, history), list(_pictures(folder))
    looks = read_looks(folder / STATISTICS)
    content = Content(folder, job, sources, record, history, rates, judgement, judged, files, pictures, looks)
    path = folder / REPORT
    save_output(path, page(content).encode())
    return path


def _pictures(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    """The last picture of each name."""
    last: dict[str, tuple[int, Path]] = {}
    for path in (folder / PICTURES).glob("*-*.png"):
        name, _, epoch = path.stem.rpartition("-")
        if epoch.isdecimal():
            last[name] = max(last.get(name, (0, path)), (int(epoch), path))
    for name, (number, path) in sorted(last.items()):
        yield name, number, path.read_bytes()


def _rates(job: Job, history: History) -> list[Rate]:
    """The learning rates that stay as they are; those that have a schedule are in the history."""
    losses = job.project.checked.elaborated.trains[job.program.name].losses
    found = []
    for number, loss in enumerate(losses, 1):
        if isinstance(loss.rule.lr, float):
            name = loss.rule.name if len(losses) == 1 else f"{loss.rule.name} {number}"
            found.append(Rate(name, [loss.rule.lr] * len(history)))
    return found
