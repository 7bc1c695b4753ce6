"""Snapshot files of one directory: made, read, checked, counted out. They are ordinary files until their last rename.

A file is written aside, synced, and given its name, and the name is made durable, before anybody may rely on it: so
whatever has such a name was whole once. What it holds is checked again whenever it is read. Reads and writes here
may block; nothing here knows when a snapshot is due.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from .._native.files import Directory, File
from .._native.layout import ENTRY_HEADER
from .._native.memory import Buffer, Spans
from ..errors import SnapshotDamaged, StorageError, StorageFailed, UsageError
from . import snapshot_format as form
from .snapshot_format import DAMAGED, NEW, Descriptor

KEPT = 2  # files: when the newest is damaged, the one before serves with the log behind it
#: Bytes of a file that is being made which are written out together, while the next ones are written: a sync of the log
#: may have to wait for twice as many. They are durable only after the sync at the end.
STEP = 256 << 10
LINE = 512  # bytes that are looked through at once for the end of a line


def check_done(code: int, what: str, name: str) -> None:
    """Raise StorageFailed for -errno; its cause is the system's error, so that a shortage can be told from a defect."""
    if code:
        raise StorageFailed(f"{what} of {name} failed: {_text(code)}") from OSError(-code, os.strerror(-code))


def _text(code: int) -> str:
    return f"[Errno {-code}] {os.strerror(-code)}"


def compressor(level: int) -> Any:
    """One that makes a zstd frame of what it is given piece by piece. Raises UsageError without the extra zstd."""
    return _zstandard().ZstdCompressor(level=level).compressobj()


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        raise UsageError("compressed snapshots need the package zstandard: pip install raftx[zstd]") from error


def check_unpackable(descriptor: Descriptor, name: str) -> None:
    """Raise StorageError, which calls the snapshot ``name``, for one that is compressed, without the extra zstd."""
    if descriptor.compressed:
        try:
            _zstandard()
        except UsageError as error:
            raise StorageError(f"{name} cannot be read: {error}") from error


