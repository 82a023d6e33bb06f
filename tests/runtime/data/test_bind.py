"""Arrays that do not fit the program: each with its exact report."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError, Source
from compiler.ir.builder import Builder
from compiler.ir.dims import symbol
from compiler.ir.graph import Origin
from compiler.ir.types import DType, TensorType
from compiler.program import IndexRange, Settings, TrainProgram
from runtime.data.bind import bind
from runtime.data.sources import load_arrays

N, T = symbol("N"), symbol("T", 5)
SOURCE = Source(
    "net.dl", "train net(image: f32[N, 2], token: i64[N, T <= 5], mask: bool[N, T - 1]) {\n    dense(4)\n}\n"
)

DENSE = SOURCE.span(SOURCE.text.index("dense(4)"), SOURCE.text.index("dense(4)") + 8)


def taking(**inputs: TensorType) -> TrainProgram:
    """A program with these inputs, declared one after the other in the source, and classes 0 to 3 in `token`."""
    b = Builder("evaluate")
    for name, type in inputs.items():
        start = SOURCE.text.find(f"{name}: ")
        with b.at(Origin((SOURCE.span(start, SOURCE.text.index("]", start) + 1),) if start >= 0 else ())):
            b.input(name, type)
    graph = b.finish()
    values = tuple(item.value for item in graph.inputs)
    ranges = (IndexRange("token", 4, DENSE),) if "token" in inputs else ()
    return TrainProgram("net", values, "N", graph, (), graph, (), (), ranges=ranges, settings=Settings())


IMAGE = {"image": TensorType(DType.F32, (N, 2))}
TOKEN = {"token": TensorType(DType.I64, (N, T))}
MASK = {"mask": TensorType(DType.BOOL, (N, T - 1))}


def failure(program: TrainProgram, arrays: Any) -> str:
    with pytest.raises(DiagnosticError) as caught:
        bind(program, arrays)
    return str(caught.value)


def declared(title: str, text: str, *footer: str, input: str = "image: f32[N, 2]") -> str:
    column = SOURCE.text.index(input) + 1
    lines = [f"error{title}", f" --> net.dl:1:{column}", "  |", f"1 | {SOURCE.line(1)}"]
    lines.append(f"  | {' ' * (column - 1)}{'^' * len(input)} {text}".rstrip())
    return "\n".join([*lines, "  |", *footer])


def test_takes_what_the_program_takes_and_leaves_the_rest() -> None:
    image = np.ones((3, 2), np.float32)
    data = bind(taking(**IMAGE), {"image": image, "names": np.array(["a", "b"]), "odd": object()})
    assert list(data.arrays) == ["image"]
    assert data.arrays["image"] is image
    assert len(data) == 3


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("uint8", "f32"), ("int16", "f32"), ("bool", "f32"), ("float16", "f32"), ("float32", "f64"), ("int32", "f64"),
        ("bool", "i64"), ("uint8", "i32"), ("int32", "i64"), ("uint32", "i64"), ("bool", "u8"), (">f4", "f32"),
        ("bool", "bf16"), ("uint8", "bf16"), ("uint8", "f16"),
    ],
)  # fmt: skip
def test_conversions_that_lose_nothing(given: str, wanted: str) -> None:
    dtype = DType(wanted)
    array = np.array([[0, 1], [1, 1]]).astype(given)
    bound = bind(taking(image=TensorType(dtype, (N, 2))), {"image": array}).arrays["image"]
    assert bound.dtype == dtype.numpy
    assert bound.dtype.isnative
    np.testing.assert_array_equal(bound.astype(np.int64), array)


@pytest.mark.parametrize(
    ("given", "shown", "wanted"),
    [
        ("float64", "f64", "f32"), ("float32", "f32", "f16"), ("int32", "i32", "f32"), ("int64", "i64", "f64"),
        ("int64", "i64", "i32"), ("uint64", "uint64", "i64"), ("float32", "f32", "i64"), ("int8", "i8", "u8"),
        ("uint8", "u8", "bool"), ("complex64", "complex64", "f32"), ("float16", "f16", "bf16"),
    ],
)  # fmt: skip
def test_conversions_that_may_lose_something(given: str, shown: str, wanted: str) -> None:
    dtype = DType(wanted)
    report = failure(taking(image=TensorType(dtype, (N, 2))), {"image": np.ones((3, 2), given)})
    assert report == declared(
        f"[E0606]: `image` is {shown}, and the program takes {wanted}",
        "",
        f"  = help: convert it: image.astype(np.{dtype.numpy.name})",
    )


def test_text_instead_of_numbers() -> None:
    report = failure(taking(**IMAGE), {"image": np.array([["a", "b"]])})
    assert report == declared(
        "[E0606]: `image` is text, and the program takes f32",
        "",
        "  = help: number the words first: np.unique(image, return_inverse=True)[1]",
    )


def test_lists_of_python_numbers_take_the_declared_type() -> None:
    data = bind(taking(**IMAGE, **TOKEN), {"image": [[0, 0.1], [1, 2]], "token": [[0, 1], [2, 3]]})
    np.testing.assert_array_equal(data.arrays["image"], np.float32([[0, 0.1], [1, 2]]), strict=True)
    np.testing.assert_array_equal(data.arrays["token"], np.int64([[0, 1], [2, 3]]), strict=True)


def test_a_list_of_numbers_that_the_type_cannot_hold() -> None:
    report = failure(taking(image=TensorType(DType.U8, (N, 2))), {"image": [[0, 300]]})
    assert report.startswith("error[E0606]: `image` is i64, and the program takes u8")


def test_ragged_lists() -> None:
    assert failure(taking(**IMAGE), {"image": [[1, 2], [3]]}) == declared(
        "[E0604]: `image` is not an array: its rows have different lengths",
        "",
        "  = help: give every row the same shape, for example by padding",
    )


def test_arrays_of_objects() -> None:
    array = np.empty((2, 2), object)
    assert failure(taking(**IMAGE), {"image": array}) == declared(
        "[E0604]: `image` holds Python objects, not numbers",
        "",
        "  = help: make it rectangular and numeric: np.array(rows, dtype=np.float32)",
    )


def test_a_missing_array_with_a_near_name() -> None:
    report = failure(taking(**IMAGE), {"images": np.ones((3, 2), np.float32), "label": np.arange(3)})
    assert report == declared(
        "[E0605]: there is no array `image` in the data",
        "",
        "  = note: the data holds `images`, `label`",
        "  = help: did you mean `images`? Rename one of the two",
    )


def test_every_mistake_is_reported_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, arr_0=np.ones((3, 2)), token=np.ones((3, 2)))
    at = DENSE
    with pytest.raises(DiagnosticError) as caught:
        bind(taking(**IMAGE, **TOKEN), load_arrays(path, at=at), at=at)
    assert (
        str(caught.value)
        == f"""\
