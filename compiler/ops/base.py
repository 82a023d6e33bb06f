"""What an operation has to bring: one frozen dataclass with every facet in it.

A facet that an operation can't have is opted out of with :func:`without`, which says why; one that is simply
missing is refused when the class is registered.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from compiler.ir.dims import Dim
from compiler.ir.graph import Operation, Value
from compiler.ir.types import DType, TensorType
from compiler.ops.parts import Cut, Joined

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

Array: TypeAlias = npt.NDArray[Any]
Values: TypeAlias = tuple[Value, ...]
# One for each operand; None for an operand that no gradient reaches.
Gradients: TypeAlias = Sequence[Value | None]
# The size of each symbol while a program runs.
Sizes: TypeAlias = Mapping[str, int]


def f32(values: Any) -> Array:
    """An array of f32, for the values of samples."""
    return np.array(values, np.float32)


class Storage(Enum):
    """Where the results of an operation live in a NumPy program."""

    BUFFER = "buffer"  # written into arrays that the planner hands out
    VIEW = "view"  # shares the memory of the first operand
    CONSTANT = "constant"  # made once when the program is bound, never written again


@dataclass(frozen=True, slots=True)
class Sample:
    """One way to use an operation, from which the tests of every facet are made.

    ``operands`` are random: floats uniform in ``low`` to ``high``, integers in the same range with both ends.
    ``values`` gives operands whole instead. ``sizes`` are those of the symbols in the types.
    """

    operation: Op
    operands: tuple[TensorType, ...] = ()
    low: float = -2.0
    high: float = 2.0
    sizes: Sizes | None = None
    values: tuple[Array, ...] | None = None


class Requirement(NamedTuple):
    """A size that a program has to be run with, ``least`` or more, and the sentence for those who run it with less."""

    size: Dim
    least: int
    sentence: str


class NumpyLowering(Protocol):
    """What an operation sees while it writes its NumPy statements."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """An expression for each operand array."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """For each result, the array to write into (BUFFER: contiguous, or with the channels last, its content
        undefined), or the name to assign (VIEW, CONSTANT)."""

    @property
    def input_types(self) -> tuple[TensorType, ...]: ...

    @property
    def output_types(self) -> tuple[TensorType, ...]: ...

    def line(self, statement: str) -> None:
        """Add one statement; NumPy is ``np``."""

    def parts(self, work: Dim) -> int:
        """How many calls had better share so many multiply-adds; 1 where nobody takes any of them."""

    def together(self, calls: Sequence[str], work: Dim) -> None:
        """Add calls of which none needs or changes what another does: they may run at the same time. Together they do
        so many multiply-adds."""

    def contiguous(self, index: int) -> bool:
        """Whether operand ``index`` is known to be C-contiguous, so that ``.reshape`` gives a view of it."""

    def channels_last(self, index: int) -> bool:
        """Whether operand ``index``, [N, C, *spatial], is known to lie in memory as [N, *spatial, C]."""

    @property
    def gives_channels_last(self) -> bool:
        """Whether the first result does: so only if ``Op.gives_channels_last`` asked for it, or with one channel."""

    def shares(self, index: int) -> bool:
        """Whether the first result has been given the very memory of operand ``index`` (see ``Op.inplace``)."""

    def dim(self, dim: Dim) -> str:
        """The text of one size, such as ``64`` or ``N*8``; safe inside any expression."""

    def shape(self, dims: Sequence[Dim]) -> str:
        """The text of a tuple of sizes, such as ``(N, 64)``."""

    def scalar(self, value: float, dtype: DType) -> str:
        """An expression for a NumPy scalar of exactly ``dtype``, made once."""

    def constant(self, array: Array) -> str:
        """The name of an array that is made once and never written."""

    def bound(self, expression: str, type: TensorType) -> str:
        """The name of an array of ``type`` that is made once when the program is bound to its sizes, and never written.

        ``expression`` may use ``np`` and the texts of :meth:`dim` and :meth:`shape`; equal ones are made once.
        """

    def prepared(self, wanted: str, expression: str) -> str:
        """The name of a function that ``expression`` makes when the program is bound. It may be bound to operands,
        results and scratch arrays: these are always the same then."""

    def view(self, array: str, how: str) -> str:
        """An expression for the view ``array.how``, with ``how`` such as ``reshape(-1, 8)`` or ``T``, of an operand, a
        result or a scratch array: made once, rather than at each call, where that array is always the same.

        ``how`` may also be a call of a function with ``{}`` for the array.
        """

    @property
    def place(self) -> str:
        """What the node belongs to, as errors name it: ``Net.embed``, or how it is written."""

    def require(self, condition: str, sentence: str) -> None:
        """Have the program refuse to be bound, with ``sentence``, to sizes for which ``condition`` does not hold."""

    def local(self, wanted: str) -> str:
        """A name like ``wanted`` for a variable of the statements, which nothing else in the function has."""

    def helper(self, name: str, source: str) -> str:
        """The name of a function of the generated module, whose ``def name(…)`` is ``source`` and is put there once."""

    def function(self, wanted: str, text: str) -> str:
        """The name of a function of the generated module, made from ``wanted``: ``text`` is what follows the name in
        its definition. Equal ones are made once."""

    def scratch(self, type: TensorType, channels_last: bool = False) -> str:
        """The name of an array to work in, of use only until the node is done: contiguous, or [N, C, *spatial] that
        lies in memory as [N, *spatial, C]."""

    def side_by_side(self, operands: Sequence[int]) -> str:
        """The name of a flat array that holds operands one behind the other: one of the operation's own
        ``side_by_side``. What is not made there is copied into it."""


Device: TypeAlias = Literal["cpu", "cuda"]


class OnnxLowering(Protocol):
    """What an operation sees while it writes its ONNX nodes."""

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def input_types(self) -> tuple[TensorType, ...]: ...

    @property
    def output_types(self) -> tuple[TensorType, ...]: ...

    @property
    def opset(self) -> int: ...

    @property
    def device(self) -> Device:
        """Where the file is made to run."""

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str] | None = None, **attributes: Any) -> str:
        """Add a node and give the name of its first result; results not named get fresh names.

        An input name of "" leaves an optional operand out. Attributes are ints, floats, strings or lists of those,
        or a DType where ONNX has a number for it.
        """

    def constant(self, array: Array, hint: str = "") -> str:
        """The name of an initializer with this content; equal ones are kept once."""

    def scalar(self, value: float, dtype: DType) -> str:
        """The name of a 0-d initializer."""

    def is_read(self, index: int) -> bool:
        """Whether anything reads result ``index``; one that is not read need not be made."""

    def shape(self, dims: Sequence[Dim]) -> str:
        """The name of an int64 tensor that holds the sizes: a constant where they are numbers."""

    def alias(self, name: str) -> None:
        """Say that the only result is the tensor ``name`` as it stands, which takes no node."""

    def name(self, wanted: str) -> str:
        """A name like ``wanted`` that no tensor has, for a result of a node with several."""

    def graph(
        self,
        name: str,
        inputs: Sequence[TensorType],
        results: Sequence[TensorType],
        write: Callable[[OnnxLowering], None],
        text: str = "",
    ) -> object:
        """A graph for an attribute of a node: what ``write`` makes where these are the operands and the results. It may
        read by name what is around it as well. ``text`` is said of it in the file."""


class Op(Operation):
    """An operation with every facet. Subclass, make it a frozen dataclass and register it with ``@operation``."""

    # An elementwise operation gives each element of its results from the elements that stand at the same place
    # of its operands, broadcast as NumPy does.
    elementwise: ClassVar[bool] = False
    storage: ClassVar[Storage] = Storage.BUFFER
    # For a VIEW: the result is contiguous wherever the operand is.
    keeps_contiguous: ClassVar[bool] = False
    # For a VIEW: it exists only where the operand is contiguous; elsewhere the result gets a buffer, as BUFFER does.
    needs_contiguous: ClassVar[bool] = False
    # Whether equal operands give equal results, so that two nodes can be made one and constants folded.
    pure: ClassVar[bool] = True
    # Whether the operands may change places.
    commutative: ClassVar[bool] = False

    @property
    def inplace(self) -> tuple[int, ...]:
        """The operands whose memory the first result may take over, where the types are the same."""
        return ()

    def overwritable(self, result: int) -> tuple[int, ...]:
        """The operands whose memory result ``result`` may take over, where the types are the same."""
        return self.inplace if result == 0 else ()

    @property
    def side_by_side(self) -> tuple[tuple[int, ...], ...]:
        """Groups of operands, of fixed sizes and one element type, which a NumPy program had best make one behind the
        other."""
        return ()

    @property
    def auxiliary(self) -> int:
        """How many results at the end are for the operation's own gradient alone: none comes back through them."""
        return 0

    @property
    def takes_channels_last(self) -> bool:
        """Whether operands [N, C, *spatial] may lie in memory as [N, *spatial, C]: the statements are right for any
        operands, but for these they are also no slower."""
        return self.elementwise

    def gives_channels_last(self, inputs: tuple[TensorType, ...], last: tuple[bool, ...]) -> bool:
        """Whether the results, all of one shape, are to lie in memory as [N, *spatial, C], where operands do as
        ``last`` says."""
        if not self.elementwise:
            return False
        shape = self.infer(inputs)[0].shape
        return any(given and type.shape == shape for type, given in zip(inputs, last, strict=True))

    @abstractmethod
    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        """For each operand, the gradient of the loss: made with ``b`` from those of the results.

        Asked for only where the first result is a float. A gradient has the operand's element type; it may have the
        result's broadcast shape, as it is summed to the operand's shape centrally. None stands for an operand that
        no gradient reaches.
        """

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        """The multiply-adds of one execution, as architecture tables count them: those of matrix products."""
        return 0

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        """How the results are put together where the operation runs on parts of its operands, cut as ``cut`` says:
        the axis along which those of the parts are joined, or that they are added up. None where it can't be done.
        """
        return cut.broadcast() if self.elementwise else None

    def requirements(self, inputs: tuple[TensorType, ...]) -> tuple[Requirement, ...]:
        """What a program asks of the sizes that its symbols turn out to have, besides that the types fit."""
        return ()

    def may_refuse(self, inputs: tuple[TensorType, ...]) -> bool:
        """Whether its program may refuse sizes or contents, with a sentence that names the node's place."""
        return bool(self.requirements(inputs))

    @abstractmethod
    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        """The meaning, in plain NumPy: as obvious as possible, and independent of :meth:`numpy`."""

    @abstractmethod
    def numpy(self, c: NumpyLowering) -> None:
        """Write the statements that fill ``c.outputs`` in a generated program."""

    @abstractmethod
    def onnx(self, c: OnnxLowering) -> None:
        """Write the nodes that make ``c.outputs`` in an ONNX graph."""

    @classmethod
    @abstractmethod
    def samples(cls) -> Sequence[Sample]:
        """Uses of the operation that cover its attributes, ranks, broadcasting and symbolic sizes."""


