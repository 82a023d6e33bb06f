"""What the architecture page promises, held against the sources: who may import whom, and what no file may have."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("grammar", "compiler", "runtime", "dlc")
COMPILER_PARTS = ("diagnostics", "ir", "ops", "front", "passes", "targets")

BELOW_FRONT = {"grammar", "compiler.diagnostics", "compiler.ir", "compiler.ops", "compiler.shared"}
WHOLE_COMPILER = {"grammar", "compiler", "compiler.shared", *(f"compiler.{part}" for part in COMPILER_PARTS)}
# For each layer, what it may import beside itself. `compiler` is the meeting place, the files that stand directly in
# the folder; `compiler.shared` are those of them that the parts speak to it with.
MAY_IMPORT: dict[str, set[str]] = {
    "grammar": set(),
    "compiler.diagnostics": {"grammar"},
    "compiler.ir": {"grammar", "compiler.diagnostics"},
    "compiler.shared": {"grammar", "compiler.diagnostics", "compiler.ir", "compiler.ops"},
    "compiler.ops": {"grammar", "compiler.diagnostics", "compiler.ir"},
    "compiler.front": BELOW_FRONT,
    "compiler.passes": BELOW_FRONT,
    "compiler.targets": BELOW_FRONT,
    "compiler": WHOLE_COMPILER,
    "runtime": WHOLE_COMPILER,
    "dlc": {"runtime", *WHOLE_COMPILER},
}
SHARED = {"compiler.foreign", "compiler.program", "compiler.rules", "compiler.sources", "compiler.version"}

# Where a library may be imported, as beginnings of module names.
ONLY_IN = {
    "onnx": ("compiler.targets.onnx",),
    "onnxruntime": ("runtime",),
    "torch": (),
    "tensorflow": (),
    "jax": (),
}
# Reading any of these runs code that the file brings along.
UNSAFE = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}

GREATEST_FILE = 450
GREATEST_FUNCTION = 70

TEXT_SUFFIXES = {".py", ".lark", ".dl", ".md", ".toml", ".json", ".yml", ".yaml", ".sh", ".cfg", ".txt"}
# In two halves, so that this file does not hold them.
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")
LOCAL_PATH = re.compile(r"(?<![\w.])(?:/wo" r"rk/|/tm" r"p/)|\.\./sha" r"red\b")


def files(*folders: str) -> Iterator[Path]:
    """The text files of the repository below ``folders``; without any, of all of it."""
    for start in [ROOT / folder for folder in folders] or [ROOT]:
        # Folders that are left out are not even looked into: what other tests have there may be gone by then.
        for folder, below, names in os.walk(start):
            left_out = {"__pycache__", *(("build", "dist", "runs") if Path(folder) == ROOT else ())}
            below[:] = sorted(name for name in below if name[0] != "." or name == ".ci")
            below[:] = [name for name in below if name not in left_out]
            for path in (Path(folder, name) for name in sorted(names)):
                if path.is_file() and path.suffix in TEXT_SUFFIXES:
                    yield path


def python_files(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in files(*folders):
        if path.suffix == ".py":
            yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str | None:
    """The layer that a module of this repository is in; None for a library's."""
    first, _, rest = module.partition(".")
    if first not in PACKAGES:
        return None
    if first != "compiler":
        return first
    part = rest.partition(".")[0]
    if part in COMPILER_PARTS:
        return f"compiler.{part}"
    return "compiler.shared" if f"compiler.{part}" in SHARED else "compiler"


def imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, wherever the statement stands, names from packages included."""
    here = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join([*here[: len(here) - node.level + 1], *filter(None, [node.module])])
            base = start if node.level else node.module or ""
            # A name imported from the meeting place may be a module: then that is what counts.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            match node.args:
                case [ast.Constant(value=str(name)), *_]:
                    yield node.lineno, name
                case _:
                    yield node.lineno, "a name worked out while running"


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def import_faults(tree: ast.Module, module: str, is_package: bool = False) -> Iterator[str]:
    """What is wrong with the imports of one module of the packages."""
    layer = layer_of(module)
    assert layer is not None
    for line, name in imports(tree, module, is_package):
        target = layer_of(name)
        if target is not None and target != layer and target not in MAY_IMPORT[layer]:
            yield f"{module}:{line}: {layer} may not import {target} ({name})"
        library = name.partition(".")[0]
        if library in ONLY_IN and not any(f"{module}.".startswith(f"{home}.") for home in ONLY_IN[library]):
            yield f"{module}:{line}: {library} is imported outside {' and '.join(ONLY_IN[library]) or 'tests'}"
        if " " in name:
            yield f"{module}:{line}: imports {name}"


def unsafe_reading(tree: ast.Module, module: str) -> Iterator[str]:
    for line, name in imports(tree, module, is_package=False):
        if name.partition(".")[0] in UNSAFE:
            yield f"{module}:{line}: imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            match node.value:
                case ast.Constant(value=False):
                    pass
                case _:
                    yield f"{module}:{node.value.lineno}: allow_pickle is not False"
        if isinstance(node, ast.Attribute) and node.attr in ("read_pickle", "to_pickle"):
            yield f"{module}:{node.lineno}: {node.attr}"


def long_functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > GREATEST_FUNCTION:
                yield node.name, length


def unwritten(tree: ast.Module) -> Iterator[int]:
    """Lines that raise NotImplementedError: a part that is not there, where an abstract method would be refused."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(raised, ast.Name) and raised.id == "NotImplementedError":
                yield node.lineno


def forbidden_words(text: str, *, in_tests: bool) -> Iterator[tuple[int, str]]:
    patterns = [UNFINISHED] if in_tests else [UNFINISHED, LOCAL_PATH]
    for number, line in enumerate(text.splitlines(), 1):
        for pattern in patterns:
            yield from ((number, match.group()) for match in pattern.finditer(line))


def test_imports_run_one_way() -> None:
    faults = [
        fault
        for path, tree in python_files(*PACKAGES)
        for fault in import_faults(tree, module_name(path), path.name == "__init__.py")
    ]
    assert faults == []


def test_nothing_is_unpickled() -> None:
    assert [fault for path, tree in python_files() for fault in unsafe_reading(tree, module_name(path))] == []


def test_files_and_functions_are_short() -> None:
    faults = []
    for path, tree in python_files():
        length = len(path.read_text(encoding="utf-8").splitlines())
        if length > GREATEST_FILE:
            faults.append(f"{path.relative_to(ROOT)}: {length} lines")
        faults += [f"{path.relative_to(ROOT)}: {name} has {lines} lines" for name, lines in long_functions(tree)]
    assert faults == []


def test_nothing_is_left_unwritten() -> None:
    assert [f"{module_name(path)}:{line}" for path, tree in python_files(*PACKAGES) for line in unwritten(tree)] == []


def test_no_file_has_forbidden_words() -> None:
    faults = []
    for path in files():
        inner = path.relative_to(ROOT)
        found = forbidden_words(path.read_text(encoding="utf-8"), in_tests=inner.parts[0] == "tests")
        faults += [f"{inner}:{line}: {word}" for line, word in found]
    assert faults == []


