"""A network from elsewhere as a model of its own: what a train block that calls it by itself learns, and exports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from compiler.front.foreign import plain_name, write_alone
from compiler.front.models import ElaboratedModel
from compiler.front.trace import Trace
from compiler.front.training import ElaboratedTrain
from compiler.front.values import Foreign
from compiler.ir.graph import Role


def tuned_alone(
    foreign: Iterable[Foreign], models: Mapping[str, ElaboratedModel], trains: Iterable[ElaboratedTrain]
) -> dict[str, ElaboratedModel]:
    """The networks that train blocks call whole and no model does, by name."""
    owned = {item.weight.name.split(".")[0] for model in models.values() for item in model.weights}
    trained = {item.weight.name.split(".")[0] for train in trains for item in train.weights}
    chosen = (item for item in foreign if item.name in trained - owned and "" in item.uses)
    return {item.name: _model(item) for item in chosen}


def with_models(train: ElaboratedTrain, alone: Iterable[str]) -> ElaboratedTrain:
    """The train block with those of the networks ``alone`` among its models that it trains."""
    trained = {item.weight.name.split(".")[0] for item in train.weights}
    return replace(train, models=(*train.models, *(name for name in alone if name in trained)))


def _model(foreign: Foreign) -> ElaboratedModel:
    """For inference, on inputs of the types that the train block gives it."""
    use, section = foreign.uses[""], foreign.network.section()
    trace = Trace(foreign.name, training=False, has_state=False)
    inputs = []
    for port, type in zip(section.inputs, use.inputs, strict=True):
        with trace.at(foreign.span, foreign.name):
            inputs.append(trace.b.input(plain_name(port.name), type, Role.DATA))
    for name, value in zip(section.outputs, write_alone(trace, foreign, section, inputs), strict=True):
        trace.b.output(name, value)
    return ElaboratedModel(foreign.name, trace.b.finish(), tuple(trace.weights.values()), use.stages)
