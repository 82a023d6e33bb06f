"""From a trained model to a smaller ONNX file that its train block's figures let pass."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from compiler.program import ModelProgram
from compiler.targets.onnx.metadata import CERTIFICATE, Description
from runtime.data.batches import DataSet
from runtime.disk.tensors import Array
from runtime.inference.bench import ratio, take_turns
from runtime.inference.certify import Certificate
from runtime.inference.precision.forms import F16_LARGEST, Dynamic, Form, Half, Level, Plan, Precision, Static
from runtime.inference.precision.gate import Gate, Limits, make_gate
from runtime.inference.precision.judge import Judge, judge_of
from runtime.inference.precision.probe import survives
from runtime.inference.precision.ranges import Ranges, find_ranges
from runtime.inference.precision.search import Found, find_plan
from runtime.inference.precision.variant import ROWS, Variant
from runtime.inference.saving import one_file
from runtime.inference.session import InferenceSession
from runtime.inference.ship import Shipping, certified
from runtime.training.job import Job

_RUNS = 30  # of which the time is taken, for each number of rows
_SAMPLES = 256  # that ranges are found with
# ONNX Runtime's own choice may order sums in another way on another machine.
_THREADS = 1


@dataclass(frozen=True)
class Shrinker:
    """A trained model, its f32 file ``content`` with its ``certificate``, and the samples that smaller files are judged
    by and that ranges are found with. Made by :func:`shrinker`."""

    model: ModelProgram
    content: bytes
    certificate: Certificate
    judge: Judge
    gate: Gate
    judged: DataSet
    calibration: DataSet
    how: Shipping

    @cached_property
    def parent(self) -> bytes:
        """The f32 file without its certificate, which is not that of smaller ones."""
        from compiler.targets.onnx.file import without_metadata

        return without_metadata(self.content, CERTIFICATE)

    @cached_property
    def inputs(self) -> list[dict[str, Array]]:
        """What the model is given where ranges are found."""
        return list(self.judge.batches(self._session(self.parent).run, self.calibration))

    @cached_property
    def ranges(self) -> Ranges:
        """How large numbers get in the network. Raises DiagnosticError E0934."""
        return find_ranges(self.parent, self.inputs, F16_LARGEST)

    @cached_property
    def plain(self) -> Variant:
        """The f32 file itself."""
        return Variant("f32", self.content, self.gate.before, dict.fromkeys(ROWS, 1.0), {}, (), len(self.content))

    @property
    def judgement(self) -> str:
        """What smaller files are judged by, in words."""
        gate = self.gate
        limits = ", ".join(f"{name} {gate.allowed_text(name)}" for name in gate.better)
        return f"judged by {len(self.judged):,} samples of {self.judged.source}: {limits}"

    def variant(self, precision: Precision) -> Variant:
        """The network in this precision, as far as it keeps the figures.

        Raises DiagnosticError: E0935 where the network has nothing that it could change, E0932 where it loses too much
        whatever layers stay in f32, E0933 where the file would not be smaller, E0934 where NaN is met.
        """
        form = self._form(precision)
        if not form.layers:
            raise _nothing(self.model.name, precision)
        first: Plan = {name: can[0] for name, can in form.layers.items()}
        found = find_plan(form, self._passes, self._harm)
        if found is None:
            raise self._lost(precision, form.make(first))
        others = {self._label(name): level for name, level in found.plan.items() if level != first[name]}
        large = tuple(map(self._label, form.overflowing)) if isinstance(form, Half) else ()
        figures = self._figures(found.content)
        content = self._described(precision, found, figures, others | dict.fromkeys(large, "f32"))
        if len(content) >= len(self.content):
            raise _not_smaller(self.model.name, precision, len(content), len(self.content))
        return Variant(precision, content, figures, self._times(content), others, large, len(self.content))

    def _form(self, precision: Precision) -> Form:
        match precision:
            case "fp16":
                return Half(self.parent, self.ranges)
            case "int8":
                return Static(self.parent, self.ranges)
            case "int8-dynamic":
                return Dynamic(self.parent)

    def _session(self, content: bytes, optimise: bool = True) -> InferenceSession:
        return InferenceSession(content, self.how.device, optimise, _THREADS)

    def _passes(self, content: bytes) -> bool:
        return self.gate.passes(self._figures(content))

    def _figures(self, content: bytes) -> dict[str, float]:
        """The figures of a file with ONNX Runtime's optimisations on or off, whichever are worse. Off, what it says is
        done in f32 step by step; on, in the whole numbers of this processor."""
        both = []
        for optimise in (True, False):
            session = self._smaller(content, optimise)
            if session is None:
                return dict.fromkeys(self.gate.before, math.nan)
            both.append(self.judge.figures(session.run, self.judged))
        return max(both, key=self.gate.excess)

    def _smaller(self, content: bytes, optimise: bool = True) -> InferenceSession | None:
        """A session of a smaller file; None where ONNX Runtime can't run what a tool of its own wrote."""
        try:
            return self._session(content, optimise) if not optimise or survives(content) else None
        except DiagnosticError:
            return None

    def _harm(self, content: bytes) -> float:
        """How far the outputs are from those of f32: the largest part of an output's energy that its error has."""
        smaller = self._smaller(content)
        if smaller is None:
            return math.inf
        wrong: dict[str, float] = {}
        whole: dict[str, float] = {}
        for inputs, expected in zip(self.inputs, self._outputs, strict=True):
            for name, array in smaller.run(inputs).items():
                exact = expected[name].astype(np.float64)
                wrong[name] = wrong.get(name, 0.0) + float(np.square(array - exact).sum())
                whole[name] = whole.get(name, 0.0) + float(np.square(exact).sum())
        found = max(wrong[name] / max(whole[name], 1e-300) for name in wrong)
        return found if np.isfinite(found) else math.inf

    @cached_property
    def _outputs(self) -> list[dict[str, Array]]:
        session = self._session(self.parent)
        return [session.run(inputs) for inputs in self.inputs]

    def _times(self, content: bytes) -> dict[int, float]:
        sessions = {"f32": self._session(self.parent), "smaller": self._session(content)}
        found = {}
        for rows in ROWS:
            inputs = _with_rows(self.inputs[0], sessions["f32"], rows)
            timed = take_turns(sessions, dict.fromkeys(sessions, inputs), _RUNS)
            found[rows] = ratio(timed["smaller"], timed["f32"])
        return found

    def _label(self, name: str) -> str:
        return name.removeprefix(f"{self.model.name}.")

    def _described(
        self, precision: Precision, found: Found, figures: Mapping[str, float], others: Mapping[str, Level]
    ) -> bytes:
        from compiler.targets.onnx.file import with_metadata

        gate = self.gate
        said = {
            "kind": precision,
            "gate": "; ".join(
                f"{name} {figures[name]:.6g}, in f32 {gate.before[name]:.6g}, {gate.allowed_text(name)}"
                for name in gate.better
            ),
            "samples": f"{len(self.judged)} samples of {self.judged.source}",
            "ranges": ""
            if precision == "int8-dynamic"
            else f"{len(self.calibration)} samples of {self.calibration.source}",
            "f32": ", ".join(name for name, level in others.items() if level == "f32"),
            "stored": ", ".join(name for name, level in others.items() if level == "stored"),
            "proof": "judged by its figures; the f32 file that it was made of was certified",
            "parent.sha256": hashlib.sha256(self.content).hexdigest(),
        }
        said |= {f"parent.{key}": text for key, text in self.certificate.as_metadata().items()}
        return with_metadata(found.content, Description(precision=said).as_metadata())

    def _lost(self, precision: Precision, whole: bytes | None) -> DiagnosticError:
        """The error for a network that loses too much; ``whole`` is the file where all layers have the precision."""
        gate = self.gate
        figures = dict.fromkeys(gate.before, math.nan) if whole is None else self._figures(whole)
        notes = [
            f"{name} is {gate.before[name]:.4f} in f32 and {figures[name]:.4f} in {precision}: "
            f"{gate.allowed_text(name)} is allowed"
            for name in gate.failed(figures)
        ]
        notes.append("putting the layers that lose most back to f32 did not help before none was left")
        title = f"{self.model.name} loses too much in {precision}: no file was written"
        help = [
            "allow more: --max-drop and --max-rise",
            "or try another precision: --compare-precisions shows them all",
        ]
        return DiagnosticError([error("E0932", title, None, notes=notes, help=help)])


