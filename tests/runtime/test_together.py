"""Several trainings in one process, and inference beside them: each does what it does alone."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

import dlc
from compiler.targets.numpy import sharing
from runtime.programs import helpers

TEXT = """
model Net(x: f32[N, 1, 6, 6]) -> f32[N, 3] {
    conv(4, 3) -> batch_norm -> relu -> flatten -> dropout(0.3) -> dense(3)
}
train t(x: f32[N, 1, 6, 6], label: i64[N]) {
    minimize cross_entropy(Net(x), label) with adam(0.01)
    batch 16
    epochs 3
    seed SEED
}
"""


@pytest.fixture(autouse=True)
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps run in parts, by two processes: whichever training comes first has the helper."""
    monkeypatch.setattr(sharing, "LEAST_WORK", {4: 1, 2: 1})
    monkeypatch.setattr(helpers, "_WORTH", 0)
    monkeypatch.setattr(helpers, "_SURE", 0)
    monkeypatch.setenv("DLC_THREADS", "2")


def trained(seed: int) -> bytes:
    """The weights after a training, compiling included."""
    random = np.random.default_rng(seed)
    data = {"x": random.normal(size=(70, 1, 6, 6)).astype(np.float32), "label": random.integers(0, 3, 70)}
    model = dlc.loads(TEXT.replace("SEED", str(seed)))
    model.fit(data)
    return b"".join(array.tobytes() for _, array in sorted(model.weights.items()))


def at_once(*tasks: Callable[[], object]) -> list[object]:
    """What the tasks give, each on a thread of its own; they begin together."""
    begin = threading.Barrier(len(tasks), timeout=60)
    found: list[object] = [None] * len(tasks)

    def run(number: int) -> None:
        begin.wait()
        try:
            found[number] = tasks[number]()
        except BaseException as problem:  # shown by the comparison
            found[number] = problem

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_two_trainings_at_once_give_what_each_gives_alone() -> None:
    alone = [trained(0), trained(1)]
    assert at_once(lambda: trained(0), lambda: trained(1)) == alone


def test_inference_beside_a_training() -> None:
    model = dlc.loads(TEXT.replace("SEED", "5"))
    x = np.random.default_rng(9).normal(size=(20, 1, 6, 6)).astype(np.float32)
    expected, alone = model.predict(x).tobytes(), trained(2)

    def infer() -> set[bytes]:
        return {model.predict(x).tobytes() for _ in range(50)}

    assert at_once(lambda: trained(2), infer, infer) == [alone, {expected}, {expected}]
