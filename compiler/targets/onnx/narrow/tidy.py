"""Short names for what a tool added to a model: in a deep network, long ones take a tenth of an 8-bit file."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count

import onnx

from compiler.targets.onnx.inner import all_nodes, read_by, rename_read

# Weights keep the names that a tool made of theirs; what is smaller than this are scales and zero points.
_WEIGHT_BYTES = 1024


def names_in(model: onnx.ModelProto) -> frozenset[str]:
    """The names of all values and nodes, of those inside nodes too."""
    graph = model.graph
    held = {item.name for item in (*graph.initializer, *graph.input, *graph.output)}
    return frozenset(held.union(*((node.name, *node.input, *node.output) for node in all_nodes(graph.node))))


def tidy(model: onnx.ModelProto, known: Collection[str]) -> None:
    """Give values and nodes whose names are not ``known`` short ones, and leave one of the small initializers among
    them that are the same."""
    graph = model.graph
    numbers = count(1)
    instead: dict[str, str] = {name: name for name in known}
    first: dict[bytes, str] = {}
    kept = []
    for item in graph.initializer:
        if item.name not in instead and len(item.raw_data) < _WEIGHT_BYTES:
            content = onnx.TensorProto()
            content.CopyFrom(item)
            content.name = ""
            key = content.SerializeToString(deterministic=True)
            if key in first:
                instead[item.name] = first[key]
                continue
            first[key] = instead[item.name] = f"q{next(numbers)}"
            item.name = first[key]
        else:
            instead[item.name] = item.name
        kept.append(item)
    copies = [onnx.TensorProto.FromString(item.SerializeToString()) for item in kept]
    del graph.initializer[:]
    graph.initializer.extend(copies)
    for node in graph.node:
        for name in (*read_by(node), *filter(None, node.output)):
            if name not in instead:
                instead[name] = f"q{next(numbers)}"
        rename_read(node, instead)
        for place, name in enumerate(node.output):
            node.output[place] = instead.get(name, name)
        if node.name not in known:
            node.name = f"{node.output[0]}/{node.op_type}"
