"""The paper's rules one by one, as the Raft paper numbers them: counterparts of etcd's and raft-rs's paper tests.

Sections are those of "In Search of an Understandable Consensus Algorithm" (extended version). The tables are the
ancestors'; where raft-rs begins with a snapshot at index 1, its numbers are one higher. Elections are in the general
tests too; here each rule stands alone.
"""

from __future__ import annotations

from types import ModuleType

import pytest

from raftx.types import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_VOTE,
    MSG_VOTE_RESP,
)
from tests.helpers.core_net import Member, Network, only

ELECTION_TICKS = 10


def in_role(impl: ModuleType, role: int, id: int = 1, voters: tuple[int, ...] = (1, 2, 3), seed: int = 7) -> Member:
    """A member in term 1 with that role; a follower knows the leader 2."""
    member = Member(impl, id, voters, election_ticks=ELECTION_TICKS, heartbeat_ticks=1, seed=seed)
    if role == FOLLOWER:
        member.step(MSG_HEARTBEAT, 2, term=1)
    elif role == CANDIDATE:
        member.campaign()
    else:
        member.lead_with(2)
    assert (member.role, member.term) == (role, 1)
    return member


def acknowledge(leader: Member, appends: list[object]) -> None:
    """Answer every append of ``appends`` with success; in the order they were sent."""
    for m in only(appends, MSG_APP):
        leader.acknowledge(m.to, m.index + m.count)


def leader_of(impl: ModuleType, count: int) -> Member:
    """Member 1 leads ``count`` members in term 1, and its empty entry is committed and applied."""
    member = Member(impl, 1, range(1, count + 1), election_ticks=ELECTION_TICKS)
    acknowledge(member, member.lead_with(*range(2, count + 1)))
    assert (member.committed, member.applied[-1].index) == (1, 1)
    return member


# --- 5.1: terms -----------------------------------------------------------------------------------


def update_term_from_message(impl: ModuleType, role: int) -> None:
    member = in_role(impl, role)
    member.step(MSG_APP, 2, term=2)
    assert (member.term, member.role, member.lead) == (2, FOLLOWER, 2)


def test_follower_update_term_from_message(impl: ModuleType) -> None:
    """5.1: whoever hears of a higher term takes it over."""
    update_term_from_message(impl, FOLLOWER)


def test_candidate_update_term_from_message(impl: ModuleType) -> None:
    """5.1: a candidate of an older term is a follower of the newer one."""
    update_term_from_message(impl, CANDIDATE)


def test_leader_update_term_from_message(impl: ModuleType) -> None:
    """5.1: so is a leader."""
    update_term_from_message(impl, LEADER)


@pytest.mark.parametrize("kind", [MSG_APP, MSG_HEARTBEAT, MSG_VOTE, MSG_VOTE_RESP, MSG_APP_RESP])
def test_reject_stale_term_message(impl: ModuleType, kind: int) -> None:
    """5.1: what comes from an older term changes nothing. Like its ancestors raftx does not even answer."""
    member = Member(impl, hard=(2, 0, 0))
    before = member.node.status()
    assert member.step(kind, 2, term=1, index=5, commit=3) == []
    assert member.node.status() == before


# --- 5.2: elections -------------------------------------------------------------------------------


def test_start_as_follower(impl: ModuleType) -> None:
    """5.2: every server begins as a follower."""
    member = Member(impl)
    assert (member.role, member.lead) == (FOLLOWER, 0)


def test_leader_bcast_beat(impl: ModuleType) -> None:
    """5.2: with every heartbeat interval each follower gets a heartbeat, without index, log term and entries."""
    leader = in_role(impl, LEADER)
    for _ in range(10):
        leader.propose()
    beats = only(leader.tick(), MSG_HEARTBEAT)
    assert [(m.to, m.term, m.index, m.log_term, m.commit, m.entries) for m in beats] == [
        (2, 1, 0, 0, 0, []),
        (3, 1, 0, 0, 0, []),
    ]


def start_election(impl: ModuleType, role: int) -> None:
    member = in_role(impl, role)
    sent = []
    for _ in range(2 * ELECTION_TICKS - 1):
        sent += member.tick()
        if member.term == 2:
            break
    assert (member.term, member.role, member.vote) == (2, CANDIDATE, 1)
    assert member.tracker.votes_granted == 1  # its own, that of slot 0
    assert [(m.kind, m.to, m.term, m.index, m.log_term) for m in sent] == [
        (MSG_VOTE, 2, 2, 0, 0),
        (MSG_VOTE, 3, 2, 0, 0),
    ]


