"""Dead code."""

from __future__ import annotations

from typing import Any

from compiler.passes.dead import DeadCode


def test_what_nobody_reads_goes(graphs: Any) -> None:
    before = """
        data %x: f32[N]
        data %unread: f32[N]
        weight %w: f32[3]
        state %s: f32[3]
        %a: f32[N] = exp(%x)
        %b: f32[N] = neg(%a)
        %c: f32[N] = log(%a)
        %d: f32[3] = neg(%w)
        return y=%c
        update %s=%d
    """
    after = """
        data %x: f32[N]
        data %unread: f32[N]
        weight %w: f32[3]
        state %s: f32[3]
        %a: f32[N] = exp(%x)
        %c: f32[N] = log(%a)
        %d: f32[3] = neg(%w)
        return y=%c
        update %s=%d
    """
    assert graphs.same_text(graphs.applied(DeadCode(), graphs.read(before)), after)


def test_a_graph_without_any_is_left_alone(graphs: Any) -> None:
    graph = graphs.read("data %x: f32[N] %a: f32[N] = exp(%x) return y=%a, x=%x")
    assert DeadCode().apply(graph) is graph
