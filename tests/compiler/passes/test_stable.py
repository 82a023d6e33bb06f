"""Safe forms: what they are made of, where they must not be made, and what they compute at extreme logits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from compiler.front.catalogue.losses import bce, cross_entropy
from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Value
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.base import Array
from compiler.ops.interpret import interpret_outputs
from compiler.passes.autodiff import gradient
from compiler.passes.order import COMMON, TRAIN, Pipeline
from compiler.passes.stable import Stabilize

F32, I64 = DType.F32, DType.I64
N, CLASSES = symbol("N"), 4
X, Z, LABEL = TensorType(F32, (N, CLASSES)), TensorType(F32, (N,)), TensorType(I64, (N, 1))
Real = npt.NDArray[np.longdouble]


def spelled_softmax(b: Emit, x: Value) -> Value:
    powers = b.exp(x)
    return b.div(powers, b.sum(powers, (1,), keepdims=True))


def spelled_sigmoid(b: Emit, z: Value) -> Value:
    return b.div(1, b.add(1, b.exp(b.neg(z))))


def hot(b: Emit, label: Value, dtype: DType = F32) -> Value:
    return b.one_hot(b.reshape(label, (N,)), CLASSES, dtype)


def clipped(b: Emit, p: Value, epsilon: float) -> Value:
    return b.minimum(b.maximum(p, epsilon), 1 - epsilon)


# What is written, on operands x (logits), z (logits of two classes) and i (labels), and what becomes of it.
FIRES = [
    ("log of softmax", lambda b, x, z, i: b.log(b.softmax(x, 0)), lambda b, x, z, i: b.log_softmax(x, 0)),
    ("guarded", lambda b, x, z, i: b.log(b.maximum(b.softmax(x), 1e-7)), lambda b, x, z, i: b.log_softmax(x)),
    ("guarded twice", lambda b, x, z, i: b.log(clipped(b, b.softmax(x), 1e-6)), lambda b, x, z, i: b.log_softmax(x)),
    ("with epsilon", lambda b, x, z, i: b.log(b.add(1e-8, b.softmax(x))), lambda b, x, z, i: b.log_softmax(x)),
    (
        "taken along",
        lambda b, x, z, i: b.log(b.take_along(b.softmax(x), i, 1)),
        lambda b, x, z, i: b.take_along(b.log_softmax(x), i, 1),
    ),
    (
        "gathered",
        lambda b, x, z, i: b.log(b.gather(b.softmax(x), i, 1)),
        lambda b, x, z, i: b.gather(b.log_softmax(x), i, 1),
    ),
    (
        "views",
        lambda b, x, z, i: b.log(b.slice(b.reshape(b.transpose(b.softmax(x), (1, 0)), (CLASSES * N,)), (0,), (N,))),
        lambda b, x, z, i: b.slice(b.reshape(b.transpose(b.log_softmax(x), (1, 0)), (CLASSES * N,)), (0,), (N,)),
    ),
    (
        "weighted with one-hot vectors",
        lambda b, x, z, i: b.log(b.sum(b.mul(hot(b, i), b.softmax(x)), (1,))),
        lambda b, x, z, i: b.sum(b.select(b.not_equal(hot(b, i), 0), b.log_softmax(x), 0), (1,)),
    ),
    (
        "weighted with one-hot truth",
        lambda b, x, z, i: b.log(b.sum(b.mask(b.softmax(x), hot(b, i, DType.BOOL)), (1,))),
        lambda b, x, z, i: b.sum(b.select(hot(b, i, DType.BOOL), b.log_softmax(x), 0), (1,)),
    ),
    (
        "weighted with one-hot integers",
        lambda b, x, z, i: b.log(b.sum(b.mul(b.cast(hot(b, i, I64), F32), b.softmax(x)), (1,))),
        lambda b, x, z, i: b.sum(b.select(b.not_equal(b.cast(hot(b, i, I64), F32), 0), b.log_softmax(x), 0), (1,)),
    ),
    ("spelled softmax", lambda b, x, z, i: spelled_softmax(b, x), lambda b, x, z, i: b.softmax(x, 1)),
    (
        "spelled softmax without keepdims",
        lambda b, x, z, i: b.div(b.exp(x), b.reshape(b.sum(b.exp(x), (1,)), (N, 1))),
        lambda b, x, z, i: b.softmax(x, 1),
    ),
    (
        "spelled softmax over the first axis",
        lambda b, x, z, i: b.mul(b.exp(x), b.reciprocal(b.sum(b.exp(x), (0,)))),
        lambda b, x, z, i: b.softmax(x, 0),
    ),
    (
        "spelled softmax without the largest",
        lambda b, x, z, i: spelled_softmax(b, b.sub(x, b.max(x, (1,), keepdims=True))),
        lambda b, x, z, i: b.softmax(x, 1),
    ),
    ("moved", lambda b, x, z, i: b.log_softmax(b.sub(x, b.reshape(z, (N, 1)))), lambda b, x, z, i: b.log_softmax(x)),
    ("sigmoid", lambda b, x, z, i: spelled_sigmoid(b, z), lambda b, x, z, i: b.sigmoid(z)),
    (
        "reciprocal as sigmoid",
        lambda b, x, z, i: b.reciprocal(b.add(b.exp(z), 1)),
        lambda b, x, z, i: b.sigmoid(b.neg(z)),
    ),
    ("quotient as sigmoid", lambda b, x, z, i: b.div(b.exp(z), b.add(b.exp(z), 1)), lambda b, x, z, i: b.sigmoid(z)),
    ("log of sigmoid", lambda b, x, z, i: b.log(b.sigmoid(z)), lambda b, x, z, i: b.neg(b.softplus(b.neg(z)))),
    ("log of 1 - sigmoid", lambda b, x, z, i: b.log(b.sub(1, b.sigmoid(z))), lambda b, x, z, i: b.neg(b.softplus(z))),
    (
        "log of 1 - clipped sigmoid",
        lambda b, x, z, i: b.log(b.add(b.sub(1.0000001, clipped(b, b.sigmoid(z), 1e-7)), 1e-12)),
        lambda b, x, z, i: b.neg(b.softplus(z)),
    ),
    ("log1p of -sigmoid", lambda b, x, z, i: b.log1p(b.neg(b.sigmoid(z))), lambda b, x, z, i: b.neg(b.softplus(z))),
    (
        "log1p of epsilon",
        lambda b, x, z, i: b.log1p(b.sub(1e-7, b.sigmoid(z))),
        lambda b, x, z, i: b.neg(b.softplus(z)),
    ),
    (
        "log1p and epsilon",
        lambda b, x, z, i: b.log1p(b.add(b.neg(b.sigmoid(z)), 1e-7)),
        lambda b, x, z, i: b.neg(b.softplus(z)),
    ),
    (
        "twice 1 -",
        lambda b, x, z, i: b.log(b.sub(1, b.sub(1, b.sigmoid(b.neg(z))))),
        lambda b, x, z, i: b.neg(b.softplus(z)),
    ),
    ("softplus", lambda b, x, z, i: b.log(b.add(b.exp(z), 1)), lambda b, x, z, i: b.softplus(z)),
    ("softplus by log1p", lambda b, x, z, i: b.log1p(b.exp(z)), lambda b, x, z, i: b.softplus(z)),
    ("log of exp", lambda b, x, z, i: b.log(b.exp(z)), lambda b, x, z, i: z),
    (
        "product",
        lambda b, x, z, i: b.log(b.mul(b.exp(z), b.sum(x, (1,)))),
        lambda b, x, z, i: b.add(z, b.log(b.sum(x, (1,)))),
    ),
    (
        "quotient",
        lambda b, x, z, i: b.log(b.div(b.sum(x, (1,)), b.sigmoid(b.neg(z)))),
        lambda b, x, z, i: b.sub(b.log(b.sum(x, (1,))), b.neg(b.softplus(z))),
    ),
    ("square", lambda b, x, z, i: b.log(b.square(b.exp(z))), lambda b, x, z, i: b.mul(z, 2)),
    ("root", lambda b, x, z, i: b.log(b.sqrt(b.exp(z))), lambda b, x, z, i: b.mul(z, 0.5)),
    ("reciprocal", lambda b, x, z, i: b.log(b.reciprocal(b.softmax(x))), lambda b, x, z, i: b.neg(b.log_softmax(x))),
    ("power", lambda b, x, z, i: b.log(b.pow(b.exp(x), 3)), lambda b, x, z, i: b.mul(x, 3)),
]


@pytest.mark.parametrize(("make", "after"), [case[1:] for case in FIRES], ids=[case[0] for case in FIRES])
def test_fires(graphs, make, after) -> None:
    graph = graphs.applied(Stabilize(), graphs.built(make, X, Z, LABEL))
    assert graphs.unnamed(graph) == graphs.unnamed(graphs.built(after, X, Z, LABEL))


STAYS = [
    ("of an input", lambda b, x, z, i: b.log(x), "%x0 is an input"),
    ("of something else", lambda b, x, z, i: b.log(b.tanh(x)), "made by tanh: there is no safer form"),
    ("a large epsilon is meant", lambda b, x, z, i: b.log(b.add(b.softmax(x), 0.1)), "made by add"),
    ("a low clip is meant", lambda b, x, z, i: b.log(b.minimum(b.softmax(x), 0.9)), "made by minimum"),
    ("a bound of powers", lambda b, x, z, i: b.log(b.add(b.exp(x), 1e-7)), "kept from being too small"),
    ("a bound of products", lambda b, x, z, i: b.log(b.add(b.mul(b.softmax(x), x), 1e-7)), "kept from being too"),
    ("a product that may be negative", lambda b, x, z, i: b.log(b.square(b.mul(b.exp(x), x))), "%x0 is an input"),
    ("a product picked from", lambda b, x, z, i: b.log(b.take_along(b.mul(b.exp(x), x), i, 1)), "%x0 is an input"),
    ("log1p of something else", lambda b, x, z, i: b.log1p(b.tanh(z)), "there is no safer form of log(1 + "),
    ("log1p of a bound", lambda b, x, z, i: b.log1p(b.add(b.exp(z), 1e-7)), "there is no safer form of log(1 + "),
    ("1 - softmax", lambda b, x, z, i: b.log(b.sub(1, b.softmax(x))), "there is no safer form of log(1 - "),
    ("2 - sigmoid", lambda b, x, z, i: b.log(b.sub(2, b.sigmoid(z))), "made by sub"),
    ("any weights", lambda b, x, z, i: b.log(b.sum(b.mul(b.softmax(x), x), (1,))), "made by sum"),
    (
        "the wrong axis",
        lambda b, x, z, i: b.log(b.sum(b.mul(b.softmax(x), hot(b, i)), (0,))),
        "made by sum",
    ),
    ("other powers", lambda b, x, z, i: b.div(b.exp(x), b.sum(b.exp(b.neg(x)), (1,), True)), "is not the sum of exp"),
    ("two axes", lambda b, x, z, i: b.div(b.exp(x), b.sum(b.exp(x))), "sums over 2 axes"),
    ("apart", lambda b, x, z, i: b.div(b.exp(x), b.reshape(b.sum(b.exp(x), (0,)), (CLASSES, 1, 1))), "does not stand"),
    ("moved unevenly", lambda b, x, z, i: b.softmax(b.sub(x, b.sum(x, (0,)))), "differs along axis -1"),
    ("moved and repeated", lambda b, x, z, i: b.softmax(b.sub(z, b.expand(z, (2, N)))), "is repeated"),
    (
        "the largest is taken out",
        lambda b, x, z, i: b.log(b.sum(b.exp(b.sub(x, b.max(x, (1,), True))), (1,))),
        "the largest element is taken out",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "reason"), [case[1:] for case in STAYS], ids=[case[0] for case in STAYS])
def test_stays(graphs, make, reason: str) -> None:
    refusals = graphs.refusals(Stabilize.rules, graphs.built(make, X, Z, LABEL))
    assert any(reason in refusal.reason for refusal in refusals), list(map(str, refusals))


# Losses at extreme logits, through the pipelines that a training step goes through.


class Context:
    """What the losses of the catalogue ask for."""

    training, frozen = True, False

    def __init__(self, b: Emit) -> None:
        self.b = b

    def index_range(self, indices: Value, size: object, ignored: int | None = None) -> None:
        """The labels of these tests are right."""


def picked(b: Emit, scores: Value, label: Value) -> Value:
    return b.neg(b.mean(b.take_along(scores, b.reshape(label, (N, 1)), 1)))


CROSS_ENTROPIES = {
    "logits": lambda b, x, i: cross_entropy(Context(b), x, i),
    "probabilities": lambda b, x, i: cross_entropy(Context(b), b.softmax(x), i),
    "one-hot probabilities": lambda b, x, i: cross_entropy(Context(b), b.softmax(x), hot(b, i)),
    "spelled softmax": lambda b, x, i: cross_entropy(Context(b), spelled_softmax(b, x), i, given="probabilities"),
    "log": lambda b, x, i: picked(b, b.log(b.softmax(x)), i),
    "log with epsilon": lambda b, x, i: picked(b, b.log(b.add(b.softmax(x), 1e-7)), i),
    "clipped": lambda b, x, i: picked(b, b.log(clipped(b, spelled_softmax(b, x), 1e-7)), i),
    "without the largest": lambda b, x, i: picked(b, b.log(spelled_softmax(b, b.sub(x, b.max(x, (1,), True)))), i),
    "log of the taken": lambda b, x, i: b.neg(b.mean(b.log(b.take_along(b.softmax(x), b.reshape(i, (N, 1)), 1)))),
    "weighted inside": lambda b, x, i: b.neg(b.mean(b.log(b.sum(b.mul(b.softmax(x), hot(b, i)), (1,))))),
    "weighted outside": lambda b, x, i: b.mean(b.sum(b.mul(b.neg(hot(b, i)), b.log(b.softmax(x))), (1,))),
    "log of the sum": lambda b, x, i: b.mean(
        b.sub(b.log(b.sum(b.exp(x), (1,))), b.reshape(b.take_along(x, b.reshape(i, (N, 1)), 1), (N,)))
    ),
    "quotient of the taken": lambda b, x, i: b.neg(
        b.mean(b.log(b.div(b.take_along(b.exp(x), b.reshape(i, (N, 1)), 1), b.sum(b.exp(x), (1,), True))))
    ),
    "moved axis": lambda b, x, i: b.mul(
        b.mean(b.log(b.transpose(b.take_along(b.softmax(x, 1), b.reshape(i, (N, 1)), 1), (1, 0)))), -1
    ),
}

BINARY_CROSS_ENTROPIES = {
    "logits": lambda b, z, t: bce(Context(b), z, t),
    "probabilities": lambda b, z, t: bce(Context(b), b.sigmoid(z), t),
    "spelled sigmoid": lambda b, z, t: bce(Context(b), spelled_sigmoid(b, z), t, given="probabilities"),
    "by hand": lambda b, z, t: by_hand(b, b.sigmoid(z), t, 0),
    "by hand with epsilon": lambda b, z, t: by_hand(b, spelled_sigmoid(b, z), t, 1e-7),
    "by hand, clipped": lambda b, z, t: by_hand(b, clipped(b, b.sigmoid(z), 1e-6), t, 0),
    "quotient": lambda b, z, t: by_hand(b, b.div(b.exp(z), b.add(1, b.exp(z))), t, 0),
    "by log1p": lambda b, z, t: b.neg(
        b.mean(b.add(b.mul(t, b.log(b.sigmoid(z))), b.mul(b.sub(1, t), b.log1p(b.neg(b.sigmoid(z))))))
    ),
    "by softplus": lambda b, z, t: b.mean(b.sub(b.log(b.add(1, b.exp(z))), b.mul(t, z))),
}


def by_hand(b: Emit, p: Value, target: Value, epsilon: float) -> Value:
    positive = b.mul(target, b.log(b.add(p, epsilon)))
    negative = b.mul(b.sub(1, target), b.log(b.add(b.sub(1, p), epsilon)))
    return b.neg(b.mean(b.add(positive, negative)))


LOGITS = np.concatenate(
    [
        [[1000, -1000, 0, 0], [-1000, 1000, -1000, -1000], [1000, 1000, 1000, 1000], [-1000] * 4],
        [[1000, -1000, 999.5, -1000], [0, 0, 0, 0], [88, -88, 89, -104], [5e4, 0, -5e4, 0]],
        np.random.default_rng(0).normal(0, 300, (8, CLASSES)),
        np.random.default_rng(1).normal(0, 1, (8, CLASSES)),
    ]
).astype(np.float32)
LABELS = np.array([0, 0, 2, 1, 3, 3, 2, 1] * 3)
SINGLE = np.array([1000, -1000, 1000, -1000, 1000, -1000, 0, 88, -88, 104, -104, 17, -17, 3, -0.5, 1e-4], np.float32)
TARGETS = np.array([1, 0, 0, 1, 0.25, 0.25, 0.5, 1, 1, 0, 0, 0.5, 1, 0, 1, 0], np.float32)


def trained(make, first: TensorType, second: TensorType) -> Graph:
    """The loss and its gradient as a training step computes them."""
    b = Emit("step")
    b.output("loss", make(b, b.input("x", first), b.input("target", second)))
    before = Pipeline(COMMON).run(b.finish())
    return Pipeline(TRAIN).run(gradient(before, "loss", ["x"]))


def exact_cross_entropy(x: Array, label: Array) -> tuple[Real, Real]:
    """The loss and its gradient with the digits of a long double."""
    moved = x.astype(np.longdouble) - x.max(axis=1, keepdims=True)
    total = np.exp(moved).sum(axis=1, keepdims=True)
    wanted = np.eye(CLASSES, dtype=np.longdouble)[label]
    losses = np.log(total[:, 0]) - (moved * wanted).sum(axis=1)
    return losses.mean(), (np.exp(moved) / total - wanted) / len(x)


def exact_bce(z: Array, target: Array) -> tuple[Real, Real]:
    wide, wanted = z.astype(np.longdouble), target.astype(np.longdouble)
    small = np.exp(-np.abs(wide))
    losses = np.maximum(wide, 0) + np.log1p(small) - wanted * wide
    probability = np.where(wide >= 0, 1 / (1 + small), small / (1 + small))
    return losses.mean(), (probability - wanted) / len(z)


def check(graph: Graph, x: Array, target: Array, exact: tuple[Real, Real]) -> None:
    results = interpret_outputs(graph, {"x": x, "target": target})
    # No form can be better than the rounding of the largest logit, from which smaller ones are subtracted.
    np.testing.assert_allclose(results["loss"], exact[0], rtol=2e-6, atol=float(np.spacing(np.abs(x).max())))
    np.testing.assert_allclose(results["gradient:x"], exact[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", CROSS_ENTROPIES.values(), ids=CROSS_ENTROPIES)
def test_cross_entropy(make) -> None:
    graph = trained(make, X, TensorType(I64, (N,)))
    check(graph, LOGITS, LABELS, exact_cross_entropy(LOGITS, LABELS))
    for row, label in zip(LOGITS, LABELS, strict=True):
        check(graph, row[None], label[None], exact_cross_entropy(row[None], label[None]))


@pytest.mark.parametrize("make", BINARY_CROSS_ENTROPIES.values(), ids=BINARY_CROSS_ENTROPIES)
def test_every_binary_cross_entropy_is_one_operation(make) -> None:
    b = Emit("loss")
    b.output("loss", make(b, *(b.input(name, TensorType(DType.F32, (N,))) for name in "zt")))
    after = Pipeline(COMMON).run(b.finish())
    assert next(node.operation.opcode for node in after.nodes) == "logistic_loss"
    assert not any(node.operation.opcode in ("softplus", "log", "log1p", "exp") for node in after.nodes)


@pytest.mark.parametrize("make", BINARY_CROSS_ENTROPIES.values(), ids=BINARY_CROSS_ENTROPIES)
def test_binary_cross_entropy(make) -> None:
    graph = trained(make, Z, Z)
    check(graph, SINGLE, TARGETS, exact_bce(SINGLE, TARGETS))
    for logit, target in zip(SINGLE, TARGETS, strict=True):
        check(graph, logit[None], target[None], exact_bce(logit[None], target[None]))


def test_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    for function, x, target, exact in (
        (torch.nn.functional.cross_entropy, LOGITS, LABELS, exact_cross_entropy(LOGITS, LABELS)),
        (torch.nn.functional.binary_cross_entropy_with_logits, SINGLE, TARGETS, exact_bce(SINGLE, TARGETS)),
    ):
        logits = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        goal = torch.tensor(target, dtype=torch.float64 if target.dtype == np.float32 else torch.int64)
        loss = function(logits, goal)
        loss.backward()
        np.testing.assert_allclose(loss.item(), exact[0], rtol=1e-12)
        np.testing.assert_allclose(logits.grad.numpy(), exact[1], rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("axes", [(1,), (0,), (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_log_of_a_sum_of_powers(axes: tuple[int, ...], keepdims: bool) -> None:
    b = Emit("g")
    x = b.input("x", X)
    b.output("y", b.log(b.sum(b.exp(x), axes, keepdims)))
    graph = Stabilize().apply(b.finish())
    wide = LOGITS.astype(np.longdouble)
    largest = wide.max(axis=axes, keepdims=True)
    exact = np.log(np.exp(wide - largest).sum(axis=axes, keepdims=True)) + largest
    expected = exact if keepdims else exact.squeeze(axes)
    np.testing.assert_allclose(interpret_outputs(graph, {"x": LOGITS})["y"], expected, rtol=1e-6)
    nothing = np.full((2, CLASSES), -np.inf, np.float32)
    assert np.all(interpret_outputs(graph, {"x": nothing})["y"] == -np.inf)


def test_text_before_and_after(graphs) -> None:
    before = """
        data %logits: f32[N, 3]
        data %label: i64[N, 1]
        %p: f32[N, 3] = softmax(%logits) {axis=-1}
        %tiny: f32[] = constant() {array=f32[](1e-07)}
        %safe: f32[N, 3] = maximum(%p, %tiny)
        %scores: f32[N, 3] = log(%safe)
        %chosen: f32[N, 1] = take_along(%scores, %label) {axis=1}
        return p=%p
        return chosen=%chosen
    """
    after = """
        data %logits: f32[N, 3]
        data %label: i64[N, 1]
        %p: f32[N, 3] = softmax(%logits) {axis=-1}
        %scores: f32[N, 3] = log_softmax(%logits) {axis=-1}
        %chosen: f32[N, 1] = take_along(%scores, %label) {axis=1}
        return p=%p
        return chosen=%chosen
    """
    assert graphs.same_text(graphs.applied(Stabilize(), graphs.read(before)), after)


def test_a_search_among_many_products_ends(graphs) -> None:
    def powers(b: Emit, x: Value) -> Value:
        for _ in range(200):
            x = b.mul(x, b.add(x, 1))
        return b.log(x)

    graph = graphs.built(powers, Z)
    assert Stabilize().apply(graph) is graph
