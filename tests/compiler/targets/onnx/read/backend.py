"""The ONNX project's own tests of single operators, run by the importer and the NumPy program.

``python tests/compiler/targets/onnx/read/backend.py`` prints the summary: how many cases passed, how many of these with
inputs that say a shape or the like given as constants, which came out wrong, and what is not supported, with reasons.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

import compiler
from compiler.ir.graph import Graph, Role
from compiler.ops.base import Array
from compiler.passes.order import COMMON, Pipeline
from compiler.targets.onnx.read.importer import Imported, import_graph
from compiler.targets.onnx.read.load import OPSETS, LoadedModel, opset, prepare
from compiler.targets.onnx.read.refusals import Refused
from runtime.programs.engine import Engine


@dataclass
class Summary:
    passed: int = 0
    fixed: int = 0
    wrong: list[str] = field(default_factory=list)
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def text(self) -> str:
        """What is kept as a file, to be compared with."""
        head = [
            f"onnx {onnx.__version__}, cases of opset {OPSETS[0]} to {OPSETS[-1]}",
            f"passed {self.passed}, of them {self.fixed} with inputs that have to be known given as constants",
            f"wrong {len(self.wrong)}",
            f"not supported {self.refused}, by reason (one case may have several):",
        ]
        listed = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
        return "\n".join([*head, *self.wrong, *(f"{count:4} {reason}" for reason, count in listed)]) + "\n"


def run(imported: Imported) -> Engine:
    """The NumPy program of an imported graph, with the one function ``infer``."""
    graph = Pipeline(COMMON).run(imported.graph)
    named = Graph("infer", graph.inputs, graph.nodes, graph.outputs, graph.input_origins)
    return Engine(compiler.numpy_module([named], "imported"), imported.weights)


def outputs(imported: Imported, feeds: Sequence[Array]) -> list[Array]:
    """The results for the data inputs in their order."""
    names = [item.name for item in imported.graph.inputs if item.role is Role.DATA]
    found = run(imported).call("infer", dict(zip(names, feeds, strict=True)))
    return [found[output.name] for output in imported.graph.outputs]


def run_all() -> Summary:
    summary = Summary()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the cases that make their numbers with NumPy
        from onnx.backend.test.loader import load_model_tests

        for case in load_model_tests(kind="node"):
            version = opset(case.model)
            if not version or version in OPSETS:
                _run_case(case, summary)
    return summary


def _run_case(case: Any, summary: Summary) -> None:
    model = prepare(case.model.SerializeToString(), case.name)
    stored = {item.name for item in model.proto.graph.initializer}
    names = [item.name for item in model.proto.graph.input if item.name not in stored]
    fixed = False
    for feeds, wanted in case.data_sets:
        given = {name: _array(feed) for name, feed in zip(names, feeds, strict=False)}
        try:
            imported, constants = _imported(model, given)
        except Refused as refused:
            summary.refused += 1
            summary.reasons.update({f"{item.kind}: {item.reason}" for item in refused.refusals})
            return
        fixed |= bool(constants)
        found = outputs(imported, [given[name] for name in names if name not in constants])
        problem = next(filter(None, map(_differ, found, map(_array, wanted), [case] * len(found))), "")
        if problem or len(found) != len(wanted):
            summary.wrong.append(f"{case.name}: {problem}")
            return
    summary.passed += 1
    summary.fixed += fixed


def _imported(model: LoadedModel, given: Mapping[str, Array]) -> tuple[Imported, set[str]]:
    """The graph, and the inputs without which it could not be made, given as constants."""
    fixed: dict[str, Array] = {}
    while True:
        try:
            return import_graph(model, "Case", fixed), set(fixed)
        except Refused as refused:
            needed = {name for item in refused.refusals for name in item.needed} - fixed.keys()
            if not needed or not all(item.needed for item in refused.refusals):
                raise
            fixed |= {name: given[name] for name in needed}


def _array(tensor: Any) -> Array:
    found = onnx.numpy_helper.to_array(tensor) if isinstance(tensor, onnx.TensorProto) else tensor
    return found if isinstance(found, list) else np.asarray(found, order="C")  # a list is a sequence of tensors


def _differ(found: Array, wanted: Array, case: Any) -> str:
    if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
        return f"{found.dtype}{list(found.shape)}, not {wanted.dtype}{list(wanted.shape)}"
    if found.dtype.kind not in "fV":
        return "" if np.array_equal(found, wanted) else "other values"
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    return "" if np.allclose(a, b, case.rtol, case.atol, equal_nan=True) else "other values"


if __name__ == "__main__":
    print(run_all().text(), end="")
