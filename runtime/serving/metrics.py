"""Figures of a server for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from runtime.extras import needs

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters and histograms, each with the name of the model, which is empty for what concerns none of them."""

    def __init__(self) -> None:
        with needs("prometheus_client", "serve", "dlc serve"):
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = found = CollectorRegistry()
        model = ("model",)
        self._requests = Counter(
            "dlc_requests", "Requests that were answered, by HTTP status.", ("model", "status"), registry=found
        )
        self._seconds = Histogram(
            "dlc_request_seconds", "From a request's first byte to the end of its answer.", model,
            registry=found, buckets=_SECONDS,
        )  # fmt: skip
        self._waits = Histogram(
            "dlc_queue_seconds", "What inference requests waited to be run.", model, registry=found, buckets=_SECONDS
        )
        self._runs = Histogram("dlc_run_seconds", "Runs in ONNX Runtime.", model, registry=found, buckets=_SECONDS)
        self._rows = Histogram("dlc_batch_rows", "Rows that ran together.", model, registry=found, buckets=_ROWS)
        self._batched = Histogram(
            "dlc_batch_requests", "Requests that ran together.", model, registry=found, buckets=_ROWS
        )
        self._depth = Gauge("dlc_queue_depth", "Requests that wait to be run.", model, registry=found)

    def watch(self, model: str, depth: Callable[[], float]) -> None:
        """Shows what ``depth`` gives as the number of requests that wait for ``model``."""
        self._depth.labels(model).set_function(depth)

    def answered(self, model: str, status: int, seconds: float) -> None:
        """A request got its answer."""
        self._requests.labels(model, str(status)).inc()
        self._seconds.labels(model).observe(seconds)

    def ran(self, model: str, requests: int, rows: int, seconds: float) -> None:
        """A batch ran."""
        self._runs.labels(model).observe(seconds)
        self._rows.labels(model).observe(rows)
        self._batched.labels(model).observe(requests)

    def waited(self, model: str, seconds: float) -> None:
        """A request began to run."""
        self._waits.labels(model).observe(seconds)

    def text(self) -> tuple[bytes, str]:
        """All of it in the text format of Prometheus, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST
