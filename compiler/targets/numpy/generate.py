"""Putting a generated module together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from compiler.diagnostics.source import Source
from compiler.ir.dims import evaluate
from compiler.ir.graph import Graph, Role
from compiler.targets.numpy import preamble
from compiler.targets.numpy.function import FunctionWriter, written
from compiler.targets.numpy.literals import quoted
from compiler.targets.numpy.module import Shared
from compiler.targets.numpy.names import place_of
from compiler.targets.numpy.plan import byte_size, make_plan
from compiler.targets.numpy.staged import StagedWriter
from compiler.targets.numpy.stages import Staged, at_once


def generate(
    graphs: Sequence[Graph | Staged], *, title: str = "", source: Source | None = None, timed: bool = False
) -> str:
    """The text of a Python module, which needs only NumPy, with a function for each graph.

    For a graph ``step`` with data input ``x`` there is ``bind_step(kept, N)``: it takes the weights and state by name
    and the size of each symbol in the order of ``graph.symbols``, and gives ``step(x)``, which writes updates into
    the arrays of ``kept`` and gives back a dict of the other outputs: always the same arrays, overwritten by the next
    call. Arguments have to be contiguous arrays of the types in ``SIGNATURES``. Equal graphs give equal texts.
    A ``timed`` module calls its ``_enter``, which is to be replaced, wherever it goes on at another place.

    A graph in stages takes two more arguments when it is bound: what gives memory, and what makes one function of a
    list of them, which may call these in any order or at the same time. Its results are the same whatever that does.
    """
    shared = Shared()
    writers = [_write(graph, shared) for graph in graphs]
    functions = ["\n".join(writer.lines(timed)) for writer in writers]
    shown = {name: text for name, text in shared.constants.items() if "\n" not in text}
    # Long tables of bytes stand at the end, where they are in nobody's way.
    hidden = {name: text for name, text in shared.constants.items() if "\n" in text}
    parts = [
        _header(writers, title, source),
        "\n".join([preamble.ENVIRONMENT, *_imports(shared, bool(hidden))]),
        _signatures(writers),
        _definitions(shown),
        preamble.MEMORY,
        preamble.ENTER if timed else "",
        *(text.strip() for _, text in sorted(shared.helpers.items())),
        *functions,
        preamble.DECODE if hidden else "",
        _definitions(hidden),
    ]
    return "\n\n\n".join(part for part in parts if part) + "\n"


def planned_memory(graph: Graph | Staged, sizes: Mapping[str, int]) -> int:
    """The bytes that the generated function of ``graph`` works in where its symbols have these sizes.

    Weights, state, arguments and constants come on top. Raises KeyError for a symbol without a size.
    """
    if isinstance(graph, Graph):
        writer = written(graph, Shared())
        if not writer.shares:
            return _working_memory(writer, sizes)
        graph = at_once(graph)
    total, types = 0, {value.name: value.type for value in graph.graph.inputs_of(Role.DATA)}
    parts = [{**sizes, graph.symbol: size} for size in graph.part_sizes(sizes.get(graph.symbol, 1))]
    working: dict[Graph, int] = {}
    for stage in graph.stages:
        if stage.graph not in working:
            writer = written(stage.graph, Shared(), graph.stage_of(stage))
            working[stage.graph] = sum(_working_memory(writer, each) for each in (parts if stage.in_parts else [sizes]))
        total += working[stage.graph]
        types.update((stage.own(output.name), output.value.type) for output in stage.graph.outputs)
    # Arguments have memory of their own, what is cut along an inner axis, and what is put together of several.
    apart = [value.name for value in graph.graph.inputs_of(Role.DATA)]
    apart += [name for name, axis in graph.cuts.items() if axis]
    apart += graph.joins if len(parts) > 1 else []
    return total + sum(evaluate(byte_size(types[name]), sizes) for name in apart)


def _working_memory(writer: FunctionWriter, sizes: Mapping[str, int]) -> int:
    return sum(slot.bytes(sizes) for slot in writer.slots) + sum(evaluate(table, sizes) for table in writer.tables)


def result_memory(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    """The bytes of the results that are made at each place, where the symbols have these sizes. Results share memory
    where one is not needed any more when the other is made, so that less than the sum is taken."""
    plan = make_plan(graph)
    found: dict[str, int] = {}
    for node in graph.nodes:
        place = place_of(node.origin)
        blocks = (plan.blocks[value] for value in node.outputs if value in plan.blocks and value not in plan.shared)
        found[place] = found.get(place, 0) + sum(evaluate(block.bytes, sizes) for block in blocks)
    return found


def _write(graph: Graph | Staged, shared: Shared) -> FunctionWriter | StagedWriter:
    if isinstance(graph, Staged):
        return StagedWriter(graph, shared)
    writer = written(graph, shared)
    if not writer.shares:
        return writer
    shared.names.taken -= {writer.name, writer.bind_name}
    return StagedWriter(at_once(graph), shared)


def _header(writers: Sequence[FunctionWriter | StagedWriter], title: str, source: Source | None) -> str:
    made = f"made by dlc from {source.name}" if source else "made by dlc"
    lines = [
        f"{title or 'A network'} as plain NumPy, {made}. It needs nothing else.",
        "",
        *preamble.HOW_TO.splitlines(),
    ]
    lines += [f"    {line}" for writer in writers for line in _usage(writer)]
    lines += ["", *preamble.WHAT_HOLDS.splitlines()]
    if any(isinstance(writer, StagedWriter) for writer in writers):
        lines += preamble.IN_PARTS.splitlines()
    text = "\n".join(lines).replace("\\", r"\\").replace('"""', r"\"\"\"")
    return f'"""{text}\n"""'


def _usage(writer: FunctionWriter | StagedWriter) -> Iterator[str]:
    arguments = ", ".join(writer.data)
    if writer.graph.name == "initial" and not arguments:
        # Weights that were made elsewhere are handed on.
        before = "**kept, " if writer.graph.inputs_of(Role.WEIGHT) else ""
        yield f'kept = {writer.bind_name}({{{before}"seed": np.array(0)}})()  # fresh ones instead'
        return
    sizes = "".join(f", {size}=..." for size in writer.sizes)
    yield f"{writer.name} = {writer.bind_name}(kept{sizes})"
    yield f"{writer.name}({arguments})  # gives {', '.join(map(quoted, writer.results)) or 'nothing'}"


def _imports(shared: Shared, decodes: bool) -> Iterator[str]:
    if decodes:
        yield "import base64"
    yield "import numpy as np"
    if shared.uses_bfloat16:
        yield "from ml_dtypes import bfloat16"


def _definitions(constants: Mapping[str, str]) -> str:
    return "\n".join(f"{name} = {text}" for name, text in constants.items())


def _signatures(writers: Sequence[FunctionWriter | StagedWriter]) -> str:
    lines = [*preamble.SIGNATURES.splitlines(), "SIGNATURES = {"]
    for writer in writers:
        lines += (f"    {line}" for line in writer.entry())
    return "\n".join([*lines, "}"])
