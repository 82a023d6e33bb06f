"""Whether the random numbers are random: statistics with fixed seeds, at limits that chance passes in all but one of a
million cases (five standard deviations). That every target draws the same ones is tested with the samples."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.base import Array
from compiler.ops.interpret import interpret_outputs
from compiler.ops.random import PART, RandomBits, RandomKeep, RandomUniform, triple32
from compiler.targets.numpy import generate

I64 = TensorType(DType.I64)
SIGMAS = 5.0
COUNT = 1 << 16


def bits(seed: int, counter: int = 0, stream: int = 0, word: int = 0, count: int = COUNT) -> Array:
    (result,) = RandomBits((count,), stream, word).reference({}, np.array(seed), np.array(counter))
    return result


def uniform(dtype: DType = DType.F32, seed: int = 1) -> Array:
    (result,) = RandomUniform((COUNT,), 3, 0, dtype).reference({}, np.array(seed), np.array(2))
    return result


def normal(seed: int = 1, mean: float = 0.0, deviation: float = 1.0) -> Array:
    b = Emit("g")
    seed_value, counter = b.input("seed", I64), b.input("counter", I64)
    b.output("drawn", b.normal((COUNT,), seed_value, counter, 5, mean, deviation))
    return interpret_outputs(b.finish(), {"seed": np.array(seed), "counter": np.array(7)})["drawn"]


def correlation(a: Array, b: Array) -> float:
    """In standard deviations of what independent draws give."""
    return float(np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1] * math.sqrt(len(a)))


def chi_square(counts: Array) -> float:
    """How far the counts are from even, in standard deviations."""
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / math.sqrt(2 * freedom))


def test_the_numbers_stay_what_they_are() -> None:
    """A checkpoint is resumed, and a run repeated, only if a later dlc draws the same numbers."""
    assert bits(1, 2, 3, count=4).tolist() == [2058039152, 752940141, 2076006184, 4245079859]


def test_the_definition_in_plain_integers() -> None:
    """The same numbers by Python's integers, element by element."""
    seed, counter, stream, word = -7, 2**33 + 5, 2**35 + 1, 1
    keys = [0x243F6A88, 0xB7E15162]
    for number in (stream, stream >> 32, word, seed, seed >> 32, counter, counter >> 32):
        keys = [triple32(key ^ (number & 0xFFFFFFFF)) for key in keys]
    expected = []
    for index in range(100):
        x = index + keys[0] & 0xFFFFFFFF
        x = (x ^ x >> 17) * 0xED5AD4BB & 0xFFFFFFFF
        x = (x ^ x >> 11) * 0xAC4C1B51 + keys[1] & 0xFFFFFFFF
        x = (x ^ x >> 15) * 0x31848BAB & 0xFFFFFFFF
        expected.append(x ^ x >> 14)
    # The word is hashed in before the seed, the stream before the word.
    assert bits(seed, counter, stream, word, count=100).tolist() == expected


@pytest.mark.parametrize("seed", [0, 1, -1, 2**40])
def test_bytes_and_bits_are_even(seed: int) -> None:
    drawn = bits(seed)
    for column in drawn.view(np.uint8).reshape(-1, 4).T:
        assert abs(chi_square(np.bincount(column, minlength=256))) < SIGMAS
    ones = (drawn[:, None] >> np.arange(32, dtype=np.uint32) & 1).sum(axis=0)
    assert np.all(np.abs(ones - COUNT / 2) < SIGMAS * math.sqrt(COUNT) / 2)


def test_pairs_of_neighbours_are_even() -> None:
    """Bytes of successive elements fall into all pairs equally often: a test in two dimensions."""
    top = (bits(11, count=1 << 18) >> np.uint32(26)).astype(np.int64)
    pairs = top[:-1:2] * 64 + top[1::2]
    assert abs(chi_square(np.bincount(pairs, minlength=4096))) < SIGMAS


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 7, 8, 16, 64, 128, 784, 1024])
def test_no_serial_correlation(lag: int) -> None:
    drawn = bits(5)
    assert abs(correlation(drawn[:-lag], drawn[lag:])) < SIGMAS


@pytest.mark.parametrize("step", [1, 2, 3, 1 << 16, 1 << 32])
@pytest.mark.parametrize("part", ["seed", "counter", "stream"])
def test_neighbouring_keys_are_unrelated(part: str, step: int) -> None:
    base = {"seed": 3, "counter": 4, "stream": 5}
    first, second = bits(**base), bits(**{**base, part: base[part] + step})
    assert abs(correlation(first, second)) < SIGMAS
    differing = np.bitwise_count(first ^ second).mean()
    assert abs(differing - 16) < SIGMAS * math.sqrt(8 / COUNT)
    # The same place shifted by one would be the same sequence read from elsewhere.
    assert abs(correlation(first[1:], second[:-1])) < SIGMAS


