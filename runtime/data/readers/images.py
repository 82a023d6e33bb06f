"""Folders of pictures, with a folder for each class or without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.types import TensorType
from compiler.sources import DataSource
from runtime.data.columns import ArrayOrColumn, Column
from runtime.data.memory import holds
from runtime.data.order import Rows
from runtime.data.readers.content import Content, ReadError, Request, left_out
from runtime.disk.tensors import Array

if TYPE_CHECKING:
    from PIL.Image import Image

Resize: TypeAlias = Literal["stretch", "crop"] | None

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"})
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_SHOWN = 5


class _BadPicture(Exception):
    """A picture can't be used; says why."""


class Pictures(Column):
    """Pictures decoded when they are asked for. ``shape`` is that of the array that they stand for, with the channels
    first, or ``last``."""

    def __init__(
        self, paths: Sequence[Path], shape: tuple[int, ...], channels: int, resize: Resize, last: bool = False
    ) -> None:
        super().__init__(shape, np.dtype(np.uint8))
        self._paths, self._channels, self._resize, self._last = paths, channels, resize, last

    def of(self, paths: Sequence[Path]) -> Pictures:
        """Other pictures, treated as these."""
        return Pictures(paths, (len(paths), *self.shape[1:]), self._channels, self._resize, self._last)

    def take(self, rows: Rows, out: Array) -> None:
        for place, row in enumerate(rows.tolist()):
            path = self._paths[row]
            try:
                out[place] = self.decode(path)
            except _BadPicture as why:
                title = f"cannot read {path}: {why}, though it could before"
                raise DiagnosticError([error("E0616", title, None, help="leave the pictures as they are")]) from why

    def traits(self) -> Iterator[bytes]:
        for path in self._paths:
            yield f"{path.name} {path.stat().st_size}\n".encode()

    def decode(self, path: Path) -> Array:
        """One picture in the shape of a row. Raises _BadPicture."""
        height, width = self.shape[1:3] if self._last else self.shape[-2:]
        pixels = np.asarray(_fitted(_opened(path, _MODES[self._channels]), (width, height), self._resize), np.uint8)
        pixels = pixels.reshape(height, width, self._channels)
        return pixels if self._last else pixels.transpose(2, 0, 1).reshape(self.shape[1:])


def images(path: Path, source: DataSource, request: Request) -> Content:
    """``image`` and ``label`` of the pictures in a folder, or of one picture, as
    :func:`compiler.front.catalogue.readers.images` has it.

    Every picture is decoded once, so that a damaged one is found before training; they stay in memory where they are
    few. Raises ReadError: E0602 for what is no folder and where Pillow is missing, E0616 for a picture that can't be
    used, E0617 for a class without a number, E0618 where there are no pictures.
    """
    _check_pillow()
    single = path.is_file() and _is_picture(path)
    if not path.is_dir() and not single:
        raise ReadError("it is no folder", "name a folder of pictures, or one with a folder for each class")
    classes, paths, labels, others = (
        ((), [path], [0], 0) if single else (_all(path) if request.by_hand else _listed(path))
    )
    if not paths:
        raise ReadError("there are no pictures in it", f"pictures end in {', '.join(sorted(ENDINGS))}", "E0618")
    resize = source.arguments.get("resize")
    type = request.inputs.get("image")
    last = request.by_hand and _has_channels_last(type)
    shape, channels = _row_shape(_with_channels_first(type) if last else type, paths[0])
    shape = (*shape[1:], shape[0]) if last else shape
    column, kept = _decoded(Pictures(paths, (len(paths), *shape), channels, resize, last), paths, request)
    notes = left_out(others, "file", "without a picture")
    notes += left_out(len(paths) - len(kept), "picture", "that can't be used")
    arrays: dict[str, ArrayOrColumn] = {"image": column}
    names: dict[str, tuple[str, ...]] = {}
    if classes:
        names["label"] = request.names.get("label") or classes
        arrays["label"] = _numbers(classes, names["label"])[np.array(labels)[kept]]
    return Content(arrays, names, notes)


def _check_pillow() -> None:
    try:
        import PIL  # noqa: F401 - only whether it is there
    except ImportError as failure:
        raise ReadError("reading pictures needs Pillow", "pip install 'dlc[images]'") from failure


def _listed(path: Path) -> tuple[tuple[str, ...], list[Path], list[int], int]:
    """Classes, pictures, the number of each one's class, and how many other files there are. Raises ReadError."""
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in entries if entry.is_dir()]
    loose = [entry for entry in entries if entry.is_file()]
    if folders and any(_is_picture(entry) for entry in loose):
        why = f"there are pictures beside the folders of its classes, such as {next(filter(_is_picture, loose)).name}"
        raise ReadError(why, "put every picture into the folder of its class")
    found = [(number, entry) for number, folder in enumerate(folders) for entry in sorted(folder.rglob("*"))]
    found = found if folders else [(0, entry) for entry in loose]
    files = [(number, entry) for number, entry in found if entry.is_file() and not entry.name.startswith(".")]
    pictures = [(number, entry) for number, entry in files if _is_picture(entry)]
    others = len(files) - len(pictures)
    classes = tuple(folder.name for folder in folders)
    return classes, [entry for _, entry in pictures], [number for number, _ in pictures], others


