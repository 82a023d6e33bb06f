"""The page, from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import prod

from compiler.front.models import ElaboratedModel
from compiler.program import Unit, Weight
from runtime.amounts import bytes_text
from runtime.programs.summary import parameters, summarise_model
from runtime.reports.graphs.boxes import picture
from runtime.reports.graphs.files import boxes_of_model
from runtime.reports.graphs.svg import svg
from runtime.reports.report.charts import Series, line_chart, number_text
from runtime.reports.report.content import Content
from runtime.reports.report.html import document, highlighted, paragraph, section, table
from runtime.reports.report.layers import layers
from runtime.reports.report.outcome import best_of, drawn, predictions, worst
from runtime.training.history import History, is_rate

_MOST_BOXES = 20  # stages that are drawn one by one, also where they are alike
_LINKS = {
    "curves": "Curves",
    "predictions": "Predictions",
    "worst": "Worst samples",
    "drawn": "Pictures",
    "layers": "Layers and gradients",
    "architecture": "Architecture",
    "sizes": "Sizes",
    "environment": "Environment",
    "source": "Source",
}


def page(content: Content) -> str:
    """The whole HTML file. It refers to nothing outside itself."""
    title = f"{content.job.program.name}: a training run"
    parts = {
        "curves": curves(content),
        "predictions": predictions(content),
        "worst": worst(content),
        "drawn": drawn(content),
        "layers": layers(content),
        "architecture": architecture(content),
        "sizes": sizes(content),
        "environment": environment(content),
        "source": source(content),
    }
    links = "".join(f'<li><a href="#{name}">{_LINKS[name]}</a></li>' for name, text in parts.items() if text)
    head = [
        f"<h1>{escape(content.job.program.name)}</h1>",
        f'<p class="quiet">{escape(_subtitle(content))}</p>',
        cards(content),
        f'<nav aria-label="Parts of this page"><ul>{links}</ul></nav>',
    ]
    return document(title, head, list(filter(None, parts.values())))


def _subtitle(content: Content) -> str:
    record, history, rows = content.record, content.history, len(content.history)
    parts = [f"Training run in {content.folder.name}"]
    parts += [f"begun {record.started.replace('T', ' ').replace('+00:00', ' UTC')}"] if record.started else []
    count = f"{rows} epoch{'s' * (rows != 1)}" if history.unit == "epoch" else f"{history.rows[-1].step:,} steps"
    parts.append(f"{count}{'' if record.status == 'finished' else ', not finished'}")
    if history.best_place is not None:
        parts.append(f"the weights are those of {history.unit} {history.best_place}")
    return "; ".join(parts)


def cards(content: Content) -> str:
    """The figures that are looked for first."""
    record = content.record
    shown = [(name, number_text(figure)) for name, figure in best_of(record.results, content.measures)]
    row = content.history.final
    if not shown and row:
        shown = [(name, number_text(figure)) for name, figure in row.figures.items()]
    shown.append(("parameters", f"{parameters(content.job.program.weights):,}"))
    if record.seconds:
        shown.append((f"time of all {content.history.unit}s", duration_text(record.duration)))
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in shown)
    return f'<dl class="cards">{cells}</dl>'


def curves(content: Content) -> str:
    """A chart for each figure, and one for the learning rate, with the numbers in a table."""
    history = content.history
    if not history.rows:
        return section("curves", "Curves", paragraph("No epoch is finished yet."))
    figures = list(history_charts(history, "curve"))
    styles = ("first", "second", "third")
    rates = [
        Series(rate.name, history.places, rate.values, styles[index % 3]) for index, rate in enumerate(content.rates)
    ]
    if rates:
        figures.append(figure("rate", "learning rate", rates, history.unit, None))
    listed = f"<details><summary>The numbers as a table</summary>\n{figures_table(history)}\n</details>"
    return section("curves", "Curves", f'<div class="charts">{"".join(figures)}</div>', listed)


def history_charts(history: History, prefix: str) -> Iterator[str]:
    """A chart for each figure, over the training and the validation samples; their names in the page begin with
    ``prefix``."""
    unit, places = history.unit, history.places
    names = dict.fromkeys(name.removeprefix("val.") for name in history.names)
    for number, name in enumerate(names):
        series = []
        rate = is_rate(name)
        own = f"at the end of the {unit}" if rate else "training"
        for key, label, style in ((name, own, "first"), (f"val.{name}", "validation", "second")):
            if key in history.names:
                series.append(Series(label, places, history[key], style))
        title = name.replace("lr", "learning rate ", 1).strip() if rate else name
        yield figure(f"{prefix}{number}", title, series, unit, history.best_place)


def figures_table(history: History) -> str:
    """The figures of every row."""
    rows = [
        [str(place), *(number_text(row.figures[name]) if name in row.figures else "" for name in history.names)]
        for place, row in zip(history.places, history, strict=True)
    ]
    numbers, unit = range(len(history.names) + 1), history.unit
    caption = "The figures of every epoch" if unit == "epoch" else "The figures of every validation"
    return table((unit, *history.names), rows, caption=caption, numbers=numbers)


def figure(name: str, title: str, series: Sequence[Series], unit: Unit, best: int | None) -> str:
    """A chart with its title and its legend; ``best`` is the place of the best row, which is marked."""
    chart = line_chart(name, f"{title} over {unit}s", series, unit, best)
    sample = '<svg viewBox="0 0 28 8" aria-hidden="true"><path class="{}" d="M0 4 H28"/></svg>'
    entries = [f"<li>{sample.format(f'line {line.style}')}{escape(line.name)}</li>" for line in series]
    if best is not None:
        entries.append(f"<li>{sample.format('mark')}best {unit}, {best}</li>")
    legend = f'<ul class="legend">{"".join(entries)}</ul>'
    return f"<figure><h3>{escape(title)}</h3>\n{chart}\n{legend}</figure>\n"


def architecture(content: Content) -> str:
    """Each model that is trained: its drawing, and the table that `dlc check` shows."""
    models = content.job.project.checked.elaborated.models
    parts = [model_part(f"model{number}", models[name]) for number, name in enumerate(content.job.program.models)]
    return section("architecture", "Architecture", *parts) if parts else ""


def model_part(name: str, model: ElaboratedModel) -> str:
    """A model as a drawing, whose name in the page is ``name``, beside the table that `dlc check` shows."""
    summary = summarise_model(model)
    text = f"Costs: {summary.note}." if summary.note else ""
    rows = table(summary.head, summary.rows, caption=summary.title, numbers=(3, 4), total=summary.total)
    boxes = boxes_of_model(model)
    drawn = svg(name, f"The architecture of {model.name}", picture(boxes, fold=len(boxes) > _MOST_BOXES))
    sides = f"<div>{drawn}</div><div>{rows}{paragraph(text)}</div>"
    return f'<h3>{escape(model.name)}</h3><div class="split">{sides}</div>'


def sizes(content: Content) -> str:
    """How large and how slow everything is."""
    record, program = content.record, content.job.program
    rows = [("parameters", f"{parameters(program.weights):,}")]
    rows.append(("weights in memory", bytes_text(sum(map(_bytes, program.weights)))))
    rows += [(f"file {name}", bytes_text(size)) for name, size in content.files.items()]
    words = {"train": "training", "validate": "validation", "test": "testing"}
    rows += [(f"samples for {words.get(name, name)}", f"{count:,}") for name, count in record.samples.items()]
    rows.append(("samples in a batch", f"{program.settings.batch:,}"))
    if program.settings.accumulate > 1:
        rows.append(("batches in a step", f"{program.settings.accumulate:,}"))
    if record.seconds:
        each = sorted(record.seconds.values())
        unit = content.history.unit
        rows.append((f"time of all {unit}s", duration_text(record.duration)))
        one = "an epoch" if unit == "epoch" else f"{program.settings.interval} steps"
        rows.append((f"time of {one} (median)", duration_text(each[len(each) // 2])))
    rows += [(f"export {name}", text) for name, text in record.exports.items()]
    return section("sizes", "Sizes and times", table(("what", "how much"), rows, caption="Of this run"))


def environment(content: Content) -> str:
    rows = list(content.record.environment.items())
    if not rows:
        return section("environment", "Environment", paragraph("The run has left no record of where it ran."))
    shown = table(("what", "which"), rows, caption="Where the last part of the run took place")
    return section("environment", "Environment", shown)


def source(content: Content) -> str:
    parts = [paragraph("The model file as it was trained.")]
    for number, (name, text) in enumerate(content.sources.items()):
        if number > 0:
            parts.append(paragraph(f"{name}, which it imports:"))
        parts.append(f'<pre class="source" tabindex="0"><code>{highlighted(text)}</code></pre>')
    return section("source", "Source", *parts)


def duration_text(seconds: float) -> str:
    """A time for people: ``0.034 s``, ``12.1 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _bytes(weight: Weight) -> int:
    return prod(int(dim) for dim in weight.type.shape if isinstance(dim, int)) * weight.type.dtype.numpy.itemsize
