"""A small file that is there whole or not at all, whenever the power goes."""

from __future__ import annotations

import os

from .._native.files import Directory
from .._native.memory import Buffer


def write_whole(directory: Directory, name: str, new: str, data: bytes) -> int:
    """Write ``name`` under the name ``new``, make it durable, give it its name, and make that durable.

    0, or -errno; then the old file of that name is there, or the new one. Raises OSError.
    """
    if new in directory.names():
        # Of an attempt that did not end. It may be longer.
        directory.remove(new)
    file = directory.open_file(new, create=True)
    try:
        buffer = Buffer()
        buffer.py_put(data)
        code: int = file.py_write_at(buffer, 0, len(buffer), 0) or file.py_sync_new(directory)
    finally:
        file.close()
    if code:
        return code
    directory.rename(new, name)
    return directory.py_sync()


def read_whole(directory: Directory, name: str, most: int) -> bytes | None:
    """What is in such a file, up to ``most`` bytes; None where there is none. Raises OSError."""
    if name not in directory.names():
        return None
    file = directory.open_file(name, readonly=True)
    try:
        buffer = Buffer()
        code = file.py_read_at(buffer, most, 0)
    finally:
        file.close()
    if code:
        raise OSError(-code, f"cannot read the file {name}: {os.strerror(-code)}")
    return buffer.tobytes()
