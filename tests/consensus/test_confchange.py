"""Changes of membership as values: joint changes against simple ones, invariants, texts of errors, bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from raftx.types import MEMBERS_MAX, NUMBER_MAX
from tests.helpers.implementations import module

ROUNDS = 150
MORE_THAN_ONE = "a change of more than one voter must go through a joint configuration"


class Membership:
    """A configuration and its progress, with one implementation's Changer."""

    def __init__(self, impl: ModuleType) -> None:
        self.types = module(impl, "types")
        self.code = module(impl, "consensus.confchange")
        self.conf = self.types.ConfState()
        self.progress: dict[int, Any] = {}
        self.last_index = 10

    def changes(self, text: str) -> tuple[Any, ...]:
        """As in "v1 l2 r3 u4"."""
        return tuple(self.types.ConfChange.parse(text).changes)

    def _take(self, result: tuple[Any, dict[int, Any]]) -> Membership:
        self.conf, self.progress = result
        self.check()
        return self

    def changer(self) -> Any:
        return self.code.Changer(self.conf, self.progress, self.last_index)

    def simple(self, text: str) -> Membership:
        return self._take(self.changer().simple(self.changes(text)))

    def enter(self, text: str, auto_leave: bool = False) -> Membership:
        return self._take(self.changer().enter_joint(auto_leave, self.changes(text)))

    def leave(self) -> Membership:
        return self._take(self.changer().leave_joint())

    def copy(self, impl: ModuleType) -> Membership:
        other = Membership(impl)
        other.conf, other.progress, other.last_index = self.conf, dict(self.progress), self.last_index
        return other

    def shown(self) -> tuple[Any, ...]:
        """All that can be compared."""
        return self.conf, sorted([(id, p.match, p.next, p.learner) for id, p in self.progress.items()])

    def roles(self) -> tuple[Any, ...]:
        """The configuration, and who is a learner."""
        return self.conf, sorted([(id, p.learner) for id, p in self.progress.items()])

    def check(self) -> None:
        """What is true of every configuration (thesis, section 4.3; etcd's invariants)."""
        conf = self.conf
        sets = (conf.voters, conf.learners, conf.voters_outgoing, conf.learners_next)
        for ids in sets:
            assert list(ids) == sorted(set(ids)) and all([id > 0 for id in ids])
        voters, learners, outgoing, staged = [set(ids) for ids in sets]
        assert voters and not learners & (voters | outgoing)
        assert staged <= outgoing and not staged & (voters | learners)
        assert outgoing or not (staged or conf.auto_leave)
        assert set(self.progress) == voters | learners | outgoing
        for id, progress in self.progress.items():
            assert progress.learner == (id in learners)
            assert 0 <= progress.match < progress.next


@pytest.fixture
def membership(impl: ModuleType) -> Membership:
    return Membership(impl)


def words(rng: random.Random, count: int, letters: str = "vvlru") -> list[str]:
    """Changes that leave member 1 alone."""
    return [f"{rng.choice(letters)}{rng.randint(2, 9)}" for _ in range(count)]


def begun(rng: random.Random, impl: ModuleType) -> Membership:
    """Some configuration with voter 1."""
    membership = Membership(impl).simple("v1")
    for word in words(rng, rng.randint(0, 6), "vvl"):
        membership.last_index = rng.randint(1, 50)
        membership.simple(word)
    return membership


# --- joint and simple changes --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_joint_change_leads_where_simple_ones_lead(impl: ModuleType, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        joint = begun(rng, impl)
        simple = joint.copy(impl)
        before = joint.shown()
        change = words(rng, rng.randint(1, 8))
        auto_leave = rng.random() < 0.5
        old = joint.conf.voters
        joint.enter(" ".join(change), auto_leave)
        assert joint.conf.voters_outgoing == old and joint.conf.auto_leave == auto_leave
        assert simple.shown() == before, "what was given has changed"
        joint.leave()
        for word in change:
            simple.simple(word)
        assert joint.roles() == simple.roles(), change


