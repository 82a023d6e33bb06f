"""A bench for layers: a body of a model run as the NumPy program does while training, and as an exported file does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import Source
from compiler.ir.graph import Graph, Role
from compiler.ir.types import DType
from compiler.ops.base import Array
from compiler.passes.autodiff import gradient
from compiler.passes.order import COMMON, TRAIN, Pipeline
from compiler.program import ModelProgram
from runtime.inference.session import InferenceSession
from runtime.programs.engine import Engine

RECEIVED = "received"


@dataclass(frozen=True)
class Step:
    """What a training step gives: the body's result, the gradient by each float input and weight of the sum of
    ``result * received``, and the weights and statistics afterwards."""

    result: Array
    gradients: dict[str, Array]
    kept: dict[str, Array]


class Bench:
    """``inputs`` are arrays by name; their first dimension is N, and the others are as ``types`` says, or numbers."""

    @staticmethod
    def signature(inputs: Mapping[str, Array], types: Mapping[str, str]) -> str:
        """``x: f32[N, 4], mask: bool[N, 7]``."""
        return ", ".join(f"{name}: {types.get(name) or _type(array)}" for name, array in inputs.items())

    @classmethod
    def model(cls, body: str, inputs: Mapping[str, Array], types: Mapping[str, str] | None = None) -> ModelProgram:
        """The inference program of a model ``Net`` with this body, whose first input is ``x``."""
        text = f"model Net({cls.signature(inputs, types or {})}) {{\n{body}\n}}"
        return compiler.compile_model(compiler.check(Source("test.dl", text)), "Net")

    @classmethod
    def step(
        cls,
        body: str,
        inputs: Mapping[str, Array],
        received: Array,
        weights: Mapping[str, Array] | None = None,
        types: Mapping[str, str] | None = None,
        statements: str = "",
    ) -> Step:
        """One training step; ``weights`` go by their names behind ``Net.``, and ``statements`` are the block's."""
        every = {**inputs, RECEIVED: received}
        graph = cls.training_graph(body, inputs, received, types, statements)
        kept = {name: np.array(array) for name, array in cls._kept(graph, weights or {}).items()}
        engine = Engine(compiler.numpy_module([graph], "test"), kept)
        results = {name: array.copy() for name, array in engine.call(graph.name, every).items()}
        found = {name.removeprefix("gradient:").removeprefix("Net."): array for name, array in results.items()}
        after = {name.removeprefix("Net."): array for name, array in engine.kept.items()}
        # The gradient by what the result is multiplied by is the result.
        return Step(found.pop(RECEIVED), {k: v for k, v in found.items() if k != "loss"}, after)

    @classmethod
    def training_graph(
        cls,
        body: str,
        inputs: Mapping[str, Array],
        received: Array,
        types: Mapping[str, str] | None = None,
        statements: str = "",
    ) -> Graph:
        """The graph of ``sum(Net(…) * received)`` with the gradients by all floats."""
        types = types or {}
        signature = cls.signature({**inputs, RECEIVED: received}, types)
        text = f"""
            model Net({cls.signature(inputs, types)}) {{
                {body}
            }}
            train net({signature}) {{
                {statements}
                minimize sum(Net({", ".join(inputs)}) * {RECEIVED}) with sgd(1.0)
            }}
        """
        checked = compiler.check(Source("test.dl", text))
        stable = Pipeline(COMMON).run(checked.elaborated.trains["net"].losses[0].graph)
        floats = [item.name for item in stable.inputs if item.value.type.dtype.is_float and item.role is not Role.STATE]
        return Pipeline(TRAIN).run(gradient(stable, "loss", floats))

    @classmethod
    def loss(cls, expression: str, inputs: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
        """A loss of the inputs, and its gradients by those that are floats, as the NumPy program of a step has them."""
        text = f"train net({cls.signature(inputs, {})}) {{ minimize {expression} with sgd(1.0) }}"
        graph = compiler.check(Source("test.dl", text)).elaborated.trains["net"].losses[0].graph
        floats = [name for name, array in inputs.items() if array.dtype.kind == "f"]
        step = Pipeline(TRAIN).run(gradient(Pipeline(COMMON).run(graph), "loss", floats))
        results = Engine(compiler.numpy_module([step], "test"), {}).call(step.name, inputs)
        return float(results["loss"]), {name: results[f"gradient:{name}"].copy() for name in floats}

    @staticmethod
    def _kept(graph: Graph, weights: Mapping[str, Array]) -> dict[str, Array]:
        known = {"seed": np.array(0), "step": np.array(0), **{f"Net.{name}": array for name, array in weights.items()}}
        kept = {item.name for item in graph.inputs if item.role is not Role.DATA}
        return {name: array for name, array in known.items() if name in kept}

    @classmethod
    def infer(
        cls,
        body: str,
        inputs: Mapping[str, Array],
        weights: Mapping[str, Array] | None = None,
        types: Mapping[str, str] | None = None,
        opset: int = 21,
    ) -> Array:
        """What the exported file gives, which has to be what the NumPy program gives, with the whole batch, and with
        its first sample."""
        program = cls.model(body, inputs, types)
        named = {f"Net.{name}": array for name, array in (weights or {}).items()}
        engine = Engine(compiler.model_module(program), named)
        content = compiler.onnx_file(program, named, opset=opset)
        for count in (1, None):
            part = {name: np.ascontiguousarray(array[:count]) for name, array in inputs.items()}
            expected = engine.call("infer", part)["output"].copy()
            for optimise in (False, True):
                given = InferenceSession(content, optimise=optimise).run(part)["output"]
                _assert_close(given, expected)
        return expected


def _assert_close(actual: Array, wanted: Array) -> None:
    """Equal to what f32 allows. What is near 0 among large numbers is a difference of such: how it is rounded hangs on
    the order in which the processor at hand adds."""
    largest = np.abs(np.asarray(wanted, np.float64)).max(initial=0.0, where=np.isfinite(wanted))
    np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-5 + 1e-6 * largest)


def _type(array: Array) -> str:
    sizes = ", ".join(["N", *map(str, array.shape[1:])])
    return f"{DType.of(array.dtype)}[{sizes}]"


@pytest.fixture(scope="session")
def bench() -> type[Bench]:
    return Bench


@pytest.fixture
def agrees() -> Callable[..., None]:
    """Compares an f32 array with one of PyTorch's, best of f64, at what f32 allows."""

    def check(actual: Any, expected: Any) -> None:
        wanted = expected.detach().numpy() if hasattr(expected, "detach") else np.asarray(expected)
        assert actual.dtype == np.float32
        _assert_close(actual, wanted)

    return check
