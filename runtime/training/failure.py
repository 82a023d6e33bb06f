"""Where a NaN or an infinity came from: the batch is run again by the reference meaning and the value traced
back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler.diagnostics import Diagnostic, error
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import DType
from compiler.ops.interpret import interpret
from compiler.program import TrainProgram
from runtime.disk.tensors import Array

_SMALLER = "a smaller learning rate, or inputs scaled to about -1 to 1, is the usual cure"
_ADVICE = {
    "log": "the logarithm needs numbers above 0: keep them there, as in log(x + 1e-7), or use cross_entropy or bce",
    "div": "the divisor must not be 0: add a small number to it, as in a / (b + 1e-7)",
    "reciprocal": "the divisor must not be 0: add a small number to it, as in a / (b + 1e-7)",
    "exp": "exp overflows above 88 in f32: use softmax, log_softmax or sigmoid, or subtract the maximum first",
    "sqrt": "the root needs numbers above 0, as its slope at 0 is infinite: add a small number, as in sqrt(x + 1e-7)",
    "pow": "a negative base with a fractional exponent has no value, and large powers overflow",
}


def is_finite(array: Array) -> bool:
    """Whether no element is NaN or infinite; arrays of whole numbers always are finite."""
    return array.dtype.kind in "biu" or bool(np.isfinite(array).all())


def bad_evaluation(
    program: TrainProgram, kept: Mapping[str, Array], inputs: Mapping[str, Array], loss: float, source: str, batch: int
) -> Diagnostic:
    """E0702: the loss of one batch of a data set that is only evaluated is not finite."""
    graph = program.evaluate
    title = f"the loss of batch {batch} of {source} is {shown(loss)}"
    return blame("E0702", title, graph, {**kept, **inputs}, graph.output("loss"))


def blame(code: str, title: str, graph: Graph, inputs: Mapping[str, Array], target: Value) -> Diagnostic:
    """A diagnostic at the place of the operation from which a NaN or an infinity came to ``target``.

    ``inputs`` are all inputs of ``graph`` by name, as they were when it happened.
    """
    values = interpret(graph, inputs)
    culprit = first_bad(graph, values, target)
    if culprit is None:
        note = "computed operation by operation it stays finite: it is at the edge of what the element type can hold"
        return error(code, title, None, notes=note, help=_SMALLER)
    origin = graph.origin_of(culprit)
    span = origin.spans[0] if origin.spans else None
    where = f" in {origin.scope}" if origin.scope else ""
    node = graph.producers.get(culprit)
    if node is None:
        return error(code, title, span, f"`{culprit.name}` is not finite", help=_SMALLER)
    name = node.operation.opcode
    given = _example(values[culprit])
    part = next((f", in its {step}" for step in ("update", "gradient") if step in origin.via), "")
    text = f"`{name}`{where} gives {given} first{part}" if node.inputs else f"a constant{where} is {given}"
    advice = [_ADVICE[name], _SMALLER] if name in _ADVICE else [_SMALLER]
    return error(code, title, span, text, notes=_notes(node, values), help=advice)


def first_bad(graph: Graph, values: Mapping[Value, Array], target: Value) -> Value | None:
    """The first value that is not finite, made from finite ones, from which that spread to ``target``.

    None where ``target`` is finite. Infinities that lead nowhere, such as those of a mask before a softmax,
    do not count, and constants count only where nothing else is to blame.
    """
    if is_finite(values[target]):
        return None
    sources, pending, seen = [], [target], {target}
    while pending:
        value = pending.pop()
        node = graph.producers.get(value)
        bad = [operand for operand in node.inputs if not is_finite(values[operand])] if node else []
        if not bad:
            sources.append(value)
        pending += [operand for operand in bad if operand not in seen]
        seen.update(bad)
    order = {value: position for position, value in enumerate(graph.values())}
    constants = {value for value in sources if (node := graph.producers.get(value)) and not node.inputs}
    return min(sources, key=lambda value: (value in constants, order[value]))


def not_finite(kept: Mapping[str, Array]) -> list[str]:
    """The weights and state in which some element is NaN or infinite."""
    return [name for name, array in kept.items() if not is_finite(array)]


def update_of(graph: Graph, name: str) -> Value | None:
    """The value that ``graph`` writes into the weight or state ``name``; None where it leaves it alone."""
    return next((output.value for output in graph.outputs if output.updates == name), None)


def shown(number: float) -> str:
    """``nan``, or ``infinite`` for either sign."""
    return "nan" if np.isnan(number) else "infinite"


def _notes(node: Node, values: Mapping[Value, Array]) -> list[str]:
    """The range of every operand, which often is the whole explanation."""
    notes = []
    for value in dict.fromkeys(node.inputs):
        array = values[value]
        if array.size and value.type.dtype is not DType.BOOL:
            low, high = float(array.min()), float(array.max())
            span = f"from {low:.6g} to {high:.6g}" if low != high else f"{low:.6g}"
            notes.append(f"`{node.operation.opcode}` takes %{value.name}: {value.type}, {span}")
    return notes


def _example(array: Array) -> str:
    bad = array[~np.isfinite(array)]
    return "nan" if np.isnan(bad).any() else str(float(bad.flat[0]))
