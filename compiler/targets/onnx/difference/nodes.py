"""The nodes of two files side by side: which correspond, and what differs between those that do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from hashlib import sha256
from typing import Any

import onnx

from compiler.targets.onnx.inner import inner_graphs, read_by
from compiler.targets.onnx.read.load import STANDARD, opset, shown

# Names tell which nodes correspond where at least this share of the smaller file's nodes are found by them.
_STABLE = 0.5
_FEW = 8  # elements of a tensor that are spelled out
_LONGEST = 60  # characters of an attribute that are shown


@dataclass(frozen=True)
class NodeChange:
    """Two nodes that correspond, as messages call them, and how they differ, each in a few words."""

    first: str
    second: str
    how: tuple[str, ...]


@dataclass(frozen=True)
class NodeDifference:
    """``by_names`` tells whether names said which nodes correspond, or else their order and what they do."""

    by_names: bool
    equal: int
    removed: tuple[str, ...]
    added: tuple[str, ...]
    changed: tuple[NodeChange, ...]


class Side:
    """The nodes of one file and what can be asked about them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.nodes = list(graph.node)
        self.labels = [shown(node, number) for number, node in enumerate(self.nodes)]
        self.weights = {proto.name: tuple(proto.dims) for proto in graph.initializer}
        self.inputs = {item.name: place for place, item in enumerate(graph.input) if item.name not in self.weights}
        self.makers = {name: (n, place) for n, node in enumerate(self.nodes) for place, name in enumerate(node.output)}
        version = opset(model)
        self.attributes = [_attributes(node, version) for node in self.nodes]

    def named(self) -> dict[tuple[str, str], int]:
        """The nodes with names of their own, by kind and name."""
        count = Counter(node.name for node in self.nodes)
        return {
            (node.op_type, node.name): number
            for number, node in enumerate(self.nodes)
            if node.name and count[node.name] == 1
        }

    def token(self, number: int) -> tuple[object, ...]:
        """What a node does, whatever it and its tensors are called: equal tokens may correspond."""
        node = self.nodes[number]
        operands = tuple(self._kind(name) for name in node.input)
        return (node.domain, node.op_type, tuple(sorted(self.attributes[number].items())), operands)

    def _kind(self, name: str) -> object:
        if name in self.weights:
            return self.weights[name]
        maker = self.makers.get(name)
        return self.nodes[maker[0]].op_type if maker else self.inputs.get(name, "")

    def spoken(self, name: str) -> str:
        """A tensor as messages speak of it."""
        if not name:
            return "nothing"
        if name in self.weights:
            return f"the weight {name}"
        maker = self.makers.get(name)
        return f"{self.labels[maker[0]]}" if maker else f"the input {name}"


def compare_nodes(first: Side, second: Side, same_inputs: Mapping[str, str]) -> NodeDifference:
    """What differs between the nodes. ``same_inputs`` gives for inputs of the first file those of the second that stand
    for them."""
    pairs, by_names = _aligned(first, second)
    changed, equal = [], 0
    for a, b in sorted(pairs.items()):
        how = tuple(_changes(first, second, a, b, pairs, same_inputs))
        equal += not how
        if how:
            changed.append(NodeChange(first.labels[a], second.labels[b], how))
    found = set(pairs.values())
    removed = tuple(label for number, label in enumerate(first.labels) if number not in pairs)
    added = tuple(label for number, label in enumerate(second.labels) if number not in found)
    return NodeDifference(by_names, equal, removed, added, tuple(changed))


def _aligned(first: Side, second: Side) -> tuple[dict[int, int], bool]:
    """The nodes of the second file by those of the first that they correspond to, and whether names said so."""
    names, others = first.named(), second.named()
    pairs = {number: others[key] for key, number in names.items() if key in others}
    smaller = min(len(first.nodes), len(second.nodes))
    by_names = bool(pairs) and len(pairs) >= _STABLE * smaller
    if not by_names:
        pairs = {}
    left = [number for number in range(len(first.nodes)) if number not in pairs]
    taken = set(pairs.values())
    right = [number for number in range(len(second.nodes)) if number not in taken]
    pairs |= _in_order(first, second, left, right)
    return pairs, by_names


