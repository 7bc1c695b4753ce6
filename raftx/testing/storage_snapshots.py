"""Checks of storages that keep snapshots, which have the methods of SnapshotStorage. Part of storage_suite.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import SnapshotDamaged, StorageError, UsageError
from ..storage.memory_folder import MemoryFolder
from ..storage.protocol import Loaded
from ..storage.snapshot_format import Descriptor, decode
from ..storage.snapshots import SnapshotReader, SnapshotWriter
from ..types import ConfState, HardState, Snapshot
from .storage_subject import CLUSTER, FOUNDERS, Check, Row, Subject, expect, expect_error, record, rows_of, write

CHUNK = 4096


def described(index: int, term: int, conf_state: ConfState = FOUNDERS, cluster: bytes = CLUSTER) -> Descriptor:
    """What is told of a snapshot before it is written."""
    return Descriptor(index, term, conf_state, {1: "tcp://127.0.0.1:5601"}, cluster, 1, 0, chunk_bytes=CHUNK)


def arriving(descriptor: Descriptor, state: bytes) -> tuple[Descriptor, list[bytes]]:
    """A snapshot as another member has it: its descriptor and its chunks."""
    folder: Any = MemoryFolder()
    writer = SnapshotWriter(folder, descriptor)
    writer.write(state)
    made = writer.finish()
    with SnapshotReader(folder, made.name) as reader:
        return made, [reader.chunk(number) for number in range(made.chunks)]


def receive(storage: Any, descriptor: Descriptor, state: bytes) -> Descriptor:
    """Receive one, and finish it."""
    made, chunks = arriving(descriptor, state)
    receiver = storage.receive_snapshot(made)
    for number in range(receiver.missing(), made.chunks):
        receiver.put(number, chunks[number])
    expect(receiver.finish(), made, "what was received")
    return made


def state_of(storage: Any, index: int = 0) -> bytes:
    """What its snapshot of that entry holds; 0: the newest one."""
    with storage.open_snapshot(index) as reader:
        return bytes(reader.read())


def snapshot_of(loaded: Loaded) -> Snapshot:
    """The one that an opening found."""
    if loaded.snapshot is None:
        raise AssertionError("there must be a snapshot")
    return loaded.snapshot


def a_snapshot_that_was_written_is_kept(subject: Subject) -> None:
    """The newest two, and the log begins behind the older one at most."""
    storage, _ = subject.opened()
    expect_error(UsageError, "there is no snapshot", storage.open_snapshot)
    for index in range(1, 13):
        write(storage, HardState(1, 0, index), record(index, 1, b"%d" % index * 3000))
        if index % 4 == 0:
            writer = storage.begin_snapshot(described(index - 1, 1, ConfState(voters=(1, 2, 3), learners=(index,))))
            writer.write(b"state")
            writer.write(b" at %d" % index * 3000)
            expect(writer.finish().size, len(b"state" + b" at %d" % index * 3000), "the bytes of the snapshot")
            expect(state_of(storage), b"state" + b" at %d" % index * 3000, "the state")
    for entry in (7, 11):
        expect(state_of(storage, entry), b"state" + b" at %d" % (entry + 1) * 3000, f"the state at entry {entry}")
    for entry in (3, 9):
        expect_error(UsageError, f"there is no snapshot of entry {entry}", storage.open_snapshot, entry)
    given_up = storage.begin_snapshot(described(12, 1))
    given_up.write(b"half")
    given_up.discard()
    for index, cluster in ((11, CLUSTER), (13, CLUSTER), (12, b"another cluster!")):
        descriptor = described(index, 1, cluster=cluster)
        expect_error(UsageError, f"a snapshot of {index}, {cluster!r}", storage.begin_snapshot, descriptor)
    storage.close()
    storage, loaded = subject.opened()
    snapshot = snapshot_of(loaded)
    expect((snapshot.index, snapshot.term), (11, 1), "the place of the snapshot")
    expect(snapshot.conf_state, ConfState(voters=(1, 2, 3), learners=(12,)), "its membership")
    expect(decode(snapshot.data).name, described(11, 1).name, "its data are the header of its file")
    expect(state_of(storage), b"state" + b" at 12" * 3000, "the state")
    expect(loaded.base_index in (0, 3, 7), True, f"the base {loaded.base_index} is not above the older snapshot")
    held = [row[0] for row in rows_of(loaded)]
    expect(held, list(range(loaded.base_index + 1, 13)), "the entries behind the base")
    storage.close()
    expect_error(StorageError, "a snapshot of a closed storage", storage.begin_snapshot, described(12, 1))
    expect_error(StorageError, "a snapshot of a closed storage", storage.open_snapshot)


def a_snapshot_arrives_in_chunks(subject: Subject) -> None:
    """In any order; and changes nothing of the log."""
    storage, _ = subject.opened()
    write(storage, HardState(1, 0, 2), record(1, 1), record(2, 1))
    state = b"state of nine" * 1500
    made, chunks = arriving(described(9, 3), state)
    receiver = storage.receive_snapshot(made)
    expect(receiver.missing(), 0, "the first chunk that is missing")
    last = made.chunks - 1
    receiver.put(last, chunks[last])
    receiver.put(1, chunks[1])
    expect(receiver.missing(), 0, "the first chunk that is missing")
    receiver.put(0, chunks[0])
    receiver.put(0, chunks[0])
    expect(receiver.missing(), 2, "the first chunk that is missing")
    for wrong in (chunks[1], chunks[2][:-1], chunks[2][:-1] + bytes((chunks[2][-1] ^ 1,)), b""):
        expect_error(SnapshotDamaged, "a wrong chunk", receiver.put, 2, wrong)
    for number in (-1, made.chunks, None):
        expect_error(UsageError, f"chunk {number}", receiver.put, number, chunks[0])
    expect_error(UsageError, "chunks are missing", receiver.finish)
    for number in range(2, last):
        receiver.put(number, chunks[number])
    expect(receiver.missing(), made.chunks, "the first chunk that is missing")
    expect(receiver.finish(), made, "what was received")
    expect_error(UsageError, "the log does not begin behind it", storage.open_snapshot)
    storage.close()
    storage, loaded = subject.opened()
    expect(loaded.snapshot, None, "the snapshot that counts")
    expect(rows_of(loaded), [(1, 1, b""), (2, 1, b"")], "the entries")
    other, chunks = arriving(described(12, 3), b"another one" * 1000)
    receiver = storage.receive_snapshot(replace(other, digest=bytes(32)))
    for number, chunk in enumerate(chunks):
        receiver.put(number, chunk)
    expect_error(SnapshotDamaged, "another digest", receiver.finish)
    expect_error(UsageError, "it is gone", receiver.finish)
    foreign = replace(other, cluster=b"another cluster!")
    expect_error(UsageError, "a snapshot of another cluster", storage.receive_snapshot, foreign)
    storage.close()
    expect_error(StorageError, "a snapshot for a closed storage", storage.receive_snapshot, made)


def a_transfer_goes_on_after_a_restart(subject: Subject) -> None:
    """Or begins anew; a chunk that is there is the right one."""
    made, chunks = arriving(described(9, 3), b"state" * 5000)
    for life in range(3):
        storage, _ = subject.opened()
        receiver = storage.receive_snapshot(made)
        expect(receiver.missing() <= 2 * life, True, "no more is there than was put")
        for number in range(receiver.missing(), 2 * life + 2):
            receiver.put(number, chunks[number])
        receiver.close()
        storage.close()
    storage, _ = subject.opened()
    receive(storage, described(9, 3), b"state" * 5000)
    storage.begin_behind(9, 3, FOUNDERS)
    storage.sync()
    expect(state_of(storage), b"state" * 5000, "the state")
    storage.close()


def a_log_begins_anew_behind_a_snapshot(subject: Subject) -> None:
    """Beyond its end, or within it; with entries behind it, or without; and then goes on."""
    base = 0
    for index, term, more in ((9, 3, True), (12, 4, False), (19, 4, True)):
        storage, loaded = subject.opened()
        base, last = loaded.base_index, loaded.base_index + 4
        rows = [(base + n, term, b"old %d" % n) for n in range(1, 5)]
        write(storage, HardState(term, 2, base), *[record(*row) for row in rows])
        conf_state = ConfState(voters=(1, 2), learners=(3, index))
        receive(storage, described(index, term, conf_state), b"state of %d" % index * 800)
        storage.append(HardState(term, 2, base), [record(last + 1, term, b"void"), record(last + 2, term, b"void")])
        storage.begin_behind(index, term, conf_state)
        wanted = [(index + 1, term, b"new 1"), (index + 2, term, b"newer 2")] if more else []
        news = [record(index + 1, term, b"new 1"), record(index + 2, term, b"new 2")] if more else []
        storage.append(HardState(term, 3, index), news)
        storage.sync()
        if more:
            write(storage, HardState(term, 3, index), record(*wanted[1]))
        for _ in range(2):
            storage.close()
            storage, loaded = subject.opened()
            expect((loaded.base_index, loaded.base_term), (index, term), "the base")
            expect(loaded.conf_state, conf_state, "the membership at the base")
            expect(loaded.current_conf_state in (None, conf_state), True, "the current membership is that or unknown")
            expect(loaded.hard_state, HardState(term, 3, index), "the hard state")
            expect(rows_of(loaded), wanted, "the entries behind the snapshot")
            snapshot = snapshot_of(loaded)
            expect((snapshot.index, snapshot.conf_state), (index, conf_state), "the snapshot")
            expect(state_of(storage), b"state of %d" % index * 800, "the state")
        storage.close()
    storage, loaded = subject.opened()
    base = loaded.base_index
    rows = [(base + n, 5, b"%d" % n * 4000) for n in range(1, 41)]
    write(storage, HardState(5, 0, base), *[record(*row) for row in rows[:20]])
    storage.compact(base + 15, 5, FOUNDERS)
    for row in rows[20:]:
        write(storage, HardState(5, 0, row[0]), record(*row))
    writer = storage.begin_snapshot(described(base + 30, 5))
    writer.write(b"next")
    writer.finish()
    storage.close()
    storage, loaded = subject.opened()
    expect(loaded.base_index in (base, base + 15), True, f"the base {loaded.base_index} was asked for")
    expect(rows_of(loaded), rows[loaded.base_index - base :], "the entries after a compaction")
    expect(snapshot_of(loaded).index, base + 30, "the snapshot after another one")
    storage.close()


def a_log_begins_behind_a_snapshot_only(subject: Subject) -> None:
    """That was received, and is not before what the log is known to have."""
    storage, _ = subject.opened()
    write(storage, HardState(1, 0, 4), *[record(index, 1) for index in range(1, 7)])
    begin = storage.begin_behind
    expect_error(UsageError, "there is no snapshot", begin, 9, 3, FOUNDERS)
    made, chunks = arriving(described(9, 3), b"state" * 2000)
    receiver = storage.receive_snapshot(made)
    receiver.put(0, chunks[0])
    expect_error(UsageError, "it is not whole", begin, 9, 3, FOUNDERS)
    receiver.discard()
    receive(storage, described(9, 3), b"state" * 2000)
    for place in ((9, 2, FOUNDERS), (8, 3, FOUNDERS), (9, 3, ConfState(voters=(1, 2))), (None, 3, FOUNDERS)):
        expect_error(UsageError, f"the snapshot is another one than {place}", begin, *place)
    expect_error(UsageError, "no membership", begin, 9, 3, None)
    storage.close()
    expect_error(StorageError, "begin the log of a closed storage anew", begin, 9, 3, FOUNDERS)
    storage, loaded = subject.opened()
    expect((loaded.base_index, loaded.hard_state.commit), (0, 4), "the log after refusals")
    expect(len(rows_of(loaded)), 6, "the entries after refusals")
    receive(storage, described(3, 1), b"older")
    expect_error(UsageError, "it is before the commit index", storage.begin_behind, 3, 1, FOUNDERS)
    storage.close()


def a_power_cut_leaves_the_log_as_before_or_as_after_a_snapshot(subject: Subject) -> None:
    """And no entry that is void comes back."""
    if subject.crash is None:
        return
    base = 0
    held: list[Row] = []
    for life in range(1, 8):
        storage, loaded = subject.opened()
        rows = rows_of(loaded)
        if loaded.base_index != base:
            base = loaded.base_index
            held = [(base + 1, life - 1, b"new")]
            expect(state_of(storage), b"%d" % base * 3000, f"the state, in life {life}")
            rows = rows[: len(held)]
        expect(rows[: len(held)], held, f"the entries that were synced, in life {life}")
        void = [(base + n, life, b"void %d" % n) for n in range(1, 9)]
        write(storage, HardState(life, 0, base), *[record(*row) for row in void])
        index = base + 4 + life % 3 * 4
        receive(storage, described(index, life), b"%d" % index * 3000)
        storage.begin_behind(index, life, FOUNDERS)
        storage.append(HardState(life, 0, index), [record(index + 1, life, b"new")])
        held = void
        if life % 2:
            storage.sync()
            base, held = index, [(index + 1, life, b"new")]
        subject.crash(storage)


def a_power_cut_takes_no_snapshot_that_was_finished(subject: Subject) -> None:
    """Nor the log behind the older one of the two; one that was not finished never counts."""
    if subject.crash is None:
        return
    made: dict[int, bytes] = {}
    last = 0
    for life in range(1, 9):
        storage, loaded = subject.opened()
        newest = sorted(made)[-2:]
        found = loaded.snapshot.index if loaded.snapshot is not None else 0
        expect(found, newest[-1] if newest else 0, f"the entry of the newest snapshot, in life {life}")
        for index in newest:
            expect(state_of(storage, index), made[index], f"the state at entry {index}, in life {life}")
        least = newest[0] if len(newest) == 2 else 0
        expect(loaded.base_index <= least, True, f"the base {loaded.base_index} is not above {least}, in life {life}")
        wanted = [(index, 1, b"%d" % index * 3000) for index in range(loaded.base_index + 1, last + 1)]
        expect(rows_of(loaded), wanted, f"the entries behind the base, in life {life}")
        for _ in range(6):
            last += 1
            write(storage, HardState(1, 0, last), record(last, 1, b"%d" % last * 3000))
        for index in (last - 3, last - 1)[: life % 3]:
            made[index] = b"state of %d" % index * 3000
            writer = storage.begin_snapshot(described(index, 1))
            writer.write(made[index])
            writer.finish()
        if life % 2:
            storage.sync()  # the base may move with it
        storage.begin_snapshot(described(last, 1)).write(b"half" * 3000)
        subject.crash(storage)


#: Only for storages that have the methods of SnapshotStorage.
SNAPSHOT_CHECKS: Sequence[Check] = (
    a_snapshot_that_was_written_is_kept,
    a_snapshot_arrives_in_chunks,
    a_transfer_goes_on_after_a_restart,
    a_log_begins_anew_behind_a_snapshot,
    a_log_begins_behind_a_snapshot_only,
    a_power_cut_leaves_the_log_as_before_or_as_after_a_snapshot,
    a_power_cut_takes_no_snapshot_that_was_finished,
)
