"""A configuration as the running core takes it: from values and from bytes, and what moves when it is installed.

What it is held against is the plain definition of each: ConfState and ConfChange for the bytes, confchange.check for
the rules, dictionaries by id for votes and acknowledgements of reads.
"""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import pytest

from interop import describe
from raftx.types import (
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    MEMBERS_MAX,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_SNAP,
    MSG_VOTE_RESP,
    NUMBER_MAX,
)
from tests.helpers.core_drive import change, led
from tests.helpers.core_net import FullMember, Member, only
from tests.helpers.implementations import IMPLEMENTATIONS, module

PURE = IMPLEMENTATIONS["pure"]
# Constants of compiled modules are C's alone.
NAMES = module(PURE, "consensus.configuration")
FITS, DAMAGED, TOO_MANY = NAMES.FITS, NAMES.DAMAGED, NAMES.TOO_MANY
SETS = ("voters", "learners", "voters_outgoing", "learners_next")


@pytest.fixture
def code(impl: ModuleType) -> ModuleType:
    return module(impl, "consensus.configuration")


def any_membership(draw: random.Random, impl: ModuleType, most: int = 5) -> Any:
    """Four sets of ids; now and then one that changes can lead to."""
    pool = draw.choice((range(1, 7), range(1, 80), (1, 2, 2**32, 2**62, NUMBER_MAX)))
    size = min(most, len(pool))
    sets = {name: tuple(sorted(draw.sample(pool, draw.randint(0, size)))) for name in SETS}
    if draw.random() < 0.6:
        sets["learners"] = tuple(id for id in sets["learners"] if id not in sets["voters"] + sets["voters_outgoing"])
        sets["learners_next"] = tuple(id for id in sets["learners_next"] if id in sets["voters_outgoing"])
    return impl.ConfState(**sets, auto_leave=draw.random() < 0.3)


def is_reachable(impl: ModuleType, conf: Any) -> bool:
    """By the definition in terms of ids."""
    try:
        module(impl, "consensus.confchange").check_conf_state(conf)
    except impl.ConfChangeError:
        return False
    return True


# --- values and bytes ------------------------------------------------------------------------------------


def test_a_membership_and_its_bytes_are_read_alike(impl: ModuleType, code: ModuleType) -> None:
    draw = random.Random(1)
    reachable = 0
    for _ in range(1500):
        conf = any_membership(draw, impl, draw.choice((3, 5, 40)))
        read = code.Configuration()
        found = read.py_read(conf.encode() + b"behind")
        fits = is_reachable(impl, conf)
        assert (found == FITS) == fits, conf
        reachable += fits
        if found not in (DAMAGED, TOO_MANY):
            assert read.conf_state() == conf
            assert code.Configuration(conf).conf_state() == conf
            assert read.py_digest() == code.Configuration(conf).py_digest()
        else:
            assert read.count == 0
        assert (found == TOO_MANY) == (len({id for name in SETS for id in getattr(conf, name)}) > MEMBERS_MAX)
        assert code.FAULTS[found] or found == FITS
    assert 300 < reachable < 1200


def test_damaged_bytes_are_no_membership(impl: ModuleType, code: ModuleType) -> None:
    """The same bytes are refused that ConfState.decode refuses, and none are read beyond their end."""
    draw = random.Random(2)
    refused = 0
    for _ in range(1500):
        data = bytearray(any_membership(draw, impl, 4).encode())
        if draw.random() < 0.5:
            del data[draw.randrange(len(data)) :]
        else:
            data[draw.randrange(len(data))] = draw.randrange(256)
        before = draw.randbytes(draw.randrange(9))
        read = code.Configuration(impl.ConfState((7, 8)))
        found = read.py_read(before + bytes(data), len(before))
        try:
            conf, _ = impl.ConfState.decode(bytes(data))
        except impl.ConfChangeError:
            refused += 1
            assert found == DAMAGED and read.conf_state() == impl.ConfState()
            continue
        assert found != DAMAGED
        assert (found == FITS) == is_reachable(impl, conf)
    assert refused > 300


