"""The contract of RawNode: Ready and advance, asynchronous writes, restarts, refused input; and the settings."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from raftx.types import (
    ENTRY_NORMAL,
    FOLLOWER,
    LEADER,
    LOCAL_KINDS,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY,
    MSG_STORAGE_APPLY_RESP,
    MSG_VOTE,
    MSG_VOTE_RESP,
    NUMBER_MAX,
    RESPONSE_KINDS,
)
from tests.helpers.async_member import AsyncMember
from tests.helpers.core_net import Member, Network, kinds, only

# --- ready and advance ---------------------------------------------------------------------------


def test_nothing_to_do_is_not_ready(impl: ModuleType) -> None:
    node = Member(impl).node
    assert not node.has_ready()
    ready = node.ready()
    assert (ready.soft_state, ready.hard_state, ready.snapshot, ready.must_sync) == (None, None, None, False)
    assert ready.entries == ready.committed_entries == ready.messages == ready.read_states == []


def test_one_voter_step_by_step(impl: ModuleType) -> None:
    node = Member(impl, 1, (1,)).node
    node.campaign()

    ready = node.ready()
    assert ready.soft_state == (0, impl.Role.CANDIDATE)
    assert ready.hard_state == impl.HardState(term=1, vote=1, commit=0) and ready.must_sync
    assert ready.entries == [] and ready.messages == []
    node.advance()

    ready = node.ready()
    assert ready.soft_state == (1, impl.Role.LEADER)
    assert ready.hard_state is None and ready.must_sync
    assert [(e.index, e.term, e.data, e.kind) for e in ready.entries] == [(1, 1, b"", ENTRY_NORMAL)]
    assert ready.committed_entries == []
    node.advance()

    ready = node.ready()
    # The new commit index need not be synced: it can be found again.
    assert ready.hard_state == impl.HardState(term=1, vote=1, commit=1) and not ready.must_sync
    assert ready.soft_state is None and ready.entries == []
    assert [e.index for e in ready.committed_entries] == [1]
    assert node.status()["applied"] == 0 and node.core.stable == 1
    node.advance()

    assert node.status()["applied"] == 1 and not node.has_ready()


def test_every_ready_has_a_number(impl: ModuleType) -> None:
    node = Member(impl, 1, (1,)).node
    node.campaign()
    numbers = []
    while node.has_ready():
        numbers.append(node.ready().number)
        node.advance()
    assert numbers == [1, 2, 3]


def test_ready_twice_and_advance_alone_are_errors(impl: ModuleType) -> None:
    node = Member(impl).node
    with pytest.raises(impl.UsageError, match=r"advance\(\) without ready\(\)"):
        node.advance()
    node.campaign()
    node.ready()
    with pytest.raises(impl.UsageError, match=r"again before advance\(\)"):
        node.ready()
    node.advance()
    with pytest.raises(impl.UsageError):
        node.advance()
    node.ready()


def test_input_between_ready_and_advance_is_for_the_next_ready(impl: ModuleType) -> None:
    member = Member(impl, 1, (1,))
    member.lead_with()
    member.node.propose(b"one")
    first = member.node.ready()
    member.node.propose(b"two")
    assert member.node.has_ready()
    member.node.advance()
    second = member.node.ready()
    assert [e.data for e in first.entries] == [b"one"]
    assert [e.data for e in second.entries] == [b"two"]
    # The first is durable, hence committed, while the second is being written.
    assert [e.data for e in second.committed_entries] == [b"one"]
    member.node.advance()
    assert [e.data for e in member.node.ready().committed_entries] == [b"two"]


def test_a_log_replaced_between_ready_and_advance_is_not_taken_as_durable(impl: ModuleType) -> None:
    member = Member(impl)
    member.node.step(impl.Message(MSG_APP, sender=2, term=1, entries=[impl.Entry(1, 1, b"a"), impl.Entry(2, 1, b"b")]))
    member.store(member.node.ready())
    member.node.step(impl.Message(MSG_APP, sender=3, term=2, entries=[impl.Entry(1, 2, b"c")]))
    member.node.advance()
    ready = member.node.ready()
    assert [(e.index, e.term) for e in ready.entries] == [(1, 2)]


def test_a_ready_is_not_changed_by_what_follows(impl: ModuleType) -> None:
    member = Member(impl)
    member.lead_with(2)
    member.acknowledge(2)
    member.node.propose(b"first")
    ready = member.node.ready()
    (append,) = only(ready.messages, MSG_APP)
    member.node.advance()
    member.step(MSG_HEARTBEAT, 3, term=9)
    member.append([9, 9, 9], term=9, sender=3)
    assert [(e.index, e.term, e.data) for e in ready.entries] == [(2, 1, b"first")]
    assert [(e.index, e.term, e.data) for e in append.entries] == [(2, 1, b"first")]


@pytest.mark.parametrize("what", ["term", "vote", "entries", "commit"])
def test_what_must_be_synced(impl: ModuleType, what: str) -> None:
    member = Member(impl, terms=[1], hard=(1, 0, 0))
    if what == "term":
        member.node.step(impl.Message(MSG_HEARTBEAT, sender=2, term=2))
    elif what == "vote":
        member.node.step(impl.Message(MSG_VOTE, sender=2, term=1, index=1, log_term=1))
    elif what == "entries":
        member.node.step(impl.Message(MSG_APP, sender=2, term=1, index=1, log_term=1, entries=[impl.Entry(2, 1, b"x")]))
    else:
        member.node.step(impl.Message(MSG_HEARTBEAT, sender=2, term=1, commit=1))
    ready = member.node.ready()
    assert ready.must_sync == (what != "commit")
    assert (ready.hard_state is None) == (what == "entries")


def test_a_new_leader_is_told_as_soft_state(impl: ModuleType) -> None:
    member = Member(impl, hard=(1, 0, 0))
    member.node.step(impl.Message(MSG_HEARTBEAT, sender=2, term=1))
    ready = member.node.ready()
    assert ready.soft_state == (2, impl.Role.FOLLOWER) and ready.hard_state is None and not ready.must_sync
    assert isinstance(ready.soft_state[1], impl.Role)
    member.node.advance()
    member.step(MSG_HEARTBEAT, 2)
    assert not member.node.has_ready()


def test_a_change_and_back_is_no_change(impl: ModuleType) -> None:
    member = Member(impl, pre_vote=True)
    member.node.campaign()
    for id in (2, 3):
        member.node.step(impl.Message(MSG_PRE_VOTE_RESP, sender=id, term=0, flags=1))
    ready = member.node.ready()
    assert ready.soft_state is None and ready.hard_state is None and kinds(ready.messages) == [MSG_PRE_VOTE] * 2


# --- input that is refused -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LOCAL_KINDS))
def test_a_peer_cannot_send_what_only_the_node_produces(impl: ModuleType, kind: int) -> None:
    for member in (Member(impl), Member(impl, 2)):
        with pytest.raises(impl.StepLocalMessage):
            member.step(kind, 2)
        assert member.role == FOLLOWER and member.term == 0


@pytest.mark.parametrize("kind", sorted(RESPONSE_KINDS - LOCAL_KINDS))
def test_a_response_of_a_stranger_is_refused(impl: ModuleType, kind: int) -> None:
    with pytest.raises(impl.UnknownPeer, match="99"):
        Member(impl).step(kind, 99, term=7)


@pytest.mark.parametrize("kind", [MSG_APP, MSG_HEARTBEAT, MSG_VOTE, MSG_PRE_VOTE])
def test_a_request_of_a_stranger_is_heard(impl: ModuleType, kind: int) -> None:
    # It may be a member of a configuration that has not arrived here yet.
    assert len(Member(impl).step(kind, 99, term=1)) == 1


def test_an_unknown_kind_is_ignored(impl: ModuleType) -> None:
    member = Member(impl)
    for role in range(3):
        member.step(31, 2)
        assert not member.node.has_ready()
        member.campaign() if role == 0 else member.step(MSG_VOTE_RESP, 2)
    assert member.role == LEADER


def test_a_refused_proposal_leaves_nothing_behind(impl: ModuleType) -> None:
    node = Member(impl).node
    with pytest.raises(impl.ProposalDropped) as refused:
        node.propose(b"x")
    assert refused.value.reason == "no leader"
    assert not node.has_ready()


# --- asynchronous storage writes -----------------------------------------------------------------


def test_asynchronous_writes_have_no_advance(impl: ModuleType) -> None:
    member = AsyncMember(impl)
    member.node.campaign()
    member.node.ready()
    with pytest.raises(impl.UsageError, match="deliver the responses"):
        member.node.advance()
    # Several Ready may be under way.
    member.node.tick()
    member.node.ready()


def test_a_vote_for_oneself_waits_for_the_write(impl: ModuleType) -> None:
    member = AsyncMember(impl, (1,))
    member.node.campaign()
    assert member.work() == []
    (write,) = member.writes
    assert (write.kind, write.sender, write.term, write.vote, write.commit) == (MSG_STORAGE_APPEND, 1, 1, 1, 0)
    assert kinds(write.responses) == [MSG_VOTE_RESP] and write.entries == []
    assert member.core.role != LEADER
    member.written()
    assert member.core.role == LEADER


def test_an_acknowledgement_waits_for_the_write_but_an_answer_to_a_heartbeat_does_not(impl: ModuleType) -> None:
    member = AsyncMember(impl)
    assert member.append([1, 1], term=1) == []
    assert kinds(member.step(MSG_HEARTBEAT)) == [MSG_HEARTBEAT_RESP]
    (write,) = member.writes
    assert [e.index for e in write.entries] == [1, 2] and write.term == 1
    # The node's own response comes last: when it arrives, the acknowledgements have been made.
    assert kinds(write.responses) == [MSG_APP_RESP, MSG_STORAGE_APPEND_RESP]
    (answer,) = member.written()
    assert (answer.kind, answer.to, answer.index) == (MSG_APP_RESP, 2, 2)
    assert member.core.stable == 2


@pytest.mark.parametrize("kind", [MSG_VOTE, MSG_PRE_VOTE])
def test_a_vote_for_another_waits_for_the_write(impl: ModuleType, kind: int) -> None:
    member = AsyncMember(impl)
    assert member.step(kind, 2, term=3) == []
    (answer,) = member.written()
    assert (answer.kind, answer.to) == (MSG_VOTE_RESP if kind == MSG_VOTE else MSG_PRE_VOTE_RESP, 2)


def test_a_request_for_votes_waits_too(impl: ModuleType, mod: Callable[[str], ModuleType]) -> None:
    node = AsyncMember(impl).node
    node.campaign()
    messages = node.ready().messages
    now, later = mod("consensus.rawnode").split(messages)
    assert kinds(later) == [MSG_VOTE, MSG_VOTE] and kinds(now) == [MSG_STORAGE_APPEND]


def test_only_promises_wait(impl: ModuleType, mod: Callable[[str], ModuleType]) -> None:
    waiting = (MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP, MSG_VOTE)
    messages = [impl.Message(kind) for kind in range(24)]
    now, later = mod("consensus.rawnode").split(messages)
    assert sorted(kinds(later)) == sorted(waiting)
    assert sorted(kinds(now) + kinds(later)) == list(range(24))


def test_a_leader_sends_before_its_own_write_is_done_and_commits_after_it_or_without_it(impl: ModuleType) -> None:
    member = AsyncMember(impl)
    member.lead()
    member.written(9)
    member.step(MSG_APP_RESP, 2, index=1)
    member.step(MSG_APP_RESP, 3, index=1)
    member.written(9)
    member.node.propose(b"x")
    assert [len(m.entries) for m in only(member.work(), MSG_APP)] == [1, 1]
    member.step(MSG_APP_RESP, 2, index=2)
    assert member.core.committed == 1
    # A majority does not need the leader.
    member.step(MSG_APP_RESP, 3, index=2)
    assert member.core.committed == 2
    member.node.propose(b"y")
    member.work()
    member.step(MSG_APP_RESP, 2, index=3)
    assert member.core.committed == 2
    member.written(9)
    assert member.core.committed == 3


def test_an_entry_is_not_applied_before_it_is_durable_here(impl: ModuleType) -> None:
    member = AsyncMember(impl)
    member.append([1, 1], term=1, commit=2)
    assert member.core.committed == 2 and member.applies == []
    member.written()
    (apply,) = member.applies
    assert (apply.kind, [e.index for e in apply.entries]) == (MSG_STORAGE_APPLY, [1, 2])
    assert [(m.kind, m.to, m.index) for m in apply.responses] == [(MSG_STORAGE_APPLY_RESP, 1, 2)]
    assert member.core.applied == 0
    member.was_applied()
    assert member.core.applied == 2


def test_an_entry_that_replaced_a_durable_one_is_not_durable(impl: ModuleType) -> None:
    member = AsyncMember(impl)
    member.append([1, 1], term=1)
    member.written()
    assert member.core.stable == 2
    member.append([2], 1, 1, term=2, commit=2)
    assert (member.core.stable, member.core.committed) == (1, 2)
    assert [[e.index for e in m.entries] for m in member.applies] == [[1]]
    member.written()
    assert [[(e.index, e.term) for e in m.entries] for m in member.applies] == [[(1, 1)], [(2, 2)]]


def test_nothing_is_applied_twice_while_a_batch_is_under_way(impl: ModuleType) -> None:
    member = AsyncMember(impl)
    member.append([1], term=1, commit=1)
    member.written()
    member.append([1, 1], 1, 1, commit=2)
    member.written()
    member.step(MSG_HEARTBEAT, commit=3)
    member.written()
    assert [[e.index for e in m.entries] for m in member.applies] == [[1], [2], [3]]
    repeated = member.applies[1].responses[0]
    member.was_applied(2)
    member.node.step(repeated)
    assert (member.core.applied, member.core.applying) == (2, 3)


def test_entries_are_handed_to_the_disk_once(impl: ModuleType) -> None:
    member = AsyncMember(impl)
    member.append([1, 1], term=1)
    member.append([1], 2, 1)
    member.append([1, 1, 1])
    assert [[e.index for e in m.entries] for m in member.writes] == [[1, 2], [3], []]
    # The write of the first two says nothing about the third.
    member.written()
    assert member.core.stable == 2
    member.written(2)
    assert member.core.stable == 3


def test_a_late_response_is_not_taken_for_the_entries_that_replaced_it(impl: ModuleType) -> None:
    """The log is A, then B, then A again at one index: the first write says nothing about the last."""
    member = AsyncMember(impl)
    member.append([1, 1, 1], term=1)
    member.append([2, 2], 1, 1, term=2, sender=3)
    # The leader of term 3 has the entries of term 1.
    member.append([1, 1, 3], 1, 1, term=3, sender=2)
    assert [[(e.index, e.term) for e in m.entries] for m in member.writes] == [
        [(1, 1), (2, 1), (3, 1)],
        [(2, 2), (3, 2)],
        [(2, 1), (3, 1), (4, 3)],
    ]
    first, second, third = member.writes
    assert [only(m.responses, MSG_STORAGE_APPEND_RESP)[0].term for m in (first, second, third)] == [1, 2, 3]
    member.written(2)
    # Entries 2 and 3 on disk are those of term 2 now.
    assert member.core.stable == 0
    member.written()
    assert member.core.stable == 4


def test_a_response_of_the_same_term_for_a_shorter_log_counts_for_what_it_covers(impl: ModuleType) -> None:
    member = AsyncMember(impl)
    member.append([1, 1, 1], term=2)
    member.append([2], 1, 1, term=2)
    first, second = member.writes
    assert only(first.responses, MSG_STORAGE_APPEND_RESP)[0].index == 3
    member.written()
    assert member.core.stable == 0
    member.written()
    assert member.core.stable == 2 and [e.index for e in second.entries] == [2]


def test_a_write_without_entries_can_carry_the_news_of_an_earlier_one(impl: ModuleType) -> None:
    member = AsyncMember(impl)
    member.append([1, 1], term=1)
    member.step(MSG_HEARTBEAT, 3, term=2)
    # The first answer is out of date when it comes; the second, in the present term, says the same.
    assert only(member.writes[1].responses, MSG_STORAGE_APPEND_RESP)[0].index == 2
    member.written()
    assert member.core.stable == 0
    member.written()
    assert member.core.stable == 2


def test_the_own_acknowledgement_of_an_earlier_term_is_ignored(impl: ModuleType) -> None:
    member = AsyncMember(impl)
    member.lead()
    member.node.propose(b"x")
    member.work()
    own = [m for write in member.writes for m in write.responses if m.kind == MSG_APP_RESP]
    assert [m.index for m in own] == [1, 2]
    member.step(MSG_HEARTBEAT, 2, term=2)
    member.node.campaign()
    member.work()
    member.writes.clear()
    member.step(MSG_VOTE_RESP, 2)
    member.step(MSG_VOTE_RESP, 3)
    assert member.core.role == LEADER and member.core.term == 3
    before = member.node.status()
    for message in own:
        member.node.step(message)
    assert member.node.status() == before


def test_a_vote_for_oneself_of_a_lost_election_is_ignored(impl: ModuleType) -> None:
    member = AsyncMember(impl)
    member.node.campaign()
    member.work()
    member.step(MSG_VOTE_RESP, 2, flags=1)
    member.step(MSG_VOTE_RESP, 3, flags=1)
    assert member.core.role == FOLLOWER
    member.written()
    assert member.core.role == FOLLOWER and member.core.term == 1


def test_a_pre_vote_for_oneself_does_not_count_as_a_vote(impl: ModuleType) -> None:
    member = AsyncMember(impl, pre_vote=True)
    member.node.campaign()
    member.work()
    (own,) = [m for write in member.writes for m in write.responses if m.to == 1]
    member.writes.clear()
    member.step(MSG_PRE_VOTE_RESP, 2, term=1)
    member.step(MSG_PRE_VOTE_RESP, 3, term=1)
    assert member.core.term == 1 and member.core.vote == 1
    member.node.step(own)
    member.step(MSG_VOTE_RESP, 2)
    # Of three, only one has voted so far.
    assert member.core.role != LEADER
    member.written(9)
    assert member.core.role == LEADER


# --- restarting ----------------------------------------------------------------------------------


def test_a_restart_keeps_term_vote_commit_and_log(impl: ModuleType) -> None:
    member = Member(impl)
    member.append([1, 1, 2], term=2, commit=2)
    member.step(MSG_VOTE, 3, term=5, index=3, log_term=2)
    entries, hard = list(member.disk), member.hard
    assert hard == impl.HardState(term=5, vote=3, commit=2)
    member.start()
    assert (member.term, member.vote, member.committed, member.role, member.lead) == (5, 3, 2, FOLLOWER, 0)
    assert member.log.entries(1, 3) == entries
    # What is committed is applied again to the state machine that starts empty; nothing is written.
    ready = member.node.ready()
    assert [e.index for e in ready.committed_entries] == [1, 2]
    assert ready.hard_state is None and ready.entries == [] and not ready.must_sync


def test_a_restart_applies_only_what_the_state_machine_misses(impl: ModuleType) -> None:
    member = Member(impl, terms=[1, 1, 1], hard=(1, 0, 3))
    node = impl.RawNode(
        impl.Config(id=1), log=member.log, hard_state=member.hard, conf_state=member.conf_state, applied=2
    )
    assert [e.index for e in node.ready().committed_entries] == [3]
    node.advance()
    assert node.status()["applied"] == 3 and not node.has_ready()


def test_a_commit_index_beyond_the_log_is_refused(impl: ModuleType) -> None:
    with pytest.raises(impl.Corruption, match="the commit index 3 is beyond the last index 2"):
        Member(impl, terms=[1, 1], hard=(1, 0, 3))


@pytest.mark.parametrize(("applied", "commit"), [(3, 2), (4, 2), (1, 0)])
def test_a_state_machine_ahead_of_the_log_is_refused(impl: ModuleType, applied: int, commit: int) -> None:
    member = Member(impl, terms=[1, 1, 1])
    with pytest.raises(impl.Corruption):
        impl.RawNode(impl.Config(id=1), log=member.log, hard_state=impl.HardState(1, 0, commit), applied=applied)


def test_a_log_that_begins_later_is_committed_up_to_there(impl: ModuleType, mod: Callable[[str], ModuleType]) -> None:
    log = mod("_core").EntryLog(11, 4)
    log.py_append(5, b"x")
    node = impl.RawNode(
        impl.Config(id=1),
        log=log,
        hard_state=impl.HardState(5, 0, 10),
        conf_state=impl.ConfState(voters=(1,)),
        applied=10,
    )
    assert (node.status()["commit"], node.status()["applied"]) == (10, 10) and not node.has_ready()
    for applied in (9, 12):
        with pytest.raises(impl.Corruption, match=r"outside of the log"):
            impl.RawNode(impl.Config(id=1), log=log, hard_state=impl.HardState(5, 0, 11), applied=applied)


def test_a_cluster_goes_on_after_all_have_restarted(impl: ModuleType) -> None:
    network = Network(impl, 3)
    network.campaign(1)
    for data in (b"a", b"b"):
        network.propose(1, data)
    for member in network.members.values():
        member.start()
    assert network.roles() == "FFF"
    with pytest.raises(impl.ProposalDropped):
        network.propose(1, b"too early")
    network.campaign(2)
    network.propose(3, b"c")
    assert network.roles() == "FLF" and network.agree()
    assert [m.data for m in network.members.values()] == [[b"a", b"b", b"c"]] * 3


def test_a_restarted_leader_that_lost_unsent_entries_is_brought_into_line(impl: ModuleType) -> None:
    network = Network(impl, 3)
    network.campaign(1)
    network.isolate(1)
    network.propose(1, b"only here")
    network[1].start()
    network.campaign(2)
    network.propose(2, b"elsewhere")
    network.heal()
    network.tick(2)
    assert network.agree() and network[1].data == [b"elsewhere"]


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "low", "high"),
    [
        ("id", 1, NUMBER_MAX),
        ("tick_ms", 1, 60_000),
        ("heartbeat_ticks", 1, 10_000),
        ("max_inflight_messages", 1, 2**31 - 1),
        ("max_message_bytes", 0, 2**63 - 1),
        ("max_entry_bytes", 0, 1 << 30),
        ("max_apply_bytes", 1, 2**63 - 1),
        ("proposal_timeout_ms", 1, 2**31),
        ("seed", 0, 2**64 - 1),
    ],
)
def test_a_setting_out_of_range_is_named_with_its_range(
    impl: ModuleType, mod: Callable[[str], ModuleType], setting: str, low: int, high: int
) -> None:
    room = {"election_ticks": 20_000, "max_inflight_bytes": 2**63 - 1, "max_uncommitted_bytes": 2**63 - 1}
    room["max_waiting_bytes"] = 2**63 - 1
    for value in (low, high):
        assert getattr(impl.Config(**{"id": 1, **room, setting: value}), setting) == value
    for wrong in (low - 1, high + 1, "1", 1.5, True):
        with pytest.raises(mod("errors").ConfigError, match=rf"{setting} must be an integer in {low}\.\.{high}, not"):
            impl.Config(**{"id": 1, **room, setting: wrong})


@pytest.mark.parametrize(
    ("setting", "value", "other"),
    [
        ("election_ticks", 5, {"heartbeat_ticks": 5}),
        ("max_inflight_bytes", 99, {"max_message_bytes": 100}),
        ("max_waiting_bytes", 99, {"max_entry_bytes": 100}),
    ],
)
def test_a_setting_that_does_not_go_with_another_is_named(
    impl: ModuleType, setting: str, value: int, other: dict[str, int]
) -> None:
    with pytest.raises(impl.ConfigError, match=f"{setting} must be an integer in"):
        impl.Config(**{"id": 1, setting: value, **other})
    # One more is enough.
    impl.Config(**{"id": 1, setting: value + 1, **other})


@pytest.mark.parametrize("setting", ["pre_vote", "check_quorum", "forward_proposals"])
def test_a_switch_is_true_or_false(impl: ModuleType, setting: str) -> None:
    with pytest.raises(impl.ConfigError, match=f"{setting} must be True or False"):
        impl.Config(id=1, **{setting: 1})


@pytest.mark.parametrize("cluster", [b"", b"x" * 17, "", "a\0b", "\udc00", 16, None])
def test_what_is_no_name_of_a_cluster(impl: ModuleType, cluster: object) -> None:
    with pytest.raises(impl.ConfigError, match=r"cluster must be text without NUL, or 1\.\.16 bytes"):
        impl.Config(id=1, cluster=cluster)


@pytest.mark.parametrize(
    ("cluster", "known_by"),
    [
        (b"x" * 16, b"x" * 16),
        (bytes(16), bytes(16)),
        (b"short", b"short" + bytes(11)),
        ("short", b"short" + bytes(11)),
        ("x" * 16, b"x" * 16),
        ("zürich-production", bytes.fromhex("1099b7be9f1dd10646363bf86fd8bf96")),
    ],
)
def test_a_cluster_is_known_by_sixteen_bytes(impl: ModuleType, cluster: object, known_by: bytes) -> None:
    """Text and fewer bytes are filled up, and text that is longer is hashed: the same on every machine, for ever."""
    assert impl.Config(id=1, cluster=cluster).cluster == known_by
    again = impl.Config(id=1, cluster=impl.Config(id=1, cluster=cluster).cluster)
    assert again.cluster == known_by


def test_settings_do_not_change_afterwards(impl: ModuleType) -> None:
    with pytest.raises(AttributeError):
        impl.Config(id=1).election_ticks = 5
