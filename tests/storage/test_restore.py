"""Logs that begin anew behind a snapshot: what is written, what goes, and what an opening makes of what is there."""

import dataclasses
import logging
import random

import pytest

from tests.helpers.implementations import module
from tests.helpers.storages import founded
from tests.helpers.wal import BLOCK, CLUSTER, SMALL, opened, records, segment, segments

FOUNDERS = (1, 2, 3)
HEAD = 96  # bytes of a batch's header


def conf(impl, *learners):
    return impl.ConfState(voters=FOUNDERS, learners=learners)


def described(impl, index, term, *learners):
    form = module(impl, "storage.snapshot_format")
    return form.Descriptor(index, term, conf(impl, *learners), {}, CLUSTER, 1, 0, chunk_bytes=4096)


def received(impl, storage, index, term, *learners):
    """A snapshot that has arrived."""
    suite = module(impl, "testing.storage_snapshots")
    return suite.receive(storage, described(impl, index, term, *learners), b"state of %d" % index * 1500)


def state_of(storage):
    with storage.open_snapshot() as reader:
        return reader.index, reader.read()


def fill(impl, storage, first, count, term=1, commit=0):
    """Write entries of 9,000 bytes, a batch each."""
    for index in range(first, first + count):
        data = b"%d" % index + bytes(9000)
        storage.append(impl.HardState(term, 0, min(commit, index)), [records(impl, index, [(term, data)])])
        storage.sync()


def restore(impl, storage, index, term, *learners, behind=(), commit=None):
    """A snapshot has arrived, and the log begins behind it; ``behind``: (term, data) of entries."""
    made = received(impl, storage, index, term, *learners)
    storage.begin_behind(index, term, conf(impl, *learners))
    news = [records(impl, index + 1, behind)] if behind else []
    storage.append(impl.HardState(term, 0, index if commit is None else commit), news)
    storage.sync()
    return made


def found(impl, loaded):
    """The entries behind the base."""
    log = module(impl, "_core").EntryLog()
    if loaded.base_index:
        log.py_restore(loaded.base_index, loaded.base_term)
    for piece in loaded.records:
        log.py_extend(piece)
    return [(e.index, e.term) for e in log.entries(log.first, log.last)]


def snapshots(directory):
    return sorted(each.name for each in directory.iterdir() if each.name.startswith("snapshot-"))