def test_what_was_encoded_is_loaded(impl: ModuleType, code: ModuleType) -> None:
    conf = impl.ConfState((1, 3, NUMBER_MAX), (9,), (1, 2), (2,), True)
    base = code.Configuration(impl.ConfState((1, 2)))
    made = code.Configuration(conf, (3, 9), 2**62, base)
    assert (made.anew, made.index, made.base) == (0b1100, 2**62, base.py_digest())
    data = made.encode()
    loaded = code.Configuration(impl.ConfState((5,)))
    assert loaded.py_load(data) == FITS
    assert loaded.conf_state() == conf
    assert (loaded.anew, loaded.index, loaded.base) == (made.anew, made.index, made.base)
    assert loaded.encode() == data
    for wrong in [data[:end] for end in range(len(data))] + [data + b"\0"]:
        assert code.Configuration().py_load(wrong) == DAMAGED
    everybody = code.Configuration(impl.ConfState(tuple(range(1, MEMBERS_MAX + 1))), (64,))
    assert loaded.py_load(everybody.encode()) == FITS
    assert (loaded.voters, loaded.anew) == (2**64 - 1, 2**63)


def test_no_two_memberships_have_one_digest(impl: ModuleType, code: ModuleType) -> None:
    """Also those that differ in nothing but the set that one slot is in, the highest included."""
    seen: dict[int, Any] = {}
    half = tuple(range(1, 65))
    for id in half:
        rest = tuple(other for other in half if other != id)
        for conf in (
            impl.ConfState(rest),
            impl.ConfState(rest, (id,)),
            impl.ConfState(rest, (), half),
            impl.ConfState(rest, (), half, (id,)),
            impl.ConfState(rest, (), half, (id,), True),
            impl.ConfState(half, (), rest),
            impl.ConfState(rest, (id + 64,)),
            impl.ConfState((id,)),
        ):
            digest = code.Configuration(conf).py_digest()
            assert digest and seen.setdefault(digest, conf) == conf
    assert len(seen) == 64 * 8


def test_more_members_than_there_may_be_are_refused(impl: ModuleType, code: ModuleType) -> None:
    with pytest.raises(ValueError, match="at most 64 members, not 65"):
        code.Configuration(impl.ConfState(tuple(range(1, 66))))


# --- changes as bytes --------------------------------------------------------------------------------------


def decodes(impl: ModuleType, data: bytes, v1: bool) -> bool:
    try:
        impl.ConfChange.decode(data, v1)
    except impl.ConfChangeError:
        return False
    return True


def test_a_change_is_told_by_its_bytes(impl: ModuleType) -> None:
    """By the same bytes as ConfChange.decode tells it."""
    is_change = module(impl, "consensus.changes").py_is_change
    draw = random.Random(3)
    parts = [module(impl, "types").ConfChangeSingle(kind, id) for kind in range(4) for id in (0, 1, NUMBER_MAX)]
    found = {True: 0, False: 0}
    for _ in range(4000):
        v1 = draw.random() < 0.4
        singles = tuple(draw.choices(parts, k=1 if v1 else draw.choice((0, 1, 2, 3, 255))))
        transition = 0 if v1 else draw.randrange(3)
        data = bytearray(impl.ConfChange(singles, transition, draw.randbytes(draw.randrange(4)), v1).encode())
        if data and draw.random() < 0.4:
            data[draw.choice((0, 1, draw.randrange(len(data))))] = draw.choice((0, 1, 3, 4, 127, 128, 255))
        if data and draw.random() < 0.3:
            del data[draw.choice((0, 1, draw.randrange(len(data)))) :]
        if draw.random() < 0.1:
            v1 = not v1
        assert is_change(bytes(data), v1) == decodes(impl, bytes(data), v1), (bytes(data), v1)
        found[decodes(impl, bytes(data), v1)] += 1
    assert min(found.values()) > 500


