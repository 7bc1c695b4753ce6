"""What touches the operating system: clock, wake-ups, hand-overs between threads.

threads.py is the twin in plain Python. Nothing here knows Raft. Every mutex in this file is held for a
few copies only, and never while anything waits for the GIL.
"""
import errno
import weakref

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from .checks cimport check, check_index
from .layout cimport BARRIER_BIT, ENTRY_HEADER, ENVELOPE, KIND_BARRIER, RECORD_LENGTH, SLACK

cdef extern from "_native/threads.h":
    int64_t raftx_now() noexcept nogil
    int64_t raftx_wall() noexcept nogil
    int64_t raftx_boot() noexcept nogil
    int64_t raftx_load(int64_t*) noexcept nogil
    void raftx_store(int64_t*, int64_t) noexcept nogil
    int64_t raftx_exchange(int64_t*, int64_t) noexcept nogil
    int64_t raftx_add(int64_t*, int64_t) noexcept nogil
    bint raftx_replace(int64_t*, int64_t, int64_t) noexcept nogil
    void raftx_poll(int, int64_t) noexcept nogil
    void raftx_signal(int) noexcept nogil
    void raftx_drain(int) noexcept nogil
    int pthread_mutex_init(pthread_mutex_t*, void*) nogil
    int pthread_mutex_destroy(pthread_mutex_t*) nogil
    int pthread_mutex_lock(pthread_mutex_t*) nogil
    int pthread_mutex_unlock(pthread_mutex_t*) nogil
    int eventfd(unsigned int, int) nogil
    int EFD_NONBLOCK, EFD_CLOEXEC
    int close_fd "close"(int) nogil

cdef enum:
    CELLS = 16
    COLUMNS = 8
    ROWS_DEFAULT = 4096
    ROWS_MAX = 1 << 24
    FULL = 1        # what put() says of a row that has no room
    CLOSED = -1
    NO_MEMORY = -3


def monotonic_ns():
    """CLOCK_MONOTONIC in nanoseconds."""
    return raftx_now()


cdef class Clock:
    """The system's monotonic clock, and its wall clock. Any thread."""

    cdef int64_t now(self) noexcept nogil:
        return raftx_now()

    cdef int64_t boot(self) noexcept nogil:
        return raftx_boot()

    cdef int64_t until(self, int64_t deadline) noexcept nogil:
        cdef int64_t now = self.now()
        return deadline - now if deadline > now else 0

    cdef int64_t wall(self) noexcept nogil:
        return raftx_wall()

    def py_wall(self):
        """Nanoseconds since the epoch, as the system has it: it may jump."""
        return self.wall()

    def py_now(self):
        """Nanoseconds."""
        return self.now()

    def py_boot(self):
        """Nanoseconds since the system was booted, those in which it was suspended included."""
        return self.boot()

    def py_until(self, int64_t deadline):
        """How long a waiter may sleep for this deadline, in nanoseconds; -1: until it is woken."""
        return self.until(deadline)


cdef class ManualClock(Clock):
    """A clock that moves when told to. ``advance`` wakes the nodes that use it. Any thread.

    Its wall clock is the same, until ``set_wall`` has moved it. wakes: False for who steps nodes, and looks
    himself when the time of each sleeper has come.
    """

    def __init__(self, start=0.0, wakes=True):
        self.value = int(start * 1e9)
        self.ahead = 0
        # Those that are gone take themselves out.
        self.events = [] if wakes else None

    def __repr__(self):
        return f"<raftx.ManualClock at {raftx_load(&self.value) / 1e9:.3f} s>"

    cdef int64_t now(self) noexcept nogil:
        return raftx_load(&self.value)

    cdef int64_t boot(self) noexcept nogil:
        return raftx_load(&self.value)

    cdef int64_t until(self, int64_t deadline) noexcept nogil:
        cdef int64_t left
        left = deadline - raftx_load(&self.value)
        if left <= 0:
            return 0
        return -1 if self.events is not None else left

    cdef int64_t wall(self) noexcept nogil:
        return raftx_load(&self.value) + raftx_load(&self.ahead)

    def set_wall(self, seconds):
        """Let the wall clock jump to this many seconds since the epoch, from where it moves on with ``advance``.

        Raises ValueError for a negative time.
        """
        if seconds < 0:
            raise ValueError("seconds must not be negative")
        raftx_store(&self.ahead, int(seconds * 1e9) - raftx_load(&self.value))

    cdef void watch(self, Event event) with gil:
        if self.events is not None:
            self.events.append(weakref.ref(event, self.events.remove))

    def py_watch(self, Event event not None):
        """Wake this event whenever time moves."""
        self.watch(event)

    def advance(self, seconds):
        """Let time pass. Raises ValueError for a negative time."""
        if seconds < 0:
            raise ValueError("seconds must not be negative")
        raftx_add(&self.value, int(seconds * 1e9))
        for each in list(self.events or ()):
            event = each()
            if event is not None:
                (<Event?>event).wake()


