"""Products of matrices."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.dims import Dim
from compiler.ir.graph import Value
from compiler.ir.types import DType
from compiler.ops.emit import Emit
from compiler.targets.onnx.read.node import Node, reads
from compiler.targets.onnx.read.tensors import Unsupported


@reads("MatMul")
def matmul(n: Node) -> Value:
    """``numpy.matmul``, with operands of one axis too."""
    return product_of(n.b, n.value(0), n.value(1))


def product_of(b: Emit, x: Value, y: Value) -> Value:
    if not x.type.dtype.is_float:
        raise Unsupported(f"it multiplies matrices of whole numbers of type {x.type.dtype}")
    row, column = x.type.rank == 1, y.type.rank == 1
    if row:
        x = b.reshape(x, (1, *x.type.shape))
    if column:
        y = b.reshape(y, (*y.type.shape, 1))
    found = b.matmul(x, y)
    shape: Sequence[Dim] = found.type.shape
    if row:
        shape = (*shape[:-2], shape[-1])
    if column:
        shape = shape[:-1]
    return b.reshape(found, shape)


@reads("Gemm")
def gemm(n: Node) -> Value:
    x, y = n.value(0), n.value(1)
    if not x.type.dtype.is_float:
        raise Unsupported(f"it multiplies matrices of whole numbers of type {x.type.dtype}")
    x = n.b.transpose(x, (1, 0)) if n.attribute("transA", 0) else x
    y = n.b.transpose(y, (1, 0)) if n.attribute("transB", 0) else y
    found = n.b.matmul(x, y)
    alpha, beta = n.attribute("alpha", 1.0), n.attribute("beta", 1.0)
    found = found if alpha == 1 else n.b.mul(found, alpha)
    if not n.has(2):
        return found
    bias = n.value(2)
    return n.b.add(found, bias if beta == 1 else n.b.mul(bias, beta))


@reads("Einsum")
def einsum(n: Node) -> Value:
    """One or two operands whose letters each name one axis: brought into rows, columns and what is summed up."""
    equation = n.attribute("equation", "").replace(" ", "")
    if "." in equation:
        raise Unsupported("its equation has an ellipsis")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = left.replace(",", "")
        right = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    if len(terms) > 2 or any(len(set(term)) != len(term) for term in terms) or len(set(right)) != len(right):
        raise Unsupported(f"its equation {equation} has more than two operands, or takes a diagonal")
    values = [_without(n.b, value, term, terms, right) for value, term in zip(n.values(), terms, strict=True)]
    if len(values) == 1:
        ((value, term),) = values
        return n.b.transpose(value, [term.index(letter) for letter in right])
    return _product(n.b, values[0], values[1], right)


def _without(b: Emit, value: Value, term: str, terms: Sequence[str], right: str) -> tuple[Value, str]:
    """The operand summed over what it alone has."""
    others = right + "".join(other for other in terms if other is not term)
    gone = [place for place, letter in enumerate(term) if letter not in others]
    return (b.sum(value, gone) if gone else value), "".join(letter for letter in term if letter in others)


def _product(b: Emit, first: tuple[Value, str], second: tuple[Value, str], right: str) -> Value:
    (x, a), (y, c) = first, second
    shared = [letter for letter in a if letter in c and letter in right]
    summed = [letter for letter in a if letter in c and letter not in right]
    rows, columns = [s for s in a if s not in c], [s for s in c if s not in a]
    sizes = dict(zip(a, x.type.shape, strict=True)) | dict(zip(c, y.type.shape, strict=True))
    x = b.transpose(x, [a.index(letter) for letter in (*shared, *rows, *summed)])
    y = b.transpose(y, [c.index(letter) for letter in (*shared, *summed, *columns)])

    def flat(letters: Sequence[str]) -> Dim:
        found: Dim = 1
        for letter in letters:
            found = found * sizes[letter]
        return found

    outer = [sizes[letter] for letter in shared]
    x = b.reshape(x, (*outer, flat(rows), flat(summed)))
    y = b.reshape(y, (*outer, flat(summed), flat(columns)))
    made = [*shared, *rows, *columns]
    found = b.reshape(b.matmul(x, y), [sizes[letter] for letter in made])
    return b.transpose(found, [made.index(letter) for letter in right])


@reads("MatMulInteger", "QLinearMatMul", "QLinearConv", "ConvInteger", "QuantizeLinear", "DynamicQuantizeLinear")
def quantized(n: Node) -> Value:
    raise Unsupported("quantized numbers are not computed with")


@reads("DequantizeLinear")
def dequantize(n: Node) -> Value:
    x, scale = n.value(0), n.value(1)
    if x.type.dtype is DType.I32 and n.has(2):
        raise Unsupported("quantized numbers of 32 bits with a zero point are not computed with")
    if n.attribute("block_size", 0) or scale.type.rank > 1:
        raise Unsupported("it has a scale for each block")
    axis = n.attribute("axis", 1) % max(x.type.rank, 1)
    shape = [scale.type.shape[0] if place == axis else 1 for place in range(x.type.rank)] if scale.type.rank else []
    wide = n.b.cast(x, DType.F32)
    if n.has(2):
        wide = n.b.sub(wide, n.b.reshape(n.b.cast(n.value(2), DType.F32), shape))
    return n.b.mul(wide, n.b.reshape(scale, shape))
