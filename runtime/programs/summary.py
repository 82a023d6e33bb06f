"""What a model and a train block are, for people: stages, types, sizes and costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from compiler.front.models import ElaboratedModel
from compiler.front.parts import ForeignUse
from compiler.front.training import ElaboratedTrain
from compiler.ir.dims import Dim, as_symbol, evaluate, substitute, symbols
from compiler.ir.graph import Role, Value
from compiler.ir.types import TensorType
from compiler.program import Settings, Stage, StoredWeights, Weight
from compiler.sources import DataSetting, Share, plain_split

# Names, such as those of frozen layers, that are listed.
_SHOWN = 6


@dataclass(frozen=True)
class ModelSummary:
    """A model as a table: ``title`` is its signature, ``total`` the last row, ``note`` what the figures are for."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...]
    note: str


def summarise_model(model: ElaboratedModel, batch: int | None = None) -> ModelSummary:
    """The stages of ``model``; types and costs are those of a batch where its size is given, and costs those of one
    sample where it is not. Sizes that stay open are shown as expressions."""
    inputs, results = model.graph.inputs_of(Role.DATA), model.graph.outputs
    first = next((as_symbol(value.type.shape[0]) for value in inputs if value.type.rank), None)
    shown = {first.name: batch} if first and batch else {}
    counted = {first.name: batch or 1} if first else {}
    rows = tuple(_row(stage, shown, counted) for stage in model.stages)
    outputs = ", ".join(str(_at(output.value.type, shown)) for output in results)
    title = f"model {model.name}({_arguments(inputs, shown)}) -> {outputs if len(results) == 1 else f'({outputs})'}"
    macs: Dim = 0
    for stage in model.stages:
        macs = macs + stage.macs
    total = ("total", "", "", f"{parameters(traced.weight for traced in model.weights):,}", _number(macs, counted))
    notes = [f"multiply-adds for {first.name} = {batch or 1}"] if first else []
    kept = _elements(traced.weight for traced in model.weights if not traced.weight.trainable)
    notes += [f"{kept:,} running statistics are kept beside the parameters"] if kept else []
    note = "; ".join(notes)
    return ModelSummary(title, ("stage", "layer", "output", "parameters", "MACs"), rows, total, note)


def summarise_foreign(use: ForeignUse, batch: int | None = None) -> ModelSummary:
    """The parts of a network from elsewhere where a model calls it, and what that leaves out of it."""
    first = next((as_symbol(type.shape[0]) for type in use.inputs if type.rank), None)
    shown = {first.name: batch} if first and batch else {}
    counted = {first.name: batch or 1} if first else {}
    rows = tuple(_row(stage, shown, counted) for stage in use.stages)
    inputs, outputs = (", ".join(str(_at(type, shown)) for type in types) for types in (use.inputs, use.outputs))
    title = f"{use.call} of {use.file}: ({inputs}) -> {outputs if len(use.outputs) == 1 else f'({outputs})'}"
    macs: Dim = 0
    for stage in use.stages:
        macs = macs + stage.macs
    total = ("total", "", "", f"{parameters(traced.weight for traced in use.weights):,}", _number(macs, counted))
    kept = _elements(traced.weight for traced in use.weights if not traced.weight.trainable)
    notes = [f"{kept:,} numbers are kept beside the parameters"] if kept else []
    if use.dropped:
        numbers = sum(_size(type) for type in use.dropped.values())
        layers = _layers(use.dropped)
        notes.append(f"dropped: {numbers:,} numbers of {layers}")
    return ModelSummary(title, ("part", "operations", "output", "parameters", "MACs"), rows, total, "; ".join(notes))


def _row(stage: Stage, shown: Mapping[str, int], counted: Mapping[str, int]) -> tuple[str, ...]:
    return (
        stage.path.partition(".")[2],
        stage.text,
        ", ".join(str(_at(type, shown)) for type in stage.outputs),
        f"{parameters(stage.weights):,}",
        _number(stage.macs, counted),
    )


