"""The settings of a train block: statements of one constant each, at most once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compiler.diagnostics import Diagnostic, Label, Span, did_you_mean, error
from compiler.front import sources, tree
from compiler.front.catalogue import entries
from compiler.front.declarations import Declarations
from compiler.front.expressions import Evaluator
from compiler.front.scope import Scope
from compiler.front.values import DslValue, describe, has_poison, is_number
from compiler.program import Measure, Settings, Stop, loss_names

_Setting = (
    tree.Data | tree.Validate | tree.Test | tree.Batch | tree.Epochs | tree.Steps | tree.Stop | tree.Clip | tree.Seed
)
# Epochs without improvement that are waited for where the file does not say.
PATIENCE = 10


class SettingReader:
    """Evaluates the expressions of settings, which see the file's constants only."""

    def __init__(self, declarations: Declarations, train: tree.Train) -> None:
        self._declarations = declarations
        self.evaluator = Evaluator(declarations)
        self.scope = Scope(declarations.module_scope(train.name.name).naming)
        self.inputs = tuple(parameter.name.name for parameter in train.parameters)
        self.failed = False

    def value(self, expression: tree.Expression) -> DslValue:
        value = self.evaluator.evaluate(expression, self.scope)
        self.failed |= has_poison(value)
        return value

    def report(self, diagnostic: Diagnostic) -> None:
        self._declarations.sink.report(diagnostic)
        self.failed = True

    def refuse(self, code: str, title: str, at: Span, *help: str) -> None:
        self.report(error(code, title, at, help=help))

    def count(self, expression: tree.Expression, what: str, least: int) -> int | None:
        """A whole number of at least ``least``."""
        value = self.value(expression)
        if has_poison(value):
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            self.refuse("E0403", f"{what} is a whole number, not {describe(value)}", expression.span)
            return None
        if value < least or value >= 1 << 62:
            self.refuse("E0404", f"{what} is at least {least}, not {value}", expression.span)
            return None
        return value

    def positive(self, expression: tree.Expression, what: str) -> float | None:
        """A number above 0."""
        value = self.value(expression)
        if has_poison(value):
            return None
        if not is_number(value):
            self.refuse("E0403", f"{what} is a number, not {describe(value)}", expression.span)
            return None
        if value <= 0:
            self.refuse("E0404", f"{what} is above 0, not {value}", expression.span)
            return None
        return float(value)


def read_settings(declarations: Declarations, train: tree.Train) -> Settings | None:
    """The settings of ``train``; None where there are errors, which are reported."""
    reader = SettingReader(declarations, train)
    found: dict[str, _Setting] = {}
    for statement in train.statements:
        if isinstance(statement, _Setting):
            _note(reader, found, statement)
    values: dict[str, Any] = {}
    for name, statement in found.items():
        value: Any
        match statement:
            case tree.Data():
                value = sources.data(reader, statement.source)
            case tree.Validate() | tree.Test():
                value = sources.set_aside(reader, statement.source, name)
            case tree.Batch():
                value = reader.count(statement.size, name, 1)
            case tree.Epochs() | tree.Steps():
                value = reader.count(statement.count, name, 1)
            case tree.Clip():
                value = reader.positive(statement.limit, name)
            case tree.Stop():
                patience = reader.count(statement.patience, "patience", 1) if statement.patience else PATIENCE
                value = None if patience is None else Stop("".join(statement.measure.span.text.split()), patience)
            case _:
                value = reader.count(statement.value, name, 0)
        if value is not None:
            values[name] = value
    shares = [sources.share_of(values.get(name)) for name in ("validate", "test")]
    if sum(shares) >= 1.0:
        reader.refuse("E0404", "validate and test leave nothing to train on", found["test"].span)
    if "epochs" in found and "steps" in found:
        reader.refuse("E0507", "epochs and steps both say when training ends", found["steps"].span, "keep one of them")
    if reader.failed:
        return None
    spans = {name: statement.span for name, statement in found.items()}
    return Settings(**values, spans=spans)


def _note(reader: SettingReader, found: dict[str, _Setting], statement: _Setting) -> None:
    name = type(statement).__name__.lower()
    before = found.setdefault(name, statement)
    if before is not statement:
        reader.report(
            error(
                "E0507",
                f"{name} stands twice in one train block",
                statement.span,
                "given again here",
                labels=[Label(before.span, "first given here")],
            )
        )


def check_stop(
    declarations: Declarations, train: tree.Train, settings: Settings, measures: Sequence[Measure], losses: int
) -> None:
    """Report E0509 where the figure that the statement ``stop`` goes by is none that the run will have."""
    statement = next((item for item in train.statements if isinstance(item, tree.Stop)), None)
    if statement is None or settings.stop is None:
        return
    name, span = settings.stop.measure, statement.measure.span
    own = [measure.name for measure in measures if not measure.is_table]
    figures = [*loss_names(losses), *own]
    validated = ["val.loss", *(f"val.{measure}" for measure in own)]
    if name in figures or (name in validated and settings.validate is not None):
        return
    metric = name.removeprefix("val.")
    near = did_you_mean(name, [*figures, *validated])
    if name in validated:
        title, help = f"{name} is measured in validation, and nothing is set apart for it", "add a line: validate 20%"
    elif metric in (measure.name for measure in measures):
        title, help = (
            f"{metric} is a table, which is neither better nor worse than another",
            "stop by a figure, such as loss or accuracy",
        )
    elif metric in entries("metric"):
        title, help = f"{train.name.name} does not measure {metric}", f"add a line: measure {metric}(…)"
    else:
        title = f"{train.name.name} has no figure {name}"
        known = figures if settings.validate is None else [*figures, *validated]
        help = f"did you mean {near}?" if near else f"it has {', '.join(known)}"
    declarations.sink.report(error("E0509", title, span, help=help))
