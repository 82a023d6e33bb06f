"""JAX: one jitted program of forward, backward and a hand-written Adam, its state donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.jax_networks import NETWORKS, WEIGHTS, critic, generator
from benchmarks.steps import Steps
from benchmarks.workloads import Array, Workload

Tensor = Any


def make(workload: Workload) -> Steps:
    """The steps of a workload."""
    weights = WEIGHTS[workload.network]()
    update = _adversaries(workload) if workload.loss == "gan" else _one(workload)
    gan = workload.loss == "gan"
    begun = {key: _beginning(part) for key, part in weights.items()} if gan else _beginning(weights)
    state = jax.device_put((weights, begun))
    batches = [tuple(map(jax.device_put, (_fitting(x), _fitting(y)))) for x, y in workload.data()]
    key = jax.random.key(0)
    jitted = jax.jit(lambda state, x, y, number: update(state, x, y, jax.random.fold_in(key, number)), donate_argnums=0)
    kept = [state]

    def step(number: int) -> Tensor:
        kept[0], loss = jitted(kept[0], *batches[number % len(batches)], number)
        return loss

    return Steps(step, float, sum(leaf.size for leaf in jax.tree.leaves(weights)))


def _fitting(array: Array) -> Array:
    """Channels last, whole numbers of 32 bits."""
    if array.ndim == 4:
        return array.transpose(0, 2, 3, 1).copy()
    return array.astype(np.int32) if array.dtype == np.int64 else array


def _beginning(weights: Any) -> Any:
    """The state of the optimizer of one network: means, squares, and the number of steps."""
    return jax.tree.map(np.zeros_like, weights), jax.tree.map(np.zeros_like, weights), np.float32(0)


def _adam(workload: Workload, weights: Any, gradients: Any, state: Any) -> tuple[Any, Any]:
    """Weights and state after an update."""
    (first, second), (mean, square, count) = workload.betas, state
    count = count + 1
    mean = jax.tree.map(lambda old, new: first * old + (1 - first) * new, mean, gradients)
    square = jax.tree.map(lambda old, new: second * old + (1 - second) * new * new, square, gradients)
    shares = 1 - first**count, 1 - second**count

    def changed(weight: Tensor, along: Tensor, size: Tensor) -> Tensor:
        decay = workload.weight_decay or 0.0 if weight.ndim > 1 else 0.0
        move = workload.lr * (along / shares[0]) / (jnp.sqrt(size / shares[1]) + 1e-8)
        return weight * (1 - workload.lr * decay) - move

    return jax.tree.map(changed, weights, mean, square), (mean, square, count)


def _cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    return -jnp.take_along_axis(jax.nn.log_softmax(scores), y[..., None], -1).mean()


def _told(scores: Tensor, target: float | Tensor) -> Tensor:
    """Binary cross entropy of scores before the sigmoid."""
    return (jnp.maximum(scores, 0) - scores * target + jnp.log1p(jnp.exp(-jnp.abs(scores)))).mean()


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": _told,
    "mse": lambda found, y: jnp.square(found - y).mean(),
    "cross_entropy": _cross_entropy,
}


def _one(workload: Workload) -> Callable[..., tuple[Any, Tensor]]:
    network, compare = NETWORKS[workload.network], _LOSSES[workload.loss]

    def update(state: Any, x: Tensor, y: Tensor, key: Tensor) -> tuple[Any, Tensor]:
        weights, kept = state
        loss, gradients = jax.value_and_grad(lambda p: compare(network(p, x, key), y))(weights)
        return _adam(workload, weights, gradients, kept), loss

    return update


def _adversaries(workload: Workload) -> Callable[..., tuple[Any, Tensor]]:
    """An update of the critic, then one of the generator."""

    def update(state: Any, real: Tensor, noise: Tensor, _key: Tensor) -> tuple[Any, Tensor]:
        weights, kept = state
        target = jnp.concatenate([jnp.ones((len(real), 1)), jnp.zeros((len(real), 1))])
        both = jnp.concatenate([real, generator(weights["generator"], noise)])
        loss, gradients = jax.value_and_grad(lambda p: _told(critic(p, both), target))(weights["critic"])
        judging, critics = _adam(workload, weights["critic"], gradients, kept["critic"])
        gradients = jax.grad(lambda p: _told(critic(judging, generator(p, noise)), 1.0))(weights["generator"])
        drawing, generators = _adam(workload, weights["generator"], gradients, kept["generator"])
        return ({"critic": judging, "generator": drawing}, {"critic": critics, "generator": generators}), loss

    return update
