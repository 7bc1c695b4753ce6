"""Reads by lease: done at once on a leader that a quorum has confirmed lately, by the clock, and on no other."""

import os
import signal
import time

import pytest

import raftx
from tests.helpers.meetings import begun
from tests.helpers.processes import Processes
from tests.helpers.reading import ELECTION, Cuts, done, last, met_world, others
from tests.helpers.stepped import World

LEASE = ELECTION * 64 // 100  # rounds: four fifths of what two ticks leave of an election timeout
AT_ONCE = 6  # rounds in which a read is done that nobody has to be asked for


@pytest.fixture
def world(impl):
    yield from met_world(impl)


def rest(world, node):
    return world.engine(node.id).leases.py_rest() / 1e6


def leased(world):
    """The leader, with a fresh lease, and the others."""
    leader, rest_of_them = others(world)
    done(world, leader.propose(b"before"))
    world.for_rounds(2 * LEASE)
    assert done(world, leader.read(level="lease")) >= 2
    return leader, rest_of_them


def test_it_asks_nobody_while_the_lease_holds(world):
    leader, _ = leased(world)
    assert 0 < rest(world, leader) <= LEASE
    cuts = Cuts(world)
    cuts.members.add(leader.id)
    assert done(world, leader.query(last, level="lease"), AT_ONCE) == b"before"
    assert done(world, leader.read(level="lease"), AT_ONCE) == leader.applied_index
    linearizable = leader.read()
    world.for_rounds(AT_ONCE)
    assert not linearizable.done()


def test_it_ends_by_the_clock(world):
    """Nobody confirms the leader any more, which does not know that yet."""
    leader, _ = leased(world)
    cuts = Cuts(world)
    cuts.members.add(leader.id)
    world.for_rounds(LEASE + 1)
    assert leader.is_leader and rest(world, leader) <= 0
    future = leader.query(last, level="lease")
    world.for_rounds(AT_ONCE)
    assert not future.done()


