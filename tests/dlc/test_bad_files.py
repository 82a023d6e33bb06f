"""Files that no one should open: every command says why not, in a sentence, and lives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

COMMANDS = {
    "show": ["show", "bad.onnx"],
    "run": ["run", "bad.onnx", "--input", "x=x.npy"],
    "bench": ["bench", "bad.onnx", "--runs", 1, "--batch", 1],
    "profile": ["bench", "bad.onnx", "--runs", 1, "--batch", 1, "--profile"],
    "compile": ["compile", "bad.onnx", "-o", "out.onnx"],
    "import": ["import", "bad.onnx", "-o", "out.dl"],
}
RUNNING = {"run", "bench", "profile"}


def model(
    nodes: Iterable[onnx.NodeProto], weights: Iterable[onnx.TensorProto] = (), opset: int = 21, ir: int = 10,
    domains: Iterable[str] = (), functions: Iterable[onnx.FunctionProto] = (),
) -> bytes:  # fmt: skip
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    graph = helper.make_graph(list(nodes), "g", [x], [y], list(weights))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=ir, functions=list(functions))
    return bytes(made.SerializeToString())


def node(kind: str, *inputs: str, to: str = "y", **more: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [to], **{name.rstrip("_"): value for name, value in more.items()})


PRODUCT = node("MatMul", "x", "w")
GOOD = model([PRODUCT], [numpy_helper.from_array(np.ones((4, 4), np.float32), "w")])


def weight(*dims: int, data: bytes = b"") -> bytes:
    return model([PRODUCT], [onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=data)])


def outside(location: str, *dims: int, **more: object) -> bytes:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims or (4, 4))
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return model([PRODUCT], [tensor])


def function(name: str, *called: str) -> onnx.FunctionProto:
    """A function that gives its operand to others, one after another."""
    steps = called or ("Relu",)
    names = ["a", *(f"t{i}" for i in range(len(steps) - 1)), "b"]
    body = [
        helper.make_node(step, [names[i]], [names[i + 1]], domain="f" if called else "") for i, step in enumerate(steps)
    ]
    return helper.make_function(
        "f", name, ["a"], ["b"], body, [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]
    )


def calling(*functions: onnx.FunctionProto) -> bytes:
    return model([node("F0", "x", domain="f")], domains=["f"], functions=functions)


def nested(levels: int) -> bytes:
    """Graphs inside each other."""
    open_type = [helper.make_empty_tensor_value_info("o")]
    other = helper.make_graph([node("Relu", "x", to="o")], "g", [], open_type)
    inner = node("Relu", "x", to="o")
    for _ in range(levels):
        inner = node("If", "c", to="o", then_branch=helper.make_graph([inner], "g", [], open_type), else_branch=other)
    inner.output[0] = "y"
    yes = node("Constant", to="c", value=numpy_helper.from_array(np.array(True)))
    return model([yes, inner])


def petabyte() -> bytes:
    """The sum of 2 ** 48 zeros."""
    shape = numpy_helper.from_array(np.array([2**24, 2**24]), "s")
    nodes = [node("ConstantOfShape", "s", to="c"), node("ReduceSum", "c", to="r", keepdims=0), node("Add", "x", "r")]
    return model(nodes, [shape])


def ranged() -> bytes:
    """The sum of 2 ** 40 numbers, which are the elements of a vector."""
    limits = [numpy_helper.from_array(np.array(number), name) for name, number in (("a", 0), ("b", 2**40), ("c", 1))]
    steps = [node("Range", "a", "b", "c", to="r"), node("Cast", "r", to="f", to_=TensorProto.FLOAT)]
    return model([*steps, node("ReduceSum", "f", to="s", keepdims=0), node("Add", "x", "s")], limits)


def doubled(times: int) -> bytes:
    """The sum of a vector that is joined with itself again and again."""
    steps = [node("Concat", f"a{i}", f"a{i}", to=f"a{i + 1}", axis=0) for i in range(times)]
    total = node("ReduceSum", f"a{times}", to="s", keepdims=0)
    return model([*steps, total, node("Add", "x", "s")], [numpy_helper.from_array(np.ones(4, np.float32), "a0")])


def changed(change: Callable[[onnx.ModelProto], object]) -> bytes:
    found = onnx.load_from_string(GOOD)
    change(found)
    return bytes(found.SerializeToString())


ODD_INPUT = changed(lambda found: found.graph.input.add(name="texttext")).replace(b"texttext", b"text\xffext")


def referring(found: onnx.ModelProto) -> None:
    found.graph.node[0].attribute.add(name="alpha", ref_attr_name="beta", type=onnx.AttributeProto.FLOAT)


def wide(found: onnx.ModelProto) -> None:
    for item in (*found.graph.input, *found.graph.output):
        for _ in range(70):
            item.type.tensor_type.shape.dim.add(dim_value=1)


# For each file what the commands say, where they do not all say the same; "" is no error.
EVERY = ("show", "run", "bench", "profile", "compile")
FILES: dict[str, tuple[bytes, dict[str, str]]] = {
    **{f"cut at {end}": (GOOD[:end], dict.fromkeys(EVERY, "E0906")) for end in (0, 1, 2, 9, 30, len(GOOD) // 2)},
    "cut in the last field": (GOOD[:-1], dict.fromkeys(EVERY, "E0906")),
    "a zip file": (b"PK\x03\x04" + GOOD, dict.fromkeys(EVERY, "E0906")),
    "a pickle": (b"\x80\x04" + GOOD, dict.fromkeys(EVERY, "E0906")),
    "text": (b"model Net(x: f32[N]) {}", dict.fromkeys(EVERY, "E0906")),
    "zeros": (bytes(1000), dict.fromkeys(EVERY, "E0906")),
    "ones": (b"\xff" * 1000, dict.fromkeys(EVERY, "E0906")),
    "an unknown domain": (
        model([node("Swirl", "x", domain="org.example")], domains=["org.example"]),
        {"show": "", "compile": "E0922", **dict.fromkeys(RUNNING, "E0908")},
    ),
    "an unknown operation": (
        model([node("Swirl", "x")]), {"show": "", "compile": "E0920", **dict.fromkeys(RUNNING, "E0908")}
    ),
    "a newer opset": (
        model([node("Relu", "x")], opset=99), {"show": "", "compile": "E0920", **dict.fromkeys(RUNNING, "E0908")}
    ),
    "a newer format": (
        model([node("Relu", "x")], ir=99), {"show": "", "compile": "E0920", **dict.fromkeys(RUNNING, "E0908")}
    ),
    **{
        f"data in {name}": (content, {"show": "", **dict.fromkeys(("compile", *RUNNING), "E0921")})
        for name, content in {
            "the folder above": outside("../secret.bin"),
            "a folder of the system": outside("/etc/passwd"),
            "a hard link": outside("hard.bin"),
            "a link that leads out": outside("link.bin"),
            "a file that is not there": outside("none.bin"),
            "a device": outside("/dev/zero"),
            "a folder": outside("folder"),
            "no file at all": outside(""),
            "a file that is too short": outside("data.bin", 4, 5),
            "a file, but behind its end": outside("data.bin", offset=2**62),
            "a file, but before its beginning": outside("data.bin", offset=-8),
            "a file, at a place that is no number": outside("data.bin", offset="x"),
            "a file, with another length": outside("data.bin", length=8),
        }.items()
    },
    "sizes that overflow": (weight(2**62, 4), dict.fromkeys(EVERY, "E0920")),
    "sizes below zero": (weight(-4, 4), dict.fromkeys(EVERY, "E0920")),
    "data of another size": (weight(4, 4, data=bytes(12)), dict.fromkeys(EVERY, "E0920")),
    "data elsewhere whose sizes overflow": (
        outside("data.bin", 2**40, 2**40), {"compile": "E0921", **dict.fromkeys(("show", *RUNNING), "E0920")}
    ),
    "3,000 nested functions": (
        calling(*(function(f"F{i}", f"F{i + 1}") for i in range(2999)), function("F2999")),
        {"show": "", **dict.fromkeys(("compile", *RUNNING), "E0920")},
    ),
    "functions that double 40 times": (
        calling(*(function(f"F{i}", f"F{i + 1}", f"F{i + 1}") for i in range(40)), function("F40")),
        {"show": "", **dict.fromkeys(("compile", *RUNNING), "E0920")},
    ),
    "functions in a circle": (
        calling(function("F0", "F1"), function("F1", "F0")),
        {"show": "", **dict.fromkeys(("compile", *RUNNING), "E0920")},
    ),
    "graphs in graphs": (nested(24), dict.fromkeys(EVERY, "E0920")),
    "nodes in a circle": (
        model([node("Relu", "b", to="a"), node("Relu", "a", to="b"), node("Add", "a", "x")]),
        {"show": "E0920", "compile": "E0920", **dict.fromkeys(RUNNING, "E0908")},
    ),
    "a petabyte of zeros": (
        petabyte(), {"show": "", "import": "E0924", **dict.fromkeys(("compile", *RUNNING), "E0913")}
    ),
    "a range of 2 ** 40": (ranged(), {"show": "", "compile": "E0922", **dict.fromkeys(RUNNING, "E0913")}),
    "71 dimensions": (changed(wide), {"show": "", **dict.fromkeys(("compile", *RUNNING), "E0920")}),
    "a name that is no text": (GOOD.replace(b"MatMul", b"Mat\xfful"), dict.fromkeys(EVERY, "E0906")),
    "an input that is no text": (ODD_INPUT, dict.fromkeys(EVERY, "E0906")),
    "an attribute of no function": (changed(referring), dict.fromkeys(EVERY, "E0920")),
    "a type that ONNX does not have": (
        changed(lambda found: setattr(found.graph.initializer[0], "data_type", 127)),
        {"show": "", "compile": "E0922", **dict.fromkeys(RUNNING, "E0908")},
    ),
    "no outputs": (
        changed(lambda found: found.graph.ClearField("output")),
        {"show": "", **dict.fromkeys(("compile", *RUNNING), "E0920")},
    ),
    "an input that is the output": (
        changed(lambda found: found.graph.output[0].CopyFrom(found.graph.input[0])),
        {"compile": "E0922", **dict.fromkeys(("show", *RUNNING), "")},
    ),
    "an output that is there twice": (
        changed(lambda found: found.graph.output.append(found.graph.output[0])),
        {"compile": "E0922", **dict.fromkeys(("show", *RUNNING), "")},
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inner = tmp_path / "models"
    inner.mkdir()
    monkeypatch.chdir(inner)
    np.save("x.npy", np.ones((2, 4), np.float32))
    for path in ("../secret.bin", "data.bin"):
        Path(path).write_bytes(bytes(64))
    Path("folder").mkdir()
    os.link("../secret.bin", "hard.bin")
    os.symlink("../secret.bin", "link.bin")
    return inner


@pytest.mark.parametrize("name", FILES)
def test_every_command_refuses_it_in_a_sentence(dlc: Callable[..., Any], folder: Path, name: str) -> None:
    content, expected = FILES[name]
    Path("bad.onnx").write_bytes(content)
    for command, arguments in COMMANDS.items():
        outcome = dlc(*arguments)
        code = expected["compile"] if command not in expected else expected[command]
        assert outcome.err.startswith(f"error[{code}]: ") if code else not outcome.err, command
        assert outcome.code == (1 if code else 0), command
        assert ("= help: " in outcome.err) == bool(code), command
    assert not Path("out.onnx").exists()
    assert not Path("out.dl").exists()


def test_the_sound_file_is_taken(dlc: Callable[..., Any], folder: Path) -> None:
    Path("bad.onnx").write_bytes(GOOD)
    assert [dlc(*arguments).code for arguments in COMMANDS.values()] == [0] * len(COMMANDS)


ODD = "\x1b[2J\x9b31m\u202e\r"
DEEP = "[" * 100_000


def odd(found: onnx.ModelProto) -> None:
    """Gives everything in a file a name that a terminal would obey, and much text that is no JSON."""
    found.graph.node[0].name = found.graph.node[0].output[0] = found.graph.output[0].name = ODD
    found.graph.name = found.producer_name = found.doc_string = ODD
    told = {"model_author": ODD, ODD: ODD, "dlc.labels": f'["{ODD}", "b"]', "dlc.names": DEEP, "dlc.ranges": DEEP}
    for key, text in told.items():
        found.metadata_props.add(key=key, value=text)


def test_a_vector_that_doubles_45_times_is_shown(dlc: Callable[..., Any], folder: Path) -> None:
    Path("bad.onnx").write_bytes(doubled(45))
    outcome = dlc(*COMMANDS["show"])
    assert outcome.code == 0
    assert "46 of them work on constants alone" in outcome.out


@pytest.mark.parametrize("command", [*COMMANDS, "json", "lines", "diff", "lost"])
def test_no_name_steers_the_terminal(dlc: Callable[..., Any], folder: Path, command: str) -> None:
    more = {
        "json": ["show", "bad.onnx", "--json"],
        "lines": ["run", "bad.onnx", "--input", "x=x.npy", "-o", "-"],
        "diff": ["diff", "bad.onnx", "good.onnx"],
        "lost": ["compile", "bad.onnx", "-o", "out.onnx"],
    }
    Path("good.onnx").write_bytes(GOOD)
    Path("bad.onnx").write_bytes(changed(odd))
    if command == "lost":
        Path("bad.onnx").write_bytes(changed(lambda found: found.graph.node[0].input.append(ODD)))
    outcome = dlc(*{**COMMANDS, **more}[command])
    assert outcome.code == (1 if command in ("diff", "lost") else 0), outcome.err
    assert not {*outcome.out, *outcome.err} & {*ODD.replace("[2J", "").replace("31m", "")}
    if command == "json":
        assert json.loads(outcome.out)["nodes"][0]["name"] == ODD


def test_a_name_of_five_million_letters_does_not_fill_the_screen(dlc: Callable[..., Any], folder: Path) -> None:
    Path("bad.onnx").write_bytes(model([node("Relu", "a" * 5_000_000)]))
    for arguments in COMMANDS.values():
        outcome = dlc(*arguments)
        assert outcome.code == 1, arguments
        assert len(outcome.out + outcome.err) < 10_000, arguments


def test_functions_within_the_limits_run(dlc: Callable[..., Any], folder: Path) -> None:
    deep = calling(*(function(f"F{i}", f"F{i + 1}", f"F{i + 1}") for i in range(5)), function("F5"))
    Path("bad.onnx").write_bytes(deep)
    assert dlc(*COMMANDS["run"]).code == 0
