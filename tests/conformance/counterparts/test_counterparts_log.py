"""The log and its marks: counterparts of etcd's log_test and of raft-rs's raft_log tests.

etcd has a stored log, an unstable one before it, and a view of both; raftx has one log with marks in it: what is
durable here (``stable``), committed, handed to the state machine (``applying``) and applied. What Python can do runs
in both modes; the marks' own functions, which compiled code keeps to itself, in the interpreted one.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    LOCAL_APPEND_THREAD,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_STORAGE_APPEND_RESP,
    MSG_VOTE,
)
from tests.helpers.core_log import PURE, RECORD, append, done, entries_of, log_of, marks_of, node_of, snapshot, written
from tests.helpers.core_net import Member

# --- comparing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "terms", "conflict"),
    [
        (1, [], 0),
        (1, [1, 2, 3], 0),
        (2, [2, 3], 0),
        (3, [3], 0),
        # No conflict, but something new.
        (1, [1, 2, 3, 4, 4], 4),
        (2, [2, 3, 4, 5], 4),
        (3, [3, 4, 4], 4),
        (4, [4, 4], 4),
        # Another term stands there.
        (1, [4, 4], 1),
        (2, [1, 4, 4], 2),
        (3, [1, 2, 4, 4], 3),
    ],
)
def test_find_conflict(impl: ModuleType, first: int, terms: list[int], conflict: int) -> None:
    """The first entry that the log does not have with this term; 0 when it has them all."""
    records = b"".join([entry.encode() for entry in entries_of(impl, first, terms)])
    assert log_of(impl, [1, 2, 3]).py_find_conflict(records) == conflict


@pytest.mark.parametrize(
    ("base", "terms", "index", "term", "found"),
    [
        *[((0, 0), [2, 2, 5, 5, 5], *case) for case in [(100, 2, 100), (5, 6, 5), (5, 5, 5), (5, 4, 2), (5, 2, 2)]],
        *[((0, 0), [2, 2, 5, 5, 5], *case) for case in [(5, 1, 0), (1, 2, 1), (1, 1, 0), (0, 0, 0)]],
        # Compacted up to 10, which was of term 3.
        *[((10, 3), [3, 3, 4, 4, 4], *case) for case in [(30, 3, 30), (14, 9, 14), (14, 4, 14), (14, 3, 12)]],
        *[((10, 3), [3, 3, 4, 4, 4], *case) for case in [(14, 2, 9), (11, 5, 11), (10, 5, 10), (10, 3, 10)]],
        *[((10, 3), [3, 3, 4, 4, 4], *case) for case in [(10, 2, 9), (9, 2, 9), (4, 2, 4), (0, 0, 0)]],
    ],
)
def test_find_conflict_by_term(
    impl: ModuleType, base: tuple[int, int], terms: list[int], index: int, term: int, found: int
) -> None:
    """The last entry, up to an index, of a term that is not above; with its own term, 0 where that is unknown."""
    log = log_of(impl, terms, base[0] + 1, base[1])
    assert log.py_find_conflict_by_term(index, term) == (found, log.py_term(found))


@pytest.mark.parametrize(
    ("index", "term", "granted"),
    [
        # A later term, whatever the length.
        *[(2, 4, True), (3, 4, True), (4, 4, True)],
        # An earlier one.
        *[(2, 2, False), (3, 2, False), (4, 2, False)],
        # The same: the longer log.
        *[(2, 3, False), (3, 3, True), (4, 3, True)],
    ],
)
def test_is_up_to_date(impl: ModuleType, index: int, term: int, granted: bool) -> None:
    """Which logs are at least as new as ours shows in who gets our vote."""
    member = Member(impl, terms=[1, 2, 3])
    (answer,) = member.step(MSG_VOTE, 2, term=9, index=index, log_term=term)
    assert answer.reject is not granted


# --- appending ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "terms", "log", "stable"),
    [
        (3, [], [1, 2], 2),
        (3, [2], [1, 2, 2], 2),
        (1, [2], [2], 0),
        (2, [3, 3], [1, 3, 3], 1),
    ],
)
def test_append(impl: ModuleType, first: int, terms: list[int], log: list[int], stable: int) -> None:
    """New entries replace what stands there, and what was replaced is not durable any more."""
    node = node_of(impl, log_of(impl, [1, 2]), (2, 0, 0))
    append(impl, node, first, terms)
    assert list(memoryview(node.core.log.terms())) == log
    assert (node.core.log.last, node.core.stable) == (len(log), stable)


@pytest.mark.parametrize(
    ("prev", "commit", "terms", "last", "committed", "stable"),
    [
        # Nothing of that term, or nothing at all, stands before it.
        ((3, 2), 3, [4], None, 1, 3),
        ((4, 3), 3, [4], None, 1, 3),
        # It follows the last entry. The commit index goes up to what the append vouches for, and never back.
        ((3, 3), 3, [], 3, 3, 3),
        ((3, 3), 4, [], 3, 3, 3),
        ((3, 3), 2, [], 3, 2, 3),
        ((3, 3), 0, [], 3, 1, 3),
        ((3, 3), 3, [4], 4, 3, 3),
        ((3, 3), 4, [4], 4, 4, 3),
        ((3, 3), 5, [4], 4, 4, 3),
        ((3, 3), 5, [4, 4], 5, 5, 3),
        # It follows one in the middle: what conflicts is replaced, and not durable any more.
        ((2, 2), 3, [4], 3, 3, 2),
        ((1, 1), 3, [4], 2, 2, 1),
        ((1, 1), 3, [4, 4], 3, 3, 1),
        ((1, 1), 5, [2, 4, 4], 4, 4, 2),
        # Nothing new: the log behind it stays, and is not vouched for.
        ((1, 1), 3, [2], 2, 2, 3),
        # Before what is committed: nothing is looked at, and the answer is the commit index. etcd and raft-rs look at
        # these one layer lower, where an entry that conflicts with a committed one is a panic; it cannot come there.
        ((0, 0), 3, [], 1, 1, 3),
        ((0, 0), 3, [4], 1, 1, 3),
    ],
)
def test_log_maybe_append(
    impl: ModuleType,
    prev: tuple[int, int],
    commit: int,
    terms: list[int],
    last: int | None,
    committed: int,
    stable: int,
) -> None:
    """An append is taken when the entry before it is in the log, and what the log has of it stays."""
    node = node_of(impl, log_of(impl, [1, 2, 3]), (3, 0, 1))
    append(impl, node, prev[0] + 1, terms, prev=prev[1], commit=commit)
    (answer,) = node.core.after_append.messages()
    assert (answer.kind, answer.reject) == (MSG_APP_RESP, last is None)
    if last is not None:
        assert answer.index == last
        if prev[0] >= 1:
            assert [entry.term for entry in node.core.log.entries(prev[0] + 1, last)] == terms
    assert (node.core.committed, node.core.stable) == (committed, stable)


@pytest.mark.once
def test_log_maybe_append_does_not_touch_what_is_committed() -> None:
    """The last line of defence, which no message comes to."""
    core = marks_of([1, 2, 3], committed=1)
    m = PURE.Message(MSG_APP, index=0, entries=entries_of(PURE, 1, [4]))
    with pytest.raises(PURE.Corruption, match="committed"):
        core.replace_tail(m, 1)
    assert list(memoryview(core.log.terms())) == [1, 2, 3]


@pytest.mark.parametrize(("commit", "committed"), [(3, 3), (1, 2), (4, None)])
def test_commit_to(impl: ModuleType, commit: int, committed: int | None) -> None:
    """The commit index never goes back, and beyond the log is damage: an acknowledged entry is gone."""
    node = node_of(impl, log_of(impl, [1, 2, 3]), (3, 0, 2))
    m = impl.Message(MSG_HEARTBEAT, to=1, sender=2, term=3, commit=commit)
    if committed is None:
        with pytest.raises(impl.Corruption):
            node.step(m)
        assert node.core.committed == 2
    else:
        node.step(m)
        assert node.core.committed == committed


# --- what is handed to the state machine ----------------------------------------------------------

NEXT = [
    # (applied, applying, also what is not durable here, paused, a snapshot is restored; the entries)
    (3, 3, True, False, False, [4, 5]),
    (3, 4, True, False, False, [5]),
    (3, 5, True, False, False, []),
    (4, 4, True, False, False, [5]),
    (4, 5, True, False, False, []),
    (5, 5, True, False, False, []),
    (3, 3, False, False, False, [4]),
    (3, 4, False, False, False, []),
    (3, 5, False, False, False, []),
    (4, 4, False, False, False, []),
    (4, 5, False, False, False, []),
    (5, 5, False, False, False, []),
    (3, 3, True, True, False, []),
    (3, 3, True, False, True, []),
]


def applying_core(**marks: int) -> Any:
    """Entries 4, 5 and 6 behind a snapshot at 3; 4 is durable here, 5 is committed."""
    return marks_of([1, 1, 1], 4, 1, stable=4, writing=6, committed=5, **marks)


@pytest.mark.once
@pytest.mark.parametrize(("applied", "applying", "unstable", "paused", "restored", "found"), NEXT)
def test_has_next_committed_ents(
    applied: int, applying: int, unstable: bool, paused: bool, restored: bool, found: list[int]
) -> None:
    """Whether anything is to be handed to the state machine."""
    core = applying_core()
    core.apply_done(applied, 0, 0)
    core.accept_applying(applying)
    core.apply_paused = paused
    core.pending_snapshot = 4 if restored else 0
    assert (core.apply_limit(unstable) > core.applying) is bool(found)


@pytest.mark.once
@pytest.mark.parametrize(("applied", "applying", "unstable", "paused", "restored", "found"), NEXT)
def test_next_committed_ents(
    applied: int, applying: int, unstable: bool, paused: bool, restored: bool, found: list[int]
) -> None:
    """What is committed and not handed over yet; with asynchronous writes only what is durable here."""
    core = applying_core()
    core.apply_done(applied, 0, 0)
    core.accept_applying(applying)
    core.apply_paused = paused
    core.pending_snapshot = 4 if restored else 0
    assert [entry.index for entry in core.log.entries(core.applying + 1, core.apply_limit(unstable))] == found


@pytest.mark.parametrize(("slow", "found"), [(True, [[4], [5]]), (False, [[4, 5], []])])
def test_next_committed_ents_in_readys(impl: ModuleType, slow: bool, found: list[list[int]]) -> None:
    """The same as it shows in both modes: without asynchronous writes a Ready may hold both entry and apply."""
    node = node_of(impl, log_of(impl, [1], 4, 1), (1, 0, 3), slow=slow)
    append(impl, node, 5, [1, 1], term=1, commit=5)
    seen = []
    for _ in range(2):
        assert node.has_ready()
        ready = node.ready()
        seen.append([entry.index for entry in ready.committed_entries])
        if slow:
            written(impl, node, 6, 1)
        else:
            node.advance()
            if not node.has_ready():
                seen.append([])
                break
    assert seen == found


@pytest.mark.parametrize(
    ("applied", "persisted", "committed", "found"),
    [
        (0, 3, 3, []),
        (0, 3, 4, []),
        (0, 4, 6, [4]),
        (0, 6, 4, [4]),
        (0, 5, 5, [4, 5]),
        (0, 5, 7, [4, 5]),
        (0, 7, 5, [4, 5]),
        (3, 4, 3, []),
        (3, 5, 5, [4, 5]),
        (3, 6, 7, [4, 5, 6]),
        (3, 7, 6, [4, 5, 6]),
        (4, 5, 5, [5]),
        (4, 5, 7, [5]),
        (4, 7, 5, [5]),
        (4, 7, 7, [5, 6, 7]),
        (5, 5, 5, []),
        (5, 7, 7, [6, 7]),
        (7, 7, 7, []),
    ],
)
def test_has_next_ents_and_next_ents(
    impl: ModuleType, applied: int, persisted: int, committed: int, found: list[int]
) -> None:
    """Only what is both committed and durable here is applied: raft-rs's table, with asynchronous writes."""
    node = node_of(impl, log_of(impl, [], 4, 1), (1, 0, 3))
    append(impl, node, 4, [1, 1, 1, 1], term=1, commit=committed)
    written(impl, node, persisted, 1)
    done(impl, node, applied)
    assert (node.core.stable, node.core.committed, node.core.applied) == (persisted, committed, max(applied, 3))
    assert [entry.index for entry in node.ready().committed_entries] == found


