"""Readable identifiers for the values of a graph."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Container
from functools import lru_cache

from compiler.diagnostics.source import Span
from compiler.ir.graph import Graph, Input, Node, Origin, Role, Value

_RESERVED = frozenset([*keyword.kwlist, *keyword.softkwlist, *dir(builtins)])
_NUMBERED = re.compile(r"t[0-9]+")
_OTHERS = re.compile(r"[^A-Za-z0-9]+")


class Names:
    """Gives out identifiers, none of them twice, none of those ``taken``, also those that are so later, and none that
    Python knows by itself."""

    def __init__(self, taken: Container[str] = ()) -> None:
        # Looked into, not copied: a module has many functions, and many names.
        self._outer = taken
        self.taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def __contains__(self, name: object) -> bool:
        return name in self.taken or name in self._outer

    def new(self, wanted: str) -> str:
        """``wanted`` as an identifier, with a number behind it where that is taken."""
        base = _OTHERS.sub("_", wanted).strip("_")
        if not base or base[0].isdigit():
            base = f"n{base}"
        name = base
        while name in self or name in _RESERVED:
            self._counts[base] = self._counts.get(base, 1) + 1
            name = f"{base}_{self._counts[base]}"
        self.taken.add(name)
        return name

    def give_back(self, name: str) -> None:
        """Let ``name``, which nothing mentions, be given out again."""
        self.taken.remove(name)


def common_scope(graph: Graph) -> str:
    """The first part of the dotted names of all weights, which goes without saying; "" where they differ."""
    firsts = {item.name.partition(".")[0] for item in graph.inputs if item.role is Role.WEIGHT and "." in item.name}
    return firsts.pop() if len(firsts) == 1 else ""


def input_name(item: Input, common: str) -> str:
    """What to call an input: data by its name, ``w_hidden_dense_weight`` for a weight."""
    name = item.name.removeprefix(f"{common}.") if common else item.name
    return f"w_{name}" if item.role is Role.WEIGHT else name


def value_name(value: Value, node: Node, common: str) -> str:
    """What to call a result: its own name if it has one, else its place and what made it: ``hidden_dense_matmul``."""
    numbered = _NUMBERED.fullmatch(value.name)
    name = f"{node.origin.scope}.{node.operation.opcode}" if numbered else value.name
    if common:
        name = name.removeprefix(f"{common}.")
    return {"backward": f"d_{name}", "update": f"update_{name}"}.get(_part(node.origin), name)


def place_of(origin: Origin) -> str:
    """Where a statement comes from, for people: the line of the source and its text; "" where nothing is known."""
    if not origin.spans:
        return origin.scope or ", ".join(origin.via)
    span, part = origin.spans[0], _part(origin)
    return f"{part} of {_shown(span)}" if part else _shown(span)


@lru_cache(maxsize=256)
def _shown(span: Span) -> str:
    return f"{span.source.name}:{span.line}: {' '.join(span.source.line(span.line).split())}"


def _part(origin: Origin) -> str:
    """The part of a training step that a node belongs to; "" for the forward pass.

    The place in the source of the others is that of what they are the gradient or the update of.
    """
    return "update" if "update" in origin.via else "backward" if "gradient" in origin.via else ""
