"""Buffers, spans, messages, outbox, windows and peers, in both implementations."""

from __future__ import annotations

import copy
import zlib
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

NUMBERS = ("to", "sender", "term", "log_term", "index", "commit", "hint", "context", "vote")


def test_crc_is_that_of_zlib(core: Any) -> None:
    data = bytes(range(256)) * 9
    for size in (*range(100), 127, 128, 129, 1000, 2304):
        for start in (0, 1):
            part = data[start : start + size]
            assert core.py_crc32(part) == zlib.crc32(part)
            assert core.py_crc32(part, 0xDEADBEEF) == zlib.crc32(part, 0xDEADBEEF)
    for seed in (-1, 2**32):
        with pytest.raises(OverflowError):
            core.py_crc32(b"", seed)


def test_buffer(core: Any) -> None:
    buffer = core.Buffer()
    assert (len(buffer), buffer.size, buffer.tobytes()) == (0, 0, b"")
    parts = [b"abc", b"", b"x" * 5000, bytes(100_000), b"end"]
    for part in parts:
        buffer.py_put(part)
    assert buffer.tobytes() == b"".join(parts)
    assert len(buffer) == buffer.size == 105_006
    aligned = core.Buffer(4096)
    aligned.py_put(b"abc")
    assert aligned.tobytes() == b"abc"


