"""Random operations on both implementations of ``_core``: every result and every state must be the same.

Skipped where only the interpreted one exists. Seeds are fixed: a failure names seed and step.
"""

from __future__ import annotations

import importlib
import inspect
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import raftx
from raftx import Entry, _core, _pure
from tests.helpers import wire_samples
from tests.helpers.implementations import structures
from tests.helpers.nogil_probe import reach

SOURCE = Path(_core.__file__)
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(SOURCE.suffix == ".py", reason="the compiled module is not built or not wanted"),
]

SEEDS = range(50)
STEPS = 200
CLUSTER = bytes(range(16))
KINDS = (2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 18, 32)


@pytest.fixture(scope="module")
def both() -> tuple[Any, Any]:
    """(compiled, interpreted)"""
    return structures(raftx), structures(_pure.load())


def plain(value: Any) -> Any:
    """A value of either implementation in a form that can be compared."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if type(value).__name__ == "Entry":
        return (value.index, value.term, value.kind, value.data)
    if type(value).__name__ == "Message":
        names = ("kind", "flags", "to", "sender", "term", "log_term", "index", "commit", "hint", "context", "vote")
        return [*(getattr(value, name) for name in names), value.count, value.body_size, value.records, repr(value)]
    if type(value).__name__ in ("View", "memoryview"):
        view = memoryview(value)
        return (view.format, view.itemsize, view.nbytes, view.readonly, bytes(view))
    return value


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns, or the exception that it raises."""
    try:
        return plain(call(*arguments))
    except Exception as error:
        # The text of conversions is CPython's or Cython's own; that of raftx's errors has to agree.
        if type(error).__module__.startswith("raftx"):
            return (type(error).__name__, str(error))
        if isinstance(error, (ArithmeticError, LookupError, TypeError, ValueError)):
            return (type(error).__name__, "")
        raise


def agree(where: str, objects: Iterable[Any], name: str, *arguments: Any) -> Any:
    """Call a method of both objects and compare; returns what the first did."""
    results = [outcome(getattr(each, name), *arguments) for each in objects]
    assert results[0] == results[1], where
    return results[0]


def number(rng: random.Random, around: int) -> int:
    """Mostly near ``around``, sometimes a border."""
    if rng.random() < 0.05:
        return rng.choice((-1, 0, 2**63 - 1, 2**63, 2**64 - 2, 2**64))
    return max(0, around + rng.randint(-4, 4))


def payload(rng: random.Random) -> bytes:
    """Data of an entry: mostly short, sometimes longer than a block of the log."""
    size = rng.choice((0, 1, 7, 8, 100, 900)) if rng.random() < 0.97 else rng.randint(4000, 9000)
    return rng.randbytes(size)


def records(rng: random.Random, first: int, count: int, term: int) -> bytes:
    """Entry records, now and then not consecutive, cut or damaged."""
    parts = []
    for index in range(first, first + count):
        term += rng.random() < 0.2
        index += rng.random() < 0.02
        parts.append(Entry(min(max(index, 0), 2**64 - 1), term, payload(rng), rng.randint(0, 2)).encode())
    body = b"".join(parts)
    if body and rng.random() < 0.05:
        body = body[: rng.randrange(len(body))]
    if body and rng.random() < 0.05:
        damaged = bytearray(body)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        body = bytes(damaged)
    return body


def log_state(log: Any) -> Any:
    """All that can be seen of a log."""
    low, high = log.first, log.last
    return plain(
        [
            (low, high, log.base_term, log.block_bytes, len(log)),
            [log.py_term(index) for index in (low - 1, low, high, high + 1)],
            log.terms(),
            log.sizes(),
            log.view(low, high) if low <= high else [],
        ]
    )