class SnapshotWriter:
    """A snapshot file that is being made, in ``directory``. One thread at a time; others wait.

    ``descriptor`` says what the state is of; sizes and digest come from what is written: first the node's own state, of
    ``descriptor.node_size`` bytes, then the state machine's. level: of zstd, 1..22, or
    None for no compression. place: another name than the descriptor's, and one for the file while it is made. Raises
    UsageError for what no file can hold, StorageError when it cannot be made.
    """

    def __init__(
        self,
        directory: Directory,
        descriptor: Descriptor,
        level: int | None = None,
        place: tuple[str, str] | None = None,
    ) -> None:
        descriptor.check()
        self._packer = None if level is None else compressor(level)
        self.descriptor = dataclasses.replace(
            descriptor, size=0, stored=0, compressed=level is not None, digest=bytes(form.DIGEST_BYTES)
        )
        self._directory = directory
        name = self.descriptor.name
        self._final, self._name = place if place is not None else (name, name + NEW)
        self._rest = bytearray()
        self._digest = form.new_digest()
        self._chunks = self._size = self._stored = self._written_out = 0
        self._at = self.descriptor.head_bytes
        self._file: File | None = None
        self._lock = threading.RLock()
        #: a write has failed: what was written does not fit together any more, whoever goes on
        self._failed = False
        with contextlib.suppress(OSError):  # of an attempt that came to nothing
            directory.remove(self._name)
        try:
            self._file = directory.open_file(self._name, create=True)
        except OSError as error:
            raise StorageError(f"cannot make {self._name}: {error}") from error

    def __repr__(self) -> str:
        return f"<raftx.SnapshotWriter {self.descriptor.name}, {self._size:,} bytes>"

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append to the state, as a file's ``write``: all of it. Raises StorageFailed, and UsageError at the end.

        After one that has failed, every other one fails, and so does ``finish``.
        """
        view = memoryview(data).cast("B")
        with self._lock:
            self._check_writing()
            self._failed = True
            self._size += len(view)
            self._take(view if self._packer is None else self._packer.compress(view))
            self._failed = False
        return len(view)

    def _check_writing(self) -> None:
        if self._file is None:
            raise UsageError(f"{self.descriptor.name} is finished")
        if self._failed:
            raise StorageFailed(f"an earlier write of {self._name} has failed")

    def finish(self) -> Descriptor:
        """Everything is written: make it durable and give it its name. Raises StorageFailed."""
        with self._lock:
            return self._finish()

    def _finish(self) -> Descriptor:
        self._check_writing()
        file = self._file
        assert file is not None
        if self._packer is not None and self._size:
            self._take(self._packer.flush())
        if self._rest:
            self._put(bytes(self._rest))
            self._rest.clear()
        own = self.descriptor.node_size
        if self._size < own:
            raise UsageError(f"the node's own state has {own} bytes, and {self._size} were written")
        made = dataclasses.replace(self.descriptor, size=self._size - own, stored=self._stored)
        made = dataclasses.replace(made, digest=form.digest_with(self._digest, made))
        head = form.encode(made)
        self._write(head + bytes(made.head_bytes - len(head)), 0)
        check_done(file.py_sync_new(self._directory), "the sync", self._name)
        file.close()
        self._file = None
        try:
            self.name_it()
        except OSError as error:
            raise StorageFailed(f"cannot name {self._final}: {error}") from error
        check_done(self._directory.py_sync(), "the sync of the directory", self._final)
        self.descriptor = made
        return made

    def name_it(self) -> None:
        """Give the file its name. Raises OSError."""
        self._directory.rename(self._name, self._final)

    def discard(self) -> None:
        """Leave nothing behind, unless it is finished. May be called twice."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()
                with contextlib.suppress(OSError):
                    self._directory.remove(self._name)

    def _take(self, data: bytes | memoryview) -> None:
        chunk = self.descriptor.chunk_bytes
        at = 0
        while len(self._rest) + len(data) - at >= chunk:
            more = chunk - len(self._rest)
            self._put(bytes(self._rest) + bytes(data[at : at + more]))
            self._rest.clear()
            at += more
        self._rest += data[at:]

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._write(form.encode_chunk(self._chunks, data), self._at)
        self._at += form.CHUNK.size + len(data)
        self._stored += len(data)
        self._chunks += 1
        while self._at - self._written_out >= STEP:  # a chunk may be larger
            assert self._file is not None
            check_done(self._file.py_write_out(self._written_out, STEP), "the sync", self._name)
            self._written_out += STEP

    def _write(self, data: bytes, position: int) -> None:
        assert self._file is not None
        check_done(self._file.py_write(data, position), "a write", self._name)