cdef class Event:
    """Sleep and wake. The sleeper announces itself, looks again, then sleeps; so no wake-up is lost."""

    def __cinit__(self):
        self.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(errno.EMFILE, "cannot create an eventfd")
        self.sleeping = 0

    def __dealloc__(self):
        if self.fd >= 0:
            close_fd(self.fd)

    cdef void prepare(self) noexcept nogil:
        raftx_store(&self.sleeping, 1)

    cdef void cancel(self) noexcept nogil:
        raftx_store(&self.sleeping, 0)

    cdef void wait(self, int64_t timeout) noexcept nogil:
        raftx_poll(self.fd, timeout)
        raftx_store(&self.sleeping, 0)
        raftx_drain(self.fd)

    cdef void wake(self) noexcept nogil:
        # The waker has stored its data before: both sides use sequentially consistent accesses.
        if raftx_load(&self.sleeping) and raftx_exchange(&self.sleeping, 0):
            raftx_signal(self.fd)

    def py_prepare(self):
        """Announce sleep; look at the data again before ``py_wait``."""
        self.prepare()

    def py_cancel(self):
        """Not sleeping after all."""
        self.cancel()

    def py_wait(self, int64_t timeout=-1):
        """Sleep until woken or for ``timeout`` nanoseconds (below 0: no limit). Without the GIL."""
        with nogil:
            self.wait(timeout)

    def py_wake(self):
        """Wake the sleeper, if there is one."""
        self.wake()

    def py_sleeps(self):
        """Whether a sleep was announced, and nobody has woken the sleeper since."""
        return raftx_load(&self.sleeping) != 0

    def fileno(self):
        """The descriptor that can be read once a sleeper was woken: to sleep on several. ``py_wait`` behind it."""
        return self.fd


cdef class Cells:
    """64-bit numbers, ``count`` of them, that one thread writes and others read. All are 0 at first."""

    def __cinit__(self, int count=CELLS):
        if count < 1:
            raise ValueError("count must be at least 1")
        self.count = count
        self.values = <int64_t*>calloc(count, sizeof(int64_t))
        if self.values == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.values)

    cdef int64_t get(self, int cell) noexcept nogil:
        check_index(cell, self.count)
        return raftx_load(&self.values[cell])

    cdef void set(self, int cell, int64_t value) noexcept nogil:
        check_index(cell, self.count)
        raftx_store(&self.values[cell], value)

    cdef bint replace(self, int cell, int64_t old, int64_t value) noexcept nogil:
        check_index(cell, self.count)
        return raftx_replace(&self.values[cell], old, value)

    def __getitem__(self, Py_ssize_t cell):
        if not 0 <= cell < self.count:
            raise IndexError(f"cell must be in 0..{self.count - 1}")
        return self.get(<int>cell)

    def __setitem__(self, Py_ssize_t cell, int64_t value):
        if not 0 <= cell < self.count:
            raise IndexError(f"cell must be in 0..{self.count - 1}")
        self.set(<int>cell, value)


cdef class Runner:
    """Rounds without the GIL. Subclasses override ``round``, ``idle_for``, ``rest``; ``run`` is the body of a thread."""

    cdef int round(self) except -1 nogil:
        return 0

    cdef int64_t idle_for(self) noexcept nogil:
        return 0

    cdef int rest(self) except -1 nogil:
        return 0

    cdef int loop(self) except -1 nogil:
        while self.round():
            self.rest()
        return 0

    def run(self):
        """Rounds to the last one, with rests between them; what they raise comes out here."""
        with nogil:
            self.loop()

    def py_round(self):
        """One round, which waits for nothing; False after the last one. For who steps it instead of running it."""
        cdef int more
        with nogil:
            more = self.round()
        return more != 0

    def py_idle_for(self):
        """Nanoseconds it may sleep for, once its sleep is announced; -1: until it is woken; 0: not at all."""
        return self.idle_for()


