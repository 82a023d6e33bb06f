"""What a part of a network consists of: the names that a cut can be given by, and the nodes between two cuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import onnx

from compiler.diagnostics import did_you_mean
from compiler.foreign import CutError
from compiler.targets.onnx.inner import read_by
from compiler.targets.onnx.read.importer import made_by
from compiler.targets.onnx.read.naming import beginning, parts, places

Parameter = Literal["until", "from"]
# So many tensors are named where several leave a part.
_SHOWN = 4


@dataclass(frozen=True)
class Chosen:
    """The nodes of a part in order, the tensors that it takes, those that it gives, and what it reads of the stored."""

    nodes: tuple[onnx.NodeProto, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stored: frozenset[str]


class Cutter:
    """Finds parts of ``graph``, of which ``inputs`` are given."""

    def __init__(self, graph: onnx.GraphProto, inputs: Sequence[str]) -> None:
        self._nodes = list(graph.node)
        self._places = places(graph)
        self._beginning = "".join(f"{word}." for word in beginning(graph)).lower()
        self._inputs = list(inputs)
        self._outputs = [item.name for item in graph.output]
        self._stored = {item.name for item in graph.initializer}
        self._reads = [read_by(node) for node in self._nodes]
        self._makers = {name: number for number, node in enumerate(self._nodes) for name in node.output if name}

    def choose(self, until: Sequence[str], start: Sequence[str]) -> Chosen:
        """The part up to ``until`` and behind ``start``. Raises CutError."""
        outputs = [self._find(text, "until") for text in until] or self._outputs
        given = [self._find(text, "from") for text in start]
        _check_twice("until", until, outputs)
        _check_twice("from", start, given)
        stops = {*given, *self._inputs, *self._stored}
        needed, reached = self._behind(outputs, stops)
        for text, name in zip(start, given, strict=True):
            if name not in reached:
                goal = " and ".join(until) or "the result"
                help = "cut between tensors of which one is computed from the other"
                raise CutError("from", f"{goal} is not computed from {text}", "nothing reads it", help)
        if not needed and (until or start):
            raise CutError("until" if until else "from", "nothing is left between the cuts", "no layer in between")
        nodes = tuple(self._nodes[number] for number in sorted(needed))
        inputs = (*given, *(name for name in self._inputs if name in reached and name not in given))
        return Chosen(nodes, inputs, tuple(outputs), frozenset(reached & self._stored))

    def _behind(self, outputs: Sequence[str], stops: set[str]) -> tuple[set[int], set[str]]:
        """The nodes that ``outputs`` need, and the tensors that these read, no further back than ``stops``."""
        needed: set[int] = set()
        reached: set[str] = set()
        waiting = list(outputs)
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            number = self._makers.get(name)
            if number is not None and name not in stops:
                needed.add(number)
                waiting += self._reads[number]
        return needed, reached

    # Names.

    @cached_property
    def _named(self) -> dict[str, list[str]]:
        """The tensors by everything that they can be called: exactly, or with the case of letters left out."""
        named: dict[str, list[str]] = {name: [name] for name in (*self._inputs, *self._makers)}
        for node, place in zip(self._nodes, self._places, strict=True):
            for text in (node.name, str(place)):
                if text:
                    named.setdefault(text, [made_by(node)])
        for part in parts(self._places):
            named.setdefault(part, self._leaving(part))
        for text in list(named):
            named.setdefault(text.lower(), named[text])
        return named

    def _leaving(self, part: str) -> list[str]:
        """What is made in a part and read outside, or a result."""
        inside = [f"{place.part}.".startswith(f"{part}.") for place in self._places]
        outer = {name for there, reads in zip(inside, self._reads, strict=True) if not there for name in reads}
        outer.update(self._outputs)
        made = (name for there, node in zip(inside, self._nodes, strict=True) if there for name in node.output)
        return [name for name in made if name in outer]

    def _find(self, text: str, parameter: Parameter) -> str:
        short = text.lower().removeprefix(self._beginning)
        found = self._named.get(text) or self._named.get(text.lower()) or self._named.get(short) or self._ending(text)
        if not found:
            words = dict.fromkeys(word for place in self._places for word in str(place).split("."))
            near = did_you_mean(text, [*self._named, *words])
            few = ", ".join(dict.fromkeys(_sample(list(parts(self._places)) or [node.name for node in self._nodes])))
            help = f"did you mean {near}?" if near else f"there are for example {few}" if few else ""
            raise CutError(parameter, f"there is no tensor, node or part {text}", "not in the file", help)
        if len(found) > 1:
            few = ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
            title = f"{len(found)} tensors leave {text}: {few}"
            raise CutError(parameter, title, "which of them is not clear", "name one of them, or several in [ ]")
        return found[0]

    def _ending(self, text: str) -> list[str]:
        """The tensors of the one path that ends in ``text``."""
        ending = f".{text.lower()}"
        found = {tuple(tensors) for name, tensors in self._named.items() if f".{name.lower()}".endswith(ending)}
        return list(found.pop()) if len(found) == 1 else []


def _check_twice(parameter: Parameter, texts: Sequence[str], names: Sequence[str]) -> None:
    for text, name in zip(texts, names, strict=False):
        if names.count(name) > 1:
            raise CutError(parameter, f"{text} is named twice", "the same tensor", "leave it out here")


def _sample(names: Sequence[str]) -> list[str]:
    return [name for name in names if name][:_SHOWN]
