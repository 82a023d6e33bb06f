"""How the catalogue describes a layer, function, loss, metric, optimizer, initialiser or a reader of data.

An entry is a Python function under a decorator. Its signature is the signature in ``.dl``; its docstring is its
page in the language reference. The annotations say what each argument has to be:

==================  ==========================================================================
``Value``           a tensor
``Operand``         a tensor or a number, which becomes a constant of the first tensor's dtype
``Tensors``         a tensor, or several in parentheses: a tuple either way
``int``             a whole number known at compile time
``float``           a number known at compile time
``Numbers``         a list of numbers known at compile time
``Each``            a whole number, or one for each spatial dimension
``Factors``         a number, or one for each spatial dimension
``Lengths``         a size, or one for each spatial dimension, symbols allowed
``Pads``            whole numbers for the edges of spatial dimensions, ``same`` or ``valid``
``bool``, ``str``   a truth value, a text
``Literal[…]``      one of these words, written with or without quotes
``DType``           an element type
``Dim``             a size, symbols allowed
``Rate``            a number, or a schedule such as ``cosine(3e-3)``
``Initialiser``     an initialiser, such as ``he`` or ``normal(0.02)``
``ModelWeights``    a model, for what speaks about its weights
``DataPath``        the path of a data file or folder
``Words``           a list of texts
``Columns``         the name of a column, an encoding such as ``categories("species")``, or a list of them
==================  ==========================================================================

``*name: T`` takes any number of them, ``**name: T`` one for each input of the train block, under its name. An argument
with a default may be left out; ``T | None`` allows None as that. An entry
gives a value, or a tuple of values and of tuples of them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import UnionType
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from compiler.ir.dims import Dim
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType
from compiler.ops.emit import Emit
from compiler.program import Given
from compiler.rules import Rate
from compiler.sources import Encoding

Kind: TypeAlias = Literal[
    "layer",
    "function",
    "augmentation",
    "loss",
    "metric",
    "optimizer",
    "schedule",
    "initialiser",
    "reader",
    "encoding",
    "split",
]
Operand: TypeAlias = Value | float
Tensors: TypeAlias = tuple[Value, ...]
Numbers: TypeAlias = tuple[float, ...]
Words: TypeAlias = tuple[str, ...]
Columns: TypeAlias = str | Encoding | tuple[str | Encoding, ...]
Each: TypeAlias = int | tuple[int, ...]
Factors: TypeAlias = float | tuple[float, ...]
Lengths: TypeAlias = Dim | tuple[Dim, ...]
# For all edges; for both edges of each dimension; or for the two edges of each.
Pads: TypeAlias = int | tuple[int, ...] | tuple[tuple[int, int], ...] | Literal["same", "valid"]


@dataclass(frozen=True)
class Initialiser:
    """How a weight begins: ``build(b, type, seed, stream)`` gives its first content; ``text`` is how it is written.

    One that is ``given`` comes from elsewhere: it is an input of the graph that makes first weights, not built there.
    """

    text: str
    build: Callable[[Emit, TensorType, Value, int], Value]
    given: Given | None = None


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """The weights of a model as values of the graph, those that regularisation takes in and all."""

    name: str
    decaying: tuple[Value, ...]
    every: tuple[Value, ...]


@dataclass(frozen=True)
class Totals:
    """What a metric gives for one batch: sums that add up over batches, and ``finish(b, *sums)``, which makes the
    figure of them in the same order: one number, or a table, of which none is ``better`` than another."""

    totals: Mapping[str, Value]
    finish: Callable[..., Value]
    better: Literal["higher", "lower"] | None


class ArgumentError(Exception):
    """An argument that an entry can't take; ``argument`` names the parameter to point at."""

    def __init__(self, argument: str, title: str, detail: str = "", help: Sequence[str] = ()) -> None:
        super().__init__(title)
        self.argument, self.title, self.detail, self.help = argument, title, detail, tuple(help)


