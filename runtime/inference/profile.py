"""Where the time of an ONNX file goes in ONNX Runtime, by the lines of the model file that it was made of."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from compiler.targets.onnx.attribution import Attributed, attribute, named
from compiler.targets.onnx.content import content_of
from runtime.disk.tensors import Array
from runtime.inference.bench import Plan, inputs_for
from runtime.inference.careful import careful
from runtime.inference.saving import one_file
from runtime.inference.session import InferenceSession

_WARM_UPS = 3
_KERNEL = "_kernel_time"
OWN = "ONNX Runtime's own"


@dataclass
class ProfiledLine:
    """What a line of the model file costs: ``place`` is ``digits.dl:12``, or the name of a node where the file tells no
    lines. ``seconds`` is the time of one run; ``kernels`` are those of ONNX Runtime with the operations that each of
    them stands for and its seconds, ``text`` the line, where its file was found."""

    place: str
    text: str = ""
    seconds: float = 0.0
    kernels: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class InferenceProfile:
    """Where the time of one run goes, the costliest line first; ``total`` is that of a run, with what lies between the
    kernels."""

    lines: tuple[ProfiledLine, ...]
    total: float
    rows: int
    runs: int

    @property
    def between(self) -> float:
        """The time of a run in which no kernel works."""
        return max(0.0, self.total - sum(line.seconds for line in self.lines))


def profile(file: Path, plan: Plan) -> InferenceProfile:
    """Runs ``file`` on the last number of rows of ``plan``, in a profiling session of ONNX Runtime.

    Raises DiagnosticError for what can't be opened or run (E0905 to E0921).
    """
    from compiler.targets.onnx.file import is_apart, parse

    content = content_of(file)
    if is_apart(parse(content, str(file))):
        content = one_file(careful(file), "a profile")
    content = named(content)
    with TemporaryDirectory() as folder:
        optimised = Path(folder, "optimised.onnx")

        def adjust(options: Any) -> None:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder, "profile"))
            options.optimized_model_filepath = str(optimised)

        session = InferenceSession(content, plan.device, threads=plan.threads[-1], adjust=adjust, name=file)
        rows = session.most_rows(plan.rows[-1])
        inputs: Mapping[str, Array] = inputs_for(session, rows, plan)
        session.warm_up(inputs, _WARM_UPS + plan.runs)
        events = json.loads(session.end_profiling().read_text())
        kernels = attribute(content, optimised.read_bytes())
    lines, total = _lines(events, kernels, plan.runs)
    source = session.description.source_sha256
    for line in lines:
        line.text = _text(line.place, (file.parent, Path()), source)
    return InferenceProfile(tuple(sorted(lines, key=lambda line: -line.seconds)), total, rows, plan.runs)


def _lines(
    events: Iterable[Mapping[str, Any]], kernels: Mapping[str, Attributed], runs: int
) -> tuple[list[ProfiledLine], float]:
    """The lines, and the seconds of a run, of which the last ``runs`` are measured."""
    events = list(events)
    timed = [event for event in events if event.get("name") == "model_run"][-runs:]
    start = min((event["ts"] for event in timed), default=0)
    found: dict[str, ProfiledLine] = {}
    for kernel in _kernel_times(events, start):
        known = kernels.get(kernel.outermost)
        place = OWN if known is None else known.place or known.node
        line = found.setdefault(place, ProfiledLine(place))
        alone = known is None or kernel.inside or known.covers == (kernel.kind,)
        label = kernel.kind if known is None or alone else f"{kernel.kind} ({', '.join(known.covers)})"
        line.seconds += kernel.seconds / max(1, len(timed))
        line.kernels[label] = line.kernels.get(label, 0.0) + kernel.seconds / max(1, len(timed))
    return list(found.values()), sum(event["dur"] for event in timed) / 1e6 / max(1, len(timed))


@dataclass
class _Kernel:
    """A run of a kernel, in the node ``outermost`` of the network, or ``inside`` that, as in the body of a loop.
    ``seconds`` are without those of the kernels inside it; it ended at ``end``."""

    kind: str
    outermost: str
    inside: bool
    seconds: float
    end: int


def _kernel_times(events: Iterable[Mapping[str, Any]], start: int) -> Iterator[_Kernel]:
    """The kernels that ran from ``start`` on."""
    runs = [
        event
        for event in events
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith(_KERNEL) and event["ts"] >= start
    ]
    open_kernels: dict[Any, list[_Kernel]] = {}
    for event in sorted(runs, key=lambda event: (event["ts"], -event["dur"])):
        around = open_kernels.setdefault(event.get("tid"), [])
        while around and around[-1].end <= event["ts"]:
            yield around.pop()
        outermost = around[0].outermost if around else event["name"].removesuffix(_KERNEL)
        seconds, end = event["dur"] / 1e6, event["ts"] + event["dur"]
        if around:
            around[-1].seconds -= seconds
        around.append(_Kernel(str(event["args"].get("op_name", "")), outermost, bool(around), seconds, end))
    for around in open_kernels.values():
        yield from around


def _text(place: str, folders: Iterable[Path], sha256: str) -> str:
    """The line of the model file, where that lies beside the ONNX file or in the current folder and is the one that it
    was made of."""
    match = re.fullmatch(r"(.+\.dl):(\d+)", place)
    if match is None:
        return ""
    for path in (folder / match[1] for folder in folders):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        lines = content.decode(errors="replace").splitlines()
        if hashlib.sha256(content).hexdigest() == sha256 and int(match[2]) <= len(lines):
            return lines[int(match[2]) - 1].strip()
    return ""
