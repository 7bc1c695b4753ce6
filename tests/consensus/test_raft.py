"""Elections and terms: votes, timeouts, pre-vote, check-quorum, the leader lease, strangers."""

from __future__ import annotations

from types import ModuleType

import pytest

from raftx.types import (
    CANDIDATE,
    ENTRY_CONF_CHANGE,
    FLAG_TRANSFER,
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    MSG_VOTE_RESP,
    PRE_CANDIDATE,
)
from tests.helpers.core_net import Member, Network, kinds, only

STRANGER = 99


def in_role(impl: ModuleType, role: int, **settings: object) -> Member:
    """Member 1 of three, in a role, in term 1 (a pre-candidate: 0)."""
    member = Member(impl, **settings)
    if role == FOLLOWER:
        member.step(MSG_HEARTBEAT, 2, term=1)
    elif role == LEADER:
        member.lead_with(2)
    else:
        member.campaign()
    assert member.role == role
    return member


# --- winning and losing --------------------------------------------------------------------------


@pytest.mark.parametrize("pre_vote", [False, True])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_campaign_in_a_healthy_cluster_is_won(impl: ModuleType, count: int, pre_vote: bool) -> None:
    network = Network(impl, count, pre_vote=pre_vote)
    network.campaign(1)
    assert network.roles() == "L" + "F" * (count - 1)
    assert {m.lead for m in network.members.values()} == {1}
    assert {m.term for m in network.members.values()} == {1}
    # The empty entry of the new term is in every log and committed everywhere.
    assert network.agree() and network[1].terms == [1] and network[1].committed == 1


@pytest.mark.parametrize(("count", "silent", "role"), [(3, 1, "L"), (3, 2, "C"), (5, 2, "L"), (5, 3, "C")])
def test_a_campaign_needs_a_majority(impl: ModuleType, count: int, silent: int, role: str) -> None:
    network = Network(impl, count)
    network.isolate(*range(count - silent + 1, count + 1))
    network.campaign(1)
    assert network.roles()[0] == role
    assert network[1].term == 1


def test_a_follower_starts_without_leader_and_without_messages(impl: ModuleType) -> None:
    member = Member(impl)
    assert (member.role, member.term, member.vote, member.lead) == (FOLLOWER, 0, 0, 0)
    assert not member.node.has_ready()


def test_a_candidate_raises_its_term_votes_for_itself_and_asks_everybody(impl: ModuleType) -> None:
    member = Member(impl, terms=[1, 2])
    asked = member.campaign()
    assert (member.role, member.term, member.vote) == (CANDIDATE, 3, 1)
    assert member.hard == impl.HardState(term=3, vote=1, commit=0)
    assert [(m.kind, m.to, m.term, m.index, m.log_term) for m in asked] == [
        (MSG_VOTE, 2, 3, 2, 2),
        (MSG_VOTE, 3, 3, 2, 2),
    ]


def test_a_candidate_does_not_win_before_its_own_vote_is_durable(impl: ModuleType) -> None:
    member = Member(impl, 1, (1,))
    member.node.campaign()
    assert member.role == CANDIDATE
    ready = member.node.ready()
    assert ready.hard_state.vote == 1 and ready.must_sync
    assert member.role == CANDIDATE
    member.node.advance()
    assert member.role == LEADER


def test_a_split_vote_is_settled_in_the_next_term(impl: ModuleType) -> None:
    network = Network(impl, 4)
    network.loses = lambda m: m.kind == MSG_VOTE and {m.sender, m.to} in ({1, 4}, {2, 3})
    network[1].node.campaign()
    network[2].node.campaign()
    network.deliver()
    # Two votes each: nobody has three.
    assert network.roles()[:2] == "CC"
    assert [network[id].vote for id in (1, 2, 3, 4)] == [1, 2, 1, 2]
    network.heal()
    network.campaign(2)
    assert network.roles() == "FLFF"
    assert {m.term for m in network.members.values()} == {2}


