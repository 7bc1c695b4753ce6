"""Regression tests for what went wrong in other Raft implementations, 15 to 22: matching logs. See HISTORY.md."""

from __future__ import annotations

import random
from types import ModuleType

import pytest

from raftx.types import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT_RESP,
    MSG_SNAP,
    MSG_VOTE_RESP,
    PROBE,
    REPLICATE,
    SNAPSHOT,
)
from tests.helpers.core_net import FullMember, Member, Network, leader, only


def test_appends_in_any_order_and_any_number_of_times_leave_the_longest_log(impl: ModuleType) -> None:
    """History 15: a delayed or repeated append cut off entries behind it that matched."""
    draw = random.Random(15)
    # Every piece of one leader's log, as appends of different lengths.
    whole = [1, 1, 2, 2, 2, 3, 3]
    pieces = [(low, high) for low in range(7) for high in range(low, 8)]
    for _ in range(30):
        member = Member(impl, hard=(3, 0, 0))
        draw.shuffle(pieces)
        longest = 0
        for low, high in [(0, 0), *pieces, *pieces[:10]]:
            (answer,) = member.append(whole[low:high], low, whole[low - 1] if low else 0)
            longest = longest if answer.reject else max(longest, high)
            assert member.terms == whole[:longest]
        assert longest == 7


def test_an_append_behind_compacted_entries_is_no_conflict(impl: ModuleType) -> None:
    """History 16: a previous entry that was compacted counted as a mismatch, and committed entries were deleted."""
    member = FullMember(impl, terms=[1, 1, 1, 2, 2], hard=(2, 0, 4))
    member.take()
    member.save()
    assert (member.log.first, member.log.last, member.committed) == (5, 5, 4)
    disk = list(member.disk)
    for index, log_term in ((0, 0), (1, 1), (2, 1), (3, 1)):
        (answer,) = member.append([1, 1, 1, 2, 2][index:], index, log_term)
        # The committed index is what it says instead: the leader goes on from there.
        assert (answer.reject, answer.index) == (False, 4)
    assert member.terms == [2] and member.disk == disk
    # The entry before the first one is still known by its term.
    (answer,) = member.append([3], 4, 2, term=3)
    assert not answer.reject and member.terms == [3]
    (answer,) = member.append([3, 3], 4, 1, term=3)
    assert answer.reject and member.terms == [3]


def test_figure_eight_of_the_paper(impl: ModuleType) -> None:
    """History 18: an entry of an earlier term was committed because a majority had it, and was replaced afterwards."""
    # (c) of the figure: 1 leads again in term 4, its entry of term 2 is on a majority.
    network = Network(
        impl, 5, logs={1: [1, 2], 2: [1, 2], 3: [1], 4: [1], 5: [1, 3]}, hards={1: (3, 0, 1), 5: (3, 5, 1)}
    )
    network.isolate(5)
    network.loses = lambda m: m.kind == MSG_APP and any(e.term == 4 for e in m.entries)
    network.campaign(1)
    assert network.roles()[0] == "L" and network[1].term == 4
    network.loses = lambda m: False
    one = network[1]
    network.queue.clear()
    # Only the old entries are acknowledged.
    for id in (2, 3):
        one.step(MSG_APP_RESP, id, index=2)
    assert one.progress(2)["match"] == one.progress(3)["match"] == 2
    assert one.committed == 1 and [e.index for e in one.applied] == [1]
    # (d): 5 may still replace it everywhere; (e) is what an entry of term 4 on a majority makes safe.
    one.step(MSG_APP_RESP, 2, index=3)
    one.step(MSG_APP_RESP, 3, index=3)
    assert one.committed == 3