def _in_order(first: Side, second: Side, left: Sequence[int], right: Sequence[int]) -> dict[int, int]:
    """Pairs among nodes without telling names: the longest runs of equal nodes, and between them those of one kind."""
    tokens = [first.token(number) for number in left]
    matcher = SequenceMatcher(None, tokens, [second.token(number) for number in right])
    pairs: dict[int, int] = {}
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal":
            pairs.update(zip(left[a:a_end], right[b:b_end], strict=True))
        elif tag == "replace":
            pairs.update(_of_one_kind(first, second, left[a:a_end], right[b:b_end]))
    return pairs


def _of_one_kind(first: Side, second: Side, left: Sequence[int], right: Sequence[int]) -> Iterator[tuple[int, int]]:
    kinds = [first.nodes[number].op_type for number in left]
    matcher = SequenceMatcher(None, kinds, [second.nodes[number].op_type for number in right], autojunk=False)
    for a, b, size in matcher.get_matching_blocks():
        yield from zip(left[a : a + size], right[b : b + size], strict=True)


def _changes(
    first: Side, second: Side, a: int, b: int, pairs: Mapping[int, int], same_inputs: Mapping[str, str]
) -> Iterator[str]:
    node, other = first.nodes[a], second.nodes[b]
    mine, its = first.attributes[a], second.attributes[b]
    for name in sorted({*mine, *its}):
        if mine.get(name) != its.get(name):
            yield f"{name}: {_cut(mine.get(name))} -> {_cut(its.get(name))}"
    mine_read, its_read = ([*n.input, *(name for name in read_by(n) if name not in n.input)] for n in (node, other))
    for place in range(max(len(mine_read), len(its_read))):
        x = mine_read[place] if place < len(mine_read) else ""
        y = its_read[place] if place < len(its_read) else ""
        if not _correspond(first, second, x, y, pairs, same_inputs):
            yield f"operand {place + 1}: {first.spoken(x)} -> {second.spoken(y)}"
    if len(node.output) != len(other.output):
        yield f"results: {len(node.output)} -> {len(other.output)}"


def _correspond(
    first: Side, second: Side, x: str, y: str, pairs: Mapping[int, int], same_inputs: Mapping[str, str]
) -> bool:
    if x in first.weights or y in second.weights:
        # What is in them is told with the weights.
        return first.weights.get(x) == second.weights.get(y)
    made, remade = first.makers.get(x), second.makers.get(y)
    if made is None or remade is None:
        return made is remade and same_inputs.get(x, "") == y
    # A node without a counterpart is told as such; what reads it then reads something else.
    return pairs.get(made[0]) == remade[0] and made[1] == remade[1]


def _attributes(node: onnx.NodeProto, version: int) -> dict[str, str]:
    """The attributes as text, those left out with what they are by default."""
    found = {item.name: _text(item) for item in node.attribute}
    if node.domain in STANDARD and onnx.defs.has(node.op_type, version or 1, ""):
        schema = onnx.defs.get_schema(node.op_type, version or 1, "")
        for name, attribute in schema.attributes.items():
            if name not in found and attribute.default_value.name:
                found[name] = _text(attribute.default_value)
    return found


def _text(item: onnx.AttributeProto) -> str:
    value: Any = onnx.helper.get_attribute_value(item)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        array = onnx.numpy_helper.to_array(value)
        content = array.tolist() if array.size <= _FEW else sha256(array.tobytes()).hexdigest()
        return f"{array.dtype}{list(array.shape)} {content}"
    if isinstance(value, onnx.GraphProto):
        return " ".join(onnx.printer.to_text(_numbered(value)).split())
    return (
        str(list(value)) if hasattr(value, "__iter__") else f"{value:.9g}" if isinstance(value, float) else str(value)
    )


def _numbered(graph: onnx.GraphProto) -> onnx.GraphProto:
    """The graph with numbers for the names of nodes and tensors, in the order in which they come: what it does."""
    found: onnx.GraphProto = onnx.GraphProto.FromString(graph.SerializeToString())
    names: dict[str, str] = {"": ""}

    def number(graph: onnx.GraphProto) -> None:
        graph.name, graph.doc_string = "graph", ""
        del graph.value_info[:]
        for item in (*graph.input, *graph.initializer):
            item.name = names.setdefault(item.name, str(len(names)))
        for node in graph.node:
            node.name, node.doc_string = "", ""
            del node.metadata_props[:]
            for part in (node.input, node.output):
                part[:] = [names.setdefault(name, str(len(names))) for name in part]
            for inner in inner_graphs(node):
                number(inner)
        for item in graph.output:
            item.name = names.setdefault(item.name, str(len(names)))

    number(found)
    return found


def _cut(text: str | None) -> str:
    if text is None:
        return "none"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
