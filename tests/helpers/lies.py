"""What no honest member can have sent, as a table: for the tests of admission and for the fuzz of a running engine.

Each row makes messages that break one rule of docs/wire-format.md ("What no honest member can have sent"), with all
that is free drawn at random. A row says from whom such a message comes, and of which receivers it is a lie.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

TERM_HIGH = INDEX_MAX = 2**62
TOP = 2**63 - 1
STEP = 2**32
PROP, APP, APP_RESP, VOTE, VOTE_RESP, SNAP, HEARTBEAT, HEARTBEAT_RESP = 2, 3, 4, 5, 6, 7, 8, 9
TRANSFER, TIMEOUT_NOW, READ, READ_RESP, PRE_VOTE, PRE_VOTE_RESP, REFUSED, DOUBT, DOUBT_RESP = (
    13,
    14,
    15,
    16,
    17,
    18,
    32,
    33,
    34,
)
REJECT, WANTS_SNAPSHOT = 1, 4


class View(NamedTuple):
    """What a receiver knows. ``peer`` is a member that does not lead, ``stranger`` no member at all."""

    term: int
    last: int
    lead: int
    leads: bool
    peer: int
    stranger: int


class Lie(NamedTuple):
    """A row. ``make`` returns (sender, fields of a Message); ``when`` says of which receivers it is a lie."""

    name: str
    reason: str
    make: Callable[[random.Random, View, ModuleType], tuple[int, dict[str, Any]]]
    when: Callable[[View], bool] = lambda view: True


def _far(draw: random.Random, low: int, high: int) -> int:
    """A number in low..high, near one of the ends or anywhere."""
    return draw.choice((low, high, draw.randint(low, high), min(high, low + draw.randrange(4))))


def _sender(draw: random.Random, view: View) -> int:
    return draw.choice(
        [id for id in (view.lead, view.peer, view.stranger) if id and not (view.leads and id == view.lead)]
    )


def _member(draw: random.Random, view: View) -> int:
    return draw.choice([view.peer] if view.leads or not view.lead else [view.peer, view.lead])


def _body(kind: int, impl: ModuleType) -> dict[str, Any]:
    return {"entries": [impl.Entry(0, 0, b"context")]} if kind in (READ, READ_RESP) else {}


def _no_term(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    kind = draw.choice(
        (
            APP,
            APP_RESP,
            VOTE,
            VOTE_RESP,
            HEARTBEAT,
            HEARTBEAT_RESP,
            TRANSFER,
            TIMEOUT_NOW,
            READ_RESP,
            PRE_VOTE,
            DOUBT,
            DOUBT_RESP,
        )
    )
    return _sender(draw, view), {"kind": kind, "term": 0, "context": draw.randrange(3), **_body(kind, impl)}


def _no_term_grant(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    return _sender(draw, view), {"kind": PRE_VOTE_RESP, "term": 0}


def _a_term(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    kind = draw.choice((PROP, READ, REFUSED))
    return _sender(draw, view), {"kind": kind, "term": _far(draw, 1, TOP), **_body(kind, impl)}


def _far_term(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    kind = draw.choice((APP, APP_RESP, VOTE, VOTE_RESP, HEARTBEAT, TIMEOUT_NOW, READ_RESP, PRE_VOTE, PRE_VOTE_RESP))
    term = _far(draw, view.term + STEP + 1, TOP)
    return _sender(draw, view), {"kind": kind, "term": term, "flags": draw.randrange(8), **_body(kind, impl)}


def _answer_of_the_future(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    kind = draw.choice((VOTE_RESP, APP_RESP, HEARTBEAT_RESP, TIMEOUT_NOW, TRANSFER, DOUBT))
    fields: dict[str, Any] = {"kind": kind, "term": _far(draw, view.term + 1, view.term + STEP), "context": 1}
    if kind == APP_RESP:
        fields.update(draw.choice(({"index": 1}, {"hint": 1}, {"flags": REJECT})))
    return _sender(draw, view), fields


def _stranger(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    kind = draw.choice(
        (
            PROP,
            APP_RESP,
            VOTE_RESP,
            HEARTBEAT_RESP,
            TRANSFER,
            TIMEOUT_NOW,
            READ,
            READ_RESP,
            PRE_VOTE_RESP,
            REFUSED,
            DOUBT,
            DOUBT_RESP,
        )
    )
    term = 0 if kind in (PROP, READ, REFUSED) else _far(draw, 1, view.term)
    fields = {"kind": kind, "term": term, "index": draw.randrange(view.last + 2), "context": draw.randrange(5)}
    return view.stranger, {**fields, "hint": draw.randrange(5), **_body(kind, impl)}


def _second_leader(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    kind = draw.choice((APP, HEARTBEAT, TIMEOUT_NOW, DOUBT_RESP))
    sender = draw.choice((view.peer, view.stranger)) if kind in (APP, HEARTBEAT) else view.peer
    fields: dict[str, Any] = {"kind": kind, "term": view.term, "commit": draw.randrange(view.last + 1)}
    return sender, fields


def _commit(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    return view.lead, {"kind": HEARTBEAT, "term": view.term, "commit": _far(draw, view.last + 2**20, INDEX_MAX)}


def _commit_of_a_new_leader(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    term = _far(draw, view.term + 1, view.term + STEP)
    commit = _far(draw, view.last + 2**20, INDEX_MAX)
    return draw.choice((view.peer, view.stranger)), {"kind": HEARTBEAT, "term": term, "commit": commit}


def _voted_commit(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    fields: dict[str, Any] = {
        "kind": draw.choice((VOTE, PRE_VOTE)),
        "term": _far(draw, 3, view.term + STEP),
        "index": 5,
        "log_term": 2,
    }
    fields.update(
        draw.choice(({"commit": _far(draw, 6, INDEX_MAX), "context": 1}, {"commit": 5, "context": _far(draw, 3, TOP)}))
    )
    return _sender(draw, view), fields


def _answered_commit(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    kind = draw.choice((VOTE_RESP, PRE_VOTE_RESP))
    odd = draw.choice(
        (
            {"commit": 0, "context": 4},
            {"commit": 4, "context": 0},
            {"commit": 4, "context": _far(draw, view.term + 1, TOP)},
        )
    )
    return _member(draw, view), {"kind": kind, "term": view.term, "flags": REJECT, **odd}


def _log(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    kind = draw.choice((APP, VOTE, PRE_VOTE))
    term = max(view.term, 2)
    odd = [
        {"index": _far(draw, INDEX_MAX + 1, TOP), "log_term": 1},
        {"index": 3, "log_term": _far(draw, term + 1, TOP)},
        {"index": 0, "log_term": 1},
        {"index": _far(draw, 1, INDEX_MAX), "log_term": 0},
        {"commit": _far(draw, INDEX_MAX + 1, TOP), "index": 3, "log_term": 1},
    ]
    if kind != APP:
        odd.append({"index": 3, "log_term": term})
    sender = view.lead if kind == APP and view.lead and not view.leads else view.peer
    return sender, {"kind": kind, "term": term, **draw.choice(odd)}


def _log_of_an_answer(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    odd = draw.choice(
        ({"index": _far(draw, view.last + 2**20, TOP)}, {"flags": REJECT, "log_term": _far(draw, view.term + 1, TOP)})
    )
    return view.peer, {"kind": APP_RESP, "term": view.term, **odd}


def _entries_out_of_reach(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    index = INDEX_MAX
    sender = view.lead if view.lead and not view.leads else view.peer
    entries = [impl.Entry(index + 1, view.term, b"far")]
    return sender, {"kind": APP, "term": view.term, "index": index, "log_term": 1, "entries": entries}


def _snapshot_out_of_reach(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    snapshot = impl.Snapshot(_far(draw, INDEX_MAX + 1, TOP), 1, impl.ConfState((1, 2, 3)), b"far")
    sender, term = (view.lead, view.term) if view.lead and not view.leads else (view.peer, view.term + 1)
    return sender, {"kind": SNAP, "term": term, "snapshot": snapshot}


def _request(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    kind = draw.choice((VOTE, PRE_VOTE, DOUBT))
    if kind == DOUBT:
        return _member(draw, view), {"kind": DOUBT, "term": view.term}
    fields = {"kind": kind, "term": _far(draw, 2, view.term + STEP), "index": 1, "log_term": 1}
    return _sender(draw, view), {**fields, "hint": _far(draw, 2**31, TOP)}


def _asking_transfer(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    return _sender(draw, view), {"kind": PRE_VOTE, "term": view.term + draw.randint(1, 5), "flags": 2}


def _request_for_a_snapshot(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    context = _far(draw, view.last + 2**20, TOP)
    return view.peer, {"kind": APP_RESP, "term": view.term, "flags": REJECT | WANTS_SNAPSHOT, "context": context}


def _no_change(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    kind = draw.choice((1, 2))
    odd = [b"\0", b"\3\0", b"\0\2" + bytes(9), b"\0\1\4" + bytes(8), b"\0\1\0" + b"\xff" * 8]
    if kind == 1:
        odd += [b"", b"\0\0", b"\1\1" + bytes(9)]
    entries = [impl.Entry(0, 0, draw.choice(odd), kind)]
    if draw.random() < 0.3:
        entries.insert(0, impl.Entry(0, 0, b"before"))
    return _member(draw, view), {"kind": PROP, "entries": entries}


def _no_membership(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    conf = draw.choice(
        (
            impl.ConfState((1, 2, 3), (2,)),
            impl.ConfState((), (1, 2)),
            impl.ConfState((1, 2), (3,), (1, 3)),
            impl.ConfState((1, 2), (), (), (), True),
            impl.ConfState((1, 2), (), (1, 2), (3,)),
            impl.ConfState((1, 2), (), (), (2,)),
            impl.ConfState(tuple(range(1, 65)), (65,)),
        )
    )
    snapshot = impl.Snapshot(_far(draw, 1, INDEX_MAX), 1, conf, b"state")
    sender, term = (view.lead, view.term) if view.lead and not view.leads else (view.peer, view.term + 1)
    return sender, {"kind": SNAP, "term": term, "snapshot": snapshot}


LIES = (
    Lie("no term", "term", _no_term),
    Lie("no term in a grant", "term", _no_term_grant),
    Lie("a term where none belongs", "term", _a_term),
    Lie("a term far ahead", "term", _far_term),
    Lie("an answer of a later term", "term", _answer_of_the_future),
    Lie("from a stranger", "stranger", _stranger),
    Lie("a second leader", "second leader", _second_leader, lambda view: view.lead != 0),
    Lie("a commit index beyond the log", "commit", _commit, lambda view: view.lead != 0 and not view.leads),
    Lie("the same of a new leader", "commit", _commit_of_a_new_leader),
    Lie("a commit index beyond the candidate's log", "commit", _voted_commit),
    Lie("a commit index without its term", "commit", _answered_commit),
    Lie("a place in a log", "log", _log),
    Lie("entries out of reach", "log", _entries_out_of_reach),
    Lie("a snapshot out of reach", "log", _snapshot_out_of_reach),
    Lie("an acknowledgement beyond the log", "log", _log_of_an_answer, lambda view: view.leads),
    Lie("a request", "request", _request),
    Lie("a transfer that asks first", "request", _asking_transfer),
    Lie("a request for a snapshot", "request", _request_for_a_snapshot, lambda view: view.leads),
    Lie("a change that is none", "request", _no_change),
    Lie("a membership that is none", "request", _no_membership),
)


def proposals(impl: ModuleType, sender: int, incarnation: int, sequence: int, count: int = 1) -> list[Any]:
    """Entries with the envelopes that this life of a member gives them."""
    envelopes = [struct.pack("<QQQ", sender, incarnation, sequence + i) for i in range(count)]
    return [impl.Entry(0, 0, envelope + b"data") for envelope in envelopes]


def odd_proposals(draw: random.Random, sender: int, incarnation: int, impl: ModuleType) -> dict[str, Any]:
    """A Prop that its sender cannot have passed on ("origin")."""
    sequence = draw.randrange(1, 1000)
    good = proposals(impl, sender, incarnation, sequence, 2)
    odd = draw.choice(
        (
            {"entries": proposals(impl, sender + 1, incarnation, sequence, 2)},
            {"entries": proposals(impl, sender, incarnation + 1, sequence, 2)},
            {"entries": proposals(impl, sender, incarnation, sequence + 1, 2)},
            {"entries": [good[0], good[0]]},
            {"entries": [impl.Entry(0, 0, b"bare"), good[1]]},
            {"entries": good, "hint": 3},
            {"entries": good, "context": 0},
            {"entries": [], "hint": 0},
            {"entries": proposals(impl, sender, incarnation, 2**46, 2), "context": 2**46},
            {"entries": proposals(impl, sender, incarnation, 2**63 - 2, 2), "context": 2**63 - 2},
        )
    )
    return {"kind": PROP, "hint": 2, "context": sequence, "log_term": 1, **odd}


def contradiction(draw: random.Random, view: View, impl: ModuleType) -> tuple[int, dict[str, Any]]:
    """(sender, fields) of an append of a later term, whose first entry is another one than that of the receiver.

    Its sender would have to lead that term, and so have what is committed.
    """
    term = view.term + draw.randint(1, 40)
    other = draw.randint(view.term + 1, term)
    fields: dict[str, Any] = {"index": 1, "log_term": other}
    if draw.random() < 0.5:
        fields = {"entries": [impl.Entry(1, other, b"other")]}
    return _sender(draw, view), {"term": term, "commit": draw.randrange(3), **fields}
