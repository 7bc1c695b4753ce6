"""FileStorage: one node's directory: whose it is, what it holds, and how that is recovered.

Reads happen here and only at ``open``; writing is the Wal's. Nothing here is guessed: what is neither
whole nor visibly torn raises WalDamaged, because a node that forgot what it acknowledged could take
part in electing a leader that lacks it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .. import _sys
from .._core import Spans
from ..errors import ConfigError, StorageError, StorageFailed, WalDamaged, WrongDirectory
from ..types import MEMBERS_MAX, NUMBER_MAX, ConfState, HardState, is_id
from .format import (
    BLOCK,
    KIND_ENTRIES,
    KIND_OPEN,
    OPERATION_SEGMENT,
    OPERATION_SYNC,
    Head,
    decode_head,
    describe,
    encode_head,
)
from .protocol import Loaded
from .wal import Reader, Wal

SEGMENT_BYTES_MIN = 64 << 10
SEGMENT_BYTES_MAX = 1 << 40
NAME = re.compile(r"wal-([0-9a-f]{16})\.log")


class FileStorage:
    """A directory that holds one node's hard state and log, durably.

    path: the directory; made (mode 0700) if it does not exist. voters, learners: the first membership,
    needed when the directory is new; given later, they must be the same. segment_bytes: length of one
    file of the log, 64 KiB..1 TiB, reserved when it is begun.
    Raises ConfigError. Everything else happens in ``open``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        voters: Iterable[int] = (),
        learners: Iterable[int] = (),
        *,
        segment_bytes: int = 64 << 20,
    ) -> None:
        self.path = Path(path)
        self._conf_state = ConfState(voters=tuple(sorted(voters)), learners=tuple(sorted(learners)))
        members = self._conf_state.voters + self._conf_state.learners
        if len(set(members)) != len(members) or not all(map(is_id, members)):
            raise ConfigError(f"voters and learners must be different ids in 1..{NUMBER_MAX}")
        if len(members) > MEMBERS_MAX:
            raise ConfigError(f"voters and learners must be at most {MEMBERS_MAX} members, not {len(members)}")
        if not isinstance(segment_bytes, int) or not SEGMENT_BYTES_MIN <= segment_bytes <= SEGMENT_BYTES_MAX:
            raise ConfigError(f"segment_bytes must be an integer in {SEGMENT_BYTES_MIN}..{SEGMENT_BYTES_MAX}")
        self._segment_bytes = segment_bytes // BLOCK * BLOCK
        self._lock: int | None = None
        self._directory: int | None = None
        self._state = HardState()
        self._spans = Spans()
        #: the writing end; None while closed
        self.wal: Wal | None = None
        #: what the last ``open`` cut off: (segment file, place, reason), or None
        self.repaired: tuple[str, int, str] | None = None

    # --- the protocol of storages ----------------------------------------------------------------

    def open(self, id: int, cluster: bytes) -> Loaded:
        """Lock, check, repair a torn tail, sync, and begin a new incarnation. See Storage.open.

        Raises WrongDirectory (in use, or another node's, cluster's or membership's), WalDamaged,
        StorageFailed, StorageError, ConfigError (a new directory without voters).
        """
        if self.wal is not None:
            raise WrongDirectory(f"{self.path} is open already")
        try:
            self._make_directory()
            self._lock = _sys.lock_directory(self.path)
            self._directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            return self._open(id, cluster)
        except OSError as error:
            self.close()
            raise StorageError(f"cannot open {self.path}: {error}") from error
        except BaseException:
            self.close()
            raise

    def append(self, hard_state: HardState, records: Sequence[bytes | memoryview]) -> None:
        """Take the hard state and then the records; written by the next ``sync``. Not while a node uses it."""
        if self.wal is None:
            raise StorageError(f"{self.path} is closed")
        self._state = hard_state
        for piece in records:
            self._spans.py_push(piece)

    def sync(self) -> None:
        """Write what was appended, as one batch, and return when it is durable. Raises StorageFailed."""
        if self.wal is None:
            raise StorageError(f"{self.path} is closed")
        state = self._state
        code = self.wal.py_write(KIND_ENTRIES, state.term, state.vote, state.commit, self._spans)
        self._spans.py_clear()
        if code:
            raise StorageFailed(describe(code))

    def close(self) -> None:
        """Release files and lock. May be called twice; nothing is written."""
        wal, self.wal = self.wal, None
        if wal is not None:
            wal.file.close()
        directory, self._directory = self._directory, None
        if directory is not None:
            os.close(directory)
        lock, self._lock = self._lock, None
        if lock is not None:
            _sys.unlock_directory(lock)
        self._spans.py_clear()

    # --- opening ---------------------------------------------------------------------------------

    def _make_directory(self) -> None:
        if self.path.is_dir():
            return
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sys.sync_directory(self.path.parent)

    def _segments(self) -> list[int]:
        return sorted(int(m[1], 16) for m in map(NAME.fullmatch, os.listdir(self.path)) if m)

    def _file(self, segment: int) -> Path:
        return self.path / f"wal-{segment:016x}.log"

    def _open(self, id: int, cluster: bytes) -> Loaded:
        recovery = _Recovery(self, id, cluster)
        segments = self._segments()
        if segments and not recovery.usable(segments):
            # Its header never became durable, so nothing was ever written into it.
            self._file(segments.pop()).unlink()
            _sys.sync_directory(self.path)
        if segments:
            wal = recovery.run(segments)
        else:
            wal = self._begin(id, cluster)
        self.wal = wal
        reader = recovery.reader
        self._state = HardState(reader.term, reader.vote, reader.commit)
        wal.resume(wal.segment, wal.position, wal.size, wal.number, wal.chain, reader.incarnation + 1)
        code = wal.py_write(KIND_OPEN, reader.term, reader.vote, reader.commit, self._spans)
        if code:
            raise StorageFailed(describe(code))
        return Loaded(self._state, self._conf_state, wal.incarnation, recovery.records())

    def _begin(self, id: int, cluster: bytes) -> Wal:
        """The first segment of a new directory."""
        if not self._conf_state.voters:
            raise ConfigError(f"voters must name at least one member: {self.path} is new")
        assert self._directory is not None
        head = encode_head(1, cluster, id, 0, 1, self._conf_state)
        file = _sys.File(os.devnull, readonly=True)
        wal = Wal(file, self._directory, head, self._segment_bytes)
        self.wal = wal
        code = file.py_create(self._directory, 1, self._segment_bytes)
        if not code:
            os.pwrite(file.fd, head, 0)
            code = file.py_sync_new(self._directory)
        if code:
            raise StorageFailed(describe(OPERATION_SEGMENT << 32 | -code))
        wal.resume(1, BLOCK, self._segment_bytes, 0, 0, 0)
        return wal


