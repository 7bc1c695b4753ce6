"""Memberships, changes of membership and snapshots as values and as bytes, in both packages."""

from __future__ import annotations

import dataclasses
import random
import struct
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.helpers.wire_samples import membership

LARGEST = 2**63 - 1
AUTO, IMPLICIT, EXPLICIT = 0, 1, 2
SETS = ("voters", "learners", "voters_outgoing", "learners_next")


@pytest.fixture
def types(mod: Callable[[str], ModuleType]) -> ModuleType:
    """The module types of that package."""
    return mod("types")


# --- memberships -----------------------------------------------------------------------------------


def test_bytes_of_a_membership(types: Any) -> None:
    conf = types.ConfState((1, 2, 3), (9,), (2, LARGEST), (3,), True)
    assert conf.encode() == (
        bytes((3, 1, 2, 1, 1, 0, 0, 0)) + b"".join([struct.pack("<Q", id) for id in (1, 2, 3, 9, 2, LARGEST, 3)])
    )
    assert types.ConfState().encode() == bytes(8)
    assert types.ConfState(auto_leave=True).encode() == bytes((0, 0, 0, 0, 1, 0, 0, 0))


def test_a_membership_is_written_in_one_way(types: Any) -> None:
    """Whatever the order in which its ids were given, and however often."""
    conf = types.ConfState((3, 1, 2, 3), (5, 4))
    assert conf.encode() == types.ConfState((1, 2, 3), (4, 5)).encode()
    assert types.ConfState.decode(conf.encode())[0] == types.ConfState((1, 2, 3), (4, 5))


@pytest.mark.parametrize("rest", [b"", b"\0", b"data", bytes(100)])
def test_what_follows_a_membership(types: Any, rest: bytes) -> None:
    for conf in (
        types.ConfState(),
        types.ConfState((1,)),
        types.ConfState((), (), (), (), True),
        types.ConfState(tuple(range(1, 65)), (70,), tuple(range(1, 64)), (1,), True),
    ):
        assert types.ConfState.decode(conf.encode() + rest) == (conf, rest)


def test_random_memberships_round_trip(types: Any) -> None:
    rng = random.Random(1)
    for _ in range(200):
        sets = [
            tuple(sorted({rng.choice((rng.randint(1, 9), rng.randint(1, LARGEST))) for _ in range(rng.randint(0, 20))}))
            for _ in range(4)
        ]
        conf = types.ConfState(*sets, rng.random() < 0.5)
        rest = rng.randbytes(rng.randint(0, 9))
        assert types.ConfState.decode(conf.encode() + rest) == (conf, rest)


def test_every_cut_of_a_membership(types: Any) -> None:
    data = types.ConfState((1, 2), (3,), (1,), (2,), True).encode()
    for size in range(len(data)):
        with pytest.raises(types.ConfChangeError, match="a membership is cut short"):
            types.ConfState.decode(data[:size])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (membership((1,), auto_leave=2), "cut short or damaged"),
        (membership((1,), auto_leave=255), "cut short or damaged"),
        (membership((1,), counts=(255, 255, 255, 255)), "cut short or damaged"),
        (membership((2, 1)), "ascending, unique and in 1..2^63-1"),
        (membership((1, 1)), "ascending, unique and in 1..2^63-1"),
        (membership((0,)), "ascending, unique and in 1..2^63-1"),
        (membership((1, 2**63)), "ascending, unique and in 1..2^63-1"),
        (membership((1,), (), (), (2**64 - 1,)), "ascending, unique and in 1..2^63-1"),
    ],
)
def test_bytes_that_are_no_membership(types: Any, data: bytes, text: str) -> None:
    with pytest.raises(types.ConfChangeError) as caught:
        types.ConfState.decode(data)
    assert text in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", SETS)
def test_a_membership_that_nobody_could_read_is_not_written(types: Any, name: str) -> None:
    """What decode refuses, encode refuses."""
    for ids in ((0,), (1, 2**63), (-1,), (2**64,), tuple(range(1, 257))):
        with pytest.raises(types.ConfChangeError):
            types.ConfState(**{name: ids}).encode()


# --- changes ---------------------------------------------------------------------------------------


def single(types: Any, kind: int, id: int) -> Any:
    return types.ConfChangeSingle(kind, id)


