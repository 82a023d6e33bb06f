"""Where boxes and arrows of a layered drawing stand, after K. Sugiyama, S. Tagawa and M. Toda, "Methods for visual
understanding of hierarchical system structures" (1981): layers by the longest way, few crossings by barycentres, and
places that pull neighbours above each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

_SWEEPS = 12
# Long arrows run straight before boxes stand above each other.
_STRAIGHT = 4.0


@dataclass(frozen=True)
class Placed:
    """``x`` and ``y`` of the middle of each box's upper edge, and for each arrow the points that it goes through, from
    the lower edge of its source to the upper edge of its target."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    ways: tuple[tuple[tuple[float, float], ...], ...]
    width: float
    height: float


@dataclass
class _Net:
    """Boxes, and points of long arrows on every layer between their ends; boxes come first."""

    layer: list[int]
    width: list[float]
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)
    chains: list[list[int]] = field(default_factory=list)  # for each arrow what it goes through


def place(sizes: Sequence[tuple[float, float]], arrows: Sequence[tuple[int, int]], gap: tuple[float, float]) -> Placed:
    """Places boxes of these widths and heights; ``arrows`` lead from a box to a later one. ``gap`` is the least
    distance beside a box and below a layer. The same arguments give the same drawing."""
    net = _net(sizes, arrows, gap[0])
    layers = _ordered(net)
    x = _across(net, layers, gap[0])
    tops, bottoms = _down(net, layers, sizes, gap[1])
    left = min((x[i] - net.width[i] / 2 for i in range(len(x))), default=0.0)
    x = [value - left for value in x]
    y = [tops[net.layer[index]] for index in range(len(sizes))]
    ways = []
    for (source, target), chain in zip(arrows, net.chains, strict=True):
        points = [(x[source], y[source] + sizes[source][1])]
        for index in chain[1:-1]:
            points += [(x[index], tops[net.layer[index]]), (x[index], bottoms[net.layer[index]])]
        ways.append((*points, (x[target], y[target])))
    width = max((x[i] + net.width[i] / 2 for i in range(len(x))), default=0.0)
    return Placed(tuple(x[: len(sizes)]), tuple(y), tuple(ways), width, max(bottoms, default=0.0))


def _net(sizes: Sequence[tuple[float, float]], arrows: Sequence[tuple[int, int]], gap: float) -> _Net:
    layer = [0] * len(sizes)
    for source, target in sorted(arrows, key=lambda arrow: arrow[1]):
        layer[target] = max(layer[target], layer[source] + 1)
    # What nothing leads to stands right above what it leads to first.
    led_to = {target for _, target in arrows}
    for index in range(len(sizes)):
        targets = [layer[target] for source, target in arrows if source == index] if index not in led_to else []
        if targets:
            layer[index] = min(targets) - 1
    net = _Net(layer, [width for width, _ in sizes])
    net.above, net.below = [[] for _ in sizes], [[] for _ in sizes]
    shared: dict[tuple[int, int], int] = {}  # points of arrows from one source on a layer, which run together
    for source, target in arrows:
        chain = [source]
        for between in range(layer[source] + 1, layer[target]):
            if (source, between) not in shared:
                shared[source, between] = len(net.layer)
                net.layer.append(between)
                net.width.append(gap / 4)
                net.above.append([])
                net.below.append([])
            chain.append(shared[source, between])
        chain.append(target)
        for upper, lower in pairwise(chain):
            if lower not in net.below[upper]:
                net.below[upper].append(lower)
                net.above[lower].append(upper)
        net.chains.append(chain)
    return net


def _ordered(net: _Net) -> list[list[int]]:
    """The members of each layer from left to right."""
    layers: list[list[int]] = [[] for _ in range(max(net.layer, default=-1) + 1)]
    for index, layer in enumerate(net.layer):
        layers[layer].append(index)
    best, fewest = [list(members) for members in layers], _crossings(net, layers)
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        downwards = sweep % 2 == 0
        neighbours = net.above if downwards else net.below
        for members in layers if downwards else reversed(layers):
            place = {index: position for other in layers for position, index in enumerate(other)}
            centres = {
                index: float(np.mean([place[n] for n in neighbours[index]])) if neighbours[index] else place[index]
                for index in members
            }
            members.sort(key=lambda index: (centres[index], place[index]))
        found = _crossings(net, layers)
        if found < fewest:
            best, fewest = [list(members) for members in layers], found
    return best


