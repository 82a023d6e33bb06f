"""ONNX files run in ONNX Runtime: the one place that imports onnxruntime, and only when a session is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.types import DType
from compiler.ops.base import Array
from compiler.ops.base import Device as Device  # for those who open sessions
from compiler.targets.onnx.content import Content, SplitModel, content_of, head, is_ort
from compiler.targets.onnx.metadata import Description, bounds, describe
from runtime.data.columns import ArrayOrColumn, Column, whole
from runtime.data.widening import ArrayLike
from runtime.inference import cuda
from runtime.inference.binding import Binding
from runtime.inference.feed import ROWS, in_rows, outline, part, rows_symbol
from runtime.inference.ranges import check_ranges
from runtime.programs.signature import Port, by_name, check, match

_DEVICES = get_args(Device)

_SILENT, _WARNING = 4, 2
_DTYPES = {
    "tensor(bool)": DType.BOOL, "tensor(uint8)": DType.U8, "tensor(uint32)": DType.U32, "tensor(int8)": DType.I8,
    "tensor(int32)": DType.I32, "tensor(int64)": DType.I64, "tensor(float16)": DType.F16,
    "tensor(float)": DType.F32, "tensor(double)": DType.F64,
}  # fmt: skip
_NO_NAMES: Mapping[str, str] = MappingProxyType({})


class InferenceSession:
    """A loaded model: ``inputs`` and ``outputs`` tell its signature, ``metadata`` what the file says of itself.

        session = dlc.InferenceSession("digits.onnx")
        scores = session.run({"image": images})["output"]

    ``file`` is the path of an ONNX or an ORT file, or the content of one. ``optimise`` lets ONNX Runtime rewrite the
    graph; ``threads`` is the number of threads it works on, its own choice where None. Nothing is printed. With
    ``device`` "cuda", operations run in full f32 precision (without TF32), and a machine where CUDA does not
    work is an error, never the CPU. ``adjust`` is given the session options of ONNX Runtime before they are used.
    Messages call what is given as content by ``name``.

    ``batches`` runs on more than memory holds at once, ``warm_up`` before the first answer has to be quick, ``bind``
    keeps arrays on the device, and ``labels`` are the names of the classes.

    Weights in other files are read where these lie in the folder of the model, and nowhere else. Raises DiagnosticError
    for a file that can't be read (E0905), is no ONNX model (E0906), is given as content and keeps data in other files
    (E0907), breaks a limit (E0920), names data that can't be had (E0921) or needs what ONNX Runtime does not have
    (E0908), and for CUDA that can't be used (E0909).
    """

    def __init__(
        self,
        file: str | Path | Content,
        device: Device = "cpu",
        optimise: bool = True,
        threads: int | None = None,
        adjust: Callable[[Any], None] | None = None,
        *,
        name: str | Path = "the model",
    ) -> None:
        # Late, as onnx is needed only here.
        from compiler.targets.onnx.file import is_apart, need_whole, node_sources, parse, unranked
        from compiler.targets.onnx.read.external import gather
        from compiler.targets.onnx.read.load import check_functions, check_limits, check_signature, check_sizes

        if device not in _DEVICES or (threads is not None and threads < 1):
            raise ValueError(f"device is {device!r}, threads {threads}: 'cpu' or 'cuda', and 1 or more, or None")
        self.name = str(file if isinstance(file, str | Path) else name)
        content = content_of(Path(file)) if isinstance(file, str | Path) else head(file)
        self._sources: Mapping[str, str] = {}
        untold: frozenset[str] = frozenset()
        weights: Mapping[str, Array] = {}
        if not is_ort(content):
            # Read before ONNX Runtime sees it: that opens data files named in a model, even in one given as bytes.
            model = parse(content, self.name)
            check_limits(model, self.name)
            check_functions(model, self.name)
            check_sizes(model, self.name)
            check_signature(model.graph, self.name)
            if isinstance(file, bytes):
                need_whole(model, self.name)
            elif is_apart(model):
                weights = file.arrays if isinstance(file, SplitModel) else gather(model, self.name, Path(file).parent)
                content = model.SerializeToString()
            self._sources, untold = node_sources(model), unranked(model)
            del model
        self.device: Device = device
        self._session = _make_session(content, self.name, device, _options(optimise, threads, adjust, weights))
        with _readable(self.name):
            self.inputs = tuple(_port(self.name, x, untold) for x in self._session.get_inputs())
            self.outputs = tuple(_port(self.name, x, untold) for x in self._session.get_outputs())
            told = self._session.get_modelmeta()
            self.metadata: Mapping[str, str] = dict(told.custom_metadata_map)
        self.description: Description = describe(self.metadata, told.description or "")
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())

    def run(
        self, inputs: ArrayLike | Mapping[str, ArrayLike], *, described: Mapping[str, str] = _NO_NAMES
    ) -> dict[str, Array]:
        """The outputs by name. ``inputs`` are arrays by name, or the one input; lists of numbers take its element type.
        ``described`` says in the user's words what holds each array, such as ``x.npy``.

        Raises DiagnosticError where the arrays do not fit (E0910, E0911, E0912: all mistakes at once), hold values that
        the file rules out (E0917), and where the run fails (E0913).
        """
        given = by_name(self.inputs, inputs, self.name)
        arrays = match(self.inputs, given, bounds(self.metadata), described)
        check_ranges(arrays, self.description.ranges, self.description.names, described)
        names = [port.name for port in self.outputs]
        try:
            results = self._session.run(names, arrays)
        except Exception as failure:  # ONNX Runtime's exceptions have no common class of their own
            raise self._stopped(failure) from failure
        return dict(zip(names, results, strict=True))

    def check(self, inputs: Mapping[str, Array], *, described: Mapping[str, str] = _NO_NAMES) -> None:
        """Raises DiagnosticError as ``run`` does where the arrays do not fit; nothing runs."""
        check(self.inputs, inputs, bounds(self.metadata), described)
        check_ranges(inputs, self.description.ranges, self.description.names, described)

    def batches(
        self, inputs: Mapping[str, ArrayOrColumn], rows: int = ROWS, *, described: Mapping[str, str] = _NO_NAMES
    ) -> Iterator[dict[str, Array]]:
        """The outputs for ``rows`` rows after another, so that memory holds no more than those; a bound that the file
        has for the number of rows makes it smaller.

        A model whose inputs and outputs do not all have the same free first dimension runs once, on everything. Rows
        are taken to be independent of each other, as they are in a network that is not trained any more. Raises
        DiagnosticError as ``run`` does, where arrays do not fit before the first batch.
        """
        if rows < 1:
            raise ValueError(f"rows is {rows}, and has to be at least 1")
        given = {name: x if isinstance(x, Column) else np.asarray(x) for name, x in inputs.items()}
        free, symbol = rows_symbol(self.inputs, self.outputs)
        others = bounds(self.metadata)
        least = others.pop(symbol).lower if symbol in others else 1
        free = free and least == 1  # a part might have too few
        check(self.inputs, {name: outline(x) for name, x in given.items()}, others, described)
        counts = {len(x) for x in given.values()} if free else set()
        if len(counts) != 1 or counts == {0}:
            yield self.run({name: whole(x) for name, x in given.items()}, described=described)
            return
        (count,), step = counts, self.most_rows(rows)
        for start in range(0, count, step):
            try:
                yield self.run({name: part(x, start, start + step) for name, x in given.items()}, described=described)
            except DiagnosticError as failure:
                raise in_rows(failure, f"in rows {start} to {min(start + step, count) - 1}, from 0 on") from failure

    def most_rows(self, asked: int) -> int:
        """How many rows run together where ``asked`` are to: fewer where the model fixes or bounds their number."""
        known = bounds(self.metadata)
        upper = {name: symbol.upper for name, symbol in known.items() if symbol.upper is not None}
        firsts = [port.shape[0] for port in self.inputs if port.shape]
        return min([asked, *(first if isinstance(first, int) else upper.get(first or "", asked) for first in firsts)])

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the last axis of the output; empty where the file has none."""
        return self.description.labels

    def warm_up(self, inputs: ArrayLike | Mapping[str, ArrayLike], runs: int = 1) -> None:
        """Runs on ``inputs`` and forgets what comes of it, so that the memory that later runs of that size need is
        there, and on a GPU its kernels are loaded. Raises DiagnosticError as ``run`` does."""
        for _ in range(runs):
            self.run(inputs)

    def bind(self, inputs: ArrayLike | Mapping[str, ArrayLike]) -> Binding:
        """A binding: inputs that are copied to the device once, for many runs, and results that stay there until they
        are asked for. Raises DiagnosticError as ``run`` does where arrays do not fit."""
        return Binding(self, inputs)

    def on_device(self, array: Array) -> Any:
        """ONNX Runtime's value of an array, on the session's device."""
        return _onnxruntime().OrtValue.ortvalue_from_numpy(array, self.device, 0)

    def io_binding(self) -> Any:
        """ONNX Runtime's own binding, for :class:`Binding`."""
        return self._session.io_binding()

    def run_bound(self, binding: Any) -> None:
        """Runs on what is bound. Raises DiagnosticError E0913."""
        try:
            self._session.run_with_iobinding(binding)
        except Exception as failure:
            raise self._stopped(failure) from failure

    def end_profiling(self) -> Path:
        """The file with what a session, adjusted to it, has seen of its runs."""
        return Path(self._session.end_profiling())

    def _stopped(self, failure: Exception) -> DiagnosticError:
        text = _plain(failure)
        named = re.search(r"Name:'([^']+)'", text)
        node = named[1] if named else ""
        notes = [text.partition("Status Message: ")[2] or text]
        if node in self._sources:
            notes.append(f"{node} was written at {self._sources[node]}")
        title = f"ONNX Runtime stopped at {node}" if node else f"ONNX Runtime could not run {self.name}"
        help = "look at the values of the inputs: an index, such as a class or a word, may be out of range"
        return DiagnosticError([error("E0913", title, None, notes=notes, help=help)])


