"""Flow control: the windows of unacknowledged appends, and the columns of what is known about each member.

Part of _core.pyx; the twin is _twins/flow.py. No rules of Raft here, no I/O, no clock, no threads: which state a peer
is in and when it may be sent something is Tracker's.
"""
cdef enum:
    WINDOW_START = 16
    COLUMNS = 7             # of numbers in Peers

COLUMN_NAMES = (
    "ids", "match", "next", "sent_commit", "pending_snapshot", "requested_snapshot", "commit_group",
)


cdef int checked(value) except -1:
    cdef int slot = integer(value)
    if not 0 <= slot < SLOTS:
        raise IndexError("slot must be in 0..63")
    return slot


cdef class Inflights:
    """Windows of unacknowledged appends, one a slot (etcd's tracker.Inflights).

    Invariant: count[slot] <= capacity. The bytes may pass max_bytes by the one message that fills
    the window, the count a capacity that was lowered. Rings grow on demand, so that a large capacity
    costs nothing until it is used.
    """

    def __cinit__(self, capacity, max_bytes=0):
        self.capacity = integer(capacity)
        if not 1 <= self.capacity <= 0x7FFFFFFF:
            raise ValueError("capacity must be in 1..2^31-1")
        self.max_bytes = integer(max_bytes)
        cdef int slot
        for slot in range(SLOTS):
            self.limit[slot] = self.capacity

    def __dealloc__(self):
        cdef int slot
        for slot in range(SLOTS):
            free(self.index[slot])
            free(self.bytes[slot])

    def __repr__(self):
        used = {slot: self.count[slot] for slot in range(SLOTS) if self.count[slot]}
        return f"<Inflights capacity={self.capacity} max_bytes={self.max_bytes} by slot: {used}>"

    cdef int add(self, int slot, uint64_t index, uint64_t size) except -1 nogil:
        cdef uint32_t at, room, i
        cdef uint64_t* indexes
        cdef uint64_t* sizes
        if DEBUG and not 0 <= slot < SLOTS:
            raise IndexError("slot must be in 0..63")
        if self.full(slot):
            raise Corruption("cannot add into a full inflights window")
        if self.count[slot] == self.room[slot]:
            room = min(max(self.room[slot] * 2, <uint32_t>WINDOW_START), max(self.limit[slot], self.count[slot] + 1))
            indexes = <uint64_t*>malloc(room * sizeof(uint64_t))
            sizes = <uint64_t*>malloc(room * sizeof(uint64_t))
            if indexes == NULL or sizes == NULL:
                free(indexes)
                free(sizes)
                raise MemoryError()
            for i in range(self.count[slot]):
                at = (self.start[slot] + i) % self.room[slot]
                indexes[i] = self.index[slot][at]
                sizes[i] = self.bytes[slot][at]
            free(self.index[slot])
            free(self.bytes[slot])
            self.index[slot] = indexes
            self.bytes[slot] = sizes
            self.room[slot] = room
            self.start[slot] = 0
        check(self.count[slot] < self.room[slot])
        at = (self.start[slot] + self.count[slot]) % self.room[slot]
        self.index[slot][at] = index
        self.bytes[slot][at] = size
        self.count[slot] += 1
        self.total[slot] += size
        return 0

    cdef void free_to(self, int slot, uint64_t index) noexcept nogil:
        cdef uint32_t at = self.start[slot]
        check_index(slot, SLOTS)
        check(self.count[slot] <= self.room[slot])
        while self.count[slot] and self.index[slot][at] <= index:
            check_index(at, self.room[slot])
            check(self.bytes[slot][at] <= self.total[slot])
            self.total[slot] -= self.bytes[slot][at]
            self.count[slot] -= 1
            at += 1
            if at == self.room[slot]:
                at = 0
        self.start[slot] = at

    cdef void reset(self, int slot) noexcept nogil:
        check_index(slot, SLOTS)
        self.start[slot] = self.count[slot] = 0
        self.total[slot] = 0

    def py_add(self, slot, index, size):
        """Record a sent append; raises Corruption when the window is full."""
        self.add(checked(slot), integer(index), integer(size))

    def py_free_to(self, slot, index):
        """Forget all up to and including ``index``."""
        self.free_to(checked(slot), integer(index))

    def py_full(self, slot):
        """Whether nothing may be added."""
        return bool(self.full(checked(slot)))

    def py_reset(self, slot):
        """Empty the window."""
        self.reset(checked(slot))

    def set_capacity(self, slot, capacity):
        """Another capacity for one window, 0..2^31-1 (0: nothing may be sent); what is in flight stays."""
        cdef int of = checked(slot)
        cdef uint32_t value = integer(capacity)
        if value > 0x7FFFFFFF:
            raise ValueError("capacity must be in 0..2^31-1")
        self.limit[of] = value

    def reorder(self, places):
        """Window i becomes what window places[i] was; -1, and all behind the last: a new, empty one."""
        cdef int8_t of[SLOTS]
        cdef int slot
        chosen = [checked(value) if integer(value) >= 0 else -1 for value in places]
        if len(chosen) > SLOTS or len([1 for value in chosen if value >= 0]) != len(set(chosen) - {-1}):
            raise ValueError("at most 64 places, each once")
        for slot in range(SLOTS):
            of[slot] = chosen[slot] if slot < len(chosen) else -1
        self._move(of)

    cdef void move(self, const int8_t[::1] places) noexcept nogil:
        self._move(&places[0])

    cdef void _move(self, const int8_t* places) noexcept nogil:
        # Every ring stays in some slot, so that nothing is allocated and nothing is lost: those of windows that end
        # here serve the new ones.
        cdef uint64_t* index[SLOTS]
        cdef uint64_t* sizes[SLOTS]
        cdef uint64_t total[SLOTS]
        cdef uint32_t room[SLOTS]
        cdef uint32_t start[SLOTS]
        cdef uint32_t count[SLOTS]
        cdef uint32_t limit[SLOTS]
        cdef uint64_t left = ~<uint64_t>0
        cdef int slot, place, spare = 0
        memcpy(index, self.index, sizeof(index))
        memcpy(sizes, self.bytes, sizeof(sizes))
        memcpy(total, self.total, sizeof(total))
        memcpy(room, self.room, sizeof(room))
        memcpy(start, self.start, sizeof(start))
        memcpy(count, self.count, sizeof(count))
        memcpy(limit, self.limit, sizeof(limit))
        for slot in range(SLOTS):
            if places[slot] >= 0:
                left &= ~bit(places[slot])
        for slot in range(SLOTS):
            place = places[slot]
            if place < 0:
                while not left & bit(spare):
                    spare += 1
                place = spare
                spare += 1
                start[place] = count[place] = 0
                total[place] = 0
                limit[place] = self.capacity
            check_index(place, SLOTS)
            self.index[slot] = index[place]
            self.bytes[slot] = sizes[place]
            self.total[slot] = total[place]
            self.room[slot] = room[place]
            self.start[slot] = start[place]
            self.count[slot] = count[place]
            self.limit[slot] = limit[place]

    def count_of(self, slot):
        """Messages in flight."""
        return self.count[checked(slot)]

    def bytes_of(self, slot):
        """Bytes in flight."""
        return self.total[checked(slot)]

    def contents(self, slot):
        """(index, bytes) of each, oldest first."""
        cdef int of = checked(slot)
        cdef uint32_t i, at
        out = []
        for i in range(self.count[of]):
            at = (self.start[of] + i) % self.room[of]
            out.append((self.index[of][at], self.bytes[of][at]))
        return out