def test_a_leader_takes_a_change_whose_bytes_it_has_not_made(impl: ModuleType) -> None:
    """One after the other in one message, of both kinds, between proposals: the first passes, and only that one."""
    member = FullMember(impl)
    member.lead_with(2)
    member.acknowledge(2)
    last = member.log.last
    texts = (b"a", b"\0\1\0" + (4).to_bytes(8, "little") + b"why", b"b", b"\0\1\1" + (3).to_bytes(8, "little"), b"")
    kinds = (0, ENTRY_CONF_CHANGE_V2, 0, ENTRY_CONF_CHANGE, 0)
    entries = [impl.Entry(0, 0, data, kind) for data, kind in zip(texts, kinds, strict=True)]
    member.receive(impl.Message(MSG_PROP, sender=2, entries=entries))
    taken = member.log.entries(last + 1, member.log.last)
    assert [(e.kind, e.data) for e in taken] == [(0, b"a"), (kinds[1], texts[1]), (0, b"b"), (0, b""), (0, b"")]
    assert member.node.core.pending_conf_index == last + 2
    (refused,) = member.node.ready().refused
    reason = f"the change of membership at index {last + 2} may not be applied yet (applied up to {last})"
    assert refused == impl.RefusedChange(2, last + 4, reason)


def test_a_proposer_that_is_told_at_once_is_told_once(impl: ModuleType) -> None:
    """Its refusal is the exception; that of another member's change, which came before, is in the next Ready."""
    member = FullMember(impl)
    member.lead_with(2)
    member.acknowledge(2)
    member.node.propose_conf_change(change(impl, "v4"))
    entry = impl.Entry(0, 0, change(impl, "v5").encode(), ENTRY_CONF_CHANGE_V2)
    member.receive(impl.Message(MSG_PROP, sender=3, entries=[entry]))
    with pytest.raises(impl.ConfChangeRefused, match="may not be applied yet"):
        member.node.propose_conf_change(change(impl, "v6"))
    assert [(r.sender, r.index) for r in member.node.ready().refused] == [(3, 3)]
    member.node.advance()
    assert member.node.ready().refused == []


@pytest.mark.parametrize(("kind", "data"), [(ENTRY_CONF_CHANGE, b""), (ENTRY_CONF_CHANGE_V2, b"\1\2"), (3, b"x")])
@pytest.mark.parametrize("behind", [False, True])
def test_what_is_no_change_is_not_appended(impl: ModuleType, kind: int, data: bytes, behind: bool) -> None:
    leader = led(impl, 2)
    last, pending = leader.log.last, leader.pending_conf_index
    entries = [impl.Entry(0, 0, data, kind)]
    if behind:
        entries.insert(0, impl.Entry(0, 0, change(impl, "v4").encode(), ENTRY_CONF_CHANGE_V2))
    with pytest.raises(impl.ConfChangeError):
        leader.step(MSG_PROP, 2, term=0, entries=entries)
    assert (leader.log.last, leader.pending_conf_index) == (last, pending)
    assert leader.take() == [] and leader.told == []
    leader.propose(b"goes on")
    leader.change("v4")
    leader.acknowledge(2)
    assert leader.data == [b"goes on", change(impl, "v4").encode()]
    assert leader.membership == impl.ConfState((1, 2, 3, 4))


def test_a_leader_says_beforehand_what_it_would_refuse() -> None:
    """What it then refuses, for the same reason. Compiled code keeps the function to itself."""
    ask = module(PURE, "consensus.leader").change_refusal
    names = module(PURE, "consensus.changes")
    seen = set()
    for begin, applied, transition, text in (
        ("", True, 0, "v4"),
        ("v5", False, 0, "v4"),
        ("v5", True, 0, "v4"),
        ("", True, 0, ""),
        ("v4 v5", True, 2, "l6"),
        ("v4 v5", True, 2, ""),
        ("v4 v5", False, 2, ""),
    ):
        leader = led(PURE, 2)
        if begin:
            leader.change(begin, transition)
            if applied:
                leader.acknowledge_all()
        asked = change(PURE, text)
        entries = [PURE.Entry(0, 0, b"before"), PURE.Entry(0, 0, asked.encode(), asked.entry_kind)]
        message = PURE.Message(MSG_PROP, sender=2, entries=entries)
        reason = ask(leader.node.core, message)
        leader.receive(message)
        assert [row.flags for row in leader.node.core.refused.messages()] == ([reason] if reason else [])
        seen.add(reason)
    assert seen == {names.CHANGE_FITS, names.CHANGE_PENDING, names.CHANGE_IN_JOINT, names.CHANGE_NOT_JOINT}
    assert ask(led(PURE, 2).node.core, PURE.Message(MSG_PROP, entries=[PURE.Entry(0, 0, b"x")])) == names.CHANGE_FITS