def test_follower_start_election(impl: ModuleType) -> None:
    """5.2: a follower that hears nothing raises its term, votes for itself and asks all others."""
    start_election(impl, FOLLOWER)


def test_candidate_start_new_election(impl: ModuleType) -> None:
    """5.2: a candidate without a majority begins again in another term."""
    start_election(impl, CANDIDATE)


@pytest.mark.parametrize(
    ("count", "votes", "role"),
    [
        (1, {}, LEADER),
        (3, {2: True, 3: True}, LEADER),
        (3, {2: True}, LEADER),
        (5, {2: True, 3: True, 4: True, 5: True}, LEADER),
        (5, {2: True, 3: True, 4: True}, LEADER),
        (5, {2: True, 3: True}, LEADER),
        # A majority says no.
        (3, {2: False, 3: False}, FOLLOWER),
        (5, {2: False, 3: False, 4: False, 5: False}, FOLLOWER),
        (5, {2: True, 3: False, 4: False, 5: False}, FOLLOWER),
        # No majority either way.
        (3, {}, CANDIDATE),
        (5, {2: True}, CANDIDATE),
        (5, {2: False, 3: False}, CANDIDATE),
        (5, {}, CANDIDATE),
    ],
)
def test_leader_election_in_one_round_rpc(impl: ModuleType, count: int, votes: dict[int, bool], role: int) -> None:
    """5.2: one round of requests ends in a victory, a defeat, or open."""
    member = Member(impl, 1, range(1, count + 1))
    member.campaign()
    for id, granted in votes.items():
        member.step(MSG_VOTE_RESP, id, reject=not granted)
    assert (member.role, member.term) == (role, 1)


@pytest.mark.parametrize(
    ("vote", "candidate", "granted"),
    [(0, 2, True), (0, 3, True), (2, 2, True), (3, 3, True), (2, 3, False), (3, 2, False)],
)
def test_follower_vote(impl: ModuleType, vote: int, candidate: int, granted: bool) -> None:
    """5.2: one vote a term, to the first who asks."""
    member = Member(impl, hard=(1, vote, 0))
    (answer,) = member.step(MSG_VOTE, candidate, term=1)
    assert (answer.kind, answer.to, answer.term, answer.reject) == (MSG_VOTE_RESP, candidate, 1, not granted)
    assert member.hard.vote == (candidate if granted else vote)


@pytest.mark.parametrize("term", [1, 2])
def test_candidate_fallback(impl: ModuleType, term: int) -> None:
    """5.2: an append of its own or a higher term tells a candidate that there is a leader."""
    member = in_role(impl, CANDIDATE)
    member.step(MSG_APP, 2, term=term)
    assert (member.role, member.term, member.lead) == (FOLLOWER, term, 2)


def timeout_randomized(impl: ModuleType, role: int) -> None:
    member = in_role(impl, role)
    seen = set()
    for _ in range(50 * ELECTION_TICKS):
        term = member.term
        if role == FOLLOWER:
            term += 1
            member.step(MSG_HEARTBEAT, 2, term=term)
        else:
            assert member.role == CANDIDATE
        ticks = 0
        while member.term == term:
            member.tick()
            ticks += 1
        seen.add(ticks)
    assert seen == set(range(ELECTION_TICKS, 2 * ELECTION_TICKS))


def test_follower_election_timeout_randomized(impl: ModuleType) -> None:
    """5.2: every timeout from one election timeout up to, but not including, two of them occurs, and no other."""
    timeout_randomized(impl, FOLLOWER)


def test_candidate_election_timeout_randomized(impl: ModuleType) -> None:
    """5.2: so it is for a candidate, whose timeout is drawn with every campaign."""
    timeout_randomized(impl, CANDIDATE)


def timeout_nonconflict(impl: ModuleType, role: int) -> None:
    voters = (1, 2, 3, 4, 5)
    members = [Member(impl, id, voters, election_ticks=ELECTION_TICKS, seed=11) for id in voters]
    rounds, conflicts = 300, 0
    for _ in range(rounds):
        term = max([member.term for member in members]) + 1
        for member in members:
            # All are followers of this term, whose patience begins now; candidates go one term further together.
            member.step(MSG_HEARTBEAT, 1 + member.id % 5, term=term)
            if role == CANDIDATE:
                member.campaign()
            assert member.role == role
        assert len({member.term for member in members}) == 1
        fired = 0
        while fired == 0:
            fired = len([1 for member in members if only(member.tick(), MSG_VOTE)])
        conflicts += fired > 1
    assert conflicts <= 0.3 * rounds