@pytest.mark.parametrize("seed", range(3))
def test_a_change_that_is_refused_changes_nothing(impl: ModuleType, errors: ModuleType, seed: int) -> None:
    rng = random.Random(100 + seed)
    refused = 0
    for _ in range(ROUNDS):
        membership = begun(rng, impl)
        for _ in range(4):
            before = membership.shown()
            text = " ".join(words(rng, rng.randint(0, 4), "vlr") + ["r1"] * rng.randint(0, 1))
            step: Callable[[], Any] = rng.choice(
                (lambda m=membership, t=text: m.simple(t), lambda m=membership, t=text: m.enter(t), membership.leave)
            )
            try:
                step()
            except errors.ConfChangeError:
                refused += 1
                assert membership.shown() == before
    assert refused > ROUNDS // 3


def test_members_that_stay_keep_their_progress(membership: Membership) -> None:
    membership.simple("v1").simple("v2").simple("l3")
    for id, progress in membership.progress.items():
        progress.match, progress.next = 100 + id, 200 + id
    membership.last_index = 500
    membership.enter("l1 v3 v4 r2").leave()
    assert membership.shown()[1] == [(1, 101, 201, True), (3, 103, 203, False), (4, 0, 500, False)]
    assert all([progress.recent_active for progress in membership.progress.values()])


def test_a_member_that_goes_and_comes_begins_anew(membership: Membership) -> None:
    membership.simple("v1").simple("v2")
    membership.progress[2].match = 7
    membership.last_index = 30
    membership.simple("r2 v2")
    assert membership.shown()[1] == [(1, 0, 10, False), (2, 0, 30, False)]
    # A voter of the outgoing half is still there when it comes back.
    membership.progress[2].match = 8
    membership.enter("r2 v2").leave()
    assert membership.shown()[1][1] == (2, 8, 30, False)


def test_a_new_member_is_probed_from_the_end_of_the_log(membership: Membership) -> None:
    membership.last_index = 0
    membership.simple("v1")
    membership.last_index = 9
    membership.simple("l2")
    assert membership.shown()[1] == [(1, 0, 1, False), (2, 0, 9, True)]


# --- refused changes -----------------------------------------------------------------------------


def test_texts_of_errors(membership: Membership, errors: ModuleType) -> None:
    def refused(step: Callable[[], Any], text: str) -> None:
        with pytest.raises(errors.ConfChangeError) as caught:
            step()
        assert str(caught.value) == text

    refused(lambda: membership.simple("l1"), "a change must leave a voter")
    refused(lambda: membership.simple(""), "a change must leave a voter")
    refused(lambda: membership.enter("v1"), "a configuration without voters cannot become joint")
    refused(membership.leave, "the configuration is not joint: there is nothing to leave")
    membership.simple("v1").simple("v2").simple("l3")
    refused(lambda: membership.simple("r1 r2"), "a change must leave a voter")
    refused(lambda: membership.simple("v4 v5"), MORE_THAN_ONE)
    refused(lambda: membership.simple("l1 v3"), MORE_THAN_ONE)
    refused(lambda: membership.enter("r1 r2 l4"), "a change must leave a voter")
    membership.enter("l1 v4")
    refused(lambda: membership.enter("v5"), "the configuration is joint already: leave it first")
    refused(lambda: membership.simple("v5"), "the configuration is joint: leave it before a simple change")
    odd = membership.types.ConfChangeSingle(7, 2)
    refused(lambda: membership.leave().changer().simple([odd]), "a change cannot be of kind 7")


