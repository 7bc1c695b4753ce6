"""A transfer of a snapshot is cut off after each chunk in turn, in each way: what was there is not fetched again."""

import collections
import random
import types

import pytest

from tests.helpers.implementations import module
from tests.helpers.machines import Machine
from tests.helpers.transfers import CHUNK, CHUNKS, Cluster

PIECE = 4096  # bytes of a chunk, the fewest there can be
SMALL = {"snapshot_entries": 0, "max_frame_bytes": 2 * PIECE, "max_message_bytes": PIECE, "max_entry_bytes": PIECE}
MANY = 12
QUICK, SLOW = 0.000_01, 0.004  # seconds of a round, for a short round trip, and to let time pass
SYNCED = 2  # chunks between two syncs, where that matters
AGAIN = 6  # chunks that may be asked for once more because of one cut


class Large(Machine):
    """Its state is what it was given, and much that follows from that: few entries, and many chunks."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def snapshot(self):
        items = super().snapshot() + b"\n"
        return items + random.Random(items).randbytes(self.size - len(items))

    def restore(self, reader):
        whole = reader.read()
        items = whole[: whole.index(b"\n\n") + 1]
        self.items = items.split(b"\n")[:-1]
        self.restored = (reader.index, reader.version)
        assert whole == self.snapshot()


class Transfer:
    """Members 1 and 2 have the same snapshot and no log before it; the third one has nothing, and begins to fetch."""

    def __init__(self, impl, path, chunks, seed):
        self.chunks = chunks
        # The last chunk is a short one.
        machine = lambda: Large(chunks * PIECE - 100)  # noqa: E731
        self.cluster = Cluster(
            impl, path, absent=(3,), where="simulated", machine=machine, seed=seed, step=SLOW, **SMALL
        )
        self.world = self.cluster.world
        self.cluster.propose(5)
        self.cluster.agree()
        made = [node.snapshot() for node in self.world.nodes.values()]
        self.world.until(lambda: all(future.done() for future in made))
        assert made[0].result() == made[1].result() and made[0].result().chunks == chunks
        self.index = made[0].result().index
        self.world.until(lambda: all(node.status().first > self.index for node in self.world.nodes.values()))
        self.cluster.propose(2)
        self.cluster.start(3)
        # What is under way while the round trip is short does not depend on how long it was before.
        self.world.skipped.add((3, "courier"))
        self.world.until(lambda: self.world.engine(3).transfers.queue.py_waiting())
        self.world.skipped.clear()
        self.world.step = QUICK
        self.world.until(lambda: self.fetch() is not None)

    def fetch(self):
        return self.world.nodes[3]._parts.courier.fetch

    def until_there(self, count):
        """So many chunks have arrived, one after the other, and no more."""
        if count < self.chunks:
            self.world.until(lambda: self.fetch().receiver.missing() >= count)
            assert self.fetch().receiver.missing() == count
        else:
            self.world.until(lambda: self.cluster.transfers(3).fetched)
        self.world.step = SLOW

    def come_to_an_end(self):
        """Everybody has what the others have; which chunks were asked for since ``seen`` was cleared."""
        self.cluster.agree()
        assert self.world.machines[3].restored == (self.index, Machine.version)
        assert self.world.machines[3].items[:5] == [b"x%d" % number for number in range(5)]
        wanted = [m for sender, _, m in self.cluster.seen if sender == 3 and m.kind == CHUNKS]
        return [number for m in wanted for number in range(m.commit, m.commit + m.hint)]


@pytest.fixture
def begun(impl, tmp_path):
    made = []

    def begin(chunks=MANY, seed=0):
        made.append(Transfer(impl, tmp_path, chunks, seed))
        return made[-1]

    yield begin
    for each in made:
        each.world.close()


def test_the_smallest_window_and_the_smallest_chunks(begun):
    """One chunk of 4 KiB is under way, from the first one to the last; each is asked for once."""
    transfer = begun(chunks=100)
    three = transfer.cluster
    transfer.until_there(100)
    numbers = transfer.come_to_an_end()
    assert numbers == list(range(100))
    under_way = 0
    for sender, _, message in three.seen:
        if message.kind == CHUNKS:
            assert sender == 3 and message.hint == 1
            under_way += 1
        elif message.kind == CHUNK:
            assert PIECE < message.body_size < PIECE + 100 or message.commit == 99
            under_way -= 1
        assert 0 <= under_way <= 1
    assert three.transfers(3).chunks_received == 100 and three.transfers(3).given_up == 0


def lose_the_connection(transfer, rounds=40):
    transfer.cluster.cut_off.add(3)
    transfer.world.for_rounds(rounds)
    transfer.cluster.cut_off.clear()


def lose_it_for_long(transfer):
    """Its source is given up meanwhile, and offers it once more afterwards."""
    fetches = transfer.fetch() is not None
    lose_the_connection(transfer, 450)
    assert transfer.cluster.transfers(3).given_up == fetches


def restart_the_source(transfer):
    source = transfer.cluster.leader().id
    transfer.cluster.kill(source)
    # It is not to lead again: its log on disk begins further back than the one it had in memory.
    transfer.cluster.start(source, election_ticks=100)


def restart_the_receiver(transfer):
    transfer.cluster.kill(3)
    transfer.cluster.start(3)


def cut_its_power(transfer):
    transfer.cluster.kill(3, power=True)
    transfer.cluster.start(3)


def hand_over(transfer):
    """The old leader is there, and so is the file at the new one."""
    leader = transfer.cluster.leader()
    transfer.world.until(leader.transfer_leadership(3 - leader.id).done)


def lose_the_leader(transfer):
    """For good: another one has the file."""
    transfer.cluster.kill(transfer.cluster.leader().id)


CUTS = (
    lose_the_connection, lose_it_for_long, restart_the_source, restart_the_receiver, cut_its_power, hand_over,
    lose_the_leader,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)
def test_it_goes_on_from_every_chunk(impl, begun, monkeypatch, cut):
    """What has arrived is there; after a power cut, what was synced of it."""
    monkeypatch.setattr(module(impl, "storage.snapshot_receiver"), "SYNC_STEP", SYNCED * PIECE)
    for count in range(MANY + 1):
        transfer = begun(seed=count)
        transfer.until_there(count)
        transfer.cluster.seen.clear()
        cut(transfer)
        asked = transfer.come_to_an_end()
        there = count // SYNCED * SYNCED if cut is cut_its_power else count
        wanted = collections.Counter(asked)
        assert all(number >= there for number in wanted), f"after {count}: {asked}"
        if cut is not cut_its_power:
            assert set(range(count + 1, MANY)) <= set(wanted) and len(asked) <= MANY - count + AGAIN
        if cut is not lose_it_for_long:
            # The present source, or the next one, has the file: none is given up.
            assert transfer.cluster.transfers(3).given_up == 0, f"after {count}"
        transfer.world.close()


@pytest.mark.parametrize(("gap_ms", "window"), [(10.5, 2), (1.4, 2), (1.0, 3), (0.3, 6)])
def test_how_many_chunks_are_under_way(impl, gap_ms, window):
    """Two where one takes 10.5 ms, as at 100 Mbit/s; as many as arrive within 3 ms where the way is fast."""
    courier = module(impl, "node.courier")
    fetch = courier.Fetch(types.SimpleNamespace(digest=bytes(32)), types.SimpleNamespace(missing=lambda: 0), 2, 0)
    assert fetch.window() == 1  # how long a chunk takes is not known yet
    now = 0
    for _ in range(50):
        now += int(gap_ms * 1e6)
        fetch.came(now, now - int(2 * gap_ms * 1e6))
    assert fetch.window() == window
    fetch.came(now + 100_000, now)
    assert fetch.window() == 1


@pytest.mark.parametrize(("window", "asked"), [(1, [1] * 9), (2, [2] + [1] * 7), (3, [3, 2, 2, 2]), (6, [6, 3])])
def test_several_chunks_are_asked_for_at_once(impl, window, asked):
    """As soon as half of what may be under way has arrived; at the end, what is left."""
    courier = module(impl, "node.courier")
    here = [0]
    receiver = types.SimpleNamespace(missing=lambda: here[0])
    fetch = courier.Fetch(types.SimpleNamespace(digest=bytes(32), chunks=9), receiver, 2, 0)
    fetch.window = lambda: window
    found = []
    while here[0] < 9:
        count = fetch.wanted()
        if count:
            found.append(count)
            fetch.next += count
        assert 0 < fetch.next - here[0] <= window
        assert fetch.wanted() == 0
        here[0] += 1
    assert found == asked
