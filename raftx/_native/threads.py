"""Clock, wake-ups, hand-overs between threads, in plain Python: the definition of what ``threads.pyx`` does faster.

Used where nothing is compiled, and with ``RAFTX_PURE=1``. Same names, same results, the same bytes
and error numbers as the compiled module; both change in one commit. Nothing here knows Raft.

Where the compiled module has a pointer there is a bytes-like object here. Methods without a ``py_``
twin trust their arguments, as the compiled ones do. NNG's functions cannot be called from here.

A signal handler may interrupt anything here, call the same function, and wait for another thread. So
what a user's thread calls holds no lock that another thread needs, and changes shared numbers and queues
in lines without a call between them: CPython looks for signals, and changes threads, after calls and at
loops only.
"""

from __future__ import annotations

import collections
import operator
import os
import select
import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar, final

from .checks import check, check_index
from .layout import BARRIER_BIT, ENTRY_HEADER, ENVELOPE, KIND_BARRIER, RECORD_LENGTH, SLACK
from .memory import Buffer, Spans

CELLS = 16
COLUMNS = 8
ROWS_DEFAULT = 4096
ROWS_MAX = 1 << 24
FULL = 1  # what put() says of a row that has no room
CLOSED = -1
POLL_MAX_MS = 2**31 - 1  # poll() takes a C int; waking up earlier than asked is allowed

Bytes: TypeAlias = bytes | bytearray | memoryview
Row: TypeAlias = tuple[int, int, int, int, int, int, int, int]
T = TypeVar("T")


def _number(value: Any, high: int = 2**64, low: int = 0) -> int:
    """``value`` as an int in [low, high); raises as the conversion to a C integer does."""
    number = int(operator.index(value))  # a bool is a number, too
    if not low <= number < high:
        raise OverflowError(f"{number} is not in [{low}, {high})")
    return number


def _int(value: Any) -> int:
    return _number(value, 2**31, -(2**31))


def _int64(value: Any) -> int:
    return _number(value, 2**63, -(2**63))


def _typed(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} is required, not {type(value).__name__}")
    return value


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"data must be bytes, not {type(data).__name__}")


def claim(cell: list[int]) -> bool:
    """Take a cell of two numbers; True for the one who was first."""
    try:
        cell.pop(1)
    except IndexError:
        return False
    return True


def publish(cell: list[int], state: int) -> None:
    """Show a state, and with it everything that was written before."""
    cell[0] = state


def peek(cell: list[int]) -> int:
    """The state."""
    return cell[0]


def monotonic_ns() -> int:
    """CLOCK_MONOTONIC in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Clock:
    """The system's monotonic clock, and its wall clock. Any thread."""

    __slots__ = ()

    def now(self) -> int:
        """Nanoseconds."""
        return monotonic_ns()

    def boot(self) -> int:
        """Nanoseconds since the system was booted, those in which it was suspended included."""
        return _boot_ns()

    def until(self, deadline: int) -> int:
        """How long a waiter may sleep for this deadline, in nanoseconds; -1: until it is woken."""
        return max(deadline - self.now(), 0)

    def wall(self) -> int:
        """Nanoseconds since the epoch, as the system has it: it may jump."""
        return time.time_ns()

    def py_wall(self) -> int:
        """Nanoseconds since the epoch, as the system has it: it may jump."""
        return self.wall()

    def py_now(self) -> int:
        """Nanoseconds."""
        return self.now()

    def py_boot(self) -> int:
        """Nanoseconds since the system was booted, those in which it was suspended included."""
        return self.boot()

    def py_until(self, deadline: int) -> int:
        """How long a waiter may sleep for this deadline, in nanoseconds; -1: until it is woken."""
        return self.until(_int64(deadline))


