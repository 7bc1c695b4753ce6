"""Disk: where a FileStorage finds and makes its directory. Used while one is opened; reads and writes are the File's.

What the log does to the operating system goes through this class and the Directory and File objects that come from
it, and through nothing else. So another disk can be put in its place: raftx.testing.disk has one that is simulated.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from .._native import files

BLOCK = 512  # bytes, in which the system counts what a file takes


def _owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


class Disk:
    """The operating system's files. Paths are absolute. Any thread."""

    def exists(self, path: Path) -> bool:
        """Whether the path leads to anything."""
        return path.exists()

    def make_directory(self, path: Path, mode: int) -> None:
        """Make one level, unless it is there. Raises OSError."""
        path.mkdir(mode=mode, exist_ok=True)

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory. Raises OSError."""
        path.rmdir()

    def rename_directory(self, old: Path, new: Path) -> None:
        """Give a directory another name in the same parent, which nothing has. Raises OSError."""
        if os.path.lexists(new):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(new))
        old.rename(new)

    def copy_owner(self, source: Path, target: Path) -> None:
        """Give a directory, and the files in it, to the user and the group of another one. Raises OSError."""
        owner = _owner(source)
        for path in (*target.iterdir(), target):
            if _owner(path) != owner:
                os.chown(path, *owner)

    def sync_directory(self, path: Path) -> None:
        """Make created, renamed and removed names in a directory durable. Raises OSError."""
        files.sync_directory(path)

    def space(self, path: Path) -> tuple[int, int] | None:
        """Bytes that the files in a directory take, and that are free for them; None where it cannot be told."""
        used = 0
        try:
            with os.scandir(path) as found:
                for each in found:
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        used += each.stat(follow_symlinks=False).st_blocks * BLOCK
            there = os.statvfs(path)
        except OSError:
            return None
        return used, there.f_bavail * there.f_frsize

    def random(self, size: int) -> bytes:
        """So many bytes that nobody else draws."""
        return os.urandom(size)

    def open_directory(self, path: Path) -> files.Directory:
        """Open and lock a directory. Raises WrongDirectory when it is in use, OSError."""
        return files.Directory(path)