def test_numbers_of_kinds_and_transitions(types: Any) -> None:
    kinds = types.ConfChangeKind
    assert [(kind.name, kind.value) for kind in kinds] == [
        ("ADD_VOTER", 0), ("REMOVE", 1), ("UPDATE", 2), ("ADD_LEARNER", 3)
    ]  # fmt: skip
    assert (types.TRANSITION_AUTO, types.TRANSITION_IMPLICIT, types.TRANSITION_EXPLICIT) == (0, 1, 2)


def test_bytes_of_a_change(types: Any) -> None:
    change = types.ConfChange((single(types, 0, 1), single(types, 3, LARGEST)), EXPLICIT, b"context")
    assert change.encode() == struct.pack("<BBBQBQ", 2, 2, 0, 1, 3, LARGEST) + b"context"
    assert types.ConfChange((single(types, 1, 7),), v1=True).encode() == struct.pack("<BBBQ", 0, 1, 1, 7)
    assert types.ConfChange().encode() == b""
    assert types.ConfChange(context=b"c").encode() == b"\0\0c"
    assert types.ConfChange(transition=EXPLICIT).encode() == b"\2\0"


def test_kind_of_the_entry(types: Any) -> None:
    assert types.ConfChange.parse("v1", v1=True).entry_kind == types.ENTRY_CONF_CHANGE == 1
    assert types.ConfChange.parse("v1").entry_kind == types.ENTRY_CONF_CHANGE_V2 == 2


@pytest.mark.parametrize(
    ("text", "transition", "leaves", "enters", "auto"),
    [
        ("", AUTO, True, False, True),
        ("", IMPLICIT, False, True, True),
        ("", EXPLICIT, False, True, False),
        ("v1", AUTO, False, False, True),
        ("v1", IMPLICIT, False, True, True),
        ("v1", EXPLICIT, False, True, False),
        ("v1 r2", AUTO, False, True, True),
        ("v1 r2", EXPLICIT, False, True, False),
    ],
)
def test_joint_or_not(types: Any, text: str, transition: int, leaves: bool, enters: bool, auto: bool) -> None:
    change = types.ConfChange.parse(text, transition)
    assert (change.leaves_joint, change.enters_joint, change.auto_leave) == (leaves, enters, auto)
    # What it is called does not depend on the context.
    again = dataclasses.replace(change, context=b"c")
    assert (again.leaves_joint, again.enters_joint, again.auto_leave) == (leaves, enters, auto)


def test_random_changes_round_trip(types: Any) -> None:
    rng = random.Random(2)
    for _ in range(300):
        v1 = rng.random() < 0.3
        count = 1 if v1 else rng.choice((0, 1, 2, 5, 255))
        parts = tuple([single(types, rng.randint(0, 3), rng.choice((0, 1, LARGEST))) for _ in range(count)])
        transition = AUTO if v1 else rng.randint(0, 2)
        change = types.ConfChange(parts, transition, rng.randbytes(rng.choice((0, 1, 30))), v1)
        assert types.ConfChange.decode(change.encode(), v1) == change
        text = str(change)
        assert types.ConfChange.parse(text, transition, v1) == dataclasses.replace(change, context=b"")


def test_cuts_of_a_change(types: Any) -> None:
    data = types.ConfChange.parse("v1 l2 r3").encode()
    assert types.ConfChange.decode(b"") == types.ConfChange()
    for size in range(1, len(data)):
        with pytest.raises(types.ConfChangeError, match="a change of membership is cut short"):
            types.ConfChange.decode(data[:size])
    with pytest.raises(types.ConfChangeError, match="a change of membership is cut short"):
        types.ConfChange.decode(b"", v1=True)


@pytest.mark.parametrize(
    ("data", "v1", "text"),
    [
        (b"\3\0", False, "transition must be 0 (auto), 1 (implicit) or 2 (explicit), not 3"),
        (b"\xff\0", False, "transition must be 0"),
        (struct.pack("<BBBQ", 0, 1, 4, 1), False, "kind in 0..3 and an id in 1..2^63-1"),
        (struct.pack("<BBBQ", 0, 1, 0, 2**63), False, "kind in 0..3 and an id in 1..2^63-1"),
        (b"\0\0", True, "exactly one part and no transition"),
        (struct.pack("<BBBQ", 1, 1, 0, 1), True, "exactly one part and no transition"),
        (struct.pack("<BBBQBQ", 0, 2, 0, 1, 0, 2), True, "exactly one part and no transition"),
    ],
)
def test_bytes_that_are_no_change(types: Any, data: bytes, v1: bool, text: str) -> None:
    with pytest.raises(types.ConfChangeError) as caught:
        types.ConfChange.decode(data, v1)
    assert text in str(caught.value)


