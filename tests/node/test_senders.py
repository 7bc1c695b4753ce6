"""Lives and proposals of those who send to a node: what is stale, what is repeated, and what nobody can have come to.

Also a running cluster under frames that no honest member can have sent (frame_fuzz.py), bounded in number.
"""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import pytest

from tests.helpers import lies
from tests.helpers.desk import Desk, proposed
from tests.helpers.implementations import module
from tests.helpers.meetings import later
from tests.tools import frame_fuzz

STEP = 2**56
FRAMES = {"compiled": 24_000, "pure": 2_400}


@pytest.fixture
def desk(impl: ModuleType) -> Any:
    made = Desk(impl, frame_fuzz.Fuzz(impl, module(impl, "transport.memory"), 1))
    yield made
    made.fuzz.close()


def test_frames_of_an_earlier_life_are_stale(desk: Desk) -> None:
    """What the member really sends is of its first life, and is stale from when the fifth has introduced itself."""
    last = desk.fuzz.nodes[1].status().last
    fourth, fifth = later(desk.life, 3), later(desk.life, 4)
    desk.introduce(fifth)
    desk.fuzz.eventually(lambda: desk.fuzz.nodes[1]._parts.engine.peers.py_incarnation(2) == fifth)
    desk.send(fifth, proposed(desk.impl, fifth, 1))
    desk.until(last=last + 1)
    desk.send(fourth, proposed(desk.impl, fourth, 2))
    desk.send(fifth, proposed(desk.impl, fifth, 2))
    desk.until(last=last + 2, incarnation=0, origin=0)
    assert desk.fuzz.nodes[1].status().frames_stale >= 1


def test_what_a_life_sends_does_not_count_before_it_is_met(desk: Desk) -> None:
    """Neither a life that nobody can have come to, nor one that was not introduced, takes the present one's place."""
    M = desk.impl.Message
    status = desk.fuzz.nodes[1].status
    for incarnation in (0, desk.life + STEP + 1, 2**62 + 1, 2**64 - 1):
        desk.send(incarnation, M(9, term=1))
    desk.until(incarnation=4, stale=0)
    unmet, strange = status().messages_unmet, later(desk.life, 900)
    desk.send(strange)
    desk.send(strange, M(9, term=7))
    desk.send(strange, M(8, term=1))
    desk.send(strange, M(2, hint=1, context=1, entries=lies.proposals(desk.impl, 3, strange, 1)))
    desk.fuzz.eventually(lambda: status().messages_unmet == unmet + 3)
    desk.until(term=0, origin=0, **{"second leader": 0})
    desk.fuzz.commit(b"both others are needed for nothing, but they are heard")
    last = status().last
    desk.send(desk.life, proposed(desk.impl, desk.life, 1))
    desk.until(last=last + 1, stale=0)


def test_proposals_are_their_senders_own_and_numbered(desk: Desk) -> None:
    draw = random.Random(3)
    last = desk.fuzz.nodes[1].status().last
    for _ in range(200):
        fields = lies.odd_proposals(draw, 2, desk.life, desk.impl)
        desk.send(desk.life, desk.impl.Message(fields.pop("kind"), **fields))
    desk.until(origin=200, last=last)
    desk.send(desk.life, proposed(desk.impl, desk.life, 1))
    desk.send(desk.life, proposed(desk.impl, desk.life, 2**44))
    desk.until(origin=200, last=last + 2)


def test_proposals_with_impossible_numbers_do_not_mute_a_member(desk: Desk) -> None:
    """Numbers far ahead would fill the window of those that were seen, and all honest ones would look old."""
    last = desk.fuzz.nodes[1].status().last
    for number in range(64):
        desk.send(desk.life, proposed(desk.impl, desk.life, 2**62 - number))
    for number in range(1, 65):
        desk.send(desk.life, proposed(desk.impl, desk.life, number))
    desk.until(origin=64, last=last + 64)


def test_only_what_was_passed_on_can_be_refused(desk: Desk) -> None:
    """Nobody can end a proposal as not done that is applied later: not what was never passed on."""
    M = desk.impl.Message
    node, leads, mine = desk.fuzz.nodes[2], desk.fuzz.lives[1], desk.life
    for context, hint in ((0, 1), (1, 0), (1, 1), (2**62, 1), (1, 2**62)):
        desk.send(leads, M(32, log_term=mine, index=2, context=context, hint=hint), sender=1, to=2)
    desk.until(to=2, answer=5)
    assert node.propose(b"mine").result(timeout=frame_fuzz.WAIT).result
    for context, hint in ((1, 2), (2, 1)):
        desk.send(leads, M(32, log_term=mine, index=2, context=context, hint=hint), sender=1, to=2)
    desk.until(to=2, answer=7)
    # Of an earlier life of its own, it is no lie.
    desk.send(leads, M(32, log_term=9, index=2, context=5, hint=1), sender=1, to=2)
    desk.send(leads, M(32, log_term=mine, index=2, context=5, hint=1), sender=1, to=2)
    desk.until(to=2, answer=8)


def test_only_a_leaders_reasons_are_taken(desk: Desk) -> None:
    """Not those that are a node's own: that it was stopped, say."""
    M = desk.impl.Message
    node, leads, mine = desk.fuzz.nodes[2], desk.fuzz.lives[1], desk.life
    assert node.propose(b"mine").result(timeout=frame_fuzz.WAIT).result
    reasons = (0, 1, 3, 7, 8, *range(9, 14), 15, 26, 2**62)
    for reason in reasons:
        desk.send(leads, M(32, log_term=mine, index=reason, context=1, hint=1), sender=1, to=2)
    desk.until(to=2, answer=len(reasons))
    for reason in (2, 4, 5, 6, 14):
        desk.send(leads, M(32, log_term=mine, index=reason, context=1, hint=1), sender=1, to=2)
    assert node.propose(b"more").result(timeout=frame_fuzz.WAIT).result
    desk.until(to=2, answer=len(reasons))


def test_what_is_refused_is_said(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """The first of a reason, not each."""
    for _ in range(5):
        desk.send(1, desk.impl.Message(8, term=2**40), sender=9)
    desk.until(term=5)
    desk.fuzz.eventually(lambda: "refused Heartbeat from 9 in term 1099511627776 (term)" in caplog.text)
    assert caplog.text.count("no honest member") == 1


def test_a_cluster_under_lies(impl: ModuleType) -> None:
    frames = FRAMES["compiled" if impl.COMPILED else "pure"]
    counts = frame_fuzz.run(impl, module(impl, "transport.memory"), frames, 5)
    assert sum(counts.values()) == frames
    assert set(counts) == set(module(impl, "node.senders").REASONS[1:])
