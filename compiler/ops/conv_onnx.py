"""How convolution and its gradients become ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compiler.ir.dims import Dim
from compiler.ir.types import DType, TensorType
from compiler.ops.base import FacetError, OnnxLowering
from compiler.ops.window import Window, ceil_padding, same_padding


def onnx_conv(c: OnnxLowering, window: Window, groups: int) -> None:
    """A convolution is one node: padding that depends on symbols is either what ONNX calls SAME_UPPER, or a node of
    its own."""
    _refuse_f64(c)
    padding = padding_attributes(window, c.input_types[0].shape[2:])
    x, *others = c.inputs
    if padding is None:
        x, padding = padded(c, x, window), {"pads": [0] * 2 * window.rank}
    c.node("Conv", (x, *others), c.outputs, **_attributes(window, groups), **padding)


def padding_attributes(window: Window, sizes: Sequence[Dim]) -> dict[str, Any] | None:
    """The padding as ONNX's attributes; None where it depends on symbols and ONNX has no word for it."""
    pads = (*window.before, *window.after)
    if all(isinstance(amount, int) for amount in pads):
        return {"pads": list(pads)} if window.padded else {}
    same = [same_padding(*axis) for axis in zip(sizes, window.reach, window.strides, strict=True)]
    if same == list(zip(window.before, window.after, strict=True)):
        return {"auto_pad": "SAME_UPPER"}
    return None


def pooling_attributes(window: Window, sizes: Sequence[Dim]) -> dict[str, Any] | None:
    """The same for a pooling, which may also round its sizes up."""
    found = padding_attributes(window, sizes)
    if found is not None or not all(isinstance(amount, int) for amount in window.before):
        return found
    after = []
    axes = zip(sizes, window.reach, window.strides, window.before, window.after, strict=True)
    for size, reach, stride, before, wanted in axes:
        fitting = [end for end in range(reach) if ceil_padding(size, reach, stride, before, end) == wanted]
        if not fitting:
            return None
        after.append(fitting[0])
    return {"pads": [*window.before, *after], "ceil_mode": 1}


def padded(c: OnnxLowering, x: str, window: Window) -> str:
    """``x`` with the padding of zeros put around by a node."""
    return c.node("Pad", (x, c.shape((0, 0, *window.before, 0, 0, *window.after))))


def onnx_conv_transpose(c: OnnxLowering, window: Window, groups: int) -> None:
    """A transposed convolution."""
    _refuse_f64(c)
    onnx_transposed(c, c.inputs, c.outputs, window, groups, c.input_types[0], c.output_types[0])


def onnx_transposed(
    c: OnnxLowering,
    inputs: Sequence[str],
    outputs: Sequence[str],
    window: Window,
    groups: int,
    gradient: TensorType,
    result: TensorType,
) -> None:
    """A transposed convolution of tensors of these types: one node, and another that cuts where it depends on symbols
    how much is cut."""
    least = _least(window, gradient.shape[2:])
    whole = window.around(result.shape[2:])
    missing = [size - end for size, end in zip(whole, least, strict=True)]
    pads = [*window.before, *window.after]
    attributes = _attributes(window, groups)
    if all(isinstance(number, int) for number in (*pads, *missing)):
        attributes |= {"pads": pads} if any(pads) else {}
        attributes |= {"output_padding": missing} if any(missing) else {}
        c.node("ConvTranspose", inputs, outputs, **attributes)
        return
    # As long as it can get with these operands, so that what is wanted lies inside.
    most = [stride - 1 for stride in window.strides]
    longest = c.node("ConvTranspose", inputs, **attributes, output_padding=most)
    stops = [start + size for start, size in zip(window.before, result.shape[2:], strict=True)]
    axes = c.shape(range(2, result.rank))
    c.node("Slice", (longest, c.shape(window.before), c.shape(stops), axes), outputs)


def _least(window: Window, places: Sequence[Dim]) -> tuple[Dim, ...]:
    """The smallest sizes that have so many places."""
    return tuple(
        (place - 1) * stride + reach for place, stride, reach in zip(places, window.strides, window.reach, strict=True)
    )


def onnx_conv_weight(c: OnnxLowering, window: Window, groups: int) -> None:
    """The gradient to the kernels is a convolution in which samples and channels change places, and so do strides
    and dilations; what goes beyond the kernel is cut off."""
    _refuse_f64(c)
    x = c.input_types[0]
    rank = window.rank
    image = c.inputs[0] if not _is_symbolic(window) else padded(c, c.inputs[0], window)
    inner = range(2, 2 + rank)
    if groups == 1:
        image = c.node("Transpose", (image,), perm=(1, 0, *inner))
    else:
        sizes = window.around(x.shape[2:]) if _is_symbolic(window) else x.shape[2:]
        each = c.output_types[0].shape[1]
        image = c.node("Reshape", (image, c.shape((x.shape[0], groups, each, *sizes))), allowzero=1)
        image = c.node("Transpose", (image,), perm=(2, 1, 0, *range(3, 3 + rank)))
        image = c.node("Reshape", (image, c.shape((each, x.shape[0] * groups, *sizes))), allowzero=1)
    kernels = c.node("Transpose", (c.inputs[1],), perm=(1, 0, *inner))
    swapped: dict[str, Any] = {
        "strides": list(window.dilations), "dilations": list(window.strides), "group": groups,
    }  # fmt: skip
    if not _is_symbolic(window):
        swapped["pads"] = [*window.before, *window.after]
    result = c.node("Conv", (image, kernels), **swapped)
    ends, axes = c.shape(window.kernel), c.shape(tuple(inner))
    result = c.node("Slice", (result, c.shape((0,) * rank), ends, axes))
    c.node("Transpose", (result,), c.outputs, perm=(1, 0, *inner))


def _refuse_f64(c: OnnxLowering) -> None:
    if c.output_types[0].dtype is DType.F64:
        raise FacetError("ONNX Runtime has no convolution for f64: use f32")


def _is_symbolic(window: Window) -> bool:
    return not all(isinstance(amount, int) for amount in (*window.before, *window.after))


def _attributes(window: Window, groups: int) -> dict[str, Any]:
    return window_attributes(window) | ({} if groups == 1 else {"group": groups})


def window_attributes(window: Window) -> dict[str, Any]:
    """The attributes of a window but for its padding; those that ONNX takes for granted are left out."""
    found: dict[str, Any] = {"kernel_shape": list(window.kernel)}
    if set(window.strides) != {1}:
        found["strides"] = list(window.strides)
    if set(window.dilations) != {1}:
        found["dilations"] = list(window.dilations)
    return found
