"""A member in doubt about what it promised: what it may not do, who helps it, and when the doubt ends.

Random schedules in which disks lose what was durable run under the simulator's Checker (raftx/testing/damage.py).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.helpers.core_net import Member, Network, kinds, only
from tests.helpers.implementations import module

APP, APP_RESP, VOTE, VOTE_RESP, HEARTBEAT, HEARTBEAT_RESP = 3, 4, 5, 6, 8, 9
TIMEOUT_NOW, PRE_VOTE, PRE_VOTE_RESP, DOUBT, DOUBT_RESP = 14, 17, 18, 33, 34
SILENT = 20  # ticks of two election timeouts


def doubtful(impl: ModuleType, terms: tuple[int, ...] = (1, 1), hard: Any = (1, 2, 1, True), **settings: Any) -> Member:
    """Member 3 with what is left of its log."""
    return Member(impl, 3, terms=terms, hard=hard, **settings)


def network_with(impl: ModuleType, count: int = 3, lost: int = 2, **settings: Any) -> Network:
    """Member 1 leads and everybody has six entries; then 3 loses the last ones and knows that it may have."""
    network = Network(impl, count, **settings)
    network.campaign(1)
    for number in range(5):
        network.propose(1, b"%d" % number)
    three = network[3]
    assert network[1].progress(3)["match"] == 6
    three.disk = three.disk[: 6 - lost]
    three.hard = impl.HardState(1, 1, 6 - lost, True)
    three.start()
    return network


def pass_time(network: Network, ticks: int) -> None:
    """Time passes for the leader and the member in doubt."""
    for _ in range(ticks):
        network.tick(3)
        network.tick(1)


def test_it_grants_no_vote(impl: ModuleType) -> None:
    member = doubtful(impl, hard=(1, 0, 1, True))
    for kind, answer in ((VOTE, VOTE_RESP), (PRE_VOTE, PRE_VOTE_RESP)):
        (sent,) = member.step(kind, 2, term=5, index=9, log_term=4)
        assert (sent.kind, sent.reject) == (answer, True)
    assert (member.term, member.vote) == (5, 0)


@pytest.mark.parametrize("pre_vote", [False, True])
def test_it_does_not_campaign(impl: ModuleType, pre_vote: bool) -> None:
    member = doubtful(impl, pre_vote=pre_vote)
    assert not member.tick(100)
    assert not member.campaign()
    assert not member.step(TIMEOUT_NOW, 2)
    assert (member.term, member.role) == (1, impl.Role.FOLLOWER)


def test_it_acknowledges_nothing_before_a_leader_is_confirmed(impl: ModuleType) -> None:
    member = doubtful(impl)
    for _ in range(2 * SILENT):
        assert not member.append((1, 1), 2, 1, sender=2)
        assert HEARTBEAT_RESP in kinds(member.step(HEARTBEAT, 2, commit=2, context=7))
        member.tick()
    assert member.log.last == 2
    assert member.committed == 1


def test_it_confirms_no_read(impl: ModuleType) -> None:
    member = doubtful(impl)
    (sent,) = member.step(HEARTBEAT, 2, context=7)
    assert (sent.kind, sent.context) == (HEARTBEAT_RESP, 0)


def test_it_asks_after_two_election_timeouts(impl: ModuleType) -> None:
    member = doubtful(impl)
    asked = []
    for ticks in range(2 * SILENT):
        if only(member.step(HEARTBEAT, 2), DOUBT, 2):
            asked.append(ticks)
        member.tick()
    assert asked == list(range(SILENT, 2 * SILENT))


def test_the_commit_index_of_heartbeats_is_not_believed(impl: ModuleType) -> None:
    """The leader caps it at what we had acknowledged, and the entries there may be others by now."""
    network = network_with(impl, lost=3)
    three = network[3]
    three.hard = impl.HardState(1, 1, 1, True)
    three.disk = [impl.Entry(entry.index, 1, b"other") if entry.index > 1 else entry for entry in three.disk]
    three.start()
    network.tick(1, 3)
    assert only(network.sent, HEARTBEAT, 3)[-1].commit == 6
    assert three.committed == 1


def test_the_doubt_ends(impl: ModuleType) -> None:
    network = network_with(impl)
    three = network[3]
    pass_time(network, SILENT)
    assert three.in_doubt
    pass_time(network, 3)
    assert not three.in_doubt
    assert three.terms == network[1].terms
    assert (three.hard.term, three.hard.vote, three.hard.in_doubt) == (1, 1, False)
    assert three.data == [b"0", b"1", b"2", b"3", b"4"]
    # It takes part again: with its vote and acknowledgement alone 1 goes on, and it may lead.
    network.isolate(2)
    network.propose(1, b"more")
    assert network[1].committed == 7
    network.campaign(3)
    assert three.role == impl.Role.LEADER


def test_a_forgotten_vote_is_not_given_again(impl: ModuleType) -> None:
    """In the term in which the doubt ends it has voted for its leader, if for anybody."""
    network = network_with(impl)
    three = network[3]
    three.hard = impl.HardState(1, 0, 4, True)
    three.start()
    pass_time(network, SILENT + 3)
    assert not three.in_doubt
    assert three.hard.vote == 1
    (sent,) = three.step(VOTE, 2, term=1, index=99, log_term=1)
    assert sent.reject


def test_the_doubt_survives_a_restart(impl: ModuleType) -> None:
    network = network_with(impl)
    three = network[3]
    pass_time(network, SILENT // 2)
    network.campaign(2)
    assert three.hard.term == 2
    assert three.hard.in_doubt
    three.start()
    assert three.in_doubt
    assert three.doubt_ticks == 0


def test_its_end_is_durable_before_it_promises_anything(impl: ModuleType) -> None:
    network = network_with(impl)
    three = network[3]
    pass_time(network, SILENT - 1)
    for _ in range(10):
        assert three.hard.in_doubt
        three.node.tick()
        if not three.in_doubt:
            break
        network.tick(1)
    assert not three.in_doubt
    three.node.step(impl.Message(VOTE, to=3, sender=2, term=2, index=9, log_term=1))
    ready = three.node.ready()
    assert ready.hard_state.in_doubt is False
    assert ready.must_sync
    assert kinds(ready.messages) == [VOTE_RESP]
    assert module(impl, "consensus.rawnode").split(ready.messages)[0] == []


def test_a_quorum_without_it_confirms_the_leader(impl: ModuleType) -> None:
    """Its own answers do not count, nor does one of four others; two do."""
    network = network_with(impl, 5)
    network.isolate(4, 5)
    pass_time(network, 2 * SILENT)
    assert only(network.sent, DOUBT, 1)
    assert not only(network.sent, DOUBT_RESP)
    # Not even if it says that it confirms.
    network[1].step(HEARTBEAT_RESP, 3, context=network[1].reads.confirmed + 1)
    assert network[3].in_doubt
    network.heal()
    network.isolate(5)
    pass_time(network, 4)
    assert only(network.sent, DOUBT_RESP, 3)
    assert not network[3].in_doubt


def test_of_two_the_other_one_is_enough(impl: ModuleType) -> None:
    """Everybody else has confirmed the leader: nobody else could lead."""
    network = Network(impl, 2)
    network.campaign(1)
    network.propose(1)
    two = network[2]
    two.hard = impl.HardState(1, 1, 1, True)
    two.disk = two.disk[:1]
    two.start()
    for _ in range(SILENT + 4):
        network.tick(2)
        network.tick(1)
    assert not two.in_doubt
    assert network.agree()


def test_an_answer_of_before_does_not_confirm(impl: ModuleType) -> None:
    """What the others had acknowledged before it asked says nothing of now."""
    network = network_with(impl, 3)
    network[1].node.read_index(b"read")
    network.deliver()
    pass_time(network, SILENT - 1)
    network.loses = lambda message: (message.kind, message.sender) == (HEARTBEAT_RESP, 2)
    pass_time(network, 5)
    assert only(network.sent, DOUBT, 1)
    assert not only(network.sent, DOUBT_RESP)


def test_the_leader_forgets_what_it_had_acknowledged(impl: ModuleType) -> None:
    network = network_with(impl)
    network.loses = lambda message: message.kind == DOUBT_RESP
    pass_time(network, SILENT + 1)
    assert network[1].progress(3)["match"] == 0
    # Asked again, it does not begin anew: what it has to come to stays the same.
    network.propose(1)
    pass_time(network, 3)
    assert len(only(network.sent, DOUBT, 1)) >= 3
    assert {answer.index for answer in only(network.sent, DOUBT_RESP, 3)} == {6}
    network.heal()
    pass_time(network, 3)
    assert network[3].doubt_floor == 6
    assert not network[3].in_doubt


def test_it_ends_only_with_everything_that_the_leader_had(impl: ModuleType) -> None:
    network = network_with(impl, max_message_bytes=0)
    three = network[3]
    network.loses = lambda message: message.kind == APP and message.count and message.to == 3 and message.index >= 5
    pass_time(network, SILENT + 8)
    assert three.doubt_floor == 6
    assert three.log.last == 5
    assert three.in_doubt
    network.heal()
    pass_time(network, 3)
    assert not three.in_doubt


def test_only_what_is_durable_counts(impl: ModuleType) -> None:
    member = doubtful(impl)
    member.tick(SILENT)
    (asked,) = only(member.step(HEARTBEAT, 2), DOUBT)
    member.step(DOUBT_RESP, 2, index=4, context=asked.context)
    member.node.step(
        impl.Message(
            APP, to=3, sender=2, term=1, index=2, log_term=1, entries=[impl.Entry(3, 1, b""), impl.Entry(4, 1, b"")]
        )
    )
    member.node.tick()
    assert member.in_doubt
    member.take()
    member.node.tick()
    assert not member.in_doubt


def test_another_leader_is_asked_anew(impl: ModuleType) -> None:
    network = network_with(impl)
    three = network[3]
    network.loses = lambda message: message.kind == APP and message.to == 3
    pass_time(network, SILENT + 2)
    assert three.doubt_term == 1
    network.campaign(2)
    assert network[2].term == three.term == 2
    assert three.in_doubt
    assert three.doubt_term == 0
    network.heal()
    for _ in range(4):
        network.tick(2)
        network.tick(3)
    assert not three.in_doubt
    assert three.doubt_floor == 7


@pytest.mark.parametrize("fields", [{"context": 1}, {"sender": 1}, {"term": 0}, {"term": 1}])
def test_an_answer_for_another_life_or_of_another_is_ignored(impl: ModuleType, fields: dict[str, Any]) -> None:
    member = doubtful(impl, hard=(2, 2, 1, True))
    member.tick(SILENT)
    (asked,) = only(member.step(HEARTBEAT, 2), DOUBT)
    member.step(DOUBT_RESP, **{"sender": 2, "index": 2, "context": asked.context, "term": 2, **fields})
    assert member.doubt_term == 0
    member.step(DOUBT_RESP, 2, index=2, context=asked.context)
    assert member.doubt_term == 2


def test_two_lives_draw_different_numbers(impl: ModuleType) -> None:
    assert len({doubtful(impl, seed=seed).doubt_nonce for seed in range(50)} | {0}) == 51


def test_a_late_acknowledgement_of_before_only_takes_longer(impl: ModuleType) -> None:
    """The leader counts it again, and would never send what is missing: so the member asks with another number."""
    network = network_with(impl)
    three = network[3]
    network.loses = lambda message: message.kind == APP and message.to == 3
    pass_time(network, SILENT + 1)
    network[1].step(APP_RESP, 3, index=6)
    assert network[1].progress(3)["match"] == 6
    network.heal()
    pass_time(network, 2 * SILENT + 4)
    assert not three.in_doubt
    assert three.terms == network[1].terms


def test_a_learner_in_doubt(impl: ModuleType) -> None:
    network = network_with(impl, 2, learners=(3,))
    pass_time(network, SILENT + 3)
    assert not network[3].in_doubt
    assert network.agree()


def test_the_only_voter_stays_in_doubt(impl: ModuleType) -> None:
    member = Member(impl, 1, (1,), terms=(1, 1), hard=(1, 1, 2, True))
    assert not member.tick(200)
    assert not member.campaign()
    assert member.in_doubt


def test_it_reaches_a_term_that_others_can_take_part_in(impl: ModuleType) -> None:
    """Its own term is ahead, and it may not campaign: so a leader of before is told of it, whatever the options."""
    network = network_with(impl)
    network[3].step(VOTE, 2, term=9, index=1, log_term=1)
    assert network[3].term == 9
    pass_time(network, 2)
    assert network[1].role != impl.Role.LEADER
    network.campaign(1)
    pass_time(network, SILENT + 3)
    assert not network[3].in_doubt


def test_a_snapshot_may_be_what_it_needs(impl: ModuleType) -> None:
    from tests.helpers.core_net import FullMember

    network = network_with(impl, member=FullMember)
    network[1].save()
    pass_time(network, SILENT - 1)
    assert not only(network.sent, 7)
    pass_time(network, 8)
    assert not network[3].in_doubt
    assert network[3].data == network[1].data


@pytest.mark.slow
def test_random_damage(impl: ModuleType) -> None:
    """Disks lose what was durable, in every mode; nothing that the Checker knows is broken, and every doubt ends."""
    schedule = module(impl, "testing.damage").schedule
    totals = module(impl, "testing.totals").Totals()
    for seed in range(600 if impl.COMPILED else 40):
        totals.add(schedule(seed, 800).totals)
    assert totals.damages >= totals.schedules // 3
    assert totals.doubts_ended >= totals.damages // 2


def test_damage_that_is_not_known_is_found(impl: ModuleType) -> None:
    """The same without the doubt breaks what Raft promises, and the Checker sees it."""
    simulator = module(impl, "testing.simulator")
    damage = module(impl, "testing.damage")

    class Unaware(damage.DamageSchedule):  # type: ignore[misc]
        def damage(self, id: int) -> None:
            super().damage(id)
            for member in self.simulation.members.values():
                if member.raw is None and member.disk.hard_state.in_doubt:
                    state = member.disk.hard_state
                    member.disk.hard_state = impl.HardState(state.term, state.vote, state.commit)

    assert simulator
    broken = (module(impl, "testing.invariants").Violation, impl.Corruption)
    with pytest.raises(broken):
        for seed in range(200):
            Unaware(seed).run(800)