@pytest.mark.once
@pytest.mark.parametrize(
    ("index", "unstable", "over", "paused"),
    [
        # 5 is committed: handing over less pauses, and so does a full budget.
        *[(index, True, over, True) for index in (3, 4) for over in (-1, 0, 1)],
        *[(5, True, -1, False), (5, True, 0, True), (5, True, 1, True)],
        # Only 4 is durable here.
        *[(3, False, over, True) for over in (-1, 0, 1)],
        *[(index, False, over, over >= 0) for index in (4, 5) for over in (-1, 0, 1)],
    ],
)
def test_accept_applying(index: int, unstable: bool, over: int, paused: bool) -> None:
    """Handing over pauses while its budget is used up, and when not everything fitted."""
    core = applying_core(max_apply_bytes=100)
    core.accept_applying(index)
    core.count_applying(100 + over, unstable)
    assert core.apply_paused is paused


@pytest.mark.once
@pytest.mark.parametrize(
    ("index", "size", "left", "paused"),
    [
        (4, 4, 101, True),
        (4, 5, 100, True),
        (4, 6, 99, False),
        (5, 4, 101, True),
        (5, 5, 100, True),
        (5, 6, 99, False),
        (4, 105, 0, False),
        # More than was handed over: nothing goes below zero.
        (4, 106, 0, False),
    ],
)
def test_applied_to(index: int, size: int, left: int, paused: bool) -> None:
    """What is applied leaves the budget, and handing over goes on as soon as there is room."""
    core = applying_core(max_apply_bytes=100)
    core.accept_applying(5)
    core.count_applying(105, False)
    core.apply_done(index, size, 0)
    assert (core.applied, core.applying) == (index, 5)
    assert (core.applying_bytes, core.apply_paused) == (left, paused)


