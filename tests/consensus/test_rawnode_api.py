"""RawNode as its callers meet it: wrong use, the contents of asynchronous writes and of status().

After every refusal the node goes on as if nothing had been asked.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL,
    FOLLOWER,
    LEADER,
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    LOCAL_KINDS,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_READ_INDEX_RESP,
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY,
    MSG_STORAGE_APPLY_RESP,
    MSG_UNREACHABLE,
    MSG_VOTE,
    MSG_VOTE_RESP,
    RESPONSE_KINDS,
)
from tests.helpers.core_drive import Full, Slow, change, conf, led
from tests.helpers.core_net import kinds, only

# --- wrong use -----------------------------------------------------------------------------------


WRONG: dict[str, tuple[str, Callable[[Any, ModuleType], Any]]] = {
    "advance without ready": ("UsageError", lambda node, impl: node.advance()),
    "unknown sender of a response": ("UnknownPeer", lambda node, impl: node.step(impl.Message(MSG_APP_RESP, sender=9))),
    "response without sender": ("UnknownPeer", lambda node, impl: node.step(impl.Message(MSG_HEARTBEAT_RESP))),
    "local message": ("StepLocalMessage", lambda node, impl: node.step(impl.Message(MSG_UNREACHABLE, sender=2))),
    "empty message of proposals": ("ProposalDropped", lambda node, impl: node.step(impl.Message(MSG_PROP, sender=2))),
    "change that is none": (
        "ConfChangeError",
        lambda node, impl: node.step(impl.Message(MSG_PROP, entries=[impl.Entry(0, 0, b"\1", ENTRY_CONF_CHANGE_V2)])),
    ),
    "entry of a kind that cannot be proposed": (
        "ConfChangeError",
        lambda node, impl: node.step(impl.Message(MSG_PROP, entries=[impl.Entry(0, 0, b"x", 7)])),
    ),
    "change that does not fit": (
        "ConfChangeError",
        lambda node, impl: node.apply_conf_change(change(impl, "r1 r2 r3")),
    ),
    "leaving what is not joint": ("ConfChangeError", lambda node, impl: node.apply_conf_change(change(impl, ""))),
    "entry that holds no change": (
        "ConfChangeError",
        lambda node, impl: node.apply_conf_change(impl.Entry(1, 1, b"\0\1", ENTRY_CONF_CHANGE_V2)),
    ),
    "snapshot asked for by a leader": ("SnapshotRequestDropped", lambda node, impl: node.request_snapshot()),
    "bootstrap of a running group": ("UsageError", lambda node, impl: node.bootstrap([1, 2, 3])),
    "bootstrap without members": ("UsageError", lambda node, impl: node.bootstrap([])),
    "snapshot of the future": (
        "UsageError",
        lambda node, impl: node.set_snapshot(impl.Snapshot(99, 1, conf(impl, (1, 2, 3)))),
    ),
    "compaction of the future": ("UsageError", lambda node, impl: node.compact(99)),
    "no timeout": ("UsageError", lambda node, impl: node.set_randomized_timeout(0)),
    "negative priority": ("UsageError", lambda node, impl: node.set_priority(-1)),
    "no budget": ("UsageError", lambda node, impl: node.set_max_apply_bytes(0)),
    "budget that is no integer": ("UsageError", lambda node, impl: node.set_max_apply_bytes(1.5)),
    "timeout that is no integer": ("UsageError", lambda node, impl: node.set_randomized_timeout(2.5)),
    "priority that is a flag": ("UsageError", lambda node, impl: node.set_priority(True)),
    "window that is none": ("UsageError", lambda node, impl: node.set_max_inflight(2, None)),
    "check-quorum that is a number": ("UsageError", lambda node, impl: node.set_check_quorum(0)),
    "batches that are none": ("UsageError", lambda node, impl: node.set_batch_append(None)),
    "skipping that is a text": ("UsageError", lambda node, impl: node.set_skip_bcast_commit("no")),
    "group commit that is a list": ("UsageError", lambda node, impl: node.enable_group_commit([])),
    "groups that are a list": ("UsageError", lambda node, impl: node.assign_commit_groups([1])),
    "a group that is a text": ("UsageError", lambda node, impl: node.assign_commit_groups({2: "1"})),
    "compaction of nothing": ("UsageError", lambda node, impl: node.compact(None)),
    "snapshot that is none": ("UsageError", lambda node, impl: node.set_snapshot(5)),
    "group of a stranger": ("UnknownPeer", lambda node, impl: node.assign_commit_groups({9: 1})),
    "window of a stranger": ("UnknownPeer", lambda node, impl: node.set_max_inflight(9, 1)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_told_and_changes_nothing(impl: ModuleType, errors: ModuleType, name: str) -> None:
    leader = led(impl, 2, 3)
    error, act = WRONG[name]
    status, timeout = leader.node.status(), leader.randomized_timeout
    with pytest.raises(getattr(errors, error)) as caught:
        act(leader.node, impl)
    assert isinstance(caught.value, impl.RaftError)
    assert str(caught.value)
    assert (leader.node.status(), leader.randomized_timeout) == (status, timeout)
    assert not leader.node.has_ready()
    leader.propose(b"goes on")
    leader.acknowledge(2)
    assert leader.data == [b"goes on"]


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda node: node.propose("text"), TypeError),
        (lambda node: node.propose(None), TypeError),
        (lambda node: node.read_index("text"), TypeError),
        (lambda node: node.transfer_leader(-1), OverflowError),
        (lambda node: node.transfer_leader("2"), TypeError),
        (lambda node: node.report_unreachable(2**64), OverflowError),
        (lambda node: node.report_snapshot("2", True), TypeError),
    ],
)
def test_arguments_that_are_no_such_thing(impl: ModuleType, act: Callable[[Any], Any], error: type[Exception]) -> None:
    leader = led(impl, 2, 3)
    status = leader.node.status()
    with pytest.raises(error):
        act(leader.node)
    assert leader.node.status() == status
    assert not leader.node.has_ready()
    leader.propose(b"goes on")
    leader.acknowledge(2)
    assert leader.data == [b"goes on"]


def test_ready_again_before_advance_leaves_the_first_one_valid(impl: ModuleType) -> None:
    member = Full(impl, voters=(1,))
    member.node.campaign()
    first = member.node.ready()
    for _ in range(2):
        with pytest.raises(impl.UsageError, match="advance"):
            member.node.ready()
    member.store(first)
    member.node.advance()
    with pytest.raises(impl.UsageError, match="ready"):
        member.node.advance()
    member.take()
    assert member.role == LEADER


def test_asynchronous_writes_have_no_advance_and_go_on(impl: ModuleType) -> None:
    member = Slow(impl, voters=(1,))
    member.node.campaign()
    with pytest.raises(impl.UsageError, match="asynchronous"):
        member.node.advance()
    member.work()
    with pytest.raises(impl.UsageError, match="asynchronous"):
        member.node.advance()
    member.settle()
    assert (member.core.role, member.core.applied) == (LEADER, 1)


@pytest.mark.parametrize("kind", sorted(LOCAL_KINDS))
@pytest.mark.parametrize("sender", [0, 1, 2])
def test_local_messages_come_from_the_node_itself(impl: ModuleType, kind: int, sender: int) -> None:
    leader = led(impl, 2, 3)
    status = leader.node.status()
    with pytest.raises(impl.StepLocalMessage):
        leader.node.step(impl.Message(kind, sender=sender, term=leader.term, index=1))
    assert leader.node.status() == status
    assert not leader.node.has_ready()


@pytest.mark.parametrize("kind", sorted(RESPONSE_KINDS - LOCAL_KINDS))
def test_responses_come_from_members(impl: ModuleType, kind: int) -> None:
    leader = led(impl, 2, 3, learners=(4,))
    status = leader.node.status()
    # Its term must not have been taken over either.
    with pytest.raises(impl.UnknownPeer):
        leader.node.step(impl.Message(kind, sender=9, term=leader.term + 5, index=1))
    assert leader.node.status() == status
    leader.node.step(impl.Message(kind, sender=4, term=leader.term, index=1))
    assert leader.role == LEADER


def test_a_refused_change_is_told_to_who_proposed_it_only_once(impl: ModuleType) -> None:
    leader = led(impl, 2)
    leader.node.propose_conf_change(change(impl, "v4"))
    for _ in range(3):
        with pytest.raises(impl.ConfChangeRefused):
            leader.node.propose_conf_change(change(impl, "v5"))
    ready = leader.node.ready()
    assert ready.refused == []
    assert [entry.kind for entry in ready.entries] == [ENTRY_CONF_CHANGE_V2] + [ENTRY_NORMAL] * 3
    leader.node.advance()


def test_a_follower_that_does_not_forward_refuses_changes_too(impl: ModuleType) -> None:
    member = Full(impl, forward_proposals=False)
    member.step(MSG_HEARTBEAT, 2, term=1)
    for act in (lambda: member.node.propose(b"x"), lambda: member.node.propose_conf_change(change(impl, "v4"))):
        with pytest.raises(impl.ProposalDropped):
            act()
        assert member.take() == []


# --- asynchronous writes: what is to be appended -------------------------------------------------


def test_a_campaign_writes_term_and_vote_and_answers_itself_afterwards(impl: ModuleType) -> None:
    member = Slow(impl, terms=[1])
    member.node.campaign()
    sent = member.work()
    assert [(m.kind, m.to) for m in sent] == [(MSG_VOTE, 2), (MSG_VOTE, 3)]
    (write,) = member.writes
    assert (write.kind, write.to, write.sender) == (MSG_STORAGE_APPEND, LOCAL_APPEND_THREAD, 1)
    assert (write.term, write.vote, write.commit, write.entries, write.snapshot) == (2, 1, 0, [], None)
    assert [(m.kind, m.to, m.sender, m.term) for m in write.responses] == [(MSG_VOTE_RESP, 1, 1, 2)]
    assert member.readys[-1].must_sync


def test_a_new_leader_writes_its_entry_and_hears_about_it_twice(impl: ModuleType) -> None:
    leader = Slow(impl)
    sent = leader.lead(2)
    assert [(m.kind, m.to, [e.index for e in m.entries]) for m in sent] == [(MSG_APP, 2, [1]), (MSG_APP, 3, [1])]
    (write,) = leader.writes
    # Term and vote are written already: a hard state that did not change is not repeated.
    assert (write.term, write.vote, write.commit) == (0, 0, 0)
    assert [entry.index for entry in write.entries] == [1]
    assert [(m.kind, m.to, m.sender, m.term, m.index, m.log_term) for m in write.responses] == [
        (MSG_APP_RESP, 1, 1, 1, 1, 0),
        (MSG_STORAGE_APPEND_RESP, 1, LOCAL_APPEND_THREAD, 1, 1, 1),
    ]


def test_a_follower_answers_its_leader_after_the_write(impl: ModuleType) -> None:
    member = Slow(impl)
    assert member.append([1, 1], term=1, commit=1) == []
    (write,) = member.writes
    assert (write.term, write.vote, write.commit) == (1, 0, 1)
    assert [(m.kind, m.to, m.index) for m in write.responses] == [
        (MSG_APP_RESP, 2, 2),
        (MSG_STORAGE_APPEND_RESP, 1, 2),
    ]
    assert not member.applies
    (answer,) = member.written()
    assert (answer.kind, answer.to, answer.index) == (MSG_APP_RESP, 2, 2)
    (apply,) = member.applies
    assert (apply.kind, apply.to, apply.sender, [e.index for e in apply.entries]) == (
        MSG_STORAGE_APPLY, LOCAL_APPLY_THREAD, 1, [1],
    )  # fmt: skip
    (done,) = apply.responses
    assert (done.kind, done.to, done.sender, done.index) == (MSG_STORAGE_APPLY_RESP, 1, LOCAL_APPLY_THREAD, 1)
    assert [e.index for e in done.entries] == [1]


def test_a_commit_alone_is_a_write_without_a_sync_and_without_an_answer(impl: ModuleType) -> None:
    member = Slow(impl)
    member.append([1], term=1)
    member.written()
    sent = member.step(MSG_HEARTBEAT, 2, commit=1)
    assert kinds(sent) == [MSG_HEARTBEAT_RESP]
    (write,) = member.writes
    assert (write.term, write.vote, write.commit, write.entries, write.responses) == (1, 0, 1, [], [])
    assert not member.readys[-1].must_sync


@pytest.mark.parametrize("reject", [False, True])
@pytest.mark.parametrize(("kind", "answer"), [(MSG_VOTE, MSG_VOTE_RESP), (MSG_PRE_VOTE, MSG_PRE_VOTE_RESP)])
def test_every_vote_goes_through_the_disk(impl: ModuleType, kind: int, answer: int, reject: bool) -> None:
    member = Slow(impl, terms=[1, 1])
    assert member.step(kind, 2, term=2, index=1 if reject else 2, log_term=1) == []
    (write,) = member.writes
    assert [(m.kind, m.to, m.reject) for m in write.responses] == [(answer, 2, reject)]
    (released,) = member.written()
    assert (released.kind, released.reject) == (answer, reject)


def test_an_append_that_is_refused_or_empty_is_answered_through_the_disk_too(impl: ModuleType) -> None:
    member = Slow(impl)
    member.append([1], term=1)
    member.written()
    assert member.append([], index=7, log_term=1) == []
    assert member.append([], index=1, log_term=1) == []
    assert [(w.entries, [(m.kind, m.index, m.reject) for m in w.responses]) for w in member.writes] == [
        ([], [(MSG_APP_RESP, 7, True)]),
        ([], [(MSG_APP_RESP, 1, False)]),
    ]


def test_a_write_behind_another_says_how_far_both_reach(impl: ModuleType) -> None:
    member = Slow(impl)
    member.append([1], term=1)
    member.append([1, 1], index=1, log_term=1)
    member.append([], index=3, log_term=1)
    reach = [[m.index for m in w.responses if m.kind == MSG_STORAGE_APPEND_RESP] for w in member.writes]
    # Also a write without entries tells, for those that are being written.
    assert reach == [[1], [3], [3]]
    assert [[e.index for e in w.entries] for w in member.writes] == [[1], [2, 3], []]
    member.written()
    assert member.core.stable == 1
    member.written(2)
    assert member.core.stable == 3
    member.append([], index=3, log_term=1)
    assert [m.kind for m in member.writes[0].responses] == [MSG_APP_RESP]


# --- asynchronous writes: answers that come late -------------------------------------------------


def test_three_leaders_and_two_writes_of_the_same_places(impl: ModuleType) -> None:
    """The append ABA race: an answer for (2, term 1) must not count for the (2, term 1) that came again."""
    member = Slow(impl)
    member.append([1, 1], term=1)
    member.append([2], index=1, log_term=1, term=2, sender=3)
    # The third leader has the first one's entry again, and its term is written by nobody yet.
    entries = [impl.Entry(2, 1, b"1"), impl.Entry(3, 3, b"3")]
    member.step(MSG_APP, 2, term=3, index=1, log_term=1, entries=entries)
    assert [[(e.index, e.term) for e in w.entries] for w in member.writes] == [
        [(1, 1), (2, 1)],
        [(2, 2)],
        [(2, 1), (3, 3)],
    ]
    member.written()
    # Its disk holds 2 of term 1 now, but the next write is going to replace that.
    assert member.core.stable == 0
    member.written()
    assert member.core.stable == 0
    member.step(MSG_HEARTBEAT, 2, commit=3)
    assert member.applies == []
    member.written(len(member.writes))
    assert member.core.stable == 3
    assert [e.term for m in member.applies for e in m.entries] == [1, 1, 3]


def test_an_answer_of_this_term_for_entries_that_it_replaced_does_not_count(impl: ModuleType) -> None:
    member = Slow(impl)
    member.append([1, 1, 1], term=1)
    # A write of term 2 while the entries of term 1 are being written tells about them; then they are replaced.
    member.step(MSG_HEARTBEAT, 3, term=2)
    assert [(m.term, m.index, m.log_term) for m in member.writes[1].responses] == [(2, 3, 1)]
    member.append([2, 2], index=1, log_term=1, sender=3)
    member.written(2)
    assert member.core.stable == 0
    member.written()
    assert member.core.stable == 3


def test_late_acknowledgements_carry_the_term_they_were_made_in(impl: ModuleType) -> None:
    member = Slow(impl)
    member.append([1, 1], term=1)
    member.append([2], index=1, log_term=1, term=2, sender=3)
    released = member.written(2)
    assert [(m.kind, m.to, m.term, m.index) for m in released] == [(MSG_APP_RESP, 2, 1, 2), (MSG_APP_RESP, 3, 2, 2)]


def test_a_deposed_leaders_own_acknowledgement_does_not_count_for_the_next_term(impl: ModuleType) -> None:
    leader = Slow(impl)
    leader.lead(2)
    leader.node.propose(b"x")
    leader.work()
    old = list(leader.writes)
    leader.writes.clear()
    leader.step(MSG_HEARTBEAT, 3, term=2)
    leader.node.campaign()
    leader.work()
    leader.written(len(leader.writes))
    leader.step(MSG_VOTE_RESP, 2)
    assert leader.core.role == LEADER
    last = leader.core.log.last
    leader.writes = old + leader.writes
    leader.written(len(old))
    # Nothing of this term is durable here, and one other is no quorum without it.
    assert leader.node.status()["progress"][1]["match"] < last
    leader.step(MSG_APP_RESP, 2, index=last)
    assert leader.core.committed == 0
    leader.written(len(leader.writes))
    assert leader.core.committed == last


def test_batches_are_finished_in_order_and_an_older_answer_is_nothing_new(impl: ModuleType) -> None:
    leader = Slow(impl, voters=(1,), max_apply_bytes=10**6)
    leader.lead()
    leader.written(len(leader.writes))
    leader.written(len(leader.writes))
    leader.node.propose(b"x")
    leader.work()
    leader.written(len(leader.writes))
    assert [[e.index for e in m.entries] for m in leader.applies] == [[1], [2]]
    first, second = (m.responses[0] for m in leader.applies)
    leader.node.step(second)
    assert leader.core.applied == 2
    leader.node.step(first)
    assert (leader.core.applied, leader.core.applying) == (2, 2)


def test_an_apply_that_ends_in_a_later_term_counts(impl: ModuleType) -> None:
    leader = Slow(impl, voters=(1, 2, 3))
    leader.lead(2)
    leader.settle()
    leader.node.propose(b"x")
    leader.work()
    leader.written(len(leader.writes))
    leader.step(MSG_APP_RESP, 2, index=2)
    assert leader.applies
    leader.step(MSG_HEARTBEAT, 3, term=7)
    leader.done(len(leader.applies))
    assert (leader.core.role, leader.core.term, leader.core.applied) == (FOLLOWER, 7, 2)


def test_storage_responses_do_not_depend_on_the_configuration(impl: ModuleType) -> None:
    leader = Slow(impl, step_down_on_removal=True)
    leader.lead(2)
    leader.settle()
    leader.node.propose_conf_change(change(impl, "r1"))
    leader.node.propose(b"x")
    leader.work()
    leader.written(len(leader.writes))
    for id in (2, 3):
        leader.step(MSG_APP_RESP, id, index=3)
    leader.settle()
    assert leader.node.status()["configuration"] == conf(impl, (2, 3))
    assert (leader.core.applied, leader.core.stable) == (3, 3)
    # Removed, it still follows what it is sent.
    leader.append([1], index=3, log_term=1, commit=4)
    leader.settle()
    assert leader.core.applied == 4


# --- status --------------------------------------------------------------------------------------


def test_status_of_a_leader(impl: ModuleType) -> None:
    leader = led(impl, 2, learners=(4,), max_inflight_messages=2)
    leader.node.assign_commit_groups({2: 5})
    leader.propose(b"abc")
    leader.propose(b"de")
    leader.node.read_index(b"r")
    leader.node.transfer_leader(3)
    leader.take()
    status = leader.node.status()
    assert {name: value for name, value in status.items() if name != "progress"} == {
        "id": 1,
        "term": 1,
        "vote": 1,
        "in_doubt": False,
        "commit": 1,
        "applied": 1,
        "applying": 1,
        "first": 1,
        "last": 3,
        "stable": 3,
        "lead": 1,
        "role": impl.Role.LEADER,
        "transferee": 3,
        "uncommitted_bytes": 5,
        "pending_conf_index": 0,
        "snapshot": 0,
        "pending_snapshot": 0,
        "pending_reads": 0,
        "unconfirmed_reads": 1,
        "configuration": conf(impl, (1, 2, 3), (4,)),
    }
    assert list(status["progress"]) == [1, 2, 3, 4]
    assert status["progress"][2] == {
        "match": 1,
        "next": 4,
        "state": 1,
        "sent_commit": 1,
        "pending_snapshot": 0,
        "commit_group": 5,
        "paused": True,
        "recent_active": True,
        "inflight": [(2, 3), (3, 2)],
        "inflight_bytes": 5,
        "inflight_full": True,
        "learner": False,
    }
    assert (status["progress"][1]["match"], status["progress"][4]["learner"]) == (3, True)
    assert (status["progress"][3]["match"], status["progress"][3]["recent_active"]) == (0, False)


def test_status_of_others(impl: ModuleType) -> None:
    member = Slow(impl, terms=[1, 1])
    member.step(MSG_HEARTBEAT, 2, term=3)
    status = member.node.status()
    assert (status["lead"], status["role"], status["term"], status["progress"]) == (2, impl.Role.FOLLOWER, 3, {})
    given = impl.Snapshot(9, 2, conf(impl, (1, 2), outgoing=(1, 3), auto_leave=True))
    member.step(7, 2, snapshot=given)
    status = member.node.status()
    assert (status["pending_snapshot"], status["snapshot"], status["applied"]) == (9, 0, 0)
    assert (status["first"], status["last"], status["commit"]) == (10, 9, 9)
    assert status["configuration"] == given.conf_state
    member.settle()
    status = member.node.status()
    assert (status["pending_snapshot"], status["snapshot"], status["applied"]) == (0, 9, 9)
    member.node.campaign()
    assert member.node.status()["role"] == impl.Role.CANDIDATE
    assert member.node.status()["progress"] == {}


def test_a_status_does_not_change_afterwards(impl: ModuleType) -> None:
    leader = led(impl, 2, 3)
    status = leader.node.status()
    copy = {**status, "progress": {id: dict(each) for id, each in status["progress"].items()}}
    leader.change("v4")
    leader.acknowledge(2)
    assert status == copy
    assert leader.node.status() != copy


def test_a_message_answers_read_only_where_it_is_for(impl: ModuleType) -> None:
    leader = led(impl, 2, 3)
    entries = [impl.Entry(0, 0, b"x")]
    # A leader asked nobody.
    leader.step(MSG_READ_INDEX_RESP, 2, index=5, entries=entries)
    assert leader.reads_done == []
    assert only(leader.tick(), MSG_HEARTBEAT)


def test_a_group_begins_on_an_empty_storage_and_with_members(impl: ModuleType) -> None:
    with pytest.raises(impl.UsageError, match="at least one"):
        Full(impl, 1, ()).node.bootstrap([])
    for member in (Full(impl, terms=[1]), Full(impl, hard=(1, 0, 0))):
        with pytest.raises(impl.UsageError, match="empty storage"):
            member.node.bootstrap([1, 2, 3])
    twice = Full(impl, 1, ())
    twice.node.bootstrap([1])
    with pytest.raises(impl.UsageError, match="empty storage"):
        twice.node.bootstrap([1])


@pytest.mark.parametrize("ids", [[0], [-1], list(range(1, 66))], ids=["zero", "negative", "too many"])
def test_ids_that_make_no_group_leave_nothing_behind(impl: ModuleType, ids: list[int]) -> None:
    member = Full(impl, 1, ())
    with pytest.raises(impl.ConfChangeError):
        member.node.bootstrap(ids)
    assert (member.log.last, member.term, member.committed) == (0, 0, 0)
    assert member.membership == conf(impl)
    assert not member.node.has_ready()
    member.node.bootstrap([1])
    member.take()
    member.campaign()
    assert member.role == LEADER
