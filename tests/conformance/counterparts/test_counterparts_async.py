"""Asynchronous storage writes, write by write: counterparts of raft-rs's tests of asynchronous Readys.

What raft-rs marks as persisted by a Ready's number is here the answer to a write (``Slow.written``), and what it holds
back until then are the responses of that write. Its Readys and its light Readys are one thing here. Without threads,
clocks, disks or sockets.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MSG_APP,
    MSG_APP_RESP,
    MSG_SNAP,
    MSG_STORAGE_APPLY_RESP,
    MSG_VOTE,
    MSG_VOTE_RESP,
    REPLICATE,
)
from tests.helpers.core_drive import Slow
from tests.helpers.core_net import SETTINGS, only
from tests.helpers.implementations import module

HEADER = 32


class Late(Slow):
    """A Slow member whose disk holds a snapshot and nothing else."""

    def __init__(self, impl: ModuleType, voters: tuple[int, ...], index: int = 1, term: int = 1) -> None:
        super().__init__(impl, voters=voters)
        self.voters = voters
        self.node = impl.RawNode(
            impl.Config(id=1, **SETTINGS),
            hard_state=impl.HardState(term, 0, index),
            snapshot=impl.Snapshot(index, term, impl.ConfState(voters=voters)),
            async_storage_writes=True,
        )
        self.core = self.node.core

    @property
    def last(self) -> Any:
        """The newest Ready."""
        return self.readys[-1]

    def under_way(self) -> list[list[int]]:
        """Indexes of the batches that the state machine has not answered."""
        return [[entry.index for entry in m.entries] for m in self.applies]

    def snapshot(self, index: int, term: int) -> Any:
        """A leader's snapshot arrives; no Ready is taken. Returns it."""
        snapshot = self.impl.Snapshot(index, term, self.impl.ConfState(voters=self.voters), b"state")
        self.node.step(self.impl.Message(MSG_SNAP, to=1, sender=2, term=term, snapshot=snapshot))
        return snapshot

    def check(self, hard: tuple[int, int, int] | None, entries: list[int], committed: list[int], sync: bool) -> None:
        """What the newest Ready holds: the hard state, and the indexes of both kinds of entries."""
        ready = self.last
        assert ready.hard_state == (None if hard is None else self.impl.HardState(*hard))
        assert [entry.index for entry in ready.entries] == entries
        assert [entry.index for entry in ready.committed_entries] == committed
        assert (ready.must_sync, ready.read_states) == (sync, [])


def indices(first: int, last: int) -> list[int]:
    return list(range(first, last + 1))


def peers(messages: list[Any]) -> list[Any]:
    """What is for other members."""
    return [m for m in messages if m.to not in (1, LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD)]


@pytest.mark.parametrize("counts", [(1, 2, 3, 4, 5, 6, 7, 8, 9), (10, 1, 10, 1, 1, 7, 3, 10, 2)])
def test_raw_node_with_async_apply(impl: ModuleType, counts: tuple[int, ...]) -> None:
    """However far the state machine is, each committed entry is handed to it once, right after its write."""
    slow = Late(impl, (1,))
    slow.lead()
    slow.settle()
    last = slow.core.log.last
    data = b"hello world!"
    for count in counts:
        for _ in range(count):
            slow.node.propose(data)
        slow.work()
        slow.check(None, indices(last + 1, last + count), [], True)
        slow.applies.clear()  # nobody answers these
        slow.written()
        assert slow.core.committed == last + count
        assert slow.under_way() == [indices(last + 1, last + count)]
        slow.check((2, 1, last + count), [], indices(last + 1, last + count), False)
        slow.written()  # of the commit index
        # The state machine has done the first entry of the batch and says so.
        slow.node.step(
            impl.Message(
                MSG_STORAGE_APPLY_RESP,
                to=1,
                sender=LOCAL_APPLY_THREAD,
                index=last + 1,
                hint=HEADER + len(data),
                context=1,
            )
        )
        assert slow.core.applied == last + 1
        assert not slow.node.has_ready()
        last += count


def test_raw_node_entries_after_snapshot(impl: ModuleType) -> None:
    """A snapshot and entries behind it are written together; what is committed of them is applied after that."""
    slow = Late(impl, (1, 2))
    slow.append([2] * 18, 1, 1, term=2, commit=5)
    assert slow.last.soft_state == (2, FOLLOWER)
    slow.check((2, 0, 5), indices(2, 19), [], True)
    assert [(m.kind, m.index) for m in peers(slow.writes[0].responses)] == [(MSG_APP_RESP, 19)]
    assert [(m.kind, m.index) for m in slow.written()] == [(MSG_APP_RESP, 19)]
    slow.check(None, [], indices(2, 5), False)
    slow.done()

    snapshot = slow.snapshot(10, 3)
    slow.append([3] * 3, 10, 3, term=3, commit=12)
    slow.check((3, 0, 12), indices(11, 13), [], True)
    assert (slow.last.soft_state, slow.last.snapshot) == (None, snapshot)
    (write,) = slow.writes
    assert (write.snapshot, len(write.entries)) == (snapshot, 3)
    assert [(m.kind, m.index) for m in peers(write.responses)] == [(MSG_APP_RESP, 10), (MSG_APP_RESP, 13)]
    assert slow.under_way() == []
    assert [m.kind for m in slow.written()] == [MSG_APP_RESP, MSG_APP_RESP]
    slow.check(None, [], indices(11, 12), False)
    assert (slow.core.applied, slow.under_way()) == (10, [[11, 12]])


