"""The log between leader and followers: appends, conflicts, commits, proposals, transfers."""

from __future__ import annotations

from types import ModuleType

import pytest

from raftx.types import (
    CANDIDATE,
    ENTRY_CONF_CHANGE,
    ENTRY_NORMAL,
    FLAG_TRANSFER,
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_TIMEOUT_NOW,
    MSG_TRANSFER_LEADER,
    MSG_VOTE,
    PROBE,
    REPLICATE,
    ConfChange,
)
from tests.helpers.core_net import Member, Network, kinds, leader, only
from tests.helpers.implementations import structures

KIB = 1024


# --- what a follower does with an append ---------------------------------------------------------


@pytest.mark.parametrize("at", [(0, 0), (1, 1), (2, 2)])
def test_an_append_behind_something_known_is_taken(impl: ModuleType, at: tuple[int, int]) -> None:
    member = Member(impl, terms=[1, 2])
    (answer,) = member.append([2, 2], *at, term=2)
    assert (answer.kind, answer.to, answer.reject, answer.index) == (MSG_APP_RESP, 2, False, at[0] + 2)


@pytest.mark.parametrize(
    ("at", "hint"),
    [
        ((2, 1), (1, 1)),  # another term there: no entry of a later term than the leader's can fit
        ((2, 3), (2, 2)),
        ((3, 3), (2, 2)),  # beyond the end: the end is the hint
        ((9, 1), (1, 1)),
    ],
)
def test_an_append_behind_something_unknown_is_refused_with_a_hint(
    impl: ModuleType, at: tuple[int, int], hint: tuple[int, int]
) -> None:
    member = Member(impl, terms=[1, 2])
    (answer,) = member.append([3], *at, term=3)
    assert answer.reject and answer.index == at[0]
    assert (answer.hint, answer.log_term) == hint
    assert member.terms == [1, 2]


@pytest.mark.parametrize(
    ("at", "entries", "log"),
    [
        ((2, 2), [3], [1, 2, 3]),
        ((1, 1), [3, 4], [1, 3, 4]),
        ((0, 0), [1], [1, 2]),  # the same entry: what follows it stays
        ((0, 0), [3], [3]),
        ((1, 1), [2], [1, 2]),
        ((1, 1), [2, 2], [1, 2, 2]),
        ((2, 2), [], [1, 2]),
    ],
)
def test_only_a_conflict_replaces_entries(
    impl: ModuleType, at: tuple[int, int], entries: list[int], log: list[int]
) -> None:
    member = Member(impl, terms=[1, 2])
    member.append(entries, *at, term=4)
    assert member.terms == log
    assert [entry.term for entry in member.disk] == log
    assert member.disk == member.log.entries(1, member.log.last)


def test_reordered_and_repeated_appends_do_not_cut_the_log(impl: ModuleType) -> None:
    member = Member(impl)
    member.append([1, 1, 1], term=1)
    (answer,) = member.append([1], term=1)
    assert member.terms == [1, 1, 1] and answer.index == 1
    (answer,) = member.append([1, 1], index=1, log_term=1)
    assert member.terms == [1, 1, 1] and answer.index == 3


def test_an_append_before_the_commit_index_is_answered_with_it(impl: ModuleType) -> None:
    member = Member(impl, terms=[1, 1, 1], hard=(1, 0, 2))
    (answer,) = member.append([9], 1, 1, term=9)
    assert (answer.reject, answer.index) == (False, 2)
    assert member.terms == [1, 1, 1]


def test_a_conflict_with_a_committed_entry_ends_the_node(impl: ModuleType) -> None:
    member = Member(impl, terms=[1, 1], hard=(1, 0, 2))
    # The leader's log agrees at 2 but its append claims another entry 2: it cannot be honest.
    fake = [impl.Entry(2, 5, b"other")]
    with pytest.raises(impl.Corruption):
        member.step(MSG_APP, term=5, index=2, log_term=1, entries=fake)
    assert member.terms == [1, 1]