error[E0605]: there is no array `image` in d.npz
 --> net.dl:2:5
  |
1 | {SOURCE.line(1)}
  |           ---------------- taken here as f32[N, 2]
2 |     dense(4)
  |     ^^^^^^^^
  |
  = note: d.npz holds `arr_0`, `token`
  = help: arrays are found by name: np.savez(path, image=…)

error[E0606]: `token` in d.npz is f64, and the program takes i64
 --> net.dl:2:5
  |
1 | {SOURCE.line(1)}
  |                             --------------------- taken here as i64[N, T]
2 |     dense(4)
  |     ^^^^^^^^
  |
  = help: convert it: token.astype(np.int64)

2 errors"""
    )


def test_a_wrong_rank() -> None:
    report = failure(taking(**IMAGE), {"image": np.ones((3, 2, 1), np.float32)})
    assert report == declared(
        "[E0607]: `image` has the shape [3, 2, 1], and the program takes f32[N, 2]",
        "3 dimensions instead of 2",
        "  = help: the elements are right in number: image.reshape(-1, 2)",
    )


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ((3, 6, 8, 2), "the axes are in another order: image.transpose(0, 3, 1, 2)"),
        ((3, 8, 2, 6), "the axes are in another order: image.transpose(0, 2, 3, 1)"),
        ((3, 96), "the elements are right in number: image.reshape(-1, 2, 6, 8)"),
        ((3, 6, 6, 2), "change the data, or the type of `image` in the train block"),
    ],
)
def test_axes_in_another_order_are_not_reshaped(given: tuple[int, ...], advice: str) -> None:
    program = taking(image=TensorType(DType.F32, (N, 2, 6, 8)))
    assert failure(program, {"image": np.ones(given, np.float32)}).endswith(f"= help: {advice}")


def test_of_equal_axes_as_few_as_can_be_change_places() -> None:
    program = taking(image=TensorType(DType.F32, (N, 3, 8, 8)))
    report = failure(program, {"image": np.ones((5, 8, 8, 3), np.float32)})
    assert report.endswith("image.transpose(0, 3, 1, 2)")


def test_a_row_for_each_class_where_there_should_be_its_number() -> None:
    report = failure(taking(label=TensorType(DType.I64, (N,))), {"label": np.eye(4, dtype=np.int64)})
    assert report.endswith("= help: rows that have a 1 for the class and 0 elsewhere become numbers: label.argmax(-1)")


@pytest.mark.parametrize(
    ("array", "wanted", "type"),
    [
        (np.array([[0.0, 0.5]]), "u8", "f64"),
        (np.array([[0, 256]]), "u8", "i64"),
        (np.array([[np.nan, 1]]), "i64", "f64"),
    ],
)
def test_no_conversion_is_advised_that_would_spoil_the_values(array: np.ndarray, wanted: str, type: str) -> None:
    report = failure(taking(image=TensorType(DType(wanted), (N, 2))), {"image": array})
    advice = f"{wanted} can't hold its values: let the train block and the model take {type}, or another type that does"
    assert report.endswith(f"= help: {advice}")


def test_a_wrong_size() -> None:
    report = failure(taking(**IMAGE), {"image": np.ones((3, 5), np.float32)})
    assert report == declared(
        "[E0607]: `image` has the shape [3, 5], and the program takes f32[N, 2]",
        "dimension 1 is 5 instead of 2",
        "  = help: change the data, or the type of `image` in the train block",
    )


def test_a_single_number() -> None:
    assert "`image` has the shape [], and the program takes f32[N, 2]" in failure(taking(**IMAGE), {"image": 3.0})


def test_a_symbol_beyond_its_bound() -> None:
    report = failure(taking(**TOKEN), {"token": np.zeros((3, 6), np.int64)})
    assert report == declared(
        "[E0607]: `token` has T = 6, and at most 5 is allowed",
        "dimension 1 is 6",
        "  = help: cut it to that size, or raise the bound",
        input="token: i64[N, T <= 5]",
    )


def test_a_symbol_with_two_values() -> None:
    program = taking(token=TOKEN["token"], image=TensorType(DType.F32, (N, T)))
    report = failure(program, {"token": np.zeros((3, 4), np.int64), "image": np.ones((3, 2), np.float32)})
    assert report == declared(
        "[E0607]: T is 4 in `token` and 2 in `image`", "dimension 1 of `image` is 2", "  = help: make them equal"
    )


def test_an_expression_of_symbols() -> None:
    report = failure(taking(**TOKEN, **MASK), {"token": np.zeros((3, 4), np.int64), "mask": np.ones((3, 4), bool)})
    assert report == declared(
        "[E0607]: dimension 1 of `mask` is 4, and T - 1 is 3",
        "with T = 4",
        "  = help: make them agree",
        input="mask: bool[N, T - 1]",
    )
    fitting = {"token": np.zeros((3, 4), np.int64), "mask": np.ones((3, 3), bool)}
    assert len(bind(taking(**TOKEN, **MASK), fitting)) == 3


def test_different_numbers_of_rows() -> None:
    arrays = {"image": np.ones((3, 2), np.float32), "token": np.zeros((4, 2), np.int64)}
    assert failure(taking(**IMAGE, **TOKEN), arrays) == declared(
        "[E0608]: `image` has 3 rows and `token` has 4",
        "",
        "  = help: every array has one row for each sample, in the same order",
        input="token: i64[N, T <= 5]",
    )


def test_no_rows() -> None:
    assert failure(taking(**IMAGE), {"image": np.ones((0, 2), np.float32)}) == declared(
        "[E0609]: `image` has no rows", "", "  = help: give at least one sample"
    )


def test_numbers_that_are_not_finite() -> None:
    image = np.ones((3_000_000, 2), np.float32)  # more than one block
    image[2_500_000, 1] = np.nan
    image[2_700_000] = np.inf
    assert failure(taking(**IMAGE), {"image": image}) == declared(
        "[E0610]: `image` holds 3 numbers that are NaN or infinite",
        "row 2500000 is the first: it holds nan",
        "  = help: leave such rows out, or fill them: np.nan_to_num(image)",
    )


def test_one_number_that_is_not_finite() -> None:
    report = failure(taking(**IMAGE), {"image": np.float32([[1, 2], [-np.inf, 0]])})
    assert report == declared(
        "[E0610]: `image` holds a number that is NaN or infinite",
        "row 1 is the first: it holds -inf",
        "  = help: leave such rows out, or fill them: np.nan_to_num(image)",
    )


@pytest.mark.parametrize(
    ("values", "title", "advice"),
    [
        ([[1, 2], [3, 4]], "the value 4 in row 1", "count from 0: token - 1"),
        ([[0, 2], [9, 4]], "the value 9 in row 1", "the values go from 0 to 9: correct them, or make room for 10"),
        (
            [[0, -1]],
            "the value -1 in row 0",
            "the values go from -1 to 0: a loss and its measures pass over -1 with ignore=-1",
        ),
    ],
)
def test_indices_out_of_range(values: list[list[int]], title: str, advice: str) -> None:
    assert failure(taking(**TOKEN), {"token": values}) == (
        f"error[E0611]: `token` has {title}: 0 to 3 are allowed\n"
        " --> net.dl:2:5\n"
        "  |\n"
        "2 |     dense(4)\n"
        "  |     ^^^^^^^^ it stands for one of 4 here\n"
        "  |\n"
        f"  = help: {advice}"
    )


def test_ignored_indices_are_in_range() -> None:
    ranges = (IndexRange("token", 4, DENSE, ignored=-1),)
    program = dataclasses.replace(taking(**TOKEN), ranges=ranges)
    bind(program, {"token": [[0, -1], [-1, 3]]})
    bind(program, {"token": [[-1, -1]]})
    report = failure(program, {"token": [[-1, 2], [-2, 3]]})
    assert report.startswith("error[E0611]: `token` has the value -2 in row 1: 0 to 3 are allowed\n")
    assert "the values go from -2 to 3" in report


def test_arrays_are_made_contiguous() -> None:
    image = np.ones((2, 3), np.float32).T
    assert bind(taking(**IMAGE), {"image": image}).arrays["image"].flags.c_contiguous
