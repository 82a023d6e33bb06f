"""The server as an ASGI application: the Open Inference Protocol, version 2, over REST, and figures for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from compiler.version import VERSION as DLC_VERSION
from runtime.extras import needs
from runtime.serving.batcher import Batcher
from runtime.serving.journal import KEY, Entry, Journal, Refusals
from runtime.serving.limits import Limits, RequestError, Room
from runtime.serving.metrics import Metrics
from runtime.serving.model import VERSION, ServedModel
from runtime.serving.protocol import LENGTH_HEADER, answer, json_bytes, read_request

# Bodies and answers above this are read and written beside the loop, so that small requests go on meanwhile. One at a
# time, as JSON takes twenty times its bytes while it is read, and Python reads no two documents at once anyway.
_LARGE = 2**16


class Service:
    """The handlers of the protocol for some models. Every answer that is no success is ``{"error": "a sentence"}``."""

    def __init__(self, models: Sequence[ServedModel], limits: Limits, metrics: Metrics, refusals: Refusals) -> None:
        self._limits, self._metrics, self._refusals = limits, metrics, refusals
        self._models = {model.name: model for model in models}
        self._room = Room(limits.memory)
        self._batchers: dict[str, Batcher] = {}
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="dlc-large")

    @asynccontextmanager
    async def running(self, _application: Any = None) -> AsyncIterator[None]:
        """While the server runs; at its end everything that was begun is finished."""
        asyncio.get_running_loop().set_exception_handler(self._refusals)
        for name, model in self._models.items():
            batcher = Batcher(model.run, not model.alone, self._limits, partial(self._metrics.ran, name))
            self._metrics.watch(name, partial(len, batcher))
            await batcher.start()
            self._batchers[name] = batcher
        try:
            yield
        finally:
            for batcher in self._batchers.values():
                await batcher.stop()
            self._batchers.clear()
            await asyncio.to_thread(self._beside.shutdown)

    async def alive(self, _request: Any) -> Any:
        """Whether the server answers at all."""
        return _json({"live": True})

    async def ready(self, _request: Any) -> Any:
        """Whether every model can be asked: all of them were loaded before the server began to listen."""
        return _json({"ready": True})

    async def server(self, _request: Any) -> Any:
        """What the server is."""
        extensions = ["binary_tensor_data", "classification"]
        return _json({"name": "dlc", "version": DLC_VERSION, "extensions": extensions})

    async def metadata(self, request: Any) -> Any:
        """What a model takes and gives."""
        return _json(self._model(request).metadata())

    async def model_ready(self, request: Any) -> Any:
        """Whether a model can be asked."""
        return _json({"name": self._model(request).name, "ready": True})

    async def figures(self, _request: Any) -> Any:
        """Everything that is measured, for Prometheus."""
        from starlette.responses import Response

        text, kind = self._metrics.text()
        return Response(text, headers={"Content-Type": kind})

    async def infer(self, request: Any) -> Any:
        """An inference."""
        from starlette.responses import Response

        model = self._model(request)
        entry: Entry = request.scope[KEY]
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise RequestError(f"the body is encoded as {encoding[:40]}: send it as it is", 415)
        body = bytearray()
        try:
            await self._read(request, body)
            entry.more["bytes_in"] = len(body)
            content, headers = await self._answer(model, entry, body, request.headers.get(LENGTH_HEADER))
        finally:
            self._room.give_back(len(body))
        return Response(content, headers=headers)

    async def _answer(
        self, model: ServedModel, entry: Entry, body: bytearray, length: str | None
    ) -> tuple[bytes, dict[str, str]]:
        session = model.session
        asked = await self._aside(
            len(body), partial(read_request, bytes(body), length, session.inputs, session.outputs)
        )
        model.check(asked.inputs)
        done = await self._batchers[model.name].submit(asked.inputs)
        self._metrics.waited(model.name, done.waited)
        more = {"id": asked.id, "batch": done.rows, "waited": round(done.waited, 6), "ran": round(done.ran, 6)}
        entry.more |= {key: value for key, value in more.items() if value is not None}
        size = sum(array.nbytes for array in done.outputs.values())
        write = partial(answer, model.name, VERSION, asked, done.outputs, session.labels)
        found: tuple[bytes, dict[str, str]] = await self._aside(size, write)
        return found

    async def _aside(self, size: int, work: Callable[[], Any]) -> Any:
        return work() if size <= _LARGE else await asyncio.get_running_loop().run_in_executor(self._beside, work)

    async def _read(self, request: Any, body: bytearray) -> None:
        """The body of a request into ``body``, which never has more bytes than a body may."""
        most = self._limits.body
        too_large = RequestError(f"the body is larger than {most} bytes, which is as much as this server takes", 413)
        if int(request.headers.get("content-length", "0")) > most:
            raise too_large
        try:
            async with asyncio.timeout(self._limits.patience):
                async for part in request.stream():
                    if len(body) + len(part) > most:
                        raise too_large
                    self._room.take(len(part))
                    body += part
        except TimeoutError:
            text = f"the request was not there whole after {self._limits.patience:g} seconds"
            raise RequestError(text, 408) from None

    def _model(self, request: Any) -> ServedModel:
        name, version = request.path_params["model"], request.path_params.get("version", VERSION)
        if name not in self._models:
            held = ", ".join(self._models)
            raise RequestError(f"there is no model `{name[:100]}` here; there is {held}", 404)
        if version != VERSION:
            raise RequestError(f"there is no version `{version[:100]}` of {name}; there is {VERSION}", 404)
        request.scope[KEY].model = name
        return self._models[name]


def application(models: Sequence[ServedModel], limits: Limits, write: Callable[[str], None] | None = None) -> Journal:
    """The ASGI application that serves ``models``, which writes a line for each request with ``write``.

    Raises DiagnosticError E0810 where Starlette or the client library of Prometheus is not installed.
    """
    with needs("starlette", "serve", "dlc serve"):
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.requests import ClientDisconnect
        from starlette.routing import Route

    metrics = Metrics()
    service = Service(models, limits, metrics, Refusals(write))
    one = "/v2/models/{model}"
    routes = [
        Route("/v2", service.server),
        Route("/v2/health/live", service.alive),
        Route("/v2/health/ready", service.ready),
        *(
            route
            for at in (one, one + "/versions/{version}")
            for route in (
                Route(at, service.metadata),
                Route(at + "/ready", service.model_ready),
                Route(at + "/infer", service.infer, methods=["POST"]),
            )
        ),
        Route("/metrics", service.figures),
    ]
    handlers: dict[Any, Any] = {
        RequestError: _refuse,
        HTTPException: _no_route,
        ClientDisconnect: _gone,
        Exception: _failed,
    }
    return Journal(Starlette(routes=routes, exception_handlers=handlers, lifespan=service.running), metrics, write)


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    from starlette.responses import Response

    return Response(json_bytes(content), status, headers, "application/json")


async def _refuse(request: Any, failure: RequestError) -> Any:
    request.scope[KEY].more["error"] = failure.text
    headers = {"Retry-After": str(failure.retry)} if failure.retry is not None else {}
    if failure.status == 408:
        headers["Connection"] = "close"  # what comes late would be taken for the next request
    return _json({"error": failure.text}, failure.status, headers)


async def _no_route(request: Any, failure: Any) -> Any:
    path, method = request.url.path[:200], request.method
    text = f"there is nothing at {path}: the protocol begins at /v2, and /v2/models/NAME/infer takes requests"
    if failure.status_code == 405:
        text = f"{path} does not take {method}, but {failure.headers.get('Allow', 'another method')}"
    return _json({"error": text}, failure.status_code, dict(failure.headers or {}))


async def _failed(_request: Any, _failure: Exception) -> Any:
    return _json({"error": "the server failed at this request; its log has more"}, 500)


async def _gone(request: Any, _failure: Any) -> Any:
    from starlette.responses import Response

    request.scope[KEY].more["error"] = "the client left before its request was there"
    return Response(status_code=400)
