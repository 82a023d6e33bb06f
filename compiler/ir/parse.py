"""Reading the text form of a graph: the grammar makes a tree, and a builder makes a graph of it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

import grammar
from compiler.ir.builder import Builder
from compiler.ir.dims import Dim, floor_divide, product, symbol
from compiler.ir.graph import Graph, Operation, Role, Value
from compiler.ir.types import DType, TensorType, TypeMismatch

_CONSTANTS = {"true": True, "false": False, "none": None}
# How the grammar's tokens are called in messages; the others stand for themselves.
_TOKENS = {
    "ROLE": "data, weight or state",
    "DTYPE": "an element type such as f32",
    "CONSTANT": "true, false or none",
    "FLOAT": "a number",
    "INTEGER": "a number",
    "STRING": "a quoted string",
    "NAME": "a name",
    "LABEL": "a name",
    "VALUE": "a value such as %x",
    "ELEMENTS": "the numbers of an array in parentheses",
    "$END": "the end",
}


class GraphTextError(ValueError):
    """A text that is not the text of a graph. ``line`` and ``column`` count from 1.

    ``expected`` says what could have stood there instead, where the fault is one of syntax.
    """

    def __init__(self, message: str, line: int, column: int, expected: tuple[str, ...] = ()) -> None:
        wanted = f"; expected {' or '.join(expected)}" if expected else ""
        super().__init__(f"{line}:{column}: {message}{wanted}")
        self.message, self.line, self.column, self.expected = message, line, column, expected


def parse_graph(text: str, operations: Mapping[str, type[Operation]]) -> Graph:
    """The graph whose text form is ``text``; ``operations`` gives each operation by its opcode.

    Types are inferred anew and have to be those written. Raises GraphTextError.
    """
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _syntax_error(error, text) from None
    name, bounds, *statements = _parts(tree)
    return _Reader(operations, Builder(_unquoted(name))).graph(bounds, statements)


@cache
def _parser() -> Lark:
    return Lark(grammar.text("ir"), parser="lalr")


def _syntax_error(error: UnexpectedInput, text: str) -> GraphTextError:
    if isinstance(error, UnexpectedToken):
        names: Iterable[str] = error.accepts or error.expected
        ends = error.token.type == "$END"
        found = "the text ends" if ends else f"unexpected {error.token.value!r}"
    else:
        assert isinstance(error, UnexpectedCharacters)
        names, ends = error.allowed or (), False
        found = f"unexpected {error.char!r}"
    line, column = error.line, error.column
    if ends:
        lines = text.splitlines() or [""]
        line, column = len(lines), len(lines[-1]) + 1
    return GraphTextError(found, line, column, tuple(sorted({_token_text(name) for name in names})))


def _token_text(name: str) -> str:
    if name in _TOKENS:
        return _TOKENS[name]
    return f"'{_parser().get_terminal(name).pattern.value}'"


def _fail(token: Token, message: str) -> NoReturn:
    raise GraphTextError(message, token.line or 0, token.column or 0)


def _unquoted(token: Token) -> str:
    """The name or string that a token stands for."""
    text = token.removeprefix("%")
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError as error:
        _fail(token, f"not a string: {error}")


class _Reader:
    """Walks the tree of one text."""

    def __init__(self, operations: Mapping[str, type[Operation]], builder: Builder) -> None:
        self._operations = operations
        self._hints: dict[str, dict[str, Any]] = {}
        self._builder = builder
        self._values: dict[str, Value] = {}
        self._names: set[str] = set()
        self._symbols: dict[str, Dim] = {}

    def graph(self, bounds: Tree[Token], statements: Iterable[Tree[Token]]) -> Graph:
        for bound in _parts(bounds):
            lower, name, upper = bound.children
            self._symbols[name] = symbol(str(name), upper and int(upper), int(lower or 1))
        read: dict[str, Callable[..., None]]
        read = {"input": self._input, "node": self._node, "outputs": self._outputs}
        for statement in statements:
            read[statement.data](*_parts(statement))
        return self._builder.finish()

    # Statements

    def _input(self, role: Token, typed: Tree[Token]) -> None:
        name, type = self._new(typed)
        self._values[name] = self._builder.input(name, type, Role(role))

    def _node(self, results: Tree[Token], opcode: Token, operands: Tree[Token], attributes: Tree[Token]) -> None:
        inputs = tuple(self._value(token) for token in _parts(operands))
        operation = self._operation(opcode, attributes)
        written = [self._new(typed) for typed in _parts(results)]
        try:
            made = self._builder.add_node(operation, inputs, tuple(name for name, _ in written))
        except (TypeMismatch, ValueError) as error:
            _fail(opcode, f"{opcode} does not fit its operands or results: {error}")
        for typed, (name, type), value in zip(_parts(results), written, made, strict=True):
            if value.type != type:
                _fail(_parts(typed)[0], f"%{name} is written as {type} but {opcode} gives {value.type}")
            self._values[name] = value

    def _outputs(self, *outputs: Tree[Token]) -> None:
        for output in outputs:
            first, token, *renamed = _parts(output)
            value, updates = self._value(token), None
            if output.data == "updated":
                updates = self._value(first).name
            try:
                self._builder.output(_unquoted((renamed or [first])[0]), value, updates)
            except ValueError as error:
                _fail(first, str(error))

    # Names and types

    def _new(self, typed: Tree[Token]) -> tuple[str, TensorType]:
        """The name and the type of a value that is made here."""
        token, type = _parts(typed)
        name = _unquoted(token)
        if name in self._names:
            _fail(token, f"{token} is made twice")
        self._names.add(name)
        return name, self._type(type)

    def _value(self, token: Token) -> Value:
        value = self._values.get(_unquoted(token))
        if value is None:
            _fail(token, f"{token} is not made before")
        return value

    def _type(self, tree: Tree[Token]) -> TensorType:
        dtype, *dims = _parts(tree)
        return TensorType(DType(dtype), tuple(self._dim(dim) for dim in dims if dim is not None))

    def _dim(self, tree: Tree[Token] | Token) -> Dim:
        if isinstance(tree, Token):
            if tree.type == "INTEGER":
                return int(tree)
            return self._symbols.setdefault(tree, symbol(str(tree)))
        left, *rest = (self._dim(part) for part in _parts(tree))
        match tree.data, rest:
            case "add", [right]:
                return left + right
            case "subtract", [right]:
                return left - right
            case "multiply", [right]:
                return left * right
            case "floor_divide", [0]:
                _fail(next(tree.scan_values(lambda _: True)), "division by zero")
            case "floor_divide", [right]:
                return floor_divide(left, right)
            case "power", [int(exponent)]:
                return product([left] * exponent)
        return -left

    # Operations and their attributes

    def _operation(self, opcode: Token, attributes: Tree[Token]) -> Operation:
        cls = self._operations.get(opcode)
        if cls is None:
            _fail(opcode, f"there is no operation {opcode}")
        if opcode not in self._hints:
            self._hints[opcode] = _hints(cls)
        hints, given = self._hints[opcode], dict[str, object]()
        for attribute in _parts(attributes):
            name, value = _parts(attribute)
            if name not in hints:
                _fail(name, f"{opcode} has no attribute {name}")
            if name in given:
                _fail(name, f"attribute {name} is given twice")
            attribute_value = self._attribute(value)
            try:
                given[name] = _fitted(attribute_value, hints[name])
            except (TypeError, ValueError) as error:
                _fail(name, f"attribute {name}: {error}")
        try:
            return cls(**given)
        except (TypeError, ValueError, TypeMismatch) as error:
            _fail(opcode, f"{opcode} can't be made: {error}")

    def _attribute(self, tree: Tree[Token] | Token) -> object:
        if isinstance(tree, Token):
            match tree.type:
                case "FLOAT":
                    return float(tree)
                case "STRING":
                    return _unquoted(tree)
                case "DTYPE":
                    return DType(tree)
                case "CONSTANT":
                    return _CONSTANTS[tree]
            return self._dim(tree)
        parts = _parts(tree)
        match tree.data:
            case "list":
                return tuple(self._attribute(part) for part in parts)
            case "operation":
                return self._operation(*parts)
            case "type":
                return self._type(tree)
            case "array":
                return self._array(*parts)
        return self._dim(tree)

    def _array(self, type_tree: Tree[Token], elements: Token) -> npt.NDArray[Any]:
        type = self._type(type_tree)
        texts = elements[1:-1].split(",") if len(elements) > 2 else []
        shape = [dim for dim in type.shape if isinstance(dim, int)]
        if len(shape) != type.rank or product(shape) != len(texts):
            _fail(elements, f"{len(texts)} numbers do not fill {type}")
        dtype, floats = type.dtype.numpy, type.dtype.is_float
        read: Callable[[str], Any] = float if floats else _whole
        try:
            array = np.array([read(text) for text in texts], np.float64 if floats else dtype)
        except (ValueError, OverflowError) as error:
            _fail(elements, f"not the numbers of {type}: {error}")
        return array.astype(dtype).reshape(shape)


def _parts(tree: Tree[Token]) -> list[Any]:
    """What ``tree`` consists of, trees and tokens; parts that may be left out and were are not there."""
    parts: list[Any] = tree.children
    return [part for part in parts if part is not None]


def _whole(text: str) -> int | bool:
    constant = _CONSTANTS.get(text.strip())
    return int(text) if constant is None else constant


def _hints(cls: type[Operation]) -> dict[str, Any]:
    """The attributes of an operation with their declared types."""
    declared = get_type_hints(cls)
    return {field.name: declared[field.name] for field in fields(cls) if field.init}  # type: ignore[arg-type]


def _fitted(value: object, hint: Any) -> object:
    """``value`` as its field declares it: a list may stand for a dataclass, and plain values for an Enum's."""
    if isinstance(hint, type):
        if issubclass(hint, Enum):
            return hint(value)
        if is_dataclass(hint) and isinstance(value, tuple):
            declared = get_type_hints(hint)
            named = zip(fields(hint), value, strict=True)
            return hint(**{field.name: _fitted(item, declared[field.name]) for field, item in named})
    if get_origin(hint) is tuple and isinstance(value, tuple):
        wanted = get_args(hint)
        each = wanted[:1] * len(value) if wanted[-1:] == (...,) else wanted
        return tuple(_fitted(item, item_hint) for item, item_hint in zip(value, each, strict=True))
    return value
