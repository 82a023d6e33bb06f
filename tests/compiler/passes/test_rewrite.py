"""The rewriting driver and its patterns."""

from __future__ import annotations

import pytest

from compiler.diagnostics.source import Source
from compiler.ir.dims import symbol
from compiler.ir.graph import Origin, Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.elementwise import Add, Multiply, Subtract
from compiler.ops.unary import Absolute, Exp, Log, Negative, Sign, Sin, Square
from compiler.passes.pattern import Numeral, any_of, made, number
from compiler.passes.rewrite import Refusal, Rule, rewrite
from compiler.passes.simplify import Simplify

X = TensorType(DType.F32, (symbol("N"), 3))

EXP_OF_LOG = Rule("exp-of-log", made(Exp, made(Log, "x")), lambda b, m: m["x"])
TWICE = Rule("twice", made(Add, "x", "x"), lambda b, m: b.mul(m["x"], 2))
DOUBLE_NEGATIVE = Rule("double-negative", made(Negative, made(Negative, "x", once=True)), lambda b, m: m["x"])
MINUS = Rule("minus", made(Subtract, "x", "y"), lambda b, m: b.add(m["x"], b.neg(m["y"])))


def test_text_before_and_after(graphs) -> None:
    before = """
        data %x: f32[N, 3]
        %logarithm: f32[N, 3] = log(%x)
        %again: f32[N, 3] = exp(%logarithm)
        %double: f32[N, 3] = add(%again, %x)
        %kept: f32[N, 3] = tanh(%double)
        return y=%kept
        return logarithm=%logarithm
    """
    after = """
        data %x: f32[N, 3]
        %logarithm: f32[N, 3] = log(%x)
        %t0: f32[] = constant() {array=f32[](2.0)}
        %double: f32[N, 3] = mul(%x, %t0)
        %kept: f32[N, 3] = tanh(%double)
        return y=%kept
        return logarithm=%logarithm
    """
    assert graphs.same_text(rewrite(graphs.read(before), (EXP_OF_LOG, TWICE)), after)


def test_a_graph_without_a_match_is_given_back(graphs) -> None:
    graph = graphs.built(lambda b, x: b.exp(b.neg(x)), X)
    assert rewrite(graph, (EXP_OF_LOG,)) is graph


def test_what_a_rule_writes_is_rewritten_too(graphs) -> None:
    def minus_negative(b: Emit, x, y):
        return b.sub(x, b.neg(y))

    graph = rewrite(graphs.built(minus_negative, X, X), (MINUS, DOUBLE_NEGATIVE))
    assert graphs.unnamed(graph) == graphs.unnamed(graphs.built(lambda b, x, y: b.add(x, y), X, X))


def test_origins_are_stamped_by_the_driver() -> None:
    source = Source("net.dl", "a -> log -> exp")
    log, exp = source.span(5, 8), source.span(12, 15)
    b = Emit("g")
    x = b.input("x", X)
    with b.at(Origin((log,), "net.log", ("earlier",))):
        inner = b.log(x)
    with b.at(Origin((exp,), "net.exp")):
        b.output("y", b.exp(inner))
    rule = Rule("to-abs", EXP_OF_LOG.pattern, lambda b, m: b.abs(b.square(m["x"])))
    origins = [node.origin for node in rewrite(b.finish(), (rule,)).nodes]
    assert origins == [Origin((exp, log), "net.exp", ("to-abs",))] * 2


def test_origins_of_all_rewrites_on_the_way(graphs) -> None:
    squared = Rule("squared", made(Multiply, "x", "x"), lambda b, m: b.square(m["x"]))
    once_more = Rule("once-more", made(Square, "x"), lambda b, m: b.abs(m["x"]))
    graph = rewrite(graphs.built(lambda b, x: b.mul(x, x), X), (squared, once_more))
    assert graph.nodes[0].origin.via == ("squared", "once-more")


