"""A server as a process: its socket, its signals, and its end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from compiler.diagnostics import DiagnosticError, error
from runtime.disk.files import reason
from runtime.extras import needs
from runtime.inference.session import Device
from runtime.serving.app import application
from runtime.serving.journal import Journal
from runtime.serving.limits import Limits
from runtime.serving.model import ServedModel, open_model
from runtime.serving.patience import Patient

_BACKLOG = 2048
_KEEP_ALIVE = 30
_FILES = 8192


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


class _Stopped(BaseException):
    """SIGTERM came."""


def serve(files: Mapping[str, Path], how: Serving) -> bool:
    """Serves the models in ``files``, by name, until the process is told to stop by SIGTERM or Ctrl-C: it then accepts
    nothing more and finishes what it has begun. Gives whether it could.

    Raises DiagnosticError: E0810 where a library is missing, E0930 for an address that can't be listened at, and what
    opening a file raises, all before anything is served; KeyboardInterrupt at the end where it was Ctrl-C.
    """
    with needs("uvicorn", "serve", "dlc serve"), needs("h11", "serve", "dlc serve"):
        import uvicorn  # noqa: F401 - before models are loaded, which may take long

    def stop(_signal: int, _frame: object) -> NoReturn:
        raise _Stopped

    _allow_files()
    # Also while models are loaded: the first process of a container has no other handler. While it serves, uvicorn
    # handles the signal, and raises it again at its end for this one.
    before = signal.signal(signal.SIGTERM, stop)
    journal: Journal | None = None
    try:
        models = [open_model(name, path, how.device, how.threads, how.limits.batch) for name, path in files.items()]
        journal = application(models, how.limits, how.write)
        with _listening(how.host, how.port) as listener:
            _announce(models, listener, how.tell)
            _server(journal, how.limits).run([listener])
    except _Stopped:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
    if journal is None or not journal.cut:
        return True
    count = f"{journal.cut} request{'s' * (journal.cut != 1)}"
    how.tell(f"stopped, and gave up {count} that took longer than {how.limits.grace:g} seconds to finish")
    return False


def _allow_files() -> None:
    """Has the system give this process as many open files as it may have, up to those of many connections: often it is
    a thousand, which one client can use up."""
    try:
        import resource
    except ImportError:  # on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _announce(models: Sequence[ServedModel], listener: socket.socket, tell: Callable[[str], None]) -> None:
    host, port = listener.getsockname()[:2]
    at = f"http://{f'[{host}]' if ':' in host else host}:{port}/v2"
    for model in models:
        batches = f"one request at a time: {model.alone}" if model.alone else f"batches of up to {model.most_rows}"
        tell(f"serving {model.name} at {at}/models/{quote(model.name)} ({batches})")


def _server(journal: Journal, limits: Limits) -> Any:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    protocol = type("Protocol", (Patient, H11Protocol), {"patience": limits.patience})
    config = uvicorn.Config(
        journal, http=protocol, ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
        backlog=_BACKLOG, timeout_keep_alive=_KEEP_ALIVE, timeout_graceful_shutdown=round(limits.grace),
    )  # fmt: skip
    return uvicorn.Server(config)


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
