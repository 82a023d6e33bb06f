"""What can't be read of a model, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.diagnostics import Diagnostic, DiagnosticError, error


@dataclass(frozen=True)
class Refusal:
    """A node that can't be read. ``needed`` are the inputs of the model that would have to be known to read it,
    ``bound`` a size and how large it may be at most."""

    kind: str
    node: str
    reason: str
    needed: tuple[str, ...] = ()
    bound: tuple[str, int] | None = None


class Refused(DiagnosticError):
    """What can't be read of a model, all of it."""

    def __init__(self, name: str, refusals: Sequence[Refusal]) -> None:
        self.refusals = tuple(refusals)
        super().__init__([_told(name, refusals)])


def _told(name: str, refusals: Sequence[Refusal]) -> Diagnostic:
    count = len(refusals)
    reasons: dict[tuple[str, str], list[str]] = {}
    for item in refusals:
        reasons.setdefault((item.kind, item.reason), []).append(item.node)
    notes = []
    for (kind, reason), nodes in sorted(reasons.items()):
        few = ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
        times = f" ({len(nodes)} times)" if len(nodes) > 1 else ""
        notes.append(f"{kind}{times}: {reason}: {few}")
    what = f"{count} place{'s' * (count != 1)} of it cannot be brought into a graph"
    found = {item.bound: None for item in refusals if item.bound is not None}
    help = "export the network without these, for inference, and with fixed sizes where shapes are worked out"
    if found:
        help = f"say how large it may be where it is declared: {', '.join(f'{size} <= {most}' for size, most in found)}"
    return error("E0922", f"cannot import {name}: {what}", None, notes=notes, help=help)
