"""``dlc serve`` as a process of its own: sockets, slow clients, signals, and a public client of the protocol."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.inference.session import InferenceSession
from runtime.serving import process
from runtime.serving.limits import Limits
from runtime.serving.model import ServedModel

pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("starlette")

ROOT = Path(__file__).parents[3]
_SECONDS = 60


class Server:
    """A process that serves; ``port`` is where."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        command = [sys.executable, "-m", "dlc", "serve", *map(str, arguments), "--threads", "1"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.log = open(folder / "log", "ab")  # noqa: SIM115 - closed when the process ends
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=self.log, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.told = self.process.stderr.readline()
        assert "http://" in self.told, self.told + self.process.stderr.read()
        self.port = int(self.told.split("http://127.0.0.1:")[1].split("/")[0])

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """The exit status after the signal, and what else the process said."""
        self.process.send_signal(how)
        _, said = self.process.communicate(timeout=_SECONDS)
        self.log.close()
        return self.process.returncode, said

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)

    def sockets(self) -> int:
        """How many of them the process has open."""
        files = Path(f"/proc/{self.process.pid}/fd")
        # What is closed in between is no file any more, and stays as it is.
        return sum(os.path.realpath(file).rpartition("/")[2].startswith("socket:") for file in files.iterdir())


@pytest.fixture
def start(models: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts ``dlc serve`` with these options on some of the models, and ends it after the test."""
    servers: list[Server] = []

    def begin(*options: object, names: tuple[str, ...] = ("net",), port: int = 0) -> Server:
        files = [models / f"{name}.onnx" for name in names]
        servers.append(Server(tmp_path, *files, "--port", port, *options))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


def body_of(x: float) -> bytes:
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [x, 2 * x, 3 * x]},
        {"name": "k", "datatype": "INT64", "shape": [1], "data": [int(x) % 7]},
    ]
    return json.dumps({"inputs": inputs, "outputs": [{"name": "twice"}]}).encode()


class TooLate(Exception):
    """The request was not there whole in time."""


def ask(connection: HTTPConnection, x: float) -> Any:
    connection.request("POST", "/v2/models/net/infer", body_of(x))
    response = connection.getresponse()
    content = json.loads(response.read())
    if response.status == 408:
        raise TooLate
    assert response.status == 200, content
    return content["outputs"][0]["data"]


def wait_until(holds: Callable[[], bool]) -> None:
    """Back when it holds, however slow the machine is; where it never does, the test fails."""
    deadline = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def goes_on(server: Server) -> bool:
    """Whether the server answers. Where one has to be quick, a client on a busy machine may be late for once."""
    with suppress(OSError, HTTPException, TooLate), closing(server.connect()) as connection:
        return bool(ask(connection, 3.0) == [6, 12, 18])
    return False


def test_the_public_client(start: Callable[..., Server], models: Path) -> None:
    client_module = pytest.importorskip("tritonclient.http")
    server = start(names=("images", "net"))
    image = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    expected = InferenceSession(models / "images.onnx").run({"image": image})["output"]
    with closing(client_module.InferenceServerClient(f"127.0.0.1:{server.port}")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("images", "1")
        assert not client.is_model_ready("nothing")
        assert client.get_server_metadata()["name"] == "dlc"
        assert client.get_model_metadata("images")["inputs"][0]["shape"] == [-1, 2, 2]
        for binary in (True, False):
            given = client_module.InferInput("image", [3, 2, 2], "UINT8")
            given.set_data_from_numpy(image, binary_data=binary)
            asked = [
                client_module.InferRequestedOutput("output", binary_data=binary),
            ]
            result = client.infer("images", [given], outputs=asked, request_id="5")
            assert np.array_equal(result.as_numpy("output"), expected)
            assert result.get_response()["id"] == "5"
        best = client_module.InferRequestedOutput("output", class_count=1)
        texts = client.infer("images", [given], outputs=[best]).as_numpy("output")
        assert [text.decode().split(":")[1] for text in texts[:, 0]] == [str(i) for i in expected.argmax(axis=1)]
        with pytest.raises(client_module.InferenceServerException, match=r"\[400\] input `k` is missing"):
            client.infer(
                "net", [client_module.InferInput("x", [0, 3], "FP32").set_data_from_numpy(np.zeros((0, 3), np.float32))]
            )


def test_many_connections(start: Callable[..., Server]) -> None:
    server = start("--no-log")

    def work(number: int) -> int:
        with closing(server.connect()) as connection:
            for step in range(1000 // 32 + 1):
                x = float(number + step)
                assert ask(connection, x) == [2 * x, 4 * x, 6 * x]
        return step + 1

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(work, range(32))) >= 1000
    with closing(server.connect()) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    assert 'dlc_requests_total{model="net",status="200"} 1024.0' in text
    assert server.end() == (0, "")


def test_what_was_begun_is_finished_after_sigterm(start: Callable[..., Server]) -> None:
    """Each request is either answered, rightly, or its connection was closed before it was taken."""
    server = start()
    stop, answered, lost = threading.Event(), [], []

    def work(number: int) -> None:
        with closing(server.connect()) as connection:
            for step in range(100_000):
                if stop.is_set():
                    return
                x = float(number + step)
                try:
                    found = ask(connection, x)
                except OSError as failure:
                    lost.append(failure)
                    return
                except Exception as failure:  # a half answer, such as IncompleteRead, would be one too many
                    lost.append(failure)
                    return
                assert found == [2 * x, 4 * x, 6 * x]
                answered.append(x)

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(work, number) for number in range(16)]
        wait_until(lambda: len(answered) >= 200 or bool(lost))
        code, said = server.end()
        stop.set()
        for future in futures:
            future.result()
    assert (code, said) == (0, "")
    assert all(isinstance(failure, ConnectionError) for failure in lost), lost
    lines = [json.loads(line) for line in (Path(server.log.name)).read_text().splitlines()]
    assert [line["status"] for line in lines] == [200] * len(answered)


def test_nothing_that_was_answered_is_lost_when_it_is_killed(start: Callable[..., Server]) -> None:
    """Clients that try again get every answer, from the old process or from the one in its place."""
    servers = [start("--no-log")]
    port = servers[0].port
    found: dict[float, Any] = {}
    deadline = time.monotonic() + 5 * _SECONDS

    def work(number: int) -> None:
        for step in range(60):
            x = float(1000 * number + step)
            while time.monotonic() < deadline:
                # An answer that was cut off, here between its head and its body, is none: it is asked for again.
                with (
                    suppress(OSError, HTTPException),
                    closing(HTTPConnection("127.0.0.1", port, timeout=_SECONDS)) as connection,
                ):
                    found[x] = ask(connection, x)
                    break
                time.sleep(0.05)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(work, number) for number in range(8)]
        wait_until(lambda: len(found) >= 100)
        servers[0].end(signal.SIGKILL)
        servers.append(start("--no-log", port=port))
        for future in futures:
            future.result()
    assert found == {
        x: [2 * x, 4 * x, 6 * x] for number in range(8) for x in (float(1000 * number + s) for s in range(60))
    }


def test_bodies_beyond_the_bound(start: Callable[..., Server]) -> None:
    """64 times as much as it may be, told before or not: the answer is there, the process has not grown by it, and
    goes on."""
    server = start("--max-body", "1")

    def parts() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 2**20

    before = _peak(server)
    for length in ({"Content-Length": str(64 * 2**20)}, {}):
        with closing(server.connect()) as connection:
            connection.request("POST", "/v2/models/net/infer", parts(), length, encode_chunked=not length)
            response = connection.getresponse()
            assert response.status == 413
            assert json.loads(response.read())["error"].startswith("the body is larger than 1048576 bytes")
            # What was left of the body is gone, so the connection goes on.
            assert ask(connection, 2.0) == [4, 8, 12]
    grown = _peak(server)
    assert before is None or grown is None or grown - before < 24 * 2**20


def _peak(server: Server) -> int | None:
    try:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
    except OSError:
        return None
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def test_others_do_not_wait_for_a_slow_client(start: Callable[..., Server]) -> None:
    server = start()
    body = body_of(5.0)
    head = f"POST /v2/models/net/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), _SECONDS) as slow:
        slow.sendall(head.encode() + body[:1])
        with closing(server.connect()) as connection:
            assert ask(connection, 3.0) == [6, 12, 18]
        slow.sendall(body[1:])
        answer = b"".join(iter(lambda: slow.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["outputs"][0]["data"] == [10, 20, 30]


def test_a_client_that_is_too_slow_is_told(start: Callable[..., Server]) -> None:
    server = start("--timeout", "0.5")

    def answer() -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), _SECONDS) as slow:
            slow.sendall(b"POST /v2/models/net/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            return b"".join(iter(lambda: slow.recv(4096), b""))

    def is_told() -> bool:
        # Where both were kept from running for longer than the grace, the connection only ends.
        with suppress(ConnectionError):
            if found := answer():
                assert found.startswith(b"HTTP/1.1 408 ")
                assert b"the request was not there whole after 0.5 seconds" in found
                return True
        return False

    wait_until(is_told)
    wait_until(lambda: goes_on(server))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not show a process's files")
def test_an_answer_that_nobody_takes(start: Callable[..., Server]) -> None:
    """The answer is larger than what the system keeps for a socket: the connection ends, and its memory is free."""
    server = start("--timeout", "2", names=("steps",))
    data = np.zeros((1, 2**20, 2), np.float32).tobytes()
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2**20, 2], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    lengths = f"Content-Length: {len(head) + len(data)}\r\nInference-Header-Content-Length: {len(head)}\r\n\r\n"
    request = f"POST /v2/models/steps/infer HTTP/1.1\r\nHost: x\r\n{lengths}".encode() + head + data
    log = Path(server.log.name)
    with closing(server.connect()) as connection:
        connection.request("GET", "/v2")
        assert connection.getresponse().read()
        before = server.sockets() - 1

    def given_up() -> bool:
        """Whether there was an answer, which was not taken. There is none where the request was too slow itself."""
        with socket.create_connection(("127.0.0.1", server.port), _SECONDS) as deaf:
            with suppress(ConnectionError):
                deaf.sendall(request)
                deaf.recv(1, socket.MSG_PEEK)
            wait_until(lambda: server.sockets() == before)
            size = 0
            with suppress(ConnectionResetError):
                while part := deaf.recv(2**20):
                    size += len(part)
        assert size < 3 * 2**22
        return any(json.loads(line)["status"] == 200 for line in log.read_text().splitlines())

    wait_until(given_up)
    assert server.end() == (0, "")


def test_a_header_that_never_ends(start: Callable[..., Server]) -> None:
    server = start("--timeout", "0.1")
    with socket.create_connection(("127.0.0.1", server.port), _SECONDS) as slow, suppress(ConnectionError):
        slow.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n")
        assert slow.recv(4096) == b""  # closed, after the grace for an answer
    wait_until(lambda: goes_on(server))


def test_what_is_no_http(start: Callable[..., Server]) -> None:
    server = start()
    for text in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), _SECONDS) as other, suppress(ConnectionError):
            other.sendall(text + b"\r\n\r\n")
            assert other.recv(4096)[9:12] in (b"400", b"431")
    with closing(server.connect()) as connection:
        assert ask(connection, 3.0) == [6, 12, 18]


def test_it_can_be_stopped_while_models_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container it is the first process, for which a signal without a handler does nothing."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(process, "open_model", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert process.serve({"net": Path("net.onnx")}, process.Serving())
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_takes_longer_than_the_grace_is_cut(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that does not end: the server says how many requests it gave up, and that it could not finish."""
    told: list[str] = []
    begun, cut = threading.Event(), threading.Event()

    def run(self: ServedModel, arrays: Any) -> Any:
        begun.set()
        cut.wait(2 * _SECONDS)
        return self.session.run(arrays)

    monkeypatch.setattr(ServedModel, "run", run)

    def client() -> None:
        wait_until(lambda: bool(told))
        port = int(told[0].split("127.0.0.1:")[1].split("/")[0])
        with (
            suppress(OSError, HTTPException),
            closing(HTTPConnection("127.0.0.1", port, timeout=_SECONDS)) as connection,
        ):
            connection.request("POST", "/v2/models/net/infer", body_of(1.0))
            assert begun.wait(_SECONDS)
            os.kill(os.getpid(), signal.SIGTERM)
            connection.getresponse()
        cut.set()

    thread = threading.Thread(target=client)
    thread.start()
    how = process.Serving(port=0, limits=Limits(grace=1), tell=told.append)
    assert not process.serve({"net": models / "net.onnx"}, how)
    thread.join()
    assert told[1] == "stopped, and gave up 1 request that took longer than 1 seconds to finish"


def test_an_address_that_is_taken(start: Callable[..., Server], models: Path) -> None:
    server = start()
    command = [sys.executable, "-m", "dlc", "serve", str(models / "net.onnx"), "--port", str(server.port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error[E0930]: cannot listen at 127.0.0.1, port {server.port}: address already in use"
    )
