"""``dlc new``: a model file to begin with."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import click

from dlc.terminal import tell

_TEMPLATES = Path(__file__).parent.parent / "templates"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PLACEHOLDER = re.compile(r"\b(?:start|Start)\b")


@click.command(short_help="Write a model file to begin with, and data for it.")
@click.argument("name")
@click.option(
    "--template", type=click.Choice(["mlp", "conv"]), default="mlp", show_default=True,
    help="A plain network for points of the plane, or a convolutional one for small images.",
)  # fmt: skip
def new(name: str, template: str) -> None:
    """Write NAME.dl, which trains as it is, and NAME.npz with the data that it learns from.

    Both go into the current folder; a file that is there already is never replaced.

    \b
    Examples:
      dlc new spirals
      dlc new shapes --template conv
    """
    import numpy as np

    from compiler.diagnostics import DiagnosticError, error
    from runtime.data import samples
    from runtime.disk.output import save_output

    text = _text(name, template)
    model, data = Path(f"{name}.dl"), Path(f"{name}.npz")
    for path in (model, data):
        if path.exists() or path.is_symlink():
            advice = "choose another name, or move the file away"
            raise DiagnosticError([error("E0801", f"{path} is there already", None, help=advice)])
    content = BytesIO()
    np.savez(content, allow_pickle=False, **(samples.spirals() if template == "mlp" else samples.shapes()))
    save_output(data, content.getvalue())
    save_output(model, text.encode())
    tell(f"wrote {model} and {data}; go on with:")
    tell(f"  dlc check {model}")
    tell(f"  dlc train {model}")


def _text(name: str, template: str) -> str:
    """The model file of this name. Raises BadParameter for what can't be a name in one."""
    from compiler.diagnostics import DiagnosticError

    if not _NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r} is no name: letters, digits and _, a letter first", param_hint="NAME")
    capitalised = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    names = {"Start": capitalised, "start": name.lower()}
    text = (_TEMPLATES / f"{template}.dl").read_text(encoding="utf-8")
    text = text.replace('"start.npz"', f'"{name}.npz"')
    text = _PLACEHOLDER.sub(lambda match: names[match[0]], text) if name != "start" else text
    try:
        return _checked(text)
    except DiagnosticError:
        raise click.BadParameter(f"{name!r} means something else in model files", param_hint="NAME") from None


def _checked(text: str) -> str:
    import compiler
    from compiler.diagnostics import Source

    compiler.check(Source("<new>", text))
    return text
