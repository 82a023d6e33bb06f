"""ONNX files and models of model files as boxes."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.front.models import ElaboratedModel
from compiler.ir.graph import Graph, Role, Value
from compiler.program import Stage
from compiler.targets.onnx.read.outline import Outline, OutlineNode
from runtime.programs.summary import parameters
from runtime.reports.graphs.boxes import Box


def boxes_of_model(model: ElaboratedModel) -> list[Box]:
    """The inputs, the stages that compute something, and the outputs."""
    graph = model.graph
    inputs = graph.inputs_of(Role.DATA)
    made: dict[Value, tuple[int, int]] = {value: (index, 0) for index, value in enumerate(inputs)}
    found = [Box(value.name, "input", (str(value.type),), kind="port") for value in inputs]
    for stage in model.stages:
        if stage.nodes:
            reads = _reads(graph, stage, made)
            values = [value for index in stage.nodes for value in graph.nodes[index].outputs]
            # A stage gives what its last operations make; whoever reads something else of it reads its first result.
            made.update({value: (len(found), 0) for value in values})
            gives = tuple(map(str, stage.outputs))
            found.append(Box(stage.path.partition(".")[2], stage.text, gives, parameters(stage.weights), reads))
    for output in graph.outputs:
        reads = (made[output.value],) if output.value in made else ()
        found.append(Box(output.name, "output", (str(output.value.type),), 0, reads, "port"))
    return found


def _reads(graph: Graph, stage: Stage, made: Mapping[Value, tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    read = (made.get(value) for index in stage.nodes for value in graph.nodes[index].inputs)
    return tuple(sorted({place for place in read if place is not None}))


def boxes_of_file(file: Outline) -> list[Box]:
    """The inputs, the nodes of the main graph, and the outputs."""
    made: dict[str, tuple[int, int]] = {}
    found: list[Box] = []
    read = {name for node in file.nodes for name in node.reads}
    for name, type in file.inputs.items():
        if name in read or name in file.outputs:
            made[name] = (len(found), 0)
            found.append(Box(name, "input", (type,), kind="port"))
    for node in file.nodes:
        made |= {name: (len(found), number) for number, name in enumerate(node.gives) if name}
        gives = tuple(file.types.get(name, "") if name else "" for name in node.gives)
        reads = tuple(dict.fromkeys(made[name] for name in node.reads if name in made))
        text = " ".join([node.kind, *node.details])
        found.append(Box(_label(node), text, gives, node.parameters, reads))
    for name, type in file.outputs.items():
        reads = (made[name],) if name in made else ()
        found.append(Box(name, "output", (type,), 0, reads, "port"))
    return found


def _label(node: OutlineNode) -> str:
    """The name of a node, without the kind that many tools put at its end."""
    name = node.name.strip("/")
    head, sign, tail = name.rpartition("/")
    kind = node.kind.rpartition(".")[2]
    return head if sign and tail.rstrip("0123456789_") == kind else "" if name.rstrip("0123456789_") == kind else name
