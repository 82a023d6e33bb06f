"""How the gradient of a convolution to its kernels becomes NumPy statements: a few samples at a time."""

from __future__ import annotations

from compiler.ir.dims import Dim, product
from compiler.ir.types import TensorType
from compiler.ops.arrays import filled, row_major
from compiler.ops.base import NumpyLowering
from compiler.ops.conv_numpy import Kernels, fixed_shape
from compiler.ops.samples import Image, Samples, settled, typical, windows
from compiler.ops.window import Window, cell_ranges


def lower_conv_weight(c: NumpyLowering, window: Window, groups: int) -> None:
    """Write the gradient of a convolution to its kernels: operands x and gradient."""
    places = product(c.input_types[1].shape[2:])
    kernels = Kernels(c.outputs[0], fixed_shape(c.output_types[0]), True, groups)
    if kernels.is_depthwise:
        _by_cells(c, window, kernels)
    elif kernels.inputs * window.cells < typical(places):
        # To add up the kernels of every sample is less than to bring the samples of each channel together.
        _by_samples(c, window, kernels)
    else:
        _by_channels(c, window, kernels)


def _matrix_shape(kernels: Kernels, window: Window) -> tuple[int, ...]:
    return (*kernels.lead, kernels.outputs_each, kernels.inputs * window.cells)


def _by_samples(c: NumpyLowering, window: Window, kernels: Kernels) -> None:
    """A product for each sample, and the sum of them."""
    x, gradient = c.input_types
    count, channels, places = x.shape[0], x.shape[1], gradient.shape[2:]
    shape, area = _matrix_shape(kernels, window), product(places)
    loop = Samples(c, count, x.dtype.bytes * (channels * window.cells * area + product(shape)))
    columns, first = (c.inputs[0], count)
    if window.is_point:
        columns = row_major(c, 0)
    else:
        columns, first = c.scratch(x.with_shape((loop.count, channels, *window.kernel, *places))), loop.count
    matrix = c.view(columns, f"reshape({c.shape((first, *kernels.lead, shape[-1], area))}).swapaxes(-1, -2)")
    given = c.view(row_major(c, 1), f"reshape({c.shape((count, *shape[:-1], area))})")
    matrix, given = settled(c, matrix, "columns"), settled(c, given, "gradients")
    part = c.scratch(x.with_shape((loop.count, *shape)))
    result = c.view(c.outputs[0], f"reshape({c.shape(shape)})")
    total = c.scratch(x.with_shape(shape)) if loop.looped else ""
    image = Image(c, loop, c.inputs[0], x, window)
    seen = "" if window.is_point else _seen(c, image, window, places)
    if loop.looped:
        c.line(f"{result}.fill(0)")
    loop.enter()
    image.load()
    if not window.is_point:
        loop.line(f"np.copyto({loop.work(columns)}, {image.part(seen)})")
    side = loop.of(matrix) if window.is_point else loop.work(matrix)
    loop.line(f"np.matmul({loop.of(given)}, {side}, out={loop.work(part)})")
    loop.line(f"np.add.reduce({loop.work(part)}, axis=0, out={total or result})")
    if loop.looped:
        loop.line(f"np.add({result}, {total}, out={result})")


def _seen(c: NumpyLowering, image: Image, window: Window, places: tuple[Dim, ...]) -> str:
    return windows(c, image.array, window.kernel, places, window.strides, window.dilations)


