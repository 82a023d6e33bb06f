"""Requests of the Open Inference Protocol against the application, in this process."""

from __future__ import annotations

import asyncio
import errno
import json
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.inference.session import InferenceSession
from runtime.programs.signature import Port
from runtime.serving.app import application
from runtime.serving.journal import Refusals
from runtime.serving.limits import Limits, RequestError
from runtime.serving.model import open_model
from runtime.serving.protocol import read_request

pytest.importorskip("prometheus_client")
testclient = pytest.importorskip("starlette.testclient")

LENGTH = "Inference-Header-Content-Length"
NET = "/v2/models/net/infer"
X = {"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6.5]}
K = {"name": "k", "datatype": "INT64", "shape": [2], "data": [0, 6]}


@pytest.fixture
def net(models: Path) -> InferenceSession:
    return InferenceSession(models / "net.onnx")


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def client(models: Path, lines: list[str]) -> Iterator[Any]:
    served = [open_model(path.stem, path, "cpu", 1, 8) for path in sorted(models.glob("*.onnx"))]
    with testclient.TestClient(application(served, Limits(body=5000), lines.append)) as found:
        yield found


def asked(*inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), **more}


def split(response: Any) -> tuple[dict[str, Any], bytes]:
    size = int(response.headers[LENGTH])
    return json.loads(response.content[:size]), response.content[size:]


def test_health_and_metadata(client: Any) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/net/ready", "/v2/models/net/versions/1/ready"):
        assert client.get(path).status_code == 200
    server = client.get("/v2").json()
    assert server["name"] == "dlc"
    assert server["extensions"] == ["binary_tensor_data", "classification"]
    assert client.get("/v2/models/net/versions/1").json() == {
        "name": "net",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "k", "datatype": "INT64", "shape": [-1]},
        ],
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [-1, 4]},
            {"name": "twice", "datatype": "FP32", "shape": [-1, 3]},
        ],
    }


def test_json(client: Any, net: InferenceSession) -> None:
    found = client.post(NET, json=asked(X, K, id="number 7")).json()
    expected = net.run({"x": np.array(X["data"], np.float32).reshape(2, 3), "k": np.array([0, 6])})
    assert (found["model_name"], found["model_version"], found["id"]) == ("net", "1", "number 7")
    for output in found["outputs"]:
        array = np.array(output["data"], np.float32).reshape(output["shape"])
        assert np.array_equal(array, expected[output["name"]])
    nested = client.post(NET, json=asked({**X, "data": [[1, 2, 3], [4, 5, 6.5]]}, K, outputs=[{"name": "twice"}]))
    assert [output["name"] for output in nested.json()["outputs"]] == ["twice"]
    assert nested.json()["outputs"][0]["data"] == [2, 4, 6, 8, 10, 13]


def test_binary_tensors(client: Any, net: InferenceSession) -> None:
    x, k = np.array(X["data"], "<f4").reshape(2, 3), np.array([0, 6], "<i8")
    described = [
        {"name": "k", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}},
        {"name": "x", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}},
    ]
    head = json.dumps(asked(*described, parameters={"binary_data_output": True})).encode()
    response = client.post(NET, content=head + k.tobytes() + x.tobytes(), headers={LENGTH: str(len(head))})
    document, data = split(response)
    assert [output["parameters"] for output in document["outputs"]] == [
        {"binary_data_size": 32},
        {"binary_data_size": 24},
    ]
    expected = net.run({"x": x, "k": k})
    assert data == expected["scores"].tobytes() + expected["twice"].tobytes()
    # An input in the JSON beside one that is binary, and outputs that differ.
    outputs = [{"name": "twice", "parameters": {"binary_data": True}}, {"name": "scores"}]
    head = json.dumps(asked(K, described[1], outputs=outputs)).encode()
    document, data = split(client.post(NET, content=head + x.tobytes(), headers={LENGTH: str(len(head))}))
    assert data == expected["twice"].tobytes()
    assert np.array_equal(np.float32(document["outputs"][1]["data"]), expected["scores"].ravel())


