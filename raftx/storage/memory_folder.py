"""A directory in memory, with as much of a Directory and its Files as snapshots need. For MemoryStorage alone.

What has its name for good survives ``crash``; what is being made or received does not.
"""

from __future__ import annotations

import errno
import os

from .._native.memory import Buffer
from .snapshot_format import place_of_name


class MemoryFolder:
    """Names, each with the bytes of a file. One thread at a time."""

    path = b"memory"

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}

    def names(self) -> list[str]:
        """The names in it, sorted."""
        return sorted(self.files)

    def open_file(self, name: str, create: bool = False, readonly: bool = False) -> MemoryFile:
        """A file by its name. Raises OSError."""
        if name not in self.files:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
            self.files[name] = bytearray()
        return MemoryFile(self.files[name])

    def rename(self, old: str, new: str) -> None:
        """Give a file another name. Raises OSError."""
        self.open_file(old)
        self.files[new] = self.files.pop(old)

    def remove(self, name: str) -> None:
        """Remove a name. Raises OSError."""
        self.open_file(name)
        del self.files[name]

    def crash(self) -> None:
        """The power fails."""
        self.files = {name: data for name, data in self.files.items() if place_of_name(name) is not None}

    def py_sync(self) -> int:
        """Nothing is to be done."""
        return 0


class MemoryFile:
    """A file of a MemoryFolder."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    def py_read_at(self, buffer: Buffer, size: int, position: int) -> int:
        """Read up to ``size`` bytes into ``buffer``, in place of what was there."""
        buffer.py_clear()
        buffer.py_put(bytes(self.data[position : position + size]))
        return 0

    def py_write_at(self, buffer: Buffer, offset: int, size: int, position: int) -> int:
        """Write a part of the buffer at ``position``."""
        self.data.extend(bytes(max(0, position + size - len(self.data))))
        self.data[position : position + size] = buffer.tobytes()[offset : offset + size]
        return 0

    def py_write(self, data: bytes | bytearray | memoryview, position: int) -> int:
        """Write bytes at ``position``."""
        self.data.extend(bytes(max(0, position + len(data) - len(self.data))))
        self.data[position : position + len(data)] = data
        return 0

    def py_datasync(self) -> int:
        """Nothing is to be done."""
        return 0

    def py_write_out(self, position: int, size: int, behind: int | None = None) -> int:
        """Nothing is to be done."""
        return 0

    def py_sync_new(self, directory: object) -> int:
        """Nothing is to be done."""
        return 0

    def close(self) -> None:
        """Nothing is to be done."""
