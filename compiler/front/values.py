"""What an expression of a ``.dl`` file stands for while the graph is built."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from compiler.diagnostics import Span
from compiler.front import tree
from compiler.front.catalogue.entry import Entry, ModelWeights
from compiler.ir.dims import Poly
from compiler.ir.graph import Value
from compiler.ir.types import DType

if TYPE_CHECKING:
    from compiler.foreign import Network
    from compiler.front.declarations import Declarations
    from compiler.front.parts import ForeignUse


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the graph, and the expression that gave it: what an error about it points at."""

    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Poison:
    """The result of an expression that was reported already: whatever takes it stays silent."""


POISON = Poison()


@dataclass(frozen=True, eq=False)
class Foreign:
    """What ``import "vgg16.onnx" as VGG16`` gives, at the place ``span``: the network in the ``file``, one instance of
    it. ``uses`` are the calls that have been made so far, by how they cut it."""

    name: str
    file: str
    span: Span
    network: Network
    uses: dict[str, ForeignUse] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Callable:
    """A name that can be called: an entry of the catalogue, a model or a block.

    ``home`` is the file that declares a model or block: its body speaks of that file's names.
    """

    target: Entry | tree.Model | tree.Block | Foreign
    home: Declarations | None = None

    @property
    def name(self) -> str:
        return self.target.name if isinstance(self.target, Entry | Foreign) else self.target.name.name


@dataclass(frozen=True, eq=False)
class Instance:
    """``layer token = embed(65, 128)``: one set of weights under ``path``, made at the first call and shared by all.

    ``call`` is what the declaration says; ``scope`` holds the names that its arguments speak of.
    """

    name: str
    path: str
    call: tree.Expression
    callee: Callable
    scope: Any
    weights: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WeightGroup:
    """``unit.dense``, where ``unit`` is an instance of a block: some of its weights, by the rest of their names."""

    name: str
    weights: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Namespace:
    """What ``import … as name`` gives: the declarations of a file, by attribute."""

    name: str
    declarations: Declarations


Scalar: TypeAlias = bool | int | float | str | Poly | DType
DslValue: TypeAlias = (
    "Tensor | Poison | Callable | Instance | WeightGroup | Namespace | Scalar | ModelWeights | tuple[DslValue, ...]"
)


# The word for what is left out, as in mask=none.
NONE = "none"


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether ``value`` is a number; truth values are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def has_poison(value: DslValue) -> bool:
    """Whether ``value`` or anything in it is the result of a mistake that was reported."""
    return isinstance(value, Poison) or (isinstance(value, tuple) and any(map(has_poison, value)))


def describe(value: DslValue) -> str:
    """A value in words, as errors speak of it."""
    match value:
        case Tensor():
            return f"a tensor {value.value.type}"
        case bool():
            return f"the truth value {str(value).lower()}"
        case str():
            return f'the text "{value}"'
        case int() | float():
            return f"the number {value}"
        case Poly():
            return f"the size {value}"
        case DType():
            return f"the element type {value}"
        case tuple():
            return "a list of " + (", ".join(map(describe, value)) if value else "nothing")
        case Callable(target=Entry() as entry):
            return f"the {entry.kind} {entry.name}"
        case Callable(target=tree.Model() | Foreign()):
            return f"the model {value.name}"
        case Callable():
            return f"the block {value.name}"
        case Namespace():
            return f"the file {value.name}"
        case Instance():
            return f"the layer {value.name}"
        case WeightGroup():
            return f"the part {value.name}"
        case _:
            return "something unknown"


def same_kind(default: DslValue, value: DslValue) -> bool:
    """Whether ``value`` can stand for ``default``: a whole number does for any number."""
    if is_number(default) and is_number(value):
        return isinstance(value, int) or isinstance(default, float)
    return type(default) is type(value)