@pytest.mark.parametrize(
    ("commit", "entries", "committed"), [(1, [], 1), (3, [], 2), (3, [2], 3), (4, [2], 3), (2, [2], 2), (9, [2, 2], 4)]
)
def test_commits_go_only_as_far_as_the_append_vouches(
    impl: ModuleType, commit: int, entries: list[int], committed: int
) -> None:
    # Whatever stands behind the append in the own log may be another leader's.
    member = Member(impl, terms=[1, 1, 1, 1, 1])
    member.append(entries, 2, 1, term=2, commit=commit)
    assert member.committed == committed
    assert [entry.index for entry in member.applied] == list(range(1, committed + 1))


def test_a_commit_index_never_goes_back(impl: ModuleType) -> None:
    member = Member(impl, terms=[1, 1, 1], hard=(1, 0, 2))
    member.append([], 3, 1, commit=1)
    member.step(MSG_HEARTBEAT, commit=1)
    assert member.committed == 2


def test_a_heartbeat_commits_and_one_beyond_the_log_ends_the_node(impl: ModuleType) -> None:
    member = Member(impl, terms=[1, 1])
    (answer,) = member.step(MSG_HEARTBEAT, commit=2)
    assert (answer.kind, answer.to, member.committed) == (MSG_HEARTBEAT_RESP, 2, 2)
    # A commit index that it has not acknowledged means that its log was cut.
    with pytest.raises(impl.Corruption, match="the commit index 3 is beyond the last index 2"):
        member.step(MSG_HEARTBEAT, commit=3)


def test_an_acknowledgement_comes_after_its_entries_are_on_disk(impl: ModuleType) -> None:
    member = Member(impl)
    member.node.step(impl.Message(MSG_APP, sender=2, term=1, entries=[impl.Entry(1, 1, b"a")]))
    ready = member.node.ready()
    assert [entry.data for entry in ready.entries] == [b"a"] and ready.must_sync
    assert kinds(ready.messages) == [MSG_APP_RESP]


# --- finding where the logs agree ----------------------------------------------------------------

# In each, the leader's log and the follower's; then at most so many refusals.
DIVERGED = [
    ([1, 1, 1], [], 1),
    ([1, 1, 1], [1], 1),
    ([1, 4, 4, 5, 5, 6, 6, 6], [1, 4, 4, 5, 5, 6, 6], 1),
    ([1, 4, 4, 5, 5, 6, 6, 6], [1, 4, 4], 1),
    ([1, 4, 4, 5, 5, 6, 6, 6], [1, 4, 4, 4, 4], 2),
    ([1, 1, 1, 4, 4, 5, 5, 6, 6, 6], [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], 2),
    ([1] + [3] * 40, [1, 1] + [2] * 30, 2),
    ([1] + [2] * 40 + [9], [1] + [3] * 10 + [4] * 10 + [5] * 10, 2),
    ([1] * 5 + [7] * 50, [1] * 5 + [2] * 20 + [4] * 20 + [6] * 20, 2),
    ([1, 3, 3, 5, 5, 7, 7], [1, 2, 2, 4, 4, 6, 6], 3),
    ([5] * 20, [1] * 30, 1),
]


@pytest.mark.parametrize(("ours", "theirs", "refusals"), DIVERGED)
def test_a_follower_is_brought_into_line_in_few_rounds(
    impl: ModuleType, ours: list[int], theirs: list[int], refusals: int
) -> None:
    term = max(ours + theirs)
    network = Network(impl, 3, logs={1: ours, 2: theirs, 3: ours}, hards=dict.fromkeys((1, 2, 3), (term, 0, 0)))
    network.loses = lambda m: m.kind == MSG_VOTE and m.to == 2
    network.campaign(1)
    assert network[1].role == LEADER and network.agree()
    assert network[2].terms == [*ours, term + 1]
    assert network[2].disk == network[1].disk
    assert len([m for m in only(network.sent, MSG_APP_RESP, 1) if m.reject]) <= refusals


def test_what_a_deposed_leader_never_committed_is_replaced(impl: ModuleType) -> None:
    network = Network(impl, 3)
    network.campaign(1)
    network.isolate(1)
    for data in (b"lost", b"lost too"):
        network.propose(1, data)
    network.campaign(2)
    network.propose(2, b"kept")
    assert network.roles() == "LLF"
    network.heal()
    network.tick(2)
    assert network.roles() == "FLF" and network.agree()
    assert [m.data for m in network.members.values()] == [[b"kept"]] * 3


