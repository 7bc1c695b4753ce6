"""What every storage must do, as checks that a storage of your own can be held against::

    import pytest
    from raftx.testing.storage_suite import Subject, checks_for

    @pytest.mark.parametrize("check", checks_for(MyStorage), ids=lambda check: check.__name__)
    def test_my_storage(check, tmp_path):
        check(Subject(lambda: MyStorage(tmp_path / "node", voters=[1, 2, 3])))

A check raises AssertionError with a sentence. ``make`` is called several times in a check: it makes a storage, with
voters 1, 2 and 3, over what the one before it has left, which is nothing at first. With ``crash`` it is also looked at
what a power cut leaves. One check calls the storage from several threads, one after the other; nothing here takes
longer than the storage does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from .._native.memory import Entry
from ..errors import MemoryLost, StorageError, UsageError, WrongDirectory
from ..storage.membership import CHANGES
from ..storage.protocol import AddressStorage, Loaded, Met, RememberingStorage, SnapshotStorage, Storage
from ..storage.wal_format import COUNT_SHIFT, STORE_BYTES
from ..types import ENTRY_CONF_CHANGE_V2, ENTRY_NORMAL, ENTRY_SESSION, ConfChange, ConfState, HardState
from .storage_snapshots import SNAPSHOT_CHECKS
from .storage_subject import (
    CLUSTER,
    FOUNDERS,
    Check,
    Row,
    Subject,
    expect,
    expect_error,
    log_of,
    record,
    rows_of,
    write,
)

__all__ = ["ADDRESS_CHECKS", "CHECKS", "CLUSTER", "LIVES_CHECKS", "SNAPSHOT_CHECKS", "Subject", "checks_for"]

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
    expect(dict(loaded.joined), {}, "the entries that have added members, in a new storage")
    storage.close()


def what_is_nobody_does_not_open(subject: Subject) -> None:
    """No id, or no cluster: UsageError, and it stays as it is."""
    for id in (0, -1, 2**63, None, True, 1.0, "1"):
        expect_error(UsageError, f"id {id!r}", subject.make().open, id, CLUSTER)
    for cluster in (b"", CLUSTER[:-1], CLUSTER + b"-", CLUSTER.decode(), None):
        expect_error(UsageError, f"cluster {cluster!r}", subject.make().open, 1, cluster)
    storage, loaded = subject.opened()
    expect(loaded.incarnation, 1, "the incarnation after refused openings")
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


def it_may_be_called_from_several_threads(subject: Subject) -> None:
    """``open``, ``append`` and ``sync``, ``compact``, ``close``: each on a thread of its own, one after the other."""
    storage, _ = on_a_thread(subject.opened)
    on_a_thread(lambda: write(storage, HardState(1, 0, 2), record(1, 1, b"a"), record(2, 1, b"b")))
    on_a_thread(lambda: storage.compact(1, 1, FOUNDERS))
    on_a_thread(lambda: write(storage, HardState(1, 0, 3), record(3, 1, b"c")))
    on_a_thread(storage.close)
    storage, loaded = on_a_thread(subject.opened)
    expect(on_a_thread(lambda: rows_of(loaded))[-2:], [(2, 1, b"b"), (3, 1, b"c")], "the entries")
    on_a_thread(storage.close)


def on_a_thread(call: Callable[[], Any]) -> Any:
    """What it returns, or raises, there."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((call(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    value, error = found[0]
    if error is not None:
        raise AssertionError(f"it cannot be used on another thread than the last one: {error!r}") from error
    return value


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


def entries_are_kept_to_the_last_bit(subject: Subject) -> None:
    """Their kinds, those of sessions too, and their times."""
    storage, _ = subject.opened()
    given = [
        Entry(1, 1, b"", ENTRY_NORMAL, 0),
        Entry(2, 1, bytes(range(256)), ENTRY_NORMAL, 1_700_000_000_123_456_789),
        Entry(3, 1, bytes(64), ENTRY_SESSION, 2**63 - 1),
        Entry(4, 2, b"\xff" * 5, ENTRY_NORMAL, 1),
        Entry(5, 2, ConfChange.parse("l4").encode(), ENTRY_CONF_CHANGE_V2, 1_700_000_000_123_456_790),
    ]
    for each in given:
        write(storage, HardState(2, 0, 0), each.encode())
    storage.close()
    for _ in range(2):
        storage, loaded = subject.opened()
        found = [entry.encode() for entry in log_of(loaded).entries(1, len(given))]
        expect(found, [each.encode() for each in given], "the records of the entries")
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
            # Its term is neither that of the entry behind it, at last, nor the hard state's.
            asked[index - 5] = (rows[index - 6][1], conf_state)
            storage.compact(index - 5, rows[index - 6][1], conf_state)
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
    storage.append(HardState(1, 0, 2), [record(3, 1)])
    expect_error(UsageError, "compact what is not on disk", storage.compact, 3, 1, FOUNDERS)
    write(storage, HardState(1, 0, 2), record(3, 1))
    for bad in (0, -1, 2**63, 1.0, True, None):
        expect_error(UsageError, f"index {bad}", storage.compact, bad, 1, FOUNDERS)
        expect_error(UsageError, f"term {bad}", storage.compact, 1, bad, FOUNDERS)
    for members in (None, ConfState(), ConfState(voters=(0,)), ConfState(voters=tuple(range(1, 66)))):
        expect_error(UsageError, f"membership {members}", storage.compact, 1, 1, members)
    storage.close()
    storage, loaded = subject.opened()
    expect(rows_of(loaded), [(1, 1, b""), (2, 1, b""), (3, 1, b"")], "the entries after refused compactions")
    write(storage, HardState(5, 0, 3), record(3, 4), record(4, 5))
    storage.compact(3, 4, FOUNDERS)
    storage.sync()
    for index in (2, 3):
        expect_error(
            UsageError,
            f"entry {index}, at the base 3 or before",
            storage.append,
            HardState(5, 0, 3),
            [record(index, 5)],
        )
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


