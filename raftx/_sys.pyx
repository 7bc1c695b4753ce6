"""What touches the operating system: clock, wake-ups, hand-overs between threads, files.

_sys.py is the twin in plain Python. Nothing here knows Raft. Every mutex in this file is held for a
few copies only, and never while anything waits for the GIL.
"""
import errno
import os

from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from .errors import WrongDirectory

cdef extern from "_sys.h":
    int64_t raftx_now() noexcept nogil
    int64_t raftx_load(int64_t*) noexcept nogil
    void raftx_store(int64_t*, int64_t) noexcept nogil
    int64_t raftx_exchange(int64_t*, int64_t) noexcept nogil
    int64_t raftx_add(int64_t*, int64_t) noexcept nogil
    void raftx_poll(int, int64_t) noexcept nogil
    void raftx_signal(int) noexcept nogil
    void raftx_drain(int) noexcept nogil
    void raftx_sleep(int64_t) noexcept nogil
    int raftx_pwrite(int, const uint8_t*, size_t, uint64_t) noexcept nogil
    int64_t raftx_pread(int, uint8_t*, size_t, uint64_t) noexcept nogil
    int raftx_datasync(int) noexcept nogil
    int raftx_create(int, uint64_t, uint64_t) noexcept nogil
    int raftx_sync(int) noexcept nogil
    const uint8_t* raftx_zeros
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
    ENTRY_HEADER = 32
    ZEROS = 1 << 16


def monotonic_ns():
    """CLOCK_MONOTONIC in nanoseconds."""
    return raftx_now()


cdef class Clock:
    """The system's monotonic clock. Any thread."""

    cdef int64_t now(self) noexcept nogil:
        return raftx_now()

    cdef int64_t until(self, int64_t deadline) noexcept nogil:
        return max(deadline - self.now(), <int64_t>0)

    def py_now(self):
        """Nanoseconds."""
        return self.now()

    def py_until(self, int64_t deadline):
        """How long a waiter may sleep for this deadline, in nanoseconds; -1: until it is woken."""
        return self.until(deadline)


cdef class ManualClock(Clock):
    """A clock that moves when told to. ``advance`` wakes the nodes that use it. Any thread."""

    def __init__(self, start=0.0):
        self.value = int(start * 1e9)
        self.events = []

    cdef int64_t now(self) noexcept nogil:
        return raftx_load(&self.value)

    cdef int64_t until(self, int64_t deadline) noexcept nogil:
        return -1 if deadline > raftx_load(&self.value) else 0

    cdef void watch(self, Event event) with gil:
        self.events.append(event)

    def py_watch(self, Event event not None):
        """Wake this event whenever time moves."""
        self.watch(event)

    def advance(self, seconds):
        """Let time pass. Raises ValueError for a negative time."""
        if seconds < 0:
            raise ValueError("seconds must not be negative")
        raftx_add(&self.value, int(seconds * 1e9))
        for event in self.events:
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


cdef class Cells:
    """Sixteen numbers, each read and written atomically."""

    cdef int64_t get(self, int cell) noexcept nogil:
        return raftx_load(&self.values[cell])

    cdef void set(self, int cell, int64_t value) noexcept nogil:
        raftx_store(&self.values[cell], value)

    def __getitem__(self, Py_ssize_t cell):
        if not 0 <= cell < CELLS:
            raise IndexError("cell must be in 0..15")
        return self.get(<int>cell)

    def __setitem__(self, Py_ssize_t cell, int64_t value):
        if not 0 <= cell < CELLS:
            raise IndexError("cell must be in 0..15")
        self.set(<int>cell, value)


cdef class Runner:
    """A loop without the GIL. Subclasses override ``loop``; ``run`` is the body of a thread."""

    cdef int loop(self) except -1 nogil:
        return 0

    def run(self):
        """Run the loop to its end; what it raises comes out here."""
        with nogil:
            self.loop()


