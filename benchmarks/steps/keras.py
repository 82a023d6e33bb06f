"""Keras 3 on TensorFlow or JAX: one compiled program around its layers, losses and optimizer, which is faster than its
``fit`` for all of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.peers import keras_networks
from benchmarks.steps import Steps
from benchmarks.workloads import Array, Workload

Tensor = Any

_LOSSES: dict[str, Callable[[], Any]] = {
    "bce": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
    "gan": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
    "mse": keras.losses.MeanSquaredError,
    "cross_entropy": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
}


def make(workload: Workload) -> Steps:
    """The steps of a workload on the backend that Keras runs on."""
    keras.utils.set_random_seed(0)
    if workload.loss == "gan":
        networks = [keras_networks.critic(), keras_networks.generator()]
    else:
        networks = [keras_networks.NETWORKS[workload.network]()]
    rules = [_optimizer(network, workload) for network in networks]
    on_tensorflow = keras.backend.backend() == "tensorflow"
    step = (_on_tensorflow if on_tensorflow else _on_jax)(workload, networks, rules)
    batches = [tuple(map(keras.ops.convert_to_tensor, (_fitting(x), _fitting(y)))) for x, y in workload.data()]
    parameters = sum(network.count_params() for network in networks)
    return Steps(lambda number: step(*batches[number % len(batches)]), float, parameters)


def _fitting(array: Array) -> Array:
    """Channels last, whole numbers of 32 bits."""
    if array.ndim == 4:
        return array.transpose(0, 2, 3, 1).copy()
    return array.astype(np.int32) if array.dtype == np.int64 else array


def _optimizer(network: Any, workload: Workload) -> Any:
    settings = {"beta_1": workload.betas[0], "beta_2": workload.betas[1], "epsilon": 1e-8}
    if workload.weight_decay is None:
        rule = keras.optimizers.Adam(workload.lr, **settings)
    else:
        rule = keras.optimizers.AdamW(workload.lr, weight_decay=workload.weight_decay, **settings)
        rule.exclude_from_weight_decay(var_names=["gamma"])
    rule.build(network.trainable_variables)
    return rule


def _on_tensorflow(workload: Workload, networks: list[Any], rules: list[Any]) -> Callable[[Tensor, Tensor], Tensor]:
    import tensorflow as tf

    compare = _LOSSES[workload.loss]()

    def learn(network: Any, rule: Any, judge: Callable[[], Tensor]) -> Tensor:
        with tf.GradientTape() as tape:
            loss = judge()
        rule.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return loss

    if workload.loss != "gan":
        (network,), (rule,) = networks, rules
        return tf.function(lambda x, y: learn(network, rule, lambda: compare(y, network(x, training=True))))
    critic, generator = networks
    ones = keras.ops.ones((workload.batch, 1))
    both = keras.ops.concatenate([ones, 0 * ones])

    def step(real: Tensor, noise: Tensor) -> Tensor:
        drawn = keras.ops.concatenate([real, generator(noise)])
        loss = learn(critic, rules[0], lambda: compare(both, critic(drawn)))
        learn(generator, rules[1], lambda: compare(ones, critic(generator(noise))))
        return loss

    return tf.function(step)


def _on_jax(workload: Workload, networks: list[Any], rules: list[Any]) -> Callable[[Tensor, Tensor], Tensor]:
    import jax

    compare, kept = _LOSSES[workload.loss](), [_values(networks, rules)]
    ones = keras.ops.ones((workload.batch, 1))
    both = keras.ops.concatenate([ones, 0 * ones])

    def judged(values: Any, index: int, others: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Any]:
        """The loss of one network, and its other variables afterwards."""
        found, after = networks[index].stateless_call(values, others[index], x, training=True)
        return compare(y, found), after

    def one(state: Any, x: Tensor, y: Tensor) -> tuple[Any, Tensor]:
        values, others, slots = state
        (loss, after), gradients = jax.value_and_grad(judged, has_aux=True)(values[0], 0, others, x, y)
        new, slot = rules[0].stateless_apply(slots[0], gradients, values[0])
        return ([new], [after], [slot]), loss

    def two(state: Any, real: Tensor, noise: Tensor) -> tuple[Any, Tensor]:
        values, others, slots = state
        drawn = keras.ops.concatenate([real, networks[1].stateless_call(values[1], others[1], noise)[0]])
        (loss, _), gradients = jax.value_and_grad(judged, has_aux=True)(values[0], 0, others, drawn, both)
        judging, slot = rules[0].stateless_apply(slots[0], gradients, values[0])

        def deceived(drawing: Any) -> Tensor:
            made, _ = networks[1].stateless_call(drawing, others[1], noise)
            return judged(judging, 0, others, made, ones)[0]

        drawing, other = rules[1].stateless_apply(slots[1], jax.grad(deceived)(values[1]), values[1])
        return ([judging, drawing], others, [slot, other]), loss

    jitted = jax.jit(two if workload.loss == "gan" else one, donate_argnums=0)

    def step(x: Tensor, y: Tensor) -> Tensor:
        kept[0], loss = jitted(kept[0], x, y)
        return loss

    return step


def _values(networks: list[Any], rules: list[Any]) -> Any:
    trained = [[variable.value for variable in network.trainable_variables] for network in networks]
    others = [[variable.value for variable in network.non_trainable_variables] for network in networks]
    return trained, others, [[variable.value for variable in rule.variables] for rule in rules]
