"""Names of weights: labels and kinds, independent of what stands elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler import Checked
from compiler.diagnostics import DiagnosticError

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


def codes(check: Check, text: str) -> list[str]:
    with pytest.raises(DiagnosticError) as caught:
        check(text)
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


@pytest.mark.parametrize(
    "body",
    [
        "residual { mix: dense(8) }\nresidual { mix: dense(8) }",
        "if true { mix: dense(8) }\nmix: dense(8)",
        "layer mix = dense(8)\nmix: dense(8)",
        "layer mix = dense(8)\nresidual { layer mix = dense(8) }",
        "mix\nmix: dense(8)",
    ],
)
def test_two_places_of_one_body_never_share_a_name(check: Check, body: str) -> None:
    text = f"block mix(x: [N, D]) {{ dense(D) }}\nmodel Net(x: f32[N, 8]) {{\n{body}\n}}"
    assert codes(check, text) == ["E0202"]


def test_an_unlabelled_place_gives_way_to_a_label(check: Check) -> None:
    checked = check("""
        block mix(x: [N, D]) { dense(D, bias=false) }
        block dense_2(x: [N, D]) { dense(D, bias=false) }
        model Net(x: f32[N, 8]) {
            mix: dense(8, bias=false)
            mix
            dense(8, bias=false) -> dense(8, bias=false) -> dense_2
        }
    """)
    assert names(checked) == [
        "Net.mix.dense.weight", "Net.mix_2.dense.weight",
        "Net.dense.weight", "Net.dense_2.weight", "Net.dense_2_2.dense.weight",
    ]  # fmt: skip


def test_two_repeats_under_one_label(check: Check) -> None:
    checked = check("""
        model Net(x: f32[N, 8]) {
            body: (repeat 1 { dense(8, bias=false) }) + (repeat 1 { dense(8, bias=false) })
        }
    """)
    assert names(checked) == ["Net.body.0.dense.weight", "Net.body.repeat.0.dense.weight"]


def test_the_weights_of_an_instance_of_a_block(check: Check) -> None:
    checked = check("""
        block Unit(x: [N, D]) { inner: dense(D, bias=false) }
        model Net(x: f32[N, 8]) -> f32[N, 8] {
            layer unit = Unit
            unit -> unit
            it @ transpose(unit.inner.dense.weight)
        }
    """)
    assert names(checked) == ["Net.unit.Unit.inner.dense.weight"]


def test_a_part_that_an_instance_does_not_have(check: Check) -> None:
    assert codes(
        check,
        """
        block Unit(x: [N, D]) { inner: dense(D, bias=false) }
        model Net(x: f32[N, 8]) {
            layer unit = Unit
            unit
            it @ unit.outer.dense.weight + unit.inner.dense.bias
        }
        """,
    ) == ["E0201", "E0201"]