# --- addresses: only of storages that have the method of AddressStorage -----------------------------------


def addresses_are_kept_when_the_log_begins_anew(subject: Subject) -> None:
    """What ``keep_addresses`` was told last is there when the log begins at its entry: over openings and power cuts."""
    storage, loaded = subject.opened()
    first = (dict(loaded.addresses), dict(loaded.joined))
    end: Callable[[Any], None] = subject.crash or (lambda each: each.close())
    told: dict[int, tuple[dict[int, str], dict[int, int]]] = {0: first}
    last = 0
    for life in range(1, 9):
        for _ in range(20):
            last += 1
            write(storage, HardState(1, 0, last), record(last, 1, b"%d" % last * 1500))
        index = last - 3
        addresses = {1: f"tcp://10.0.0.{life}:5601", 2**63 - 1: f"ipc:///tmp/é{life}"}
        # At last there is nothing to tell any more.
        told[index] = (addresses, {0: 7, 2**63 - 1: index}) if life < 8 else ({}, {})
        given, joined = dict(told[index][0]), dict(told[index][1])
        storage.keep_addresses(index, given, joined)
        given[3] = joined[3] = None  # type: ignore[assignment]
        if life % 2:
            end(storage)  # before the log begins there
            storage, loaded = subject.opened()
            _expect_told(loaded, told)
        storage.keep_addresses(index, *told[index])
        storage.compact(index, 1, FOUNDERS)
        write(storage, HardState(1, 0, last), *[record(last + n, 1, bytes(9000)) for n in range(1, 9)])
        last += 8
        end(storage)
        storage, loaded = subject.opened()
        _expect_told(loaded, told)
    storage.close()
    expect_error(StorageError, "keep_addresses() of a closed storage", storage.keep_addresses, last, {}, {})


def _expect_told(loaded: Loaded, told: dict[int, tuple[dict[int, str], dict[int, int]]]) -> None:
    """What was told of the base, or of what was asked for behind it; what came with the founding before the first."""
    found = (dict(loaded.addresses), dict(loaded.joined))
    wanted = [each for index, each in told.items() if index >= loaded.base_index]
    if loaded.base_index == max(told):
        wanted = [told[loaded.base_index]]
    if found not in wanted:
        raise AssertionError(
            f"addresses, and entries that have added members, at the base {loaded.base_index}: "
            f"found {found!r}, must be one of {wanted!r}"
        )


# --- power cuts: only where there is a way to make one --------------------------------------------------


def a_power_cut_takes_nothing_that_was_synced(subject: Subject) -> None:
    """And leaves what was appended after it whole or not at all, from the first on: never a bit of it."""
    if subject.crash is None:
        return
    rows: list[Row] = []
    # What may be there: hard states, each with the entries behind those of before.
    states: list[tuple[HardState, list[Row]]] = [(HardState(), [])]
    incarnation = 0
    for life in range(1, 9):
        storage, loaded = subject.opened()
        found = (loaded.hard_state, rows_of(loaded))
        if found not in states:
            raise AssertionError(
                f"the hard state and the entries, in life {life}: found {found!r}, must be one of {states!r}"
            )
        expect(loaded.incarnation > incarnation, True, "the incarnation grows")
        incarnation = loaded.incarnation
        rows = found[1]
        last, term, commit = len(rows), 2 * life, loaded.hard_state.commit
        # Votes and doubt change with each of them, so that no part of one can pass for the other.
        synced = HardState(term, 1 + life % 3, commit, life % 2 == 0)
        later = HardState(term + 1, 1 + (life + 1) % 3, last + 1, life % 2 == 1)
        row, more = (last + 1, term, b"%d" % life * 3000), [(last + n, term, b"not synced") for n in (2, 3)]
        write(storage, synced, record(*row))
        storage.append(later, [record(*each) for each in more])
        states = [(synced, [*rows, row]), *[(later, [*rows, row, *more[:count]]) for count in range(3)]]
        subject.crash(storage)


