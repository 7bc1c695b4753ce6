"""What somebody on the network once did to a cluster, attack by attack: with TLS each is dropped at the first look.

The frames are right in every way but one: they come over the connection of another member than the one they name.
What the rest of the checks do with such frames is in test_senders.py and tests/consensus/test_admission.py.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.helpers import lies
from tests.helpers.desk import Desk, proposed
from tests.helpers.implementations import module
from tests.tools import frame_fuzz

FOREVER = 2**63 - 1


def message(kind: int, **fields: Any) -> Any:
    """A maker of one message."""
    return lambda impl, life: [impl.Message(kind, **fields)]


#: what was done, to whom (1 leads, 2 follows), in whose name, in which life of that one, and with which messages
ATTACKS = {
    "the last term": (1, 9, 1, message(8, term=FOREVER)),
    "a term of 0 forgets a vote": (2, 9, 1, message(8)),
    "a commit index beyond the log": (2, 1, 0, message(8, term=1, commit=2**40)),
    "an append of a leader of a later term": (
        2, 3, 0,
        lambda impl, life: [impl.Message(3, term=2, commit=9, index=1, log_term=1, entries=[impl.Entry(2, 2, b"E")])],
    ),
    "an acknowledgement of a dead follower": (1, 2, 0, message(4, term=1, index=1)),
    "a proposal in a member's name": (1, 2, 0, lambda impl, life: [proposed(impl, life, 1)]),
    "a proposal with another one's envelope": (
        1, 2, 0,
        lambda impl, life: [impl.Message(2, log_term=1, hint=1, context=1, entries=lies.proposals(impl, 1, life, 1))],
    ),
    "a life that silences": (1, 2, 2**64 - 1, lambda impl, life: []),
    "proposals that mute": (1, 2, 0, lambda impl, life: [proposed(impl, life, 2**43 - number) for number in range(64)]),
    "votes of a transfer": (1, 2, 0, message(5, term=75, index=1, log_term=1, flags=2)),
    "a refusal of what is open": (2, 1, 0, message(32, index=2, hint=1, context=1)),
}  # fmt: skip


@pytest.fixture
def desk(impl: ModuleType) -> Any:
    made = Desk(impl, frame_fuzz.Fuzz(impl, module(impl, "transport.memory"), 1))
    yield made
    made.fuzz.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_over_the_connection_of_another_member_nothing_is_taken(desk: Desk, name: str) -> None:
    to, sender, life, make = ATTACKS[name]
    fuzz = desk.fuzz
    node, cluster = fuzz.nodes[to], fuzz.nodes[1].config.cluster
    # Who was not needed for what has been committed may have it later.
    fuzz.eventually(lambda: len({each.status().last for each in fuzz.nodes.values()}) == 1)
    before = node.status()
    own = life or fuzz.lives.get(sender, 1)
    frame = desk.codec(cluster, sender, own).encode(to, make(desk.impl, own))
    for _ in range(3):
        # Over the connection of member 3; what names member 3, over that of member 1 or 2.
        fuzz.taps[to].deliver(frame, 7, 3 if sender != 3 else 3 - to)
    fuzz.eventually(lambda: node.status().frames_rejected["identity"] == 3)
    after = node.status()
    assert (after.term, after.vote, after.last, after.frames_stale) == (before.term, before.vote, before.last, 0)
    assert after.messages_refused == before.messages_refused and after.state == "running"
    fuzz.commit(b"it goes on")


def test_over_its_own_connection_it_is_taken(desk: Desk) -> None:
    fuzz = desk.fuzz
    cluster = fuzz.nodes[1].config.cluster
    last = fuzz.nodes[1].status().last
    frame = desk.codec(cluster, 2, desk.life).encode(1, [proposed(desk.impl, desk.life, 1)])
    fuzz.taps[1].deliver(frame, 7, 2)
    desk.until(last=last + 1)
    assert fuzz.nodes[1].status().frames_rejected["identity"] == 0


def test_votes_of_a_transfer_depose_no_leader_that_asked_for_none(desk: Desk) -> None:
    """By a member, over its own connection: twenty of them once stopped a cluster for as long as they came."""
    node = desk.fuzz.nodes[1]
    for term in range(2, 22):
        desk.send(desk.life, desk.impl.Message(5, term=term, index=5, log_term=1, flags=2))
    desk.send(desk.life, desk.impl.Message(5, term=30, index=5, log_term=1, hint=2**63 - 1))
    desk.until(request=1)
    assert node.is_leader and node.status().term == 1
    desk.fuzz.commit(b"it goes on")


def test_a_transfer_that_was_asked_for_is_made(desk: Desk) -> None:
    node = desk.fuzz.nodes[1]
    assert node.transfer_leadership(2).result(timeout=30).leader == 2
    assert node.status().messages_refused["request"] == 0


def test_a_frame_that_was_refused_is_told(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Once a minute at most, by reason; of those that tell something, with the remedy."""
    caplog.set_level("INFO", "raftx")
    frame = bytearray(desk.codec(desk.fuzz.nodes[1].config.cluster, 2, desk.life).encode(1, []))
    desk.fuzz.taps[1].deliver(bytes(frame), 7, 3)
    frame[60] ^= 1
    for _ in range(50):
        desk.fuzz.taps[1].deliver(bytes(frame))
    desk.fuzz.eventually(lambda: "over the connection of another member" in caplog.text)
    desk.fuzz.eventually(lambda: any(record.raftx_event == "frames_dropped" for record in caplog.records))
    for _ in range(50):
        desk.fuzz.taps[1].deliver(b"junk")
    desk.fuzz.eventually(lambda: desk.fuzz.nodes[1].status().frames_rejected["short"] == 50)
    told = [record for record in caplog.records if record.raftx_event == "frames_dropped"]
    assert len(told) == 1 and told[0].levelname == "INFO"


def test_nothing_shows_what_was_proposed(impl: ModuleType) -> None:
    entry = impl.Entry(1, 1, b"my password")
    shown = [
        entry,
        impl.Message(3, term=1, entries=[entry]),
        impl.Snapshot(1, 1, impl.ConfState(voters=(1,)), b"my password"),
    ]
    assert "password" not in repr(shown) and "data=<11 bytes>" in repr(entry)
