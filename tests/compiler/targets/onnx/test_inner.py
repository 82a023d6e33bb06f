"""Graphs inside nodes: what they read of what is around them."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from compiler.targets.onnx.inner import all_nodes, inner_graphs, own_tensors, read_by, rename_read, used_names


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def nested() -> onnx.NodeProto:
    """An If whose first branch has a Scan that reads ``w`` from the outermost graph, ``b`` from the branch and a state
    of its own that is called as something outside is; its second branch gives ``x`` as it is."""
    body = helper.make_graph(
        [helper.make_node("Gemm", ["h", "w", "s"], ["g"]), helper.make_node("Add", ["g", "b"], ["n"])],
        "body", [value("h"), value("s")], [value("n")],
    )  # fmt: skip
    first = helper.make_graph(
        [
            helper.make_node("Neg", ["x"], ["b"]),
            helper.make_node("Scan", ["h0", "x"], ["r"], num_scan_inputs=1, body=body),
        ],
        "first", [], [value("r")],
    )  # fmt: skip
    second = helper.make_graph([], "second", [], [value("x")])
    return helper.make_node("If", ["c"], ["y"], then_branch=first, else_branch=second)


def test_a_node_reads_what_the_graphs_inside_it_read_from_around_it() -> None:
    node = nested()
    assert read_by(node)[0] == "c"
    assert sorted(read_by(node)) == ["c", "h0", "w", "x"]
    assert used_names([node, helper.make_node("Exp", ["z"], ["e"])]) == {"c", "h0", "w", "x", "z"}
    assert read_by(helper.make_node("Clip", ["x", "", "x"], ["y"])) == ["x"]


def test_every_node_comes_once_before_those_inside_it() -> None:
    kinds = [node.op_type for node in all_nodes([nested(), helper.make_node("Exp", ["z"], ["e"])])]
    assert kinds[0] == "If"
    assert sorted(kinds) == ["Add", "Exp", "Gemm", "If", "Neg", "Scan"]
    assert kinds.index("Scan") < kinds.index("Gemm") < kinds.index("Add")


def test_what_is_read_from_outside_gets_other_names_and_nothing_else() -> None:
    node = nested()
    rename_read(node, {"c": "c2", "x": "x2", "w": "w2", "h": "wrong", "b": "wrong", "s": "wrong"})
    assert sorted(read_by(node)) == ["c2", "h0", "w2", "x2"]
    first, second = (next(item.g for item in node.attribute if item.name == f"{n}_branch") for n in ("then", "else"))
    assert [output.name for output in second.output] == ["x2"]
    assert "b" in own_tensors(first)
    (body,) = inner_graphs(first.node[1])
    assert [list(inner.input) for inner in body.node] == [["h", "w2", "s"], ["g", "b"]]