def log_operation(rng: random.Random, log: Any) -> tuple[str, list[Any]]:
    """One random call on a log: the name of the method and its arguments."""
    near = rng.choice((log.first, log.last, (log.first + log.last) // 2))
    low, high = number(rng, near), number(rng, log.last)
    term = rng.randint(1, 20)
    name, arguments = rng.choices(
        (
            ("py_append", [term, payload(rng), rng.randint(0, 255)]),
            ("py_extend", [records(rng, rng.randint(max(log.first - 1, 0), log.last + 2), rng.randint(0, 6), term)]),
            ("py_truncate", [number(rng, near)]),
            ("py_compact", [number(rng, near)]),
            ("py_restore", [rng.choice((rng.randint(0, 2**40), number(rng, near))), term]),
            ("py_term", [number(rng, near)]),
            ("py_find_conflict", [records(rng, near, rng.randint(0, 4), term)]),
            ("py_find_conflict", [log.records(near, log.last) if log.first <= near <= log.last else b""]),
            ("py_find_conflict_by_term", [number(rng, near), rng.randint(0, 20)]),
            ("py_limit", [low, high, rng.choice((0, 100, 1000, 5000, 2**64 - 1))]),
            ("entries", [low, high]),
            ("records", [low, high]),
            ("view", [low, high]),
        ),
        weights=(30, 20, 4, 3, 0.3, 5, 5, 3, 5, 8, 5, 5, 5),
    )[0]
    return name, arguments


@pytest.mark.parametrize("seed", SEEDS)
def test_log(both: tuple[Any, Any], seed: int) -> None:
    rng = random.Random(seed)
    first = rng.choice((1, 1, 50))
    logs = [core.EntryLog(first, 3 if first > 1 else 0, 4096) for core in both]
    held: list[tuple[list[Any], Any]] = []
    for step in range(STEPS):
        name, arguments = log_operation(rng, logs[0])
        where = f"seed {seed} step {step}: {name}{arguments}"
        agree(where, logs, name, *arguments)
        assert log_state(logs[0]) == log_state(logs[1]), where
        if step % 20 == 0 and len(logs[0]):
            views = [view for log in logs for view in (*log.view(log.first, log.last), log.terms(), log.sizes())]
            held.append((views, plain(views)))
    for views, seen in held:
        assert plain(views) == seen, f"seed {seed}: a view changed"


def message_values(rng: random.Random) -> tuple[dict[str, int], list[bytes]]:
    """Header and entry records of a message that mostly is one the wire takes."""
    kind = rng.choice(KINDS)
    term, index = rng.randint(1, 1000), rng.randint(0, 1000)
    values = {"kind": kind, "term": term, "index": index, "log_term": rng.randint(0, term)}
    for name in ("to", "sender", "commit", "hint", "context", "vote"):
        values[name] = rng.choice((0, rng.randint(0, 1000), 2**63 - 1))
    values["flags"] = rng.randint(0, 3)
    entries = []
    if kind == 3:
        its = values["log_term"] or 1
        for at in range(rng.randint(0, 5)):
            its = rng.randint(its, term)
            entries.append(Entry(index + 1 + at, its, payload(rng), rng.randint(0, 2)).encode())
    elif kind == 2:
        entries = [Entry(0, 0, payload(rng)).encode() for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.1:
        values[rng.choice(("term", "log_term", "index", "hint", "kind"))] = rng.choice((0, 1, 19, 40))
    if rng.random() < 0.05:
        values[rng.choice(("term", "commit", "context"))] = 2**63
    return values, entries


@pytest.mark.parametrize("seed", SEEDS)
def test_outbox_and_codec(both: tuple[Any, Any], seed: int) -> None:
    rng = random.Random(seed)
    boxes = [core.Outbox() for core in both]
    senders = [core.Codec(CLUSTER, 1, incarnation=seed, group=seed) for core in both]
    receivers = [core.Codec(CLUSTER, 2, group=seed) for core in both]
    for step in range(STEPS // 4):
        where = f"seed {seed} step {step}"
        values, entries = message_values(rng)
        for core, box in zip(both, boxes):
            box.py_push(core.Message(entries=entries, **values))
        assert [len(box) for box in boxes] == [len(boxes[0])] * 2, where
        if rng.random() < 0.3:
            assert plain(boxes[0].messages()) == plain(boxes[1].messages()), where
            frames = [codec.encode(2, box.messages()) for codec, box in zip(senders, boxes)]
            assert frames[0] == frames[1], where
            agree(where, receivers, "decode", frames[0])
            assert receivers[0].rejected_by_reason() == receivers[1].rejected_by_reason(), where
            for box in boxes:
                box.py_clear()


def sample_frames() -> list[bytes]:
    """Frames of each shape: empty, headers only, entries, proposals, several messages."""
    core = structures(raftx)
    codec = core.Codec(CLUSTER, 1, 3)
    entries = [core.Entry(6, 2, b"a"), core.Entry(7, 3, b""), core.Entry(8, 3, b"ccc", 1)]
    appended = core.Message(3, term=3, log_term=2, index=5, commit=5, entries=entries)
    proposed = core.Message(2, entries=[core.Entry(0, 0, bytes(24) + b"p")])
    answer = core.Message(4, term=3, index=8, flags=1, hint=2, log_term=1)
    return [codec.encode(2, messages) for messages in ([], [answer], [appended], [proposed, answer, appended])]


def test_snapshots_look_alike(both: tuple[Any, Any]) -> None:
    rng = random.Random(0)
    packages = (raftx, _pure.load())
    for step in range(STEPS):
        ids = [tuple(rng.sample(range(1, 99), rng.randint(0, 9))) for _ in range(4)]
        settings = (number(rng, 5), number(rng, 5))
        data = payload(rng)
        made = [each.Snapshot(*settings, each.ConfState(*ids, step % 2 == 1), data) for each in packages]
        results = [outcome(core.snapshot_record, snapshot) for core, snapshot in zip(both, made)]
        assert results[0] == results[1], step
        if isinstance(results[0], bytes):
            damaged = bytearray(results[0])
            if rng.random() < 0.5:
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            texts = [outcome(lambda core=core, of=bytes(damaged): repr(core.snapshot_from(of))) for core in both]
            assert texts[0] == texts[1], step
            frames = [
                core.Codec(CLUSTER, 1).encode(2, [core.Message(7, term=9, snapshot=snapshot)])
                for core, snapshot in zip(both, made)
            ]
            assert frames[0] == frames[1], step


@pytest.mark.parametrize("number", range(4))
def test_every_flip_and_cut_of_a_frame(both: tuple[Any, Any], number: int) -> None:
    frame = sample_frames()[number]
    codecs = [core.Codec(CLUSTER, 2) for core in both]
    assert agree("whole", codecs, "decode", frame)[:1] != ["FrameError"]
    for at in range(len(frame)):
        for damaged in (
            frame[:at],
            *(frame[:at] + bytes([frame[at] ^ mask]) + frame[at + 1 :] for mask in (0x01, 0x10, 0x80, 0xFF)),
        ):
            result = agree(f"byte {at}", codecs, "decode", damaged)
            assert result[0] == "FrameError", at
    assert codecs[0].rejected_by_reason() == codecs[1].rejected_by_reason()
    assert sum(codecs[0].rejected_by_reason().values()) == 5 * len(frame)


@pytest.mark.parametrize("seed", range(8))
def test_damage_behind_a_right_checksum(both: tuple[Any, Any], seed: int) -> None:
    rng = random.Random(seed)
    codecs = [core.Codec(CLUSTER, 2) for core in both]
    for step in range(STEPS):
        damaged = bytearray(rng.choice(sample_frames()[1:]))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(damaged))
            damaged[at] = rng.choice((0, 1, 255, damaged[at] ^ 1 << rng.randrange(8)))
        frame = wire_samples.reseal(damaged)
        agree(f"seed {seed} step {step}", codecs, "decode", frame)
    assert codecs[0].rejected_by_reason() == codecs[1].rejected_by_reason()


@pytest.mark.parametrize("seed", SEEDS)
def test_inflights(both: tuple[Any, Any], seed: int) -> None:
    rng = random.Random(seed)
    settings = (rng.choice((1, 3, 16, 100)), rng.choice((0, 0, 1, 500)))
    windows = [core.Inflights(*settings) for core in both]
    index = 0
    for step in range(STEPS):
        slot = rng.choice((0, 1, 63)) if rng.random() < 0.98 else rng.choice((-1, 64))
        index += rng.randint(0, 3)
        name, arguments = rng.choices(
            (
                ("py_add", [index, rng.choice((0, 1, 50, 200))]),
                ("py_free_to", [number(rng, index - rng.randint(0, 30))]),
                ("py_reset", []),
                ("py_full", []),
            ),
            weights=(60, 20, 1, 5),
        )[0]
        where = f"seed {seed} step {step}: {name}({slot}, {arguments})"
        agree(where, windows, name, slot, *arguments)
        for slot in (0, 1, 63):
            states = [
                (window.count_of(slot), window.bytes_of(slot), window.py_full(slot), window.contents(slot))
                for window in windows
            ]
            assert states[0] == states[1], where


@pytest.mark.parametrize("seed", range(10))
def test_peers_buffers_and_spans(both: tuple[Any, Any], seed: int) -> None:
    rng = random.Random(seed)
    peers = [core.Peers() for core in both]
    buffers = [core.Buffer(4096 if seed % 2 else 0) for core in both]
    spans = [core.Spans() for core in both]
    for step in range(STEPS // 4):
        where = f"seed {seed} step {step}"
        ids = [number(rng, 10 * at + 10) for at in range(rng.randint(0, 7))]
        agree(where, peers, "set_ids", ids)
        for name in (*both[0].COLUMN_NAMES, "state", "other"):
            agree(where, peers, "column", name)
        id = number(rng, 20)
        agree(where, peers, "py_slot_of", id)
        data, first = payload(rng), number(rng, 5)
        agree(where, buffers, "py_put", data)
        states = [(len(each), each.size, each.tobytes()) for each in buffers]
        assert states[0] == states[1], where
        agree(where, spans, "py_push", data, first, 3)
        states = [(len(each), each.size, each.firsts(), plain(each.pieces())) for each in spans]
        assert states[0] == states[1], where
        if rng.random() < 0.1:
            agree(where, spans, "py_clear")


def test_entries_and_messages_look_alike(both: tuple[Any, Any]) -> None:
    rng = random.Random(0)
    for _ in range(STEPS):
        values, entries = message_values(rng)
        messages = [core.Message(entries=entries, **values) for core in both]
        assert plain(messages[0]) == plain(messages[1])
        assert plain(messages[0].copy()) == plain(messages[1].copy())
        assert plain(messages[0].entries) == plain(messages[1].entries)
        assert list(map(repr, messages[0].entries)) == list(map(repr, messages[1].entries))
        body = records(rng, 1, 3, 1)
        agree("decode_all", [core.Entry for core in both], "decode_all", body)


def mutated(rng: random.Random, frame: bytes) -> bytes:
    """A frame with a few changes where they matter, and checksums that are right more often than not."""
    out = bytearray(frame)
    places = [at + offset for at in wire_samples.heads(frame) for offset in range(64)]
    places += [at + offset for at, size in wire_samples.records(frame) for offset in range(min(size, 50))]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not out:
            break
        at = min(rng.choice(places) if places and rng.random() < 0.9 else rng.randrange(len(out)), len(out) - 1)
        action = rng.random()
        if action < 0.75:
            out[at] = rng.choice((0, 1, 2, 3, 4, 255, out[at] ^ 1 << rng.randrange(8), (out[at] + 1) & 255))
        elif action < 0.9:
            out[at : at + 8] = rng.choice((0, 1, 9, 2**63 - 1, 2**63, 2**64 - 1)).to_bytes(8, "little")
        elif action < 0.95:
            del out[at : at + rng.choice((1, 8, 32, 64))]
        else:
            out[at:at] = bytes(rng.choice((1, 8, 32, 64)))
    if len(out) < 64 or rng.random() < 0.1:
        return bytes(out)
    return wire_samples.reseal(out, bodies=rng.random() < 0.7)


@pytest.mark.parametrize("seed", range(20))
def test_reasons_for_mutations_of_every_sample(both: tuple[Any, Any], seed: int) -> None:
    """The same bytes are refused for the same reason, or come to the same messages and snapshots."""
    rng = random.Random(seed)
    sender, receiver = wire_samples.codecs(raftx)
    receivers = (receiver, wire_samples.codecs(_pure.load())[1])
    frames = [sender.encode(2, messages) for messages in wire_samples.samples(raftx).values()]
    taken = 0
    for step in range(300):
        frame = mutated(rng, rng.choice(frames))
        where = f"seed {seed} step {step}: {frame.hex()}"
        if agree(where, receivers, "decode", frame)[:1] != ("FrameError",):
            taken += 1
            contents = [[outcome(content, m) for m in each.decode(frame)] for each in receivers]
            assert contents[0] == contents[1], where
    assert receivers[0].rejected_by_reason() == receivers[1].rejected_by_reason()
    # Neither nothing nor everything was refused, nor for one reason only.
    assert 10 < taken < 290
    assert sum([count > 0 for count in receiver.rejected_by_reason().values()]) >= 4


def content(message: Any) -> Any:
    """What a message's body means."""
    return [plain(message.entries), repr(message.snapshot)]


@pytest.mark.parametrize("seed", range(20))
def test_bodies_that_are_noise(both: tuple[Any, Any], seed: int) -> None:
    rng = random.Random(seed)
    receivers = [wire_samples.codecs(package)[1] for package in (raftx, _pure.load())]
    for step in range(200):
        kind = rng.choice(wire_samples.BODY_KINDS)
        sets = [tuple(sorted(rng.sample(range(6), rng.randint(0, 4)))) for _ in range(4)]
        data = wire_samples.membership(*sets, auto_leave=rng.choice((0, 1, 1, 2))) + rng.randbytes(rng.randint(0, 9))
        if rng.random() < 0.3:
            data = data[: rng.randint(0, len(data))]
        index, term = rng.choice((0, 0, 1, 2, 2**63)), rng.choice((0, 0, 1, 2))
        body = wire_samples.record(data, rng.choice((0, 0, 1, 3, 3, 4)), index, term)
        body *= rng.choice((1, 1, 1, 1, 0, 2))
        frame = wire_samples.with_body(
            raftx, kind, body, rng.choice((1, 1, 1, 0, 2)), term=rng.choice((0, 1, 2)), index=rng.choice((0, 1))
        )
        where = f"seed {seed} step {step}: {frame.hex()}"
        agree(where, receivers, "decode", frame)
    assert receivers[0].rejected_by_reason() == receivers[1].rejected_by_reason()


@pytest.mark.parametrize("seed", range(20))
def test_windows_and_columns_that_move(both: tuple[Any, Any], seed: int) -> None:
    rng = random.Random(seed)
    capacity = rng.choice((1, 4, 40))
    windows = [core.Inflights(capacity) for core in both]
    peers = [core.Peers() for core in both]
    for step in range(STEPS // 2):
        index = step + 1
        slot = rng.choice((0, 1, 2, 63, 63, -1, 64, 2**31)) if rng.random() < 0.3 else rng.randint(0, 5)
        ids = sorted({rng.randint(1, 9) for _ in range(rng.randint(0, 6))})
        if rng.random() < 0.1:
            ids = [number(rng, 3) for _ in range(3)]
        places = [rng.randint(-1, 6) if rng.random() < 0.98 else rng.choice((63, 64, -7, 2**31)) for _ in ids]
        if rng.random() < 0.05:
            places = places[1:]
        capacity = rng.choice((0, 1, 2, 50, 2**31 - 1, *((2**31, 2**32, -1) if 0 <= slot < 64 else ())))
        target, name, arguments = rng.choices(
            (
                (windows, "py_add", [slot, index, rng.randint(0, 9)]),
                (windows, "py_free_to", [slot, max(0, index - rng.randint(0, 20))]),
                (windows, "set_capacity", [slot, capacity]),
                (windows, "reorder", [places if rng.random() < 0.3 else rng.sample(range(-1, 64), rng.randint(0, 65))]),
                (peers, "reorder", [ids, places]),
                (peers, "set_ids", [ids]),
                (peers, "set_match", [slot, number(rng, index)]),
                (peers, "set_commit_group", [slot, number(rng, 3)]),
            ),
            weights=(40, 8, 10, 6, 10, 1, 15, 10),
        )[0]
        where = f"seed {seed} step {step}: {name}{arguments}"
        agree(where, target, name, *arguments)
        states = [
            [(each.count_of(at), each.bytes_of(at), each.py_full(at), each.contents(at)) for at in range(64)]
            for each in windows
        ]
        assert states[0] == states[1], where
        columns = (*both[0].COLUMN_NAMES, "state")
        states = [
            [each.count, each.paused, each.recent_active, *[plain(each.column(name)) for name in columns]]
            for each in peers
        ]
        assert states[0] == states[1], where


@pytest.mark.parametrize("name", ["set_capacity", "set_match", "set_commit_group", "py_add", "py_free_to"])
def test_first_of_two_errors(both: tuple[Any, Any], name: str) -> None:
    """Where the slot and the number are wrong, both complain of the same."""
    different = []
    for slot in (-1, 64, 2**31, -(2**64), None):
        for value in (-1, 2**31, 2**32, 2**64, None, 1.5):
            targets = [core.Inflights(4) if hasattr(core.Inflights, name) else core.Peers() for core in both]
            more = [1] if name == "py_add" else []
            results = [outcome(getattr(each, name), slot, value, *more) for each in targets]
            if results[0] != results[1]:
                different.append((slot, value, *results))
    assert not different


class Seven:
    """A number only by its index."""

    def __index__(self) -> int:
        return 7


def test_numbers_are_taken_by_their_index(both: tuple[Any, Any]) -> None:
    def shown(call: Callable[[], Any], *names: str) -> Any:
        try:
            made = call()
        except TypeError as error:
            return type(error)
        return [(type(getattr(made, name)), int(getattr(made, name))) for name in names]

    seven = Seven()
    different = []
    for title, make, names in (
        ("Inflights", lambda core: core.Inflights(seven, seven), ("capacity", "max_bytes")),
        ("EntryLog", lambda core: core.EntryLog(seven, seven), ("first", "last", "base_term")),
        ("Codec", lambda core: core.Codec(CLUSTER, seven, seven, seven), ("id", "incarnation", "group")),
        ("Entry", lambda core: core.Entry(seven, seven, b"", seven), ("index", "term", "kind")),
        ("Message", lambda core: core.Message(seven, to=seven, flags=seven), ("kind", "to", "flags")),
    ):
        results = [shown(lambda core=core, make=make: make(core), *names) for core in both]
        if results[0] != results[1]:
            different.append((title, *results))
    assert not different


@pytest.fixture
def probes(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What only compiled code can call, for both."""
    directory = tmp_path_factory.getbasetemp() / "nogil_probe"
    return [reach(package, directory) for package in (raftx, _pure.load())]


@pytest.mark.parametrize("seed", range(20))
def test_rows_that_share_bodies(both: tuple[Any, Any], probes: list[Any], seed: int) -> None:
    """The same operations on boxes, windows of spans and logs come to the same rows and to equal frames."""
    rng = random.Random(seed)
    logs = [core.EntryLog(1, 0, 4096) for core in both]
    boxes = [[core.Outbox() for core in both] for _ in range(2)]
    spans = [core.Spans() for core in both]
    senders = [core.Codec(CLUSTER, 1, incarnation=seed) for core in both]
    for step in range(STEPS // 2):
        where = f"seed {seed} step {step}"
        target, other = rng.sample(boxes, 2)
        rows, last = len(target[0]), logs[0].last
        data = payload(rng)
        for log in logs:
            log.py_append(1 + step // 20, data, step % 3)
        values, entries = message_values(rng)
        action = rng.randrange(6) if rows else 0
        row, to = rng.randrange(max(rows, 1)), rng.randint(0, 2)
        high, commit, low = rng.randint(0, last + 1), rng.randint(0, 9), rng.randint(1, last + 1)
        values["to"] = to
        for at, (core, probe) in enumerate(zip(both, probes)):
            if action <= 1:
                target[at].py_push(core.Message(entries=entries, **values))
            elif action == 2:
                other[at].py_push(core.Message(**values))
                probe.share_body(other[at], target[at], row)
            elif action == 3:
                spans[at].py_clear()
                for entry in entries:
                    spans[at].py_push(entry, 0, 1)
                target[at].py_push(core.Message(**values))
                probe.set_spans(target[at], spans[at], len(entries))
            elif action == 4:
                target[at].py_push(core.Message(3, to=to, index=low - 1))
                probe.fill(logs[at], target[at], low, min(low + 2, last + 1))
            else:
                probe.discard(target[at], row % 2)
                found = probe.find(target[at], 3, to)
                if found >= 0 and probe.index_at(target[at], found) <= last:
                    probe.extend(logs[at], target[at], found, high, commit)
        seen = [[plain(box.messages()) for box in pair] for pair in boxes]
        assert all([pair[0] == pair[1] for pair in seen]), where
        for kind in (3, 4, 7):
            assert probes[0].find(target[0], kind, to) == probes[1].find(target[1], kind, to), where
        if step % 10 == 9:
            frames = [sender.encode(2, box.messages()) for sender, box in zip(senders, target)]
            assert frames[0] == frames[1], where
        if rng.random() < 0.03:
            for box in target:
                box.py_clear()


CLASSES = ("Buffer", "Codec", "Cursor", "Entry", "EntryLog", "Inflights", "Message", "Outbox", "Peers", "Spans")
FUNCTIONS = ("py_crc32",)
MODULES = ("_native.memory", "_native.outbox", "_core")


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    """Name, kind and default of each parameter, without its annotation."""
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("module", MODULES)
def test_same_public_names(module: str) -> None:
    """What Python can see of the compiled module is in the twin as well, which has the nogil functions besides."""
    ours, twin = (importlib.import_module(f"{package}.{module}") for package in ("raftx", _pure.load().__name__))
    values = {*vars(raftx.errors), *vars(raftx.types)}  # what a module uses of them, it need not show
    public = {name for name in vars(ours) if not name.startswith("_") and name not in values}
    assert public <= set(dir(twin))
    classes = {name for name in public if isinstance(getattr(ours, name), type)}
    assert classes <= {*CLASSES, "View"}
    # A twin also has what it imports; the parts of _core's stand in _twins.
    places = (twin.__name__, *(f"{_pure.load().__name__}._twins.{part}" for part in ("log", "flow", "codec")))
    own = {name for name in (*CLASSES, *FUNCTIONS) if getattr(vars(twin).get(name), "__module__", None) in places}
    assert own <= public


@pytest.mark.parametrize("name", CLASSES)
def test_same_public_methods(both: tuple[Any, Any], name: str) -> None:
    # The twin has the nogil methods as well, which Python cannot see in the compiled classes.
    ours, twin = (getattr(core, name) for core in both)
    public = {each for each in vars(ours) if not each.startswith("_")}
    assert public <= set(dir(twin))
    # Whatever is meant for Python on one side has to be there on the other.
    assert {each for each in vars(twin) if each.startswith("py_")} <= public
    for each in sorted(public):
        if callable(getattr(ours, each)):
            assert parameters(getattr(ours, each)) == parameters(getattr(twin, each)), each
        assert isinstance(vars(ours)[each], staticmethod) == isinstance(vars(twin)[each], staticmethod), each


def test_same_functions(both: tuple[Any, Any]) -> None:
    for name in FUNCTIONS:
        assert parameters(getattr(both[0], name)) == parameters(getattr(both[1], name)), name


def test_each_class_is_found_in_one_module() -> None:
    """Who took it from elsewhere would get the same one, but Cython does not know that it is."""
    for name in (*CLASSES, *FUNCTIONS):
        found = [part for part in MODULES if hasattr(importlib.import_module(f"raftx.{part}"), name)]
        assert len(found) == 1, f"{name} is in {found}"
