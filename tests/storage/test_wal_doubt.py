"""The mark: what it tells of a damaged tail, what is in doubt without it, and how a member gets out of doubt."""

import errno
import logging
import os
import shutil
import zlib

import pytest

from raftx.types import LEADER
from tests.helpers.implementations import IMPLEMENTATIONS, module, structures
from tests.helpers.storages import founded
from tests.helpers.wal import (
    BLOCK,
    CLUSTER,
    SMALL,
    contents,
    damaged,
    files_of,
    marks,
    opened,
    put_mark,
    records,
    segment,
    served,
    small_log,
    write,
)


def state_of(impl, path, **settings):
    """(hard state, entries, doubt, repaired) of a directory that opens."""
    storage, loaded = opened(impl, path, **settings)
    try:
        return loaded.hard_state, contents(impl, loaded), storage.doubt, storage.repaired
    finally:
        storage.close()


def test_the_mark_names_the_newest_batch(impl, tmp_path):
    """It is written before anybody is told, so a process that is killed leaves an exact one."""
    format = module(impl, "storage.wal_format")
    storage, _ = opened(impl, tmp_path / "n")
    for index in range(1, 20):
        storage.append(impl.HardState(1, 0, 0), [records(impl, index, [(1, bytes(9000))])])
        storage.sync()
        data = (tmp_path / "n" / "wal.mark").read_bytes()
        assert len(data) == BLOCK + 512 or len(data) == 2 * BLOCK
        slots = [format.decode_mark(data[slot * BLOCK :], slot) for slot in range(2)]
        assert {slot[1][:2] for slot in slots} == {(CLUSTER, 1)} and slots[0][1] == slots[1][1]
        newest = max(slot[0] for slot in slots)
        wal = storage.wal
        assert newest == format.Mark(wal.batch_number, wal.segment, wal.write_offset, wal.previous_crc)
        assert min(slot[0] for slot in slots).number == newest.number - 1 or index == 1
    assert storage.wal.segment > 1
    storage.close()


@pytest.mark.parametrize("what", ["segment", "segments", "end", "vote", "zeros", "blocks"])
def test_what_was_acknowledged_and_is_missing_is_named(impl, tmp_path, what):
    """Each of these was taken for a torn write once, and cut off without a word."""
    path = tmp_path / "n"
    h = impl.HardState
    batches = [(h(1, 2, 0), n, [(1, bytes([n]) * 9000)]) for n in range(1, 9)]
    if what == "vote":
        batches.append((h(7, 3, 0), 9, []))
    _, end = write(impl, path, batches)
    last = max(p for p in path.iterdir() if p.name.endswith(".log"))
    assert last == segment(path, 2)
    data = last.read_bytes()
    if what == "segment":
        last.unlink()
    elif what == "segments":
        for each in path.glob("wal-*"):
            each.unlink()
    elif what == "end":
        last.write_bytes(data[: end - BLOCK])
    elif what == "vote":
        last.write_bytes(data[: end - BLOCK] + bytes(512) + data[end - BLOCK + 512 :])
    elif what == "zeros":
        last.write_bytes(data[: end - 3 * BLOCK] + bytes(len(data) - end + 3 * BLOCK))
    else:
        # The header and the block behind it: no whole batch header is left in the segment.
        for at in range(BLOCK, end, BLOCK):
            if data[at : at + 4] == b"RXWB":
                data = data[:at] + b"\xff" * 512 + data[at + 512 :]
        last.write_bytes(b"\xff" * 512 + data[512:])
    before = {each.name: each.read_bytes() for each in path.iterdir()}
    with pytest.raises(impl.WalDamaged, match=r"0002\.log.*put back the files of this directory.*older copy"):
        opened(impl, path)
    # A refusal changes nothing: whoever looks after it finds what there was.
    assert {each.name: each.read_bytes() for each in path.iterdir()} == before


