from __future__ import annotations

from collections.abc import Callable

import pytest

from runtime.programs.habit import Habit


def follow(habit: Habit, times: int, seconds: Callable[[bool], float]) -> list[bool]:
    """The ways taken, so many times."""
    taken = []
    for _ in range(times):
        taken.append(habit.first())
        habit.took(seconds(taken[-1]))
    return taken


def test_the_first_way_is_kept_while_it_is_faster_and_the_other_tried_ever_less() -> None:
    taken = follow(Habit(), 4000, lambda first: 1.0 if first else 2.0)
    trials = [number for number, first in enumerate(taken) if not first]
    assert trials[:12] == [*range(16, 22), *range(54, 60)]
    assert len(trials) < 80
    assert trials[-1] - trials[-7] == 518


def test_the_second_way_is_taken_when_it_is_faster_and_the_first_again_later() -> None:
    habit = Habit()
    assert follow(habit, 200, lambda first: 2.0 if first else 1.0)[-1] is False
    assert follow(habit, 2000, lambda first: 1.0 if first else 2.0)[-1] is True


@pytest.mark.parametrize("late", [1, 2, 40])
def test_what_is_slow_once_decides_little(late: int) -> None:
    count = 0

    def seconds(first: bool) -> float:
        nonlocal count
        count += 1
        return 50.0 if count == late else 1.0 if first else 5.0

    taken = follow(Habit(), 3000, seconds)
    assert sum(not first for first in taken) < 150
    assert taken[-1] is True


def test_the_first_times_after_a_change_of_ways_do_not_count() -> None:
    before: list[bool] = [True] * 3

    def seconds(first: bool) -> float:
        cold = before[-3:] != [first] * 3
        before.append(first)
        return (1.0 if first else 0.9) + 5.0 * cold

    assert follow(Habit(), 400, seconds)[-1] is False
