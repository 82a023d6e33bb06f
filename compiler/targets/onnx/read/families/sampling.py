"""Resizing, along one axis after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from compiler.ir.dims import Dim, equal, product
from compiler.ir.graph import Value
from compiler.ops.base import Array
from compiler.ops.emit import Emit
from compiler.targets.onnx.read.node import Node, normal, reads
from compiler.targets.onnx.read.tensors import Unsupported


@dataclass(frozen=True)
class _Rule:
    """How a place of the result is met with the elements of the operand, as ONNX names it."""

    mode: str
    transform: str
    nearest: str
    cubic: float
    outside: bool


@reads("Resize", "Upsample")
def resize(n: Node) -> Value:
    x = n.value(0)
    rank = x.type.rank
    rule = _Rule(
        n.attribute("mode", "nearest"),
        n.attribute(
            "coordinate_transformation_mode", "half_pixel" if n.opset >= 11 and n.kind == "Resize" else "asymmetric"
        ),
        n.attribute("nearest_mode", "round_prefer_floor" if n.opset >= 11 and n.kind == "Resize" else "floor"),
        n.attribute("cubic_coeff_a", -0.75),
        bool(n.attribute("exclude_outside", 0)),
    )
    if rule.transform in ("tf_crop_and_resize", "tf_half_pixel_for_nn") or n.attribute("antialias", 0):
        raise Unsupported(f"it resizes by {rule.transform}, or smooths what it makes smaller")
    axes = [normal(axis, rank) for axis in n.attribute("axes", list(range(rank)))]
    scales, sizes = _wanted(n, x, axes)
    changed = [a for a in range(rank) if equal(sizes[a], x.type.shape[a]) is not True or scales[a] not in (None, 1.0)]
    if _is_plain(n, x, rule, changed, scales, sizes):
        return n.b.resize(x, sizes[2:], "nearest" if rule.mode == "nearest" else "linear")
    for axis in changed:
        x = _along(n.b, x, axis, rule, scales[axis], sizes[axis])
    return x


def _wanted(n: Node, x: Value, axes: Sequence[int]) -> tuple[list[float | None], list[Dim]]:
    """The scale, where it is told, and the size of each axis."""
    scales: list[float | None] = [None] * x.type.rank
    sizes: list[Dim] = list(x.type.shape)
    if n.kind == "Upsample" and n.opset < 9:
        given = list(n.attribute("scales"))
    else:
        place = 1 if n.kind == "Upsample" or n.opset < 11 else 2
        given = [float(part) for part in n.known(place, "scales").reshape(-1)] if n.has(place) else []
    if given:
        for axis, scale in zip(axes, given, strict=True):
            scales[axis] = scale
            sizes[axis] = _scaled(sizes[axis], scale)
        return scales, sizes
    wanted = n.dims(3, "sizes")
    policy = n.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        numbers = [size for size in (*wanted, *(sizes[axis] for axis in axes)) if isinstance(size, int)]
        if len(numbers) != 2 * len(axes):
            raise Unsupported(f"its policy {policy} depends on the sizes of the inputs")
        ratios = [a / b for a, b in zip(numbers[: len(axes)], numbers[len(axes) :], strict=True)]
        scale = min(ratios) if policy == "not_larger" else max(ratios)
        for axis, length in zip(axes, numbers[len(axes) :], strict=True):
            scales[axis], sizes[axis] = scale, math.floor(scale * length + 0.5)
        return scales, sizes
    for axis, size in zip(axes, wanted, strict=True):
        sizes[axis] = size
    return scales, sizes


def _scaled(size: Dim, scale: float) -> Dim:
    if isinstance(size, int):
        return math.floor(size * scale)
    if scale == int(scale):
        return size * int(scale)
    raise Unsupported(f"{size} times {scale} is not known")


def _is_plain(
    n: Node, x: Value, rule: _Rule, changed: Sequence[int], scales: Sequence[float | None], sizes: Sequence[Dim]
) -> bool:
    """Whether it is what the operation for resizing does: whole multiples, nearest or linear."""
    if not changed or min(changed) < 2 or not 3 <= x.type.rank <= 5 or not x.type.dtype.is_float:
        return False
    whole = all(scales[axis] is not None and float(scales[axis] or 0).is_integer() for axis in changed)
    if rule.mode == "linear":
        return rule.transform in ("half_pixel", "pytorch_half_pixel") and whole
    floor = rule.transform == "asymmetric" and rule.nearest == "floor"
    half = rule.transform in ("half_pixel", "pytorch_half_pixel") and rule.nearest.startswith("round")
    return rule.mode == "nearest" and whole and (floor or half)


def _along(b: Emit, x: Value, axis: int, rule: _Rule, scale: float | None, size: Dim) -> Value:
    length = x.type.shape[axis]
    if not isinstance(length, int) or not isinstance(size, int):
        raise Unsupported(f"it resizes {length} elements to {size}, which are not known")
    places = _coordinates(rule, length, size, scale)
    if rule.mode == "nearest":
        chosen = np.clip(_ROUNDINGS[rule.nearest](places), 0, length - 1).astype(np.int64)
        return b.gather(x, b.constant(chosen), axis)
    if not x.type.dtype.is_float:
        raise Unsupported(f"it interpolates between whole numbers of type {x.type.dtype}")
    matrix = _linear(places, length, rule) if rule.mode == "linear" else _cubic(places, length, rule)
    last = x.type.rank - 1
    order = [place for place in range(x.type.rank) if place != axis] + [axis]
    moved = b.transpose(x, order)
    shape = moved.type.shape
    flat = b.reshape(moved, (product(shape[:-1]), length))
    made = b.matmul(flat, b.constant(np.ascontiguousarray(matrix.T.astype(x.type.dtype.numpy))))
    back = [order.index(place) for place in range(last + 1)]
    return b.transpose(b.reshape(made, (*shape[:-1], size)), back)


def _coordinates(rule: _Rule, length: int, size: int, scale: float | None) -> Array:
    """Where each place of the result lies among the elements."""
    ratio = size / length if scale is None else scale
    places = np.arange(size)
    match rule.transform:
        case "align_corners":
            last = ratio * length - 1
            return places * ((length - 1) / last) if last > 0 else np.zeros(size)
        case "asymmetric":
            return places / ratio
        case "pytorch_half_pixel" if size == 1:
            return np.zeros(1)
        case "half_pixel_symmetric":
            centre = length / 2 * (1 - size / (ratio * length))
            return centre + (places + 0.5) / ratio - 0.5
        case "half_pixel" | "pytorch_half_pixel":
            return (places + 0.5) / ratio - 0.5
    raise Unsupported(f"it resizes by {rule.transform}")


_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


def _linear(places: Array, length: int, rule: _Rule) -> Array:
    return _matrix(places, length, rule, (0, 1), lambda distance: 1 - np.abs(distance))


def _cubic(places: Array, length: int, rule: _Rule) -> Array:
    """R. Keys, "Cubic convolution interpolation for digital image processing", 1981."""
    a = rule.cubic

    def kernel(distance: Array) -> Array:
        d = np.abs(distance)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0))

    return _matrix(places, length, rule, (-1, 0, 1, 2), kernel)


def _matrix(places: Array, length: int, rule: _Rule, around: Sequence[int], kernel: Callable[[Array], Array]) -> Array:
    """[places, length]: how much each element contributes to each place; the edges stand for what is beyond them."""
    found = np.zeros((len(places), length))
    first = np.floor(places)
    rows = np.arange(len(places))
    for step in around:
        element = first + step
        share = kernel(places - element)
        if rule.outside:
            share = np.where((element < 0) | (element >= length), 0, share)
        np.add.at(found, (rows, np.clip(element, 0, length - 1).astype(np.int64)), share)
    return found / found.sum(axis=1, keepdims=True) if rule.outside else found
