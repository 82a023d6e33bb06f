"""The syntax tree of a `.dl` file: what was written, with its places, and nothing about what it means.

Every node begins with its span. Sequences are tuples; what was left out is None or an empty tuple. A bare layer
such as `relu` is a `Name`: whether that is a value, a layer or a constant is for the resolver to say.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compiler.diagnostics.source import Span

if TYPE_CHECKING:
    from compiler.front.stored.nodes import WeightsFrom

UnaryOperator = Literal["-", "not"]
BinaryOperator = Literal["+", "-", "*", "/", "//", "%", "**", "@"]
CompareOperator = Literal["==", "!=", "<", "<=", ">", ">="]
LogicOperator = Literal["and", "or"]


@dataclass(frozen=True, slots=True)
class Node:
    """What all nodes share."""

    span: Span  # from the first to the last character of the construct, parentheses around it included


# Expressions


@dataclass(frozen=True, slots=True)
class Name(Node):
    """`relu`, `x`, `it`, `N`, `f32`, `same`."""

    name: str  # as written


@dataclass(frozen=True, slots=True)
class Number(Node):
    """`3`, `1_000`, `1e-4`, `20%`."""

    value: int | float  # an int only where neither point, exponent nor percent sign was written; 20% is 0.2
    percent: bool  # whether it was written as a percentage


@dataclass(frozen=True, slots=True)
class String(Node):
    """`"digits.npz"`."""

    value: str  # with its escapes resolved


@dataclass(frozen=True, slots=True)
class Boolean(Node):
    """`true` or `false`."""

    value: bool  # which of the two


@dataclass(frozen=True, slots=True)
class Tuple(Node):
    """`(a, b)`, `(a,)`."""

    items: "tuple[Expression, ...]"  # at least one


@dataclass(frozen=True, slots=True)
class List(Node):
    """`[1, 2, 3]`, `[]`."""

    items: "tuple[Expression, ...]"  # any number


@dataclass(frozen=True, slots=True)
class Keyword(Node):
    """`kernel=3` among the arguments of a call."""

    name: Name  # the parameter it is for
    value: "Expression"  # what is given


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`conv(64, 7, stride=2)`; a name may stand among `keywords` twice, which the resolver reports."""

    function: "Expression"  # what is called
    positional: "tuple[Expression, ...]"  # arguments by position
    keywords: tuple[Keyword, ...]  # arguments by name, in the order written


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    """`x.shape`, `token.weight`, `std.transformer`."""

    value: "Expression"  # what the attribute is taken of
    name: Name  # what follows the point


@dataclass(frozen=True, slots=True)
class Slice(Node):
    """`:`, `1:`, `:-1`, `::2` in an index."""

    start: "Expression | None"  # first position taken
    stop: "Expression | None"  # first position no longer taken
    step: "Expression | None"  # distance between positions


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`x[:, 0]`."""

    value: "Expression"  # what is indexed
    items: "tuple[Expression | Slice, ...]"  # one for each axis written, at least one


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`-x`, `not causal`."""

    operator: UnaryOperator  # what is done
    operand: "Expression"  # to what


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`main + skip`."""

    operator: BinaryOperator  # what is done
    left: "Expression"  # left of the operator
    right: "Expression"  # right of the operator


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """`stride != 1`; comparisons do not chain."""

    operator: CompareOperator  # what is asked
    left: "Expression"  # left of the operator
    right: "Expression"  # right of the operator


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """`a and b`, `a or b`."""

    operator: LogicOperator  # which of the two
    left: "Expression"  # looked at first
    right: "Expression"  # looked at where the left one does not decide


@dataclass(frozen=True, slots=True)
class Conditional(Node):
    """`2 if first else 1`."""

    condition: "Expression"  # decided at compile time
    then: "Expression"  # the value where it holds
    otherwise: "Expression"  # the value where it does not


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """`x -> conv(64) -> relu`."""

    first: "Expression"  # a value to start from, or a layer that takes the current value
    steps: "tuple[Expression, ...]"  # what follows the arrows, at least one


@dataclass(frozen=True, slots=True)
class Residual(Node):
    """`residual { … }`: the body's result plus its input."""

    body: "Body"  # what is added to its own input


