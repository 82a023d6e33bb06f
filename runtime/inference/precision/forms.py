"""The precisions that a network can have: each makes a file where some layers have it and the others do not."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np

from runtime.inference.precision.ranges import Ranges

if TYPE_CHECKING:
    from compiler.targets.onnx.narrow.layers import Layer

Precision: TypeAlias = Literal["fp16", "int8", "int8-dynamic"]
# What a layer can have, from the smallest and fastest on; "stored" are weights in 8 bits that are computed with in f32.
Level: TypeAlias = Literal["f16", "int8", "stored", "f32"]
Plan: TypeAlias = Mapping[str, Level]

# What f16 can hold, up to what is rounded to it.
F16_LARGEST = 65504.0
# Beside layers with weights: what ONNX Runtime lets pass in 8 bits from one to the next.
_PASSING = ("Clip", "Flatten", "MaxPool", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class Form(Protocol):
    """A precision of one network."""

    @property
    def layers(self) -> Mapping[str, tuple[Level, ...]]:
        """The layers that can have it, each with what else it can have, in the order of loss."""

    def make(self, plan: Plan) -> bytes | None:
        """The file where each layer has what ``plan`` says; None where the tools write no sound one."""


@dataclass(frozen=True)
class Half:
    """f16 for numbers and weights; inputs and outputs of the network stay f32. Layers in which numbers get beyond f16
    stay f32 as well: ``overflowing``."""

    content: bytes
    ranges: Ranges

    @cached_property
    def _all(self) -> tuple[Layer, ...]:
        from compiler.targets.onnx.narrow.layers import float_layers, typed

        return float_layers(typed(self.content))

    @cached_property
    def overflowing(self) -> tuple[str, ...]:
        """The layers that f16 is too small for."""
        from compiler.targets.onnx.narrow.layers import typed, weights_beyond

        beyond = {*weights_beyond(typed(self.content), F16_LARGEST), *self.ranges.beyond}
        return tuple(layer.name for layer in self._all if not beyond.isdisjoint(layer.nodes))

    @property
    def layers(self) -> Mapping[str, tuple[Level, ...]]:
        return {layer.name: ("f16", "f32") for layer in self._all if layer.name not in self.overflowing}

    def make(self, plan: Plan) -> bytes | None:
        from compiler.targets.onnx.narrow.half import to_half
        from compiler.targets.onnx.narrow.layers import turned_batches, typed

        model = typed(self.content)
        kept = {node for layer in self._all if plan.get(layer.name, "f32") == "f32" for node in layer.nodes}
        to_half(model, kept.union(turned_batches(model)))
        return _finished(model)


@dataclass(frozen=True)
class _Eight(ABC):
    """What both 8-bit precisions have in common: every weight that is worth it is stored in 8 bits."""

    content: bytes

    @cached_property
    def _all(self) -> tuple[Layer, ...]:
        from compiler.targets.onnx.narrow.layers import typed, weight_layers

        return weight_layers(typed(self.content))

    @abstractmethod
    def _nodes(self, layer: Layer) -> tuple[str, ...]:
        """The nodes of ``layer`` that can work on whole numbers."""

    @abstractmethod
    def _with_integers(self, model: Any, nodes: set[str]) -> Any:
        """``model``, which may be changed, with these nodes working on whole numbers."""

    @property
    def layers(self) -> Mapping[str, tuple[Level, ...]]:
        return {
            layer.name: ("int8", "stored", "f32") if self._nodes(layer) else ("stored", "f32") for layer in self._all
        }

    def make(self, plan: Plan) -> bytes | None:
        from compiler.targets.onnx.narrow.layers import typed
        from compiler.targets.onnx.narrow.store import drop_unread, store
        from compiler.targets.onnx.narrow.tidy import names_in, tidy

        whole = {node for layer in self._all if plan[layer.name] == "int8" for node in self._nodes(layer)}
        model = typed(self.content)
        if whole:
            known = names_in(model)
            model = self._with_integers(model, whole)
            tidy(model, known)
        drop_unread(model)
        store(model, {name for layer in self._all if plan[layer.name] != "f32" for name in layer.weights})
        return _finished(model)


@dataclass(frozen=True)
class Static(_Eight):
    """8-bit sums with ranges found on real samples, by the quantizer of ONNX Runtime: convolutions and products whose
    second operand is a weight, and what passes 8-bit numbers on between them."""

    ranges: Ranges

    def _nodes(self, layer: Layer) -> tuple[str, ...]:
        return tuple(node for node in layer.integer if node not in self.ranges.infinite)

    def _with_integers(self, model: Any, nodes: set[str]) -> Any:
        from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
        from onnxruntime.quantization.calibrate import TensorData, TensorsData

        others = [node.name for node in model.graph.node if node.op_type in _WEIGHTED and node.name not in nodes]
        found = {
            name: TensorData(lowest=np.float32(low), highest=np.float32(high))
            for name, (low, high) in self.ranges.values.items()
        }
        # Products give f32, which ONNX Runtime has kernels for. Weights have 7 bits: two products with u8 fit into the
        # 16 bits that processors without VNNI sum them up in; more would be cut off there.
        options = {"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]}
        with _silent():
            quantizer = QDQQuantizer(
                model, True, True, QuantType.QInt8, QuantType.QUInt8,
                TensorsData(CalibrationMethod.MinMax, found), [], others, [*_WEIGHTED, *_PASSING], options,
            )  # fmt: skip
            quantizer.quantize_model()
            quantizer.model.topological_sort()
        return quantizer.model.model


@dataclass(frozen=True)
class Dynamic(_Eight):
    """8-bit sums with ranges found in each run: products and LSTMs."""

    def _nodes(self, layer: Layer) -> tuple[str, ...]:
        return layer.dynamic

    def _with_integers(self, model: Any, nodes: set[str]) -> Any:
        from compiler.targets.onnx.narrow.dynamic import lstm_integers, multiply_integers

        lstms = {node.name for node in model.graph.node if node.op_type == "LSTM"}
        multiply_integers(model, nodes - lstms)
        lstm_integers(model, nodes & lstms)
        return model


def _finished(model: Any) -> bytes | None:
    from compiler.targets.onnx.narrow.layers import Unsound, finished

    try:
        return finished(model)
    except Unsound:
        return None


@contextmanager
def _silent() -> Iterator[None]:
    """The tools of ONNX Runtime speak through the logger of the whole process."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
