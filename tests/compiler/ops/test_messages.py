"""What is said of operands that do not fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler.ir.dims import Dim, symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops import Emit
from compiler.ops.shape import Expand

N, M = symbol("N"), symbol("M")


def f32(*shape: Dim) -> TensorType:
    return TensorType(DType.F32, shape)


def i64(*shape: Dim) -> TensorType:
    return TensorType(DType.I64, shape)


def u8(*shape: Dim) -> TensorType:
    return TensorType(DType.U8, shape)


def truth(*shape: Dim) -> TensorType:
    return TensorType(DType.BOOL, shape)


Call = Callable[..., Value]
CASES: list[tuple[str, Call, list[TensorType], str, str, str]] = [
    (
        "E0301",
        Emit.add,
        [f32(N, 32, 8, 8), f32(N, 16, 8, 8)],
        "cannot add f32[N, 32, 8, 8] and f32[N, 16, 8, 8]",
        "dimension 1 differs: 32 and 16",
        "sizes have to be equal, or one of them 1: reshape or project one of the operands",
    ),
    (
        "E0302",
        Emit.sub,
        [f32(N, 3), f32(M, 3)],
        "cannot subtract f32[M, 3] from f32[N, 3]: whether N equals M is not known",
        "dimension 0 is N here and M there",
        "if the two sizes are always the same, give them one name in the signature",
    ),
    (
        "E0303",
        Emit.mul,
        [f32(N), i64(N)],
        "cannot multiply f32[N] and i64[N]: f32 and i64 are different element types",
        "f32 meets i64",
        "convert one of them first, for example with cast(f32)",
    ),
    (
        "E0303",
        lambda b, x: b.div(x, 16),
        [u8(N, 8)],
        "cannot divide u8[N, 8] by u8[]: that takes floats, not u8",
        "u8 is not a float type",
        "convert it first with cast(f32)",
    ),
    (
        "E0303",
        lambda b, x: b.mul(x, 0.5),
        [u8(N)],
        "cannot write 0.5 as u8: it is not a whole number",
        "the tensor that it meets is u8",
        "convert the tensor that it meets first, with cast(f32)",
    ),
    (
        "E0303",
        Emit.exp,
        [i64(N)],
        "cannot take the exponential of i64[N]: that takes floats, not i64",
        "i64 is not a float type",
        "convert it first with cast(f32)",
    ),
    (
        "E0301",
        Emit.matmul,
        [f32(N, 64), f32(32, 10)],
        "cannot multiply the matrices f32[N, 64] and f32[32, 10]",
        "64 columns meet 32 rows",
        "the left operand's last axis has to be as long as the right operand's last but one",
    ),
    (
        "E0301",
        Emit.matmul,
        [f32(N, 64), f32(10, 64)],
        "cannot multiply the matrices f32[N, 64] and f32[10, 64]",
        "64 columns meet 10 rows",
        "the right operand may have to be transposed: it has 64 columns",
    ),
    (
        "E0302",
        Emit.matmul,
        [f32(64, N), f32(64, 10)],
        "cannot multiply the matrices f32[64, N] and f32[64, 10]: whether N equals 64 is not known",
        "N columns meet 64 rows",
        "if N is always 64, say so in the signature: write numbers for its symbols",
    ),
    (
        "E0301",
        Emit.matmul,
        [f32(3, N, 64), f32(2, 64, 10)],
        "cannot multiply the matrices f32[3, N, 64] and f32[2, 64, 10]",
        "dimension 0 differs: 3 and 2",
        "sizes have to be equal, or one of them 1: reshape or project one of the operands",
    ),
    (
        "E0301",
        lambda b, x: b.sum(x, (2,)),
        [f32(N, 64)],
        "cannot sum f32[N, 64]: it has no axis 2",
        "its axes are 0 to 1",
        "axes count from 0, or from -1 at the end backwards",
    ),
    (
        "E0301",
        lambda b, x: b.reshape(x, (N, 2, 10)),
        [f32(N, 64)],
        "cannot reshape f32[N, 64] to [N, 2, 10]",
        "it has 64*N elements, and 20*N are asked for",
        "the product of the sizes has to stay the same",
    ),
    (
        "E0302",
        lambda b, x, y: b.concat((x, y), 1),
        [f32(N, 4), f32(M, 4)],
        "cannot concat f32[N, 4] and f32[M, 4] along axis 1: whether N equals M is not known",
        "dimension 0 is N here and M there",
        "if the two sizes are always the same, give them one name in the signature",
    ),
    (
        "E0302",
        lambda b, x: b.slice(x, (0, 0), (5, 4)),
        [f32(N, 4)],
        "cannot slice f32[N, 4] from 0 to 5 along axis 0: whether that lies within 0 to N is not known",
        "",
        "of a symbolic size it is only known that it is at least 1",
    ),
    (
        "E0301",
        lambda b, x: b.add(Expand((N, 3)), x),
        [f32(2)],
        "cannot expand f32[2] to [N, 3]",
        "dimension 0 is 2: only a size of 1 can be repeated",
        "",
    ),
    (
        "E0303",
        Emit.gather,
        [f32(10, 3), f32(N)],
        "cannot gather by f32[N]: indices are i32 or i64, not f32",
        "f32 is not an index type",
        "convert the indices first with cast(i64)",
    ),
    (
        "E0303",
        lambda b, x, y: b.select(x, y, 0),
        [f32(N), f32(N)],
        "cannot select by f32[N]: that takes truth values, not f32",
        "f32 is not bool",
        "compare it with a number to get truth values, for example x > 0",
    ),
    (
        "E0303",
        Emit.add,
        [truth(N), truth(N)],
        "cannot add bool[N] and bool[N]: that takes numbers, not truth values",
        "bool is not a number type",
        "convert it first with cast(f32)",
    ),
    (
        "E0303",
        Emit.neg,
        [u8(N)],
        "cannot negate u8[N]: u8 has no negative numbers",
        "",
        "convert it first, for example with cast(i32) or cast(f32)",
    ),
    (
        "E0301",
        Emit.softmax,
        [f32()],
        "cannot take the softmax of f32[]: it has no axis -1",
        "it is a scalar, which has no axes",
        "",
    ),
]


@pytest.mark.parametrize(("code", "call", "types", "title", "detail", "help"), CASES, ids=[c[3][:50] for c in CASES])
def test_mismatch(code: str, call: Call, types: list[TensorType], title: str, detail: str, help: str) -> None:
    b = Emit("g")
    operands = [b.input(f"x{index}", type) for index, type in enumerate(types)]
    with pytest.raises(TypeMismatch) as caught:
        call(b, *operands)
    said = caught.value
    assert said.code == code
    assert (said.title, said.detail, said.help) == (title, detail, (help,) if help else ())


@pytest.mark.parametrize(
    ("call", "types"),
    [
        (lambda b, x: b.transpose(x, (0,)), [f32(N, 4)]),
        (lambda b, x: b.transpose(x, (1, 1)), [f32(N, 4)]),
        (lambda b, x: b.slice(x, (0,), (4,)), [f32(N, 4)]),
        (lambda b, x: b.slice(x, (0, 0), (N, 5)), [f32(N, 4)]),
        (lambda b, x: b.slice(x, (0, 3), (N, 2)), [f32(N, 4)]),
        (lambda b, x: b.slice(x, (0, 0), (N, 4), (1, 0)), [f32(N, 4)]),
        (lambda b, x: b.pad(x, (-1, 0), (0, 0)), [f32(N, 4)]),
        (lambda b, x: b.pad(x, (1,), (0,)), [f32(N, 4)]),
        (lambda b, x: b.max(x, (0,)), [f32(0, 4)]),
        (lambda b, x: b.argmax(x, 0), [f32(0, 4)]),
        (lambda b, x: b.argmax(x), [truth(4)]),
        (lambda b, x, y: b.take_along(x, y, 1), [f32(N, 4), i64(N)]),
        (lambda b, x, y: b.take_along(x, y, 1), [f32(N, 4), i64(3, 1)]),
        (lambda b, x, y: b.scatter_add((5, 3), x, y), [i64(4), f32(3, 3)]),
        (lambda b, x, y: b.scatter_along((N, 4), x, y, 1), [i64(N, 1), f32(N, 2)]),
        (lambda b, x, y: b.scatter_add((5, 3), x, y, -1), [i64(4), f32(5, 4)]),
        (lambda b, x, y: b.scatter_along((N, 4), x, y, -1), [i64(N, 1), f32(N, 1)]),
        (lambda b, x, y: b.uniform((3,), x, y, 0), [i64(), i64(1)]),
        (lambda b, x, y: b.uniform((3,), x, y, 0, dtype=DType.I64), [i64(), i64()]),
        (lambda b, x, y: b.random_bits((2**17, 2**17), x, y, 0), [i64(), i64()]),
        (lambda b, x, y: b.concat((x, y), 0), [f32(N, 4), f32(N)]),
        (lambda b, x, y: b.logical_and(x, y), [f32(N), truth(N)]),
        (lambda b, x, y: b.less(x, y), [truth(N), truth(N)]),
        (lambda b, x, y: b.mask(x, y), [i64(N), truth(N)]),
        (lambda b, x, y: b.matmul(x, y), [f32(4), f32(4, 2)]),
        (lambda b, x: b.size(N, DType.BOOL), [f32(N)]),
        (lambda b, x: b.one_hot(x, 4), [u8(N)]),
        (lambda b, x: b.mean(x), [i64(N)]),
        (lambda b, x: b.expand(x, (3,)), [f32(N, 3)]),
    ],
)
def test_mismatches_are_sentences(call: Call, types: list[TensorType]) -> None:
    """What is caught is told in the same form, whatever it is."""
    b = Emit("g")
    operands = [b.input(f"x{index}", type) for index, type in enumerate(types)]
    with pytest.raises(TypeMismatch) as caught:
        call(b, *operands)
    said = caught.value
    assert said.code in ("E0301", "E0302", "E0303")
    assert said.title.startswith("cannot ")
    assert not said.title.endswith(".")