def runtime_version() -> str:
    """The version of ONNX Runtime."""
    return str(_onnxruntime().__version__)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as failure:
        broken: str | None = str(failure)
    else:
        # What is left of the package when one of onnxruntime and onnxruntime-gpu was removed after both were installed.
        broken = None if hasattr(onnxruntime, "InferenceSession") else "the package is there but empty"
    if broken is None:
        return onnxruntime
    help = "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu (onnxruntime on macOS)"
    raise DiagnosticError([error("E0916", "ONNX Runtime is not installed properly", None, notes=broken, help=help)])


def _options(
    optimise: bool, threads: int | None, adjust: Callable[[Any], None] | None, weights: Mapping[str, Array]
) -> Any:
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    if threads is not None:
        options.intra_op_num_threads = threads
    if weights:
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    if adjust is not None:
        adjust(options)
    return options


def _make_session(content: bytes, name: str, device: Device, options: Any) -> Any:
    ort = _onnxruntime()
    providers: list[Any] = ["CPUExecutionProvider"]
    if device == "cuda":
        if cuda.PROVIDER not in ort.get_available_providers():
            raise _no_cuda(ort)
        providers = [(cuda.PROVIDER, {"use_tf32": "0"})]
        _find_cuda_libraries(ort)
    try:
        with _quiet(ort) if device == "cuda" else nullcontext():
            session = ort.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as failure:
        if device == "cuda" and "CUDA failure" in str(failure):
            raise _no_cuda(ort, _plain(failure)) from failure
        raise _refused(name, failure) from failure
    if device == "cuda" and cuda.PROVIDER not in session.get_providers():
        raise _no_cuda(ort)
    return session