def test_followers_election_timeout_nonconflict(impl: ModuleType) -> None:
    """5.2, follower_election_timeout_nonconflict: of five followers mostly one alone loses patience first.

    At most three of ten rounds may see two. The timeouts are drawn from a fixed seed: every run is the same.
    """
    timeout_nonconflict(impl, FOLLOWER)


def test_candidates_election_timeout_nonconflict(impl: ModuleType) -> None:
    """5.2, candidates_election_timeout_nonconf: the same for five candidates."""
    timeout_nonconflict(impl, CANDIDATE)


# --- 5.3: replication -----------------------------------------------------------------------------


def test_leader_start_replication(impl: ModuleType) -> None:
    """5.3: a proposal is appended, handed to the disk, and sent to all with the place that it follows."""
    leader = leader_of(impl, 3)
    leader.node.propose(b"some data")
    ready = leader.node.ready()
    entry = impl.Entry(2, 1, b"some data")
    assert (leader.log.last, leader.committed) == (2, 1)
    assert ready.entries == [entry] and ready.must_sync
    assert [(m.kind, m.to, m.term, m.index, m.log_term, m.commit, m.entries) for m in ready.messages] == [
        (MSG_APP, to, 1, 1, 1, 1, [entry]) for to in (2, 3)
    ]


def test_leader_commit_entry(impl: ModuleType) -> None:
    """5.3: what a majority has is handed to the state machine, and the followers are told how far that is."""
    leader = leader_of(impl, 3)
    sent = leader.propose(b"some data")
    told = leader.acknowledge(2)
    assert leader.committed == 2
    assert leader.applied[1:] == [impl.Entry(2, 1, b"some data")]
    assert [(m.kind, m.to, m.commit) for m in told] == [(MSG_APP, 2, 2), (MSG_APP, 3, 2)]
    assert leader.acknowledge(3) == [] and len(only(sent, MSG_APP)) == 2


@pytest.mark.parametrize(
    ("count", "acceptors", "committed"),
    [
        (1, (), True),
        (3, (), False),
        (3, (2,), True),
        (3, (2, 3), True),
        (5, (), False),
        (5, (2,), False),
        (5, (2, 3), True),
        (5, (2, 3, 4), True),
        (5, (2, 3, 4, 5), True),
    ],
)
def test_leader_acknowledge_commit(impl: ModuleType, count: int, acceptors: tuple[int, ...], committed: bool) -> None:
    """5.3: an entry is committed once its leader has it on a majority."""
    leader = leader_of(impl, count)
    leader.propose(b"some data")
    for id in acceptors:
        leader.acknowledge(id, 2)
    assert leader.committed == (2 if committed else 1)


@pytest.mark.parametrize("terms", [[], [2], [1, 2], [1]])
def test_leader_commit_preceding_entries(impl: ModuleType, terms: list[int]) -> None:
    """5.3: with its own entry a leader commits all before it, whoever created them, and applies them in order."""
    leader = Member(impl, terms=terms, hard=(2, 0, 0))
    leader.lead_with(2)
    leader.propose(b"some data")
    leader.acknowledge(2)
    last = len(terms)
    assert [(entry.index, entry.term) for entry in leader.applied] == [
        *enumerate(terms, 1),
        (last + 1, 3),
        (last + 2, 3),
    ]
    assert leader.applied[-1].data == b"some data" and leader.applied[-2].data == b""


@pytest.mark.parametrize(
    ("data", "commit"),
    [
        ([b"some data"], 1),
        ([b"some data", b"some data2"], 2),
        ([b"some data2", b"some data"], 2),
        ([b"some data", b"some data2"], 1),
    ],
)
def test_follower_commit_entry(impl: ModuleType, data: list[bytes], commit: int) -> None:
    """5.3: a follower applies what it is told is committed, in the order of the log."""
    follower = in_role(impl, FOLLOWER)
    entries = [impl.Entry(index, 1, each) for index, each in enumerate(data, 1)]
    follower.step(MSG_APP, 2, entries=entries, commit=commit)
    assert follower.committed == commit
    assert follower.applied == entries[:commit]


@pytest.mark.parametrize(
    ("log_term", "index", "answer", "hint"),
    [
        (0, 0, 1, None),  # committed already: answered with what is committed
        (1, 1, 1, None),
        (2, 2, 2, None),  # there, but not committed
        (1, 2, 2, (1, 1)),  # another term stands there
        (3, 3, 3, (2, 2)),  # nothing stands there
    ],
)
def test_follower_check_msg_append(
    impl: ModuleType, log_term: int, index: int, answer: int, hint: tuple[int, int] | None
) -> None:
    """5.3, FollowerCheckMsgApp: without the entry that an append follows it is refused, with a hint.

    The hint (index, term) is etcd's; raft-rs's has no term.
    """
    follower = Member(impl, terms=[1, 2], hard=(2, 0, 1))
    (sent,) = follower.append(index=index, log_term=log_term, term=2)
    assert (sent.kind, sent.to, sent.term, sent.index, sent.reject) == (MSG_APP_RESP, 2, 2, answer, hint is not None)
    assert (sent.hint, sent.log_term) == (hint or (0, 0))


