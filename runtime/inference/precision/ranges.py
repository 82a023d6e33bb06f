"""How large the numbers in a network get on real samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from runtime.disk.tensors import Array
from runtime.inference.session import InferenceSession


@dataclass(frozen=True)
class Ranges:
    """The lowest and the highest number of each f32 value in the network by name, with 0 always between them.
    ``beyond`` are the nodes that give or take numbers beyond the limit, ``infinite`` those with infinite ones."""

    values: Mapping[str, tuple[float, float]]
    beyond: frozenset[str]
    infinite: frozenset[str]


def find_ranges(content: bytes, inputs: Iterable[Mapping[str, Array]], limit: float) -> Ranges:
    """Runs the ONNX file ``content`` on each of ``inputs`` and looks at every value in it. Raises DiagnosticError E0934
    where one is NaN."""
    from compiler.targets.onnx.file import expose
    from compiler.targets.onnx.narrow.layers import beyond, float_values, takers, typed

    model = typed(content)
    made = float_values(model)
    session = InferenceSession(expose(model.SerializeToString(), made), optimise=False, threads=1)
    values: dict[str, tuple[float, float]] = {}
    large: set[str] = set()
    for given in inputs:
        results = session.run(given)
        for name, array in [*given.items(), *((name, results[name]) for name in made)]:
            if array.dtype != np.float32 or not array.size:
                continue
            low, high = values.get(name, (0.0, 0.0))
            values[name] = float(np.minimum(low, array.min())), float(np.maximum(high, array.max()))
            if np.isnan(values[name]).any():
                raise _not_a_number(made.get(name, name))
            if beyond(array, limit):
                large.add(name)
    infinite = {name for name, ends in values.items() if not np.isfinite(ends).all()}

    def around(names: set[str]) -> frozenset[str]:
        return frozenset({*(made[name] for name in names if name in made), *takers(model, names)})

    return Ranges(values, around(large), around(infinite))


def _not_a_number(where: str) -> DiagnosticError:
    title = f"{where} gives NaN for a sample that its range was to be found with"
    advice = "look for NaN in the data, and for what grows without bounds: dlc inspect"
    return DiagnosticError([error("E0934", title, None, help=advice)])
