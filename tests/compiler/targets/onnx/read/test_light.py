"""Networks of the onnx package, with seeded weights: the same numbers as in ONNX Runtime, and again after an export."""

from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

import compiler
from compiler.diagnostics import Source
from compiler.ops.base import Array
from compiler.program import ModelProgram
from compiler.targets.onnx.read.importer import import_graph
from compiler.targets.onnx.read.load import load, prepare
from runtime.programs.project import open_project
from runtime.training.job import Changes, make_job

FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"


def seeded(path: Path) -> onnx.ModelProto:
    """The network with random weights, which the file has as constants, and without the softmax at its end."""
    model = onnx.load(path, load_external_data=False)
    graph, random = model.graph, np.random.default_rng(1)
    shapes = {item.name: numpy_helper.to_array(item) for item in graph.initializer if item.dims}
    nodes = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        shape = [int(size) for size in shapes[node.input[0]]]
        spread = (2 / np.prod(shape[1:])) ** 0.5
        made = random.normal(0, spread, shape) if len(shape) > 1 else random.uniform(0.5, 1.5, shape)
        graph.initializer.append(numpy_helper.from_array(made.astype(np.float32), node.output[0]))
    if nodes[-1].op_type == "Softmax":
        graph.output[0].name = nodes.pop().input[0]
    del graph.node[:]
    graph.node.extend(nodes)
    data = [
        item for item in graph.input if [dim.dim_value for dim in item.type.tensor_type.shape.dim] == [1, 3, 224, 224]
    ]
    del graph.input[:]
    graph.input.extend(data)
    model.ir_version = 8
    return model


def in_onnx_runtime(content: bytes, x: Array) -> Array:
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    return np.asarray(found)


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_the_numbers_are_those_of_onnx_runtime(backend: ModuleType, name: str) -> None:
    model = seeded(FOLDER / f"light_{name}.onnx")
    imported = import_graph(prepare(model.SerializeToString(), name), "Light")
    x = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    wanted = in_onnx_runtime(model.SerializeToString(), x)
    assert np.ptp(wanted) > 0.1 * np.abs(wanted).max()
    (found,) = backend.outputs(imported, [x])
    again = in_onnx_runtime(compiler.onnx_file(ModelProgram("Light", imported.graph, ()), imported.weights), x)
    for result in (found, again):
        assert np.abs(result - wanted).max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.onnx")), ids=lambda path: path.stem)
def test_all_of_them_come_in_as_they_are(path: Path) -> None:
    (output,) = import_graph(load(path), "Light").graph.outputs
    assert output.value.type.shape[:2] == (1, 1000)


TRAIN = """
import "light.onnx" as Light

train light(x: f32[N, 1]) {{
    {freeze}
    scores = Light(normal(1, 3, 224, 224)) + mean(x)
    minimize mean(square(scores)) with sgd(1e-6)
    steps 1
}}
"""


def tuned(folder: Path, name: str) -> tuple[Path, list[str]]:
    """A model file that trains the second half of the weights of a network, and the names of those in the first."""
    (folder / "light.onnx").write_bytes(seeded(FOLDER / f"light_{name}.onnx").SerializeToString())
    path = folder / "main.dl"
    path.write_text(TRAIN.format(freeze=""))
    checked = compiler.check(Source(str(path), path.read_text()))
    learned = checked.elaborated.trains["light"].losses[0].over
    half = list(learned[: len(learned) // 2])
    path.write_text(TRAIN.format(freeze=f"freeze {', '.join(half)}"))
    return path, half


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])  # the others take minutes
def test_a_step_of_training_with_the_first_half_frozen(tmp_path: Path, name: str) -> None:
    path, half = tuned(tmp_path, name)
    job = make_job(open_project(path), changes=Changes({"x": np.zeros((1, 1), np.float32)}))
    trainer = job.trainer(job.prepare())
    before = {key: array.copy() for key, array in trainer.weights.items()}
    trainer.fit()
    moved = {key for key, array in trainer.weights.items() if not np.array_equal(array, before[key])}
    assert not moved & set(half)
    assert len(moved) > len(half) // 2