class SnapshotReader:
    """A snapshot's state, read as it is asked for; each chunk is checked before any of it is given away.

    ``index``, ``term``, ``version`` and ``size`` are of what it holds. Whoever reads to the end (``read`` returns b"")
    knows that all of it was whole. anywhere: it may have another name than its own. One thread at a time. Raises
    SnapshotDamaged, StorageError; UsageError once it is closed, which a node does when ``restore`` returns.
    """

    def __init__(self, directory: Directory, name: str, anywhere: bool = False) -> None:
        self.name = name
        self._anywhere = anywhere
        self._is_closed = False
        #: what is read comes through it: it is used again, for memory that is new costs more than what is read
        self._buffer = Buffer()
        try:
            self._file = directory.open_file(name, readonly=True)
        except OSError as error:
            raise StorageError(f"cannot open {name}: {error}") from error
        try:
            self.descriptor = self._head()
        except BaseException:
            self._file.close()
            raise
        self.index, self.term = self.descriptor.index, self.descriptor.term
        self.version, self.size = self.descriptor.version, self.descriptor.size
        self._digest = form.new_digest()
        self._pieces = self._state()
        self._rest: bytes | memoryview = b""
        self._given = 0
        self._node: bytes | None = None

    def __repr__(self) -> str:
        return f"<raftx.SnapshotReader {self.name}, {self._given:,} of {self.size:,} bytes>"

    def __enter__(self) -> SnapshotReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        """What is left, in pieces of any length."""
        while piece := self.read(self.descriptor.chunk_bytes):
            yield piece

    def read(self, size: int | None = -1) -> bytes:
        """Up to ``size`` bytes, all that are left where it is negative or None; fewer at the end, and b"" behind it."""
        if self._is_closed:
            raise UsageError("the snapshot is closed: read what you need of it before restore() returns")
        self.node_state()
        data = self._next(-1 if size is None else size)
        self._given += len(data)
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill a buffer, less at the end; how many bytes. With ``readline`` it is a file for pickle.load."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readline(self, size: int | None = -1) -> bytes:
        """Up to the next line feed, and that; at most ``size`` bytes, unless that is negative or None."""
        out = [self.read(0)]
        left = -1 if size is None else size
        while left and (self._rest or self._more()):
            piece = bytes(self._rest[: min(LINE, left) if left > 0 else LINE])
            end = piece.find(b"\n") + 1
            out.append(self.read(end or len(piece)))
            left -= len(out[-1]) if left > 0 else 0
            if end:
                break
        return b"".join(out)

    def node_state(self) -> bytes:
        """The node's own state, which is no part of what ``read`` gives."""
        if self._node is None:
            self._node = self._next(self.descriptor.node_size)
        return self._node

    def _next(self, size: int) -> bytes:
        out: list[bytes | memoryview] = []
        while size != 0:
            if not self._rest and not self._more():
                break
            if 0 < size < len(self._rest):
                # Without a copy of all that is left, for whoever reads a few bytes at a time.
                whole = memoryview(self._rest)
                out.append(whole[:size])
                self._rest = whole[size:]
                break
            out.append(self._rest)
            size -= len(self._rest) if size > 0 else 0
            self._rest = b""
        return bytes(out[0]) if len(out) == 1 else b"".join(out)

    def _more(self) -> bool:
        """Bring the next piece; whether there is one."""
        self._rest = next(self._pieces, b"")
        return bool(self._rest)

    def verify(self) -> Descriptor:
        """Read all that is left, and say what it is."""
        while self.read(self.descriptor.chunk_bytes):
            pass
        return self.descriptor

    def chunk(self, number: int) -> bytes:
        """A chunk as it stands in the file, checked. Raises UsageError for none."""
        self._check_number(number)
        chunk = self._read(self.descriptor.place_of(number), form.CHUNK.size + self.descriptor.length_of(number))
        form.check_chunk(self.descriptor, number, chunk)
        return chunk

    def record(self, number: int) -> Spans:
        """The same as what a member is sent: one span, the record of an entry whose data are the chunk."""
        self._check_number(number)
        self._fetch(self.descriptor.place_of(number), form.CHUNK.size + self.descriptor.length_of(number))
        spans = Spans()
        spans.py_push_record(self._buffer)
        form.check_chunk(self.descriptor, number, memoryview(spans.pieces()[0])[ENTRY_HEADER:])
        return spans

    def close(self) -> None:
        """Release the file; may be called twice."""
        self._is_closed = True
        self._rest = b""
        self._file.close()

    def _check_number(self, number: int) -> None:
        if not 0 <= number < self.descriptor.chunks:
            raise UsageError(f"number must be in 0..{self.descriptor.chunks - 1}, not {number!r}")

    def _head(self) -> Descriptor:
        # Most headers end in the first block; what is behind it belongs to chunks then.
        found = form.decode(self._read(0, form.HEAD_MAX))
        if not self._anywhere and found.name != self.name.removesuffix(NEW):
            raise SnapshotDamaged(f"{self.name} holds another snapshot, {found.name}")
        try:
            length = self._file.size()
        except OSError as error:
            raise StorageError(f"cannot read {self.name}: {error}") from error
        if length != found.file_bytes:
            raise SnapshotDamaged(f"{self.name} has {length} bytes, not {found.file_bytes}")
        return found

    def _read(self, position: int, size: int) -> bytes:
        self._fetch(position, size)
        return self._buffer.tobytes()

    def _fetch(self, position: int, size: int) -> None:
        code = self._file.py_read_at(self._buffer, size, position)
        if code:
            raise StorageError(f"cannot read {self.name}: {_text(code)}")

    def _stored(self) -> Iterator[bytes]:
        for number in range(self.descriptor.chunks):
            try:
                data = self.chunk(number)[form.CHUNK.size :]
            except SnapshotDamaged as error:
                raise SnapshotDamaged(f"{self.name}: {error}") from error
            self._digest.update(data)
            yield data

    def _state(self) -> Iterator[bytes]:
        """Its bytes in pieces; at the end, whether they are all and the right ones."""
        check_unpackable(self.descriptor, self.name)
        count, whole = 0, self.size + self.descriptor.node_size
        for piece in _unpacked(self._stored()) if self.descriptor.compressed else self._stored():
            count += len(piece)
            if count > whole:
                break
            if piece:
                yield piece
        if form.digest_with(self._digest, self.descriptor) != self.descriptor.digest or count != whole:
            raise SnapshotDamaged(f"{self.name}: its digest is another one")


