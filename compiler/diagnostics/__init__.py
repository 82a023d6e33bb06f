"""Spans, diagnostics and their rendering: everything a user is told about a mistake goes through here."""

from compiler.diagnostics.codes import all_codes, explain, title
from compiler.diagnostics.diagnostic import Diagnostic, Label, error, warning
from compiler.diagnostics.display import harmless
from compiler.diagnostics.render import render
from compiler.diagnostics.sink import DiagnosticError, Sink
from compiler.diagnostics.source import Source, Span
from compiler.diagnostics.suggest import did_you_mean

__all__ = [
    "Diagnostic",
    "DiagnosticError",
    "Label",
    "Sink",
    "Source",
    "Span",
    "all_codes",
    "did_you_mean",
    "error",
    "explain",
    "harmless",
    "render",
    "title",
    "warning",
]
