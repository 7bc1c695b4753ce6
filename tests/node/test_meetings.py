"""A life takes part once enough others know it, and one that has forgotten something is recognised. Both modes."""

import random
import shutil

import pytest

from tests.helpers.implementations import module
from tests.helpers.meetings import KNOWN, REJECT, begun, introduction, later, life
from tests.helpers.stepped import ELECTION_TICKS, TICK_MS, World
from tests.helpers.storages import founded

SENDER = 32  # where a frame has it
SLOT_BYTES = 16 << 10  # of the file ``lives``
TIMEOUT = ELECTION_TICKS * TICK_MS  # rounds of an election timeout
PATIENCE = 1000  # rounds until a life begins that too few others know,
TELLING = 20 * TIMEOUT  # and until that is told if it stays so


class Net:
    """Which frames of a world are lost: those between two members, or from or to one of them."""

    def __init__(self, world):
        self.world = world
        self.cuts = set()
        self.wrapped = {}
        self.wrap()

    def wrap(self):
        """For members that were started since."""
        for id, deliver in list(self.world.receive.items()):
            if self.wrapped.get(id) is not deliver:
                self.world.receive[id] = self.wrapped[id] = self.through(id, deliver)

    def through(self, to, deliver):
        def take(frame):
            if frozenset((int.from_bytes(bytes(frame[SENDER : SENDER + 8]), "little"), to)) not in self.cuts:
                deliver(frame)

        return take

    def cut(self, *pair):
        self.cuts.add(frozenset(pair))


def world_on_disk(impl, path, **settings):
    storages = {id: founded(impl, path / str(id), id=id, members=[1, 2, 3], segment_bytes=64 << 10) for id in (1, 2, 3)}
    return World(impl, 3, storages, **settings)


def restart(world, id, storage=None):
    """Another life of a member, perhaps on another storage."""
    world.nodes[id].close()
    if storage is not None:
        world.storages[id] = storage
    return world.start(id)


def status(node, name):
    return getattr(node.status(), name)


def known_to_the_leader_alone(impl, **settings):
    """Three members, one in a life that the third does not hear of: world (with ``net``), leader, that one, third."""
    world = World(impl, 3, **settings)
    leader = world.leader()
    a, b = [id for id in world.ids if id != leader.id]
    world.until(lambda: begun(world.nodes.values()))
    net = Net(world)
    net.cut(a, b)
    node = restart(world, a)
    net.wrap()
    world.net = net
    return world, leader, node, b


def test_a_life_takes_part_once_it_is_known_by_more_than_half_of_the_others(impl):
    """One of two is not enough. Before that no time passes, and nothing of the algorithm is heard."""
    world, leader, node, b = known_to_the_leader_alone(impl)
    world.until(lambda: status(node, "waits_for") == (b,))
    world.for_rounds(2 * TIMEOUT)
    assert status(node, "waits_for") == (b,) and status(node, "messages_unmet") > 0
    assert (node.leader_id, node.term) == (0, leader.term)
    # It may be asked to, and does not campaign.
    refused = node.campaign()
    world.until(refused.done)
    with pytest.raises(impl.NotDone, match="not known to the others yet"):
        refused.result(0)
    assert leader.is_leader
    world.net.cuts.clear()
    world.until(lambda: node.leader_id == leader.id)
    assert status(node, "waits_for") == () and not status(node, "in_doubt")
    world.close()


def test_a_life_that_too_few_know_begins_as_it_is_where_nobody_leads(impl, caplog):
    """Two of three are there: after a second they go on without the third, and say so."""
    world = World(impl, 3)
    world.leader()
    world.until(lambda: begun(world.nodes.values()))
    for id in world.ids:
        world.nodes[id].close()
    before = world.rounds
    for id in (1, 2):
        world.start(id)
    assert not begun([world.nodes[1]])
    world.until(lambda: begun([world.nodes[1], world.nodes[2]]))
    assert world.rounds - before >= PATIENCE - TICK_MS
    leader = world.until(lambda: next((world.nodes[id] for id in (1, 2) if world.nodes[id].is_leader), None))
    assert not status(leader, "in_doubt")
    future = leader.propose(b"two of three")
    world.until(future.done)
    assert future.result(0)
    # Members that are started one after the other have this for a moment: only what lasts is told.
    assert "too few of the other voters" not in caplog.text
    world.until(lambda: caplog.text.count("too few of the other voters") == 2, rounds=TELLING + 2 * TIMEOUT)
    assert "start the others" in caplog.text
    world.close()