def test_a_refusal_that_is_out_of_date_changes_nothing(impl: ModuleType) -> None:
    member = leader(impl, 2)
    before = member.progress(2)
    # Acknowledged meanwhile.
    assert member.step(MSG_APP_RESP, 2, index=0, reject=True) == []
    assert member.progress(2) == {**before, "recent_active": True}
    # Not what the pending probe asked.
    before = member.progress(3)
    assert member.step(MSG_APP_RESP, 3, index=7, hint=7, reject=True) == []
    assert member.progress(3) == {**before, "recent_active": True}


def test_a_refusal_without_a_term_is_followed_to_its_hint(impl: ModuleType) -> None:
    member = Member(impl, terms=[1, 1, 2, 2])
    member.lead_with(2)
    (probe,) = member.step(MSG_APP_RESP, 3, index=4, hint=2, reject=True)
    assert (probe.kind, probe.to, probe.index, len(probe.entries)) == (MSG_APP, 3, 2, 3)


def test_an_acknowledgement_that_is_out_of_date_changes_nothing(impl: ModuleType) -> None:
    member = leader(impl, 2)
    member.propose()
    member.acknowledge(2)
    member.node.report_unreachable(2)
    # Older than what is known: it does not answer the probe.
    assert member.acknowledge(2, 1) == []
    assert (member.progress(2)["state"], member.progress(2)["match"]) == (PROBE, 2)
    member.acknowledge(2, 2)
    assert member.progress(2)["state"] == REPLICATE
    # Said twice, an acknowledgement is not acted on twice.
    member.node.transfer_leader(2)
    assert kinds(member.take()) == [MSG_TIMEOUT_NOW]
    assert member.acknowledge(2, 2) == []


def test_an_acknowledgement_of_what_a_leader_does_not_have_is_dropped(impl: ModuleType) -> None:
    member = leader(impl, 2)
    before = member.progress(3)
    assert member.acknowledge(3, 500) == []
    assert member.progress(3)["match"] == before["match"] and member.committed == 1


# --- committing ----------------------------------------------------------------------------------


def test_a_proposal_is_committed_by_a_majority_and_applied_everywhere(impl: ModuleType) -> None:
    network = Network(impl, 5)
    network.isolate(4, 5)
    network.campaign(1)
    network.propose(1, b"a")
    assert [m.data for m in network.members.values()] == [[b"a"]] * 3 + [[]] * 2
    network.isolate(3)
    network.propose(1, b"b")
    assert network[1].data == [b"a"] and network[1].terms == [1, 1, 1]
    network.heal()
    network.tick(1)
    assert [m.data for m in network.members.values()] == [[b"a", b"b"]] * 5 and network.agree()


def test_the_own_entry_counts_only_when_it_is_durable(impl: ModuleType) -> None:
    member = leader(impl, 2, 3)
    member.node.propose(b"x")
    assert member.progress(1)["match"] == 1
    member.take()
    assert member.progress(1)["match"] == 2
    assert member.committed == 1
    member.acknowledge(3)
    assert member.committed == 2


def test_one_voter_commits_when_its_own_disk_has_it(impl: ModuleType) -> None:
    member = Member(impl, 1, (1,))
    member.lead_with()
    member.node.propose(b"x")
    ready = member.node.ready()
    assert [entry.data for entry in ready.entries] == [b"x"] and member.committed == 1
    member.node.advance()
    assert member.committed == 2


def test_entries_of_earlier_terms_are_not_committed_by_counting(impl: ModuleType) -> None:
    member = Member(impl, terms=[1, 2])
    member.lead_with(2)
    assert member.terms == [1, 2, 3]
    # Two of three have entry 2, of term 2.
    member.acknowledge(2, 2)
    assert member.committed == 0
    # The first entry of this term takes the earlier ones with it.
    member.acknowledge(2, 3)
    assert member.committed == 3
    assert [entry.index for entry in member.applied] == [1, 2, 3]


def test_learners_receive_everything_and_commit_nothing(impl: ModuleType) -> None:
    network = Network(impl, 2, learners=(3,))
    network.campaign(1)
    network.propose(1, b"a")
    assert network[3].data == [b"a"]
    assert network[1].progress(3)["learner"]
    network.isolate(2)
    network.propose(1, b"b")
    assert network[1].committed == 2 and network[1].progress(3)["match"] == 3


