"""What a notebook shows of a history and of models: parts of the report, with a style that keeps to itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import resources

from compiler.front.models import ElaboratedModel
from runtime.reports.report.html import paragraph
from runtime.reports.report.page import figures_table, history_charts, model_part
from runtime.training.history import History


def history_html(history: History) -> str:
    """The curves, and the figures of every epoch."""
    if not history.rows:
        return _view(paragraph("No epoch is finished yet."))
    names = _prefix(history.csv())
    return _view(f'<div class="charts">{"".join(history_charts(history, names))}</div>{figures_table(history)}')


def models_html(models: Iterable[ElaboratedModel]) -> str:
    """Each model drawn, with the table of its stages."""
    return _view("".join(model_part(_prefix(str(model.stages)), model) for model in models))


def _prefix(content: str) -> str:
    """Names in a notebook are shared by all of its cells: one that is its own for every content."""
    return f"dlc{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _view(content: str) -> str:
    style = resources.files("runtime.reports.report").joinpath("notebook.css").read_text(encoding="utf-8")
    return f'<div class="dlc-view"><style>\n{style}</style>\n{content}</div>'
