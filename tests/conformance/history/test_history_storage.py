"""Regression tests for what went wrong in other Raft implementations, 1 to 14: persistence. See HISTORY.md."""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_SNAP,
    MSG_VOTE,
    MSG_VOTE_RESP,
)
from tests.helpers.async_member import AsyncMember
from tests.helpers.cluster import Machine
from tests.helpers.core_net import Member, Network, only
from tests.helpers.implementations import IMPLEMENTATIONS, module, structures
from tests.helpers.meetings import befriend
from tests.helpers.power import Platter, PowerCut
from tests.helpers.storages import founded
from tests.helpers.waiting import WAIT, eventually
from tests.helpers.wal import CLUSTER, SMALL, contents, opened, records

# --- what is durable, and what is said about it --------------------------------------------------


def test_an_answer_about_replaced_entries_makes_none_durable(impl: ModuleType) -> None:
    """History 1: entries that replaced those being written were taken to be written, within one term."""
    member = AsyncMember(impl)
    member.append([1, 1, 1], term=2)
    member.append([2, 2], 1, 1, term=2, commit=3)
    assert len(member.writes) == 2 and member.core.log.last == 3
    # The first write had entry 3 of term 1; the log has one of term 2, which the second write has.
    member.written()
    assert member.core.stable == 0 and member.applies == []
    member.written()
    assert member.core.stable == 3
    # The same with advance().
    other = Member(impl)
    other.node.step(impl.Message(MSG_APP, sender=2, term=2, entries=[impl.Entry(n, 1, b"") for n in (1, 2, 3)]))
    other.node.ready()
    replacing = [impl.Entry(n, 2, b"") for n in (2, 3)]
    other.node.step(impl.Message(MSG_APP, sender=2, term=2, index=1, log_term=1, entries=replacing))
    other.node.advance()
    assert other.stable <= 1
    assert [(e.index, e.term) for e in other.node.ready().entries] == [(2, 2), (3, 2)]


def test_an_own_acknowledgement_of_an_earlier_leadership_is_not_counted(impl: ModuleType) -> None:
    """History 3: a leader's answer to itself, late, counted for entries that it had appended since then."""
    member = AsyncMember(impl)
    member.lead()
    for _ in range(3):
        member.node.propose(b"old")
    member.work()
    (own,) = [m for write in member.writes for m in write.responses if m.kind == MSG_APP_RESP and m.index == 4]
    # Another leader replaces all of it; then 1 leads again, with something new in the same places.
    member.append([2], 0, 0, term=2, sender=3)
    member.writes.clear()
    member.node.campaign()
    member.work()
    member.step(MSG_VOTE_RESP, 2)
    member.step(MSG_VOTE_RESP, 3)
    assert member.core.role == LEADER and member.core.log.last == 2
    for _ in range(2):
        member.node.propose(b"new")
    member.work()
    member.step(MSG_APP_RESP, 2, index=4)
    member.node.step(own)
    # Only one disk is known to have it.
    assert member.core.committed == 0 and member.node.status()["progress"][1]["match"] < 4


def test_an_own_vote_of_an_earlier_campaign_is_not_counted(impl: ModuleType) -> None:
    """History 3: ... and a candidate's vote for itself, late, counted in its next campaign."""
    member = AsyncMember(impl)
    for _ in range(2):
        member.node.campaign()
        member.work()
    member.step(MSG_VOTE_RESP, 2)
    # Its term 1 is on disk, its vote in term 2 is not.
    member.written()
    assert (member.core.role, member.core.term) == (CANDIDATE, 2)
    member.written()
    assert member.core.role == LEADER