# --- what is handed to the storage ----------------------------------------------------------------


@pytest.mark.parametrize(("stored", "found"), [(2, []), (0, [(1, 1), (2, 2)])])
def test_next_unstable_ents(impl: ModuleType, stored: int, found: list[tuple[int, int]]) -> None:
    """What is not durable here is handed to the storage, and is durable when that says so (UnstableEnts)."""
    node = node_of(impl, log_of(impl, [1, 2][:stored]), (2, 0, 0))
    append(impl, node, stored + 1, [1, 2][stored:])
    ready = node.ready()
    assert [(entry.index, entry.term) for entry in ready.entries] == found
    written(impl, node, 2, 2)
    assert node.core.stable == 2


def test_unstable_ents(impl: ModuleType) -> None:
    """raft-rs's name for the same: entries that the storage had are not handed to it again."""
    node = node_of(impl, log_of(impl, [1]), (2, 0, 0))
    append(impl, node, 2, [2])
    assert [entry.index for entry in node.ready().entries] == [2]
    assert not node.has_ready()


@pytest.mark.parametrize(("index", "term", "stable"), [(1, 1, 1), (2, 2, 2), (2, 1, 0), (3, 1, 0)])
def test_stable_to(impl: ModuleType, index: int, term: int, stable: int) -> None:
    """An answer about an entry that is not in the log, or has another term there, makes nothing durable."""
    node = node_of(impl, log_of(impl, []))
    append(impl, node, 1, [1, 2])
    written(impl, node, index, term)
    assert node.core.stable == stable