def test_an_advanced_commit_index_is_told_at_once(impl: ModuleType) -> None:
    member = leader(impl, 2, 3)
    member.propose()
    told = member.acknowledge(2)
    assert [(m.kind, m.to, m.commit, m.entries) for m in told] == [(MSG_APP, 2, 2, []), (MSG_APP, 3, 2, [])]
    # 3 has been told: its acknowledgement is not answered.
    assert member.acknowledge(3) == []


def test_a_late_acknowledgement_learns_the_commit_index(impl: ModuleType) -> None:
    member = leader(impl, 2)
    assert member.committed == 1
    (told,) = member.acknowledge(3)
    assert (told.kind, told.to, told.commit) == (MSG_APP, 3, 1)


def test_heartbeats_commit_only_what_the_follower_acknowledged(impl: ModuleType) -> None:
    member = leader(impl, 2, 3)
    for _ in range(3):
        member.propose()
    member.acknowledge(2)
    member.acknowledge(3, 2)
    assert member.committed == 4
    assert {m.to: m.commit for m in member.tick()} == {2: 4, 3: 2}
    # The last thing that a member was told, whether by an append or by a heartbeat.
    assert (member.progress(2)["sent_commit"], member.progress(3)["sent_commit"]) == (4, 2)


# --- proposals -----------------------------------------------------------------------------------


def test_a_proposal_without_a_leader_is_refused(impl: ModuleType) -> None:
    member = Member(impl)
    with pytest.raises(impl.ProposalDropped, match="no leader"):
        member.propose()


def test_a_follower_passes_a_proposal_on(impl: ModuleType) -> None:
    network = Network(impl, 3)
    network.campaign(1)
    network.propose(3, b"from three")
    assert [m.data for m in network.members.values()] == [[b"from three"]] * 3
    (forwarded,) = only(network.sent, MSG_PROP)
    assert (forwarded.sender, forwarded.to, forwarded.term) == (3, 1, 0)


def test_a_follower_told_not_to_forward_refuses(impl: ModuleType) -> None:
    network = Network(impl, 3, forward_proposals=False)
    network.campaign(1)
    with pytest.raises(impl.ProposalDropped, match="forwarding is off"):
        network[3].propose()
    network.propose(1, b"own")
    assert network[3].data == [b"own"]


def test_a_proposal_keeps_its_data_and_order(impl: ModuleType) -> None:
    network = Network(impl, 3)
    network.campaign(1)
    data = [bytes([n]) * n for n in range(1, 20)]
    for number, one in enumerate(data):
        network.propose(number % 3 + 1, one)
    assert [m.data for m in network.members.values()] == [data] * 3
    assert [entry.index for entry in network[2].applied] == list(range(1, 21))


def test_several_proposals_in_one_message_get_consecutive_places(impl: ModuleType) -> None:
    member = leader(impl, 2)
    (sent,) = member.step(MSG_PROP, 2, term=0, entries=[impl.Entry(0, 0, b"a"), impl.Entry(0, 0, b"b")])
    assert [(e.index, e.term, e.data) for e in sent.entries] == [(2, 1, b"a"), (3, 1, b"b")]
    with pytest.raises(impl.ProposalDropped):
        member.step(MSG_PROP, 2, term=0)


def test_an_empty_proposal_is_an_entry_like_any_other(impl: ModuleType) -> None:
    network = Network(impl, 3, max_entry_bytes=0, max_uncommitted_bytes=0)
    network.campaign(1)
    for _ in range(5):
        network.propose(1, b"")
    assert network.agree() and network[3].log.last == 6 and network[3].committed == 6


def test_bytes_that_are_not_committed_are_capped(impl: ModuleType) -> None:
    member = leader(impl, 2, 3, max_entry_bytes=KIB, max_uncommitted_bytes=2 * KIB)
    member.propose(bytes(KIB))
    member.propose(bytes(KIB))
    with pytest.raises(impl.ProposalDropped, match="not committed yet"):
        member.propose(b"x")
    assert member.terms == [1, 1, 1]
    # Nothing to count: it always fits.
    member.propose(b"")
    member.acknowledge(2, 2)
    member.propose(bytes(KIB))
    with pytest.raises(impl.ProposalDropped):
        member.propose(b"x")
    member.acknowledge(2)
    assert member.uncommitted_bytes == 0
    # One proposal always fits into an empty room, whatever its size.
    member.propose(bytes(5 * KIB))
    with pytest.raises(impl.ProposalDropped):
        member.propose(b"x")


