"""What the functions of a generated module share: constants, helper functions, imports and names."""

from __future__ import annotations

from compiler.ir.types import DType
from compiler.ops.base import Array
from compiler.targets.numpy.literals import array_text, dtype_text, number_text, scalar_text
from compiler.targets.numpy.names import Names

# The names that every generated module has.
_FIXED = ("np", "os", "base64", "bfloat16", "kept", "memory", "share", "results", "SIGNATURES", "_enter")


class Shared:
    """Collects what stands at the level of the module while its functions are written."""

    def __init__(self) -> None:
        self.names = Names(_FIXED)
        self.helpers: dict[str, str] = {}
        self.constants: dict[str, str] = {}
        self.uses_bfloat16 = False
        self._known: dict[object, str] = {}

    def dtype(self, dtype: DType) -> str:
        """The text of an element type, whose import is seen to."""
        self.uses_bfloat16 |= dtype is DType.BF16
        return dtype_text(dtype)

    def helper(self, name: str, source: str) -> str:
        """Have the function ``name`` in the module; ValueError where another one is called that."""
        if self.helpers.setdefault(name, source) != source:
            raise ValueError(f"two helper functions are called {name}")
        self.names.taken.add(name)
        return name

    def function(self, wanted: str, text: str) -> str:
        """The name of the function whose definition goes on with ``text`` behind its name, which it gets here."""
        if text not in self._known:
            name = self._known[text] = self.names.new(wanted)
            self.helper(name, f"def {name}{text}\n")
        return self._known[text]

    def scalar(self, value: float, dtype: DType) -> str:
        """The name of a 0-d array with this value."""
        key = (repr(value), dtype)
        if key not in self._known:
            self._known[key] = self._scalar(value, dtype)
        return self._known[key]

    def _scalar(self, value: float, dtype: DType) -> str:
        text = scalar_text(value, dtype)
        self.dtype(dtype)
        if text not in self._known:
            digits = number_text(value, dtype).removesuffix(".0").replace("np.", "")
            digits = digits.replace("e-", "e minus ").replace("-", "minus ")
            self._known[text] = self._define(f"{dtype}_{digits}", text)
        return self._known[text]

    def constant(self, array: Array) -> str:
        """The name of an array with this content; equal ones are kept once."""
        dtype = DType.of(array.dtype)
        if dtype is not None and array.ndim == 0:
            return self.scalar(array.item(), dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self.uses_bfloat16 |= dtype is DType.BF16
            self._known[key] = self._define("constant", array_text(array))
        return self._known[key]

    def _define(self, wanted: str, text: str) -> str:
        name = self.names.new(wanted.upper())
        self.constants[name] = text
        return name
