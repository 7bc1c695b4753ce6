"""Frames between an engine and a transport that is written in Python: what is to be sent, and what has come."""

from __future__ import annotations

from .._native.memory import Spans
from .._native.threads import Handoff

FRAMES = 16384  # rows that may wait in either direction; bytes have a limit of their own (link.py)


class OutgoingQueue(Handoff):
    """Frames for members, in spans, one a row; and between them what else is asked of the transport, without a span."""

    def put_frame(self, spans: Spans, to: int) -> int:
        """A frame for a member; 0, or 1 when the queue is full."""
        return self.put(spans, to, 0, 0, 0, 0, 0, 0, 0)

    def put_ask(self, spans: Spans, ask: int, what: int) -> int:
        """ASK_... (protocol.py), about a member or a source. ``spans`` is empty. 0, or 1 as above."""
        return self.put(spans, what, ask, 0, 0, 0, 0, 0, 0)

    def py_to(self, row: int) -> int:
        """For whom the frame is, or what is asked about. Raises IndexError."""
        return self.py_at(row, 0)

    def py_ask(self, row: int) -> int:
        """0 for a frame, or ASK_... (protocol.py). Raises IndexError."""
        return self.py_at(row, 1)


class IncomingQueue(Handoff):
    """Frames that have come, in spans, one a row."""

    def source(self, row: int) -> int:
        """The number of the connection over which it came, 0 when the transport does not say."""
        return self.at(row, 0)

    def member(self, row: int) -> int:
        """Whose connection that is, 0 when nothing vouches for it."""
        return self.at(row, 1)

    def py_put_frame(self, spans: Spans, source: int, member: int = 0) -> bool:
        """A frame has come; False when the queue is full."""
        return self.py_put(spans, source, member)
