"""The syntax of the statement: nodes as those of :mod:`compiler.front.tree`."""

from dataclasses import dataclass

from compiler.front.tree import Name, Node, String


@dataclass(frozen=True, slots=True)
class WeightRule(Node):
    """`"encoder.{i}" -> "body.{i}"`, `"pooler" -> none`, `none -> "head"`."""

    theirs: String | Name  # how names begin in the file
    ours: String | Name  # how they begin in the model


@dataclass(frozen=True, slots=True)
class StoredSource(Node):
    """`"net.safetensors"`, `torch("net.safetensors")`."""

    convention: Name | None  # the program that stored it, where that is not dlc
    path: String  # relative to this file


@dataclass(frozen=True, slots=True)
class WeightsFrom(Node):
    """`weights Net from torch("net.safetensors") { "fc" -> "head" }`."""

    model: Name  # whose weights
    source: StoredSource  # the file
    rules: tuple[WeightRule, ...]  # in the order written
