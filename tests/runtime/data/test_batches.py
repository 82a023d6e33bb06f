import numpy as np

from runtime.data.batches import Batches, DataSet


def data(count: int = 10) -> DataSet:
    rows = np.arange(count)
    arrays = {"x": np.arange(count * 6, dtype=np.float32).reshape(count, 2, 3), "y": rows.astype(np.int64)}
    return DataSet(arrays, rows)


def test_an_epoch_takes_every_sample_once_in_step() -> None:
    batches = Batches(data(), 4, seed=3)
    assert len(batches) == 3
    assert [batches.count(index) for index in range(3)] == [4, 4, 2]
    seen = []
    for index in range(3):
        batch = batches.at(1, index)
        assert len(batch["x"]) == len(batch["y"]) == batches.count(index)
        np.testing.assert_array_equal(batch["x"][:, 0, 0], batch["y"] * 6)
        seen += batch["y"].tolist()
    assert sorted(seen) == list(range(10))
    assert seen != sorted(seen)


def test_epochs_are_shuffled_differently_and_in_any_order_of_asking() -> None:
    batches = Batches(data(), 10, seed=3)
    first, second = batches.at(1, 0)["y"].copy(), batches.at(2, 0)["y"].copy()
    assert first.tolist() != second.tolist()
    np.testing.assert_array_equal(batches.at(1, 0)["y"], first)


def test_batches_are_gathered_into_the_same_memory() -> None:
    batches = Batches(data(), 4, seed=3)
    first, last = batches.at(1, 0)["x"], batches.at(1, 2)["x"]
    assert last.flags.c_contiguous
    assert np.shares_memory(first, last)


def test_without_a_seed_the_order_of_the_rows_stays() -> None:
    subset = data().take(np.array([7, 2, 5]))
    batches = Batches(subset, 2, seed=None)
    assert [batches.at(0, index)["y"].tolist() for index in range(2)] == [[7, 2], [5]]


def test_a_batch_is_no_larger_than_the_data() -> None:
    batches = Batches(data(3), 64, seed=0)
    assert len(batches) == 1
    assert sorted(batches.at(1, 0)["y"]) == [0, 1, 2]


def test_a_set_taken_from_a_taken_set() -> None:
    subset = data().take(np.array([9, 8, 7])).take(np.array([0, 2]))
    assert len(subset) == 2
    assert Batches(subset, 5, seed=None).at(0, 0)["y"].tolist() == [9, 7]