def test_candidates_that_refuse_each_other_are_both_stopped_by_the_third(impl: ModuleType) -> None:
    network = Network(impl, 3)
    network.cut |= {(1, 3), (3, 1)}
    network[1].node.campaign()
    network[3].node.campaign()
    network.deliver()
    # 2 voted for 1, which asked first; 3 was refused by 2 and has not heard of 1.
    assert network.roles() == "LFC"
    network.heal()
    network.campaign(3)
    # Its term deposes the leader, but its log is behind: it cannot win.
    assert network.roles() == "FFF"
    assert {m.term for m in network.members.values()} == {2}


def test_a_refused_candidate_becomes_a_follower_of_its_own_term(impl: ModuleType) -> None:
    member = in_role(impl, CANDIDATE)
    member.step(MSG_VOTE_RESP, 2, reject=True)
    assert member.role == CANDIDATE
    member.step(MSG_VOTE_RESP, 3, reject=True)
    assert (member.role, member.term, member.vote) == (FOLLOWER, 1, 1)


def test_only_the_first_answer_of_a_member_counts(impl: ModuleType) -> None:
    member = Member(impl, 1, (1, 2, 3, 4, 5))
    member.campaign()
    for _ in range(3):
        member.step(MSG_VOTE_RESP, 2)
    assert member.role == CANDIDATE
    member.step(MSG_VOTE_RESP, 2, reject=True)
    member.step(MSG_VOTE_RESP, 3)
    assert member.role == LEADER


def test_a_learner_is_neither_asked_nor_counted_and_never_campaigns(impl: ModuleType) -> None:
    network = Network(impl, 2, learners=(3,))
    network.tick(3, 100)
    network.campaign(3)
    assert network[3].role == FOLLOWER and network[3].term == 0
    network.isolate(2)
    network.campaign(1)
    assert only(network.sent, MSG_VOTE, 3) == []
    assert network.roles()[0] == "C"
    network[1].step(MSG_VOTE_RESP, 3)
    assert network.roles()[0] == "C"


def test_a_learner_answers_a_request_for_its_vote(impl: ModuleType) -> None:
    # It may have been made a voter without knowing it yet.
    learner = Member(impl, 3, (1, 2), learners=(3,))
    (answer,) = learner.step(MSG_VOTE, 1, term=2)
    assert (answer.kind, answer.to, answer.reject) == (MSG_VOTE_RESP, 1, False)
    assert learner.hard.vote == 1


def test_a_member_outside_of_its_configuration_does_not_campaign(impl: ModuleType) -> None:
    member = Member(impl, 4, (1, 2, 3))
    assert member.tick(100) == [] and member.campaign() == []
    assert (member.role, member.term) == (FOLLOWER, 0)


def test_no_campaign_with_a_committed_change_of_membership_that_is_not_applied(impl: ModuleType) -> None:
    member = Member(impl, 1, (1, 2))
    change = impl.Entry(1, 1, b"", ENTRY_CONF_CHANGE)
    member.node.step(impl.Message(MSG_APP, sender=2, term=1, commit=1, entries=[change]))
    member.node.campaign()
    assert member.role == FOLLOWER
    member.take()
    assert [entry.kind for entry in member.applied] == [ENTRY_CONF_CHANGE]
    member.node.campaign()
    assert member.role == CANDIDATE


def test_campaigning_again_is_a_new_term_and_a_leader_does_not_campaign(impl: ModuleType) -> None:
    member = in_role(impl, CANDIDATE)
    member.campaign()
    assert member.term == 2
    leader = in_role(impl, LEADER)
    assert leader.campaign() == [] and leader.term == 1


def test_leadership_goes_round(impl: ModuleType) -> None:
    network = Network(impl, 3)
    for term, id in enumerate((1, 2, 3, 1), 1):
        network.campaign(id)
        assert [(m.id, m.term) for m in network.members.values() if m.role == LEADER] == [(id, term)]


