"""dlc explain: codes, what stands in model files, and the list of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compiler.diagnostics import all_codes
from compiler.front.catalogue import entries
from compiler.front.imports import LIBRARY


def test_a_code(dlc: Callable[..., Any]) -> None:
    outcome = dlc("explain", "E0301")
    assert outcome.code == 0
    assert outcome.out.startswith("E0301: shapes do not fit\n\nThe operation is not defined")
    assert "\nWrong:\n\n    model Net(x: f32[N, 8])" in outcome.out
    assert "```" not in outcome.out
    assert dlc("explain", "e0301") == outcome


def test_a_layer(dlc: Callable[..., Any]) -> None:
    outcome = dlc("explain", "dense")
    assert outcome.out.startswith("layer dense(x, units, bias=true, init=glorot, bias_init=zeros)\n\nA fully connected")


def test_a_name_of_two_things(dlc: Callable[..., Any]) -> None:
    outcome = dlc("explain", "mae")
    assert "loss mae(x, target" in outcome.out
    assert "metric mae(x, target, mask=none)\n" in outcome.out


def test_everything(dlc: Callable[..., Any]) -> None:
    listed = dlc("explain").out
    lines = listed.splitlines()
    for code in all_codes():
        assert any(line.startswith(f"{code}  ") for line in lines)
    for kind in ("layer", "metric", "optimizer", "initialiser"):
        for entry in entries(kind).values():
            assert entry.signature in listed


def test_what_is_not_there(dlc: Callable[..., Any]) -> None:
    outcome = dlc("explain", "dens")
    assert outcome.code == 1
    assert outcome.err == ("error[E0201]: there is nothing called dens to explain\n  = help: did you mean dense?\n")
    assert dlc("explain", "E9999").code == 1


def test_a_module_of_the_library(dlc: Callable[..., Any]) -> None:
    outcome = dlc("explain", "std.mlp")
    assert outcome.out == (LIBRARY / "mlp.dl").read_text(encoding="utf-8")
    assert "std.mlp" in dlc("explain").out
