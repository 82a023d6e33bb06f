"""Which samples a share takes, of every kind of share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import dlc
from compiler.diagnostics import DiagnosticError
from compiler.sources import Share
from runtime.data.batches import DataSet
from runtime.data.choose import split
from runtime.data.classes import Keys
from runtime.data.columns import Windows

MODEL = """\
model Net(x: f32[N, 2]) -> f32[N, 3] { dense(3) }

train net(x: f32[N, 2], label: i64[N]) {
    minimize cross_entropy(Net(x), label) with adam
    epochs 1
}
"""
PROGRAM = dlc.loads(MODEL)._project.train()


def parts(
    count: int, validate: Share | None, test: Share | None = None, keys: Sequence[Any] | None = None, seed: int = 0
) -> tuple[list[int], list[int], list[int]]:
    data = DataSet({}, np.arange(count))
    found = split(data, validate, test, seed, keys=lambda share: np.asarray(keys))
    train, validation, tested = ([] if part is None else part.rows.tolist() for part in found)
    assert sorted(train + validation + tested) == list(range(count))
    return train, validation, tested


def test_the_last_rows_in_their_order() -> None:
    train, validation, tested = parts(10, Share("last", 0.2), Share("last", 0.1))
    assert (validation, tested) == ([7, 8], [9])
    assert sorted(train) == list(range(7))


def test_kinds_may_be_mixed() -> None:
    _, validation, tested = parts(20, Share("shuffled", 0.25), Share("last", 0.1))
    assert tested == [18, 19]
    assert len(validation) == 5


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_stratified_takes_the_same_share_of_every_class(share: float, seed: int) -> None:
    classes = np.repeat([3, 7, 1], [100, 20, 7])
    order = np.random.default_rng(seed).permutation(len(classes))
    classes = classes[order]
    train, validation, _ = parts(len(classes), Share("stratified", share), keys=classes.tolist(), seed=seed)
    assert len(validation) == round(share * len(classes))
    for found, count in ((3, 100), (7, 20), (1, 7)):
        assert abs(np.count_nonzero(classes[validation] == found) - share * count) < 1
        assert np.count_nonzero(classes[train] == found) > 0


def test_stratified_leaves_one_of_each_class() -> None:
    train, validation, _ = parts(6, Share("stratified", 0.8), keys=["a", "a", "a", "a", "a", "b"])
    assert validation == [0, 1, 2, 3, 4][: len(validation)] or len(validation) == 4
    assert 5 in train


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together(seed: int) -> None:
    groups = np.random.default_rng(seed).integers(0, 20, 200)
    train, validation, tested = parts(200, Share("grouped", 0.2), Share("grouped", 0.2), keys=groups, seed=seed)
    for one, other in ((train, validation), (train, tested), (validation, tested)):
        assert not set(groups[one]) & set(groups[other])
    assert abs(len(validation) - 40) <= 10
    assert abs(len(tested) - 40) <= 10


@pytest.mark.parametrize(
    ("share", "keys", "why"),
    [
        (Share("grouped", 0.5, "day"), [1, 1, 1], "day has one value only"),
        (Share("stratified", 0.3), [1, 2, 3], "every class has too few of them"),
    ],
)
def test_too_coarse(share: Share, keys: list[int], why: str) -> None:
    with pytest.raises(DiagnosticError, match="E0612") as caught:
        parts(3, share, keys=keys)
    assert why in str(caught.value)


class TestWindows:
    def text(self, length: int = 100, window: int = 8, stride: int = 1) -> DataSet:
        values = Windows(np.arange(length), window, beyond=1)
        return DataSet({"tokens": values}, np.arange(len(values)), "text.txt", window=window, stride=stride)

    def test_no_window_reaches_into_another_part(self) -> None:
        train, validation, tested = split(self.text(), Share("last", 0.2), Share("last", 0.1), 0)
        assert validation is not None
        assert tested is not None
        reach = [(part.rows.min(), part.rows.max() + part.window) for part in (train, validation, tested)]
        assert reach == [(0, 69), (70, 86), (90, 98)]
        assert len(train) == 70 - 8

    def test_windows_that_are_evaluated_lie_side_by_side(self) -> None:
        _, validation, _ = split(self.text(), Share("last", 0.5), None, 0)
        assert validation is not None
        assert validation.rows.tolist() == [50, 58, 66, 74, 82, 90]
        assert self.text().apart().rows.tolist() == list(range(0, 92, 8))

    def test_the_stride_is_that_of_training(self) -> None:
        train, _, _ = split(self.text(stride=5), None, None, 0)
        assert train.rows.tolist() == list(range(0, 92, 5))

    def test_they_cannot_be_shuffled(self) -> None:
        with pytest.raises(DiagnosticError) as caught:
            split(self.text(), Share("shuffled", 0.2), None, 0)
        assert str(caught.value) == (
            "error[E0619]: windows of text.txt overlap, so that a shuffled share would be seen in training\n"
            "  = help: set the last part of the text apart: validate last(20%)"
        )

    @pytest.mark.parametrize(
        ("share", "why"),
        [(0.95, "no window of 8 to train on: of 100"), (0.05, "no window of 8 to validate with: of 100")],
    )
    def test_nothing_left(self, share: float, why: str) -> None:
        with pytest.raises(DiagnosticError, match="E0612") as caught:
            split(self.text(), Share("last", share), None, 0)
        assert why in str(caught.value)


class TestKeys:
    def keys(self, **arrays: Any) -> Keys:
        return Keys(PROGRAM, arrays, DataSet({}, np.arange(3), "a.npz"))

    def test_the_classes_are_found(self) -> None:
        assert self.keys(label=[2, 1, 0])(Share("stratified", 0.2)).tolist() == [2, 1, 0]

    def test_another_array_of_the_data(self) -> None:
        assert self.keys(day=["a", "b", "c"])(Share("grouped", 0.2, "day")).tolist() == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("share", "code", "why"),
        [
            (Share("grouped", 0.2, "days"), "E0605", "there is no array `days` in a.npz, for the grouped share"),
            (Share("grouped", 0.2, "x"), "E0619", "`x` has the shape [3, 2]"),
        ],
    )
    def test_mistakes(self, share: Share, code: str, why: str) -> None:
        with pytest.raises(DiagnosticError, match=code) as caught:
            self.keys(day=[1, 2, 3], x=np.zeros((3, 2)))(share)
        assert why in str(caught.value)

    def test_it_is_not_clear_which_are_the_classes(self) -> None:
        program = dlc.loads(MODEL.replace("label: i64[N])", "label: i64[N], other: i64[N])"))._project.train()
        with pytest.raises(DiagnosticError, match="E0619") as caught:
            Keys(program, {}, DataSet({}, np.arange(3)))(Share("stratified", 0.2))
        assert 'name it: stratified(20%, by="label")' in str(caught.value)


def test_a_class_that_training_never_sees() -> None:
    arrays = {"x": np.zeros((6, 2), np.float32), "label": [0, 0, 0, 1, 1, 1]}
    other = {"x": np.zeros((2, 2), np.float32), "label": [2, 0]}
    with pytest.warns(UserWarning, match="W0601") as caught:
        dlc.loads(MODEL).fit(arrays, validate=other)
    assert "a value of `label` in the samples to validate is in none of those to train on: 2" in str(caught[0].message)