class _Recovery:
    """Walks the segments of a directory once."""

    def __init__(self, storage: FileStorage, id: int, cluster: bytes) -> None:
        self.storage = storage
        self.id = id
        self.cluster = cluster
        self.reader = Reader()
        #: (segment, place, length) of runs of records
        self.pieces: list[tuple[int, int, int]] = []

    def usable(self, segments: list[int]) -> bool:
        """False when the last segment was begun but its header did not reach the disk whole."""
        path = self.storage._file(segments[-1])
        try:
            decode_head(_head_of(path))
            return True
        except WalDamaged:
            file = _sys.File(path, readonly=True)
            try:
                if Reader().find_later(file, BLOCK, file.size(), segments[-1]) < 0:
                    return False
            finally:
                file.close()
            return True

    def run(self, segments: list[int]) -> Wal:
        """Verify everything, repair the tail, and return the writing end."""
        storage, reader = self.storage, self.reader
        position = size = 0
        for segment in segments:
            path = storage._file(segment)
            last = segment == segments[-1]
            head = decode_head(_head_of(path))
            self._check(path, head, segment, first=segment == segments[0])
            file = _sys.File(path, readonly=not last)
            try:
                size = file.size()
                position = self._walk(path, file, size, segment, last)
            except BaseException:
                file.close()
                raise
            if not last:
                file.close()
        assert storage._directory is not None
        segment = segments[-1]
        head_block = _head_of(storage._file(segment))
        wal = Wal(file, storage._directory, head_block, storage._segment_bytes)
        storage.wal = wal
        if size < storage._segment_bytes:
            size = storage._segment_bytes
            file.preallocate(size)
        # What is trusted from here on is on disk, whatever the cache held before.
        code = file.py_sync_new(storage._directory)
        if code:
            raise StorageFailed(describe(OPERATION_SYNC << 32 | -code))
        wal.resume(segment, position, size, reader.number, reader.chain, reader.incarnation)
        return wal

    def _check(self, path: Path, head: Head, segment: int, first: bool) -> None:
        """Whose segment it is, and that it follows the one before."""
        storage, reader = self.storage, self.reader
        if head.segment != segment:
            raise WalDamaged(f"{path} says that it is segment {head.segment}")
        if head.cluster != self.cluster:
            raise WrongDirectory(f"{storage.path} belongs to another cluster: {head.cluster!r}")
        if head.id != self.id:
            raise WrongDirectory(f"{storage.path} belongs to node {head.id}, not {self.id}")
        if first:
            given = storage._conf_state
            if (given.voters or given.learners) and given != head.conf_state:
                raise WrongDirectory(
                    f"{storage.path} was made with voters {head.conf_state.voters} and learners "
                    f"{head.conf_state.learners}, not {given.voters} and {given.learners}"
                )
            storage._conf_state = head.conf_state
            reader.follow(head.first_batch - 1, head.chain)
        elif head.chain != reader.chain or head.first_batch != reader.number + 1:
            raise WalDamaged(f"{path} does not continue the segment before it")

    def _walk(self, path: Path, file: _sys.File, size: int, segment: int, last: bool) -> int:
        """All batches of one segment; the place behind the last one."""
        reader = self.reader
        position = BLOCK
        while True:
            verdict = reader.read(file, position, size, segment)
            if verdict != reader.VALID:
                break
            self.pieces += [(segment, position + start, length) for start, length in reader.pieces]
            position += reader.extent
        where = f"{path} at byte {position:,}"
        torn, reason, extent = reader.torn, reader.reason, reader.extent
        if verdict == reader.BAD and not (last and torn):
            raise WalDamaged(f"{where}: {reason}")
        # Behind a hole or a torn batch nothing can have been acknowledged; a whole batch there means damage.
        later = reader.find_later(file, position + extent, size, segment)
        if later >= 0:
            raise WalDamaged(f"{where}: {reason or 'a batch is missing'}, but a whole batch follows at {later:,}")
        if last:
            self._clean(path, file, position, size, reason if verdict == reader.BAD else "remains of a torn batch")
        return position

    def _clean(self, path: Path, file: _sys.File, position: int, size: int, reason: str) -> None:
        """Zero what a torn write left, so that it can never be taken for a batch."""
        at = position
        while True:
            dirt = self.reader.find_dirt(file, at, size)
            if dirt is None:
                break
            at, length = dirt
            self.storage.repaired = self.storage.repaired or (path.name, position, reason)
            code = file.py_zero(at, length)
            if code:
                raise StorageFailed(describe(OPERATION_SYNC << 32 | -code))
            at += length

    def records(self) -> Iterator[bytes]:
        """The records, read again piece by piece, so that the log is not held twice."""
        fd = -1
        opened = -1
        try:
            for segment, position, length in self.pieces:
                if segment != opened:
                    if fd >= 0:
                        os.close(fd)
                    fd = -1
                    fd = os.open(self.storage._file(segment), os.O_RDONLY | os.O_CLOEXEC)
                    opened = segment
                yield _read(fd, length, position)
        finally:
            if fd >= 0:
                os.close(fd)


def _head_of(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(BLOCK)


def _read(fd: int, length: int, position: int) -> bytes:
    piece = os.pread(fd, length, position)
    while len(piece) < length:
        more = os.pread(fd, length - len(piece), position + len(piece))
        if not more:
            raise WalDamaged("the log became shorter while it was read")
        piece += more
    return piece
