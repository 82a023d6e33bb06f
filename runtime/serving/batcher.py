"""Requests that wait for a model are run together: as many as there are, as far as they fit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeAlias

import numpy as np

from runtime.disk.tensors import Array
from runtime.serving.limits import Limits, RequestError

Arrays: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class Done:
    """What came of a request: its ``outputs``, how many ``rows`` ran together, how many seconds it ``waited`` and how
    many the run took."""

    outputs: Arrays
    rows: int
    waited: float
    ran: float


@dataclass(eq=False)
class _Waiting:
    arrays: Arrays
    key: Hashable
    rows: int
    future: asyncio.Future[Done]
    since: float = field(default_factory=perf_counter)


class Batcher:
    """Runs requests one batch after another, in a thread of its own.

    ``run`` takes the inputs by name and gives the outputs. With ``batching``, requests whose inputs agree in all but
    the first size run as one, whose first size is at most ``limits.batch``; ``run`` has to treat rows independently.
    While a batch runs the next one gathers, so that batches grow with the load without anyone waiting for it. ``note``
    is told of every run: how many requests and rows it had, and its seconds.
    """

    def __init__(
        self,
        run: Callable[[Arrays], Arrays],
        batching: bool,
        limits: Limits,
        note: Callable[[int, int, float], None] = lambda requests, rows, seconds: None,
    ) -> None:
        self._run, self._batching, self._limits, self._note = run, batching, limits, note
        self._queue: deque[_Waiting] = deque()
        self._came = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="dlc-serve")
        self._worker: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    async def start(self) -> None:
        """Begins to run what is submitted."""
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Ends after the run that goes on; what still waits is told so."""
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        for waiting in self._queue:
            _refuse(waiting, "the server stops: try again later")
        self._queue.clear()
        await asyncio.to_thread(self._pool.shutdown)

    async def submit(self, arrays: Arrays) -> Done:
        """The outputs for ``arrays``. Raises RequestError 503 where too many wait already or this one waited too long,
        and whatever ``run`` raises for it."""
        if len(self._queue) >= self._limits.queue:
            raise RequestError(f"{len(self._queue)} requests wait already: try again later", 503, retry=1)
        loop = asyncio.get_running_loop()
        key = tuple((name, array.shape[1:]) for name, array in sorted(arrays.items())) if self._batching else None
        rows = len(next(iter(arrays.values()))) if self._batching else 1
        waiting = _Waiting(arrays, key, rows, loop.create_future())
        self._queue.append(waiting)
        self._came.set()
        late = loop.call_later(self._limits.patience, self._expire, waiting)
        try:
            return await waiting.future
        finally:
            late.cancel()

    def _expire(self, waiting: _Waiting) -> None:
        with suppress(ValueError):  # it runs by now
            self._queue.remove(waiting)
            _refuse(waiting, f"the request waited {self._limits.patience:g} seconds: try again later")

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._queue:
                self._came.clear()
                await self._came.wait()
            if self._batching and self._limits.delay > 0:
                await self._gather()
            batch = self._take()
            if not batch:
                continue
            running = loop.run_in_executor(self._pool, self._together, batch)
            try:
                outcomes = await asyncio.shield(running)
            except asyncio.CancelledError:
                _deliver(batch, await running)
                raise
            _deliver(batch, outcomes)

    async def _gather(self) -> None:
        """Waits for company for the first request, as long as it may."""
        first = self._queue[0]
        while self._queue and self._queue[0] is first and self._rows_like(first) < self._limits.batch:
            left = first.since + self._limits.delay - perf_counter()
            if left <= 0:
                return
            self._came.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), left)

    def _rows_like(self, first: _Waiting) -> int:
        return sum(waiting.rows for waiting in self._queue if waiting.key == first.key)

    def _take(self) -> list[_Waiting]:
        """The first request and those that go with it, in order. They leave the queue."""
        taken: list[_Waiting] = []
        rows = 0
        for waiting in list(self._queue):
            if waiting.future.done():  # whoever asked is gone
                self._queue.remove(waiting)
                continue
            if taken and (not self._batching or waiting.key != taken[0].key):
                continue
            if taken and rows + waiting.rows > self._limits.batch:
                break
            taken.append(waiting)
            rows += waiting.rows
        chosen = set(map(id, taken))
        self._queue = deque(waiting for waiting in self._queue if id(waiting) not in chosen)
        return taken

    def _together(self, batch: Sequence[_Waiting]) -> list[Done | Exception]:
        """What comes of each. Where a run of several fails each runs by itself, so that one bad request, such as an
        index out of range, harms no other."""
        if len(batch) == 1:
            return [self._outcome(batch[0])]
        joined = {name: np.concatenate([one.arrays[name] for one in batch]) for name in batch[0].arrays}
        rows = sum(one.rows for one in batch)
        start = perf_counter()
        try:
            outputs = self._run(joined)
            if any(len(array) != rows for array in outputs.values()):
                raise ValueError("the outputs do not have the rows of the inputs")
        except Exception:
            return [self._outcome(one) for one in batch]
        ran = perf_counter() - start
        self._note(len(batch), rows, ran)
        found: list[Done | Exception] = []
        first = 0
        for one in batch:
            part = {name: array[first : first + one.rows] for name, array in outputs.items()}
            found.append(Done(part, rows, start - one.since, ran))
            first += one.rows
        return found

    def _outcome(self, one: _Waiting) -> Done | Exception:
        start = perf_counter()
        try:
            outputs = self._run(one.arrays)
        except Exception as failure:
            return failure
        ran = perf_counter() - start
        self._note(1, one.rows, ran)
        return Done(outputs, one.rows, start - one.since, ran)


def _deliver(batch: Sequence[_Waiting], outcomes: Sequence[Done | Exception]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if waiting.future.done():
            continue
        if isinstance(outcome, Exception):
            waiting.future.set_exception(outcome)
        else:
            waiting.future.set_result(outcome)


def _refuse(waiting: _Waiting, text: str) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(RequestError(text, 503, retry=1))
