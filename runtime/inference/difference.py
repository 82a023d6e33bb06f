"""Two ONNX files side by side: structure and weights as they stand, and results as ONNX Runtime gives them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from compiler.diagnostics import DiagnosticError
from compiler.ir.graph import Graph
from compiler.ir.tolerance import by_largest, excess, tolerance
from compiler.ir.types import DType
from compiler.ops.base import Array, Sizes
from compiler.ops.indexing import index_ranges
from runtime.inference.cases import random_inputs, size_cases
from runtime.inference.session import Device, InferenceSession

if TYPE_CHECKING:
    from compiler.targets.onnx.difference.loaded import Loaded
    from compiler.targets.onnx.difference.structure import StructureDifference
    from compiler.targets.onnx.difference.weights import WeightDifference

Part: TypeAlias = Literal["structure", "weights", "results"]
Trial: TypeAlias = tuple[Sizes, dict[str, Array]]
PARTS: tuple[Part, ...] = get_args(Part)
_SEED = 20260101
_THREADS = 1  # more may order sums in another way


@dataclass(frozen=True)
class OutputDifference:
    """How far the results for one output are apart. ``largest`` is the largest difference of an element, ``relative``
    what that is of the largest element, ``share`` what it is of the tolerance that exports are held to; infinite where
    shapes or types differ, or a number is finite in one only. ``sizes`` are those where it was largest."""

    name: str
    largest: float
    relative: float
    share: float
    sizes: Sizes


@dataclass(frozen=True)
class ResultDifference:
    """``cases`` are the sizes of symbols that both files ran with. Where they could not be compared, ``why_not`` says
    so; ``left_out`` are sizes that a file did not take, with its words."""

    outputs: tuple[OutputDifference, ...] = ()
    cases: tuple[Sizes, ...] = ()
    why_not: str = ""
    left_out: tuple[tuple[Sizes, str], ...] = field(default=())

    @property
    def agree(self) -> bool | None:
        """Whether every difference is within the tolerance; None where that is not known."""
        return None if self.why_not else all(output.share <= 1 for output in self.outputs)


@dataclass(frozen=True)
class Difference:
    """What was compared is there, the rest is None."""

    structure: StructureDifference | None
    weights: WeightDifference | None
    results: ResultDifference | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing that was compared differs. Results that can't be compared count as equal only where
        everything that they are made from is."""
        parts = [part.is_empty for part in (self.structure, self.weights) if part is not None]
        if self.results is not None:
            agree = self.results.agree
            parts.append(len(parts) == 2 if agree is None else agree)
        return all(parts)


def compare_files(first: Path, second: Path, parts: Sequence[Part] = PARTS, device: Device = "cpu") -> Difference:
    """What differs between two ONNX files. Raises DiagnosticError for one that can't be read (E0905, E0906, E0920,
    E0921)."""
    from compiler.targets.onnx.difference.loaded import Loaded

    one, other = Loaded(first), Loaded(second)
    structure = one.structure(other)
    return Difference(
        structure if "structure" in parts else None,
        one.weights(other) if "weights" in parts else None,
        _results(one, other, structure, device) if "results" in parts else None,
    )


def _results(one: Loaded, other: Loaded, structure: StructureDifference, device: Device) -> ResultDifference:
    missing = _unpaired(one, other, structure)
    if missing:
        return ResultDifference(why_not=missing)
    try:
        sessions = [InferenceSession(file.content, device, threads=_THREADS) for file in (one, other)]
        trials = list(_trials(one.graph(), other.graph(), structure.same_inputs))
    except DiagnosticError as failure:
        return ResultDifference(why_not=_words(failure))
    return _compared(sessions[0], sessions[1], trials, structure)


def _unpaired(one: Loaded, other: Loaded, structure: StructureDifference) -> str:
    """Why the files can't be given the same arrays, or have no results in common; empty where neither is so."""
    taken = set(structure.same_inputs.values())
    only = [f"the input {name} is in the first file only" for name in one.inputs if name not in structure.same_inputs]
    only += [f"the input {name} is in the second file only" for name in other.inputs if name not in taken]
    if only:
        return only[0]
    return "" if structure.same_outputs else "they have no output in common"


def _compared(
    first: InferenceSession, second: InferenceSession, trials: Sequence[Trial], structure: StructureDifference
) -> ResultDifference:
    found: dict[str, OutputDifference] = {}
    cases: list[Sizes] = []
    left_out: list[tuple[Sizes, str]] = []
    for sizes, inputs in trials:
        try:
            mine = first.run(inputs)
            its = second.run({structure.same_inputs[name]: array for name, array in inputs.items()})
        except DiagnosticError as failure:
            left_out.append((sizes, _words(failure)))
            continue
        cases.append(sizes)
        for name, other in structure.same_outputs.items():
            difference = _output(name, its[other], mine[name], sizes)
            if name not in found or difference.share > found[name].share:
                found[name] = difference
    if not cases:
        why = left_out[0][1] if left_out else "no sizes were found that both files take"
        return ResultDifference(why_not=why)
    return ResultDifference(tuple(found.values()), tuple(cases), "", tuple(left_out))


def _trials(first: Graph, second: Graph, same: Mapping[str, str]) -> Iterator[Trial]:
    """Sizes and inputs of the first file; integers stay below what either file indexes with them."""
    back = {name: key for key, name in same.items()}
    ranges = index_ranges(first)
    for name, size in index_ranges(second).items():
        key = back.get(name, name)
        ranges[key] = min(size, ranges.get(key, size))
    generator = np.random.default_rng(_SEED)
    values = [item.value for item in first.inputs if item.name in same]
    for index, sizes in enumerate(size_cases(first)):
        yield sizes, random_inputs(values, sizes, ranges, generator, unit=index % 2 == 1)


def _output(name: str, actual: Array, expected: Array, sizes: Sizes) -> OutputDifference:
    dtype = DType.of(expected.dtype)
    if dtype is None or actual.dtype != expected.dtype or actual.shape != expected.shape:
        return OutputDifference(name, math.inf, math.inf, math.inf, sizes)
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    share = excess(actual, expected, tolerance(dtype), by_largest)
    both = np.isfinite(a) & np.isfinite(e)
    largest = float(np.abs(a[both] - e[both]).max(initial=0.0))
    size = float(np.abs(e[both]).max(initial=0.0))
    return OutputDifference(name, largest, largest / size if size else 0.0, share, sizes)


def _words(failure: DiagnosticError) -> str:
    return "; ".join(item.title for item in failure.diagnostics)
