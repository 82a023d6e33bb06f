"""Certification: proof by trial that an ONNX file computes in ONNX Runtime what the NumPy program does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.graph import Graph, Node
from compiler.ir.tolerance import Tolerance, by_largest, excess, tolerance
from compiler.ir.types import DType
from compiler.ops.base import Array, Sizes
from compiler.ops.indexing import index_ranges
from compiler.ops.interpret import bind_sizes
from compiler.targets.onnx import export_any
from compiler.targets.onnx.content import Content, changed
from compiler.targets.onnx.metadata import Description
from compiler.targets.onnx.releases import DEFAULT
from compiler.version import VERSION
from runtime.inference.cases import random_inputs, size_cases
from runtime.inference.cuda import PROVIDER
from runtime.inference.locate import Trial, first_fault
from runtime.inference.session import Device, InferenceSession, runtime_version

# Takes the data arrays by name and gives the outputs by name; its arrays may be reused by its next call.
Reference: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]

_NO_RANGES: Mapping[str, int] = MappingProxyType({})
_UNDESCRIBED = Description()
_SEED = 20260101
_OPTIMISATIONS = (False, True)
# More threads may order sums in another way; one gives the same certificate wherever the processor is the same.
_THREADS = 1


@dataclass(frozen=True)
class Agreement:
    """How close results came: the largest absolute difference, and the largest part of the tolerance that was used."""

    largest: float = 0.0
    share: float = 0.0

    def joined(self, other: Agreement) -> Agreement:
        return Agreement(max(self.largest, other.largest), max(self.share, other.share))


@dataclass(frozen=True)
class Certificate:
    """What was tried and how closely the two programs agree: every one of ``cases``, the sizes of the
    symbols, ran with ONNX Runtime's optimisations off and on."""

    tolerances: Mapping[DType, Tolerance]
    agreement: Agreement
    cases: tuple[Sizes, ...]
    providers: tuple[str, ...]
    runtime: str

    def as_metadata(self) -> dict[str, str]:
        """The certificate in words, for the file; the same on one machine each time."""
        return {
            "runtime": f"ONNX Runtime {self.runtime}",
            "providers": ", ".join(self.providers),
            "optimisations": "off, on",
            "sizes": "; ".join(filter(None, map(_sizes_text, self.cases))) or "fixed",
            "tolerance": "; ".join(f"{dtype} {_tolerance_text(t)}" for dtype, t in self.tolerances.items()),
            "difference": f"{self.agreement.largest:.1e}",
        }

    def summary(self) -> str:
        """One line for the terminal."""
        device = "CUDA" if PROVIDER in self.providers else "CPU"
        return (
            f"certified: equal to ONNX Runtime {self.runtime} ({device}) at {_cases_text(self.cases)}; "
            f"largest difference {self.agreement.largest:.1e}, {100 * self.agreement.share:.2g}% of the tolerance"
        )


def certify(
    content: Content,
    graph: Graph,
    weights: Mapping[str, Array],
    reference: Reference,
    *,
    ranges: Mapping[str, int] = _NO_RANGES,
    samples: Mapping[str, Array] | None = None,
    device: Device = "cpu",
) -> Certificate:
    """Run the ONNX file ``content`` of ``graph`` against ``reference``, the NumPy program with the same weights.

    ``ranges`` gives for an integer input the number of things that it indexes, where the graph does not show
    it; ``samples`` is a batch of real inputs to try as well. Raises DiagnosticError that names the first
    layer that differs (E0914), or where no output was a finite number, so that nothing is proved (E0915).
    """
    sessions = [InferenceSession(content, device, optimise, _THREADS) for optimise in _OPTIMISATIONS]
    dtypes = dict.fromkeys(output.value.type.dtype for output in graph.outputs)
    agreement, cases, finite = Agreement(), [], False
    for sizes, inputs in trial_inputs(graph, weights, ranges, samples):
        expected = {name: np.array(array) for name, array in reference(inputs).items()}
        finite = finite or any(np.isfinite(array.astype(np.float64)).any() for array in expected.values())
        for session, optimise in zip(sessions, _OPTIMISATIONS, strict=True):
            trial = Trial(content, graph, weights, inputs, sizes, device, optimise)
            agreement = agreement.joined(_compare(trial, session.run(inputs), expected))
        cases.append(sizes)
    if not cases:
        raise _proves_nothing(f"no sizes that {graph.name} could take were found")
    if not finite:
        raise _proves_nothing(f"{graph.name} gave no finite number for any random input")
    tolerances = {dtype: tolerance(dtype) for dtype in dtypes}
    return Certificate(tolerances, agreement, tuple(cases), sessions[0].providers, runtime_version())


