"""The rewriting driver: makes a graph anew, node by node, and asks the rules for something better at each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar, TypeAlias

from compiler.ir.graph import Graph, Node, Operation, Output, Value
from compiler.ir.live import live_nodes
from compiler.ir.types import TensorType
from compiler.ops.emit import Emit
from compiler.passes.base import Pass
from compiler.passes.pattern import Made, Maker, Match, Matcher, may_fit

# More places than these tell a reader nothing, and a long chain of rewrites would collect them all.
_MOST_SPANS = 8
# How many rewrites may lead to one another before the rules are taken to go round in circles.
_DEEPEST = 30
# Uses are counted anew in each sweep, so that a rule which needs a value to have one use may fire a sweep later.
_MOST_SWEEPS = 10
# How many combinations of classes a table of rules keeps; operations of many operands can have any number of them.
_MOST_KINDS = 4096


def _nothing_against(match: Match) -> str | None:
    return None


@dataclass(frozen=True, eq=False)
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
    candidates = _candidates(tuple(rules))
    for _ in range(_MOST_SWEEPS):
        if not any(type(node.operation) in candidates.classes for node in graph.nodes):
            break
        sweep = _Sweep(graph, candidates, tracer)
        graph = sweep.run()
        if not sweep.fired or not sweep.uses_counted:
            break
    return graph


class _Candidates:
    """Which of some rules may fit a node, told by the class of its operation and by those that made its operands: most
    nodes have none, which so costs one look into a table."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        # Those that begin with each class.
        self.classes: dict[type[Operation], list[Rule]] = {}
        for rule in rules:
            for cls in rule.pattern.operations:
                self.classes.setdefault(cls, []).append(rule)
        self._found: dict[tuple[type[Operation], bool, tuple[Maker, ...]], tuple[Rule, ...]] = {}

    def of(
        self, operation: Operation, inputs: Sequence[Value], producer: Callable[[Value], Node | None]
    ) -> Sequence[Rule]:
        """The rules for an operation on values that ``producer`` knows the nodes of."""
        beginning = self.classes.get(type(operation))
        if beginning is None:
            return ()
        nodes = [producer(value) for value in inputs]
        makers = tuple([None if node is None else type(node.operation) for node in nodes])
        distinct = len(inputs) == len(set(inputs))
        key = (type(operation), distinct, makers)
        found = self._found.get(key)
        if found is None:
            found = tuple(rule for rule in beginning if may_fit(rule.pattern, operation, makers, distinct))
            if len(self._found) < _MOST_KINDS:
                self._found[key] = found
        return found


@lru_cache(maxsize=64)
def _candidates(rules: tuple[Rule, ...]) -> _Candidates:
    return _Candidates(rules)


class _Sweep(Emit):
    """One walk over a graph: a builder that tries the rules on every node before it adds it."""

    def __init__(self, graph: Graph, candidates: _Candidates, tracer: Tracer | None) -> None:
        super().__init__(graph.name)
        self.reserve(graph)
        self.keep_inputs(graph)
        self.fired = False
        # Whether a rule did not fire because a value has other uses, some of which may be gone after the sweep.
        self.uses_counted = False
        self._graph = graph
        self._candidates = candidates
        self._tracer = tracer
        # What stands for values of the graph in place of themselves, and how often it is read for them.
        self._instead: dict[Value, Value] = {}
        self._uses: dict[Value, int] = {}
        self._matcher = Matcher(self, self._is_used_once)
        self._unnamed: set[Value] = set()
        self._depth: list[str] = []

    def run(self) -> Graph:
        graph, values, classes = self._graph, self._instead, self._candidates.classes
        names: dict[Value, str] = {}
        for node in graph.nodes:
            inputs = tuple([values.get(value, value) for value in node.inputs]) if values else node.inputs
            if type(node.operation) not in classes and inputs == node.inputs:
                self.keep(node)
                continue
            made = self.copy(node, inputs)
            if made is node.outputs or self._stands_in_for(made, node):
                continue
            for before, after in zip(node.outputs, made, strict=True):
                values[before] = after
                self._uses[after] = self._uses.get(after, 0) + graph.reads.get(before, 0)
                if after in self._unnamed:
                    names.setdefault(after, before.name)
        if not self.fired:
            return graph
        for output in graph.outputs:
            self.output(output.name, values.get(output.value, output.value), output.updates)
        return _renamed(self.finish(), names)

    def _stands_in_for(self, made: tuple[Value, ...], node: Node) -> bool:
        """Have what was just made for ``node`` give the very results of ``node``, where nothing has read it: nodes that
        read these then stay as they are."""
        if self._unnamed.isdisjoint(made) or self.nodes[-1].outputs != made:
            return False
        if not self._names.isdisjoint([value.name for value in node.outputs]):
            return False
        self.adopt(node.outputs)
        return True

    def copy(self, node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        rules = self._rules_for(node.operation, inputs)
        if not rules:
            return super().copy(node, inputs)
        names = tuple([value.name for value in node.outputs])
        before, self._origin = self._origin, node.origin
        try:
            replaced = self._replacement(rules, node.operation, inputs, names)
        finally:
            self._origin = before
        return super().copy(node, inputs) if replaced is None else (replaced,)

    def add_node(
        self,
        operation: Operation,
        inputs: tuple[Value, ...],
        names: tuple[str, ...] = (),
        types: tuple[TensorType, ...] | None = None,
    ) -> tuple[Value, ...]:
        if names:
            return super().add_node(operation, inputs, names, types)
        replaced = self._replacement(self._rules_for(operation, inputs), operation, inputs, names)
        if replaced is not None:
            return (replaced,)
        made = super().add_node(operation, inputs, names, types)
        self._unnamed.update(made)
        return made

    def _rules_for(self, operation: Operation, inputs: tuple[Value, ...]) -> Sequence[Rule]:
        """The rules to try on a node: all that begin with its class where somebody is told why they do not fit."""
        if self._tracer is not None:
            return self._candidates.classes.get(type(operation), ())
        return self._candidates.of(operation, inputs, self.producer)

    def _replacement(
        self, rules: Sequence[Rule], operation: Operation, inputs: tuple[Value, ...], names: tuple[str, ...]
    ) -> Value | None:
        """What the first rule that fits makes of a node."""
        for rule in rules:
            replaced = self._apply(rule, operation, inputs, names)
            if replaced is not None:
                return replaced
        return None

    def _is_used_once(self, value: Value) -> bool:
        shared = self._graph.reads.get(value, 0) + self._uses.get(value, 0) > 1
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
    nodes = []
    for node in live_nodes(graph):
        values.update((value, Value(names[value], value.type)) for value in node.outputs if value in names)
        inputs, outputs = (tuple([values.get(value, value) for value in side]) for side in (node.inputs, node.outputs))
        same = inputs == node.inputs and outputs == node.outputs
        nodes.append(node if same else Node(node.operation, inputs, outputs, node.origin))
    results = tuple(Output(item.name, values.get(item.value, item.value), item.updates) for item in graph.outputs)
    return replace(graph, nodes=tuple(nodes), outputs=results)
