"""Frames of simulated nodes as bytes of a stream, through the framing of TcpTransport: split, merged, cut off.

A pipe is one connection. What is put in comes out at the other end, in pieces that are drawn: whole frames, in their
order, each once. What was on its way to or from a member that is gone is gone, too.
"""

from __future__ import annotations

import random
from collections import deque

from ..._native.memory import Spans
from ..._native.sp import SpReader, SpWriter
from ...errors import TransportError
from ..invariants import Violation

LEAN_FROM = 200  # bytes of a frame that is sent from several places


def in_parts(frame: bytes) -> tuple[bytes, Spans | None, int]:
    """What is copied of a frame, what stays where it lies, and behind how many bytes of the former it comes."""
    if len(frame) < LEAN_FROM:
        return frame, None, 0
    spans, at, middle, end = Spans(), len(frame) // 4, len(frame) // 2, len(frame) - len(frame) % 7
    spans.py_push(frame[at:middle])
    spans.py_push(frame[middle:end])
    return frame[:at] + frame[end:], spans, at


class Pipe:
    """One connection. ``limit``: bytes of a frame, and bytes that may wait."""

    def __init__(self, limit: int, ipc: bool) -> None:
        self.writer = SpWriter(limit, ipc)
        self.reader = SpReader(limit, ipc)
        self.expected: deque[bytes] = deque()

    def put(self, frame: bytes) -> bool:
        """A frame goes in; False when too much waits."""
        if not self.writer.put(*in_parts(frame)):
            return False
        self.expected.append(frame)
        return True

    def arrive(self, draw: random.Random, whole: bool) -> list[bytes]:
        """The frames that have arrived when some of the bytes have, or all. Raises Violation if they are others."""
        arrived = []
        while waiting := self.writer.waiting():
            size = (
                len(waiting) if draw.random() < 0.5 else draw.randint(1, min(len(waiting), 1 + draw.choice((8, 200))))
            )
            try:
                arrived += self.reader.feed(waiting[:size])
            except TransportError as error:
                raise Violation(f"a stream of frames cannot be read: {error}") from error
            self.writer.sent(size)
            if not whole and draw.random() < 0.2:
                break
        for frame in arrived:
            if not self.expected or self.expected.popleft() != frame:
                raise Violation(f"{len(frame)} bytes came out of a stream of frames that did not go in next")
        if not self.writer.waiting() and self.expected:
            raise Violation("all of a stream has come, and not all of its frames")
        return arrived
