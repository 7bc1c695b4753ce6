"""The log on disk: recovery from every prefix and every flipped byte, faults at every operation, rotation."""

import errno
import os
import random
import shutil

import pytest

from tests.helpers.implementations import module, structures
from tests.helpers.storages import founded
from tests.helpers.wal import (
    BLOCK,
    CLUSTER,
    SMALL,
    contents,
    damaged,
    marks,
    opened,
    opened_elsewhere,
    put_mark,
    records,
    recover,
    segment,
    served,
    small_log,
    write,
)


def places(impl, whole, end):
    """Every byte that says something, and samples of the padding. Interpreted, a sample of the former too."""
    found = []
    for sector in range(0, end, 512):
        used = any(whole[sector : sector + 512])
        found += range(sector, sector + 512, (1 if impl.COMPILED else 9) if used else 128)
        found += [sector + 511]
    return sorted(set(found))


@pytest.mark.slow
def test_every_prefix(impl, memory_path):
    """After a power cut, anything that was written before it ends in zeros: what the lagging mark names is recovered.

    With a mark that names more, and where the file itself is shorter, it is damage.
    """
    tmp_path = memory_path
    states, end = small_log(impl, tmp_path / "whole")
    whole = segment(tmp_path / "whole").read_bytes()
    known = marks(impl, tmp_path / "whole")
    assert len(known) == len(states) + 1
    torn = refused = 0
    cuts = places(impl, whole, end)
    for cut in cuts:
        path = tmp_path / "cut"
        data = whole[:cut]
        # Batch k ends at block k + 2: the header block, the opening batch, then ours.
        complete = max(0, cut // BLOCK - 2)
        damaged(impl, tmp_path / "whole", path, data + bytes(len(whole) - cut), known[max(0, cut // BLOCK - 1)])
        try:
            assert recover(impl, path) in states[complete:]
            torn += 1
        except impl.WalDamaged:
            # Only where a sector is neither as it was nor zero, which no disk leaves behind.
            assert cut % 512
            refused += 1
        if cut % 512 in (0, 511):
            for shorter, mark in ((data + bytes(len(whole) - cut), None), (data, known[0])):
                damaged(impl, tmp_path / "whole", path, shorter, mark)
                try:
                    assert recover(impl, path) == states[-1]
                    assert len(shorter) == len(whole) and not any(whole[cut:])
                except impl.WalDamaged:
                    pass
                except AssertionError:
                    # Nothing at all was ever written, says the mark, and so does the file.
                    assert cut == 0 and mark == known[0] and recover(impl, path) == states[0]
    assert torn > len(cuts) / 3
    assert refused


@pytest.mark.slow
def test_every_flipped_byte(impl, memory_path):
    """An earlier state is never returned: each flip is refused, gives rise to doubt, or lies where nothing is kept."""
    tmp_path = memory_path
    states, end = small_log(impl, tmp_path / "whole")
    whole = bytearray(segment(tmp_path / "whole").read_bytes())
    mark = bytearray((tmp_path / "whole" / "wal.mark").read_bytes())
    path = tmp_path / "flipped"
    refused = unharmed = doubtful = 0
    draw = random.Random(5)
    for place in places(impl, whole, end):
        flipped = bytearray(whole)
        flipped[place] ^= draw.randrange(1, 256)
        damaged(impl, tmp_path / "whole", path, flipped)
        try:
            assert recover(impl, path) == states[-1], f"byte {place}"
            unharmed += 1
        except (impl.WalDamaged, impl.WrongDirectory):
            refused += 1
    assert refused > 100
    assert unharmed > 0
    for place in places(impl, mark, len(mark)):
        damaged(impl, tmp_path / "whole", path, whole)
        flipped = bytearray(mark)
        flipped[place] ^= draw.randrange(1, 256)
        (path / "wal.mark").write_bytes(flipped)
        hard_state, entries = recover(impl, path)
        assert (hard_state.term, hard_state.vote, hard_state.commit, entries) == (
            *(getattr(states[-1][0], name) for name in ("term", "vote", "commit")),
            states[-1][1],
        )
        doubtful += hard_state.in_doubt
    # The other slot says one batch less, so this one may have said more than there is.
    assert doubtful > 20


def test_torn_sectors_of_the_last_batch(impl, tmp_path):
    """Any set of unwritten sectors of the last batch is a torn batch; the same in an earlier one is damage."""
    h = impl.HardState
    big = [(1, os.urandom(1700)), (1, b"\0" * 2000), (1, os.urandom(900))]
    states, _ = write(impl, tmp_path / "whole", [(h(1, 0, 0), 1, [(1, b"first")]), (h(1, 0, 1), 2, big)])
    whole = segment(tmp_path / "whole").read_bytes()
    behind = marks(impl, tmp_path / "whole")[-2]
    start = 3 * BLOCK
    used = -(-(96 + sum(32 + len(data) for _, data in big)) // 512)
    zero = {s for s in range(used) if not any(whole[start + 512 * s : start + 512 * s + 512])}
    assert zero
    path = tmp_path / "torn"
    draw = random.Random(3)
    for _ in range(60):
        lost = set(draw.sample(range(used), draw.randrange(1, used + 1))) - zero
        if not lost:
            continue
        torn = bytearray(whole)
        for sector in lost:
            torn[start + 512 * sector : start + 512 * sector + 512] = bytes(512)
        # The mark knows the batch: it was whole.
        damaged(impl, tmp_path / "whole", path, torn)
        with pytest.raises(impl.WalDamaged, match="batch 3 was on disk"):
            recover(impl, path)
        damaged(impl, tmp_path / "whole", path, torn, behind)
        assert recover(impl, path) == states[1], lost
        # What was cut off stays cut off, and the log goes on.
        storage, loaded = opened(impl, path)
        assert contents(impl, loaded) == states[1][1]
        storage.append(h(2, 0, 1), [records(impl, 2, [(2, b"new")])])
        storage.sync()
        storage.close()
        assert recover(impl, path) == (h(2, 0, 1), [(1, 1, b"first"), (2, 2, b"new")])
    earlier = bytearray(whole)
    earlier[2 * BLOCK : 2 * BLOCK + 512] = bytes(512)
    damaged(impl, tmp_path / "whole", path, earlier, marks(impl, tmp_path / "whole")[0])
    with pytest.raises(impl.WalDamaged):
        recover(impl, path)


def test_an_open_reports_its_repair(impl, tmp_path, caplog):
    _, end = small_log(impl, tmp_path / "a")
    file = segment(tmp_path / "a")
    behind = marks(impl, tmp_path / "a")[-2]
    put_mark(impl, tmp_path / "a", behind, behind)
    data = bytearray(file.read_bytes())
    data[end - BLOCK : end] = bytes(BLOCK)
    data[end - BLOCK + 600 : end - BLOCK + 610] = b"remains..."
    file.write_bytes(data)
    storage, loaded = opened(impl, tmp_path / "a")
    assert storage.repaired[0] == file.name
    assert storage.repaired[1] == end - BLOCK
    assert len(contents(impl, loaded)) == 3
    assert not loaded.hard_state.in_doubt
    (said,) = [record for record in caplog.records if record.name == "raftx"]
    assert said.levelname == "WARNING" and file.name in said.getMessage() and f"{end - BLOCK}" in said.getMessage()
    caplog.clear()
    storage.close()
    again, loaded = opened(impl, tmp_path / "a")
    assert again.repaired is None and not caplog.records
    again.close()


def test_a_hole_before_a_batch_is_damage(impl, tmp_path):
    small_log(impl, tmp_path / "a")
    file = segment(tmp_path / "a")
    data = bytearray(file.read_bytes())
    data[3 * BLOCK : 4 * BLOCK] = bytes(BLOCK)
    file.write_bytes(data)
    with pytest.raises(impl.WalDamaged, match="follows"):
        recover(impl, tmp_path / "a")


def files_of(storage):
    """The files that a log writes into."""
    return {"segment": storage.wal.file, "mark": storage.wal.mark, "next": storage.wal.reserve.file}


@pytest.mark.parametrize(
    ("which", "operation"),
    [*(("segment", n) for n in range(1, 30)), *(("mark", n) for n in range(1, 12)), *(("next", n) for n in range(10))],
)
def test_a_failure_at_each_operation(impl, tmp_path, which, operation):
    """The first failed operation poisons the log; what was acknowledged before it is there after a restart."""
    storage, _ = opened(impl, tmp_path / "n")
    file = files_of(storage)[which]
    file.fail_after = operation
    file.fail_errno = errno.ENOSPC if operation % 2 else errno.EIO
    acknowledged = 0
    with pytest.raises(impl.StorageFailed, match="Errno"):
        for index in range(1, 40):
            storage.append(impl.HardState(1, 0, 0), [records(impl, index, [(1, b"%d" % index + bytes(9000))])])
            storage.sync()
            acknowledged = index
    file.fail_after = -1
    before = segment(tmp_path / "n").read_bytes()
    with pytest.raises(impl.StorageFailed):
        storage.append(impl.HardState(9, 0, 0), [])
        storage.sync()
    assert segment(tmp_path / "n").read_bytes() == before
    storage.close()
    state, entries = recover(impl, tmp_path / "n")
    assert state.term in ((1,) if acknowledged else (0, 1))
    assert [e[0] for e in entries] == list(range(1, len(entries) + 1))
    assert acknowledged <= len(entries) <= acknowledged + 1


def test_rotation_and_large_batches(impl, tmp_path):
    storage, _ = opened(impl, tmp_path / "n")
    expected = []
    for index in range(1, 60):
        data = bytes([index]) * (200_000 if index == 30 else 5000)
        storage.append(impl.HardState(index, 0, index - 1), [records(impl, index, [(index, data)])])
        storage.sync()
        expected.append((index, index, data))
    storage.close()
    names = sorted(p.name for p in (tmp_path / "n").glob("wal-*"))
    assert len(names) > 5
    assert max(p.stat().st_size for p in (tmp_path / "n").glob("wal-*")) > 200_000
    assert recover(impl, tmp_path / "n") == (impl.HardState(59, 0, 58), expected)
    # One that is missing in the middle, or at the beginning of what follows, is noticed.
    hidden = tmp_path / "n" / names[2]
    hidden.rename(tmp_path / "hidden")
    with pytest.raises(impl.WalDamaged):
        recover(impl, tmp_path / "n")


def test_a_segment_that_was_only_begun(impl, tmp_path, caplog):
    """A crash between creating a segment and its durable header: it is as if it was never there."""
    head = module(impl, "storage.wal_format")
    for content, kept in ((b"", False), (bytes(BLOCK), False), (bytes(SMALL), True), (None, False)):
        path = tmp_path / f"n{'-' if content is None else len(content)}"
        states, _ = small_log(impl, path)
        if content is None:
            # A header of many members has more than one sector; of this one the second is there.
            storage = founded(impl, tmp_path / "many", members=range(1, 65), segment_bytes=SMALL, cluster=CLUSTER)
            storage.open(1, CLUSTER)
            storage.close()
            shutil.rmtree(path)
            (tmp_path / "many").rename(path)
            mark = marks(impl, path)[-1]
            conf = impl.ConfState(voters=tuple(range(1, 65)))
            store = head.decode_head(segment(path).read_bytes()[:BLOCK]).store
            fields = head.Head(2, CLUSTER, 1, mark.chain, mark.number + 1, SMALL, 0, 0, 1, conf, conf, store)
            whole = head.encode_head(fields)
            content = bytes(512) + whole[512:1024] + bytes(SMALL - 1024)
            assert any(content)
            segment(path, 2).write_bytes(content)
            storage = impl.FileStorage(path, segment_bytes=SMALL)
            assert storage.open(1, CLUSTER).incarnation == 2
            assert storage.repaired[0] == segment(path, 2).name and caplog.records
            storage.close()
        else:
            segment(path, 2).write_bytes(content)
            caplog.clear()
            assert recover(impl, path) == states[-1]
            assert recover(impl, path) == states[-1]
            assert not caplog.records
        assert segment(path, 2).exists() == kept
    # What was left of the next segment is used.
    path = tmp_path / f"n{SMALL}"
    storage, _ = opened(impl, path)
    inode = segment(path, 2).stat().st_ino
    storage.append(impl.HardState(2, 3, 3), [records(impl, 6, [(2, bytes(SMALL - 3 * BLOCK))])])
    storage.sync()
    assert storage.wal.segment == 2 and segment(path, 2).stat().st_ino == inode
    storage.close()
    assert len(recover(impl, path)[1]) == 6


@pytest.mark.parametrize("content", [b"\1" * 100, bytes(BLOCK) + b"\1" + bytes(SMALL), b"\1" + bytes(SMALL - 1)])
def test_a_segment_that_holds_anything_else_is_kept_and_refused(impl, tmp_path, content):
    """What has no header and is not as a segment is that was only begun may be full of acknowledged entries."""
    small_log(impl, tmp_path / "n")
    segment(tmp_path / "n", 2).write_bytes(content)
    with pytest.raises(impl.WalDamaged, match=r"0002\.log"):
        recover(impl, tmp_path / "n")
    assert segment(tmp_path / "n", 2).read_bytes() == content


def test_identity(impl, tmp_path):
    small_log(impl, tmp_path / "n")
    storage = impl.FileStorage(tmp_path / "n")
    assert storage.open(1, CLUSTER).conf_state == impl.ConfState(voters=(1, 2, 3))
    storage.close()
    storage = founded(impl, tmp_path / "new", members=[1], learners=[2], cluster=CLUSTER)
    assert storage.open(1, CLUSTER).conf_state == impl.ConfState(voters=(1,), learners=(2,))
    storage.close()
    for size in (0, 1000, "1", 1 << 50):
        with pytest.raises(impl.ConfigError, match="segment_bytes"):
            founded(impl, tmp_path / "x", members=[1], segment_bytes=size, cluster=CLUSTER)


def test_modes_and_permissions(impl, tmp_path):
    storage, _ = opened(impl, tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert segment(tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o600
    assert segment(tmp_path / "a" / "b").stat().st_size == SMALL
    storage.close()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(impl.StorageError):
        opened(impl, tmp_path / "file")


def test_lock_is_the_process_s_and_the_node_s(impl, tmp_path):
    storage, _ = opened(impl, tmp_path / "n")
    with pytest.raises(impl.WrongDirectory, match="in use"):
        opened(impl, tmp_path / "n")
    told = opened_elsewhere(tmp_path / "n")
    assert "in use" in told.stdout, told.stderr
    storage.close()
    opened(impl, tmp_path / "n")[0].close()


@pytest.mark.once
def test_both_modes_write_the_same_bytes(tmp_path):
    from tests.helpers.implementations import IMPLEMENTATIONS

    if len(IMPLEMENTATIONS) < 2:
        pytest.skip("one mode only in this run")
    files = []
    for name, impl in IMPLEMENTATIONS.items():
        disk = module(impl, "storage.disk").Disk()
        disk.random = bytes  # not drawn: it stands in every file
        founded(impl, tmp_path / name, cluster=CLUSTER, disk=disk)
        small_log(impl, tmp_path / name)
        files.append({each.name: each.read_bytes() for each in (tmp_path / name).iterdir()})
    assert files[0] == files[1] and len(files[0]) == 4
    one, other = IMPLEMENTATIONS.values()
    assert [recover(one, tmp_path / name)[1] for name in IMPLEMENTATIONS] == [
        recover(other, tmp_path / name)[1] for name in IMPLEMENTATIONS
    ]


def test_the_thread_batches_what_waits(impl, tmp_path):
    """What comes during a sync is one batch, with the newest hard state; the numbers add up."""
    core, sys_ = structures(impl), module(impl, "_native.threads")
    storage, _ = opened(impl, tmp_path / "n")
    writes = module(impl, "storage.writes")
    queue, gauges, event = writes.WriteQueue(sys_.Event()), writes.DiskGauges(), sys_.Event()
    for number in range(1, 11):
        spans = core.Spans()
        spans.py_push(records(impl, number, [(1, b"%d" % number)]), number, 1)
        queue.py_put_write(spans, number, 1, 2, number - 1)
    queue.py_end()
    served(impl, storage, queue, gauges, event)
    assert gauges.done == 10
    assert gauges.syncs == 1
    assert gauges.entries == 10
    assert gauges.error == 0
    storage.close()
    state, entries = recover(impl, tmp_path / "n")
    assert state == impl.HardState(1, 2, 9)
    assert [e[2] for e in entries] == [b"%d" % n for n in range(1, 11)]


def test_the_thread_ends_at_a_failure(impl, tmp_path):
    sys_ = module(impl, "_native.threads")
    storage, _ = opened(impl, tmp_path / "n")
    storage.wal.file.fail_after = 1
    storage.wal.file.fail_errno = errno.EIO
    writes = module(impl, "storage.writes")
    queue, gauges, event = writes.WriteQueue(sys_.Event()), writes.DiskGauges(), sys_.Event()
    queue.py_put_write(None, 1, 1, 1, 0)
    served(impl, storage, queue, gauges, event)
    assert gauges.done == 0
    assert gauges.error & 0xFFFFFFFF == errno.EIO
    storage.close()


def test_random_lives(impl, tmp_path):
    """Random batches, truncations, reopenings and torn tails: what is recovered is what was synced."""
    draw = random.Random(11)
    held, term = [], 0
    path = tmp_path / "n"
    for life in range(12 if impl.COMPILED else 5):
        storage, loaded = opened(impl, path)
        assert loaded.incarnation == life + 1
        assert contents(impl, loaded) == held
        assert loaded.hard_state.term == term
        for _ in range(draw.randrange(12)):
            term += draw.randrange(2)
            first = draw.randrange(max(1, len(held) - 3), len(held) + 2)
            items = [(max(1, term), draw.randbytes(draw.randrange(3000))) for _ in range(draw.randrange(1, 5))]
            storage.append(impl.HardState(term, 0, 0), [records(impl, first, items)])
            storage.sync()
            held = held[: first - 1] + [(first + i, t, d) for i, (t, d) in enumerate(items)]
        position, number = storage.wal.write_offset, storage.wal.segment
        storage.close()
        if draw.randrange(2):
            with open(segment(path, number), "r+b") as file:
                file.seek(position + 512 * draw.randrange(1, 8))
                if file.tell() < os.fstat(file.fileno()).st_size - 512:
                    file.write(draw.randbytes(400))


@pytest.mark.parametrize(
    ("state", "pieces", "text"),
    [
        ((2, 1, 0), [b"abc"], "whole entry records"),
        ((2, 1, 0), [bytes(40)], "whole entry records"),
        ((2, 1, 0), ["cut"], "whole entry records"),
        ((2, 1, 0), ["flipped"], "whole entry records"),
        ((2, 1, 0), [4], r"must be in 1\.\.3, not 4"),
        ((2, 1, 0), [3, 5], r"must be in 1\.\.4, not 5"),
        ((2, 1, 3), [], "commit must be at most 2"),
        ((1, 1, 0), [3], "term must be at least 2"),
        ((2, -1, 0), [], "vote must be an integer"),
        ((2**63, 1, 0), [], "term must be an integer"),
        (None, [], "must be a raftx.HardState"),
    ],
    ids=[
        "too-short",
        "zeros",
        "cut",
        "flipped",
        "gap",
        "gap-within",
        "commit",
        "term-back",
        "vote",
        "term",
        "no-state",
    ],
)
def test_what_could_not_be_opened_again_is_not_taken(impl, tmp_path, state, pieces, text):
    """Of what a program appends itself: nothing is written, and the log goes on."""
    storage, _ = opened(impl, tmp_path)
    storage.append(impl.HardState(2, 1, 0), [records(impl, 1, [(1, b"a"), (2, b"b")])])
    storage.sync()
    whole = records(impl, 3, [(2, b"c")])
    special = {"cut": whole[:-1], "flipped": whole[:8] + bytes([whole[8] ^ 1]) + whole[9:]}
    given = [
        each if isinstance(each, bytes) else special[each] if each in special else records(impl, each, [(2, b"x")])
        for each in pieces
    ]
    with pytest.raises(impl.UsageError, match=text):
        storage.append(impl.HardState(*state) if state else None, given)
    storage.sync()
    storage.append(impl.HardState(2, 1, 1), [whole])
    storage.sync()
    storage.close()
    _, loaded = opened(impl, tmp_path)
    assert loaded.hard_state == impl.HardState(2, 1, 1)
    assert [row[0] for row in contents(impl, loaded)] == [1, 2, 3]
