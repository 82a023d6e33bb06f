"""Every example in the documents compiles, every report in them is the real one, every command works.

What is done with a fenced block is told by its first line:

======================================  ===================================================================
```dl                                   a whole file: checked and compiled, no warnings
```dl file net.dl                       the same, and later blocks can import it or name it in commands
```dl body (x: f32[N, 8])               stages of a model with these inputs (that one, where none are told)
```dl train                             statements of a train block beside a small model, ``Net``
```dl error E0301                       a file with exactly this error, or a warning such as W0201; it may be a
                                        ``body`` or ``train`` too. A ```text block right below is its report
```dl as written                        not laid out as ``dlc fmt`` does it
```dl signature                         not looked at
```python file predict.py               later commands can run it
```console                              commands, run in order; training takes two epochs
```console same                         the same, and the output is the one that stands there
======================================  ===================================================================
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source, render
from compiler.front.format import format_source
from dlc.cli import main

ROOT = Path(__file__).parent.parent.parent
NAMES = ("deployment", "language", "layers", "pretrained", "tools", "tutorial")
DOCUMENTS = [ROOT / "docs" / f"{name}.md" for name in NAMES]

_FENCE = re.compile(r"^```(\w+)?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"\b[EW]\d{4}\b")
_EPOCHS = "2"
_NET = """\
model Net(x: f32[N, 8]) -> f32[N, 3] {
    body: dense(16) -> relu
    head: dense(3)
}

train net(x: f32[N, 8], label: i64[N]) {
"""
_DEFAULT = "    minimize cross_entropy(Net(x), label) with adam\n"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the words after that, its text, and the text of the block right below."""

    document: Path
    number: int
    line: int
    language: str
    words: str
    text: str
    below: str | None

    def __str__(self) -> str:
        return f"{self.document.stem}-{self.line}"

    @property
    def file(self) -> str | None:
        match = re.search(r"\bfile (\S+)", self.words)
        return match[1] if match else None

    @property
    def expected(self) -> list[str]:
        return _CODE.findall(self.words)

    @property
    def as_written(self) -> bool:
        return "as written" in self.words or "E01" in self.words

    def source(self) -> str:
        """The whole file that this block is, or is a part of."""
        inner = "".join(f"    {line}\n" if line else "\n" for line in self.text.splitlines())
        if re.search(r"\bbody\b", self.words):
            inputs = re.search(r"\((.*)\)", self.words)
            return f"model Example({inputs[1] if inputs else 'x: f32[N, 8]'}) {{\n{inner}}}\n"
        if re.search(r"\btrain\b", self.words):
            rest = "" if re.search(r"^\s*minimize\b", inner, re.MULTILINE) else _DEFAULT
            return f"{_NET}{inner}{rest}}}\n"
        return self.text


def blocks(document: Path) -> Iterator[Block]:
    text = document.read_text(encoding="utf-8")
    found = list(_FENCE.finditer(text))
    for number, match in enumerate(found):
        following = found[number + 1] if number + 1 < len(found) else None
        close = following is not None and text[match.end() : following.start()].strip() == ""
        below = following[3] if following is not None and close and following[1] == "text" else None
        line = text.count("\n", 0, match.start()) + 1
        yield Block(document, number, line, match[1] or "", match[2], match[3], below)


def rewrite(document: Path, number: int, content: str) -> None:
    """Puts ``content`` between the fences of a block."""
    text = document.read_text(encoding="utf-8")
    match = list(_FENCE.finditer(text))[number]
    document.write_text(text[: match.start(3)] + content + text[match.end(3) :], encoding="utf-8")


BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
SOURCES = [block for block in BLOCKS if block.language == "dl" and "signature" not in block.words]
WITH_COMMANDS = [document for document in DOCUMENTS if any(b.language == "console" for b in blocks(document))]


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files of the document at hand and the data of the examples."""
    document = request.param if isinstance(request.param, Path) else request.param.document
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "data")
    for block in BLOCKS:
        if block.document == document and block.file is not None:
            (tmp_path / block.file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def diagnostics_of(source: Source) -> Any:
    """What is said about a source: its errors, or the warnings about it."""
    try:
        checked = compiler.check(source)
        for model in checked.models:
            compiler.compile_model(checked, model)
        for train in checked.trains:
            compiler.compile_train(checked, train)
    except DiagnosticError as caught:
        return caught.diagnostics
    return checked.warnings


@pytest.mark.parametrize(("block", "folder"), [(block, block) for block in SOURCES], indirect=["folder"], ids=str)
def test_example(block: Block, folder: Path, update_golden: bool) -> None:
    diagnostics = diagnostics_of(Source(block.file or "net.dl", block.source()))
    report = render(diagnostics)
    assert [diagnostic.code for diagnostic in diagnostics] == block.expected, report
    if block.expected and block.below is not None:
        if update_golden:
            rewrite(block.document, block.number + 1, report + "\n")
        else:
            assert report + "\n" == block.below


@pytest.mark.parametrize(
    ("document", "folder"), [(d, d) for d in WITH_COMMANDS], indirect=["folder"], ids=lambda d: d.stem
)
def test_commands(document: Path, folder: Path, update_golden: bool, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks(document):
        if block.language != "console":
            continue
        outcome = [(command, shown, _run(command, capsys)) for command, shown in _commands(block.text)]
        if "same" in block.words and update_golden:
            lines = [f"$ {command}\n{said}\n" for command, _, said in outcome]
            rewrite(document, block.number, "".join(lines))
        elif "same" in block.words:
            assert [said for _, _, said in outcome] == [shown for _, shown, _ in outcome], str(block)


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console, each with the output that stands below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command.strip(), shown.rstrip("\n")


def _run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs a command as a shell would; its exit status has to be 0, or 1 where it shows errors."""
    program, *arguments = shlex.split(command, comments=True)
    if program == "dlc":
        if arguments[0] == "train" and "--epochs" not in arguments:
            arguments += ["--epochs", _EPOCHS]
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        captured, status = capsys.readouterr(), exit.value.code
        said = captured.out + captured.err
    else:
        assert program == "python", command
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=300, check=False
        )
        said, status = done.stdout + done.stderr, done.returncode
    assert status == (1 if "\nerror[" in f"\n{said}" else 0), f"{command}\n{said}"
    return said.rstrip("\n")


@pytest.mark.parametrize("block", [block for block in SOURCES if not block.as_written], ids=str)
def test_layout(block: Block) -> None:
    text = block.source()
    assert format_source(Source("net.dl", text)) == text


def test_there_are_examples() -> None:
    assert len(SOURCES) > 45
