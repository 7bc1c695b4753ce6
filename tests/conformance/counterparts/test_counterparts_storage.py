"""What is not durable yet, and what the storage holds: counterparts of etcd's log_unstable_test and storage_test.

etcd keeps entries that are not durable in a list of its own; raftx's log has them all, and marks: up to ``stable`` they
are durable, up to ``writing`` they were handed to the storage. A restored snapshot that is not durable is
``pending_snapshot``. What etcd's MemoryStorage does for its core is done by the log itself and by RawNode.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import LOCAL_APPEND_THREAD
from tests.helpers.core_log import PURE, RECORD, append, done, entries_of, log_of, marks_of, node_of, snapshot, written
from tests.helpers.implementations import module

# --- the unstable part of the log ------------------------------------------------------------------


def unstable(impl: ModuleType, terms: list[int], base: int | None = None) -> Any:
    """A node with entries from 5 on that are not durable, behind a stored log up to 4 or a snapshot at ``base``."""
    node = node_of(impl, log_of(impl, [] if base else [1] * 4), (1, 0, 0))
    if base:
        snapshot(impl, node, base, 1)
    append(impl, node, 5, terms)
    return node


@pytest.mark.parametrize(("terms", "base", "first"), [([1], None, 1), ([], None, 1), ([1], 4, 5), ([], 4, 5)])
def test_unstable_maybe_first_index(impl: ModuleType, terms: list[int], base: int | None, first: int) -> None:
    """The log begins where the stored one does, and behind a restored snapshot when there is one."""
    assert unstable(impl, terms, base).core.log.first == first


@pytest.mark.parametrize(("terms", "base", "last"), [([1], None, 5), ([1], 4, 5), ([], 4, 4), ([], None, 4)])
def test_maybe_last_index(impl: ModuleType, terms: list[int], base: int | None, last: int) -> None:
    """It ends with what is not durable, else with the restored snapshot, else with what is stored."""
    assert unstable(impl, terms, base).core.log.last == last


@pytest.mark.parametrize(
    ("terms", "base", "index", "term"),
    [
        ([2], None, 5, 2),
        ([2], None, 6, 0),
        ([2], None, 4, 1),  # the stored one's
        ([2], 4, 5, 2),
        ([2], 4, 6, 0),
        ([2], 4, 4, 1),  # the snapshot's
        ([2], 4, 3, 0),
        ([], 4, 5, 0),
        ([], 4, 4, 1),
        ([], None, 5, 0),
    ],
)
def test_unstable_maybe_term(impl: ModuleType, terms: list[int], base: int | None, index: int, term: int) -> None:
    """Terms come from wherever the entry is; 0 where it is not."""
    assert unstable(impl, terms, base).core.log.py_term(index) == term


def test_unstable_restore(impl: ModuleType) -> None:
    """Another snapshot takes the place of everything, of one that is being written too, and is to be written."""
    node = unstable(impl, [1], 4)
    node.ready()
    core = node.core
    assert (core.writing, core.pending_snapshot, core.snapshot_writing) == (5, 4, True)
    sent = snapshot(impl, node, 6, 2)
    assert (core.log.first, core.log.last, core.stable, core.writing) == (7, 6, 6, 6)
    assert (core.pending_snapshot, core.snapshot_writing) == (6, False)
    assert node.ready().snapshot == sent


def test_stable_snapshot_and_entries(impl: ModuleType) -> None:
    """A snapshot and the entries behind it are durable when the storage says so, in one answer."""
    node = unstable(impl, [1, 1], 4)
    (work,) = [m for m in node.ready().messages if m.to == LOCAL_APPEND_THREAD]
    for answer in work.responses:
        if answer.to == node.core.id:
            node.step(answer)
    assert (node.core.stable, node.core.writing, node.core.log.last) == (6, 6, 6)
    assert (node.core.pending_snapshot, node.core.snapshot_index) == (0, 4)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_unstable_next_entries(impl: ModuleType, before: int) -> None:
    """Of two entries that are not durable those are handed over that were not yet."""
    node = unstable(impl, [1] * before)
    if before:
        node.ready()
    append(impl, node, 5 + before, [1] * (2 - before))
    assert node.core.stable == 4
    assert [entry.index for entry in node.ready().entries] == [5, 6][before:]


def test_unstable_next_snapshot(impl: ModuleType) -> None:
    """A restored snapshot is handed over once."""
    node = node_of(impl, log_of(impl, []))
    append(impl, node, 1, [])
    assert node.ready().snapshot is None
    sent = snapshot(impl, node, 4, 1)
    assert node.ready().snapshot == sent
    append(impl, node, 5, [1])
    assert node.core.pending_snapshot == 4
    assert node.ready().snapshot is None


@pytest.mark.once
@pytest.mark.parametrize("pending", [None, False, True])
@pytest.mark.parametrize(("count", "writing", "after"), [(0, 4, 4), (1, 4, 5), (2, 4, 6), (2, 5, 6), (2, 6, 6)])
def test_unstable_accept_in_progress(count: int, writing: int, after: int, pending: bool | None) -> None:
    """All that there is was handed over, entries and snapshot; ``pending``: whether the latter already was."""
    core = marks_of([1] * count, 5, 1, stable=4, writing=writing)
    if pending is not None:
        core.pending_snapshot, core.snapshot_writing = 4, pending
    driver = module(PURE, "consensus.driver").Driver(core)
    driver.plan_write()
    driver.accept_write()
    assert (core.stable, core.writing) == (4, after)
    assert core.snapshot_writing is (pending is not None)


@pytest.mark.once
@pytest.mark.parametrize(
    ("terms", "first", "writing", "index", "term", "stable", "then"),
    [
        ([], 1, 0, 5, 1, 0, 0),
        ([1], 5, 5, 5, 1, 5, 5),
        ([1, 1], 5, 5, 5, 1, 5, 5),
        ([1, 1], 5, 6, 5, 1, 5, 6),
        # Durable although it was not handed over: it need not be any more.
        ([1, 1], 5, 4, 5, 1, 5, 5),
        # Another term stands there now.
        ([2], 6, 6, 6, 1, 5, 6),
        # What was durable before, whatever the term.
        ([1], 5, 5, 4, 1, 4, 5),
        ([1], 5, 5, 4, 2, 4, 5),
    ],
)
@pytest.mark.parametrize("pending", [False, True])
def test_unstable_stable_to(
    terms: list[int], first: int, writing: int, index: int, term: int, stable: int, then: int, pending: bool
) -> None:
    """An answer of the storage is about an index and a term; with or without a snapshot that is not durable."""
    core = marks_of(terms, first, 1 if first > 1 else 0, stable=first - 1, writing=writing)
    core.pending_snapshot = first - 1 if pending else 0
    core.stable_to(index, term)
    assert (core.stable, core.writing) == (stable, then)
    assert core.log.last - core.stable == len(terms) - (stable - first + 1)


@pytest.mark.once
@pytest.mark.parametrize(
    ("terms", "writing", "first", "new", "stable", "then", "found"),
    [
        # Behind the last.
        ([1], 4, 6, [1, 1], 4, 4, [1, 1, 1]),
        ([1], 5, 6, [1, 1], 4, 5, [1, 1, 1]),
        # In place of everything, and of something durable.
        ([1], 4, 5, [2, 2], 4, 4, [2, 2]),
        ([1], 4, 4, [2, 2, 2], 3, 3, [2, 2, 2]),
        ([1], 5, 5, [2, 2], 4, 4, [2, 2]),
        # In place of a part.
        ([1, 1, 1], 4, 6, [2], 4, 4, [1, 2]),
        ([1, 1, 1], 4, 7, [2, 2], 4, 4, [1, 1, 2, 2]),
        ([1, 1, 1], 5, 6, [2], 4, 5, [1, 2]),
        ([1, 1, 1], 6, 6, [2], 4, 5, [1, 2]),
    ],
)
def test_unstable_truncate_and_append(
    terms: list[int], writing: int, first: int, new: list[int], stable: int, then: int, found: list[int]
) -> None:
    """What is replaced is neither durable nor being written any more."""
    core = marks_of([1] * 4 + terms, stable=4, writing=writing)
    core.replace_tail(PURE.Message(entries=entries_of(PURE, first, new)), first)
    assert (core.stable, core.writing) == (stable, then)
    assert [entry.term for entry in core.log.entries(core.stable + 1, core.log.last)] == found


@pytest.mark.parametrize(("first", "new", "stable", "found"), [(6, [1, 1], 4, [1, 1, 1]), (5, [2, 2], 4, [2, 2])])
def test_truncate_and_append(impl: ModuleType, first: int, new: list[int], stable: int, found: list[int]) -> None:
    """The same as an append of the leader does it, in both modes."""
    node = unstable(impl, [1])
    append(impl, node, first, new)
    ready = node.ready()
    assert node.core.stable == stable
    assert [entry.term for entry in ready.entries] == found
    written(impl, node, node.core.log.last, new[-1])
    assert node.core.stable == node.core.log.last


# --- what is stored --------------------------------------------------------------------------------


def stored(impl: ModuleType, *more: int) -> Any:
    """A log that was compacted up to 3, of term 3, with entries 4, 5, ... of those terms."""
    return log_of(impl, [4, 5, *more], 4, 3)


@pytest.mark.parametrize(("index", "term"), [(2, 0), (3, 3), (4, 4), (5, 5), (6, 0)])
def test_storage_term(impl: ModuleType, index: int, term: int) -> None:
    """Known from the last compacted entry on; 0 elsewhere, where etcd has two different errors."""
    assert stored(impl).py_term(index) == term


@pytest.mark.parametrize(
    ("low", "high", "limit", "last"),
    [
        (2, 5, 2**40, None),
        (3, 3, 2**40, None),
        (4, 4, 2**40, 4),
        (4, 5, 2**40, 5),
        (4, 6, 2**40, 6),
        (4, 6, 0, 4),  # the first, whatever the limit
        (4, 6, 2 * RECORD, 5),
        (4, 6, 2 * RECORD + RECORD // 2, 5),
        (4, 6, 3 * RECORD - 1, 5),
        (4, 6, 3 * RECORD, 6),
    ],
)
def test_storage_entries(impl: ModuleType, low: int, high: int, limit: int, last: int | None) -> None:
    """A part of the log up to a size; what is compacted is refused. Both ends are included here."""
    log = stored(impl, 6)
    if last is None:
        with pytest.raises(IndexError):
            log.py_limit(low, high, limit)
        with pytest.raises(IndexError):
            log.entries(low, high)
        return
    assert log.py_limit(low, high, limit) == last
    assert log.entries(low, last) == entries_of(impl, low, list(range(low, last + 1)))


def test_storage_last_index(impl: ModuleType) -> None:
    """It moves with every append."""
    log = stored(impl)
    assert log.last == 5
    log.py_extend(entries_of(impl, 6, [5]))
    assert log.last == 6


def test_storage_first_index(impl: ModuleType) -> None:
    """It moves with a compaction."""
    log = stored(impl)
    assert log.first == 4
    log.py_compact(4)
    assert log.first == 5


@pytest.mark.parametrize(("index", "base", "count"), [(2, (3, 3), 2), (3, (3, 3), 2), (4, (4, 4), 1), (5, (5, 5), 0)])
def test_storage_compact(impl: ModuleType, index: int, base: tuple[int, int], count: int) -> None:
    """The last entry that goes is remembered by its index and term; below that there is nothing to do.

    etcd calls the latter an error, raft-rs does not.
    """
    log = stored(impl)
    log.py_compact(index)
    assert ((log.first - 1, log.base_term), len(log)) == (base, count)
    assert log.last == 5


def applied(impl: ModuleType) -> Any:
    """A node with that log, all of it applied."""
    node = node_of(impl, stored(impl), (5, 0, 5))
    done(impl, node, 5)
    return node


@pytest.mark.parametrize("index", [4, 5])
def test_storage_create_snapshot(impl: ModuleType, index: int) -> None:
    """A snapshot of what is applied is what others will be sent; it must be of this log."""
    members = impl.ConfState((1, 2, 3))
    node = applied(impl)
    for wrong in ((index, index + 1), (6, 5)):
        with pytest.raises(impl.UsageError):
            node.set_snapshot(impl.Snapshot(*wrong, members, b"data"))
    assert node.core.snapshot_index == 0
    node.set_snapshot(impl.Snapshot(index, index, members, b"data"))
    assert (node.core.snapshot_index, node.core.snapshot_term) == (index, index)


@pytest.mark.parametrize(
    ("first", "terms", "found"),
    [
        (1, [1, 2], None),
        (3, [3, 4, 5], None),
        (2, [3, 3, 5], None),
        (4, [4, 5], [4, 5]),
        (4, [6, 6], [6, 6]),
        (4, [4, 5, 5], [4, 5, 5]),
        (4, [5], [5]),
        (6, [5], [4, 5, 5]),
        (7, [5], None),
    ],
)
def test_storage_append(impl: ModuleType, first: int, terms: list[int], found: list[int] | None) -> None:
    """What stands there is replaced together with all behind it. What is compacted is not, as in raft-rs.

    etcd leaves out what is compacted; in raftx no append comes so far, see test_log_maybe_append.
    """
    log = stored(impl)
    if found is None:
        with pytest.raises(impl.Corruption):
            log.py_extend(entries_of(impl, first, terms))
        found = [4, 5]
    else:
        log.py_extend(entries_of(impl, first, terms))
    assert list(memoryview(log.terms())) == found
    assert (log.first, log.base_term) == (4, 3)


def test_storage_apply_snapshot(impl: ModuleType) -> None:
    """A newer snapshot takes the log's place, an older one is out of date, and one at 0 begins a group."""
    node = node_of(impl, log_of(impl, []))
    snapshot(impl, node, 4, 4)
    assert (node.core.log.first, node.core.log.last, node.core.log.base_term) == (5, 4, 4)
    snapshot(impl, node, 3, 3)
    assert (node.core.log.first, node.core.pending_snapshot) == (5, 4)
    members = impl.ConfState((1, 2, 3))
    node = applied(impl)
    node.set_snapshot(impl.Snapshot(5, 5, members, b"data"))
    with pytest.raises(impl.UsageError):
        node.set_snapshot(impl.Snapshot(4, 4, members, b"data"))
    begun = impl.RawNode(impl.Config(id=1), snapshot=impl.Snapshot(0, 0, members, b"data"))
    assert begun.core.tracker.conf_state() == members
    assert (begun.core.log.first, begun.core.committed) == (1, 0)