class Context(Protocol):
    """What an entry sees of the graph that it adds to."""

    @property
    def b(self) -> Emit: ...

    @property
    def training(self) -> bool:
        """Whether this graph is for a training step, rather than for evaluation or inference."""

    @property
    def frozen(self) -> bool:
        """Whether the layer under construction is in a part of a model that the train block freezes."""

    def weight(self, name: str, type: TensorType, init: Initialiser, *, decays: bool = True) -> Value:
        """The weight ``name`` of the layer under construction; ``decays`` is false for biases and norms."""

    def statistic(self, name: str, type: TensorType, init: Initialiser) -> Value:
        """A tensor of the layer that is kept and exported like a weight, but that gradients do not change."""

    def update(self, name: str, value: Value, result: Value) -> None:
        """Let ``value`` be the content of the statistic ``name`` after a training step that uses ``result``, what the
        layer gives. A later use of the layer in the same step sees ``value``."""

    def random(self) -> tuple[Value, Value, int]:
        """Seed, counter and a stream of its own for one more random tensor."""

    def index_range(self, indices: Value, size: Dim, ignored: int | None = None) -> None:
        """Note that ``indices`` lie in 0 to ``size`` - 1, or are ``ignored``: checked on the data before training."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of an entry: ``kind`` is the annotation, without ``| None``."""

    name: str
    kind: Any
    default: Any
    required: bool
    variadic: bool
    keyword_only: bool
    per_input: bool = False

    @cached_property
    def is_tensor(self) -> bool:
        return self.kind is Value or self.kind == Operand

    @property
    def default_text(self) -> str:
        """The default as it is written in ``.dl``: words of a ``Literal`` without quotes, other texts with them."""
        return f'"{self.default}"' if self.kind is str and self.default is not None else default_text(self.default)

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """The words of a ``Literal``; () for other kinds."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()


@dataclass(frozen=True)
class Entry:
    name: str
    kind: Kind
    parameters: tuple[Parameter, ...]
    build: Callable[..., Any]
    documentation: str

    @property
    def summary(self) -> str:
        """The first sentence of the documentation."""
        return re.split(r"(?<=\.)\s", self.documentation, maxsplit=1)[0].replace("\n", " ")

    @cached_property
    def tensors(self) -> tuple[Parameter, ...]:
        """The tensors that it must have."""
        return tuple(parameter for parameter in self.parameters if parameter.is_tensor and parameter.required)

    @cached_property
    def by_position(self) -> tuple[Parameter, ...]:
        """What may be given without its name."""
        return tuple(parameter for parameter in self.parameters if not parameter.keyword_only)

    @cached_property
    def before_variadic(self) -> tuple[str, ...]:
        """The names of the parameters before a variadic one: Python takes those by position only."""
        variadic = next((i for i, parameter in enumerate(self.parameters) if parameter.variadic), 0)
        return tuple(parameter.name for parameter in self.parameters[:variadic])

    @cached_property
    def by_name(self) -> Mapping[str, Parameter]:
        """The parameters by their names."""
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def per_input(self) -> Parameter | None:
        """What may be given for each input of the train block, if anything."""
        return next((parameter for parameter in self.parameters if parameter.per_input), None)

    @property
    def signature(self) -> str:
        """The signature as it reads in ``.dl``."""
        return f"{self.name}({', '.join(map(_parameter_text, self.parameters))})"


# By namespace and name.
_ENTRIES: dict[str, dict[str, Entry]] = {}
_Function = TypeVar("_Function", bound=Callable[..., Any])


def entry(kind: Kind, name: str | None = None) -> Callable[[_Function], _Function]:
    """Put a function into the catalogue, under its own name or ``name``. TypeError if the name is taken or the
    function has no docstring."""

    def register(function: _Function) -> _Function:
        called = name or function.__name__
        known = _ENTRIES.setdefault(namespace(kind), {})
        if called in known:
            raise TypeError(f"the catalogue has a {kind} {called} already")
        if not function.__doc__:
            raise TypeError(f"the {kind} {called} has no documentation")
        parameters = _parameters(function, skip=1 if namespace(kind) in ("value", "metric") else 0)
        documentation = inspect.cleandoc(function.__doc__)
        known[called] = Entry(called, kind, parameters, function, documentation)
        return function

    return register


def namespace(kind: Kind) -> str:
    """Layers, functions, augmentations and losses share one namespace; the other kinds are found only where they can
    stand."""
    return "value" if kind in ("layer", "function", "augmentation", "loss") else kind


def entries(kind: Kind) -> Mapping[str, Entry]:
    """Every entry that can stand where one of ``kind`` can, by name."""
    return _ENTRIES[namespace(kind)]


def _parameters(function: Callable[..., Any], skip: int) -> tuple[Parameter, ...]:
    hints = get_type_hints(function)
    found = []
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        per_input = parameter.kind is inspect.Parameter.VAR_KEYWORD
        variadic = parameter.kind is inspect.Parameter.VAR_POSITIONAL
        required = parameter.default is inspect.Parameter.empty and not variadic and not per_input
        default = None if parameter.default is inspect.Parameter.empty else parameter.default
        keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY or per_input
        kind = _kind(hints[parameter.name])
        found.append(Parameter(parameter.name, kind, default, required, variadic, keyword_only, per_input))
    return tuple(found)


def _kind(hint: Any) -> Any:
    """The annotation without ``| None``."""
    if get_origin(hint) in (Union, UnionType) and type(None) in get_args(hint):
        rest = tuple(argument for argument in get_args(hint) if argument is not type(None))
        return rest[0] if len(rest) == 1 else Union[rest]  # noqa: UP007 - made from a tuple
    return hint


def _parameter_text(parameter: Parameter) -> str:
    if parameter.per_input:
        return "INPUT=…"
    if parameter.variadic:
        return f"*{parameter.name}"
    if parameter.required:
        return parameter.name
    return f"{parameter.name}={parameter.default_text}"


def default_text(default: Any) -> str:
    """A default as it is written in ``.dl``."""
    if isinstance(default, bool):
        return str(default).lower()
    if default is None:
        return "none"
    if isinstance(default, Initialiser):
        return default.text
    return str(default)


__all__ = [
    "ArgumentError", "Columns", "Context", "DType", "Dim", "Encoding", "Entry", "Initialiser", "Kind", "ModelWeights",
    "Numbers", "Operand", "Parameter", "Rate", "Tensors", "Totals", "Value", "Words", "entries", "entry", "namespace",
]  # fmt: skip