def test_numbers_that_json_does_not_have(client: Any) -> None:
    x = np.array([[np.nan, np.inf, -1]], "<f4")
    described = {"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}
    one = {"name": "k", "datatype": "INT64", "shape": [1], "data": [0]}
    head = json.dumps(asked(described, one, outputs=[{"name": "twice"}])).encode()
    response = client.post(NET, content=head + x.tobytes(), headers={LENGTH: str(len(head))})
    assert response.json()["outputs"][0]["data"] == [None, None, -2]


def test_classes(client: Any, models: Path) -> None:
    image = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    given = {"name": "image", "datatype": "UINT8", "shape": [2, 2, 2], "data": image.ravel().tolist()}
    outputs = [{"name": "output", "parameters": {"classification": 2}}]
    (found,) = client.post("/v2/models/images/infer", json=asked(given, outputs=outputs)).json()["outputs"]
    assert (found["datatype"], found["shape"]) == ("BYTES", [2, 2])
    scores = InferenceSession(models / "images.onnx").run({"image": image})["output"]
    names = ("cat", "dog", "größer")
    expected = [f"{row[i]!s}:{i}:{names[i]}" for row in scores for i in np.argsort(-row)[:2]]
    assert found["data"] == expected
    outputs[0]["parameters"]["binary_data"] = True  # type: ignore[index]
    _, data = split(client.post("/v2/models/images/infer", json=asked(given, outputs=outputs)))
    first = expected[0].encode()
    assert data.startswith(len(first).to_bytes(4, "little") + first)


def test_models_whose_rows_do_not_batch(client: Any) -> None:
    for name, shape in (("mixed", [1, 3]), ("one", [3])):
        given = {"name": "x", "datatype": "FP32", "shape": shape, "data": [1, 2, 3]}
        expected = [2, 4, 6] if name == "one" else [0, 0, 0]
        assert client.post(f"/v2/models/{name}/infer", json=asked(given)).json()["outputs"][0]["data"] == expected


BINARY = {"name": "x", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}
BAD = {
    "there is no model `nett` here; there is bare": (404, "/v2/models/nett/infer", asked(X, K)),
    "there is no version `2` of net; there is 1": (404, "/v2/models/net/versions/2/infer", asked(X, K)),
    "there is nothing at /v2/models: the protocol begins at /v2": (404, "/v2/models", {}),
    "/v2/models/net/infer does not take GET, but POST": (405, NET, None),
    "the request can't be read: it is no JSON: Expecting value at column": (400, NET, '{"inputs": [}'),
    "it is no JSON: Expecting value at column 1": (400, NET, ""),
    "the request can't be read: it is not UTF-8": (400, NET, b"\xff\xfe\xff"),
    "the request is no JSON object": (400, NET, [1]),
    "its lists are too deep": (400, NET, "[" * 4999),
    "NaN is no number in JSON": (400, NET, '{"inputs": [{"data": [NaN]}]}'),
    "a number in it has too many digits": (400, NET, '{"inputs": ' + "9" * 4900 + "}"),
    "`inputs` is no list of objects": (400, NET, {}),
    "one of `inputs` has no name": (400, NET, asked({})),
    "`x` is twice in `inputs`": (400, NET, asked(X, X)),
    "the `id` is no string": (400, NET, asked(X, K, id=7)),
    "the model has no input `y`; it takes x: f32[N, 3], k: i64[N]": (400, NET, asked({**X, "name": "y"}, K)),
    "input `k` is missing; it takes x: f32[N, 3], k: i64[N]": (400, NET, asked(X)),
    "input `x` is FP32 in this model, and 'FP64' in the request": (400, NET, asked({**X, "datatype": "FP64"}, K)),
    "the `shape` of input `x` is no list of sizes": (400, NET, asked({**X, "shape": [-1, 3]}, K)),
    "input `x` has the shape [3, 3], and a list of 6 as its data": (400, NET, asked({**X, "shape": [3, 3]}, K)),
    "input `x` is f32[N, 3]; the request holds f32[3, 2]: dimension 1 is 2, not 3": (
        400, NET, asked({**X, "shape": [3, 2]}, K),
    ),
    "input `x` is f32[N, 3]; the request holds f32[6]: it has 1 dimension, not 2": (
        400, NET, asked({**X, "shape": [6]}, K),
    ),
    "N is 2 in dimension 0 of `x`, but 1 in dimension 0 of `k`": (
        400, NET, asked(X, {**K, "shape": [1], "data": [0]}),
    ),
    "input `x` has lists of different lengths": (400, NET, asked({**X, "data": [[1, 2, 3], [4]]}, K)),
    "`k` takes whole numbers (i64)": (400, NET, asked(X, {**K, "data": [0, 1.5]})),
    "input `x` has a number that does not fit into f32": (400, NET, asked({**X, "data": [1, 2, 3, 4, 5, 1e39]}, K)),
    "input `k` takes 0 to 6, and the request holds 7": (400, NET, asked(X, {**K, "data": [0, 7]})),
    "ONNX Runtime stopped at": (400, "/v2/models/bare/infer", asked(X, {**K, "data": [0, 7]})),
    "the model has no output `score`: did you mean `scores`?": (400, NET, asked(X, K, outputs=[{"name": "score"}])),
    "`classification` of output `scores` is no whole number": (
        400, NET, asked(X, K, outputs=[{"name": "scores", "parameters": {"classification": "3"}}]),
    ),
    "`binary_data` of output `scores` is not true or false": (
        400, NET, asked(X, K, outputs=[{"name": "scores", "parameters": {"binary_data": 1}}]),
    ),
    "input `x` asks for shared memory": (400, NET, asked({**X, "parameters": {"shared_memory_region": "a"}}, K)),
    "input `x` has neither `data` nor a `binary_data_size`": (
        400, NET, asked({"name": "x", "datatype": "FP32", "shape": [2, 3]}, K),
    ),
    "input `x` has `data` and a `binary_data_size` too": (400, NET, asked({**X, **BINARY}, K)),
    "input `x` has 24 bytes by its `binary_data_size`, and the body ends after 0": (400, NET, asked(BINARY, K)),
    "input `x` has 0 bytes; FP32 [2, 3] are 24": (
        400, NET, asked({**BINARY, "parameters": {"binary_data_size": 0}}, K),
    ),
    "the body is larger than 5000 bytes": (413, NET, " " * 5001),
}  # fmt: skip


@pytest.mark.parametrize("sentence", BAD, ids=range(len(BAD)))
def test_bad_requests(client: Any, sentence: str) -> None:
    status, path, body = BAD[sentence]
    if body is None:
        response = client.get(path)
    else:
        response = client.post(path, content=body if isinstance(body, str | bytes) else json.dumps(body))
    assert sentence in response.json()["error"]
    assert response.status_code == status


@pytest.mark.parametrize(
    ("length", "tail", "sentence"),
    [
        ("9999", b"", "Inference-Header-Content-Length is '9999', and the body has"),
        ("-1", b"", "Inference-Header-Content-Length is '-1'"),
        ("²", b"", "Inference-Header-Content-Length is"),
        (None, b"\0" * 23, "is no JSON"),
        ("json", b"\0" * 23, "has 24 bytes by its `binary_data_size`, and the body ends after 23"),
        ("json", b"\0" * 25, "1 bytes follow the data of the inputs"),
    ],
)
def test_bad_binary_requests(client: Any, length: str | None, tail: bytes, sentence: str) -> None:
    head = json.dumps(asked(BINARY, K)).encode()
    told = {"json": str(len(head)), "²": "²".encode()}.get(length or "", length)
    response = client.post(NET, content=head + tail, headers=[] if told is None else [(LENGTH, told)])
    assert response.status_code == 400
    assert sentence in response.json()["error"]


@given(data=st.data())
@settings(max_examples=200)
def test_any_bytes_are_answered_or_refused_in_words(data: st.DataObject, parts: tuple[bytes, list[Port]]) -> None:
    """A request with bytes cut out, doubled and exchanged: it is read, or refused with a sentence."""
    body, ports = parts
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(changed)))
        stop = data.draw(st.integers(start, min(len(changed), start + 8)))
        token = st.sampled_from([b"", b"[", b"{", b'"', b"-1", b"1e99", b"null", b"true", b"\xff", b",", b"9" * 30])
        changed[start:stop] = data.draw(token)
    length = data.draw(st.sampled_from([None, str(len(body) - 24), "0", str(2**70)]))
    with suppress(RequestError):
        found = read_request(bytes(changed), length, ports, ports)
        assert {name: array.dtype for name, array in found.inputs.items()} == {"x": np.float32, "k": np.int64}