def _crossings(net: _Net, layers: Sequence[Sequence[int]]) -> int:
    total = 0
    for upper, lower in pairwise(layers):
        place = {index: position for position, index in enumerate(lower)}
        ends = [place[target] for index in upper for target in sorted(net.below[index], key=place.__getitem__)]
        total += sum(int(np.sum(np.asarray(ends[:position]) > end)) for position, end in enumerate(ends) if position)
    return total


def _across(net: _Net, layers: Sequence[Sequence[int]], gap: float) -> list[float]:
    """The middle of each member, near those of its neighbours, in the order of the layer."""
    x = [0.0] * len(net.layer)
    offsets = [_offsets(net, members, gap) for members in layers]
    for members, least in zip(layers, offsets, strict=True):
        for index, offset in zip(members, least, strict=True):
            x[index] = offset
    long = [len(net.above[i]) == len(net.below[i]) == 1 and net.width[i] == gap / 4 for i in range(len(x))]
    run_of = {index: run for run in _runs(net) for index in run}

    def near(index: int, others: Sequence[int]) -> tuple[float, float]:
        parts = [(_STRAIGHT if long[index] or long[other] else 1.0, x[other]) for other in others]
        weight = sum(weight for weight, _ in parts)
        return (sum(part * value for part, value in parts) / weight, weight) if parts else (x[index], 0.01)

    def straight(index: int) -> tuple[float, float]:
        run = run_of[index]
        return sum(x[other] for other in run) / len(run), float(len(run))

    for sweep in range(4 * _SWEEPS):
        order = range(len(layers)) if sweep % 2 == 0 else range(len(layers) - 1, -1, -1)
        for number in order:
            members = layers[number]
            if sweep < _SWEEPS:
                wanted = [near(index, net.above[index]) for index in members]
            elif sweep < 2 * _SWEEPS:
                wanted = [near(index, net.above[index] + net.below[index]) for index in members]
            else:
                wanted = [straight(index) for index in members]
            free = [value - offset for (value, _), offset in zip(wanted, offsets[number], strict=True)]
            found = _rising(free, [weight for _, weight in wanted])
            for index, value, offset in zip(members, found, offsets[number], strict=True):
                x[index] = value + offset
    return x


def _offsets(net: _Net, members: Sequence[int], gap: float) -> list[float]:
    """The least distance of each member from the first of its layer."""
    offsets = [0.0]
    for left, right in pairwise(members):
        offsets.append(offsets[-1] + (net.width[left] + net.width[right]) / 2 + gap)
    return offsets


def _runs(net: _Net) -> list[list[int]]:
    """Members below each other that have no other neighbours in between, and so can stand in a straight line."""
    runs = []
    for index in range(len(net.layer)):
        above = net.above[index]
        if len(above) == 1 and len(net.below[above[0]]) == 1:
            continue  # not the first of its run
        run = [index]
        while len(net.below[run[-1]]) == 1 and len(net.above[net.below[run[-1]][0]]) == 1:
            run.append(net.below[run[-1]][0])
        runs.append(run)
    return runs


def _rising(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The numbers nearest to ``wanted`` by weighted least squares of which none is less than the one before."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(wanted, weights, strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, v, m), (b, w, n) = pools[-2:]
            pools[-2:] = [((a * v + b * w) / (v + w), v + w, m + n)]
    return [value for value, _, count in pools for _ in range(count)]


def _down(
    net: _Net, layers: Sequence[Sequence[int]], sizes: Sequence[tuple[float, float]], gap: float
) -> tuple[list[float], list[float]]:
    """The upper and the lower edge of each layer."""
    tops, bottoms = [], []
    edge = 0.0
    for members in layers:
        height = max(sizes[index][1] if index < len(sizes) else 0.0 for index in members)
        tops.append(edge)
        bottoms.append(edge + height)
        edge += height + gap
    return tops, bottoms
