"""What a generated module says of a function: its sizes, its arguments and its results; and how it refuses sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from compiler.ir.dims import Dim, Symbol, substitute
from compiler.ir.graph import Graph, Role
from compiler.ir.types import TensorType
from compiler.targets.numpy.literals import quoted

_LINE = 120


def tuple_text(texts: Iterable[str]) -> str:
    """The text of a tuple of what ``texts`` are expressions for."""
    items = list(texts)
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def definition(name: str, parameters: Sequence[str]) -> Iterator[str]:
    """The head of a function, with a line for each parameter where one is too short for them all."""
    line = f"def {name}({', '.join(parameters)}):"
    if len(line) <= _LINE:
        yield line
        return
    yield f"def {name}("
    yield from (f"    {parameter}," for parameter in parameters)
    yield "):"


def dim_text(dim: Dim, symbols: Mapping[str, Dim]) -> str:
    """The text of a size, safe inside any expression."""
    text = str(substitute(dim, symbols))
    return text if text.isidentifier() or text.isdigit() else f"({text})"


def entry(
    graph: Graph,
    bind_name: str,
    symbols: Mapping[str, Dim],
    neighbours: Iterable[tuple[str, ...]],
    *,
    in_parts: bool,
) -> Iterator[str]:
    """The entry of a function in the module's table: one argument or result a line. ``neighbours`` are the names of
    kept arrays that had best lie one behind the other."""
    outputs = graph.outputs
    yield f"{quoted(graph.name)}: {{"
    yield f'    "bind": {quoted(bind_name)},'
    yield f'    "sizes": {tuple_text(quoted(str(symbols[s.name])) for s in graph.symbols)},'
    yield from _types("inputs", ((value.name, value.type) for value in graph.inputs_of(Role.DATA)), symbols)
    yield from _types("outputs", ((o.name, o.value.type) for o in outputs if o.updates is None), symbols)
    yield f'    "updates": {tuple_text(quoted(o.updates) for o in outputs if o.updates is not None)},'
    rows = [f"        {tuple_text(map(quoted, names))}," for names in neighbours]
    if rows:
        yield from ['    "neighbours": (', *rows, "    ),"]
    if in_parts:
        yield '    "in_parts": True,'
    yield "},"


def _types(name: str, types: Iterable[tuple[str, TensorType]], symbols: Mapping[str, Dim]) -> Iterator[str]:
    items = []
    for key, type in types:
        dims = tuple_text(str(d) if isinstance(d, int) else quoted(dim_text(d, symbols)) for d in type.shape)
        items.append(f"        {quoted(key)}: ({quoted(type.dtype.numpy.name)}, {dims}),")
    yield from [f'    "{name}": {{', *items, "    },"] if items else [f'    "{name}": {{}},']


def size_checks(
    sizes: Iterable[tuple[Symbol, str]],
    required: Mapping[str, str],
    given: str = "kept",
    kind: str = "a dict of arrays",
) -> Iterator[str]:
    """Refuses sizes that a function does not hold for: symbols with their names, and other conditions with sentences.
    ``given``, of this ``kind``, is a parameter that it has in any case.

    These branches before anything else also keep the compile time of CPython linear: it puts the cells of the inner
    function's variables into the first basic block one by one, and that should not be the whole function. So there is
    one also where no size can be wrong.
    """
    checks = list(_size_checks(sizes, required))
    yield from checks or [f"    if {given} is None:", f'        raise ValueError("{given} has to be {kind}")']


def _size_checks(sizes: Iterable[tuple[Symbol, str]], required: Mapping[str, str]) -> Iterator[str]:
    for item, name in sizes:
        wrong, wanted = f"{name} < {item.lower}", f"at least {item.lower}"
        if item.upper is not None:
            wrong, wanted = f"not {item.lower} <= {name} <= {item.upper}", f"from {item.lower} to {item.upper}"
        yield f"    if {wrong}:"
        yield f'        raise ValueError(f"{name} has to be {wanted}, not {{{name}}}")'
    for condition, sentence in required.items():
        yield f"    if not {condition}:"
        yield f"        raise ValueError({quoted(sentence)})"