def test_every_file_is_looked_at() -> None:
    """The rules above hold trivially for files that they do not find."""
    seen = {module_name(path) for path, _ in python_files(*PACKAGES)}
    assert {"compiler", "compiler.ir.dims", "compiler.program", "grammar"} <= seen
    assert {layer_of(module) for module in seen} <= set(MAY_IMPORT)
    parts = {path.parent.name for path in (ROOT / "compiler").glob("*/__init__.py")}
    assert parts <= set(COMPILER_PARTS), "a new part of the compiler needs its place among the layers"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("compiler.ir.x", "import compiler.ops.base"),
        ("compiler.ir.x", "from compiler.ops import base"),
        ("compiler.ir.x", "from compiler import ops"),
        ("compiler.ir.x", "from ..ops import base"),
        ("compiler.ir.x", "from .. import ops"),
        ("compiler.ir.x", "from compiler.program import Weight"),
        ("compiler.ops.x", "def f():\n    from compiler.front import parse"),
        ("compiler.ops.x", "if TYPE_CHECKING:\n    import runtime.programs.engine"),
        ("compiler.front.x", "import compiler.passes.fold"),
        ("compiler.front.x", "import compiler"),
        ("compiler.front.x", "from compiler import check"),
        ("compiler.passes.x", "from compiler.targets.numpy import generate"),
        ("compiler.targets.numpy.x", "import compiler.front.tree"),
        ("compiler.targets.numpy.x", "import onnx"),
        ("compiler.targets.onnxlike.x", "import onnx"),
        ("compiler.program", "from compiler.front.tree import Model"),
        ("compiler", "import runtime"),
        ("compiler", "import dlc.cli"),
        ("grammar", "import compiler.ir.dims"),
        ("runtime.x", "import dlc"),
        ("runtime.x", "from onnx import helper"),
        ("runtime.x", "import torch"),
        ("dlc.x", "import onnxruntime as ort"),
        ("dlc.x", "importlib.import_module('onnxruntime')"),
        ("dlc.x", "__import__(name)"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert len(list(import_faults(ast.parse(source), module))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("compiler.ir.x", "from compiler.diagnostics.source import Span\nimport grammar, numpy.typing"),
        ("compiler.ops.x", "from compiler.ir import dims\nfrom .base import Op\nfrom . import base"),
        ("compiler.front.x", "from compiler.program import Stage\nfrom compiler import version"),
        ("compiler.targets.onnx.x", "import onnx\nfrom onnx import helper"),
        ("compiler", "from compiler.front.parse import parse\nfrom compiler.targets import numpy"),
        ("runtime.x", "import compiler, onnxruntime\nfrom compiler.program import TrainProgram"),
        ("dlc.x", "import compiler, runtime.training.loop"),
    ],
)
def test_a_right_import_is_left_alone(module: str, source: str) -> None:
    assert list(import_faults(ast.parse(source), module)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "def f():\n    import shelve",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "np.lib.format.read_array(f, allow_pickle=1)",
        "pandas.read_pickle(path)",
    ],
)
def test_unsafe_reading_is_found(source: str) -> None:
    assert len(list(unsafe_reading(ast.parse(source), "runtime.x"))) == 1


def test_safe_reading_is_left_alone() -> None:
    source = "import json\nnp.load(path)\nnp.load(path, allow_pickle=False)"
    assert list(unsafe_reading(ast.parse(source), "runtime.x")) == []


def test_long_functions_are_found() -> None:
    def source(lines: int) -> ast.Module:
        return ast.parse("class A:\n    def f(self):\n" + "        pass\n" * (lines - 1))

    assert list(long_functions(source(GREATEST_FUNCTION))) == []
    assert list(long_functions(source(GREATEST_FUNCTION + 1))) == [("f", GREATEST_FUNCTION + 1)]


def test_unwritten_parts_are_found() -> None:
    source = "raise NotImplementedError\nraise NotImplementedError('x')\nraise ValueError\nNotImplemented"
    assert list(unwritten(ast.parse(source))) == [1, 2]


def test_forbidden_words_are_found() -> None:
    text = "a to" + "do list\n# TO" + "DO later\nopen('/tm" + "p/x')\nsee ../sha" + "red\nhome/wo" + "rk/x\n"
    assert [line for line, _ in forbidden_words(text, in_tests=False)] == [2, 3, 4]
    assert [line for line, _ in forbidden_words(text, in_tests=True)] == [2]
