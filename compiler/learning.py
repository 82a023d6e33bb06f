"""Whether the losses of a train block can be learned from: gradients all the way, and optimizers that go with the
weights."""

from __future__ import annotations

from compiler.diagnostics import Sink, error, warning
from compiler.front.training import ElaboratedTrain, Loss
from compiler.ir.types import TypeMismatch
from compiler.passes.autodiff import NotDifferentiable, reached
from compiler.passes.update import Manner, check_update
from compiler.program import Settings


def check_steps(train: ElaboratedTrain, sink: Sink) -> None:
    """Report losses on the way to which something has no gradient, and optimizers that do not go with the weights."""
    learned: set[str] = set()
    before = len(sink.errors)
    for loss in train.losses:
        try:
            learned |= reached(loss.graph, "loss", loss.over)
        except NotDifferentiable as problem:
            span = problem.origin.spans[0] if problem.origin.spans else loss.span
            sink.report(error("E0508", problem.title, span, problem.reason))
        _check_optimizer(loss, train.settings, sink)
    if len(sink.errors) == before:
        _warn_of_unlearned(train, learned, sink)


def _check_optimizer(loss: Loss, settings: Settings, sink: Sink) -> None:
    """Report numbers of the optimizer, or of ``clip``, that the element type of a weight does not have."""
    inputs = {item.name: item.value for item in loss.graph.inputs}
    weights = [inputs[name] for name in loss.over]
    limits = [(Manner(), loss.optimizer)]
    limits += [(Manner(settings.clip), settings.spans["clip"])] if settings.clip is not None else []
    limits += [(Manner(None, settings.clip_value), settings.spans["clip_value"])] if settings.clip_value else []
    for manner, span in limits:
        try:
            check_update(weights, loss.rule, manner)
        except TypeMismatch as problem:
            sink.report(error(problem.code, problem.title, span, problem.detail, help=problem.help))
            return


def _warn_of_unlearned(train: ElaboratedTrain, learned: set[str], sink: Sink) -> None:
    """Warn of weights that stay as they begin: no loss gets to them, and neither ``freeze`` nor ``over`` says so."""
    meant = {name for loss in train.losses if loss.named for name in loss.over}
    everything = not all(loss.named for loss in train.losses)
    left = [
        traced.weight
        for traced in train.weights
        if traced.weight.trainable
        and traced.weight.name not in learned | train.frozen
        and (everything or traced.weight.name in meant)
    ]
    if left:
        more = f" and {len(left) - 1} more weight{'s' * (len(left) > 2)}" if len(left) > 1 else ""
        title = f"{train.name} never changes {left[0].name}{more}"
        part = left[0].name.rpartition(".")[0]
        help = f"let a loss depend on it, or say that it is meant: freeze {part}"
        sink.report(warning("W0501", title, left[0].span, "no loss gets here", help=help))
