"""Changes of membership through nodes: members come, are promoted, move and go, on whatever member that is asked."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from tests.helpers.implementations import module
from tests.helpers.member_groups import Group, voters
from tests.helpers.waiting import eventually


@pytest.fixture
def group(impl, tmp_path):
    made = []

    def make(**settings) -> Group:
        made.append(Group(impl, tmp_path, **settings))
        return made[0]

    yield make
    for each in made:
        each.close()


def test_a_group_grows_from_one_to_five_and_back(group):
    all = group()
    all.found(1)
    first = all.start(1)
    first.wait_leader(10)
    first.propose(b"a").result(10)
    for id in (2, 3, 4, 5):
        all.join(id)
        all.start(id)
    futures = [first.add_voter(id, f"mem:{id}") for id in (2, 3, 4, 5)]
    for future in futures:
        future.result(30)
    assert voters(first) == (1, 2, 3, 4, 5)
    for id in (2, 3, 4, 5):
        assert all.nodes[id].wait_ready(20)
        assert voters(all.nodes[id]) == (1, 2, 3, 4, 5)
        assert all.nodes[id]._outside.state_machine.count == 1
    assert all.nodes[4].propose(b"b").result(10).result == 2
    for id in (1, 2):
        made = all.nodes[5].remove(id).result(30)
        assert id not in made.ids()
        with pytest.raises(all.raftx.Removed):
            all.nodes[id].wait(10)
    assert all.nodes[5].propose(b"c").result(10).result == 3
    assert voters(all.nodes[5]) == (3, 4, 5)


def test_five_members_that_join_at_the_same_moment_all_get_in(group):
    """Each asks for itself, on a member of its own choice."""
    all = group()
    all.found(1, 2, 3)
    all.start(1, 2, 3)
    all.leader()
    for id in (4, 5, 6, 7, 8):
        all.join(id)
        all.start(id)
    futures = [all.nodes[1 + id % 3].add_voter(id, f"mem:{id}") for id in (4, 5, 6, 7, 8)]
    for future in futures:
        future.result(60)
    for id in all.nodes:
        eventually(lambda id=id: voters(all.nodes[id]) == (1, 2, 3, 4, 5, 6, 7, 8), 20)


def test_a_member_that_never_starts_stays_a_learner_and_can_be_removed(group):
    all = group()
    all.found(1)
    first = all.start(1)
    future = first.add_voter(2, "mem:2", timeout=1.0)
    with pytest.raises(all.raftx.NotDone, match=r"add_voter\(2\).*caught up \(0 of \d+ entries\)"):
        future.result(10)
    assert future.progress.match == 0 and future.progress.last > 0
    assert first.configuration.learners == (2,) and voters(first) == (1,)
    assert first.propose(b"usable").result(10).result == 1
    first.remove(2).result(10)
    assert first.configuration == all.raftx.ConfState(voters=(1,))


def test_a_member_joins_behind_a_snapshot_from_before_its_addition(group):
    all = group(snapshot_entries=0, keep_entries=0, max_log_bytes=1)
    all.found(1)
    first = all.start(1)
    first.wait_leader(10)
    for _ in range(20):
        first.propose(b"x").result(10)
    first.snapshot().result(10)
    eventually(lambda: first.status().first > 10, 20)
    all.join(2)
    second = all.start(2)
    first.add_voter(2, "mem:2").result(30)
    second.wait_ready(10)
    assert second._outside.state_machine.count == 20
    assert voters(second) == (1, 2)
    all.nodes.pop(1).close()
    all.start(1)
    second.close()
    all.start(2)
    all.leader()
    assert all.nodes[2].propose(b"y", timeout=10).result(20).result == 21


@pytest.mark.slow
def test_what_a_goal_cannot_be_is_not_done_with_the_reason(group):
    all = group()
    all.found(1)
    first = all.start(1)
    for future, reason in (
        (first.promote(7), "there is no member 7, only 1: add it first"),
        (first.demote(7), "there is no member 7, only 1$"),
        (first.move(7, "mem:x"), "there is no member 7, only 1: add it"),
        (first.remove(7, missing_ok=False), r"remove\(7\): there is no member 7, only 1$"),
        (first.remove(1), "only voter"),
        (first.demote(1), "only voter"),
        (first.add_voter(1, "mem:elsewhere"), "is there, at 'mem:1'"),
    ):
        with pytest.raises(all.raftx.NotDone, match=reason):
            future.result(10)
    # What is reached already is done.
    assert first.remove(7).result(10).ids() == (1,)
    assert first.add_voter(1, "mem:1").result(10).ids() == (1,)
    assert first.promote(1).result(10).ids() == (1,)
    # Who was there when it was asked for, is removed, whoever removes it first.
    first.add_learner(8, "mem:8").result(10)
    both = [first.remove(8, missing_ok=False), first.remove(8)]
    assert [each.result(10).ids() for each in both] == [(1,), (1,)]
    with pytest.raises(all.raftx.NotDone, match="there is no member 8, only 1"):
        first.remove(8, missing_ok=False).result(10)
    with pytest.raises(all.raftx.UsageError, match="missing_ok must be True or False, not 0"):
        first.remove(8, missing_ok=0)


@pytest.mark.parametrize("id", [0, -1, True, "4", 2**63])
def test_an_id_that_is_none_is_refused(group, id):
    all = group()
    all.found(1)
    first = all.start(1)
    for ask in (first.add_learner, first.add_voter, first.promote, first.demote, first.remove):
        with pytest.raises(all.raftx.UsageError, match="id must be an integer"):
            ask(id)


def test_the_other_arguments_are_checked(group):
    all = group()
    all.found(1)
    first = all.start(1)
    with pytest.raises(all.raftx.UsageError, match="url must be an address"):
        first.add_voter(2, 5)
    with pytest.raises(all.raftx.UsageError, match="url must be an address"):
        first.move(1, "")
    with pytest.raises(all.raftx.UsageError, match="url must be an address of at most"):
        first.add_voter(2, "x" * 2000)
    with pytest.raises(all.raftx.UsageError, match="timeout"):
        first.remove(1, timeout="soon")
    with pytest.raises(all.raftx.UsageError, match="changes must be"):
        first.change_configuration("v4")
    with pytest.raises(all.raftx.UsageError, match="changes must be ConfChangeSingle"):
        first.change_configuration([(0, 4)])
    part = all.raftx.ConfChangeSingle(all.raftx.ConfChangeKind.REMOVE, 4)
    with pytest.raises(all.raftx.UsageError, match="name each member once"):
        first.change_configuration([part, part])
    with pytest.raises(all.raftx.UsageError, match="addresses must be a mapping"):
        first.change_configuration([part], ["mem:4"])


def test_several_changes_at_once_go_through_a_joint_configuration(group):
    all = group()
    all.found(1, 2, 3)
    all.start(1, 2, 3)
    leader = all.leader()
    others = [id for id in (1, 2, 3) if id != leader.id]
    for id in (4, 5):
        all.join(id)
        all.start(id)
    kind, single = all.raftx.ConfChangeKind, all.raftx.ConfChangeSingle
    parts = [single(kind.REMOVE, id) for id in others] + [single(kind.ADD_VOTER, id) for id in (4, 5)]
    seen = leader.configurations
    made = leader.change_configuration(parts, {4: "mem:4", 5: "mem:5"}).result(60)
    assert made.conf_state == all.raftx.ConfState(voters=(leader.id, 4, 5))
    told = [each.conf_state for each in list(iter(lambda: seen.next(5), made))]
    assert any(state.voters_outgoing == (1, 2, 3) for state in told)
    for id in others:
        with pytest.raises(all.raftx.Removed):
            all.nodes[id].wait(10)
    assert all.nodes[4].propose(b"x").result(10).result == 1


@pytest.mark.slow
def test_a_change_that_would_leave_no_majority_of_living_voters_waits(group):
    all = group()
    all.found(1, 2, 3)
    all.start(1, 2, 3)
    leader = all.leader()
    gone, there = [id for id in (1, 2, 3) if id != leader.id]
    all.nodes.pop(gone).close()
    eventually(lambda: not leader.members[gone - 1].connected)
    with pytest.raises(all.raftx.NotDone, match="too few of the voters after the change are there"):
        leader.remove(there, timeout=2.0).result(20)
    assert voters(leader) == (1, 2, 3)
    # The dead one can go, and then it is a group of two that live.
    assert leader.remove(gone).result(20).conf_state.voters == tuple(sorted((leader.id, there)))


@pytest.mark.slow
@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_a_change_that_was_applied_is_not_told_as_not_done_when_the_majority_is_lost_with_it(group, several):
    """A member has died that the leader still takes for living: the change goes through, and nobody leads behind it.

    A single change is done with that. Several are not before the joint configuration is left.
    """
    all = group(election_ticks=200)
    all.found(1, 2, 3)
    all.start(1, 2, 3)
    leader = all.leader()
    leader.propose(b"a").result(10)
    dead, gone = (id for id in (1, 2, 3) if id != leader.id)
    all.nodes[dead].close()
    kinds, change = all.raftx.ConfChangeKind, all.raftx.ConfChangeSingle
    if several:
        parts = [change(kinds.REMOVE, gone), change(kinds.ADD_LEARNER, 4)]
        future = leader.change_configuration(parts, timeout=1.5)
    else:
        future = leader.remove(gone, timeout=1.5)
    if several:
        with pytest.raises(all.raftx.Unknown, match="joint"):
            future.result(20)
    else:
        assert gone not in future.result(20).ids()
    assert voters(leader) == tuple(sorted((leader.id, dead)))


def test_who_was_down_when_it_was_removed_learns_of_it_when_it_comes_back(group):
    all = group()
    all.found(1, 2, 3)
    all.start(1, 2, 3)
    leader = all.leader()
    gone = next(id for id in (1, 2, 3) if id != leader.id)
    all.nodes.pop(gone).close()
    leader.remove(gone).result(20)
    back = all.start(gone)
    with pytest.raises(all.raftx.Removed, match=f"member {gone} was removed"):
        back.wait(30)
    all.nodes.pop(gone).close()
    term = leader.term
    with pytest.raises(all.raftx.Removed):
        all.start(gone)
    assert leader.propose(b"x").result(10) and leader.term == term


def test_an_id_comes_back_with_a_member_that_was_founded_anew_and_not_with_the_old_directory(group):
    all = group()
    all.found(1, 2, 3)
    all.start(1, 2, 3)
    leader = all.leader()
    gone = next(id for id in (1, 2, 3) if id != leader.id)
    leader.propose(b"x").result(10)
    all.nodes.pop(gone).close()
    leader.remove(gone).result(20)
    all.join(gone, "anew")
    all.start(gone, where="anew")
    leader.add_voter(gone, f"mem:{gone}").result(30)
    assert all.nodes[gone].wait_ready(10)
    assert all.nodes[gone]._outside.state_machine.count == 1
    all.nodes.pop(gone).close()
    # The old directory is of the member that was removed.
    with pytest.raises(all.raftx.Removed):
        all.start(gone).wait(30)
    all.nodes.pop(gone).close()
    all.start(gone, where="anew")
    assert all.nodes[gone].wait_ready(20)
    assert len(voters(leader)) == 3


def test_a_wiped_member_that_joins_again_under_its_id_is_refused_while_it_is_a_member(group):
    all = group()
    all.found(1, 2, 3)
    all.start(1, 2, 3)
    leader = all.leader()
    wiped = next(id for id in (1, 2, 3) if id != leader.id)
    leader.propose(b"x").result(10)
    all.nodes.pop(wiped).close()
    all.join(wiped, "wiped")
    with pytest.raises(all.raftx.MemoryLost):
        all.start(wiped, where="wiped").wait(30)
    assert wiped in voters(leader)


@pytest.mark.slow
def test_members_tells_who_is_there(group):
    all = group()
    all.found(1, 2, 3)
    all.start(1, 2, 3)
    leader = all.leader()
    other = next(id for id in (1, 2, 3) if id != leader.id)
    leader.propose(b"x").result(10)
    eventually(lambda: [each.lag for each in leader.members] == [0, 0, 0])
    mine, theirs = leader.members[leader.id - 1], leader.members[other - 1]
    assert (mine.id, mine.role, mine.is_leader, mine.url) == (leader.id, "voter", True, f"mem:{leader.id}")
    assert theirs.connected and theirs.last_heard < 3 and theirs.match == mine.match and not theirs.is_leader
    seen = {each.id: each for each in all.nodes[other].members}
    assert seen[leader.id].is_leader and seen[leader.id].match is None
    all.nodes.pop(other).close()
    eventually(lambda: not leader.members[other - 1].connected, 20)


def test_a_member_that_joined_is_rebuilt_when_its_disk_is_lost(group, tmp_path):
    all = group()
    all.found(1)
    first = all.start(1)
    first.wait_leader(10)
    for id in (2, 3):
        all.join(id)
        all.start(id)
    for id in (2, 3):
        first.add_voter(id, f"mem:{id}").result(30)
    first.propose(b"x").result(10)
    all.nodes.pop(3).close()
    cluster = first.config.cluster
    rebuild = module(all.raftx, "storage.rebuild").rebuild
    shutil.rmtree(tmp_path / "3")
    with pytest.raises(all.raftx.ConfigError, match="members and join must not be given together"):
        rebuild(tmp_path / "3", id=3, members=[1, 3], join=["mem:1"], cluster=cluster)
    rebuild(tmp_path / "3", id=3, join=["mem:1"], cluster=cluster)
    all.start(3)
    assert all.nodes[3].wait_ready(20)
    assert all.nodes[3]._outside.state_machine.count == 1
    eventually(lambda: not all.nodes[3].status().in_doubt)


@pytest.mark.parametrize("killed", [False, True])
def test_a_group_that_shrank_goes_on_after_a_restart(group, killed, tmp_path):
    """That the removal is committed is on the disks that stay: they never need a vote of who is gone for good."""
    all = group()
    all.found(1, 2)
    all.start(1, 2)
    leader = all.leader()
    stays, goes = all.nodes[1], all.nodes[2]
    stays.remove(2).result(30)
    with pytest.raises(all.raftx.Removed):
        goes.wait(10)
    assert leader.id in (1, 2)
    if killed:
        # As after a kill: what is on the disk of a node that runs.
        shutil.copytree(tmp_path / "1", tmp_path / "copy")
        all.nodes.pop(1).close()
        shutil.rmtree(tmp_path / "1")
        (tmp_path / "copy").rename(tmp_path / "1")
    else:
        all.nodes.pop(1).close()
    again = all.start(1)
    eventually(lambda: again.is_leader)
    assert voters(again) == (1,)


def test_two_go_on_though_the_newcomer_has_forgotten_what_added_it(group, tmp_path):
    """The power went before that was on its disk. It is needed for a leader, and only a leader could tell it again."""
    all = group()
    all.found(1)
    first = all.start(1)
    first.wait_leader(10)
    all.join(2)
    all.start(2)
    first.add_voter(2, "mem:2").result(30)
    for id in (1, 2):
        all.nodes.pop(id).close()
    lives = module(all.raftx, "storage.lives")
    path = tmp_path / "2" / "lives"
    kept = max((lives.decode(slot) for slot in _slots(lives, path)), key=lambda slot: slot.number)
    assert 2 in kept.met
    kept = dataclasses.replace(kept, met={id: met for id, met in kept.met.items() if id != 2})
    slots = [dataclasses.replace(kept, number=kept.number + n).ledger(None).py_slot() for n in (1, 2)]
    slots.sort(key=lambda slot: lives.decode(slot).number % 2)
    path.write_bytes(b"".join([slot.ljust(lives.SLOT_BYTES, b"\0") for slot in slots]))
    all.start(1, 2)
    all.leader().propose(b"x").result(20)
    for id in (1, 2):
        all.nodes.pop(id).close()
    # It was told again.
    assert [2 in lives.decode(slot).met for slot in _slots(lives, path)] == [True, True]


def _slots(lives, path):
    data = path.read_bytes()
    return [data[at : at + lives.SLOT_BYTES] for at in range(0, len(data), lives.SLOT_BYTES)]


def test_a_founder_whose_cluster_has_grown_is_rebuilt_as_a_member_of_it(group, tmp_path):
    """What it was founded as says that it is alone, and others were met since."""
    all = group()
    all.found(1)
    all.start(1).wait_leader(10)
    for id in (2, 3):
        all.join(id)
        all.start(id)
    for id in (2, 3):
        all.nodes[1].add_voter(id, f"mem:{id}").result(30)
    all.nodes[1].propose(b"x").result(10)
    all.nodes.pop(1).close()
    for segment in (tmp_path / "1").glob("wal-*.log"):
        segment.write_bytes(b"damage" + segment.read_bytes()[6:])
    made = module(all.raftx, "storage.rebuild").rebuild(tmp_path / "1")
    assert made.founding.in_doubt and made.founding.joining
    all.start(1)
    all.nodes[1].wait_ready(30)
    assert voters(all.nodes[1]) == (1, 2, 3)
    assert all.nodes[1]._outside.state_machine.count == 1


@pytest.mark.slow
def test_a_member_with_a_reused_id_comes_back_after_everybody_was_restarted(group):
    """It knows which entry has added it; those that apply the log anew do not take it for who had its id before."""
    all = group()
    all.found(1, 2, 3)
    all.start(1, 2, 3)
    leader = all.leader()
    gone = next(id for id in (1, 2, 3) if id != leader.id)
    all.nodes.pop(gone).close()
    leader.remove(gone).result(20)
    all.join(gone, "anew")
    all.start(gone, where="anew")
    leader.add_voter(gone, f"mem:{gone}").result(30)
    for _ in range(2):
        for id in (1, 2, 3):
            all.nodes.pop(id).close()
        for id in (1, 2, 3):
            all.start(id, where="anew" if id == gone else None)
        for node in all.nodes.values():
            node.wait_ready(30)
        assert all.nodes[gone].propose(b"x", timeout=20).result()


def test_one_that_waits_long_lets_others_go_first(group):
    all = group()
    all.found(1)
    first = all.start(1)
    first.wait_leader(10)
    waits = first.add_voter(2, "mem:2")
    eventually(lambda: first.configuration.learners == (2,))
    assert first.move(2, "mem:elsewhere").result(10).addresses[2] == "mem:elsewhere"
    assert first.remove(7).result(10)
    assert not waits.done()
    waits.cancel()


def test_more_members_than_a_cluster_can_have_are_refused_at_once(group):
    all = group()
    all.found(1)
    first = all.start(1)
    first.wait_leader(10)
    kind, single = all.raftx.ConfChangeKind.ADD_LEARNER, all.raftx.ConfChangeSingle
    with pytest.raises(all.raftx.UsageError, match=r"changes must be 1\.\.64"):
        first.change_configuration([single(kind, id) for id in range(2, 300)])
    with pytest.raises(all.raftx.UsageError, match="addresses must be of members that changes name"):
        first.change_configuration([single(kind, 2)], {3: "mem:3"})
    last = first.status().last
    with pytest.raises(all.raftx.NotDone, match="there are 64 members"):
        first.change_configuration([single(kind, id) for id in range(2, 66)]).result(20)
    with pytest.raises(all.raftx.NotDone, match="there is no member 77, only 1: add it"):
        first.change_configuration([single(all.raftx.ConfChangeKind.UPDATE, 77)], {77: "mem:77"}).result(20)
    assert first.status().last < last + 5
    with pytest.raises(all.raftx.UsageError, match="url must be an address"):
        first.add_voter(2, "\ud800")


def test_a_member_that_removes_itself_says_that_it_is_done(group):
    all = group()
    all.found(1, 2, 3)
    all.start(1, 2, 3)
    all.leader()
    for id in (1, 2):
        assert id not in all.nodes[id].remove(id).result(30).ids()
        with pytest.raises(all.raftx.Removed):
            all.nodes[id].wait(10)
    assert all.nodes[3].propose(b"x", timeout=10).result(20)


def test_a_change_that_is_cancelled_is_not_worked_at(group):
    all = group()
    all.found(1)
    first = all.start(1)
    future = first.add_voter(2, "mem:2")
    eventually(lambda: first.configuration.learners == (2,), 10)
    assert future.cancel()
    assert first.remove(2).result(10).ids() == (1,)


def test_open_changes_end_with_the_node(group):
    all = group()
    all.found(1)
    first = all.start(1)
    future = first.add_voter(2, "mem:2")
    eventually(lambda: first.configuration.learners == (2,), 10)
    first.close()
    with pytest.raises((all.raftx.Unknown, all.raftx.NotDone)):
        future.result(5)


def test_a_request_that_comes_late_is_refused(group):
    """It was asked for by who had not applied the changes that have been made since."""
    all = group()
    all.found(1)
    first = all.start(1)
    first.wait_leader(10)
    first.add_learner(2, "mem:2").result(10)
    old = first.applied_index
    first.remove(2).result(10)
    changer = module(all.raftx, "node.changer")
    record = changer.Step(((changer.ADD_LEARNER, 2),), {2: "mem:2"}).record()
    rejected = []
    first._parts.changer.refused = lambda *refusal: rejected.append(refusal)
    assert first._parts.commands.change(record, 999, old - 1)
    rows = module(all.raftx, "node.rows")
    eventually(lambda: rejected)
    assert rejected[0][:2] == (999, rows.REFUSED_CHANGE_EARLIER)
    first.propose(b"x").result(10)
    assert first.configuration == all.raftx.ConfState(voters=(1,))


def test_what_is_seen_by_a_member_that_is_behind_is_not_taken_for_the_goal(group):
    """Cut off, it does not know the member that is to go: so it is not done because it is not there."""
    all = group()
    all.found(1, 2, 3)
    all.start(1, 2, 3)
    leader = all.leader()
    behind = next(id for id in (1, 2, 3) if id != leader.id)
    all.network.partition([id for id in (1, 2, 3) if id != behind], [behind])
    leader.add_learner(4, "mem:4").result(20)
    with pytest.raises(all.raftx.NotDone):
        all.nodes[behind].remove(4, timeout=1.0).result(20)
    all.network.heal()
    assert 4 not in all.nodes[behind].remove(4).result(30).ids()
    eventually(lambda: leader.configuration.learners == ())
