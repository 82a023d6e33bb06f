"""The npm package onnxruntime-web, from which a page takes ONNX Runtime: dlc does not have it, and fetches nothing."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compiler.diagnostics import DiagnosticError, error
from runtime.disk.files import reason

_PACKAGE = "onnxruntime-web"
_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
_MOST_BYTES = 2**27  # of one file


@dataclass(frozen=True)
class WebRuntime:
    """ONNX Runtime for browsers: its version, and the files of it that a page needs by their names."""

    version: str
    files: Mapping[str, bytes]


def web_runtime(given: Path | None, near: Path) -> WebRuntime:
    """The package in ``given``, its folder or what ``npm pack`` made; without it the one that npm installed in ``near``
    or a folder above. Raises DiagnosticError E0942 where there is none."""
    if given is None:
        places = [folder / "node_modules" / _PACKAGE for folder in (near, *near.parents)]
        given = next((place for place in places if place.is_dir()), None)
        if given is None:
            raise _missing(f"the page needs {_PACKAGE} from npm, and there is none in {near / 'node_modules'}")
    try:
        return _from_folder(given) if given.is_dir() else _from_archive(given)
    except (OSError, EOFError, tarfile.TarError, KeyError, ValueError) as failure:
        why = reason(failure) if isinstance(failure, OSError) else str(failure).strip("'\"")
        raise _missing(f"cannot take {_PACKAGE} from {given}: {why}") from failure


def _from_folder(folder: Path) -> WebRuntime:
    files = {name: (folder / "dist" / name).read_bytes() for name in _FILES}
    return WebRuntime(_version((folder / "package.json").read_bytes()), files)


def _from_archive(path: Path) -> WebRuntime:
    with tarfile.open(path, "r:*") as archive:

        def content(name: str) -> bytes:
            member = archive.getmember(f"package/{name}")
            stream = archive.extractfile(member) if member.isfile() and member.size <= _MOST_BYTES else None
            if stream is None:
                raise ValueError(f"{name} in it is no file of a fitting size")
            with stream:
                return stream.read()

        return WebRuntime(_version(content("package.json")), {name: content(f"dist/{name}") for name in _FILES})


def _version(text: bytes) -> str:
    told = json.loads(text)
    if not isinstance(told, dict) or told.get("name") != _PACKAGE:
        raise ValueError(f"it is another package than {_PACKAGE}")
    return str(told.get("version", "unknown"))


def _missing(title: str) -> DiagnosticError:
    help = f"npm install {_PACKAGE}, or npm pack {_PACKAGE} and --runtime {_PACKAGE}-….tgz, the file that it writes"
    return DiagnosticError([error("E0942", title, None, help=help)])