def test_a_segment_has_the_length_that_its_header_says(impl, tmp_path):
    """A power cut never makes a file shorter: its length was on disk before its header."""
    states, _ = small_log(impl, tmp_path / "whole")
    whole = segment(tmp_path / "whole").read_bytes()
    for content in (whole[:-BLOCK], whole + bytes(BLOCK)):
        damaged(impl, tmp_path / "whole", tmp_path / "n", content)
        with pytest.raises(impl.WalDamaged, match=r"has [\d,]+ bytes, its header says 65,536"):
            opened(impl, tmp_path / "n")
    # Another length of segments concerns the next one only.
    assert state_of(impl, tmp_path / "whole", segment_bytes=4 * SMALL)[:2] == states[-1]
    assert segment(tmp_path / "whole").stat().st_size == SMALL


def test_what_follows_a_torn_batch_is_damage(impl, tmp_path):
    """Nothing is written behind a batch before that is durable."""
    small_log(impl, tmp_path / "whole")
    known = marks(impl, tmp_path / "whole")
    whole = bytearray(segment(tmp_path / "whole").read_bytes())
    at = known[-2].position
    whole[at + 512 : at + BLOCK] = bytes(BLOCK - 512)
    damaged(impl, tmp_path / "whole", tmp_path / "n", whole, known[-2])
    assert state_of(impl, tmp_path / "n")[3] == (
        segment(tmp_path / "n").name,
        at,
        "the entries do not have their checksum",
    )
    whole[at + 5 * BLOCK] = 1
    damaged(impl, tmp_path / "whole", tmp_path / "n", whole, known[-2])
    with pytest.raises(impl.WalDamaged, match="something follows"):
        opened(impl, tmp_path / "n")


def test_another_history_is_not_the_one_that_the_mark_knows(impl, tmp_path):
    """A segment of the same node from another time, at least as long."""
    small_log(impl, tmp_path / "n")
    h = impl.HardState
    (tmp_path / "other").mkdir()
    # The same directory, at its founding.
    shutil.copy(tmp_path / "n" / "founding", tmp_path / "other")
    shutil.copy(tmp_path / "n" / "lives", tmp_path / "other")
    put_mark(impl, tmp_path / "other", *[module(impl, "storage.wal_format").Mark(0, 0, 0, 0)] * 2)
    write(impl, tmp_path / "other", [(h(1, 3, 0), 1, [(1, bytes([n]))]) for n in range(9)])
    shutil.copy(segment(tmp_path / "other"), tmp_path / "n")
    with pytest.raises(impl.WalDamaged, match=r"is not the one that wal\.mark names"):
        opened(impl, tmp_path / "n")


def lose(impl, path, how, known):
    """Take away what the mark says."""
    mark = path / "wal.mark"
    data = bytearray(mark.read_bytes())
    newest = known[-1].number & 1
    if how == "missing":
        mark.unlink()
    elif how == "unreadable":
        data[100] ^= 1
        data[BLOCK + 100] ^= 4
        mark.write_bytes(data)
    elif how == "exchanged":
        mark.write_bytes(data[BLOCK:].ljust(BLOCK, b"\0") + data[:BLOCK])
    elif how == "empty":
        mark.write_bytes(b"")
    elif how == "one slot":
        # The other one says this number, so the damaged one may have said one more.
        put_mark(impl, path, *[known[-1] if slot == newest else None for slot in range(2)])
    else:
        assert how == "older slot"
        put_mark(impl, path, *[None if slot == newest else known[-2] for slot in range(2)])


WAYS = ["missing", "unreadable", "exchanged", "empty", "one slot"]


@pytest.mark.parametrize("how", WAYS)
def test_without_the_mark_a_member_is_in_doubt(impl, tmp_path, caplog, how):
    """It starts, says so, and stays in doubt over restarts and batches until one is written without the flag."""
    path = tmp_path / "n"
    states, _ = small_log(impl, path)
    lose(impl, path, how, marks(impl, path))
    h = states[-1][0]
    doubtful = impl.HardState(h.term, h.vote, h.commit, True)
    storage, loaded = opened(impl, path)
    assert (loaded.hard_state, contents(impl, loaded)) == (doubtful, states[-1][1])
    assert "wal.mark" in storage.doubt
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert storage.doubt in said and str(path) in said
    storage.close()
    for _ in range(2):
        # The mark has been made again by now; what could not be known then cannot be known now.
        storage, loaded = opened(impl, path)
        assert loaded.hard_state == doubtful and "before" in storage.doubt
        storage.append(doubtful, [])
        storage.sync()
        storage.close()
    storage, _ = opened(impl, path)
    storage.append(h, [])
    storage.sync()
    storage.close()
    assert state_of(impl, path) == (h, states[-1][1], "", None)