def a_power_cut_brings_nothing_back_that_was_replaced(subject: Subject) -> None:
    """A tail that a lower index has taken the place of, over several lives, and however short the new one is."""
    if subject.crash is None:
        return
    for life in range(1, 7):
        storage, loaded = subject.opened()
        held = rows_of(loaded)[: life - 1]
        term = 3 * life
        tail = [(life + n, term, b"tail %d" % n * 700) for n in range(9)]
        write(storage, HardState(term, 1, 0), *[record(*row) for row in tail])
        new = [(life + 1, term + 1, b"new"), (life + 2, term + 1, b"newer")][: 1 + life % 2]
        write(storage, HardState(term + 1, 2, 0), *[record(*row) for row in new])
        held = [*held, tail[0], *new]
        later = [(life + 1, term + 2, b"last %d" % n) for n in range(life % 3)]
        storage.append(HardState(term + 2, 3, 0), [record(*row) for row in later])
        wanted = [held, *[[*held[:life], row] for row in later]]
        subject.crash(storage)
        storage, loaded = subject.opened()
        found = rows_of(loaded)
        if found not in wanted:
            raise AssertionError(f"the entries, in life {life}: found {found!r}, must be one of {wanted!r}")
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
    store = b""
    for life in range(1, 5):
        storage, loaded = subject.opened()
        store = store or loaded.store
        expect(loaded.store, store, f"the name of the store, in life {life}")
        expect(dict(loaded.met), met, f"whom it had met, in life {life}")
        expect(loaded.life >> COUNT_SHIFT, loaded.incarnation, "what the number of a life counts")
        expect(len(loaded.store), STORE_BYTES, "the bytes in the name of the store")
        for id in (2, 3):
            met[id] = Met(life << COUNT_SHIFT | id, bytes([life * id]) * STORE_BYTES, 10 * life + id)
            expect(storage.remember(id, met[id]), True, "what remember() returns where nothing is short")
        (subject.crash or (lambda each: each.close()))(storage)


def the_last_400_are_remembered(subject: Subject) -> None:
    """At least, and what was told last of each."""
    storage, _ = subject.opened()
    met = {id: Met(7 << COUNT_SHIFT | id, id.to_bytes(STORE_BYTES, "little"), id) for id in range(2, 402)}
    for id, each in met.items():
        expect(storage.remember(id, each), True, "what remember() returns where nothing is short")
    storage.close()
    storage, loaded = subject.opened()
    missing = [id for id, each in met.items() if loaded.met.get(id) != each]
    expect(missing, [], "members that were not remembered")
    storage.close()


def a_life_is_counted_at_once(subject: Subject) -> None:
    """Before ``open`` returns: no later life has its number, although the power fails."""
    seen: set[int] = set()
    before = 0
    for _ in range(4):
        storage, loaded = subject.opened()
        expect(loaded.incarnation > before and loaded.life not in seen, True, "each life has a number of its own")
        before = loaded.incarnation
        seen.add(loaded.life)
        (subject.crash or (lambda each: each.close()))(storage)


def a_member_that_has_forgotten_does_not_open(subject: Subject) -> None:
    """Others have met a life of it that it does not know."""
    storage, _ = subject.opened()
    storage.forgotten(5 << COUNT_SHIFT)
    (subject.crash or (lambda each: each.close()))(storage)
    for _ in range(2):
        expect_error(MemoryLost, "open() after forgotten()", subject.opened)


CHECKS: Sequence[Check] = (
    it_has_the_methods_of_a_storage,
    a_new_one_is_empty,
    what_is_nobody_does_not_open,
    the_incarnation_counts_openings,
    one_node_uses_it_at_a_time,
    it_may_be_called_from_several_threads,
    a_closed_one_refuses,
    it_keeps_what_was_synced,
    it_keeps_a_hard_state_alone,
    records_come_in_pieces_of_any_length,
    a_lower_index_replaces_the_tail,
    kinds_of_entries_are_kept,
    entries_are_kept_to_the_last_bit,
    what_could_not_be_opened_again_is_refused,
    compaction_keeps_what_lies_behind,
    compaction_refuses_what_is_not_there,
    an_older_base_changes_nothing,
    a_power_cut_takes_nothing_that_was_synced,
    a_power_cut_brings_nothing_back_that_was_replaced,
    a_power_cut_forgets_no_more_than_was_compacted,
)
#: Only for storages that have the methods of RememberingStorage.
LIVES_CHECKS: Sequence[Check] = (
    lives_of_others_are_remembered,
    the_last_400_are_remembered,
    a_life_is_counted_at_once,
    a_member_that_has_forgotten_does_not_open,
)

#: Only for storages that have the method of AddressStorage.
ADDRESS_CHECKS: Sequence[Check] = (addresses_are_kept_when_the_log_begins_anew,)


def checks_for(storage: type) -> list[Check]:
    """The checks for a class of storages."""
    found = [*CHECKS]
    for protocol, checks in (
        (AddressStorage, ADDRESS_CHECKS),
        (SnapshotStorage, SNAPSHOT_CHECKS),
        (RememberingStorage, LIVES_CHECKS),
    ):
        if issubclass(storage, protocol):
            found += checks
    return found