@pytest.mark.parametrize(("alignment", "error"), [(3, ValueError), (4, ValueError), (-1, OverflowError)])
def test_buffer_refuses_bad_alignment(core: Any, alignment: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        core.Buffer(alignment)
    with pytest.raises(TypeError):
        core.Buffer("8")


def test_spans(core: Any) -> None:
    spans = core.Spans()
    assert (len(spans), spans.count, spans.size, spans.tobytes(), spans.pieces()) == (0, 0, 0, b"", [])
    for number in range(20):
        spans.py_push(bytes([number]) * number, first=100 + number, entries=number)
    assert (len(spans), spans.count, spans.size) == (20, 20, 190)
    assert spans.firsts() == list(range(100, 120))
    assert spans.tobytes() == b"".join(bytes([number]) * number for number in range(20))
    pieces = spans.pieces()
    spans.py_clear()
    assert (len(spans), spans.size, spans.firsts()) == (0, 0, [])
    assert [bytes(piece) for piece in pieces] == [bytes([number]) * number for number in range(20)]
    assert all(memoryview(piece).readonly for piece in pieces)


def test_spans_refuse_bad_arguments(core: Any) -> None:
    spans = core.Spans()
    for arguments in ({"first": -1}, {"first": 2**64}, {"entries": -1}, {"entries": 2**32}):
        with pytest.raises(OverflowError):
            spans.py_push(b"", **arguments)
    with pytest.raises(TypeError):
        spans.py_push("text")
    assert len(spans) == 0


def test_message_defaults(core: Any) -> None:
    m = core.Message()
    assert [getattr(m, name) for name in (*NUMBERS, "kind", "flags", "count", "body_size")] == [0] * 13
    assert (m.records, m.entries, m.reject, m.responses, m.snapshot) == (b"", [], False, None, None)


def test_message_fields(core: Any) -> None:
    values = {name: 2**64 - 1 - number for number, name in enumerate(NUMBERS)}
    m = core.Message(4, flags=2**32 - 1, **values)
    assert {name: getattr(m, name) for name in NUMBERS} == values
    assert (m.kind, m.flags, m.reject) == (4, 2**32 - 1, True)
    m.reject = False
    assert m.flags == 2**32 - 2
    m.reject = True
    assert m.flags == 2**32 - 1
    with pytest.raises(TypeError):
        core.Message(4, 1)


@pytest.mark.parametrize("name", NUMBERS)
def test_message_refuses_bad_numbers(core: Any, name: str) -> None:
    m = core.Message()
    for bad, error in ((-1, OverflowError), (2**64, OverflowError), ("1", TypeError), (None, TypeError)):
        with pytest.raises(error):
            core.Message(**{name: bad})
        with pytest.raises(error):
            setattr(m, name, bad)
    assert getattr(m, name) == 0


def test_message_refuses_other_bad_arguments(core: Any) -> None:
    for arguments in ({"kind": 2**31}, {"flags": -1}, {"flags": 2**32}):
        with pytest.raises(OverflowError):
            core.Message(**arguments)
    m = core.Message()
    with pytest.raises(TypeError):
        m.responses = 3
    for name in ("other", "entries", "records"):
        for value in (3, "text", []):
            with pytest.raises(AttributeError):
                setattr(m, name, value)
    m.snapshot = 1.5
    assert m.snapshot == 1.5
    with pytest.raises(core.FrameError):
        core.Message(entries=[core.Entry(1, 1, b"x").encode()[:-1]])


def test_message_entries(core: Any) -> None:
    entries = [core.Entry(5, 2, b"a"), core.Entry(6, 2, b"b" * 50, 1)]
    body = b"".join(entry.encode() for entry in entries)
    for given in (entries, [entry.encode() for entry in entries], [body], [entries[0], entries[1].encode()]):
        m = core.Message(3, term=2, entries=given)
        assert (m.entries, m.records, m.count, m.body_size) == (entries, body, 2, len(body))
    assert core.Message(3, entries=[]) == core.Message(3)


def test_message_equality_and_copy(core: Any) -> None:
    def make() -> Any:
        return core.Message(3, to=1, sender=2, term=3, index=4, context=9, entries=[core.Entry(5, 3, b"x")])

    m = make()
    m.responses = [core.Message(4)]
    twin = m.copy()
    assert twin == m
    assert twin is not m
    assert twin.responses == m.responses
    m.responses = None
    assert m == make()
    assert m != twin
    assert m != 3
    for name in NUMBERS:
        other = make()
        setattr(other, name, 77)
        assert other != m
    assert core.Message(3, entries=[core.Entry(5, 3, b"y")]) != core.Message(3, entries=[core.Entry(5, 3, b"x")])
    with pytest.raises(TypeError):
        hash(m)
    assert copy.copy(m.entries[0]) == m.entries[0]


def test_message_text(core: Any) -> None:
    m = core.Message(4, to=1, sender=2, term=3, log_term=2, index=9, commit=8, hint=7, flags=1)
    assert repr(m) == "<AppResp 2->1 term=3 log=2/9 commit=8 flags=1 hint=7 context=0 entries=0>"
    assert repr(core.Message(99)) == "<99 0->0 term=0 log=0/0 commit=0 entries=0>"


def test_outbox(core: Any) -> None:
    box = core.Outbox()
    assert (len(box), box.messages()) == (0, [])
    sent = [
        core.Message(
            number % 9,
            flags=number % 2,
            entries=[core.Entry(number + 1, 1, b"d" * number)] * (number % 3),
            **{name: number * 10 + at for at, name in enumerate(NUMBERS)},
        )
        for number in range(40)
    ]
    for m in sent:
        box.py_push(m)
    assert len(box) == 40
    assert box.messages() == sent
    assert [box.message(row) for row in (0, 17, 39)] == [sent[0], sent[17], sent[39]]
    assert [m.count for m in box.messages()] == [m.count for m in sent]
    for row, error in ((40, IndexError), (-1, OverflowError), ("0", TypeError)):
        with pytest.raises(error):
            box.message(row)
    kept = box.message(39)
    box.py_clear()
    assert len(box) == 0
    box.py_push(core.Message(1))
    assert box.messages() == [core.Message(1)]
    assert kept == sent[39]


def test_outbox_takes_rows_of_itself(core: Any) -> None:
    """Also where the rows move to make room for the new one."""
    box, other = core.Outbox(), core.Outbox()
    made = [core.Message(3, term=number, entries=[core.Entry(1, number, b"d" * number)]) for number in range(1, 4)]
    for m in made:
        box.py_push(m)
        other.py_push(m)
    for number in range(200):
        box.py_take(box, number)
    assert box.messages() == (made * 68)[:203]
    box.py_take(other, 2)
    assert box.message(203) == made[2]
    assert other.messages() == made
    for row, error in ((3, IndexError), (-1, OverflowError), (0.0, TypeError)):
        with pytest.raises(error):
            box.py_take(other, row)
    for wrong in (None, made[0]):
        with pytest.raises(TypeError):
            box.py_take(wrong, 0)


def test_outbox_takes_messages_only(core: Any) -> None:
    box = core.Outbox()
    for wrong in (None, 3, core.Entry(1, 1, b"")):
        with pytest.raises(TypeError):
            box.py_push(wrong)
    assert len(box) == 0


def test_inflights_add_and_free(core: Any) -> None:
    window = core.Inflights(10)
    for index in range(10):
        assert not window.py_full(3)
        window.py_add(3, index, 100 + index)
    assert window.py_full(3)
    assert (window.count_of(3), window.bytes_of(3)) == (10, 1045)
    with pytest.raises(core.Corruption):
        window.py_add(3, 10, 0)
    window.py_free_to(3, 4)
    assert window.contents(3) == [(index, 100 + index) for index in range(5, 10)]
    window.py_free_to(3, 4)
    assert window.count_of(3) == 5
    for index in range(10, 15):  # the ring wraps
        window.py_add(3, index, 100 + index)
    assert window.contents(3) == [(index, 100 + index) for index in range(5, 15)]
    window.py_free_to(3, 14)
    assert (window.contents(3), window.count_of(3), window.bytes_of(3)) == ([], 0, 0)


def test_inflights_free_across_a_gap(core: Any) -> None:
    window = core.Inflights(10)
    for index in (5, 9, 13, 13):
        window.py_add(0, index, 1)
    window.py_free_to(0, 4)
    assert window.count_of(0) == 4
    window.py_free_to(0, 10)
    assert window.contents(0) == [(13, 1), (13, 1)]
    window.py_free_to(0, 2**64 - 1)
    assert window.count_of(0) == 0


@pytest.mark.parametrize(
    ("max_bytes", "size", "fits"),
    [(0, 2**40, 4), (1, 1, 1), (10, 3, 4), (9, 3, 3), (10, 100, 1), (10, 0, 4)],
)
def test_inflights_limit_of_bytes(core: Any, max_bytes: int, size: int, fits: int) -> None:
    window = core.Inflights(4, max_bytes)
    assert (window.capacity, window.max_bytes) == (4, max_bytes)
    added = 0
    while not window.py_full(63):
        added += 1
        window.py_add(63, added, size)
    assert added == fits
    window.py_free_to(63, 1)
    assert not window.py_full(63)


def test_inflights_slots_are_separate(core: Any) -> None:
    window = core.Inflights(1000)
    for number in range(200):
        for slot in (0, 1, 63):
            window.py_add(slot, number, slot)
    window.py_reset(1)
    window.py_free_to(0, 149)
    assert [window.count_of(slot) for slot in (0, 1, 2, 63)] == [50, 0, 0, 200]
    assert [window.bytes_of(slot) for slot in (0, 1, 2, 63)] == [0, 0, 0, 63 * 200]


def test_inflights_refuse_bad_arguments(core: Any) -> None:
    for capacity, error in ((0, ValueError), (2**31, ValueError), (2**32, OverflowError), (-1, OverflowError)):
        with pytest.raises(error):
            core.Inflights(capacity)
    window = core.Inflights(4)
    for slot in (-1, 64, 1000):
        for call in (
            lambda slot: window.py_add(slot, 1, 1),
            lambda slot: window.py_free_to(slot, 1),
            window.py_full,
            window.py_reset,
            window.count_of,
            window.bytes_of,
            window.contents,
        ):
            with pytest.raises(IndexError):
                call(slot)
    for index, size in ((-1, 0), (2**64, 0), (0, -1), (0, 2**64)):
        with pytest.raises(OverflowError):
            window.py_add(0, index, size)
    with pytest.raises(TypeError):
        window.py_add("0", 1, 1)


def test_peers(core: Any) -> None:
    peers = core.Peers()
    assert (peers.count, peers.paused, peers.recent_active) == (0, 0, 0)
    assert list(peers.column("ids")) == []
    peers.set_ids([2, 5, 2**63 - 1])
    assert peers.count == 3
    assert list(peers.column("ids")) == [2, 5, 2**63 - 1]
    for name in ("match", "next", "sent_commit", "pending_snapshot", "state"):
        column = peers.column(name)
        assert (list(column), column.readonly) == ([0, 0, 0], True)
        assert column.format == ("B" if name == "state" else "Q")
    assert [peers.py_slot_of(id) for id in (2, 5, 2**63 - 1, 0, 3)] == [0, 1, 2, -1, -1]
    before = peers.column("ids")
    peers.set_ids(range(1, 65))
    assert peers.py_slot_of(64) == 63
    assert list(before) == [2, 5, 2**63 - 1]


def test_peers_refuse_bad_arguments(core: Any) -> None:
    peers = core.Peers()
    peers.set_ids([1, 2])
    for ids in ([2, 1], [1, 1], [0, 1], [-1], [2**63], list(range(1, 66))):
        with pytest.raises(ValueError):
            peers.set_ids(ids)
    assert list(peers.column("ids")) == [1, 2]
    with pytest.raises(KeyError):
        peers.column("paused")
    with pytest.raises(TypeError):
        peers.column(3)
    for id in (-1, 2**64):
        with pytest.raises(OverflowError):
            peers.py_slot_of(id)


def calls_with_integers(core: Any) -> list[Any]:
    """Calls of everything that takes an int, each with a place for it."""
    log = core.EntryLog()
    log.py_append(1, b"data")
    window, peers, spans, codec = core.Inflights(4), core.Peers(), core.Spans(), core.Codec(bytes(16), 1)
    box, m = core.Outbox(), core.Message()
    box.py_push(m)
    names = (*NUMBERS, "kind", "flags", "count")
    return [
        lambda x: core.py_crc32(b"", x),
        core.Buffer,
        lambda x: spans.py_push(b"", x),
        lambda x: spans.py_push(b"", 0, x),
        lambda x: core.Entry(x, 1, b""),
        lambda x: core.Entry(1, x, b""),
        lambda x: core.Entry(1, 1, b"", x),
        *[lambda x, name=name: core.Message(**{name: x}) for name in names[:-1]],
        *[lambda x, name=name: setattr(m, name, x) for name in names],
        core.EntryLog,
        lambda x: core.EntryLog(1, x),
        lambda x: core.EntryLog(1, 0, x),
        lambda x: log.py_append(x, b""),
        lambda x: log.py_append(1, b"", x),
        log.py_truncate,
        log.py_compact,
        lambda x: log.py_restore(x, 1),
        lambda x: log.py_restore(1, x),
        log.py_term,
        lambda x: log.py_find_conflict_by_term(x, 1),
        lambda x: log.py_find_conflict_by_term(1, x),
        *[
            lambda x, at=at, method=method: method(*[x if i == at else 1 for i in range(2)])
            for at in range(2)
            for method in (log.entries, log.records, log.view)
        ],
        *[lambda x, at=at: log.py_limit(*[x if i == at else 1 for i in range(3)]) for at in range(3)],
        box.message,
        lambda x: box.py_take(box, x),
        core.Inflights,
        lambda x: core.Inflights(4, x),
        lambda x: window.py_add(x, 1, 1),
        lambda x: window.py_add(1, x, 1),
        lambda x: window.py_add(1, 1, x),
        lambda x: window.py_free_to(x, 1),
        lambda x: window.py_free_to(1, x),
        window.py_full,
        window.py_reset,
        window.count_of,
        window.bytes_of,
        window.contents,
        lambda x: peers.set_ids([x]),
        peers.py_slot_of,
        lambda x: core.Codec(bytes(16), x),
        lambda x: core.Codec(bytes(16), 1, x),
        lambda x: core.Codec(bytes(16), 1, 1, x),
        lambda x: codec.encode(x, []),
    ]


@pytest.mark.parametrize("wrong", [1.0, 1.5, float("nan"), "1", None, Fraction(1), Decimal(1)])
def test_only_integers_are_taken_for_integers(core: Any, wrong: Any) -> None:
    taken = []
    for number, call in enumerate(calls_with_integers(core)):
        try:
            call(wrong)
        except TypeError:
            continue
        taken.append(number)
    assert not taken


def test_what_has_an_index_is_an_integer(core: Any) -> None:
    class Seven:
        def __index__(self) -> int:
            return 7

    assert core.Entry(Seven(), True, b"", Seven()) == core.Entry(7, 1, b"", 7)
    m = core.Message(to=Seven())
    m.term = Seven()
    assert (m.to, m.term, type(m.term)) == (7, 7, int)
    peers = core.Peers()
    peers.set_ids([True, Seven()])
    assert list(peers.column("ids")) == [1, 7]


def test_message_entries_of_unsealed_proposals(core: Any) -> None:
    entries = [core.Entry(0, 0, b"a"), core.Entry(0, 0, b"")]
    bare = b"".join(bytes(4) + entry.encode()[4:] for entry in entries)
    m = core.Message(2, entries=[bare])
    assert m.entries == entries
    assert (m.records, m.copy().entries) == (bare, entries)
    m.kind = 3  # entries of an append have been sealed by the leader
    with pytest.raises(core.FrameError):
        _ = m.entries
    damaged = core.Message(2, entries=[b"\1" + bare[1:]])
    with pytest.raises(core.FrameError):
        _ = damaged.entries
    with pytest.raises(core.FrameError):
        core.Entry.decode_all(bare)
    assert core.Entry.decode_all(bare, unsealed=True) == entries


def test_spans_entries(core: Any) -> None:
    entries = [core.Entry(number, 1, b"d" * number) for number in range(1, 6)]
    spans = core.Spans()
    assert spans.entries() == []
    spans.py_push(b"".join(entry.encode() for entry in entries[:3]), 1, 3)
    spans.py_push(b"", 4, 0)
    spans.py_push(b"".join(entry.encode() for entry in entries[3:]), 4, 2)
    assert spans.entries() == entries
    spans.py_push(entries[0].encode()[:-1], 6, 1)
    with pytest.raises(core.FrameError):
        spans.entries()