cdef class Handoff:
    """Rows and spans from one side to one taker. ``put`` from any thread, the rest for the taker."""

    def __cinit__(self, Event event not None):
        pthread_mutex_init(&self.mutex, NULL)
        self.event = event
        self.rows = self.taken_rows = NULL
        self.row_count = self.row_room = self.taken_count = self.taken_room = 0
        self.filling = Spans()
        self.taken = Spans()
        self.pending = 0

    def __dealloc__(self):
        free(self.rows)
        free(self.taken_rows)
        pthread_mutex_destroy(&self.mutex)

    cdef int put(self, Spans spans, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
                 uint64_t g, uint64_t h) except -1 nogil:
        cdef uint64_t* row
        cdef size_t room
        cdef int failed = 0
        pthread_mutex_lock(&self.mutex)
        if self.row_count == self.row_room:
            room = self.row_room * 2 if self.row_room else 16
            row = <uint64_t*>realloc(self.rows, room * COLUMNS * 8)
            if row == NULL:
                failed = 1
            else:
                self.rows = row
                self.row_room = room
        if not failed:
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
        self.event.wake()
        return 0

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
        self.rows, self.taken_rows = self.taken_rows, self.rows
        self.row_room, self.taken_room = self.taken_room, self.row_room
        self.taken_count = self.row_count
        self.row_count = 0
        self.taken.swap(self.filling)
        raftx_store(&self.pending, 0)
        pthread_mutex_unlock(&self.mutex)
        return self.taken_count

    cdef uint64_t at(self, size_t row, int column) noexcept nogil:
        return self.taken_rows[row * COLUMNS + column]

    cdef size_t backlog(self) noexcept nogil:
        cdef size_t size
        pthread_mutex_lock(&self.mutex)
        size = self.filling.size + self.taken.size
        pthread_mutex_unlock(&self.mutex)
        return size

    def py_put(self, spans, uint64_t a=0, uint64_t b=0, uint64_t c=0, uint64_t d=0, uint64_t e=0, uint64_t f=0,
               uint64_t g=0, uint64_t h=0):
        """Append a row and move the spans (or None)."""
        self.put(Spans() if spans is None else <Spans?>spans, a, b, c, d, e, f, g, h)

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


cdef class Intake:
    """Proposals from any thread, for one taker, in order and numbered 1, 2, 3, ..."""

    def __cinit__(self, Event event not None, uint64_t origin, uint64_t incarnation, size_t limit):
        pthread_mutex_init(&self.mutex, NULL)
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

    cdef int64_t _put(self, const uint8_t* data, size_t size, int kind) except -2 nogil:
        # Under the mutex. With the GIL held by the caller, nothing here lets go of it.
        if self.closed:
            return -1
        if self.filling.size + <size_t>raftx_load(&self.held) + ENTRY_HEADER + 24 + size > self.limit + 4096:
            return 0
        if self.filling.size == 0:
            self.filling_first = self.sequence + 1
            self.filling_since = raftx_now()
        self.filling.put_proposal(kind, self.origin, self.incarnation, self.sequence + 1, data, size)
        self.sequence += 1
        raftx_store(&self.pending, self.filling.size)
        return self.sequence

    cdef int64_t offer(self, const uint8_t* data, size_t size, int kind) except -2 nogil:
        # ``propose`` for a caller without the GIL.
        cdef int64_t sequence
        pthread_mutex_lock(&self.mutex)
        sequence = self._put(data, size, kind)
        pthread_mutex_unlock(&self.mutex)
        if sequence > 0:
            self.event.wake()
        return sequence

    def propose(self, data, int kind=0):
        """Append one proposal: its number, 0 when there is no room, -1 when closed. Raises TypeError."""
        cdef bytes b = data if type(data) is bytes else as_bytes(data)
        cdef int64_t sequence
        if not 0 <= kind <= 255:
            raise OverflowError("kind must be in 0..255")
        pthread_mutex_lock(&self.mutex)
        try:
            sequence = self._put(<const uint8_t*>PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b), kind)
        finally:
            pthread_mutex_unlock(&self.mutex)
        if sequence > 0:
            self.event.wake()
        return sequence

    def propose_many(self, datas):
        """Append all proposals or none: (number of the first, how many).

        (0, 0) when there is no room for all of them, (-1, 0) when closed.
        """
        cdef list blobs = [d if type(d) is bytes else as_bytes(d) for d in datas]
        cdef int64_t sequence, first = 0
        cdef Py_ssize_t count = 0
        cdef size_t size = 0
        cdef bytes b
        for item in blobs:
            b = item
            size += ENTRY_HEADER + 24 + <size_t>PyBytes_GET_SIZE(b)
        pthread_mutex_lock(&self.mutex)
        try:
            if self.closed:
                first = -1 if blobs else 0
            elif self.filling.size + <size_t>raftx_load(&self.held) + size <= self.limit + 4096:
                # Memory first: behind this nothing fails, so that no part of them can go alone.
                self.filling.reserve(size)
                for item in blobs:
                    b = item
                    sequence = self._put(<const uint8_t*>PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b), 0)
                    if not count:
                        first = sequence
                    count += 1
        finally:
            pthread_mutex_unlock(&self.mutex)
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

    cdef bint waiting(self) noexcept nogil:
        return self.offset < self.taken.size or raftx_load(&self.pending) != 0

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
        while at < self.taken.size:
            step = ENTRY_HEADER + <size_t>self.taken.get_u32(at + 4)
            if count and at + step - self.offset > max_bytes:
                break
            at += step
            count += 1
        self.last_count = count
        return at - self.offset

    cdef uint32_t chunk_count(self) noexcept nogil:
        return self.last_count

    cdef void consume(self, size_t size, uint32_t count) noexcept nogil:
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
        """These have been used."""
        self.consume(size, count)