# --- what moves --------------------------------------------------------------------------------------------


def random_change(draw: random.Random, member: Member, ids: range) -> str:
    """One that may be applied to a configuration in which member 1 votes."""
    return f"{draw.choice('vvrlr')}{draw.choice([id for id in ids if id != member.id])}"


@pytest.mark.parametrize("seed", range(6))
def test_votes_are_by_id_whatever_the_members_become(impl: ModuleType, seed: int) -> None:
    draw = random.Random(seed)
    ids = range(1, 13)
    member = Member(impl, 5, draw.sample(ids, 6) + [5])
    member.campaign()
    votes = {5: True}
    changes = 0
    for _ in range(120):
        here = [int(id) for id in member.tracker.peers.column("ids")]
        if draw.random() < 0.5:
            id = draw.choice(here)
            grants = draw.random() < 0.5
            if len(votes) < 3 or id in votes:  # nobody shall win or lose
                votes.setdefault(id, grants)
                member.node.step(impl.Message(MSG_VOTE_RESP, sender=id, term=1, flags=0 if grants else 1))
        else:
            try:
                member.node.apply_conf_change(change(impl, random_change(draw, member, ids)))
                changes += 1
            except impl.ConfChangeError:
                continue
        if member.role != 1:
            break
        slots = {int(id): slot for slot, id in enumerate(member.tracker.peers.column("ids"))}
        granted = sum([1 << slots[id] for id, vote in votes.items() if vote and id in slots])
        refused = sum([1 << slots[id] for id, vote in votes.items() if not vote and id in slots])
        assert (member.tracker.votes_granted, member.tracker.votes_refused) == (granted, refused)
    assert changes > 5


@pytest.mark.parametrize("seed", range(6))
def test_reads_are_acknowledged_by_id_whatever_the_members_become(impl: ModuleType, seed: int) -> None:
    draw = random.Random(100 + seed)
    ids = range(1, 13)
    member = FullMember(impl, 5, [*range(1, 12)])
    member.lead_with(*range(6, 12))
    for id in range(6, 12):
        member.acknowledge(id)
    heard: dict[int, int] = {}
    for round in range(150):
        here = [int(id) for id in member.tracker.peers.column("ids")]
        choice = draw.random()
        if choice < 0.25:
            member.node.read_index(b"%d" % round)
            heard[5] = only(member.take(), MSG_HEARTBEAT)[0].context
        elif choice < 0.6:
            id = draw.choice(here)
            reached = draw.randint(0, heard.get(5, 0))
            if id != 5:
                member.node.step(impl.Message(MSG_HEARTBEAT_RESP, sender=id, term=member.term, context=reached))
                heard[id] = max(heard.get(id, 0), reached)
        else:
            try:
                member.node.apply_conf_change(change(impl, random_change(draw, member, ids)))
            except impl.ConfChangeError:
                continue
        here = [int(id) for id in member.tracker.peers.column("ids")]
        assert member.node.core.reads.acks[: len(here)] == [heard.get(id, 0) for id in here]
        assert not any(member.node.core.reads.acks[len(here) :])


