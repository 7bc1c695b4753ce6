"""Snapshot files outside of a node's directory: read anywhere, written anywhere, copied for another cluster.

A file that is made appears whole under its name, and durable, or not at all. Nothing here knows when.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .._native.files import Directory
from ..errors import SnapshotDamaged, StorageError, StorageFailed, UsageError
from .paths import check_foreign, check_path
from .snapshot_format import NEW, Descriptor
from .snapshots import SnapshotReader, SnapshotWriter

NAME_MAX = 255  # bytes of a file's name
#: what a file system says that does not have what was asked of it; of links also EPERM
WITHOUT = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
RENAME_NOREPLACE = 1
#: how an error begins about something that is there and is no file
NO_FILE = "choose another name"


def file_path(given: object, name: str) -> Path:
    """The path of a file. Raises UsageError, which calls it ``name``, for what cannot be one."""
    path = check_path(given, name, "a file", UsageError)
    whole = Path(os.path.abspath(path))
    if not whole.name or path.endswith("/"):
        raise UsageError(f"{name} must be the path of a file, not of a directory, and not {given!r}")
    return whole


@contextlib.contextmanager
def snapshot_file(given: str | os.PathLike[str], name: str) -> Iterator[SnapshotReader]:
    """A snapshot file, wherever it is, to be read. Raises StorageError, SnapshotDamaged, which name the file."""
    path = file_path(given, name)
    try:
        if not path.is_file():
            path.stat()
            raise StorageError(f"{path} is no file")
        directory = Directory(path.parent, locked=False)
    except OSError as error:
        raise StorageError(f"cannot open {path}: {error.strerror or error}") from error
    try:
        with contextlib.closing(SnapshotReader(directory, path.name, anywhere=True)) as reader:
            yield reader
    except SnapshotDamaged as error:
        raise SnapshotDamaged(f"{path}: {str(error).removeprefix(f'{path.name}: ')}") from error.__cause__
    finally:
        directory.close()


def copy_snapshot(
    given: str | os.PathLike[str], directory: Directory, made: Descriptor, level: int | None
) -> Descriptor:
    """Copy the state of a snapshot file into one that is described as ``made``. Raises StorageError, UsageError."""
    with snapshot_file(given, "file") as reader:
        return copy_state(reader, SnapshotWriter(directory, made, level))


def copy_state(reader: SnapshotReader, writer: SnapshotWriter) -> Descriptor:
    """Copy what is left of a state into a file that is being made, and finish that."""
    try:
        writer.write(reader.node_state())
        for piece in reader:
            writer.write(piece)
        return writer.finish()
    finally:
        writer.discard()


class BackupWriter(SnapshotWriter):
    """A snapshot file that is being made at ``path``, as a SnapshotWriter makes it, with its mode, 0600.

    overwrite: in place of a file that is there. Raises StorageError when it cannot be made or is there already,
    UsageError for what no file can hold.
    """

    def __init__(self, path: Path, descriptor: Descriptor, overwrite: bool) -> None:
        self.path = path
        self.overwrite = overwrite
        check_foreign(path, "path", StorageError)  # a member may have been founded there meanwhile
        try:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if os.path.lexists(path) and not overwrite:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            check_replaceable(path)
            self._parent = Directory(path.parent, locked=False)
        except OSError as error:
            raise StorageError(f"cannot make {path}: {_why(error)}") from error
        # Next to it, under a name that nobody has: that of the file is its own from the last step on.
        aside = f".{os.urandom(8).hex()}{NEW}"
        try:
            super().__init__(self._parent, descriptor, None, (path.name, aside))
        except StorageError as error:
            self._parent.close()
            raise StorageError(f"cannot make {path}: {_why(_cause(error))}") from error
        except BaseException:
            self._parent.close()
            raise

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append to the state: all of it. Raises StorageFailed, which names the file, UsageError at the end."""
        try:
            return super().write(data)
        except StorageFailed as error:
            raise self._failure(error) from error.__cause__

    def finish(self) -> Descriptor:
        """Everything is written: make it durable and give it its name. Raises StorageFailed, which names the file."""
        try:
            made = super().finish()
        except StorageFailed as error:
            raise self._failure(error) from error.__cause__
        self._parent.close()
        return made

    def _failure(self, error: StorageFailed) -> StorageFailed:
        return StorageFailed(f"cannot write {self.path}: {_why(_cause(error))}")

    def name_it(self) -> None:
        """Give the file its name, unless another one has it. Raises OSError."""
        if self.overwrite:
            check_replaceable(self.path)
            super().name_it()
            return
        name_new(self._parent.fd, self._name, self._final)

    def discard(self) -> None:
        """Leave nothing behind, unless it is finished. May be called twice."""
        if self._parent.is_open():
            with contextlib.suppress(OSError):
                self._directory.remove(self._name)
            super().discard()
            self._parent.close()


def check_replaceable(path: Path) -> None:
    """Raise OSError for what a file must not take the place of: a pipe, a device, a socket, a directory.

    A link is a name like another one: it is replaced, and what it leads to stays as it is.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
        return
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for test, name in kinds if test(mode)), "a device")
    raise OSError(errno.EEXIST, f"{NO_FILE}: it is {kind}, and only a file is overwritten")


def name_new(directory: int, old: str, new: str) -> None:
    """Give a file of an open directory a name that nothing has. Raises OSError."""
    # A rename would replace what has the name. Some file systems have no links (exFAT, CIFS).
    try:
        os.link(old, new, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, *WITHOUT):
            raise
    else:
        os.unlink(old, dir_fd=directory)
        return
    code = rename_new(directory, old, new)
    if code in WITHOUT:
        text = (
            "this file system has no names that replace nothing: choose one that nobody else writes to, and ask for it "
        )
        raise OSError(code, text + "to be overwritten (overwrite=True)")
    if code:
        raise OSError(code, os.strerror(code))


def rename_new(directory: int, old: str, new: str) -> int:
    """Rename a file of an open directory unless the new name is taken: 0 or errno; ENOSYS without such a call."""
    import ctypes  # for backups alone

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return errno.ENOSYS
    code = call(directory, os.fsencode(old), directory, os.fsencode(new), ctypes.c_uint(RENAME_NOREPLACE))
    return ctypes.get_errno() if code else 0


def _cause(error: BaseException) -> BaseException:
    """The system's error behind one of ours, or that."""
    return error.__cause__ if isinstance(error.__cause__, OSError) else error


def _why(error: BaseException) -> str:
    """In words, with the remedy where there is one."""
    if not isinstance(error, OSError):
        return str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.strerror}: make room on its disk, or choose another place"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{error.strerror}: choose a place that this process may write to"
    if error.errno == errno.EEXIST and not (error.strerror or "").startswith(NO_FILE):
        return "there is such a file already: choose another name, or ask for it to be overwritten"
    return error.strerror or str(error)
