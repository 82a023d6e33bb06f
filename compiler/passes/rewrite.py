"""The rewriting driver: makes a graph anew, node by node, and asks the rules for something better at each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeAlias

from compiler.ir.graph import Graph, Node, Operation, Output, Value
from compiler.ir.types import TensorType
from compiler.ops.emit import Emit
from compiler.passes.base import Pass
from compiler.passes.dead import live_nodes
from compiler.passes.pattern import Made, Match, Matcher

# More places than these tell a reader nothing, and a long chain of rewrites would collect them all.
_MOST_SPANS = 8
# How many rewrites may lead to one another before the rules are taken to go round in circles.
_DEEPEST = 30
# Uses are counted anew in each sweep, so that a rule which needs a value to have one use may fire a sweep later.
_MOST_SWEEPS = 10


def _nothing_against(match: Match) -> str | None:
    return None


@dataclass(frozen=True)
class Rule:
    """A rewrite: where ``pattern`` fits and ``condition`` has nothing against it, ``replace`` makes another value.

    ``condition`` gives the reason why the rule does not apply, or None where it does. ``replace`` writes with the
    builder it is given, and what it gives has the type of the value that it replaces. Names, origins and the rewriting
    of what it writes are the driver's business.
    """

    name: str
    pattern: Made
    replace: Callable[[Emit, Match], Value]
    condition: Callable[[Match], str | None] = _nothing_against


@dataclass(frozen=True)
class Refusal:
    """Why a rule did not fire at a node that its pattern begins with."""

    rule: str
    node: Node
    reason: str

    def __str__(self) -> str:
        operands = ", ".join(map(str, self.node.inputs))
        results = ", ".join(map(str, self.node.outputs))
        return f"{self.rule}: not at {results} = {self.node.operation.opcode}({operands}): {self.reason}"


Tracer: TypeAlias = Callable[[Refusal], None]


@dataclass(frozen=True)
class RewritePass(Pass):
    """A pass that consists of rules. ``tracer`` is told why they did not fire."""

    rules: ClassVar[Sequence[Rule]]

    tracer: Tracer | None = field(default=None, compare=False)

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, self.rules, self.tracer)


def rewrite(graph: Graph, rules: Sequence[Rule], tracer: Tracer | None = None) -> Graph:
    """The graph after the rules have been applied wherever they fit, with the nodes that this left without use removed.

    Gives ``graph`` itself where none fits. Takes time in proportion to the number of nodes, as each new node is
    rewritten when it is made. Raises RuntimeError where the rules go round in circles.
    """
    by_class: dict[type[Operation], list[Rule]] = {}
    for rule in rules:
        for cls in rule.pattern.operations:
            by_class.setdefault(cls, []).append(rule)
    for _ in range(_MOST_SWEEPS):
        if not any(type(node.operation) in by_class for node in graph.nodes):
            break
        sweep = _Sweep(graph, by_class, tracer)
        after = sweep.run()
        graph = after if sweep.fired else graph
        if not sweep.fired or not sweep.uses_counted:
            break
    return graph


class _Sweep(Emit):
    """One walk over a graph: a builder that tries the rules on every node before it adds it."""

    def __init__(self, graph: Graph, rules: Mapping[type[Operation], Sequence[Rule]], tracer: Tracer | None) -> None:
        super().__init__(graph.name)
        self.reserve(graph)
        self.fired = False
        # Whether a rule did not fire because a value has other uses, some of which may be gone after the sweep.
        self.uses_counted = False
        self._graph = graph
        self._rules = rules
        self._tracer = tracer
        # How often each value made so far will be read.
        self._uses: Counter[Value] = Counter()
        self._matcher = Matcher(self, self._is_used_once)
        self._unnamed: set[Value] = set()
        self._depth: list[str] = []

    def run(self) -> Graph:
        graph = self._graph
        values: dict[Value, Value] = {}
        names: dict[Value, str] = {}
        outputs = Counter(output.value for output in graph.outputs)
        for item in graph.inputs:
            with self.at(graph.origin_of(item.value)):
                values[item.value] = self.input(item.name, item.value.type, item.role)
            self._uses[values[item.value]] += len(graph.users[item.value]) + outputs[item.value]
        for node in graph.nodes:
            made = self.copy(node, tuple(values[value] for value in node.inputs))
            for before, after in zip(node.outputs, made, strict=True):
                values[before] = after
                self._uses[after] += len(graph.users[before]) + outputs[before]
                if after in self._unnamed:
                    names.setdefault(after, before.name)
        for output in graph.outputs:
            self.output(output.name, values[output.value], output.updates)
        return _renamed(self.finish(), names)

    def add_node(
        self,
        operation: Operation,
        inputs: tuple[Value, ...],
        names: tuple[str, ...] = (),
        types: tuple[TensorType, ...] | None = None,
    ) -> tuple[Value, ...]:
        for rule in self._rules.get(type(operation), ()):
            replaced = self._apply(rule, operation, inputs, names)
            if replaced is not None:
                return (replaced,)
        made = super().add_node(operation, inputs, names, types)
        if not names:
            self._unnamed.update(made)
        return made

    def _is_used_once(self, value: Value) -> bool:
        shared = self._uses[value] > 1
        self.uses_counted |= shared
        return not shared

    def _apply(
        self, rule: Rule, operation: Operation, inputs: tuple[Value, ...], names: tuple[str, ...]
    ) -> Value | None:
        matcher = self._matcher
        if self._tracer is not None:
            matcher = replace(matcher, refuse=self._refuser(rule, operation, inputs, names))
        for match in matcher.matches(rule.pattern, operation, inputs):
            reason = rule.condition(match)
            if reason is None:
                return self._replace(rule, match)
            if matcher.refuse is not None:
                matcher.refuse(reason)
        return None

    def _replace(self, rule: Rule, match: Match) -> Value:
        if len(self._depth) == _DEEPEST:
            raise RuntimeError(f"rewrite rules go round in circles: {', '.join(dict.fromkeys(self._depth))}")
        self.fired = True
        origin = match.origin().through(rule.name)
        self._depth.append(rule.name)
        with self.at(replace(origin, spans=origin.spans[:_MOST_SPANS])):
            value = rule.replace(self, match)
        self._depth.pop()
        if value.type != match.type:
            raise RuntimeError(f"rewrite rule {rule.name} replaces {match.type} by {value.type}")
        return value

    def _refuser(
        self, rule: Rule, operation: Operation, inputs: tuple[Value, ...], names: tuple[str, ...]
    ) -> Callable[[str], None]:
        tracer = self._tracer
        assert tracer is not None
        types = operation.infer(tuple(value.type for value in inputs))
        results = tuple(Value(name, type) for name, type in zip(names or ("",) * len(types), types, strict=True))
        node = Node(operation, inputs, results, self.origin)
        return lambda reason: tracer(Refusal(rule.name, node, reason))


def _renamed(graph: Graph, names: dict[Value, str]) -> Graph:
    """``graph`` without nodes that no output needs; values named in ``names`` get these names.

    What stands for a value of the graph before so has its name, and a diff shows one changed line.
    """
    values: dict[Value, Value] = {}

    def renamed(value: Value) -> Value:
        return values.get(value, value)

    nodes = []
    for node in live_nodes(graph):
        for value in node.outputs:
            if value in names:
                values[value] = Value(names[value], value.type)
        inputs, outputs = (tuple(map(renamed, side)) for side in (node.inputs, node.outputs))
        nodes.append(Node(node.operation, inputs, outputs, node.origin))
    results = tuple(Output(item.name, renamed(item.value), item.updates) for item in graph.outputs)
    return replace(graph, nodes=tuple(nodes), outputs=results)
