"""SP's framing, as NNG has it over TCP and IPC, in plain Python: the definition of what ``sp.pyx`` does faster.

Used where nothing is compiled, and with ``RAFTX_PURE=1``; both change in one commit. No sockets and no Raft: who has a
stream feeds what came of it, in whatever pieces. A message stands behind its length in 8 bytes, big-endian; over IPC
there is a byte 01 before that. A length is held against a limit before anything is allocated, and no more is allocated
than twice what has come of a frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from ..errors import TransportError
from .threads import _number, _typed

if TYPE_CHECKING:
    from .memory import Spans

#: of a socket that sends, and of one that receives
PUSH_GREETING = b"\0SP\0\0\x50\0\0"
PULL_GREETING = b"\0SP\0\0\x51\0\0"

SP_GREETING = len(PUSH_GREETING)
SP_MORE, SP_FRAME, SP_WRONG = 0, 1, -1
LENGTH = 8
MARK = 1  # what stands before a length, over IPC
LARGE_PART = 4  # of a limit: a larger frame is a large one
KEEP = 16 << 10  # bytes of a buffer that is kept for the next frame


class Inflow:
    """Bytes of a stream in, frames out."""

    def __init__(self, ipc: bool) -> None:
        self.ipc = ipc
        self.head = bytearray()
        self.in_body = False
        self.need = 0
        #: of a frame, what came in earlier reads
        self.kept = bytearray()
        self.fresh = memoryview(b"")
        self.data: bytes | bytearray | memoryview = b""
        self.size = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """What has come. It stays where it is until ``next`` has said that there is no more in it."""
        self.fresh = memoryview(data)

    def next(self, limit: int) -> int:
        """Make the next frame the present one (``data``, ``size``) until the next call: SP_FRAME, or why not."""
        if not self.in_body:
            whole = LENGTH + (1 if self.ipc else 0)
            size = min(whole - len(self.head), len(self.fresh))
            self.head += self.fresh[:size]
            self.fresh = self.fresh[size:]
            if self.ipc and self.head and self.head[0] != MARK:
                return SP_WRONG
            if len(self.head) < whole:
                return SP_MORE
            self.need = int.from_bytes(self.head[-LENGTH:], "big")
            if self.need > limit:
                return SP_WRONG
            self.head = bytearray()
            self.in_body = True
        if not self.kept and len(self.fresh) >= self.need:
            self.data = self.fresh[: self.need]
            self.fresh = self.fresh[self.need :]
        else:
            size = min(self.need - len(self.kept), len(self.fresh))
            self.kept += self.fresh[:size]
            self.fresh = self.fresh[size:]
            if len(self.kept) < self.need:
                return SP_MORE
            self.data, self.kept = self.kept, bytearray()
        self.size = self.need
        self.in_body = False
        return SP_FRAME

    def clear(self) -> None:
        """Forget what has come."""
        self.__init__(self.ipc)  # type: ignore[misc]


class Outflow:
    """Frames in, bytes of a stream out."""

    def __init__(self, ipc: bool) -> None:
        self.ipc = ipc
        self.data = bytearray()
        self.start = 0
        self.place = bytearray()
        self.head = b""
        #: what is sent from where it lies, in the order of their places: the bytes of ``data`` behind which each comes,
        #: and what is left of it, never nothing. Invariant: each is held until its last byte has been taken, or its
        #: connection has ended; so are those of the frame that is reserved
        self.pieces: list[tuple[int, memoryview]] = []
        self.made: list[tuple[int, memoryview]] = []
        self.referred = 0  # bytes of them

    def waiting(self) -> int:
        """Bytes that are to be sent."""
        return len(self.data) - self.start + self.referred

    def reserve(self, size: int, copied: int, limit: int) -> bytearray | None:
        """The memory for a frame behind all others, or for ``copied`` bytes of it if the others are referred to.

        None when more than ``limit`` bytes would wait. One frame alone may always wait, and a large one behind as much
        as the limit.
        """
        self.made = []
        head = (b"\1" if self.ipc else b"") + size.to_bytes(LENGTH, "big")
        waiting = self.waiting()
        whole = len(head) + size
        if waiting and waiting + whole > limit and (whole <= limit // LARGE_PART or waiting > limit):
            return None
        self.head = head
        self.place = bytearray(copied)
        return self.place

    def refer(self, at: int, spans: Spans) -> None:
        """Behind ``at`` of the reserved bytes come these spans, which are taken over: they are not copied."""
        place = len(self.data) + len(self.head) + at
        self.made += [(place, memoryview(span.data)[: span.size]) for span in spans.items if span.size]
        spans.clear()

    def commit(self) -> bool:
        """The reserved frame is written: it is to be sent."""
        self.data += self.head
        self.data += self.place
        self.place = bytearray()
        self.pieces += self.made
        self.referred += sum([len(data) for _, data in self.made])
        self.made = []
        return True

    def gather(self, most: int) -> list[bytes | memoryview]:
        """What is to be sent, as far as so many parts tell it."""
        parts: list[bytes | memoryview] = []
        at = self.start
        for place, data in [*self.pieces[:most], (len(self.data), memoryview(b""))]:
            if at < place:
                parts.append(bytes(memoryview(self.data)[at:place]))
                at = place
            if data:
                parts.append(data)
        return parts[:most]

    def sent(self, size: int) -> None:
        """So much of it has been sent, which may end anywhere."""
        while size:
            place = self.pieces[0][0] if self.pieces else len(self.data)
            if self.start < place:
                step = min(size, place - self.start)
                self.start += step
            else:
                rest = self.pieces[0][1]
                step = min(size, len(rest))
                self.pieces[0] = (place, rest[step:])
                self.referred -= step
                if step == len(rest):
                    del self.pieces[0]
            size -= step
        if self.start == len(self.data) and not self.pieces:
            self.data, self.start = bytearray(), 0
        elif self.start >= len(self.data) // 2:
            # Moved when that frees half, so that what waits is not moved again and again.
            del self.data[: self.start]
            self.pieces = [(place - self.start, data) for place, data in self.pieces]
            self.start = 0

    def clear(self) -> None:
        """Nothing of it is sent any more."""
        self.__init__(self.ipc)  # type: ignore[misc]


@final
class SpReader:
    """Takes a stream apart. ``limit``: bytes that a frame may have. For one thread."""

    __slots__ = ("failed", "limit", "state")

    def __init__(self, limit: int, ipc: bool = False) -> None:
        self.limit = _number(limit)
        self.state = Inflow(bool(ipc))
        self.failed = False

    def feed(self, data: bytes) -> list[bytes]:
        """What came next; the frames that are whole now. Raises TransportError for what is not SP, or too long."""
        if self.failed:
            raise TransportError("the stream has failed before")
        self.state.feed(_typed(bytes, data))
        found = []
        code = self.state.next(self.limit)
        while code == SP_FRAME:
            found.append(bytes(self.state.data))
            code = self.state.next(self.limit)
        if code != SP_MORE:
            self.failed = True
            raise TransportError("what came is no SP message, or one that is too long")
        return found

    def room(self) -> int:
        """Bytes that are held for a frame of which not all has come."""
        return len(self.state.kept)


@final
class SpWriter:
    """Makes a stream. ``limit``: bytes that may wait to be sent, unless it is one frame. For one thread."""

    __slots__ = ("limit", "state")

    def __init__(self, limit: int, ipc: bool = False) -> None:
        self.limit = _number(limit)
        self.state = Outflow(bool(ipc))

    def put(self, frame: bytes, spans: Spans | None = None, at: int = 0) -> bool:
        """Let a frame wait; False when there is no room for it. Raises ValueError.

        With ``spans``, which are empty afterwards, they are part of the frame behind ``at`` bytes of it, from where
        they lie.
        """
        size = len(_typed(bytes, frame))
        if _number(at) > size:
            raise ValueError("at must be in the frame")
        place = self.state.reserve(size + (spans.size if spans is not None else 0), size, self.limit)
        if place is None:
            return False
        place[:] = frame
        if spans is not None:
            self.state.refer(at, spans)
        return self.state.commit()

    def waiting(self) -> bytes:
        """What is to be sent."""
        return b"".join(self.state.gather(len(self.state.pieces) * 2 + 1))

    def sent(self, size: int) -> None:
        """So much of it has been sent. Raises ValueError for more than there is."""
        if _number(size) > self.state.waiting():
            raise ValueError("so much was not waiting")
        self.state.sent(size)

    def room(self) -> int:
        """Bytes that the buffer holds."""
        return len(self.state.data)
