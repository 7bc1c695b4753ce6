"""The sessions of a cluster, as every member has them: which of a session's proposals are applied, with what results.

It follows the log alone: the same entries make the same table, on every member and in every life. Entries are given to
it in their order; it says whether a command is to be applied, and is told what came of it. Nothing here knows clocks,
threads, or whose proposal an entry is. What may differ between members is only what is left of a result, which decides
nothing but what a repeated proposal is told.

The rule of a session: its commands are applied in the order of their sequence numbers, each once. One is applied when
it is the next: when everything before it is applied, or was given up by its client, which tells so with each entry: the
lowest number whose answer it waits for (``acknowledged``).
"""

from __future__ import annotations

import heapq
import struct
from dataclasses import dataclass, field
from typing import Any

from ..errors import ApplyError, NotDone, SessionExpired, SessionFenced, SnapshotDamaged, Unknown
from .session_format import RESULT_MAX, decode_value, encode_value

SESSIONS_MAX = 10_000  # beyond them those go that were used longest ago
WINDOW = 1_000  # proposals of one session, from the first whose answer is waited for
KEPT_BYTES = 64 << 20  # of results; beyond them those of sessions that were used longest ago are lost
LOST_AT_ONCE = 8 << 20  # bytes of them, so that not every command looks for more
TEXT_MAX = RESULT_MAX - 64  # bytes of what is kept of an exception
TTL_MAX_MS = 10 * 365 * 86_400_000
MS = 1_000_000

# What came of a command
VALUE = 0
REFUSED = 1  # ``apply`` raised
LOST = 2  # it is applied, and what came of it is not known any more

NOT_KNOWN = (
    "the session is not known: it was not used for longer than its time-to-live, was closed, or more than "
    f"{SESSIONS_MAX:,} others were used since: open another one"
)
FENCED = "the session was opened again since, by somebody with the same name: that one goes on, and this one has ended"
MISSING = "an earlier proposal of the session has not arrived yet"
FORGOTTEN = "the session has had its answer, or gave it up: what it was is not known any more"
BEYOND = f"more than {WINDOW:,} proposals of the session are open"

SESSIONS_LIVE = (
    "sessions are in use, and what is known of them is in the log alone: close them, or wait until they have expired, "
    "or give the state machine a snapshot()"
)

_HEAD = struct.Struct("<QI")
_SESSION = struct.Struct("<16sQ16sQQQQI")
_KEPT = struct.Struct("<QQQBI")


@dataclass
class Kept:
    """What came of a command: where it was applied, and its result, or the exception, as somebody is told it."""

    index: int
    term: int
    how: int
    value: Any = None

    def outcome(self) -> Any:
        """The result. Raises what ``apply`` raised."""
        if self.how == REFUSED:
            raise self.value
        return self.value


@dataclass(slots=True)
class Encoded:
    """The same as it is kept: in bytes, so that nobody can change it, and its size is known. None: it is LOST."""

    index: int
    term: int
    how: int
    data: bytes | None

    def size(self) -> int:
        """Bytes of the result."""
        return len(self.data) if self.data is not None else 0

    def kept(self) -> Kept:
        """What a repeated proposal is told. Raises ValueError for damaged bytes."""
        value = decode_value(self.data) if self.data is not None else None
        return Kept(self.index, self.term, self.how, ApplyError(value) if self.how == REFUSED else value)


@dataclass
class State:
    """One session."""

    #: the entry with which it was opened last, the token of who did, and its time-to-live in ns
    opening: int
    token: bytes
    ttl: int
    #: the time of its last entry
    used: int
    #: everything up to this sequence is applied, or never will be
    last: int = 0
    #: answers below this are not waited for
    acknowledged: int = 1
    #: by sequence, ascending: all from ``acknowledged`` to ``last``
    results: dict[int, Encoded] = field(default_factory=dict)
    #: bytes of them
    kept_bytes: int = 0
    #: when ``expire`` looks at it
    due: int = 0


