"""What touches the operating system: clock, wake-ups, hand-overs, files, NNG's own functions.

_sys.py is the twin in plain Python. Nothing here knows Raft. Every mutex in this file is held for a
few copies only, and never while anything waits for the GIL.
"""
import errno
import os

cimport cython

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy
from libc.stdint cimport uintptr_t
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from .errors import TransportError, UsageError, WrongDirectory

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <fcntl.h>
    #include <poll.h>
    #include <pthread.h>
    #include <stdint.h>
    #include <stdio.h>
    #include <sys/eventfd.h>
    #include <time.h>
    #include <unistd.h>
    static inline int64_t raftx_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
    }
    static inline int64_t raftx_load(int64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline void raftx_store(int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
    static inline int64_t raftx_exchange(int64_t *p, int64_t v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }
    static inline int64_t raftx_add(int64_t *p, int64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline void raftx_poll(int fd, int64_t timeout) {
        struct pollfd p = {fd, POLLIN, 0};
        struct timespec t = {timeout / 1000000000LL, timeout % 1000000000LL};
        ppoll(&p, 1, timeout < 0 ? NULL : &t, NULL);
    }
    static inline void raftx_signal(int fd) { uint64_t one = 1; ssize_t n = write(fd, &one, 8); (void)n; }
    static inline void raftx_drain(int fd) { uint64_t n; ssize_t r = read(fd, &n, 8); (void)r; }
    static inline void raftx_sleep(int64_t ns) {
        struct timespec t = {ns / 1000000000LL, ns % 1000000000LL};
        while (nanosleep(&t, &t) && errno == EINTR) {}
    }
    static int raftx_pwrite(int fd, const uint8_t *p, size_t n, uint64_t at) {
        while (n) {
            ssize_t done = pwrite(fd, p, n, (off_t)at);
            if (done < 0) {
                if (errno == EINTR) continue;
                return -errno;
            }
            p += done;
            n -= (size_t)done;
            at += (uint64_t)done;
        }
        return 0;
    }
    static int64_t raftx_pread(int fd, uint8_t *p, size_t n, uint64_t at) {
        size_t total = 0;
        while (total < n) {
            ssize_t done = pread(fd, p + total, n - total, (off_t)(at + total));
            if (done < 0) {
                if (errno == EINTR) continue;
                return -errno;
            }
            if (!done) break;
            total += (size_t)done;
        }
        return (int64_t)total;
    }
    static int raftx_create(int directory, uint64_t number, uint64_t size) {
        char name[40];
        int fd, code;
        snprintf(name, sizeof(name), "wal-%016llx.log", (unsigned long long)number);
        fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0) return -errno;
        do code = posix_fallocate(fd, 0, (off_t)size); while (code == EINTR);
        if (code) { close(fd); return -code; }
        return fd;
    }
    static int raftx_sync(int fd) {
        while (fsync(fd)) {
            if (errno != EINTR) return -errno;
        }
        return 0;
    }
    static int raftx_datasync(int fd) {
        while (fdatasync(fd)) {
            if (errno != EINTR) return -errno;
        }
        return 0;
    }
    static const uint8_t raftx_zeros[1 << 16];
    typedef struct { uint32_t id; } raftx_nng_socket;
    typedef struct { uint32_t id; } raftx_nng_pipe;
    """
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
    ctypedef struct raftx_nng_socket:
        uint32_t id
    ctypedef struct raftx_nng_pipe:
        uint32_t id

cdef enum:
    CELLS = 16
    COLUMNS = 8
    ENTRY_HEADER = 32
    ZEROS = 1 << 16
    NNG_NONBLOCK = 2
    NNG_ECLOSED = 7
    NNG_ECANCELED = 20
    NNG_EAGAIN = 8
    NEVER_MS = 0x7FFFFFFF
    PIPE_ADDED = 1
    PIPE_REMOVED = 2


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
        """Append proposals while there is room: (number of the first, how many); first is -1 when closed."""
        cdef list blobs = [d if type(d) is bytes else as_bytes(d) for d in datas]
        cdef int64_t sequence, first = 0
        cdef Py_ssize_t count = 0
        cdef bytes b
        pthread_mutex_lock(&self.mutex)
        try:
            for item in blobs:
                b = item
                sequence = self._put(<const uint8_t*>PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b), 0)
                if sequence <= 0:
                    if sequence < 0:
                        first = -1
                    break
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


# --- NNG -----------------------------------------------------------------------------------------

ctypedef void (*callback_t)(void*) noexcept nogil
ctypedef int (*aio_alloc_t)(nng_aio**, callback_t, void*) noexcept nogil
ctypedef void (*aio_t)(nng_aio*) noexcept nogil
ctypedef int (*aio_result_t)(nng_aio*) noexcept nogil
ctypedef nng_msg* (*aio_msg_t)(nng_aio*) noexcept nogil
ctypedef void (*recv_aio_t)(raftx_nng_socket, nng_aio*) noexcept nogil
ctypedef int (*sendmsg_t)(raftx_nng_socket, nng_msg*, int) noexcept nogil
ctypedef int (*msg_alloc_t)(nng_msg**, size_t) noexcept nogil
ctypedef void (*msg_free_t)(nng_msg*) noexcept nogil
ctypedef void* (*msg_body_t)(nng_msg*) noexcept nogil
ctypedef size_t (*msg_len_t)(nng_msg*) noexcept nogil
ctypedef int (*open_t)(raftx_nng_socket*) noexcept nogil
ctypedef int (*close_t)(raftx_nng_socket) noexcept nogil
ctypedef int (*set_t)(raftx_nng_socket, const char*, int) noexcept nogil
ctypedef void (*pipe_callback_t)(raftx_nng_pipe, int, void*) noexcept nogil
ctypedef int (*notify_t)(raftx_nng_socket, int, pipe_callback_t, void*) noexcept nogil
ctypedef int (*dial_t)(raftx_nng_socket, const char*, void*, int) noexcept nogil

cdef aio_alloc_t nng_aio_alloc = NULL
cdef aio_t nng_aio_free = NULL
cdef aio_t nng_aio_stop = NULL
cdef aio_result_t nng_aio_result = NULL
cdef aio_msg_t nng_aio_get_msg = NULL
cdef recv_aio_t nng_recv_aio = NULL
cdef sendmsg_t nng_sendmsg = NULL
cdef msg_alloc_t nng_msg_alloc = NULL
cdef msg_free_t nng_msg_free = NULL
cdef msg_body_t nng_msg_body = NULL
cdef msg_len_t nng_msg_len = NULL
cdef open_t nng_push0_open = NULL
cdef close_t nng_close = NULL
cdef set_t nng_socket_set_int = NULL
cdef set_t nng_socket_set_ms = NULL
cdef notify_t nng_pipe_notify = NULL
cdef dial_t nng_dial = NULL
_nng_checked = None


def nng_available():
    """Whether NNG's functions can be called directly: looked up once, in pynng's library. RAFTX_NNG=python: no."""
    global _nng_checked
    if os.environ.get("RAFTX_NNG", "") == "python":
        return False
    if _nng_checked is None:
        try:
            _look_up_nng()
            _nng_checked = True
        except (ImportError, AttributeError, TypeError, ValueError):
            _nng_checked = False
    return _nng_checked


cdef _look_up_nng():
    global nng_aio_alloc, nng_aio_free, nng_aio_stop, nng_aio_result, nng_aio_get_msg, nng_recv_aio, nng_sendmsg
    global nng_msg_alloc, nng_msg_free, nng_msg_body, nng_msg_len
    global nng_push0_open, nng_close, nng_socket_set_int, nng_socket_set_ms, nng_pipe_notify, nng_dial
    import pynng

    ffi, lib = pynng.ffi, pynng.lib
    names = (
        "nng_aio_alloc nng_aio_free nng_aio_stop nng_aio_result nng_aio_get_msg nng_recv_aio nng_sendmsg "
        "nng_msg_alloc nng_msg_free nng_msg_body nng_msg_len "
        "nng_push0_open nng_close nng_socket_set_int nng_socket_set_ms nng_pipe_notify nng_dial"
    ).split()
    at = {name: int(ffi.cast("uintptr_t", ffi.addressof(lib, name))) for name in names}
    nng_aio_alloc = <aio_alloc_t><uintptr_t>at["nng_aio_alloc"]
    nng_aio_free = <aio_t><uintptr_t>at["nng_aio_free"]
    nng_aio_stop = <aio_t><uintptr_t>at["nng_aio_stop"]
    nng_aio_result = <aio_result_t><uintptr_t>at["nng_aio_result"]
    nng_aio_get_msg = <aio_msg_t><uintptr_t>at["nng_aio_get_msg"]
    nng_recv_aio = <recv_aio_t><uintptr_t>at["nng_recv_aio"]
    nng_sendmsg = <sendmsg_t><uintptr_t>at["nng_sendmsg"]
    nng_msg_alloc = <msg_alloc_t><uintptr_t>at["nng_msg_alloc"]
    nng_msg_free = <msg_free_t><uintptr_t>at["nng_msg_free"]
    nng_msg_body = <msg_body_t><uintptr_t>at["nng_msg_body"]
    nng_msg_len = <msg_len_t><uintptr_t>at["nng_msg_len"]
    nng_push0_open = <open_t><uintptr_t>at["nng_push0_open"]
    nng_close = <close_t><uintptr_t>at["nng_close"]
    nng_socket_set_int = <set_t><uintptr_t>at["nng_socket_set_int"]
    nng_socket_set_ms = <set_t><uintptr_t>at["nng_socket_set_ms"]
    nng_pipe_notify = <notify_t><uintptr_t>at["nng_pipe_notify"]
    nng_dial = <dial_t><uintptr_t>at["nng_dial"]


cdef void received(void* argument) noexcept nogil:
    # On one of NNG's threads: never touches Python. One receive is under way at a time.
    cdef ReceiverState* r = <ReceiverState*>argument
    cdef int code = nng_aio_result(<nng_aio*>r.aio)
    cdef raftx_nng_socket s
    s.id = r.socket
    if code:
        raftx_store(&r.error, code)
        if code != NNG_ECLOSED and code != NNG_ECANCELED and not raftx_load(&r.stopping):
            nng_recv_aio(s, <nng_aio*>r.aio)
        return
    r.ring[r.head % r.capacity] = <void*>nng_aio_get_msg(<nng_aio*>r.aio)
    raftx_store(&r.head, r.head + 1)
    receiver_wake(r)
    if r.head - raftx_load(&r.tail) >= <int64_t>r.capacity:
        raftx_store(&r.parked, 1)
        # The taker may have made room just before it could see that we parked: whoever takes the mark re-arms.
        if r.head - raftx_load(&r.tail) >= <int64_t>r.capacity or not raftx_exchange(&r.parked, 0):
            return
    nng_recv_aio(s, <nng_aio*>r.aio)


cdef void receiver_wake(ReceiverState* r) noexcept nogil:
    if raftx_load(r.sleeping) and raftx_exchange(r.sleeping, 0):
        raftx_signal(r.fd)


@cython.no_gc_clear
cdef class NngReceiver:
    """Receives on one socket by NNG's asynchronous callback into a bounded ring, for one taker.

    A full ring stops receiving until the taker has made room, so that NNG and TCP slow the sender down.
    """

    def __cinit__(self, uint32_t socket, Event event not None, size_t capacity=1024):
        if not nng_available():
            raise UsageError("NNG's functions cannot be called directly here")
        if not 1 <= capacity <= 1 << 20:
            raise ValueError("capacity must be in 1..2^20")
        self.event = event
        self.current = NULL
        self.state = <ReceiverState*>calloc(1, sizeof(ReceiverState))
        if self.state == NULL:
            raise MemoryError()
        self.state.ring = <void**>calloc(capacity, sizeof(void*))
        if self.state.ring == NULL:
            raise MemoryError()
        self.state.socket = socket
        self.state.capacity = capacity
        self.state.fd = event.fd
        self.state.sleeping = &event.sleeping

    def __dealloc__(self):
        if self.state != NULL:
            self._stop()
            free(self.state.ring)
            free(self.state)

    def start(self):
        """Begin to receive. Raises TransportError."""
        cdef nng_aio* aio = NULL
        cdef raftx_nng_socket s
        if self.state.aio != NULL or raftx_load(&self.state.stopping):
            raise UsageError("a receiver starts once")
        if nng_aio_alloc(&aio, received, self.state):
            raise TransportError("NNG has no memory for a receiver")
        self.state.aio = aio
        s.id = self.state.socket
        with nogil:
            nng_recv_aio(s, aio)

    cdef void _stop(self) noexcept nogil:
        raftx_store(&self.state.stopping, 1)
        if self.state.aio != NULL:
            nng_aio_stop(<nng_aio*>self.state.aio)    # waits for a callback that is running
            nng_aio_free(<nng_aio*>self.state.aio)
            self.state.aio = NULL
        while self.state.tail < self.state.head:
            nng_msg_free(<nng_msg*>self.state.ring[self.state.tail % self.state.capacity])
            self.state.tail += 1
        if self.current != NULL:
            nng_msg_free(self.current)
            self.current = NULL

    def stop(self):
        """End receiving; frees what was not taken. Not while the taker is in ``next``."""
        with nogil:
            self._stop()

    cdef bint waiting(self) noexcept nogil:
        return raftx_load(&self.state.head) != self.state.tail

    cdef bint next(self) noexcept nogil:
        cdef raftx_nng_socket s
        if self.current != NULL:
            nng_msg_free(self.current)
            self.current = NULL
        if raftx_load(&self.state.head) == self.state.tail:
            return False
        self.current = <nng_msg*>self.state.ring[self.state.tail % self.state.capacity]
        raftx_store(&self.state.tail, self.state.tail + 1)
        if raftx_load(&self.state.parked) and raftx_exchange(&self.state.parked, 0):
            s.id = self.state.socket
            nng_recv_aio(s, <nng_aio*>self.state.aio)
        self.data = <const uint8_t*>nng_msg_body(self.current)
        self.size = nng_msg_len(self.current)
        return True

    def py_next(self):
        """The next frame, or None."""
        if not self.next():
            return None
        return PyBytes_FromStringAndSize(<const char*>self.data, self.size)


cdef void pipe_added(raftx_nng_pipe pipe, int event, void* argument) noexcept nogil:
    cdef PeerState* p = <PeerState*>argument
    pthread_mutex_lock(&p.mutex)
    p.ready = True
    pthread_mutex_unlock(&p.mutex)


cdef void pipe_removed(raftx_nng_pipe pipe, int event, void* argument) noexcept nogil:
    # NNG frees the connection when this returns; so it waits for a send that is under way.
    cdef PeerState* p = <PeerState*>argument
    pthread_mutex_lock(&p.mutex)
    p.lost = True
    pthread_mutex_unlock(&p.mutex)
    if raftx_load(p.sleeping) and raftx_exchange(p.sleeping, 0):
        raftx_signal(p.fd)


cdef class NngPeer(Runner):
    """Keeps a connection to one peer. ``run`` is the body of a thread of its own, until ``stop``.

    Each connection has a Push0 socket of its own, and NNG never reconnects by itself: a connection that ends
    while it begins stays in Push0's list although it has been freed, and the next send would use it. So after
    the end of a connection nothing is sent on its socket any more; it is closed, and another one dials.

    queue: frames that may wait, 0..8192. shortest, longest: milliseconds between two attempts to dial.
    """

    def __cinit__(self, str url not None, int queue, int shortest, int longest):
        if not nng_available():
            raise UsageError("NNG's functions cannot be called directly here")
        if not 0 <= queue <= 8192:
            raise ValueError("queue must be in 0..8192")
        if not 1 <= shortest <= longest:
            raise ValueError("shortest and longest must be at least 1 and in this order")
        self.state = <PeerState*>calloc(1, sizeof(PeerState))
        if self.state == NULL:
            raise MemoryError()
        pthread_mutex_init(&self.state.mutex, NULL)
        self.event = Event()
        self.state.fd = self.event.fd
        self.state.sleeping = &self.event.sleeping
        self.url = url.encode()
        self.url_text = PyBytes_AS_STRING(self.url)
        self.queue = queue
        self.shortest = shortest * <int64_t>1000000
        self.longest = longest * <int64_t>1000000

    def __dealloc__(self):
        if self.state != NULL:
            self._disconnect()
            pthread_mutex_destroy(&self.state.mutex)
            free(self.state)

    cdef int loop(self) except -1 nogil:
        cdef int64_t pause = self.shortest
        while not raftx_load(&self.state.stopping):
            if self._connect():
                self._disconnect()
                self._pause(pause)
                pause = min(2 * pause, self.longest)
                continue
            pause = self.shortest
            self.connections += 1
            while not self._over():
                self.event.prepare()
                if self._over():
                    self.event.cancel()
                else:
                    self.event.wait(-1)
            self._disconnect()
            self._pause(pause)
        self._disconnect()
        return 0

    cdef bint _over(self) noexcept nogil:
        cdef bint lost
        pthread_mutex_lock(&self.state.mutex)
        lost = self.state.lost
        pthread_mutex_unlock(&self.state.mutex)
        return lost or raftx_load(&self.state.stopping)

    cdef void _pause(self, int64_t ns) noexcept nogil:
        self.event.prepare()
        if raftx_load(&self.state.stopping):
            self.event.cancel()
        else:
            self.event.wait(ns)

    cdef int _connect(self) noexcept nogil:
        cdef raftx_nng_socket s
        if nng_push0_open(&s):
            return -1
        nng_socket_set_int(s, b"send-buffer", self.queue)
        nng_socket_set_ms(s, b"reconnect-time-min", NEVER_MS)
        nng_socket_set_ms(s, b"reconnect-time-max", NEVER_MS)
        nng_pipe_notify(s, PIPE_ADDED, pipe_added, self.state)
        nng_pipe_notify(s, PIPE_REMOVED, pipe_removed, self.state)
        pthread_mutex_lock(&self.state.mutex)
        self.state.socket = s.id
        self.state.ready = self.state.lost = False
        pthread_mutex_unlock(&self.state.mutex)
        # Who stops us either finds the socket or has been seen here.
        if raftx_load(&self.state.stopping):
            return -1
        return nng_dial(s, self.url_text, NULL, 0)

    cdef void _disconnect(self) noexcept nogil:
        cdef raftx_nng_socket s
        pthread_mutex_lock(&self.state.mutex)
        s.id = self.state.socket
        self.state.socket = 0
        self.state.ready = False
        pthread_mutex_unlock(&self.state.mutex)
        if s.id:
            nng_close(s)    # returns when no callback of this socket can come any more

    def stop(self):
        """End ``run``, also while it dials. Any thread; may be called twice."""
        raftx_store(&self.state.stopping, 1)
        with nogil:
            self._disconnect()
        self.event.wake()

    def py_ready(self):
        """Whether a connection stands."""
        return bool(self.state.ready and not self.state.lost)


cdef class NngSender:
    """Sends frames to the peers it was given. For one thread, but for ``add``, which comes before."""

    def __cinit__(self):
        if not nng_available():
            raise UsageError("NNG's functions cannot be called directly here")
        self.peers = []
        self.current = NULL

    def __dealloc__(self):
        if self.current != NULL:
            nng_msg_free(self.current)

    def add(self, uint64_t id, NngPeer peer not None):
        """Frames for member ``id`` go to this peer. Raises ValueError: too many."""
        if self.count == SLOTS:
            raise ValueError("at most 64 peers")
        self.peers.append(peer)
        self.ids[self.count] = id
        self.states[self.count] = peer.state
        self.count += 1

    cdef uint8_t* prepare(self, uint64_t to, size_t size) noexcept nogil:
        cdef bint usable
        cdef int i
        if self.current != NULL:
            nng_msg_free(self.current)
            self.current = NULL
        for i in range(self.count):
            if self.ids[i] == to:
                break
        else:
            return NULL
        pthread_mutex_lock(&self.states[i].mutex)
        usable = self.states[i].ready and not self.states[i].lost
        pthread_mutex_unlock(&self.states[i].mutex)
        if not usable or nng_msg_alloc(&self.current, size):
            self.current = NULL
            return NULL
        self.chosen = i
        return <uint8_t*>nng_msg_body(self.current)

    cdef int send(self) noexcept nogil:
        cdef PeerState* p = self.states[self.chosen]
        cdef raftx_nng_socket s
        cdef int code = NNG_ECLOSED
        if self.current == NULL:
            return NNG_EAGAIN
        # Under the mutex, so that no connection is freed meanwhile; NNG only queues the frame here.
        pthread_mutex_lock(&p.mutex)
        if p.ready and not p.lost:
            s.id = p.socket
            code = nng_sendmsg(s, self.current, NNG_NONBLOCK)
        pthread_mutex_unlock(&p.mutex)
        if code:
            # NNG owns a message only once it has taken it.
            nng_msg_free(self.current)
        self.current = NULL
        return code

    def py_send(self, uint64_t to, bytes frame not None):
        """Send a copy; 0, or a number when it was dropped."""
        cdef uint8_t* place = self.prepare(to, PyBytes_GET_SIZE(frame))
        if place == NULL:
            return NNG_EAGAIN
        memcpy(place, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
        return self.send()
