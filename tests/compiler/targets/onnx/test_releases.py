"""Which opset a release of ONNX Runtime gets."""

from __future__ import annotations

import onnx
import pytest

from compiler.diagnostics import DiagnosticError
from compiler.targets.onnx.releases import DEFAULT, IR_VERSION, OPSETS, RELEASES, chosen_opset, opset_for


@pytest.mark.parametrize(
    ("release", "opset"),
    [
        ("onnxruntime==1.17", 20),
        ("onnxruntime>=1.17", 20),
        ("onnxruntime-gpu==1.17.3", 20),
        ("onnxruntime ~= 1.20.1", 21),
        (" 1.12 ", 17),
        ("1.16.3", 19),
        ("1.22", 22),
        ("1.31.1", 23),
        ("2.0", 23),
    ],
)
def test_a_release_gets_the_newest_opset_that_it_reads(release: str, opset: int) -> None:
    assert opset_for(release) == opset


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ("1.5", "ONNX Runtime 1.5 reads no opset that dlc writes"),
        ("onnxruntime==0.4.0", "reads no opset that dlc writes"),
        ("onnxruntime", "is no release of ONNX Runtime"),
        ("onnxruntime<1.17", "is no release of ONNX Runtime"),
        ("tensorrt==8.6", "is no release of ONNX Runtime"),
        ("1.17.", "is no release of ONNX Runtime"),
        ("", "is no release of ONNX Runtime"),
    ],
)
def test_what_is_no_release_or_too_old(release: str, said: str) -> None:
    with pytest.raises(DiagnosticError, match=said) as refused:
        opset_for(release)
    assert refused.value.diagnostics[0].code == "E0902"


def test_later_releases_read_no_less() -> None:
    assert list(RELEASES) == sorted(RELEASES)
    assert list(RELEASES.values()) == sorted(RELEASES.values())


def test_the_file_format_is_the_one_that_came_with_the_opset() -> None:
    # onnx keeps the same table, for what it calls the smallest IR version of an opset.
    known = onnx.helper.OP_SET_ID_VERSION_MAP
    assert {opset: known["ai.onnx", opset] for opset in OPSETS} == IR_VERSION


def test_one_choice() -> None:
    assert (chosen_opset(), chosen_opset(18), chosen_opset(None, "1.13")) == (DEFAULT, 18, 17)
    with pytest.raises(ValueError, match="give one"):
        chosen_opset(18, "1.13")
