"""Optimizers that scale each element of a step by the size of its gradients so far."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.front.catalogue.entry import Rate, entry
from compiler.front.catalogue.optimizers import Slots, Updated, check_common, check_range, mixed, zeros
from compiler.ir.types import TensorType
from compiler.ops.turn import Turn


@dataclass(frozen=True)
class RmsProp:
    """As in torch.optim.RMSprop."""

    name = "rmsprop"
    lr: Rate
    decay: float
    eps: float
    momentum: float
    centered: bool
    weight_decay: float

    def slots(self, weight: TensorType) -> Slots:
        """The slots of one weight, their types, and what fills them at first."""
        names = ["square", *(["mean"] if self.centered else []), *(["velocity"] if self.momentum else [])]
        return zeros(weight, *names)

    def update(self, turn: Turn) -> Updated:
        """The next content of the weight and of its slots."""
        b, gradient = turn.b, turn.penalised(self.weight_decay)
        after = {"square": mixed(turn, turn.slots["square"], b.square(gradient), self.decay)}
        size = after["square"]
        if self.centered:
            after["mean"] = mixed(turn, turn.slots["mean"], gradient, self.decay)
            size = b.sub(size, b.square(after["mean"]))
        step = b.div(gradient, b.add(b.sqrt(size), self.eps))
        if self.momentum:
            step = after["velocity"] = b.add(b.mul(turn.slots["velocity"], self.momentum), step)
        return b.sub(turn.weight, turn.scaled(step)), after


@dataclass(frozen=True)
class AdaGrad:
    """As in torch.optim.Adagrad."""

    name = "adagrad"
    lr: Rate
    lr_decay: float
    start: float
    eps: float
    weight_decay: float

    def slots(self, weight: TensorType) -> Slots:
        """The slots of one weight, their types, and what fills them at first."""
        return {"sum": (weight, self.start)}

    def update(self, turn: Turn) -> Updated:
        """The next content of the weight and of its slots."""
        b, gradient = turn.b, turn.penalised(self.weight_decay)
        total = b.add(turn.slots["sum"], b.square(gradient))
        step = b.div(gradient, b.add(b.sqrt(total), self.eps))
        fading = b.reciprocal(b.add(b.mul(b.sub(turn.time, 1.0), self.lr_decay), 1.0)) if self.lr_decay else 1.0
        return b.sub(turn.weight, turn.scaled(step, fading)), {"sum": total}


@dataclass(frozen=True)
class AdaDelta:
    """As in torch.optim.Adadelta."""

    name = "adadelta"
    lr: Rate
    decay: float
    eps: float
    weight_decay: float

    def slots(self, weight: TensorType) -> Slots:
        """The slots of one weight, their types, and what fills them at first."""
        return zeros(weight, "square", "moved")

    def update(self, turn: Turn) -> Updated:
        """The next content of the weight and of its slots."""
        b, gradient = turn.b, turn.penalised(self.weight_decay)
        square = mixed(turn, turn.slots["square"], b.square(gradient), self.decay)
        lengths = [b.sqrt(b.add(value, self.eps)) for value in (turn.slots["moved"], square)]
        step = b.mul(b.div(lengths[0], lengths[1]), gradient)
        moved = mixed(turn, turn.slots["moved"], b.square(step), self.decay)
        return b.sub(turn.weight, turn.scaled(step)), {"square": square, "moved": moved}


@entry("optimizer")
def rmsprop(
    lr: Rate = 0.01,
    *,
    decay: float = 0.99,
    eps: float = 1e-8,
    momentum: float = 0.0,
    centered: bool = False,
    weight_decay: float = 0.0,
) -> RmsProp:
    """Steps divided by the root of a running mean of the squared gradient, which keeps ``decay`` of the past.

    ``centered=true`` subtracts the squared running mean of the gradient. The defaults are PyTorch's (``decay`` is its
    alpha); Keras has lr 0.001, decay 0.9 and eps 1e-7. ``weight_decay`` adds weight_decay·w to the gradient of kernels.
    Tieleman and Hinton, 2012.
    """
    check_common(lr, weight_decay, eps, decay=decay, momentum=momentum)
    return RmsProp(lr, decay, eps, momentum, centered, weight_decay)


@entry("optimizer")
def adagrad(
    lr: Rate = 0.01, *, lr_decay: float = 0.0, start: float = 0.0, eps: float = 1e-10, weight_decay: float = 0.0
) -> AdaGrad:
    """Steps divided by the root of the sum of all squared gradients, which begins with ``start``.

    The n-th step has the learning rate lr / (1 + (n - 1)·lr_decay). The defaults are PyTorch's; Keras has lr 0.001 and
    start 0.1. ``weight_decay`` adds weight_decay·w to the gradient of kernels. Duchi et al., 2011.
    """
    check_common(lr, weight_decay, eps)
    check_range("lr_decay", lr_decay, 0.0)
    check_range("start", start, 0.0)
    return AdaGrad(lr, lr_decay, start, eps, weight_decay)


@entry("optimizer")
def adadelta(lr: Rate = 1.0, *, decay: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0) -> AdaDelta:
    """Steps in the units of the weight: running means of squared steps over those of squared gradients.

    The defaults are PyTorch's (``decay`` is its rho); Keras has lr 0.001 and decay 0.95. ``weight_decay`` adds
    weight_decay·w to the gradient of kernels. Zeiler, ADADELTA, 2012.
    """
    check_common(lr, weight_decay, eps, decay=decay)
    return AdaDelta(lr, decay, eps, weight_decay)
