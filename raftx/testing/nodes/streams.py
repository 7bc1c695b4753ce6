"""The streams of simulated nodes, their consumers, and whether what they are told is true.

Each life has the two streams that a node offers. Reads what a checker knows.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ...types import FOLLOWER, LEADER, StateChange
from ..invariants import Violation

if TYPE_CHECKING:
    from .checker import NodeChecker
    from .machines import Given

State = tuple[int, int, int]  # term, leader, role


class Changes:
    """A consumer of ``state_changes``: it is told what the node shows, each time that this has changed."""

    def __init__(self, id: int, stream: Any) -> None:
        self.id = id
        self.stream = stream
        #: the term that the life began in
        self.begun_in = 0
        #: what the node has shown and the stream has not told
        self.shown: deque[State] = deque()
        self.newest: State | None = None
        self.last: StateChange | None = None
        #: the queue to the apply thread was full once: a change may be told later, without those before it
        self.may_skip = False

    def after_round(self, engine: Any) -> None:
        """The engine has had a round."""
        core, gauges = engine.core, engine.gauges
        state = (gauges.term, gauges.leader, gauges.role)
        if not gauges.failed and state != (core.term, core.lead, core.role):
            raise Violation(f"node {self.id} shows {state}, and is {(core.term, core.lead, core.role)}")
        if self.newest is None:
            # Before it takes anything that has arrived it shows what its disk held.
            self.newest = (self.begun_in, 0, FOLLOWER)
            self.shown.append(self.newest)
        self.may_skip = engine.applies.refused != 0
        if state != self.newest:
            self.newest = state
            self.shown.append(state)

    def take(self, checker: NodeChecker) -> None:
        """Take what has been told."""
        while len(self.stream):
            change = self.stream.next(0)
            if self.stream.lost:
                raise Violation(f"the state changes of node {self.id}: {self.stream.lost} are lost")
            self._judge(change, checker)

    def all_told(self) -> None:
        """Nothing waits for the apply thread: what the node shows has been told."""
        if self.shown and not self.may_skip:
            raise Violation(f"the state changes of node {self.id} do not tell {list(self.shown)}")

    def _judge(self, change: StateChange, checker: NodeChecker) -> None:
        if self.last is not None and change.term < self.last.term:
            raise Violation(f"the state changes of node {self.id} go back from {self.last} to {change}")
        self.last = change
        if (change.role == LEADER) != (change.leader == self.id):
            raise Violation(f"the state changes of node {self.id} tell {change}: a leader knows that it leads")
        if change.leader:
            checker.led(change.leader, change.term, f"the state changes of node {self.id}")
        state = (change.term, change.leader, int(change.role))
        while self.shown:
            if self.shown.popleft() == state:
                return
            if not self.may_skip:
                break
        raise Violation(f"the state changes of node {self.id} tell {change}, which it has not shown")


class Committed:
    """A consumer of ``committed``: it is told what the state machine is given."""

    def __init__(self, id: int, stream: Any, limit: int, given: Given) -> None:
        self.id = id
        self.stream = stream
        #: how many elements may wait
        self.limit = limit
        self.given = given
        self.taken = 0

    def is_full(self) -> bool:
        """Whether the apply thread cannot go on."""
        return len(self.stream) >= self.limit

    def take(self, most: int) -> None:
        """Take so many, if they are there."""
        items = self.given.items
        for _ in range(min(most, len(self.stream))):
            entry = self.stream.next(0)
            if self.taken >= len(items) or items[self.taken] != (entry.index, entry.data):
                raise Violation(
                    f"the stream of node {self.id} tells entry {entry.index}, {entry.data!r}, as number {self.taken}: "
                    f"the state machine was given {items[self.taken : self.taken + 1]}"
                )
            self.taken += 1

    def all_told(self) -> None:
        """What the state machine was given was told, or waits in the stream, or is counted as lost at the end."""
        told = self.taken + len(self.stream) + self.stream.lost
        if told != len(self.given.items) or len(self.stream) > self.limit:
            raise Violation(
                f"the stream of node {self.id} has told {self.taken} of {len(self.given.items)} entries, and "
                f"{len(self.stream)} wait, of {self.limit} that may, and {self.stream.lost} are lost"
            )


def ends_with(stream: Any, failure: BaseException | None) -> bool:
    """Whether a stream from which everything was taken ends, and with this failure if there is one."""
    try:
        stream.next(0)
    except StopIteration:
        return failure is None
    except TimeoutError:
        return False
    except BaseException as error:
        return error is failure
    return False
