"""``dlc serve`` with batches of requests and without: requests a second, and how long each takes.

``python -m benchmarks.serving`` prints a table; ``--help`` tells the rest.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import click
import numpy as np

import dlc
from benchmarks.tables import show

# Its 10 million weights are read from memory once for each run, whatever the number of rows.
MODEL = """\
model Wide(x: f32[N, 1024]) -> f32[N, 10] {
    dense(2048) -> relu
    dense(2048) -> relu
    dense(2048) -> relu
    dense(10)
}
"""
HEAD = ("server", "requests/s", "median ms", "99% ms", "throughput")


@dataclass(frozen=True)
class Turn:
    """What ``requests`` a second a server answered, and the seconds of each of them, the shortest first."""

    requests: float
    seconds: Sequence[float]


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Turns of each server.")
@click.option("--requests", type=click.IntRange(1), default=1000, show_default=True, help="Requests of a turn.")
@click.option("--connections", type=click.IntRange(1), default=32, show_default=True, help="Clients at the same time.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="Rows that run together.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of ONNX Runtime.")
def main(rounds: int, requests: int, connections: int, batch: int, threads: int) -> None:
    """Ask two servers in turns, one of which runs requests one by one."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "wide.onnx"
        dlc.loads(MODEL).export(model)
        with serving(model, 1, threads) as alone, serving(model, batch, threads) as together:
            turns: dict[int, list[Turn]] = {alone: [], together: []}
            for number in range(rounds):
                for port in (alone, together) if number % 2 == 0 else (together, alone):
                    turns[port].append(ask(port, requests, connections))
    ratio = median(b.requests / a.requests for a, b in zip(turns[alone], turns[together], strict=True))
    lines = [line("one by one", turns[alone], 1.0), line(f"batches of up to {batch}", turns[together], ratio)]
    show(f"{requests} requests of one row from {connections} connections", HEAD, [lines])


def line(name: str, turns: Sequence[Turn], ratio: float) -> tuple[str, ...]:
    """A line of the table: medians over the turns."""

    def quantile(share: float) -> str:
        return f"{1000 * median(turn.seconds[int(share * (len(turn.seconds) - 1))] for turn in turns):.1f}"

    return name, f"{median(turn.requests for turn in turns):.0f}", quantile(0.5), quantile(0.99), f"{ratio:.2f}x"


@contextmanager
def serving(model: Path, batch: int, threads: int) -> Iterator[int]:
    """A server as a process of its own; gives its port."""
    options = ("--port", "0", "--no-log", "--max-batch", str(batch), "--threads", str(threads))
    command = [sys.executable, "-m", "dlc", "serve", str(model), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stderr.readline())
        if told is None:
            raise click.ClickException(process.stderr.read())
        try:
            yield int(told[1])
        finally:
            process.terminate()


def ask(port: int, requests: int, connections: int) -> Turn:
    """One turn: every connection sends its share of the requests, one after the other."""
    row = np.random.default_rng(0).standard_normal((1, 1024)).astype("<f4").tobytes()
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1024], "parameters": {"binary_data_size": len(row)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}

    def work(count: int) -> list[float]:
        found = []
        with closing(HTTPConnection("127.0.0.1", port)) as connection:
            for _ in range(count):
                start = time.perf_counter()
                connection.request("POST", "/v2/models/wide/infer", head + row, headers)
                response = connection.getresponse()
                answer = response.read()
                if response.status != 200:
                    raise click.ClickException(answer.decode())
                found.append(time.perf_counter() - start)
        return found

    counts = [requests // connections + (number < requests % connections) for number in range(connections)]
    start = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        seconds = [one for part in pool.map(work, counts) for one in part]
    return Turn(requests / (time.perf_counter() - start), sorted(seconds))


if __name__ == "__main__":
    main()
