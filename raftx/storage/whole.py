"""A small file that is there whole or not at all, whenever the power goes."""

from __future__ import annotations

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