def test_places_tell_where_each_member_was(impl: ModuleType) -> None:
    """By id, also of one that begins anew; whoever keeps columns by slot moves them by this."""
    member = Member(impl, 2, (2, 4, 6))
    member.lead_with(4)
    member.acknowledge(4)
    tracker = member.tracker
    assert tracker.installs == 1
    for text, places in (
        ("v5", [0, 1, -1, 2]),
        ("r4", [0, 2, 3]),
        ("l1", [-1, 0, 1, 2]),
        ("u6", [0, 1, 2, 3]),
        ("r5 v5", [0, 1, 2, 3]),
    ):
        before = [int(id) for id in tracker.peers.column("ids")]
        installs = tracker.installs
        if text == "r5 v5":
            member.acknowledge(5)
            assert member.progress(5)["match"] > 0
            # It goes and comes in one change, which is no joint one: a record of one part after the other.
            conf, anew = tracker.conf_state(), (5,)
            code = module(impl, "consensus.configuration")
            made = code.Configuration(conf, anew, 0, code.Configuration(conf))
            member.node.core.py_install(made.encode())
            assert member.progress(5)["match"] == 0
        else:
            member.node.apply_conf_change(change(impl, text))
        assert tracker.py_places() == places
        assert tracker.installs == installs + 1
        now = [int(id) for id in tracker.peers.column("ids")]
        assert [before[place] if place >= 0 else None for place in places] == [i if i in before else None for i in now]


def test_a_member_that_goes_and_comes_in_one_change_begins_anew(impl: ModuleType) -> None:
    after = module(impl, "consensus.confchange").configuration_after
    types = module(impl, "types")
    singles = tuple([types.ConfChangeSingle(kind, id) for kind, id in ((1, 3), (0, 3))])
    before = impl.ConfState((1, 2), (3,))
    made = after(before, types.ConfChange(singles, 2), 7)
    assert (made.conf_state(), made.index) == (impl.ConfState((1, 2, 3), (), (1, 2)), 7)
    assert made.members(made.anew) == (3,)
    assert after(before, change(impl, "v3")).anew == 0


@pytest.mark.once
def test_limits_of_appends_move_with_their_members() -> None:
    """Compiled code keeps them to itself, so this is the interpreted mode in both runs."""
    member = Member(PURE, 2, (2, 4, 6))
    limits = member.tracker.append_limits
    for slot, limit in enumerate((200, 400, 600)):
        limits[slot] = limit
    for text, expected in (("v5", [200, 400, 0, 600]), ("r4", [200, 0, 600]), ("v1", [0, 200, 0, 600])):
        member.node.apply_conf_change(change(PURE, text))
        assert list(limits[: len(expected)]) == expected and not any(limits[len(expected) :])


# --- where it was made -----------------------------------------------------------------------------------------


def shown(member: Member) -> Any:
    core = member.node.core
    return core.tracker.conf_state(), core.tracker.installs, core.self_slot, member.node.status()["progress"]


def test_what_was_computed_elsewhere_is_installed_from_bytes(impl: ModuleType) -> None:
    """The thread that applies keeps the membership itself and never looks at the core; both go the same way."""
    after = module(impl, "consensus.confchange").configuration_after
    draw = random.Random(5)
    member, twin = (FullMember(impl, 1, (1, 2, 3)) for _ in range(2))
    conf = member.tracker.conf_state()
    for each in (member, twin):
        each.lead_with(2)
        each.acknowledge(2)
    for index in range(1, 60):
        text, transition = "", 0
        if not conf.voters_outgoing:
            text = " ".join([random_change(draw, member, range(1, 9)) for _ in range(draw.choice((1, 1, 2, 3)))])
            transition = draw.choice((0, 1, 2))
        asked = change(impl, text, transition)
        try:
            made = after(conf, asked, 100 + index)
        except impl.ConfChangeError:
            with pytest.raises(impl.ConfChangeError):
                twin.node.apply_conf_change(asked)
            continue
        member.node.core.py_install(made.encode())
        conf = made.conf_state()
        assert twin.node.apply_conf_change(asked) == conf
        assert shown(member) == shown(twin)
    assert member.tracker.installs > 30


