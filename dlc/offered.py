"""The classes that the package offers, imported when the first of them is asked for."""

from compiler.diagnostics import DiagnosticError
from compiler.version import VERSION
from dlc.model import Model
from runtime.callbacks import Callback
from runtime.certify import Certificate
from runtime.history import History
from runtime.progress import StopTraining
from runtime.session import Session
from runtime.training import Interrupted

__version__ = VERSION

__all__ = [
    "Callback", "Certificate", "DiagnosticError", "History", "Interrupted", "Model", "Session", "StopTraining",
    "__version__",
]  # fmt: skip
