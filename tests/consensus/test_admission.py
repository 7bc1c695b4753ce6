"""What an honest member can have sent is let in, and nothing else: every field of every kind, by role of the receiver.

That honest members are never refused is held by the simulator in all its schedules, too: it asks before every step.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.helpers import lies
from tests.helpers.core_net import Member, Network
from tests.helpers.lies import LIES, Lie, View

LATER = 5  # a term that the members have come to


def receivers(impl: ModuleType) -> dict[str, Member]:
    """A member of each role, in term LATER or beyond, with five entries."""
    made: dict[str, Member] = {}
    for name in ("leader", "follower", "orphan", "candidate", "pre-candidate"):
        pre = name == "pre-candidate"
        hard = (LATER, 0, 3)
        member = Member(impl, voters=(1, 2, 3), terms=(1, 1, 2, 4, 5), hard=hard, pre_vote=pre, check_quorum=True)
        if name == "leader":
            member.lead_with(2)
        elif name == "follower":
            member.step(lies.HEARTBEAT, 2, commit=3)
            assert member.lead == 2
        elif name != "orphan":
            member.campaign()
        made[name] = member
    roles = {name: member.role.name if hasattr(member.role, "name") else member.role for name, member in made.items()}
    assert list(roles.values()) == [2, 0, 0, 1, 3]
    return made


def view_of(member: Member) -> View:
    core = member.node.core
    return View(core.term, core.log.last, core.lead, core.role == 2, 3, 9)


def state(member: Member) -> tuple[Any, ...]:
    core = member.node.core
    return (core.term, core.vote, core.lead, core.role, core.committed, core.log.last, core.election_elapsed)


def made(impl: ModuleType, lie: Lie, draw: random.Random, view: View) -> Any:
    sender, fields = lie.make(draw, view, impl)
    fields = dict(fields)
    return impl.Message(fields.pop("kind"), to=1, sender=sender, **fields)


@pytest.mark.parametrize("lie", LIES, ids=[lie.name.replace(" ", "-") for lie in LIES])
def test_lies_are_refused_for_their_reason(impl: ModuleType, lie: Lie) -> None:
    draw = random.Random(lie.name)
    told = 0
    for member in receivers(impl).values():
        view = view_of(member)
        if not lie.when(view):
            continue
        before = state(member)
        for _ in range(300):
            message = made(impl, lie, draw, view)
            assert member.node.refusal(message) == lie.reason, message
            told += 1
        assert state(member) == before
        assert not member.take()
    assert told >= 300


def test_every_reason_has_a_lie(mod: Any) -> None:
    assert {lie.reason for lie in LIES} == set(mod("consensus.admission").REASONS[1:])


def honest(impl: ModuleType) -> Iterator[tuple[str, str, Any]]:
    """(receiver, what it is, message) at the very edge of what is let in."""
    M = impl.Message
    step = lies.STEP
    for name in ("leader", "follower", "orphan", "candidate", "pre-candidate"):
        term = {"leader": 6, "candidate": 6}.get(name, LATER)
        yield name, "a leader far ahead, and no member", M(8, sender=9, term=term + step)
        yield name, "a candidate far ahead", M(5, sender=9, term=term + step, index=5, log_term=term + step - 1)
        yield name, "its question before", M(17, sender=3, term=term + step, index=5, log_term=term, hint=2**31 - 1)
        yield name, "an append as far as an index goes", M(3, sender=9, term=term + 1, index=2**62, log_term=1)
        yield name, "a leader of before", M(8, sender=3, term=term - 1, commit=2**40)
        yield name, "a later term told to a leader of before", M(4, sender=3, term=term + 7)
        yield name, "a refused vote of a later term", M(6, sender=3, term=term + 7, flags=1, commit=9, context=4)
        yield name, "a refused pre-vote of who has no term", M(18, sender=3, flags=1)
        yield name, "a granted pre-vote of the next term", M(18, sender=3, term=term + 1)
        yield name, "the answer to a read", M(16, sender=2, term=term, index=3, entries=[impl.Entry(0, 0, b"r")])
        yield name, "a late answer", M(9, sender=3, term=term)
    yield "follower", "the leader's commit index, as far as our log", M(8, sender=2, term=LATER, commit=5)
    yield "follower", "an append that commits more than it has", M(3, sender=2, term=LATER, commit=2**62)
    yield "follower", "the order to campaign", M(14, sender=2, term=LATER)
    yield "orphan", "the order of a leader that was forgotten", M(14, sender=3, term=LATER)
    yield "orphan", "the leader of this term", M(8, sender=3, term=LATER, commit=5)
    yield "candidate", "the leader of its own term", M(3, sender=3, term=6, index=5, log_term=5)
    yield "leader", "the last entry acknowledged", M(4, sender=3, term=6, index=6)
    yield "leader", "a longer log, refused", M(4, sender=3, term=6, index=5, log_term=5, hint=9, flags=1)
    yield "leader", "a snapshot of everything", M(4, sender=3, term=6, index=3, hint=9, context=6, flags=5)
    yield "leader", "a transfer to anybody", M(13, sender=3, term=6, hint=77)
    yield "leader", "a proposal", M(2, sender=3, entries=[impl.Entry(0, 0, b"x")])
    every = [impl.ConfChange.parse(text, 2) for text in ("", "v1 r2 u3 l4", "v0")]
    every += [impl.ConfChange(), impl.ConfChange.parse("l4", v1=True), impl.ConfChange(context=b"why")]
    changes = [impl.Entry(0, 0, change.encode(), change.entry_kind) for change in every]
    yield "leader", "every sort of change", M(2, sender=3, entries=[impl.Entry(0, 0, b"x"), *changes])
    largest = impl.ConfState(tuple(range(1, 60)), (63, 64), tuple(range(2, 63)), (60, 61, 62), True)
    restored = impl.Snapshot(2**62, 1, largest, b"state")
    yield "follower", "a snapshot with as many members as there may be", M(7, sender=2, term=LATER, snapshot=restored)
    yield "leader", "a member in doubt", M(33, sender=3, term=6, context=1)


def test_what_an_honest_member_can_send_is_let_in(impl: ModuleType) -> None:
    members = receivers(impl)
    for name, what, message in honest(impl):
        message.to = 1
        assert members[name].node.refusal(message) == "", (name, what)


def test_a_stranger_may_lead_and_campaign_and_no_more(impl: ModuleType) -> None:
    """Its addition may not have arrived here. It is followed, and then it is the leader and may say what leaders do."""
    member = Member(impl, voters=(1, 2, 3), terms=(1,), hard=(1, 0, 1))
    order = impl.Message(14, to=1, sender=9, term=2)
    assert member.node.refusal(order) == "term"
    assert member.node.refusal(impl.Message(3, to=1, sender=9, term=2, index=1, log_term=1)) == ""
    member.step(3, 9, term=2, index=1, log_term=1)
    assert member.lead == 9
    assert member.node.refusal(order) == ""
    assert member.node.refusal(impl.Message(4, to=1, sender=9, term=2, index=1)) == ""  # of a follower, no harm
    assert member.node.refusal(impl.Message(4, to=1, sender=8, term=2, index=1)) == "stranger"


def test_terms_have_head_room(impl: ModuleType) -> None:
    """However far terms have been driven up, the next one is let in, and others elect a leader in it."""
    for top in (lies.TERM_HIGH, lies.TERM_HIGH + 64, 2**63 - 2**20):
        network = Network(impl, hards=dict.fromkeys((1, 2, 3), (top, 0, 0)))
        for far in (65, 2**32, 2**62 - 2**21):
            assert network[1].node.refusal(impl.Message(8, to=1, sender=9, term=top + far)) == "term"
        refused: list[str] = []
        for member in network.members.values():

            def receive(message: Any, member: Member = member, refused: list[str] = refused) -> None:
                reason = member.node.refusal(message)
                refused.append(reason) if reason else member.node.step(message)

            member.receive = receive  # type: ignore[method-assign]
        network.campaign(2)
        network.campaign(3)
        assert network[3].role == impl.Role.LEADER
        assert network[3].term == top + 2
        network.propose(3)
        assert network[1].committed == 3
        assert not refused
    low = Member(impl, hard=(lies.TERM_HIGH - 10, 0, 0))
    assert low.node.refusal(impl.Message(8, to=1, sender=9, term=lies.TERM_HIGH)) == ""
    assert low.node.refusal(impl.Message(8, to=1, sender=9, term=lies.TERM_HIGH + 60)) == "term"