@dataclass(frozen=True, slots=True)
class Repeat(Node):
    """`repeat n as i { … }`: n fresh copies of the body, one after the other; or one for each element of a list."""

    count: "Expression"  # how many, or the list
    index: Name | None  # the name of the counter, from 0, or of the element
    body: "Body"  # what is repeated


@dataclass(frozen=True, slots=True)
class If(Node):
    """`if c { … } else { … }`, decided at compile time; `else if` is an `otherwise` holding one `If`."""

    condition: "Expression"  # what decides
    then: "Body"  # taken where it holds
    otherwise: "Body | None"  # taken where it does not


Expression = (
    Name
    | Number
    | String
    | Boolean
    | Tuple
    | List
    | Call
    | Attribute
    | Index
    | Unary
    | Binary
    | Compare
    | Logic
    | Conditional
    | Chain
    | Residual
    | Repeat
    | If
)

# Bodies


@dataclass(frozen=True, slots=True)
class ExpressionStage(Node):
    """`conv(64)`, `stem: conv(64, 7) -> relu`: makes the next current value."""

    label: Name | None  # a part of the names of its weights
    value: Expression  # the stage itself, often a Chain


@dataclass(frozen=True, slots=True)
class Assign(Node):
    """`skip = x -> conv(64)`, `mean, scale = x -> Encoder`: names a value."""

    targets: tuple[Name, ...]  # at least one; several take a tuple apart
    value: Expression  # what is named


@dataclass(frozen=True, slots=True)
class Layer(Node):
    """`layer token = embed(65, 128)`: a local instance to share."""

    name: Name  # what the instance is called
    value: Expression  # the layer, usually a Call


Stage = ExpressionStage | Assign | Layer


@dataclass(frozen=True, slots=True)
class Body(Node):
    """What stands between braces."""

    stages: tuple[Stage, ...]  # in the order written


# Types and parameters


@dataclass(frozen=True, slots=True)
class Dimension(Node):
    """`N`, `4 * D`, `T <= 64`, `2 <= T`, `2 <= T <= 64` in a type."""

    size: Expression  # arithmetic over integers, constants and symbols
    least: Expression | None  # the smallest size
    bound: Expression | None  # the largest size, inclusive


@dataclass(frozen=True, slots=True)
class Rest(Node):
    """`...` in a type: any number of dimensions."""


@dataclass(frozen=True, slots=True)
class TypeExpression(Node):
    """`f32[N, 3, T <= 64]`, `[N, ..., D]`, `f32[]`."""

    dtype: Name | None  # None in a pattern for any dtype
    dimensions: tuple[Dimension | Rest, ...]  # empty for a scalar


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """`x: [N, C]` (a tensor), `kernel=3`, `channels`, `mask: bool[N, T] = none` (a tensor that may be missing)."""

    name: Name  # what the body calls it
    pattern: TypeExpression | None  # given for tensors only
    default: Expression | None  # of a hyper-parameter; of a tensor it can only be `none`


@dataclass(frozen=True, slots=True)
class Output(Node):
    """`f32[N, 10]`, or `mean: f32[N, 8]` among several."""

    name: Name | None  # None for the one output of a signature without names
    type: TypeExpression  # what is promised


# Train blocks


@dataclass(frozen=True, slots=True)
class Minimize(Node):
    """`minimize LOSS over M, … with OPTIMIZER every 5`."""

    loss: Expression  # what becomes smaller
    over: tuple[Name, ...]  # patterns of what is changed; empty for everything the loss depends on
    optimizer: Expression  # usually a Call
    every: Expression | None  # it is a turn of each so many steps


@dataclass(frozen=True, slots=True)
class Measure(Node):
    """`measure accuracy(logits, label), error = mae(a, b)`."""

    items: tuple[Expression | Keyword, ...]  # a Keyword gives its measure a name