def test_a_member_that_comes_late_is_no_matter_to_be_told(impl, caplog):
    world = World(impl, 3)
    world.leader()
    world.until(lambda: begun(world.nodes.values()))
    for id in world.ids:
        world.nodes[id].close()
    for id in (1, 2):
        world.start(id)
    world.until(lambda: begun([world.nodes[1], world.nodes[2]]))
    world.start(3)
    for _ in range(TELLING + 2 * TIMEOUT):
        world.run()
    assert "too few of the other voters" not in caplog.text
    world.close()


def test_where_somebody_leads_it_begins_in_doubt(impl, caplog):
    """The leader that does without it brings it up to date, though the third member cannot be asked."""
    world, leader, node, _ = known_to_the_leader_alone(impl)
    world.until(lambda: status(node, "in_doubt"))
    assert status(node, "waits_for") == () and status(node, "vote") in (0, leader.id)
    world.until(lambda: not status(node, "in_doubt"))
    future = leader.propose(b"x")
    world.until(future.done)
    world.until(lambda: node.applied_index == leader.applied_index)
    assert "it begins in doubt" in caplog.text
    world.close()


def test_that_doubt_ends_when_nobody_can_help(impl):
    """Without that, two of three members could not go on when the third has gone meanwhile."""
    world, leader, node, b = known_to_the_leader_alone(impl)
    world.until(lambda: status(node, "in_doubt"))
    # The member that made the majority is gone.
    world.nodes[b].close()
    world.for_rounds(3 * TIMEOUT)
    assert status(node, "in_doubt")
    world.until(lambda: not status(node, "in_doubt"), rounds=4 * TIMEOUT)
    future = world.until(lambda: next((each for each in (leader, node) if each.is_leader), None)).propose(b"x")
    world.until(future.done)
    assert future.result(0)
    world.close()


def test_that_doubt_is_not_the_storages(impl):
    """The next life finds out for itself, and two of three members go on when the third has gone."""
    world, leader, node, b = known_to_the_leader_alone(impl)
    world.until(lambda: status(node, "in_doubt"))
    world.for_rounds(20)
    assert status(node, "in_doubt")
    world.nodes[b].close()
    node = restart(world, node.id)
    assert not status(node, "in_doubt")
    world.until(lambda: begun([node]) and not status(node, "in_doubt"))
    leader = world.until(lambda: next((each for each in (leader, node) if each.is_leader), None))
    future = leader.propose(b"two of three")
    world.until(future.done)
    assert future.result(0)
    world.close()


def test_that_doubt_ends_though_a_leader_had_begun_to_help(impl):
    """It is gone before it has sent what is missing. Nobody's term moves: the other member asks before it campaigns."""
    world, leader, node, b = known_to_the_leader_alone(impl, pre_vote=True)
    codec = impl._core.Codec(leader.config.cluster, node.id, 1)
    inner = world.receive[node.id]
    # It gets no entries: what the leader has more than it is missing until the end.
    world.receive[node.id] = lambda frame: any([m.kind == 3 for m in codec.decode(frame)]) or inner(frame)
    world.until(lambda: status(node, "in_doubt"))
    future = leader.propose(b"x")
    world.until(future.done)
    core = world.engine(node.id).core
    world.until(lambda: core.doubt_term == core.term)
    # It stops where it is, and hands nothing over.
    world.skipped.add((leader.id, "engine"))
    world.net.cuts.clear()
    world.receive[node.id] = inner
    assert status(node, "in_doubt")
    other = world.nodes[b]
    world.until(lambda: not status(node, "in_doubt"), rounds=10 * TIMEOUT)
    world.until(lambda: other.is_leader)
    world.skipped.clear()
    world.close()


