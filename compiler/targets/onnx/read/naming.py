"""What parts and weights of a file are called: paths with points, the modules and layers of whoever made it.

Exporters say where a node comes from in its name (``/features/features.0/Conv``, ``vgg/block1/conv/Conv2D``) or beside
it (the ``name_scopes`` of PyTorch). Weights keep their names, ``features.0.weight``; those with a name that an exporter
made up, such as ``onnx::Conv_21``, are called after the node that reads them. What all paths begin with, the name of
the whole network, is left out.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"
_ODD = re.compile(r"[^A-Za-z0-9_]+")
_MADE_UP = re.compile(r"onnx::\w+_\d+|val_\d+|_?v_?\d+|\d+|const(?:_|ant)\w*", re.IGNORECASE)
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
# What the operands of an operator are called in a layer.
_OPERANDS = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), ("weight", "weight", "bias")),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization"), ("", "weight", "bias")),
    "BatchNormalization": ("", "weight", "bias", "running_mean", "running_var"),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), ("", "weight_ih", "weight_hh", "bias", "", "state", "cell", "peephole")),
    "Gather": ("weight",),
    "PRelu": ("", "weight"),
    "Add": ("bias", "bias"),
    "Mul": ("scale", "scale"),
}


@dataclass(frozen=True)
class Place:
    """Where a node is: in the module ``part``, such as ``features.0``, which may be empty; ``leaf`` is its own name."""

    part: str
    leaf: str

    def __str__(self) -> str:
        return f"{self.part}.{self.leaf}" if self.part else self.leaf


def place_of(node: onnx.NodeProto, number: int) -> Place:
    """The place of the node that is the ``number``-th of the file, from 0."""
    scopes = next((item.value for item in node.metadata_props if item.key == _SCOPES), "")
    if scopes:
        leaf = node.name.removeprefix("node_") or f"{node.op_type}_{number + 1}"
        return Place(_path(_last_module(scopes)), _word(leaf))
    segments = [segment for segment in node.name.split("/") if segment]
    if not segments:
        return Place("", f"{node.op_type}_{number + 1}")
    path: list[str] = []
    for segment in segments[:-1]:
        # A module in a Sequential is called by its whole path: features, then features.0.
        if path and segment.startswith(f"{path[-1]}."):
            path.pop()
        path.append(segment)
    return Place(".".join(map(_path, path)), _word(segments[-1]))


def places(graph: onnx.GraphProto) -> list[Place]:
    """The places of the nodes, no two the same."""
    found: list[Place] = []
    taken: Counter[Place] = Counter()
    common = len(beginning(graph))
    for number, node in enumerate(graph.node):
        place = place_of(node, number)
        place = Place(".".join(place.part.split(".")[common:]), place.leaf)
        while taken[place]:
            place = Place(place.part, f"{place.leaf}_{number + 1}")
        taken[place] += 1
        found.append(place)
    return found


def weight_names(graph: onnx.GraphProto) -> dict[str, str]:
    """What each initializer is called as a weight: the same in every part of the network that is used."""
    readers: dict[str, tuple[Place, onnx.NodeProto, int]] = {}
    for place, node in zip(places(graph), graph.node, strict=True):
        for index, item in enumerate(node.input):
            readers.setdefault(item, (place, node, index))
    names: dict[str, str] = {}
    taken: set[str] = set()
    common = len(beginning(graph))
    for proto in graph.initializer:
        wanted = _weight_name(proto.name, readers, common)
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        taken.add(name)
        names[proto.name] = name
    return names


def is_made_up(name: str) -> bool:
    """Whether an exporter made the name up, for something that has none where it comes from."""
    return _MADE_UP.fullmatch(name.rpartition("/")[2].partition(":0")[0]) is not None


def _weight_name(name: str, readers: Mapping[str, tuple[Place, onnx.NodeProto, int]], common: int) -> str:
    if is_made_up(name) and name in readers:
        place, node, index = readers[name]
        words = _OPERANDS.get(node.op_type, ())
        word = words[index] if index < len(words) and words[index] else node.op_type.lower()
        return f"{place.part or place.leaf}.{word}"
    path = _weight_path(name).split(".")
    return ".".join(path[common:] if len(path) > common else path) or "weight"


def _weight_path(name: str) -> str:
    # TensorFlow counts the results of an operator: kernel:0.
    return _path(re.sub(r":\d+$", "", name))


def beginning(graph: onnx.GraphProto) -> list[str]:
    """The words that the paths of all modules and all weights begin with, which are left out of their names."""
    paths = [place_of(node, number).part.split(".") for number, node in enumerate(graph.node)]
    stored = (proto.name for proto in graph.initializer if proto.dims and proto.data_type in _FLOATS)
    paths += [_weight_path(name).split(".")[:-1] for name in stored if not is_made_up(name)]
    count = 0
    while paths and all(len(path) > count and path[count] and path[count] == paths[0][count] for path in paths):
        count += 1
    return paths[0][:count] if paths else []


def parts(found: list[Place]) -> Iterator[str]:
    """Every module that a node is in, those around it too, each once."""
    seen: set[str] = set()
    for place in found:
        words = place.part.split(".") if place.part else []
        for count in range(1, len(words) + 1):
            part = ".".join(words[:count])
            if part not in seen:
                seen.add(part)
                yield part


def _last_module(scopes: str) -> str:
    """The module of ``['', 'features', 'features.0', 'conv2d']``: the last but the name of the node itself."""
    try:
        listed = ast.literal_eval(scopes)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    names = [str(item) for item in listed] if isinstance(listed, list) else []
    module = names[-2] if len(names) > 1 else ""
    return "" if module.startswith("_empty_nn_module_stack") else module


def _path(text: str) -> str:
    """A path of words that can stand in a model file: ``features.0.weight``."""
    return ".".join(word for part in re.split(r"[./:]+", text) if (word := _word(part)))


def _word(text: str) -> str:
    return _ODD.sub("_", text).strip("_")