def batches(data):
    """(place, kind, length) of each batch of a segment."""
    at = BLOCK
    while data[at : at + 4] == b"RXWB":
        kind, length = (int.from_bytes(data[at + a : at + b], "little") for a, b in ((8, 12), (32, 40)))
        yield at, kind, length
        at += -(-(HEAD + length) // BLOCK) * BLOCK


@pytest.mark.parametrize("joint", [False, True], ids=["simple", "joint"])
def test_what_is_written(impl, tmp_path, joint):
    """A batch of kind 3 with the record of the snapshot, then the entries; and the header of the next segment."""
    form, outbox = module(impl, "storage.wal_format"), module(impl, "_native.outbox")
    storage, _ = opened(impl, tmp_path)
    fill(impl, storage, 1, 2)
    members = impl.ConfState(voters=(1, 2, 5), learners=(7,))
    if joint:
        members = impl.ConfState((1, 2, 5), tuple(range(10, 60)), (1, 2, 3, 4), (4,), auto_leave=True)
    made, chunks = module(impl, "testing.storage_snapshots").arriving(
        dataclasses.replace(described(impl, 40, 3), conf_state=members), b"state"
    )
    receiver = storage.receive_snapshot(made)
    receiver.put(0, chunks[0])
    receiver.finish()
    storage.begin_behind(40, 3, members)
    behind = records(impl, 41, [(3, b"behind")])
    storage.append(impl.HardState(3, 2, 40), [behind])
    storage.sync()
    data = segment(tmp_path).read_bytes()
    *_, (at, kind, length) = batches(data)
    assert (kind, form.KIND_RESTORE) == (3, 3)
    assert data[at + HEAD : at + HEAD + length] == outbox.snapshot_record(made.snapshot()) + behind
    assert storage.wal.base == storage.wal.restored == 40
    fill(impl, storage, 42, 6, term=3, commit=40)
    storage.close()
    head = form.decode_head(segment(tmp_path, 2).read_bytes()[:BLOCK])
    assert (head.base, head.base_term, head.conf_state) == (40, 3, members)
    assert head.founders == impl.ConfState(voters=FOUNDERS)
    assert form.encode_head(head) == segment(tmp_path, 2).read_bytes()[:BLOCK]
    storage, loaded = opened(impl, tmp_path)
    assert (loaded.base_index, loaded.base_term, loaded.conf_state) == (40, 3, members)
    storage.close()


def test_the_segments_before_go(impl, tmp_path):
    """With the next header, as after a compaction; also when they hold higher entries than the snapshot."""
    storage, _ = opened(impl, tmp_path)
    fill(impl, storage, 1, 19)
    assert segments(tmp_path) == [1, 2, 3, 4, 5]
    old = {number: segment(tmp_path, number).read_bytes() for number in (3, 4)}
    restore(impl, storage, 9, 2, 50, behind=[(2, b"ten")])
    assert segments(tmp_path) == [1, 2, 3, 4, 5]
    fill(impl, storage, 11, 5, term=2, commit=9)
    storage.close()
    # It stands in the fifth segment, behind entries 17 to 19.
    assert segments(tmp_path) == [5, 6]
    expected = [(index, 2) for index in range(10, 16)]
    storage, loaded = opened(impl, tmp_path)
    assert (loaded.base_index, loaded.conf_state, found(impl, loaded)) == (9, conf(impl, 50), expected)
    storage.close()
    # A power cut may bring some of them back: they begin in the middle of what is void.
    for numbers in ((4,), (3, 4)):
        for number in numbers:
            segment(tmp_path, number).write_bytes(old[number])
        storage, loaded = opened(impl, tmp_path)
        assert (loaded.base_index, found(impl, loaded)) == (9, expected)
        storage.close()
    # And on.
    storage, loaded = opened(impl, tmp_path)
    own = storage.begin_snapshot(described(impl, 15, 2, 51))
    own.write(b"own")
    own.finish()
    storage.compact(15, 2, conf(impl, 51))
    fill(impl, storage, 16, 12, term=2, commit=15)
    storage.close()
    assert segments(tmp_path)[0] > 5
    storage, loaded = opened(impl, tmp_path)
    assert (loaded.base_index, loaded.conf_state) == (15, conf(impl, 51))
    assert found(impl, loaded) == [(index, 2) for index in range(16, 28)]
    storage.close()


def test_a_gap_behind_the_base_is_damage_all_the_same(impl, tmp_path):
    """Where segments are gone their last entry is not known: what follows must reach back to the base, or be void."""
    form = module(impl, "storage.wal_format")
    storage, _ = opened(impl, tmp_path)
    fill(impl, storage, 1, 20)
    storage.compact(11, 1, conf(impl))
    fill(impl, storage, 21, 3)
    storage.close()
    first, *_, last = segments(tmp_path)
    assert first == 3  # it begins with entry 9
    data = segment(tmp_path, last).read_bytes()
    head = form.decode_head(data[:BLOCK])
    assert head.base == 11
    for base, whole in ((10, True), (7, False)):
        data = segment(tmp_path, last).read_bytes()
        segment(tmp_path, last).write_bytes(form.encode_head(head._replace(base=base)) + data[BLOCK:])
        if whole:
            storage, loaded = opened(impl, tmp_path)
            assert loaded.base_index == base
            storage.close()
        else:
            with pytest.raises(impl.WalDamaged, match="nothing in the log follows its base 7"):
                opened(impl, tmp_path)


def copy(source, to):
    to.mkdir()
    for each in source.iterdir():
        (to / each.name).write_bytes(each.read_bytes())


def test_a_torn_one_never_was_and_a_damaged_one_is_refused(impl, tmp_path):
    path = tmp_path / "n"
    storage, _ = opened(impl, path)
    fill(impl, storage, 1, 3)
    made = received(impl, storage, 9, 2, 50)
    storage.close()
    before = {each.name: each.read_bytes() for each in path.iterdir()}
    storage, _ = opened(impl, path)
    end = storage.wal.write_offset
    mark = (path / "wal.mark").read_bytes()
    storage.begin_behind(9, 2, conf(impl, 50))
    storage.append(impl.HardState(2, 3, 9), [records(impl, 10, [(2, bytes(range(1, 256)) * 40)])])
    storage.sync()
    length = storage.wal.write_offset - end
    storage.close()
    assert before.keys() == {each.name for each in path.iterdir()}
    data = segment(path).read_bytes()
    draw = random.Random(3)
    for number in range(length // 512):
        at = end + number * 512
        if not any(data[at : at + 512]):
            continue
        torn, damaged = tmp_path / f"torn{number}", tmp_path / f"damaged{number}"
        copy(path, torn)
        (torn / "wal.mark").write_bytes(mark)
        segment(torn).write_bytes(data[:at] + bytes(512) + data[at + 512 :])
        storage, loaded = opened(impl, torn)
        assert storage.repaired is not None
        assert (loaded.base_index, loaded.snapshot, loaded.hard_state.term) == (0, None, 1)
        assert found(impl, loaded) == [(1, 1), (2, 1), (3, 1)]
        # The snapshot is there still: it is not received once more.
        receiver = storage.receive_snapshot(made)
        assert receiver.missing() == made.chunks and receiver.finish() == made
        storage.close()
        copy(path, damaged)
        flipped = bytearray(data)
        flipped[at + draw.randrange(100)] ^= 1 << draw.randrange(8)
        segment(damaged).write_bytes(flipped)
        with pytest.raises(impl.WalDamaged):
            opened(impl, damaged)


def test_one_that_begins_a_segment_is_there_with_its_batch_not_with_the_header(impl):
    """The power fails at each operation of that write: the log is as before it, or as after it."""
    afterwards = []
    for cut in range(1, 40):
        disk = module(impl, "testing.disk").SimDisk(random.Random(cut))

        def made(disk=disk):
            return founded(impl, "/node", members=FOUNDERS, segment_bytes=SMALL, disk=disk, cluster=CLUSTER)

        storage = made()
        storage.open(1, CLUSTER)
        fill(impl, storage, 1, 4)  # one more has no room in the first segment
        received(impl, storage, 9, 2, 50)
        storage.begin_behind(9, 2, conf(impl, 50))
        storage.append(impl.HardState(2, 3, 9), [records(impl, 10, [(2, bytes(9000))])])
        disk.cut_after(cut)
        try:
            storage.sync()
        except impl.StorageFailed:
            assert disk.off
        done = not disk.off
        disk.crash()
        storage.close()
        storage = made()
        loaded = storage.open(1, CLUSTER)
        after = loaded.base_index == 9
        afterwards.append(after)
        assert after or not done
        wanted = [(10, 2)] if after else [(index, 1) for index in range(1, 5)]
        assert found(impl, loaded) == wanted
        assert loaded.conf_state == (conf(impl, 50) if after else conf(impl))
        assert loaded.hard_state == (impl.HardState(2, 3, 9) if after else impl.HardState(1, 0, 0))
        assert (loaded.snapshot is not None) == after
        storage.close()
        if done:
            break
    assert done and not afterwards[0] and afterwards.count(False) > 3


def test_a_record_that_is_none_is_damage(impl, tmp_path):
    """With a right checksum: somebody wrote it so."""
    memory = module(impl, "_native.memory")
    right = conf(impl).encode()
    swapped = right[:8] + right[16:24] + right[8:16] + right[24:]
    for number, (index, data, text) in enumerate(
        [
            (2, None, "kind of the batch"),
            (9, swapped, "has no membership"),
            (9, impl.ConfState().encode(), "is none"),
        ]
    ):
        path = tmp_path / str(number)
        storage, _ = opened(impl, path)
        fill(impl, storage, 1, 1)
        spans = memory.Spans()
        # The first one is an ordinary batch that says that it begins the log anew.
        spans.py_push(records(impl, 2, [(1, b"x")]) if data is None else impl.Entry(index, 2, data, 3).encode())
        assert storage.wal.py_write(3, 2, 0, 0, spans) == 0
        storage.close()
        with pytest.raises(impl.WalDamaged, match=text):
            opened(impl, path)


def test_a_membership_that_is_cut_off_is_not_written(impl, tmp_path):
    storage, _ = opened(impl, tmp_path)
    spans = module(impl, "_native.memory").Spans()
    spans.py_push(impl.Entry(9, 2, conf(impl).encode()[:-1], 3).encode())
    with pytest.raises(impl.Corruption, match="has no membership"):
        storage.wal.py_write(1, 2, 0, 0, spans)
    storage.close()


def test_a_base_from_before_is_not_taken_afterwards(impl, tmp_path):
    """A compaction that waits for the next batch when the log begins anew."""
    storage, _ = opened(impl, tmp_path)
    fill(impl, storage, 1, 6)
    made = received(impl, storage, 20, 2, 50)
    form = module(impl, "storage.wal_format")
    storage.begin_behind(20, 2, conf(impl, 50))
    storage.append(impl.HardState(2, 0, 20), [])
    storage.sync()
    head = form.decode_head(segment(tmp_path).read_bytes()[:BLOCK])
    assert storage.wal.py_compact(4, form.encode_head(head._replace(base=4, base_term=1)))
    storage.compact(5, 1, conf(impl))
    assert storage.wal.base == 20
    fill(impl, storage, 21, 6, term=2, commit=20)
    storage.close()
    storage, loaded = opened(impl, tmp_path)
    assert (loaded.base_index, loaded.conf_state, loaded.snapshot) == (20, conf(impl, 50), made.snapshot())
    storage.close()


def test_what_cannot_follow_is_refused(impl, tmp_path):
    storage, _ = opened(impl, tmp_path)
    fill(impl, storage, 1, 4)
    restore(impl, storage, 9, 2)
    for index, text in ((9, "above 9"), (3, "above 9"), (11, "in 1..10")):
        with pytest.raises(impl.UsageError, match=text):
            storage.append(impl.HardState(2, 0, 9), [records(impl, index, [(2, b"x")])])
    record = module(impl, "_native.outbox").snapshot_record(impl.Snapshot(10, 2, conf(impl)))
    with pytest.raises(impl.UsageError, match="kind 3"):
        storage.append(impl.HardState(2, 0, 9), [record])
    storage.close()


# --- which snapshots count -------------------------------------------------------------------------


def test_those_before_are_removed(impl, tmp_path):
    """When the log begins behind the new one, not before."""
    storage, _ = opened(impl, tmp_path)
    fill(impl, storage, 1, 8, commit=8)
    made = []
    for index in (3, 6):
        writer = storage.begin_snapshot(described(impl, index, 1))
        writer.write(b"own %d" % index)
        made.append(writer.finish())
    new = received(impl, storage, 20, 2)
    assert snapshots(tmp_path) == [each.name for each in (*made, new)]
    assert state_of(storage) == (6, b"own 6")
    storage.begin_behind(20, 2, conf(impl))
    assert state_of(storage) == (6, b"own 6")
    storage.sync()
    assert snapshots(tmp_path) == [new.name]
    assert state_of(storage) == (20, b"state of 20" * 1500)
    # One that was begun before, and is of no use when it is finished.
    storage.append(impl.HardState(2, 0, 20), [records(impl, 21, [(2, b"x")] * 9)])
    storage.sync()
    late = storage.begin_snapshot(described(impl, 22, 2))
    late.write(b"late")
    restore(impl, storage, 25, 2)
    late.finish()
    assert snapshots(tmp_path) == [described(impl, 25, 2).name]
    assert state_of(storage)[0] == 25
    storage.close()
    storage, loaded = opened(impl, tmp_path)
    assert (loaded.snapshot.index, loaded.base_index) == (25, 25)
    storage.close()


def test_one_that_was_received_and_not_begun_behind_keeps_nobody_from_starting(impl, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    storage, _ = opened(impl, tmp_path)
    fill(impl, storage, 1, 6)
    own = storage.begin_snapshot(described(impl, 2, 1))
    own.write(b"own")
    own = own.finish()
    first = received(impl, storage, 12, 1)
    second = received(impl, storage, 20, 2)
    # A write that lets the log begin behind the first one may be under way.
    assert snapshots(tmp_path) == [own.name, first.name, second.name]
    storage.close()
    for _ in range(2):
        storage, loaded = opened(impl, tmp_path)
        assert (loaded.snapshot, loaded.base_index) == (own.snapshot(), 0)
        assert snapshots(tmp_path) == [own.name, second.name]
        storage.close()
    assert not caplog.records
    # Damaged, it is put aside where its header shows that, and removed where it is read.
    path = tmp_path / second.name
    whole = path.read_bytes()
    path.write_bytes(whole[: second.place_of(0) + 20] + b"damage" + whole[second.place_of(0) + 26 :])
    storage, _ = opened(impl, tmp_path)
    with pytest.raises(impl.UsageError, match="received and finished"):
        storage.begin_behind(20, 2, conf(impl))
    assert snapshots(tmp_path) == [own.name]
    assert storage.receive_snapshot(second).missing() == 0
    storage.close()
    path.write_bytes(b"damage" + whole[6:])
    storage, loaded = opened(impl, tmp_path)
    assert loaded.snapshot == own.snapshot()
    storage.close()


def test_one_that_was_received_is_used_in_the_next_life(impl, tmp_path):
    storage, _ = opened(impl, tmp_path)
    fill(impl, storage, 1, 3)
    received(impl, storage, 20, 2, 50)
    storage.close()
    storage, _ = opened(impl, tmp_path)
    storage.begin_behind(20, 2, conf(impl, 50))
    storage.sync()
    assert state_of(storage)[0] == 20
    storage.close()


def test_one_whose_entry_has_another_term_in_the_log_does_not_count(impl, tmp_path):
    """The log has entries of a deposed leader in that place: they are void, and the snapshot is not of them."""
    storage, _ = opened(impl, tmp_path)
    fill(impl, storage, 1, 9)
    received(impl, storage, 6, 2)
    storage.close()
    storage, loaded = opened(impl, tmp_path)
    assert loaded.snapshot is None
    fill(impl, storage, 4, 4, term=2)  # what was void is replaced
    storage.close()
    storage, loaded = opened(impl, tmp_path)
    assert loaded.snapshot is not None and loaded.snapshot.index == 6
    fill(impl, storage, 5, 1, term=3)  # and once more
    storage.close()
    storage, loaded = opened(impl, tmp_path)
    assert loaded.snapshot is None
    storage.close()


@pytest.mark.parametrize("what", ["missing", "damaged"])
def test_without_the_snapshot_that_the_log_begins_behind_it_does_not_start(impl, tmp_path, what):
    storage, _ = opened(impl, tmp_path)
    fill(impl, storage, 1, 3)
    made = restore(impl, storage, 20, 2, behind=[(2, b"x")])
    later = received(impl, storage, 40, 3)
    storage.close()
    path = tmp_path / made.name
    if what == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    error = impl.WalDamaged if what == "missing" else impl.SnapshotDamaged
    for _ in range(2):
        with pytest.raises(error, match="put the file back as it was, or rebuild the member"):
            opened(impl, tmp_path)
    assert later.name in snapshots(tmp_path)


def test_parts_that_are_of_no_use_go(impl, tmp_path):
    suite = module(impl, "testing.storage_snapshots")
    storage, _ = opened(impl, tmp_path)
    fill(impl, storage, 1, 3)

    def begin(storage, index, term):
        made, chunks = suite.arriving(described(impl, index, term), b"state" * 4000)
        receiver = storage.receive_snapshot(made)
        receiver.put(0, chunks[0])
        receiver.close()
        return made.name + ".part"

    old = begin(storage, 20, 2)
    kept = (tmp_path / old).read_bytes()
    new = begin(storage, 30, 2)
    assert snapshots(tmp_path) == [new]
    (tmp_path / old).write_bytes(kept)
    storage.close()
    storage, _ = opened(impl, tmp_path)
    assert snapshots(tmp_path) == [new]
    made = restore(impl, storage, 40, 3)
    (tmp_path / new).write_bytes(kept)
    storage.close()
    storage, _ = opened(impl, tmp_path)
    assert snapshots(tmp_path) == [made.name]
    for index in (39, 7):
        with pytest.raises(impl.UsageError, match="at least 40"):
            storage.receive_snapshot(described(impl, index, 3))
    storage.close()
