"""The table of sessions by itself, against a model that keeps everything; and results as bytes."""

from __future__ import annotations

import random

import pytest

from tests.helpers.implementations import module

SECOND = 1_000_000_000


@pytest.fixture
def table(impl):
    return module(impl, "node.session_table")


@pytest.fixture
def form(impl):
    return module(impl, "node.session_format")


class Model:
    """Everything that ever was, and rules as plain as can be."""

    def __init__(self):
        self.sessions = {}
        self.applied = []

    def expire(self, time):
        for id, each in list(self.sessions.items()):
            if each["used"] + each["ttl"] < time:
                del self.sessions[id]

    def open(self, id, expected, token, ttl, index, time):
        self.expire(time)
        each = self.sessions.get(id)
        if each and each["token"] == token:
            each["used"] = time
            return True, each["opening"], each["last"]
        if (each["opening"] if each else 0) != expected:
            return False, each["opening"] if each else 0, each["last"] if each else 0
        last = each["last"] if each else 0
        self.sessions[id] = {
            "opening": index, "token": token, "ttl": ttl * 1_000_000, "used": time, "last": last, "floor": last + 1,
            "results": {},
        }  # fmt: skip
        return True, index, last

    def command(self, id, opening, sequence, acknowledged, time, index):
        self.expire(time)
        each = self.sessions.get(id)
        if each is None:
            return "SessionExpired"
        if each["opening"] != opening:
            return "SessionFenced"
        each["used"] = time
        each["floor"] = max(each["floor"], acknowledged)
        each["last"] = max(each["last"], each["floor"] - 1)
        if sequence < each["floor"]:
            return "Unknown"
        if sequence in each["results"]:
            return each["results"][sequence]
        if sequence != each["last"] + 1:
            return "NotDone"
        each["last"] = sequence
        each["results"][sequence] = index
        self.applied.append(index)
        return index


def test_random_entries(table, impl):
    """The table and the model agree, also when the table goes through a snapshot in between."""
    rng, applied = random.Random(3), 0
    for _ in range(60):
        made, model, time = table.SessionTable(), Model(), 10**18
        known = {}
        for index in range(1, 120):
            time += rng.choice((0, 1, SECOND, 20 * SECOND))
            made.index = index
            id = bytes([rng.randint(1, 3)]) * 16
            if rng.random() < 0.1:
                token, ttl = bytes([rng.randint(1, 4)]) * 16, rng.choice((5_000, 60_000))
                expected = rng.choice((0, known.get(id, 0)))
                answer = made.open(id, expected, token, ttl, index, time)
                assert answer == model.open(id, expected, token, ttl, index, time)
                known[id] = answer[1]
                continue
            opening = known.get(id, 1) if rng.random() < 0.9 else rng.randint(1, index)
            last = model.sessions[id]["last"] if id in model.sessions else 0
            sequence = max(1, last + rng.choice((-2, -1, 0, 1, 1, 1, 1, 2)))
            acknowledged = max(1, sequence - rng.choice((0, 1, 2, 5)))
            expected = model.command(id, opening, sequence, acknowledged, time, index)
            if isinstance(expected, str):
                with pytest.raises(getattr(impl, expected)):
                    made.begin(id, opening, sequence, acknowledged, time)
                continue
            kept = made.begin(id, opening, sequence, acknowledged, time)
            if kept is None:
                assert expected == index
                made.keep(id, sequence, table.Kept(index, 7, table.VALUE, ("result", index)))
            else:
                assert (kept.index, kept.value) == (expected, ("result", expected))
            if rng.random() < 0.2:
                time_then, made = table.decode(made.encode(time), index)
                assert time_then == time
        assert len(set(model.applied)) == len(model.applied)
        applied += len(model.applied)
    assert applied > 500


def test_the_oldest_give_way(table, impl, monkeypatch):
    monkeypatch.setattr(table, "SESSIONS_MAX", 3)
    made = table.SessionTable()
    for index in range(1, 5):
        made.open(bytes([index]) * 16, 0, bytes([index]) * 16, 1000, index, 100)
        if index == 3:
            made.begin(b"\1" * 16, 1, 1, 1, 100)
            made.keep(b"\1" * 16, 1, table.Kept(9, 1, table.VALUE, 5))
    assert [id[0] for id in made.sessions] == [3, 1, 4]
    with pytest.raises(impl.SessionExpired):
        made.begin(b"\2" * 16, 2, 1, 1, 100)


def test_time_that_is_not_known_expires_nothing(table, impl):
    """The first entries may have none; then there is one, all at once."""
    made = table.SessionTable()
    made.open(b"a" * 16, 0, b"t" * 16, 1000, 1, 0)
    assert made.begin(b"a" * 16, 1, 1, 1, 10**18) is None
    made.keep(b"a" * 16, 1, table.Kept(2, 1, table.VALUE))
    assert made.begin(b"a" * 16, 1, 2, 1, 10**18 + SECOND) is None
    made.keep(b"a" * 16, 2, table.Kept(3, 1, table.VALUE))
    with pytest.raises(impl.SessionExpired):
        made.begin(b"a" * 16, 1, 3, 1, 10**18 + 2 * SECOND + 1)
    assert not made.live(10**18 + 3 * SECOND)


