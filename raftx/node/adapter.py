"""Serves storages and transports written in Python: threads that hold the GIL on the engine's behalf.

The engine sees the same hand-overs as with the built-in ones. One thread each, so that a slow sync
does not hold up heartbeats.
"""

from __future__ import annotations

import logging
from typing import Any

from .._native.layout import RECORD_KIND
from .._native.outbox import snapshot_from
from .._native.threads import Event
from ..report import report
from ..storage.in_use import by_node
from ..storage.writes import DiskGauges, WriteQueue
from ..transport.link import QueueLink
from ..transport.protocol import ASK_PROVEN, ASK_REACH, ASK_RENEW, Transport
from ..types import ENTRY_SNAPSHOT, HardState
from .channels import CommandQueue

WRITE_FAILED = 1


class StorageAdapter:
    """Writes what the engine hands over; whatever came during a sync is the next batch."""

    def __init__(self, storage: Any, writes: WriteQueue, gauges: DiskGauges, engine_event: Event) -> None:
        self.storage = storage
        self.writes = writes
        self.gauges = gauges
        self.engine_event = engine_event
        self.error: BaseException | None = None

    def run(self) -> None:
        """Rounds, until the engine says stop or the storage fails."""
        while self.round():
            self.rest()

    def round(self) -> bool:
        """Write what the engine has handed over; False when it says stop, or the storage fails.

        After a failure nothing is acknowledged any more.
        """
        # Asked first: what is taken then are the last writes.
        ended = self.writes.py_is_ended()
        rows = self.writes.py_take()
        if rows:
            number, term, vote, commit, in_doubt = self.writes.py_write(rows - 1)
            try:
                by_node(self._write, HardState(term, vote, commit, in_doubt))
            except BaseException as error:  # whatever it is, nobody knows what is on disk
                self.error = error
                self.gauges.error = WRITE_FAILED
                self.engine_event.py_wake()
                return False
            self.gauges.syncs += 1
            self.gauges.done = number
            self.engine_event.py_wake()
        return not ended

    def _write(self, hard_state: HardState) -> None:
        pieces = self._begin_behind(self.writes.taken.pieces())
        self.storage.append(hard_state, pieces)
        self.storage.sync()

    def _begin_behind(self, pieces: list[Any]) -> list[Any]:
        """Begin the log anew where one of them says so, and return what is behind it: what came before is void."""
        for number in reversed(range(len(pieces))):
            if memoryview(pieces[number])[RECORD_KIND] == ENTRY_SNAPSHOT:
                snapshot = snapshot_from(bytes(pieces[number]))
                self.storage.begin_behind(snapshot.index, snapshot.term, snapshot.conf_state)
                return pieces[number + 1 :]
        return pieces

    def rest(self) -> None:
        """Sleep until the engine has handed something over."""
        if self.idle_for():
            self.writes.event.py_wait(-1)

    def idle_for(self) -> int:
        """-1 when there is nothing to write, once the sleep is announced; else 0."""
        event = self.writes.event
        event.py_prepare()
        if self.writes.py_waiting() or self.writes.py_is_ended():
            event.py_cancel()
            return 0
        return -1


class TransportAdapter:
    """Sends the frames that the engine queues, and tells it which of them were dropped.

    What else the engine asks for (a new connection, say) goes to transports that have the method for it.
    """

    def __init__(self, transport: Transport, link: QueueLink, commands: CommandQueue) -> None:
        self.transport = transport
        self.link = link
        self.commands = commands
        self.stopping = False
        self.asks = {
            ASK_RENEW: getattr(transport, "renew", None),
            ASK_PROVEN: getattr(transport, "proven", None),
            ASK_REACH: getattr(transport, "reach", None),
        }
        attach = getattr(transport, "attach", None)
        if attach is not None:
            attach(link.deliver, commands.connected)

    def stop(self) -> None:
        """End ``run``. Any thread."""
        self.stopping = True
        self.link.outgoing.event.py_wake()

    def run(self) -> None:
        """Rounds, until it is stopped."""
        while self.round():
            self.rest()

    def round(self) -> bool:
        """Send what the engine has queued; False when it is to stop."""
        if self.stopping:
            return False
        outgoing = self.link.outgoing
        rows = outgoing.py_take()
        pieces = iter(outgoing.taken.pieces())
        for row in range(rows):
            to, ask = outgoing.py_to(row), outgoing.py_ask(row)
            if ask in self.asks:
                self.ask(ask, to)
                continue
            try:
                sent = bool(self.transport.send(to, bytes(next(pieces))))
            except BaseException as error:  # a frame may be lost, the thread may not
                report(logging.ERROR, "the transport failed to send to %d", to, error=error)
                sent = False
            if not sent:
                self.commands.unreachable(to)
        return True

    def rest(self) -> None:
        """Sleep until the engine has queued something."""
        if self.idle_for():
            self.link.outgoing.event.py_wait(-1)

    def idle_for(self) -> int:
        """-1 when there is nothing to send, once the sleep is announced; else 0."""
        event = self.link.outgoing.event
        event.py_prepare()
        if self.link.outgoing.py_waiting() or self.stopping:
            event.py_cancel()
            return 0
        return -1

    def ask(self, ask: int, what: int) -> None:
        """Something that is not a frame."""
        method = self.asks[ask]
        try:
            if method is not None:
                method(what)
        except BaseException as error:
            report(logging.ERROR, "the transport failed", error=error)
