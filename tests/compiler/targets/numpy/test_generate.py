"""The text of generated modules."""

from __future__ import annotations

import ast
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compiler.diagnostics.source import Source
from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Origin, Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, Step, WeightStep
from compiler.ops.elementwise import Multiply, Subtract
from compiler.targets.numpy import generate, planned_memory

F32 = DType.F32
N = symbol("N")

SOURCE = Source("net.dl", "model Net(x: f32[N, 3]) -> f32[N, 2] {\n    hidden: dense(2) -> relu\n}\n")


def layer(b: Emit) -> None:
    """A dense layer and a step of its weight, as the front end and the passes leave them."""
    spans = (SOURCE.span(SOURCE.text.index("hidden"), SOURCE.text.index("\n}")),)
    x = b.input("x", TensorType(F32, (N, 3)))
    weight = b.input("Net.hidden.dense.weight", TensorType(F32, (3, 2)), Role.WEIGHT)
    with b.at(Origin(spans, "Net.hidden")):
        y = b.relu(b.matmul(x, weight))
    with b.at(Origin(spans, "Net.hidden", ("gradient",))):
        slope = b.matmul(b.transpose(x, (1, 0)), y)
    with b.at(Origin(spans, "Net.hidden", ("update",))):
        b.output("next weight", b.sub(weight, b.mul(slope, 0.5)), updates=weight.name)
    b.output("y", y)


def test_the_whole_text(update_golden: bool, request: pytest.FixtureRequest) -> None:
    b = Emit("step")
    layer(b)
    text = generate([b.finish()], title="model Net", source=SOURCE)
    golden = request.path.with_name("net.py.golden")
    if update_golden:
        golden.write_text(text)
    assert text == golden.read_text()


def test_equal_graphs_give_equal_texts() -> None:
    texts = set()
    for _ in range(2):
        b = Emit("step")
        layer(b)
        texts.add(generate([b.finish()]))
    assert len(texts) == 1


def test_names_are_identifiers_and_never_taken(pair) -> None:
    """Whatever inputs, results and symbols are called, Python's own words and the module's included."""
    names = [
        "class",
        "np",
        "x y",
        "1",
        "kept",
        "results",
        "sum",
        "_memory",
        "é",
        "N",
        "bind_g",
        "g",
        "memory_1",
        "λ",
        "-",
    ]
    b = Emit("g")
    size = symbol("lambda")
    values = [b.input(name, TensorType(F32, (size, 3))) for name in names]
    total = values[0]
    for value in values[1:]:
        total = b.add(total, value)
    b.output("import", b.erf(total))
    b.output('a"b\\', b.relu(total))
    program = pair(b.finish(), {})
    program.step({name: np.full((2, 3), index, np.float32) for index, name in enumerate(names)})


def test_a_helper_may_have_the_name_of_a_result(pair) -> None:
    b = Emit("g")
    x = b.input("erf_f32", TensorType(F32, (3,)))
    b.output("y", b.erf(x))
    pair(b.finish(), {}).step({"erf_f32": np.ones(3, np.float32)})


def test_constants_large_and_small_keep_every_bit(pair) -> None:
    random = np.random.default_rng(0)
    arrays = [
        random.standard_normal((9, 8)).astype(np.float32),
        random.standard_normal(5).astype(np.float32),
        random.standard_normal(5),
        np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3e38], np.float32),
        np.array([[2**63 - 1, -(2**63)]]),
        np.array([True, False]),
        np.array([0.1, 65504.0, 6e-8], np.float16),
        np.array(2.5, np.float32),
        np.zeros((0, 3), np.uint8),
        np.arange(200, dtype=np.uint32),
    ]
    b = Emit("g")
    for index, array in enumerate(arrays):
        b.output(f"y{index}", b.constant(array))
    results = pair(b.finish(), {}).step({})
    for index, array in enumerate(arrays):
        assert results[f"y{index}"].tobytes() == array.tobytes()


def test_bfloat16_is_imported_where_it_is_used(pair) -> None:
    b = Emit("g")
    b.output("y", b.add(b.cast(b.input("x", TensorType(F32, (3,))), DType.BF16), 0.1))
    program = pair(b.finish(), {})
    assert "from ml_dtypes import bfloat16" in program.text
    program.step({"x": np.ones(3, np.float32)})
    b = Emit("g")
    b.output("y", b.input("x", TensorType(F32, (3,))))
    assert "ml_dtypes" not in generate([b.finish()])