cdef class Handoff:
    """Rows and spans from one side to one taker. ``put`` and ``end`` from any thread, the rest for the taker.

    At most ``capacity`` rows wait. Raises ValueError for a capacity out of range.
    """

    def __cinit__(self, Event event not None, capacity=ROWS_DEFAULT):
        if not 1 <= capacity <= ROWS_MAX:
            raise ValueError(f"capacity must be in 1..{ROWS_MAX} rows, not {capacity}")
        pthread_mutex_init(&self.mutex, NULL)
        self.event = self.giver = event
        self.capacity = capacity
        self.rows = self.taken_rows = NULL
        self.row_count = self.row_room = self.taken_count = self.taken_room = 0
        self.filling = Spans()
        self.taken = Spans()
        self.pending = self.ended = self.short = 0
        self.refused = 0

    def __dealloc__(self):
        free(self.rows)
        free(self.taken_rows)
        pthread_mutex_destroy(&self.mutex)

    cdef int put(self, Spans spans, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
                 uint64_t g, uint64_t h) except -1 nogil:
        cdef int full = self.lay(spans, a, b, c, d, e, f, g, h)
        if not full:
            self.event.wake()
        return full

    cdef int lay(self, Spans spans, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
                 uint64_t g, uint64_t h) except -1 nogil:
        cdef uint64_t* row
        cdef size_t room
        cdef int failed = 0
        pthread_mutex_lock(&self.mutex)
        # Nothing raises here: to raise is to wait for the GIL, whose holder may be waiting for this mutex.
        if self.row_count >= self.capacity:
            self.refused += 1
            pthread_mutex_unlock(&self.mutex)
            return FULL
        if self.row_count == self.row_room:
            room = self.row_room * 2 if self.row_room else 16
            row = <uint64_t*>realloc(self.rows, room * COLUMNS * 8)
            if row == NULL:
                failed = 1
            else:
                self.rows = row
                self.row_room = room
        if not failed:
            check_index(self.row_count, self.row_room)
            row = self.rows + self.row_count * COLUMNS
            row[0] = a
            row[1] = b
            row[2] = c
            row[3] = d
            row[4] = e
            row[5] = f
            row[6] = g
            row[7] = h
            failed = self._take_spans(spans)
        if not failed:
            self.row_count += 1
            raftx_add(&self.pending, 1)
        pthread_mutex_unlock(&self.mutex)
        if failed:
            with gil:
                raise MemoryError()
        return 0

    cdef void end(self) noexcept nogil:
        raftx_store(&self.ended, 1)
        self.event.wake()

    cdef bint is_ended(self) noexcept nogil:
        return raftx_load(&self.ended) != 0

    cdef size_t room(self) noexcept nogil:
        return self.capacity - <size_t>raftx_load(&self.pending)

    cdef bint lacks(self, size_t rows) noexcept nogil:
        if self.room() >= rows:
            return False
        # Said first, looked at again behind it: whoever takes rows in between finds it said.
        raftx_store(&self.short, 1)
        # Who takes them may not have been told of them.
        self.event.wake()
        return self.room() < rows

    cdef int _take_spans(self, Spans spans) noexcept nogil:
        # Under the mutex: must not raise, which could wait for the GIL.
        cdef Span* items
        cdef size_t room
        if spans.count == 0:
            return 0
        if self.filling.count == 0:
            self.filling.swap(spans)
            return 0
        if self.filling.count + spans.count > self.filling.capacity:
            room = (self.filling.count + spans.count) * 2
            items = <Span*>realloc(self.filling.items, room * sizeof(Span))
            if items == NULL:
                return 1
            self.filling.items = items
            self.filling.capacity = room
        check(self.filling.count + spans.count <= self.filling.capacity)
        memcpy(self.filling.items + self.filling.count, spans.items, spans.count * sizeof(Span))
        self.filling.count += spans.count
        self.filling.size += spans.size
        spans.count = spans.size = 0    # the references have moved
        return 0

    cdef bint waiting(self) noexcept nogil:
        return raftx_load(&self.pending) != 0

    cdef size_t take(self) noexcept nogil:
        self.taken.clear()
        self.taken_count = 0
        if not raftx_load(&self.pending):
            return 0
        pthread_mutex_lock(&self.mutex)
        check(self.row_count <= self.capacity)
        self.rows, self.taken_rows = self.taken_rows, self.rows
        self.row_room, self.taken_room = self.taken_room, self.row_room
        self.taken_count = self.row_count
        self.row_count = 0
        self.taken.swap(self.filling)
        raftx_store(&self.pending, 0)
        pthread_mutex_unlock(&self.mutex)
        if raftx_load(&self.short) and raftx_exchange(&self.short, 0):
            self.giver.wake()
        return self.taken_count

    cdef uint64_t at(self, size_t row, int column) noexcept nogil:
        check_index(row, self.taken_count)
        check_index(column, COLUMNS)
        return self.taken_rows[row * COLUMNS + column]

    cdef size_t backlog(self) noexcept nogil:
        cdef size_t size
        pthread_mutex_lock(&self.mutex)
        size = self.filling.size + self.taken.size
        pthread_mutex_unlock(&self.mutex)
        return size

    def py_put(self, spans, uint64_t a=0, uint64_t b=0, uint64_t c=0, uint64_t d=0, uint64_t e=0, uint64_t f=0,
               uint64_t g=0, uint64_t h=0):
        """Append a row and move the spans (or None); False, and nothing is moved, when the queue is full."""
        return self.put(Spans() if spans is None else <Spans?>spans, a, b, c, d, e, f, g, h) == 0

    def py_lay(self, uint64_t a=0):
        """``py_put`` of a number without waking the taker, who takes it with what is put next."""
        return self.lay(Spans(), a, 0, 0, 0, 0, 0, 0, 0) == 0

    def py_take(self):
        """Take all rows; their number."""
        return self.take()

    def py_waiting(self):
        """Whether there are rows to take."""
        return bool(self.waiting())

    def py_at(self, size_t row, int column):
        """One number of a taken row."""
        if row >= self.taken_count or not 0 <= column < COLUMNS:
            raise IndexError("no such row or column")
        return self.at(row, column)

    def py_backlog(self):
        """Bytes of spans that wait or are being used by the taker."""
        return self.backlog()

    def py_end(self):
        """Nothing follows what has been put. Never fails."""
        self.end()

    def py_is_ended(self):
        """Whether the end was told. Asked before ``py_take``: then that takes the last rows."""
        return bool(self.is_ended())

    def py_room(self):
        """How many rows could be put now."""
        return self.room()

    def py_lacks(self, size_t rows):
        """Whether fewer could be put; then ``giver`` is woken when there may be room again. For a single giver."""
        return bool(self.lacks(rows))

    def py_set_giver(self, Event event not None):
        """Whom to wake when there is room again after ``py_lacks``. Before the threads run."""
        self.giver = event