def test_what_is_applied_makes_room_once(impl: ModuleType) -> None:
    member = leader(impl, 2, 3)
    for size in (10, 20, 30):
        member.propose(bytes(size))
    room = [member.uncommitted_bytes]
    for index in (2, 3, 4):
        member.acknowledge(2, index)
        room.append(member.uncommitted_bytes)
    assert room == [60, 50, 30, 0]


def test_the_cap_starts_anew_with_a_term(impl: ModuleType) -> None:
    network = Network(impl, 3, max_entry_bytes=8, max_uncommitted_bytes=8)
    network.campaign(1)
    network.isolate(1)
    network.propose(1, bytes(8))
    with pytest.raises(impl.ProposalDropped):
        network.propose(1, b"x")
    network.campaign(2)
    network.heal()
    network.tick(2)
    network.campaign(1)
    assert network[1].uncommitted_bytes == 0
    # Entries of another leader, which were never counted, do not make room when they are applied.
    network.propose(1, bytes(8))
    assert network.agree() and network[1].uncommitted_bytes == 0


CHANGE = ConfChange.parse("v4", v1=True).encode()


def propose_change(member: Member) -> None:
    """A proposal of another kind, as it comes from a peer."""
    core = structures(member.impl)
    entry = core.Entry(0, 0, CHANGE, ENTRY_CONF_CHANGE)
    member.node.step(core.Message(MSG_PROP, sender=member.node.core.id, entries=[entry]))


def test_kinds_of_entries_reach_the_state_machine(impl: ModuleType) -> None:
    member = Member(impl, 1, (1,))
    member.lead_with()
    propose_change(member)
    member.take()
    assert [(e.kind, e.data) for e in member.applied] == [(ENTRY_NORMAL, b""), (ENTRY_CONF_CHANGE, CHANGE)]


def test_a_forwarded_proposal_keeps_kind_and_data(impl: ModuleType) -> None:
    member = Member(impl)
    member.step(MSG_HEARTBEAT, 2, term=1)
    propose_change(member)
    (forwarded,) = member.take()
    assert (forwarded.kind, forwarded.to) == (MSG_PROP, 2)
    assert [(e.kind, e.data) for e in forwarded.entries] == [(ENTRY_CONF_CHANGE, CHANGE)]


# --- handing leadership over ---------------------------------------------------------------------


@pytest.mark.parametrize("asked", [1, 2, 3])
@pytest.mark.parametrize("guards", [False, True])
def test_a_member_that_has_everything_takes_over_at_once(impl: ModuleType, asked: int, guards: bool) -> None:
    # Asked at the leader, at the one that is to lead, or at a third.
    network = Network(impl, 3, pre_vote=guards, check_quorum=guards)
    network.campaign(1)
    network[asked].node.transfer_leader(2)
    network.deliver()
    assert network.roles() == "FLF" and network[1].term == 2
    assert network.agree()
    # And back.
    network[asked].node.transfer_leader(1)
    network.deliver()
    assert network.roles() == "LFF"


def test_a_slow_member_gets_the_missing_entries_first(impl: ModuleType) -> None:
    network = Network(impl, 3)
    network.campaign(1)
    network.isolate(3)
    network.propose(1, b"a")
    network.propose(1, b"b")
    network[1].node.transfer_leader(3)
    network.deliver()
    assert network[1].node.status()["transferee"] == 3 and only(network.sent, MSG_TIMEOUT_NOW) == []
    network.heal()
    network.tick(1)
    assert network.roles() == "FFL" and network.agree()
    assert network[3].data == [b"a", b"b"]


def test_a_member_whose_last_acknowledgement_is_missing_is_asked_for_it(impl: ModuleType) -> None:
    member = leader(impl, 2, 3)
    member.propose()
    member.node.transfer_leader(2)
    (asked,) = member.take()
    assert (asked.kind, asked.to, asked.index, asked.entries) == (MSG_APP, 2, 2, [])
    assert (MSG_TIMEOUT_NOW, 2) in [(m.kind, m.to) for m in member.acknowledge(2)]


