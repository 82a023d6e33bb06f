"""What a server lets one request, and all of them together, take; and how it says no."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """``batch`` rows run together, for which the first of them waits at most ``delay`` seconds. ``queue`` requests wait
    for a model, each for at most ``patience`` seconds, which is also how long a client may take to send one or to take
    an answer. A body has at most ``body`` bytes; the bodies of all requests that are being read or worked on at most
    ``memory`` bytes. After being told to stop, the server finishes what it has begun within ``grace`` seconds."""

    batch: int = 64
    delay: float = 0.0
    queue: int = 256
    patience: float = 60.0
    body: int = 32 * 2**20
    memory: int = 512 * 2**20
    grace: float = 30.0


class RequestError(Exception):
    """A request that is not served: the sentence for the client, the HTTP status, and after how many seconds to try
    again, where that may help."""

    def __init__(self, text: str, status: int = 400, retry: int | None = None) -> None:
        super().__init__(text)
        self.text, self.status, self.retry = text, status, retry


class Room:
    """Bytes that are there for the bodies of all requests together."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> None:
        """Raises RequestError 503 where ``size`` bytes are not left."""
        if size > self._left:
            raise RequestError("the server holds as many bytes of requests as it may: try again later", 503, retry=1)
        self._left -= size

    def give_back(self, size: int) -> None:
        """``size`` bytes that were taken are free again."""
        self._left += size
