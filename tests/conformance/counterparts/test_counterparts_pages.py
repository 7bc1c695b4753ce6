"""What is handed over in pages, and what a leader keeps uncommitted: counterparts of the ancestors' pagination tests.

The ancestors count the bytes of an encoded entry, which differ between them. raftx counts records: 32 bytes of header
and the data. So the limits here are the ancestors' and room for the headers. Without threads, clocks, disks, sockets.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import LOCAL_APPLY_THREAD, MSG_APP, MSG_HEARTBEAT, NO_LIMIT
from tests.helpers.core_drive import Slow
from tests.helpers.core_net import Member, Network, only

HEADER = 32
BLOB = b"a" * 1000


def alone(impl: ModuleType, **settings: Any) -> Member:
    """A single voter that leads; its empty entry is applied."""
    member = Member(impl, voters=(1,), **settings)
    member.lead_with()
    assert (member.committed, len(member.applied)) == (1, 1)
    return member


def indices(entries: list[Any]) -> list[int]:
    return [entry.index for entry in entries]


# --- what is not committed ------------------------------------------------------------------------


def propose_until_refused(impl: ModuleType, node: Any, data: bytes, times: int) -> int:
    """How many of these proposals are taken."""
    taken = 0
    for _ in range(times):
        try:
            node.propose(data)
        except impl.ProposalDropped:
            continue
        taken += 1
    return taken


def test_bounded_log_growth_with_partition(impl: ModuleType) -> None:
    """A leader that commits nothing takes no more than its limit; there is room again when entries are applied.

    (etcd: TestRawNodeBoundedLogGrowthWithPartition.)
    """
    data, most = b"testdata", 16
    node = alone(impl, max_uncommitted_bytes=most * len(data)).node
    assert propose_until_refused(impl, node, data, 1024) == most
    assert node.status()["uncommitted_bytes"] == most * len(data)
    assert len(node.ready().entries) == most
    node.advance()
    # Appended, but not applied.
    assert node.status()["uncommitted_bytes"] == most * len(data)
    ready = node.ready()
    assert (ready.entries, len(ready.committed_entries)) == ([], most)
    node.advance()
    assert node.status()["uncommitted_bytes"] == 0


def test_bounded_uncommitted_entries_growth_with_partition(impl: ModuleType) -> None:
    """With room for one, the second proposal is dropped until the first is done with.

    raft-rs makes room when committed entries are handed out; raftx, as etcd, when they are applied.
    """
    data = b"hello world!"
    node = alone(impl, max_uncommitted_bytes=len(data)).node
    node.propose(data)
    with pytest.raises(impl.ProposalDropped):
        node.propose(data)
    assert len(node.ready().entries) == 1
    node.advance()
    assert [entry.data for entry in node.ready().committed_entries] == [data]
    with pytest.raises(impl.ProposalDropped):
        node.propose(data)
    node.advance()
    node.propose(data)
    assert [entry.data for entry in node.ready().entries] == [data]


# --- appends --------------------------------------------------------------------------------------


def test_append_pagination(impl: ModuleType) -> None:
    """No append is larger than the limit, and what has piled up is sent in messages of more than half of it."""
    limit = 2048 + 2 * HEADER
    network = Network(impl, 3, max_message_bytes=limit)
    network.campaign(1)
    network.isolate(1)
    for _ in range(5):
        network.propose(1, BLOB)
    network.heal()
    network.tick(1)
    assert network.agree()
    assert network[2].data == network[3].data == [BLOB] * 5
    sizes = [sum([HEADER + len(entry.data) for entry in m.entries]) for m in only(network.sent, MSG_APP)]
    assert limit // 2 < max(sizes) <= limit


# --- what is applied ------------------------------------------------------------------------------


def test_commit_pagination(impl: ModuleType) -> None:
    """Three entries that are committed together are handed over in two batches when two fit."""
    node = alone(impl, max_apply_bytes=2048 + 2 * HEADER).node
    for _ in range(3):
        node.propose(BLOB)
    ready = node.ready()
    assert (len(ready.entries), ready.committed_entries) == (3, [])
    node.advance()
    pages = []
    while node.has_ready():
        pages.append(indices(node.ready().committed_entries))
        node.advance()
    assert pages == [[2, 3], [4]]


def test_commit_pagination_with_async_storage_writes(impl: ModuleType) -> None:
    """Batches under way count: the third entry waits until the first one is applied."""
    slow = Slow(impl, voters=(1,), max_apply_bytes=2048)
    slow.lead()
    slow.settle()
    assert indices(slow.applied) == [1]

    def under_way() -> list[list[int]]:
        return [indices(m.entries) for m in slow.applies]

    def propose() -> None:
        slow.node.propose(b"a" * 1024)
        slow.work()
        (write,) = slow.writes
        assert len(write.entries) == 1
        slow.written()
        # The news of the commit index are a write too, without entries.
        assert [m.entries for m in slow.writes] == [[]]
        slow.written()

    propose()
    assert under_way() == [[2]]
    propose()
    assert under_way() == [[2], [3]]
    propose()
    assert (slow.core.committed, under_way()) == (4, [[2], [3]])
    assert not slow.node.has_ready()

    slow.done()
    assert under_way() == [[3], [4]]
    slow.done(2)
    assert (indices(slow.applied), slow.core.applied, under_way()) == ([1, 2, 3, 4], 4, [])


def test_committed_entries_pagination(impl: ModuleType) -> None:
    """Nothing is handed over before it is durable; then one entry at least, and all others without a limit.

    raft-rs reads its limit anew for each Ready. raftx, as etcd, hands over no more until the batch that reached the
    limit is applied.
    """
    slow = Slow(impl)
    slow.append([1] * 8, sender=3, term=1, commit=8)
    assert (slow.core.committed, slow.applies) == (8, [])
    slow.node.set_max_apply_bytes(1)
    slow.written()
    assert [indices(m.entries) for m in slow.applies] == [[1]]
    slow.node.set_max_apply_bytes(NO_LIMIT)
    assert slow.work() == []
    slow.done()
    assert [indices(m.entries) for m in slow.applies] == [[2, 3, 4, 5, 6, 7, 8]]
    slow.done()
    assert slow.core.applied == 8
    assert not slow.node.has_ready()


def pages_after_restart(impl: ModuleType, log: Any, commit: int, size: int, slow: bool, **settings: Any) -> list[Any]:
    """What a restarted member hands over, in pages of ``size`` bytes, while it learns that 11 is committed too."""
    node = impl.RawNode(
        impl.Config(id=1, max_apply_bytes=size),
        log=log,
        hard_state=impl.HardState(1, 1, commit),
        async_storage_writes=slow,
        **settings,
    )
    pages: list[list[int]] = []
    for _ in range(4):
        ready = node.ready()
        assert ready.hard_state is None or ready.hard_state.commit >= commit
        pages.append(indices(ready.committed_entries))
        if slow:
            for m in ready.messages:
                for response in m.responses if m.to == LOCAL_APPLY_THREAD else ():
                    node.step(response)
        else:
            node.advance()
        if not pages[-1]:
            break
        node.step(impl.Message(MSG_HEARTBEAT, to=1, sender=2, term=1, commit=11))
    assert (node.core.committed, node.core.applied) == (11, 11)
    return pages


@pytest.mark.parametrize("slow", [False, True], ids=["advance", "asynchronous"])
def test_commit_pagination_after_restart(impl: ModuleType, slow: bool) -> None:
    """Of ten committed entries nine fit: the tenth comes next, none is left out, the commit index never falls.

    The ancestors had lost it because storage and core measured the limit differently; in raftx only the core measures.
    (etcd: TestRawNodeCommitPaginationAfterRestart, TestNodeCommitPaginationAfterRestart.)
    """
    log = impl._core.EntryLog()
    log.py_extend([impl.Entry(index, 1, b"a") for index in range(1, 11)] + [impl.Entry(11, 1, b"boom")])
    size = 10 * (HEADER + 1) - 1
    pages = pages_after_restart(impl, log, 10, size, slow, conf_state=impl.ConfState(voters=(1, 2)))
    assert pages == [[1, 2, 3, 4, 5, 6, 7, 8, 9], [10, 11], []]


@pytest.mark.parametrize("slow", [False, True], ids=["advance", "asynchronous"])
def test_committed_entries_pagination_after_restart(impl: ModuleType, slow: bool) -> None:
    """The same with a log behind a snapshot."""
    log = impl._core.EntryLog(2, 1)
    log.py_extend([impl.Entry(index, 1, b"test data") for index in range(2, 11)] + [impl.Entry(11, 1, b"boom")])
    size = 9 * (HEADER + len(b"test data")) - 1
    snapshot = impl.Snapshot(1, 1, impl.ConfState(voters=(1, 2, 3)))
    pages = pages_after_restart(impl, log, 10, size, slow, snapshot=snapshot)
    assert pages == [[2, 3, 4, 5, 6, 7, 8, 9], [10, 11], []]
