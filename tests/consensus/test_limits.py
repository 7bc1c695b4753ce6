"""Limits judged by a model: windows, sizes of messages, the uncommitted cap and the apply budget, at random.

The models know the rules and the messages, and nothing of the code. Every sequence comes from a seed.
"""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT_RESP,
    NO_LIMIT,
    PROBE,
    REPLICATE,
)
from tests.helpers.core_drive import Slow, led
from tests.helpers.core_net import only

HEADER = 32


def record(entry: Any) -> int:
    """Bytes of an entry's record."""
    return HEADER + len(entry.data)


class Window:
    """What may be in flight to one peer: appends, and bytes of data, that are not answered yet."""

    def __init__(self, messages: int, size: int, message_bytes: int) -> None:
        self.messages = messages
        self.size = size
        self.message_bytes = message_bytes
        self.replicating = False
        self.match = 0
        self.flying: list[tuple[int, int]] = []
        self.probing = False

    @property
    def full(self) -> bool:
        return len(self.flying) >= self.messages or sum([size for _, size in self.flying]) >= self.size

    def sent(self, m: Any) -> None:
        """An append left: was it allowed?"""
        if not m.entries:
            return
        records = [record(entry) for entry in m.entries]
        assert len(records) == 1 or sum(records) <= self.message_bytes
        if self.replicating:
            assert not self.full, "sent more than the window holds"
            self.flying.append((m.entries[-1].index, sum([len(entry.data) for entry in m.entries])))
        else:
            assert not self.probing, "probed twice without an answer"
            self.probing = True

    def acknowledged(self, index: int) -> None:
        if index < self.match or (index == self.match and self.replicating):
            return
        self.match = index
        if not self.replicating:
            self.replicating, self.probing, self.flying = True, False, []
        self.flying = [each for each in self.flying if each[0] > index]

    def refused(self, index: int) -> None:
        if self.replicating and index > self.match:
            self.lost()
        elif not self.replicating:
            self.probing = False

    def lost(self) -> None:
        """All that is in flight may be gone: probe."""
        if self.replicating:
            self.replicating, self.probing, self.flying = False, False, []

    def alive(self) -> None:
        self.probing = False

    def compare(self, seen: dict[str, Any], batch: bool) -> None:
        """Does the leader see the same?"""
        assert seen["state"] == (REPLICATE if self.replicating else PROBE)
        assert seen["match"] == self.match
        assert seen["inflight_bytes"] == sum([size for _, size in self.flying])
        if batch:
            # Every addition to an append that was not sent yet counts as one of its own.
            assert {index for index, _ in self.flying} <= {index for index, _ in seen["inflight"]}
            assert len(seen["inflight"]) <= self.messages
            assert sum([size for _, size in seen["inflight"][:-1]]) < self.size
            self.flying = list(seen["inflight"])
        assert seen["inflight"] == self.flying
        assert seen["inflight_full"] == (self.replicating and self.full)


class Peer:
    """A follower reduced to how far its log is: one leader, one term, nothing to disagree about."""

    def __init__(self) -> None:
        self.last = 0

    def receive(self, m: Any) -> dict[str, Any]:
        """The answer to an append."""
        if m.index > self.last:
            return {"index": m.index, "hint": self.last, "log_term": 1 if self.last else 0, "reject": True}
        self.last = max(self.last, m.index + len(m.entries))
        return {"index": m.index + len(m.entries)}