def test_a_log_without_a_possibly_committed_entry_is_not_elected(impl: ModuleType) -> None:
    # 2 and 3 miss the entry that 1 and 4 and 5 have.
    network = Network(impl, 5, logs={1: [1, 1], 2: [1], 3: [1], 4: [1, 1], 5: [1, 1]})
    network.campaign(2)
    assert network.roles() == "FFFFF"
    network.campaign(4)
    assert network.roles() == "FFFLF" and network.agree()


# --- timeouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("election", [2, 3, 10])
def test_timeouts_are_drawn_from_the_whole_range_and_only_from_it(impl: ModuleType, election: int) -> None:
    member = Member(impl, election_ticks=election)
    drawn = set()
    for term in range(1, 60 * election):
        member.step(MSG_HEARTBEAT, 2, term=term)
        drawn.add(member.randomized_timeout)
    assert drawn == set(range(election, 2 * election))


def test_the_seed_decides_the_timeouts_and_the_id_makes_them_different(impl: ModuleType) -> None:
    def sequence(id: int, seed: int | None) -> list[int]:
        member = Member(impl, id, seed=seed, election_ticks=1000)
        drawn = []
        for term in range(1, 20):
            member.step(MSG_HEARTBEAT, 2 if id != 2 else 3, term=term)
            drawn.append(member.randomized_timeout)
        return drawn

    assert sequence(1, 5) == sequence(1, 5)
    assert len({tuple(sequence(id, seed)) for id in (1, 2, 3) for seed in (0, 1, 2, 2**64 - 1)}) == 12


def test_a_silent_leader_is_replaced_at_exactly_the_drawn_timeout(impl: ModuleType) -> None:
    member = in_role(impl, FOLLOWER)
    wait = member.randomized_timeout
    assert member.tick(wait - 1) == [] and member.role == FOLLOWER
    assert kinds(member.tick()) == [MSG_VOTE, MSG_VOTE]
    assert (member.role, member.term, member.lead) == (CANDIDATE, 2, 0)


def test_a_candidate_without_answers_tries_again_in_a_new_term(impl: ModuleType) -> None:
    member = in_role(impl, CANDIDATE)
    member.tick(member.randomized_timeout)
    assert (member.role, member.term) == (CANDIDATE, 2)


@pytest.mark.parametrize("kind", [MSG_APP, MSG_HEARTBEAT])
def test_what_the_leader_says_starts_the_timeout_anew(impl: ModuleType, kind: int) -> None:
    member = in_role(impl, FOLLOWER)
    for _ in range(5):
        member.tick(member.randomized_timeout - 1)
        member.step(kind, 2)
    assert (member.role, member.term, member.election_elapsed) == (FOLLOWER, 1, 0)


def test_a_granted_vote_starts_the_timeout_anew_but_a_refused_one_does_not(impl: ModuleType) -> None:
    member = Member(impl, terms=[1])
    member.tick(member.randomized_timeout - 1)
    elapsed = member.election_elapsed
    member.step(MSG_VOTE, 2, term=1)
    assert member.vote == 0 and member.election_elapsed == elapsed
    member.step(MSG_VOTE, 2, term=1, index=1, log_term=1)
    assert member.vote == 2 and member.election_elapsed == 0


def test_a_leader_beats_at_its_interval(impl: ModuleType) -> None:
    member = in_role(impl, LEADER, heartbeat_ticks=3)
    assert member.tick(2) == []
    assert [(m.kind, m.to) for m in member.tick()] == [(MSG_HEARTBEAT, 2), (MSG_HEARTBEAT, 3)]
    assert member.tick(2) == []


# --- the vote ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vote", "candidate", "granted"), [(0, 2, True), (2, 2, True), (2, 3, False), (0, 3, True), (1, 2, False)]
)
def test_one_vote_a_term_the_same_one_when_asked_again(
    impl: ModuleType, vote: int, candidate: int, granted: bool
) -> None:
    member = Member(impl, hard=(4, vote, 0))
    (answer,) = member.step(MSG_VOTE, candidate, term=4)
    assert (answer.kind, answer.to, answer.term, answer.reject) == (MSG_VOTE_RESP, candidate, 4, not granted)
    assert member.hard.vote == (candidate if granted else vote)