cdef bytes as_bytes(data):
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"data must be bytes, not {type(data).__name__}")


# --- files ---------------------------------------------------------------------------------------


cdef class File:
    """Positioned reads and writes. ``fail_after`` (tests) makes the n-th operation from now and all later ones fail."""

    def __cinit__(self, path, create=False, readonly=False):
        flags = os.O_CLOEXEC | (os.O_RDONLY if readonly else os.O_RDWR) | (os.O_CREAT if create else 0)
        self.fd = -1
        self.fd = os.open(path, flags, 0o600)
        self.fail_after = -1
        self.fail_errno = errno.EIO
        self.stall_ns = 0

    def __dealloc__(self):
        if self.fd >= 0:
            close_fd(self.fd)

    cdef int _fault(self) noexcept nogil:
        if self.fail_after < 0:
            return 0
        if self.fail_after > 0:
            self.fail_after -= 1
            return 0
        return -self.fail_errno

    cdef int write_at(self, Buffer buffer, size_t offset, size_t size, uint64_t position) noexcept nogil:
        cdef int code = self._fault()
        return code if code else raftx_pwrite(self.fd, buffer.data + offset, size, position)

    cdef int read_at(self, Buffer buffer, size_t size, uint64_t position) except? -4096 nogil:
        cdef int64_t done
        buffer.clear()
        buffer.fill(size)
        done = raftx_pread(self.fd, buffer.data, size, position)
        if done < 0:
            buffer.clear()
            return <int>done
        buffer.size = done
        return 0

    cdef int zero(self, uint64_t position, uint64_t size) noexcept nogil:
        cdef int code = self._fault()
        cdef uint64_t step
        while not code and size:
            step = min(size, <uint64_t>ZEROS)
            code = raftx_pwrite(self.fd, raftx_zeros, step, position)
            position += step
            size -= step
        return code

    cdef int datasync(self) noexcept nogil:
        cdef int code = self._fault()
        if self.stall_ns:
            raftx_sleep(self.stall_ns)
        return code if code else raftx_datasync(self.fd)

    cdef int create(self, int directory, uint64_t number, uint64_t size) noexcept nogil:
        # Instead of the file that was open. On failure that one stays.
        cdef int code = self._fault()
        if code:
            return code
        code = raftx_create(directory, number, size)
        if code < 0:
            return code
        close_fd(self.fd)
        self.fd = code
        return 0

    cdef int sync_new(self, int directory) noexcept nogil:
        cdef int code = self._fault()
        if not code:
            code = raftx_sync(self.fd)
        if not code:
            code = raftx_sync(directory)
        return code

    def py_create(self, int directory, uint64_t number, uint64_t size):
        """Go on with a new file wal-<number as 16 hex digits>.log of ``size`` reserved bytes; 0 or -errno."""
        return self.create(directory, number, size)

    def py_sync_new(self, int directory):
        """Make a new file and its name in the directory durable; 0 or -errno."""
        return self.sync_new(directory)

    def close(self):
        """Close it; may be called twice."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def size(self):
        """Length in bytes."""
        return os.fstat(self.fd).st_size

    def truncate(self, size):
        """Cut or extend it."""
        os.ftruncate(self.fd, size)

    def preallocate(self, size):
        """Reserve space, so that a full disk shows now and not later. Raises OSError."""
        os.posix_fallocate(self.fd, 0, size)

    def py_write_at(self, Buffer buffer not None, size_t offset, size_t size, uint64_t position):
        """0 or -errno. Without the GIL."""
        cdef int code
        if offset > buffer.size or size > buffer.size - offset:
            raise IndexError("outside of the buffer")
        with nogil:
            code = self.write_at(buffer, offset, size, position)
        return code

    def py_read_at(self, Buffer buffer not None, size_t size, uint64_t position):
        """0 or -errno; the buffer then holds what was there."""
        return self.read_at(buffer, size, position)

    def py_zero(self, uint64_t position, uint64_t size):
        """0 or -errno. Without the GIL."""
        cdef int code
        with nogil:
            code = self.zero(position, size)
        return code

    def py_datasync(self):
        """0 or -errno. Without the GIL."""
        cdef int code
        with nogil:
            code = self.datasync()
        return code


def sync_directory(path):
    """Make created, renamed and removed names in a directory durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def lock_directory(path):
    """Lock a directory for this process; returns what ``unlock_directory`` takes. Raises WrongDirectory."""
    import fcntl

    fd = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise WrongDirectory(f"{os.fspath(path)} is in use by another process or node") from error
    return fd


def unlock_directory(fd):
    """Release a lock."""
    os.close(fd)
