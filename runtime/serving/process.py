"""A server as a process: its socket, its signals, and its end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compiler.diagnostics import DiagnosticError, error
from runtime.disk.files import reason
from runtime.extras import needs
from runtime.inference.session import Device
from runtime.serving.app import application
from runtime.serving.limits import Limits
from runtime.serving.model import open_model
from runtime.serving.patience import Patient

_BACKLOG = 2048
_KEEP_ALIVE = 30


@dataclass(frozen=True)
class Serving:
    """Where and how to serve: ``tell`` takes lines for whoever started the server, ``write`` the line of each request,
    and ``threads`` are those of each model."""

    host: str = "127.0.0.1"
    port: int = 8000
    device: Device = "cpu"
    threads: int | None = None
    limits: Limits = field(default_factory=Limits)
    tell: Callable[[str], None] = print
    write: Callable[[str], None] | None = None


def serve(files: Mapping[str, Path], how: Serving) -> bool:
    """Serves the models in ``files``, by name, until the process is told to stop by SIGTERM or Ctrl-C: it then accepts
    nothing more and finishes what it has begun. Gives whether it could.

    Raises DiagnosticError: E0810 where a library is missing, E0930 for an address that can't be listened at, and what
    opening a file raises, all before anything is served; KeyboardInterrupt at the end where it was Ctrl-C.
    """
    with needs("uvicorn", "serve", "dlc serve"), needs("h11", "serve", "dlc serve"):
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol
    models = [open_model(name, path, how.device, how.threads, how.limits.batch) for name, path in files.items()]
    journal = application(models, how.limits, how.write)
    with _listening(how.host, how.port) as listener:
        host, port = listener.getsockname()[:2]
        at = f"http://{f'[{host}]' if ':' in host else host}:{port}/v2"
        for model in models:
            batches = f"one request at a time: {model.alone}" if model.alone else f"batches of up to {model.most_rows}"
            how.tell(f"serving {model.name} at {at}/models/{model.name} ({batches})")
        protocol = type("Protocol", (Patient, H11Protocol), {"patience": how.limits.patience})
        config = uvicorn.Config(
            journal, http=protocol, ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
            backlog=_BACKLOG, timeout_keep_alive=_KEEP_ALIVE, timeout_graceful_shutdown=round(how.limits.grace),
        )  # fmt: skip
        server = uvicorn.Server(config)
        # uvicorn handles the signal, and raises it again at its end for the handler that was there before.
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            server.run([listener])
        finally:
            signal.signal(signal.SIGTERM, before)
    if journal.cut:
        how.tell(f"stopped with {journal.cut} requests that were not finished within {how.limits.grace:g} seconds")
    return not journal.cut


def _listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections; SO_REUSEADDR lets a server that is started again have the address at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as failure:
        title = f"cannot listen at {host}, port {port}: {reason(failure)}"
        help = "choose another with --port, or --port 0 for any that is free; --host 127.0.0.1 is this machine alone"
        raise DiagnosticError([error("E0930", title, None, help=help)]) from failure
    return listener