SETTINGS = [
    {"max_inflight_messages": 1, "max_inflight_bytes": NO_LIMIT, "max_message_bytes": 200},
    {"max_inflight_messages": 4, "max_inflight_bytes": 300, "max_message_bytes": 150},
    {"max_inflight_messages": 1000, "max_inflight_bytes": 120, "max_message_bytes": 0},
    {"max_inflight_messages": 3, "max_inflight_bytes": 500, "max_message_bytes": 500},
]


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=["one", "both", "bytes", "wide"])
def test_windows_are_never_exceeded_and_recover_from_any_loss(
    impl: ModuleType, settings: dict[str, int], batch: bool
) -> None:
    for seed in range(4):
        rng = random.Random(seed)
        leader = led(impl, batch_append=batch, **settings)
        windows = {id: Window(*settings.values()) for id in (2, 3)}
        peers = {id: Peer() for id in (2, 3)}
        flying: list[Any] = []
        answers: list[tuple[int, dict[str, Any]]] = []

        def check(
            sent: list[Any], leader: Any = leader, windows: dict[int, Window] = windows, flying: list[Any] = flying
        ) -> None:
            for m in only(sent, MSG_APP):
                windows[m.to].sent(m)
                flying.append(m)
            for id, window in windows.items():
                window.compare(leader.progress(id), batch)

        def answer(id: int, fields: dict[str, Any], leader: Any = leader, windows: Any = windows) -> None:
            if fields.get("reject"):
                windows[id].refused(fields["index"])
            else:
                windows[id].acknowledged(fields["index"])
            check(leader.step(MSG_APP_RESP, id, **fields))

        # The first probes went out when it was elected.
        for id in (2, 3):
            check(leader.step(MSG_HEARTBEAT_RESP, id))
        for _ in range(250):
            action = rng.randrange(10)
            id = rng.choice((2, 3))
            if action < 3:
                for _ in range(rng.randrange(1, 4)):
                    leader.node.propose(b"x" * rng.choice((0, 1, 10, 60, 199, 400)))
                check(leader.take())
            elif action < 6 and flying:
                m = flying.pop(0 if rng.random() < 0.8 else rng.randrange(len(flying)))
                answers.append((m.to, peers[m.to].receive(m)))
            elif action < 8 and answers:
                answer(*answers.pop(0 if rng.random() < 0.8 else rng.randrange(len(answers))))
            elif action == 8:
                windows[id].alive()
                was_full = windows[id].replicating and windows[id].full
                behind = windows[id].match < leader.log.last
                sent = only(leader.step(MSG_HEARTBEAT_RESP, id), MSG_APP, id)
                if was_full and behind:
                    # Not an entry more, but something to answer.
                    assert [m.entries for m in sent] == [[]]
                check(sent)
            elif action == 9 and rng.random() < 0.3:
                windows[id].lost()
                leader.node.report_unreachable(id)
                check(leader.take())
            elif rng.random() < 0.3:
                # Everything under way is lost, and nobody says so.
                flying.clear()
                answers.clear()
        flying.clear()
        answers.clear()
        for _ in range(2000):
            if all(window.match == leader.log.last for window in windows.values()):
                break
            if flying:
                m = flying.pop(0)
                answer(m.to, peers[m.to].receive(m))
            else:
                for id in (2, 3):
                    windows[id].alive()
                    check(leader.step(MSG_HEARTBEAT_RESP, id))
        assert [peer.last for peer in peers.values()] == [leader.log.last] * 2
        assert leader.committed == leader.log.last
        assert leader.role == LEADER


@pytest.mark.parametrize("cap", [0, 1, 100, 1000])
def test_what_is_not_applied_stays_below_its_cap(impl: ModuleType, cap: int) -> None:
    for seed in range(4):
        rng = random.Random(seed)
        leader = Slow(impl, max_uncommitted_bytes=cap)
        leader.lead(2, 3)
        leader.settle()
        taken: list[tuple[int, int]] = []
        refusals = 0

        def waiting(leader: Any = leader, taken: list[tuple[int, int]] = taken) -> int:
            return sum([size for index, size in taken if index > leader.core.applied])

        for _ in range(200):
            action = rng.randrange(6)
            if action < 3:
                data = [b"x" * rng.choice((0, 1, 30, 99, 101, 400)) for _ in range(rng.choice((1, 1, 2)))]
                size = sum([len(each) for each in data])
                before = waiting()
                last = leader.core.log.last
                fits = before == 0 or size == 0 or before + size <= cap
                if fits:
                    leader.node.propose(*data)
                    taken.append((last + len(data), size))
                else:
                    refusals += 1
                    with pytest.raises(impl.ProposalDropped):
                        leader.node.propose(*data)
                    assert leader.core.log.last == last
                leader.work()
            elif action == 3 and leader.writes:
                leader.written(1)
            elif action == 4:
                leader.step(MSG_APP_RESP, 2, index=leader.core.log.last)
            elif leader.applies:
                leader.done(1)
            assert leader.core.uncommitted_bytes == waiting()
        assert refusals > 5
        for _ in range(3):
            leader.settle()
            leader.step(MSG_APP_RESP, 2, index=leader.core.log.last)
        leader.settle()
        assert (leader.core.uncommitted_bytes, leader.core.applied) == (0, leader.core.log.last)


