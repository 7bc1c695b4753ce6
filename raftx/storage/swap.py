"""A directory takes the place of another one, which is kept under a name of its own; nothing is deleted.

The new one is made aside, whole and durable, before the old one moves; what a crash has left half done is finished or
begun anew by the next attempt. So at each moment there is the old directory, under one name or another, and a member
starts with the old one, with the new one, or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError, RaftError, StorageError, UsageError
from .disk import Disk
from .founding import NAME as FOUNDING
from .founding import NEW as FOUNDING_NEW
from .lives import NAME as LIVES
from .lives import NEW as LIVES_NEW
from .paths import check_path
from .skips import NAME as SKIPS
from .skips import NEW as SKIPS_NEW
from .snapshot_format import place_of_name
from .wal_format import MARK_NAME, MARK_NEW, segment_number

TRIES = 1000  # names that are tried for the old directory


def stamp() -> str:
    """The present time, for a name."""
    return time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())


def refuse_link(path: Path) -> None:
    """Raise UsageError for a symbolic link: it would be renamed, and the new directory would be on the link's disk."""
    if path.is_symlink():
        raise UsageError(f"{path} is a symbolic link: give the directory that it leads to, {path.resolve()}")


class Swap:
    """``path`` is to be replaced. ``what``: part of the names that are used meanwhile, such as "rebuilt"."""

    def __init__(self, disk: Disk, path: Path, what: str) -> None:
        self.disk = disk
        self.path = path
        #: where the new one is made, and where it is when it is whole
        self.part = path.with_name(f"{path.name}.{what}.part")
        self.ready = path.with_name(f"{path.name}.{what}.ready")

    def resume(self) -> bool:
        """Finish what a crash has left, if the new directory is whole and the old one has moved; whether it was so."""
        if self.disk.exists(self.path) or not self.disk.exists(self.ready):
            return False
        self._rename(self.ready, self.path)
        return True

    def clean(self) -> None:
        """Remove what a crash has left of a new directory that did not take its place. Raises StorageError."""
        for path in (self.part, self.ready):
            if self.disk.exists(path):
                self._discard(path)

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        """The new directory is being made in ``part``; a failure leaves nothing of it, and its error names ``path``.

        Raises what is raised inside; StorageError, UsageError for what is in the way.
        """
        self.clean()
        try:
            yield
        except (OSError, RaftError) as error:
            # Should this fail, too, the next attempt begins with it.
            with contextlib.suppress(OSError, RaftError):
                if self.disk.exists(self.part):
                    self._discard(self.part)
            text = str(error)
            if isinstance(error, StorageError) and str(self.part) in text:
                raise type(error)(f"nothing was changed in {self.path}: {text}") from error.__cause__
            raise

    def commit(self, aside: str) -> Path | None:
        """The new directory, in ``part``, is whole and durable: let it take its place.

        Returns where the old one is from now on, whose name ends in ``aside`` and the time; None where there was none.
        """
        if self.disk.exists(self.path):
            try:
                self.disk.copy_owner(self.path, self.part)
            except OSError as error:
                why = error.strerror or str(error)
                raise StorageError(
                    f"cannot give {self.part} to the owner of {self.path}: {why}; do this as that user, or as root"
                ) from error
        self._rename(self.part, self.ready)
        kept = None
        if self.disk.exists(self.path):
            kept = self._free_name(f"{self.path.name}.{aside}-{stamp()}")
            self._rename(self.path, kept)
        self._rename(self.ready, self.path)
        return kept

    def _free_name(self, name: str) -> Path:
        for number in range(1, TRIES):
            found = self.path.with_name(name if number == 1 else f"{name}-{number}")
            if not self.disk.exists(found):
                return found
        raise StorageError(f"cannot find a name for {self.path}: {name} and many like it are taken")

    def _rename(self, old: Path, new: Path) -> None:
        """Durable when it returns."""
        try:
            self.disk.rename_directory(old, new)
            self.disk.sync_directory(new.parent)
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno == errno.EBUSY:
                why += ": a disk is mounted there; move the member into a directory on that disk, and try again"
            raise StorageError(f"cannot rename {old} to {new.name}: {why}") from error

    def _discard(self, path: Path) -> None:
        """Remove a directory that nobody has used: with files of a member that was being made, and no others."""
        try:
            directory = self.disk.open_directory(path)
            try:
                names = directory.names()
                strange = [name for name in names if not _is_made(name)]
                if strange:
                    raise UsageError(f"{path} is in the way, with the file {strange[0]} in it: move it elsewhere")
                for name in names:
                    directory.remove(name)
            finally:
                directory.close()
            self.disk.remove_directory(path)
            self.disk.sync_directory(path.parent)
        except OSError as error:
            raise StorageError(f"cannot remove {path}: {error.strerror or error}") from error


def _is_made(name: str) -> bool:
    """Whether a file is one that making a member's directory leaves."""
    known = (FOUNDING, FOUNDING_NEW, LIVES, LIVES_NEW, MARK_NAME, MARK_NEW, SKIPS, SKIPS_NEW)
    if name in known or segment_number(name) is not None:
        return True
    return place_of_name(name.split(".raftx")[0] + ".raftx") is not None


def absolute(path: str | os.PathLike[str]) -> Path:
    """An absolute path with a name. Raises ConfigError for what is no path, UsageError for the root."""
    whole = Path(os.path.abspath(check_path(path, "path", "a member's directory", ConfigError)))
    if not whole.name:
        raise UsageError(f"path must be the path of a member's directory, not {path!r}")
    return whole
