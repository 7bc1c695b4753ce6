"""Windows of appends and columns of members that move: capacities, reorder, bounds, in both implementations.

What windows and columns do in their places is in test_core_structs.py. Reorder is held against a slow model.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import ModuleType
from typing import Any

import pytest

from tests.helpers.nogil_probe import reach

# No place has this number, in whatever width it is looked at.
FAR = (-(2**63), -(2**32), -65, -2, 64, 65, 2**31, 2**32, 2**63, 2**64)
COLUMNS = ("match", "next", "sent_commit", "pending_snapshot", "requested_snapshot", "commit_group")
LARGEST = 2**63 - 1
ENDLESS = 2**31 - 1


@pytest.fixture
def flow(mod: Callable[[str], ModuleType]) -> ModuleType:
    """The module _core of that implementation."""
    return mod("_core")


@pytest.fixture
def probe(impl: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What only compiled code can call."""
    return reach(impl, tmp_path_factory.getbasetemp() / "nogil_probe")


# --- the capacity of one window --------------------------------------------------------------------


def test_set_capacity_is_of_one_window(flow: Any) -> None:
    window = flow.Inflights(4)
    window.set_capacity(2, 1)
    window.set_capacity(63, ENDLESS)
    for slot, fits in ((0, 4), (2, 1), (3, 4)):
        for index in range(fits):
            assert not window.py_full(slot)
            window.py_add(slot, index, 1)
        assert window.py_full(slot)
    for index in range(1000):
        window.py_add(63, index, 1)
    assert not window.py_full(63)
    assert window.capacity == 4


def test_a_lowered_capacity_keeps_what_is_in_flight(flow: Any, errors: ModuleType) -> None:
    window = flow.Inflights(10)
    for index in range(1, 9):
        window.py_add(0, index, 10)
    window.set_capacity(0, 3)
    assert window.contents(0) == [(index, 10) for index in range(1, 9)]
    window.py_free_to(0, 5)
    assert (window.count_of(0), window.py_full(0)) == (3, True)
    with pytest.raises(errors.Corruption, match="cannot add into a full inflights window"):
        window.py_add(0, 9, 10)
    window.py_free_to(0, 6)
    assert not window.py_full(0)
    window.py_add(0, 9, 10)
    assert window.contents(0) == [(7, 10), (8, 10), (9, 10)]
    assert window.bytes_of(0) == 30


def test_a_raised_capacity_takes_more_at_once(flow: Any) -> None:
    window = flow.Inflights(2)
    window.py_add(0, 1, 1)
    window.py_add(0, 2, 2)
    window.py_free_to(0, 1)
    window.py_add(0, 3, 3)  # the ring has wrapped
    assert window.py_full(0)
    window.set_capacity(0, 100)
    for index in range(4, 102):
        window.py_add(0, index, index)
    assert window.py_full(0)
    assert window.contents(0) == [(index, index) for index in range(2, 102)]


def test_a_capacity_of_nothing(flow: Any, errors: ModuleType) -> None:
    window = flow.Inflights(5)
    window.set_capacity(7, 0)
    assert window.py_full(7)
    with pytest.raises(errors.Corruption):
        window.py_add(7, 1, 1)
    assert (window.contents(7), window.bytes_of(7)) == ([], 0)
    window.set_capacity(7, 1)
    window.py_add(7, 1, 1)
    assert window.py_full(7)


def test_reset_keeps_the_capacity(flow: Any) -> None:
    window = flow.Inflights(5)
    window.set_capacity(1, 2)
    window.py_add(1, 1, 1)
    window.py_reset(1)
    window.py_add(1, 1, 1)
    window.py_add(1, 2, 1)
    assert window.py_full(1)


def test_bytes_limit_every_capacity(flow: Any) -> None:
    window = flow.Inflights(2, 10)
    window.set_capacity(0, 1000)
    window.py_add(0, 1, 9)
    assert not window.py_full(0)
    window.py_add(0, 2, 5)
    assert (window.py_full(0), window.bytes_of(0)) == (True, 14)


def test_set_capacity_refuses(flow: Any) -> None:
    window = flow.Inflights(4)
    with pytest.raises(ValueError, match=r"capacity must be in 0\.\.2\^31-1"):
        window.set_capacity(0, 2**31)
    for capacity in (-1, 2**32, 2**64, -(2**64)):
        with pytest.raises(OverflowError):
            window.set_capacity(0, capacity)
    for slot in FAR:
        with pytest.raises((IndexError, OverflowError)):
            window.set_capacity(slot, 1)
    for slot in (-1, 64):
        with pytest.raises(IndexError, match=r"slot must be in 0\.\.63"):
            window.set_capacity(slot, 1)
    for index in range(4):  # nothing of that changed anything
        window.py_add(0, index, 1)
    assert window.py_full(0)