def test_a_leader_that_does_not_look_for_its_quorum_is_no_reason_to_doubt(impl):
    """It may have none: a life in doubt would wait for ever."""
    world = World(impl, 3, check_quorum=False)
    leader = world.leader()
    a, b = [id for id in world.ids if id != leader.id]
    world.until(lambda: begun(world.nodes.values()))
    world.nodes[b].close()
    node = restart(world, a)
    world.until(lambda: begun([node]))
    assert not status(node, "in_doubt")
    future = leader.propose(b"x")
    world.until(future.done)
    assert future.result(0)
    world.close()


def lost(impl, world, id, caplog, said):
    """The member ends, is told why, and does not open again; the others go on and say what they know."""
    node = world.nodes[id]
    world.until(lambda: node.failure is not None)
    assert isinstance(node.failure, impl.MemoryLost) and said in str(node.failure)
    assert f"member {id} says that it lives life" in caplog.text and said in caplog.text
    with pytest.raises(impl.MemoryLost):
        node.wait(0)
    node.close()
    with pytest.raises(impl.MemoryLost, match="has lost its memory"):
        world.start(id)
    leader = world.until(lambda: next((each for each in world.nodes.values() if each.is_leader), None))
    future = leader.propose(b"without it")
    world.until(future.done)
    assert future.result(0)


def test_a_storage_that_was_wiped_is_recognised(impl, caplog):
    world = World(impl, 3)
    leader = world.leader()
    id = next(each for each in world.ids if each != leader.id)
    world.until(lambda: begun(world.nodes.values()))
    restart(world, id, impl.MemoryStorage(voters=world.ids, random=random.Random(9).randbytes))
    lost(impl, world, id, caplog, "on another storage")
    world.close()


def test_an_introduction_that_comes_late_does_no_harm(impl, tmp_path, caplog):
    """Of a life that is over. It looks like one of a directory that was set back: what is said leaves both open."""
    world = world_on_disk(impl, tmp_path)
    leader = world.leader()
    id = next(each for each in world.ids if each != leader.id)
    world.until(lambda: begun(world.nodes.values()))
    before, store = life(world.nodes[id]), world.storages[id].ledger.py_slot()[48:64]
    node = restart(world, id)
    world.until(lambda: begun([node]) and node.leader_id)
    frame = impl._core.Codec(leader.config.cluster, id, before).encode(leader.id, [introduction(impl, store)])
    world.receive[leader.id](frame)
    world.until(lambda: f"member {id} says that it lives life" in caplog.text)
    assert "or that is over, and what it said then comes late" in caplog.text
    future = node.propose(b"x")
    world.until(future.done)
    assert future.result(0) and node.failure is None and leader.failure is None
    world.close()


@pytest.mark.parametrize(("lives", "said"), [(1, "has the same number"), (2, "is not over for all they know")])
def test_a_storage_that_was_set_back_is_recognised(impl, tmp_path, caplog, lives, said):
    world = world_on_disk(impl, tmp_path)
    leader = world.leader()
    id = next(each for each in world.ids if each != leader.id)
    world.until(lambda: begun(world.nodes.values()))
    world.nodes[id].close()
    shutil.copytree(tmp_path / str(id), tmp_path / "copy")
    for _ in range(lives):
        world.start(id)
        world.until(lambda: begun([world.nodes[id]]) and world.nodes[id].leader_id)
        future = world.leader().propose(b"acknowledged in this life")
        world.until(future.done)
        world.nodes[id].close()
    shutil.rmtree(tmp_path / str(id))
    shutil.copytree(tmp_path / "copy", tmp_path / str(id))
    world.start(id)
    lost(impl, world, id, caplog, said)
    # Rebuilt it comes back.
    module(impl, "storage.rebuild").rebuild(tmp_path / str(id))
    node = world.start(id)
    world.until(lambda: not status(node, "in_doubt") and node.applied_index == world.leader().applied_index, 6000)
    assert node.failure is None
    world.close()


def test_others_that_were_restarted_know_it_still(impl, tmp_path, caplog):
    """What was met is on their disks."""
    world = world_on_disk(impl, tmp_path)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    id = next(each for each in world.ids if each != leader.id)
    for each in world.ids:
        world.nodes[each].close()
    shutil.rmtree(tmp_path / str(id))
    world.storages[id] = founded(impl, tmp_path / str(id), id=id, members=[1, 2, 3], segment_bytes=64 << 10)
    for each in world.ids:
        world.start(each)
    lost(impl, world, id, caplog, "on another storage")
    world.close()


