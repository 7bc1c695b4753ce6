"""Three real processes: SIGKILL at random moments, and a GIL that is held. ``make kill`` kills hundreds of times."""

import random
import time

import pytest

import raftx
from tests.helpers.processes import WAIT, Processes
from tests.helpers.waiting import eventually

# Interpreted, three processes share two cores and the engine needs the GIL: longer timeouts.
TICKS = {"tick_ms": 10, "election_ticks": 20} if raftx.COMPILED else {"tick_ms": 25, "election_ticks": 20}
CYCLES = 8
by_transport = pytest.mark.parametrize("way", ["direct", "tcp", "mixed"])


@pytest.mark.slow
@by_transport
def test_sigkill_loses_nothing_acknowledged(tmp_path, way):
    draw = random.Random(20)
    with Processes(tmp_path, transport={"way": way}, **TICKS) as cluster:
        cluster.start()
        leaders_killed = 0
        for cycle in range(CYCLES):
            leader = cluster.leader()
            for member in cluster.members.values():
                if cycle == 0 or member.id == victim:  # noqa: F821
                    member.pipe.send(("flood", 8))
            # Something is acknowledged in every cycle, by the one that will be killed too.
            deadline = time.monotonic() + WAIT
            before = {member.id: len(member.done) for member in cluster.members.values()}
            while any(len(m.done) == before[m.id] for m in cluster.members.values()):
                assert time.monotonic() < deadline, "no progress"
                for member in cluster.members.values():
                    member.drain()
                time.sleep(0.002)
            time.sleep(draw.random() * 0.05)
            victim = leader.id if cycle % 2 else draw.choice(sorted(cluster.members))
            leaders_killed += victim == leader.id
            cluster.kill(victim)
            if cycle % 3:
                time.sleep(draw.random() * 0.2)
            cluster.start(victim)
        for member in cluster.members.values():
            member.pipe.send(("dry",))
        for member in cluster.members.values():
            member.receive("dry")
        cluster.stop()
        acknowledged = sorted(cluster.done, key=lambda done: done[1])

        # From disk alone.
        cluster.start()
        leader = cluster.leader()
        last = leader.ask("propose", b"last", answer="outcome")
        assert isinstance(last, int)
        journals = {}
        deadline = time.monotonic() + WAIT
        for member in cluster.members.values():
            while True:
                journals[member.id] = member.ask("journal")
                if journals[member.id] and journals[member.id][-1] == b"last":
                    break
                assert time.monotonic() < deadline
                time.sleep(0.02)
    assert leaders_killed >= CYCLES // 2
    assert len(acknowledged) > 10 * CYCLES
    one, *others = journals.values()
    assert all(other == one for other in others)
    position = {command: place for place, command in enumerate(one)}
    assert len(position) == len(one), "something was applied twice"
    missing = [value for value, _ in acknowledged if value not in position]
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged commands are lost: {missing[:5]}"
    places = [position[value] for value, _ in acknowledged]
    assert places == sorted(places), "the order of indexes is not the order of application"


@pytest.mark.slow
@by_transport
@pytest.mark.skipif(not raftx.COMPILED, reason="what the GIL cannot stop is the compiled mode's promise")
@pytest.mark.parametrize("whose", ["leader", "follower"])
def test_a_held_gil_stops_nothing(tmp_path, way, whose):
    """A C call that keeps the GIL: heartbeats go on, no election, and the others' proposals are done."""
    with Processes(tmp_path, transport={"way": way}, tick_ms=25, election_ticks=20) as cluster:
        cluster.start()
        leader = cluster.leader()
        followers = [m for m in cluster.members.values() if m is not leader]
        held = leader if whose == "leader" else followers[0]
        others = [m for m in cluster.members.values() if m is not held]
        before = {m.id: m.ask("status") for m in cluster.members.values()}
        held.hold()
        done = 0
        for number in range(10):
            for member in others:
                outcome = member.ask("propose", b"%d" % number, answer="outcome")
                assert isinstance(outcome, int), outcome
                done += 1

        def ticks():
            """Of the others, since then."""
            return min(m.ask("status")["ticks"] - before[m.id]["ticks"] for m in others)

        # Two election timeouts, and a heartbeat or its answer in each tick.
        eventually(lambda: ticks() >= 40, every=0.02)
        # All of that while the one could not run a line of Python.
        held.let_go()
        assert done == 20
        after = {m.id: m.ask("status") for m in cluster.members.values()}
        for id, status in after.items():
            assert status["term"] == before[id]["term"]
            assert status["leader"] == leader.id
            assert status["leader_changes"] == before[id]["leader_changes"]
            assert status["frames_in"] - before[id]["frames_in"] > 20
        assert held.ask("propose", b"after", answer="outcome") == 21


@pytest.mark.slow
@by_transport
@pytest.mark.skipif(not raftx.COMPILED, reason="what the GIL cannot stop is the compiled mode's promise")
def test_a_held_gil_does_not_stop_reconnection(tmp_path, way):
    """The leader's GIL is held while a follower dies and comes back, and then is the only one left to it."""
    with Processes(tmp_path, transport={"way": way}, tick_ms=25, election_ticks=20) as cluster:
        cluster.start()
        leader = cluster.leader()
        back, gone = (m.id for m in cluster.members.values() if m is not leader)
        assert leader.ask("propose", b"before", answer="outcome") == 1
        term = leader.ask("status")["term"]
        leader.hold()
        cluster.kill(back)
        cluster.start(back)
        member = cluster.members[back]
        deadline = time.monotonic() + WAIT
        while member.ask("status")["leader"] != leader.id or member.ask("status")["applied"] < 2:
            assert time.monotonic() < deadline
        cluster.kill(gone)
        # A leader and this member are the majority now.
        assert member.ask("propose", b"after", answer="outcome") == 2
        assert member.ask("status")["term"] == term
        leader.let_go()


@pytest.mark.slow
@by_transport
def test_restart_of_all_from_disk(tmp_path, way):
    with Processes(tmp_path, transport={"way": way}, **TICKS) as cluster:
        for life in range(3):
            cluster.start()
            leader = cluster.leader()
            assert leader.ask("propose", b"%d" % life, answer="outcome") == life + 1
            for id in list(cluster.members):
                cluster.kill(id)
