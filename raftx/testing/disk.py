"""SimDisk: a disk that stalls, fills up, fails, is damaged and loses power, all drawn from one source.

    disk = SimDisk(random.Random(7))
    FileStorage.create("/n1", id=1, members=[1, 2, 3], disk=disk)
    storage = FileStorage("/n1", disk=disk)

The log, its reserve, the recovery and FileStorage run on it as they run on the operating system's files, in both modes:
its directories and files are a Directory and File of another kind. Nothing waits. A sync that stalls says WAIT
and is asked again in a later round; callers from Python, which have no rounds, ask until it has finished.

One disk is one machine's, for one process at a time. ``kill`` ends that process, ``crash`` cuts the machine's power:
what was open is dead afterwards, its operations fail, and a new FileStorage finds what is left.
"""

from __future__ import annotations

import errno
import os
import random
from collections import Counter
from pathlib import Path
from threading import RLock

from .._native.files import SPARE_NAME, WAIT, Directory, File, segment_name
from .._native.memory import Buffer, Spans
from ..errors import IN_USE, UsageError, WrongDirectory
from ..storage.disk import Disk
from .chances import Chances, Failure
from .platter import Content, Folder, Node, Platter

SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR)
FULL = (errno.ENOSPC, errno.EDQUOT)
#: What ``fail`` and ``counts`` know: an operation of a file, or of a directory
OPERATIONS = ("open", "read", "write", "sync", "create", "allocate", "names", "sync names")
ANY = "any"  # what ``fail`` also takes: whatever operation it is
CUT = 2  # the power fails during this operation
BITS = (1, 2, 4, 8, 16, 32, 64, 128)
FROZEN_ASKS = 100_000  # so often a frozen disk is asked whether it has finished, before somebody must be at fault