# --- windows that move -----------------------------------------------------------------------------


def test_windows_move_as_they_are(flow: Any) -> None:
    window = flow.Inflights(3)
    window.set_capacity(1, 2)
    for slot in range(4):
        window.py_add(slot, 10 + slot, 100 + slot)
    window.py_add(1, 21, 1)
    window.reorder([3, -1, 1])
    assert [window.contents(slot) for slot in range(5)] == [[(13, 103)], [], [(11, 101), (21, 1)], [], []]
    assert [window.bytes_of(slot) for slot in range(4)] == [103, 0, 102, 0]
    assert [window.py_full(slot) for slot in range(4)] == [False, False, True, False]
    for slot in (0, 1, 3):  # new ones have the capacity of all
        while not window.py_full(slot):
            window.py_add(slot, 99, 0)
        assert window.count_of(slot) == 3


def test_windows_that_are_not_named_are_gone(flow: Any) -> None:
    window = flow.Inflights(3)
    window.py_add(63, 1, 1)
    window.set_capacity(62, 0)
    window.reorder([])
    assert [window.count_of(slot) for slot in range(64)] == [0] * 64
    assert not any(window.py_full(slot) for slot in range(64))


def test_windows_all_of_them(flow: Any) -> None:
    window = flow.Inflights(100)
    for slot in range(64):
        for index in range(slot):
            window.py_add(slot, index, 1)
    window.reorder(range(63, -1, -1))
    assert [window.count_of(slot) for slot in range(64)] == list(range(63, -1, -1))
    window.reorder(range(64))
    assert [window.count_of(slot) for slot in range(64)] == list(range(63, -1, -1))


@pytest.mark.parametrize("places", [[0, 0], [-1, 5, 3, 5], [0] * 64, [*range(64), -1], [-1] * 65, [-1] * 1000])
def test_windows_refuse_places(flow: Any, places: list[int]) -> None:
    window = flow.Inflights(3)
    window.py_add(0, 1, 1)
    with pytest.raises(ValueError, match="at most 64 places, each once"):
        window.reorder(places)
    assert window.contents(0) == [(1, 1)]


def test_windows_refuse_places_that_are_none(flow: Any) -> None:
    window = flow.Inflights(3)
    window.py_add(0, 1, 1)
    for place in (64, 65, 2**31 - 1):
        with pytest.raises(IndexError, match=r"slot must be in 0\.\.63"):
            window.reorder([1, place])
    for place in (2**31, 2**64):
        with pytest.raises(OverflowError):
            window.reorder([1, place])
    for wrong in (None, 3, ["0"], [None], [0.0], [[0]]):
        with pytest.raises(TypeError):
            window.reorder(wrong)
    assert window.contents(0) == [(1, 1)]
    # Everything below 0 is "none".
    window.reorder([-(2**70), 0])
    assert (window.contents(0), window.contents(1)) == ([], [(1, 1)])


@pytest.mark.parametrize("seed", range(12))
def test_windows_against_a_model(flow: Any, seed: int) -> None:
    """The model: for each slot its capacity and its list of appends."""
    rng = random.Random(seed)
    capacity, limit = rng.choice((1, 2, 16, 17, 40)), rng.choice((0, 0, 60))
    window = flow.Inflights(capacity, limit)
    model: list[tuple[int, list[tuple[int, int]]]] = [(capacity, []) for _ in range(64)]
    index = 0
    for _ in range(250):
        slot = rng.choice((0, 1, 2, 3, 62, 63))
        most, held = model[slot]
        full = len(held) >= most or 0 < limit <= sum(size for _, size in held)
        assert window.py_full(slot) == full
        action = rng.random()
        if action < 0.6 and not full:
            index += 1
            size = rng.choice((0, 1, 5, 100))
            window.py_add(slot, index, size)
            held.append((index, size))
        elif action < 0.75:
            to = index - rng.randint(0, 20)
            if to >= 0:
                window.py_free_to(slot, to)
                held[:] = [each for each in held if each[0] > to]
        elif action < 0.9:
            most = rng.choice((0, 1, 3, 16, 17, 33))
            window.set_capacity(slot, most)
            model[slot] = (most, held)
        elif action < 0.92:
            places = rng.sample(range(64), rng.randint(0, 64))
            for at in range(len(places)):
                if rng.random() < 0.1:
                    places[at] = -1
            window.reorder(places)
            places += [-1] * (64 - len(places))
            model = [model[place] if place >= 0 else (capacity, []) for place in places]
        for slot in range(64):
            held = model[slot][1]
            assert window.contents(slot) == held
            assert (window.count_of(slot), window.bytes_of(slot)) == (len(held), sum(size for _, size in held))


