"""The statement ``draw``: one graph of all pictures that a train block has made after every epoch."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.diagnostics import Label, error
from compiler.front import bodies, tree
from compiler.front.declarations import Declarations
from compiler.front.expressions import Evaluator
from compiler.front.modules import declare_inputs
from compiler.front.scope import Scope
from compiler.front.trace import Trace, TracedWeight
from compiler.front.values import DslValue, Tensor, describe, has_poison
from compiler.ir.graph import Graph
from compiler.ir.types import DType, TensorType


@dataclass(frozen=True)
class Pictures:
    """``graph`` has an output for each picture, under its name; ``weights`` are all that it reads."""

    graph: Graph
    weights: tuple[TracedWeight, ...]


def elaborate_pictures(declarations: Declarations, train: tree.Train) -> Pictures | None:
    """What the ``draw`` statements of ``train`` make; None where there is none, or where they have errors, which are
    reported.

    Dropout and augmentation are off, as in evaluation, and random numbers are the same whenever the graph runs: so
    two pictures differ by what was learned between them.
    """
    if not any(isinstance(statement, tree.Draw) for statement in train.statements):
        return None
    name = train.name.name
    before = len(declarations.sink.errors)
    trace = Trace("pictures", training=False, has_state=True, weightless=name, steady=True)
    evaluator = Evaluator(declarations, trace)
    scope = declarations.module_scope(name)
    declare_inputs(evaluator, train.parameters, scope, name)
    drawn: dict[str, tree.Expression] = {}
    for statement in train.statements:
        match statement:
            case tree.Assign():
                bodies.assign(evaluator, statement, scope)
            case tree.Draw():
                for item in statement.items:
                    _draw(evaluator, item, scope, drawn)
    if len(declarations.sink.errors) > before:
        return None
    return Pictures(trace.b.finish(), tuple(trace.weights.values()))


def _draw(
    evaluator: Evaluator, item: tree.Expression | tree.Keyword, scope: Scope, drawn: dict[str, tree.Expression]
) -> None:
    """One item of a statement: an output of the graph. ``drawn`` are those before it, by name."""
    expression = item.value if isinstance(item, tree.Keyword) else item
    picture = _picture(evaluator, expression, evaluator.stage(expression, scope))
    if picture is None:
        return
    name = _name(item)
    if name is None:
        advice = f"give it a name: draw picture = {' '.join(item.span.text.split())}"
        evaluator.report(error("E0510", "this picture has no name for its files", item.span, help=advice))
        return
    if name in drawn:
        title, first = f"two pictures are called {name}", Label(drawn[name].span, "first drawn here")
        advice = f"give this one a name of its own: draw other_{name} = …"
        evaluator.report(error("E0202", title, item.span, "drawn again here", labels=[first], help=advice))
        return
    drawn[name] = expression
    evaluator.graph().b.output(name, picture.value)


def _name(item: tree.Expression | tree.Keyword) -> str | None:
    """The name that is given, or that of the value."""
    match item:
        case tree.Keyword():
            return item.name.name
        case tree.Name():
            return item.name
        case _:
            return None


def _picture(evaluator: Evaluator, expression: tree.Expression, value: DslValue) -> Tensor | None:
    """``value`` where it can be drawn; what stands against it is reported."""
    if has_poison(value):
        return None
    if not isinstance(value, Tensor):
        text = f"a picture is a tensor, not {describe(value)}"
        evaluator.report(error("E0403", text, expression.span, describe(value)))
        return None
    problem = _problem(value.value.type)
    if problem is None:
        return value
    title, advice = problem
    text = f"this is {value.value.type}"
    evaluator.report(error("E0510", title, expression.span, text, help=advice))
    return None


def _problem(type: TensorType) -> tuple[str, str] | None:
    """Why values of ``type`` can't be drawn, and what helps."""
    if type.dtype is not DType.U8 and not type.dtype.is_float:
        return f"cannot draw {type}: brightness is u8, 0 to 255, or a float, 0 to 1", "convert it: cast(f32)"
    if type.rank not in (3, 4):
        return (
            f"cannot draw {type}: pictures are [N, height, width] or [N, channels, height, width]",
            "bring it into that shape, for example reshape(28, 28)",
        )
    if type.rank == 4 and type.shape[1] not in (1, 3):
        return (
            f"cannot draw {type}: a picture has 1 channel (grey) or 3 (red, green, blue), not {type.shape[1]}",
            "take some of the channels, for example x[:, :1]",
        )
    return None