def test_several_functions_share_constants_and_helpers(module) -> None:
    graphs = []
    for name in ("train", "evaluate"):
        b = Emit(name)
        b.output("y", b.add(b.erf(b.input("x", TensorType(F32, (N,)))), 0.25))
        graphs.append(b.finish())
    text = generate(graphs)
    assert text.count("def erf_f32") == text.count("F32_0_25 = ") == 1
    loaded = module(graphs)
    x = np.linspace(-1, 1, 5, dtype=np.float32)
    y, z = (loaded[f"bind_{graph.name}"]({}, 5)(x)["y"] for graph in graphs)
    np.testing.assert_array_equal(y, z)
    assert not np.shares_memory(y, z)


def test_kept_arrays_that_do_not_fit_are_refused(module) -> None:
    b = Emit("step")
    layer(b)
    bind = module([b.finish()])["bind_step"]
    for array in (np.zeros((3, 2)), np.zeros((2, 3), np.float32), 1.0):
        with pytest.raises(ValueError, match=r"weight has to be an array of float32 with shape \(3, 2\)"):
            bind({"Net.hidden.dense.weight": array}, 4)
    with pytest.raises(ValueError, match="has to be contiguous"):
        bind({"Net.hidden.dense.weight": np.zeros((2, 3), np.float32).T}, 4)


def test_sizes_out_of_range_are_refused(module) -> None:
    b = Emit("g")
    b.output("y", b.relu(b.input("x", TensorType(F32, (N, symbol("T", 64))))))
    bind = module([b.finish()])["bind_g"]
    bind({}, N=1, T=64)
    with pytest.raises(ValueError, match="N has to be at least 1, not 0"):
        bind({}, N=0, T=5)
    with pytest.raises(ValueError, match="T has to be from 1 to 64, not 65"):
        bind({}, N=1, T=65)


def test_every_function_begins_with_a_branch(module) -> None:
    """Without one, the time in which CPython compiles it grows with the square of its length."""
    graphs = []
    for name, size in (("sized", N), ("fixed", 4)):
        b = Emit(name)
        b.output("y", b.relu(b.input("x", TensorType(F32, (size,)))))
        graphs.append(b.finish())
    functions = [node for node in ast.parse(generate(graphs)).body if isinstance(node, ast.FunctionDef)]
    bound = [function for function in functions if function.name.startswith("bind_")]
    assert [type(function.body[1]) for function in bound] == [ast.If, ast.If]
    with pytest.raises(ValueError, match="kept has to be a dict of arrays"):
        module(graphs)["bind_fixed"](None)


def test_kept_arrays_that_are_not_used_are_not_asked_for(module) -> None:
    b = Emit("g")
    b.input("w", TensorType(F32, (3,)), Role.WEIGHT)
    b.output("y", b.relu(b.input("x", TensorType(F32, (3,)))))
    bound = module([b.finish()])["bind_g"]({})
    np.testing.assert_array_equal(bound(np.array([-1, 0, 1], np.float32))["y"], [0, 0, 1])


def mlp(layers: int, width: int = 64) -> Emit:
    """A deep network with its gradient written out, as large as that of a training step."""
    b = Emit("step")
    values = [b.input("x", TensorType(F32, (N, width)))]
    weights = [b.input(f"w{i}", TensorType(F32, (width, width)), Role.WEIGHT) for i in range(layers)]
    for weight in weights:
        values.append(b.tanh(b.matmul(values[-1], weight)))
    slope = values[-1]
    for index in reversed(range(layers)):
        slope = b.mul(slope, b.sub(1.0, b.square(values[index + 1])))
        update = b.matmul(b.transpose(values[index], (1, 0)), slope)
        slope = b.matmul(slope, b.transpose(weights[index], (1, 0)))
        b.output(f"next w{index}", b.sub(weights[index], b.mul(update, 0.01)), updates=f"w{index}")
    b.output("y", values[-1])
    return b