def _by_channels(c: NumpyLowering, window: Window, kernels: Kernels) -> None:
    """The places of several samples brought together, and one product over all of them.

    It is the transpose that is made: with the longer side first, the product is a fifth faster.
    """
    x, gradient = c.input_types
    count, channels, places = x.shape[0], x.shape[1], gradient.shape[2:]
    shape, area, rank = _matrix_shape(kernels, window), product(places), window.rank
    tall = x.with_shape((*shape[:-2], shape[-1], shape[-2]))
    loop = Samples(c, count, x.dtype.bytes * area * (channels * window.cells + kernels.outputs))
    side = c.scratch(x.with_shape((loop.count * channels * window.cells * area,)))
    turned = c.scratch(x.with_shape((loop.count * kernels.outputs * area,)))
    part, total = c.scratch(tall), c.scratch(tall) if loop.looped else ""
    image = Image(c, loop, c.inputs[0], x, window)
    seen = _seen(c, image, window, places)
    order = (*range(1, 2 + rank), 0, *range(2 + rank, 2 + 2 * rank))
    if loop.looped:
        c.line(f"{total}.fill(0)")
    loop.enter()
    image.load()
    columns = _shaped(c, loop, side, (channels, *window.kernel), places)
    loop.line(f"np.copyto({columns}, {image.part(seen)}.transpose({order}))")
    matrix = f"{columns}.reshape({_listed(*kernels.lead, shape[-1], -1)})"
    given = _shaped(c, loop, turned, (kernels.outputs,), places)
    loop.line(f"np.copyto({given}, {loop.of(c.inputs[1])}.swapaxes(0, 1))")
    factor = f"{given}.reshape({_listed(*shape[:-1], -1)}).swapaxes(-1, -2)"
    loop.line(f"np.matmul({matrix}, {factor}, out={part})")
    if loop.looped:
        loop.line(f"np.add({total}, {part}, out={total})")
    c.line(f"np.copyto({c.view(c.outputs[0], f'reshape({c.shape(shape)})')}, {total or part}.swapaxes(-1, -2))")


def _listed(*sizes: int) -> str:
    return ", ".join(map(str, sizes))


def _shaped(c: NumpyLowering, loop: Samples, work: str, lead: tuple[int, ...], places: tuple[Dim, ...]) -> str:
    """A name for [*lead, samples of the turn, *places] at the beginning of a flat work array."""
    if not loop.looped:
        return settled(c, c.view(work, f"reshape({c.shape((*lead, loop.count, *places))})"), "columns")
    name = c.local("columns")
    size = f"{c.dim(product((*lead, *places)))}*{loop.number}"
    loop.line(f"{name} = {work}[:{size}].reshape({_listed(*lead)}, {loop.number}, {', '.join(map(c.dim, places))})")
    return name


def _by_cells(c: NumpyLowering, window: Window, kernels: Kernels) -> None:
    """One cell after the other: each channel has its own kernels, so that there is nothing to multiply as matrices."""
    x, gradient = c.input_types
    count, places = x.shape[0], gradient.shape[2:]
    each = (kernels.outputs_each,) if kernels.outputs_each > 1 else ()
    shape, area = (kernels.groups, *each), product(places)
    around = product(window.around(x.shape[2:])) * x.shape[1]
    loop = Samples(c, count, x.dtype.bytes * (around + 2 * kernels.outputs * area))
    part = c.scratch(x.with_shape((loop.count, *shape, *places)))
    flat = c.view(part, f"reshape({c.shape((loop.count, kernels.outputs, area))})")
    sums = c.scratch(x.with_shape((loop.count, kernels.outputs)))
    total = c.scratch(x.with_shape((kernels.outputs,)))
    result = c.view(c.outputs[0], f"reshape({c.shape((kernels.outputs, window.cells))})")
    given = settled(c, c.view(row_major(c, 1), f"reshape({c.shape((count, *shape, *places))})"), "gradients")
    ones = filled(c, area, "1", x.dtype)
    image = Image(c, loop, c.inputs[0], x, window)
    array = settled(c, c.view(image.array, "{}[:, :, None]"), "channels") if each else image.array
    c.line(f"{result}.fill(0)")
    loop.enter()
    image.load()
    for number, cell in enumerate(window.offsets()):
        seen = image.part(array, cell_ranges(c, cell, window, places))
        loop.line(f"np.multiply({seen}, {loop.of(given)}, out={loop.work(part)})")
        loop.line(f"np.dot({loop.work(flat)}, {ones}, out={loop.work(sums)})")
        loop.line(f"np.add.reduce({loop.work(sums)}, axis=0, out={total})")
        loop.line(f"np.add({result}[:, {number}], {total}, out={result}[:, {number}])")