BEHIND_A_SNAPSHOT = [
    *[(index, term, [], 5) for term in (2, 3) for index in (6, 5, 4)],
    *[(6, 2, [2], 6), (5, 2, [2], 5), (4, 2, [2], 5)],
    *[(index, 3, [2], 5) for index in (6, 5, 4)],
]


@pytest.mark.parametrize(("index", "term", "terms", "stable"), BEHIND_A_SNAPSHOT)
def test_stable_to_with_snap(impl: ModuleType, index: int, term: int, terms: list[int], stable: int) -> None:
    """Behind a snapshot at 5 of term 2 the same holds, and the snapshot stays durable."""
    node = node_of(impl, log_of(impl, [], 6, 2), (2, 0, 5))
    append(impl, node, 6, terms)
    written(impl, node, index, term)
    assert node.core.stable == stable


@pytest.mark.parametrize(("index", "term", "terms", "stable"), BEHIND_A_SNAPSHOT)
def test_maybe_persist_with_snap(impl: ModuleType, index: int, term: int, terms: list[int], stable: int) -> None:
    """raft-rs: entries that were handed over count by their own index and term, ...

    ... and nothing counts that is said of an earlier term's writes while a snapshot is not durable.
    """
    node = node_of(impl, log_of(impl, [], 6, 2), (2, 0, 5))
    append(impl, node, 6, terms)
    node.ready()
    written(impl, node, index, term)
    assert node.core.stable == stable
    snapshot(impl, node, 100, 9, term=10)
    append(impl, node, 101, [10, 10], term=10)
    late = impl.Message(MSG_STORAGE_APPEND_RESP, to=1, sender=LOCAL_APPEND_THREAD, term=9, index=102, log_term=10)
    node.step(late)
    assert (node.core.stable, node.core.pending_snapshot, node.core.log.last) == (100, 100, 102)


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("index", "term"), [(99, 0), (100, 1), (150, 50), (199, 99), (200, 0)])
def test_term(impl: ModuleType, index: int, term: int) -> None:
    """Terms are known from the snapshot's entry to the last; elsewhere it is 0."""
    assert log_of(impl, list(range(1, 100)), 101, 1).py_term(index) == term