@dataclass(frozen=True, slots=True)
class Draw(Node):
    """`draw fake, rebuilt = Decoder(code)`."""

    items: tuple[Expression | Keyword, ...]  # a Keyword gives its picture a name


@dataclass(frozen=True, slots=True)
class Data(Node):
    """`data "digits.npz"`."""

    source: Expression  # usually a String


@dataclass(frozen=True, slots=True)
class Validate(Node):
    """`validate 20%`, `validate "held_out.npz" every 500`."""

    source: Expression  # a fraction of the training data, or other data
    every: Expression | None  # after each so many steps, in place of after every epoch


@dataclass(frozen=True, slots=True)
class Test(Node):
    """`test 10%`, `test "test.npz"`."""

    source: Expression  # a fraction of the data, or other data


@dataclass(frozen=True, slots=True)
class Setting(Node):
    """`batch 64`, `epochs 30`, `clip 1.0`; outside train blocks `license "MIT"`."""

    name: str  # the word in front
    value: Expression  # a constant


@dataclass(frozen=True, slots=True)
class Stop(Node):
    """`stop val.accuracy patience 5`."""

    measure: Expression  # a Name or an Attribute
    patience: Expression | None  # epochs without improvement that are waited for


@dataclass(frozen=True, slots=True)
class Freeze(Node):
    """`freeze VGG.body, Net.block*.conv`."""

    parts: tuple[Name, ...]  # patterns of what is not trained


TrainStatement = Assign | Minimize | Measure | Draw | Data | Validate | Test | Setting | Stop | Freeze


def first_word(statement: TrainStatement) -> str:
    """The word that a statement of a train block begins with."""
    return statement.name if isinstance(statement, Setting) else type(statement).__name__.lower()


# Declarations


@dataclass(frozen=True, slots=True)
class ModuleName(Node):
    """`std.transformer` in an import."""

    parts: tuple[Name, ...]  # at least one


@dataclass(frozen=True, slots=True)
class Import(Node):
    """`import "blocks.dl"`, `import "vgg16.onnx" as VGG16`, `import std.transformer`."""

    source: String | ModuleName  # a file relative to this one, or a module of the standard library
    alias: Name | None  # what it is called here


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`1e-4 .. 1e-2 log`."""

    low: Expression
    high: Expression
    logarithmic: bool  # whether sizes are tried evenly by their ratio


@dataclass(frozen=True, slots=True)
class Const(Node):
    """`const classes = 10`, `const rate = 1e-3 in 1e-4 .. 1e-2 log`."""

    name: Name  # what it is called
    value: Expression  # known at compile time
    space: Range | Expression | None  # what a search tries: a range or a list


@dataclass(frozen=True, slots=True)
class Model(Node):
    """`model Digits(image: u8[N, 8, 8]) -> f32[N, 10] { … }`: one instance, its weights shared by all uses."""

    name: Name  # what it is called
    parameters: tuple[Parameter, ...]  # inputs, and hyper-parameters where there are any
    outputs: tuple[Output, ...]  # empty where no type is declared
    body: Body  # what it computes


@dataclass(frozen=True, slots=True)
class Block(Node):
    """`block ConvUnit(x: [N, C, H, W], channels, kernel=3) { … }`: a template, fresh weights for each use."""

    name: Name  # what it is called
    parameters: tuple[Parameter, ...]  # tensors and hyper-parameters
    outputs: tuple[Output, ...]  # empty where no type is declared
    body: Body  # what it computes


@dataclass(frozen=True, slots=True)
class Train(Node):
    """`train digits(image: u8[N, 8, 8], label: i64[N]) { … }`."""

    name: Name  # what it is called
    parameters: tuple[Parameter, ...]  # the arrays it learns from
    statements: tuple[TrainStatement, ...]  # in the order written


Declaration = Const | Model | Block | Train


@dataclass(frozen=True, slots=True)
class File(Node):
    """A whole file."""

    imports: tuple[Import, ...]  # in the order written
    declarations: tuple[Declaration, ...]  # in the order written
    about: tuple[Setting, ...] = ()  # author, license and description
    weights: "tuple[WeightsFrom, ...]" = ()  # in the order written