def test_refusals_say_why(graphs) -> None:
    def make(b: Emit, x):
        y = b.neg(x)
        return b.mul(b.neg(y), b.exp(y))

    seen: list[Refusal] = []
    graph = graphs.built(make, X)
    never = Rule("never", made(Exp, "x"), lambda b, m: m["x"], lambda m: f"{m['x']} is too dear")
    assert rewrite(graph, (DOUBLE_NEGATIVE, EXP_OF_LOG, never, TWICE), seen.append) is graph
    assert [str(refusal) for refusal in seen] == [
        "double-negative: not at %t0 = neg(%x0): %x0 is an input, not by neg",
        "double-negative: not at %t1 = neg(%t0): %t0 has other uses",
        "exp-of-log: not at %t2 = exp(%t0): %t0 is made by neg, not by log",
        "never: not at %t2 = exp(%t0): %t0 is too dear",
    ]
    assert seen[1].node.output.type == X


def test_a_pass_tells_its_tracer(graphs) -> None:
    seen: list[Refusal] = []
    graph = graphs.built(lambda b, x: b.div(x, 10), X)
    assert Simplify(seen.append).apply(graph) is graph
    assert "divide-by-power-of-two" in [refusal.rule for refusal in seen]


def test_results_of_the_graph_count_as_uses() -> None:
    b = Emit("g")
    x = b.input("x", X)
    inner = b.neg(x)
    b.output("inner", inner)
    b.output("outer", b.neg(inner))
    assert rewrite(graph := b.finish(), (DOUBLE_NEGATIVE,)) is graph


def test_uses_that_go_are_not_counted_in_the_next_sweep(graphs) -> None:
    """The product by 0 is gone only after a first sweep."""

    def make(b: Emit, x):
        y = b.neg(x)
        return b.add(b.neg(y), b.mul(b.exp(y), 0))

    nothing = Rule("nothing", made(Add, "x", made(Multiply, "y", number(0))), lambda b, m: m["x"])
    assert rewrite(graphs.built(make, X), (DOUBLE_NEGATIVE, nothing)).nodes == ()


def test_rules_that_undo_each_other_are_found(graphs) -> None:
    rules = (
        Rule("there", made(Exp, "x"), lambda b, m: b.log(m["x"])),
        Rule("and-back", made(Log, "x"), lambda b, m: b.exp(m["x"])),
    )
    with pytest.raises(RuntimeError, match="rewrite rules go round in circles: there, and-back"):
        rewrite(graphs.built(lambda b, x: b.exp(x), X), rules)


def test_a_rule_keeps_the_type(graphs) -> None:
    wrong = Rule("wrong", made(Exp, "x"), lambda b, m: b.sum(m["x"]))
    with pytest.raises(RuntimeError, match=r"rewrite rule wrong replaces f32\[N, 3\] by f32\[\]"):
        rewrite(graphs.built(lambda b, x: b.exp(x), X), (wrong,))


def test_updates_and_roles_are_kept() -> None:
    b = Emit("g")
    w = b.input("w", X, Role.WEIGHT)
    b.output("w", b.exp(b.log(b.neg(w))), updates="w")
    graph = rewrite(b.finish(), (EXP_OF_LOG,))
    assert [item.role for item in graph.inputs] == [Role.WEIGHT]
    assert [(item.name, item.updates) for item in graph.outputs] == [("w", "w")]
    assert [node.operation for node in graph.nodes] == [Negative()]


def test_work_grows_with_the_nodes(graphs, work) -> None:
    def long(steps: int):
        def build(b: Emit, x):
            for index in range(steps):
                x = b.add(b.mul(b.neg(b.neg(x)), 1), 0.5 + index)
            return x

        return graphs.built(build, X)

    small, large = long(200), long(2000)
    assert len(Simplify().apply(large).nodes) == 4000
    assert work(lambda: Simplify().apply(large)) < 12 * work(lambda: Simplify().apply(small))


