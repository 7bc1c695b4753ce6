"""Where a proposal enters: a sequence number, a future, a place in the queue. Any thread, also a signal handler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn, TypeAlias

from .._native.layout import KIND_BARRIER, PROPOSAL_OVERHEAD
from .._native.threads import ProposalQueue
from ..errors import Busy, EntryTooLarge, NotDone, Stopped, UsageError
from ..types import ENTRY_NORMAL, NUMBER_MAX
from .channels import ApplyGauges, Gauges
from .futures import Future
from .outcomes import Outcomes, reason_of

FULL = "too many proposals wait for the engine"
NEVER = ": propose fewer at once"

Data: TypeAlias = "bytes | bytearray | memoryview"


class Proposer:
    """Hands proposals to the engine and registers their futures."""

    def __init__(
        self,
        proposals: ProposalQueue,
        outcomes: Outcomes,
        max_entry_bytes: int,
        max_waiting_bytes: int,
        max_open: int,
        max_uncommitted_bytes: int = 0,
    ) -> None:
        self.proposals = proposals
        self.outcomes = outcomes
        self.max_entry_bytes = max_entry_bytes
        self.max_waiting_bytes = max_waiting_bytes
        self.max_open = max_open
        #: bytes that proposals with deadlines of their own may have, wherever their attempts are
        self.max_patient_bytes = min(max_waiting_bytes + max_uncommitted_bytes, NUMBER_MAX)
        #: how far the state machine is behind, and of how much of that, in milliseconds, no proposal is made
        self.gauges: Gauges | None = None
        self.apply_gauges: ApplyGauges | None = None
        self.patience_ms = 0

    def propose(self, data: Data, kind: int = ENTRY_NORMAL) -> Future[Any]:
        """One proposal; see Node.propose. kind: of its entry."""
        if type(data) is not bytes:
            data = self.bytes_of(data)
        elif len(data) > self.max_entry_bytes:
            self.refuse_size(len(data))
        return self.put(data, kind)

    def barrier(self) -> Future[Any]:
        """An entry that has nothing for state machines; see Node.barrier."""
        return self.put(b"", KIND_BARRIER)

    def put(self, data: Data, kind: int) -> Future[Any]:
        """Hand one over and register its future."""
        future: Future[Any] = Future()
        if self.outcomes.proposals() >= self.max_open:
            future.settle_error(Busy(self.too_many()))
            return future
        if self.lag_ms() > self.patience_ms:
            future.settle_error(Busy(self.too_far_behind()))
            return future
        future._owner = self.outcomes
        sequence = self.proposals.propose(data, kind)
        if sequence > 0:
            self.outcomes.register(sequence, future)
            return future
        if sequence < 0:
            self.refuse_stopped()
        future.settle_error(Busy(FULL))
        return future

    def propose_many(self, datas: Iterable[Data]) -> Future[Any]:
        """Several proposals behind one future; see Node.propose_many."""
        datas = check_datas(datas)
        self.fix_all(datas)
        total = self.total_of(datas)
        count = len(datas)
        future: Future[Any] = Future()
        if count == 0:
            future.settle_plain([])
            return future
        if self.outcomes.proposals() + count > self.max_open:
            if count > self.max_open:
                most = f"a call may have at most max_open_proposals={self.max_open}"
                future.settle_error(NotDone(f"{count} proposals are too many: {most}{NEVER}"))
            else:
                future.settle_error(Busy(self.too_many()))
            return future
        if self.lag_ms() > self.patience_ms:
            future.settle_error(Busy(self.too_far_behind()))
            return future
        future._owner = self.outcomes
        first, taken = self.proposals.propose_many(datas)
        if first < 0:
            self.refuse_stopped()
        if taken == 0:
            future.settle_error(self.no_room(count, total))
        else:
            self.outcomes.register_many(first, count, future)
        return future

    def bytes_of(self, data: Data) -> bytes:
        """A command as bytes, which nobody changes any more. Raises EntryTooLarge, TypeError, UsageError."""
        # Before it is copied, in case it is huge; and behind that, since others may have made it longer meanwhile.
        size = size_of(data)
        if size > self.max_entry_bytes:
            self.refuse_size(size)
        fixed = bytes(data)
        if len(fixed) > self.max_entry_bytes:
            self.refuse_size(len(fixed))
        return fixed

    def fix_all(self, datas: list[Data]) -> int:
        """Several commands, likewise, in their places."""
        for at in range(len(datas)):
            data = datas[at]
            if type(data) is not bytes or len(data) > self.max_entry_bytes:
                datas[at] = self.bytes_of(data)
        return 0

    def total_of(self, datas: list[Data]) -> int:
        """Bytes that they take together in the queue."""
        total = 0
        for data in datas:
            total += len(data)
        return total + len(datas) * PROPOSAL_OVERHEAD

    def refuse_size(self, size: int) -> NoReturn:
        raise EntryTooLarge(
            f"data of {size} bytes exceed max_entry_bytes={self.max_entry_bytes}: split them, or raise "
            "Config.max_entry_bytes on every member"
        )

    def refuse_stopped(self) -> NoReturn:
        cause = self.outcomes.cause
        error = Stopped("the node does not run any more" if cause is None else reason_of(cause))
        error.__cause__ = cause
        raise error

    def no_room(self, count: int, total: int) -> NotDone:
        if total <= self.max_waiting_bytes:
            return Busy(FULL)
        return NotDone(f"{count} proposals of {total} bytes exceed max_waiting_bytes={self.max_waiting_bytes}{NEVER}")

    def behind(self) -> int:
        """Entries that are committed and not applied here."""
        if self.gauges is None or self.apply_gauges is None or self.gauges.commit <= self.apply_gauges.index:
            return 0
        return self.gauges.commit - self.apply_gauges.index

    def lag_ms(self) -> int:
        """Until what is committed is applied here, as estimated at the last tick; 0: all of it has been since."""
        if self.gauges is None or self.gauges.lag_ms == 0 or self.behind() == 0:
            return 0
        return self.gauges.lag_ms

    def too_far_behind(self) -> str:
        behind, lag = self.behind(), self.lag_ms()
        return f"the state machine of this member is behind: {behind} entries to apply, which may take {lag} ms"

    def too_many(self) -> str:
        return f"too many proposals are open: max_open_proposals={self.max_open}"


def check_datas(datas: Iterable[Data]) -> list[Data]:
    """Several commands. Raises TypeError, and UsageError, for what are none."""
    if type(datas) is not list and (
        isinstance(datas, (str, bytes, bytearray, memoryview)) or not isinstance(datas, Iterable)
    ):
        raise TypeError(
            f"datas must be several commands, such as a list of bytes, not {type(datas).__name__}: a single command "
            "goes to propose"
        )
    datas = list(datas)
    for number, data in enumerate(datas):
        if type(data) is not bytes:
            size_of(data, f"datas[{number}]")
    return datas


def size_of(data: Data, field: str = "data") -> int:
    """Bytes, whatever the items of a memoryview are. Raises TypeError, UsageError."""
    if isinstance(data, memoryview):
        try:
            return data.nbytes
        except ValueError as error:
            raise UsageError(f"{field} must be a memoryview that has not been released, or bytes") from error
    if isinstance(data, (bytes, bytearray)):
        return len(data)
    raise TypeError(f"{field} must be bytes, bytearray or memoryview, not {type(data).__name__}")
