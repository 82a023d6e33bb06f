"""What a run needs to go on, bit for bit, and the weights by themselves: two safetensors files.

``weights.safetensors`` holds what inference needs, under the names of the graph's inputs.
``checkpoint.safetensors`` holds those of the last step and the optimizer's state, the sums of an epoch that is
not over yet as ``total:NAME``, and with early stopping the best weights so far as ``best:NAME``; its metadata
tells the position, the history and what the run was started with.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.graph import Role
from compiler.ir.text import to_text
from compiler.ir.types import DType
from compiler.program import TrainProgram
from runtime.data.fingerprint import fingerprint_of
from runtime.data.readers.content import Names
from runtime.data.split import Splits
from runtime.disk.tensors import Array, read_tensors, write_tensors
from runtime.training.evaluation import Totals
from runtime.training.history import History
from runtime.training.position import Position
from runtime.training.stopping import Watch

_TOTAL, _BEST = "total:", "best:"
# The state of the random numbers and the count of steps belong to a run, not to a model.
_RUN_STATE = frozenset({"seed", "step"})
_SHOWN = 4
_NO_NAMES: Names = {}


@dataclass(frozen=True)
class Origin:
    """What decides which samples make up which batch: a run can only go on where it is the same."""

    seed: int
    samples: int
    validate: str | None
    test: str | None
    batch: int
    data: str

    @staticmethod
    def of(program: TrainProgram, splits: Splits) -> Origin:
        shares = splits.validation_share, splits.test_share
        validate, test = (None if share is None else str(share) for share in shares)
        return Origin(
            program.settings.seed, len(splits.train), validate, test, program.settings.samples, fingerprint_of(splits)
        )


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two steps. ``kept`` are weights and state, ``totals`` the sums of the epoch
    so far, ``watch`` is what early stopping goes by and ``pace`` what schedules do."""

    kept: Mapping[str, Array]
    position: Position
    totals: Totals
    history: History
    origin: Origin
    fingerprint: str
    watch: Watch = field(default_factory=Watch)
    pace: Sequence[Mapping[str, Any]] = ()


