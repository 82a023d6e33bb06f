"""PyTorch at its best on a CPU: fused optimizers, denormal numbers flushed, channels last where that is faster, one
thread where two only wait for one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers.torch_networks import NETWORKS
from benchmarks.steps import Steps
from benchmarks.workloads import Workload

# Where two threads are slower than one.
ONE_THREAD = {"xor", "mlp_deep", "mlp_wide", "rnn"}
CHANNELS_LAST = {"conv64", "conv28", "gan"}


def make(workload: Workload, *, compiled: bool = False, alone: bool = False) -> Steps:
    """The steps of a workload; ``compiled`` sends forward and backward through ``torch.compile``, ``alone`` is on one
    thread: several wait for one another all the time where something else runs too."""
    torch.set_flush_denormal(True)  # before there are threads, so that they inherit it
    torch.set_num_threads(1 if alone or workload.name in ONE_THREAD else torch.get_num_threads())
    torch.manual_seed(0)
    network = NETWORKS[workload.network]()
    batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in workload.data()]
    if workload.network in CHANNELS_LAST:
        network = network.to(memory_format=torch.channels_last)
        batches = [(x.contiguous(memory_format=torch.channels_last), y) for x, y in batches]
    adapt = torch.compile if compiled else _unchanged
    update = _adversaries(network, workload, adapt) if workload.loss == "gan" else _one(network, workload, adapt)

    def step(number: int) -> Tensor:
        return update(*batches[number % len(batches)])

    return Steps(step, lambda loss: loss.item(), sum(weight.numel() for weight in network.parameters()))


def _unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def optimizer(network: nn.Module, workload: Workload) -> torch.optim.Optimizer:
    """Adam, or AdamW where the workload decays weights: only those with two dimensions and more."""
    weights = list(network.parameters())
    if workload.weight_decay is None:
        return torch.optim.Adam(weights, workload.lr, workload.betas, fused=True)
    groups = [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": workload.weight_decay},
        {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, workload.lr, workload.betas, fused=True)


def _cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(scores.view(-1, scores.shape[-1]), y.view(-1))


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": functional.binary_cross_entropy_with_logits,
    "mse": functional.mse_loss,
    "cross_entropy": _cross_entropy,
}


def _one(network: nn.Module, workload: Workload, adapt: Callable[..., Any]) -> Callable[[Tensor, Tensor], Tensor]:
    """The update of a network with one loss."""
    rule, compare = optimizer(network, workload), _LOSSES[workload.loss]
    judge = adapt(lambda x, y: compare(network(x), y))

    def update(x: Tensor, y: Tensor) -> Tensor:
        rule.zero_grad()
        loss: Tensor = judge(x, y)
        loss.backward()
        rule.step()
        return loss

    return update


def _adversaries(
    networks: nn.Module, workload: Workload, adapt: Callable[..., Any]
) -> Callable[[Tensor, Tensor], Tensor]:
    """An update of the critic, then one of the generator."""
    generator, critic = networks["generator"], networks["critic"]
    rules = optimizer(generator, workload), optimizer(critic, workload)
    ones = torch.ones(workload.batch, 1)
    both = torch.cat([ones, torch.zeros(workload.batch, 1)])
    told = functional.binary_cross_entropy_with_logits
    draw = adapt(generator.forward)
    judge = adapt(lambda real, fake: told(critic(torch.cat([real, fake])), both))
    deceive = adapt(lambda noise: told(critic(generator(noise)), ones))

    def update(real: Tensor, noise: Tensor) -> Tensor:
        with torch.no_grad():
            fake = draw(noise)
        rules[1].zero_grad()
        loss: Tensor = judge(real, fake)
        loss.backward()
        rules[1].step()
        critic.requires_grad_(False)
        rules[0].zero_grad()
        deceive(noise).backward()
        rules[0].step()
        critic.requires_grad_(True)
        return loss

    return update