@pytest.mark.once
def test_writes_of_three_leaders_are_not_mistaken_for_each_other() -> None:
    """History 2: an answer about the first of three writes in flight counts for the third, which looks the same.

    The engine's own functions; they cannot be called from Python where they are compiled.
    """
    impl = IMPLEMENTATIONS["pure"]
    core = AsyncMember(impl).core
    driver = module(impl, "consensus.driver").Driver(core)
    spans = structures(impl).Spans()

    def append(leader: int, term: int, index: int, *terms: int) -> None:
        entries = [impl.Entry(index + n, each, b"%d" % each) for n, each in enumerate(terms, 1)]
        core.step(impl.Message(MSG_APP, sender=leader, term=term, index=index, log_term=index, entries=entries))

    for number, (leader, term, index, terms) in enumerate(
        [(2, 1, 0, (1, 1, 1)), (3, 2, 1, (2, 2)), (2, 3, 1, (1, 1))], 1
    ):
        append(leader, term, index, *terms)
        assert driver.next_write(spans, True)
        assert driver.number == number
    assert core.log.py_term(3) == 1
    for number, stable in ((1, 0), (2, 0), (3, 3)):
        # On disk are now 1 1 1, then 1 2 2, then 1 1 1 again.
        driver.write_done(number)
        assert core.stable == stable


# Everything that happens while 1 asks 2 for its vote, up to the vote's arrival; 3 hears nothing of it.
ELECTION = [("campaign", 1), ("sync", 1), ("deliver", 0), ("sync", 2), ("deliver", 0), ("sync", 1)]


def power_cut_while_voting(impl: ModuleType, victim: int, steps: int, kept: int, **errors: bool) -> Any:
    """``victim`` loses power after so many steps; then 3 campaigns in the same term."""
    simulation = module(impl, "testing.simulator").Simulation(
        pre_vote=False, check_quorum=False, election_ticks=10, **errors
    )
    simulation.cut = {(1, 3), (3, 1)}
    for action, argument in ELECTION[:steps]:
        if action != "deliver" or simulation.network:
            getattr(simulation, action)(argument)
    simulation.crash(victim, min(kept, len(simulation.members[victim].writes)))
    simulation.restart(victim)
    simulation.campaign(3)
    for _ in range(10):
        for id in simulation.members:
            simulation.sync(id)
        while simulation.network:
            simulation.deliver()
    return simulation


@pytest.mark.parametrize("victim", [1, 2])
def test_a_power_cut_at_any_point_of_an_election_makes_no_second_vote(impl: ModuleType, victim: int) -> None:
    """History 4: a vote or term that was not on disk when it was sent is given again after a crash."""
    leaders = set()
    for steps in range(len(ELECTION) + 1):
        for kept in range(3):
            # The checker raises at a second vote, and at a second leader of one term.
            simulation = power_cut_while_voting(impl, victim, steps, kept)
            leaders |= set(simulation.checker.leaders.items())
    assert {term for term, _ in leaders} == {1}
    # Both outcomes were among them.
    assert {id for _, id in leaders} >= {3} and (victim == 1 or {id for _, id in leaders} == {1, 3})


def test_a_disk_that_answers_too_early_makes_a_second_vote(impl: ModuleType) -> None:
    """History 4: the same schedules show it when disks answer before they have written."""
    violation = module(impl, "testing.invariants").Violation
    with pytest.raises(violation):
        for steps in range(len(ELECTION) + 1):
            power_cut_while_voting(impl, 2, steps, 0, early_answers=True)


class Gate:
    """A MemoryStorage whose syncs wait while the gate is closed."""

    def __init__(self, impl: ModuleType, voters: list[int]) -> None:
        self.inner = impl.MemoryStorage(voters=voters)
        self.open_gate = threading.Event()
        self.open_gate.set()
        self.syncing = threading.Event()
        self.open, self.append, self.close = self.inner.open, self.inner.append, self.inner.close

    def sync(self) -> None:
        self.syncing.set()
        assert self.open_gate.wait(WAIT)
        self.inner.sync()


def test_one_node_does_not_apply_or_acknowledge_before_its_disk_has_it(impl: ModuleType) -> None:
    """History 5: a single node acknowledged what was committed but not yet in its log on disk."""
    storage, machine = Gate(impl, [1]), Machine()
    config = impl.Config(id=1, tick_ms=5, election_ticks=1000, seed=1)
    with impl.Node(config, storage, impl.MemoryNetwork().transport(), machine) as node:
        node.campaign()
        eventually(lambda: node.is_leader)
        node.propose(b"first").result(timeout=WAIT)
        storage.syncing.clear()
        storage.open_gate.clear()
        future = node.propose(b"second")
        assert storage.syncing.wait(WAIT)
        # The engine goes on; it has every chance to be wrong.
        ticks = node.status().ticks
        eventually(lambda: node.status().ticks > ticks + 3)
        assert not future.done() and machine.commands == [b"first"]
        assert node.status().stable == node.commit_index == 2 and node.status().last == 3
        storage.open_gate.set()
        assert future.result(timeout=WAIT).index == 3
    assert machine.commands == [b"first", b"second"]