def test_no_array_is_made_in_a_step(module) -> None:
    graph = mlp(3).finish()
    kept = {f"w{i}": np.full((64, 64), 0.01, np.float32) for i in range(3)}
    step = module([graph])["bind_step"](kept, N=512)
    x = np.ones((512, 64), np.float32)
    first = step(x)["y"]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        again = step(x)["y"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert again is first
    assert peak - before < 4096  # an activation takes 131,072 bytes


def test_planned_memory_is_what_a_binding_allocates(module) -> None:
    b = mlp(4)
    # A table as large as the result is made once for the random numbers.
    seed = b.input("seed", TensorType(DType.I64), Role.STATE)
    b.output("noise", b.uniform((N, 500), seed, b.scalar(0, DType.I64), 1))
    graph = b.finish()
    kept = {f"w{i}": np.full((64, 64), 0.01, np.float32) for i in range(4)} | {"seed": np.array(0)}
    bind = module([graph])["bind_step"]
    for size in (64, 1000):
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            step = bind(kept, N=size)
            allocated = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert callable(step)
        assert planned_memory(graph, {"N": size}) == pytest.approx(allocated, abs=20_000)


def test_memory_is_used_again() -> None:
    """A forward pass needs two activations at a time, and one array of zeros for all of them, however deep it is."""
    b = Emit("g")
    x = b.input("x", TensorType(F32, (N, 64)))
    weight = b.input("w", TensorType(F32, (64, 64)), Role.WEIGHT)
    for _ in range(10):
        x = b.add(b.relu(b.matmul(x, weight)), 1.0)
    b.output("y", x)
    assert planned_memory(b.finish(), {"N": 100}) < 3 * 100 * 64 * 4 + 1000


def test_a_thousand_layers_take_work_in_proportion_and_compile(work) -> None:
    small, large = mlp(100).finish(), mlp(1000).finish()
    generate([small])
    assert work(lambda: generate([large])) < 12 * work(lambda: generate([small]))
    ast.parse(generate([large]))


def test_results_are_contiguous() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(F32, (N, 3)))
    b.output("y", b.transpose(b.relu(x), (1, 0)))
    module: dict[str, Any] = {}
    exec(generate([b.finish()]), module)
    y = module["bind_g"]({}, 4)(np.arange(-6, 6, dtype=np.float32).reshape(4, 3))["y"]
    assert y.flags.c_contiguous
    assert y.tolist() == np.maximum(np.arange(-6, 6).reshape(4, 3), 0).T.tolist()


def shared_work() -> Graph:
    """Products whose columns, and whose rows, several threads make, and a weight that they update."""
    b = Emit("step")
    n = symbol("N")
    x, y = (b.input(name, TensorType(DType.F32, (n, 1030))) for name in "xy")
    w = b.input("w", TensorType(DType.F32, (1030, 1030)), Role.WEIGHT)
    b.output("back", b.matmul(x, b.transpose(w, (1, 0))))
    gradient = b.matmul(b.transpose(x, (1, 0)), y)
    step = WeightStep(3, (Step(Multiply(), (1, 2)), Step(Subtract(), (0, 3))), (1,))
    (after,) = b.add_node(step, (w, gradient, b.scalar(0.5, DType.F32)))
    b.output("w", after, updates="w")
    return b.finish()


def test_large_matrices_are_shared_by_threads() -> None:
    text = generate([shared_work()])
    module: dict[str, Any] = {}
    exec(text, module)
    assert text.count("share([") == 3
    assert module["SIGNATURES"]["step"]["in_parts"]
    random = np.random.default_rng(0)
    x, y = (random.normal(size=(3, 1030)).astype(np.float32) for _ in range(2))
    w = random.normal(size=(1030, 1030)).astype(np.float32)
    found = []
    for order in (1, -1):
        kept = {"w": w.copy()}
        seen: list[int] = []

        def share(tasks: list[Any], work: int, order: int = order, seen: list[int] = seen) -> Callable[[], None]:
            seen.append(len(tasks))
            assert work > 10**7

            def call() -> None:
                for task in tasks[::order]:
                    task()

            return call

        back = module["bind_step"](kept, 3, share=share)(x, y)["back"].copy()
        assert seen == [2, 2, 2]
        found.append((kept["w"].tobytes(), back.tobytes()))
        np.testing.assert_allclose(kept["w"], w - 0.5 * x.T @ y, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(back, x @ w.T, rtol=1e-4, atol=1e-4)
    assert found[0] == found[1]
