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
from compiler.front.values import POISON, DslValue, describe, has_poison, is_number
from compiler.program import Measure, Settings, Stop, loss_names

_Setting = tree.Data | tree.Validate | tree.Test | tree.Stop | tree.Setting
# The least number that a counting statement takes.
_LEAST = {"batch": 1, "accumulate": 1, "epochs": 1, "steps": 1, "keep": 1, "seed": 0}
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
        if isinstance(expression, tree.Name) and not self.evaluator.means_anything(expression.name, self.scope):
            known = self._declarations.constants()
            near = did_you_mean(expression.name, known)
            listed = f"the constants are {', '.join(known)}" if known else "the file declares no constant"
            help = f"did you mean {near}?" if near else listed
            self.report(error("E0201", f"unknown name {expression.name}", expression.span, "not found", help=help))
            return POISON
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

    def positive(self, expression: tree.Expression, what: str, *, below_one: bool = False) -> float | None:
        """A number above 0."""
        value = self.value(expression)
        if has_poison(value):
            return None
        if not is_number(value):
            self.refuse("E0403", f"{what} is a number, not {describe(value)}", expression.span)
            return None
        if value <= 0 or (below_one and value >= 1):
            allowed = "above 0 and below 1" if below_one else "above 0"
            self.refuse("E0404", f"{what} is {allowed}, not {value}", expression.span)
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
                if isinstance(statement, tree.Validate) and statement.every is not None:
                    values["interval"] = reader.count(statement.every, "every", 1)
            case tree.Stop():
                patience = reader.count(statement.patience, "patience", 1) if statement.patience else PATIENCE
                value = None if patience is None else Stop("".join(statement.measure.span.text.split()), patience)
            case tree.Setting() if name in _LEAST:
                value = reader.count(statement.value, name, _LEAST[name])
            case tree.Setting():
                value = reader.positive(statement.value, name, below_one=name == "average")
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
    name = tree.first_word(statement)
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


def check_figures(
    declarations: Declarations, train: tree.Train, settings: Settings, measures: Sequence[Measure], rules: Sequence[Any]
) -> None:
    """Report E0509 where the figure that ``stop`` or a schedule goes by is none that the run will have."""
    own = [measure.name for measure in measures if not measure.is_table]
    tables = [measure.name for measure in measures if measure.is_table]
    figures = [*loss_names(len(rules)), *own]
    validated = ["val.loss", *(f"val.{measure}" for measure in own)]
    asked: list[tuple[str, Span]] = []
    for statement in train.statements:
        if isinstance(statement, tree.Stop) and settings.stop is not None:
            asked.append((settings.stop.measure, statement.measure.span))
    minimizes = [statement for statement in train.statements if isinstance(statement, tree.Minimize)]
    for statement, rule in zip(minimizes, rules, strict=True):
        plateau = None if isinstance(rule.lr, float) else rule.lr.plateau
        if plateau is not None and plateau.measure:
            asked.append((plateau.measure, statement.optimizer.span))
    for name, span in asked:
        if name not in figures and not (name in validated and settings.validate is not None):
            declarations.sink.report(_no_figure(train.name.name, name, span, figures, validated, tables, settings))


def _no_figure(
    train: str,
    name: str,
    span: Span,
    figures: list[str],
    validated: list[str],
    tables: list[str],
    settings: Settings,
) -> Diagnostic:
    metric = name.removeprefix("val.")
    near = did_you_mean(name, [*figures, *validated])
    if name in validated:
        title, help = f"{name} is measured in validation, and nothing is set apart for it", "add a line: validate 20%"
    elif metric in tables:
        title, help = (
            f"{metric} is a table, which is neither better nor worse than another",
            "stop by a figure, such as loss or accuracy",
        )
    elif metric in entries("metric"):
        title, help = f"{train} does not measure {metric}", f"add a line: measure {metric}(…)"
    else:
        title = f"{train} has no figure {name}"
        known = figures if settings.validate is None else [*figures, *validated]
        help = f"did you mean {near}?" if near else f"it has {', '.join(known)}"
    return error("E0509", title, span, help=help)