def test_configurations_that_are_none(membership: Membership, errors: ModuleType) -> None:
    types, code = membership.types, membership.code
    some = {id: code.Progress(0, 1, learner=id >= 5) for id in range(1, 8)}
    for conf, text in (
        (types.ConfState((1, 9)), "member 9 has no progress"),
        (types.ConfState((1,), (5,), (), (2,)), "2 is to become a learner, but is no outgoing voter"),
        (types.ConfState((1,), (), (1, 5), (5,)), "5 is to become a learner, but is one already"),
        (types.ConfState((1,), (5,), (5,)), "5 is a learner and an outgoing voter"),
        (types.ConfState((1, 5), (5,)), "5 is a learner and a voter"),
        (types.ConfState((1,), (2,)), "2 is a learner, but its progress is a voter's"),
        (types.ConfState((1,), (), (), (), True), "auto_leave must be False unless the configuration is joint"),
    ):
        for step in ("simple", "leave_joint", "enter_joint"):
            arguments = {"simple": ((),), "leave_joint": (), "enter_joint": (False, ())}[step]
            with pytest.raises(errors.ConfChangeError) as caught:
                getattr(code.Changer(conf, some, 1), step)(*arguments)
            assert str(caught.value) == text


def test_nobody_is_changed_by_an_update_or_by_id_zero(membership: Membership) -> None:
    membership.simple("v1").simple("l2")
    before = membership.shown()
    membership.simple("u1 u2 u9")
    single = membership.types.ConfChangeSingle
    membership._take(membership.changer().simple([single(kind, 0) for kind in range(4)]))
    assert membership.shown() == before


def test_as_many_members_as_there_may_be(membership: Membership, errors: ModuleType) -> None:
    membership.simple("v1")
    membership.enter(" ".join([f"{'l' if id % 3 else 'v'}{id}" for id in range(2, MEMBERS_MAX + 1)]))
    membership.leave()
    assert len(membership.progress) == MEMBERS_MAX == 64
    for step in (membership.simple, membership.enter):
        with pytest.raises(errors.ConfChangeError, match="64"):
            step("l65")
    # In exchange for another one; while the change is joint, outgoing voters count too.
    with pytest.raises(errors.ConfChangeError, match="64"):
        membership.enter("r3 v65")
    membership.enter("r2 v65").leave()
    assert len(membership.progress) == MEMBERS_MAX


def test_a_node_with_as_many_members_as_there_may_be(impl: ModuleType, errors: ModuleType) -> None:
    types = module(impl, "types")

    def node(count: int) -> Any:
        return impl.RawNode(impl.Config(id=1), conf_state=impl.ConfState(tuple(range(1, count + 1))))

    with pytest.raises(errors.ConfChangeError):
        node(MEMBERS_MAX + 1)
    full = node(MEMBERS_MAX)
    before = full.core.tracker.conf_state()
    with pytest.raises(errors.ConfChangeError):
        full.apply_conf_change(types.ConfChange.parse("l65"))
    assert full.core.tracker.conf_state() == before
    assert full.apply_conf_change(types.ConfChange.parse("r64")).voters == tuple(range(1, MEMBERS_MAX))
    assert full.apply_conf_change(types.ConfChange.parse("l65")).learners == (65,)


# --- changes as bytes and as text ----------------------------------------------------------------


def random_change(rng: random.Random, types: ModuleType) -> Any:
    v1 = rng.random() < 0.3
    singles = tuple(
        [
            types.ConfChangeSingle(rng.randrange(4), rng.choice((0, 1, 255, 256, NUMBER_MAX, rng.getrandbits(60))))
            for _ in range(1 if v1 else rng.choice((0, 1, 2, 7, 255)))
        ]
    )
    context = rng.randbytes(rng.choice((0, 0, 1, 30)))
    return types.ConfChange(singles, 0 if v1 else rng.randrange(3), context, v1)


def test_changes_survive_encoding(impl: ModuleType) -> None:
    types = module(impl, "types")
    rng = random.Random(5)
    for _ in range(300):
        change = random_change(rng, types)
        assert types.ConfChange.decode(change.encode(), change.v1) == change
        again = types.ConfChange.parse(str(change), change.transition, change.v1)
        assert again.changes == change.changes
    assert types.ConfChange().encode() == b""
    assert types.ConfChange.decode(b"") == types.ConfChange()
    assert types.ConfChange(context=b"why").encode() != b""


