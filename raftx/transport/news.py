"""What people should hear of connections, as text and level of logging."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Collection, Mapping
from typing import Any

from .._native.limits import (
    NOTE_CROWD,
    NOTE_LIMIT,
    NOTE_REACHED,
    NOTE_SHORTAGE,
    NOTE_TOO_LARGE,
    NOTE_UNREACHABLE,
    Notes,
)
from ..report import report

#: by kind of a note, the event of its line; see docs/logs.md
EVENTS = {
    NOTE_UNREACHABLE: "peer_lost",
    NOTE_REACHED: "peer_connected",
    NOTE_SHORTAGE: "connections_short",
    NOTE_CROWD: "connections_closed",
    NOTE_LIMIT: "frame_too_large",
    NOTE_TOO_LARGE: "frame_too_large",
}


def reason(detail: int) -> str:
    """An error number as text; a negative one is getaddrinfo's."""
    if detail > 0:
        return os.strerror(detail)
    if detail == socket.EAI_NONAME:
        return "the name is not known"
    return f"the name could not be looked up ({detail})"


def describe(kind: int, id: int, detail: int, peers: Mapping[int, str], stranger: bool) -> tuple[int, str]:
    """The level and the text of a note. stranger: it is about who is no member, any more or at all."""
    member = f"member {id} at {peers.get(id, 'an unknown address')}"
    if kind == NOTE_UNREACHABLE and stranger:
        return logging.INFO, f"{member}, which is no member here, cannot be reached: {reason(detail)}"
    if kind == NOTE_UNREACHABLE:
        return logging.WARNING, f"{member} cannot be reached: {reason(detail)}; it is dialled until it answers"
    if kind == NOTE_REACHED:
        return logging.INFO, f"{member} can be reached again"
    if kind == NOTE_SHORTAGE:
        return logging.WARNING, (
            f"the system is short of something for connections: {reason(detail)}; "
            "nothing fails, but what needs it waits (see status())"
        )
    if kind == NOTE_CROWD:
        return logging.WARNING, (
            "more connections than are allowed: some that had not sent a valid frame, or were silent for longest, "
            "were closed (max_connections, max_strangers; see status())"
        )
    if kind == NOTE_LIMIT:
        return logging.WARNING, (
            f"{member} takes frames of at most {detail} bytes, and an entry for it needs a larger one: it cannot catch "
            "up until its max_frame_bytes is raised"
        )
    if kind == NOTE_TOO_LARGE:
        return logging.WARNING, (
            f"{member} has an entry for this node that needs a frame of more than the {detail} bytes that are taken "
            "here: this node cannot catch up until its max_frame_bytes is raised"
        )
    return logging.WARNING, f"connections: note {kind} about {id}: {detail}"


def report_notes(notes: Notes, id: int, peers: Mapping[int, str], members: Collection[int]) -> None:
    """Log what has been noted since the last call for node ``id``. One thread at a time.

    members: as far as they are known; none: nobody is known yet.
    """
    while (note := notes.py_take()) is not None:
        kind, peer, detail = note
        level, text = describe(*note, peers, bool(members) and peer not in members)
        fields: dict[str, Any] = (
            {"peer": peer, "reason": reason(detail)} if kind == NOTE_UNREACHABLE else {"peer": peer}
        )
        report(level, "node %d: %s", id, text, event=EVENTS.get(kind, "connections"), node=id, **fields)