def test_raw_node_overwrite_entries(impl: ModuleType) -> None:
    """A new leader replaces an entry that was durable: only what is durable of its own log is applied."""
    slow = Late(impl, (1, 2, 3))
    slow.append([2] * 3, 1, 1, term=2, commit=1)
    assert slow.last.soft_state == (2, FOLLOWER)
    slow.check((2, 0, 1), [2, 3, 4], [], True)
    assert [(m.kind, m.to, m.index) for m in slow.written()] == [(MSG_APP_RESP, 2, 4)]
    assert (slow.writes, slow.under_way()) == ([], [])

    slow.append([3] * 3, 3, 2, sender=3, term=3, commit=5)
    assert slow.last.soft_state == (3, FOLLOWER)
    slow.check((3, 0, 5), [4, 5, 6], [2, 3], True)
    assert [(m.kind, m.to, m.index) for m in slow.written()] == [(MSG_APP_RESP, 3, 6)]
    slow.check(None, [], [4, 5], False)
    assert [[(entry.index, entry.term) for entry in m.entries] for m in slow.applies] == [
        [(2, 2), (3, 2)],
        [(4, 3), (5, 3)],
    ]


def test_async_ready_leader(impl: ModuleType) -> None:
    """A leader sends before it has written, commits with what is durable, and applies what is durable here."""
    slow = Late(impl, (1, 2, 3))
    slow.lead(2)
    slow.written(len(slow.writes))
    assert slow.core.term == 2
    first = slow.core.log.last
    # 2 has all but the first entry of the term, and is replicated to from now on.
    slow.step(MSG_APP_RESP, 2, index=first - 1)
    assert slow.node.status()["progress"][2]["state"] == REPLICATE
    number = slow.last.number

    def propose() -> list[Any]:
        for _ in range(10):
            slow.node.propose(b"hello world!")
        return slow.work()

    for group in range(10):
        sent = propose()
        assert slow.last.number == number + group + 1
        slow.check(None, indices(first + 10 * group + 1, first + 10 * group + 10), [], True)
        assert {m.kind for m in sent} == {MSG_APP}
        assert [m.entries[-1].index for m in only(sent, MSG_APP, 2)][-1:] == [first + 10 * group + 10]
    assert len(slow.writes) == 10
    # Three writes are durable, but nobody else has answered.
    assert slow.written(3) == []
    assert not slow.node.has_ready()

    # 2 has everything: as much is committed as is durable here.
    sent = slow.step(MSG_APP_RESP, 2, index=first + 100)
    slow.check((2, 1, first + 30), [], indices(first, first + 30), False)
    assert {m.kind for m in sent} == {MSG_APP}
    # More of its own writes: each proposal acknowledges itself, so the commit index is told step by step.
    for writes, begin, end in ((4, first + 31, first + 70), (3, first + 71, first + 100)):
        sent = slow.written(writes)
        slow.check((2, 1, end), [], indices(begin, end), False)
        assert {m.kind for m in sent} == {MSG_APP}
        assert only(sent, MSG_APP, 2)[-1].commit == end
    slow.settle()

    # Both others have it before this disk has: committed, but not applied.
    first += 100
    assert {m.kind for m in propose()} == {MSG_APP}
    slow.check(None, indices(first + 1, first + 10), [], True)
    slow.node.step(impl.Message(MSG_APP_RESP, to=1, sender=2, term=2, index=first + 9))
    sent = slow.step(MSG_APP_RESP, 3, index=first + 10)
    slow.check((2, 1, first + 9), [], [], False)
    assert {(m.kind, m.commit) for m in sent} == {(MSG_APP, first + 9)}
    sent = slow.written()
    slow.check((2, 1, first + 10), [], indices(first + 1, first + 10), False)
    assert {(m.kind, m.commit) for m in sent} == {(MSG_APP, first + 10)}


