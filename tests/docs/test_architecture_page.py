"""The architecture page: its Python runs as one program, and the files that it names are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_examples_run(tmp_path: Path) -> None:
    """In a process of their own, as they register an operation and a function."""
    program = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    (tmp_path / "page.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-W", "error", "page.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_what_it_names_is_there() -> None:
    for name in re.findall(r"`([\w.]+/[\w./]*)`", PAGE):
        homes = [ROOT / name, ROOT / "compiler" / name, ROOT / "compiler" / "front" / name]
        assert any(path.exists() for path in homes), name
    import compiler
    from compiler.passes import order

    for name in ("check", "compile_model", "compile_train", "numpy_module", "onnx_file"):
        assert f"`{name}`" in PAGE
        assert callable(getattr(compiler, name))
    for name in ("COMMON", "TRAIN", "NUMPY", "ONNX"):
        assert f"`{name}`" in PAGE
        assert getattr(order, name)
