"""The reference of everything in the catalogue and in the standard library, as Markdown.

``python -m compiler.front.catalogue.reference`` prints it; ``docs/layers.md`` is that text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import get_args

from compiler.diagnostics import Sink, Source
from compiler.front import tree
from compiler.front.catalogue import Entry, entries
from compiler.front.catalogue.entry import Initialiser, Kind, Parameter, Rate
from compiler.front.imports import library
from compiler.front.kinds import KIND_WORDS
from compiler.front.parse import parse

COMMAND = "python -m compiler.front.catalogue.reference > docs/layers.md"
_HEADINGS: dict[Kind, tuple[str, str]] = {
    "layer": ("Layers", "Stages of a body. Those with weights belong into a model or a block."),
    "function": ("Functions", "They have no weights, so that they can stand in a `train` block too."),
    "augmentation": (
        "Augmentations",
        "For `train` blocks only. They change the samples of a batch at random, each in its own way, and leave them as "
        "they are in evaluation.",
    ),
    "loss": ("Losses", "For `minimize`. Each gives one number, the mean over the batch unless it says otherwise."),
    "metric": ("Metrics", "For `measure`. Each is a figure over a whole data set, not a mean of figures of batches."),
    "optimizer": ("Optimizers", "For `with`. They can be written without parentheses where the defaults do."),
    "schedule": (
        "Schedules",
        "For the learning rate of an optimizer: `adam(lr=cosine(3e-3))`. The run's figures have a column `lr` then.",
    ),
    "initialiser": ("Initialisers", "For arguments such as `init=`. They make a weight's first content."),
    "reader": (
        "Readers",
        "For `data`, `validate` and `test`: files that do not explain themselves. Their arrays go to the inputs of the "
        "train block that have their names.",
    ),
    "encoding": ("Encodings", "For the columns that `csv` reads: how text becomes numbers."),
    "split": ("Splits", "For `validate` and `test`: which part of the samples is set apart."),
}
_INTRODUCTION = f"""\
# Layers, functions, augmentations, losses, metrics, optimizers, schedules, initialisers, readers

Everything that a model file can name without declaring it, and the blocks of the standard library. How calls work is
told in [the language reference](language.md): tensors come first, and the first one may be left out where it is the
current value. Where the table of an entry says *by name*, the argument is given as `name=value`. `dlc explain NAME`
shows an entry in the terminal.

This page is made from the catalogue: `{COMMAND}`."""
_LIBRARY = """\
Blocks written in the language itself. `import std.mlp` makes them known by their own names, `import std.mlp as m` as
`m.MLP`; `dlc explain std.mlp` shows the source."""

_PER_INPUT = "what has that name"


def reference() -> str:
    """The whole page."""
    kinds = [part for kind in _HEADINGS for part in _kind(kind)]
    return "\n\n".join([_INTRODUCTION, _contents(), *kinds, *_library()]) + "\n"


def _contents() -> str:
    links = [f"- [{heading}](#{heading.lower()})" for heading, _ in _HEADINGS.values()]
    return "\n".join([*links, "- [The standard library](#the-standard-library)"])


def _kind(kind: Kind) -> Iterator[str]:
    """One kind: its tables, one for each family where there are several, then every entry in full."""
    heading, introduction = _HEADINGS[kind]
    found = [entry for entry in entries(kind).values() if entry.kind == kind]
    families: dict[str, list[Entry]] = {}
    for entry in found:
        families.setdefault(entry.build.__module__, []).append(entry)
    yield f"## {heading}\n\n{introduction}"
    for module, members in families.items():
        if len(families) > 1:
            yield _family(sys.modules[module].__doc__ or "")
        rows = [f"| [{entry.name}](#{_anchor(entry)}) | {_cell(_markdown(entry.summary))} |" for entry in members]
        yield "\n".join([f"| {kind} | |", "| --- | --- |", *rows])
    for entry in found:
        yield "\n\n".join(_entry(entry))


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _entry(entry: Entry) -> Iterator[str]:
    yield f'<a id="{_anchor(entry)}"></a>\n\n### {entry.name}'
    yield f"```dl signature\n{entry.signature}\n```"
    yield _markdown(entry.documentation)
    described = [parameter for parameter in entry.parameters if not (parameter.is_tensor and parameter.required)]
    if described:
        yield "\n".join(["| argument | what | default |", "| --- | --- | --- |", *map(_row, described)])


def _row(parameter: Parameter) -> str:
    words = " or ".join(f"`{word}`" for word in parameter.choices) or _kind_words(parameter)
    if parameter.variadic:
        words = f"any number of them, each {words}"
    if parameter.keyword_only:
        words += ", by name"
    if parameter.per_input:
        return f"| an input's name | {words} | {_PER_INPUT} |"
    default = f"`{parameter.default_text}`"
    if parameter.required or parameter.variadic:
        default = "needed" if parameter.required else "none of them"
    return f"| `{parameter.name}` | {words} | {default} |"


def _kind_words(parameter: Parameter) -> str:
    kind = parameter.kind
    if kind is Initialiser:
        return "an [initialiser](#initialisers)"
    if kind == Rate:
        return "a number, or a [schedule](#schedules)"
    if kind in KIND_WORDS:
        return KIND_WORDS[kind]
    return " or ".join(KIND_WORDS[part] for part in get_args(kind))


def _anchor(entry: Entry) -> str:
    """An anchor of its own, since a loss and a metric may share a name."""
    return f"{entry.kind}-{entry.name}"


def _library() -> Iterator[str]:
    """The blocks of the standard library, with the comments above them."""
    yield f"## The standard library\n\n{_LIBRARY}"
    for name, path in library().items():
        source = Source(name, path.read_text(encoding="utf-8"))
        about, _, _ = source.text.partition("\n\n")
        yield f"### {name}\n\n{_comment(about)}"
        for block in parse(source, Sink()).declarations:
            if isinstance(block, tree.Block):
                yield from _block(source, block)


def _block(source: Source, block: tree.Block) -> Iterator[str]:
    signature = source.text[block.span.start : block.body.span.start].removeprefix("block").strip()
    above = source.text[: block.span.start].rsplit("\n\n", 1)[-1]
    yield f"#### {block.name.name}\n\n```dl signature\n{signature}\n```\n\n{_comment(above)}"


def _comment(text: str) -> str:
    """The words of comment lines."""
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in text.strip().splitlines())


def _family(text: str) -> str:
    """What is common to the entries of a module: the first sentence of its docstring, its subject in bold."""
    sentence = re.split(r"\.(?=\s|$)", " ".join(text.split()), maxsplit=1)[0]
    subject, colon, rest = sentence.partition(":")
    return f"**{_markdown(subject)}**{colon}{_markdown(rest)}."


def _markdown(documentation: str) -> str:
    """A docstring as Markdown: double backticks are single ones, and stars outside code are no emphasis."""
    parts = re.split(r"(``.+?``)", documentation, flags=re.DOTALL)
    return "".join(
        f"`{part[2:-2]}`" if part.startswith("``") else part.replace("*", r"\*").replace("<", "&lt;") for part in parts
    )


if __name__ == "__main__":
    sys.stdout.write(reference())
