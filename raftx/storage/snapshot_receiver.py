"""A snapshot that is received chunk by chunk, in any order, and goes on after a restart with what is there.

It is written aside as ``<name>.part``, with its header first, and has its name only when it is whole and durable. What
a restart has left of it is believed chunk by chunk, as its checksums say. Reads and writes here may block.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from .._native.files import Directory, File
from .._native.memory import Buffer
from ..errors import SnapshotDamaged, StorageError, StorageFailed, UsageError
from . import snapshot_format as form
from .snapshot_format import PART, Descriptor
from .snapshots import STEP, check_done

#: Bytes between two syncs: what a power cut may take of what has arrived. Most of it is written out by then.
SYNC_STEP = 4 << 20
#: Bytes that may be on their way to the disk while more arrive. A sync of the log may have to wait for them.
AHEAD = 1 << 20


class SnapshotReceiver:
    """What arrives of the snapshot that ``descriptor`` describes. One thread at a time.

    ``finish`` makes it durable and names it; ``close`` keeps what is there for a later life; ``discard`` does not.
    whole: it is there already, and there is nothing to do. named: called when it has its name. Raises UsageError for
    what no file can hold, StorageError when it cannot be made.
    """

    def __init__(
        self,
        directory: Directory,
        descriptor: Descriptor,
        named: Callable[[Descriptor], None] = lambda descriptor: None,
        whole: bool = False,
    ) -> None:
        descriptor.check()
        self.descriptor = descriptor
        self._directory = directory
        self._named = named
        self._part = descriptor.name + PART
        self._digest = form.new_digest()
        #: Invariant: all chunks before it are in the file, and in the digest
        self._next = descriptor.chunks if whole else 0
        #: later chunks that are in the file: put before their turn, or left by an earlier life and not checked yet
        self._later: set[int] = set()
        self._unsynced = 0
        #: up to where writing out has begun
        self._written_out = 0
        #: whether a power cut leaves the name that the file has while it is received
        self._named_for_good = False
        self._file: File | None = None
        self._whole = whole
        if not whole:
            self._file = self._resumed() or self._begun()
            try:
                self._advance()
            except BaseException:
                self.close()
                raise
            # What an earlier life has left was written out long ago, or the next sync does it.
            self._written_out = self.descriptor.place_of(self._next)

    def __repr__(self) -> str:
        return f"<raftx.SnapshotReceiver {self.descriptor.name}, {self._next} of {self.descriptor.chunks} chunks>"

    def missing(self) -> int:
        """The number of the first chunk that is not there; ``descriptor.chunks`` when all are."""
        return self._next

    def put(self, number: int, chunk: bytes | bytearray | memoryview) -> None:
        """Take a chunk as it stands in the file (``SnapshotReader.chunk``); one that is there changes nothing.

        Raises SnapshotDamaged for one that is not whole, and nothing has changed; UsageError for a number that is none
        and when it is finished; StorageFailed.
        """
        if not isinstance(number, int) or not 0 <= number < self.descriptor.chunks:
            raise UsageError(f"number must be in 0..{self.descriptor.chunks - 1}, not {number!r}")
        data = form.check_chunk(self.descriptor, number, chunk)
        if number < self._next:
            return
        file = self._opened()
        place = self.descriptor.place_of(number)
        self._write(file, chunk, place)
        self._write_out(file, place + len(chunk))
        self._unsynced += len(chunk)
        if self._unsynced >= SYNC_STEP:
            self._unsynced = 0
            # What is synced of a file whose name is lost is lost with it.
            self._check_synced(file.py_datasync() if self._named_for_good else file.py_sync_new(self._directory))
            self._named_for_good = True
        if number == self._next:
            self._later.discard(number)
            self._digest.update(data)
            self._next += 1
            self._advance()
        else:
            self._later.add(number)

    def finish(self) -> Descriptor:
        """All chunks are there: make the file durable and give it its name.

        Raises UsageError when one is missing; SnapshotDamaged when all are whole and do not make up what was
        described, and then nothing is left; StorageFailed.
        """
        if self._whole:
            return self.descriptor
        file = self._opened()
        if self._next < self.descriptor.chunks:
            raise UsageError(f"chunk {self._next} of {self.descriptor.name} is missing")
        if form.digest_with(self._digest, self.descriptor) != self.descriptor.digest:
            self.discard()
            raise SnapshotDamaged(f"{self._part}: its digest is another one")
        self._check_synced(file.py_sync_new(self._directory))
        self.close()
        try:
            self._directory.rename(self._part, self.descriptor.name)
        except OSError as error:
            raise StorageFailed(f"cannot name {self.descriptor.name}: {error}") from error
        check_done(self._directory.py_sync(), "the sync of the directory", self.descriptor.name)
        self._whole = True
        self._named(self.descriptor)
        return self.descriptor

    def discard(self) -> None:
        """Leave nothing behind, unless it is finished. May be called twice."""
        if self._file is not None:
            self.close()
            with contextlib.suppress(OSError):
                self._directory.remove(self._part)

    def close(self) -> None:
        """Release the file; what is there stays for the next one who receives the same. May be called twice."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _write_out(self, file: File, end: int) -> None:
        """Chunks come in order, but for a few: what is in the file up to there need not wait for the sync."""
        while end - self._written_out >= STEP:
            self._check_synced(file.py_write_out(self._written_out, STEP, AHEAD))
            self._written_out += STEP

    def _check_synced(self, code: int) -> None:
        """After a failed sync nothing of the file is believed: a later sync may not write what reads still see."""
        if code:
            self.discard()
        check_done(code, "the sync", self._part)

    def _opened(self) -> File:
        if self._file is None:
            raise UsageError(f"{self.descriptor.name} is finished, discarded or closed")
        return self._file

    def _resumed(self) -> File | None:
        """What an earlier life has received of the same; ``_later`` are the chunks that may be there."""
        try:
            file = self._directory.open_file(self._part)
        except OSError:
            return None
        try:
            size = file.size()
            if self._read(file, 0, self.descriptor.head_bytes) == self._head() and size <= self.descriptor.file_bytes:
                behind = max(size - self.descriptor.head_bytes, 0)
                step = form.CHUNK.size + self.descriptor.chunk_bytes
                whole = size == self.descriptor.file_bytes
                self._later = {*range(self.descriptor.chunks if whole else behind // step)}
                return file
        except (OSError, StorageError):
            pass  # what cannot be read is received again
        file.close()
        return None

    def _begun(self) -> File:
        with contextlib.suppress(OSError):
            self._directory.remove(self._part)
        try:
            file = self._directory.open_file(self._part, create=True)
        except OSError as error:
            raise StorageError(f"cannot make {self._part}: {error}") from error
        try:
            self._write(file, self._head(), 0)
        except BaseException:
            file.close()
            raise
        return file

    def _head(self) -> bytes:
        return form.encode(self.descriptor).ljust(self.descriptor.head_bytes, b"\0")

    def _advance(self) -> None:
        """Look at the chunks that may be there, up to the first one that is not."""
        file = self._opened()
        while self._next in self._later:
            self._later.discard(self._next)
            length = form.CHUNK.size + self.descriptor.length_of(self._next)
            chunk = self._read(file, self.descriptor.place_of(self._next), length)
            try:
                self._digest.update(form.check_chunk(self.descriptor, self._next, chunk))
            except SnapshotDamaged:
                return
            self._next += 1

    def _read(self, file: File, position: int, size: int) -> bytes:
        buffer = Buffer()
        check_done(file.py_read_at(buffer, size, position), "a read", self._part)
        return buffer.tobytes()

    def _write(self, file: File, data: bytes | bytearray | memoryview, position: int) -> None:
        check_done(file.py_write(data, position), "a write", self._part)