# --- columns that move -----------------------------------------------------------------------------


def row(peers: Any, slot: int) -> tuple[Any, ...]:
    """All that is known about one slot."""
    numbers = [peers.column(name)[slot] for name in COLUMNS]
    return (*numbers, peers.column("state")[slot], (peers.paused >> slot) & 1, (peers.recent_active >> slot) & 1)


EMPTY = (0,) * (len(COLUMNS) + 3)


def test_column_names(flow: Any) -> None:
    assert list(flow.COLUMN_NAMES) == ["ids", *COLUMNS]
    peers = flow.Peers()
    peers.set_ids([1])
    for name in (*flow.COLUMN_NAMES, "state"):
        assert list(peers.column(name)) == [name == "ids"]
    for name in ("paused", "recent_active", "count", "", "Match", "match ", "_column"):
        with pytest.raises(KeyError):
            peers.column(name)


def test_columns_are_copies(flow: Any) -> None:
    peers = flow.Peers()
    peers.set_ids([4, 9])
    peers.set_match(1, 7)
    peers.set_commit_group(0, LARGEST)
    before = [peers.column(name) for name in ("ids", "match", "commit_group")]
    assert [list(column) for column in before] == [[4, 9], [0, 7], [LARGEST, 0]]
    assert all(column.readonly for column in before)
    peers.reorder([9], [1])
    del peers
    assert [list(column) for column in before] == [[4, 9], [0, 7], [LARGEST, 0]]


def test_rows_move_as_they_are(flow: Any, probe: Any) -> None:
    peers = flow.Peers()
    peers.set_ids([10, 20, 30])
    for slot in range(3):
        values = tuple([100 * slot + at for at in range(len(COLUMNS))])
        probe.fill_peer(peers, slot, values, slot, slot != 1, slot != 0)
    first, second, third = (row(peers, slot) for slot in range(3))
    peers.reorder([5, 20, 25, 30, 31], [-1, 1, -1, 0, 2])
    assert peers.count == 5
    assert list(peers.column("ids")) == [5, 20, 25, 30, 31]
    assert [row(peers, slot) for slot in range(5)] == [EMPTY, second, EMPTY, first, third]
    peers.reorder([31], [4])
    assert row(peers, 0) == third
    assert (peers.paused, peers.recent_active) == (1, 1)
    peers.reorder([1, 2], [-1, 1])  # a place behind the members is empty
    assert [row(peers, slot) for slot in range(2)] == [EMPTY] * 2
    assert (peers.paused, peers.recent_active) == (0, 0)


def test_set_ids_empties_all(flow: Any, probe: Any) -> None:
    peers = flow.Peers()
    peers.set_ids([1, 2])
    probe.fill_peer(peers, 1, (1, 2, 3, 4, 5, 6), 2, True, True)
    peers.set_ids([1, 2])
    assert [row(peers, slot) for slot in range(2)] == [EMPTY] * 2
    peers.set_ids([])
    assert (peers.count, peers.py_slot_of(1), list(peers.column("match"))) == (0, -1, [])


def test_a_row_may_be_taken_twice(flow: Any) -> None:
    peers = flow.Peers()
    peers.set_ids([1])
    peers.set_match(0, 5)
    peers.reorder([1, 2, 3], [0, 0, -1])
    assert list(peers.column("match")) == [5, 5, 0]


def test_64_members_and_not_one_more(flow: Any, probe: Any) -> None:
    peers = flow.Peers()
    ids = [*range(1, 64), LARGEST]
    peers.set_ids(ids)
    for slot in range(64):
        probe.fill_peer(peers, slot, (slot,) * 6, slot % 3, True, True)
    assert (peers.count, peers.paused, peers.recent_active) == (64, 2**64 - 1, 2**64 - 1)
    assert peers.py_slot_of(LARGEST) == 63
    peers.reorder(ids, range(63, -1, -1))
    assert list(peers.column("match")) == list(range(63, -1, -1))
    assert peers.paused == 2**64 - 1
    for wrong in ([*range(1, 65), LARGEST], list(range(1, 1000))):
        with pytest.raises(ValueError, match="at most 64 members"):
            peers.set_ids(wrong)
        with pytest.raises(ValueError, match="at most 64 members"):
            peers.reorder(wrong, [-1] * len(wrong))
        with pytest.raises(ValueError):
            peers.reorder(wrong, [-1] * 64)
    assert list(peers.column("ids")) == ids
    assert list(peers.column("match")) == list(range(63, -1, -1))


