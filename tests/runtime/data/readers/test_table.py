"""Tables: typed columns, encodings, and every way in which a row can be wrong."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import compiler
import dlc
from compiler.diagnostics import DiagnosticError, Source
from compiler.ir.types import TensorType
from compiler.program import TrainProgram
from compiler.sources import DataSource
from runtime.data.readers import Request
from runtime.data.readers.cells import Texts
from runtime.data.readers.rows import TableFile, read_cells
from runtime.data.sources import load_arrays

IRIS = (
    'sepal,petal,species,notes\n5.1,1.4,setosa,"short, and round"\n7.0,4.7,versicolor,"two\nlines"\n'
    '6.3,6.0,virginica,"so ""called"""\n4.9,1.5,setosa,\n'
)
HEAD = "model Net(x: f32[N, 2]) -> f32[N, 3] { dense(3) }\n"


def program(inputs: str, data: str) -> TrainProgram:
    text = f"{HEAD}train net({inputs}) {{\n  minimize mean(cast(f32, x)) + 0 * l2(Net) with adam\n  data {data}\n}}\n"
    checked = compiler.check(Source("net.dl", text.replace("cast(f32, x)", "Net(x)") if "x:" in inputs else text))
    return compiler.compile_train(checked, "net")


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Any]:
    """Reads a table with the statement ``data`` for the inputs of a train block beside ``x``."""

    def read_table(content: str | bytes, data: str, inputs: str = "", **request: Any) -> Any:
        (tmp_path / "t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
        needed = program(f"x: f32[N, 2]{', ' if inputs else ''}{inputs}", data)
        setting = needed.settings.data
        assert setting is not None
        types: Mapping[str, TensorType] = {value.name: value.type for value in needed.inputs}
        if "x=" not in data:
            types = {name: type for name, type in types.items() if name != "x"}
        asked = Request(inputs=types, **request)
        return load_arrays(setting, folder=tmp_path, request=asked).content

    return read_table


def test_columns_of_every_type(read: Callable[..., Any]) -> None:
    data = 'csv("t.csv", x=["sepal", "petal"], label=categories("species"))'
    content = read(IRIS, data, "label: i64[N], petal: f32[N], sepal: f64[N, 1]")
    np.testing.assert_array_equal(content["x"], np.float32([[5.1, 1.4], [7, 4.7], [6.3, 6], [4.9, 1.5]]), strict=True)
    np.testing.assert_array_equal(content["label"], np.int64([0, 1, 2, 0]), strict=True)
    np.testing.assert_array_equal(content["petal"], np.float32([1.4, 4.7, 6, 1.5]), strict=True)
    np.testing.assert_array_equal(content["sepal"], np.float64([[5.1], [7], [6.3], [4.9]]), strict=True)
    assert content.names == {"label": ("setosa", "versicolor", "virginica")}


def test_columns_that_nobody_takes_are_there_too(read: Callable[..., Any]) -> None:
    content = read(IRIS, 'csv("t.csv", label=categories("species"))', "label: u8[N]")
    notes: Any = content["notes"]
    assert notes.tolist() == ["short, and round", "two\nlines", 'so "called"', ""]
    np.testing.assert_array_equal(content["sepal"], [5.1, 7, 6.3, 4.9])
    assert content["label"].dtype == np.uint8


def test_a_byte_order_mark_and_windows_line_ends(read: Callable[..., Any]) -> None:
    text = b"\xef\xbb\xbfa;b\r\n1;2\r\n\r\n3;4\r\n"
    content = read(text, 'csv("t.csv", delimiter=";", x=["b", "a"])')
    np.testing.assert_array_equal(content["x"], [[2, 1], [4, 3]])


def test_a_file_without_names(read: Callable[..., Any]) -> None:
    content = read("1,2\n3,4\n", 'csv("t.csv", names=["a", "b"], x=["a", "b"])')
    np.testing.assert_array_equal(content["x"], [[1, 2], [3, 4]])


def test_patterns_take_what_nobody_names(read: Callable[..., Any]) -> None:
    text = "label,p0,p1,p2,p3,day\n1,0,1,2,3,7\n"
    inputs = "image: u8[N, 2, 2], rest: f32[N, 5], label: i64[N]"
    content = read(text, 'csv("t.csv", image="p*", rest="*", label="label")', inputs)
    np.testing.assert_array_equal(content["image"], np.uint8([[[0, 1], [2, 3]]]), strict=True)
    np.testing.assert_array_equal(content["rest"], [[0, 1, 2, 3, 7]])


def test_one_hot_beside_numbers(read: Callable[..., Any]) -> None:
    text = "age,city\n30,Rome\n40,Oslo\n"
    content = read(text, 'csv("t.csv", f=["age", one_hot("city")])', "f: f32[N, 3]")
    np.testing.assert_array_equal(content["f"], np.float32([[30, 0, 1], [40, 1, 0]]), strict=True)
    assert content.names == {"f.city": ("Oslo", "Rome")}
    again = read(text, 'csv("t.csv", f=["age", one_hot("city")])', "f: f32[N, 3]", names={"f.city": ("Rome", "Oslo")})
    np.testing.assert_array_equal(again["f"], [[30, 1, 0], [40, 0, 1]])


def test_categories_are_sorted_as_numbers_where_they_are(read: Callable[..., Any]) -> None:
    content = read("grade\n10\n9\n10\n", 'csv("t.csv", label=categories("grade"))', "label: i64[N]")
    assert content.names["label"] == ("9", "10")
    assert content["label"].tolist() == [1, 0, 1]


def test_characters_for_an_encoder_and_a_decoder(read: Callable[..., Any]) -> None:
    text = "said,iso\nmay 1,05-01\nma,1\n"
    data = (
        'csv("t.csv", source=characters("said", length=6), before=characters("iso", length=6, shifted=true), '
        'after=characters("iso", length=6, fill=-1))'
    )
    content = read(text, data, "source: i64[N, 6], before: i64[N, 6], after: i64[N, 6]")
    assert content.names["source"] == ("\n", " ", "1", "a", "m", "y")
    assert content.names["before"] == content.names["after"] == ("\n", "-", "0", "1", "5")
    assert content["source"].tolist() == [[4, 3, 5, 1, 2, 0], [4, 3, 0, 0, 0, 0]]
    assert content["before"].tolist() == [[0, 2, 4, 1, 2, 3], [0, 3, 0, 0, 0, 0]]
    assert content["after"].tolist() == [[2, 4, 1, 2, 3, 0], [3, 0, -1, -1, -1, -1]]


def test_words_by_how_often_they_come(read: Callable[..., Any]) -> None:
    text = 'text\n"The cat, the dog."\nthe CAT\n'
    content = read(text, 'csv("t.csv", tokens=words("text", length=4, most=5))', "tokens: i64[N, 4]")
    assert content.names["tokens"] == ("", "?", "the", "cat", ",")
    assert content["tokens"].tolist() == [[2, 3, 4, 2], [2, 3, 0, 0]]


@pytest.mark.parametrize(
    ("content", "data", "inputs", "code", "why"),
    [
        ("a,b\n1,2\n3\n", 'csv("t.csv", x=["a", "b"])', "", "E0616", "line 3 has 1 field instead of 2"),
        ("a,b\n1,2\n3,4,5\n6\n", 'csv("t.csv", x=["a", "b"])', "", "E0616",
         "line 3 has 3 fields instead of 2 (and 1 more like it near there)"),
        ("a,b\n1,two\n", 'csv("t.csv", x=["a", "b"])', "", "E0616", "line 2, column b: 'two' is not a number"),
        ("a,b\n1,\n", 'csv("t.csv", x=["a", "b"])', "", "E0616", "line 2, column b: the value is missing"),
        ("a,b\n1,2\n5,NaN\n", 'csv("t.csv", x=["a", "b"])', "", "E0616",
         "line 3, column b: the value is missing (NaN)"),
        ("a,b\n1,1e99\n", 'csv("t.csv", x=["a", "b"])', "", "E0616", "line 2, column b: '1e99' does not fit into f32"),
        ("a\n1.5\n", 'csv("t.csv", label="a")', "label: i64[N]", "E0616",
         "line 2, column a: '1.5' is not a whole number"),
        ("a\n300\n", 'csv("t.csv", label="a")', "label: u8[N]", "E0616",
         "line 2, column a: '300' does not fit into u8"),
        ("a\nx\n \n", 'csv("t.csv", label=categories("a"))', "label: u8[N]", "E0616",
         "line 3, column a: the value is missing"),
        ("a\nabc\n", 'csv("t.csv", t=characters("a", length=2))', "t: i64[N, 2]", "E0616",
         "a text in column a has 3 characters, more than 2: 'abc'"),
        ("a\nz\n", 'csv("t.csv", label=categories("a", ["x", "y"]))', "label: u8[N]", "E0617",
         "'z' in column a is not among the values that the model file gives"),
        ("a,b\n", 'csv("t.csv", x=["a", "b"])', "", "E0618", "it has no row that can be used"),
        ("\n\n", 'csv("t.csv", x=["a", "b"])', "", "E0618", "it has no rows"),
        ("a,a\n1,2\n", 'csv("t.csv", x=["a", "b"])', "", "E0602", "two columns are called 'a'"),
        ("1,2\n3,4\n", 'csv("t.csv", x=["a", "b"])', "", "E0602",
         "its first line has numbers where the names of the columns should be"),
        ('a,b\n1,"2"3\n', 'csv("t.csv", x=["a", "b"])', "", "E0602", "line 2 is not quoted as a table is"),
        (b"a,b\n1,\xff\n", 'csv("t.csv", x=["a", "b"])', "", "E0602", "it is not UTF-8, near line 1"),
        ("aa,b\n1,2\n", 'csv("t.csv", x=["a", "b"])', "", "E0605", "there is no column a in it"),
        ("a;b\n1;2\n", 'csv("t.csv", x=["a", "b"])', "", "E0605", "their signs"),
    ],
)  # fmt: skip
def test_mistakes(read: Callable[..., Any], content: str | bytes, data: str, inputs: str, code: str, why: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        read(content, data, inputs)
    assert caught.value.diagnostics[0].code == code
    if why == "their signs":
        assert 'csv(…, delimiter=";")' in str(caught.value)
    else:
        assert f"t.csv: {why}" in caught.value.diagnostics[0].title


def test_bad_rows_can_be_left_out(read: Callable[..., Any]) -> None:
    text = "a,b,day\n1,2,mon\n3\n5,six,tue\n7,8,wed\n"
    content = read(text, 'csv("t.csv", x=["a", "b"])', skip_bad=True)
    np.testing.assert_array_equal(content["x"], [[1, 2], [7, 8]])
    assert content["day"].tolist() == ["mon", "wed"]
    assert content.notes == ("2 rows that can't be used are left out",)


_CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(rows=st.lists(st.tuples(_CELL, _CELL), min_size=1, max_size=8), delimiter=st.sampled_from(",;\t|"))
def test_what_is_quoted_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("quoted", numbered=True) / "t.csv"
    with open(path, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([("a", "b"), *rows])
    columns = [Texts("b"), Texts("a")]
    assert read_cells(TableFile(path, delimiter, None), columns) == frozenset()
    assert [column.parts for column in columns] == [[row[1] for row in rows], [row[0] for row in rows]]


def test_a_column_that_turns_into_text_late(read: Callable[..., Any]) -> None:
    rows = "".join(f"{number}\n" for number in range(20_000))
    content = read(f"a\n{rows}x\n", 'csv("t.csv")')
    assert content["a"].dtype.kind == "U"
    assert content["a"][0] == "0"


def test_reading_takes_work_in_proportion(tmp_path: Path, work: Callable[[Callable[[], object]], int]) -> None:
    """A block of rows is turned into numbers in a few calls, not in some for each cell."""
    types = {value.name: value.type for value in program("x: f32[N, 2]", '"t.csv"').inputs}
    source = DataSource("csv", {"path": "t.csv", "delimiter": ",", "names": None}, inputs={"x": ("a", "b")})

    def calls(count: int) -> int:
        (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * count)
        return work(lambda: load_arrays(source, folder=tmp_path, request=Request(inputs=types)))

    assert calls(8_000) < 3 * 8_000


def test_a_run_from_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'high' if a + b > 0 else 'low'},{number % 7}" for number, (a, b) in
            enumerate(rng.normal(size=(200, 2)))]  # fmt: skip
    (tmp_path / "points.csv").write_text("a,b,kind,day\n" + "\n".join(rows))
    (tmp_path / "net.dl").write_text("""\
model Net(x: f32[N, 2]) -> f32[N, 2] { dense(8) -> tanh -> dense(2) }

train net(x: f32[N, 2], label: i64[N]) {
    minimize cross_entropy(Net(x), label) with adam(0.05)
    measure accuracy(Net(x), label)
    data csv("points.csv", x=["a", "b"], label=categories("kind"))
    validate grouped(30%, by="day")
    test stratified(10%)
    epochs 10
}
""")
    model = dlc.load(tmp_path / "net.dl")
    history = model.fit(out=tmp_path / "run")
    assert model.names == {"label": ("high", "low")}
    assert history.rows[-1].figures["val.accuracy"] > 0.9
    assert '"split": "grouped 30% by day"' in (tmp_path / "run" / "data.json").read_text()
