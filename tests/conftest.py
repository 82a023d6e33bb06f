"""Options of the test suite."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import runtime  # noqa: F401 - before any test: it keeps ONNX Runtime from reporting what runs

# The same examples each time, however slow the machine is: whether a change passes hangs on nothing but the change.
# `pytest --hypothesis-profile=explore` draws others, which is how new ones are found.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")

# Integers, floats, several outputs, indices that may be out of range, a batch that is mixed, no batch at all.
MODELS = """\
model Net(x: f32[N, 3], k: i64[N]) -> (scores: f32[N, 4], twice: f32[N, 3]) {
    words = k -> embed(7, 3)
    scores = x + words -> dense(4)
    twice = x * 2
    (scores, twice)
}

model Images(image: u8[N, 2, 2]) -> f32[N, 3] {
    cast(f32) / 16
    flatten
    dense(3)
}

model Steps(x: f32[N, T, 2]) -> f32[N, T, 3] {
    dense(3)
}

model Mixed(x: f32[N, 3]) -> f32[N, 3] {
    it - mean(it, 0, keep=true)
}

model One(x: f32[3]) -> f32[3] {
    it * 2
}
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    help = "write golden files anew instead of comparing with them"
    parser.addoption("--update-golden", action="store_true", help=help)
    help = "how many texts each test of test_fuzz.py draws"
    parser.addoption("--fuzz", type=int, default=300, help=help)


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(autouse=True)
def numbers_of_its_own(request: pytest.FixtureRequest) -> None:
    """What a test draws from the generators of its module hangs on its name alone, and not on the tests that this
    process ran before, which differ from run to run. PyTorch has a seed, where it is imported already: it begins with
    one of its own in every process."""
    state = np.random.default_rng(crc32(request.node.name.encode())).bit_generator.state
    for value in vars(request.module).values():
        if isinstance(value, np.random.Generator):
            value.bit_generator.state = state
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture
def work() -> Callable[[Callable[[], object]], int]:
    """How much a function does: the calls made while it runs. Unlike seconds that is the same on every machine, so
    that a test may say how it grows."""

    def count(function: Callable[[], object]) -> int:
        calls = 0

        def note(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        before = sys.getprofile()
        # What earlier tests left would be counted where it is collected.
        gc.collect()
        gc.disable()
        sys.setprofile(note)
        try:
            function()
        finally:
            sys.setprofile(before)
            gc.enable()
        return calls

    return count


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ONNX file for each of the small models above; ``images.onnx`` names its
    classes, and ``bare.onnx`` is ``net.onnx`` without the range of its indices."""
    import dlc
    from compiler.targets.onnx.file import with_metadata

    folder = tmp_path_factory.mktemp("models")
    for name in ("Net", "Images", "Steps", "Mixed", "One"):
        dlc.loads(MODELS, model=name).export(folder / f"{name.lower()}.onnx")
    images = folder / "images.onnx"
    images.write_bytes(with_metadata(images.read_bytes(), {"dlc.labels": '["cat", "dog", "größer"]'}))
    bare = with_metadata((folder / "net.onnx").read_bytes(), {"dlc.ranges": ""})
    (folder / "bare.onnx").write_bytes(bare)
    return folder


@pytest.fixture
def write_onnx() -> Callable[..., Path]:
    """Writes an ONNX file: ``nodes`` are lines such as ``y z = Conv(x, w) stem/conv pads=1,1,1,1``, ``stored`` arrays,
    ``inputs`` and ``outputs`` shapes by name."""

    def write(
        path: Path,
        nodes: str,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, Sequence[int | str] | None],
        stored: Mapping[str, Any],
        opset: int = 17,
        **metadata: str,
    ) -> Path:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        def info(name: str, shape: Sequence[int | str] | None) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(
            [_node(line.strip()) for line in nodes.strip().splitlines()],
            "network",
            [info(name, shape) for name, shape in inputs.items()],
            [info(name, shape) for name, shape in outputs.items()],
            [numpy_helper.from_array(array, name) for name, array in stored.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        helper.set_model_props(model, metadata)
        path.write_bytes(model.SerializeToString())
        return path

    return write


def _node(line: str) -> Any:
    """``y z = Conv(x, w) stem/conv pads=1,1,1,1`` as a node."""
    from onnx import helper

    results, _, rest = line.partition(" = ")
    kind, _, rest = rest.partition("(")
    operands, _, rest = rest.partition(")")
    name, *attributes = rest.split() or [""]
    values: dict[str, Any] = {}
    for attribute in attributes:
        key, _, text = attribute.partition("=")
        numbers = [float(part) if "." in part else int(part) for part in text.split(",")]
        values[key] = numbers if "," in text or key in ("perm", "axes") else numbers[0]
    inputs = [item.strip() for item in operands.split(",")] if operands else []
    return helper.make_node(kind, inputs, results.split(), name, **values)
