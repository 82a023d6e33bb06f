"""Names in sight of an expression, and the names that weights get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from compiler.diagnostics import Span
from compiler.front.values import DslValue


@dataclass(frozen=True, slots=True)
class Taken:
    """Where a name of a place was given, and whether by a label (or ``layer``) or by the kind of what stands there."""

    span: Span
    labelled: bool


@dataclass
class Naming:
    """The path of labels and kinds under which weights are named.

    Each call adds its kind, the second of one kind in the same place ``_2`` and so on; a label opens a place of its
    own. So what stands elsewhere never renames what is labelled. No two places have one name: they would share their
    weights.
    """

    path: str
    _taken: dict[str, Taken] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def child(self, kind: str, span: Span) -> Naming:
        """The place of one more call of ``kind``."""
        name = kind
        count = self._counts.get(kind, 0) + 1
        while (name := kind if count == 1 else f"{kind}_{count}") in self._taken:
            count += 1
        self._counts[kind] = count
        self._taken[name] = Taken(span, labelled=False)
        return Naming(f"{self.path}.{name}")

    def labelled(self, name: str, span: Span) -> Naming:
        """The place that a label names, or ``layer``; :meth:`taken` tells whether the name is free."""
        self._taken.setdefault(name, Taken(span, labelled=True))
        return Naming(f"{self.path}.{name}")

    def taken(self, name: str) -> Taken | None:
        """What goes by ``name`` here already."""
        return self._taken.get(name)


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
        # Whether a label opened this scope, so that the first repeat in it needs no name of its own.
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
        """The names of this scope that nothing has read, but for those that begin with ``_``."""
        bindings = self._bindings.items()
        return ((name, binding) for name, binding in bindings if not binding.used and not name.startswith("_"))

    def _holder(self, name: str) -> Scope | None:
        scope: Scope | None = self
        while scope is not None and name not in scope._bindings:
            scope = scope.parent
        return scope
