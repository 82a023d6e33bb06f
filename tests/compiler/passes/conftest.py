"""Graphs for the tests of passes, from text or from Python, and how two of them are compared."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from compiler.ir.graph import Graph, Value
from compiler.ir.text import parse_graph, to_text
from compiler.ir.types import TensorType
from compiler.ir.verify import verify
from compiler.ops import Emit
from compiler.ops.base import registry
from compiler.passes.base import Pass
from compiler.passes.check import check_same_results
from compiler.passes.rewrite import Refusal, Rule, rewrite

# Writes the result y of inputs x0, x1…
Make = Callable[..., Value]


class Graphs:
    """What tests of passes have in common."""

    @staticmethod
    def built(make: Make, *types: TensorType) -> Graph:
        """The graph of ``make(b, x0, x1, …)`` on inputs of these types, of which ``x0`` is called so."""
        b = Emit("g")
        b.output("y", make(b, *(b.input(f"x{index}", type) for index, type in enumerate(types))))
        return b.finish()

    @staticmethod
    def read(body: str) -> Graph:
        """The graph whose text is ``body`` between the braces."""
        return parse_graph(f"graph g {{\n{body}\n}}", registry())

    @staticmethod
    def text(graph: Graph) -> str:
        """The graph's text, without what tells where its nodes came from."""
        return re.sub(r"[ ]+#.*", "", to_text(graph)).strip()

    @classmethod
    def same_text(cls, graph: Graph, body: str) -> bool:
        """Whether ``graph`` is what ``body`` says, names included."""
        return cls.text(graph) == cls.text(cls.read(body))

    @classmethod
    def unnamed(cls, graph: Graph) -> str:
        """The graph's text with its values numbered anew."""
        b = Emit(graph.name)
        values = {item.value: b.input(item.name, item.value.type, item.role) for item in graph.inputs}
        for node in graph.nodes:
            results = b.add_node(node.operation, tuple(values[value] for value in node.inputs))
            values.update(zip(node.outputs, results, strict=True))
        for output in graph.outputs:
            b.output(output.name, values[output.value], output.updates)
        return cls.text(b.finish())

    @staticmethod
    def applied(step: Pass, graph: Graph) -> Graph:
        """The graph after a pass, verified, and compared with the one before where the pass claims to be exact."""
        after = step.apply(graph)
        verify(after)
        if step.exact:
            check_same_results(step.name, graph, after)
        return after

    @staticmethod
    def refusals(rules: tuple[Rule, ...], graph: Graph) -> list[Refusal]:
        """Why rules did not fire, for a graph that they have to leave alone."""
        found: list[Refusal] = []
        assert rewrite(graph, rules, found.append) is graph
        return found


@pytest.fixture(scope="session")
def graphs() -> type[Graphs]:
    return Graphs