class SimDisk(Disk):
    """``draw``: what everything uncertain is drawn from. Any thread; used by one, the same seed gives the same disk.

    The interface that FileStorage uses is Disk's; the rest is for tests.
    """

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.platter = Platter()
        self.chances = Chances()
        #: bytes that all files may have together; None: no limit
        self.capacity: int | None = None
        #: how often what happened: each operation by its name, and "stalls", "writes torn", ...
        self.counts: Counter[str] = Counter()
        #: of the process that uses it; what was opened in an earlier one is dead
        self.life = 1
        #: no sync finishes
        self.frozen = False
        #: what a sync that fails was to make durable will not be, by no later sync either, though reads still see it
        self.forgets = False
        #: the write that fails now has reached the disk in part
        self.short = False
        #: the power is off: every operation fails until ``crash``
        self.off = False
        #: what went wrong in here, instead of on the disk: a mistake in a test or in this file
        self.error: BaseException | None = None
        self.asks = 0
        self._left = -1
        self._failures: list[Failure] = []
        self._lock = RLock()

    def __repr__(self) -> str:
        state = "without power" if self.off else "frozen" if self.frozen else "running"
        return f"<raftx.testing.SimDisk {state}, {len(self.platter.state())} files, {self.platter.used():,} bytes>"

    # --- the interface of disks ------------------------------------------------------------------

    def exists(self, path: Path) -> bool:
        """Whether the path leads to anything."""
        with self._lock:
            return self.find(path) is not None

    def make_directory(self, path: Path, mode: int) -> None:
        """Make one level, unless it is there. Raises OSError."""
        with self._lock:
            self._check("names", path.name)
            parent = self._folder(path.parent)
            if path.name not in parent.names:
                parent.put(path.name, self.platter.new_folder(), "make directory")

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory. Raises OSError."""
        with self._lock:
            self._check("names", path.name)
            if self._folder(path).names:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(path))
            self._folder(path.parent).drop(path.name)

    def rename_directory(self, old: Path, new: Path) -> None:
        """Give a directory another name in the same parent, which nothing has. Raises OSError."""
        with self._lock:
            self._check("names", new.name)
            self._folder(old)
            parent = self._folder(new.parent)
            if new.name in parent.names:
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), str(new))
            parent.move(old.name, new.name)

    def copy_owner(self, source: Path, target: Path) -> None:
        """Nothing belongs to anybody here."""

    def sync_directory(self, path: Path) -> None:
        """Make created, renamed and removed names in a directory durable. Raises OSError."""
        with self._lock:
            self._check("sync names", path.name)
            self._folder(path).sync()

    def space(self, path: Path) -> tuple[int, int] | None:
        """What all files on this disk take, and what is left of its capacity; None where it has no bound."""
        return None if self.capacity is None else (self.platter.used(), self.capacity - self.platter.used())

    def random(self, size: int) -> bytes:
        """So many bytes, from the source that everything is drawn from."""
        return self.draw.randbytes(size)

    def open_directory(self, path: Path) -> Directory:
        """Open and lock a directory. Raises WrongDirectory when it is in use, OSError, UsageError while frozen."""
        with self._lock:
            if self.frozen:
                raise UsageError("the disk is frozen: what is opened now would wait for it for ever")
            self._check("open", path.name)
            folder = self._folder(path)
            if folder.held_by:
                raise WrongDirectory(f"{path} {IN_USE}")
            folder.held_by = self.life
            return SimDirectory(self, path, folder)

    # --- faults ------------------------------------------------------------------------------------

    def crash(self) -> None:
        """The power fails, and comes back: what was not synced may be lost, kept or torn, in any order."""
        with self._lock:
            self.counts["crashes"] += 1
            self._end_process()
            self.platter.lose_power(self.draw, self.counts)
            self.off, self._left = False, -1

    def kill(self) -> None:
        """The process ends, whatever it was doing. What it has written stays, synced or not."""
        with self._lock:
            self.counts["kills"] += 1
            self._end_process()

    def cut_after(self, operations: int) -> None:
        """The power fails during the n-th operation from now: that one and all later ones fail, until ``crash``."""
        if operations < 1:
            raise UsageError(f"operations must be at least 1, not {operations}")
        self._left = operations

    def fail(
        self,
        operation: str,
        code: int,
        after: int = 0,
        times: int = -1,
        name: str | None = None,
        short: bool = False,
    ) -> None:
        """Make operations fail with errno ``code``: after ``after`` good ones so many (-1: all), of one file or of all.

        ``operation``: one of OPERATIONS, or ANY. After a failure of a sync nothing is durable that was not before.
        short: of a write half is done.
        """
        if operation not in (*OPERATIONS, ANY):
            raise UsageError(f"operation must be one of {', '.join((*OPERATIONS, ANY))}, not {operation!r}")
        self._failures.append(Failure(operation, code, after, times, name, short))

    def repair(self) -> None:
        """Nothing fails any more of what ``fail``, ``cut_after`` and ``chances`` have ordered, and there is room."""
        self._failures.clear()
        self.chances = Chances()
        self.capacity = None
        self._left = -1

    def freeze(self) -> None:
        """No sync finishes any more, until ``thaw`` or the end of the process."""
        self.frozen = True

    def thaw(self) -> None:
        """Syncs finish again."""
        self.frozen = False

    # --- damage, and looking ------------------------------------------------------------------------

    def files(self, path: str | os.PathLike[str]) -> list[str]:
        """The names in a directory, sorted. Raises OSError."""
        return sorted(self._folder(Path(path)).names)

    def read(self, path: str | os.PathLike[str]) -> bytes:
        """What reads of a file see. Raises OSError."""
        return bytes(self._content(Path(path)).image)

    def write(self, path: str | os.PathLike[str], data: bytes) -> None:
        """Give a file other contents, which are on the platter at once. Raises OSError."""
        content = self._content(Path(path))
        content.image = bytearray(data)
        content.durable = bytearray(data)
        content.writes.clear()

    def put(self, path: str | os.PathLike[str], data: bytes) -> None:
        """Make a file, or give it other contents, on the platter at once. Raises OSError."""
        folder, name = self._folder(Path(path).parent), Path(path).name
        if name not in folder.names:
            folder.names[name] = folder.durable[name] = self.platter.new_content()
        self.write(path, data)

    def flip(self, path: str | os.PathLike[str], bit: int) -> None:
        """Turn one bit of a file over, on the platter and in the cache. Raises OSError."""
        content = self._content(Path(path))
        for image in (content.image, content.durable):
            if bit // 8 < len(image):
                image[bit // 8] ^= BITS[bit % 8]

    def delete(self, path: str | os.PathLike[str]) -> None:
        """Remove a file, at once and for good. Raises OSError."""
        path = Path(path)
        self._content(path)
        folder = self._folder(path.parent)
        del folder.names[path.name]
        folder.durable.pop(path.name, None)

    def state(self) -> list[tuple[str, int, int]]:
        """(path, checksum as reads see it, checksum on the platter) of each file."""
        return self.platter.state()

    def find(self, path: Path) -> Node | None:
        """What a path leads to, or None."""
        node: Node = self.platter.root
        for name in path.parts[1:]:
            found = node.names.get(name) if isinstance(node, Folder) else None
            if found is None:
                return None
            node = found
        return node

    # --- inside ------------------------------------------------------------------------------------

    def _folder(self, path: Path) -> Folder:
        node = self.find(path)
        if isinstance(node, Folder):
            return node
        code = errno.ENOENT if node is None else errno.ENOTDIR
        raise OSError(code, os.strerror(code), str(path))

    def _content(self, path: Path) -> Content:
        node = self.find(path)
        if isinstance(node, Content):
            return node
        code = errno.ENOENT if node is None else errno.EISDIR
        raise OSError(code, os.strerror(code), str(path))

    def _end_process(self) -> None:
        self.life += 1
        self.frozen = False
        self.platter.end_process()

    def _check(self, operation: str, name: str) -> None:
        code = self.begin(operation, name)
        if code:
            code = -code if code < 0 else errno.EIO
            raise OSError(code, os.strerror(code), name)

    def begin(self, operation: str, name: str) -> int:
        """Every operation begins here: 0, -errno when it fails, CUT when the power fails during it."""
        self.counts[operation] += 1
        if self.off:
            return -errno.EIO
        if self._left > 0:
            self._left -= 1
            if self._left == 0:
                self.off = True
                self.counts["cuts"] += 1
                return CUT
        for failure in self._failures:
            if failure.operation not in (operation, ANY) or failure.name not in (None, name) or failure.times == 0:
                continue
            if failure.after > 0:
                failure.after -= 1
                continue
            failure.times -= failure.times > 0
            self.counts["failures"] += 1
            self.counts[f"failed {operation}"] += 1
            self.short = failure.short and operation == "write"
            return -failure.code
        return self._chance(operation)

    def _chance(self, operation: str) -> int:
        chances, draw = self.chances, self.draw
        if chances.short and operation in ("create", "allocate", "write") and draw.random() < chances.short:
            self.counts["shortages"] += 1
            return -draw.choice(SHORTAGES)
        if chances.broken and operation in ("write", "sync", "sync names") and draw.random() < chances.broken:
            self.counts["failures"] += 1
            return -errno.EIO
        return 0

    def room_for(self, more: int) -> int:
        """0, or -errno when so many more bytes do not fit."""
        if more <= 0 or self.capacity is None or self.platter.used() + more <= self.capacity:
            return 0
        self.counts["full"] += 1
        return -self.draw.choice(FULL)

    def broke(self, error: BaseException) -> int:
        """Something is wrong in here: remember it, and fail."""
        if self.error is None:
            self.error = error
        return -errno.EIO

    def asked(self, content: Content) -> bool:
        """A sync of a file is asked for, perhaps not for the first time: whether it has finished."""
        if content.syncing < 0:
            content.syncing = len(content.writes)
            chances = self.chances
            if self.frozen or (chances.stall and self.draw.random() < chances.stall):
                self.counts["stalls"] += 1
                content.asks = self.draw.randint(1, chances.stall_asks)
        if self.frozen:
            self.asks += 1
            if self.asks > FROZEN_ASKS:
                raise UsageError("a caller without rounds waits for a frozen disk, for ever")
            return False
        self.asks = 0
        if content.asks > 0:
            content.asks -= 1
            return False
        content.sync(content.syncing)
        return True


class SimDirectory(Directory):
    """A directory of a SimDisk that is open."""

    def __init__(self, disk: SimDisk, path: Path, folder: Folder) -> None:
        self.disk = disk
        self.fd = -1
        self.path = os.fsencode(path)
        self.folder = folder
        self.life = disk.life

    def is_open(self) -> bool:
        """Whether its process lives and has not closed it."""
        return self.life == self.disk.life

    def names(self) -> list[str]:
        """The names in it, sorted. Raises OSError."""
        with self.disk._lock:
            self._check("open", "")
            return sorted(self.folder.names)

    def new_file(self) -> File:
        """A SimFile that is no file yet."""
        return SimFile(self.disk)

    def open_file(self, name: str, create: bool = False, readonly: bool = False) -> File:
        """A file of this directory by its name. Raises OSError."""
        disk = self.disk
        with disk._lock:
            self._check("open", name)
            node = self.folder.names.get(name)
            if node is None and create:
                node = disk.platter.new_content()
                self.folder.put(name, node)
            if not isinstance(node, Content):
                code = errno.ENOENT if node is None else errno.EISDIR
                raise OSError(code, os.strerror(code), name)
            file = SimFile(disk)
            file.open(node, name)
            return file

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; durable with the next sync. Raises OSError."""
        with self.disk._lock:
            self._check("names", new)
            if old not in self.folder.names:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), old)
            self.folder.put(new, self.folder.names[old], "rename")
            self.folder.drop(old, "rename")

    def remove(self, name: str) -> None:
        """Remove a name; durable with the next sync. Raises OSError."""
        with self.disk._lock:
            self._check("names", name)
            if name not in self.folder.names:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), name)
            self.folder.drop(name)

    def remove_segment(self, number: int) -> int:
        """Remove a segment of a log; durable with the next sync. 0 or -errno."""
        return self.remove_name(segment_name(number), "segments removed")

    def remove_spare(self) -> int:
        """Remove the file that was set aside; durable with the next sync. 0 or -errno."""
        return self.remove_name(SPARE_NAME, "spares removed")

    def remove_name(self, name: str, what: str) -> int:
        """Remove a name, and count it. 0 or -errno."""
        try:
            with self.disk._lock:
                code = self.disk.begin("names", name) if self.is_open() else -errno.EBADF
                if code < 0 or name not in self.folder.names:
                    return code if code < 0 else -errno.ENOENT
                self.folder.drop(name)
                self.disk.counts[what] += 1
                return -errno.EIO if code == CUT else 0
        except BaseException as error:
            return self.disk.broke(error)

    def check(self) -> int:
        """Whether the path still leads here."""
        try:
            found = self.disk.find(Path(os.fsdecode(self.path)))
            return 0 if found is self.folder else -errno.ENOENT if found is None else -errno.ESTALE
        except BaseException as error:
            return self.disk.broke(error)

    def sync(self) -> int:
        """Make its names durable; 0 or -errno."""
        try:
            with self.disk._lock:
                code = self.disk.begin("sync names", "") if self.is_open() else -errno.EBADF
                if code == 0 or (code == CUT and self.disk.draw.random() < 0.5):
                    self.folder.sync()
                return -errno.EIO if code == CUT else code
        except BaseException as error:
            return self.disk.broke(error)

    def close(self) -> None:
        """Unlock and close it; may be called twice."""
        if self.is_open():
            self.life = 0
            self.folder.held_by = 0

    def _check(self, operation: str, name: str) -> None:
        if not self.is_open():
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), name)
        self.disk._check(operation, name)