def test_async_ready_follower(impl: ModuleType) -> None:
    """A follower writes append after append, and applies what is committed as its writes become durable.

    As in etcd ``must_sync`` is about hard state and entries; a snapshot is to be durable in any case.
    """
    slow = Late(impl, (1, 2))
    first = 1
    for group in range(3):
        for number in range(10):
            index = first + 3 * number
            slow.append([2] * 3, index, 1 if index == 1 else 2, term=2, commit=index + 3)
            slow.check((2, 0, index + 3), indices(index + 1, index + 3), [], True)
            assert slow.last.number == group * 12 + number + 1
            assert peers(slow.last.messages) == []
            assert [(m.kind, m.index) for m in peers(slow.writes[-1].responses)] == [(MSG_APP_RESP, index + 3)]
        assert [m.index for m in slow.written(4)] == [first + 3, first + 6, first + 9, first + 12]
        slow.check(None, [], indices(first + 1, first + 12), False)
        assert len(slow.written(6)) == 6
        slow.check(None, [], indices(first + 13, first + 30), False)
        slow.done(2)
        assert slow.core.applied == first + 30
        first += 30

    snapshot = slow.snapshot(first + 5, 2)
    slow.work()
    slow.check((2, 0, first + 5), [], [], False)
    assert slow.last.snapshot == slow.writes[-1].snapshot == snapshot
    slow.append([2] * 9, first + 5, 2, term=2, commit=first + 8)
    slow.check((2, 0, first + 8), indices(first + 6, first + 14), [], True)
    assert slow.last.snapshot is None
    assert [m.index for m in slow.written()] == [first + 5]
    assert (slow.core.stable, slow.core.applied, slow.under_way()) == (first + 5, first + 5, [])
    assert [m.index for m in slow.written()] == [first + 14]
    slow.check(None, [], indices(first + 6, first + 8), False)


def test_async_ready_become_leader(impl: ModuleType) -> None:
    """Requests for votes wait for the write of the term; the appends of a new leader wait for nothing."""
    split = module(impl, "consensus.rawnode").split
    slow = Late(impl, (1, 2, 3), 5, 5)
    for _ in range(2 * slow.core.election_timeout):
        slow.node.tick()
        if slow.core.role == CANDIDATE:
            break
    sent = slow.work()
    assert (slow.last.number, slow.last.soft_state) == (1, (0, CANDIDATE))
    slow.check((6, 1, 5), [], [], True)
    assert [(m.kind, m.to) for m in sent] == [(MSG_VOTE, 2), (MSG_VOTE, 3)]
    assert split(sent) == ([], sent)
    assert [(m.kind, m.to, m.reject) for m in slow.writes[0].responses] == [(MSG_VOTE_RESP, 1, False)]
    assert slow.written() == []

    # Two others campaign with older logs: the refusals wait for writes of their own.
    for number, other in enumerate((2, 3), 2):
        assert slow.step(MSG_VOTE, other, term=6, log_term=4, index=4) == []
        assert slow.last.number == number
        slow.check(None, [], [], False)
        assert [(m.kind, m.to, m.reject) for m in slow.writes[-1].responses] == [(MSG_VOTE_RESP, other, True)]

    sent = slow.step(MSG_VOTE_RESP, 2, term=6)
    assert (slow.last.number, slow.last.soft_state) == (4, (1, LEADER))
    slow.check(None, [6], [], True)
    assert [(m.kind, m.to) for m in sent] == [(MSG_APP, 2), (MSG_APP, 3)]
    assert split(sent) == (sent, [])
    assert [(m.kind, m.to) for m in slow.written(2)] == [(MSG_VOTE_RESP, 2), (MSG_VOTE_RESP, 3)]
    # Alone it commits nothing.
    assert slow.written() == []
    assert (slow.core.committed, slow.writes, slow.under_way()) == (5, [], [])
    assert not slow.node.has_ready()


def test_async_ready_multiple_snapshot(impl: ModuleType) -> None:
    """A second snapshot arrives before the first is durable: both are written, nothing between them is applied.

    In raft-rs the first one's entries count as persisted once more; here the second has replaced them already.
    """
    slow = Late(impl, (1, 2))
    one = slow.snapshot(10, 2)
    slow.append([2] * 3, 10, 2, term=2, commit=12)
    assert (slow.last.number, slow.last.soft_state, slow.last.snapshot) == (1, (2, FOLLOWER), one)
    slow.check((2, 0, 12), indices(11, 13), [], True)
    assert [m.index for m in peers(slow.writes[0].responses)] == [10, 13]

    two = slow.snapshot(20, 2)
    assert [(m.kind, m.index) for m in slow.written()] == [(MSG_APP_RESP, 10), (MSG_APP_RESP, 13)]
    assert (slow.core.applied, slow.core.pending_snapshot) == (10, 20)
    assert (slow.last.number, slow.last.snapshot) == (2, two)
    slow.check((2, 0, 20), [], [], False)
    assert [(m.kind, m.index) for m in slow.written()] == [(MSG_APP_RESP, 20)]
    assert (slow.core.applied, slow.core.pending_snapshot, slow.core.committed) == (20, 0, 20)
    assert (slow.writes, slow.under_way()) == ([], [])
    assert not slow.node.has_ready()
