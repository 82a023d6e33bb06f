"""Steps as text: lines of stages, names for what is read several times, labels from the paths of the file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from compiler.ir.graph import Value
from compiler.targets.dl.step import Body, Operand, Step

_LONGEST_LABEL = 32
_LONG = 72  # columns of a stage before the next one has a line of its own
WORDS = frozenset({
    "if", "else", "and", "or", "not", "true", "false", "it", "layer", "residual", "repeat", "none", "same", "import",
    "const", "model", "block", "train", "weights", "as", "f16", "bf16", "f32", "f64", "u8", "i8", "i32", "i64", "u32",
    "bool",
})  # fmt: skip
_IDENTIFIER = re.compile(r"[^A-Za-z0-9_]+")
# Operators by how tightly they bind.
_BINDING = {
    "or": 1, "and": 2, "not": 3, "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4, "+": 5, "-": 5, "*": 6, "/": 6,
    "%": 6, "@": 6, "**": 8,
}  # fmt: skip


def identifier(text: str) -> str:
    """``text`` as a name of the language."""
    name = _IDENTIFIER.sub("_", text).strip("_") or "x"
    name = f"x{name}" if name[0].isdigit() else name
    return f"{name}_" if name in WORDS else name


@dataclass
class Writer:
    """Writes one body. ``names`` are those of values that have one already, ``taken`` what no value may be called, and
    ``place`` the path of the body, which labels leave out; ``inner`` bodies may stand for several places. ``outputs``
    are names that values are to have."""

    names: dict[Value, str]
    taken: set[str]
    place: str = ""
    inner: bool = False
    lines: list[str] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)
    outputs: dict[Value, str] = field(default_factory=dict)

    def write(self, body: Body, outputs: Sequence[Value]) -> list[str]:
        """The lines of a body; the first of its inputs is the current value."""
        self.uses = _uses(body.steps, outputs)
        self.current: Value | None = body.inputs[0] if body.inputs else None
        steps, place = body.steps, 0
        first = body.inputs[0] if body.inputs else None
        if first is not None and first not in self.names and self.uses[first] > 1:
            self.names[first] = fresh("x", self.taken)
            self.lines.append(f"{self.names[first]} = it")
        while place < len(steps):
            chain = self._chain(steps, place)
            place += len(chain)
            self._statement(chain, steps[place] if place < len(steps) else None, outputs)
        if len(outputs) > 1:
            self.lines.append(f"({', '.join(map(self._name, outputs))})")
        elif outputs and self.current is not outputs[0]:
            self.lines.append(self._name(outputs[0]))
        return self.lines

    def _chain(self, steps: Sequence[Step], place: int) -> list[Step]:
        """Steps from ``place`` on of which each takes what the one before it gives, and nothing else does."""
        chain = [steps[place]]
        for step in steps[place + 1 :]:
            before = chain[-1]
            if len(before.results) != 1 or self.uses[before.result] != 1 or before.result in self.names:
                break
            if step.form == "prefix" or not step.operands or step.operands[0] is not before.result:
                break
            simple = len(chain) == 1 and before.form == "call" and not before.is_weighted
            if step.form == "infix" and not (simple and isinstance(step.operands[1], str)):
                break
            chain.append(step)
        return chain

    def _statement(self, chain: Sequence[Step], following: Step | None, outputs: Sequence[Value]) -> None:
        result = chain[-1].result
        flows = following is not None and following.operands[:1] == (result,) and self.uses[result] == 1
        infix = following is not None and following.form == "infix" and result in following.operands
        goes_on = flows or (infix and self.uses[result] == 1) or (following is None and list(outputs[:1]) == [result])
        head = chain[0]
        long = sum(step.layers for step in chain) > 1 or any(step.bodies for step in chain)
        from_current = self.current is not None and head.operands[:1] == (self.current,)
        if goes_on and len(chain[-1].results) == 1 and len(outputs) < 2:
            self._stages(chain)
            self.current = result
            return
        if (long or (from_current and any(step.is_weighted for step in chain))) and len(chain[-1].results) == 1:
            self._stages(chain)
            self.current = result
            self.names[result] = self._new_name(chain)
            self.lines.append(f"{self.names[result]} = it")
            return
        texts = [text for _, text in _joined([(s, self._text(s, i == 0, True)) for i, s in enumerate(chain)])]
        name = self._new_name(chain)
        self.names[result] = name
        self.kinds.update(step.kind for step in chain)
        self.lines += _indented(f"{name} = ", " -> ".join(texts))

    def _stages(self, chain: Sequence[Step]) -> None:
        """A chain as stages, one for each layer with a matrix and what follows it."""
        start = chain[0].operands[:1]
        if chain[0].bodies and start and isinstance(start[0], Value) and start[0] is not self.current:
            # A body stands better on lines of its own.
            self.lines.append(self._name(start[0]))
            self.current = start[0]
        groups: list[list[tuple[Step, str]]] = []
        for index, step in enumerate(chain):
            text = self._text(step, index == 0, False)
            line = " -> ".join(text for _, text in groups[-1]) if groups else ""
            heavy = any(other.layers for other, _ in groups[-1]) if groups else False
            tall = "\n" in text or "\n" in line
            fresh_line = step.layers and (heavy or (groups and self._wanted(step)))
            if not groups or fresh_line or tall or len(line) + len(text) > _LONG:
                groups.append([])
            groups[-1].append((step, text))
        for group in map(_joined, groups):
            label = self._label([step for step, _ in group])
            self.kinds.update(step.kind for step, _ in group)
            self.lines += _indented(f"{label}: " if label else "", " -> ".join(text for _, text in group))

    def _label(self, steps: Sequence[Step]) -> str:
        """A label for a line, from the path of its first layer with weights; empty where the path says nothing."""
        step = next((step for step in steps if step.is_weighted), None)
        name = "" if step is None else self._wanted(step)
        if name:
            self.labels.add(name)
        return name

    def _wanted(self, step: Step) -> str:
        path = step.path.removeprefix(self.place).strip(".") if self.place else step.path
        parts = [part for part in path.split(".") if part and re.sub(r"_\d+$", "", part) != step.kind]
        parts = found = [part for part in parts if not part[:1].isupper()]
        if self.inner:
            # Numbers tell the copies apart, which have one text here.
            numbers = [index for index, part in enumerate(parts) if part.isdigit()]
            parts = parts[numbers[-1] + 1 :] if numbers else parts
        while parts and parts[0].isdigit():
            parts = parts[1:]
        name = identifier("_".join(parts)) if parts else ""
        if name in self.labels and len(found) > len(parts):
            name = identifier(f"{name}_{found[-len(parts) - 1]}")
        usable = name and name not in self.labels | self.kinds and name != "x" and len(name) <= _LONGEST_LABEL
        return name if usable else ""

    # Names.

    def _name(self, value: Value) -> str:
        return "it" if value is self.current and value not in self.names else self.names[value]

    def _new_name(self, chain: Sequence[Step]) -> str:
        named = self.outputs.get(chain[-1].result)
        if named is not None:
            return fresh(named, self.taken)
        weighted = [step for step in chain if step.is_weighted]
        noun = _NOUNS.get((weighted or chain)[-1].kind, "value")
        last = [part for part in weighted[-1].path.split(".") if part and not part.isdigit()] if weighted else []
        wanted = identifier(last[-1]).lower() if last else noun
        if weighted and (wanted in _NOUNS or re.sub(r"_\d+$", "", wanted) == weighted[-1].kind):
            wanted = noun
        return fresh(wanted, self.taken)

    # Texts.

    def _operand(self, item: Operand) -> str:
        return item if isinstance(item, str) else self._name(item)

    def _text(self, step: Step, first: bool, named: bool) -> str:
        """A step as it stands in a chain; ``first`` in it, it says what it starts from."""
        if step.form == "infix" and first:
            return self._infix(step)
        if step.form == "prefix":
            return f"{step.kind}{' ' * (step.kind == 'not')}{self._operand(step.operands[0])}"
        if step.form == "infix":
            return f"it {step.kind} {self._operand(step.operands[1])}"
        start, rest = step.operands[:1], step.operands[1:]
        if step.form == "index":
            items = ", ".join(argument.text for argument in step.arguments)
            return f"{self._operand(start[0]) if first else 'it'}[{items}]"
        text = self._body_text(step) if step.form in ("residual", "repeat") else self._call(step, rest)
        # A function of several tensors takes none by itself.
        several = (
            step.form == "call"
            and step.kind[:1].islower()
            and any(isinstance(item, Value) and not step.keyword(index) for index, item in enumerate(rest, 1))
        )
        named = named or several
        if not first or not start or (isinstance(start[0], Value) and start[0] is self.current and not named):
            return text
        if named and start[0] is self.current and start[0] not in self.names:
            return f"it -> {text}"
        if isinstance(start[0], str):
            return self._call(step, step.operands)
        return f"{self._operand(start[0])} -> {text}"

    def _infix(self, step: Step) -> str:
        left, right = map(self._operand, step.operands)
        return f"{left} {step.kind} {right}"

    def _call(self, step: Step, rest: Sequence[Operand]) -> str:
        shift = len(step.operands) - len(rest)
        positional = [self._operand(item) for i, item in enumerate(rest) if not step.keyword(i + shift)]
        named = [f"{word}={self._operand(item)}" for i, item in enumerate(rest) if (word := step.keyword(i + shift))]
        texts = [*positional, *(str(a) for a in step.arguments if not a.named), *named]
        texts += [str(argument) for argument in step.arguments if argument.named]
        return f"{step.kind}({', '.join(texts)})" if texts or not step.operands else step.kind

    def _body_text(self, step: Step) -> str:
        body = step.bodies[0]
        place = step.path
        if step.form == "repeat":
            place = f"{place}.0" if _has_place(body, f"{place}.0") else place
        names = {value: name for value, name in self.names.items() if value is not body.inputs[0]}
        writer = Writer(names, self.taken, place, self.inner or step.form == "repeat")
        if step.form == "residual":
            writer.labels, writer.kinds = self.labels, self.kinds  # which has no place of its own
        lines = writer.write(body, [body.output])
        head = f"repeat {step.arguments[0].text}" if step.form == "repeat" else "residual"
        if len(lines) == 1 and "\n" not in lines[0] and len(lines[0]) < _LONG - 16:
            return f"{head} {{ {lines[0]} }}"
        inner = "\n".join(f"    {line}" for text in lines for line in text.split("\n"))
        return f"{head} {{\n{inner}\n}}"


# What results of steps are called where the file has no name for them.
_NOUNS = {
    "+": "total", "-": "difference", "*": "product", "/": "quotient", "@": "product", "conv": "features",
    "dense": "features", "embed": "words", "concat": "joined", "softmax": "shares", "mean": "average",
    "global_avg_pool": "pooled", "max_pool": "pooled", "avg_pool": "pooled", "reshape": "shaped",
    "transpose": "turned", "flatten": "flat", "[]": "part", "cast": "numbers", "arange": "places", "parameter": "table",
    "relu": "active", "batch_norm": "normed", "layer_norm": "normed", "select": "chosen",
}  # fmt: skip


def fresh(wanted: str, taken: set[str]) -> str:
    """A name that nothing has yet, which is taken then."""
    name, count = wanted, 1
    while name in taken or name in WORDS:
        count += 1
        name = f"{wanted}{count}"
    taken.add(name)
    return name


def _has_place(body: Body, place: str) -> bool:
    return any(step.path.startswith(place) for step in body.steps)


def _joined(group: list[tuple[Step, str]]) -> list[tuple[Step, str]]:
    """A line in which a number is added to a call, and the like, as one text: ``cast(f32) / 16``."""
    found: list[tuple[Step, str]] = []
    for step, text in group:
        if step.form == "infix" and found and text.startswith("it "):
            found[-1] = (step, f"{found[-1][1]} {text[3:]}")
        else:
            found.append((step, text))
    return found


def _uses(steps: Sequence[Step], outputs: Sequence[Value]) -> Counter[Value]:
    found = Counter(value for step in steps for value in step.values)
    found.update(outputs)
    return found


def _indented(head: str, text: str) -> Iterator[str]:
    yield f"{head}{text}"