def test_what_is_not_durable_here_is_not_applied_in_any_role(impl: ModuleType) -> None:
    """History 6: a limit that let a leader apply what it had not persisted was kept after it stepped down."""
    member = AsyncMember(impl)
    member.lead()
    member.written(9)
    member.step(MSG_APP_RESP, 2, index=1)
    member.was_applied(9)
    assert member.core.applied == 1
    member.node.propose(b"x")
    member.work()
    # The others have it, this disk has not.
    member.step(MSG_APP_RESP, 2, index=2)
    member.step(MSG_APP_RESP, 3, index=2)
    assert member.core.committed == 2 and member.applies == []
    member.step(MSG_HEARTBEAT, 3, term=2, commit=2)
    assert member.core.role == FOLLOWER and member.core.stable == 1
    assert member.applies == []
    member.written(9)
    assert [[e.index for e in m.entries] for m in member.applies] == [[2]]


# --- partial loss --------------------------------------------------------------------------------


def snapshot_at(impl: ModuleType, index: int, term: int) -> Any:
    return impl.Snapshot(index, term, impl.ConfState(voters=(1, 2, 3)), b"state")


def test_a_snapshot_on_disk_without_its_hard_state_is_enough_to_go_on(impl: ModuleType) -> None:
    """History 7: a crash between storing a snapshot and storing the hard state left a log that did not start."""
    for hard in [(0, 0, 0), (2, 3, 1), (4, 0, 9)]:
        node = impl.RawNode(
            impl.Config(id=1, seed=1), hard_state=impl.HardState(*hard), snapshot=snapshot_at(impl, 9, 4)
        )
        status = node.status()
        assert (status["commit"], status["applied"], status["first"], status["last"]) == (9, 9, 10, 9)
        node.step(impl.Message(MSG_APP, sender=2, term=5, index=9, log_term=4, entries=[impl.Entry(10, 5, b"x")]))
        (answer,) = only(node.ready().messages, MSG_APP_RESP)
        assert not answer.reject and answer.index == 10


def test_a_hard_state_without_its_snapshot_is_refused(impl: ModuleType) -> None:
    """History 7: the other order must be seen, not started from."""
    with pytest.raises(impl.Corruption, match="the commit index 9 is beyond the last index 1"):
        Member(impl, terms=[1], hard=(4, 0, 9))


def test_a_snapshot_is_acknowledged_and_applied_when_it_is_durable(impl: ModuleType) -> None:
    """History 7: what came with a snapshot was used before the snapshot was stored."""
    member = AsyncMember(impl)
    snapshot = snapshot_at(impl, 9, 4)
    assert member.step(MSG_SNAP, 2, term=4, snapshot=snapshot) == []
    assert member.append([4, 4], 9, 4, commit=11) == []
    assert member.core.applied == 0 and member.applies == []
    # It can neither campaign nor apply on what it may lose.
    member.node.campaign()
    assert member.work() == [] and member.core.role == FOLLOWER
    (answer,) = member.written()
    assert (answer.kind, answer.index) == (MSG_APP_RESP, 9)
    assert member.core.applied == 9 and member.applies == []
    member.written()
    assert [[e.index for e in m.entries] for m in member.applies] == [[10, 11]]


def test_a_log_on_disk_that_ends_before_its_commit_index_is_refused(impl: ModuleType, tmp_path: Path) -> None:
    """History 8: a commit index beyond the log, left by a partial loss, crashed or blocked the node for ever."""
    storage, _ = opened(impl, tmp_path / "n")
    spans = structures(impl).Spans()
    spans.py_push(records(impl, 1, [(1, b"a"), (1, b"b")]))
    assert storage.wal.py_write(module(impl, "storage.wal_format").KIND_ENTRIES, 1, 0, 5, spans, 0) == 0
    storage.close()
    with pytest.raises(impl.WalDamaged, match="commit index lies beyond the log"):
        opened(impl, tmp_path / "n")


