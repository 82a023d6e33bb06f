"""The statements `data`, `validate` and `test`: files, calls of readers, and shares of the samples."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from compiler.diagnostics import did_you_mean, error
from compiler.front import tree
from compiler.front.arguments import Refused, build_from
from compiler.front.catalogue import Entry, entries
from compiler.front.catalogue.entry import Kind
from compiler.front.values import describe, has_poison, is_number
from compiler.sources import DataSetting, DataSource, SetAsideSetting, Share

if TYPE_CHECKING:
    from compiler.front.settings import SettingReader


def data(reader: SettingReader, expression: tree.Expression) -> DataSetting | None:
    """What `data` reads. None, with a report, for anything else."""
    if isinstance(expression, tree.Call):
        return _source(reader, expression)
    value = reader.value(expression)
    if isinstance(value, str):
        return value
    if not has_poison(value):
        help = 'write for example data "digits.npz"'
        reader.refuse("E0403", f"data takes the name of a file, not {describe(value)}", expression.span, help)
    return None


def set_aside(reader: SettingReader, expression: tree.Expression, what: str) -> SetAsideSetting | None:
    """What `validate` or `test` (``what``) takes: a share of the samples, or data of its own."""
    if isinstance(expression, tree.Call):
        return _share(reader, expression) if _is_split(expression) else _source(reader, expression, what)
    value = reader.value(expression)
    if isinstance(value, str):
        return value
    if has_poison(value):
        return None
    if not is_number(value):
        reader.refuse("E0403", f"{what} takes a share or a file, not {describe(value)}", expression.span)
        return None
    if not 0.0 < value < 1.0:
        title = f"{what} takes a share between 0% and 100%, not {value}"
        reader.refuse("E0404", title, expression.span, f"write for example {what} 20%")
        return None
    return float(value)


def share_of(setting: SetAsideSetting | None) -> float:
    """The share of the samples that a setting takes away from those trained on."""
    if isinstance(setting, Share):
        return setting.share
    return setting if isinstance(setting, float) else 0.0


def _is_split(call: tree.Call) -> bool:
    return isinstance(call.function, tree.Name) and call.function.name in entries("split")


def _share(reader: SettingReader, call: tree.Call) -> Share | None:
    with suppress(Refused):
        share: Share = build_from(reader.evaluator, "split", call, reader.scope)
        return share
    reader.failed = True
    return None


def _source(reader: SettingReader, call: tree.Call, what: str = "data") -> DataSource | None:
    """A call of a reader; where ``what`` is not `data`, a misspelt name may also have been that of a split."""
    known = entries("reader")
    name = call.function.name if isinstance(call.function, tree.Name) else None
    if name is None or name not in known:
        kinds: tuple[Kind, ...] = ("reader",) if what == "data" else ("reader", "split")
        wanted = [word for kind in kinds for word in entries(kind)]
        near = did_you_mean(name, wanted) if name else None
        title = f"there is no {' or '.join(kinds)} {name or call.function.span.text}"
        listed = "; ".join(f"the {kind}s are {', '.join(sorted(entries(kind)))}" for kind in kinds)
        text = f"did you mean {near}?" if near else "not found"
        reader.report(error("E0201", title, call.function.span, text, help=listed))
        return None
    if not _names_known(reader, known[name], call):
        return None
    with suppress(Refused):
        source: DataSource = build_from(reader.evaluator, "reader", call, reader.scope)
        return source
    reader.failed = True
    return None


def _names_known(reader: SettingReader, entry: Entry, call: tree.Call) -> bool:
    """Whether every argument by name is one of the reader, or an input of the train block where it takes those."""
    if entry.per_input is None:
        return True  # the call itself reports unknown names
    own = [parameter.name for parameter in entry.parameters if not parameter.per_input]
    unknown = [item for item in call.keywords if item.name.name not in (*own, *reader.inputs)]
    for keyword in unknown:
        name = keyword.name.name
        near = did_you_mean(name, [*reader.inputs, *own])
        title = f"{entry.name} has no argument {name}, and the train block no input of that name"
        help = f"its inputs are {', '.join(reader.inputs)}; the arguments of {entry.name} are {', '.join(own)}"
        reader.report(
            error("E0401", title, keyword.name.span, f"did you mean {near}?" if near else "", help=help if own else ())
        )
    return not unknown