cdef class Peers:
    """Columns of progress; slot i belongs to the i-th id in ascending order."""

    def set_match(self, slot, index):
        """Set what the member in a slot has acknowledged: for tests of quorums."""
        self.match[checked(slot)] = integer(index)

    cdef uint64_t* _column(self, int which) noexcept nogil:
        check_index(which, COLUMNS)
        if which == 0:
            return self.ids
        if which == 1:
            return self.match
        if which == 2:
            return self.next
        if which == 3:
            return self.sent_commit
        if which == 4:
            return self.pending_snapshot
        if which == 5:
            return self.requested_snapshot
        return self.commit_group

    def set_commit_group(self, slot, group):
        """Put the member in a slot into a commit group, 0: into none."""
        self.commit_group[checked(slot)] = integer(group)

    def set_ids(self, ids):
        """Take these ids, ascending and unique, and empty every column."""
        self.reorder(ids, [-1] * len(ids))

    def reorder(self, ids, places):
        """Take these ids, ascending and unique; row i becomes what row places[i] was, -1: an empty one."""
        cdef uint64_t of[SLOTS]
        cdef int8_t its[SLOTS]
        cdef int slot
        values = [integer(id) for id in ids]
        chosen = [checked(value) if integer(value) >= 0 else -1 for value in places]
        if len(values) > SLOTS:
            raise ValueError("at most 64 members")
        if sorted(set(values)) != values or (values and not 1 <= min(values) <= max(values) < NUMBER_LIMIT):
            raise ValueError("ids must be ascending, unique and in 1..2^63-1")
        if len(values) != len(chosen):
            raise ValueError("as many places as ids")
        for slot in range(len(values)):
            of[slot] = values[slot]
            its[slot] = chosen[slot]
        self._move(of, its, <int>len(values))

    cdef void move(self, const uint64_t[::1] ids, const int8_t[::1] places, int count) noexcept nogil:
        self._move(&ids[0], &places[0], count)

    cdef void _move(self, const uint64_t* ids, const int8_t* places, int count) noexcept nogil:
        cdef int slot, which, place
        cdef uint64_t old[SLOTS]
        cdef uint8_t states[SLOTS]
        cdef uint64_t paused = self.paused, active = self.recent_active
        cdef uint64_t* column
        check(count <= SLOTS)
        for which in range(1, COLUMNS):
            column = self._column(which)
            memcpy(old, column, sizeof(old))
            memset(column, 0, sizeof(old))
            for slot in range(count):
                if places[slot] >= 0:
                    check_index(places[slot], SLOTS)
                    column[slot] = old[places[slot]]
        memcpy(states, self.state, sizeof(states))
        memset(self.state, 0, sizeof(states))
        memset(self.ids, 0, sizeof(self.ids))
        self.paused = self.recent_active = 0
        self.count = count
        for slot in range(count):
            place = places[slot]
            self.ids[slot] = ids[slot]
            if place >= 0:
                self.state[slot] = states[place]
                self.set_paused(slot, (paused >> place) & 1)
                self.set_recent_active(slot, (active >> place) & 1)

    def column(self, str name not None):
        """A read-only copy of one column ("Q"): ids, match, next, sent_commit, pending_snapshot,
        requested_snapshot, commit_group; or state ("B")."""
        cdef Block* block
        cdef View view
        if name != "state" and name not in COLUMN_NAMES:
            raise KeyError(name)
        block = block_new(SLOTS * 8)
        if name == "state":
            memcpy(block_data(block), self.state, self.count)
            view = view_of(block, block_data(block), self.count, b"B", 1)
        else:
            memcpy(block_data(block), self._column(COLUMN_NAMES.index(name)), self.count * 8)
            view = view_of(block, block_data(block), self.count * 8, b"Q", 8)
        block_unref(block)
        return memoryview(view)

    def py_slot_of(self, id):
        """Slot of an id, -1 for a stranger."""
        return self.slot_of(integer(id))
