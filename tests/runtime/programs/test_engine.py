"""Engines: binding by sizes, errors, threads, tracebacks, and the same bits as the file run on its own."""

from __future__ import annotations

import gc
import linecache
import os
import subprocess
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from compiler.ir.dims import symbol
from compiler.ir.graph import Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.targets.numpy import generate
from runtime.programs.blas import OneThread, single_threaded_blas
from runtime.programs.engine import BINDINGS, Engine, InputError

F32, N, T = DType.F32, symbol("N"), symbol("T")


def step_text() -> str:
    """``initial`` and a training step whose sums are long enough to be rounded differently by several threads."""
    b = Emit("initial")
    seed = b.input("seed", TensorType(DType.I64), Role.STATE)
    b.output("w", b.uniform((500, 300), seed, b.scalar(0, DType.I64), 1, -0.1, 0.1))
    initial = b.finish()
    b = Emit("step")
    x = b.input("x", TensorType(F32, (N, 500)))
    w = b.input("w", TensorType(F32, (500, 300)), Role.WEIGHT)
    y = b.softmax(b.matmul(x, w))
    slope = b.matmul(b.transpose(x, (1, 0)), y)
    b.output("w", b.sub(w, b.mul(slope, 0.01)), updates="w")
    b.output("loss", b.mean(b.log(y)))
    return generate([initial, b.finish()])


def small_text() -> str:
    b = Emit("g")
    x = b.input("x", TensorType(F32, (N, T)))
    y = b.input("y", TensorType(DType.I64, (2 * N,)))
    b.output("sum", b.sum(x))
    b.output("total", b.sum(y))
    b.output("log", b.log(x))
    return generate([b.finish()])


@pytest.fixture
def small() -> Engine:
    return Engine(small_text(), {})


def batch(n: int, t: int) -> dict[str, np.ndarray[Any, Any]]:
    return {"x": np.ones((n, t), np.float32), "y": np.ones(2 * n, np.int64)}


def data(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).standard_normal((count, 500)).astype(np.float32)


def test_calls_at_several_sizes(small: Engine) -> None:
    for n, t in ((2, 3), (4, 5), (2, 3)):
        results = small.call("g", {**batch(n, t), "not asked for": np.zeros(1)})
        assert results["sum"] == n * t
        assert results["total"] == 2 * n
        assert results["log"].shape == (n, t)
    assert small.functions == ("g",)


def test_results_are_the_same_arrays_at_every_call(small: Engine) -> None:
    first = small.call("g", batch(2, 3))
    assert small.call("g", batch(2, 3))["log"] is first["log"]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("x", np.ones((2, 3)), "g takes x as float32[N, T], not float64[2, 3]"),
        ("x", np.ones((2, 3), ">f4"), "g takes x as float32[N, T], not >f4[2, 3]"),
        ("x", np.ones(2, np.float32), "g takes x as float32[N, T], not float32[2]"),
        ("y", np.ones(5, np.int64), "g takes y as int64[(2*N)] where N = 2, T = 3, not int64[5]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    small: Engine, name: str, array: np.ndarray[Any, Any], message: str
) -> None:
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            small.call("g", {**batch(2, 3), name: array})
        assert str(caught.value) == message


def test_a_size_that_no_argument_tells_is_named() -> None:
    b = Emit("g")
    b.output("y", b.relu(b.input("x", TensorType(F32, (2 * N,)))))
    with pytest.raises(InputError, match="no argument of g tells how large N is"):
        Engine(generate([b.finish()]), {}).call("g", {"x": np.ones(4, np.float32)})


def test_missing_arrays_and_functions_are_key_errors(small: Engine) -> None:
    with pytest.raises(KeyError, match="y"):
        small.call("g", {"x": np.ones((2, 3), np.float32)})
    with pytest.raises(KeyError, match="h"):
        small.call("h", {})


def test_arguments_need_not_be_contiguous(small: Engine) -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::2]
    assert small.call("g", {"x": x, "y": np.arange(8)[::2]})["sum"] == x.sum()


def test_floating_point_warnings_are_silent_inside_and_not_outside(small: Engine) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = small.call("g", {**batch(2, 3), "x": np.zeros((2, 3), np.float32)})
        assert np.isneginf(results["log"]).all()
        with pytest.raises(RuntimeWarning):
            np.log(np.zeros(1))