@final
class ManualClock(Clock):
    """A clock that moves when told to. ``advance`` wakes the nodes that use it. Any thread.

    Its wall clock is the same, until ``set_wall`` has moved it. wakes: False for who steps nodes, and looks
    himself when the time of each sleeper has come.
    """

    __slots__ = ("ahead", "events", "lock", "value")

    def __init__(self, start: float = 0.0, wakes: bool = True) -> None:
        self.lock = threading.RLock()  # adding to an attribute is not atomic everywhere
        self.value = _int64(int(start * 1e9))
        #: of ``value``, the wall clock
        self.ahead = 0
        #: those that are gone take themselves out
        self.events: list[weakref.ref[Event]] | None = [] if wakes else None

    def __repr__(self) -> str:
        return f"<raftx.ManualClock at {self.value / 1e9:.3f} s>"

    def now(self) -> int:
        """Nanoseconds."""
        return self.value

    def boot(self) -> int:
        """The same: it stops for nothing."""
        return self.value

    def until(self, deadline: int) -> int:
        """How long a waiter may sleep for this deadline; -1: until time moves, which wakes it."""
        left = deadline - self.value
        if left <= 0:
            return 0
        return -1 if self.events is not None else left

    def wall(self) -> int:
        """Nanoseconds since the epoch."""
        return self.value + self.ahead

    def set_wall(self, seconds: float) -> None:
        """Let the wall clock jump to this many seconds since the epoch, from where it moves on with ``advance``.

        Raises ValueError for a negative time.
        """
        if seconds < 0:
            raise ValueError("seconds must not be negative")
        self.ahead = _int64(int(seconds * 1e9) - self.value)

    def watch(self, event: Event) -> None:
        """Wake this event whenever time moves."""
        if self.events is not None:
            self.events.append(weakref.ref(event, self.events.remove))

    def py_watch(self, event: Event) -> None:
        """Wake this event whenever time moves."""
        self.watch(_typed(Event, event))

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises ValueError for a negative time."""
        if seconds < 0:
            raise ValueError("seconds must not be negative")
        step = _int64(int(seconds * 1e9))
        with self.lock:
            self.value += step
        for each in list(self.events or ()):
            event = each()
            if event is not None:
                event.wake()


@final
class Event:
    """Sleep and wake. The sleeper announces itself, looks again, then sleeps; so no wake-up is lost.

    One thread sleeps, any thread wakes it. A wake-up too many is possible, one too few is not.
    """

    __slots__ = ("__weakref__", "fd", "poll", "sleeping")

    def __init__(self) -> None:
        self.fd = -1
        self.sleeping = 0
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.poll = select.poll()
        self.poll.register(self.fd, select.POLLIN)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def prepare(self) -> None:
        """Announce sleep; look at the data again before ``wait``."""
        self.sleeping = 1

    def cancel(self) -> None:
        """Not sleeping after all."""
        self.sleeping = 0

    def wait(self, timeout: int) -> None:
        """Sleep until woken or for ``timeout`` nanoseconds (below 0: no limit)."""
        ready = self.poll.poll(None if timeout < 0 else min(timeout / 1e6, POLL_MAX_MS))
        # Waking up because of a signal that comes after this is one time too many, which is allowed.
        self.sleeping = 0
        if ready:
            os.eventfd_read(self.fd)

    def wake(self) -> None:
        """Wake the sleeper, if there is one. The caller has stored its data before."""
        # Two wakers may both find the mark. They signal twice then, and the sleeper looks once in vain.
        if self.sleeping:
            self.sleeping = 0
            os.eventfd_write(self.fd, 1)

    def py_wait(self, timeout: int = -1) -> None:
        """Sleep until woken or for ``timeout`` nanoseconds (below 0: no limit). Without the GIL."""
        self.wait(_int64(timeout))

    def py_sleeps(self) -> bool:
        """Whether a sleep was announced, and nobody has woken the sleeper since."""
        return bool(self.sleeping)

    def fileno(self) -> int:
        """The descriptor that can be read once a sleeper was woken: to sleep on several. ``py_wait`` behind it."""
        return self.fd

    py_prepare = prepare
    py_cancel = cancel
    py_wake = wake


@final
class Cells:
    """64-bit numbers, ``count`` of them, that one thread writes and others read. All are 0 at first."""

    __slots__ = ("count", "lock", "values")

    def __init__(self, count: int = CELLS) -> None:
        count = _int(count)
        if count < 1:
            raise ValueError("count must be at least 1")
        self.count = count
        self.lock = threading.Lock()
        self.values = [0] * count

    def get(self, cell: int) -> int:
        """The number in one cell."""
        check_index(cell, self.count)
        return self.values[cell]

    def set(self, cell: int, value: int) -> None:
        """Write one cell."""
        check_index(cell, self.count)
        self.values[cell] = value

    def replace(self, cell: int, old: int, value: int) -> bool:
        """Write one cell if it still holds ``old``; whether it did. For cells that several threads write so only."""
        check_index(cell, self.count)
        with self.lock:
            same = self.values[cell] == old
            if same:
                self.values[cell] = value
            return same

    def _check(self, cell: int) -> int:
        cell = _int64(cell)
        if not 0 <= cell < self.count:
            raise IndexError(f"cell must be in 0..{self.count - 1}")
        return cell

    def __getitem__(self, cell: int) -> int:
        return self.get(self._check(cell))

    def __setitem__(self, cell: int, value: int) -> None:
        cell, value = self._check(cell), _int64(value)
        self.set(cell, value)


class Runner:
    """Rounds for a thread. Subclasses override ``round``, ``idle_for``, ``rest``; ``run`` is the body of a thread."""

    __slots__ = ()

    def round(self) -> int:
        """Do what has arrived, without waiting for more; 0 after the last round."""
        return 0

    def idle_for(self) -> int:
        """Nanoseconds it may sleep for, once its sleep is announced; -1: until it is woken; 0: not at all."""
        return 0

    def rest(self) -> int:
        """Sleep until a round would find something."""
        return 0

    def loop(self) -> int:
        """Rounds and rests in turn; 0 at the end. To be overridden by what has no rounds."""
        while self.round():
            self.rest()
        return 0

    def run(self) -> None:
        """Rounds to the last one, with rests between them; what they raise comes out here."""
        self.loop()

    def py_round(self) -> bool:
        """One round, which waits for nothing; False after the last one. For who steps it instead of running it."""
        return self.round() != 0

    def py_idle_for(self) -> int:
        """The same as ``idle_for``, for who steps it."""
        return self.idle_for()


class Handoff:
    """Rows of eight numbers and spans from one side to one taker. ``put`` and ``end`` from any thread, the rest for it.

    At most ``capacity`` rows wait (here a few more, when several threads put at once). Raises ValueError for a capacity
    out of range. Subclasses give rows and columns names; they are final and have no state of their own.
    """

    __slots__ = (
        "capacity", "ended", "event", "giver", "let_go", "put_bytes", "queue", "refused", "short", "taken",
        "taken_rows",
    )  # fmt: skip

    def __init__(self, event: Event, capacity: int = ROWS_DEFAULT) -> None:
        self.event = self.giver = _typed(Event, event)
        if not 1 <= capacity <= ROWS_MAX:
            raise ValueError(f"capacity must be in 1..{ROWS_MAX} rows, not {capacity}")
        self.capacity = _number(capacity)
        self.refused = 0  # rows that had no room
        self.ended = self.short = 0
        #: rows not yet taken, each with its spans; whole in one step, so that nobody needs a lock
        self.queue: collections.deque[tuple[Row, Spans | None]] = collections.deque()
        self.put_bytes = self.let_go = 0  # bytes of spans that were ever put, and that the taker is done with
        self.taken_rows: list[Row] = []  # owned by the taker until its next take()
        self.taken = Spans()

    def put(self, spans: Spans, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> int:
        """Append a row and move the spans, which is empty afterwards: 0, or 1 and nothing has moved when it is full."""
        full = self.lay(spans, a, b, c, d, e, f, g, h)
        if not full:
            self.event.wake()
        return full

    def lay(self, spans: Spans, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> int:
        """The same for a row that can wait until the next one is put: wakes nobody."""
        if len(self.queue) >= self.capacity:
            self.refused += 1
            return FULL
        moved = None
        if spans.count:
            moved = Spans()
            moved.take(spans)
            size = moved.size
            self.put_bytes += size
        self.queue.append(((a, b, c, d, e, f, g, h), moved))
        return 0

    def end(self) -> None:
        """Nothing follows. Never fails."""
        self.ended = 1
        self.event.wake()

    def is_ended(self) -> bool:
        """Whether the end was told. Asked before ``take``: then that takes the last rows."""
        return self.ended != 0

    def room(self) -> int:
        """How many rows could be put now."""
        return max(self.capacity - len(self.queue), 0)

    def lacks(self, rows: int) -> bool:
        """Whether fewer could be put; then ``giver`` is woken when there may be room again. For a single giver."""
        if self.room() >= rows:
            return False
        # Said first, looked at again behind it: whoever takes rows in between finds it said.
        self.short = 1
        # Who takes them may not have been told of them.
        self.event.wake()
        return self.room() < rows

    @property
    def pending(self) -> int:
        """Rows not yet taken."""
        return len(self.queue)

    def waiting(self) -> bool:
        """Whether there are rows to take."""
        return bool(self.queue)

    def take(self) -> int:
        """Take all rows; their number. What was taken before is gone."""
        self.let_go += self.taken.size
        self.taken.clear()
        self.taken_rows = []
        for _ in range(len(self.queue)):
            row, spans = self.queue.popleft()
            self.taken_rows.append(row)
            if spans is not None:
                self.taken.take(spans)
        if self.taken_rows and self.short:
            self.short = 0
            self.giver.wake()
        return len(self.taken_rows)

    def at(self, row: int, column: int) -> int:
        """One number of a taken row."""
        return self.taken_rows[row][column]

    def backlog(self) -> int:
        """Bytes of spans that wait or are being used by the taker."""
        return self.put_bytes - self.let_go

    def py_put(
        self, spans: Spans | None,
        a: int = 0, b: int = 0, c: int = 0, d: int = 0, e: int = 0, f: int = 0, g: int = 0, h: int = 0,
    ) -> bool:  # fmt: skip
        """Append a row and move the spans (or None); False, and nothing is moved, when the queue is full."""
        row = [_number(value) for value in (a, b, c, d, e, f, g, h)]
        return self.put(Spans() if spans is None else _typed(Spans, spans), *row) == 0

    def py_lay(self, a: int = 0) -> bool:
        """``py_put`` of a number without waking the taker, who takes it with what is put next."""
        return self.lay(Spans(), _number(a), 0, 0, 0, 0, 0, 0, 0) == 0

    def py_at(self, row: int, column: int) -> int:
        """One number of a taken row."""
        row, column = _number(row), _int(column)
        if row >= len(self.taken_rows) or not 0 <= column < COLUMNS:
            raise IndexError("no such row or column")
        return self.at(row, column)

    def py_lacks(self, rows: int) -> bool:
        """The same for Python."""
        return self.lacks(_number(rows))

    def py_set_giver(self, event: Event) -> None:
        """Whom to wake when there is room again after ``py_lacks``. Before the threads run."""
        self.giver = _typed(Event, event)

    py_take = take
    py_waiting = waiting
    py_backlog = backlog
    py_end = end
    py_is_ended = is_ended
    py_room = room


@final
class ProposalQueue:
    """Proposals from any thread, for one taker, in order and numbered 1, 2, 3, ...

    They stand here as entry records without crc, index and term, ready to become a message's body.
    """

    __slots__ = (
        "clock", "closed", "consumed", "event", "incarnation", "last_count", "limit", "lock", "offset", "origin",
        "put_bytes", "queue", "sequence", "taken", "taken_sequence", "taken_since",
    )  # fmt: skip

    def __init__(self, event: Event, origin: int, incarnation: int, limit: int, clock: Clock | None = None) -> None:
        self.clock = Clock() if clock is None else _typed(Clock, clock)
        #: of those who propose, never of the taker: a signal handler may wait for that one
        self.lock = threading.RLock()
        self.event = _typed(Event, event)
        self.origin = _number(origin)
        self.incarnation = _number(incarnation)
        self.limit = _number(limit)  # bytes that may wait
        self.sequence = 0  # of the last proposal accepted
        #: kind, data and time of what has not been taken. Invariant: the last one has number ``sequence``
        self.queue: collections.deque[tuple[int, bytes, int]] = collections.deque()
        self.taken = Buffer()
        self.offset = 0  # of the first record in taken that the engine has not consumed
        self.taken_sequence = 0  # of that record
        self.taken_since = 0  # when the oldest of them came, ns of the clock
        self.put_bytes = self.consumed = 0  # bytes of records that were ever put, and that the taker is done with
        self.closed = False
        self.last_count = 0

    def _put(self, blobs: list[bytes], kind: int) -> int:
        """All of them or none: the number of the first, 0 without room, -1 when closed."""
        since = self.clock.now()
        items = [(kind, blob, since) for blob in blobs]
        count = len(items)
        size = sum(map(len, blobs)) + count * (ENTRY_HEADER + ENVELOPE)
        # Who is interrupted here by a signal whose handler closes the node keeps the lock: it must not be waited for.
        while not self.lock.acquire(timeout=0.05):
            if self.closed:
                return -1
        try:
            if self.closed:
                return -1
            if self.put_bytes - self.consumed + size > self.limit + SLACK:
                return 0
            # One step for whoever may interrupt: see above.
            first = self.sequence + 1
            self.put_bytes += size
            self.sequence += count
            self.queue.extend(items)
        finally:
            self.lock.release()
        self.event.wake()
        return first

    def offer(self, data: Bytes, size: int, kind: int) -> int:
        """``propose`` for a caller that has no Python object in hand; the data are copied."""
        return self._put([bytes(data[:size])], kind)

    def propose(self, data: Bytes, kind: int = 0) -> int:
        """Append one proposal: its number, 0 when there is no room, -1 when closed. Raises TypeError.

        kind: that of the entry; KIND_BARRIER: nothing for state machines.
        """
        kind = _int(kind)
        blob = data if type(data) is bytes else _as_bytes(data)
        if not 0 <= kind & ~KIND_BARRIER <= 255:
            raise OverflowError("kind must be in 0..255")
        return self._put([blob], kind)

    def propose_many(self, datas: Iterable[Bytes]) -> tuple[int, int]:
        """Append all proposals or none: (number of the first, how many).

        (0, 0) when there is no room for all of them, (-1, 0) when closed.
        """
        blobs = [data if type(data) is bytes else _as_bytes(data) for data in datas]
        first = self._put(blobs, 0) if blobs else 0
        return first, len(blobs) if first > 0 else 0

    def close(self) -> None:
        """Take no more."""
        self.closed = True

    @property
    def last_sequence(self) -> int:
        """Number of the last proposal that was taken."""
        return self.sequence

    def py_backlog(self) -> int:
        """Bytes of proposals that wait. Any thread: a look."""
        return self.put_bytes - self.consumed

    def waiting(self) -> bool:
        """Whether anything waits."""
        return self.offset < self.taken.size or bool(self.queue)

    def unhandled(self) -> int:
        """Bytes that ``chunk`` can give, now or after ``take``."""
        rest = self.taken.size - self.offset
        return rest if rest else self.put_bytes - self.consumed

    def take(self) -> bool:
        """Whether records stand ready in ``taken`` from ``offset`` on."""
        if self.offset < self.taken.size:
            return True
        if not self.queue:
            return False
        self.taken.clear()
        self.offset = 0
        self.taken_since = self.queue[0][2]
        number = self.taken_sequence = max(self.taken_sequence, 1)
        for _ in range(len(self.queue)):
            kind, blob, _since = self.queue.popleft()
            origin = self.origin | 2**BARRIER_BIT if kind & KIND_BARRIER else self.origin
            self.taken.put_proposal(kind & ~KIND_BARRIER, origin, self.incarnation, number, blob, len(blob))
            number += 1
        return True

    def chunk(self, max_bytes: int) -> int:
        """Bytes of the next whole records: as many as fit, and at least one."""
        at, end = self.offset, self.taken.size
        count = 0
        while at < end:
            step = ENTRY_HEADER + self.taken.get_u32(at + RECORD_LENGTH)
            if count and at + step - self.offset > max_bytes:
                break
            at += step
            count += 1
        self.last_count = count
        return at - self.offset

    def chunk_count(self) -> int:
        """How many records the last ``chunk`` has."""
        return self.last_count

    def consume(self, size: int, count: int) -> None:
        """These have been used."""
        check(size <= self.taken.size - self.offset)
        self.offset += size
        self.taken_sequence += count
        self.consumed += size

    def py_chunk(self, max_bytes: int) -> tuple[bytes, int]:
        """(bytes, count) of the next whole records."""
        size = self.chunk(_number(max_bytes))
        return self.taken.tobytes()[self.offset : self.offset + size], self.chunk_count()

    def py_consume(self, size: int, count: int) -> None:
        """These have been used. Raises IndexError for more bytes than have been taken."""
        if _number(size) > self.taken.size - self.offset:
            raise IndexError("more than was taken")
        self.consume(size, _number(count, 2**32))

    py_take = take
    py_waiting = waiting