def test_a_vote_is_on_disk_before_it_is_sent(impl: ModuleType) -> None:
    member = Member(impl)
    member.node.step(impl.Message(MSG_VOTE, sender=2, term=3))
    ready = member.node.ready()
    assert ready.hard_state == impl.HardState(term=3, vote=2, commit=0)
    assert ready.must_sync and kinds(ready.messages) == [MSG_VOTE_RESP]


def test_a_vote_survives_a_restart(impl: ModuleType) -> None:
    member = Member(impl)
    member.step(MSG_VOTE, 2, term=3)
    member.start()
    (answer,) = member.step(MSG_VOTE, 3, term=3)
    assert answer.reject
    (answer,) = member.step(MSG_VOTE, 2, term=3)
    assert not answer.reject


def test_a_new_term_frees_the_vote(impl: ModuleType) -> None:
    member = Member(impl, hard=(3, 2, 0))
    (answer,) = member.step(MSG_VOTE, 3, term=4)
    assert not answer.reject and member.hard == impl.HardState(4, 3, 0)


def test_no_vote_in_a_term_whose_leader_is_known(impl: ModuleType) -> None:
    member = in_role(impl, FOLLOWER)
    (answer,) = member.step(MSG_VOTE, 3)
    assert answer.reject and member.vote == 0


@pytest.mark.parametrize(("vote", "refused"), [(0, False), (2, False), (3, True)])
def test_a_pre_vote_about_the_present_term_is_a_question_about_the_vote(
    impl: ModuleType, vote: int, refused: bool
) -> None:
    member = Member(impl, hard=(4, vote, 0))
    (answer,) = member.step(MSG_PRE_VOTE, 2, term=4)
    assert (answer.kind, answer.term, answer.reject) == (MSG_PRE_VOTE_RESP, 4, refused)
    assert member.vote == vote


@pytest.mark.parametrize("kind", [MSG_VOTE, MSG_PRE_VOTE])
@pytest.mark.parametrize("last", [(0, 0), (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2)])
def test_only_a_log_at_least_as_new_gets_the_vote(impl: ModuleType, kind: int, last: tuple[int, int]) -> None:
    """The last term decides, then the length."""
    member = Member(impl, terms=[1, 2])
    (answer,) = member.step(kind, 2, term=5, log_term=last[0], index=last[1])
    assert answer.reject == (last < (2, 2))


@pytest.mark.parametrize("role", [FOLLOWER, CANDIDATE, LEADER])
def test_a_higher_term_gets_the_vote_from_anybody(impl: ModuleType, role: int) -> None:
    member = in_role(impl, role)
    answers = only(member.step(MSG_VOTE, 3, term=9, index=5, log_term=5), MSG_VOTE_RESP)
    assert [(m.to, m.term, m.reject) for m in answers] == [(3, 9, False)]
    assert (member.role, member.term, member.vote, member.lead) == (FOLLOWER, 9, 3, 0)


@pytest.mark.parametrize("role", [FOLLOWER, CANDIDATE, LEADER])
def test_a_pre_vote_changes_nobody(impl: ModuleType, role: int) -> None:
    member = in_role(impl, role)
    before = member.node.status()
    (answer,) = member.step(MSG_PRE_VOTE, 3, term=9, index=5, log_term=5)
    # The answer carries the term that was asked about: the candidate would drop a lower one.
    assert (answer.kind, answer.to, answer.term, answer.reject) == (MSG_PRE_VOTE_RESP, 3, 9, False)
    assert member.node.status() == before