def test_what_no_rule_changes_stays_the_very_node(graphs) -> None:
    def make(b: Emit, x):
        kept = b.add(x, b.sin(x))
        return b.add(b.cos(kept), b.neg(b.neg(kept)))

    before = graphs.built(make, X)
    after = rewrite(before, (DOUBLE_NEGATIVE,))
    assert after.inputs == before.inputs
    assert after.nodes[:3] == before.nodes[:3]
    assert after.nodes[3] is not before.nodes[-1]


def test_rules_that_cannot_fit_cost_nothing(graphs, work) -> None:
    """By the classes of what made the operands it is known that none of a hundred rules fits."""

    def make(b: Emit, x):
        for _ in range(100):
            x = b.mul(x, x)
        return x

    never = tuple(
        Rule(f"never-{n}", made(Multiply, "x", made((Exp, Log), "y")), lambda b, m: m["x"]) for n in range(100)
    )
    graph = graphs.built(make, X)
    one, all_of_them = (lambda rules=rules: rewrite(graph, rules) for rules in (never[:1], never))
    one(), all_of_them()
    assert work(all_of_them) == work(one)


# Patterns.


@pytest.mark.parametrize(
    ("pattern", "make", "fits"),
    [
        (made(Multiply, "x", number(2)), lambda b, x, y: b.mul(2, x), True),
        (made(Multiply, "x", number(2)), lambda b, x, y: b.mul(x, b.expand(b.scalar(2, DType.F32), X.shape)), True),
        (made(Multiply, "x", number(2)), lambda b, x, y: b.mul(x, 3), False),
        (made(Multiply, "x", Numeral("c")), lambda b, x, y: b.mul(x, 3), True),
        (made(Multiply, "x", Numeral("c")), lambda b, x, y: b.mul(x, y), False),
        (made(Subtract, "x", number(2)), lambda b, x, y: b.sub(2, x), False),
        (made(Subtract, "x", "x"), lambda b, x, y: b.sub(x, x), True),
        (made(Subtract, "x", "x"), lambda b, x, y: b.sub(x, y), False),
        (made(Add, made(Exp, "x"), made(Log, "x")), lambda b, x, y: b.add(b.log(x), b.exp(x)), True),
        (made(Add, made(Exp, "x"), made(Log, "x")), lambda b, x, y: b.add(b.log(x), b.exp(y)), False),
        (made(Add, made(Add, "x", made(Exp, "y")), "y"), lambda b, x, y: b.add(y, b.add(b.exp(y), x)), True),
        (made(Add, made(Add, "x", made(Exp, "y")), "y"), lambda b, x, y: b.add(x, b.add(b.exp(y), x)), False),
        (made((Absolute, Sign), made((Exp, Log), "x")), lambda b, x, y: b.sign(b.log(x)), True),
        (made((Absolute, Sign), made((Exp, Log), "x")), lambda b, x, y: b.sign(b.sin(x)), False),
        (any_of((Add, Exp)), lambda b, x, y: b.add(x, y), True),
        (any_of((Add, Exp), Sin, Log), lambda b, x, y: b.add(x, b.log(y)), True),
        (any_of((Add, Exp), Sin, Log), lambda b, x, y: b.add(x, b.exp(y)), False),
    ],
)
def test_patterns(graphs, pattern, make, fits: bool) -> None:
    rule = Rule("gone", pattern, lambda b, m: b.tanh(m.inputs[0]) if m.inputs[0].type == X else b.tanh(m.inputs[1]))
    graph = graphs.built(make, X, X)
    after = rewrite(graph, (rule,))
    assert (after is not graph) == fits


def test_what_a_match_knows(graphs) -> None:
    seen = []

    def look(b: Emit, m):
        seen.append((m.number("c"), m.find(Square), m.named["root"].operation, str(m["x"]), m.type))
        return m["x"]

    pattern = made(Add, made(Multiply, made(Square, "x"), Numeral("c"), name="root"), "x")
    rewrite(graphs.built(lambda b, x: b.add(x, b.mul(b.square(x), 3)), X), (Rule("look", pattern, look),))
    assert seen == [(3.0, Square(), Multiply(), "%x0", X)]
