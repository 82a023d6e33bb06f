"""The classes that the package offers, imported when the first of them is asked for."""

from compiler.diagnostics import DiagnosticError
from compiler.version import VERSION
from dlc.model import Model
from runtime.inference.certify import Certificate
from runtime.inference.session import InferenceSession
from runtime.training.callbacks import Callback
from runtime.training.history import History
from runtime.training.loop import Interrupted
from runtime.training.progress import StopTraining

__version__ = VERSION

__all__ = [
    "Callback", "Certificate", "DiagnosticError", "History", "InferenceSession", "Interrupted", "Model", "StopTraining",
    "__version__",
]  # fmt: skip