def test_an_attempt_ends_after_an_election_timeout(impl: ModuleType) -> None:
    network = Network(impl, 3)
    network.campaign(1)
    network.isolate(3)
    network.propose(1)
    network[1].node.transfer_leader(3)
    network.tick(1, 9)
    assert network[1].transferee == 3
    network.tick(1)
    assert network[1].transferee == 0 and network[1].role == LEADER
    network.propose(1, b"again")
    assert network[2].data == [b"x", b"again"]


def test_an_attempt_has_a_whole_election_timeout(impl: ModuleType) -> None:
    member = leader(impl, 2)
    member.tick(8)
    member.node.transfer_leader(3)
    member.tick(9)
    assert member.transferee == 3
    member.tick()
    assert member.transferee == 0


def test_no_proposals_while_leadership_is_handed_over(impl: ModuleType) -> None:
    member = leader(impl, 2)
    member.node.transfer_leader(3)
    with pytest.raises(impl.ProposalDropped, match="being transferred"):
        member.propose()
    assert member.terms == [1]


@pytest.mark.parametrize("target", [1, 4, 99])
def test_leadership_is_not_handed_to_oneself_a_learner_or_a_stranger(impl: ModuleType, target: int) -> None:
    network = Network(impl, 3, learners=(4,))
    network.campaign(1)
    network[1].node.transfer_leader(target)
    network.deliver()
    assert network.roles() == "LFFF"
    assert network[1].transferee == 0 and only(network.sent, MSG_TIMEOUT_NOW) == []


def test_another_target_replaces_the_first_and_the_leader_itself_ends_the_attempt(impl: ModuleType) -> None:
    member = leader(impl, 2)
    member.node.transfer_leader(3)
    assert member.transferee == 3
    member.node.transfer_leader(2)
    assert member.transferee == 2
    assert [(m.kind, m.to) for m in member.take()] == [(MSG_TIMEOUT_NOW, 2)]
    member.node.transfer_leader(1)
    assert member.transferee == 0
    member.propose()


def test_the_same_target_again_does_not_prolong_the_attempt(impl: ModuleType) -> None:
    member = leader(impl, 2)
    member.node.transfer_leader(3)
    member.tick(5)
    member.node.transfer_leader(3)
    member.tick(5)
    assert member.transferee == 0


def test_a_leader_deposed_during_a_transfer_forgets_it(impl: ModuleType) -> None:
    member = leader(impl, 2)
    member.node.transfer_leader(3)
    member.step(MSG_VOTE, 2, term=2, index=1, log_term=1)
    assert (member.role, member.term, member.vote, member.transferee) == (FOLLOWER, 2, 2, 0)


def test_a_follower_forwards_the_wish_and_without_leader_forgets_it(impl: ModuleType) -> None:
    member = Member(impl)
    member.node.transfer_leader(3)
    assert member.take() == []
    member.step(MSG_HEARTBEAT, 2, term=1)
    member.node.transfer_leader(3)
    (wish,) = member.take()
    assert (wish.kind, wish.to, wish.term, wish.hint) == (MSG_TRANSFER_LEADER, 2, 1, 3)


def test_only_a_voter_that_follows_obeys_the_order_to_take_over(impl: ModuleType) -> None:
    voter = Member(impl, hard=(1, 0, 0))
    assert {m.flags for m in voter.step(MSG_TIMEOUT_NOW, 2)} == {FLAG_TRANSFER} and voter.role == CANDIDATE
    # It campaigns already: not again.
    assert voter.step(MSG_TIMEOUT_NOW, 2) == [] and voter.term == 2
    learner = Member(impl, 3, (1, 2), learners=(3,), hard=(1, 0, 0))
    assert learner.step(MSG_TIMEOUT_NOW, 2) == [] and learner.role == FOLLOWER
    removed = Member(impl, 4, (1, 2, 3), hard=(1, 0, 0))
    assert removed.step(MSG_TIMEOUT_NOW, 2) == [] and removed.role == FOLLOWER
