"""Graphs inside nodes, such as the branches of an If and the body of a Scan, which read what is around them by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that are attributes of a node."""
    for item in node.attribute:
        if item.HasField("g"):
            yield item.g
        yield from item.graphs


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes and all those inside them, each before those inside it."""
    waiting = [iter(nodes)]
    while waiting:
        node = next(waiting[-1], None)
        if node is None:
            waiting.pop()
            continue
        yield node
        waiting += [iter(graph.node) for graph in inner_graphs(node)]


def read_by(node: onnx.NodeProto) -> list[str]:
    """Every tensor that a node reads, once each: its operands, and what the graphs inside it read of what is around."""
    found = dict.fromkeys(filter(None, node.input))
    waiting = [(graph, frozenset[str]()) for graph in inner_graphs(node)]
    while waiting:
        graph, around = waiting.pop()
        own = around | own_tensors(graph)
        for inner in graph.node:
            found |= dict.fromkeys(name for name in inner.input if name and name not in own)
            waiting += [(deeper, own) for deeper in inner_graphs(inner)]
        found |= dict.fromkeys(output.name for output in graph.output if output.name not in own)
    return list(found)


def used_names(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Everything that some node reads, or a graph inside it."""
    return {name for node in nodes for name in read_by(node)}


def own_tensors(graph: onnx.GraphProto) -> frozenset[str]:
    """What a graph is given and what it makes, and does not take from around it."""
    given = (item.name for item in (*graph.input, *graph.initializer))
    made = (name for node in graph.node for name in node.output)
    return frozenset([*given, *made, *(item.values.name for item in graph.sparse_initializer)])


def rename_read(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Let a node, and the graphs inside it, read other tensors in place of those in ``names``."""
    if not names:
        return
    for place, name in enumerate(node.input):
        node.input[place] = names.get(name, name)
    for graph in inner_graphs(node):
        own = own_tensors(graph)
        outer = {name: instead for name, instead in names.items() if name not in own}
        for inner in graph.node:
            rename_read(inner, outer)
        for output in graph.output:
            output.name = outer.get(output.name, output.name)
