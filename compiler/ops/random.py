"""Random numbers that depend on nothing but a seed, a counter, a stream and the place in the tensor.

The bits of element i are a keyed hash of i, in u32 arithmetic only, so that NumPy, the reference and ONNX Runtime give
the same ones, in any order and on any number of threads. The hash is ``triple32`` of C. Wellons, "Prospecting for hash
functions" (2018), https://nullprogram.com/blog/2018/07/31/, with one key added to i and another one after the second
round; the keys come from seed, counter and stream by the same hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.ir.dims import Dim, evaluate, less_equal, product, symbol
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Op,
    Sample,
    Sizes,
    Values,
    operation,
)
from compiler.ops.checks import listed
from compiler.ops.parts import Cut, Joined
from compiler.ops.shape import shape_text

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

I64, U32 = DType.I64, DType.U32
# triple32: x ^= x >> shift, then x *= factor, for each of these, then x ^= x >> 14. The second key is added after two
# of them.
ROUNDS = ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB))
LAST_SHIFT = 14
# Where the two keys start: the first digits of pi and of e after the point, so that nothing is chosen.
STARTS = (0x243F6A88, 0xB7E15162)
MASK = 0xFFFFFFFF
# How many numbers are worked on at a time: three arrays of them stay in the cache.
PART = 1 << 15
# How many random bits a float of each type takes: all that it can hold between 0 and 1, at most 24.
FLOAT_BITS = {DType.F16: 11, DType.BF16: 8, DType.F32: 24, DType.F64: 24}

_ONNX_KINDS = {"multiply": "Mul", "add": "Add"}


def triple32(x: int) -> int:
    """The hash of an integer of 32 bits."""
    for shift, factor in ROUNDS:
        x = (x ^ x >> shift) * factor & MASK
    return x ^ x >> LAST_SHIFT


@dataclass(frozen=True)
class Random(Op):
    """Operands: seed and counter and, where the result is a part of a larger tensor, how many elements of that come
    before it: i64 scalars. At most 2**32 elements.

    ``stream`` tells uses of one seed and counter apart, ``word`` the draws of one use.
    """

    shape: tuple[Dim, ...]
    stream: int
    word: int = 0

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        if any(type != TensorType(I64) for type in inputs):
            raise TypeMismatch(
                "E0303",
                f"cannot draw random numbers from {listed(inputs)}: seed and counter are both i64[]",
                help=("convert them first with cast(i64)",),
            )
        size = product(self.shape)
        if less_equal(size, 2**32) is False:
            raise TypeMismatch(
                "E0301", f"cannot draw {shape_text(self.shape)} random numbers: they are more than 2**32"
            )
        return (TensorType(U32, self.shape),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (None,) * len(inputs)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return (0,) if cut.carrier(cut.results[0]) == 0 else None

    def start_keys(self) -> tuple[int, int]:
        """The two keys after the stream and the word are hashed in."""
        first, second = STARTS
        for part in (self.stream & MASK, self.stream >> 32 & MASK, self.word & MASK):
            first, second = triple32(first ^ part), triple32(second ^ part)
        return first, second

    def reference_bits(self, sizes: Sizes, seed: Array, counter: Array, *start: Array) -> Array:
        """The bits by the definition, in vectors of u32."""
        keys = np.array(self.start_keys(), np.uint32)
        for number in (seed, counter):
            for part in (int(number) & MASK, int(number) >> 32 & MASK):
                keys = _reference_hash(keys ^ np.uint32(part))
        shape = [evaluate(dim, sizes) for dim in self.shape]
        places = np.arange(int(np.prod(shape)), dtype=np.uint32).reshape(shape)
        for number in start:
            places = places + np.asarray(number).astype(np.uint32)
        return _reference_hash(places + keys[0], keys[1])

    def numpy_parts(self, c: NumpyLowering, *statements: str, **numbers: str) -> None:
        """Write the call that goes over parts of the bits: ``statements`` have ``bits`` for them, ``drawn`` for the
        same part of the result, and ``numbers`` by name."""
        total = product(self.shape)
        size = max(1, min(total, PART)) if isinstance(total, int) else PART
        places = c.bound(f"np.arange({size}, dtype=np.uint32)", TensorType(U32, (size,)))
        keys, parts = c.helper("random_keys", RANDOM_KEYS), c.helper("random_parts", RANDOM_PARTS)
        lines = [
            f"({', '.join(['keys', 'out', 'places', 'work', *numbers])}):",
            '    """Fill `out` part by part, of as many elements as there are `places`; `work` is twice as large."""',
            f"    for part, bits in {parts}(keys, out.size, places, *work):",
            "        drawn = out[part]",
            *(f"        {statement}" for statement in statements),
        ]
        draw, flat = c.function(self.opcode, "\n".join(lines)), c.view(c.outputs[0], "reshape(-1)")
        drawn = f"{keys}({self.start_keys()}, {', '.join(c.inputs)})"
        arrays = [flat, places, c.scratch(TensorType(U32, (2, size))), *numbers.values()]
        c.line(f"{draw}({drawn}, {', '.join(arrays)})")

    def onnx_bits(self, c: OnnxLowering) -> str:
        """Write the nodes that make the bits; gives the name of their u32 tensor."""
        keys = c.constant(np.array(self.start_keys(), np.uint32))
        half = c.scalar(2**32, I64)
        for number in c.inputs[:2]:
            low = c.node("Mod", (number, half))
            high = c.node("Div", (c.node("Sub", (number, low)), half))
            for part in (low, high):
                keys = _onnx_hash(c, c.node("BitwiseXor", (keys, c.node("Cast", (part,), to=U32))))
        first, second = (c.node("Gather", (keys, c.constant(np.array(index)))) for index in (0, 1))
        count = c.node("Reshape", (c.shape((product(self.shape),)), c.constant(np.array([], np.int64))))
        places = c.node("Range", (c.scalar(0, I64), count, c.scalar(1, I64)))
        for start in c.inputs[2:]:
            places = c.node("Add", (places, start))
        shaped = c.node("Reshape", (c.node("Cast", (places,), to=U32), c.shape(self.shape)), allowzero=1)
        return _onnx_hash(c, c.node("Add", (shaped, first)), second)

    @classmethod
    def _samples(cls, *more: Any) -> Sequence[Sample]:
        operands = (TensorType(I64), TensorType(I64))
        n = symbol("N")
        sizes = {"N": 5}
        return (
            Sample(cls((n, 3), 7, 0, *more), operands, 0, 1000, sizes),
            Sample(cls((n, 3), 7, 1, *more), operands, 0, 1000, sizes),
            Sample(cls((40,), 2**40 + 3, 0, *more), operands, values=(np.array(-5), np.array(2**40 + 1))),
            Sample(cls((), 0, 0, *more), operands, values=(np.array(0), np.array(0))),
            Sample(cls((0, 2), 0, 0, *more), operands),
            Sample(cls((n, 3), 7, 0, *more), (*operands, TensorType(I64)), 0, 1000, sizes),
        )


@operation
@dataclass(frozen=True)
class RandomBits(Random):
    """Evenly distributed integers of 32 bits."""

    opcode = "random_bits"

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (self.reference_bits(sizes, *operands),)

    def numpy(self, c: NumpyLowering) -> None:
        self.numpy_parts(c, "np.copyto(drawn, bits)")

    def onnx(self, c: OnnxLowering) -> None:
        c.node("Identity", (self.onnx_bits(c),), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return cls._samples()


@operation
@dataclass(frozen=True)
class RandomUniform(Random):
    """Floats evenly distributed over ``low <= x < high`` (rounding may reach ``high`` where ``low`` is not 0): the top
    bits of :class:`RandomBits`, at most 24, as a fraction."""

    dtype: DType = DType.F32
    low: float = 0.0
    high: float = 1.0

    opcode = "random_uniform"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        if not self.dtype.is_float:
            raise TypeMismatch(
                "E0303",
                f"cannot draw uniform random numbers of type {self.dtype}: they are floats",
                help=("draw f32 and convert them with cast",),
            )
        return (super().infer(inputs)[0].with_dtype(self.dtype),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        bits = FLOAT_BITS[self.dtype]
        top = self.reference_bits(sizes, *operands) >> np.uint32(32 - bits)
        drawn = np.asarray((top.astype(np.float64) / 2**bits).astype(self.dtype.numpy))
        for how, _, number in self._placing():
            drawn = np.asarray(getattr(np, how)(drawn, drawn.dtype.type(number)))
        return (drawn,)

    def _placing(self) -> Iterator[tuple[str, str, float]]:
        """What brings a fraction to where it belongs: arithmetic with numbers, which have names."""
        if self.high - self.low != 1:
            yield "multiply", "width", self.high - self.low
        if self.low != 0:
            yield "add", "low", self.low

    def numpy(self, c: NumpyLowering) -> None:
        bits = FLOAT_BITS[self.dtype]
        self.numpy_parts(
            c,
            f"np.right_shift(bits, {c.scalar(32 - bits, U32)}, out=bits)",
            "np.copyto(drawn, bits, casting='unsafe')",
            f"np.multiply(drawn, {c.scalar(2.0**-bits, self.dtype)}, out=drawn)",
            *(f"np.{how}(drawn, {name}, out=drawn)" for how, name, _ in self._placing()),
            **{name: c.scalar(number, self.dtype) for _, name, number in self._placing()},
        )

    def onnx(self, c: OnnxLowering) -> None:
        bits = FLOAT_BITS[self.dtype]
        shift = c.scalar(32 - bits, U32)
        top = c.node("BitShift", (self.onnx_bits(c), shift), direction="RIGHT")
        scale = c.scalar(2.0**-bits, self.dtype)
        drawn = c.node("Cast", (top,), to=self.dtype)
        *others, last = [
            ("multiply", scale),
            *((how, c.scalar(number, self.dtype)) for how, _, number in self._placing()),
        ]
        for how, operand in others:
            drawn = c.node(_ONNX_KINDS[how], (drawn, operand))
        c.node(_ONNX_KINDS[last[0]], (drawn, last[1]), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        placed = (*cls._samples(DType.F32, -0.5, 2.0)[:1], *cls._samples(DType.F64, 2.0, 3.0)[:1])
        return (*cls._samples(DType.F32), *cls._samples(DType.F64)[:1], *placed)


@operation
@dataclass(frozen=True)
class RandomKeep(Random):
    """Truth values that hold with probability 1 - ``rate``: where :class:`RandomUniform` in f32 would be at least that.

    Dropout draws one for each element; made like this it takes a byte and nothing else of that size.
    """

    rate: float = 0.5

    opcode = "random_keep"

    @property
    def limit(self) -> int:
        """The least bits for which it holds."""
        bits = FLOAT_BITS[DType.F32]
        return ceil(float(np.float32(self.rate)) * (1 << bits)) << 32 - bits

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        if not 0 <= self.rate < 1:
            raise TypeMismatch("E0301", f"cannot drop a share of {self.rate}: it lies from 0 up to, not including, 1")
        return (super().infer(inputs)[0].with_dtype(DType.BOOL),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        (drawn,) = RandomUniform(self.shape, self.stream, self.word).reference(sizes, *operands)
        return (np.asarray(drawn >= np.float32(self.rate)),)

    def numpy(self, c: NumpyLowering) -> None:
        self.numpy_parts(c, f"np.greater_equal(bits, {c.scalar(self.limit, U32)}, out=drawn)")

    def onnx(self, c: OnnxLowering) -> None:
        # ONNX Runtime compares no u32.
        bits = c.node("Cast", (self.onnx_bits(c),), to=I64)
        c.node("GreaterOrEqual", (bits, c.scalar(self.limit, I64)), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return (*cls._samples(0.25), *cls._samples(0.1)[:1], *cls._samples(0.0)[:1], *cls._samples(0.9999999)[2:3])


def _reference_hash(x: Array, key: Any = 0) -> Array:
    for index, (shift, factor) in enumerate(ROUNDS):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
        if index == 1:
            x = x + np.uint32(key)
    return np.asarray(x ^ (x >> np.uint32(LAST_SHIFT)))


def _onnx_hash(c: OnnxLowering, x: str, key: str = "") -> str:
    def mixed(x: str, shift: int) -> str:
        shifted = c.node("BitShift", (x, c.scalar(shift, U32)), direction="RIGHT")
        return c.node("BitwiseXor", (x, shifted))

    for index, (shift, factor) in enumerate(ROUNDS):
        x = c.node("Mul", (mixed(x, shift), c.scalar(factor, U32)))
        if index == 1 and key:
            x = c.node("Add", (x, key))
    return mixed(x, LAST_SHIFT)


# How the numbers enter the keys; in Python integers, as there are few of them.
RANDOM_KEYS = '''\
def random_keys(keys, seed, counter, start=0):
    """Two keys of 32 bits, from those of the stream and a seed and a counter of 64, by the hash of random_bits; the
    first one moved on by the number of places that come before."""
    first, second = keys
    seed, counter = int(seed), int(counter)
    for part in (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, counter & 0xFFFFFFFF, counter >> 32 & 0xFFFFFFFF):
        first ^= part
        second ^= part
        for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
            first = (first ^ first >> shift) * factor & 0xFFFFFFFF
            second = (second ^ second >> shift) * factor & 0xFFFFFFFF
        first ^= first >> 14
        second ^= second >> 14
    return first + int(start) & 0xFFFFFFFF, second
'''

# Part by part, so that what is worked on stays in the cache, and is small beside the result.
RANDOM_PARTS = '''\
def random_parts(keys, count, places, bits, work):
    """Random bits for `count` places by the hash triple32 of C. Wellons with two keys, in parts no longer than
    `places`: pairs of where a part lies and its bits, which the next one overwrites. All arrays are u32."""
    for start in range(0, count, len(places)):
        size = min(len(places), count - start)
        out, part = bits[:size], work[:size]
        np.add(places[:size], np.uint32(keys[0] + start & 0xFFFFFFFF), out=out)
        np.right_shift(out, np.uint32(17), out=part)
        np.bitwise_xor(out, part, out=out)
        np.multiply(out, np.uint32(0xED5AD4BB), out=out)
        np.right_shift(out, np.uint32(11), out=part)
        np.bitwise_xor(out, part, out=out)
        np.multiply(out, np.uint32(0xAC4C1B51), out=out)
        np.add(out, np.uint32(keys[1]), out=out)
        np.right_shift(out, np.uint32(15), out=part)
        np.bitwise_xor(out, part, out=out)
        np.multiply(out, np.uint32(0x31848BAB), out=out)
        np.right_shift(out, np.uint32(14), out=part)
        np.bitwise_xor(out, part, out=out)
        yield slice(start, start + size), out
'''
