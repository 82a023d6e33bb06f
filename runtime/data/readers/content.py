"""What a reader of data is asked, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from compiler.ir.types import TensorType
from compiler.sources import DataSource
from runtime.data.columns import ArrayOrColumn

# The names of the numbers 0, 1, 2 … in an array: its classes, or the characters of its vocabulary.
Names: TypeAlias = Mapping[str, tuple[str, ...]]


class ReadError(Exception):
    """A file, or something in it, can't be read: ``why`` goes on after "cannot read digits.npz: "."""

    def __init__(self, why: str, help: str, code: str = "E0602") -> None:
        super().__init__(why)
        self.why, self.help, self.code = why, help, code


def left_out(count: int, noun: str, why: str) -> tuple[str, ...]:
    """The note about ``count`` things that are not among the samples; none where there are none."""
    if not count:
        return ()
    return (f"{count} {noun} {why} is left out" if count == 1 else f"{count} {noun}s {why} are left out",)


@dataclass(frozen=True)
class Request:
    """``inputs`` are the types of the train block's inputs, as far as they are known; relative paths start at
    ``folder``. ``names`` are those that the training samples have, where others are read: their numbers stay. With
    ``skip_bad`` samples that can't be read are left out and counted instead of refused. ``by_hand`` they are the inputs
    of a model that is run, of which none can be left out and none is declared in a model file."""

    folder: Path = Path(".")
    inputs: Mapping[str, TensorType] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    skip_bad: bool = False
    by_hand: bool = False

    def or_leave_out(self, what: str) -> str:
        """The end of an advice about samples that can't be used, where they may be left out."""
        return "" if self.by_hand else f", or leave {what} out: --skip-bad"

    def locate(self, path: str) -> Path:
        """The file or folder. Raises ReadError E0601 where there is none."""
        full = self.folder / path
        if not full.exists():
            raise ReadError(f"there is no file {full}", "see how the path is spelled", "E0601")
        return full


@dataclass(frozen=True)
class Content(Mapping[str, ArrayOrColumn]):
    """Named arrays as they were found. ``names`` tell what their numbers stand for, ``notes`` are worth saying to the
    user. Where ``window`` is not 0, rows are windows that overlap, and the next one to train on begins ``stride``
    elements further on."""

    arrays: Mapping[str, ArrayOrColumn]
    names: Names = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    window: int = 0
    stride: int = 1

    def __getitem__(self, name: str) -> ArrayOrColumn:
        return self.arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


# Reads the file or folder of a source; without a path it is that where paths start.
Reader: TypeAlias = Callable[[Path, DataSource, Request], Content]