def shrinker(job: Job, model: ModelProgram, weights: Mapping[str, Array], how: Shipping, limits: Limits) -> Shrinker:
    """Makes the f32 file of ``model``, certifies it and measures it. ``weights`` are those of the whole train block of
    ``job``. Smaller files are judged by its samples for validation, or by all of the data that was given in place of
    its own.

    Raises DiagnosticError: what export and certification raise (E09xx), what reading the data raises (E06xx), E0931
    where there is nothing to judge by.
    """
    judged, calibration = _samples(job)
    judge = judge_of(job, model.name, weights)
    written, certificate = certified(job.project, model, weights, how)
    content = one_file(written, "another precision")
    before = judge.measured(InferenceSession(content, how.device, threads=_THREADS).run, judged)
    gate = make_gate(before, job.program.measures, limits)
    return Shrinker(model, content, certificate, judge, gate, judged, calibration, how)


def _samples(job: Job) -> tuple[DataSet, DataSet]:
    """The samples to judge by and those to find ranges with, which training has seen where that is known."""
    if job.changes.data is not None:
        _, data = job.samples("all")
        return data, _spread(data)
    splits = job.prepare()
    if splits.validation is None:
        title = f"the train block `{job.program.name}` sets no samples apart that could tell what a smaller file loses"
        advice = "name samples that the training did not see: --data FILE; or add a line like `validate 20%` and train"
        raise DiagnosticError([error("E0931", title, None, help=advice)])
    return splits.validation, _spread(splits.train)


def _spread(data: DataSet) -> DataSet:
    """Some of the samples, spread evenly over all of them."""
    count = min(_SAMPLES, len(data))
    return data.take(np.linspace(0, len(data) - 1, count).astype(np.int64))


def _with_rows(inputs: Mapping[str, Array], session: InferenceSession, rows: int) -> dict[str, Array]:
    """``inputs`` with so many rows, of which some come again; fewer where the network takes no more."""
    places = np.arange(session.most_rows(rows))
    fixed = {port.name for port in session.inputs if not port.shape or isinstance(port.shape[0], int)}
    return {name: array if name in fixed else array[places % len(array)] for name, array in inputs.items()}


def _nothing(model: str, precision: Precision) -> DiagnosticError:
    what = "numbers in f32" if precision == "fp16" else "weights in f32 with 256 numbers or more"
    title = f"there is nothing in {model} that {precision} would make smaller: it has no {what}"
    return DiagnosticError([error("E0935", title, None, help="export it as it is, without --precision")])


def _not_smaller(model: str, precision: Precision, size: int, before: int) -> DiagnosticError:
    title = f"{precision} would not make the file of {model} smaller: no file was written"
    notes = (
        f"it takes {before:,} bytes in f32 and {size:,} in {precision}, where nodes and scales take more than is spared"
    )
    return DiagnosticError([error("E0933", title, None, notes=notes, help="export it as it is, without --precision")])
