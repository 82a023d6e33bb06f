"""dlc, a deep-learning compiler: write a network down, train it with NumPy, ship it as a proven ONNX file.

    import dlc

    model = dlc.load("digits.dl")
    model.fit()                             # trains on the data that the file names
    print(model.evaluate())                 # {'loss': 0.09, 'accuracy': 0.98}
    scores = model.predict(images)          # u8[N, 8, 8] in, f32[N, 10] out
    model.export("digits.onnx")             # certified against ONNX Runtime

    session = dlc.InferenceSession("digits.onnx")
    scores = session.run({"image": images})["output"]

Mistakes in a file, in data or in arguments are :class:`DiagnosticError`; as text it is what the terminal shows.
Importing this package is cheap: what a call needs is imported when it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compiler.diagnostics import DiagnosticError
    from dlc.model import Model
    from runtime.inference.certify import Certificate
    from runtime.inference.session import InferenceSession
    from runtime.training.callbacks import Callback
    from runtime.training.history import History
    from runtime.training.loop import Interrupted
    from runtime.training.progress import StopTraining

    __version__: str

__all__ = [
    "Callback", "Certificate", "DiagnosticError", "History", "InferenceSession", "Interrupted", "Model", "StopTraining",
    "__version__", "load", "loads",
]  # fmt: skip


def load(
    path: str | Path,
    *,
    set: Mapping[str, Any] | None = None,
    model: str | None = None,
    train: str | None = None,
) -> Model:
    """The model file at ``path``, checked and ready to train or run, with fresh weights.

    ``set`` gives constants of the file other values. ``model`` and ``train`` say which model and which train block are
    meant where the file has several. Raises DiagnosticError with every mistake of the file.
    """
    from dlc.model import Model
    from runtime.programs.project import constant_texts, open_project

    return Model(open_project(Path(path), constant_texts(set or {})), model, train)


def loads(
    text: str,
    *,
    set: Mapping[str, Any] | None = None,
    model: str | None = None,
    train: str | None = None,
    folder: str | Path = ".",
) -> Model:
    """Like :func:`load`, from the text of a model file; its paths start at ``folder``."""
    from dlc.model import Model
    from runtime.programs.project import constant_texts, project_of_text

    return Model(project_of_text(text, Path(folder), constant_texts(set or {})), model, train)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'dlc' has no attribute {name!r}")
    if name == "InferenceSession":  # what runs a file starts without what trains
        from runtime.inference.session import InferenceSession

        return InferenceSession
    from dlc import offered

    return getattr(offered, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
