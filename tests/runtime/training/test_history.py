import json
import math
from pathlib import Path

import numpy as np
import pytest

from runtime.training.history import History, Row, read_history


def history() -> History:
    return History(
        [
            Row(1, 10, {"loss": 1 / 3, "val.loss": 2.0}),
            Row(2, 20, {"loss": 0.25, "val.loss": math.nan}),
            Row(3, 30, {"loss": 1e-9, "val.loss": 1.5, "val.accuracy": 0.5}),
        ]
    )


def test_csv_has_every_digit_and_gaps_where_there_is_no_figure() -> None:
    assert history().csv() == (
        "epoch,step,loss,val.loss,val.accuracy\n1,10,0.3333333333333333,2.0,\n2,20,0.25,nan,\n3,30,1e-09,1.5,0.5\n"
    )
    assert History().csv() == "epoch,step\n"


def test_a_figure_of_all_epochs() -> None:
    assert history()["loss"] == [1 / 3, 0.25, 1e-9]
    assert [math.isnan(value) for value in history()["val.accuracy"]] == [True, True, False]
    with pytest.raises(KeyError, match=r"the history has loss, val\.loss, val\.accuracy"):
        history()["los"]


def test_best() -> None:
    assert history().best("val.loss", "lower").epoch == 3
    assert history().best("val.loss", "higher").epoch == 1
    with pytest.raises(KeyError):
        history().best("f1", "higher")


def test_early_stopping_marks_the_epoch_that_is_kept() -> None:
    stopped = History([Row(number, 5 * number, {"loss": float(number)}) for number in (1, 2, 3)])
    assert stopped.final == stopped.rows[2]
    stopped.best_step = 10
    assert stopped.final == stopped.rows[1]
    assert stopped.csv() == "epoch,step,best,loss\n1,5,0,1.0\n2,10,1,2.0\n3,15,0,3.0\n"
    assert History().final is None


def test_survives_json_exactly() -> None:
    again = History.from_json(json.loads(json.dumps(history().as_json())))
    assert again.csv() == history().csv()
    assert [row.step for row in again] == [10, 20, 30]
    assert len(again) == 3


def test_tables_are_kept_of_the_final_row_alone() -> None:
    table = np.array([[3, 1], [0, 2]])
    made = History([Row(number, number, {"loss": 1.0}, {"val.confusion": table * number}) for number in (1, 2, 3)])
    made.best_step = 2
    made.keep_final_tables()
    again = History.from_json(json.loads(json.dumps(made.as_json())))
    assert [list(row.tables) for row in again] == [[], ["val.confusion"], []]
    np.testing.assert_array_equal(again.rows[1].tables["val.confusion"], 2 * table)
    assert again.names == ("loss",)


@pytest.mark.parametrize(
    "content", [[[1, 2]], [["epoch", 1, 2, {}]], [["epoch", 1, 2, {"loss": "much"}, {}]], {"rows": 1}, None]
)
def test_refuses_what_is_no_history(content: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        History.from_json(content)


def test_from_csv() -> None:
    before = history()
    before.best_step = 30
    after = History.from_csv(before.csv())
    assert after.csv() == before.csv()
    assert (after.best_step, after.best_epoch, after.unit) == (30, 3, "epoch")
    assert len(History.from_csv("epoch,step\n")) == 0


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "epoch,step,loss\n1,2\n", "epoch,step\n1,2,3\n", "epoch,step\nx,1\n"])
def test_what_is_no_history(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"no history|invalid literal"):
        History.from_csv(text)
    (tmp_path / "history.csv").write_text(text)
    assert len(read_history(tmp_path / "history.csv")) == 0
    assert len(read_history(tmp_path / "none.csv")) == 0


def test_rows_that_are_counted_by_steps() -> None:
    rows = [Row(epoch, step, {"loss": 1.0 / step}, unit="step") for epoch, step in ((1, 10), (1, 20), (2, 30))]
    counted = History(rows, best_step=20)
    assert (counted.unit, counted.places, counted.places_by("epoch")) == ("step", [10, 20, 30], [1, 1, 2])
    assert (counted.best_place, counted.best_epoch, counted.final) == (20, 1, rows[1])
    assert counted.csv().splitlines()[:3] == ["step,epoch,best,loss", "10,1,0,0.1", "20,1,1,0.05"]
    again = History.from_csv(counted.csv())
    assert (again.csv(), again.unit, again.best_step) == (counted.csv(), "step", 20)
    assert History.from_json(json.loads(json.dumps(counted.as_json()))).rows == rows
