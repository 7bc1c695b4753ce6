"""Bodies of messages: snapshots as records, changes among proposals, and rows of an Outbox that share their bytes.

Both implementations. What lies behind a row may go away at any time; what the row has stays.
"""

from __future__ import annotations

import copy
import gc
import pickle
import random
import struct
from types import ModuleType
from typing import Any

import pytest

from tests.helpers import wire_samples
from tests.helpers.nogil_probe import reach

APP, SNAP, HEARTBEAT, READ, READ_RESP, STORAGE_APPEND = 3, 7, 8, 15, 16, 19
LARGEST = 2**63 - 1


@pytest.fixture
def probe(impl: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What only compiled code can call."""
    return reach(impl, tmp_path_factory.getbasetemp() / "nogil_probe")


def snapshot(impl: ModuleType, data: bytes = b"state", index: int = 9, term: int = 4) -> Any:
    return impl.Snapshot(index, term, impl.ConfState((1, 2), (5,), (2, 3), (3,), True), data)


def log_of(core: Any, *sizes: int) -> Any:
    """A log with an entry of each size; blocks hold 4 KiB."""
    log = core.EntryLog(1, 0, 4096)
    for number, size in enumerate(sizes, 1):
        log.py_append(1, bytes([number % 256]) * size)
    return log


def trash(core: Any) -> None:
    """Give freed memory other contents."""
    gc.collect()
    other = core.EntryLog(1, 0, 4096)
    for _ in range(200):
        other.py_append(9, b"\xee" * 400)
    box = core.Outbox()
    for _ in range(50):
        box.py_push(core.Message(APP, entries=[core.Entry(1, 1, b"\xdd" * 900)]))


# --- a snapshot as a record ------------------------------------------------------------------------


def test_record_of_a_snapshot(impl: ModuleType, core: ModuleType) -> None:
    taken = snapshot(impl)
    (entry,) = core.Entry.decode_all(core.snapshot_record(taken))
    assert (entry.index, entry.term, entry.kind) == (9, 4, 3)
    assert entry.data == taken.conf_state.encode() + b"state"
    assert core.snapshot_from(core.snapshot_record(taken)) == taken


@pytest.mark.parametrize("data", [b"", b"\0", bytes(100_000)])
def test_records_of_snapshots_round_trip(impl: ModuleType, core: ModuleType, data: bytes) -> None:
    many = tuple(range(1, 65))
    for conf in (impl.ConfState(), impl.ConfState((LARGEST,)), impl.ConfState(many), snapshot(impl).conf_state):
        for index, term in ((1, 1), (LARGEST, LARGEST)):
            taken = impl.Snapshot(index, term, conf, data)
            assert core.snapshot_from(core.snapshot_record(taken)) == taken


def test_damaged_records_of_snapshots(impl: ModuleType, core: ModuleType) -> None:
    good = core.snapshot_record(snapshot(impl))
    other = core.Entry(9, 4, snapshot(impl).conf_state.encode(), 2).encode()
    wrong = [b"", good[:-1], good + good, good + b"\0", other, core.Entry(9, 4, b"", 3).encode()]
    wrong += [core.Entry(9, 4, wire_samples.membership((1, 2), counts=(3, 0, 0, 0)), 3).encode()]
    wrong += [core.Entry(9, 4, wire_samples.membership((2, 1)), 3).encode()]
    for at in range(len(good)):
        wrong.append(good[:at] + bytes([good[at] ^ 0x40]) + good[at + 1 :])
    for records in wrong:
        with pytest.raises(core.FrameError) as caught:
            core.snapshot_from(records)
        assert caught.value.reason == "records"


def test_snapshot_record_wants_a_snapshot(impl: ModuleType, core: ModuleType) -> None:
    for wrong in (None, 3, "text", b"bytes"):
        with pytest.raises(AttributeError):
            core.snapshot_record(wrong)
    for index, term in ((-1, 1), (2**64, 1), (1, -1), (1, 2**64)):
        with pytest.raises(OverflowError):
            core.snapshot_record(impl.Snapshot(index, term, impl.ConfState()))
    with pytest.raises(TypeError):
        core.snapshot_record(impl.Snapshot(1, 1, impl.ConfState(), "text"))


# --- messages with a snapshot ----------------------------------------------------------------------


def test_snapshot_is_the_body_of_its_message(impl: ModuleType, core: ModuleType) -> None:
    taken = snapshot(impl)
    m = core.Message(SNAP, term=5, snapshot=taken)
    assert (m.snapshot, m.count, m.records) == (taken, 1, core.snapshot_record(taken))
    assert m.body_size == len(m.records)
    assert m == core.Message(SNAP, term=5, entries=[core.snapshot_record(taken)])
    assert m.copy() == m
    assert m.copy().snapshot == taken
    second = snapshot(impl, b"second", 10)
    m.snapshot = second
    assert (m.snapshot, m.count) == (second, 1)
    assert "entries=1" in repr(m)


def test_snapshot_of_a_message_without_one(core: ModuleType) -> None:
    for kind in (SNAP, APP, HEARTBEAT):
        assert core.Message(kind).snapshot is None
    # Records of other kinds are entries, whatever they look like.
    record = core.Entry(1, 1, core.ConfState((1,)).encode(), 3)
    assert core.Message(APP, entries=[record]).snapshot is None
    assert core.Message(SNAP, entries=[record]).snapshot == core.Snapshot(1, 1, core.ConfState((1,)))


def test_snapshot_can_be_taken_away(impl: ModuleType, core: ModuleType) -> None:
    m = core.Message(SNAP, snapshot=snapshot(impl))
    m.snapshot = None
    assert m.snapshot is None
    m = core.Message(STORAGE_APPEND, snapshot=snapshot(impl))
    m.snapshot = None
    assert m.snapshot is None


def test_snapshot_beside_the_body(impl: ModuleType, core: ModuleType) -> None:
    """Messages to a storage carry entries and a snapshot."""
    taken = snapshot(impl)
    entries = [core.Entry(10, 4, b"x")]
    m = core.Message(STORAGE_APPEND, entries=entries, snapshot=taken)
    assert (m.snapshot, m.entries, m.count) == (taken, entries, 1)
    assert m.snapshot is taken
    twin = m.copy()
    assert twin == m
    assert twin.snapshot is taken
    assert m != core.Message(STORAGE_APPEND, entries=entries)
    assert m != core.Message(STORAGE_APPEND, entries=entries, snapshot=snapshot(impl, b"other"))


def test_damaged_snapshot_of_a_message(impl: ModuleType, core: ModuleType) -> None:
    entry = core.Entry(9, 4, snapshot(impl).conf_state.encode(), 3)
    for entries in (
        [core.Entry(1, 1, b"", 0)],
        [entry, entry],
        [entry.encode()[:4] + entry.encode()[4:5] + entry.encode()[5:-1] + b"\xff"],
        [core.Entry(9, 4, b"\1", 3)],
    ):
        m = core.Message(SNAP, entries=entries)
        with pytest.raises(core.FrameError, match="records"):
            _ = m.snapshot
        assert m.copy() == m
    with pytest.raises(AttributeError):
        core.Message(SNAP, snapshot="text")


def test_entries_of_another_message(core: ModuleType) -> None:
    entries = [core.Entry(1, 1, b"first"), core.Entry(2, 1, b"second" * 100)]
    source, target = core.Message(APP, term=3, entries=entries), core.Message(STORAGE_APPEND, to=4, index=9)
    target.set_entries(source)
    assert (target.entries, target.count, target.records) == (entries, 2, source.records)
    assert (target.kind, target.to, target.term, target.index) == (STORAGE_APPEND, 4, 0, 9)
    source.set_entries(core.Message(APP))  # of nothing
    assert (source.entries, source.count, source.body_size) == ([], 0, 0)
    del source
    trash(core)
    assert target.entries == entries
    target.set_entries(target)
    twin = target.copy()
    assert twin.entries == target.entries == entries
    twin.set_entries(core.Message(READ, entries=[core.Entry(0, 0, b"read")]))
    trash(core)
    assert twin.entries == [core.Entry(0, 0, b"read")]
    for wrong in (None, 3, entries, entries[0], b"bytes"):
        with pytest.raises(TypeError):
            twin.set_entries(wrong)


@pytest.mark.parametrize("how", ["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("sort", ["plain", "entries", "snapshot", "beside", "responses", "of a ready"])
def test_a_copy_owns_all_that_it_has(impl: ModuleType, core: ModuleType, how: str, sort: str) -> None:
    """Also of a message whose body belongs to a log, or that has none."""
    if sort == "of a ready":
        node = impl.RawNode(impl.Config(id=1, pre_vote=False), conf_state=impl.ConfState(voters=(1, 2)))
        node.campaign()
        message = node.ready().messages[0]
    else:
        message = core.Message(SNAP if sort == "snapshot" else APP, to=2, sender=1, term=2**64 - 1, vote=5, flags=3)
    if sort == "entries":
        entries = core.Message(APP, entries=[core.Entry(1, 1, b"A" * 5000), core.Entry(2, 1, b"\0" * 3)])
        message.set_entries(entries)
    elif sort in ("snapshot", "beside"):
        message.snapshot = snapshot(impl)
    elif sort == "responses":
        message.responses = [core.Message(HEARTBEAT, to=3)]
    made = {
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
        "pickle": lambda each: pickle.loads(pickle.dumps(each)),
    }[how](message)
    expected = (repr(message), message.records, message.snapshot, message.responses)
    assert made == message
    assert made is not message
    del message
    trash(core)
    assert (repr(made), made.records, made.snapshot, made.responses) == expected
    if sort == "entries":
        assert [len(entry.data) for entry in made.entries] == [5000, 3]


def test_has_changes(core: ModuleType, probe: Any) -> None:
    def changes(*kinds: int) -> bool:
        entries = [core.Entry(0, 0, b"d" * at, kind) for at, kind in enumerate(kinds)]
        return bool(probe.has_changes(core.Message(2, entries=entries)))

    assert [changes(), changes(0), changes(0, 0, 0)] == [False] * 3
    assert [changes(1), changes(2), changes(3), changes(255)] == [True] * 4
    assert [changes(0, 0, 1), changes(2, 0), changes(0, 1, 2)] == [True] * 3


def test_envelope_of_the_first_proposal(core: ModuleType, probe: Any) -> None:
    buffer = core.Buffer()
    probe.put_proposal(buffer, 1, 2**63, 8, LARGEST, b"data")
    probe.put_proposal(buffer, 0, 3, 9, 4, b"")
    m = core.Message(2, entries=[buffer.tobytes()])
    assert (probe.origin(m), probe.sequence(m), m.count) == (2**63, LARGEST, 2)
    assert m.entries[1] == core.Entry(0, 0, struct.pack("<QQQ", 3, 9, 4))
    short = core.Message(2, entries=[core.Entry(0, 0, bytes([255]) * 23)])
    assert (probe.origin(short), probe.sequence(short)) == (0, 0)


# --- rows that share their bytes -------------------------------------------------------------------


def test_rows_share_a_snapshot(impl: ModuleType, core: ModuleType, probe: Any) -> None:
    taken = snapshot(impl, bytes(range(256)) * 40)
    spans = core.Spans()
    spans.py_push(core.snapshot_record(taken), 9, 1)
    box = core.Outbox()
    for to in (2, 3, 4):
        box.py_push(core.Message(SNAP, to=to, term=4))
        probe.set_spans(box, spans, 1)
    box.py_push(core.Message(HEARTBEAT, to=2, term=4))
    assert (len(spans), spans.size) == (1, len(core.snapshot_record(taken)))
    spans.py_clear()
    spans.py_push(b"\xff" * 20_000)
    del spans
    trash(core)
    sent = box.messages()
    assert [m.snapshot for m in sent] == [taken] * 3 + [None]
    assert [m.count for m in sent] == [1, 1, 1, 0]
    codec, receiver = core.Codec(wire_samples.CLUSTER, 1), core.Codec(wire_samples.CLUSTER, 2)
    (received,) = receiver.decode(codec.encode(2, sent[:1]))
    box.py_clear()
    trash(core)
    assert received.snapshot == sent[0].snapshot == taken


def test_a_row_of_several_spans(core: ModuleType, probe: Any) -> None:
    entries = [core.Entry(number, 2, bytes([number]) * number) for number in range(1, 7)]
    spans = core.Spans()
    for low, high in ((0, 1), (1, 1), (1, 5), (5, 6)):
        spans.py_push(b"".join([entry.encode() for entry in entries[low:high]]), low + 1, high - low)
    box = core.Outbox()
    box.py_push(core.Message(APP, term=2))
    probe.set_spans(box, spans, 6)
    spans.py_clear()
    trash(core)
    (m,) = box.messages()
    assert (m.entries, m.count, m.body_size) == (entries, 6, probe.size_at(box, 0))
    box.py_push(core.Message(APP, term=2))
    probe.set_spans(box, spans, 0)  # of nothing
    assert box.message(1) == core.Message(APP, term=2)


def test_shared_bodies_survive_their_first_owner(core: ModuleType, probe: Any) -> None:
    entries = [core.Entry(0, 0, b"context" * 50)]
    waiting, out = core.Outbox(), core.Outbox()
    for number in range(3):
        waiting.py_push(core.Message(READ, sender=number, entries=entries if number else []))
    for row in (1, 2, 1, 0):
        out.py_push(core.Message(READ_RESP, index=row))
        probe.share_body(out, waiting, row)
    assert [m.count for m in waiting.messages()] == [0, 1, 1]
    waiting.py_clear()
    waiting.py_push(core.Message(READ, entries=[core.Entry(0, 0, b"\xaa" * 350)]))
    del waiting
    trash(core)
    assert [m.entries for m in out.messages()] == [entries, entries, entries, []]
    assert [m.index for m in out.messages()] == [1, 2, 1, 0]


def test_bodies_are_shared_within_a_box(core: ModuleType, probe: Any) -> None:
    """Also when the rows and spans move to make room."""
    box = core.Outbox()
    first = core.Message(READ, entries=[core.Entry(0, 0, b"first")])
    box.py_push(first)
    for number in range(100):
        box.py_push(core.Message(READ))
        probe.share_body(box, box, number)
    assert box.messages() == [first] * 101


def test_shared_bodies_survive_a_log(core: ModuleType, probe: Any) -> None:
    log = log_of(core, *[700] * 30)
    box, out = core.Outbox(), core.Outbox()
    box.py_push(core.Message(APP, term=1))
    probe.fill(log, box, 3, 25)
    expected = log.entries(3, 25)
    out.py_push(core.Message(APP, term=1))
    probe.share_body(out, box, 0)
    log.py_truncate(5)
    for _ in range(40):
        log.py_append(2, b"\xcc" * 700)
    log.py_compact(log.last)
    assert box.message(0).entries == expected
    del log, box
    trash(core)
    assert out.message(0).entries == expected
    assert out.message(0).count == 23


# --- looking for a row, and giving it more ---------------------------------------------------------


def test_find_takes_the_newest(core: ModuleType, probe: Any) -> None:
    box = core.Outbox()
    assert probe.find(box, APP, 2) == -1
    for kind, to in ((APP, 2), (APP, 3), (HEARTBEAT, 2), (APP, 2), (HEARTBEAT, 3), (APP, LARGEST)):
        box.py_push(core.Message(kind, to=to))
    assert [probe.find(box, APP, to) for to in (2, 3, LARGEST, 4, 0)] == [3, 1, 5, -1, -1]
    assert [probe.find(box, HEARTBEAT, to) for to in (2, 3, LARGEST)] == [2, 4, -1]
    probe.discard(box, 2)  # rows are counted from the oldest
    assert [probe.find(box, APP, to) for to in (2, 3)] == [1, -1]
    probe.discard(box, 4)
    assert (probe.find(box, APP, 2), probe.length(box)) == (-1, 0)
    box.py_push(core.Message(APP, to=2))
    assert probe.find(box, APP, 2) == 0
    box.py_clear()
    assert probe.find(box, APP, 2) == -1


def test_extend(core: ModuleType, probe: Any) -> None:
    log = log_of(core, *range(1, 31))
    box = core.Outbox()
    box.py_push(core.Message(APP, to=2, term=1, index=4, log_term=1, commit=2, context=8))
    probe.fill(log, box, 5, 6)
    box.py_push(core.Message(APP, to=3, term=1, index=9, log_term=1, commit=1))
    expected = {"to": 2, "term": 1, "index": 4, "log_term": 1, "context": 8}
    for high, commit in ((6, 3), (7, 4), (7, 5), (30, 6), (0, 7), (12, 8)):
        probe.extend(log, box, 0, high, commit)
        last = max(6, high, 30 if commit >= 6 else 0)
        assert box.message(0) == core.Message(APP, commit=commit, entries=log.entries(5, last), **expected)
        assert (probe.count_at(box, 0), probe.index_at(box, 0)) == (last - 4, 4)
        assert probe.size_at(box, 0) == len(log.records(5, last))
    # The other row is what it was, and can be given its first entries.
    assert box.message(1) == core.Message(APP, to=3, term=1, index=9, log_term=1, commit=1)
    probe.extend(log, box, 1, 10, 3)
    assert box.message(1).entries == log.entries(10, 10)
    assert box.message(0).entries == log.entries(5, 30)


def test_extend_across_blocks_and_outlive_the_log(core: ModuleType, probe: Any) -> None:
    log = log_of(core, *[1500] * 12)
    box = core.Outbox()
    box.py_push(core.Message(APP, term=1))
    probe.fill(log, box, 1, 1)
    for high in range(2, 13):
        probe.extend(log, box, 0, high, high)
    expected = log.entries(1, 12)
    log.py_compact(12)
    del log
    trash(core)
    assert box.message(0).entries == expected
    kept = box.message(0)
    box.py_clear()
    trash(core)
    assert kept.entries == expected


def test_extend_refuses_what_the_log_has_not(core: ModuleType, probe: Any, errors: ModuleType) -> None:
    log = log_of(core, 1, 2, 3)
    box = core.Outbox()
    box.py_push(core.Message(APP, index=0))
    for high in (4, 2**40):
        with pytest.raises(errors.Corruption, match="outside of the log"):
            probe.extend(log, box, 0, high, 0)
    log.py_compact(2)
    with pytest.raises(errors.Corruption, match="outside of the log"):
        probe.extend(log, box, 0, 3, 0)


def test_rows_refuse_numbers(core: ModuleType) -> None:
    box, other = core.Outbox(), core.Outbox()
    box.py_push(core.Message(SNAP))
    for row in (1, 2**31, 2**32, 2**63, 2**64 - 1):
        for call in (box.message, lambda row: other.py_take(box, row)):
            with pytest.raises(IndexError, match="no such row"):
                call(row)
    for row in (-1, -(2**63), 2**64, -(2**70)):
        for call in (box.message, lambda row: other.py_take(box, row)):
            with pytest.raises(OverflowError):
                call(row)
    assert (len(box), len(other)) == (1, 0)


@pytest.mark.parametrize("seed", range(10))
def test_rows_against_a_model(core: ModuleType, probe: Any, seed: int) -> None:
    """The model: a list of messages that own what they have."""
    rng = random.Random(seed)
    log = log_of(core, *[rng.randint(0, 600) for _ in range(40)])
    boxes: tuple[Any, Any] = (core.Outbox(), core.Outbox())
    models: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(150):
        at = rng.randint(0, 1)
        box, model = boxes[at], models[at]
        action = rng.random()
        made = core.Message(rng.choice((APP, READ)), to=rng.randint(1, 3), index=rng.randint(0, 20), term=1)
        if action < 0.25 or not model:
            box.py_push(made)
            high = min(40, made.index + rng.randint(0, 6))
            probe.fill(log, box, made.index + 1, high)
            log_entries = log.entries(made.index + 1, high) if high > made.index else []
            model.append(core.Message(made.kind, to=made.to, index=made.index, term=1, entries=log_entries))
        elif action < 0.4:
            row = rng.randrange(len(model))
            boxes[1 - at].py_push(made)
            probe.share_body(boxes[1 - at], box, row)
            made = core.Message(made.kind, to=made.to, index=made.index, term=1, entries=model[row].entries)
            models[1 - at].append(made)
        elif action < 0.55:
            row = rng.randrange(len(model))
            boxes[1 - at].py_take(box, row)
            models[1 - at].append(model[row].copy())
        elif action < 0.65:
            spans = core.Spans()
            parts = [core.Entry(n, 1, rng.randbytes(rng.randint(0, 50))) for n in range(rng.randint(0, 5))]
            for part in parts:
                spans.py_push(part.encode(), part.index, 1)
            box.py_push(made)
            probe.set_spans(box, spans, len(parts))
            model.append(core.Message(made.kind, to=made.to, index=made.index, term=1, entries=parts))
        elif action < 0.85:
            to = rng.randint(1, 3)
            rows = [row for row, m in enumerate(model) if (m.kind, m.to) == (APP, to)]
            row = probe.find(box, APP, to)
            assert row == (rows[-1] if rows else -1)
            if row >= 0:
                target = model[row]
                high, commit = rng.randint(0, 40), rng.randint(0, 40)
                probe.extend(log, box, row, high, commit)
                entries = target.entries
                if high > target.index + len(entries):
                    entries = log.entries(target.index + 1, high)
                numbers = {"to": to, "index": target.index, "term": 1, "commit": commit}
                model[row] = core.Message(APP, entries=entries, **numbers)
        elif action < 0.97:
            rows = rng.randint(0, 3)
            probe.discard(box, rows)
            del model[:rows]
        else:
            box.py_clear()
            model.clear()
        assert [len(box), probe.length(box)] == [len(model)] * 2
        assert box.messages() == model