def _all(path: Path) -> tuple[tuple[str, ...], list[Path], list[int], int]:
    """What :func:`_listed` gives, for pictures without classes, wherever in the folder they are."""
    files = [entry for entry in sorted(path.rglob("*")) if entry.is_file()]
    files = [entry for entry in files if not any(part.startswith(".") for part in entry.relative_to(path).parts)]
    pictures = [entry for entry in files if _is_picture(entry)]
    return (), pictures, [0] * len(pictures), len(files) - len(pictures)


def _has_channels_last(type: TensorType | None) -> bool:
    """Whether a picture has its channels behind its height and its width, as in the files of some tools."""
    sizes = () if type is None else type.shape[1:]
    return len(sizes) == 3 and sizes[2] in _MODES and sizes[0] not in _MODES


def _with_channels_first(type: TensorType | None) -> TensorType | None:
    return type and replace(type, shape=(type.shape[0], type.shape[3], *type.shape[1:3]))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _row_shape(type: TensorType | None, first: Path) -> tuple[tuple[int, ...], int]:
    """The shape of one picture and its number of channels: what the input declares, or what the first picture has."""
    sizes = () if type is None else type.shape[1:]
    if len(sizes) not in (0, 2, 3):
        why = f"pictures have a height and a width, perhaps channels before them, and `image` is {type}"
        raise ReadError(why, "declare image: u8[N, 3, H, W] with numbers for H and W")
    try:
        picture = _opened(first, None)
    except _BadPicture:
        picture = None
    width, height = picture.size if picture is not None else (1, 1)
    own = 1 if picture is not None and picture.mode in ("1", "L", "I;16") else 3
    height, width = (dim if isinstance(dim, int) else size for dim, size in zip(
        sizes[-2:] or (None, None), (height, width), strict=True
    ))  # fmt: skip
    if len(sizes) == 2 or (not sizes and own == 1):
        return (height, width), 1
    channels = sizes[0] if sizes and isinstance(sizes[0], int) else own
    if channels not in _MODES:
        why = f"a picture has 1, 3 or 4 channels, and `image` is {type}"
        raise ReadError(why, "channels come first: image: u8[N, 3, H, W]")
    return (channels, height, width), channels


def _decoded(column: Pictures, paths: Sequence[Path], request: Request) -> tuple[ArrayOrColumn, list[int]]:
    """The pictures that can be used, in memory if they are few, and which these are. Raises ReadError."""
    held = np.empty(column.shape, np.uint8) if holds(int(np.prod(column.shape, dtype=object))) else None
    kept: list[int] = []
    faults: list[str] = []
    for row, path in enumerate(paths):
        try:
            picture = column.decode(path)
        except _BadPicture as fault:
            faults.append(f"{Path(path.parent.name) / path.name}: {fault}")
            continue
        if held is not None:
            held[len(kept)] = picture
        kept.append(row)
    if faults and not request.skip_bad:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        why = f"{len(faults)} of {len(paths)} pictures can't be used: {'; '.join(faults[:_SHOWN])}{more}"
        advice = f"mend or remove them{request.or_leave_out('them')}"
        if any("pixels" in fault for fault in faults):
            ways = "--resize crop or stretch" if request.by_hand else "images(…, resize=crop) or resize=stretch"
            advice = f"bring them to one size, {ways}, or {advice}"
        raise ReadError(why, advice, "E0616")
    if not kept:
        raise ReadError("none of its pictures can be used", faults[0], "E0618")
    if held is not None:
        return held[: len(kept)], kept
    return column.of([paths[row] for row in kept]), kept


def _numbers(classes: Sequence[str], names: Sequence[str]) -> Array:
    """The number of each class among ``names``. Raises ReadError E0617."""
    unknown = [name for name in classes if name not in names]
    if unknown:
        why = f"the class {unknown[0]} is none of those that are trained on"
        raise ReadError(why, f"these are {', '.join(names[:8])}{', …' if len(names) > 8 else ''}", "E0617")
    return np.array([names.index(name) for name in classes], np.int64)


def _opened(path: Path, mode: str | None) -> Image:
    """The picture upright, in a mode such as ``RGB``. Raises _BadPicture."""
    import warnings

    import PIL.Image
    from PIL import ImageOps, UnidentifiedImageError

    pillow = PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(path) as stored:
                upright: Any = ImageOps.exif_transpose(stored)
                if mode == "L" and upright.mode in ("I;16", "I;16B", "I"):
                    # Pillow would cut 16 bits off at 255 instead of scaling them.
                    return pillow.fromarray((np.asarray(upright).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
                found: Image = upright.convert(mode) if mode else upright.copy()
                return found
    except UnidentifiedImageError as failure:
        raise _BadPicture("it is damaged or no picture") from failure
    except (pillow.DecompressionBombWarning, pillow.DecompressionBombError) as failure:
        raise _BadPicture("it has more pixels than a picture should have") from failure
    except (OSError, SyntaxError, ValueError, EOFError) as failure:
        raise _BadPicture(f"it is damaged ({failure})") from failure


def _fitted(picture: Image, size: tuple[int, int], resize: Resize) -> Image:
    """The picture at ``size``, width and height. Raises _BadPicture where ``resize`` is None and it differs."""
    from PIL import Image, ImageOps

    if picture.size == size:
        return picture
    if resize is None:
        shown = " by ".join(map(str, picture.size[::-1]))
        raise _BadPicture(f"it is {shown} pixels, not {size[1]} by {size[0]}")
    how = Image.Resampling.BILINEAR
    return picture.resize(size, how) if resize == "stretch" else ImageOps.fit(picture, size, how)
