"""Which nodes of a file the kernels stand for that ONNX Runtime made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from compiler.targets.onnx.file import node_sources

# What ONNX Runtime puts before and behind the names of what it rewrites.
_BEFORE, _BEHIND = ("fused ", "fused_"), ("_nchwc",)


@dataclass(frozen=True)
class Attributed:
    """A kernel: ``covers`` are the nodes that it computes, as kinds; ``place`` is the line of the model file of the one
    of them that has the most weights, or else of the last, such as ``digits.dl:12``, and ``node`` that one's name."""

    covers: tuple[str, ...]
    place: str
    node: str


def named(content: bytes) -> bytes:
    """The file with a name of its own for every node of its graph."""
    model = onnx.ModelProto.FromString(content)
    seen: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.name or node.op_type} number {number + 1}"
        seen.add(node.name)
    return bytes(model.SerializeToString(deterministic=True))


def attribute(content: bytes, optimised: bytes) -> dict[str, Attributed]:
    """For each node of the ``optimised`` graph, by name, what it stands for in the file ``content``, whose nodes have
    names; nodes that ONNX Runtime added for itself, such as changes of layout, are missing."""
    model, result = onnx.ModelProto.FromString(content), onnx.ModelProto.FromString(optimised)
    original = _Original(model)
    meaning: dict[str, str] = {}  # which tensor of the file a tensor of the optimised graph stands for
    found = {}
    for node in result.graph.node:
        tensor = original.tensor_of(node)
        if tensor:
            meaning |= dict.fromkeys(node.output, tensor)
            stops = {meaning.get(name, name) for name in node.input}
            found[node.name] = original.attributed(tensor, stops)
        elif node.input and node.output:
            meaning[node.output[0]] = meaning.get(node.input[0], node.input[0])
    return found


class _Original:
    """The nodes of a file, by what they make."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.makers = {name: node for node in model.graph.node for name in node.output if name}
        self.by_name = {node.name: node for node in model.graph.node}
        self.sources = node_sources(model)
        self.sizes = {item.name: len(item.raw_data) or 1 for item in model.graph.initializer}

    def tensor_of(self, node: onnx.NodeProto) -> str:
        """The tensor of the file that a node of the optimised graph makes; empty where there is none."""
        if node.op_type in ("ReorderInput", "ReorderOutput"):
            return ""
        made = next((name for name in node.output if name in self.makers), "")
        name = node.name
        for sign in _BEFORE:
            name = name.removeprefix(sign)
        for sign in _BEHIND:
            name = name.removesuffix(sign)
        if made or name in self.makers:
            return made or name
        return next(iter(self.by_name[name].output), "") if name in self.by_name else ""

    def attributed(self, tensor: str, stops: Iterable[str]) -> Attributed:
        nodes = self._covered(tensor, set(stops) - {tensor})
        heaviest = max(nodes, key=lambda node: sum(self.sizes.get(name, 0) for name in node.input))
        chosen = heaviest if any(name in self.sizes for name in heaviest.input) else nodes[0]
        place = self.sources.get(chosen.name, "")
        return Attributed(tuple(node.op_type for node in reversed(nodes)), place.rpartition(":")[0], chosen.name)

    def _covered(self, tensor: str, stops: set[str]) -> list[onnx.NodeProto]:
        """The nodes from ``tensor`` back to where the kernel reads, the last one first."""
        found: dict[str, onnx.NodeProto] = {}
        waiting = [tensor]
        while waiting:
            node = self.makers.get(waiting.pop(0))
            if node is not None and node.name not in found:
                found[node.name] = node
                waiting += [name for name in node.input if name and name not in stops]
        return list(found.values())
