"""Weights from files: which tensors go to which weights, and what is said where they do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from runtime.programs.project import open_project
from runtime.training.job import Changes, make_job
from runtime.training.loop import initial_state

Load: TypeAlias = Callable[..., Any]
NET = "model Net(x: f32[N, 3]) -> f32[N, 2] { body: dense(4) -> relu; head: dense(2) }"
ARRAYS: dict[str, Any] = {
    "body.dense.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "body.dense.bias": np.arange(4, dtype=np.float32),
    "head.dense.weight": np.ones((4, 2), np.float32),
    "head.dense.bias": np.zeros(2, np.float32),
}


def renamed(**changes: str | None) -> dict[str, Any]:
    """ARRAYS with the beginnings of names changed, and those that go left out."""
    made = {}
    for name, array in ARRAYS.items():
        stem, _, rest = name.partition(".")
        if changes.get(stem, stem) is not None:
            made[f"{changes.get(stem, stem)}.{rest}"] = array
    return made


def refused(load: Load, *arguments: Any) -> str:
    with pytest.raises(DiagnosticError) as caught:
        load(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("source", ['"net.safetensors"', '"net.npz"'])
@pytest.mark.parametrize("prefix", ["", "Net."])
def test_equal_names_correspond(load: Load, source: str, prefix: str) -> None:
    net = load(NET, {f"{prefix}{name}": array for name, array in ARRAYS.items()}, source)
    for name, array in ARRAYS.items():
        assert np.array_equal(net.weights[f"Net.{name}"], array)


def test_the_kind_of_a_layer_may_be_left_out(load: Load) -> None:
    net = load(NET, {name.replace(".dense", ""): array for name, array in ARRAYS.items()})
    assert np.array_equal(net.weights["Net.body.dense.weight"], ARRAYS["body.dense.weight"])


def test_rules(load: Load) -> None:
    net = load(NET, renamed(body="encoder.0"), '"net.safetensors"', '"encoder.{i}" -> "body"; "head" -> "head"')
    assert np.array_equal(net.weights["Net.body.dense.weight"], ARRAYS["body.dense.weight"])
    repeated = "model Net(x: f32[N, 4]) -> f32[N, 4] { body: repeat 2 { dense(4, bias=false) } }"
    arrays = {f"layers.{i}.fc.weight": np.full((4, 4), i, np.float32) for i in range(2)}
    net = load(repeated, arrays, '"net.safetensors"', '"layers.{i}.fc" -> "body.{i}"')
    assert [net.weights[f"Net.body.{i}.dense.weight"][0, 0] for i in range(2)] == [0, 1]
    everywhere = {f"model.{name}": array for name, array in ARRAYS.items()}
    assert load(NET, everywhere, '"net.safetensors"', '"model" -> ""').weights.keys() == {f"Net.{n}" for n in ARRAYS}


def test_what_is_left_out_and_what_begins_fresh(load: Load) -> None:
    arrays = renamed(head=None) | {"pooler.weight": np.ones(3, np.float32)}
    net = load(NET, arrays, '"net.safetensors"', '"pooler" -> none; none -> "head"')
    (stored,) = net.project.checked.elaborated.stored
    assert stored.left_out == ("pooler.weight",)
    assert stored.fresh == ("Net.head.dense.weight", "Net.head.dense.bias")
    assert net.weights["Net.head.dense.weight"].any()


def test_training_begins_with_them(load: Load, tmp_path: Path) -> None:
    train = "train net(x: f32[N, 3], y: f32[N, 2]) { minimize mse(Net(x), y) with sgd(0.1); epochs 1; data none }"
    load(f"{NET}\n\n{train.replace('; data none', '')}", ARRAYS)
    data = {"x": np.ones((4, 3), np.float32), "y": np.ones((4, 2), np.float32)}
    job = make_job(open_project(tmp_path / "net.dl"), changes=Changes(data))
    state = initial_state(job.program, job.make_engine)
    assert np.array_equal(state["Net.body.dense.weight"], ARRAYS["body.dense.weight"])


@pytest.mark.parametrize("stored", ["float16", "float64"])
def test_other_floats_are_converted_and_that_is_said(load: Load, stored: str) -> None:
    net = load(NET, {name: array.astype(stored) for name, array in ARRAYS.items()})
    assert net.weights["Net.body.dense.weight"].dtype == np.float32
    (item,) = net.project.checked.elaborated.stored
    assert {how for _, _, how in item.names} == {f"f{stored[5:]} to f32"}


def test_missing_and_unused(load: Load) -> None:
    text = refused(load, NET, renamed(head="classifier"))
    assert "error[E0214]: net.safetensors does not have all weights of Net" in text
    assert "it has nothing for Net.head.dense.weight: f32[4, 2], Net.head.dense.bias: f32[2]" in text
    assert "it also has classifier.dense.bias: f32[2], classifier.dense.weight: f32[4, 2]" in text
    assert '"classifier.dense" -> "head.dense"' in text
    text = refused(load, NET, ARRAYS | {"pooler.weight": np.ones(5, np.float32)})
    assert "net.safetensors has what Net has no place for" in text
    assert '"pooler" -> none' in text


def test_shapes_and_kinds_of_elements(load: Load) -> None:
    turned = ARRAYS | {"body.dense.weight": ARRAYS["body.dense.weight"].T}
    text = refused(load, NET, turned)
    assert "error[E0213]: Net.body.dense.weight: f32[3, 4] does not fit" in text
    assert "body.dense.weight is f32[4, 3], and [3, 4] of floating-point numbers is needed" in text
    assert 'from torch("net.safetensors")' in text
    whole = ARRAYS | {"head.dense.bias": np.zeros(2, np.int32)}
    assert "head.dense.bias is i32[2]" in refused(load, NET, whole)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ('"encoder" -> "body"', "nothing in net.safetensors begins with encoder"),
        ('none -> "tail"', "no weight of the model begins with tail"),
        ('"head" -> "body"', "head.dense.bias both become body.dense.bias, and so with 1 more pair"),
        ('"b.{i}" -> "body.{j}"', "{j} stands for nothing in b.{i}"),
        ("none -> none", "none -> none says nothing"),
        ('head -> "body"', "a side of a rule is a name in quotes, or none"),
    ],
)
def test_rules_that_cannot_be_used(load: Load, rules: str, said: str) -> None:
    text = refused(load, NET, ARRAYS, '"net.safetensors"', rules)
    assert "error[E0212]" in text
    assert said in text


def test_files_that_are_damaged(load: Load, tmp_path: Path) -> None:
    load(NET, ARRAYS)
    path, whole = tmp_path / "net.safetensors", (tmp_path / "net.safetensors").read_bytes()
    size = int.from_bytes(whole[:8], "little")
    lying = whole[: 8 + size].replace(b'"shape":[4]', b'"shape":[9]')
    for content in (whole[:40], whole[:-4], lying + whole[8 + size :], b"\xff" * 8 + whole[8:], b""):
        path.write_bytes(content)
        with pytest.raises(DiagnosticError, match=r"E0211.*truncated, damaged or not a safetensors file"):
            open_project(tmp_path / "net.dl")


def test_a_file_that_changes_after_the_check(load: Load, tmp_path: Path) -> None:
    net = load(NET, ARRAYS)
    (tmp_path / "net.safetensors").write_bytes(b"")
    with pytest.raises(DiagnosticError, match="the file has changed since it was checked"):
        assert net.weights


def test_nothing_is_unpickled(load: Load, tmp_path: Path) -> None:
    load(NET, ARRAYS, '"net.npz"')
    np.savez(tmp_path / "net.npz", body=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DiagnosticError, match=r"body\.npy holds Python objects, which only a pickle can keep"):
        open_project(tmp_path / "net.dl")


def test_a_run_keeps_no_other_weights(load: Load, tmp_path: Path) -> None:
    from compiler.front.resolve import moved_imports, resolve

    net = load(NET, ARRAYS)
    checked = net.project.checked
    paths, _ = moved_imports(checked.elaborated.imported, "imports")
    text = resolve(checked.source, {}, paths=paths)
    assert text.endswith('# it began with\n# weights Net from "net.safetensors"\n')


def test_imported_models_bring_theirs(load: Load, tmp_path: Path) -> None:
    load(NET, ARRAYS)
    main = tmp_path / "main.dl"
    main.write_text('import "net.dl"\n\nmodel Twice(x: f32[N, 3]) -> f32[N, 2] { x -> Net -> it * 2 }\n')
    model = open_project(main).model("Twice")
    assert set(model.given) == {f"Net.{name}" for name in ARRAYS}