def test_a_slot_that_cannot_have_said_more_gives_no_doubt(impl, tmp_path, caplog):
    """The newest slot is damaged, the other one names the batch before, and the newest batch is there."""
    path = tmp_path / "n"
    states, _ = small_log(impl, path)
    lose(impl, path, "older slot", marks(impl, path))
    assert state_of(impl, path) == (*states[-1], "", ("wal.mark", 0, "one slot of wal.mark cannot be read"))
    assert caplog.records
    assert state_of(impl, path) == (*states[-1], "", None)


@pytest.mark.once
def test_a_doubt_is_on_disk_before_the_mark_is_made_again(tmp_path, monkeypatch):
    """A crash between the two must not turn a doubt into certainty: each operation of the open fails once.

    In the interpreted package, whose files can be replaced; the algorithm is the same.
    """
    impl = IMPLEMENTATIONS["pure"]
    file = module(impl, "_native.files").File
    refused = 0
    for operations in range(14):
        path = tmp_path / f"n{operations}"
        small_log(impl, path)
        (path / "wal.mark").unlink()
        count = [operations]

        def limited(original, count=count):
            def operation(*arguments):
                count[0] -= 1
                return original(*arguments) if count[0] >= 0 else -errno.EIO

            return operation

        with monkeypatch.context() as patch:
            for name in ("write_at", "write_parts", "datasync", "sync_new", "zero"):
                patch.setattr(file, name, limited(getattr(file, name)))
            storage = founded(impl, path, members=[1, 2, 3], segment_bytes=SMALL, cluster=CLUSTER)
            try:
                assert storage.open(1, CLUSTER).hard_state.in_doubt
            except impl.StorageError:
                refused += 1
            finally:
                storage.close()
        assert state_of(impl, path)[0].in_doubt
    assert 3 < refused < 18


@pytest.mark.parametrize("how", WAYS)
def test_a_sole_voter_in_doubt_is_refused_and_told_what_to_do(impl, tmp_path, how, caplog):
    path = tmp_path / "n"
    storage = founded(impl, path, members=[1], learners=[2], segment_bytes=SMALL, cluster=CLUSTER)
    storage.open(1, CLUSTER)
    for index in range(1, 4):
        storage.append(impl.HardState(1, 1, 0), [records(impl, index, [(1, b"x")])])
        storage.sync()
    storage.close()
    known = marks(impl, path)
    # The remains of a torn batch are left as they are, too.
    data = bytearray(segment(path).read_bytes())
    data[known[-1].position + 600] = 1
    segment(path).write_bytes(data)
    lose(impl, path, how, known)
    before = {each.name: each.read_bytes() for each in path.iterdir()}
    for _ in range(2):
        with pytest.raises(impl.WalDamaged, match=r"No other voter has a copy.*accept_loss=True"):
            impl.FileStorage(path).open(1, CLUSTER)
    assert {each.name: each.read_bytes() for each in path.iterdir()} == before
    storage = impl.FileStorage(path, accept_loss=True)
    loaded = storage.open(1, CLUSTER)
    assert not loaded.hard_state.in_doubt and storage.doubt == "" and len(contents(impl, loaded)) == 3
    assert any("accept_loss" in record.getMessage() for record in caplog.records)
    storage.close()
    storage = impl.FileStorage(path)
    assert not storage.open(1, CLUSTER).hard_state.in_doubt
    storage.close()


def test_a_loss_that_shows_is_not_accepted(impl, tmp_path):
    """accept_loss is for what cannot be known."""
    states, end = small_log(impl, tmp_path / "n")
    data = segment(tmp_path / "n").read_bytes()
    segment(tmp_path / "n").write_bytes(data[: end - BLOCK] + bytes(len(data) - end + BLOCK))
    storage = impl.FileStorage(tmp_path / "n", accept_loss=True)
    with pytest.raises(impl.WalDamaged, match="is missing"):
        storage.open(1, CLUSTER)
    assert len(states) == 5