def test_kept_arrays_change_in_place() -> None:
    text = step_text()
    weights = Engine(text, {"seed": np.array(0)}).call("initial", {})
    kept = {"w": weights["w"].copy()}
    engine = Engine(text, kept)
    engine.call("step", {"x": data(8)})
    assert engine.kept["w"] is kept["w"]
    assert not np.array_equal(kept["w"], weights["w"])


def test_only_the_sizes_used_last_stay_bound(small: Engine) -> None:
    kept = small.call("g", batch(1, 1))["log"]
    for n in range(2, BINDINGS + 2):
        small.call("g", batch(1, 1))
        small.call("g", batch(n, 1))
    assert small.call("g", batch(1, 1))["log"] is kept
    for n in range(2, BINDINGS + 2):
        small.call("g", batch(n, 1))
    assert small.call("g", batch(1, 1))["log"] is not kept


def test_each_thread_has_results_of_its_own(small: Engine) -> None:
    barrier, failures = threading.Barrier(3, timeout=60), []

    def work(value: int) -> None:
        x = np.full((50, 50), value, np.float32)
        for _ in range(50):
            barrier.wait()
            results = small.call("g", {"x": x, "y": np.ones(100, np.int64)})
            barrier.wait()
            if results["sum"] != value * 2500:
                failures.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_updates_from_several_threads_are_not_lost() -> None:
    b = Emit("step")
    count = b.input("count", TensorType(DType.I64), Role.STATE)
    b.output("count", b.add(count, 1), updates="count")
    engine = Engine(generate([b.finish()]), {"count": np.array(0)})
    threads = [threading.Thread(target=lambda: [engine.call("step", {}) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.kept["count"] == 2000


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context finds its libraries anew: other tests may have imported some since it looked for them."""
    monkeypatch.setattr(OneThread, "libraries", None)


def blas_threads() -> set[int]:
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.mark.usefixtures("libraries")
def test_one_blas_thread_inside_and_as_before_outside() -> None:
    before = blas_threads()
    with single_threaded_blas():
        with single_threaded_blas():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == before


@pytest.mark.usefixtures("libraries")
def test_the_last_thread_to_leave_restores_the_blas() -> None:
    before, inside, leave = blas_threads(), threading.Event(), threading.Event()

    def stay() -> None:
        with single_threaded_blas():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=stay)
    with single_threaded_blas():
        thread.start()
        inside.wait()
    found = blas_threads()
    leave.set()
    thread.join()
    assert (found, blas_threads()) == ({1}, before)


def test_tracebacks_show_the_generated_line() -> None:
    engine = Engine(step_text(), {"w": np.zeros((500, 300), np.float32)}, name="digits")
    engine.kept["w"].flags.writeable = False
    with pytest.raises(ValueError, match="read-only") as caught:
        engine.call("step", {"x": data(2)})
    shown = "".join(traceback.format_exception(caught.value))
    assert "<digits " in shown
    assert "np.subtract(w_w, " in shown


def test_sources_go_with_their_engine() -> None:
    def registered() -> int:
        return sum(name.startswith("<passing ") for name in linecache.cache)

    engine = Engine(small_text(), {}, name="passing")
    assert registered() == 1
    del engine
    gc.collect()
    assert registered() == 0


SCRIPT = """
import sys
import network
import numpy as np

assert "compiler" not in sys.modules
kept = dict(network.bind_initial({"seed": np.array(3)})())
step = network.bind_step(kept, N=64)
with np.load("data.npz") as arrays:
    losses = [step(arrays[name])["loss"].copy() for name in sorted(arrays)]
np.savez("out.npz", w=kept["w"], losses=losses)
"""


def test_the_file_on_its_own_gives_the_same_bits(tmp_path: Path) -> None:
    text = step_text()
    (tmp_path / "network.py").write_text(text)
    batches = {f"x{index}": data(64) + index for index in range(5)}
    np.savez(tmp_path / "data.npz", **batches)
    environment = {key: value for key, value in os.environ.items() if "THREADS" not in key and key != "PYTHONPATH"}
    script = [sys.executable, "-W", "error", "-c", SCRIPT]
    subprocess.run(script, cwd=tmp_path, env=environment, check=True)
    kept = dict(Engine(text, {"seed": np.array(3)}).call("initial", {}))
    engine = Engine(text, kept)
    losses = [engine.call("step", {"x": batches[name]})["loss"].copy() for name in sorted(batches)]
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_array_equal(out["losses"], losses)
        np.testing.assert_array_equal(out["w"], kept["w"])


def test_the_environment_of_the_process_stays_as_it_is() -> None:
    before = dict(os.environ)
    Engine(small_text(), {})
    assert dict(os.environ) == before
