"""Optimizers: how a weight follows its gradient.

Each is an update rule: which slots it keeps for a weight, and one step written with the builder. The formulas and the
order of their operations are PyTorch's, so that both give the same trajectory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.front.catalogue.entry import ArgumentError, Rate, Value, entry
from compiler.ir.types import DType, TensorType
from compiler.ops.turn import SCALAR, Turn

Slots = Mapping[str, tuple[TensorType, float]]
Updated = tuple[Value, Mapping[str, Value]]


def check_range(name: str, value: float, low: float, high: float | None = None) -> None:
    """ArgumentError unless ``low <= value``, and ``value < high`` where that is given; NaN is not."""
    if not value >= low or (high is not None and value >= high):
        allowed = f"at least {low:g}" if high is None else f"from {low:g} up to, not including, {high:g}"
        raise ArgumentError(name, f"{name} has to be {allowed}, not {value:g}")


def check_common(lr: Rate, weight_decay: float, eps: float = 0.0, **betas: float) -> None:
    """ArgumentError for numbers out of range, such as those of ``betas``, which lie from 0 up to 1."""
    if isinstance(lr, float):
        check_range("lr", lr, 0.0)
    check_range("weight_decay", weight_decay, 0.0)
    check_range("eps", eps, 0.0)
    for name, beta in betas.items():
        check_range(name, beta, 0.0, 1.0)


def mixed(turn: Turn, old: Value, new: Value, keep: float) -> Value:
    """A running mean: ``keep · old + (1 - keep) · new``."""
    return turn.b.add(turn.b.mul(old, keep), turn.b.mul(new, 1.0 - keep))


def zeros(weight: TensorType, *names: str) -> Slots:
    """Slots of the weight's type that begin with 0."""
    return dict.fromkeys(names, (weight, 0.0))


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum, as in torch.optim.SGD."""

    name = "sgd"
    lr: Rate
    momentum: float
    nesterov: bool
    weight_decay: float

    def slots(self, weight: TensorType) -> Slots:
        """The slots of one weight, their types, and what fills them at first."""
        return zeros(weight, "velocity") if self.momentum else {}

    def update(self, turn: Turn) -> Updated:
        """The next content of the weight and of its slots."""
        b, gradient = turn.b, turn.penalised(self.weight_decay)
        if not self.momentum:
            return b.sub(turn.weight, turn.scaled(gradient)), {}
        velocity = b.add(b.mul(turn.slots["velocity"], self.momentum), gradient)
        direction = b.add(gradient, b.mul(velocity, self.momentum)) if self.nesterov else velocity
        return b.sub(turn.weight, turn.scaled(direction)), {"velocity": velocity}


@dataclass(frozen=True)
class Adam:
    """Adam, as in torch.optim.Adam; with ``decoupled`` weight decay it is AdamW."""

    name = "adam"
    lr: Rate
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    decoupled: bool

    def slots(self, weight: TensorType) -> Slots:
        """The slots of one weight, their types, and what fills them at first."""
        return zeros(weight, "m", "v")

    def update(self, turn: Turn) -> Updated:
        """The next content of the weight and of its slots."""
        b = turn.b
        weight = turn.shrunk(self.weight_decay) if self.decoupled else turn.weight
        gradient = turn.gradient if self.decoupled else turn.penalised(self.weight_decay)
        m = mixed(turn, turn.slots["m"], gradient, self.beta1)
        v = mixed(turn, turn.slots["v"], b.square(gradient), self.beta2)
        # Kingma and Ba 2015, end of section 2: the means are corrected by two numbers, not element by element.
        correction = b.sqrt(lacking(turn, self.beta2))
        root = b.add(b.sqrt(v), b.cast(b.mul(correction, self.eps), m.type.dtype))
        rate = b.div(correction, lacking(turn, self.beta1))
        return b.sub(weight, turn.scaled(b.div(m, root), rate)), {"m": m, "v": v}


def lacking(turn: Turn, beta: float) -> Value:
    """``1 - beta ** time``: how much of a running mean that began with 0 is there. In f64 nothing of it is lost."""
    return turn.b.sub(1.0, turn.b.pow(turn.b.scalar(beta, DType.F64), turn.time))


@dataclass(frozen=True)
class Nadam:
    """Adam that looks ahead, as in torch.optim.NAdam."""

    name = "nadam"
    lr: Rate
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    momentum_decay: float

    def slots(self, weight: TensorType) -> Slots:
        """The slots of one weight, their types, and what fills them at first."""
        return {**zeros(weight, "m", "v"), "product": (SCALAR, 1.0)}

    def update(self, turn: Turn) -> Updated:
        """The next content of the weight and of its slots."""
        b, gradient = turn.b, turn.penalised(self.weight_decay)
        m = mixed(turn, turn.slots["m"], gradient, self.beta1)
        v = mixed(turn, turn.slots["v"], b.square(gradient), self.beta2)
        root = b.add(b.sqrt(b.div(v, b.cast(lacking(turn, self.beta2), v.type.dtype))), self.eps)
        momentum, ahead = self._momentum(turn, turn.time), self._momentum(turn, b.add(turn.time, 1.0))
        product = b.mul(turn.slots["product"], momentum)
        own = b.div(b.sub(1.0, momentum), b.sub(1.0, product))
        carried = b.div(ahead, b.sub(1.0, b.mul(product, ahead)))
        weight = b.sub(turn.weight, turn.scaled(b.div(gradient, root), own))
        return b.sub(weight, turn.scaled(b.div(m, root), carried)), {"m": m, "v": v, "product": product}

    def _momentum(self, turn: Turn, time: Value) -> Value:
        b = turn.b
        fading = b.pow(b.scalar(0.96, DType.F64), b.mul(time, self.momentum_decay))
        return b.mul(b.sub(1.0, b.mul(fading, 0.5)), self.beta1)


@dataclass(frozen=True)
class Lamb:
    """Adam whose steps are as long as the weight's norm says (You et al., algorithm 2, with the identity for phi)."""

    name = "lamb"
    lr: Rate
    beta1: float
    beta2: float
    eps: float
    weight_decay: float

    def slots(self, weight: TensorType) -> Slots:
        """The slots of one weight, their types, and what fills them at first."""
        return zeros(weight, "m", "v")

    def update(self, turn: Turn) -> Updated:
        """The next content of the weight and of its slots."""
        b, dtype = turn.b, turn.weight.type.dtype
        m = mixed(turn, turn.slots["m"], turn.gradient, self.beta1)
        v = mixed(turn, turn.slots["v"], b.square(turn.gradient), self.beta2)
        mean, square = (
            b.div(value, b.cast(lacking(turn, beta), dtype)) for value, beta in ((m, self.beta1), (v, self.beta2))
        )
        step = b.div(mean, b.add(b.sqrt(square), self.eps))
        if turn.decays and self.weight_decay:
            step = b.add(step, b.mul(turn.weight, self.weight_decay))
        lengths = [b.sqrt(b.sum(b.square(value))) for value in (turn.weight, step)]
        known = b.logical_and(*(b.greater(length, 0.0) for length in lengths))
        trust = b.select(known, b.div(lengths[0], b.select(known, lengths[1], 1.0)), 1.0)
        return b.sub(turn.weight, b.mul(turn.scaled(step), trust)), {"m": m, "v": v}


