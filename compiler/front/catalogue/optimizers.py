"""Optimizers: how a weight follows its gradient.

Each is an update rule: which slots it keeps for a weight, and one step written with the builder. The formulas and the
order of their operations are PyTorch's, so that both give the same trajectory.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.front.catalogue.entry import ArgumentError, Value, entry
from compiler.ir.types import DType, TensorType
from compiler.ops.emit import Emit


def _check(name: str, value: float, low: float, high: float | None = None) -> None:
    if value < low or (high is not None and value >= high):
        allowed = f"at least {low}" if high is None else f"from {low} up to, not including, {high}"
        raise ArgumentError(name, f"{name} has to be {allowed}, not {value}")


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum, as in torch.optim.SGD."""

    name = "sgd"
    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float

    def slots(self, weight: TensorType) -> dict[str, float]:
        """The slots of one weight and what fills them at first."""
        return {"velocity": 0.0} if self.momentum else {}

    def update(
        self, b: Emit, weight: Value, gradient: Value, slots: dict[str, Value], step: Value
    ) -> tuple[Value, dict[str, Value]]:
        """The next content of the weight and of its slots; ``step`` counts the steps done before."""
        if self.weight_decay:
            gradient = b.add(gradient, b.mul(weight, self.weight_decay))
        if not self.momentum:
            return b.sub(weight, b.mul(gradient, self.lr)), {}
        velocity = b.add(b.mul(slots["velocity"], self.momentum), gradient)
        direction = b.add(gradient, b.mul(velocity, self.momentum)) if self.nesterov else velocity
        return b.sub(weight, b.mul(direction, self.lr)), {"velocity": velocity}


@dataclass(frozen=True)
class Adam:
    """Adam, as in torch.optim.Adam; with ``decoupled`` weight decay it is AdamW."""

    name = "adam"
    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    decoupled: bool

    def slots(self, weight: TensorType) -> dict[str, float]:
        """The slots of one weight and what fills them at first."""
        return {"m": 0.0, "v": 0.0}

    def update(
        self, b: Emit, weight: Value, gradient: Value, slots: dict[str, Value], step: Value
    ) -> tuple[Value, dict[str, Value]]:
        """The next content of the weight and of its slots; ``step`` counts the steps done before."""
        if self.weight_decay and self.decoupled:
            weight = b.mul(weight, 1.0 - self.lr * self.weight_decay)
        elif self.weight_decay:
            gradient = b.add(gradient, b.mul(weight, self.weight_decay))
        m = b.add(b.mul(slots["m"], self.beta1), b.mul(gradient, 1.0 - self.beta1))
        v = b.add(b.mul(slots["v"], self.beta2), b.mul(b.square(gradient), 1.0 - self.beta2))
        # The corrections are near 1 - beta at first: in f64 they lose nothing.
        time = b.add(b.cast(step, DType.F64), 1.0)
        dtype = weight.type.dtype
        rate = b.div(self.lr, b.sub(1.0, b.pow(b.scalar(self.beta1, DType.F64), time)))
        scale = b.sqrt(b.sub(1.0, b.pow(b.scalar(self.beta2, DType.F64), time)))
        root = b.add(b.div(b.sqrt(v), b.cast(scale, dtype)), self.eps)
        return b.sub(weight, b.mul(b.div(m, root), b.cast(rate, dtype))), {"m": m, "v": v}


@entry("optimizer")
def sgd(lr: float = 0.01, *, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Sgd:
    """Stochastic gradient descent: w - lr·g, with momentum v = momentum·v + g where asked for.

    ``nesterov=true`` looks ahead: w - lr·(g + momentum·v). Sutskever et al., 2013.
    """
    _check("lr", lr, 0.0)
    _check("momentum", momentum, 0.0, 1.0)
    _check("weight_decay", weight_decay, 0.0)
    if nesterov and not momentum:
        raise ArgumentError("nesterov", "nesterov needs a momentum", help=("sgd(lr, momentum=0.9, nesterov=true)",))
    return Sgd(lr, momentum, nesterov, weight_decay)


@entry("optimizer")
def adam(
    lr: float = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Adam:
    """Adam: steps scaled by running means of the gradient and its square, corrected for their zero start.

    ``weight_decay`` adds to the gradient, as L2 does. Kingma and Ba, Adam, 2015.
    """
    _check_adam(lr, beta1, beta2, eps, weight_decay)
    return Adam(lr, beta1, beta2, eps, weight_decay, decoupled=False)


@entry("optimizer")
def adamw(
    lr: float = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> Adam:
    """Adam with decoupled weight decay: each step also shrinks the weight by lr·weight_decay.

    Loshchilov and Hutter, Decoupled weight decay regularization, 2019.
    """
    _check_adam(lr, beta1, beta2, eps, weight_decay)
    return Adam(lr, beta1, beta2, eps, weight_decay, decoupled=True)


def _check_adam(lr: float, beta1: float, beta2: float, eps: float, weight_decay: float) -> None:
    _check("lr", lr, 0.0)
    _check("beta1", beta1, 0.0, 1.0)
    _check("beta2", beta2, 0.0, 1.0)
    _check("eps", eps, 0.0)
    _check("weight_decay", weight_decay, 0.0)
