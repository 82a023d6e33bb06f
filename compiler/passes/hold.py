"""Taking a loss apart where no gradient goes through, so that differences of it see what its gradients see."""

from __future__ import annotations

from compiler.ir.graph import Graph, Output
from compiler.ops.convert import StopGradient
from compiler.passes.copying import Copy


def held(graph: Graph) -> tuple[Graph, Graph]:
    """Two graphs for one with the output ``loss``: ``stopped``, which gives what every ``stop_gradient`` holds back as
    ``stopped0`` and so on, and ``loss``, which takes these as inputs."""
    copy = Copy(graph)
    outputs: list[Output] = []
    for node in graph.nodes:
        if isinstance(node.operation, StopGradient):
            name = f"stopped{len(outputs)}"
            outputs.append(Output(name, node.output))
            copy.replace(node, (copy.b.input(name, node.output.type),))
        else:
            copy.node(node)
    copy.b.output("loss", copy.values[graph.output("loss")])
    free = copy.b.finish()
    loss = Graph("loss", free.inputs, free.nodes, free.outputs, free.input_origins)
    return Graph("stopped", graph.inputs, graph.nodes, tuple(outputs), graph.input_origins), loss