@dataclass(frozen=True)
class Lion:
    """Steps of one length in the direction of the sign (Chen et al., algorithm 2)."""

    name = "lion"
    lr: Rate
    beta1: float
    beta2: float
    weight_decay: float

    def slots(self, weight: TensorType) -> Slots:
        """The slots of one weight, their types, and what fills them at first."""
        return zeros(weight, "m")

    def update(self, turn: Turn) -> Updated:
        """The next content of the weight and of its slots."""
        b, m = turn.b, turn.slots["m"]
        direction = b.sign(mixed(turn, m, turn.gradient, self.beta1))
        weight = b.sub(turn.shrunk(self.weight_decay), turn.scaled(direction))
        return weight, {"m": mixed(turn, m, turn.gradient, self.beta2)}


@entry("optimizer")
def sgd(lr: Rate = 0.01, *, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Sgd:
    """Stochastic gradient descent: w - lr·g, with momentum v = momentum·v + g where asked for.

    ``nesterov=true`` looks ahead: w - lr·(g + momentum·v). ``weight_decay`` adds weight_decay·w to the gradient of
    kernels; biases and norms stay out of it (PyTorch takes in all that it is given). Sutskever et al., 2013.
    """
    check_common(lr, weight_decay, momentum=momentum)
    if nesterov and not momentum:
        raise ArgumentError("nesterov", "nesterov needs a momentum", help=("sgd(lr, momentum=0.9, nesterov=true)",))
    return Sgd(lr, momentum, nesterov, weight_decay)


@entry("optimizer")
def adam(
    lr: Rate = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Adam:
    """Adam: steps scaled by running means of the gradient and its square, corrected for their zero start.

    ``weight_decay`` adds weight_decay·w to the gradient of kernels, as L2 does. Kingma and Ba, Adam, 2015.
    """
    check_common(lr, weight_decay, eps, beta1=beta1, beta2=beta2)
    return Adam(lr, beta1, beta2, eps, weight_decay, decoupled=False)


@entry("optimizer")
def adamw(
    lr: Rate = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> Adam:
    """Adam with decoupled weight decay: each step also shrinks kernels by lr·weight_decay.

    Biases and norms are not shrunk, as is the custom; PyTorch shrinks all that it is given. Loshchilov and Hutter,
    Decoupled weight decay regularization, 2019.
    """
    check_common(lr, weight_decay, eps, beta1=beta1, beta2=beta2)
    return Adam(lr, beta1, beta2, eps, weight_decay, decoupled=True)


@entry("optimizer")
def nadam(
    lr: Rate = 0.002,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 0.004,
) -> Nadam:
    """Adam with Nesterov's look ahead.

    ``weight_decay`` adds weight_decay·w to the gradient of kernels. Dozat, Incorporating Nesterov momentum into Adam,
    2016.
    """
    check_common(lr, weight_decay, eps, beta1=beta1, beta2=beta2)
    check_range("momentum_decay", momentum_decay, 0.0)
    return Nadam(lr, beta1, beta2, eps, weight_decay, momentum_decay)


@entry("optimizer")
def lamb(
    lr: Rate = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: float = 0.01,
) -> Lamb:
    """Adam for large batches: each weight's step is as long as lr times the norm of the weight.

    ``weight_decay`` takes in kernels only. You et al., Large batch optimization for deep learning, 2020.
    """
    check_common(lr, weight_decay, eps, beta1=beta1, beta2=beta2)
    return Lamb(lr, beta1, beta2, eps, weight_decay)


@entry("optimizer")
def lion(lr: Rate = 1e-4, *, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0) -> Lion:
    """Every element moves by lr, in the direction of the sign of a running mean of its gradient.

    Its learning rate is 3 to 10 times smaller than Adam's, its ``weight_decay``, which takes in kernels only, as much
    larger. Chen et al., Symbolic discovery of optimization algorithms, 2023.
    """
    check_common(lr, weight_decay, beta1=beta1, beta2=beta2)
    return Lion(lr, beta1, beta2, weight_decay)
