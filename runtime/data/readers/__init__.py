"""Readers of data files: each gives named arrays.

A new one is a function of a path, what its entry in :mod:`compiler.front.catalogue.readers` noted and a
:class:`Request`, and a case of :func:`reader`; a file that tells its kind by its ending has one in ``KINDS`` too.
"""

from __future__ import annotations

from runtime.data.readers.content import Content, Reader, ReadError, Request

# The readers that need no options, by the endings of their files.
KINDS: dict[str, str] = {
    ".npz": "npz",
    ".npy": "npy",
    ".csv": "csv",
    ".idx": "npy",
    ".gz": "npy",
    "-ubyte": "npy",
}
# The reader of folders.
FOLDERS = "images"


def reader(name: str) -> Reader:
    """The reader called ``name`` in the language. Its module is imported now, so that a command starts as fast as what
    it reads allows."""
    if name == "csv":
        from runtime.data.readers.table import table

        return table
    if name == "images":
        from runtime.data.readers.images import images

        return images
    if name in ("text", "lines"):
        from runtime.data.readers import text

        return text.windows if name == "text" else text.lines
    from runtime.data.readers import files

    return {"npz": files.npz, "npy": files.one_array, "files": files.array_files}[name]


__all__ = ["FOLDERS", "KINDS", "Content", "ReadError", "Reader", "Request", "reader"]