@contextmanager
def _quiet(ort: Any) -> Iterator[None]:
    """A provider that can't start speaks through the logger of the whole process, not through the session's."""
    ort.set_default_logger_severity(_SILENT)
    try:
        yield
    finally:
        ort.set_default_logger_severity(_WARNING)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Raises DiagnosticError E0906 for texts of an ORT file that are none; an ONNX file was read before."""
    try:
        yield
    except UnicodeDecodeError:
        help = "get the file again, or convert the ONNX file again"
        title = f"{name} is not an ORT file, or is damaged"
        raise DiagnosticError([error("E0906", title, None, notes="a text in it is not UTF-8", help=help)]) from None


def _find_cuda_libraries(ort: Any) -> None:
    """Let libraries that pip installed be found; what is missing is told later, in fewer words."""
    with redirect_stdout(StringIO()):
        ort.preload_dlls()


def _no_cuda(ort: Any, failure: str = "") -> DiagnosticError:
    version = str(getattr(ort, "cuda_version", ""))
    found = list(cuda.why_not(ort.get_available_providers(), version))
    failure = failure or "the driver and the libraries are there, but ONNX Runtime cannot start CUDA"
    notes = [why for why, _ in found] or [failure]
    help = [what for _, what in found] or [f"check with nvidia-smi that the driver is made for CUDA {version} or later"]
    title = "CUDA was asked for and cannot be used"
    return DiagnosticError([error("E0909", title, None, notes=notes, help=[*help, "or run on the CPU: --device cpu"])])


def _refused(name: str, failure: Exception) -> DiagnosticError:
    help = "export it again with opset 21 and IR version 10, and standard operations only"
    title = f"ONNX Runtime {runtime_version()} cannot run {name}"
    return DiagnosticError([error("E0908", title, None, notes=_plain(failure), help=help)])


def _plain(failure: Exception) -> str:
    """The message without its error codes and without the places in ONNX Runtime's own source."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(failure))
    text = re.sub(r"(Exception during initialization: )?/\S+\.(cc|h):\d+ .*?\) (?=[A-Z])", "", text)
    return " ".join(text.split())


def _port(name: str, item: Any, untold: Container[str]) -> Port:
    """An input or an output. Of one whose shape the file leaves ``untold`` ONNX Runtime knows what it inferred, or says
    that it had no dimensions."""
    dtype = _DTYPES.get(item.type)
    if dtype is None:
        notes = f"{item.name} is a {item.type}"
        help = "let the model take and give numbers, and cast inside it; bf16 too stays inside"
        title = f"{name} has an input or output of a type that dlc does not run"
        raise DiagnosticError([error("E0908", title, None, notes=notes, help=help)])
    return Port(item.name, dtype, None if item.name in untold and not item.shape else tuple(item.shape))
