"""Connections that do not wait for ever: what uvicorn leaves to a proxy in front of it."""

from __future__ import annotations

import asyncio
from typing import Any

_GRACE = 1.0  # seconds in which the application may still answer what is late


class Patient:
    """A mix-in for uvicorn's protocol on h11: a client that does not send its request whole, or does not take its
    answer, within ``patience`` seconds loses its connection."""

    patience = 60.0

    def connection_made(self, transport: Any) -> None:
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        super().connection_made(transport)  # type: ignore[misc]
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._reading)
        _cancel(self._writing)
        super().connection_lost(exc)  # type: ignore[misc]

    def data_received(self, data: bytes) -> None:
        super().data_received(data)  # type: ignore[misc]
        self._await_request()

    def pause_writing(self) -> None:
        self._writing = self._later(self.patience)
        super().pause_writing()  # type: ignore[misc]

    def resume_writing(self) -> None:
        _cancel(self._writing)
        super().resume_writing()  # type: ignore[misc]

    def _await_request(self) -> None:
        """Called whenever something came: the time runs while a request is on its way, and not while it is answered or
        between two, for which uvicorn has a limit of its own."""
        import h11

        this: Any = self
        if this.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            if self._reading is None:
                self._reading = self._later(self.patience + _GRACE)
        else:
            _cancel(self._reading)
            self._reading = None

    def _later(self, seconds: float) -> asyncio.TimerHandle:
        this: Any = self
        return asyncio.get_running_loop().call_later(seconds, this.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