@pytest.mark.parametrize("ids", [[2, 1], [1, 1], [0], [0, 1], [-1], [1, 2**63], [1, 2**64], [-(2**70), 1]])
def test_columns_refuse_ids(flow: Any, ids: list[int]) -> None:
    peers = flow.Peers()
    peers.set_ids([1, 2])
    peers.set_match(1, 9)
    for call in (peers.set_ids, lambda ids: peers.reorder(ids, [0] * len(ids))):
        with pytest.raises(ValueError, match=r"ids must be ascending, unique and in 1\.\.2\^63-1"):
            call(ids)
    assert (list(peers.column("ids")), list(peers.column("match"))) == ([1, 2], [0, 9])


def test_columns_refuse_places(flow: Any) -> None:
    peers = flow.Peers()
    peers.set_ids([1, 2])
    peers.set_match(1, 9)
    for places in ([], [0], [0, 1, 1], range(64), [-1] * 1000):
        with pytest.raises(ValueError, match="as many places as ids"):
            peers.reorder([1, 2], places)
    for place in FAR:
        if place >= 0:
            with pytest.raises((IndexError, OverflowError)):
                peers.reorder([1, 2], [0, place])
    for wrong in (None, 3, ["0", 1], [0.0, 1], [None, 1]):
        with pytest.raises(TypeError):
            peers.reorder([1, 2], wrong)
    for wrong in (None, 3, ["1", 2], [1.0, 2], [None, 2]):
        with pytest.raises(TypeError):
            peers.reorder(wrong, [0, 1])
    assert (list(peers.column("ids")), list(peers.column("match"))) == ([1, 2], [0, 9])


def test_setters_refuse(flow: Any) -> None:
    peers = flow.Peers()
    peers.set_ids([1])
    for call in (peers.set_match, peers.set_commit_group):
        call(63, 2**64 - 1)
        for slot in (-1, 64):
            with pytest.raises(IndexError, match=r"slot must be in 0\.\.63"):
                call(slot, 1)
        for slot in FAR:
            with pytest.raises((IndexError, OverflowError)):
                call(slot, 1)
        for number in (-1, 2**64):
            with pytest.raises(OverflowError):
                call(0, number)
    assert (list(peers.column("match")), list(peers.column("commit_group"))) == ([0], [0])


@pytest.mark.parametrize("wrong", [1.0, -1.0, -0.5, float("nan"), "1", None, Fraction(-1), Decimal(-1), [1]])
def test_only_integers_are_taken_for_integers(flow: Any, wrong: Any) -> None:
    window, peers = flow.Inflights(4), flow.Peers()
    peers.set_ids([1])
    calls = {
        "set_capacity slot": lambda: window.set_capacity(wrong, 1),
        "set_capacity": lambda: window.set_capacity(1, wrong),
        "Inflights.reorder": lambda: window.reorder([wrong]),
        "set_match": lambda: peers.set_match(0, wrong),
        "set_commit_group": lambda: peers.set_commit_group(0, wrong),
        "set_commit_group slot": lambda: peers.set_commit_group(wrong, 1),
        "Peers.reorder ids": lambda: peers.reorder([wrong], [0]),
        "Peers.reorder places": lambda: peers.reorder([1], [wrong]),
    }
    taken = []
    for name, call in calls.items():
        try:
            call()
        except TypeError:
            continue
        taken.append(name)
    assert not taken


@pytest.mark.parametrize("seed", range(12))
def test_rows_against_a_model(flow: Any, probe: Any, seed: int) -> None:
    """The model: what is known about each member, by id."""
    rng = random.Random(seed)
    peers = flow.Peers()
    peers.set_ids([])
    model: dict[int, tuple[Any, ...]] = {}
    for _ in range(60):
        before = sorted(model)
        for slot, id in enumerate(before):
            if rng.random() < 0.5:
                values = tuple([rng.choice((0, 1, rng.getrandbits(62))) for _ in COLUMNS])
                state, paused, active = rng.randint(0, 2), rng.random() < 0.5, rng.random() < 0.5
                probe.fill_peer(peers, slot, values, state, paused, active)
                model[id] = (*values, state, int(paused), int(active))
        known = rng.sample(before, rng.randint(0, len(before)))
        fresh = [rng.randint(1, LARGEST) for _ in range(rng.choice((0, 1, 5, 60)))]
        after = sorted({*known, *fresh})[:64]
        places = [before.index(id) if id in before else -1 for id in after]
        peers.reorder(after, places)
        model = {id: model.get(id, EMPTY) for id in after}
        assert list(peers.column("ids")) == after
        assert [row(peers, slot) for slot in range(peers.count)] == [model[id] for id in after]
        assert [peers.py_slot_of(id) for id in after] == list(range(len(after)))
        assert (peers.paused | peers.recent_active) >> peers.count == 0
