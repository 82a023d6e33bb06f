"""From the nodes of a graph to steps: pattern by pattern, from the end of the graph to its beginning, so that the last
node of a pattern is met before those that it stands for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.dims import Dim, Poly, Symbol, substitute, symbol
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import TensorType
from compiler.ops.base import Array, Op
from compiler.targets.dl.step import Operand, Step

_TENSOR = re.compile(r"(\.(in_proj_|out_proj\.)?(weight|bias|kernel|folded|part|running_\w+)\w*|[ /].*)+$|\.[^.]*$")
_MOST_FOLDED = 2**27  # elements of a weight that is worked out


class Raiser:
    """A graph on its way: rules ask it about values, and take the nodes that they speak for."""

    def __init__(self, graph: Graph, weights: Mapping[str, Array]) -> None:
        self.graph = graph
        self.known: dict[Value, Array] = {}
        self.origins: dict[Value, str] = {}  # the names of the weights that known values come from
        self.taken: set[Node] = set()
        self.steps: list[Step] = []
        self.needed = {output.value for output in graph.outputs}  # what steps read
        self.refused: dict[str, list[str]] = {}
        self.batch_first: dict[Value, Value] = {}  # of what recurrent layers take and give with the steps first
        self._names = _symbols(graph)
        self._made = 0
        for item in graph.inputs:
            if item.name in weights:
                self.known[item.value] = weights[item.name]
                self.origins[item.value] = item.name
        self._fold()

    def run(self) -> list[Step]:
        """All steps in the order in which they run. Raises DiagnosticError (E0923) for what has no spelling."""
        for node in reversed(self.graph.nodes):
            known = all(value in self.known for value in node.outputs)
            if node in self.taken or known or not self.needed.intersection(node.outputs):
                continue
            rules = (*_RULES.get(_opcode(node), ()), *_RULES.get("", ()))
            if not any(rule(self, node) for rule in rules):
                self.refused.setdefault(_opcode(node), []).append(node.origin.scope or node.outputs[0].name)
        for output in self.graph.outputs:
            if output.value in self.known:
                self.refused.setdefault("constant", []).append(output.name)
        if self.refused:
            raise _told(self.graph.name, self.refused)
        return self.steps[::-1]

    # What rules ask.

    def producer(self, value: Operand, *opcodes: str) -> Node | None:
        """The node that makes ``value``, if its operation is one of ``opcodes``; any, where none is named."""
        node = self.graph.producers.get(value) if isinstance(value, Value) else None
        return node if node is not None and (not opcodes or _opcode(node) in opcodes) else None

    def alone(self, value: Value) -> bool:
        """Whether nothing but one node reads ``value``."""
        return len(self.graph.users[value]) == 1 and value not in self.graph.output_values

    def inner(self, value: Operand, *opcodes: str) -> Node | None:
        """:meth:`producer`, if nothing else reads ``value``."""
        node = self.producer(value, *opcodes)
        return node if node is not None and isinstance(value, Value) and self.alone(value) else None

    def array(self, value: Operand) -> Array | None:
        return self.known.get(value) if isinstance(value, Value) else None

    def scalar(self, value: Operand) -> float | None:
        """The number that a value is, in every element."""
        array = self.array(value)
        if array is None or not array.size or array.size > 1:
            return None
        return float(array.reshape(-1)[0])

    def literal(self, value: Value) -> str | None:
        """A value as a number of the language, or a size; None for anything else."""
        size = None if value in self.known else self.size(value)
        if size is not None:
            text = self.dim(size)
            return text if text.isidentifier() else f"({text})"
        array = self.array(value)
        if array is None or array.ndim or array.dtype == bool or not np.isfinite(array):
            return None
        return number(array)

    def size(self, value: Value) -> Dim | None:
        """A whole number that is worked out from sizes; None for anything else."""
        if value.type.shape or not value.type.dtype.is_integer:
            return None
        array, node = self.array(value), self.producer(value, "size", "add", "sub", "mul", "cast")
        if array is not None:
            return int(array)
        if node is None or node.operation.opcode == "size":
            return None if node is None else node.operation.dim  # type: ignore[attr-defined]
        parts = [self.size(item) for item in node.inputs]
        if any(part is None for part in parts):
            return None
        a, *b = (part for part in parts if part is not None)
        match node.operation.opcode:
            case "add":
                return a + b[0]
            case "sub":
                return a - b[0]
            case "mul":
                return a * b[0]
            case _:
                return a

    def dim(self, dim: Dim) -> str:
        """A size as the language writes it, with the symbols of the signature."""
        return str(self.renamed(dim))

    def renamed(self, dim: Dim) -> Dim:
        return substitute(dim, {old: symbol(new.name, new.upper, new.lower) for old, new in self._names.items()})

    def type(self, type: TensorType) -> TensorType:
        """A type with the symbols of the signature."""
        return type.with_shape(tuple(self.renamed(dim) for dim in type.shape))

    def path(self, *values: Value, node: Node | None = None) -> str:
        """Where a layer stands: by the names of its weights, or by that of its node."""
        for value in values:
            name = self.origins.get(value, "")
            if "." in name:
                # What a tensor is called says nothing of where it is.
                return _TENSOR.sub("", name)
        scope = node.origin.scope if node is not None else ""
        return scope.partition(".")[2].rpartition(".")[0]

    # What rules do.

    def value(self, type: TensorType) -> Value:
        """A new value, which the graph does not have."""
        self._made += 1
        return Value(f"new{self._made}", type)

    def add(self, step: Step, *nodes: Node | None) -> bool:
        """Add a step, which speaks for ``nodes``; steps are added from the last to the first."""
        self.steps.append(step)
        self.needed.update(step.values)
        self.taken.update(node for node in nodes if node is not None)
        return True

    def _fold(self) -> None:
        """Work out what depends on weights and constants alone."""
        for node in self.graph.nodes:
            operation = node.operation
            assert isinstance(operation, Op)
            if not all(value in self.known for value in node.inputs) or _opcode(node).startswith("random"):
                continue
            sizes = [value.type.size for value in node.outputs]
            if not all(isinstance(size, int) and size <= _MOST_FOLDED for size in sizes) or _is_symbolic(operation):
                continue
            arrays = operation.reference({}, *(self.known[value] for value in node.inputs))
            name = next((self.origins[value] for value in node.inputs if value in self.origins), "")
            for value, array in zip(node.outputs, arrays, strict=True):
                self.known[value] = np.asarray(array, value.type.dtype.numpy)
                if name:
                    self.origins[value] = name


Rule: TypeAlias = Callable[[Raiser, Node], bool]
_Function = TypeVar("_Function", bound=Rule)
# The files of rules: those that speak for many nodes are asked first.
_ORDER = ("attention", "recurrent", "layers", "shapes", "functions")
_RULES: dict[str, list[Rule]] = {}


def raises(*opcodes: str) -> Callable[[_Function], _Function]:
    """Register a rule for nodes of these operations: it adds a step and is true, or does nothing. Rules of one file are
    asked in their order there; those without an operation come last, and are asked about all."""

    def register(function: _Function) -> _Function:
        for opcode in opcodes or ("",):
            known = _RULES.setdefault(opcode, [])
            known.append(function)
            known.sort(key=lambda rule: _ORDER.index(rule.__module__.rpartition(".")[2]))
        return function

    return register


def spelled() -> frozenset[str]:
    """The operations that there are rules for."""
    return frozenset(_RULES)


def number(array: Array) -> str:
    """A number in the fewest digits that give it back in its own type."""
    if array.dtype.kind in "iu":
        return str(int(array))
    value: Any = array[()]
    text = np.format_float_positional(value, unique=True, trim="0")
    if len(text) > 12:
        text = np.format_float_scientific(value, unique=True, trim="-", exp_digits=1).replace("e+", "e")
    text = text.removesuffix("e0")
    return text.removesuffix(".0")


def numbers(items: Iterable[int]) -> str:
    """One number where all are equal, else a tuple of them."""
    found = tuple(items)
    return str(found[0]) if len(set(found)) == 1 else f"({', '.join(map(str, found))}{',' * (len(found) == 1)})"


def _opcode(node: Node) -> str:
    return node.operation.opcode


def _is_symbolic(operation: Op) -> bool:
    """Whether the operation speaks of sizes that only a run knows."""
    return any(map(_has_symbol, vars(operation).values()))


def _has_symbol(attribute: object) -> bool:
    return isinstance(attribute, Poly) or (isinstance(attribute, tuple) and any(map(_has_symbol, attribute)))


def _symbols(graph: Graph) -> dict[str, Symbol]:
    """Names for symbols as people write them: N for what comes first, and capitals."""
    found: dict[str, Symbol] = {}
    taken = {item.name for item in graph.symbols if re.fullmatch(r"[A-Z][A-Za-z0-9_]*", item.name)}
    letters = iter(f"{letter}{round or ''}" for round in range(100) for letter in "NTSHWKLMPQRUVXYZ")
    for item in graph.symbols:
        name = item.name
        if name not in taken:
            name = next(letter for letter in letters if letter not in taken)
            taken.add(name)
        found[item.name] = Symbol(name, item.upper, item.lower)
    return found


def _told(name: str, refused: Mapping[str, Sequence[str]]) -> DiagnosticError:
    count = Counter({kind: len(places) for kind, places in refused.items()})
    notes = [
        f"{kind}{f' ({count[kind]} times)' if count[kind] > 1 else ''}: {', '.join(places[:3])}"
        for kind, places in sorted(refused.items())
    ]
    help = 'import the file itself in a model file instead: import "net.onnx" as Net'
    title = f"{name} has what the language has no words for"
    return DiagnosticError([error("E0923", title, None, notes=notes, help=help)])