def certified_export(
    graph: Graph,
    weights: Mapping[str, Array],
    reference: Reference,
    *,
    description: Description = _UNDESCRIBED,
    ranges: Mapping[str, int] = _NO_RANGES,
    samples: Mapping[str, Array] | None = None,
    device: Device = "cpu",
    opset: int = DEFAULT,
) -> tuple[Content, Certificate]:
    """The ONNX file of ``graph``, certified, with ``description`` and the certificate in its metadata.

    The arguments are those of :func:`certify` and of :func:`compiler.targets.onnx.export`, and so are the
    errors. The same arguments give the same bytes on one machine.
    """
    from compiler.targets.onnx.file import with_metadata

    plain = export_any(graph, weights, opset=opset, device=device)
    certificate = certify(plain, graph, weights, reference, ranges=ranges, samples=samples, device=device)
    described = replace(description, version=VERSION, certificate=certificate.as_metadata())
    content = changed(plain, lambda file: with_metadata(file, described.as_metadata(), described.text))
    # What is handed out is tried as well, as it is: one small case, in a session of its own.
    sizes, inputs = next(trial_inputs(graph, weights, ranges, None))
    results = InferenceSession(content, device, threads=_THREADS).run(inputs)
    _compare(Trial(content, graph, weights, inputs, sizes, device, True), results, reference(inputs))
    return content, certificate


def trial_inputs(
    graph: Graph,
    weights: Mapping[str, Array],
    ranges: Mapping[str, int],
    samples: Mapping[str, Array] | None,
) -> Iterator[tuple[Sizes, dict[str, Array]]]:
    """The sizes of symbols and the data that a certification tries, the same each time."""
    values = [item.value for item in graph.inputs if item.name not in weights]
    ranges = {**index_ranges(graph), **ranges}
    generator = np.random.default_rng(_SEED)
    for index, sizes in enumerate(size_cases(graph)):
        yield sizes, random_inputs(values, sizes, ranges, generator, unit=index % 2 == 1)
    if samples is not None:
        inputs = {value.name: np.asarray(samples[value.name]) for value in values}
        yield bind_sizes((value.type, inputs[value.name].shape) for value in values), inputs


def _compare(trial: Trial, actual: Mapping[str, Array], expected: Mapping[str, Array]) -> Agreement:
    agreement = Agreement()
    for output in trial.graph.outputs:
        a, e = actual[output.name], expected[output.name]
        share = excess(a, e, tolerance(output.value.type.dtype), by_largest) if a.dtype == e.dtype else math.inf
        if share > 1:
            raise _differs(trial, output.name, a, e)
        both = np.isfinite(a.astype(np.float64)) & np.isfinite(e.astype(np.float64))
        difference = np.abs(a[both].astype(np.float64) - e[both].astype(np.float64))
        agreement = agreement.joined(Agreement(float(difference.max(initial=0.0)), share))
    return agreement


def _differs(trial: Trial, output: str, actual: Array, expected: Array) -> DiagnosticError:
    fault = first_fault(trial)
    switch = "on" if trial.optimise else "off"
    where = f", with {sizes}" if (sizes := _sizes_text(trial.sizes)) else ""
    notes = [f"output `{output}`{where} and optimisations {switch}: {_worst(actual, expected)}"]
    if fault is None:
        title = "the ONNX file and the NumPy program differ"
        notes.append("each layer of the file computes what it should by itself, so the NumPy program is in doubt")
        span = None
    else:
        layer = _layer(fault.node)
        title = f"the ONNX file and the NumPy program differ from {layer} on"
        span = fault.node.origin.spans[0] if fault.node.origin.spans else None
        times = f"{fault.share:.3g} times the tolerance" if math.isfinite(fault.share) else "beyond any tolerance"
        alone = "once ONNX Runtime joins it with its neighbours" if fault.fused else "on equal operands"
        notes.append(f"{layer} ({fault.node.operation.opcode}) is the first that differs: {times}, {alone}")
    help = "nothing is wrong with your file: report this, with the file, as a fault in dlc"
    return DiagnosticError([error("E0914", title, span, "the first layer that differs", notes=notes, help=help)])


def _worst(actual: Array, expected: Array) -> str:
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return f"ONNX Runtime gives {actual.dtype}{list(actual.shape)}, NumPy {expected.dtype}{list(expected.shape)}"
    with np.errstate(invalid="ignore"):
        difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    same = (actual == expected) | ((actual != actual) & (expected != expected))
    difference = np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))
    index = np.unravel_index(int(np.argmax(difference)), difference.shape)
    place = f"at {[int(i) for i in index]} " if index else ""
    return f"{place}ONNX Runtime gives {actual[index]}, NumPy {expected[index]}"


def _proves_nothing(why: str) -> DiagnosticError:
    notes = "floats were drawn from a standard normal distribution and from 0 to 1"
    help = "give real inputs for the certification"
    return DiagnosticError([error("E0915", f"{why}, so nothing can be certified", None, notes=notes, help=help)])


def _layer(node: Node) -> str:
    return node.origin.scope or node.operation.opcode


def _sizes_text(sizes: Sizes) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _cases_text(cases: Sequence[Sizes]) -> str:
    """``N=1, 2, 7, 64`` for one symbol; the cases in full for more."""
    if not cases[0]:
        return "its fixed sizes"
    if len(cases[0]) > 1:
        return "; ".join(map(_sizes_text, cases))
    (name,) = cases[0]
    return f"{name}={', '.join(str(case[name]) for case in cases)}"


def _tolerance_text(allowed: Tolerance) -> str:
    return f"{allowed.absolute:g} + {allowed.relative:g}*max|x|" if allowed.relative else "exact"
