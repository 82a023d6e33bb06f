"""The names in an ONNX file: readable, unique, and a function of the graph alone."""

from __future__ import annotations

import re

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.graph import Graph, Value

_NUMBERED = re.compile(r"t\d+")


class Names:
    """Hands out names, with a number after those that are taken."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def take(self, wanted: str) -> str:
        """``wanted``, or ``wanted_2``, ``wanted_3``… where that is taken."""
        if wanted not in self._next:
            self._next[wanted] = 2
            return wanted
        while True:
            name = f"{wanted}_{self._next[wanted]}"
            self._next[wanted] += 1
            if name not in self._next:
                self._next[name] = 2
                return name


def name_values(graph: Graph, names: Names) -> dict[Value, str]:
    """A name for every value: inputs keep theirs, outputs get that of the output, the others their scope and
    what made them, such as ``Digits.head/matmul``. Raises DiagnosticError (E0903) where the interface is ambiguous."""
    _check_interface(graph)
    found = {item.value: names.take(item.name) for item in graph.inputs}
    for output in graph.outputs:
        names.take(output.name)
        found.setdefault(output.value, output.name)
    for node in graph.nodes:
        for value in node.outputs:
            if value not in found:
                made = node.operation.opcode if _NUMBERED.fullmatch(value.name) else value.name
                found[value] = names.take(within(node.origin.scope, made))
    return found


def value_names(graph: Graph) -> dict[Value, str]:
    """The name in the exported file of every value of ``graph``."""
    return name_values(graph, Names())


def within(scope: str, name: str) -> str:
    """``name`` under the path of labels; a name that carries the path already stays as it is."""
    return f"{scope}/{name}" if scope and not name.startswith(f"{scope}.") else name


def _check_interface(graph: Graph) -> None:
    inputs = {item.name for item in graph.inputs}
    clashes = [output for output in graph.outputs if output.name in inputs]
    if clashes:
        raise DiagnosticError(
            error(
                "E0903",
                f"{graph.name} has an input and an output that are both called {output.name}",
                spans[0] if (spans := graph.origin_of(output.value).spans) else None,
                f"this gives the output {output.name}",
                help=f"give the input {output.name} another name: in an ONNX file all names share one space",
            )
            for output in clashes
        )