@pytest.fixture(scope="module")
def parts(models: Path) -> tuple[bytes, list[Port]]:
    head = json.dumps(asked(K, BINARY, id="a", outputs=[{"name": "k", "parameters": {"classification": 1}}])).encode()
    return head + bytes(24), list(InferenceSession(models / "net.onnx").inputs)


def test_half_a_character_comes_back_as_it_was_sent(client: Any, lines: list[str]) -> None:
    response = client.post(NET, content=json.dumps(asked(X, K, id="a\ud800")))
    assert (response.status_code, response.json()["id"]) == (200, "a\ud800")
    response = client.post(NET, content=json.dumps(asked(X, K, outputs=[{"name": "\udfff"}])))
    assert response.status_code == 400
    assert response.json()["error"].startswith("the model has no output `\udfff`")
    assert [json.loads(line)["status"] for line in lines[-2:]] == [200, 400]


def test_a_fault_of_the_server_is_told_in_json(models: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    served = [open_model("net", models / "net.onnx", "cpu", 1, 8)]
    monkeypatch.setattr(served[0], "check", lambda arrays: 1 / 0)
    with testclient.TestClient(application(served, Limits(), lines.append), raise_server_exceptions=False) as client:
        response = client.post(NET, json=asked(X, K))
        assert (response.status_code, response.json()["error"]) == (
            500, "the server failed at this request; its log has more"
        )  # fmt: skip
        assert client.get("/v2/health/live").status_code == 200
    assert json.loads(lines[-2])["error"] == "ZeroDivisionError: division by zero"


def test_no_rows(client: Any) -> None:
    none = client.post(NET, json=asked({**X, "shape": [0, 3], "data": []}, {**K, "shape": [0], "data": []}))
    assert [output["shape"] for output in none.json()["outputs"]] == [[0, 4], [0, 3]]


def test_encoded_bodies_are_refused(client: Any) -> None:
    response = client.post(NET, content=b"x", headers={"Content-Encoding": "gzip"})
    assert (response.status_code, response.json()["error"]) == (415, "the body is encoded as gzip: send it as it is")


def test_figures_and_lines(client: Any, lines: list[str]) -> None:
    client.post(NET, json=asked(X, K, id="a"))
    client.post(NET, json=asked(X))
    text = client.get("/metrics").text
    assert 'dlc_requests_total{model="net",status="200"}' in text
    assert 'dlc_queue_depth{model="net"} 0.0' in text
    for name in ("dlc_request_seconds", "dlc_batch_rows", "dlc_queue_seconds", "dlc_run_seconds"):
        assert f'{name}_bucket{{le="+Inf",model="net"}}' in text
    good, bad = map(json.loads, lines[-3:-1])
    assert (good["model"], good["status"], good["id"], good["batch"]) == ("net", 200, "a", 2)
    assert set(good) >= {"time", "client", "method", "path", "seconds", "bytes_in", "bytes_out", "waited", "ran"}
    assert (bad["status"], bad["error"].partition(";")[0]) == (400, "input `k` is missing")


def test_what_is_refused_is_not_kept(net: InferenceSession) -> None:
    text = json.dumps(asked({**X, "data": [[1, 2, 3]] * 9}, K)).encode()
    with pytest.raises(RequestError, match="data of the shape") as refused:
        read_request(text, None, net.inputs, net.outputs)
    frames = [frame.name for frame in traceback.extract_tb(refused.value.__traceback__)]
    assert frames[1:] == ["read_request"]
    assert refused.value.__context__ is None


def test_a_request_of_lists_alone_is_not_read(net: InferenceSession) -> None:
    with pytest.raises(RequestError, match="more than 2,097,152 lists: send the data in one, or as binary data"):
        read_request(b"[]," * 2**21 + b"[]", None, net.inputs, net.outputs)


def test_connections_that_can_not_be_taken_are_a_line_a_second() -> None:
    told: list[str] = []
    times = iter([5.0, 5.1, 5.9, 6.1])
    handler = Refusals(told.append, lambda: next(times))
    loop = asyncio.new_event_loop()
    try:
        for _ in range(4):
            handler(loop, {"message": "socket.accept()", "exception": OSError(errno.EMFILE, "Too many open files")})
    finally:
        loop.close()
    assert [json.loads(line)["error"] for line in told] == ["connections have to wait: Too many open files"] * 2