def test_a_member_that_lost_the_end_of_its_log_is_brought_into_line(impl: ModuleType) -> None:
    """History 8: ... and when the commit index is lost with it, a new leader sends again what is missing."""
    network = Network(impl, 3)
    network.campaign(1)
    for data in (b"a", b"b", b"c"):
        network.propose(1, data)
    lost = network[2]
    lost.disk, lost.hard = lost.disk[:2], impl.HardState(1, 1, 2)
    lost.start()
    # The leader that has its acknowledgement tells it to commit what it does not have: that is said aloud.
    with pytest.raises(impl.Corruption, match="was the log cut"):
        network.tick(1)
    network.queue.clear()
    lost.start()
    network.campaign(3)
    assert network.roles() == "FFL" and network.agree() and lost.data == [b"a", b"b", b"c"]


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize("power", [True, False], ids=["power", "process"])
def test_a_cache_that_is_lost_takes_nothing_acknowledged_with_it(
    memory_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    power: bool,
) -> None:
    """History 11: what was written but not synced was counted as kept; and what an open finds in the cache as well.

    Every operation of files is interrupted once: by a power cut, which loses any sectors that were not synced, or by
    the end of the process, which loses none until the power fails after the next open. In the interpreted package,
    whose files can be watched; the algorithm is the same.
    """
    impl = IMPLEMENTATIONS["pure"]
    for operations in range(1, 78):
        draw = random.Random(operations)
        before, after = memory_path / f"{operations}-before", memory_path / f"{operations}-after"
        before.mkdir()
        acknowledged = 0
        with monkeypatch.context() as patch:
            platter = Platter(patch, impl, [before], operations)
            storage = None
            try:
                storage = founded(impl, before, members=[1, 2, 3], segment_bytes=SMALL, cluster=CLUSTER)
                storage.open(1, CLUSTER)
                for index in range(1, 40):
                    storage.append(impl.HardState(index, 0, 0), [records(impl, index, [(index, bytes(7000))])])
                    storage.sync()
                    acknowledged = index
                    # What threads do beside it while a node runs.
                    if draw.random() < 0.2:
                        storage.wal.py_settle()
                    if draw.random() < 0.3 and not storage.wal.reserve.py_state():
                        storage.wal.reserve.create(storage.wal.segment + 1)
                        storage.wal.reserve.made(storage.wal.reserve.make_durable())
            except PowerCut:
                pass
            finally:
                if storage is not None:
                    storage.close()
            assert acknowledged < 39
            found = None
            if not power:
                platter.left, platter.off = -1, False
                storage, loaded = opened(impl, before)
                found = contents(impl, loaded)
                storage.close()
        platter.survive(before, after, draw, draw.choice([0.0, 0.3, 0.7, 1.0]) if power else 0.0)
        storage, loaded = opened(impl, after)
        kept = contents(impl, loaded)
        storage.close()
        assert [entry[0] for entry in kept] == list(range(1, len(kept) + 1))
        assert acknowledged <= len(kept) <= acknowledged + 1
        assert not kept or loaded.hard_state.term == len(kept)
        assert not loaded.hard_state.in_doubt
        # What an open returned is what somebody may have been told since.
        assert found is None or kept == found
        shutil.rmtree(before)
        shutil.rmtree(after)


class Unreadable:
    """A storage that fails while what it holds is read."""

    def __init__(self, impl: ModuleType) -> None:
        self.impl = impl
        self.closed = False
        self.used = False

    def open(self, id: int, cluster: bytes) -> Any:
        def pieces() -> Any:
            yield records(self.impl, 1, [(1, b"a")])
            raise OSError(errno.EIO, "Input/output error")

        return self.impl.Loaded(self.impl.HardState(1, 1, 1), self.impl.ConfState(voters=(1,)), 2, pieces())

    def append(self, hard_state: Any, pieces: Any) -> None:
        self.used = True

    def sync(self) -> None:
        self.used = True

    def close(self) -> None:
        self.closed = True


