"""The Python face of a model file: train, evaluate, predict, export."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.diagnostics import DiagnosticError, error
from compiler.program import Compared, ModelProgram
from compiler.targets.onnx.releases import chosen_opset
from dlc.overview import overview
from dlc.terminal import show_progress
from runtime.data.readers.content import Names
from runtime.inference.certify import Certificate
from runtime.inference.precision.forms import Precision
from runtime.inference.precision.gate import Limits
from runtime.inference.precision.open import judging_block
from runtime.inference.precision.shrink import shrinker
from runtime.inference.precision.variant import Variant
from runtime.inference.session import Device
from runtime.inference.ship import Shipping, ship
from runtime.programs.predict import Predictor
from runtime.programs.project import Project
from runtime.reports.report.write import write_report
from runtime.training.callbacks import AnyCallback, Told
from runtime.training.checkpoint import check_same, types_of
from runtime.training.folder import open_run
from runtime.training.history import History
from runtime.training.job import Changes, Job, Split, make_job, results
from runtime.training.loop import Trainer
from runtime.training.progress import Progress, Silent
from runtime.training.weights import fresh_weights, load_model_weights, load_names, save_weights_file

Array: TypeAlias = npt.NDArray[Any]
# A data file, arrays (or nested lists) by name, or samples one after another, as a generator gives them.
Data: TypeAlias = str | Path | Mapping[str, npt.ArrayLike] | Iterable[Any]


class Model:
    """A model file with weights, made by :func:`dlc.load`; the weights are fresh until ``fit`` or ``load_weights``.

    Where the file has several models or train blocks, ``model`` and ``train`` name the ones that are meant. A method
    that needs one raises DiagnosticError E0203 as long as that is not clear.
    """

    def __init__(self, project: Project, model: str | None = None, train: str | None = None) -> None:
        self._project, self._model, self._train = project, model, train
        self._changes = Changes()
        self._weights: dict[str, Array] = {}
        self._predictor: Predictor | None = None
        self._metrics: dict[str, float] = {}
        self._names: Names = {}
        self._learned = False  # whether the weights are more than fresh
        self.history = History()
        if model is not None:
            project.model(model)
        if train is not None:
            project.train(train)

    def fit(
        self,
        data: Data | None = None,
        *,
        validate: float | Data | None = None,
        test: float | Data | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        batch: int | None = None,
        accumulate: int | None = None,
        seed: int | None = None,
        out: str | Path | None = None,
        resume: bool = False,
        progress: bool = False,
        skip_bad: bool = False,
        callbacks: Sequence[AnyCallback] = (),
        seconds: float | None = None,
    ) -> History:
        """Trains, and gives the figures of every epoch.

        Arguments go before the statements of the train block: ``data`` is a data file, arrays by name with one row
        for each sample, or a generator; ``validate`` and ``test`` are a share of the samples between 0 and 1, or other
        data; ``steps`` stand in place of epochs, and each takes ``accumulate`` batches. The first fit begins with fresh
        weights, a later one with the weights that are there. Nothing is written unless ``out`` names a run folder;
        ``resume`` goes on with the run in it. ``progress`` shows how it goes; ``callbacks`` are told,
        :class:`dlc.Callback` or functions that take the row of each epoch. ``skip_bad`` leaves samples that can't be
        read out, instead of refusing the data. After so many ``seconds`` of training it ends between two steps.

        A generator, or any iterable, is read once, to its end. It gives mappings by the names of the inputs, or tuples
        in their order, each a sample or a batch of them.

        Raises DiagnosticError for data that does not fit (E06xx), a loss that becomes NaN or infinite (E0701), and
        what is wrong with the run folder (E08xx); :class:`Interrupted` after Ctrl-C, the weights being as far as they
        came.
        """
        if resume and out is None:
            advice = "name it, fit(out=…, resume=True); without, a later fit goes on with the weights that are there"
            raise DiagnosticError([error("E0804", "there is no run folder to resume from", None, help=advice)])
        changes = Changes(data, validate, test, epochs, steps, batch, seed, skip_bad, accumulate)
        job = self._job(changes)
        splits = job.prepare()
        for warning in splits.warnings:
            warnings.warn(str(warning), stacklevel=2)
        begun = self._weights_of(job.program.models) if self._learned else None
        shown: Progress = Told(callbacks, show_progress() if progress else Silent())
        with ExitStack() as opened:
            run, recording = None, None
            if out is not None:
                run = opened.enter_context(open_run(job.program.name, out=Path(out), resume=resume))
                shown = recording = opened.enter_context(job.recording(run, splits, shown, resume=resume))
            trainer = job.trainer(splits, run=run, resume=resume, weights=begun, progress=shown, seconds=seconds)
            try:
                trainer.fit()
            finally:
                self._take(trainer, job.changes)
            self._metrics = results(trainer).metrics
            if recording:
                recording.note_results(self._metrics)
        if run and recording:
            write_report(run.path, job, trainer.weights, splits, trainer.history, recording.record)
        return self.history

    def evaluate(self, data: Data | None = None, *, split: Split | None = None) -> dict[str, Any]:
        """The loss and every measure by name, dropout and augmentation off: numbers, and arrays for such as confusion.

        Over all of ``data``; without it over one ``split`` of what ``fit`` trained on, or else of the data that the
        file names: "test", "validate", "train" or "all", by default the test samples, or else those for validation.
        Raises DiagnosticError for data that does not fit (E06xx) and for a loss that is NaN or infinite (E0702).
        """
        job = self._job(self._changes if data is None else Changes(data))
        _, samples = job.samples(split if data is None else "all")
        found = job.evaluate(self._weights_of(job.program.models), samples)
        return {**found.figures, **found.tables}

    def predict(self, inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> Array | Any:
        """The outputs of the model for a batch of any size: an array, or a dict of arrays by name where there are
        several. (The annotation leaves that open, as only the model file tells which.)

        ``inputs`` are arrays by the names of the model's inputs, or the one input; lists of numbers take its element
        type. It runs in the NumPy program that training uses. Raises DiagnosticError where names (E0910), element types
        (E0911) or shapes (E0912) do not fit.
        """
        if self._predictor is None:
            program = self._project.model(self._model)
            self._predictor = Predictor(program, self._weights_of([program.name]))
        found = self._predictor.predict(inputs)
        return found if len(found) > 1 else next(iter(found.values()))

    def export(
        self, path: str | Path, *, device: Device = "cpu", opset: int | None = None, release: str | None = None
    ) -> Certificate:
        """Writes the model as an ONNX file, once that is proved to compute in ONNX Runtime what ``predict`` does.

        ``opset``, 17 to 23, is the version of the operations in it, 21 without a choice; or ``release`` is the one of
        ONNX Runtime that has to read it, such as "onnxruntime==1.17".

        Raises DiagnosticError where it can't be exported (E0901 to E0904), where it differs (E0914), where CUDA was
        asked for and is not there (E0909), and where the file can't be written (E0801).
        """
        program = self._project.model(self._model)
        how = Shipping(device, chosen_opset(opset, release), self._metrics, names=self._names)
        return ship(self._project, program, self._weights_of([program.name]), Path(path), how)

    def shrink(
        self,
        path: str | Path,
        precision: Precision = "int8",
        *,
        data: Data | None = None,
        max_drop: float = Limits.drop,
        max_rise: float = Limits.rise,
        device: Device = "cpu",
        opset: int | None = None,
        release: str | None = None,
    ) -> Variant:
        """Writes a smaller ONNX file, made of the one that ``export`` writes, and tells its size, times and figures.

        ``precision`` is "fp16", "int8" with ranges found on training samples, or "int8-dynamic" with ranges found in
        each run. The measures of the train block have to let the file pass: of those of which more is better at most
        ``max_drop`` points of a hundred may be lost, others may rise by ``max_rise`` percent at most. They are taken of
        the samples that were set apart for validation, or of all of ``data``. Layers that lose too much stay in f32.

        Raises DiagnosticError as ``export`` does, and E0931 to E0935 where there is nothing to make smaller, where
        nothing tells what is lost, or where it is too much; then no file is written.
        """
        program = self._project.model(self._model)
        block = self._train or judging_block(self._project, program.name)
        job = make_job(self._project, block, self._changes if data is None else Changes(data))
        how = Shipping(device, chosen_opset(opset, release), self._metrics, names=self._names)
        weights = self._weights_of(job.program.models)
        made = shrinker(replace(job, names=self._names), program, weights, how, Limits(max_drop, max_rise))
        found = made.variant(precision)
        found.save(Path(path), made.inputs[:1])
        return found

    def save(self, path: str | Path) -> None:
        """Writes the weights as a safetensors file. Raises DiagnosticError E0801."""
        save_weights_file(Path(path), self._weights_of(self._models()), self._names)

    def load_weights(self, path: str | Path) -> None:
        """Takes the weights in a safetensors file or a run folder.

        Raises DiagnosticError: E0804 where there are none, E0805 for a damaged file, E0806 for weights of another
        model.
        """
        for name in self._models():
            self._weights |= load_model_weights(Path(path), self._project.model(name))
        self._learned, self._predictor, self._metrics = True, None, {}
        self._names = load_names(Path(path))

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """What the numbers of classes and characters stand for, by the array of the data that holds them, as far as the
        data had names for them."""
        return dict(self._names)

    def set_weights(self, weights: Mapping[str, npt.ArrayLike]) -> None:
        """Takes arrays by name, such as :attr:`weights` gives; what is not named stays. Raises DiagnosticError E0806
        for those that belong to another model."""
        own = self._weights_of(self._models())
        given = {name: np.asarray(array) for name, array in weights.items()}
        check_same(
            "the mapping of weights", given, {name: type for name, type in types_of(own).items() if name in given}
        )
        self._weights |= {name: array.copy() for name, array in given.items()}
        self._learned, self._predictor, self._metrics = True, None, {}

    @property
    def program(self) -> ModelProgram:
        """The model as it is compiled. Raises DiagnosticError E0203 where the file has several."""
        return self._project.model(self._model)

    @property
    def compared(self) -> Compared | None:
        """What the loss of the train block holds against each other; None where that is no prediction and target."""
        return self._project.checked.elaborated.trains[self._project.train(self._train).name].compared

    @property
    def weights(self) -> dict[str, Array]:
        """Copies of the weights by name, such as ``Digits.head.dense.weight``."""
        return {name: array.copy() for name, array in self._weights_of(self._models()).items()}

    def summary(self) -> str:
        """The stages of each model with types, parameters and costs, and what each train block does."""
        return overview(self._project)

    def _repr_html_(self) -> str:
        """What a notebook shows: each model drawn, with its table."""
        from runtime.reports.report.notebook import models_html

        return models_html([self._project.checked.elaborated.models[name] for name in self._models()])

    def __getstate__(self) -> dict[str, Any]:
        # Copies, those in other processes too, make what runs the model for themselves.
        return {**self.__dict__, "_weights": dict(self._weights), "_predictor": None}

    def __repr__(self) -> str:
        return f"<dlc.Model of {self._project.source.name}: {', '.join(self._project.checked.models)}>"

    def _models(self) -> tuple[str, ...]:
        return (self._model,) if self._model is not None else self._project.checked.models

    def _weights_of(self, models: Iterable[str]) -> dict[str, Array]:
        """The weights of these models; one that has none yet gets fresh ones."""
        programs = [self._project.model(name) for name in models]
        for program in programs:
            if any(weight.name not in self._weights for weight in program.weights):
                self._weights |= fresh_weights(self._project, program)
        return {weight.name: self._weights[weight.name] for program in programs for weight in program.weights}

    def _job(self, changes: Changes) -> Job:
        """The train block with ``changes``; what was learned before keeps its numbers."""
        return replace(make_job(self._project, self._train, changes), names=self._names if self._learned else {})

    def _take(self, trainer: Trainer, changes: Changes) -> None:
        self._weights |= {name: array.copy() for name, array in trainer.weights.items()}
        self._learned, self._predictor = True, None
        self._names = trainer.splits.train.names
        self.history, self._changes = trainer.history, changes
