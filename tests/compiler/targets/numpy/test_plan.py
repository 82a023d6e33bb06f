"""Which values share memory, seen in the programs: results in place, updates written where they are kept."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.ir.graph import Graph
from compiler.targets.numpy.plan import make_plan

ONES = np.ones((2, 3), np.float32)


def shared(graph: Graph) -> dict[str, int]:
    return {value.name: operand for value, operand in make_plan(graph).shared.items()}


def direct(graph: Graph) -> dict[str, str]:
    return {value.name: kept.name for value, kept in make_plan(graph).direct.items()}


def test_a_result_takes_over_an_operand_that_is_not_read_again(graph) -> None:
    g = graph("""graph g {
        data %x: f32[N, 3]
        %a: f32[N, 3] = exp(%x)
        %b: f32[N, 3] = add(%x, %a)
        %c: f32[N, 3] = add(%b, %b)
        return y=%c
    }""")
    assert shared(g) == {"b": 1, "c": 0}


def test_nothing_takes_over_what_is_read_again_or_given_back(graph) -> None:
    g = graph("""graph g {
        data %x: f32[N, 3]
        %a: f32[N, 3] = exp(%x)
        %b: f32[N, 3] = exp(%a)
        %c: f32[N, 3] = exp(%b)
        %d: f32[N, 3] = add(%a, %c)
        return y=%d, z=%b
    }""")
    assert shared(g) == {"d": 0}


def test_a_view_keeps_its_operand_alive(graph) -> None:
    g = graph("""graph g {
        data %x: f32[N, 3]
        %a: f32[N, 3] = exp(%x)
        %t: f32[3, N] = transpose(%a) {permutation=[1, 0]}
        %b: f32[N, 3] = exp(%a)
        return y=%b, z=%t
    }""")
    assert shared(g) == {}


def test_a_result_in_place_may_lie_behind_a_reshape_but_not_behind_a_transpose(graph) -> None:
    g = graph("""graph g {
        data %x: f32[3, 3]
        %a: f32[3, 3] = exp(%x)
        %r: f32[9] = reshape(%a) {shape=[9]}
        %b: f32[9] = exp(%r)
        %s: f32[3, 3] = reshape(%b) {shape=[3, 3]}
        %t: f32[3, 3] = transpose(%s) {permutation=[1, 0]}
        %c: f32[3, 3] = exp(%t)
        return y=%c
    }""")
    assert shared(g) == {"b": 0}


def test_an_operand_that_is_read_turned_round_at_the_same_time_is_not_overwritten(graph, pair) -> None:
    g = graph("""graph g {
        data %x: f32[3, 3]
        %a: f32[3, 3] = exp(%x)
        %t: f32[3, 3] = transpose(%a) {permutation=[1, 0]}
        %b: f32[3, 3] = add(%a, %t)
        return y=%b
    }""")
    assert shared(g) == {}
    pair(g, {}).step({"x": np.arange(9, dtype=np.float32).reshape(3, 3)})


def test_an_update_is_written_where_it_is_kept(graph, pair) -> None:
    g = graph("""graph g {
        data %x: f32[2, 3]
        weight %w: f32[2, 3]
        %a: f32[2, 3] = add(%w, %x)
        %b: f32[2, 3] = mul(%a, %x)
        update %w=%b
    }""")
    assert direct(g) == {"b": "w"}
    program = pair(g, {"w": ONES})
    assert "copyto" not in program.text
    program.step({"x": ONES * 2})
    program.step({"x": ONES * 3})


def test_an_update_waits_where_the_old_content_is_read_later(graph, pair) -> None:
    g = graph("""graph g {
        data %x: f32[2, 3]
        weight %w: f32[2, 3]
        %a: f32[2, 3] = add(%w, %x)
        %b: f32[2, 3] = mul(%a, %w)
        update %w=%a
        return y=%b
    }""")
    assert direct(g) == {}
    pair(g, {"w": ONES}).step({"x": ONES * 2})


def test_an_update_waits_where_a_view_of_the_old_content_is_given_back(graph, pair) -> None:
    g = graph("""graph g {
        data %x: f32[2, 3]
        weight %w: f32[2, 3]
        %t: f32[3, 2] = transpose(%w) {permutation=[1, 0]}
        %a: f32[2, 3] = add(%w, %x)
        update %w=%a
        return y=%t
    }""")
    assert direct(g) == {}
    pair(g, {"w": ONES}).step({"x": ONES * 2})


@pytest.mark.parametrize("result", ["a", "r"])
def test_a_result_is_never_a_kept_array(graph, pair, result: str) -> None:
    """Otherwise a caller that writes into results would change the weights."""
    g = graph(f"""graph g {{
        data %x: f32[2, 3]
        weight %w: f32[2, 3]
        %a: f32[2, 3] = add(%w, %x)
        %r: f32[6] = reshape(%a) {{shape=[6]}}
        update %w=%a
        return y=%{result}
    }}""")
    program = pair(g, {"w": ONES})
    assert not np.shares_memory(program.step({"x": ONES})["y"], program.kept["w"])


def test_two_updates_that_swap(graph, pair) -> None:
    g = graph("""graph g {
        state %a: f32[2, 3]
        state %b: f32[2, 3]
        update %a=%b, %b=%a
    }""")
    program = pair(g, {"a": ONES, "b": ONES * 2})
    program.step({})
    program.step({})


def test_updates_that_read_views_of_each_other(graph, pair) -> None:
    g = graph("""graph g {
        state %a: f32[3, 3]
        state %b: f32[3, 3]
        %s: f32[3, 3] = transpose(%a) {permutation=[1, 0]}
        %t: f32[3, 3] = transpose(%b) {permutation=[1, 0]}
        update %a=%t, %b=%s
    }""")
    square = np.arange(9, dtype=np.float32).reshape(3, 3)
    pair(g, {"a": square, "b": -square}).step({})


def test_one_value_that_updates_two_arrays(graph, pair) -> None:
    g = graph("""graph g {
        data %x: f32[2, 3]
        state %a: f32[2, 3]
        state %b: f32[2, 3]
        %s: f32[2, 3] = add(%a, %x)
        update %a=%s, %b=%s as second
    }""")
    pair(g, {"a": ONES, "b": ONES * 2}).step({"x": ONES})


def test_an_update_to_itself_does_nothing(graph, pair) -> None:
    g = graph("graph g { state %seed: i64[] update %seed=%seed }")
    program = pair(g, {"seed": np.array(3)})
    program.step({})
    assert "copyto" not in program.text


def test_results_that_are_inputs_constants_and_views_of_arguments(graph, pair) -> None:
    g = graph("""graph g {
        data %x: f32[N, 3]
        weight %w: f32[2, 3]
        %t: f32[3, N] = transpose(%x) {permutation=[1, 0]}
        %c: f32[2] = constant() {array=f32[2](1.5, 2.5)}
        return x=%x, w=%w, t=%t, c=%c, again=%x
    }""")
    program = pair(g, {"w": ONES})
    argument = np.arange(12, dtype=np.float32).reshape(4, 3)
    results = program.step({"x": argument})
    for array in results.values():
        assert not np.shares_memory(array, argument)
        array.fill(7)
    program.step({"x": argument + 1})


def test_a_constant_made_of_something_else_is_refused(graph, monkeypatch) -> None:
    from compiler.ops import registry
    from compiler.ops.base import Storage

    monkeypatch.setattr(registry()["exp"], "storage", Storage.CONSTANT, raising=False)
    g = graph("graph g { data %x: f32[3] %y: f32[3] = exp(%x) return y=%y }")
    with pytest.raises(ValueError, match="exp is made once, but an operand of it is not constant"):
        make_plan(g)
