"""The classes of samples: what shares are chosen by, and whether training sees all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from compiler.diagnostics import Diagnostic, DiagnosticError, Span, did_you_mean, error, warning
from compiler.program import TrainProgram
from compiler.sources import Share
from runtime.data.batches import DataSet
from runtime.data.columns import gather, whole
from runtime.disk.tensors import Array

_SHOWN = 6


class Keys:
    """The arrays that stratified and grouped shares go by: inputs of the program, or others that the data has."""

    def __init__(self, program: TrainProgram, arrays: Mapping[str, Any], data: DataSet) -> None:
        self._program, self._arrays, self._data = program, arrays, data

    def __call__(self, share: Share) -> Array:
        """One value for each sample. Raises DiagnosticError: E0605 where there is no such array, E0619 where it has not
        one value for each sample, or where none is named and none is clear."""
        name = share.by or self._classes(share)
        if name not in self._arrays:
            near = did_you_mean(name, self._arrays)
            held = ", ".join(f"`{other}`" for other in self._arrays)
            title = f"there is no array `{name}` in {self._data.source}, for the {share.kind} share"
            help = f"did you mean `{near}`?" if near else ()
            raise DiagnosticError([error("E0605", title, None, notes=f"it holds {held}", help=help)])
        values = whole(self._arrays[name])
        if values.shape != (len(self._data),):
            shape = ", ".join(map(str, values.shape))
            title = f"`{name}` has the shape [{shape}]: a {share.kind} share needs one value for each sample"
            advice = "name an array that says the class or the group of each sample"
            raise DiagnosticError([error("E0619", title, None, help=advice)])
        return values

    def _classes(self, share: Share) -> str:
        names = [value.name for value in self._program.inputs if value.type.rank == 1 and not value.type.dtype.is_float]
        if len(names) == 1:
            return names[0]
        found = f"{', '.join(names)} do" if names else "none does"
        title = f"it is not clear which array has the classes for the {share.kind} share"
        note = f"of the inputs with one whole number for each sample, {found}"
        advice = f"name it: {share.kind}({100 * share.share:g}%, by={names[0] if names else 'label'!r})".replace(
            "'", '"'
        )
        raise DiagnosticError([error("E0619", title, None, notes=note, help=advice)])


def unseen(program: TrainProgram, train: DataSet, other: DataSet, use: str, at: Span | None) -> Iterator[Diagnostic]:
    """W0601 for classes that ``other``, the set to ``use``, has and ``train`` lacks: nothing can learn them."""
    for name in dict.fromkeys(item.input for item in program.ranges):
        array = train.arrays[name]
        if array.ndim != 1 or name not in other.arrays:
            continue
        trained = np.unique(gather(array, train.rows))
        missing = np.setdiff1d(np.unique(gather(other.arrays[name], other.rows)), trained)
        if len(missing):
            names = train.names.get(name, ())
            listed = [names[number] if number < len(names) else str(number) for number in missing[:_SHOWN]]
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            one = len(missing) == 1
            noun = ("class", "classes") if names else ("value", "values")
            title = (
                f"{f'a {noun[0]}' if one else f'{len(missing)} {noun[1]}'} of `{name}` in the samples to {use} "
                f"{'is' if one else 'are'} in none of those to train on: {', '.join(listed)}{more}"
            )
            advice = f"a stratified share leaves some of each to train on: {use} stratified(…)"
            yield warning("W0601", title, at, help=advice)