@pytest.mark.parametrize(
    ("index", "log_term", "terms", "log", "unstable"),
    [
        (2, 2, [3], [1, 2, 3], [(3, 3)]),
        (1, 1, [3, 4], [1, 3, 4], [(2, 3), (3, 4)]),
        (0, 0, [1], [1, 2], []),
        (0, 0, [3], [3], [(1, 3)]),
    ],
)
def test_follower_append_entries(
    impl: ModuleType, index: int, log_term: int, terms: list[int], log: list[int], unstable: list[tuple[int, int]]
) -> None:
    """5.3: a conflicting entry goes with all that follow it, and what is new goes to the disk, and only that."""
    follower = Member(impl, terms=[1, 2])
    entries = [impl.Entry(at, term, b"") for at, term in enumerate(terms, index + 1)]
    follower.node.step(impl.Message(MSG_APP, to=1, sender=2, term=2, index=index, log_term=log_term, entries=entries))
    ready = follower.node.ready()
    assert follower.terms == log
    assert [(entry.index, entry.term) for entry in ready.entries] == unstable


@pytest.mark.parametrize(
    "terms",
    [
        [1, 1, 1, 4, 4, 5, 5, 6, 6],
        [1, 1, 1, 4],
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        [1, 1, 1, 4, 4, 4, 4],
        [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ],
)
def test_leader_sync_follower_log(impl: ModuleType, terms: list[int]) -> None:
    """5.3, figure 7: a leader makes the log of each of these followers its own."""
    log = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
    network = Network(impl, 3, logs={1: log, 2: terms}, hards={1: (8, 0, len(log)), 2: (7, 0, 0)})
    # The follower's log may be the newer one: the third member elects, and takes part in nothing else.
    network.isolate(3)
    network.campaign(1)
    network[1].step(MSG_VOTE_RESP, 3, term=9)
    assert network[1].role == LEADER
    network.tick(1)
    network.propose(1)
    assert network[2].terms == network[1].terms == [*log, 9, 9]
    assert network[2].committed == network[1].committed == 12


# --- 5.4: safety ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("terms", "term"), [([1], 2), ([1, 2], 3)])
def test_vote_request(impl: ModuleType, terms: list[int], term: int) -> None:
    """5.4.1: a candidate tells everybody where its log ends."""
    member = Member(impl, election_ticks=ELECTION_TICKS)
    member.append(terms, term=term - 1)
    asked = []
    for _ in range(2 * ELECTION_TICKS - 1):
        asked += member.tick()
        if asked:
            break
    assert [(m.kind, m.to, m.term, m.index, m.log_term) for m in asked] == [
        (MSG_VOTE, to, term, len(terms), terms[-1]) for to in (2, 3)
    ]


@pytest.mark.parametrize(
    ("terms", "log_term", "index", "granted"),
    [
        # The same last term: the longer log wins.
        ([1], 1, 1, True),
        ([1], 1, 2, True),
        ([1, 1], 1, 1, False),
        # The candidate's is higher.
        ([1], 2, 1, True),
        ([1], 2, 2, True),
        ([1, 1], 2, 1, True),
        # The voter's is higher.
        ([2], 1, 1, False),
        ([2], 1, 2, False),
        ([2, 2], 1, 1, False),
        ([2, 1], 1, 1, False),
    ],
)
def test_voter(impl: ModuleType, terms: list[int], log_term: int, index: int, granted: bool) -> None:
    """5.4.1: no vote for a candidate whose log is older than the voter's."""
    member = Member(impl, 1, (1, 2), terms=terms)
    (answer,) = member.step(MSG_VOTE, 2, term=3, index=index, log_term=log_term)
    assert (answer.kind, answer.reject) == (MSG_VOTE_RESP, not granted)


@pytest.mark.parametrize(("index", "commit"), [(1, 0), (2, 0), (3, 3)])
def test_leader_only_commits_log_from_current_term(impl: ModuleType, index: int, commit: int) -> None:
    """5.4.2: copies of an older term's entries are not counted; an own entry takes them along."""
    leader = Member(impl, 1, (1, 2), terms=[1, 2], hard=(2, 0, 0))
    leader.lead_with(2)
    assert leader.term == 3
    leader.propose()
    leader.acknowledge(2, index)
    assert leader.committed == commit
