"""Model files as scikit-learn estimators, for pipelines, cross-validation and grid search.

    from dlc.sklearn import Classifier

    scores = cross_val_score(Classifier("digits.dl", epochs=20), images, labels)

Needs scikit-learn: pip install 'dlc[sklearn]'.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

import dlc
from compiler.diagnostics import DiagnosticError, error
from compiler.ir.graph import Role
from compiler.program import TrainProgram
from runtime.extras import needs
from runtime.programs.project import Project, constant_texts, open_project, project_of_text

with needs("sklearn", "sklearn", "a scikit-learn estimator"):
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data

Array: TypeAlias = npt.NDArray[Any]

# What is trained where no model file is given: one hidden layer over standardised columns, in f64, as scikit-learn's
# own estimators compute.
_NETWORK = """\
const features = 1
const outputs = 1
const units = 64

model Net(x: f64[N, features]) -> f64[N, outputs] {
    dense(units) -> relu
    head: dense(outputs)
}
"""
CLASSIFIER = f"""{_NETWORK}
train net(x: f64[N, features], y: i64[N]) {{
    minimize cross_entropy(Net(x), y) with adam(1e-2)
    epochs 50
}}
"""
REGRESSOR = f"""{_NETWORK}
train net(x: f64[N, features], y: f64[N, outputs]) {{
    minimize mse(Net(x), y) with adam(1e-2)
    epochs 100
}}
"""


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators share. ``source`` is the path of a model file, or the text of one.

    Its train block takes two arrays: the samples, then what is to be predicted. Constants ``features`` and ``outputs``
    are set to the number of columns, and of classes or of numbers to predict; ``set`` gives other constants.
    ``epochs``, ``batch`` and ``seed`` go before the statements of the train block. Without a model file a network with
    one hidden layer is trained.
    """

    _default = ""

    def __init__(
        self,
        source: str | Path | None = None,
        *,
        epochs: int | None = None,
        batch: int | None = None,
        seed: int | None = None,
        set: Mapping[str, Any] | None = None,
    ) -> None:
        self.source, self.epochs, self.batch, self.seed, self.set = source, epochs, batch, seed, set

    def __getstate__(self) -> dict[str, Any]:
        # The trained model is made again of its weights: what runs it can't be copied to another process.
        return {name: value for name, value in super().__getstate__().items() if name != "_model"}

    @property
    def model_(self) -> dlc.Model:
        """The trained :class:`dlc.Model`, to evaluate or to export."""
        check_is_fitted(self)
        if not hasattr(self, "_model"):
            self._model = dlc.Model(self._project(self.constants_))
            self._model.set_weights(self.weights_)
        return self._model

    def _train(self, samples: Array, targets: Array, outputs: int) -> None:
        """Fits to ``targets``, which are class indices or numbers; sets everything that a fitted estimator has."""
        known = self._project({}).constants
        columns = samples.shape[1] if samples.ndim == 2 else None
        own = {"features": columns, "outputs": outputs}
        constants = {name: value for name, value in own.items() if name in known and value is not None}
        self.constants_ = constants | dict(self.set or {})
        project = self._project(self.constants_)
        program = project.train()
        given, wanted = _inputs(program)
        arrays = {
            given.name: samples.astype(given.type.dtype.numpy),
            wanted.name: targets.astype(wanted.type.dtype.numpy).reshape(len(targets), *_sizes(wanted.type.shape[1:])),
        }
        self._model = dlc.Model(project)
        self.history_ = self._model.fit(arrays, epochs=self.epochs, batch=self.batch, seed=self.seed)
        self.weights_ = self._model.weights
        self.n_iter_ = len(self.history_)

    def _outputs(self, samples: Any) -> Array:
        """What the model gives for samples."""
        check_is_fitted(self)
        checked = validate_data(self, samples, reset=False, allow_nd=True)
        program = self.model_.program
        (given, *_) = program.graph.inputs_of(Role.DATA)
        found = self.model_.predict(checked.astype(given.type.dtype.numpy))
        return np.asarray(next(iter(found.values())) if isinstance(found, dict) else found)

    def _project(self, constants: Mapping[str, Any]) -> Project:
        source, texts = self._default if self.source is None else self.source, constant_texts(constants)
        if isinstance(source, str) and "\n" in source:
            return _project_of_text(source, tuple(texts.items()))
        return open_project(Path(source), texts)


class Classifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A model file as a classifier: its model gives a score, or a probability, for each class."""

    _default = CLASSIFIER

    def fit(self, X: Any, y: Any) -> Classifier:  # noqa: N803 - scikit-learn's name
        """Trains on samples [n, …] and their labels, of any kind, from fresh weights. Raises ValueError for arrays that
        are no samples and labels, DiagnosticError for those that do not fit the model file."""
        samples, labels = validate_data(self, X, y, allow_nd=True)
        check_classification_targets(labels)
        self.classes_, indices = np.unique(labels, return_inverse=True)
        self._train(samples, indices, len(self.classes_))
        return self

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """The probability of every class: f64[n, classes], in the order of ``classes_``."""
        scores = self._outputs(X).astype(np.float64)
        compared = self.model_.compared
        if compared is not None and compared.probabilities:
            positive = scores
        elif compared is not None and compared.kind == "binary":
            positive = 1 / (1 + np.exp(-np.clip(scores, -700, 700)))
        else:
            powers = np.exp(scores - scores.max(1, keepdims=True))
            positive = powers / powers.sum(1, keepdims=True)
        if positive.ndim == 1 or (positive.shape[1] == 1 and len(self.classes_) == 2):
            positive = positive.reshape(-1, 1)
            return np.hstack([1 - positive, positive])
        return np.asarray(positive)

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The likeliest class of every sample."""
        chances = self.predict_proba(X)
        return np.asarray(self.classes_[chances.argmax(1)])


class Regressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A model file as a regressor: its model gives the numbers to predict."""

    _default = REGRESSOR

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> Regressor:  # noqa: N803
        """Trains on samples [n, …] and the numbers [n] or [n, k] that belong to them, from fresh weights. Raises
        ValueError and DiagnosticError as :meth:`Classifier.fit` does."""
        samples, numbers = validate_data(self, X, y, allow_nd=True, multi_output=True, y_numeric=True)
        self._single = numbers.ndim == 1
        self._train(samples, numbers, 1 if self._single else numbers.shape[1])
        return self

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The numbers for every sample, in the shape in which ``fit`` got them."""
        found = self._outputs(X).astype(np.float64)
        return found.reshape(len(found)) if self._single else found


@lru_cache(maxsize=8)
def _project_of_text(text: str, constants: tuple[tuple[str, str], ...]) -> Project:
    """The folds of a cross-validation are all trained by one program."""
    return project_of_text(text, Path(), dict(constants))


def _inputs(program: TrainProgram) -> tuple[Any, Any]:
    if len(program.inputs) == 2:
        return program.inputs[0], program.inputs[1]
    names = ", ".join(value.name for value in program.inputs)
    title = f"an estimator has samples and targets, but the train block `{program.name}` takes {names}"
    advice = "write a train block with two inputs, such as train net(x: f32[N, 8], y: i64[N])"
    raise DiagnosticError([error("E0613", title, None, help=advice)])


def _sizes(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in shape)