# --- terms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [FOLLOWER, CANDIDATE, LEADER])
@pytest.mark.parametrize(
    ("kind", "lead"),
    [(MSG_APP, 2), (MSG_HEARTBEAT, 2), (MSG_APP_RESP, 0), (MSG_HEARTBEAT_RESP, 0), (MSG_VOTE_RESP, 0)],
)
def test_a_higher_term_makes_a_follower(impl: ModuleType, role: int, kind: int, lead: int) -> None:
    member = in_role(impl, role)
    member.step(kind, 2, term=5)
    # Only what a leader sends tells who leads.
    assert (member.role, member.term, member.lead, member.vote) == (FOLLOWER, 5, lead, 0)
    assert member.hard.term == 5


@pytest.mark.parametrize("role", [FOLLOWER, CANDIDATE, LEADER])
@pytest.mark.parametrize(
    "kind", [MSG_APP, MSG_APP_RESP, MSG_HEARTBEAT, MSG_HEARTBEAT_RESP, MSG_VOTE, MSG_VOTE_RESP, MSG_TIMEOUT_NOW]
)
def test_a_lower_term_is_dropped(impl: ModuleType, role: int, kind: int) -> None:
    member = Member(impl, hard=(4, 0, 0))
    if role == FOLLOWER:
        member.step(MSG_HEARTBEAT, 3, term=5)
    elif role == CANDIDATE:
        member.campaign()
    else:
        member.lead_with(2)
    before = member.node.status()
    assert (before["role"], before["term"]) == (role, 5)
    assert member.step(kind, 2, term=4, index=9, log_term=4) == []
    assert member.node.status() == before


@pytest.mark.parametrize("kind", [MSG_APP, MSG_HEARTBEAT])
@pytest.mark.parametrize("setting", [None, "pre_vote", "check_quorum"])
def test_a_leader_of_an_earlier_term_is_told_when_votes_could_not_tell_it(
    impl: ModuleType, kind: int, setting: str | None
) -> None:
    member = Member(impl, hard=(3, 0, 0), **({setting: True} if setting else {}))
    answers = member.step(kind, 2, term=2)
    assert [(m.kind, m.to, m.term) for m in answers] == ([(MSG_APP_RESP, 2, 3)] if setting else [])
    assert member.lead == 0


def test_a_pre_vote_of_an_earlier_term_is_refused_with_the_present_one(impl: ModuleType) -> None:
    member = Member(impl, hard=(3, 0, 0))
    (answer,) = member.step(MSG_PRE_VOTE, 2, term=2)
    assert (answer.kind, answer.term, answer.reject) == (MSG_PRE_VOTE_RESP, 3, True)


@pytest.mark.parametrize("pre_vote", [False, True])
@pytest.mark.parametrize("kind", [MSG_APP, MSG_HEARTBEAT])
def test_a_candidate_gives_up_for_a_leader_of_its_own_term(impl: ModuleType, kind: int, pre_vote: bool) -> None:
    member = in_role(impl, PRE_CANDIDATE if pre_vote else CANDIDATE, pre_vote=pre_vote, hard=(1, 0, 0))
    term = member.term
    answers = member.step(kind, 3)
    assert (member.role, member.term, member.lead) == (FOLLOWER, term, 3)
    assert kinds(answers) == [MSG_APP_RESP if kind == MSG_APP else MSG_HEARTBEAT_RESP]


def test_messages_of_a_stranger_do_no_harm(impl: ModuleType) -> None:
    leader = in_role(impl, LEADER)
    before = leader.node.status()
    for kind in (MSG_APP_RESP, MSG_HEARTBEAT_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP):
        with pytest.raises(impl.UnknownPeer):
            leader.step(kind, STRANGER, index=1)
    assert leader.step(MSG_VOTE, STRANGER)[0].reject
    assert leader.node.status() == before
    candidate = Member(impl, 1, (1, 2, 3))
    candidate.campaign()
    with pytest.raises(impl.UnknownPeer):
        candidate.step(MSG_VOTE_RESP, STRANGER)
    assert candidate.role == CANDIDATE


