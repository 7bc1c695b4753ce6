"""Where a proposal enters: a sequence number, a future, a place in the queue. Any thread, also a signal handler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn, TypeAlias

from .._native.layout import PROPOSAL_OVERHEAD
from .._native.threads import ProposalQueue
from ..errors import EntryTooLarge, NotDone, Stopped, UsageError
from ..types import ENTRY_NORMAL
from .futures import Future
from .outcomes import Outcomes

FULL = "too many proposals wait for the engine"
NEVER = ": propose fewer at once"

Data: TypeAlias = "bytes | bytearray | memoryview"


class Proposer:
    """Hands proposals to the engine and registers their futures."""

    def __init__(
        self, proposals: ProposalQueue, outcomes: Outcomes, max_entry_bytes: int, max_waiting_bytes: int, max_open: int
    ) -> None:
        self.proposals = proposals
        self.outcomes = outcomes
        self.max_entry_bytes = max_entry_bytes
        self.max_waiting_bytes = max_waiting_bytes
        self.max_open = max_open

    def propose(self, data: Data, kind: int = ENTRY_NORMAL) -> Future:
        """One proposal; see Node.propose. kind: of its entry."""
        size = len(data) if type(data) is bytes else size_of(data)
        if size > self.max_entry_bytes:
            self.refuse_size(size)
        future = Future()
        if len(self.outcomes.pending) >= self.max_open:
            future.settle_error(NotDone(self.too_many()))
            return future
        future._owner = self.outcomes
        sequence = self.proposals.propose(data, kind)
        if sequence > 0:
            self.outcomes.register(sequence, future)
            return future
        if sequence < 0:
            self.refuse_stopped()
        future.settle_error(NotDone(FULL))
        return future

    def propose_many(self, datas: Iterable[Data]) -> Future:
        """Several proposals behind one future; see Node.propose_many."""
        if isinstance(datas, (str, bytes, bytearray, memoryview)) or not isinstance(datas, Iterable):
            self.refuse_datas(datas)
        datas = list(datas)
        total = 0
        for data in datas:
            size = len(data) if type(data) is bytes else size_of(data)
            if size > self.max_entry_bytes:
                self.refuse_size(size)
            total += size + PROPOSAL_OVERHEAD
        count = len(datas)
        future = Future()
        if count == 0:
            future.settle_plain([])
            return future
        if len(self.outcomes.pending) + count > self.max_open:
            future.settle_error(NotDone(self.too_many() + (NEVER if count > self.max_open else "")))
            return future
        future._owner = self.outcomes
        first, taken = self.proposals.propose_many(datas)
        if first < 0:
            self.refuse_stopped()
        if taken == 0:
            future.settle_error(NotDone(self.no_room(count, total)))
        else:
            self.outcomes.register_many(first, count, future)
        return future

    def refuse_size(self, size: int) -> NoReturn:
        raise EntryTooLarge(
            f"data of {size} bytes exceed max_entry_bytes={self.max_entry_bytes}: split them, or raise "
            "Config.max_entry_bytes on every member"
        )

    def refuse_datas(self, datas: object) -> NoReturn:
        raise TypeError(
            f"datas must be several commands, such as a list of bytes, not {type(datas).__name__}: a single command "
            "goes to propose"
        )

    def refuse_stopped(self) -> NoReturn:
        raise Stopped("the node does not run any more")

    def no_room(self, count: int, total: int) -> str:
        if total <= self.max_waiting_bytes:
            return FULL
        return f"{count} proposals of {total} bytes exceed max_waiting_bytes={self.max_waiting_bytes}{NEVER}"

    def too_many(self) -> str:
        return f"too many proposals are open: max_open_proposals={self.max_open}"


def size_of(data: Data) -> int:
    """Bytes, whatever the items of a memoryview are. Raises TypeError, UsageError."""
    if isinstance(data, memoryview):
        try:
            return data.nbytes
        except ValueError as error:
            raise UsageError("data must be a memoryview that has not been released, or bytes") from error
    if isinstance(data, (bytes, bytearray)):
        return len(data)
    raise TypeError(f"data must be bytes, bytearray or memoryview, not {type(data).__name__}")