@pytest.mark.parametrize(("index", "term"), [(100, 0), (101, 0), (104, 0), (105, 1), (106, 0)])
def test_term_with_unstable_snapshot(impl: ModuleType, index: int, term: int) -> None:
    """A restored snapshot is where the log begins, although it is not durable yet."""
    node = node_of(impl, log_of(impl, [], 101, 1), (1, 0, 100))
    snapshot(impl, node, 105, 1, term=1)
    assert node.core.pending_snapshot == 105
    assert node.core.log.py_term(index) == term


def two_runs(impl: ModuleType, offset: int = 100, count: int = 100) -> Any:
    """Entries offset + 1 .. offset + count - 1, in two blocks that meet in the middle; each term is the index."""
    half = offset + count // 2
    log = log_of(impl, list(range(offset + 1, half + 1)), offset + 1)
    # What is appended after a truncation stands in another block.
    log.py_truncate(half - 1)
    for term in range(half, offset + count):
        log.py_append(term, b"")
    assert len(log.view(half - 1, half)) == 2
    return log


ALL, NONE = 2**40, 0


@pytest.mark.parametrize(
    ("low", "high", "limit", "last"),
    [
        (101, 148, ALL, 148),
        (101, 149, ALL, 149),
        (101, 150, ALL, 150),
        (101, 199, ALL, 199),
        (149, 149, ALL, 149),
        (149, 150, ALL, 150),
        (149, 199, ALL, 199),
        (150, 150, ALL, 150),
        (150, 199, ALL, 199),
        (199, 199, ALL, 199),
        # One entry whatever the limit.
        *[
            (low, high, limit, low)
            for low, high in ((101, 199), (149, 150), (150, 199))
            for limit in (NONE, RECORD - 1)
        ],
        *[
            (low, high, limit, low)
            for low, high in ((101, 199), (149, 150), (150, 199))
            for limit in (RECORD, RECORD + 1)
        ],
        (151, 199, NONE, 151),
        # Two, not quite three, and three.
        (101, 199, 2 * RECORD, 102),
        (148, 150, 2 * RECORD, 149),
        (149, 150, 2 * RECORD, 150),
        (150, 199, 2 * RECORD, 151),
        (148, 150, 3 * RECORD - 1, 149),
        (149, 151, 3 * RECORD, 151),
    ],
)
def test_slice(impl: ModuleType, low: int, high: int, limit: int, last: int) -> None:
    """A part of the log, over the edge of its blocks, up to a size in bytes."""
    log = two_runs(impl)
    assert log.py_limit(low, high, limit) == last
    found = log.entries(low, last)
    assert [(entry.index, entry.term) for entry in found] == [(index, index) for index in range(low, last + 1)]
    assert len(found) == 1 or len(log.records(low, last)) <= limit


@pytest.mark.parametrize(("low", "high"), [(99, 100), (100, 100), (199, 200), (200, 200)])
def test_slice_is_within_the_log(impl: ModuleType, low: int, high: int) -> None:
    """What is compacted, and what does not exist yet, is refused; a part of nothing is empty."""
    log = two_runs(impl)
    with pytest.raises(IndexError):
        log.entries(low, high)
    assert log.entries(150, 148) == log.entries(101, 100) == []


def test_scan(impl: ModuleType) -> None:
    """Page by page the log is the same as at once, and every page is as full as it may be."""
    log = two_runs(impl, 47, 20)
    first, last = 48, 66
    for size in (0, 1, 10, 100, RECORD, RECORD + 1):
        for low in range(first, last + 1):
            for high in range(low, last + 1):
                pages, at = [], low
                while at <= high:
                    end = log.py_limit(at, high, size)
                    pages.append(log.entries(at, end))
                    assert len(pages[-1]) == 1 or len(log.records(at, end)) <= size
                    at = end + 1
                assert [entry for page in pages for entry in page] == log.entries(low, high)
    assert [log.py_limit(low, first + 9, 2 * RECORD) for low in range(first, first + 10, 2)] == list(
        range(first + 1, first + 11, 2)
    )