def test_words_of_one_use_are_unrelated() -> None:
    assert abs(correlation(bits(3), bits(3, word=1))) < SIGMAS


def test_first_elements_over_counters_are_even() -> None:
    """One number drawn at each step of a long training is as random as many drawn at one step."""
    firsts = np.array([bits(1, counter=step, count=1)[0] for step in range(4096)])
    assert abs(chi_square(np.bincount(firsts >> np.uint32(26), minlength=64))) < SIGMAS
    assert abs(correlation(firsts[:-1], firsts[1:])) < SIGMAS


def test_streams_do_not_collide() -> None:
    """For one seed and counter no two streams have the same first key, as each step of its making can be undone."""
    keys = Counter(RandomBits((), stream).start_keys()[0] for stream in range(20000))
    assert max(keys.values()) == 1


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16, DType.F32, DType.F64])
def test_uniform_moments_and_range(dtype: DType) -> None:
    drawn = uniform(dtype)
    assert drawn.dtype == dtype.numpy
    wide = drawn.astype(np.float64)
    assert wide.min() >= 0
    assert wide.max() < 1
    coarse = {DType.F16: 2.0**-11, DType.BF16: 2.0**-8}.get(dtype, 2.0**-24)
    assert abs(wide.mean() + coarse / 2 - 0.5) < SIGMAS * math.sqrt(1 / 12 / COUNT)
    assert abs(wide.var() - 1 / 12) < SIGMAS * math.sqrt(1 / 180 / COUNT) + coarse
    assert abs(chi_square(np.histogram(wide, 100, (0, 1))[0])) < SIGMAS or dtype in (DType.F16, DType.BF16)


def test_uniform_between_bounds() -> None:
    b = Emit("g")
    seed, counter = b.input("seed", I64), b.input("counter", I64)
    b.output("drawn", b.uniform((COUNT,), seed, counter, 5, -3.0, 5.0))
    drawn = interpret_outputs(b.finish(), {"seed": np.array(1), "counter": np.array(0)})["drawn"]
    assert drawn.min() >= -3
    assert drawn.max() <= 5
    assert abs(drawn.astype(np.float64).mean() - 1) < SIGMAS * math.sqrt(64 / 12 / COUNT)


def test_normal_distribution() -> None:
    drawn = np.sort(normal().astype(np.float64))
    assert abs(drawn.mean()) < SIGMAS / math.sqrt(COUNT)
    assert abs(drawn.var() - 1) < SIGMAS * math.sqrt(2 / COUNT)
    assert abs((drawn**3).mean()) < SIGMAS * math.sqrt(15 / COUNT)
    assert abs((drawn**4).mean() - 3) < SIGMAS * math.sqrt(96 / COUNT)
    # Kolmogorov and Smirnov: the largest distance from the distribution function, 2.5/sqrt(n) in one of 10^5 cases.
    distribution = np.array([(1 + math.erf(x / math.sqrt(2))) / 2 for x in drawn])
    assert np.abs(distribution - np.arange(COUNT) / COUNT).max() < 2.5 / math.sqrt(COUNT)
    assert np.isfinite(drawn).all()


def test_normal_with_mean_and_deviation() -> None:
    assert np.allclose(normal(mean=3.0, deviation=0.5), normal() * 0.5 + 3, atol=1e-6)


def test_a_bad_generator_is_found() -> None:
    """The limits can be passed: a counter multiplied by an odd constant fails them."""
    weak = np.arange(COUNT, dtype=np.uint32) * np.uint32(0x9E3779B1)
    assert abs(correlation(weak[:-1], weak[1:])) > SIGMAS
    assert abs(chi_square(np.bincount(weak.view(np.uint8)[::4], minlength=256))) > SIGMAS


def test_a_program_makes_the_same_bits_in_parts_as_at_once() -> None:
    """Also where the last part is a short one, and where others come before them."""
    for count in (PART - 1, PART, 2 * PART + 17):
        for operation in (RandomBits((count,), 3), RandomUniform((count,), 3), RandomKeep((count,), 3, rate=0.3)):
            b = Emit("step")
            seed, start = (b.input(name, TensorType(DType.I64)) for name in ("seed", "start"))
            b.output("y", b.add(operation, seed, seed, start))
            module: dict[str, Any] = {"__name__": "generated"}
            exec(compile(generate([b.finish()]), "generated.py", "exec"), module)
            numbers = np.array(5), np.array(2**32 - 100)
            (expected,) = operation.reference({}, numbers[0], *numbers)
            np.testing.assert_array_equal(module["bind_step"]({})(*numbers)["y"], expected)