def test_the_mark_of_another_node(impl, tmp_path):
    small_log(impl, tmp_path / "n")
    storage = founded(impl, tmp_path / "other", members=[1, 2, 3], id=2, segment_bytes=SMALL, cluster=CLUSTER)
    storage.open(2, CLUSTER)
    storage.close()
    shutil.copy(tmp_path / "other" / "wal.mark", tmp_path / "n")
    with pytest.raises(impl.WrongDirectory, match="belongs to node 2"):
        opened(impl, tmp_path / "n")


def with_version(impl, data, version):
    """A segment whose header is right and of another version, as far as that is known of other versions."""
    format = module(impl, "storage.wal_format")
    data = bytearray(data)
    data[format.HEAD_VERSION_AT] = version
    data[format.HEAD_VERSION_AGAIN_AT] = version if version > format.VERSION_ALONE else 0
    crc = zlib.crc32(data[format.HEAD_USED_AT : BLOCK])
    data[format.HEAD_CRC_AT : format.HEAD_USED_AT] = crc.to_bytes(4, "little")
    return data


@pytest.mark.parametrize("version", [1, 2, 3, 5, 255])
def test_another_format_is_refused_by_its_number(impl, tmp_path, version):
    """Older ones and later ones: nothing is damaged, and nothing is changed. The error says what can be done."""
    format = module(impl, "storage.wal_format")
    small_log(impl, tmp_path / "n")
    segment(tmp_path / "n").write_bytes(with_version(impl, segment(tmp_path / "n").read_bytes(), version))
    for mark in ("of version 4", "of that version", "missing"):
        path = tmp_path / "n" / "wal.mark"
        if mark == "of that version":
            data = bytearray(path.read_bytes())
            for slot in range(2):
                data[slot * BLOCK + format.MARK_VERSION_AT] = version
            path.write_bytes(data)
        elif mark == "missing":
            path.unlink()
        before = files_of(tmp_path / "n")
        with pytest.raises(impl.StorageError, match=f"format version {version}; this raftx reads version 4") as refused:
            opened(impl, tmp_path / "n")
        assert "use the raftx that wrote it" in str(refused.value)
        assert not isinstance(refused.value, impl.WalDamaged)
        assert files_of(tmp_path / "n") == before