class Without:
    """Stands where a facet would: the operation can't have it, for a reason that is shown to whoever asks."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __call__(self, *_arguments: Any, **_named: Any) -> Any:
        raise FacetError(self.reason)


class FacetError(Exception):
    """An operation was asked for a facet that it opted out of; the message is the reason."""


def without(reason: str) -> Any:
    """Opt out of a facet: ``onnx = without("…")``. The reason is a sentence for users."""
    return Without(reason)


def has_facet(operation: Op, facet: str) -> bool:
    """Whether the operation has the facet, rather than having opted out of it."""
    return not isinstance(getattr(operation, facet), Without)


_REGISTRY: dict[str, type[Op]] = {}
_Class = TypeVar("_Class", bound=type[Op])


def operation(cls: _Class) -> _Class:
    """Register an operation. Raises TypeError where a facet is missing or the class is not a frozen dataclass."""
    missing = [name for name in dir(cls) if getattr(getattr(cls, name), "__isabstractmethod__", False)]
    if missing:
        raise TypeError(f"operation {cls.__name__} lacks {', '.join(missing)}; opt out with without(reason)")
    if not isinstance(getattr(cls, "opcode", None), str):
        raise TypeError(f"operation {cls.__name__} has no opcode")
    parameters = getattr(cls, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise TypeError(f"operation {cls.opcode} is not a frozen dataclass")
    if cls.opcode in _REGISTRY:
        raise TypeError(f"two operations are called {cls.opcode}")
    _REGISTRY[cls.opcode] = cls
    return cls


def registry() -> Mapping[str, type[Op]]:
    """Every registered operation by its opcode."""
    return _REGISTRY
