"""Batches of requests, with functions in place of models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
import pytest

from runtime.serving.batcher import Batcher, Done
from runtime.serving.limits import Limits, RequestError


class Model:
    """Doubles ``x``, remembers how many rows came together, and waits for a start signal if it is ``held``."""

    def __init__(self, held: bool = False) -> None:
        self.rows: list[int] = []
        self.go = threading.Event()
        if not held:
            self.go.set()

    def __call__(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        assert self.go.wait(120)
        self.rows.append(len(arrays["x"]))
        if (arrays["x"] < 0).any():
            raise ValueError("below zero")
        return {"y": arrays["x"] * 2}


def rows(*values: float) -> dict[str, Any]:
    return {"x": np.array(values, np.float32)}


def run(model: Model, limits: Limits, work: Callable[[Batcher], Awaitable[Any]], batching: bool = True) -> Any:
    async def main() -> Any:
        batcher = Batcher(model, batching, limits)
        await batcher.start()
        try:
            return await work(batcher)
        finally:
            model.go.set()
            await batcher.stop()

    return asyncio.run(main())


async def submitted(batcher: Batcher, *requests: dict[str, Any]) -> list[asyncio.Task[Done]]:
    """Tasks of requests that have all come; the first of them runs by now, held back in the model."""
    tasks = []
    for number, request in enumerate(requests):
        tasks.append(asyncio.create_task(batcher.submit(request)))
        await asyncio.sleep(0)
        while number == 0 and len(batcher):
            await asyncio.sleep(0)
    return tasks


def test_requests_that_wait_run_together() -> None:
    model = Model(held=True)

    async def work(batcher: Batcher) -> list[Done]:
        tasks = await submitted(batcher, rows(0), rows(1), rows(2, 3), rows(4), rows(5, 6), rows(7))
        model.go.set()
        return await asyncio.gather(*tasks)

    found = run(model, Limits(batch=4), work)
    assert model.rows == [1, 4, 3]
    assert [done.outputs["y"].tolist() for done in found] == [[0], [2], [4, 6], [8], [10, 12], [14]]
    assert [done.rows for done in found] == [1, 4, 4, 4, 3, 3]


def test_only_what_agrees_runs_together() -> None:
    model = Model(held=True)
    wide = {"x": np.ones((1, 2), np.float32)}

    async def work(batcher: Batcher) -> list[Done]:
        tasks = await submitted(batcher, rows(0), rows(1), wide, rows(2), wide)
        model.go.set()
        return await asyncio.gather(*tasks)

    found = run(model, Limits(batch=8), work)
    assert model.rows == [1, 2, 2]
    assert [done.outputs["y"].shape for done in found] == [(1,), (1,), (1, 2), (1,), (1, 2)]


def test_without_batching_each_runs_alone() -> None:
    model = Model(held=True)

    async def work(batcher: Batcher) -> list[Done]:
        tasks = await submitted(batcher, rows(0), rows(1), rows(2))
        model.go.set()
        return await asyncio.gather(*tasks)

    run(model, Limits(batch=8), work, batching=False)
    assert model.rows == [1, 1, 1]


def test_a_bad_request_harms_no_other() -> None:
    model = Model(held=True)

    async def work(batcher: Batcher) -> list[Any]:
        tasks = await submitted(batcher, rows(0), rows(1), rows(-1), rows(2))
        model.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, bad, last = run(model, Limits(batch=8), work)
    assert [done.outputs["y"].tolist() for done in (first, second, last)] == [[0], [2], [4]]
    assert isinstance(bad, ValueError)
    assert model.rows == [1, 3, 1, 1, 1]


def test_the_queue_has_an_end() -> None:
    model = Model(held=True)

    async def work(batcher: Batcher) -> tuple[RequestError, list[Done]]:
        tasks = await submitted(batcher, rows(0), rows(1), rows(2))
        with pytest.raises(RequestError) as caught:
            await batcher.submit(rows(3))
        model.go.set()
        return caught.value, await asyncio.gather(*tasks)

    refused, found = run(model, Limits(queue=2), work)
    assert (refused.status, refused.retry) == (503, 1)
    assert len(found) == 3


def test_what_waits_too_long_is_told_so() -> None:
    model = Model(held=True)

    async def work(batcher: Batcher) -> tuple[RequestError, Done]:
        first, second = await submitted(batcher, rows(0), rows(1))
        with pytest.raises(RequestError) as caught:
            await second
        model.go.set()
        return caught.value, await first

    late, done = run(model, Limits(patience=0.01), work)
    assert (late.status, late.text) == (503, "the request waited 0.01 seconds: try again later")
    assert done.outputs["y"].tolist() == [0]


def test_a_request_waits_for_company_if_it_may() -> None:
    model = Model()

    async def work(batcher: Batcher) -> list[Done]:
        return await asyncio.gather(*(batcher.submit(rows(number)) for number in range(4)))

    run(model, Limits(batch=4, delay=120), work)
    assert model.rows == [4]  # full before its time


def test_the_wait_for_company_ends() -> None:
    model = Model()

    async def work(batcher: Batcher) -> Done:
        return await batcher.submit(rows(1))

    assert run(model, Limits(batch=4, delay=0.01), work).rows == 1


def test_stopping_finishes_what_runs_and_refuses_what_waits() -> None:
    model = Model(held=True)

    async def main() -> list[Any]:
        batcher = Batcher(model, True, Limits())
        await batcher.start()
        tasks = await submitted(batcher, rows(0), rows(1))
        stopping = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0)
        model.go.set()
        await stopping
        return await asyncio.gather(*tasks, return_exceptions=True)

    ran, refused = asyncio.run(main())
    assert ran.outputs["y"].tolist() == [0]
    assert isinstance(refused, RequestError)
