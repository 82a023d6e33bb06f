"""How the work of compiling grows with the network: in proportion to its layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import compiler
from compiler.diagnostics import Source
from compiler.targets.numpy import sharing

DENSE = """
model Net(x: f32[N, 8]) -> f32[N, 3] { repeat LAYERS { dense(8) -> relu } -> dense(3) }
train t(x: f32[N, 8], label: i64[N]) { minimize cross_entropy(Net(x), label) with adam(0.01) }
"""
RESIDUAL = """
model Net(x: f32[N, 4, 6, 6]) -> f32[N, 3] {
    repeat LAYERS { residual { conv(4, 3, pad=same) -> batch_norm -> relu } } -> flatten -> dense(3)
}
train t(x: f32[N, 4, 6, 6], label: i64[N]) {
    logits = Net(x)
    minimize cross_entropy(logits, label) + 1e-3 * l2(Net) with adamw(0.01)
    measure accuracy(logits, label)
    clip 1.0
}
"""


@pytest.mark.parametrize("least", [1, 10**18], ids=["in parts", "whole"])
@pytest.mark.parametrize("text", [DENSE, RESIDUAL], ids=["dense", "residual"])
def test_work_grows_with_the_layers(
    text: str, least: int, work: Callable[[Callable[[], object]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "LEAST_WORK", {4: least, 2: least})

    def whole(layers: int) -> None:
        checked = compiler.check(Source("net.dl", text.replace("LAYERS", str(layers))))
        compiler.train_module(compiler.compile_train(checked, "t"))

    whole(2)
    first, second, third = (work(lambda layers=layers: whole(layers)) for layers in (5, 20, 35))
    # As much for the second fifteen layers as for the first; what is quadratic would double.
    assert third - second < 1.1 * (second - first)
