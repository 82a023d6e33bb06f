"""Values written into a source text: constants and statements replaced, everything else left as it is."""

from __future__ import annotations

import pytest

from compiler.diagnostics import DiagnosticError, Source
from compiler.front.resolve import resolve

TEXT = """\
# two constants
const classes = 10   # how many
const rate = 1e-3

model Net(x: f32[N, 4]) -> f32[N, classes] { dense(classes) }

train net(x: f32[N, 4], y: i64[N]) {
    minimize cross_entropy(Net(x), y) with sgd(rate)
    data "a.npz"; epochs 3   # short
}

train other(x: f32[N, 4], y: i64[N]) { minimize cross_entropy(Net(x), y) with sgd(rate); data "a.npz" }
"""


def test_nothing_to_change() -> None:
    assert resolve(Source("net.dl", TEXT), {}) == TEXT


def test_constants() -> None:
    changed = resolve(Source("net.dl", TEXT), {"classes": " 26 ", "rate": "2 * 0.5"})
    assert changed == TEXT.replace("classes = 10 ", "classes = 26 ").replace("rate = 1e-3", "rate = 2 * 0.5")


def test_statements_of_one_block() -> None:
    changed = resolve(Source("net.dl", TEXT), {}, "net", {"data": 'data "b.npz"', "epochs": "epochs 7"})
    assert changed == TEXT.replace('data "a.npz"; epochs 3   #', 'data "b.npz"; epochs 7   #')


def test_statements_that_the_block_lacks() -> None:
    changed = resolve(Source("net.dl", TEXT), {}, "other", {"seed": "seed 5", "data": 'data "c"', "batch": "batch 2"})
    assert changed == TEXT.replace('data "a.npz" }', 'data "c" \n    seed 5\n    batch 2\n}')
    assert resolve(Source("net.dl", changed), {}) == changed


def test_a_block_of_another_name_is_left_alone() -> None:
    assert resolve(Source("net.dl", TEXT), {"nothing": "1"}, "third", {"seed": "seed 5"}) == TEXT


def test_broken_text() -> None:
    with pytest.raises(DiagnosticError, match="E0101"):
        resolve(Source("net.dl", "model {"), {})