def test_a_configuration_of_another_membership_is_not_installed(impl: ModuleType) -> None:
    code = module(impl, "consensus.configuration")
    after = module(impl, "consensus.confchange").configuration_after
    member = Member(impl, 1, (1, 2, 3), learners=(4,))
    member.lead_with(2)
    before = shown(member)
    for base in (
        impl.ConfState((1, 2, 3)),
        impl.ConfState((1, 2, 3, 4)),
        impl.ConfState((1, 2, 3), (5,)),
        impl.ConfState((1, 2, 3), (4,), (1, 2, 3)),
    ):
        made = after(base, change(impl, "" if base.voters_outgoing else "v6"))
        with pytest.raises(impl.Corruption, match="computed from another one"):
            member.node.core.py_install(made.encode())
        assert shown(member) == before
    for wrong in (b"", after(impl.ConfState((1, 2, 3), (4,)), change(impl, "v6")).encode()[:-1]):
        with pytest.raises(impl.Corruption, match="no configuration"):
            member.node.core.py_install(wrong)
        assert shown(member) == before
    # One without a base replaces any.
    member.node.core.py_install(code.Configuration(impl.ConfState((1, 9))).encode())
    assert member.tracker.conf_state() == impl.ConfState((1, 9))


def test_a_change_that_a_snapshot_has_overtaken_is_not_installed(impl: ModuleType) -> None:
    """It was computed by the thread that applies, before that heard of the snapshot."""
    after = module(impl, "consensus.confchange").configuration_after
    member = FullMember(impl, 1, (1, 2, 3))
    old = [after(member.tracker.conf_state(), change(impl, "v4"), index) for index in (4, 9)]
    snapshot = impl.Snapshot(9, 1, impl.ConfState((1, 2, 4, 5)), b"state")
    member.step(MSG_SNAP, 2, term=1, snapshot=snapshot)
    before = shown(member)
    assert before[0] == snapshot.conf_state
    for made in old:
        member.node.core.py_install(made.encode())
        assert shown(member) == before
    late = after(impl.ConfState((1, 2, 3)), change(impl, "v4"), 10)
    with pytest.raises(impl.Corruption, match="computed from another one"):
        member.node.core.py_install(late.encode())
    member.node.core.py_install(after(snapshot.conf_state, change(impl, "r4"), 10).encode())
    assert member.tracker.conf_state() == impl.ConfState((1, 2, 5))


@pytest.mark.parametrize(
    "conf", [{"voters": (1, 2), "learners": (1,)}, {"voters": (1,), "auto_leave": True}, {"learners": (1, 2)}]
)
def test_a_snapshot_with_a_membership_that_is_none_is_not_restored(impl: ModuleType, conf: dict[str, Any]) -> None:
    member = FullMember(impl, 1, (1, 2, 3))
    before = shown(member)
    snapshot = impl.Snapshot(9, 1, impl.ConfState(**conf), b"state")
    with pytest.raises(impl.ConfChangeError):
        member.node.step(impl.Message(MSG_SNAP, sender=2, term=1, snapshot=snapshot))
    assert shown(member) == before and member.log.last == 0


def test_a_damaged_snapshot_is_not_restored(impl: ModuleType) -> None:
    member = FullMember(impl, 1, (1, 2, 3))
    before = shown(member)
    good = impl.Message(MSG_SNAP, snapshot=impl.Snapshot(9, 1, impl.ConfState((1, 2)), b"state")).records
    two = good + good
    for wrong in (b"", two, *[good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in (0, 8, 24, 40, 48, 60)]):
        with pytest.raises(impl.FrameError, match="records"):
            member.node.step(impl.Message(MSG_SNAP, sender=2, term=1, entries=[wrong]))
        assert shown(member) == before and member.log.last == 0


# --- who has left ------------------------------------------------------------------------------------------------


@pytest.mark.once
def test_the_table_of_those_who_left_is_bounded() -> None:
    """In the interpreted mode: compiled code keeps its functions to itself."""
    code = module(PURE, "consensus.departed")
    draw = random.Random(9)
    table, model = code.Departed(), dict[int, int]()
    for step in range(4000):
        if draw.random() < 0.55:
            id = draw.choice([id for id in (draw.randint(1, 600) for _ in range(9)) if id not in model] or [0])
            if id:
                if len(model) == code.DEPARTED_MAX:
                    del model[next(iter(model))]
                model[id] = draw.randint(1, NUMBER_MAX)
                table.put(id, model[id])
        else:
            id = draw.randint(1, 600)
            assert table.take(id) == model.pop(id, 0), step
        assert table.count == len(model) <= code.DEPARTED_MAX
        assert list(table.ids[: table.count]) == list(model)
    table.clear()
    assert (table.count, table.take(1)) == (0, 0)


