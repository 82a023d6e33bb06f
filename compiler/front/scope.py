"""Names in sight of an expression, and the names that weights get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from compiler.diagnostics import Span
from compiler.front.values import DslValue


@dataclass
class Naming:
    """The path of labels and kinds under which weights are named.

    Each call adds its kind, the second of one kind in the same place ``_2`` and so on; a label opens a place of its
    own. So what stands elsewhere never renames what is labelled.
    """

    path: str
    _counts: dict[str, int] = field(default_factory=dict)

    def child(self, kind: str) -> Naming:
        """The place of one more call of ``kind``."""
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        return Naming(f"{self.path}.{kind}" if count == 1 else f"{self.path}.{kind}_{count}")


@dataclass
class Binding:
    """What a name stands for, where it was bound, and whether anything has read it."""

    value: DslValue
    span: Span
    used: bool = False


class Scope:
    """The names of one body, those of the bodies around it, and the current value."""

    def __init__(self, naming: Naming, parent: Scope | None = None) -> None:
        self.naming = naming
        self.parent = parent
        self.current: DslValue | None = parent.current if parent else None
        self._bindings: dict[str, Binding] = {}
        self.labels: dict[str, Span] = {}
        # Whether a label opened this scope, so that what stands first in it needs no name of its own.
        self.fresh_label = False

    def bind(self, name: str, value: DslValue, span: Span) -> None:
        """Let ``name`` stand for ``value`` from here on; where it is bound already it is bound anew there."""
        holder = self._holder(name) or self
        before = holder._bindings.get(name)
        holder._bindings[name] = Binding(value, span, before.used if before else False)

    def declare(self, name: str, value: DslValue, span: Span, *, used: bool = False) -> None:
        """Bind ``name`` in this scope itself, hiding one of that name further out. ``used`` if nothing need read it."""
        self._bindings[name] = Binding(value, span, used)

    def find(self, name: str) -> Binding | None:
        """What ``name`` is bound to here or further out; it counts as used from then on."""
        binding = self.peek(name)
        if binding is not None:
            binding.used = True
        return binding

    def peek(self, name: str) -> Binding | None:
        """What ``name`` is bound to here or further out."""
        holder = self._holder(name)
        return None if holder is None else holder._bindings[name]

    def names(self) -> Iterator[str]:
        """Every name in sight, nearest first."""
        scope: Scope | None = self
        while scope is not None:
            yield from scope._bindings
            scope = scope.parent

    def unused(self) -> Iterator[tuple[str, Binding]]:
        """The names of this scope that nothing has read."""
        return ((name, binding) for name, binding in self._bindings.items() if not binding.used)

    def _holder(self, name: str) -> Scope | None:
        scope: Scope | None = self
        while scope is not None and name not in scope._bindings:
            scope = scope.parent
        return scope
