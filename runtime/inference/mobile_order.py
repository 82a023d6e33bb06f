"""The bytes of ORT files, the same each time one is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import onnxruntime.tools.ort_format_model  # noqa: F401 (its modules find one another once it has been imported)
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import (
    ArgTypeAndIndex,
    InferenceSession,
    KernelTypeStrArgsEntry,
    KernelTypeStrResolver,
    OpIdKernelTypeStrArgsEntry,
)

_IDENTIFIER = b"ORTM"
_ALIGNMENT = 16  # bytes, as much as ONNX Runtime asks for


def in_order(content: bytes) -> bytes:
    """An ORT file with its last table in order of names: that of the types by which a kernel is chosen for an operator.

    ONNX Runtime writes this one as it lies in a hash table, whose order depends on where the process is in memory; all
    before it comes in an order of its own. A FlatBuffer is written from its end to its beginning, and all offsets in
    it are forward, so that what comes before the table in time stays as it is.
    """
    session = InferenceSession.InferenceSession.GetRootAs(content)
    model, resolver = session.Model()._tab, session.KernelTypeStrResolver()
    start = min(model.Pos, model.Pos - model.Get(flatbuffers.number_types.SOffsetTFlags, model.Pos))
    builder = flatbuffers.Builder(len(content))
    builder.minalign = _ALIGNMENT
    builder.head -= len(content) - start
    builder.Bytes[builder.head :] = content[start:]
    choices = _resolver(builder, resolver)
    version = builder.CreateSharedString(session.OrtVersion())
    InferenceSession.Start(builder)
    InferenceSession.AddOrtVersion(builder, version)
    InferenceSession.AddModel(builder, len(content) - model.Pos)
    InferenceSession.AddKernelTypeStrResolver(builder, choices)
    builder.Finish(InferenceSession.End(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _resolver(builder: Any, resolver: Any) -> Any:
    operators = map(resolver.OpKernelTypeStrArgs, range(resolver.OpKernelTypeStrArgsLength()))
    entries = [_operator(builder, item) for item in sorted(operators, key=lambda item: bytes(item.OpId()))]
    kind = KernelTypeStrResolver
    listed = _vector(builder, kind.StartOpKernelTypeStrArgsVector, entries)
    kind.Start(builder)
    kind.AddOpKernelTypeStrArgs(builder, listed)
    return kind.End(builder)


def _operator(builder: Any, operator: Any) -> Any:
    found = map(operator.KernelTypeStrArgs, range(operator.KernelTypeStrArgsLength()))
    entries = [_types(builder, item) for item in sorted(found, key=lambda item: bytes(item.KernelTypeStr()))]
    kind = OpIdKernelTypeStrArgsEntry
    listed = _vector(builder, kind.StartKernelTypeStrArgsVector, entries)
    name = builder.CreateSharedString(operator.OpId())
    kind.Start(builder)
    kind.AddOpId(builder, name)
    kind.AddKernelTypeStrArgs(builder, listed)
    return kind.End(builder)


def _types(builder: Any, types: Any) -> Any:
    entries = []
    for item in map(types.Args, range(types.ArgsLength())):
        ArgTypeAndIndex.Start(builder)
        ArgTypeAndIndex.AddArgType(builder, item.ArgType())
        ArgTypeAndIndex.AddIndex(builder, item.Index())
        entries.append(ArgTypeAndIndex.End(builder))
    kind = KernelTypeStrArgsEntry
    listed, name = _vector(builder, kind.StartArgsVector, entries), builder.CreateSharedString(types.KernelTypeStr())
    kind.Start(builder)
    kind.AddKernelTypeStr(builder, name)
    kind.AddArgs(builder, listed)
    return kind.End(builder)


def _vector(builder: Any, start: Callable[[Any, int], Any], entries: Sequence[Any]) -> Any:
    start(builder, len(entries))
    for entry in reversed(entries):
        builder.PrependUOffsetTRelative(entry)
    return builder.EndVector()