def test_a_storage_that_cannot_be_read_starts_no_node(impl: ModuleType) -> None:
    """History 12: a read that failed gave a log with a hole, from which a leader sent a malformed append."""
    storage = Unreadable(impl)
    node = impl.Node(impl.Config(id=1), storage, impl.MemoryNetwork().transport())
    with pytest.raises(OSError, match="Input/output"):
        node.start()
    assert isinstance(node.failure, OSError) and storage.closed and not storage.used
    node.close()


def test_a_log_that_becomes_shorter_while_it_is_read_is_damage(impl: ModuleType, tmp_path: Path) -> None:
    """History 12: ... the same with files."""
    storage, _ = opened(impl, tmp_path / "n")
    storage.append(impl.HardState(1, 0, 0), [records(impl, 1, [(1, bytes(9000))])])
    storage.sync()
    storage.close()
    storage, loaded = opened(impl, tmp_path / "n")
    os.truncate(tmp_path / "n" / "wal-0000000000000001.log", 3 * 4096)
    with pytest.raises(impl.WalDamaged, match="shorter"):
        contents(impl, loaded)
    storage.close()


def test_a_full_disk_ends_the_node_and_with_room_it_goes_on_without_loss(impl: ModuleType, tmp_path: Path) -> None:
    """History 13: after a full disk a member could only be started again with an empty directory."""
    acknowledged = []

    def life(full: bool) -> list[bytes]:
        storage = founded(impl, tmp_path / "n", members=[1], segment_bytes=SMALL)
        machine = Machine()
        with impl.Node(
            impl.Config(id=1, tick_ms=10, seed=1), storage, impl.MemoryNetwork().transport(), machine
        ) as node:
            eventually(lambda: node.is_leader)
            for number in range(5):
                data = b"%d of %d" % (number, len(acknowledged))
                node.propose(data).result(timeout=WAIT)
                acknowledged.append(data)
            if full:
                storage.wal.file.fail_errno = errno.ENOSPC
                storage.wal.file.fail_after = 0
                with pytest.raises(impl.Unknown):
                    node.propose(b"no room").result(timeout=WAIT)
                with pytest.raises(impl.StorageFailed, match="No space left"):
                    node.wait(WAIT)
        return machine.commands

    life(True)
    life(True)
    # What was not acknowledged may be there or not: its write failed before anything of it was written.
    assert [data for data in life(False) if data != b"no room"] == acknowledged
    assert len(acknowledged) == 15


def test_frames_that_arrive_while_and_after_a_node_closes_reach_no_storage(impl: ModuleType) -> None:
    """History 14: the transport still called in when the store was closed already."""
    calls: list[str] = []
    deliver: list[Any] = []
    codec = structures(impl).Codec(impl.Config(id=2).cluster, 2, 1)
    entries = [impl.Entry(1, 1, b"late")]
    frame = codec.encode(1, [impl.Message(MSG_APP, term=1, entries=entries), impl.Message(MSG_VOTE, term=7)])

    class Transport:
        max_frame_bytes = 1 << 30

        def start(self, id: int, give: Any) -> None:
            deliver.append(give)

        def send(self, to: int, frame: bytes) -> bool:
            return True

        def close(self) -> None:
            calls.append("transport")
            deliver[0](frame)

    class Storage(Gate):
        def __init__(self) -> None:
            super().__init__(impl, [1, 2, 3])
            inner = self.inner

            def append(hard_state: Any, pieces: Any) -> None:
                calls.append("append")
                inner.append(hard_state, pieces)

            def close() -> None:
                calls.append("close")
                for _ in range(50):
                    deliver[0](frame)
                inner.close()

            self.append, self.close = append, close

    node = impl.Node(impl.Config(id=1, tick_ms=5, election_ticks=1000, seed=1), Storage(), Transport()).start()
    befriend(impl, node, deliver[0], (2, 3))
    deliver[0](frame)
    eventually(lambda: "append" in calls)
    for _ in range(50):
        deliver[0](frame)
    node.close()
    deliver[0](frame)
    assert node.failure is None
    # Nothing leaves or enters once the engine is gone, in this order.
    assert calls[-2:] == ["transport", "close"] and "transport" not in calls[:-2]
    assert calls.count("close") == 1
