"""The record of a run, ``run.json`` in its folder: when, where and how long it ran, and what came out.

Everything that a run computes is the same each time, byte for byte; what is not, such as times, stands here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from runtime.disk.output import save_output
from runtime.environment import environment
from runtime.training.folder import RunFolder
from runtime.training.history import Row
from runtime.training.progress import Outline, Progress, Relay

_FORMAT = 1
Status = Literal["unfinished", "finished"]


@dataclass(frozen=True)
class Record:
    """What is known of a run beside its figures. ``seconds`` has the duration of each row of its history, by place;
    ``samples`` the sizes of the sets, ``results`` the figures of the weights that are kept, such as ``test.accuracy``,
    ``exports`` for each exported file what its certificate says, and ``better`` for each measure whether it is to be
    "higher" or "lower"."""

    block: str
    started: str = ""
    status: Status = "unfinished"
    seconds: Mapping[int, float] = field(default_factory=dict)
    samples: Mapping[str, int] = field(default_factory=dict)
    results: Mapping[str, float] = field(default_factory=dict)
    exports: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    better: Mapping[str, str] = field(default_factory=dict)

    @property
    def duration(self) -> float:
        """The seconds of all rows together."""
        return sum(self.seconds.values())


def save_record(path: Path, record: Record) -> None:
    """Replaces the file at ``path``. Raises DiagnosticError E0801."""
    content = {"format": _FORMAT} | asdict(record)
    save_output(path, f"{json.dumps(content, indent=2, ensure_ascii=False, allow_nan=True)}\n".encode())


def load_record(path: Path) -> Record | None:
    """The record at ``path``; None where there is none, or none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _record(content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _record(content: Any) -> Record:
    """Raises TypeError, ValueError, KeyError or AttributeError where ``content`` is no record."""
    if content["format"] != _FORMAT:
        raise ValueError(content["format"])
    return Record(
        str(content["block"]),
        str(content["started"]),
        "finished" if content["status"] == "finished" else "unfinished",
        {int(epoch): float(seconds) for epoch, seconds in content["seconds"].items()},
        {str(name): int(count) for name, count in content["samples"].items()},
        {str(name): float(figure) for name, figure in content["results"].items()},
        {str(name): str(text) for name, text in content["exports"].items()},
        {str(name): str(text) for name, text in content["environment"].items()},
        {str(name): str(text) for name, text in content["better"].items()},
    )


class Recording(Relay):
    """Keeps the record of a run up to date while it goes on: a progress, to be given to the trainer, that notes how
    long every row of the history takes. What it is told goes on to ``shown``.

    As a context manager it writes the record when the block ends, however that is; the run counts as finished where the
    block ends well.
    """

    def __init__(
        self,
        run: RunFolder,
        samples: Mapping[str, int],
        shown: Progress,
        *,
        better: Mapping[str, str] | None = None,
        resume: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(shown)
        self._path, self._clock = run.record, clock
        before = load_record(run.record) if resume else None
        started = before.started if before else datetime.now(UTC).isoformat(timespec="seconds")
        self._seconds = dict(before.seconds) if before else {}
        self.record = Record(
            run.name,
            started,
            "unfinished",
            self._seconds,
            samples,
            environment=environment(),
            better=dict(better or {}),
        )
        self._since = 0.0
        self._began = False

    def note_results(self, results: Mapping[str, float]) -> None:
        """The figures of the weights that are kept."""
        self.record = replace(self.record, results=dict(results))

    def note_export(self, path: Path, certificate: str) -> None:
        """A file that was exported, and what its certificate says."""
        self.record = replace(self.record, exports={**self.record.exports, path.name: certificate})

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.record = replace(self.record, status="finished")
        if self._began:
            save_record(self._path, self.record)

    def start(self, outline: Outline) -> None:
        self._began, self._since = True, self._clock()
        save_record(self._path, self.record)
        super().start(outline)

    def epoch(self, row: Row) -> None:
        now = self._clock()
        self._seconds[row.place], self._since = now - self._since, now
        super().epoch(row)