def test_bytes_that_are_no_change(impl: ModuleType, errors: ModuleType) -> None:
    types = module(impl, "types")
    rng = random.Random(6)
    for _ in range(300):
        change = random_change(rng, types)
        data = change.encode()
        length = len(data) - len(change.context)
        for cut in {rng.randrange(length) for _ in range(4)} if length else ():
            if cut or change.v1:
                with pytest.raises(errors.ConfChangeError):
                    types.ConfChange.decode(data[:cut], change.v1)
    for data in (b"\x03\x00", b"\x00\x01\x04" + bytes(8), b"\x00\x01\x00" + b"\xff" * 8):
        with pytest.raises(errors.ConfChangeError):
            types.ConfChange.decode(data)
    for data in (b"", b"\x00\x00", b"\x01\x01" + bytes(9), b"\x00\x02" + bytes(18)):
        with pytest.raises(errors.ConfChangeError):
            types.ConfChange.decode(data, v1=True)
    for _ in range(2000):
        data = rng.randbytes(rng.randrange(24))
        try:
            change = types.ConfChange.decode(data, rng.random() < 0.5)
        except errors.ConfChangeError:
            continue
        assert change.encode() == data or change.encode() == b""


def test_text_that_is_no_change(impl: ModuleType, errors: ModuleType) -> None:
    types = module(impl, "types")
    assert str(types.ConfChange.parse(" v1  l2\nr3 u4 ")) == "v1 l2 r3 u4"
    for text in ("1", "v", "w1", "v-1", "v1,v2", "v1x", f"v{2**63}"):
        with pytest.raises(errors.ConfChangeError):
            types.ConfChange.parse(text)
    for arguments in (
        {"changes": (), "v1": True},
        {"changes": (types.ConfChangeSingle(0, 1),) * 2, "v1": True},
        {"changes": (types.ConfChangeSingle(0, 1),), "v1": True, "transition": 1},
        {"transition": 3},
        {"changes": (types.ConfChangeSingle(0, 1),) * 256},
        {"changes": (types.ConfChangeSingle(4, 1),)},
    ):
        with pytest.raises(errors.ConfChangeError):
            types.ConfChange(**arguments)


def test_what_a_change_asks_for(impl: ModuleType) -> None:
    types = module(impl, "types")

    def asks(text: str, transition: int) -> tuple[bool, bool, bool]:
        change = types.ConfChange.parse(text, transition)
        return change.leaves_joint, change.enters_joint, change.auto_leave

    auto, implicit, explicit = types.TRANSITION_AUTO, types.TRANSITION_IMPLICIT, types.TRANSITION_EXPLICIT
    assert asks("", auto)[:2] == (True, False)
    assert asks("v1", auto)[:2] == (False, False)
    assert asks("v1 v2", auto) == (False, True, True)
    assert asks("v1", implicit) == (False, True, True)
    assert asks("", explicit) == asks("v1", explicit) == (False, True, False)


def test_memberships_survive_encoding(impl: ModuleType, errors: ModuleType) -> None:
    rng = random.Random(7)
    for _ in range(100):
        membership = begun(rng, impl)
        if rng.random() < 0.7:
            membership.enter(" ".join(words(rng, rng.randint(1, 6))), rng.random() < 0.5)
        data = membership.conf.encode()
        decode = type(membership.conf).decode
        assert decode(data + b"rest") == (membership.conf, b"rest")
        with pytest.raises(errors.ConfChangeError):
            decode(data[: rng.randrange(len(data))])
    conf = impl.ConfState((3, 1, 3))
    assert type(conf).decode(conf.encode())[0].voters == (1, 3)