@pytest.mark.parametrize("version", [1, 2, 3, 5])
def test_a_directory_of_another_format_is_refused_before_it_has_a_segment(impl, tmp_path, version):
    format = module(impl, "storage.wal_format")
    small_log(impl, tmp_path / "n")
    segment(tmp_path / "n").unlink()
    put_mark(impl, tmp_path / "n", *[format.Mark(0, 0, 0, 0)] * 2)
    data = bytearray((tmp_path / "n" / "wal.mark").read_bytes())
    for slot in range(2):
        data[slot * BLOCK + format.MARK_VERSION_AT] = version
    (tmp_path / "n" / "wal.mark").write_bytes(data)
    with pytest.raises(impl.StorageError, match=f"format version {version}; this raftx reads version 4") as refused:
        opened(impl, tmp_path / "n")
    assert not isinstance(refused.value, impl.WalDamaged)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_version_that_was_damaged_is_no_other_version(impl, tmp_path, version):
    """Each bit of its bytes: damage, which is never taken for a log of another raftx."""
    format = module(impl, "storage.wal_format")
    small_log(impl, tmp_path / "n")
    whole = with_version(impl, segment(tmp_path / "n").read_bytes(), version)
    for bit in range(32):
        data = bytearray(whole)
        data[format.HEAD_VERSION_AT + bit // 8] ^= 1 << bit % 8
        segment(tmp_path / "n").write_bytes(data)
        with pytest.raises(impl.WalDamaged, match="header of a segment of the log is damaged"):
            opened(impl, tmp_path / "n")
    if version != format.VERSION:
        return
    # In one slot of the mark it makes that slot unreadable: the other one decides.
    segment(tmp_path / "n").write_bytes(whole)
    mark = (tmp_path / "n" / "wal.mark").read_bytes()
    for slot in range(2):
        data = bytearray(mark)
        data[slot * BLOCK + format.MARK_VERSION_AT] = 2
        (tmp_path / "n" / "wal.mark").write_bytes(data)
        storage, _ = opened(impl, tmp_path / "n")
        assert storage.doubt or storage.repaired
        storage.close()
        segment(tmp_path / "n").write_bytes(whole)


def test_flags_that_are_not_known_are_refused(impl, tmp_path):
    core = structures(impl)
    storage, _ = opened(impl, tmp_path / "n")
    assert storage.wal.py_write(1, 1, 0, 0, core.Spans(), 2) == 0
    storage.close()
    with pytest.raises(impl.WalDamaged, match="flags"):
        opened(impl, tmp_path / "n")


def test_memory_can_be_in_doubt(impl):
    """The same of a storage for tests."""
    storage = impl.MemoryStorage(voters=[1, 2, 3])
    storage.open(1, CLUSTER)
    storage.append(impl.HardState(2, 3, 0), [])
    storage.sync()
    with pytest.raises(impl.StorageError, match="open"):
        storage.put_in_doubt()
    storage.close()
    storage.put_in_doubt("who knows")
    for _ in range(2):
        assert storage.open(1, CLUSTER).hard_state == impl.HardState(2, 3, 0, True)
        assert storage.doubt == "who knows"
        storage.append(impl.HardState(2, 3, 0, True), [])
        storage.sync()
        storage.crash()
    storage.open(1, CLUSTER)
    storage.append(impl.HardState(3, 0, 0), [])
    storage.crash()
    assert storage.open(1, CLUSTER).hard_state.in_doubt
    storage.append(impl.HardState(3, 0, 0), [])
    storage.sync()
    storage.close()
    assert storage.open(1, CLUSTER).hard_state == impl.HardState(3, 0, 0)
    assert storage.doubt == ""
    storage.close()


@pytest.mark.parametrize("flags", [0, 1])
def test_rows_carry_the_doubt(impl, tmp_path, flags):
    """A flag of a row: through the wal thread, and through the thread that serves storages written in Python."""
    system, adapter = module(impl, "_native.threads"), module(impl, "node.adapter")
    for storage in (
        founded(impl, tmp_path / "n", members=[1, 2, 3], segment_bytes=SMALL, cluster=CLUSTER),
        impl.MemoryStorage(voters=[1, 2, 3]),
    ):
        storage.open(1, CLUSTER)
        writes = module(impl, "storage.writes")
        queue, gauges, event = writes.WriteQueue(system.Event()), writes.DiskGauges(), system.Event()
        queue.py_put_write(None, 1, 5, 2, 0, bool(flags))
        queue.py_end()
        if isinstance(storage, impl.FileStorage):
            served(impl, storage, queue, gauges, event)
        else:
            adapter.StorageAdapter(storage, queue, gauges, event).run()
        assert gauges.done == 1
        storage.close()
        assert storage.open(1, CLUSTER).hard_state == impl.HardState(5, 2, 0, bool(flags))
        storage.close()


def test_a_node_that_is_killed_leaves_an_exact_mark(impl, tmp_path):
    """What is in the directory while a node runs, before the mark is synced: what is cut off the log then is missed."""
    from tests.helpers.cluster import Machine
    from tests.helpers.waiting import WAIT, eventually

    storage = founded(impl, tmp_path / "n", members=[1], segment_bytes=SMALL)
    config = impl.Config(id=1, tick_ms=10, seed=1)
    with impl.Node(config, storage, impl.MemoryNetwork().transport(), Machine()) as node:
        eventually(lambda: node.role == LEADER)
        for number in range(3):
            assert node.propose(b"%d" % number).result(timeout=WAIT)
        shutil.copytree(tmp_path / "n", tmp_path / "killed")
    known = marks(impl, tmp_path / "killed")
    data = bytearray((segment(tmp_path / "killed")).read_bytes())
    at = known[-2].position
    data[at : at + BLOCK] = bytes(BLOCK)
    segment(tmp_path / "killed").write_bytes(data)
    storage = impl.FileStorage(tmp_path / "killed", segment_bytes=SMALL)
    with pytest.raises(impl.WalDamaged, match=f"batch {known[-1].number} was on disk"):
        storage.open(1, config.cluster)
    assert os.path.exists(tmp_path / "killed" / "wal.mark")