def test_the_window(table, impl):
    made = table.SessionTable()
    made.open(b"a" * 16, 0, b"t" * 16, 1000, 1, 1)
    for sequence in range(1, table.WINDOW + 1):
        assert made.begin(b"a" * 16, 1, sequence, 1, 1) is None
        made.keep(b"a" * 16, sequence, table.Kept(sequence, 1, table.VALUE, sequence))
    with pytest.raises(impl.NotDone, match="are open"):
        made.begin(b"a" * 16, 1, table.WINDOW + 1, 1, 1)
    assert made.begin(b"a" * 16, 1, table.WINDOW + 1, 2, 1) is None


def test_many_bytes_of_results_are_lost_not_the_commands(table, monkeypatch):
    monkeypatch.setattr(table, "KEPT_BYTES", 1000)
    monkeypatch.setattr(table, "LOST_AT_ONCE", 200)
    made = table.SessionTable()
    for number in (1, 2):
        made.open(bytes([number]) * 16, 0, b"t" * 16, 1000, number, 1)
        for sequence in range(1, 8):
            assert made.begin(bytes([number]) * 16, number, sequence, 1, 1) is None
            made.keep(bytes([number]) * 16, sequence, table.Kept(sequence, 1, table.VALUE, b"x" * 100))
    assert made.kept_bytes <= 1000
    again = made.begin(b"\1" * 16, 1, 1, 1, 1)
    assert (again.index, again.how, again.outcome()) == (1, table.LOST, None)
    assert made.begin(b"\2" * 16, 2, 7, 1, 1).outcome() == b"x" * 100
    _, read = table.decode(made.encode(5), 9)
    assert (read.kept_bytes, read.index) == (made.kept_bytes, 9)
    for each in (made, read):
        assert each.kept_bytes == sum(state.kept_bytes for state in each.sessions.values())
        for state in each.sessions.values():
            assert state.kept_bytes == sum(kept.size() for kept in state.results.values())
        each.close(b"\2" * 16, 2, 1)
        each.close(b"\1" * 16, 1, 1)
        assert each.kept_bytes == 0


def test_not_every_command_looks_for_results_to_lose(table, monkeypatch):
    """Where they are too many, some are lost at once; sessions that have lost theirs are passed over."""
    monkeypatch.setattr(table, "KEPT_BYTES", 10_000)
    monkeypatch.setattr(table, "LOST_AT_ONCE", 2000)
    made, asked = table.SessionTable(), []
    lose = made.lose
    monkeypatch.setattr(made, "lose", lambda most: (asked.append(made.kept_bytes), lose(most)))
    for number in range(1, 201):
        id = number.to_bytes(16, "big")
        made.open(id, 0, b"t" * 16, 1000, number, 1)
        assert made.begin(id, number, 1, 1, 1) is None
        made.keep(id, 1, table.Kept(number, 1, table.VALUE, b"x" * 100))
        assert made.kept_bytes <= 10_000
    assert 2 <= len(asked) <= 6


def test_damaged_bytes(table, impl):
    made = table.SessionTable()
    made.open(b"a" * 16, 0, b"t" * 16, 1000, 1, 1)
    made.begin(b"a" * 16, 1, 1, 1, 1)
    made.keep(b"a" * 16, 1, table.Kept(1, 1, table.VALUE, ["x", 5]))
    whole = made.encode(7)
    for size in range(1, len(whole)):
        with pytest.raises(impl.SnapshotDamaged):
            table.decode(whole[:size], 3)
    with pytest.raises(impl.SnapshotDamaged):
        table.decode(whole + b"x", 3)
    assert table.decode(b"", 3)[0] == 0


VALUES = [
    None, True, False, 0, -1, 127, 128, 255, 2**64, -(2**200), 0.5, float("inf"), b"", b"\0x", "", "ä\n", [], (), {},
    [1, (2, b"3"), {"4": [5.5, None]}], {1: 2, (1, 2): "x"}, [True, 1, 1.0],
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back(form, value):
    data = form.encode_value(value)
    back = form.decode_value(data)
    assert back == value and type(back) is type(value) and repr(back) == repr(value)
    for size in range(len(data)):
        with pytest.raises(ValueError, match=r"damaged|codec"):
            form.decode_value(data[:size])


def test_what_is_no_such_value(form):
    class Text(str):
        pass

    deep = []
    for _ in range(20):
        deep = [deep]
    for value in (object(), {1, 2}, Text("x"), 1j, deep, b"x" * (64 << 10), [b"x" * 40_000] * 2, "\udc80", [object()]):
        assert form.encode_value(value) is None
    assert form.encode_value(b"x" * 65_000) is not None


def test_ids_of_names(form, impl):
    assert form.id_of("a") == form.id_of(b"a") != form.id_of("b")
    assert len(form.id_of("a")) == 16 and form.HEADER.size == 48
