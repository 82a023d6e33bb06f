import numpy as np
import pytest

from runtime.data.order import Stream, shuffled


def test_is_a_permutation() -> None:
    assert sorted(shuffled(100, 0, Stream.EPOCH, 1)) == list(range(100))
    assert shuffled(0, 0, Stream.SPLIT).shape == (0,)


def test_never_changes() -> None:
    # Kept from the first version: a checkpoint made then has to find the same batches.
    assert shuffled(8, 0, Stream.SPLIT).tolist() == SPLIT
    assert shuffled(8, 0, Stream.EPOCH, 1).tolist() == FIRST


SPLIT = [7, 2, 0, 4, 3, 5, 6, 1]
FIRST = [3, 7, 0, 2, 4, 1, 6, 5]


def test_depends_on_seed_use_and_number() -> None:
    orders = [
        shuffled(50, seed, stream, number).tolist()
        for seed in (0, 1, -1, 2**63 - 1)
        for stream in Stream
        for number in (0, 1, 2)
    ]
    assert len({tuple(order) for order in orders}) == len(orders)


@pytest.mark.parametrize("count", [2, 3])
def test_every_order_is_as_likely(count: int) -> None:
    orders, counts = np.unique([shuffled(count, 0, Stream.EPOCH, n) for n in range(3000)], axis=0, return_counts=True)
    expected = 3000 / len(orders)
    assert len(orders) == {2: 2, 3: 6}[count]
    # Five standard deviations of a binomial count.
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