cdef class ProposalQueue:
    """Proposals from any thread, for one taker, in order and numbered 1, 2, 3, ..."""

    def __cinit__(self, Event event not None, uint64_t origin, uint64_t incarnation, size_t limit, Clock clock=None):
        pthread_mutex_init(&self.mutex, NULL)
        self.clock = Clock() if clock is None else clock
        self.event = event
        self.origin = origin
        self.incarnation = incarnation
        self.limit = limit
        self.sequence = 0
        self.filling = Buffer()
        self.taken = Buffer()
        self.offset = 0
        self.taken_sequence = 0
        self.filling_first = 1
        self.filling_since = self.taken_since = 0
        self.pending = 0
        self.held = 0
        self.closed = False
        self.last_count = 0

    def __dealloc__(self):
        pthread_mutex_destroy(&self.mutex)

    cdef int64_t _put(self, const uint8_t* data, size_t size, int kind) noexcept nogil:
        # Under the mutex: must not raise, which could wait for the GIL, whose holder may wait for the mutex.
        if self.closed:
            return CLOSED
        if not self._fits(size):
            return 0
        if not self.filling.try_reserve(ENTRY_HEADER + ENVELOPE + size):
            return NO_MEMORY
        self._append(data, size, kind)
        raftx_store(&self.pending, self.filling.size)
        return self.sequence

    cdef bint _fits(self, size_t size) noexcept nogil:
        cdef size_t used = self.filling.size + <size_t>raftx_load(&self.held) + ENTRY_HEADER + ENVELOPE
        cdef size_t most = self.limit + SLACK
        return used <= most and size <= most - used

    cdef void _append(self, const uint8_t* data, size_t size, int kind) noexcept nogil:
        # There is memory for it. The caller says afterwards how much is pending.
        if self.filling.size == 0:
            self.filling_first = self.sequence + 1
            self.filling_since = self.clock.now()
        cdef uint64_t origin = self.origin | (<uint64_t>1 << BARRIER_BIT) if kind & KIND_BARRIER else self.origin
        self.filling.append_proposal(kind & ~KIND_BARRIER, origin, self.incarnation, self.sequence + 1, data, size)
        self.sequence += 1

    cdef int64_t offer(self, const uint8_t* data, size_t size, int kind) except -2 nogil:
        # ``propose`` for a caller without the GIL.
        cdef int64_t sequence
        pthread_mutex_lock(&self.mutex)
        sequence = self._put(data, size, kind)
        pthread_mutex_unlock(&self.mutex)
        if sequence == NO_MEMORY:
            raise MemoryError()
        if sequence > 0:
            self.event.wake()
        return sequence

    def propose(self, data, int kind=0):
        """Append one proposal: its number, 0 when there is no room, -1 when closed. Raises TypeError, MemoryError.

        kind: that of the entry; KIND_BARRIER: nothing for state machines.
        """
        cdef bytes b = data if type(data) is bytes else as_bytes(data)
        if not 0 <= kind & ~KIND_BARRIER <= 255:
            raise OverflowError("kind must be in 0..255")
        return self.offer(<const uint8_t*>PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b), kind)

    def propose_many(self, datas):
        """Append all proposals or none: (number of the first, how many).

        (0, 0) when there is no room for all of them, (-1, 0) when closed.
        """
        cdef list blobs = [d if type(d) is bytes else as_bytes(d) for d in datas]
        cdef int64_t first = 0
        cdef Py_ssize_t count = 0
        cdef size_t size = 0
        cdef bytes b
        for item in blobs:
            b = item
            size += ENTRY_HEADER + ENVELOPE + <size_t>PyBytes_GET_SIZE(b)
        if not blobs:
            return 0, 0
        size -= ENTRY_HEADER + ENVELOPE
        pthread_mutex_lock(&self.mutex)
        # Memory first: behind this nothing fails, so that no part of them can go alone.
        if self.closed:
            first = CLOSED
        elif self._fits(size):
            if self.filling.try_reserve(ENTRY_HEADER + ENVELOPE + size):
                first = self.sequence + 1
                for item in blobs:
                    b = item
                    self._append(<const uint8_t*>PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b), 0)
                    count += 1
                raftx_store(&self.pending, self.filling.size)
            else:
                first = NO_MEMORY
        pthread_mutex_unlock(&self.mutex)
        if first == NO_MEMORY:
            raise MemoryError()
        if count:
            self.event.wake()
        return first, count

    def close(self):
        """Take no more."""
        pthread_mutex_lock(&self.mutex)
        self.closed = True
        pthread_mutex_unlock(&self.mutex)

    @property
    def last_sequence(self):
        """Number of the last proposal that was taken."""
        return self.sequence

    def py_backlog(self):
        """Bytes of proposals that wait. Any thread: a look."""
        return raftx_load(&self.pending) + raftx_load(&self.held)

    cdef bint waiting(self) noexcept nogil:
        return self.offset < self.taken.size or raftx_load(&self.pending) != 0

    cdef size_t unhandled(self) noexcept nogil:
        # Bytes that ``chunk`` can give, now or after ``take``. The taker's.
        cdef size_t rest = self.taken.size - self.offset
        return rest if rest else <size_t>raftx_load(&self.pending)

    cdef bint take(self) noexcept nogil:
        if self.offset < self.taken.size:
            return True
        if not raftx_load(&self.pending):
            return False
        self.taken.clear()
        self.offset = 0
        pthread_mutex_lock(&self.mutex)
        self.taken.swap(self.filling)
        self.taken_sequence = self.filling_first
        self.taken_since = self.filling_since
        raftx_store(&self.pending, 0)
        raftx_store(&self.held, self.taken.size)
        pthread_mutex_unlock(&self.mutex)
        return self.taken.size != 0

    cdef size_t chunk(self, size_t max_bytes) noexcept nogil:
        cdef size_t at = self.offset, step
        cdef uint32_t count = 0
        check(self.offset <= self.taken.size)
        while at < self.taken.size:
            step = ENTRY_HEADER + <size_t>self.taken.get_u32(at + RECORD_LENGTH)
            if count and at + step - self.offset > max_bytes:
                break
            at += step
            count += 1
        self.last_count = count
        return at - self.offset

    cdef uint32_t chunk_count(self) noexcept nogil:
        return self.last_count

    cdef void consume(self, size_t size, uint32_t count) noexcept nogil:
        check(size <= self.taken.size - self.offset)
        self.offset += size
        self.taken_sequence += count
        raftx_store(&self.held, self.taken.size - self.offset)

    def py_take(self):
        """Whether records stand ready."""
        return bool(self.take())

    def py_waiting(self):
        """Whether anything waits."""
        return bool(self.waiting())

    def py_chunk(self, size_t max_bytes):
        """(bytes, count) of the next whole records."""
        size = self.chunk(max_bytes)
        return self.taken.tobytes()[self.offset:self.offset + size], self.chunk_count()

    def py_consume(self, size_t size, uint32_t count):
        """These have been used. Raises IndexError for more bytes than have been taken."""
        if size > self.taken.size - self.offset:
            raise IndexError("more than was taken")
        self.consume(size, count)


cdef bytes as_bytes(data):
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"data must be bytes, not {type(data).__name__}")