class SimFile(File):
    """A file of a SimDisk that is open, or none yet."""

    def __init__(self, disk: SimDisk) -> None:
        File.__init__(self)
        self.disk = disk
        self.content: Content | None = None
        self.called = ""
        self.life = 0

    def open(self, content: Content, name: str) -> None:
        """Go on with these contents."""
        self.content = content
        self.called = name
        self.life = self.disk.life

    def begin(self, operation: str) -> int:
        """An operation of this file begins: 0, -errno, or CUT."""
        if self.content is None or self.life != self.disk.life:
            return -errno.EBADF
        return self._fault() or self.disk.begin(operation, self.called)

    def write_at(self, buffer: Buffer, offset: int, size: int, position: int) -> int:
        """Write a part of the buffer at ``position``; 0 or -errno."""
        try:
            return self.put(position, buffer.tobytes()[offset : offset + size])
        except BaseException as error:
            return self.disk.broke(error)

    def write_parts(self, head: Buffer, spans: Spans, zeros: int, position: int) -> int:
        """Write a buffer, what stands in spans, and zero bytes; 0 or -errno."""
        try:
            return self.put(position, head.tobytes() + spans.tobytes() + bytes(zeros))
        except BaseException as error:
            return self.disk.broke(error)

    def zero(self, position: int, size: int) -> int:
        """Write zero bytes; 0 or -errno."""
        try:
            return self.put(position, bytes(size))
        except BaseException as error:
            return self.disk.broke(error)

    def put(self, position: int, data: bytes) -> int:
        """Write; 0 or -errno. What is being written when the power fails may reach the platter."""
        with self.disk._lock:
            code = self.begin("write")
            content = self.content
            if code < 0 or content is None:
                if self.disk.short and content is not None:
                    self.disk.short = False
                    content.write(position, data[: len(data) // 2])
                return code
            code = code or self.disk.room_for(position + len(data) - len(content.image))
            if code >= 0:
                content.write(position, data)
            return -errno.EIO if code == CUT else code

    def read_at(self, buffer: Buffer, size: int, position: int) -> int:
        """Read up to ``size`` bytes; 0 or -errno. The buffer then holds what was there."""
        try:
            with self.disk._lock:
                buffer.clear()
                code = self.begin("read")
                if code == 0 and self.content is not None:
                    buffer.py_put(memoryview(self.content.image)[position : position + size])
                return -errno.EIO if code == CUT else code
        except BaseException as error:
            return self.disk.broke(error)

    def datasync(self) -> int:
        """Make what was written durable, and the length; 0, -errno, or WAIT: ask again."""
        try:
            with self.disk._lock:
                code = self.begin("sync")
                content = self.content
                if content is None:
                    return code
                if code == CUT and self.disk.draw.random() < 0.5:
                    content.sync(len(content.writes))
                if code != 0:
                    content.syncing, content.asks = -1, 0
                    if self.disk.forgets and code < 0:
                        content.writes.clear()
                    return -errno.EIO if code == CUT else code
                return 0 if self.disk.asked(content) else WAIT
        except BaseException as error:
            return self.disk.broke(error)

    def sync_new(self, directory: Directory) -> int:
        """Make a new file and its name in the directory durable; 0, -errno, or WAIT: ask again."""
        code = self.datasync()
        return directory.sync() if code == 0 else code

    def create(self, directory: Directory, number: int, size: int) -> int:
        """Go on with a new file of ``size`` reserved bytes; 0 or -errno, and then this one stays."""
        try:
            assert isinstance(directory, SimDirectory)
            return self.create_in(directory, segment_name(number), size)
        except BaseException as error:
            return self.disk.broke(error)

    def create_in(self, directory: SimDirectory, name: str, size: int) -> int:
        """``create`` with a name."""
        disk = self.disk
        with disk._lock:
            code = (self._fault() or disk.begin("create", name)) if directory.is_open() else -errno.EBADF
            if code >= 0 and name in directory.folder.names:
                code = -errno.EEXIST
            if code == 0:
                code = disk.room_for(size)
            if code < 0:
                return code
            content = disk.platter.new_content()
            directory.folder.put(name, content)
            content.stretch(size)
            self.open(content, name)
            return -errno.EIO if code == CUT else 0

    def set_aside(self, directory: Directory, number: int) -> int:
        """Go on with a segment, which has the name of a spare from now on; 0 or -errno, and then this one stays."""
        try:
            assert isinstance(directory, SimDirectory)
            return self.rename_in(directory, segment_name(number), SPARE_NAME, "segments set aside")
        except BaseException as error:
            return self.disk.broke(error)

    def use_spare(self, directory: Directory, number: int) -> int:
        """It was set aside and is a segment from now on, unless there is one of that number; 0 or -errno."""
        try:
            assert isinstance(directory, SimDirectory)
            return self.rename_in(directory, SPARE_NAME, segment_name(number), "segments used again")
        except BaseException as error:
            return self.disk.broke(error)

    def rename_in(self, directory: SimDirectory, old: str, new: str, what: str) -> int:
        """Go on with the file of the old name under the new one, and count it. Only a spare is replaced."""
        disk, names = self.disk, directory.folder.names
        with disk._lock:
            code = (self._fault() or disk.begin("names", old)) if directory.is_open() else -errno.EBADF
            if code >= 0 and (old not in names or (new in names and new != SPARE_NAME)):
                return -errno.ENOENT if old not in names else -errno.EEXIST
            if code < 0:
                return code
            content = names[old]
            # A spare gets its next name beside the one that it has; a segment that is set aside is renamed.
            directory.folder.put(new, content, "link" if old == SPARE_NAME else "rename")
            directory.folder.drop(old, "unlink" if old == SPARE_NAME else "rename")
            disk.counts[what] += 1
            if isinstance(content, Content):
                self.open(content, new)
            return -errno.EIO if code == CUT else 0

    def allocate(self, size: int) -> int:
        """Reserve room up to ``size``; 0 or -errno."""
        try:
            with self.disk._lock:
                code = self.begin("allocate")
                content = self.content
                if code < 0 or content is None:
                    return code
                code = code or self.disk.room_for(size - len(content.image))
                if code >= 0:
                    content.stretch(size)
                return -errno.EIO if code == CUT else code
        except BaseException as error:
            return self.disk.broke(error)

    def length(self) -> int:
        """Length in bytes, or -errno."""
        try:
            return self.size()
        except OSError:
            return -errno.EBADF
        except BaseException as error:
            return self.disk.broke(error)

    def named(self, directory: Directory) -> int:
        """Whether its name in the directory still leads to it: 0, -ENOENT without that name, -ESTALE: another file."""
        try:
            assert isinstance(directory, SimDirectory)
            return self.named_in(directory)
        except BaseException as error:
            return self.disk.broke(error)

    def named_in(self, directory: SimDirectory) -> int:
        """``named``."""
        if self.content is None:
            return -errno.EBADF
        found = directory.folder.names.get(self.called)
        return 0 if found is self.content else -errno.ENOENT if found is None else -errno.ESTALE

    def take(self, other: File) -> None:
        """Go on with another one's file, which has none afterwards."""
        try:
            assert isinstance(other, SimFile)
            self.take_from(other)
        except BaseException as error:
            self.disk.broke(error)

    def take_from(self, other: SimFile) -> None:
        """``take``."""
        self.content, self.called, self.life = other.content, other.called, other.life
        other.close()

    def close(self) -> None:
        """Close it; may be called twice."""
        self.content = None

    def size(self) -> int:
        """Length in bytes. Raises OSError."""
        return len(self._opened().image)

    def identity(self) -> tuple[int, int]:
        """What no other file has, whatever its name. Raises OSError."""
        return 0, self._opened().number

    def _opened(self) -> Content:
        if self.content is None or self.life != self.disk.life:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.called)
        return self.content

    def py_datasync(self) -> int:
        """``datasync``, until it has finished."""
        code = WAIT
        while code == WAIT:
            code = self.datasync()
        return code

    def py_write(self, data: bytes | bytearray | memoryview, position: int) -> int:
        """Write at ``position``; 0 or -errno."""
        return self.put(position, bytes(data))

    def py_write_out(self, position: int, size: int, behind: int | None = None) -> int:
        """Writing out begins; it may fail as a sync does, and makes nothing durable. 0 or -errno."""
        with self.disk._lock:
            code = self.begin("sync")
            if code < 0 and self.disk.forgets and self.content is not None:
                self.content.writes.clear()
            return -errno.EIO if code == CUT else code

    def py_sync_new(self, directory: Directory) -> int:
        """``sync_new``, until it has finished."""
        code = WAIT
        while code == WAIT:
            code = self.sync_new(directory)
        return code
