"""Which weights a train block changes: ``over`` and ``freeze``, which speak of models and of labels in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compiler.diagnostics import Sink, did_you_mean, error
from compiler.front import tree
from compiler.front.patterns import belongs
from compiler.front.trace import TracedWeight
from compiler.ir.graph import Value
from compiler.ops.emit import Emit


def weights_behind(b: Emit, value: Value, weights: Iterable[TracedWeight]) -> tuple[str, ...]:
    """The names of the trainable weights that ``value`` was computed from."""
    reached = values_behind(b, value)
    return tuple(traced.weight.name for traced in weights if traced.weight.trainable and traced.value in reached)


def values_behind(b: Emit, value: Value) -> set[Value]:
    """Every value that ``value`` was computed from."""
    found = {value}
    pending = [value]
    while pending:
        node = b.producer(pending.pop())
        fresh = [operand for operand in node.inputs if operand not in found] if node else []
        found.update(fresh)
        pending += fresh
    return found


def frozen_parts(train: tree.Train) -> tuple[tree.Name, ...]:
    """Everything that ``freeze`` statements name."""
    return tuple(part for item in train.statements if isinstance(item, tree.Freeze) for part in item.parts)


def choose(parts: Sequence[tree.Name], every: Sequence[str], sink: Sink, whose: str) -> set[str]:
    """Those of the weights ``every`` that belong to ``parts``. Reports E0201 for a part that none belongs to; ``whose``
    says which weights these are."""
    chosen: set[str] = set()
    for part in parts:
        found = {name for name in every if belongs(name, part.name)}
        if not found:
            known = {name.rsplit(".", count)[0] for name in every for count in range(1, name.count(".") + 1)}
            near = did_you_mean(part.name, known)
            models = ", ".join(sorted({name.split(".")[0] for name in every})) or "no model"
            sink.report(
                error(
                    "E0201",
                    f"no weight {whose} belongs to {part.name}",
                    part.span,
                    "nothing here",
                    help=f"did you mean {near}?" if near else f"there are those of {models}",
                )
            )
        chosen |= found
    return chosen
