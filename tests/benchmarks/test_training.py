"""Training steps side by side: workloads that run, peers with the same networks, tables."""

from __future__ import annotations

import math
import subprocess
import sys
import time

import pytest

from benchmarks import training
from benchmarks.race import Result, Turn, best_peer, race, ratio
from benchmarks.steps import dlc
from benchmarks.worker import processor_seconds
from benchmarks.workloads import WORKLOADS

# The first of several workloads of one network.
LOADS = list({workload.network: workload for workload in reversed(WORKLOADS.values())}.values())


@pytest.mark.parametrize("workload", LOADS, ids=lambda workload: workload.network)
def test_every_workload_makes_steps(workload):
    steps = dlc.make(workload)
    first = steps.loss(steps.step(0))
    assert 0.0 < first < 10.0
    assert steps.loss(steps.step(0)) != first


@pytest.mark.parametrize("workload", LOADS, ids=lambda workload: workload.network)
def test_torch_has_the_same_network(workload):
    pytest.importorskip("torch")
    from benchmarks.peers import torch_networks

    network = torch_networks.NETWORKS[workload.network]()
    parameters = sum(weight.numel() for weight in network.parameters())
    assert parameters == dlc.make(workload).parameters


def test_data_are_the_same_each_time():
    for workload in LOADS:
        (x, y), (again, also) = workload.data(4, 2)[0], workload.data(4, 2)[0]
        assert len(x) == len(y) == 4
        assert (x == again).all()
        assert (y == also).all()


def test_contenders_take_turns_and_absent_ones_are_told():
    own, absent = race("xor", ["dlc", "torch"], {"torch": sys.executable, "dlc": sys.executable}, 2, 0.001)
    assert len(own.turns) == 2
    assert own.ready["parameters"] == 17
    assert all(turn.wall > 0 for turn in own.turns)
    assert len(absent.turns) == 2 or "not installed" in absent.problem


def results():
    fast = Result("dlc", {}, [Turn(1e-3, 1e-3), Turn(2e-3, 1e-3)])
    slow = Result("torch", {}, [Turn(2e-3, 4e-3), Turn(4e-3, 4e-3)])
    return [fast, slow, Result("jax", problem="not installed: No module named 'jax'")]


def test_ratios_are_of_turns_side_by_side():
    fast, slow, _ = results()
    assert best_peer(results()).name == "torch"
    assert ratio(fast, slow) == 0.5
    assert ratio(fast, slow, "cpu") == 0.25
    assert best_peer([fast]) is None


def test_tables():
    first, second, absent = training.lines("xor", results())
    assert first == ("XOR 2-4-1, batch 4", "dlc", "1.5", "0.75 to 2.25", "1", "0.50", "0.25")
    assert second[1:3] == ("torch", "3")
    assert absent[1] == "jax: not installed: No module named 'jax'"
    written = list(training.figures("xor", results()))
    assert all(len(line) == len(training.COLUMNS) for line in written)
    assert written[0][2:6] == ("1.5", "0.75", "2.25", "1")


def test_own_ratios():
    found = {"xor": results(), "rnn": results()[2:]}
    assert training.own_ratios(found)["XOR 2-4-1, batch 4"] == [0.5, 0.25]
    assert all(map(math.isnan, training.own_ratios(found)["rnn(50) over 100 steps, batch 32"]))


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks run on Linux")
def test_processor_time_is_that_of_processes_it_has_started_too():
    burning = "import time\nwhile time.process_time() < 0.2: pass\ntime.sleep(300)"
    before, own = processor_seconds(), time.process_time()
    with subprocess.Popen([sys.executable, "-c", burning]) as child:
        try:
            deadline = time.monotonic() + 120
            while (found := processor_seconds() - before - (time.process_time() - own)) < 0.19:
                assert time.monotonic() < deadline, "nothing of the child's is counted"
                time.sleep(0.01)
            assert found < 1
        finally:
            child.kill()
