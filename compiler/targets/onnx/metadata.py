"""What dlc writes into a file's metadata beside the network, and how it is read back. Needs no onnx."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from compiler.ir.dims import Symbol

_BOUNDS = "dlc.bounds"
_BOUND = re.compile(r"(?:(?P<lower>\d{1,18}) <= )?(?P<name>\w+)(?: <= (?P<upper>\d{1,18}))?")
_LABELS = "dlc.labels"
_METRICS = "dlc.metrics"
_NAMES = "dlc.names"
_SOURCE = "dlc.source.sha256"
_RANGES = "dlc.ranges"
_VERSION = "dlc.version"
# These two are ONNX's own: https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md.
_AUTHOR, _LICENSE = "model_author", "model_license"
CERTIFICATE = "dlc.certificate."
_PRECISION = "dlc.precision."


@dataclass(frozen=True)
class Description:
    """What a file says of itself.

    ``labels`` are the names of the classes in the order of the last axis of the output; ``metrics`` what
    training reached; ``certificate`` the words of the certification, empty for a file that has none; ``names``
    what the numbers in each array of the training data stand for, such as the characters of ``tokens``; ``ranges`` the
    smallest and the largest value of each input that holds indices. ``text`` describes the model in words; it stands in
    the file's doc_string, the rest in its metadata. ``parts`` are what the files of networks that it was made of say,
    by the names of these, such as how pictures have to be prepared: ``VGG16.preprocessing``. ``precision`` tells what
    was made smaller and how it was judged; it is empty for a file in f32.
    """

    version: str = ""
    source_sha256: str = ""
    labels: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    certificate: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    author: str = ""
    license: str = ""
    text: str = ""
    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    precision: Mapping[str, str] = field(default_factory=dict)

    def as_metadata(self) -> dict[str, str]:
        """The entries that say this; nothing is written for what is empty."""
        names = {name: list(words) for name, words in self.names.items()}
        entries = {
            _VERSION: self.version,
            _SOURCE: self.source_sha256,
            _LABELS: json.dumps(list(self.labels), ensure_ascii=False) if self.labels else "",
            _NAMES: json.dumps(names, ensure_ascii=False) if names else "",
            _METRICS: json.dumps(dict(self.metrics), sort_keys=True) if self.metrics else "",
            _RANGES: json.dumps(dict(self.ranges), ensure_ascii=False) if self.ranges else "",
            _AUTHOR: self.author,
            _LICENSE: self.license,
        }
        entries |= {f"{CERTIFICATE}{key}": text for key, text in self.certificate.items()}
        entries |= {f"{_PRECISION}{key}": text for key, text in self.precision.items()}
        entries |= {f"{part}.{key}": text for part, said in self.parts.items() for key, text in said.items()}
        return {key: text for key, text in entries.items() if text}


def describe(metadata: Mapping[str, str], text: str = "") -> Description:
    """What ``metadata`` and the doc_string ``text`` say; a file from elsewhere says little. Entries that another
    program garbled count as absent: they are shown, and inputs are held against them, but no more."""
    keys = (_LABELS, _NAMES, _METRICS, _RANGES)
    labels, names, metrics, ranges = (_json(metadata.get(key)) for key in keys)
    return Description(
        metadata.get(_VERSION, ""),
        metadata.get(_SOURCE, ""),
        tuple(map(str, labels)) if isinstance(labels, list) else (),
        {name: float(x) for name, x in metrics.items() if isinstance(x, float) or _is_whole(x)}
        if isinstance(metrics, dict)
        else {},
        {k.removeprefix(CERTIFICATE): text for k, text in metadata.items() if k.startswith(CERTIFICATE)},
        {name: tuple(map(str, words)) for name, words in names.items() if isinstance(words, list)}
        if isinstance(names, dict)
        else {},
        {name: found for name, limits in ranges.items() if (found := _limits(limits)) is not None}
        if isinstance(ranges, dict)
        else {},
        metadata.get(_AUTHOR, ""),
        metadata.get(_LICENSE, ""),
        text,
        precision={k.removeprefix(_PRECISION): text for k, text in metadata.items() if k.startswith(_PRECISION)},
    )


def said_elsewhere(metadata: Mapping[str, str]) -> dict[str, str]:
    """The entries that are not dlc's own: those speak of the file they are in, and of nothing that is made of it."""
    return {key: text for key, text in metadata.items() if not key.startswith("dlc.")}


def bounds_metadata(symbols: Iterable[Symbol]) -> dict[str, str]:
    """The entry that keeps the bounds of symbols, which ONNX itself can't say: ``T <= 64, 2 <= S <= 8``."""
    bounded = [text for s in symbols if (text := s.bounds_text)]
    return {_BOUNDS: ", ".join(bounded)} if bounded else {}


def bounds(metadata: Mapping[str, str]) -> dict[str, Symbol]:
    """The symbols that have bounds, by name."""
    found = [_BOUND.fullmatch(part.strip()) for part in metadata.get(_BOUNDS, "").split(",")]
    return {
        match["name"]: Symbol(match["name"], int(match["upper"]) if match["upper"] else None, int(match["lower"] or 1))
        for match in found
        if match and (match["lower"] or match["upper"])
    }


def _is_whole(found: object) -> bool:
    """Whether it is a whole number of a size that floats have."""
    return isinstance(found, int) and abs(found) < 2**1000


def _limits(found: object) -> tuple[int, int] | None:
    match found:
        case [int(low), int(high)]:
            return low, high
    return None


def _json(text: str | None) -> object:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
