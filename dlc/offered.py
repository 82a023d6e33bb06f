"""The classes that the package offers, imported when the first of them is asked for."""

from compiler.diagnostics import DiagnosticError
from compiler.version import VERSION
from dlc.model import Model
from runtime.certify import Certificate
from runtime.history import History
from runtime.session import Session
from runtime.training import Interrupted

__version__ = VERSION

__all__ = ["Certificate", "DiagnosticError", "History", "Interrupted", "Model", "Session", "__version__"]