def test_an_acknowledgement_of_an_earlier_term_is_not_counted(impl: ModuleType) -> None:
    """History 19: an answer that was late, to an earlier term, raised what a follower was said to have."""
    member = Member(impl, terms=[1, 1, 1])
    member.lead_with(2)
    # What 3 had acknowledged in term 1 may have been replaced since.
    before = member.progress(3)
    assert member.step(MSG_APP_RESP, 3, term=1, index=3) == []
    assert member.progress(3) == before and member.committed == 0
    member.step(MSG_APP_RESP, 2, term=1, index=4)
    assert member.committed == 0
    # The same answers in this term.
    member.step(MSG_APP_RESP, 2, index=4)
    assert member.committed == 4


@pytest.mark.parametrize("kind", [MSG_HEARTBEAT_RESP, MSG_VOTE_RESP])
def test_an_answer_to_something_else_is_no_acknowledgement(impl: ModuleType, kind: int) -> None:
    """History 19: ... or one that answered another kind of message."""
    member = leader(impl, 2)
    member.propose()
    member.step(kind, 3, index=2)
    assert member.progress(3)["match"] == 0 and member.committed == 1


def test_late_refusals_never_take_next_back_to_match(impl: ModuleType) -> None:
    """History 20: refusals that came after acknowledgements set the next index at or below the matching one."""
    member = leader(impl, 2, 3)
    for _ in range(3):
        member.propose()
    member.acknowledge(2, 3)
    # The order on the wire was: append 1, append 2, refusal of 2, its repetition; they are heard in another.
    for rejected, hint in ((2, 0), (3, 1), (1, 0), (0, 0)):
        member.step(MSG_APP_RESP, 2, index=rejected, hint=hint, log_term=1, reject=True)
        progress = member.progress(2)
        assert progress["match"] == 3 and progress["next"] > 3 and progress["state"] == REPLICATE
    # One that may be true sends back to what is known, and no further.
    (again,) = member.step(MSG_APP_RESP, 2, index=4, hint=0, reject=True)
    assert (again.kind, again.index, len(again.entries)) == (MSG_APP, 3, 1)
    assert member.progress(2)["state"] == PROBE
    assert member.step(MSG_APP_RESP, 2, index=3, hint=0, reject=True)[0].index == 3


def test_reordered_answers_bring_a_log_into_line(impl: ModuleType) -> None:
    """History 20: ... so that replication stood still. Answers here come in any order, some twice."""
    for seed in range(20):
        draw = random.Random(seed)
        logs = {1: [1, 1, 2, 2, 3], 2: [1, 1, 1, 1, 1, 1], 3: [1, 1, 2, 2, 3]}
        network = Network(impl, 3, logs=logs, hards=dict.fromkeys((1, 2, 3), (3, 0, 0)), max_message_bytes=0)
        network.loses = lambda m: m.to == 2
        network.campaign(1)
        network.loses = lambda m: False
        for _ in range(3):
            network.propose(1)
        for _ in range(40):
            network[1].node.tick()
            network.collect()
            draw.shuffle(network.queue)
            for message in list(network.queue[: draw.randrange(3)]):
                network.queue.append(message.copy())
            for _ in range(draw.randrange(6)):
                if network.queue:
                    message = network.queue.pop(0)
                    network[message.to].receive(message)
                    network.collect()
                progress = network[1].progress(2)
                assert progress["match"] < progress["next"]
        network.deliver()
        network.tick(1, 3)
        assert network.agree() and len(network[1].data) == 8


def test_a_divergent_tail_costs_a_round_a_term(impl: ModuleType) -> None:
    """History 21: a long tail of another leader was gone through entry by entry."""
    ours = [1] * 10 + [5] * 300
    theirs = [1] * 10 + [2] * 100 + [3] * 100 + [4] * 100
    network = Network(impl, 3, logs={1: ours, 2: theirs, 3: ours}, hards=dict.fromkeys((1, 2, 3), (5, 0, 0)))
    network.loses = lambda m: m.to == 2 and m.term < 6
    network.campaign(1)
    refusals = [m for m in only(network.sent, MSG_APP_RESP, 1) if m.reject]
    assert network.agree() and 1 <= len(refusals) <= 3