@pytest.mark.parametrize(
    ("low", "high", "refused"),
    [
        (99, 101, True),
        (100, 101, True),
        (101, 100, False),
        (151, 150, False),
        (200, 199, False),
        (201, 200, False),
        (201, 201, True),
        (200, 201, True),
    ],
)
def test_is_out_of_bounds(impl: ModuleType, low: int, high: int, refused: bool) -> None:
    """is_outofbounds: a range must lie in the log; an empty one asks for nothing. Both ends are included here.

    etcd tells what is compacted from what does not exist; in raftx who asks has looked at ``first`` before.
    """
    log = log_of(impl, list(range(101, 201)), 101)
    if refused:
        with pytest.raises(IndexError):
            log.entries(low, high)
    else:
        assert log.entries(low, high) == []
    assert len(log.entries(101, 200)) == 100


# --- compaction and snapshots ---------------------------------------------------------------------


def compactable(impl: ModuleType, count: int) -> Any:
    """A node with ``count`` entries, all applied, and a snapshot of all."""
    node = node_of(impl, log_of(impl, [1] * count), (1, 0, count))
    done(impl, node, count)
    node.set_snapshot(impl.Snapshot(count, 1, impl.ConfState((1, 2, 3)), b""))
    return node


@pytest.mark.parametrize(
    ("indexes", "left"),
    [([1001], [None]), ([300, 500, 800, 900], [700, 500, 200, 100]), ([300, 299], [700, 700])],
)
def test_compaction(impl: ModuleType, indexes: list[int], left: list[int | None]) -> None:
    """What is dropped is gone. Beyond the log is refused; below its beginning there is nothing to do.

    The latter is an error in etcd, and none in raft-rs.
    """
    node = compactable(impl, 1000)
    for index, count in zip(indexes, left):
        if count is None:
            with pytest.raises(impl.UsageError):
                node.compact(index)
            assert len(node.core.log) == 1000
        else:
            node.compact(index)
            assert len(node.core.log) == count
            assert node.core.log.entries(1001 - count, 1001 - count)[0].index == 1001 - count


def test_compaction_side_effects(impl: ModuleType) -> None:
    """After a compaction all else is as before: terms, what the storage is still to get, appends."""
    node = node_of(impl, log_of(impl, list(range(1, 751))), (750, 0, 0))
    append(impl, node, 751, list(range(751, 1001)), term=1000, commit=1000)
    done(impl, node, 750)
    node.set_snapshot(impl.Snapshot(500, 500, impl.ConfState((1, 2, 3)), b""))
    node.compact(500)
    log = node.core.log
    assert (log.first, log.last, node.core.committed) == (501, 1000, 1000)
    assert [log.py_term(index) for index in range(499, 1002)] == [0, *range(500, 1001), 0]
    unstable = node.ready().entries
    assert (len(unstable), unstable[0].index) == (250, 751)
    append(impl, node, 1001, [1000], term=1000)
    assert log.last == 1001
    assert [entry.index for entry in log.entries(1001, 1001)] == [1001]


def test_log_restore(impl: ModuleType) -> None:
    """A log that begins behind a snapshot is empty, and all up to there is committed and durable."""
    node = node_of(impl, log_of(impl, [], 1001, 1000), (1000, 0, 0))
    core = node.core
    assert (len(core.log), core.log.first, core.log.last) == (0, 1001, 1000)
    assert (core.committed, core.stable, core.applied) == (1000, 1000, 1000)
    assert core.log.py_term(1000) == 1000


def test_restore_snap(impl: ModuleType) -> None:
    """A snapshot takes the place of the log; until it is durable nothing is applied, and an older one is ignored.

    raft-rs keeps how far the storage was before, and panics at an older snapshot.
    """
    node = node_of(impl, log_of(impl, [], 101, 1), (5, 0, 100))
    core = node.core
    assert (core.committed, core.stable) == (100, 100)
    snapshot(impl, node, 200, 1, term=5)
    assert (core.committed, core.log.last, core.applied, core.pending_snapshot) == (200, 200, 100, 200)
    append(impl, node, 201, [1] * 9, term=5, commit=204)
    assert node.core.committed == 204
    ready = node.ready()
    assert (ready.snapshot.index, len(ready.entries), ready.committed_entries) == (200, 9, [])
    answer = next(m for m in ready.messages if m.to == LOCAL_APPEND_THREAD).responses[-1]
    node.step(answer)
    assert (core.stable, core.applied, core.pending_snapshot) == (209, 200, 0)
    # The log ends in another term there: it is gone.
    snapshot(impl, node, 205, 2, term=5)
    assert (core.committed, core.log.first, core.log.last, core.pending_snapshot) == (205, 206, 205, 205)
    snapshot(impl, node, 204, 1, term=5)
    assert (core.committed, core.log.last, core.pending_snapshot) == (205, 205, 205)
