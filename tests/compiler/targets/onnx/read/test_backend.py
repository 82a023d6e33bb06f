"""The ONNX project's own tests of operators: what passed goes on passing, and nothing is wrong."""

from pathlib import Path
from types import ModuleType

import onnx

SUMMARY = Path(__file__).with_name("backend.txt")


def test_no_case_is_wrong_and_none_is_lost(backend: ModuleType, update_golden: bool) -> None:
    summary = backend.run_all()
    assert summary.wrong == []
    assert summary.passed >= 1100
    if update_golden:
        SUMMARY.write_text(summary.text(), encoding="utf-8")
    # Other versions of onnx have other cases.
    kept = SUMMARY.read_text(encoding="utf-8")
    assert summary.text() == kept or not kept.startswith(f"onnx {onnx.__version__},")