def test_a_node_writes_both_slots(impl, tmp_path):
    """Of what it has learned while it runs: damage to any one of them takes nothing."""
    world = world_on_disk(impl, tmp_path)
    world.until(lambda: begun(world.nodes.values()))
    world.for_rounds(50)
    known = {id: life(node) for id, node in world.nodes.items()}
    for node in world.nodes.values():
        node.close()
    for id in world.ids:
        data = (tmp_path / str(id) / "lives").read_bytes()
        for at in (0, SLOT_BYTES):
            slot = module(impl, "storage.lives").decode(data[at : at + SLOT_BYTES])
            expected = {other: number for other, number in known.items() if other != id}
            assert {other: met.life for other, met in slot.met.items()} == expected, (id, at)
    world.close()


def test_only_a_member_that_means_this_life_can_end_it(impl):
    """Not a stranger, not an answer to another life, and not a member's life that was not met."""
    world = World(impl, 3)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    other = next(id for id in world.ids if id != leader.id)
    cluster, present = leader.config.cluster, life(leader)

    def answers(sender, number, about, flags=REJECT):
        message = impl.Message(KNOWN, flags=flags, index=about, commit=later(about), hint=1)
        world.receive[leader.id](impl._core.Codec(cluster, sender, number).encode(leader.id, [message]))
        world.for_rounds(20)

    answers(77, 5, present)
    answers(other, later(life(world.nodes[other])), present)
    answers(other, life(world.nodes[other]), present - 1)
    answers(other, life(world.nodes[other]), present, flags=0)
    assert leader.failure is None and leader.is_leader
    answers(other, life(world.nodes[other]), present)
    assert isinstance(leader.failure, impl.MemoryLost)
    world.close()


def test_who_does_not_know_what_added_it_counts_where_nobody_leads_on_a_store_that_was_met(impl, tmp_path):
    """On another store it may be one that was added since, and a member that is behind cannot tell."""
    world = world_on_disk(impl, tmp_path)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    one, other = (id for id in world.ids if id != leader.id)
    store, present = world.storages[other].ledger.py_slot()[48:64], life(world.nodes[other])
    for each in (leader.id, other):
        world.nodes[each].close()
    senders = world.nodes[one]._parts.engine.peers
    for number, on, counts in ((later(present, 1), bytes([9] * 16), False), (later(present, 2), store, True)):
        frame = impl._core.Codec(leader.config.cluster, other, number)
        world.receive[one](frame.encode(one, [introduction(impl, on, added=False)]))
        world.for_rounds(20)
        assert (senders.py_incarnation(other) == number) is counts
    world.close()


def test_who_does_not_know_what_added_it_and_was_never_met_counts_where_somebody_leads_alone(impl, tmp_path):
    world = world_on_disk(impl, tmp_path, absent=(3,))
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    one = next(id for id in world.nodes if id != leader.id)
    world.nodes[leader.id].close()
    frame = impl._core.Codec(leader.config.cluster, 3, later(0)).encode(
        one, [introduction(impl, bytes([9] * 16), added=False)]
    )
    world.receive[one](frame)
    world.for_rounds(20)
    assert world.nodes[one]._parts.engine.peers.py_incarnation(3) != later(0)
    world.close()


class Remembering:
    """A storage of somebody's own: all but what it is to remember is a MemoryStorage's."""

    def __init__(self, inner, answers=()):
        self.inner = inner
        self.answers = list(answers)
        self.told = []

    def __getattr__(self, name):
        if name in ("remember", "forgotten"):
            raise AttributeError(name)
        return getattr(self.inner, name)


class Answering(Remembering):
    def remember(self, id, met):
        self.told.append((id, met))
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer

    def forgotten(self, life):
        self.told.append(life)


def storages(impl, kind, answers=()):
    inner = {id: impl.MemoryStorage(voters=[1, 2, 3], random=random.Random(id).randbytes) for id in (1, 2, 3)}
    return {**inner, 1: kind(inner[1], answers)}


def test_a_storage_without_memory_serves_all_the_same(impl):
    """Its node knows the others while it runs."""
    world = World(impl, 3, storages(impl, Remembering))
    world.leader()
    world.until(lambda: begun(world.nodes.values()))
    node = restart(world, 1)
    world.until(lambda: begun([node]) and node.leader_id)
    world.close()


