"""The parts of the report about predictions: the confusion matrix, or numbers over numbers, and the worst samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np

from runtime.disk.png import png
from runtime.disk.tensors import Array
from runtime.reports.report.charts import number_text, scatter_chart
from runtime.reports.report.content import Content
from runtime.reports.report.html import paragraph, picture, scrolled, section, table
from runtime.training.judge import Judgement, Miss

# Up to so many classes the matrix is shown whole, beyond it the pairs that are taken for each other most often.
_CLASSES = 30
_PAIRS = 25
_NUMBERS = 8  # of an input that is no image
_LETTERS = 120  # of one that is a text


def predictions(content: Content) -> str:
    """The section about predictions, or why there is none."""
    judgement = content.judgement
    if judgement is None:
        return section("predictions", "Predictions", paragraph(content.judged))
    if not judgement.classes:
        chart = scatter_chart(
            "scatter", "Predicted over wanted", judgement.wanted.tolist(), judgement.predicted.tolist()
        )
        text = f"Over {content.judged}. On the diagonal a prediction is right."
        figure = f'<div class="charts"><figure><h3>Predicted over wanted</h3>{chart}</figure></div>'
        return section("predictions", "Predictions", paragraph(text), figure)
    matrix = judgement.confusion()
    right = int(np.trace(matrix))
    text = (
        f"Over {content.judged}: {right:,} of {int(matrix.sum()):,} are right "
        f"({100 * right / max(1, int(matrix.sum())):.4g}%). Rows are what it is, columns what it was taken for."
    )
    shown = _matrix(judgement) if judgement.classes <= _CLASSES else _pairs(judgement)
    return section("predictions", "Confusion matrix", paragraph(text), shown)


def _matrix(judgement: Judgement) -> str:
    matrix = judgement.confusion()
    sums, taken = matrix.sum(1), matrix.sum(0)
    classes = range(len(matrix))
    head = "".join(f'<th scope="col">{escape(judgement.name_of(index))}</th>' for index in classes)
    lines = [
        '<table class="confusion"><caption>How often the class of the row was taken for that of the column</caption>',
        f'<thead><tr><th scope="col">is</th>{head}<th scope="col">recall</th></tr></thead><tbody>',
    ]
    for row in classes:
        cells = "".join(_cell(int(matrix[row, column]), int(sums[row]), row == column) for column in classes)
        name, recall = escape(judgement.name_of(row)), _share(matrix[row, row], sums[row])
        lines.append(f'<tr><th scope="row">{name}</th>{cells}<td>{recall}</td></tr>')
    precisions = "".join(f"<td>{_share(matrix[index, index], taken[index])}</td>" for index in classes)
    lines.append(f'<tr><th scope="row">precision</th>{precisions}<td></td></tr></tbody></table>')
    return scrolled("\n".join(lines), "Confusion matrix")


def _cell(count: int, total: int, right: bool) -> str:
    if not count:
        return '<td class="none">0</td>'
    # A few mistakes among many samples are to be seen too: the colour goes with the root of the share.
    share = count / total if right else (count / total) ** 0.5
    return f'<td class="{"right" if right else "wrong"}" style="--share:{share:.3f}">{count:,}</td>'


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "–"


def _pairs(judgement: Judgement) -> str:
    """The classes that are taken for others most often."""
    matrix = judgement.confusion()
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    rows = []
    for place in np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]:
        true, taken = divmod(int(place), len(matrix))
        if wrong[true, taken]:
            rows.append(
                (
                    judgement.name_of(true),
                    judgement.name_of(taken),
                    f"{wrong[true, taken]:,}",
                    _share(wrong[true, taken], matrix[true].sum()),
                )
            )
    caption = f"The commonest confusions of {len(matrix)} classes"
    return table(("is", "taken for", "times", "of its samples"), rows, caption=caption, numbers=(2, 3))


def worst(content: Content) -> str:
    """The section with the worst-predicted samples; "" where nothing was judged."""
    judgement = content.judgement
    if judgement is None or not judgement.worst:
        return ""
    what = "negative log-probability of the right class" if judgement.classes else "absolute difference"
    text = f"The samples with the largest {what}, of {content.judged}."
    name = next((name for name, array in judgement.worst[0].inputs.items() if as_pixels(array, 0, 1) is not None), None)
    shown = _pictures(judgement, name) if name is not None else _rows(judgement)
    return section("worst", "Worst-predicted samples", paragraph(text), shown)


def drawn(content: Content) -> str:
    """The section with the last picture of everything that the train block draws; "" where it draws nothing."""
    figures = []
    for name, number, file in content.pictures:
        place = f"after {content.history.unit} {number}"
        caption = f"<figcaption><strong>{escape(name)}</strong> {place}</figcaption>"
        figures.append(f"<figure>{picture(file, f'{name} {place}')}{caption}</figure>")
    return section("drawn", "Pictures", f'<div class="drawn">{"".join(figures)}</div>') if figures else ""


def _pictures(judgement: Judgement, name: str) -> str:
    arrays = [miss.inputs[name] for miss in judgement.worst]
    low, high = min(float(array.min()) for array in arrays), max(float(array.max()) for array in arrays)
    if arrays[0].dtype == np.uint8 and high > 64:
        low, high = 0.0, 255.0
    figures = []
    for miss in judgement.worst:
        pixels = as_pixels(miss.inputs[name], low, high)
        assert pixels is not None, "all samples have one shape"
        verdict = _verdict(judgement, miss)
        caption = f"<strong>{escape(verdict)}</strong><br>sample {miss.number}, loss {number_text(miss.loss)}"
        image = picture(png(pixels), f"Sample {miss.number}: {verdict}")
        figures.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    return f'<div class="samples">\n{"".join(figures)}\n</div>'


def _verdict(judgement: Judgement, miss: Miss) -> str:
    predicted, wanted = _answer(judgement, miss.predicted), _answer(judgement, miss.wanted)
    return f"rightly {wanted}, but unsure" if predicted == wanted else f"taken for {predicted}, is {wanted}"


def _rows(judgement: Judgement) -> str:
    rows = [
        (
            str(miss.number),
            number_text(miss.loss),
            _answer(judgement, miss.predicted),
            _answer(judgement, miss.wanted),
            *_inputs(judgement, miss),
        )
        for miss in judgement.worst
    ]
    head = ("sample", "loss", "predicted", "wanted", *judgement.worst[0].inputs)
    return table(head, rows, caption="Samples are rows of the data, counted from 0", numbers=(0, 1, 2, 3))


def _inputs(judgement: Judgement, miss: Miss) -> Iterator[str]:
    return (_text(array, judgement.vocabularies.get(name, ())) for name, array in miss.inputs.items())


def _answer(judgement: Judgement, array: Array) -> str:
    """What was predicted or wanted: names of classes where there are any."""
    return _text(array, judgement.names)


def _text(array: Array, names: Sequence[str] = ()) -> str:
    """What the numbers of an array stand for, characters as the text that they make; without names the first few of
    them."""
    values = array.ravel().tolist()
    if names and array.dtype.kind in "iu":
        known = [names[value] if value < len(names) else str(value) for value in values if value >= 0]
        words = ("" if max(map(len, names)) <= 1 else " ").join(known)
        text = words.strip().replace("\n", "↵")
        return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"
    shown = [str(value) if isinstance(value, int) else number_text(float(value)) for value in values[:_NUMBERS]]
    return ", ".join([*shown, "…"] if len(values) > _NUMBERS else shown)


def as_pixels(array: Array, low: float, high: float) -> Array | None:
    """One sample as u8[H, W] or u8[H, W, C], ``low`` black and ``high`` white; None where it does not look like an
    image: [H, W], or with 1, 3 or 4 channels first or last, at least 6 pixels on each side."""
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.dtype.kind not in "uif" or array.ndim not in (2, 3) or min(array.shape[:2]) < 6:
        return None
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        return None
    if max(array.shape[:2]) > 4 * min(array.shape[:2]):
        return None
    scaled = (array.astype(np.float64) - low) * (255.0 / ((high - low) or 1.0))
    return np.asarray(np.clip(np.rint(np.nan_to_num(scaled)), 0, 255), np.uint8)


def best_of(results: Mapping[str, float], names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """The figures of the results that belong to ``names``, those of testing before those of validation."""
    for part in ("test", "val"):
        yield from ((f"{part}.{name}", results[f"{part}.{name}"]) for name in names if f"{part}.{name}" in results)
