"""Large batches, whose records are written from where they stand: the same bytes, recovery and faults."""

import contextlib
import errno
import random

import pytest

from tests.helpers.implementations import module, structures
from tests.helpers.storages import founded
from tests.helpers.wal import BLOCK, CLUSTER, contents, damaged, marks, opened, recover, segment

SEGMENT = 1 << 20
SECTOR = 512
LARGE = 64 << 10  # from which on records stay where they are
KINDS = {
    "random": lambda rng: rng.randbytes(4000),
    "zeros": lambda rng: bytes(4000),
    "mixed": lambda rng: bytes(rng.randrange(3000)) + rng.randbytes(rng.randrange(1, 30)) + bytes(rng.randrange(3000)),
}


def encoded(impl, count, kind, seed=1):
    """Records of entries 1 .. count."""
    rng = random.Random(seed)
    core = structures(impl)
    return [core.Entry(index, 1, KINDS[kind](rng)).encode() for index in range(1, count + 1)]


def spans_of(impl, pieces):
    spans = structures(impl).Spans()
    for piece in pieces:
        spans.py_push(piece)
    return spans


def batch(path, at=2 * BLOCK):
    """The bytes of a batch: after the header of the segment and the opening batch, unless told otherwise."""
    data = segment(path).read_bytes()[at:]
    length = int.from_bytes(data[32:40], "little")
    return data[: -(-(96 + length) // BLOCK) * BLOCK]


def written(impl, path, pieces, term=1):
    """A directory with one batch of these records, in these pieces."""
    storage = founded(impl, path, segment_bytes=SEGMENT, cluster=CLUSTER)
    storage.open(1, CLUSTER)
    assert storage.wal.py_write(1, term, 0, 0, spans_of(impl, pieces)) == 0
    assert storage.wal.py_write(1, term + 1, 0, 0, spans_of(impl, [])) == 0
    storage.close()
    return batch(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pieces", [1, 2, 5, 126])
def test_the_same_bytes_as_a_copy(impl, tmp_path, kind, pieces):
    """However many pieces there are; more than can be written together are copied."""
    core = structures(impl)
    records = encoded(impl, 130, kind)
    assert sum(map(len, records)) >= LARGE
    step = -(-len(records) // pieces)
    joined = [b"".join(records[at : at + step]) for at in range(0, len(records), step)]
    copied = written(impl, tmp_path / "copied", records)
    assert len(records) > module(impl, "_native.files").PARTS_MAX >= len(joined)
    assert written(impl, tmp_path / "there", joined) == copied
    for name in ("copied", "there"):
        state, entries = recover(impl, tmp_path / name)
        assert state.term == 2
        assert entries == [(e.index, e.term, e.data) for e in core.Entry.decode_all(b"".join(records))]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_torn_is_told(impl, memory_path, kind):
    """A large batch of which sectors are missing, any one or all behind one, was never written."""
    whole = memory_path / "whole"
    storage, _ = opened(impl, whole, segment_bytes=SEGMENT)
    state = impl.HardState(1, 1, 0)
    storage.append(state, [])
    storage.sync()
    storage.append(state, [b"".join(encoded(impl, 24, kind))])
    storage.sync()
    end = storage.wal.write_offset
    storage.close()
    content = segment(whole).read_bytes()
    before = marks(impl, whole)[-2]
    assert before.position == 3 * BLOCK and end - before.position >= LARGE
    full = recover(impl, whole)
    sectors = [at for at in range(before.position, end, SECTOR) if any(content[at : at + SECTOR])]
    assert len(full[1]) == 24 and len(sectors) > 8
    for number, at in enumerate(sectors):
        cut = [content[:at] + bytes(len(content) - at)]
        if number % 5 == 0:
            cut.append(content[:at] + bytes(SECTOR) + content[at + SECTOR :])
        for left in cut:
            damaged(impl, whole, memory_path / "cut", left, before)
            assert recover(impl, memory_path / "cut") == (state, []), at


def test_records_of_a_snapshot_in_a_large_batch(impl, tmp_path):
    """The log begins anew with it, as with a small one."""
    conf = impl.ConfState(voters=(1,))
    form = module(impl, "storage.snapshot_format")
    storage = founded(impl, tmp_path / "log", segment_bytes=SEGMENT, cluster=CLUSTER)
    storage.open(1, CLUSTER)
    core = structures(impl)
    behind = [core.Entry(index, 2, bytes(4000)).encode() for index in range(10, 40)]
    fields = {"conf_state": conf, "addresses": {}, "cluster": CLUSTER, "incarnation": 1, "version": 0}
    (tmp_path / "source").mkdir()
    with contextlib.closing(module(impl, "_native.files").Directory(tmp_path / "source")) as directory:
        snapshots = module(impl, "storage.snapshots")
        writer = snapshots.SnapshotWriter(directory, form.Descriptor(index=9, term=2, **fields))
        writer.write(b"state")
        made = writer.finish()
        with contextlib.closing(snapshots.SnapshotReader(directory, made.name)) as reader:
            receiver = storage.receive_snapshot(made)
            receiver.put(0, reader.chunk(0))
            receiver.finish()
    record = module(impl, "_native.outbox").snapshot_record(made.snapshot())
    assert storage.wal.py_write(1, 2, 0, 9, spans_of(impl, [record + b"".join(behind)])) == 0
    assert batch(tmp_path / "log")[8] == 3
    assert storage.wal.restored == 9
    storage.close()
    storage = impl.FileStorage(tmp_path / "log")
    loaded = storage.open(1, CLUSTER)
    assert loaded.base_index == 9
    assert [index for index, _, _ in contents_behind(impl, loaded)] == [*range(10, 40)]
    storage.close()


def contents_behind(impl, loaded):
    """Entries of a log that begins behind its base."""
    log = structures(impl).EntryLog()
    log.py_restore(loaded.base_index, loaded.base_term)
    for piece in loaded.records:
        log.py_extend(piece)
    return [(e.index, e.term, e.data) for e in log.entries(log.first, log.last)]


def test_a_failed_write_is_the_last(impl, tmp_path):
    """As of a small batch: nothing is written after it, and what was durable before is there."""
    storage, _ = opened(impl, tmp_path / "log", segment_bytes=SEGMENT)
    records = encoded(impl, 40, "random")
    assert storage.wal.py_write(1, 1, 0, 0, spans_of(impl, [b"".join(records[:20])])) == 0
    storage.wal.file.fail_errno = errno.ENOSPC
    storage.wal.file.fail_after = 0
    format = module(impl, "storage.wal_format")
    failure = format.OPERATION_WRITE << 32 | errno.ENOSPC
    assert storage.wal.py_write(1, 1, 0, 0, spans_of(impl, [b"".join(records[20:])])) == failure
    storage.wal.file.fail_after = -1
    assert storage.wal.py_write(1, 1, 0, 0, spans_of(impl, [b"".join(records[20:])])) == failure
    storage.close()
    storage = impl.FileStorage(tmp_path / "log")
    assert [index for index, _, _ in contents(impl, storage.open(1, CLUSTER))] == [*range(1, 21)]
    storage.close()


def test_batches_of_every_size_follow_each_other(impl, tmp_path):
    """Large, small, and those of one block, over several segments."""
    rng = random.Random(7)
    core = structures(impl)
    storage, _ = opened(impl, tmp_path / "log", segment_bytes=SEGMENT)
    entries = []
    for _ in range(30):
        first = len(entries) + 1
        new = [
            core.Entry(first + at, 1, KINDS[rng.choice([*KINDS])](rng)) for at in range(rng.choice((1, 5, 16, 17, 60)))
        ]
        entries += new
        records = [each.encode() for each in new]
        cut = rng.randrange(len(records))
        pieces = [b"".join(records[:cut]), b"".join(records[cut:])]
        assert storage.wal.py_write(1, 1, 0, 0, spans_of(impl, [piece for piece in pieces if piece])) == 0
    assert storage.wal.segment > 2
    storage.close()
    storage = impl.FileStorage(tmp_path / "log")
    assert contents(impl, storage.open(1, CLUSTER)) == [(e.index, e.term, e.data) for e in entries]
    storage.close()