def test_what_is_short_is_asked_for_again(impl):
    """A storage that cannot remember just now delays the others' lives, and ends nothing."""
    world = World(impl, 3, storages(impl, Answering, [False] * 5))
    world.leader()
    world.until(lambda: begun(world.nodes.values()))
    told = world.storages[1].told
    assert len(told) >= 7 and {id for id, _ in told} == {2, 3}
    world.close()


def test_a_storage_that_fails_to_remember_ends_the_node(impl):
    world = World(impl, 3, storages(impl, Answering, [impl.StorageFailed("the disk is gone")]))
    world.until(lambda: world.nodes[1].failure is not None)
    assert "the disk is gone" in str(world.nodes[1].failure)
    world.close()


def test_a_storage_of_ones_own_is_told_that_it_has_forgotten(impl):
    world = World(impl, 3, storages(impl, Answering))
    world.leader()
    world.until(lambda: begun(world.nodes.values()))
    other = next(id for id in (2, 3))
    message = impl.Message(KNOWN, flags=REJECT, index=life(world.nodes[1]), commit=99, hint=2)
    codec = impl._core.Codec(world.nodes[1].config.cluster, other, life(world.nodes[other]))
    world.receive[1](codec.encode(1, [message]))
    world.until(lambda: world.nodes[1].failure is not None)
    assert world.storages[1].told[-1] == 99
    world.close()


def test_a_disk_that_fails_while_a_life_is_remembered_ends_the_node(impl):
    """The file's sync fails: nobody knows what is on disk."""
    sim = module(impl, "testing.disk")
    disk = sim.SimDisk(random.Random(1))
    storage = impl.FileStorage.create("/m", id=1, members=[1, 2, 3], segment_bytes=64 << 10, disk=disk)
    inner = {id: impl.MemoryStorage(voters=[1, 2, 3], random=random.Random(id).randbytes) for id in (2, 3)}
    world = World(impl, 3, {1: storage, **inner})
    world.until(lambda: begun(world.nodes.values()))
    disk.fail("sync", "lives")
    restart(world, 2)
    world.until(lambda: world.nodes[1].failure is not None)
    assert isinstance(world.nodes[1].failure, impl.StorageFailed) and "life" in str(world.nodes[1].failure)
    world.close()


def test_a_member_introduces_itself_until_it_is_heard(impl):
    """In twice as many ticks each time, and at once when the other one speaks."""
    world = World(impl, 3)
    world.until(lambda: begun(world.nodes.values()))
    net = Net(world)
    net.cut(1, 2)
    net.cut(1, 3)
    node = restart(world, 1)
    net.wrap()
    meets = []
    codecs = {id: impl._core.Codec(node.config.cluster, id, 1) for id in (2, 3)}
    for id in (2, 3):
        inner = world.receive[id]

        def take(frame, id=id, inner=inner):
            for message in codecs[id].decode(frame):
                if message.kind == introduction(impl, bytes(16)).kind and message.sender == 1:
                    meets.append((id, world.rounds))
            inner(frame)

        world.receive[id] = take
    world.for_rounds(2 * TIMEOUT)
    gaps = [b - a for a, b in zip(*[[at for id, at in meets if id == 2][k:] for k in (0, 1)], strict=False)]
    assert 3 <= len(gaps) <= 9 and gaps[-1] >= 4 * TICK_MS and max(gaps) <= TIMEOUT + TICK_MS
    net.cuts.clear()
    world.until(lambda: begun([node]), rounds=TIMEOUT + 50)
    world.close()


def test_a_member_whose_storage_was_copied_learns_of_it_while_it_runs(impl, tmp_path):
    """Its copy was started elsewhere and is gone again: the others have met that, and tell the one that goes on."""
    world = World(impl, 3)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    other = next(id for id in world.ids if id != leader.id)
    twin = impl._core.Codec(leader.config.cluster, leader.id, later(life(leader)))
    world.receive[other](twin.encode(other, [introduction(impl, bytes([9] * 16), rebuilt=True)]))
    world.until(lambda: leader.failure is not None, 20_000)
    assert isinstance(leader.failure, impl.MemoryLost)
    world.close()