def test_random_bytes_are_a_change_or_refused(types: Any) -> None:
    rng = random.Random(3)
    for _ in range(500):
        data = bytes((rng.randrange(4), rng.randrange(4))) + rng.randbytes(rng.randrange(40))
        for v1 in (False, True):
            try:
                change = types.ConfChange.decode(data, v1)
            except types.ConfChangeError:
                continue
            assert change.encode() in (data, b"")
        try:
            conf, rest = types.ConfState.decode(data)
        except types.ConfChangeError:
            continue
        assert types.ConfState.decode(conf.encode() + rest) == (conf, rest)


def test_bounds_of_a_change(types: Any) -> None:
    def make(*arguments: Any, **settings: Any) -> Any:
        return types.ConfChange(*arguments, **settings)

    for transition in (-1, 3, 255, "auto", None):
        with pytest.raises(types.ConfChangeError, match=r"transition must be 0 \(auto\), 1 \(implicit\)"):
            make(transition=transition)
    for kind, id in ((-1, 1), (4, 1), (0, -1), (0, 2**63), (None, 1)):
        with pytest.raises(types.ConfChangeError, match=r"kind in 0\.\.3 and an id in 1\.\.2\^63-1"):
            make((single(types, kind, id),))
    parts = tuple([single(types, 0, id) for id in range(1, 257)])
    assert types.ConfChange.decode(make(parts[:255]).encode()).changes == parts[:255]
    with pytest.raises(types.ConfChangeError, match="at most 255 parts, not 256"):
        make(parts)
    for wrong in ({"changes": ()}, {"changes": parts[:2]}, {"changes": parts[:1], "transition": IMPLICIT}):
        with pytest.raises(types.ConfChangeError, match="exactly one part and no transition"):
            make(**wrong, v1=True)


@pytest.mark.parametrize("part", [(0, 1.5), (0, 1.0), (0.0, 1), (1.0, 1)])
def test_parts_of_a_change_are_integers(types: Any, part: tuple[Any, Any]) -> None:
    """What cannot be written is refused when it is made, as the rest is."""
    with pytest.raises((types.ConfChangeError, TypeError)):
        types.ConfChange((single(types, *part),))


def test_parse(types: Any) -> None:
    change = types.ConfChange.parse("v1 l2 r3 u4", EXPLICIT)
    assert [(part.kind, part.id) for part in change.changes] == [(0, 1), (3, 2), (1, 3), (2, 4)]
    assert (change.transition, change.context, change.v1, str(change)) == (EXPLICIT, b"", False, "v1 l2 r3 u4")
    assert types.ConfChange.parse("  v1\n\tr1 ") == types.ConfChange.parse("v1 r1")
    assert (types.ConfChange.parse(""), str(types.ConfChange())) == (types.ConfChange(), "")
    assert types.ConfChange.parse(f"v{LARGEST} v0").changes[0].id == LARGEST


@pytest.mark.parametrize("text", ["x1", "v", "1", "v-1", "v1.0", "v 1", "vv1", "v1,r2", "V1", "v0x1", "v+1", "v1_0"])
def test_parse_refuses(types: Any, text: str) -> None:
    with pytest.raises(types.ConfChangeError, match="unknown part of a change"):
        types.ConfChange.parse(text)


@pytest.mark.parametrize("digits", [str(2**63), "9" * 30, "9" * 5000])
def test_parse_refuses_large_ids(types: Any, digits: str) -> None:
    with pytest.raises(types.ConfChangeError):
        types.ConfChange.parse("v" + digits)


# --- values ----------------------------------------------------------------------------------------


def test_values_are_frozen_and_compared(types: Any) -> None:
    snapshot = types.Snapshot(3, 2, types.ConfState((1,)), b"data")
    assert snapshot == types.Snapshot(3, 2, types.ConfState((1,)), b"data")
    assert snapshot.data == b"data"
    assert types.Snapshot(3, 2, types.ConfState((1,))).data == b""
    changed = {"index": 4, "term": 1, "conf_state": types.ConfState((2,)), "data": b""}
    for name, value in changed.items():
        assert dataclasses.replace(snapshot, **{name: value}) != snapshot
    for value, name in (
        (snapshot, "data"),
        (types.ConfState(), "voters"),
        (types.ConfChange(), "changes"),
        (single(types, 0, 1), "id"),
    ):
        assert hash(value) == hash(dataclasses.replace(value))
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, ())
