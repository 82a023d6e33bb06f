"""What operand types have in common to be checked, and how a mismatch is told.

``verb`` is what is tried, as in "cannot …": "add {} and {}" has its operands filled in, "concat" has them behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.types import DType, TensorType, TypeMismatch


def action(verb: str, types: Sequence[TensorType]) -> str:
    """What is tried, as in "cannot …": ``verb`` with the types in its ``{}``, or behind it where it has none."""
    return verb.format(*types) if "{" in verb else f"{verb} {listed(types)}"


def listed(types: Sequence[TensorType]) -> str:
    """``f32[N]``, ``f32[N] and f32[3]`` or ``f32[N], f32[3] and f32[]``."""
    texts = [str(type) for type in types]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def need_floats(verb: str, *types: TensorType) -> None:
    """Raise TypeMismatch unless every element type is a float."""
    for type in types:
        if not type.dtype.is_float:
            raise TypeMismatch(
                "E0303",
                f"cannot {action(verb, types)}: that takes floats, not {type.dtype}",
                f"{type.dtype} is not a float type",
                ("convert it first with cast(f32)",),
            )


def need_numbers(verb: str, *types: TensorType) -> None:
    """Raise TypeMismatch for truth values where numbers are needed."""
    for type in types:
        if type.dtype is DType.BOOL:
            raise TypeMismatch(
                "E0303",
                f"cannot {action(verb, types)}: that takes numbers, not truth values",
                "bool is not a number type",
                ("convert it first with cast(f32)",),
            )


def need_bools(verb: str, *types: TensorType) -> None:
    """Raise TypeMismatch for numbers where truth values are needed."""
    for type in types:
        if type.dtype is not DType.BOOL:
            raise TypeMismatch(
                "E0303",
                f"cannot {action(verb, types)}: that takes truth values, not {type.dtype}",
                f"{type.dtype} is not bool",
                ("compare it with a number to get truth values, for example x > 0",),
            )


def need_indices(verb: str, type: TensorType) -> None:
    """Raise TypeMismatch unless the elements are i32 or i64."""
    if type.dtype not in (DType.I32, DType.I64):
        raise TypeMismatch(
            "E0303",
            f"cannot {verb} {type}: indices are i32 or i64, not {type.dtype}",
            f"{type.dtype} is not an index type",
            ("convert the indices first with cast(i64)",),
        )


def need_one_dtype(verb: str, *types: TensorType) -> None:
    """Raise TypeMismatch where the element types differ: nothing is converted silently."""
    for type in types[1:]:
        if type.dtype is not types[0].dtype:
            raise TypeMismatch(
                "E0303",
                f"cannot {action(verb, types)}: {types[0].dtype} and {type.dtype} are different element types",
                f"{types[0].dtype} meets {type.dtype}",
                (f"convert one of them first, for example with cast({_wider(types[0].dtype, type.dtype)})",),
            )


def normal_axis(verb: str, type: TensorType, axis: int) -> int:
    """``axis`` counted from 0. Raises TypeMismatch where the tensor has no such axis."""
    if -type.rank <= axis < type.rank:
        return axis % type.rank
    has = f"its axes are 0 to {type.rank - 1}" if type.rank else "it is a scalar, which has no axes"
    help = ("axes count from 0, or from -1 at the end backwards",) if type.rank else ()
    raise TypeMismatch("E0301", f"cannot {verb} {type}: it has no axis {axis}", has, help)


def normal_axes(verb: str, type: TensorType, axes: Sequence[int]) -> tuple[int, ...]:
    """``axes`` counted from 0, in order. Raises TypeMismatch for one that is missing or named twice."""
    found = tuple(normal_axis(verb, type, axis) for axis in axes)
    if len(set(found)) < len(found):
        raise TypeMismatch("E0301", f"cannot {verb} {type}: an axis is named twice in {tuple(axes)}")
    return tuple(sorted(found))


def _wider(a: DType, b: DType) -> DType:
    """The one of the two that loses less: floats before integers, then the longer one."""
    return max(a, b, key=lambda dtype: (dtype.is_float, dtype.bytes))
