"""The programs of the deployment page in other languages, run as they stand there, against ONNX Runtime in Python.

What is not installed is left out, and named: ``ONNXRUNTIME_INCLUDE`` is a folder with the headers for C++,
``ONNXRUNTIME_JAR`` the library for Java, and ``ONNXRUNTIME_NODE`` a ``node_modules`` with ``onnxruntime-node``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import dlc

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```\w+ file (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the programs, an image and a model with fresh weights."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    dlc.load(ROOT / "examples" / "digits.dl").export(tmp_path / "digits.onnx")
    np.random.default_rng(0).integers(0, 17, 64, dtype=np.uint8).tofile(tmp_path / "image.bin")
    return tmp_path


def check(folder: Path, *command: object, **environment: str) -> None:
    """Runs a program, whose lines have to be the scores."""
    arguments = list(map(str, command))
    done = subprocess.run(
        arguments, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    scores = [float(line.split()[1]) for line in done.stdout.splitlines()]
    session = onnxruntime.InferenceSession(folder / "digits.onnx", providers=["CPUExecutionProvider"])
    image = np.fromfile(folder / "image.bin", np.uint8).reshape(1, 8, 8)
    np.testing.assert_allclose(scores, session.run(None, {"image": image})[0][0], rtol=1e-4, atol=1e-5)


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def named(variable: str, what: str) -> Path:
    """What an environment variable names."""
    if variable not in os.environ:
        pytest.skip(f"{what} is not here: name it with {variable}=PATH")
    return Path(os.environ[variable])


def test_python(folder: Path) -> None:
    check(folder, sys.executable, "classify.py")


def test_cpp(folder: Path) -> None:
    compiler, headers = tool("g++"), named("ONNXRUNTIME_INCLUDE", "the folder of ONNX Runtime's headers")
    # The library is the one that Python uses, which is called by its version.
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    for link in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / link).symlink_to(library)
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-isystem", headers, f"-L{folder}", f"-Wl,-rpath,{folder}")
    command = [compiler, *map(str, flags), "classify.cpp", "-lonnxruntime", "-o", "classify"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    check(folder, folder / "classify")


def test_javascript(folder: Path) -> None:
    node = tool("node")
    modules = Path(os.environ.get("ONNXRUNTIME_NODE", ROOT / "node_modules"))
    if not (modules / "onnxruntime-node").is_dir():
        pytest.skip("onnxruntime-node is not here: npm install onnxruntime-node, or ONNXRUNTIME_NODE=NODE_MODULES")
    check(folder, node, "classify.cjs", NODE_PATH=str(modules))


def test_java(folder: Path) -> None:
    """Compiled only: the library for this system is not where the classes are."""
    compiler, classes = tool("javac"), named("ONNXRUNTIME_JAR", "the jar of ONNX Runtime")
    command = [compiler, "-Xlint:all", "-Werror", "-cp", str(classes), "Classify.java"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    assert (folder / "Classify.class").is_file()
