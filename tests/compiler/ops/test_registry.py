"""What the registry refuses, and how facets are opted out of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from compiler.ir.types import TensorType
from compiler.ops import FacetError, Op, has_facet, operation, registry, without
from compiler.ops.base import Gradients, Sample, Values
from compiler.ops.elementwise import Add


def complete(opcode: str) -> type[Op]:
    """A class with every facet, of no use otherwise."""

    class Complete(Op):
        def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
            return inputs

        def gradient(self, b: Any, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
            return gradients

        def reference(self, sizes: Any, *operands: Any) -> tuple[Any, ...]:
            return operands

        def numpy(self, c: Any) -> None:
            c.line("")

        def onnx(self, c: Any) -> None:
            c.alias(c.inputs[0])

        @classmethod
        def samples(cls) -> Sequence[Sample]:
            return ()

    Complete.opcode = opcode
    return Complete


@pytest.fixture(autouse=True)
def unchanged_registry() -> Any:
    before = dict(registry())
    yield
    assert dict(registry()) == before, "the test left an operation in the registry"


@pytest.mark.parametrize("facet", ["infer", "gradient", "reference", "numpy", "onnx", "samples"])
def test_a_missing_facet_is_refused(facet: str) -> None:
    base = complete("lacking")
    members = {name: member for name, member in vars(base).items() if name != facet}
    lacking = dataclass(frozen=True)(type("Lacking", (Op,), {**members, "__module__": __name__}))
    with pytest.raises(TypeError, match=f"operation Lacking lacks {facet}; opt out with without"):
        operation(lacking)


def test_an_opted_out_facet_is_accepted_and_says_why() -> None:
    cls = complete("partly")
    cls.onnx = without("ONNX has nothing like it")  # type: ignore[method-assign]
    registered = operation(dataclass(frozen=True)(cls))
    del registry()["partly"]  # type: ignore[attr-defined]
    assert not has_facet(registered(), "onnx")
    assert has_facet(registered(), "numpy")
    with pytest.raises(FacetError, match="ONNX has nothing like it"):
        registered().onnx(None)  # type: ignore[arg-type]


def test_a_class_that_is_no_frozen_dataclass_is_refused() -> None:
    with pytest.raises(TypeError, match="operation plain is not a frozen dataclass"):
        operation(complete("plain"))
    with pytest.raises(TypeError, match="operation thawed is not a frozen dataclass"):
        operation(dataclass(complete("thawed")))


def test_an_opcode_is_taken_once() -> None:
    with pytest.raises(TypeError, match="two operations are called add"):
        operation(dataclass(frozen=True)(complete("add")))


def test_a_class_without_opcode_is_refused() -> None:
    cls = complete("nameless")
    del cls.opcode
    with pytest.raises(TypeError, match="has no opcode"):
        operation(dataclass(frozen=True)(cls))


def test_operations_are_values() -> None:
    assert Add() == Add()
    assert hash(Add()) == hash(Add())
    assert all(cls.opcode == opcode for opcode, cls in registry().items())
