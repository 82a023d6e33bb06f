"""Which layers go back, and how few files are tried for it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from runtime.inference.precision.forms import Level, Plan
from runtime.inference.precision.search import find_plan

LEVELS: Mapping[str, tuple[Level, ...]] = {f"layer{n}": ("int8", "stored", "f32") for n in range(8)}
LOSS = {"int8": 1.0, "stored": 0.25, "f32": 0.0}


class Scales:
    """A form whose files are their plans; each layer loses by its weight, and by the level that it has."""

    def __init__(self, weights: Mapping[str, float], limit: float, unsound: str = "") -> None:
        self.weights, self.limit, self.unsound = weights, limit, unsound
        self.tried = 0
        self.layers = LEVELS

    def make(self, plan: Plan) -> bytes | None:
        return None if plan.get(self.unsound) == "int8" else json.dumps(dict(plan)).encode()

    def harm(self, content: bytes) -> float:
        return sum(self.weights[name] * LOSS[level] for name, level in json.loads(content).items())

    def passes(self, content: bytes) -> bool:
        self.tried += 1
        return self.harm(content) <= self.limit

    def found(self) -> dict[str, Level] | None:
        found = find_plan(self, self.passes, self.harm)
        return None if found is None else {name: level for name, level in found.plan.items() if level != "int8"}


WEIGHTS = {f"layer{n}": float(n) for n in range(8)}


def test_all_layers_where_that_passes() -> None:
    form = Scales(WEIGHTS, limit=100)
    assert form.found() == {}
    assert form.tried == 1


def test_the_fewest_of_the_worst() -> None:
    # 28 in all: layers 7, 6 and 5 take three quarters of their 18 away.
    form = Scales(WEIGHTS, limit=15)
    assert form.found() == {"layer7": "stored", "layer6": "stored", "layer5": "stored"}
    assert form.tried <= 5


def test_to_f32_where_stored_is_not_enough() -> None:
    form = Scales(WEIGHTS, limit=3)
    found = form.found()
    assert found is not None
    assert [name for name, level in found.items() if level == "f32"] == ["layer5", "layer6", "layer7"]
    assert found["layer0"] == "stored"


def test_none_where_only_f32_passes() -> None:
    assert Scales(WEIGHTS | {"layer0": 0.5}, limit=0.01).found() is None


def test_a_layer_of_which_no_file_can_be_made_goes_first() -> None:
    assert Scales(WEIGHTS, limit=100, unsound="layer2").found() == {"layer2": "stored"}
