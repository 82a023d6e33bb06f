"""Which of two ways of doing the same is faster just now."""

from __future__ import annotations

# The other way is tried after so many times at first, and then each time after twice as many, up to the last.
_SOON, _LATE = 16, 512
# It is tried so often in a row. The first of these do not count: caches hold what the way before left there, and who
# helps may be asleep.
_TRIES, _COLD = 6, 3
# How much the last time counts in the mean of those before.
_SHARE = 1 / 16


class Habit:
    """Does something in the first way until the second turns out to be faster, and the other way round: what is fast
    depends on what else the machine does. The way that is not taken is tried from time to time."""

    def __init__(self) -> None:
        self._first, self._wait, self._left = True, _SOON, _SOON
        self._mean: float | None = None
        self._trials: list[float] = []

    def first(self) -> bool:
        """Whether to do it in the first way now; :meth:`took` is to be told how long that was."""
        return self._first if self._left > 0 else not self._first

    def took(self, seconds: float) -> None:
        """Takes note of the seconds that it took in the way that :meth:`first` said."""
        if self._left > 0:
            self._left -= 1
            # What is done the first times makes things ready.
            if self._mean is not None:
                self._mean += (seconds - self._mean) * _SHARE
            elif self._left < _SOON - _COLD:
                self._mean = seconds
            return
        self._trials.append(seconds)
        if len(self._trials) == _TRIES:
            self._decide(sum(self._trials[_COLD:]) / (_TRIES - _COLD))
            self._trials.clear()

    def _decide(self, mean: float) -> None:
        assert self._mean is not None, "there were times before the other way was tried"
        if mean < self._mean:
            self._first, self._wait, self._mean = not self._first, _SOON, mean
        else:
            self._wait = min(2 * self._wait, _LATE)
        self._left = self._wait
