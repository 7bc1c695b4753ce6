"""Changes of membership as they are proposed, read from their entries without the GIL and without objects.

``types.ConfChange`` is the same for Python and says what each byte means. A leader needs to know of a change only
whether it is one, and whether it has parts: one without parts leaves a joint configuration. What a change leads to is
computed when it is applied, by confchange.py.

Functions over bytes and messages that read and never write.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._native.layout import ENTRY_HEADER
from .._native.outbox import Message
from ..types import (
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_SESSION,
    NUMBER_MAX,
    TRANSITION_AUTO,
    TRANSITION_EXPLICIT,
)
from . import records

CHANGE_HEADER = 2  # transition 1 | number of parts 1
PART_BYTES = 9  # kind 1 | id 8
PARTS_KINDS = 4  # what a part can do: add a voter, remove, update, add a learner

# Why a leader puts an empty entry in the place of a change
CHANGE_FITS = 0
CHANGE_PENDING = 1
CHANGE_IN_JOINT = 2
CHANGE_NOT_JOINT = 3


def is_change(body: Sequence[int], at: int, end: int, v1: bool) -> bool:
    """Whether the data ``at`` .. ``end`` - 1 are a change, of the old kind if ``v1``: what ConfChange.decode takes."""
    if at == end:
        return not v1
    if end - at < CHANGE_HEADER or body[at] > TRANSITION_EXPLICIT:
        return False
    count = body[at + 1]
    if end - at < CHANGE_HEADER + PART_BYTES * count or (v1 and (count != 1 or body[at] != TRANSITION_AUTO)):
        return False
    for part in range(count):
        place = at + CHANGE_HEADER + PART_BYTES * part
        if body[place] >= PARTS_KINDS or records.u64(body, place + 1) > NUMBER_MAX:
            return False
    return True


def is_kind_of_change(kind: int) -> bool:
    """Whether entries of that kind hold a change of membership."""
    return kind in (ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2)


def part_count(body: Sequence[int], at: int, end: int) -> int:
    """How many members the change ``at`` .. ``end`` - 1 is about; 0: it leaves a joint configuration."""
    return body[at + 1] if end > at else 0


def unfit_kind(m: Message) -> int:
    """The kind of the first entry of a proposal that may not be proposed: no change where one belongs, or of another
    kind. 0 when all may be."""
    at = 0
    while at < m.body_size:
        size = records.record_size(m.body, at, m.body_size)
        if size == 0:
            return 0
        kind = m.body[at + records.RECORD_KIND]
        if kind != 0 and kind != ENTRY_SESSION:
            if kind != ENTRY_CONF_CHANGE and kind != ENTRY_CONF_CHANGE_V2:
                return kind
            if not is_change(m.body, at + ENTRY_HEADER, at + size, kind == ENTRY_CONF_CHANGE):
                return kind
        at += size
    return 0


def refusal_text(reason: int, pending: int, applied: int) -> str:
    """Why a change was not taken, for its proposer."""
    if reason == CHANGE_PENDING:
        return f"the change of membership at index {pending} may not be applied yet (applied up to {applied})"
    if reason == CHANGE_IN_JOINT:
        return "the configuration is joint: leave it, with an empty change, before the next one"
    return "an empty change leaves a joint configuration, and this one is not joint"


def py_is_change(data: bytes, v1: bool = False) -> bool:
    """``is_change`` for Python."""
    return bool(is_change(data, 0, len(data), v1))
