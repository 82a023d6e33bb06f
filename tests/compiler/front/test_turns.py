"""What a minimize statement changes and computes: only what it needs; what is frozen stays; design's examples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import compiler
from compiler import Checked
from compiler.diagnostics import DiagnosticError, Source
from compiler.ir.graph import Graph, Role
from compiler.program import TrainProgram
from runtime.programs.summary import describe_train

GAN = """
model Generator(noise: f32[N, 4]) -> f32[N, 8] { dense(16) -> batch_norm -> relu -> dense(8) }
model Critic(image: f32[N, 8]) -> f32[N, 1] { dense(16) -> relu -> dense(1) }

train gan(image: f32[N, 8]) {
    fake = normal(N, 4) -> Generator
    minimize mean(Critic(stop_gradient(fake))) - mean(Critic(image)) over Critic with rmsprop(5e-5)
    minimize -mean(Critic(fake)) over Generator with rmsprop(5e-5) every 5
}
"""
NET = """
model Net(x: f32[N, 8]) -> f32[N, 3] {
    block1: dense(8) -> batch_norm -> relu
    block2: dense(8) -> batch_norm -> relu
    head: dense(3)
}
train net(x: f32[N, 8], y: i64[N]) {
    FREEZE
    minimize cross_entropy(Net(x), y) with adam
}
"""


def checked(text: str) -> Checked:
    return compiler.check(Source("test.dl", text))


def program(text: str, name: str) -> TrainProgram:
    return compiler.compile_train(checked(text), name)


def counts(graph: Graph) -> Counter[str]:
    return Counter(node.operation.opcode for node in graph.nodes)


def products(graph: Graph) -> tuple[int, int]:
    """How many there are forwards and backwards."""
    found = counts(graph)
    return found["matmul"] + found["linear"], found["transposed_matmul"]


def updated(graph: Graph) -> set[str]:
    weights = {value.name for value in graph.inputs_of(Role.WEIGHT)}
    return {output.updates for output in graph.outputs if output.updates in weights}


def test_each_statement_makes_the_gradients_that_it_needs_and_no_others() -> None:
    """Products of matrices: forwards 2 in the generator and 2 in the critic for each of its uses; backwards one for
    each kernel that is changed, and one for each layer that the gradient has to pass."""
    critic, generator = program(GAN, "gan").steps
    # Forwards 2 + 2 · 2; backwards for both uses two kernels and the way through the last layer.
    assert products(critic) == (6, 2 * 3)
    # Forwards 2 + 2; backwards the way through both layers of the critic, none of its kernels; two kernels of the
    # generator and the way through its last layer.
    assert products(generator) == (4, 2 + 3)
    assert all(name.startswith("Critic.") for name in updated(critic) if "running" not in name)
    assert all(name.startswith("Generator.") for name in updated(generator))


def test_turns_are_in_the_program() -> None:
    made = program(GAN, "gan")
    assert [turns.every for turns in made.turns] == [1, 5]
    assert [output.updates for output in made.steps[0].outputs].count("step") == 1
    assert [output.updates for output in made.steps[1].outputs].count("step") == 0


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("freeze Net.block1", {"block1"}),
        ("freeze Net.block*", {"block1", "block2"}),
        ("freeze Net.*1, Net.head.dense", {"block1", "head"}),
        ("freeze Net.block*.dense\n freeze Net.block2", {"block1.dense", "block2"}),
    ],
)
def test_what_is_frozen_stays_and_its_norms_keep_their_statistics(freeze: str, frozen: set[str]) -> None:
    (step,) = program(NET.replace("FREEZE", freeze), "net").steps
    changed = updated(step)
    assert changed
    for name in changed:
        assert not any(name.startswith(f"Net.{part}.") for part in frozen)
    every = {value.name for value in step.inputs_of(Role.WEIGHT)}
    for name in every - changed:
        assert any(name.startswith(f"Net.{part}.") for part in frozen), name


def test_the_summary_lists_what_is_trained_and_what_is_frozen() -> None:
    train = checked(NET.replace("FREEZE", "freeze Net.block*")).elaborated.trains["net"]
    lines = describe_train(train)
    assert "  trains    27 parameters of Net" in lines
    frozen = "Net.block1.dense, Net.block1.batch_norm, Net.block2.dense, Net.block2.batch_norm"
    assert f"  frozen    176 parameters of {frozen}" in lines


@pytest.mark.parametrize(
    ("before", "after", "code", "words"),
    [
        ("every 5", "every 0", "E0404", "at least 1, not the number 0"),
        ("every 5", "every 1.5", "E0404", "a whole number of steps"),
        ("with rmsprop(5e-5)\n", "with rmsprop(5e-5) every 2\n", "E0404", "no minimize statement has its turn"),
        ("over Generator", "over Gen*.conv", "E0201", "no weight that this loss depends on belongs to Gen*.conv"),
        ("fake =", "freeze Generater.*\n    fake =", "E0201", "of this train block belongs to Generater.*"),
        ("fake =", "average 1.5\n    fake =", "E0404", "average is above 0 and below 1, not 1.5"),
        ("fake =", "keep 0\n    fake =", "E0404", "keep is at least 1, not 0"),
        ("fake =", "clip_value 0\n    fake =", "E0404", "clip_value is above 0, not 0"),
    ],
)
def test_what_cannot_be_is_refused(before: str, after: str, code: str, words: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        checked(GAN.replace(before, after))
    assert caught.value.diagnostics[0].code == code
    assert words in str(caught.value)


def test_the_digits_of_the_design_compile_as_they_are_written() -> None:
    text = Path(__file__).with_name("design_examples.dl").read_text(encoding="utf-8")
    digits = text[: text.index("block Transformer")]
    made = program(digits, "digits")
    assert made.turns[0].schedule is not None
    assert counts(made.steps[0])["crop_each"] == 1
    assert counts(made.evaluate)["crop_each"] == 0