def test_votes_of_many_that_left_and_came_back(impl: ModuleType) -> None:
    """More than the table holds leave within one campaign: those that left last are remembered when they come back."""
    bound: int = module(PURE, "consensus.departed").DEPARTED_MAX
    member = Member(impl, 1, (1, 2, 3, 4, 5, 6, 7, 8, 9))
    member.campaign()
    voted = range(1000, 1000 + bound + 10)
    for id in voted:
        member.node.apply_conf_change(change(impl, f"l{id}"))
        member.node.step(impl.Message(MSG_VOTE_RESP, sender=id, term=1, flags=id & 1))
        member.node.apply_conf_change(change(impl, f"r{id}"))
    assert (member.role, member.tracker.votes_granted, member.tracker.votes_refused) == (1, 1, 0)
    for id in (voted[0], voted[9], voted[10], voted[-1]):
        member.node.apply_conf_change(change(impl, f"l{id}"))
        slot = member.tracker.peers.py_slot_of(id)
        remembered = id >= voted[10]
        assert (member.tracker.votes_granted >> slot) & 1 == (remembered and not id & 1)
        assert (member.tracker.votes_refused >> slot) & 1 == (remembered and id & 1)
        member.node.apply_conf_change(change(impl, f"r{id}"))


# --- what they show ----------------------------------------------------------------------------------------------


def test_members_show_what_they_are(impl: ModuleType) -> None:
    member = Member(impl, 1, (1, 2), learners=(3,))
    begin = repr(member.node)
    assert begin.startswith("<RawNode 1 follower term=0 applied=0 commit=0 log=1..0 ConfState(voters=(1, 2)")
    member.node.campaign()
    assert repr(member.node).startswith("<RawNode 1 candidate term=1 ")
    ready = member.node.ready()
    assert repr(ready) == f"<Ready 1: soft_state={ready.soft_state!r}, hard_state={ready.hard_state!r}, 1 messages>"
    member.node.advance()
    member.step(MSG_VOTE_RESP, 2)
    assert repr(member.node.core).startswith("<Raft 1 leader term=1 lead=1 applied=0 commit=0 log=1..1 ")
    assert repr(member.tracker).endswith("match/next {1: 1/2 replicate, 2: 0/1 probe, 3: 0/1 probe}>")
    member.node.propose(b"x")
    member.node.read_index(b"r")
    ready = member.node.ready()
    assert repr(ready) == "<Ready 3: entries=2..2>"
    assert repr(module(impl, "consensus.rawnode").Ready()) == "<Ready 0: nothing>"
    assert repr(member.node.driver) == "<Driver 1 writes=0/3 durable, 0 batches to apply>"


def test_no_error_of_a_change_speaks_go(impl: ModuleType) -> None:
    """Each of raftx's texts is one of etcd's in its scripts, but for what etcd has no rule for."""
    membership = impl.ConfState((1, 2, 3))
    texts = set()
    for text in ("r1 r2 r3", "v4 v5", ""):
        with pytest.raises(impl.ConfChangeError) as caught:
            changer = module(impl, "consensus.confchange").Changer(
                membership, {id: module(impl, "consensus.confchange").Progress(0, 1) for id in (1, 2, 3)}, 1
            )
            changer.leave_joint() if not text else changer.simple(change(impl, text, 2).changes)
        texts.add(str(caught.value))
    assert {describe.change_error(text) for text in texts} == {
        "removed all voters",
        "more than one voter changed without entering joint config",
        "can't leave a non-joint config",
    }
    assert not texts & {describe.change_error(text) for text in texts}
    assert describe.change_error("17 is a learner and an outgoing voter") == "17 is in Learners and Voters[1]"
    assert describe.change_error("a rule of our own") == "a rule of our own"


def test_slots_are_in_the_order_of_ids(impl: ModuleType, code: ModuleType) -> None:
    made = code.Configuration(impl.ConfState((30, 10), (20,)))
    assert made.members(2**64 - 1) == (10, 20, 30)
    assert (made.voters, made.learners, made.count) == (0b101, 0b010, 3)
