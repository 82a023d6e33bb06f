"""Run folders: where a training run keeps what it makes.

A run of the train block ``digits`` goes to ``runs/digits``, the next one to ``runs/digits-2`` and so on, so
that no run is lost by starting another; ``--resume`` goes on with the last. A folder named with ``--out`` is
taken as it is, and refused where it holds a run already. In the folder:

========================  ==================================================================================
weights.safetensors       the weights, for inference; with ``stop`` those of the best epoch
checkpoint.safetensors    weights, optimizer state, position and history: what ``--resume`` needs
history.csv               one line per epoch, or validation; with ``stop`` the best one has 1 in the column ``best``
statistics.csv            what layers give and gradients are, a line each per line of history.csv, if asked for
pictures/NAME-0003.png    what ``draw`` made of NAME after epoch 3, or step 3
source.dl                 the model file as it was trained, ``--set`` applied
imports/                  the files that it imports, where it does: a run needs no file outside its folder but data
epochs/0012.safetensors   the checkpoint of epoch 12, where ``keep`` says so; steps/… where steps are counted
data.json                 what it was trained on: samples, how they were split, names of classes and characters
NAME.onnx                 the exported model, written by the caller
tensorboard/events…       event files, where they were asked for
run.json                  when, where and how long the run was, and its results; written by the caller
report.html               all of it to look at; written by the caller
.lock                     there while a process writes to the folder
========================  ==================================================================================
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from compiler.diagnostics import Diagnostic, DiagnosticError, error
from compiler.foreign import Parts
from compiler.program import Unit
from runtime.disk.files import reason, remove_leftovers, write_bytes
from runtime.programs import visible

CHECKPOINT, WEIGHTS, HISTORY, SOURCE = "checkpoint.safetensors", "weights.safetensors", "history.csv", "source.dl"
RECORD, REPORT, DATA, STATISTICS = "run.json", "report.html", "data.json", "statistics.csv"
PICTURES, EVENTS = "pictures", "tensorboard"
IMPORTS = "imports"
RUNS = Path("runs")


class RunFolder:
    """A folder that this process alone writes to until :meth:`close`. Made by :func:`open_run`."""

    def __init__(self, path: Path, name: str) -> None:
        """Raises OSError where the folder can't be made or written to, BlockingIOError where another process
        has it."""
        self.path, self.name, self._process = path, name, visible.process
        path.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = _lock(path / ".lock")
        for folder in filter(Path.is_dir, (path, self.pictures, *self._kept, self.imports, *self.imports.rglob("*"))):
            remove_leftovers(folder)

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS

    @property
    def history(self) -> Path:
        return self.path / HISTORY

    @property
    def statistics(self) -> Path:
        return self.path / STATISTICS

    @property
    def pictures(self) -> Path:
        """The folder of pictures, made with the first of them."""
        return self.path / PICTURES

    def kept(self, unit: Unit) -> Path:
        """The folder of the checkpoints that are kept of epochs, or after steps; made with the first of them."""
        return self.path / f"{unit}s"

    @property
    def _kept(self) -> tuple[Path, Path]:
        return self.kept("epoch"), self.kept("step")

    @property
    def source(self) -> Path:
        return self.path / SOURCE

    @property
    def imports(self) -> Path:
        """The folder of the files that the model file imports."""
        return self.path / IMPORTS

    @property
    def data(self) -> Path:
        return self.path / DATA

    @property
    def events(self) -> Path:
        """Where TensorBoard's event files go."""
        return self.path / EVENTS

    @property
    def record(self) -> Path:
        return self.path / RECORD

    @property
    def model(self) -> Path:
        """Where the exported model goes."""
        return self.path / f"{self.name}.onnx"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What a training writes as it goes on. Raises DiagnosticError E0808 in place of an OSError inside, and E0821
        in a process that was forked since and is not the one that trains."""
        if self._process != visible.process:
            raise visible.elsewhere()
        try:
            yield
        except OSError as failure:
            title = f"cannot write to the run folder {self.path}: {reason(failure)}"
            note = "a checkpoint that was written there before is still whole"
            advice = "make room on the disk, or mend the folder; then go on with --resume"
            raise DiagnosticError([error("E0808", title, None, notes=note, help=advice)]) from failure

    def clear(self) -> None:
        """Removes the files of the run before."""
        names = (CHECKPOINT, WEIGHTS, HISTORY, SOURCE, DATA, RECORD, REPORT, STATISTICS, self.model.name)
        for path in (
            *(self.path / name for name in names),
            *self.pictures.glob("*.png"),
            *(file for folder in self._kept for file in folder.glob("*.safetensors")),
            *self.events.glob("events.*"),
        ):
            path.unlink(missing_ok=True)
        self._remove_imports()

    def save_source(self, text: str, imports: Mapping[str, Parts] | None = None) -> None:
        """Keeps the model file as it is trained, and the files that it imports, by their paths below ``imports``.
        Raises DiagnosticError E0801."""
        contents = {self.imports / name: content for name, content in (imports or {}).items()}
        for path, content in contents.items():
            self._save(path, *content)
        self._save(self.source, text.encode())
        self._remove_imports(keep=contents)

    def save_data(self, description: Mapping[str, Any]) -> None:
        """Keeps what is known of the data: what JSON can hold. Raises DiagnosticError E0801."""
        self._save(self.data, f"{json.dumps(description, indent=2, ensure_ascii=False)}\n".encode())

    def _save(self, path: Path, *content: bytes | memoryview) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, *content)
        except OSError as failure:
            raise DiagnosticError([_unwritable(self.path, failure)]) from failure

    def _remove_imports(self, keep: Container[Path] = ()) -> None:
        """Removes the imported files of the run before, and the folders that are empty then."""
        for path in sorted(self.imports.rglob("*"), reverse=True):
            if path.is_dir():
                _remove_if_empty(path)
            elif path.suffix in (".dl", ".onnx", ".data") and path not in keep:
                path.unlink(missing_ok=True)
        _remove_if_empty(self.imports)

    def close(self) -> None:
        """Lets other processes have the folder."""
        if self._lock is not None:
            # A process that was forked since has no say.
            if self._process == visible.process:
                with suppress(OSError):
                    (self.path / ".lock").unlink()
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_run(
    name: str, *, out: Path | None = None, root: Path = RUNS, resume: bool = False, overwrite: bool = False
) -> RunFolder:
    """The folder for a run of the train block ``name``: ``out``, or else the next free one (to resume, the
    last) in ``root``.

    Raises DiagnosticError: E0801 where it can't be written, E0802 where another process writes to it, E0803
    where ``out`` holds a run and neither ``resume`` nor ``overwrite`` is said, E0804 where there is nothing
    to resume.
    """
    if out is None and not resume and not overwrite:
        return _open_next(name, root)
    path = out if out is not None else latest_run(name, root) or root / name
    if resume and not (path / CHECKPOINT).exists():
        advice = "leave --resume out to begin a new run"
        raise DiagnosticError([error("E0804", f"there is no checkpoint to resume in {path}", None, help=advice)])
    if holds_run(path) and not resume and not overwrite:
        on = "go on with it (--resume), " if (path / CHECKPOINT).exists() else "it has no checkpoint to go on from: "
        advice = f"{on}replace it (--overwrite), or name another folder"
        raise DiagnosticError([error("E0803", f"{path} holds a training run already", None, help=advice)])
    try:
        run = RunFolder(path, name)
    except BlockingIOError as failure:
        raise DiagnosticError([_in_use(path)]) from failure
    except OSError as failure:
        raise DiagnosticError([_unwritable(path, failure)]) from failure
    if overwrite and not resume:
        run.clear()
    return run


def latest_run(name: str, root: Path = RUNS) -> Path | None:
    """The folder of the last run of ``name`` that has a checkpoint, or None."""
    numbered = {number: path for number, path in _numbered(name, root).items() if (path / CHECKPOINT).exists()}
    return numbered[max(numbered)] if numbered else None


def _numbered(name: str, root: Path) -> dict[int, Path]:
    """The runs of ``name`` by number; the first has none in its path."""
    pattern = re.compile(re.escape(name) + r"(?:-(\d+))?")
    numbered = {}
    for path in root.iterdir() if root.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if match and holds_run(path):
            numbered[int(match[1] or 1)] = path
    return numbered


def _open_next(name: str, root: Path) -> RunFolder:
    number = max(_numbered(name, root), default=0) + 1
    while True:
        path = root / (name if number == 1 else f"{name}-{number}")
        number += 1
        try:
            run = RunFolder(path, name)
        except BlockingIOError:
            continue
        except OSError as failure:
            raise DiagnosticError([_unwritable(path, failure)]) from failure
        # Another process may have trained there since the folders were listed.
        if not holds_run(path):
            return run
        run.close()


def holds_run(path: Path) -> bool:
    """Whether a run left something in ``path``, or there are files that a run would write over."""
    return any((path / name).exists() for name in (CHECKPOINT, WEIGHTS, HISTORY, SOURCE, IMPORTS))


def imported_texts(path: Path) -> dict[str, str]:
    """The files that the model file of the run in ``path`` imports, by their paths in the folder, as far as they can be
    read."""
    texts = {}
    for file in sorted((path / IMPORTS).rglob("*.dl")):
        with suppress(OSError, UnicodeDecodeError):
            texts[file.relative_to(path).as_posix()] = file.read_text(encoding="utf-8")
    return texts


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def is_locked(path: Path) -> bool:
    """Whether a process trains in the run folder ``path`` now."""
    lock = path / ".lock"
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        _lock_descriptor(descriptor)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _unwritable(path: Path, failure: OSError) -> Diagnostic:
    title = f"cannot write to the output folder {path}: {reason(failure)}"
    return error("E0801", title, None, help="name a folder that you may write to, with --out")


def _in_use(path: Path) -> Diagnostic:
    try:
        process = (path / ".lock").read_text().strip()
    except OSError:
        process = ""
    note = f"process {process} is training there" if process else "another process is training there"
    advice = "wait for it, or name another folder with --out"
    return error("E0802", f"{path} is in use by another run", None, notes=note, help=advice)


def _lock(path: Path) -> int:
    """A descriptor that holds the lock; the system lets it go when the process ends, however it ends."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock_descriptor(descriptor)
            # The one who held it may have removed the file between the two calls: then the lock is on
            # nothing.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock_descriptor(descriptor: int) -> None:
        try:
            # Beyond the text, which the other process may want to read.
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as failure:
            raise BlockingIOError(*failure.args) from failure
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock_descriptor(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