def test_it_is_begun_anew_before_it_ends(world):
    """While such reads come, none of them waits."""
    leader, _ = leased(world)
    for _ in range(3 * LEASE // 5):
        assert done(world, leader.read(level="lease"), AT_ONCE)
    assert rest(world, leader) > 0


def test_a_leader_that_was_paused_serves_nothing_from_its_old_lease(world):
    """Its rounds stop, time goes on, and another one is elected. It wakes up and has heard of nothing."""
    leader, rest_of_them = leased(world)
    cuts = Cuts(world)
    cuts.members.add(leader.id)
    world.skipped.add((leader.id, "engine"))
    asked = leader.query(last, level="lease")
    new = world.until(lambda: next((node for node in rest_of_them if node.is_leader), None))
    done(world, new.propose(b"after"))
    world.skipped.clear()
    later = leader.query(last, level="lease")
    world.for_rounds(AT_ONCE)
    assert not asked.done() and not later.done()
    cuts.members.clear()
    assert done(world, asked) == done(world, later) == b"after"


def test_a_transfer_ends_it(world):
    """The member that is to take over may be elected at once. The old leader hears nothing of it."""
    leader, (other, _) = leased(world)
    leader.transfer_leadership(other.id)
    world.until(lambda: other.role != 0)
    cuts = Cuts(world)
    cuts.members.add(leader.id)
    world.until(lambda: other.is_leader, LEASE // 2)
    done(world, other.propose(b"after"), LEASE // 2)
    assert leader.is_leader
    future = leader.query(last, level="lease")
    world.for_rounds(AT_ONCE)
    assert not future.done()
    cuts.members.clear()
    assert done(world, future) == b"after"


def test_a_transfer_that_failed_has_ended_it_too(world):
    """The request to take over may still be on its way."""
    leader, (other, _) = leased(world)
    cuts = Cuts(world)
    cuts.lost.add(14)  # TimeoutNow
    failed = leader.transfer_leadership(other.id)
    world.until(failed.done)
    assert leader.is_leader and failed.exception(0) is not None
    assert done(world, leader.read(level="lease"))  # it is asked for
    assert rest(world, leader) <= 0


def test_it_begins_with_the_question(world):
    """The answers may have been given long ago."""
    leader, _ = leased(world)
    world.for_rounds(2 * LEASE)
    cuts = Cuts(world)
    cuts.lost.add(9)  # HeartbeatResp
    future = leader.read(level="lease")
    world.for_rounds(LEASE // 2)
    assert not future.done()
    cuts.lost.clear()
    done(world, future, 20)
    assert rest(world, leader) <= LEASE - LEASE // 2


def test_a_voter_that_was_restarted_helps_nobody_at_once(world, impl):
    """What its last life has heard of the leader is forgotten, and binds it all the same."""
    _, (voter, candidate) = leased(world)
    codec = impl._core.Codec(voter.config.cluster, candidate.id, candidate.status().life)
    world.executors[voter.id].kill()
    world.storages[voter.id].crash()
    began = world.rounds
    voter = world.start(voter.id)
    cuts = Cuts(world)
    cuts.lost_to[voter.id] = {3, 5, 7, 8, 17}  # what leaders and candidates send, but not who they are
    world.until(lambda: not voter.status().waits_for, ELECTION // 2)
    assert voter.leader_id == 0
    core, deliver = world.engine(voter.id).core, world.engine(voter.id).link.deliver
    while world.rounds < began + ELECTION - 20:
        vote = impl.Message(5, term=voter.term + 1, index=core.log.last, log_term=core.log.py_term(core.log.last))
        deliver(codec.encode(voter.id, [vote]))
        world.for_rounds(10)
        assert voter.status().vote != candidate.id
    world.for_rounds(30)
    vote = impl.Message(5, term=voter.term + 1, index=core.log.last, log_term=core.log.py_term(core.log.last))
    deliver(codec.encode(voter.id, [vote]))
    world.for_rounds(5)
    assert voter.status().vote == candidate.id


def test_a_voter_that_has_heard_of_a_higher_term_helps_nobody_at_once(world, impl):
    """It knows no leader any more, and has promised the one of the earlier term to help no other."""
    leader, (voter, candidate) = leased(world)
    codec = impl._core.Codec(voter.config.cluster, candidate.id, candidate.status().life)
    engine, term = world.engine(voter.id), voter.term
    done(world, leader.read(level="lease"))
    cuts = Cuts(world)
    cuts.members |= {leader.id, candidate.id}
    deliver = world.engine(voter.id).link.deliver
    deliver(codec.encode(voter.id, [impl.Message(18, term=term + 1, flags=1, sender=candidate.id)]))  # PreVoteResp
    world.for_rounds(2)
    assert (voter.term, voter.leader_id) == (term + 1, 0)
    last_index, last_term = engine.core.log.last, engine.core.log.py_term(engine.core.log.last)
    for its_term in (term + 1, term + 2):
        vote = impl.Message(5, term=its_term, index=last_index, log_term=last_term, sender=candidate.id)
        deliver(codec.encode(voter.id, [vote]))
        world.for_rounds(2)
        assert voter.status().vote == 0 and voter.term == term + 1
    assert rest(world, leader) > 0
    world.for_rounds(ELECTION)
    deliver(codec.encode(voter.id, [impl.Message(5, term=voter.term + 1, index=last_index, log_term=last_term)]))
    world.for_rounds(2)
    assert voter.status().vote == candidate.id


def test_a_candidate_that_a_leader_has_asked_is_helped_at_once(world):
    leader, (other, _) = leased(world)
    began = world.rounds
    assert done(world, leader.transfer_leadership(other.id)).leader == other.id
    assert world.rounds - began < ELECTION // 2


def test_a_member_that_does_not_lead_asks_the_leader(world):
    leader, (node, _) = leased(world)
    acknowledged = done(world, leader.propose(b"x"))
    assert done(world, node.read(level="lease")) >= acknowledged.index
    assert done(world, node.query(last, level="lease")) == b"x"


def test_it_needs_all_voters_to_promise(impl):
    """One without check_quorum, or of which nothing is known, may help a candidate at any time."""
    world = World(impl, 3, each={3: {"check_quorum": False}})
    leader = world.until(lambda: next((node for node in world.nodes.values() if node.is_leader and node.id != 3), None))
    world.until(lambda: begun(world.nodes.values()))
    assert done(world, leader.read(level="lease"))
    assert rest(world, leader) <= 0
    other = world.nodes[3]
    with pytest.raises(impl.UsageError, match="check_quorum"):
        other.read(level="lease")
    world.close()


def test_it_is_as_long_as_the_shortest_promise(impl):
    world = World(impl, 3, each={1: {"election_ticks": 6}, 2: {"election_ticks": 8}, 3: {"election_ticks": 20}})
    world.until(lambda: begun(world.nodes.values()))
    done(world, world.leader().transfer_leadership(3))
    leader = world.nodes[3]
    done(world, leader.propose(b"x"))
    assert done(world, leader.read(level="lease"))
    assert 0 < rest(world, leader) <= (60 - 20) * 0.8
    world.close()


def test_a_new_leader_has_none_before_it_has_committed(world):
    """What is committed is not known to it yet."""
    leader, rest_of_them = leased(world)
    cuts = Cuts(world)
    cuts.members.add(leader.id)
    cuts.lost.add(4)  # AppResp
    new = world.until(lambda: next((node for node in rest_of_them if node.is_leader), None))
    future = new.query(last, level="lease")
    world.for_rounds(20)
    assert not future.done() and rest(world, new) <= 0
    cuts.lost.clear()
    assert done(world, future) == b"before"
    assert done(world, new.read(level="lease")) and rest(world, new) > 0


def test_what_cannot_be_asked_for(world, impl):
    leader = world.leader()
    for level in ("leased", None, 3, ""):
        with pytest.raises(impl.UsageError, match="level must be one of"):
            leader.read(level=level)
    for level in ("lease", "linearizable"):
        with pytest.raises(impl.UsageError, match="max_staleness is for"):
            leader.read(level=level, max_staleness=1.0)
    short = World(impl, 1, election_ticks=2)
    with pytest.raises(impl.UsageError, match="election_ticks above"):
        short.leader().read(level="lease")
    short.close()


@pytest.mark.slow
def test_a_process_that_is_stopped(tmp_path):
    """SIGSTOP: the leader stands still, another one is elected and writes; then the old one goes on."""
    ticks = {"tick_ms": 10, "election_ticks": 20} if raftx.COMPILED else {"tick_ms": 25, "election_ticks": 20}
    with Processes(tmp_path, **ticks) as cluster:
        cluster.start()
        for number in range(3):
            leader = cluster.leader()
            before, after = b"before %d" % number, b"after %d" % number
            assert isinstance(leader.ask("propose", before, answer="outcome"), int)
            assert leader.ask("read", "lease", 30.0) == (before, None)
            rest_of_them = [member for member in cluster.members.values() if member is not leader]
            os.kill(leader.process.pid, signal.SIGSTOP)
            try:
                # Asked while it stands still: it is the first thing that it does.
                leader.pipe.send(("read", "lease", 30.0))
                deadline = time.monotonic() + 60
                while not isinstance(rest_of_them[0].ask("propose", after, answer="outcome"), int):
                    assert time.monotonic() < deadline
            finally:
                os.kill(leader.process.pid, signal.SIGCONT)
            assert leader.receive("read") == (after, None)
