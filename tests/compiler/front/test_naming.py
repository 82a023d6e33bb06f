"""Names of weights: labels and kinds, independent of what stands elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from compiler import Checked

Check = Callable[..., Checked]


def names(checked: Checked, model: str = "Net") -> list[str]:
    return [traced.weight.name for traced in checked.elaborated.models[model].weights]


def test_kinds_are_counted_and_labels_open_a_place_of_their_own(check: Check) -> None:
    checked = check("""
        model Net(x: f32[N, 8]) {
            dense(4)
            head: dense(4) -> relu -> dense(4, bias=false)
            dense(4)
        }
    """)
    assert names(checked) == [
        "Net.dense.weight", "Net.dense.bias",
        "Net.head.dense.weight", "Net.head.dense.bias", "Net.head.dense_2.weight",
        "Net.dense_2.weight", "Net.dense_2.bias",
    ]  # fmt: skip


def test_a_layer_put_in_elsewhere_renames_nothing_that_is_labelled(check: Check) -> None:
    before = check("model Net(x: f32[N, 8]) {\n body: dense(8)\n head: dense(4)\n}")
    after = check("model Net(x: f32[N, 8]) {\n dense(8) -> relu\n body: dense(8)\n dense(8)\n head: dense(4)\n}")
    assert set(names(before)) <= set(names(after))


def test_blocks_repeats_and_instances(check: Check) -> None:
    checked = check("""
        block Unit(x: [N, D]) { dense(D) -> relu }
        model Net(x: f32[N, 8]) {
            first: Unit
            body: repeat 2 { Unit }
            repeat 2 { dense(8, bias=false) }
            layer shared = dense(8, bias=false)
            shared -> shared
        }
    """)
    assert names(checked) == [
        "Net.first.Unit.dense.weight", "Net.first.Unit.dense.bias",
        "Net.body.0.Unit.dense.weight", "Net.body.0.Unit.dense.bias",
        "Net.body.1.Unit.dense.weight", "Net.body.1.Unit.dense.bias",
        "Net.repeat.0.dense.weight", "Net.repeat.1.dense.weight",
        "Net.shared.dense.weight",
    ]  # fmt: skip


def test_a_model_called_twice_shares_its_weights(check: Check) -> None:
    checked = check("""
        model Inner(x: f32[N, 8]) -> f32[N, 8] { dense(8) }
        model Net(x: f32[N, 8]) -> f32[N, 8] { Inner(x) + Inner(Inner(x)) }
    """)
    assert names(checked) == ["Inner.dense.weight", "Inner.dense.bias"]