def test_a_message_for_a_leader_without_sender_is_dropped(impl: ModuleType) -> None:
    leader = in_role(impl, LEADER)
    assert leader.step(MSG_TIMEOUT_NOW, STRANGER) == []
    assert leader.role == LEADER and leader.term == 1


# --- pre-vote ------------------------------------------------------------------------------------


def test_a_pre_candidate_keeps_term_and_vote_and_asks_about_the_next_term(impl: ModuleType) -> None:
    member = Member(impl, pre_vote=True, hard=(3, 2, 0))
    member.step(MSG_HEARTBEAT, 2)
    asked = member.campaign()
    assert (member.role, member.term, member.vote, member.lead) == (PRE_CANDIDATE, 3, 2, 0)
    assert [(m.kind, m.to, m.term) for m in asked] == [(MSG_PRE_VOTE, 2, 4), (MSG_PRE_VOTE, 3, 4)]
    # Asked in vain, it waits for a whole timeout.
    assert len(member.tick(2 * member.randomized_timeout)) == 4
    assert member.hard == impl.HardState(3, 2, 0)


def test_a_majority_of_pre_votes_starts_the_campaign(impl: ModuleType) -> None:
    member = Member(impl, pre_vote=True)
    member.campaign()
    asked = member.step(MSG_PRE_VOTE_RESP, 2, term=1)
    assert (member.role, member.term, member.vote) == (CANDIDATE, 1, 1)
    assert kinds(asked) == [MSG_VOTE, MSG_VOTE]
    # A pre-vote that comes late is no vote.
    member.step(MSG_PRE_VOTE_RESP, 3, term=1)
    assert member.role == CANDIDATE
    member.step(MSG_VOTE_RESP, 3)
    assert member.role == LEADER


def test_a_lost_pre_vote_costs_no_term(impl: ModuleType) -> None:
    member = Member(impl, pre_vote=True, hard=(3, 0, 0))
    member.campaign()
    member.step(MSG_PRE_VOTE_RESP, 2, term=3, reject=True)
    member.step(MSG_PRE_VOTE_RESP, 3, term=3, reject=True)
    assert (member.role, member.term) == (FOLLOWER, 3)


def test_a_refusal_from_a_later_term_brings_that_term(impl: ModuleType) -> None:
    member = Member(impl, pre_vote=True, hard=(3, 0, 0))
    member.campaign()
    member.step(MSG_PRE_VOTE_RESP, 2, term=8, reject=True)
    assert (member.role, member.term, member.lead) == (FOLLOWER, 8, 0)


def test_two_pre_candidates_do_not_disturb_a_leader(impl: ModuleType) -> None:
    network = Network(impl, 3, pre_vote=True)
    network.campaign(1)
    network.isolate(3)
    network.tick(3, 200)
    assert network[3].role == PRE_CANDIDATE and network[3].term == 1
    network.propose(1)
    network.heal()
    network.campaign(3)
    # Its log is behind: it is refused and goes back.
    assert network.roles() == "LFF" and network[3].term == 1
    network.tick(1)
    assert network[3].lead == 1 and network.agree()


def test_without_pre_vote_the_returning_member_deposes_the_leader(impl: ModuleType) -> None:
    network = Network(impl, 3)
    network.campaign(1)
    network.isolate(3)
    network.tick(3, 50)
    network.heal()
    term = network[3].term
    assert term > 1
    network[3].node.campaign()
    network.deliver()
    assert network[1].term == term + 1


def test_split_pre_votes_cost_no_terms(impl: ModuleType) -> None:
    network = Network(impl, 3, pre_vote=True)
    network.campaign(1)
    network.isolate(1)
    network[2].node.campaign()
    network[3].node.campaign()
    network.deliver()
    # Both got each other's pre-vote, both asked in term 2, each had voted for itself.
    assert network[2].term == network[3].term == 2
    network.campaign(2)
    assert network.roles()[1] == "L" and network[2].term == 3


