"""The log of a server: one line of JSON for each request, and the answer where something inside it failed."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from runtime.serving.metrics import Metrics

KEY = "dlc"
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_GONE = 499  # what is logged for a client that left before its answer


@dataclass
class Entry:
    """What is told of a request: the ``model`` that it concerns, and what else its handler knows."""

    model: str = ""
    more: dict[str, Any] = field(default_factory=dict)


class Refusals:
    """An exception handler for asyncio: connections that can't be taken, as there are no more files, are a line each
    second and not a traceback each, which would fill the log faster than any client."""

    def __init__(self, write: Callable[[str], None] | None, clock: Callable[[], float] = perf_counter) -> None:
        self._write, self._clock, self._next = write, clock, 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        failure = context.get("exception")
        if not isinstance(failure, OSError) or failure.errno not in _SHORT:
            loop.default_exception_handler(context)
            return
        now = self._clock()
        if now < self._next or self._write is None:
            return
        self._next = now + 1.0
        line = {"time": _now(), "error": f"connections have to wait: {failure.strerror}"}
        with suppress(OSError):
            self._write(json.dumps(line))


class Journal:
    """An ASGI application around another one: counts its requests and writes their lines with ``write``; None writes
    none. A fault of the application is answered with status 500 and told in the line, and the server goes on."""

    def __init__(self, application: Any, metrics: Metrics, write: Callable[[str], None] | None) -> None:
        self._application, self._metrics, self._write = application, metrics, write
        self.cut = 0  # requests that were given up at the end, as they took too long

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        entry = scope[KEY] = Entry()
        start, status, size = perf_counter(), _GONE, 0

        async def noted(message: Any) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._application(scope, receive, noted)
        except asyncio.CancelledError:
            self.cut += 1
            raise
        except Exception as failure:
            entry.more["error"] = f"{type(failure).__name__}: {failure}"
        seconds = perf_counter() - start
        self._metrics.answered(entry.model, status, seconds)
        if self._write is not None:
            client = scope.get("client")
            line: dict[str, Any] = {
                "time": _now(),
                "client": client[0] if client else None,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "seconds": round(seconds, 6),
                "bytes_out": size,
            }
            with suppress(OSError):  # a log that can't be written is no reason to stop
                self._write(json.dumps({**line, "model": entry.model or None, **entry.more}, ensure_ascii=False))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