@pytest.mark.parametrize("budget", [1, 100, 500, NO_LIMIT])
def test_applies_under_way_stay_within_their_budget(impl: ModuleType, budget: int) -> None:
    for seed in range(4):
        rng = random.Random(seed)
        leader = Slow(impl, voters=(1,), max_apply_bytes=budget)
        leader.lead()
        outstanding: list[int] = []
        handed = 0

        def check(
            fresh: list[Any], outstanding: list[int] = outstanding, leader: Any = leader, limit: int = budget
        ) -> list[int]:
            indexes = []
            for m in fresh:
                assert sum(outstanding) < limit, "handed over although the budget was spent"
                sizes = [record(entry) for entry in m.entries]
                assert len(sizes) == 1 or sum(outstanding) + sum(sizes) <= limit
                outstanding.append(sum(sizes))
                indexes += [entry.index for entry in m.entries]
            assert leader.core.applying_bytes == sum(outstanding)
            return indexes

        def drive(action: Any, outstanding: list[int] = outstanding, leader: Any = leader) -> int:
            known = len(leader.applies)
            done = action()
            if done:
                outstanding.pop(0)
                known -= 1
            indexes = check(leader.applies[known:])
            return len(indexes)

        def finish(leader: Any = leader) -> bool:
            if leader.applies:
                leader.done(1)
                return True
            return False

        def write(leader: Any = leader) -> bool:
            if leader.writes:
                leader.written(1)
            return False

        def propose(leader: Any = leader, rng: random.Random = rng) -> bool:
            for _ in range(rng.randrange(1, 4)):
                leader.node.propose(b"x" * rng.choice((0, 10, 60, 300)))
            leader.work()
            return False

        check(leader.applies)
        handed += sum([len(m.entries) for m in leader.applies])
        for _ in range(200):
            handed += drive(rng.choice((propose, write, write, finish, finish)))
        for _ in range(3000):
            if not leader.applies and not leader.writes:
                break
            handed += drive(write)
            handed += drive(finish)
        # Nothing is left over, nothing came twice, and all in order.
        assert handed == leader.core.log.last == leader.core.applied
        assert [entry.index for entry in leader.applied] == list(range(1, leader.core.log.last + 1))


def test_a_budget_counts_what_is_handed_over_in_one_ready_too(impl: ModuleType) -> None:
    leader = led(impl, voters=(1,), max_apply_bytes=3 * (HEADER + 10))
    for _ in range(10):
        leader.node.propose(b"x" * 10)
    batches = []
    while leader.node.has_ready():
        ready = leader.node.ready()
        batches.append(len(ready.committed_entries))
        leader.node.advance()
    assert [count for count in batches if count] == [3, 3, 3, 1]


def test_another_budget_holds_from_the_next_batch_on(impl: ModuleType) -> None:
    leader = Slow(impl, voters=(1,), max_apply_bytes=1)
    leader.lead()
    leader.settle()
    for _ in range(6):
        leader.node.propose(b"x")
    leader.work()
    leader.written(len(leader.writes))
    assert [len(m.entries) for m in leader.applies] == [1]
    leader.node.set_max_apply_bytes(3 * (HEADER + 1))
    leader.done()
    assert [len(m.entries) for m in leader.applies] == [3]
    leader.node.set_max_apply_bytes(NO_LIMIT)
    leader.done()
    assert [len(m.entries) for m in leader.applies] == [2]
    leader.done()
    assert leader.core.applied == 7


def test_a_new_term_starts_the_cap_anew_and_late_answers_do_not_make_room_twice(impl: ModuleType) -> None:
    leader = Slow(impl, max_uncommitted_bytes=100)
    leader.lead(2, 3)
    leader.settle()
    leader.node.propose(b"x" * 90)
    leader.work()
    leader.written(len(leader.writes))
    leader.step(MSG_APP_RESP, 2, index=2)
    assert len(leader.applies) >= 1
    leader.step(MSG_APP, 2, term=2, index=2, log_term=1, commit=2)
    leader.written(len(leader.writes))
    assert leader.core.uncommitted_bytes == 0
    leader.lead(3)
    leader.node.propose(b"y" * 90)
    assert leader.core.uncommitted_bytes == 90
    # The state machine is done with entries that were counted in an earlier term, if at all.
    leader.done(len(leader.applies))
    assert leader.core.uncommitted_bytes >= 0
    leader.work()
    leader.step(MSG_APP_RESP, 3, index=leader.core.log.last)
    leader.settle()
    assert leader.core.uncommitted_bytes == 0
    leader.node.propose(b"z" * 400)
    with pytest.raises(impl.ProposalDropped):
        leader.node.propose(b"z")


@pytest.mark.parametrize("size", [0, 1, 33, 100, NO_LIMIT])
def test_every_message_is_as_full_as_it_may_be(impl: ModuleType, size: int) -> None:
    rng = random.Random(size % 1000)
    leader = led(impl, max_message_bytes=size, max_inflight_bytes=NO_LIMIT)
    for _ in range(40):
        leader.node.propose(b"x" * rng.choice((0, 1, 20, 68, 200)))
    leader.take()
    sent = only(leader.acknowledge(2, 0), MSG_APP, 2)
    entries = [entry for m in sent for entry in m.entries]
    assert [entry.index for entry in entries] == list(range(1, 42))
    # Greedy from the front: one entry at least, and no room left for the next one.
    start = 0
    for m in sent:
        total = sum([record(entry) for entry in m.entries])
        assert len(m.entries) == 1 or total <= size
        start += len(m.entries)
        if start < len(entries):
            assert total + record(entries[start]) > size
