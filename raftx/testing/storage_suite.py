"""What every storage must do, as checks that a storage of your own can be held against.

    import pytest
    from raftx.testing.storage_suite import Subject, checks_for

    @pytest.mark.parametrize("check", checks_for(MyStorage), ids=lambda check: check.__name__)
    def test_my_storage(check, tmp_path):
        check(Subject(lambda: MyStorage(tmp_path / "node", voters=[1, 2, 3])))

A check raises AssertionError with a sentence. ``make`` is called several times in a check: it makes a storage, with
voters 1, 2 and 3, over what the one before it has left, which is nothing at first. With ``crash`` it is also looked at
what a power cut leaves. Nothing here starts a thread or takes longer than the storage does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from .._core import EntryLog
from .._native.memory import Entry
from ..errors import MemoryLost, RaftError, SnapshotDamaged, StorageError, UsageError, WrongDirectory
from ..storage.membership import CHANGES
from ..storage.memory_folder import MemoryFolder
from ..storage.protocol import Loaded, Met, RememberingStorage, SnapshotStorage, Storage
from ..storage.snapshot_format import Descriptor, decode
from ..storage.snapshots import SnapshotReader, SnapshotWriter
from ..storage.wal_format import COUNT_SHIFT, STORE_BYTES
from ..types import ENTRY_CONF_CHANGE_V2, ENTRY_NORMAL, ConfChange, ConfState, HardState, Snapshot

CLUSTER = b"storage-suite---"
FOUNDERS = ConfState(voters=(1, 2, 3))

Row: TypeAlias = "tuple[int, int, bytes]"  # of an entry: index, term, data


@dataclass
class Subject:
    """A storage that is looked at.

    make: makes it, over what the last one has left. crash: called with an open one, after which nothing of it is used
    any more: the power fails, so that what was not synced may be lost; None: there is no way to do that.
    """

    make: Callable[[], Any]
    crash: Callable[[Any], None] | None = None

    def opened(self, id: int = 1, cluster: bytes = CLUSTER) -> tuple[Any, Loaded]:
        """A storage, open, and what it held."""
        storage = self.make()
        return storage, storage.open(id, cluster)


Check: TypeAlias = Callable[[Subject], None]


def expect(found: object, wanted: object, what: str) -> None:
    """Raise AssertionError unless both are equal."""
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, must be {wanted!r}")


def expect_error(error: type[BaseException], what: str, call: Callable[..., object], *arguments: Any) -> None:
    """Raise AssertionError unless the call raises that."""
    try:
        call(*arguments)
    except error:
        return
    raise AssertionError(f"{what}: {error.__name__} must be raised")


def record(index: int, term: int, data: bytes = b"", kind: int = ENTRY_NORMAL) -> bytes:
    """One entry as a storage gets it."""
    return Entry(index, term, data, kind).encode()


def log_of(loaded: Loaded) -> EntryLog:
    """The log that a node makes of what a storage held."""
    log = EntryLog()
    if loaded.base_index:
        log.py_restore(loaded.base_index, loaded.base_term)
    try:
        for piece in loaded.records:
            log.py_extend(piece)
    except RaftError as error:
        raise AssertionError(f"the records that open() gave are not those of a log: {error}") from error
    return log


def rows_of(loaded: Loaded) -> list[Row]:
    """Its entries."""
    log = log_of(loaded)
    return [(entry.index, entry.term, entry.data) for entry in log.entries(log.first, log.last)]


def write(storage: Storage, state: HardState, *records: bytes | memoryview) -> None:
    """Append and sync."""
    storage.append(state, records)
    storage.sync()


# --- opening and closing ---------------------------------------------------------------------------


def it_has_the_methods_of_a_storage(subject: Subject) -> None:
    """``open``, ``append``, ``sync``, ``compact`` and ``close``."""
    if not isinstance(subject.make(), Storage):
        raise AssertionError("it lacks a method of raftx.Storage")


def a_new_one_is_empty(subject: Subject) -> None:
    """No entries, no vote, the first membership, the first incarnation."""
    storage, loaded = subject.opened()
    expect(loaded.hard_state, HardState(), "the hard state of a new storage")
    expect(loaded.conf_state, FOUNDERS, "the membership of a new storage")
    expect(loaded.current_conf_state in (None, FOUNDERS), True, "its current membership is that or unknown")
    expect(loaded.incarnation, 1, "the incarnation at the first opening")
    expect((loaded.base_index, loaded.base_term), (0, 0), "the base of a new storage")
    expect(loaded.snapshot, None, "the snapshot of a new storage")
    expect(rows_of(loaded), [], "the entries of a new storage")
    storage.close()


def the_incarnation_counts_openings(subject: Subject) -> None:
    """One more each time, whether or not anything was written; ``close`` may be called twice."""
    for life in range(1, 6):
        storage, loaded = subject.opened()
        expect(loaded.incarnation, life, "the incarnation")
        storage.close()
        storage.close()


def one_node_uses_it_at_a_time(subject: Subject) -> None:
    """A second ``open``, another node and another cluster are refused, and change nothing."""
    storage, _ = subject.opened()
    expect_error(WrongDirectory, "it is open already", subject.make().open, 1, CLUSTER)
    storage.close()
    expect_error(WrongDirectory, "it is node 1's", subject.make().open, 2, CLUSTER)
    expect_error(WrongDirectory, "it is another cluster's", subject.make().open, 1, b"another cluster!")
    storage, loaded = subject.opened()
    expect(loaded.incarnation, 2, "the incarnation after refused openings")
    storage.close()


def a_closed_one_refuses(subject: Subject) -> None:
    """``append`` and ``compact`` raise StorageError."""
    storage, _ = subject.opened()
    write(storage, HardState(1, 0, 0), record(1, 1))
    storage.close()
    expect_error(StorageError, "append to a closed storage", storage.append, HardState(), [])
    expect_error(StorageError, "compact a closed storage", storage.compact, 1, 1, FOUNDERS)


# --- what is written ---------------------------------------------------------------------------------


def it_keeps_what_was_synced(subject: Subject) -> None:
    """Hard states and entries of any size."""
    storage, _ = subject.opened()
    write(storage, HardState(2, 3, 0), record(1, 1, b"a"), record(2, 2))
    write(storage, HardState(2, 3, 2), record(3, 2, b"c" * 9000))
    write(storage, HardState(2, 3, 3), record(4, 2, bytes(1 << 20)))
    storage.close()
    storage, loaded = subject.opened()
    expect(loaded.hard_state, HardState(2, 3, 3), "the hard state")
    expect(rows_of(loaded), [(1, 1, b"a"), (2, 2, b""), (3, 2, b"c" * 9000), (4, 2, bytes(1 << 20))], "the entries")
    storage.close()


def it_keeps_a_hard_state_alone(subject: Subject) -> None:
    """Without entries; the last one of those before a ``sync``; and the doubt until a hard state without it."""
    storage, _ = subject.opened()
    storage.append(HardState(1, 2, 0), [])
    write(storage, HardState(7, 3, 0))
    storage.close()
    storage, loaded = subject.opened()
    expect(loaded.hard_state, HardState(7, 3, 0), "the hard state")
    write(storage, HardState(7, 3, 0, True))
    storage.close()
    for _ in range(2):
        storage, loaded = subject.opened()
        expect(loaded.hard_state, HardState(7, 3, 0, True), "the hard state of a member in doubt")
        storage.close()
    storage, _ = subject.opened()
    write(storage, HardState(8, 0, 0))
    storage.close()
    storage, loaded = subject.opened()
    expect(loaded.hard_state, HardState(8, 0, 0), "the hard state after the doubt")
    storage.close()


def records_come_in_pieces_of_any_length(subject: Subject) -> None:
    """A piece holds one record or many, as bytes or as a view."""
    storage, _ = subject.opened()
    records = [record(index, 1, b"%d" % index) for index in range(1, 10)]
    write(storage, HardState(1, 0, 0), b"".join(records[:3]), memoryview(records[3]), memoryview(b"".join(records[4:])))
    storage.close()
    storage, loaded = subject.opened()
    expect(rows_of(loaded), [(index, 1, b"%d" % index) for index in range(1, 10)], "the entries")
    storage.close()


def a_lower_index_replaces_the_tail(subject: Subject) -> None:
    """In one ``append``, between two, and between two lives."""
    storage, _ = subject.opened()
    storage.append(HardState(1, 0, 0), [record(index, 1, b"%d" % index) for index in range(1, 6)])
    storage.append(HardState(2, 0, 0), [record(3, 2, b"x")])
    write(storage, HardState(3, 0, 0), record(4, 3, b"y"), record(5, 3, b"z"))
    write(storage, HardState(4, 0, 0), record(5, 4, b"w") + record(6, 4, b"v") + record(5, 4, b"u"))
    storage.close()
    storage, loaded = subject.opened()
    expect(rows_of(loaded), [(1, 1, b"1"), (2, 1, b"2"), (3, 2, b"x"), (4, 3, b"y"), (5, 4, b"u")], "the entries")
    write(storage, HardState(5, 0, 0), record(2, 5, b"t"))
    storage.close()
    storage, loaded = subject.opened()
    expect(loaded.hard_state.term, 5, "the term")
    expect(rows_of(loaded), [(1, 1, b"1"), (2, 5, b"t")], "the entries")
    write(storage, HardState(6, 0, 0), record(1, 6, b"s"))
    storage.close()
    storage, loaded = subject.opened()
    expect(rows_of(loaded), [(1, 6, b"s")], "the entries")
    storage.close()


def kinds_of_entries_are_kept(subject: Subject) -> None:
    """And what changes the membership is either understood or left to others."""
    storage, _ = subject.opened()
    change = ConfChange.parse("v4")
    write(
        storage,
        HardState(1, 0, 2),
        record(1, 1),
        record(2, 1, change.encode(), ENTRY_CONF_CHANGE_V2),
        record(3, 1, ConfChange.parse("r1").encode(), ENTRY_CONF_CHANGE_V2),
    )
    storage.close()
    storage, loaded = subject.opened()
    log = log_of(loaded)
    expect([entry.kind in CHANGES for entry in log.entries(1, 3)], [False, True, True], "the kinds of the entries")
    expect(loaded.conf_state, FOUNDERS, "the membership at the base")
    current = ConfState(voters=(1, 2, 3, 4))
    expect(loaded.current_conf_state in (None, current), True, "the current membership is the committed one or unknown")
    storage.close()


def what_could_not_be_opened_again_is_refused(subject: Subject) -> None:
    """A gap, a commit index beyond the log, a term that goes back, half a record: UsageError, and nothing is taken."""
    storage, _ = subject.opened()
    write(storage, HardState(3, 1, 1), record(1, 1), record(2, 3))
    for what, state, records in (
        ("a gap", HardState(3, 1, 1), [record(4, 3)]),
        ("a gap behind a new entry", HardState(3, 1, 1), [record(3, 3), record(5, 3)]),
        ("entry 0", HardState(3, 1, 1), [record(0, 3)]),
        ("a commit index beyond the log", HardState(3, 1, 3), []),
        ("a commit index beyond a log that became shorter", HardState(3, 1, 2), [record(1, 3)]),
        ("a term that goes back", HardState(2, 1, 1), []),
        ("half a record", HardState(3, 1, 1), [record(3, 3, b"data")[:-1]]),
        ("no number", HardState(3, None, 1), []),  # type: ignore[arg-type]
    ):
        expect_error(UsageError, what, storage.append, state, records)
    # Not even what it took before the fault.
    storage.sync()
    storage.close()
    storage, loaded = subject.opened()
    expect(loaded.hard_state, HardState(3, 1, 1), "the hard state after refused appends")
    expect(rows_of(loaded), [(1, 1, b""), (2, 3, b"")], "the entries after refused appends")
    write(storage, HardState(3, 1, 3), record(3, 3))
    storage.close()


# --- compaction --------------------------------------------------------------------------------------


def compaction_keeps_what_lies_behind(subject: Subject) -> None:
    """It may forget what is not above the index, and nothing else; the membership is that of the base."""
    storage, _ = subject.opened()
    term = 0
    rows = []
    asked = {0: (0, FOUNDERS)}
    for index in range(1, 61):
        term = 1 + index // 7
        data = b"%d" % index * 1500
        write(storage, HardState(term, 0, index - 1), record(index, term, data))
        rows.append((index, term, data))
        if index % 20 == 0:
            conf_state = ConfState(voters=(1, 2, 3), learners=(100 + index,))
            asked[index - 3] = (rows[index - 4][1], conf_state)
            storage.compact(index - 3, rows[index - 4][1], conf_state)
    storage.close()
    for _ in range(2):
        storage, loaded = subject.opened()
        expect(loaded.base_index in asked, True, f"the base {loaded.base_index} was asked for")
        base_term, conf_state = asked[loaded.base_index]
        expect(loaded.base_term, base_term, "the term of the base")
        expect(loaded.conf_state, conf_state, "the membership at the base")
        expect(rows_of(loaded), rows[loaded.base_index :], "the entries behind the base")
        expect(loaded.hard_state, HardState(term, 0, 59), "the hard state")
        storage.close()
    storage, loaded = subject.opened()
    write(storage, HardState(20, 0, 59), record(59, 20, b"new"))
    storage.close()
    storage, loaded = subject.opened()
    expect(rows_of(loaded), [*rows[loaded.base_index : 58], (59, 20, b"new")], "the entries after a replacement")
    storage.close()


def compaction_refuses_what_is_not_there(subject: Subject) -> None:
    """An index behind the log, and what is no index, term or membership."""
    storage, _ = subject.opened()
    write(storage, HardState(1, 0, 2), record(1, 1), record(2, 1))
    expect_error(UsageError, "compact behind the log", storage.compact, 3, 1, FOUNDERS)
    for bad in (0, -1, 2**63, 1.0, True, None):
        expect_error(UsageError, f"index {bad}", storage.compact, bad, 1, FOUNDERS)
        expect_error(UsageError, f"term {bad}", storage.compact, 1, bad, FOUNDERS)
    for members in (None, ConfState(), ConfState(voters=(0,)), ConfState(voters=tuple(range(1, 66)))):
        expect_error(UsageError, f"membership {members}", storage.compact, 1, 1, members)
    storage.close()
    storage, loaded = subject.opened()
    expect(rows_of(loaded), [(1, 1, b""), (2, 1, b"")], "the entries after refused compactions")
    write(storage, HardState(5, 0, 3), record(3, 4), record(4, 5))
    storage.compact(3, 4, FOUNDERS)
    storage.sync()
    expect_error(UsageError, "a term below that of the base", storage.compact, 4, 3, FOUNDERS)
    storage.close()


def an_older_base_changes_nothing(subject: Subject) -> None:
    """The base never goes back."""
    storage, _ = subject.opened()
    conf_state = ConfState(voters=(1, 2, 3), learners=(9,))
    write(storage, HardState(1, 0, 5), *[record(index, 1) for index in range(1, 7)])
    storage.compact(4, 1, conf_state)
    storage.sync()
    storage.compact(2, 1, FOUNDERS)
    write(storage, HardState(1, 0, 5), record(7, 1))
    storage.close()
    storage, loaded = subject.opened()
    expect(loaded.base_index in (0, 4), True, f"the base {loaded.base_index} is one that was asked for last")
    expect(loaded.conf_state, conf_state if loaded.base_index else FOUNDERS, "the membership at the base")
    expect(rows_of(loaded), [(index, 1, b"") for index in range(loaded.base_index + 1, 8)], "the entries")
    storage.close()


# --- snapshots: only of storages that have the methods of SnapshotStorage --------------------------------

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


# --- power cuts: only where there is a way to make one --------------------------------------------------


def a_power_cut_takes_nothing_that_was_synced(subject: Subject) -> None:
    """And leaves what was appended after it whole or not at all, from the first on."""
    if subject.crash is None:
        return
    held: list[Row] = []
    incarnation = 0
    for life in range(1, 8):
        storage, loaded = subject.opened()
        rows = rows_of(loaded)
        expect(rows[: len(held)], held, f"the entries that were synced, in life {life}")
        expect(loaded.incarnation > incarnation, True, "the incarnation grows")
        expect(loaded.hard_state.term in (life - 1, life), True, f"term {loaded.hard_state.term} was written")
        incarnation = loaded.incarnation
        term = life + 1
        held = [*rows, (len(rows) + 1, term, b"%d" % life * 3000)]
        write(storage, HardState(life, 1, 0), record(*held[-1]))
        storage.append(HardState(life + 1, 2, 0), [record(len(held) + 1, term, b"not synced")])
        subject.crash(storage)


def a_power_cut_forgets_no_more_than_was_compacted(subject: Subject) -> None:
    """The base is one that was asked for, with its membership, and never goes back."""
    if subject.crash is None:
        return
    memberships = {0: FOUNDERS}
    base = last = 0
    for life in range(1, 8):
        storage, loaded = subject.opened()
        expect(loaded.base_index in memberships, True, f"the base {loaded.base_index} was asked for, in life {life}")
        expect(loaded.base_index >= base, True, f"the base goes from {base} to {loaded.base_index}, in life {life}")
        expect(loaded.conf_state, memberships[loaded.base_index], "the membership at the base")
        base = loaded.base_index
        wanted = [(index, 1, b"%d" % index * 4000) for index in range(base + 1, last + 1)]
        expect(rows_of(loaded), wanted, f"the entries behind the base, in life {life}")
        for _ in range(3 * life):
            last += 1
            write(storage, HardState(1, 0, last), record(last, 1, b"%d" % last * 4000))
            if last % 5 == 0:
                index = last - life % 3
                memberships[index] = ConfState(voters=(1, 2, 3), learners=(100 + index,))
                storage.compact(index, 1, memberships[index])
        subject.crash(storage)


# --- lives: only for storages that remember them ----------------------------------------------------------


def lives_of_others_are_remembered(subject: Subject) -> None:
    """What ``remember`` was told last of each member, over openings and power cuts."""
    met: dict[int, Met] = {}
    for life in range(1, 5):
        storage, loaded = subject.opened()
        expect(dict(loaded.met), met, f"whom it had met, in life {life}")
        expect(loaded.life >> COUNT_SHIFT, loaded.incarnation, "what the number of a life counts")
        expect(len(loaded.store), STORE_BYTES, "the bytes in the name of the store")
        for id in (2, 3):
            met[id] = Met(life << COUNT_SHIFT | id, bytes([life * id]) * STORE_BYTES)
            expect(storage.remember(id, met[id]), True, "what remember() returns where nothing is short")
        (subject.crash or (lambda each: each.close()))(storage)


def a_member_that_has_forgotten_does_not_open(subject: Subject) -> None:
    """Others have met a life of it that it does not know."""
    storage, _ = subject.opened()
    storage.forgotten(5 << COUNT_SHIFT)
    storage.close()
    for _ in range(2):
        expect_error(MemoryLost, "open() after forgotten()", subject.opened)


CHECKS: Sequence[Check] = (
    it_has_the_methods_of_a_storage,
    a_new_one_is_empty,
    the_incarnation_counts_openings,
    one_node_uses_it_at_a_time,
    a_closed_one_refuses,
    it_keeps_what_was_synced,
    it_keeps_a_hard_state_alone,
    records_come_in_pieces_of_any_length,
    a_lower_index_replaces_the_tail,
    kinds_of_entries_are_kept,
    what_could_not_be_opened_again_is_refused,
    compaction_keeps_what_lies_behind,
    compaction_refuses_what_is_not_there,
    an_older_base_changes_nothing,
    a_power_cut_takes_nothing_that_was_synced,
    a_power_cut_forgets_no_more_than_was_compacted,
)
#: Only for storages that have the methods of SnapshotStorage.
SNAPSHOT_CHECKS: Sequence[Check] = (
    a_snapshot_that_was_written_is_kept,
    a_snapshot_arrives_in_chunks,
    a_transfer_goes_on_after_a_restart,
    a_log_begins_anew_behind_a_snapshot,
    a_log_begins_behind_a_snapshot_only,
    a_power_cut_leaves_the_log_as_before_or_as_after_a_snapshot,
)

#: Only for storages that have the methods of RememberingStorage.
LIVES_CHECKS: Sequence[Check] = (lives_of_others_are_remembered, a_member_that_has_forgotten_does_not_open)


def checks_for(storage: type) -> list[Check]:
    """The checks for a class of storages."""
    snapshots = SNAPSHOT_CHECKS if issubclass(storage, SnapshotStorage) else ()
    return [*CHECKS, *snapshots, *(LIVES_CHECKS if issubclass(storage, RememberingStorage) else ())]