def test_a_member_with_a_higher_term_and_a_shorter_log_does_not_block_pre_votes(impl: ModuleType) -> None:
    # 3 was cut off and has counted up; the others went on in term 2.
    network = Network(impl, 3, pre_vote=True, logs={1: [1, 2], 2: [1, 2], 3: [1]}, hards={3: (7, 3, 0)})
    network.isolate(2)
    network.campaign(1)
    # The refusal carries term 7 ...
    assert (network[1].role, network[1].term) == (FOLLOWER, 7)
    network.campaign(1)
    # ... and with it the next campaign is won, though 2 is away.
    assert network.roles()[0] == "L" and network[1].term == 8


def test_members_with_and_without_pre_vote_elect_a_leader(impl: ModuleType) -> None:
    network = Network(impl, 3)
    network[3].settings["pre_vote"] = True
    network[3].start()
    network.campaign(3)
    assert network.roles() == "FFL"
    network.campaign(1)
    assert network.roles() == "LFF"


# --- check-quorum and the lease ------------------------------------------------------------------


def test_a_leader_steps_down_without_a_quorum_after_an_election_timeout(impl: ModuleType) -> None:
    member = in_role(impl, LEADER, check_quorum=True)
    member.tick(10)
    # The vote it was elected with does not count as a sign of life.
    assert (member.role, member.term, member.lead) == (FOLLOWER, 1, 0)


def test_any_answer_of_a_quorum_keeps_a_leader_in_office(impl: ModuleType) -> None:
    member = Member(impl, 1, (1, 2, 3, 4, 5), check_quorum=True)
    member.lead_with(2, 3)
    for kind in (MSG_HEARTBEAT_RESP, MSG_APP_RESP, MSG_HEARTBEAT_RESP):
        member.step(kind, 4)
        member.step(MSG_HEARTBEAT_RESP, 5)
        member.tick(10)
        assert member.role == LEADER
    # Everybody has to prove life again in each period.
    member.step(MSG_HEARTBEAT_RESP, 5)
    member.tick(10)
    assert member.role == FOLLOWER


def test_learners_do_not_keep_a_leader_in_office(impl: ModuleType) -> None:
    member = Member(impl, 1, (1, 2), learners=(3, 4), check_quorum=True)
    member.lead_with(2)
    member.step(MSG_HEARTBEAT_RESP, 3)
    member.step(MSG_HEARTBEAT_RESP, 4)
    member.tick(10)
    assert member.role == FOLLOWER


def test_without_check_quorum_a_lonely_leader_stays(impl: ModuleType) -> None:
    member = in_role(impl, LEADER)
    member.tick(100)
    assert member.role == LEADER


def test_check_quorum_counts_both_halves_of_a_joint_configuration(impl: ModuleType) -> None:
    member = Member(impl, 1, (1, 2, 3), outgoing=(1, 4, 5), check_quorum=True)
    member.lead_with(2, 4)
    member.step(MSG_HEARTBEAT_RESP, 2)
    member.step(MSG_HEARTBEAT_RESP, 5)
    member.tick(10)
    assert member.role == LEADER
    member.step(MSG_HEARTBEAT_RESP, 2)
    member.step(MSG_HEARTBEAT_RESP, 3)
    member.tick(10)
    assert member.role == FOLLOWER


@pytest.mark.parametrize("kind", [MSG_VOTE, MSG_PRE_VOTE])
@pytest.mark.parametrize("role", [FOLLOWER, LEADER])
def test_within_the_lease_a_candidate_gets_no_answer(impl: ModuleType, role: int, kind: int) -> None:
    member = in_role(impl, role, check_quorum=True)
    before = member.node.status()
    assert member.step(kind, 3, term=7, index=9, log_term=6) == []
    assert member.node.status() == before


def test_after_the_lease_a_candidate_is_heard(impl: ModuleType) -> None:
    member = in_role(impl, FOLLOWER, check_quorum=True)
    member.node.core.randomized_timeout = 15
    member.tick(9)
    assert member.step(MSG_VOTE, 3, term=2) == []
    member.tick()
    (answer,) = member.step(MSG_VOTE, 3, term=2)
    assert not answer.reject and member.term == 2


