"""The lookout: answers how this node is when another member asks, and asks others when somebody here wants to know.

A worker of its own, so that an answer comes, or does not, whatever a state machine, a callback or a logging handler
does. Its part in the engine is looks.py. What comes from others is read as what anybody may have sent: bounded in size,
and refused with a sentence when it is no status.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .._native.memory import Entry
from .._native.threads import Clock
from ..report import report
from .channels import CommandQueue
from .looks import LookQueue
from .periodic import Periodic
from .rows import ROW_LOOK
from .status import Status

ANSWER_BYTES = 32 << 10  # of an answer, at most
FRESH_NS = 250_000_000  # an answer that is not older is not asked for again
AGAIN_NS = 300_000_000  # a question without an answer is asked again
# What an answer that would be too long does without, in this order.
SPARE = ("disagreements", "transport", "latency", "peers")


@dataclass
class Seen:
    """The last answer of a member: when it came, what it said, or why it could not be read."""

    at: int
    status: Status | None
    error: str = ""


class Lookout(Periodic):
    """One per node. status: how it is. most: bytes that an answer may have, because of the transport."""

    def __init__(
        self,
        id: int,
        commands: CommandQueue,
        queue: LookQueue,
        clock: Clock,
        status: Callable[[], Status],
        most: int = ANSWER_BYTES,
    ) -> None:
        super().__init__(-1)  # it sleeps until something arrives
        self.id = id
        self.commands = commands
        self.queue = queue
        self.event = queue.event
        self.clock = clock
        self.status = status
        self.most = min(most, ANSWER_BYTES)
        self.numbers = 0
        #: the open question to each member: its number, and when it was asked
        self.open: dict[int, tuple[int, int]] = {}
        #: the last answer of each
        self.seen: dict[int, Seen] = {}
        #: of those who ask here, signal handlers among them; held for no longer than it takes to put a row
        self._asking = threading.RLock()

    # --- any thread ----------------------------------------------------------------------------------

    def ask(self, ids: Iterable[int]) -> None:
        """Ask these members how they are, unless that is known, or was asked just now."""
        with self._asking:
            now = self.clock.py_now()
            for id in ids:
                seen, open = self.seen.get(id), self.open.get(id)
                if (seen is not None and now - seen.at < FRESH_NS) or (open is not None and now - open[1] < AGAIN_NS):
                    continue
                # An answer to an earlier question is as good, and has the same number.
                number = open[0] if open is not None else self._next()
                if self.commands.look(id, number):
                    self.open[id] = (number, now)

    def is_fresh(self, id: int, since: int) -> bool:
        """Whether this member has answered since then, or not long before."""
        seen = self.seen.get(id)
        return seen is not None and seen.at > since - FRESH_NS

    def forget(self, ids: Iterable[int]) -> None:
        """Nobody asks any more how those are who are not among these."""
        kept = set(ids)
        with self._asking:
            for known in (self.open, self.seen):
                for id in [id for id in known if id not in kept]:
                    del known[id]

    def _next(self) -> int:
        self.numbers += 1
        return self.numbers

    # --- its worker ----------------------------------------------------------------------------------

    def has_more(self) -> bool:
        """Whether a question or an answer waits."""
        return self.queue.py_waiting()

    def work(self) -> None:
        """Answer who has asked, and take answers."""
        rows = self.queue.py_take()
        records = iter(self.queue.taken.pieces())
        for row in range(rows):
            kind, member, number, life = self.queue.row(row)
            if kind == ROW_LOOK:
                self.commands.seen(member, number, life, self.answer())
                continue
            self._take(member, number, bytes(next(records)))

    def answer(self) -> bytes:
        """How this node is, as a record."""
        plain = self.status().to_dict()
        data = _encode(plain)
        for name in SPARE:
            if len(data) <= self.most:
                break
            del plain[name]
            data = _encode(plain)
        return Entry(0, 0, data if len(data) <= self.most else _encode({"id": self.id}), 0).encode()

    def _take(self, member: int, number: int, record: bytes) -> None:
        open = self.open.get(member)
        if open is None or open[0] != number:
            return  # it was answered already, or is of nobody's question
        seen = Seen(self.clock.py_now(), None)
        try:
            status = decode(record)
            if status.id != member:
                raise ValueError(f"Status.id must be {member}, not {status.id}")
            seen.status = status
        except ValueError as error:
            seen.error = f"its answer cannot be read: {error}"
            report(logging.DEBUG, "node %d: the answer of member %d cannot be read: %s", self.id, member, error)
        with self._asking:
            self.seen[member] = seen
            self.open.pop(member, None)


def _encode(plain: dict[str, object]) -> bytes:
    import json

    return json.dumps(plain, separators=(",", ":")).encode()


def decode(record: bytes) -> Status:
    """What a member's answer says. Raises ValueError."""
    import json

    (entry,) = Entry.decode_all(record)
    data = bytes(entry.data)
    if len(data) > ANSWER_BYTES:
        raise ValueError(f"it has {len(data)} bytes, and must have {ANSWER_BYTES} at most")
    try:
        return Status.from_dict(json.loads(data))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
