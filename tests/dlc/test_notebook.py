"""What a notebook shows, and histories as dicts and arrays."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

import dlc

TEXT = """\
model Net(x: f32[N, 2]) -> f32[N, 1] { hidden: dense(3) -> relu -> dense(1) }
train net(x: f32[N, 2], y: f32[N, 1]) {
    minimize mse(Net(x), y) with sgd(0.1)
    validate 20%
    epochs 3
}
"""


def trained() -> Any:
    model = dlc.loads(TEXT)
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    model.fit({"x": x, "y": x[:, :1]})
    return model


def parsed(html: str) -> ET.Element:
    assert "://" not in html
    assert "<script" not in html
    return ET.fromstring(html)


def test_a_history_is_shown() -> None:
    model = trained()
    root = parsed(model.history._repr_html_())
    assert root.attrib == {"class": "dlc-view"}
    assert [item.text for item in root.iter("h3")] == ["loss"]
    assert len(list(root.iter("tr"))) == 4
    assert "No epoch is finished yet." in "".join(parsed(dlc.History()._repr_html_()).itertext())


def test_a_model_is_shown() -> None:
    html = trained()._repr_html_()
    root = parsed(html)
    assert [item.text for item in root.iter("h3")] == ["Net"]
    assert "hidden" in "".join(root.itertext())
    names = re.findall(r'\bid="([^"]*)"', html)
    assert len(names) == len(set(names)) > 0


def test_the_style_keeps_to_itself() -> None:
    style = next(parsed(dlc.History()._repr_html_()).iter("style")).text or ""
    for selector in re.findall(r"(?:^|\})\s*([^{}]+)\{", style):
        assert all(part.strip().startswith(".dlc-view") for part in selector.split(","))


def test_a_history_is_like_a_dict() -> None:
    history = trained().history
    assert dict(history) == {"loss": history["loss"], "val.loss": history["val.loss"]}
    assert "val.loss" in history
    assert "accuracy" not in history
    arrays = history.as_arrays()
    assert list(arrays) == ["epoch", "step", "loss", "val.loss"]
    assert arrays["epoch"].tolist() == [1, 2, 3]
    assert arrays["loss"].dtype == np.float64
    assert arrays["loss"].tolist() == history["loss"]