class SessionTable:
    """All sessions. On one thread."""

    def __init__(self) -> None:
        #: by id, the one that was used longest ago first
        self.sessions: dict[bytes, State] = {}
        #: the last entry that is in it
        self.index = 0
        #: (when to look at it, id). Invariant: of every session ``due`` stands here, and is not later than it expires
        self.due: list[tuple[int, bytes]] = []
        #: bytes of results
        self.kept_bytes = 0

    # --- entries, in their order -----------------------------------------------------------------

    def open(self, id: bytes, expected: int, token: bytes, ttl_ms: int, index: int, time: int) -> tuple[bool, int, int]:
        """Somebody opens a session: whether it is theirs, with which opening, and its last sequence.

        It is, when the present opening is the one that they expect (0: none). So a copy of the entry that comes late
        takes it from nobody; one that follows at once has the same answer.
        """
        self.expire(time)
        state = self.sessions.get(id)
        if state is not None and state.token == token:
            self.touch(id, state, time)
            return True, state.opening, state.last
        if (state.opening if state is not None else 0) != expected:
            return False, state.opening if state is not None else 0, state.last if state is not None else 0
        ttl = max(1, min(ttl_ms, TTL_MAX_MS)) * MS
        if state is None:
            self.sessions[id] = state = State(index, token, ttl, time)
        else:
            # What was proposed before will not be applied any more, and nobody waits for answers.
            state.opening, state.token, state.ttl = index, token, ttl
            self.acknowledge(state, state.last + 1)
        self.touch(id, state, time)
        if not state.due or time + ttl < state.due:
            self.look_at(id, state, time + ttl)
        while len(self.sessions) > SESSIONS_MAX:
            self.drop(next(iter(self.sessions)))
        return True, state.opening, state.last

    def close(self, id: bytes, opening: int, time: int) -> bool:
        """Its owner needs it no more; whether it was there."""
        self.expire(time)
        state = self.sessions.get(id)
        if state is None or state.opening != opening:
            return False
        self.drop(id)
        return True

    def begin(self, id: bytes, opening: int, sequence: int, acknowledged: int, time: int) -> Kept | None:
        """A command has come. None: it is to be applied, and then told to ``keep``; else what came of it before.

        Raises SessionExpired, SessionFenced, or NotDone when it is not to be applied; Unknown when it may have been.
        """
        self.expire(time)
        state = self.sessions.get(id)
        if state is None:
            raise SessionExpired(NOT_KNOWN)
        if state.opening != opening:
            raise SessionFenced(FENCED)
        self.touch(id, state, time)
        if acknowledged <= sequence:
            self.acknowledge(state, acknowledged)
        if sequence < state.acknowledged:
            raise Unknown(FORGOTTEN)
        if sequence <= state.last:
            return state.results[sequence].kept()
        if sequence != state.last + 1:
            raise NotDone(MISSING)
        if sequence - state.acknowledged >= WINDOW:
            raise NotDone(BEYOND)
        return None

    def keep(self, id: bytes, sequence: int, kept: Kept) -> Kept:
        """That command was applied, and this came of it: it is returned as it is, and kept as far as it can be."""
        state, data = self.sessions[id], None
        if kept.how == VALUE:
            data = encode_value(kept.value)
        elif kept.how == REFUSED:
            data = encode_value(text_of(kept.value))
        state.results[sequence] = Encoded(kept.index, kept.term, kept.how if data is not None else LOST, data)
        state.last = sequence
        self.count(state, len(data) if data is not None else 0)
        if self.kept_bytes > KEPT_BYTES:
            self.lose(KEPT_BYTES - LOST_AT_ONCE)
        return kept

    # --- what follows from them ------------------------------------------------------------------

    def touch(self, id: bytes, state: State, time: int) -> None:
        """It is used."""
        state.used = time
        self.sessions[id] = self.sessions.pop(id)

    def look_at(self, id: bytes, state: State, when: int) -> None:
        """``expire`` looks at it then."""
        state.due = when
        heapq.heappush(self.due, (when, id))

    def expire(self, time: int) -> None:
        """Those go that were not used for too long."""
        while self.due and self.due[0][0] < time:
            when, id = heapq.heappop(self.due)
            state = self.sessions.get(id)
            if state is None or state.due != when:
                continue
            if state.used == 0:
                state.used = time  # it was not known how late it was
            if state.used + state.ttl < time:
                self.drop(id)
            else:
                self.look_at(id, state, state.used + state.ttl)

    def drop(self, id: bytes) -> None:
        """It goes."""
        state = self.sessions.pop(id)
        self.count(state, -state.kept_bytes)

    def acknowledge(self, state: State, acknowledged: int) -> None:
        """Answers below that are not waited for."""
        if acknowledged <= state.acknowledged:
            return
        state.acknowledged = acknowledged
        state.last = max(state.last, acknowledged - 1)
        while state.results:
            sequence = next(iter(state.results))
            if sequence >= acknowledged:
                break
            self.count(state, -state.results.pop(sequence).size())

    def lose(self, most: int) -> None:
        """Forget results until there are fewer bytes of them, from the session on that was used longest ago."""
        for state in self.sessions.values():
            if state.kept_bytes == 0:
                continue
            for kept in state.results.values():
                if self.kept_bytes <= most:
                    return
                self.count(state, -kept.size())
                kept.how, kept.data = LOST, None

    def count(self, state: State, size: int) -> None:
        """So many bytes of results more, or fewer."""
        state.kept_bytes += size
        self.kept_bytes += size

    def live(self, time: int) -> bool:
        """Whether any has not expired by then. Any thread."""
        return any([state.used == 0 or state.used + state.ttl >= time for state in list(self.sessions.values())])

    # --- snapshots -------------------------------------------------------------------------------

    def encode(self, time: int) -> bytes:
        """The table, and the time of the last entry: docs/snapshots.md has the bytes."""
        out = [_HEAD.pack(time, len(self.sessions))]
        for id, state in self.sessions.items():
            out.append(
                _SESSION.pack(
                    id, state.opening, state.token, state.ttl, state.used, state.last, state.acknowledged,
                    len(state.results),
                )
            )  # fmt: skip
            for sequence, kept in state.results.items():
                head = _KEPT.pack(sequence, kept.index, kept.term, kept.how, kept.size())
                out.append(head + (kept.data if kept.data is not None else b""))
        return b"".join(out)


