"""``dlc compile --precision``: smaller files, judged by what a train block measures."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlc.terminal import remark, tell

if TYPE_CHECKING:
    from runtime.inference.precision.forms import Precision
    from runtime.inference.precision.shrink import Shrinker
    from runtime.inference.session import Device
    from runtime.programs.project import Project

_CHOICES = ("fp16", "int8", "int8-dynamic")
_DROP, _RISE = 0.5, 2.0


@dataclass(frozen=True)
class Smaller:
    """What the options say; None where they are left out."""

    precision: Precision | None
    compare: bool
    data: Path | None
    drop: float | None
    rise: float | None

    @property
    def asked(self) -> bool:
        """Whether a smaller file is."""
        return self.compare or self.precision is not None

    def check(self, file: Path, target: str, weights: Path | None, no_certify: bool, output: Path | None) -> None:
        """Raises UsageError for options that do not go together."""
        if not self.asked:
            if self.data is not None or self.drop is not None or self.rise is not None:
                raise click.UsageError(
                    "--data, --max-drop and --max-rise say how a smaller file is judged: --precision"
                )
            return
        if self.compare and (output is not None or self.precision is not None):
            raise click.UsageError("--compare-precisions writes no file: leave --output and --precision out")
        if file.suffix == ".onnx":
            raise click.UsageError(
                "an ONNX file does not tell how it is judged: for --precision import it into a model file (.dl)"
            )
        if target == "numpy" or no_certify:
            raise click.UsageError(
                "a smaller file is made of a certified ONNX file: leave --target and --no-certify out"
            )
        if weights is None:
            raise click.UsageError("what a smaller file loses shows on trained weights only: name them with --weights")

    def make(
        self,
        project: Project,
        model: str | None,
        train: str | None,
        weights: Path | None,
        output: Path | None,
        device: Device,
        opset: int,
    ) -> None:
        """Writes the file, or compares all precisions."""
        from dlc.tables import variant_lines
        from runtime.inference.precision.gate import Limits
        from runtime.inference.precision.open import open_shrinker
        from runtime.inference.ship import Shipping
        from runtime.training.job import Changes

        assert weights is not None, "check has seen to it"
        limits = Limits(_DROP if self.drop is None else self.drop, _RISE if self.rise is None else self.rise)
        shrinker = open_shrinker(
            project, model, train, weights, Changes(data=self.data), Shipping(device, opset), limits
        )
        if self.precision is None:
            _compare(shrinker)
            return
        variant = shrinker.variant(self.precision)
        path = output or Path(f"{Path(project.source.name).stem}.{self.precision}.onnx")
        variant.save(path, shrinker.inputs[:1])
        for line in variant_lines([shrinker.plain, variant]):
            tell(line)
        tell(f"wrote {path}, {path.stat().st_size:,} bytes; {shrinker.judgement}")


def _compare(shrinker: Shrinker) -> None:
    from compiler.diagnostics import DiagnosticError
    from dlc.tables import variant_lines
    from runtime.inference.precision.variant import PRECISIONS

    variants = [shrinker.plain]
    for precision in PRECISIONS:
        try:
            variants.append(shrinker.variant(precision))
        except DiagnosticError as failure:
            remark(f"{precision}: {failure.diagnostics[0].title}")
    for line in variant_lines(variants):
        tell(line)
    tell(shrinker.judgement)


def precision_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options about smaller files, which give a command the one argument ``smaller``."""

    @click.option(
        "--precision", type=click.Choice(_CHOICES),
        help="Make the ONNX file smaller, as far as the measures of the train block let it pass. Default: f32.",
    )  # fmt: skip
    @click.option("--compare-precisions", "compare", is_flag=True, help="Show all of them in a table; writes no file.")
    @click.option(
        "--data", type=click.Path(path_type=Path), metavar="FILE",
        help="Samples that judge a smaller file. Default: those that the train block sets apart for validation.",
    )  # fmt: skip
    @click.option(
        "--max-drop", "drop", type=click.FloatRange(0), metavar="POINTS",
        help=f"How many points of a hundred a smaller file may lose of accuracy and the like. Default: {_DROP}.",
    )  # fmt: skip
    @click.option(
        "--max-rise", "rise", type=click.FloatRange(0), metavar="PERCENT",
        help=f"By how much errors and the like may rise, in percent of what they are. Default: {_RISE:g}.",
    )  # fmt: skip
    @functools.wraps(command)
    def with_precision(*arguments: Any, **others: Any) -> Any:
        own = {field.name: others.pop(field.name) for field in fields(Smaller)}
        return command(*arguments, smaller=Smaller(**own), **others)

    return with_precision
