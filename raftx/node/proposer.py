"""Where a proposal enters: a sequence number, a future, a place in the intake. Any thread."""

from __future__ import annotations

from collections.abc import Iterable

from .._sys import Intake
from ..errors import EntryTooLarge, NotDone, Stopped, Unknown
from .apply import Applier
from .futures import Future

FULL = "too many proposals wait for the engine"


class Proposer:
    """Hands proposals to the engine and registers their futures."""

    def __init__(self, intake: Intake, applier: Applier, max_entry_bytes: int) -> None:
        self.intake = intake
        self.applier = applier
        self.max_entry_bytes = max_entry_bytes
        self.failure: BaseException | None = None

    def propose(self, data: bytes) -> Future:
        """One proposal; see Node.propose."""
        if len(data) > self.max_entry_bytes:
            raise EntryTooLarge(f"data of {len(data)} bytes exceed max_entry_bytes={self.max_entry_bytes}")
        future = Future()
        with self.applier.lock:
            sequence = self.intake.propose(data)
            if sequence > 0:
                self.applier.register(sequence, future)
                return future
        if sequence < 0:
            raise Stopped("the node does not run") from self.failure
        future.settle_error(NotDone(FULL))
        return future

    def propose_many(self, datas: Iterable[bytes]) -> Future:
        """Several proposals behind one future; see Node.propose_many."""
        datas = list(datas)
        for data in datas:
            if len(data) > self.max_entry_bytes:
                raise EntryTooLarge(f"data of {len(data)} bytes exceed max_entry_bytes={self.max_entry_bytes}")
        future = Future()
        if not datas:
            future.settle_plain([])
            return future
        with self.applier.lock:
            first, count = self.intake.propose_many(datas)
            if count == len(datas):
                self.applier.register_many(first, count, future)
                return future
        if first < 0:
            raise Stopped("the node does not run") from self.failure
        if count == 0:
            future.settle_error(NotDone(FULL))
        else:
            future.settle_error(Unknown(f"only the first {count} of {len(datas)} proposals were taken: {FULL}"))
        return future