def test_a_member_that_knows_no_leader_gives_no_lease(impl: ModuleType) -> None:
    member = Member(impl, check_quorum=True, hard=(1, 0, 0))
    assert not member.step(MSG_VOTE, 3, term=2)[0].reject


def test_a_transfer_overrides_the_lease(impl: ModuleType) -> None:
    member = in_role(impl, FOLLOWER, check_quorum=True)
    (answer,) = member.step(MSG_VOTE, 3, term=2, flags=FLAG_TRANSFER)
    assert not answer.reject and member.vote == 3


def test_a_member_told_to_take_over_marks_its_requests_and_skips_the_pre_vote(impl: ModuleType) -> None:
    member = in_role(impl, FOLLOWER, pre_vote=True, check_quorum=True)
    asked = member.step(MSG_TIMEOUT_NOW, 2)
    assert [(m.kind, m.term, m.flags) for m in asked] == [(MSG_VOTE, 2, FLAG_TRANSFER)] * 2
    # An ordinary campaign is not marked.
    assert {m.flags for m in in_role(impl, CANDIDATE).campaign()} == {0}


def test_a_stuck_candidate_is_freed_by_the_answer_it_gives_to_its_leader(impl: ModuleType) -> None:
    network = Network(impl, 3, check_quorum=True)
    network.campaign(1)
    network.isolate(3)
    network[3].node.campaign()
    network.deliver()
    network.heal()
    network.campaign(3)
    # In lease: nobody answers, and 3 alone has a higher term.
    assert network.roles() == "LFC" and network[3].term == 3
    network.tick(1)
    # 3 answered the heartbeat with its term: the leader stepped down, and 3 can be elected.
    assert (network[1].role, network[1].term) == (FOLLOWER, 3)
    for id in (1, 2):
        network[id].node.core.randomized_timeout = 100
    network.tick(2, 10)
    network.campaign(3)
    assert network.roles() == "FFL" and network.agree()


def test_a_removed_member_does_not_disturb_members_in_their_lease(impl: ModuleType) -> None:
    network = Network(impl, 3, check_quorum=True)
    network.campaign(1)
    for member in network.members.values():
        assert member.step(MSG_VOTE, STRANGER, term=50, index=50, log_term=49) == []
    assert network.roles() == "LFF" and network[1].term == 1


def test_losing_the_quorum_and_winning_it_back(impl: ModuleType) -> None:
    network = Network(impl, 5, check_quorum=True)
    network.campaign(1)
    network.isolate(1, 2)
    for id in (4, 5):
        network[id].node.core.randomized_timeout = 100
        network.tick(id, 10)
    network[3].node.core.randomized_timeout = 10
    network.tick(3, 10)
    # Answers of the first period keep it in office for one more.
    network.tick(1, 20)
    assert network.roles() == "FFLFF"
    network.heal()
    network.tick(3)
    assert {m.lead for m in network.members.values()} == {3} and network.agree()


# --- what does not belong to a role --------------------------------------------------------------


def test_a_proposal_to_a_candidate_is_refused(impl: ModuleType) -> None:
    for role in (CANDIDATE, PRE_CANDIDATE):
        member = in_role(impl, role, pre_vote=role == PRE_CANDIDATE)
        with pytest.raises(impl.ProposalDropped, match="no leader"):
            member.propose()
        with pytest.raises(impl.ProposalDropped):
            member.step(MSG_PROP, 2, term=0, entries=[impl.Entry(0, 0, b"x")])
        assert member.terms == []


def test_a_leader_takes_no_appends_of_its_own_term(impl: ModuleType) -> None:
    # It cannot happen: nobody else leads in this term. Nothing is overwritten if it does.
    member = in_role(impl, LEADER)
    assert member.append([1, 1], term=1) == []
    assert member.terms == [1] and member.role == LEADER
