"""Slots: no two blocks that are needed at one time share one, and every block fits its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from compiler.ir.dims import evaluate, symbol
from compiler.targets.numpy.memory import ALIGNMENT, Block, assign_slots

N, T = symbol("N"), symbol("T", 64)
SIZES = (4, 16, 256, 64 * N, 4 * N, 4 * N * T, 100 * T, 8 * N + 4, 4096)

blocks = st.lists(
    st.builds(
        lambda size, first, length: Block(size, first, first + length),
        st.sampled_from(SIZES),
        st.integers(0, 30),
        st.integers(0, 10),
    ),
    max_size=40,
)


@given(blocks, st.integers(1, 100), st.integers(1, 64))
def test_blocks_never_collide_and_always_fit(blocks: list[Block], n: int, t: int) -> None:
    places, slots = assign_slots(blocks)
    sizes = {"N": n, "T": t}
    for block in blocks:
        assert slots[places[block]].bytes(sizes) >= evaluate(block.bytes, sizes) + ALIGNMENT
    for a in blocks:
        for b in blocks:
            if a is not b and places[a] == places[b]:
                assert a.last < b.first or b.last < a.first


def test_a_slot_is_used_again_after_the_last_use_of_its_block() -> None:
    first, overlapping, after = Block(64 * N, 0, 1), Block(64 * N, 1, 2), Block(64 * N, 2, 3)
    places, slots = assign_slots([first, overlapping, after])
    assert len(slots) == 2
    assert places[after] == places[first] != places[overlapping]


def test_the_smallest_slot_that_is_large_enough_is_taken() -> None:
    large, small, needed = Block(400, 0, 0), Block(200, 0, 0), Block(100, 1, 1)
    places, _ = assign_slots([large, small, needed])
    assert places[needed] == places[small]


def test_a_slot_grows_where_none_is_large_enough() -> None:
    small, needed = Block(4 * N, 0, 0), Block(8 * N, 1, 1)
    places, slots = assign_slots([small, needed])
    assert places[needed] == places[small]
    assert slots[0].sizes == [8 * N]


def test_a_slot_is_as_large_as_either_block_where_that_depends_on_the_sizes() -> None:
    _, slots = assign_slots([Block(4 * N, 0, 0), Block(128, 1, 1)])
    assert [slot.bytes({"N": 1}) for slot in slots] == [128 + ALIGNMENT]
    assert [slot.bytes({"N": 1000}) for slot in slots] == [4000 + ALIGNMENT]


def test_a_small_block_leaves_large_slots_to_large_ones() -> None:
    large, small, again = Block(10**6, 0, 0), Block(4, 1, 100), Block(10**6, 2, 3)
    places, slots = assign_slots([large, small, again])
    assert places[again] == places[large] != places[small]
    assert sum(slot.bytes({}) for slot in slots) < 10**6 + 1000


def test_many_blocks_take_work_in_proportion(work) -> None:
    def assign(count: int) -> int:
        blocks = [Block(64 * (index % 97 + 1) * N, index, index + index % 50) for index in range(count)]
        return work(lambda: assign_slots(blocks))

    assign(1000)
    assert assign(10_000) < 15 * assign(1000)
