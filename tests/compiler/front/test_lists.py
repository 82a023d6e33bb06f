"""Lists of constants: taken apart, indexed, sliced and repeated over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler import Checked
from compiler.diagnostics import DiagnosticError

Check = Callable[..., Checked]


def widths(checked: Checked) -> list[str]:
    weights = checked.elaborated.models["Net"].weights
    return [str(traced.weight.type) for traced in weights]


@pytest.mark.parametrize(
    ("index", "width"),
    [("sizes[0]", 2), ("sizes[-1]", 5), ("sizes[1:][0]", 3), ("sizes[:-1][-1]", 3), ("sizes[::-1][0]", 5)],
)
def test_positions_and_slices(check: Check, index: str, width: int) -> None:
    checked = check(f"""
        const sizes = [2, 3, 5]
        model Net(x: f32[N, 8]) {{ dense({index}, bias=false) }}
    """)
    assert widths(checked) == [f"f32[8, {width}]"]


@pytest.mark.parametrize("index", ["3", "-4", "0, 1", "true", '"a"', "::0", "1.0:", "x"])
def test_what_is_no_position(check: Check, index: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        check(f"const sizes = [2, 3, 5]\nmodel Net(x: f32[N, 8]) {{ dense(sizes[{index}]) }}")
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E0404"]


def test_repeat_over_a_list(check: Check) -> None:
    checked = check("""
        const rows = [(4, 2), (3, 1)]
        model Net(x: f32[N, 8]) {
            repeat rows as row {
                width, depth = row
                repeat depth { dense(width, bias=false) }
            }
            repeat rows[1:] { dense(2, bias=false) }
            repeat [] as width { dense(width) }
        }
    """)
    assert widths(checked) == ["f32[8, 4]", "f32[4, 4]", "f32[4, 3]", "f32[3, 2]"]


@pytest.mark.parametrize(
    ("count", "code"), [('"ab"', "E0403"), ("true", "E0403"), ("(x, x)", "E0403"), ("-1", "E0404"), ("1 << 2", "E0101")]
)
def test_what_can_not_be_repeated(check: Check, count: str, code: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        check(f"model Net(x: f32[N, 8]) {{ repeat {count} {{ relu }} }}")
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == [code]


def test_set_takes_one_value(check: Check) -> None:
    for text in ("1; const other = 2", '1; import "other.dl"', "1\nconst other = 2"):
        with pytest.raises(DiagnosticError) as caught:
            check("const width = 4\nmodel Net(x: f32[N, 8]) { dense(width) }", width=text)
        assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E0502"]


def test_a_promise_without_an_element_type(check: Check) -> None:
    checked = check("""
        block Half(x: [N, D]) -> [N, D // 2] { dense(D // 2, bias=false) }
        model Net(x: f64[N, 8]) { Half }
    """)
    assert widths(checked) == ["f64[8, 4]"]
    with pytest.raises(DiagnosticError, match=r"promises f32\[N, 8\], but gives f32\[N, 4\]"):
        check("block Same(x: [N, D]) -> [N, D] { dense(4) }\nmodel Net(x: f32[N, 8]) { Same }")
