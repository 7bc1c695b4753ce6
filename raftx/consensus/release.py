"""The release rule: what may leave a member at once, and what waits for its disk.

What promises something about this node's disk may leave only when the write it depends on is durable: every
acknowledgement and every vote, the node's own included (etcd's list), and besides them the *request* for
votes: a candidate that is elected by the others, loses power before its term reaches its disk and is
elected in the same term again would create two different entries with one index and term.

Messages are only moved between outboxes here; nothing is written or sent.
"""

from __future__ import annotations

from .._native.outbox import Message, Outbox
from ..types import MSG_APP_RESP, MSG_PRE_VOTE_RESP, MSG_VOTE, MSG_VOTE_RESP
from .raft import Raft


def waits_for_disk(kind: int) -> bool:
    """Whether a message of this kind waits for the write that is handed over with it."""
    return kind in (MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP, MSG_VOTE)


def collect(core: Raft, out: Outbox, held: Outbox, write: int) -> int:
    """Move what the core wants sent: to ``out`` what may leave now, to ``held`` what waits for that write."""
    if core.messages.length():
        for row in range(core.messages.length()):
            if waits_for_disk(core.messages.kind_at(row)):
                held.take(core.messages, row, write)
            else:
                out.take(core.messages, row, 0)
        core.messages.clear()
    if core.after_append.length():
        for row in range(core.after_append.length()):
            held.take(core.after_append, row, write)
        core.after_append.clear()
    return 0


def release(core: Raft, held: Outbox, write: int, out: Outbox, scratch: Message) -> int:
    """That write is durable: step what the core sent itself, move the rest to ``out``. Returns how many rows."""
    count = 0
    while count < held.length() and held.tag_at(count) <= write:
        if held.to_at(count) == core.id:
            held.load(count, scratch)
            core.step(scratch)
        else:
            out.take(held, count, 0)
        count += 1
    held.discard(count)
    return count