def _unpacked(stored: Iterator[bytes]) -> Iterator[bytes]:
    zstandard = _zstandard()
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    for data in stored:
        try:
            yield unpacker.decompress(data)
        except zstandard.ZstdError as error:
            raise SnapshotDamaged(f"what is compressed is damaged: {error}") from error


class SnapshotFolder:
    """The snapshots of a directory that is open and locked. One thread at a time."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    def names(self) -> list[str]:
        """Those that have their name, the newest (by term, then index) first. Raises StorageError."""
        places = sorted(
            ((place, name) for name in self._all() if (place := form.place_of_name(name)) is not None), reverse=True
        )
        return [name for _, name in places]

    def parts(self) -> list[str]:
        """Those that were being received, the newest first. Raises StorageError."""
        places = sorted(((place, name) for name in self._all() if (place := form.place_of_part(name))), reverse=True)
        return [name for _, name in places]

    def clean(self, keep: Iterable[str]) -> list[str]:
        """Remove all that is not in ``keep``: what an earlier life began to make, receive or remove. Their names.

        Not while one is being made or received. Raises StorageError.
        """
        wanted = {*keep}
        found = [name for name in self._all() if form.is_left_over(name)] + self.names() + self.parts()
        old = [name for name in found if name not in wanted]
        self.remove(old)
        return old

    def set_aside(self, name: str) -> None:
        """Take one that is damaged out of the count, but leave it to people to look at. Raises StorageError."""
        try:
            self.directory.rename(name, name + DAMAGED)
        except OSError as error:
            raise StorageError(f"cannot rename {name}: {error}") from error
        check_done(self.directory.py_sync(), "the sync of the directory", name)

    def whole(
        self, inside: Callable[[int, int], bool] = lambda term, index: True
    ) -> tuple[list[Descriptor], list[tuple[str, str]]]:
        """Those that can be used: the newest ``inside`` was read to its end for that, the others by their headers.

        And the name of each that is damaged, and why. ``inside``: whether one of that term and index counts. Raises
        StorageError when one cannot be read at all.
        """
        found: list[Descriptor] = []
        damaged: list[tuple[str, str]] = []
        wanted = True
        for name in self.names():
            try:
                with SnapshotReader(self.directory, name) as reader:
                    if wanted and inside(reader.term, reader.index):
                        reader.verify()
                        wanted = False
                    found.append(reader.descriptor)
            except SnapshotDamaged as error:
                damaged.append((name, str(error)))
        return found, damaged

    def _all(self) -> list[str]:
        try:
            return self.directory.names()
        except OSError as error:
            raise StorageError(f"cannot list the directory: {error}") from error

    def remove(self, names: Sequence[str]) -> None:
        """Remove these, for good when it returns. Raises StorageError."""
        try:
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # somebody else has removed it: it is gone
                    self.directory.remove(name)
        except OSError as error:
            raise StorageError(f"cannot remove {names[0]}: {error}") from error
        if names:
            check_done(self.directory.py_sync(), "the sync of the directory", names[0])
