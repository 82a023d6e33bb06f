"""dlc check: the tables, what options change, and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TABLE = """\
model Net(x: f32[N, 3]) -> f32[N, 2]

stage  layer                 output     parameters  MACs
-----  --------------------  ---------  ----------  ----
       dense(units) -> relu  f32[N, 4]          16    12
head   dense(2)              f32[N, 2]          10     8
-----  --------------------  ---------  ----------  ----
total                                           26    20
(multiply-adds for N = 1)

train net(x: f32[N, 3], y: i64[N])
  minimize cross_entropy(logits, y) with adam(0.05)
  trains    26 parameters of Net
  measures  accuracy
  data      net.npz, shuffled 20% for validation, shuffled 20% for test
  settings  batch 8, epochs 5, seed 1
"""


def test_table_of_a_file(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("check", net)
    assert (outcome.code, outcome.out, outcome.err) == (0, TABLE, "")


def test_a_constant_is_set(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("check", net, "--set", "units=100")
    assert outcome.code == 0
    assert "dense(units) -> relu  f32[N, 100]         400   300" in outcome.out


def test_a_batch_size_is_put_in(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("check", net, "--batch", 64)
    assert outcome.out.startswith("model Net(x: f32[64, 3]) -> f32[64, 2]\n")
    assert outcome.out.splitlines()[7].split() == ["total", "26", "1,280"]
    assert "(multiply-adds for N = 64)" in outcome.out


def test_data_is_not_needed(dlc: Callable[..., Any], net: Path) -> None:
    Path("net.npz").unlink()
    assert dlc("check", net).code == 0


def test_every_mistake_is_told_on_stderr(dlc: Callable[..., Any], net: Path) -> None:
    Path("wrong.dl").write_text("model Net(x: f32[N, 3]) {\n    dens(4)\n    dense(4, bais=false)\n}\n")
    outcome = dlc("check", "wrong.dl")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        "error[E0201]: unknown name dens\n"
        " --> wrong.dl:2:5\n"
        "  |\n"
        "2 |     dens(4)\n"
        "  |     ^^^^ not found\n"
        "  |\n"
        "  = help: did you mean dense?\n"
        "\n"
        "error[E0401]: dense has no argument bais\n"
        " --> wrong.dl:3:14\n"
        "  |\n"
        "3 |     dense(4, bais=false)\n"
        "  |              ^^^^ did you mean bias?\n"
        "  |\n"
        "  = help: it is dense(x, units, bias=true, init=glorot, bias_init=zeros)\n"
        "\n"
        "2 errors\n"
    )


def test_what_has_no_gradient_is_found_before_training(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text(net.read_text().replace("dense(2)", "dense(2) -> cast(i64) -> cast(f32)"))
    outcome = dlc("check", net)
    assert outcome.code == 1
    assert outcome.err.startswith("error[E0508]")


def test_warnings_do_not_stop_it(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text(net.read_text().replace("    head:", "    unused = 1 + 1\n    head:"))
    outcome = dlc("check", net)
    assert outcome.code == 0
    assert outcome.out.startswith("model Net")
    assert outcome.err.startswith("warning[W0201]: unused is never used")


def test_a_missing_file(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("check", "nett.dl")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error[E0809]: there is no file nett.dl\n  = help: did you mean net.dl?\n"


def test_a_folder(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("check", ".")
    assert outcome.code == 1
    assert outcome.err == "error[E0809]: cannot read .: is a directory\n  = help: name a file in it\n"


def test_a_file_that_is_not_text(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("check", "net.npz")
    assert outcome.code == 1
    assert outcome.err.startswith("error[E0110]")


def test_unknown_constant(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("check", net, "--set", "unit=3")
    assert outcome.code == 1
    assert outcome.err == ("error[E0201]: --set unit: the file has no constant unit\n  = help: did you mean units?\n")


def test_constant_of_another_kind(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("check", net, "--set", 'units="many"')
    assert outcome.code == 1
    assert outcome.err.startswith("error[E0502]")


def test_wrong_usage(dlc: Callable[..., Any], net: Path) -> None:
    for arguments, said in (
        (["check"], "Missing argument 'FILE'"),
        (["check", net, "--set", "units"], "is not of the form NAME=VALUE"),
        (["check", net, "--set", "a=1", "--set", "a=2"], "a is given twice"),
        (["check", net, "--batch", 0], "0 is not in the range x>=1"),
        (["check", net, "--bath", 1], "No such option"),
        (["chek", net], "No such command"),
    ):
        outcome = dlc(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert said in outcome.err


def test_watching(dlc: Callable[..., Any], net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = net.read_text()
    steps = iter([lambda: net.write_text("model A(x: f32[N]) {\n    dens(4)\n}\n"), lambda: net.write_text(before)])

    def pause(_seconds: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr("runtime.watch.time.sleep", pause)
    outcome = dlc("check", net, "--watch")
    assert (outcome.code, outcome.out) == (130, TABLE + TABLE)
    assert outcome.err.count("error[E0201]: unknown name dens\n") == 1
    assert outcome.err.count("watching net.dl; Ctrl-C ends\n") == 3


def test_watching_needs_a_file_to_begin_with(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("check", "none.dl", "--watch")
    assert outcome.code == 1
    assert "there is no file none.dl" in outcome.err


def test_planned_memory(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("check", net, "--memory", "--batch", 64)
    assert (outcome.code, outcome.err) == (0, "")
    lines = [line.split("  ")[0] for line in outcome.out.splitlines()]
    training, inference = lines.index("memory to train net, N = 64"), lines.index("memory of Net in inference, N = 64")
    assert lines.index("weights") == training + 4
    assert {"state of the optimizer", "a step: activations, gradients", "validation"} <= set(lines[training:inference])
    assert {"weights", "inputs", "activations", "total"} <= set(lines[inference:])
    assert "memory" not in dlc("check", net).out