def fingerprint(program: TrainProgram) -> str:
    """A hash of what the program computes in training; where its source lies and how it is laid out do not
    count."""
    texts = [to_text(graph) for graph in (*program.steps, *program.updates, program.evaluate)]
    plain = re.sub(r"  # .*$", "", "\n".join(texts), flags=re.MULTILINE)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replaces the file at ``path``; the same run gives the same bytes. Raises OSError, the old file stays
    then."""
    totals = {_TOTAL + name: array for name, array in checkpoint.totals.sums.items()}
    best = {_BEST + name: array for name, array in checkpoint.watch.weights.items()}
    metadata = {
        "format": 1,
        "position": asdict(checkpoint.position),
        "rows": checkpoint.totals.rows,
        "origin": asdict(checkpoint.origin),
        "fingerprint": checkpoint.fingerprint,
        "history": checkpoint.history.as_json(),
        "watch": checkpoint.watch.as_json(),
        "pace": list(checkpoint.pace),
    }
    write_tensors(path, {**checkpoint.kept, **totals, **best}, metadata)


def load_checkpoint(path: Path) -> Checkpoint:
    """Raises DiagnosticError: E0804 where there is no such file, E0805 for one that is damaged or no
    checkpoint."""
    if not path.exists():
        title = f"there is no checkpoint to resume: {path} does not exist"
        raise DiagnosticError([error("E0804", title, None, help="leave --resume out to begin a new run")])
    tensors, metadata = read_tensors(path)
    kept = {name: array for name, array in tensors.items() if not name.startswith((_TOTAL, _BEST))}
    totals, best = (
        {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
        for prefix in (_TOTAL, _BEST)
    )
    try:
        return Checkpoint(
            kept,
            Position(**metadata["position"]),
            Totals(totals, int(metadata["rows"])),
            History.from_json(metadata["history"]),
            Origin(**metadata["origin"]),
            str(metadata["fingerprint"]),
            Watch.from_json(metadata["watch"], best),
            [dict(patience) for patience in metadata["pace"]],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        title = f"cannot read {path}: it is no checkpoint of dlc"
        advice = "name the run folder, in which checkpoint.safetensors lies"
        raise DiagnosticError([error("E0805", title, None, help=advice)]) from failure


def save_weights(path: Path, program: TrainProgram, kept: Mapping[str, Array], names: Names = _NO_NAMES) -> None:
    """Replaces the file at ``path`` by the weights that inference needs, with the ``names`` of the classes and
    characters that they were trained with. Raises OSError, the old file stays then."""
    metadata: dict[str, Any] = {"format": 1} | ({"names": dict(names)} if names else {})
    write_tensors(path, {name: kept[name] for name in weight_types(program) if name in kept}, metadata)


def load_weights(path: Path, program: TrainProgram) -> dict[str, Array]:
    """The weights in ``path``, a weights file or a checkpoint, for inference with ``program``.

    Raises DiagnosticError: E0804 where there is no such file, E0805 for one that is damaged, E0806 for one
    that lacks a weight or has one of another type.
    """
    if not path.exists():
        advice = "train first, or name the file with the weights"
        raise DiagnosticError([error("E0804", f"there are no weights: {path} does not exist", None, help=advice)])
    tensors, _ = read_tensors(path)
    wanted = weight_types(program)
    tensors = {name: array for name, array in tensors.items() if name in wanted}
    check_same(path, tensors, wanted)
    return tensors


def weight_types(program: TrainProgram) -> dict[str, str]:
    """The types, as text, of the weights, and of state such as running means, that inference needs."""
    kept = (item for item in program.evaluate.inputs if item.role is not Role.DATA and item.name not in _RUN_STATE)
    return {weight.name: str(weight.type) for weight in program.weights} | {
        item.name: str(item.value.type) for item in kept
    }


def types_of(arrays: Mapping[str, Array]) -> dict[str, str]:
    """The type of every array, as it is written in the language."""
    return {name: f"{DType.of(array.dtype)}[{', '.join(map(str, array.shape))}]" for name, array in arrays.items()}


def check_same(path: Path | str, found: Mapping[str, Array], wanted: Mapping[str, str]) -> None:
    """Raises DiagnosticError E0806, with the first few differences, unless names and types are the same."""
    actual = types_of(found)
    differences = []
    for name, type in wanted.items():
        if name not in actual:
            differences.append(f"`{name}` is {type} in the program and missing from the file")
        elif actual[name] != type:
            differences.append(f"`{name}` is {type} in the program and {actual[name]} in the file")
    differences += [f"`{name}` is in the file only" for name in actual if name not in wanted]
    if differences:
        notes = differences[:_SHOWN]
        if len(differences) > _SHOWN:
            notes.append(f"and {len(differences) - _SHOWN} more differences")
        advice = "use the model file that it was made with (source.dl beside it), or train again without --resume"
        raise DiagnosticError([error("E0806", f"{path} belongs to another model", None, notes=notes, help=advice)])


def check_origin(path: Path, checkpoint: Checkpoint, now: Origin) -> None:
    """Raises DiagnosticError E0807 where the run could not go on with the same samples in the same
    batches."""
    then = asdict(checkpoint.origin)
    if checkpoint.position.batch == 0:
        then["batch"] = now.batch  # between two epochs nothing hangs on it
    notes = [
        "the data itself: its content is not what it was"
        if name == "data"
        else f"{_WORDS[name]}: {_said(then[name])} then, {_said(value)} now"
        for name, value in asdict(now).items()
        if then[name] != value
    ]
    if notes:
        title = f"the run cannot go on from {path}: it was started with other settings"
        advice = "set them back, or train again without --resume"
        raise DiagnosticError([error("E0807", title, None, notes=notes, help=advice)])


_WORDS = {
    "seed": "seed",
    "samples": "samples to train on",
    "validate": "share for validation",
    "test": "share for testing",
    "batch": "batch",
}


def _said(value: Any) -> str:
    return "none" if value is None else str(value)
