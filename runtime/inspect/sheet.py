"""A contact sheet: samples beside what augmentation makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import compiler
from compiler.diagnostics import DiagnosticError, error
from runtime.data.batches import Batches, DataSet
from runtime.disk.output import save_output
from runtime.disk.png import png
from runtime.disk.tensors import Array
from runtime.programs.engine import Engine
from runtime.training.job import Job
from runtime.training.pictures import pixels, tile

# Each row of the sheet is a sample and what becomes of it in so many steps.
_SAMPLES, _VIEWS = 8, 8


def save_sheet(job: Job, data: DataSet, path: Path) -> str:
    """Writes a PNG with the first samples of ``data``, one in each row: as it is, and as augmentation makes it in the
    first steps of training. Gives a sentence about it. Raises DiagnosticError: E0620 where no image is augmented, and
    E0801."""
    program = job.program
    graph = compiler.augmented_graph(job.project.checked, program.name)
    names = [output.name for output in graph.outputs if _is_image(output.value.type.shape)]
    if not names:
        title = f"the train block `{program.name}` augments no image"
        advice = "augment an input on its way into the model: image -> random_shift(2) -> Net"
        raise DiagnosticError([error("E0620", title, None, help=advice)])
    name = names[0]
    state = {"seed": np.array(program.settings.seed, np.int64), "step": np.zeros((), np.int64)}
    engine = Engine(compiler.numpy_module([graph], f"augmentation of {program.name}"), state, program.name)
    batches = Batches(data, max(_SAMPLES, program.settings.batch), seed=None)
    inputs = {key: array.copy() for key, array in batches.at(0, 0).items()}
    batches.close()
    views = []
    for step in range(_VIEWS):
        engine.kept["step"][...] = step
        views.append(engine.call("augmented", inputs)[name][:_SAMPLES].copy())
    # A second view of an input is called image_2.
    first = inputs[name if name in inputs else name.rpartition("_")[0]][:_SAMPLES]
    said = "each row is a sample as augmentation makes it in the first steps"
    if first.shape == views[0].shape:
        views = [first, *views[1:]]
        said = "each row is a sample, and then what augmentation makes of it in the first steps"
    rows = np.stack(views, axis=1)
    save_output(path, png(tile(pixels(_visible(rows.reshape(-1, *rows.shape[2:]))))))
    return said


def _visible(images: Array) -> Array:
    """Images as floats that go from 0 to 1, whatever they went to."""
    floats = images.astype(np.float32)
    low, high = min(0.0, float(floats.min())), float(floats.max())
    if images.dtype == np.uint8 and high > 127:
        return images
    return (floats - low) / max(high - low, 1e-9)


def _is_image(shape: tuple[object, ...]) -> bool:
    return len(shape) == 3 or (len(shape) == 4 and shape[1] in (1, 3))