def text_of(error: BaseException) -> str:
    """What is kept of an exception."""
    try:
        text = str(error)
    except Exception:  # of the state machine's own making
        return type(error).__name__
    text = text if isinstance(error, ApplyError) else f"{type(error).__name__}: {text}"
    return text.encode("utf-8", "replace")[:TEXT_MAX].decode(errors="ignore")


def decode(data: bytes, index: int) -> tuple[int, SessionTable]:
    """The time of the last entry, ``index``, and the table. Raises SnapshotDamaged."""
    table = SessionTable()
    table.index = index
    if not data:
        return 0, table
    try:
        time, count = _HEAD.unpack_from(data)
        at = _HEAD.size
        for _ in range(count):
            id, opening, token, ttl, used, last, acknowledged, results = _SESSION.unpack_from(data, at)
            at += _SESSION.size
            state = table.sessions[id] = State(opening, token, ttl, used, last, acknowledged)
            table.look_at(id, state, used + ttl)
            for _ in range(results):
                sequence, its_index, term, how, size = _KEPT.unpack_from(data, at)
                at += _KEPT.size
                encoded = data[at : at + size] if how != LOST else None
                at += size
                state.results[sequence] = kept = Encoded(its_index, term, how, encoded)
                kept.kept()  # raises for what is damaged
                table.count(state, kept.size())
        if at != len(data):
            raise ValueError("bytes are left")
    except (struct.error, ValueError) as error:
        raise SnapshotDamaged(f"what the node keeps in the snapshot of entry {index} is damaged: {error}") from error
    return time, table
