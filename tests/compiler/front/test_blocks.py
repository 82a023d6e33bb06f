"""Blocks: tensors that may be missing, and bodies without a current value."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler import Checked
from compiler.diagnostics import DiagnosticError

Check = Callable[..., Checked]

LOOK = """
block Look(x: [N, T, D], heads, mask: bool[N, T] = none) -> [N, T, D] {
    attention(heads, mask=mask, key_value_heads=none)
    if mask == none { relu } else { tanh }
}
"""


def error_of(check: Check, text: str) -> tuple[str, str]:
    with pytest.raises(DiagnosticError) as caught:
        check(text)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code, diagnostic.title


def opcodes(checked: Checked) -> set[str]:
    return {node.operation.opcode for node in checked.elaborated.models["Net"].graph.nodes}


def test_a_tensor_that_may_be_missing(check: Check) -> None:
    inputs = "x: f32[N, 3, 8], there: bool[N, 3]"
    without = check(f"{LOOK}\nmodel Net({inputs}) {{ select(unsqueeze(there, 2), x, 0) -> Look(2) }}")
    explicit = check(f"{LOOK}\nmodel Net({inputs}) {{ select(unsqueeze(there, 2), x, 0) -> Look(2, none) }}")
    given = check(f"{LOOK}\nmodel Net({inputs}) {{ Look(2, mask=there) }}")
    by_position = check(f"{LOOK}\nmodel Net({inputs}) {{ Look(x, 2, there) }}")
    assert {"relu", "tanh"} & opcodes(without) == {"relu"} == {"relu", "tanh"} & opcodes(explicit)
    assert {"relu", "tanh"} & opcodes(given) == {"tanh"} == {"relu", "tanh"} & opcodes(by_position)


@pytest.mark.parametrize(
    ("text", "code", "title"),
    [
        (
            f"{LOOK}\nmodel Net(x: f32[N, 3, 8]) {{ Look(2, mask=x) }}",
            "E0303",
            "Look takes mask: bool[N, T], but gets f32[N, 3, 8]",
        ),
        (
            f"{LOOK}\nmodel Net(x: f32[N, 3, 8]) {{ Look(2, mask=3) }}",
            "E0403",
            "mask of Look is a tensor, not the number 3",
        ),
        (
            "block Look(x: [N, D], mask: bool[N] = 3) { relu }\nmodel Net(x: f32[N, 8]) { Look }",
            "E0403",
            "the default of a tensor can only be none",
        ),
        (
            "model Net(x: f32[N, 8], mask: bool[N] = none) { select(unsqueeze(mask, 1), x, 0) }",
            "E0403",
            "mask is an input of Net, which is never missing",
        ),
        (
            "block Look(x: [N, D], mask: bool[N] = none) { mask }\nmodel Net(x: f32[N, 8]) { Look }",
            "E0403",
            'a stage gives a tensor, not the text "none"',
        ),
    ],
)
def test_what_can_not_be_missing(check: Check, text: str, code: str, title: str) -> None:
    assert error_of(check, text) == (code, title)


def test_a_parameter_hides_a_constant_of_its_name_behind_its_own_type_only(check: Check) -> None:
    text = """
        const code = 4
        model Decoder(code: f32[N, code]) -> f32[N, 2] { dense(2) }
        model Net(x: f32[N, 4]) -> f32[N, 2] { Decoder }
    """
    assert check(text).models == ("Decoder", "Net")


@pytest.mark.parametrize("body", ["", "repeat 0 { relu }", "if false { relu }", "residual { normal(3) }"])
def test_nothing_flows_in_a_model_without_inputs(check: Check, body: str) -> None:
    assert error_of(check, f"model Net() {{ {body} }}") == ("E0201", "there is no current value here")


def test_nothing_flows_in_a_train_block(check: Check) -> None:
    text = """
        model Net(x: f32[N, 8]) -> f32[N, 1] { dense(1) }
        train net(x: f32[N, 8]) { minimize mean(residual { Net(x) }) with sgd }
    """
    assert error_of(check, text) == ("E0201", "there is no current value here")
