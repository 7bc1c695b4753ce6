"""A model of what a power cut leaves of a directory: names and contents that were not synced may be there or not.

For the interpreted package, whose files can be watched; the algorithm is the same in both modes. Contents become
durable with a sync of their file, names (made, renamed, removed) with a sync of their directory. What was not synced
survives by chance: of a file each sector by itself, of a directory each name by itself.
"""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.helpers.implementations import module

SECTOR = 512


class PowerCut(BaseException):
    """The machine has lost power. Whoever goes on nevertheless is told that the disk does not answer."""


class Platter:
    """What is really on disk under the files in ``paths``.

    ``operations`` operations on files happen, then the power fails; negative: it does not, until ``cut`` is called.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, impl: ModuleType, paths: list[Path], operations: int) -> None:
        self.paths = paths
        #: contents by inode: what was synced, and what the machine found when it started
        self.contents = {each.stat().st_ino: each.read_bytes() for path in paths for each in path.iterdir()}
        #: durable names of each directory, with their inodes
        self.names = {path: {each.name: each.stat().st_ino for each in path.iterdir()} for path in paths}
        self.left = operations
        self.lock = threading.RLock()
        self.off = False
        disk = module(impl, "_native.files")
        for name in ("write_at", "write_parts", "zero", "create", "allocate", "datasync"):
            watched = self.watched(name, getattr(disk.File, name))
            monkeypatch.setattr(disk.File, name, watched)
            if name == "datasync":
                monkeypatch.setattr(disk.File, "py_datasync", watched)
        watched = self.watched("sync", disk.Directory.sync)
        monkeypatch.setattr(disk.Directory, "sync", watched)
        monkeypatch.setattr(disk.Directory, "py_sync", watched)
        monkeypatch.setattr(disk.File, "sync_new", self.watched_sync_new())

    def watched(self, what: str, original: Any) -> Any:
        def operation(thing: Any, *arguments: Any) -> int:
            with self.lock:
                if self.off:
                    return -errno.EIO
                if self.left == 0:
                    self.off = True
                    raise PowerCut
                self.left -= 1
                code: int = original(thing, *arguments)
                if what == "datasync" and code == 0:
                    self.synced(thing)
                elif what == "sync" and code == 0:
                    path = Path(os.fsdecode(thing.path))
                    self.names[path] = {each.name: each.stat().st_ino for each in path.iterdir()}
                return code

        return operation

    def synced(self, file: Any) -> None:
        """A file's contents are durable."""
        self.contents[os.fstat(file.fd).st_ino] = os.pread(file.fd, os.fstat(file.fd).st_size, 0)

    def watched_sync_new(self) -> Any:
        def operation(file: Any, directory: Any) -> int:
            code: int = file._fault() or file.datasync() or directory.sync()
            return code

        return operation

    def cut(self) -> None:
        """The power fails now."""
        with self.lock:
            self.off = True

    def survive(self, path: Path, to: Path, draw: random.Random, chance: float, mark: str = "lags") -> None:
        """What a new machine finds. ``mark``: it lags as far as it was synced, is torn, or lost."""
        to.mkdir()
        present = {each.name: each for each in path.iterdir()}
        inodes = {each.stat().st_ino: each for each in present.values()}
        durable = self.names[path]
        for name in sorted({*present, *durable}):
            now = present[name].stat().st_ino if name in present else None
            inode = now if now == durable.get(name) or draw.random() < chance else durable.get(name)
            if inode is None:
                continue
            old = self.contents.get(inode, b"")
            new = inodes[inode].read_bytes() if inode in inodes else old
            size = len(old) if len(old) == len(new) or draw.random() >= chance else len(new)
            kept = bytearray(old[:size].ljust(size, b"\0"))
            for at in range(0, size, SECTOR):
                # The mark is a file that nobody waits for: nothing of it need have reached the disk.
                likely = draw.choice([0.0, chance]) if name == "wal.mark" else chance
                if new[at : at + SECTOR] != kept[at : at + SECTOR] and draw.random() < likely:
                    kept[at : at + SECTOR] = new[at : at + SECTOR]
            if name == "wal.mark" and mark == "torn":
                slot = draw.randrange(2)
                kept[4096 * slot + 40 : 4096 * slot + 60] = draw.randbytes(20)
            if name != "wal.mark" or mark != "lost":
                (to / name).write_bytes(kept)
