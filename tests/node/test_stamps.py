"""The times of the stages of a leader's rounds, read while the engine goes on."""

import pickle

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.reading import Cuts, done, met_world, others
from tests.helpers.stepped import World


def test_a_round_that_is_overwritten_meanwhile_is_left_out() -> None:
    """A row of one round and the next one of its place would be of neither."""
    stamps = module(IMPLEMENTATIONS["pure"], "node.stamps")

    class Overtaken(list[int]):
        """A column whose reader is interrupted for as long as the engine needs for a thousand rounds."""

        def __getitem__(self, at):  # type: ignore[no-untyped-def]
            if times.head == count:
                times.at_apply = list(self)
                more(1000)
            return super().__getitem__(at)

    def more(rounds: int) -> None:
        for index in range(times.head + 1, times.head + 1 + rounds):
            times.accepted(index, 1, 1, index, index)
            times.stable(index, index)
            times.commit_cursor += 1
            times.at_commit[(index - 1) % stamps.ROUNDS] = index
            times.applied(index, index)

    times, count = stamps.StageTimes(), stamps.ROUNDS + 100
    more(count)
    whole = times.rows()
    assert [row[0] for row in whole] == list(range(count - len(whole) + 1, count + 1))
    times.at_apply = Overtaken(times.at_apply)
    rows = times.rows()
    assert times.head == count + 1000
    assert {len(set(row)) for row in rows} == {1}
    assert [row[0] for row in rows] == list(range(times.head - stamps.ROUNDS + 2, count + 1))


@pytest.fixture
def world(impl):
    yield from met_world(impl)


def test_a_proposal_tells_how_long_it_took(world):
    leader, _ = others(world)
    result = done(world, leader.propose(b"x"))
    timing = result.timing
    rounds = {name: getattr(timing, name) for name in ("queue", "wal", "network", "quorum", "apply")}
    assert all(0 <= value < 50_000 for value in rounds.values()), rounds
    assert timing.quorum >= min(timing.wal, timing.network) > 0
    assert result.timing.wal == timing.wal


def test_so_do_several_and_those_with_a_deadline(world):
    leader, _ = others(world)
    for future in (leader.propose_many([b"a", b"b"]), leader.propose_many([b"c"], timeout=5)):
        assert all(each.timing.quorum > 0 for each in done(world, future))
    assert done(world, leader.propose(b"d", timeout=5)).timing.quorum > 0


def test_only_where_it_was_appended(world, impl):
    leader, (node, _) = others(world)
    world.until(lambda: node.leader_id == leader.id)
    elsewhere = done(world, node.propose(b"x"))
    assert elsewhere.timing == impl.Timing(None, None, None, None, None)
    copied = pickle.loads(pickle.dumps(done(world, leader.propose(b"y"))))
    assert copied.timing == impl.Timing()


def test_an_entry_of_another_term_is_another_one(world, impl):
    """Its place in the log had one that was appended here before."""
    leader, rest = others(world)
    cuts = Cuts(world)
    cuts.members.add(leader.id)
    lost, term = leader.propose(b"lost"), leader.term
    index = leader.status().last + 1
    new = world.until(lambda: next((node for node in rest if node.is_leader), None))
    cuts.members.clear()
    world.until(lost.done)
    stamps = world.engine(leader.id).stamps
    assert stamps.timing(index, term) != impl.Timing()
    assert stamps.timing(index, new.term) == impl.Timing()


def test_what_was_long_ago_is_not_known_any_more(impl):
    stamps_module = module(impl, "node.stamps")
    stamps = stamps_module.StageTimes()
    assert stamps.timing(1, 1) == impl.Timing()


def test_the_only_voter_has_no_network(impl):
    world = World(impl, 1)
    timing = done(world, world.leader().propose(b"x")).timing
    assert timing.network is None and timing.wal is not None and timing.quorum is not None
    world.close()
