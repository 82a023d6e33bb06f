from typing import Any

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from compiler.program import TrainProgram
from runtime.data.bind import bind
from runtime.training.evaluation import Totals, evaluate

WEIGHT, BIAS = np.float32([[0.9], [-0.4], [0.2]]), np.float32([0.3])


def engine(line: Any, program: TrainProgram) -> Any:
    kept = {"Line.dense.weight": WEIGHT, "Line.dense.bias": BIAS}
    return line.ReferenceEngine(program, kept)


@pytest.mark.parametrize("batch", [1, 7, 50, 64, None])
def test_figures_are_those_of_the_whole_set_whatever_the_batch(line: Any, program: TrainProgram, batch: int) -> None:
    arrays = line.line_data(50)
    seen: list[int] = []
    figures = evaluate(program, engine(line, program), bind(program, arrays), batch=batch, each=seen.append).figures
    difference = arrays["x"].astype(np.float64) @ WEIGHT + BIAS - np.log(arrays["y"])
    assert figures == pytest.approx({"loss": np.mean(difference**2), "mae": np.mean(np.abs(difference))}, rel=1e-6)
    assert sum(seen) == 50
    assert seen[0] == min(batch or 8, 50)


def test_a_loss_that_is_not_finite(line: Any, program: TrainProgram) -> None:
    arrays = line.line_data(20)
    arrays["y"][9:] = 0
    with pytest.raises(DiagnosticError) as caught:
        evaluate(program, engine(line, program), bind(program, arrays))
    assert str(caught.value) == (
        "error[E0702]: the loss of batch 2 of the data is infinite\n"
        " --> line.dl:2:38\n"
        "  |\n"
        "2 |     minimize mean(square(x -> Line - log(y))) with sgd(RATE, momentum=0.9)\n"
        "  |                                      ^^^^^^ `log` gives -inf first\n"
        "  |\n"
        f"  = note: `log` takes %y: f32[N, 1], from 0 to {arrays['y'][8, 0]:.6g}\n"
        "  = help: the logarithm needs numbers above 0: keep them there, as in log(x + 1e-7), "
        "or use cross_entropy or bce\n"
        "  = help: a smaller learning rate, or inputs scaled to about -1 to 1, is the usual cure"
    )


def test_totals_add_up_in_wide_types() -> None:
    totals = Totals()
    for _ in range(3):
        totals.add(("count", "sum"), {"count": np.array(250, np.uint8), "sum": np.array(1e30, np.float32)})
    assert totals.sums["count"] == 750
    assert totals.sums["sum"] == 3 * float(np.float32(1e30))
    assert totals.sums["count"].dtype == np.int64