# --- compaction while something is on its way ------------------------------------------------------


def compacted(impl: ModuleType, count: int = 3) -> Network:
    """1 leads; 3 was away while ``count`` entries were committed and compacted."""
    network = Network(impl, 3, member=FullMember)
    network.campaign(1)
    network.isolate(3)
    for number in range(count):
        network.propose(1, b"%d" % number)
    network[1].save()
    return network


def test_a_follower_behind_a_compaction_gets_the_snapshot(impl: ModuleType) -> None:
    """History 22: a follower that was slow while the log was compacted was never brought into line."""
    network = compacted(impl)
    network.heal()
    network.tick(1)
    assert len(only(network.sent, MSG_SNAP, 3)) == 1
    assert network[3].data == [b"0", b"1", b"2"]
    assert network[1].progress(3)["state"] == REPLICATE and network[3].committed == 4
    network.propose(1, b"3")
    assert [m.data for m in network.members.values()] == [[b"0", b"1", b"2", b"3"]] * 3


def test_an_append_on_its_way_outlives_the_compaction_of_its_entries(impl: ModuleType) -> None:
    """History 22: entries were compacted away under an append that was not sent yet."""
    member = FullMember(impl)
    member.lead_with(2)
    member.acknowledge(2)
    member.acknowledge(3)
    for number in range(3):
        member.node.propose(b"%d" % number)
    # Sent by the core, but not taken by whoever drives it.
    waiting = member.node.core.messages
    assert len(waiting) == 6
    ready = member.node.ready()
    member.store(ready)
    member.node.advance()
    for id in (2, 3):
        member.step(MSG_APP_RESP, id, index=4)
    member.node.propose(b"late")
    member.save()
    assert member.log.first == 5
    appends = only(member.take(), MSG_APP)
    assert {(m.index, m.log_term, m.entries[0].data) for m in appends} == {(4, 1, b"late")}
    assert [m.entries[0].data for m in only(ready.messages, MSG_APP, 3)] == [b"0", b"1", b"2"]


def test_a_refusal_from_before_a_compaction_leads_to_a_snapshot(impl: ModuleType) -> None:
    """History 22: the place a late refusal pointed to was compacted meanwhile."""
    network = compacted(impl)
    one = network[1]
    (snapshot,) = one.step(MSG_APP_RESP, 3, index=3, hint=1, log_term=1, reject=True)
    assert (snapshot.kind, snapshot.snapshot.index) == (MSG_SNAP, 4)
    # More answers to what was sent before the snapshot change nothing.
    for index in (3, 2, 1):
        assert one.step(MSG_APP_RESP, 3, index=index, hint=0, reject=True) == []
    assert one.progress(3)["state"] == SNAPSHOT
    # The log went on and was compacted again while it was on its way: what 3 has now is not enough.
    network.propose(1, b"3")
    one.save()
    assert one.step(MSG_APP_RESP, 3, index=4) == []
    assert (one.progress(3)["match"], one.progress(3)["state"]) == (4, SNAPSHOT)
    one.node.report_snapshot(3, True)
    (snapshot,) = one.step(MSG_HEARTBEAT_RESP, 3)
    assert (snapshot.kind, snapshot.snapshot.index) == (MSG_SNAP, 5)
    one.step(MSG_APP_RESP, 3, index=5)
    assert one.progress(3)["state"] == REPLICATE


def test_nothing_is_compacted_that_the_snapshot_does_not_hold(impl: ModuleType) -> None:
    """History 22: ... or before there was a snapshot to send instead."""
    member = FullMember(impl, terms=[1, 1, 1], hard=(1, 0, 3))
    member.take()
    with pytest.raises(impl.UsageError, match=r"0\.\.0"):
        member.node.compact(3)
    member.save()
    assert member.log.first == 4 and member.log.py_term(3) == 1
    member.node.compact(2)
    assert member.log.first == 4
