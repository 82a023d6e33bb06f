"""The whole file: the blocks, and the model with its signature."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from compiler.ir.dims import as_symbol
from compiler.ir.graph import Graph, Role, Value
from compiler.ops.base import Array
from compiler.targets.dl import Decompiled, attention, functions, layers, recurrent, shapes
from compiler.targets.dl.blocks import Block, with_blocks
from compiler.targets.dl.raiser import Raiser
from compiler.targets.dl.residual import with_residuals
from compiler.targets.dl.rows import with_sequences
from compiler.targets.dl.step import Body, Step, common_path
from compiler.targets.dl.write import Writer, fresh, identifier

# Each of them registers its rules.
FAMILIES = (attention, recurrent, layers, shapes, functions)
_AXES = {1: "N", 2: "ND", 3: "NTD", 4: "NCHW", 5: "NCDHW"}


def decompiled(graph: Graph, weights: Mapping[str, Array], name: str, plain: bool) -> Decompiled:
    """What :func:`compiler.targets.dl.decompile` gives."""
    graph = with_sequences(graph)
    raiser = Raiser(graph, weights)
    raised = _without_common(raiser.run())
    outputs = [output.value for output in graph.outputs]
    steps, blocks = raised, list[Block]()
    if not plain:
        taken: set[str] = {name}
        steps = with_residuals(raised, outputs)
        steps, blocks = with_blocks(steps, outputs, lambda found: fresh(_block_name(found), taken))
        steps, blocks = _inlined(steps, blocks)
    data = graph.inputs_of(Role.DATA)
    kinds = {step.kind for step in _all_steps(steps, blocks)}
    names = {value: fresh(identifier(value.name), kinds | set()) for value in data}
    lines: list[str] = []
    for block in blocks:
        lines += [*_block(raiser, block, kinds), ""]
    lines += _model(raiser, graph, Body(data, tuple(steps), outputs[0]), name, names, kinds)
    asked = tuple(item for step in steps for item in step.all_weights())
    shown = {output.name: _output_name(graph, index) for index, output in enumerate(graph.outputs)}
    inputs = {value.name: names[value] for value in data}
    return Decompiled("\n".join(lines) + "\n", name, asked, inputs, shown)


def _without_common(steps: Sequence[Step]) -> list[Step]:
    """The steps without the beginning that all paths of weights share, such as the name of the model."""
    paths = [step.path.split(".") for step in steps if step.is_weighted and step.path]
    common = 0
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common += 1
    common = min([common, *(len(path) - 1 for path in paths)])
    return [
        replace(step, path=".".join(step.path.split(".")[common:])) if step.is_weighted and step.path else step
        for step in steps
    ]


def _all_steps(steps: Sequence[Step], blocks: Sequence[Block]) -> list[Step]:
    waiting, found = [*steps, *(step for block in blocks for step in block.body.steps)], []
    while waiting:
        step = waiting.pop()
        found.append(step)
        waiting += [inner for body in step.bodies for inner in body.steps]
    return found


def _inlined(steps: Sequence[Step], blocks: Sequence[Block]) -> tuple[list[Step], list[Block]]:
    """Blocks that are used in one place only, a repetition, stand there."""
    kept = []
    for block in blocks:
        uses = [step for step in _all_steps(steps, [b for b in blocks if b is not block]) if step.kind == block.name]
        whole = next((step for step in steps if step.form == "repeat" and len(step.bodies[0].steps) == 1), None)
        places = [s for s in steps if s.form == "repeat" and [i.kind for i in s.bodies[0].steps] == [block.name]]
        alone = len(places) == 1 and len(uses) == len(places[0].bodies) and not block.parameters
        if not alone or whole is None or len(block.body.inputs) != len(places[0].bodies[0].steps[0].operands):
            kept.append(block)
            continue
        place = places[0]
        steps = [_with_body(step, block) if step is place else step for step in steps]
    return list(steps), kept


def _with_body(step: Step, block: Block) -> Step:
    """A repetition of calls of a block as one of its body, with the weights of the calls."""
    calls = [body.steps[0] for body in step.bodies]
    weights = tuple(item for call in calls for item in call.all_weights())
    first = calls[0]
    renamed = dict(zip(block.body.inputs, first.values, strict=True))
    body = Body(first.values, _bare(block.body.steps, renamed), block.body.output)
    return replace(step, weights=weights, bodies=(body,))


def _bare(steps: Sequence[Step], renamed: Mapping[Value, Value]) -> tuple[Step, ...]:
    """The steps with their weights kept elsewhere: only that there are some is still to be seen."""
    return tuple(
        replace(
            step,
            operands=tuple(renamed.get(item, item) if isinstance(item, Value) else item for item in step.operands),
            bodies=tuple(
                Body(
                    tuple(renamed.get(value, value) for value in body.inputs),
                    _bare(body.steps, renamed),
                    renamed.get(body.output, body.output),
                )
                for body in step.bodies
            ),
        )
        for step in steps
    )


def _block_name(steps: Sequence[Step]) -> str:
    """A name for a block: that of a module in the paths, or what it is made of."""
    kinds = {inner.kind for inner in _all_steps(steps, [])}
    for step in steps:
        capital = next((part for part in step.path.split(".") if part[:1].isupper()), "")
        if capital and step.is_weighted:
            return identifier(capital)
    if "attention" in kinds or "softmax" in kinds:
        return "Transformer"
    if "depthwise_conv" in kinds:
        return "Inverted"
    if "residual" in kinds or "+" in kinds:
        return "Unit"
    return "ConvUnit" if "conv" in kinds else "Unit"


def _block(raiser: Raiser, block: Block, kinds: set[str]) -> list[str]:
    taken = set(kinds) | set(block.parameters)
    names = {value: fresh(wanted, taken) for value, wanted in zip(block.body.inputs, _inputs(block), strict=True)}
    spoken = {word for step in _all_steps(block.body.steps, []) for word in _words(step)}
    bound: set[str] = set()
    parameters = []
    for value, name in names.items():
        dims = []
        for axis, dim in enumerate(raiser.type(value.type).shape):
            symbol = as_symbol(dim)
            letters = _AXES.get(value.type.rank, "")
            letter = symbol.name if symbol and symbol.name in spoken else letters[axis : axis + 1] or f"D{axis}"
            while letter in spoken and not (symbol and symbol.name == letter):
                letter = f"{letter}0"
            if letter in bound and (symbol is None or symbol.name != letter):
                letter = f"{letter}{len(bound)}"
            bound.add(letter)
            dims.append(letter)
        dtype = "" if value.type.dtype.is_float else str(value.type.dtype)
        parameters.append(f"{name}: {dtype}[{', '.join(dims)}]")
    lines = Writer(dict(names), taken, _shared(block), inner=True).write(block.body, [block.body.output])
    head = f"block {block.name}({', '.join([*parameters, *block.parameters])}) {{"
    return [head, *_inside(lines), "}"]


def _shared(block: Block) -> str:
    """The path that the steps of the body have in common, which its labels leave out."""
    return common_path([step for step in block.body.steps if step.path])


def _inputs(block: Block) -> list[str]:
    masks = {item for step in _all_steps(block.body.steps, []) for item in _masks(step)}
    return ["x", *("mask" if value in masks else "y" for value in block.body.inputs[1:])]


def _masks(step: Step) -> list[Value]:
    pairs = zip(step.operands, step.keywords, strict=False)
    return [item for item, keyword in pairs if keyword == "mask" and isinstance(item, Value)]


def _words(step: Step) -> set[str]:
    texts = [
        *(argument.text for argument in step.arguments),
        *(item for item in step.operands if isinstance(item, str)),
    ]
    return {word for text in texts for word in re.findall(r"\b[A-Z]\w*", text)}


def _model(
    raiser: Raiser, graph: Graph, body: Body, name: str, names: Mapping[Value, str], kinds: set[str]
) -> list[str]:
    bounded: set[str] = set()
    parameters = []
    for value, shown in names.items():
        dims = []
        for dim in raiser.type(value.type).shape:
            symbol = as_symbol(dim)
            first = symbol is not None and symbol.name not in bounded
            dims.append(symbol.bounds_text if first and symbol and symbol.bounds_text else str(dim))
            bounded |= {symbol.name} if symbol else set()
        parameters.append(f"{shown}: {value.type.dtype}[{', '.join(dims)}]")
    outputs = [output.value for output in graph.outputs]
    types = [str(raiser.type(value.type)) for value in outputs]
    promise = types[0]
    if len(outputs) > 1 or graph.outputs[0].name != "output":
        promise = ", ".join(f"{_output_name(graph, index)}: {type}" for index, type in enumerate(types))
        promise = f"({promise})"
    taken = set(kinds) | set(names.values())
    wanted = {output.value: _output_name(graph, index) for index, output in enumerate(graph.outputs)}
    lines = Writer(dict(names), taken, outputs=wanted if len(outputs) > 1 else {}).write(body, outputs)
    return [f"model {name}({', '.join(parameters)}) -> {promise} {{", *_inside(lines), "}"]


def _output_name(graph: Graph, index: int) -> str:
    return identifier(graph.outputs[index].name)


def _inside(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for text in lines for line in text.split("\n")]