def describe_train(train: ElaboratedTrain) -> list[str]:
    """The lines that tell what a train block does."""
    lines = [f"train {train.name}({_arguments(train.inputs, {})})"]
    lines += [f"  {' '.join(loss.span.text.split())}" for loss in train.losses]
    changed = {name for loss in train.losses for name in loss.over}
    learned, frozen = (
        [traced.weight for traced in train.weights if (traced.weight.name in changed) is way] for way in (True, False)
    )
    facts = {
        "trains": f"{parameters(learned):,} parameters of {' and '.join(train.models) or 'no model'}",
        "frozen": _frozen(frozen),
        "measures": ", ".join(measure.name for measure in train.measures),
        "draws": ", ".join(output.name for output in train.pictures.outputs) if train.pictures else "",
        "data": _data(train.settings),
        "settings": _settings(train.settings),
    }
    return lines + [f"  {name:<8}  {text}" for name, text in facts.items() if text]


def describe_stored(stored: StoredWeights) -> list[str]:
    """The lines that tell which weights a file gives."""
    tensors = {name for _, sources, _ in stored.names for name in sources}
    ways = Counter(how for _, _, how in stored.names if how)
    taken = f"{len(stored.names)} weights from {len(tensors)} tensors"
    facts = {
        "taken": ", ".join([taken, *(f"{count} {how}" for how, count in sorted(ways.items()))]),
        "fresh": _few(stored.fresh),
        "left out": _few(stored.left_out),
    }
    return [f"weights {stored.model} from {stored.file}", *(f"  {k:<8}  {text}" for k, text in facts.items() if text)]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _frozen(weights: Iterable[Weight]) -> str:
    """The layers whose parameters no statement changes, and how many these are; nothing where there are none."""
    still = [weight for weight in weights if weight.trainable]
    return f"{parameters(still):,} parameters of {_layers(weight.name for weight in still)}" if still else ""


def _layers(names: Iterable[str]) -> str:
    """The layers that weights of these names belong to, the first few of them."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    return ", ".join(layers[:_SHOWN]) + (f" and {len(layers) - _SHOWN} more layers" if len(layers) > _SHOWN else "")


def parameters(weights: Iterable[Weight]) -> int:
    """The number of learned numbers; running statistics are none."""
    return _elements(weight for weight in weights if weight.trainable)


def _elements(weights: Iterable[Weight]) -> int:
    return sum(_size(weight.type) for weight in weights)


def _size(type: TensorType) -> int:
    return prod(int(dim) for dim in type.shape if isinstance(dim, int))


def _data(settings: Settings) -> str:
    parts = [_source(settings.data)] if settings.data else []
    for name, source in (("validation", settings.validate), ("test", settings.test)):
        if source is not None:
            share = Share(plain_split(settings.data), source) if isinstance(source, float) else source
            every = f" every {settings.interval} steps" if name == "validation" and settings.interval else ""
            parts.append(f"{share if isinstance(share, Share) else _source(share)} for {name}{every}")
    return ", ".join(parts)


def _source(source: DataSetting) -> str:
    return source if isinstance(source, str) else source.text()


def _settings(settings: Settings) -> str:
    parts = [f"batch {settings.batch}"]
    parts += [f"accumulate {settings.accumulate}"] if settings.accumulate > 1 else []
    parts += [f"{name} {count}" for name in ("epochs", "steps") if (count := getattr(settings, name))]
    parts += [f"stop {settings.stop.measure} patience {settings.stop.patience}"] if settings.stop else []
    for name in ("clip", "clip_value", "average", "keep"):
        value = getattr(settings, name)
        parts += [] if value is None else [f"{name} {value:g}"]
    return ", ".join([*parts, f"seed {settings.seed}"])


def _arguments(values: Iterable[Value], sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{value.name}: {_at(value.type, sizes)}" for value in values)


def _at(type: TensorType, sizes: Mapping[str, int]) -> TensorType:
    return type.with_shape(tuple(substitute(dim, sizes) for dim in type.shape))


def _number(dim: Dim, sizes: Mapping[str, int]) -> str:
    open_sizes = [symbol.name for symbol in symbols(dim) if symbol.name not in sizes]
    return str(substitute(dim, sizes)) if open_sizes else f"{evaluate(dim, sizes):,}"
