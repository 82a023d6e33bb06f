"""Running generated modules beside the reference interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from compiler.ir.graph import Graph, Role
from compiler.ir.text import parse_graph
from compiler.ir.tolerance import excess, tolerance
from compiler.ir.types import DType
from compiler.ops import registry
from compiler.ops.interpret import bind_sizes, interpret_outputs
from compiler.targets.numpy import generate

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


def load(text: str) -> dict[str, Any]:
    """The names of a generated module."""
    module: dict[str, Any] = {"__name__": "generated"}
    exec(compile(text, "generated.py", "exec"), module)
    return module


class Pair:
    """A graph's generated function and the reference interpreter, each with kept arrays of its own."""

    def __init__(self, graph: Graph, kept: Arrays) -> None:
        self.graph = graph
        self.text = generate([graph])
        self.module = load(self.text)
        self.kept = {name: np.array(array, order="C") for name, array in kept.items()}
        self.expected = {name: array.copy() for name, array in kept.items()}
        self._bound: dict[tuple[int, ...], Callable[..., dict[str, Array]]] = {}

    def step(self, data: Arrays) -> dict[str, Array]:
        """Run both, compare the results and what is kept; gives the program's results."""
        arrays = [data[value.name] for value in self.graph.inputs_of(Role.DATA)]
        results = self.bind(data)(*arrays)
        outputs = interpret_outputs(self.graph, {**data, **self.expected})
        shown = {output.name for output in self.graph.outputs if output.updates is None}
        assert set(results) == shown
        for name in shown:
            self._check(name, results[name], outputs[name])
        # Copied first: an update may be another kept array as it was.
        after = {o.updates: outputs[o.name].copy() for o in self.graph.outputs if o.updates is not None}
        self.expected.update(after)
        for name, array in self.expected.items():
            self._check(name, self.kept[name], array)
        return results

    def bind(self, data: Arrays) -> Callable[..., dict[str, Array]]:
        types = [(item.value.type, {**data, **self.kept}[item.name].shape) for item in self.graph.inputs]
        found = bind_sizes(types)
        sizes = tuple(found[s.name] for s in self.graph.symbols)
        if sizes not in self._bound:
            binder = self.module[self.module["SIGNATURES"][self.graph.name]["bind"]]
            self._bound[sizes] = binder(self.kept, *sizes)
        return self._bound[sizes]

    def _check(self, name: str, actual: Array, expected: Array) -> None:
        assert actual.dtype == expected.dtype, f"{name} in\n{self.text}"
        dtype = DType.of(actual.dtype)
        assert dtype is not None
        assert excess(actual, expected, tolerance(dtype)) <= 1, f"{name}: {actual} for {expected} in\n{self.text}"


@pytest.fixture
def pair() -> type[Pair]:
    return Pair


@pytest.fixture
def module() -> Callable[[Sequence[Graph]], dict[str, Any]]:
    return lambda graphs: load(generate(graphs))


@pytest.fixture
def graph() -> Callable[[str], Graph]:
    """Makes a graph of its text form."""
    return lambda text: parse_graph(text, registry())
