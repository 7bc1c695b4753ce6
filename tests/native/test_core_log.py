"""The entry log, entries and views, in both implementations."""

from __future__ import annotations

import gc
import random
import struct
import zlib
from typing import Any

import pytest

BLOCK = 4096


def filled(core: Any, terms: list[int], *, first: int = 1, size: int = 8) -> Any:
    """A log with one entry of ``size`` data bytes for each of ``terms``."""
    log = core.EntryLog(first=first, block_bytes=BLOCK)
    for number, term in enumerate(terms):
        log.py_append(term, bytes([number % 256]) * size)
    return log


def records(core: Any, first: int, terms: list[int], data: bytes = b"x") -> bytes:
    """Entry records from index ``first`` on."""
    return b"".join(core.Entry(first + i, term, data).encode() for i, term in enumerate(terms))


def test_entry_layout(core: Any) -> None:
    record = core.Entry(7, 3, b"abc", 2).encode()
    rest = struct.pack("<IQQB7x", 3, 7, 3, 2) + b"abc"
    assert record == struct.pack("<I", zlib.crc32(rest)) + rest


def test_entry_is_a_value(core: Any) -> None:
    entry = core.Entry(7, 3, b"abc", kind=2)
    assert (entry.index, entry.term, entry.data, entry.kind) == (7, 3, b"abc", 2)
    assert entry == core.Entry(7, 3, b"abc", 2)
    assert entry != core.Entry(7, 3, b"abc")
    assert entry != 7
    assert len({entry, core.Entry(7, 3, b"abc", 2)}) == 1
    assert repr(entry) == "Entry(index=7, term=3, kind=2, data=<3 bytes>)"
    for name in ("index", "term", "kind", "data", "other"):
        with pytest.raises(AttributeError):
            setattr(entry, name, 1)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((-1, 1, b""), OverflowError),
        ((1, 2**64, b""), OverflowError),
        ((1, 1, b"", 256), OverflowError),
        ((1, 1, b"", -1), OverflowError),
        (("1", 1, b""), TypeError),
        ((1, None, b""), TypeError),
        ((1, 1, "text"), TypeError),
        ((1, 1, None), TypeError),
    ],
)
def test_entry_refuses_bad_arguments(core: Any, arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        core.Entry(*arguments)


def test_decode_all(core: Any) -> None:
    entries = [core.Entry(1, 1, b""), core.Entry(2, 1, b"x" * 100, 1), core.Entry(3, 2**64 - 1, b"y")]
    body = b"".join(entry.encode() for entry in entries)
    assert core.Entry.decode_all(body) == entries
    assert core.Entry.decode_all(memoryview(body)) == entries
    assert core.Entry.decode_all(b"") == []


def test_data_of_one_record(core: Any) -> None:
    """A view of what is in it; what is not one whole record is refused."""
    for data in (b"", b"x", bytes(range(256)) * 20):
        record = core.Entry(7, 3, data, 1).encode()
        found = core.Entry.data_of(memoryview(record))
        assert found == data
        assert found.obj is record
        for wrong in (record + record, record[:-1], record + b"x", b"", bytes([record[0] ^ 1]) + record[1:]):
            with pytest.raises(core.FrameError):
                core.Entry.data_of(wrong)


def test_data_of_a_record_that_is_not_checked(core: Any) -> None:
    """Its crc is not looked at; its length is."""
    record = core.Entry(7, 3, bytes(range(256)) * 20, 1).encode()
    for at in (0, 3, 40, len(record) - 1):
        flipped = bytearray(record)
        flipped[at] ^= 1
        assert core.Entry.data_of(bytes(flipped), checked=False) == flipped[32:]
    for wrong in (record + record, record[:-1], record + b"x", b"", record[:31]):
        with pytest.raises(core.FrameError):
            core.Entry.data_of(wrong, checked=False)


@pytest.mark.parametrize("size", [*range(40), 223, 224, 255, 256, 257, 383, 384, 4095, 131080, 131081])
def test_a_record_that_is_made_of_bytes(core: Any, size: int) -> None:
    """It is that of an entry without kind, index and term."""
    data = random.Random(size).randbytes(size)
    spans = core.Spans()
    spans.py_push_record(data)
    spans.py_push_record(memoryview(bytearray(data)))
    record = core.Entry(0, 0, data).encode()
    assert [bytes(piece) for piece in spans.pieces()] == [record, record]
    assert len(spans) == 2 and spans.size == 2 * len(record)
    for wrong in ("text", 1, None):
        with pytest.raises((TypeError, BufferError)):
            spans.py_push_record(wrong)


def test_what_a_log_says_of_records(core: Any) -> None:
    """The crc over their own, and how many sectors hold zeros only, wherever one piece ends and the next begins."""
    rng = random.Random(3)
    for _ in range(200):
        bodies = [
            core.Entry(1, 1, rng.choice((bytes, rng.randbytes))(rng.choice((0, 1, 9, 600, 1500)))).encode()
            for _ in range(rng.randrange(1, 9))
        ]
        spans = core.Spans()
        cut = rng.randrange(len(bodies) + 1)
        for piece in (b"".join(bodies[:cut]), b"".join(bodies[cut:])):
            spans.py_push(piece)
        assert spans.py_records_crc() == zlib.crc32(b"".join([body[:4] for body in bodies]))
        for before in (0, 96, 511, 512, 700):
            whole = b"x" * before + b"".join(bodies)
            parts = [whole[at : at + 512] for at in range(before // 512 * 512, len(whole), 512)]
            assert spans.py_zero_parts(before, 512) == sum(not any(part) for part in parts), (before, cut)
    assert core.Spans().py_records_crc() == core.Spans().py_zero_parts(96, 512) == 0
    with pytest.raises(ValueError, match="size"):
        core.Spans().py_zero_parts(0, 0)


def test_decode_all_refuses_every_flip_and_cut(core: Any) -> None:
    body = records(core, 1, [1, 1], b"data")
    for at in range(len(body)):
        damaged = bytearray(body)
        damaged[at] ^= 0x41
        with pytest.raises(core.FrameError):
            core.Entry.decode_all(damaged)
        if at not in (0, len(body) // 2):
            with pytest.raises(core.FrameError):
                core.Entry.decode_all(body[:at])


def test_new_log_is_empty(core: Any) -> None:
    log = core.EntryLog()
    assert (log.first, log.last, log.base_term, log.block_bytes, len(log)) == (1, 0, 0, 1 << 20, 0)
    assert [log.py_term(i) for i in (0, 1, 2**64 - 1)] == [0, 0, 0]
    assert log.entries(1, 0) == []
    assert log.records(1, 0) == b""
    assert memoryview(log.terms()).nbytes == memoryview(log.sizes()).nbytes == 0


@pytest.mark.parametrize("arguments", [(0,), (2**63,), (1, 0, 4095), (1, 0, 2**30 + 1)])
def test_log_refuses_bad_arguments(core: Any, arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):
        core.EntryLog(*arguments)
    with pytest.raises(OverflowError):
        core.EntryLog(-1)
    with pytest.raises(TypeError):
        core.EntryLog("1")


def test_append(core: Any) -> None:
    log = core.EntryLog(first=11, base_term=4, block_bytes=BLOCK)
    assert log.py_term(10) == 4
    assert log.py_append(5, b"a") == 11
    assert log.py_append(5, b"", 1) == 12
    assert log.py_append(6, b"c" * 10_000, kind=2) == 13
    assert (log.first, log.last, len(log)) == (11, 13, 3)
    assert [log.py_term(i) for i in range(9, 15)] == [0, 4, 5, 5, 6, 0]
    expected = [core.Entry(11, 5, b"a"), core.Entry(12, 5, b"", 1), core.Entry(13, 6, b"c" * 10_000, 2)]
    assert log.entries(11, 13) == expected
    assert log.entries(12, 12) == expected[1:2]
    assert log.records(11, 13) == b"".join(entry.encode() for entry in expected)
    for bad in ((-1, b""), (2**64, b""), (1, b"", 2**31)):
        with pytest.raises(OverflowError):
            log.py_append(*bad)
    for wrong in (("1", b""), (1, "text"), (1, None)):
        with pytest.raises(TypeError):
            log.py_append(*wrong)
    assert log.last == 13


@pytest.mark.parametrize(("low", "high"), [(0, 2), (1, 4), (4, 4), (5, 9)])
def test_ranges_outside_of_the_log(core: Any, low: int, high: int) -> None:
    log = filled(core, [1, 1, 1])
    for method in (log.entries, log.records, log.view):
        with pytest.raises(IndexError):
            method(low, high)
        with pytest.raises(OverflowError):
            method(-1, high)
    with pytest.raises(IndexError):
        log.py_limit(low, high, 10)


def test_extend_appends_and_replaces(core: Any) -> None:
    log = filled(core, [1, 1, 1])
    assert log.py_extend(records(core, 4, [2, 2])) == 5
    assert log.py_extend([core.Entry(3, 3, b"new"), core.Entry(4, 3, b"er")]) == 4
    assert list(memoryview(log.terms())) == [1, 1, 3, 3]
    assert [entry.data for entry in log.entries(3, 4)] == [b"new", b"er"]
    assert log.py_extend(records(core, 1, [9])) == 1
    assert list(memoryview(log.terms())) == [9]


def test_extend_refuses_what_does_not_fit(core: Any) -> None:
    log = filled(core, [1, 1, 1, 1])
    log.py_compact(2)
    for first in (1, 2, 6):
        with pytest.raises(core.Corruption):
            log.py_extend(records(core, first, [5]))
    with pytest.raises(core.Corruption):
        log.py_extend([])
    with pytest.raises(core.FrameError):
        log.py_extend(records(core, 5, [5])[:-1])
    assert (log.first, log.last) == (3, 4)
    with pytest.raises(core.Corruption):
        log.py_extend(records(core, 5, [5]) + records(core, 7, [5]))


def test_extend_is_all_or_nothing(core: Any) -> None:
    good = records(core, 3, [5, 5])
    broken = [
        good + records(core, 6, [5]),  # a gap
        good + records(core, 4, [5]),
        good + records(core, 2, [5]),
    ]
    for body in broken:
        log = filled(core, [1, 1, 1, 1])
        seen = log.records(1, 4)
        with pytest.raises(core.Corruption, match="entry after 4 is missing or broken"):
            log.py_extend(body)
        assert (log.first, log.last, log.records(1, 4)) == (1, 4, seen)
        assert len(log.view(1, 4)) == 1
    log = filled(core, [1, 1])
    with pytest.raises(core.Corruption):
        log.py_extend(broken[0])
    assert (log.last, len(log)) == (2, 2)
    assert log.py_extend(good) == 4


def test_proposals_are_all_or_nothing(core: Any) -> None:
    log = filled(core, [1, 1])
    if not hasattr(log, "append_proposals"):
        pytest.skip("only the interpreted class shows this method to Python")
    body = records(core, 0, [0], b"a") + records(core, 0, [0], b"b")
    with pytest.raises(core.FrameError):
        log.append_proposals(2, body[:-1], len(body) - 1)
    assert (log.last, len(log)) == (2, 2)
    assert log.append_proposals(2, body, len(body)) == 4
    assert [entry.data for entry in log.entries(3, 4)] == [b"a", b"b"]


def test_truncate(core: Any) -> None:
    log = filled(core, [1, 1, 2, 2, 3])
    log.py_truncate(5)
    assert log.last == 5
    log.py_truncate(3)
    assert (log.last, len(log), log.py_term(4)) == (3, 3, 0)
    assert log.py_append(4, b"again") == 4
    assert list(memoryview(log.terms())) == [1, 1, 2, 4]
    log.py_truncate(0)
    assert (log.first, log.last, len(log)) == (1, 0, 0)
    assert log.py_append(7, b"z") == 1
    assert log.entries(1, 1) == [core.Entry(1, 7, b"z")]


def test_truncate_refuses_what_is_outside(core: Any) -> None:
    log = filled(core, [1, 1, 2, 2, 3])
    log.py_compact(2)
    for last in (6, 1, 0):
        with pytest.raises(core.Corruption):
            log.py_truncate(last)
    log.py_truncate(2)
    assert (log.first, log.last, log.py_term(2)) == (3, 2, 1)


def test_append_after_truncate_begins_a_new_run(core: Any) -> None:
    log = filled(core, [1, 1, 1])
    assert len(log.view(1, 3)) == 1
    log.py_truncate(2)
    log.py_append(2, b"new")
    log.py_append(2, b"newer")
    pieces = [bytes(piece) for piece in log.view(1, 4)]
    assert pieces == [log.records(1, 2), log.records(3, 4)]


def test_compact(core: Any) -> None:
    log = filled(core, [1, 1, 2, 2, 3], size=2000)
    log.py_compact(0)
    assert log.first == 1
    log.py_compact(3)
    assert (log.first, log.last, log.base_term, len(log)) == (4, 5, 2, 2)
    assert [log.py_term(i) for i in range(2, 7)] == [0, 2, 2, 3, 0]
    log.py_compact(2)
    assert log.first == 4
    log.py_compact(5)
    assert (log.first, log.last, log.base_term, len(log)) == (6, 5, 3, 0)
    with pytest.raises(core.Corruption):
        log.py_compact(6)
    assert log.py_append(3, b"next") == 6
    assert log.entries(6, 6) == [core.Entry(6, 3, b"next")]


def test_restore(core: Any) -> None:
    log = filled(core, [1, 1, 2])
    log.py_restore(100, 7)
    assert (log.first, log.last, log.base_term, len(log)) == (101, 100, 7, 0)
    assert [log.py_term(i) for i in (3, 99, 100, 101)] == [0, 0, 7, 0]
    assert log.py_append(8, b"x") == 101
    assert log.entries(101, 101) == [core.Entry(101, 8, b"x")]


def test_restore_refuses_what_would_wrap(core: Any) -> None:
    log = filled(core, [1, 1, 2])
    for index in (2**63, 2**64 - 1):
        with pytest.raises(ValueError):
            log.py_restore(index, 7)
    for arguments in ((2**64, 1), (-1, 1), (1, 2**64), (1, -1)):
        with pytest.raises(OverflowError):
            log.py_restore(*arguments)
    assert (log.first, log.last, len(log)) == (1, 3, 3)
    log.py_restore(2**63 - 1, 7)
    assert (log.first, log.last, log.py_term(2**63 - 1)) == (2**63, 2**63 - 1, 7)


def test_many_blocks(core: Any) -> None:
    log = core.EntryLog(block_bytes=BLOCK)
    entries = [core.Entry(i, 1 + i // 100, bytes([i % 251]) * (i % 700)) for i in range(1, 601)]
    for entry in entries:
        log.py_append(entry.term, entry.data)
    for low, high in ((1, 600), (1, 1), (13, 14), (250, 599)):
        assert log.entries(low, high) == entries[low - 1 : high]
        assert b"".join(map(bytes, log.view(low, high))) == log.records(low, high)
        assert core.Entry.decode_all(log.records(low, high)) == entries[low - 1 : high]
    log.py_compact(333)
    assert log.entries(334, 600) == entries[333:]


def test_find_conflict(core: Any) -> None:
    log = filled(core, [1, 2, 3])
    for first, terms, conflict in (
        (1, [1, 2, 3], 0),
        (2, [2, 3], 0),
        (3, [3], 0),
        (1, [1, 2, 3, 4, 4], 4),
        (2, [2, 3, 4], 4),
        (4, [4, 4], 4),
        (1, [4, 4], 1),
        (2, [1, 4, 4], 2),
        (3, [1, 2, 4, 4], 3),
        (9, [4], 9),
    ):
        assert log.py_find_conflict(records(core, first, terms)) == conflict
    assert log.py_find_conflict(b"") == 0


def test_find_conflict_below_the_first_entry(core: Any) -> None:
    log = filled(core, [1, 1, 2, 2])
    log.py_compact(2)
    assert log.py_find_conflict(records(core, 2, [1, 2])) == 0
    assert log.py_find_conflict(records(core, 2, [2, 2])) == 2
    assert log.py_find_conflict(records(core, 1, [1, 1])) == 1
    assert log.py_find_conflict(records(core, 1, [0])) == 1


def test_find_conflict_by_term(core: Any) -> None:
    # etcd's TestFindConflictByTerm: a snapshot at 0 or 10 with the terms that follow it.
    for first, terms, index, term, expected in (
        (0, [0, 2, 2, 5, 5, 5], 100, 2, (100, 0)),
        (0, [0, 2, 2, 5, 5, 5], 5, 6, (5, 5)),
        (0, [0, 2, 2, 5, 5, 5], 5, 5, (5, 5)),
        (0, [0, 2, 2, 5, 5, 5], 5, 4, (2, 2)),
        (0, [0, 2, 2, 5, 5, 5], 5, 2, (2, 2)),
        (0, [0, 2, 2, 5, 5, 5], 5, 1, (0, 0)),
        (0, [0, 2, 2, 5, 5, 5], 1, 2, (1, 2)),
        (0, [0, 2, 2, 5, 5, 5], 1, 1, (0, 0)),
        (0, [0, 2, 2, 5, 5, 5], 0, 0, (0, 0)),
        (10, [3, 3, 3, 4, 4, 4], 30, 3, (30, 0)),
        (10, [3, 3, 3, 4, 4, 4], 14, 9, (14, 4)),
        (10, [3, 3, 3, 4, 4, 4], 14, 4, (14, 4)),
        (10, [3, 3, 3, 4, 4, 4], 14, 3, (12, 3)),
        (10, [3, 3, 3, 4, 4, 4], 14, 2, (9, 0)),
        (10, [3, 3, 3, 4, 4, 4], 11, 5, (11, 3)),
        (10, [3, 3, 3, 4, 4, 4], 10, 5, (10, 3)),
        (10, [3, 3, 3, 4, 4, 4], 10, 3, (10, 3)),
        (10, [3, 3, 3, 4, 4, 4], 10, 2, (9, 0)),
        (10, [3, 3, 3, 4, 4, 4], 9, 2, (9, 0)),
        (10, [3, 3, 3, 4, 4, 4], 4, 2, (4, 0)),
        (10, [3, 3, 3, 4, 4, 4], 0, 0, (0, 0)),
    ):
        log = core.EntryLog(first=first + 1, base_term=terms[0])
        for its in terms[1:]:
            log.py_append(its, b"")
        assert log.py_find_conflict_by_term(index, term) == expected, (first, index, term)


def test_limit_counts_whole_records(core: Any) -> None:
    log = filled(core, [1] * 5, size=68)  # records of 100 bytes
    for high, max_bytes, expected in (
        (5, 0, 1),
        (5, 99, 1),
        (5, 100, 1),
        (5, 199, 1),
        (5, 200, 2),
        (5, 499, 4),
        (5, 500, 5),
        (5, 2**64 - 1, 5),
        (3, 2**64 - 1, 3),
        (1, 0, 1),
    ):
        assert log.py_limit(1, high, max_bytes) == expected
    assert log.py_limit(4, 5, 100) == 4


def test_columns_for_numpy(core: Any) -> None:
    numpy = pytest.importorskip("numpy")
    log = filled(core, [1, 1, 2, 3], size=10)
    log.py_compact(1)
    terms, sizes = log.terms(), log.sizes()
    assert (memoryview(terms).format, memoryview(terms).itemsize, memoryview(terms).readonly) == ("Q", 8, True)
    assert (memoryview(sizes).format, memoryview(sizes).itemsize, memoryview(sizes).readonly) == ("I", 4, True)
    assert numpy.frombuffer(terms, dtype=numpy.uint64).tolist() == [1, 2, 3]
    assert numpy.frombuffer(sizes, dtype=numpy.uint32).tolist() == [42, 42, 42]
    whole = numpy.frombuffer(log.view(2, 4)[0], dtype=numpy.uint8)
    assert whole.tobytes() == log.records(2, 4)
    assert whole.reshape(3, 42)[:, 8].tolist() == [2, 3, 4]
    with pytest.raises((TypeError, ValueError)):
        whole[0] = 1


def test_views_are_read_only(core: Any) -> None:
    log = filled(core, [1, 2])
    for view in (*log.view(1, 2), log.terms(), log.sizes()):
        assert memoryview(view).readonly
        with pytest.raises(TypeError):
            memoryview(view)[0] = 1


def test_views_outlive_every_change(core: Any) -> None:
    log = filled(core, [1] * 40, size=500)
    views = [memoryview(view) for view in log.view(1, 40)]
    terms, sizes = memoryview(log.terms()), memoryview(log.sizes())
    expected = log.records(1, 40)

    def check() -> None:
        assert b"".join(views) == expected
        assert list(terms) == [1] * 40
        assert list(sizes) == [532] * 40

    log.py_truncate(20)
    check()
    for _ in range(600):
        log.py_append(9, b"n" * 300)
    check()
    log.py_compact(500)
    check()
    log.py_extend(records(core, 501, [10] * 20, b"r" * 200))
    check()
    log.py_restore(1000, 10)
    log.py_append(11, b"q")
    check()
    del log
    gc.collect()
    check()


def test_columns_keep_what_they_saw(core: Any) -> None:
    log = filled(core, [1, 2, 3])
    before = memoryview(log.terms())
    log.py_truncate(1)
    log.py_append(7, b"")
    log.py_append(8, b"")
    assert list(before) == [1, 2, 3]
    assert list(memoryview(log.terms())) == [1, 7, 8]
