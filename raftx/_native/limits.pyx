"""Who may stay connected to us, and what people should hear of it: tables that several threads share.

limits.py is the twin in plain Python. Nothing here opens or closes anything, or knows sockets, NNG, frames or Raft.
Every mutex in this file is held for a few comparisons only.
"""
from libc.stdlib cimport calloc, free

from .checks cimport check, check_index

cdef extern from "_native/threads.h":
    int64_t raftx_load(int64_t*) noexcept nogil
    void raftx_store(int64_t*, int64_t) noexcept nogil
    int pthread_mutex_init(pthread_mutex_t*, void*) nogil
    int pthread_mutex_destroy(pthread_mutex_t*) nogil
    int pthread_mutex_lock(pthread_mutex_t*) nogil
    int pthread_mutex_unlock(pthread_mutex_t*) nogil

# What notes are about. The detail is an error number; of getaddrinfo if it is negative.
NOTE_UNREACHABLE = 1    # a target could not be reached for a second; the detail says why
NOTE_REACHED = 2        # it can be again
NOTE_SHORTAGE = 3       # the system has too little of something; what needs it waits
NOTE_CROWD = 4          # connections were closed that had not sent a valid frame, or were too many
NOTE_LIMIT = 5          # a member takes only frames that are smaller than one for it; the detail is its limit
NOTE_TOO_LARGE = 6      # a member has a frame for this node that is larger than this node takes; the detail is our limit

cdef enum:
    FREE = 0
    STRANGER = 1
    PROVEN = 2
    CLOSING = 3


cdef uint64_t _drawn(uint64_t* state) noexcept nogil:
    # xorshift: which of several goes must not depend on who came when.
    state[0] ^= state[0] << 13
    state[0] ^= state[0] >> 7
    state[0] ^= state[0] << 17
    return state[0] >> 33


cdef int64_t _sooner(int64_t a, int64_t b) noexcept nogil:
    # The earlier of two times, of which the first may be below 0: never.
    return b if a < 0 or b < a else a


cdef class Notes:
    """What people should hear of. ``put`` from any thread; one thread takes."""

    def __cinit__(self):
        pthread_mutex_init(&self.mutex, NULL)

    def __dealloc__(self):
        pthread_mutex_destroy(&self.mutex)

    cdef void put(self, int kind, uint64_t id, int64_t detail) noexcept nogil:
        cdef int place
        pthread_mutex_lock(&self.mutex)
        if self.waiting == NOTES:
            self.lost += 1
        else:
            place = <int>((self.first + self.waiting) % NOTES)
            check_index(place, NOTES)
            self.kinds[place] = kind
            self.ids[place] = id
            self.details[place] = detail
            raftx_store(&self.waiting, self.waiting + 1)
        pthread_mutex_unlock(&self.mutex)

    cdef bint take(self) noexcept nogil:
        if not raftx_load(&self.waiting):
            return False
        pthread_mutex_lock(&self.mutex)
        check_index(self.first, NOTES)
        check(self.waiting <= NOTES)
        self.kind = self.kinds[self.first]
        self.id = self.ids[self.first]
        self.detail = self.details[self.first]
        self.first = (self.first + 1) % NOTES
        raftx_store(&self.waiting, self.waiting - 1)
        pthread_mutex_unlock(&self.mutex)
        return True

    def py_put(self, int kind, uint64_t id, int64_t detail):
        """Add one; without room it is lost, and counted."""
        self.put(kind, id, detail)

    def py_take(self):
        """The oldest as (kind, id, detail), or None."""
        return (self.kind, self.id, self.detail) if self.take() else None


cdef void _become(ArrivalsState* a, int place, int state) noexcept nogil:
    # The only way to another state: places and counts follow.
    cdef Arrival* arrival = a.items + place
    check_index(place, 2 * a.limit)
    check_index(state, STATES)
    if arrival.state != FREE:
        a.counts[arrival.state] -= 1
    arrival.state = state
    if state != FREE:
        a.counts[state] += 1
        if place >= a.used:
            a.used = place + 1
        while a.lowest < a.used and a.items[a.lowest].state != FREE:
            a.lowest += 1
    else:
        a.lowest = min(a.lowest, place)
        while a.used and a.items[a.used - 1].state == FREE:
            a.used -= 1
    check(a.lowest <= a.used)
    check(a.used <= 2 * a.limit)


cdef int _worst(ArrivalsState* a, bint strangers) noexcept nogil:
    cdef int i, j, same, most = 0, chosen = -1
    cdef uint64_t source = 0, seen
    if not strangers:
        for i in range(a.used):
            if a.items[i].state == PROVEN and (chosen < 0 or a.items[i].heard < a.items[chosen].heard):
                chosen = i
        return chosen
    for i in range(a.used):
        if a.items[i].state == STRANGER:
            same = 0
            for j in range(a.used):
                same += a.items[j].state == STRANGER and a.items[j].source == a.items[i].source
            if same > most:
                most = same
                source = a.items[i].source
    seen = _drawn(&a.draw) % most
    for i in range(a.used):
        if a.items[i].state == STRANGER and a.items[i].source == source:
            if seen == 0:
                return i
            seen -= 1
    return -1


cdef int _enter(ArrivalsState* a, bint own, uint32_t listener, uint32_t pipe, uint64_t source, int64_t now) noexcept nogil:
    # The lowest place that is free, so that those in use stand together at the beginning.
    cdef int victim, place = a.lowest, strangers = a.counts[STRANGER], all = strangers + a.counts[PROVEN]
    if place == 2 * a.limit:
        a.refused += 1
        return -1
    if strangers >= a.stranger_limit:
        victim = _worst(a, True)
    elif all >= a.limit:
        victim = _worst(a, strangers != 0)
    else:
        victim = -1
    if victim >= 0:
        _become(a, victim, CLOSING)
        a.refused += 1
    _become(a, place, STRANGER)
    a.items[place].own = own
    a.items[place].listener = listener
    a.items[place].pipe = pipe
    a.items[place].source = source
    a.items[place].since = a.items[place].heard = now
    a.items[place].member = 0
    return place


cdef int _arrivals_opened(ArrivalsState* a, uint32_t listener, uint32_t pipe, int64_t now) noexcept nogil:
    # It is there as this pipe; -1 when it has to be closed at once.
    cdef int i, place = -1
    pthread_mutex_lock(&a.mutex)
    for i in range(a.used):
        if a.items[i].state != FREE and a.items[i].own and a.items[i].listener == listener:
            a.items[i].pipe = pipe
            place = i if a.items[i].state == STRANGER else -1
            break
    else:
        place = _enter(a, False, listener, pipe, 0, now)
    pthread_mutex_unlock(&a.mutex)
    return place


cdef void _arrivals_ended(ArrivalsState* a, uint32_t pipe) noexcept nogil:
    # Its end was not our doing, or comes after it.
    cdef int i
    pthread_mutex_lock(&a.mutex)
    for i in range(a.used):
        if a.items[i].state != FREE and a.items[i].pipe == pipe:
            # What came over a listener of its own leaves that behind.
            _become(a, i, CLOSING if a.items[i].own else FREE)
            break
    pthread_mutex_unlock(&a.mutex)


cdef void _arrivals_identify(ArrivalsState* a, uint32_t pipe, uint64_t member) noexcept nogil:
    # Whom its certificate names; 0: nobody, and it is not let in.
    cdef int i
    pthread_mutex_lock(&a.mutex)
    if member == 0:
        a.refused += 1
        a.unnamed += 1
    for i in range(a.used):
        if a.items[i].state != FREE and a.items[i].pipe == pipe:
            a.items[i].member = member
            break
    pthread_mutex_unlock(&a.mutex)


cdef int _arrivals_there(ArrivalsState* a, int place, uint32_t* pipe, int64_t* since) noexcept nogil:
    """The first from that place on that is there, and when it came: its place, -1 for none."""
    cdef int found = -1
    pthread_mutex_lock(&a.mutex)
    while place < a.used:
        if a.items[place].state in (STRANGER, PROVEN) and a.items[place].pipe:
            found, pipe[0], since[0] = place, a.items[place].pipe, a.items[place].since
            break
        place += 1
    pthread_mutex_unlock(&a.mutex)
    return found


cdef class Arrivals:
    """Connections on the receiving side, in NNG's hands: how many may be there, and for how long without a valid frame.

    A connection is a *stranger* until a valid frame has come over it. One stranger too many costs one of those whose
    sender has the most; one connection too many costs a stranger, or else the one that has been silent for longest.
    Whoever is to go is found by ``next_to_close``. Any thread, but for that.

    limit: 2..4096 connections. strangers: 1..limit - 1 of them. stranger_ms: how long one may stay a stranger.
    """

    def __cinit__(self, int limit, int strangers, int stranger_ms):
        pthread_mutex_init(&self.state.mutex, NULL)
        if not 2 <= limit <= 4096 or not 1 <= strangers < limit:
            raise ValueError("limit must be in 2..4096 and strangers in 1..limit - 1")
        if stranger_ms < 1:
            raise ValueError("stranger_ms must be at least 1")
        self.state.limit = limit
        self.state.stranger_limit = strangers
        self.state.stranger_ns = stranger_ms * <int64_t>1000000
        self.state.draw = 88172645463325252
        # Those that are being closed may still be there when others come.
        self.state.items = <Arrival*>calloc(2 * limit, sizeof(Arrival))
        if self.state.items == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.state.items)
        pthread_mutex_destroy(&self.state.mutex)

    cdef int admit(self, uint32_t listener, uint64_t source, int64_t now) noexcept nogil:
        # One that will come over a listener of its own; -1 when there is no room at all.
        cdef int place
        pthread_mutex_lock(&self.state.mutex)
        place = _enter(&self.state, True, listener, 0, source, now)
        pthread_mutex_unlock(&self.state.mutex)
        return place

    cdef bint proven(self, uint32_t pipe, int64_t now) noexcept nogil:
        # A valid frame has come over it.
        cdef int i
        cdef bint found = False
        pthread_mutex_lock(&self.state.mutex)
        for i in range(self.state.used):
            if self.state.items[i].pipe == pipe and self.state.items[i].state in (STRANGER, PROVEN):
                _become(&self.state, i, PROVEN)
                self.state.items[i].heard = now
                found = True
                break
        pthread_mutex_unlock(&self.state.mutex)
        return found

    cdef void heard(self, uint32_t pipe, int64_t now) noexcept nogil:
        # A frame has come over it.
        cdef int i
        pthread_mutex_lock(&self.state.mutex)
        for i in range(self.state.used):
            if self.state.items[i].pipe == pipe and self.state.items[i].state == PROVEN:
                self.state.items[i].heard = now
                break
        pthread_mutex_unlock(&self.state.mutex)

    cdef int64_t sweep(self, int64_t now) noexcept nogil:
        # Those who have been strangers for too long have to go; when the next one will have, -1 for nobody.
        cdef int i
        cdef int64_t next = -1
        pthread_mutex_lock(&self.state.mutex)
        for i in range(self.state.used):
            if self.state.items[i].state == STRANGER:
                if now - self.state.items[i].since >= self.state.stranger_ns:
                    _become(&self.state, i, CLOSING)
                    self.state.refused += 1
                else:
                    next = _sooner(next, self.state.items[i].since + self.state.stranger_ns)
        pthread_mutex_unlock(&self.state.mutex)
        return next

    cdef bint next_to_close(self) noexcept nogil:
        # One of those to be closed: its listener if it has one of its own, else its pipe. It is forgotten with this.
        cdef int i
        cdef bint found = False
        pthread_mutex_lock(&self.state.mutex)
        for i in range(self.state.used):
            if self.state.items[i].state == CLOSING:
                self.listener = self.state.items[i].listener
                self.pipe = self.state.items[i].pipe
                self.own = self.state.items[i].own
                self.state.items[i].pipe = 0
                _become(&self.state, i, FREE)
                found = True
                break
        pthread_mutex_unlock(&self.state.mutex)
        return found

    cdef int count(self, bint strangers) noexcept nogil:
        cdef int total
        pthread_mutex_lock(&self.state.mutex)
        total = self.state.counts[STRANGER] + (0 if strangers else self.state.counts[PROVEN])
        pthread_mutex_unlock(&self.state.mutex)
        return total

    cdef int opened(self, uint32_t listener, uint32_t pipe, int64_t now) noexcept nogil:
        return _arrivals_opened(&self.state, listener, pipe, now)

    cdef void ended(self, uint32_t pipe) noexcept nogil:
        _arrivals_ended(&self.state, pipe)

    cdef void drop(self, uint32_t listener) noexcept nogil:
        # What was admitted will not come: its listener has to be closed.
        cdef int i
        pthread_mutex_lock(&self.state.mutex)
        for i in range(self.state.used):
            if self.state.items[i].state != STRANGER or not self.state.items[i].own:
                continue
            if self.state.items[i].listener == listener:
                _become(&self.state, i, CLOSING)
        pthread_mutex_unlock(&self.state.mutex)

    cdef uint64_t member(self, uint32_t pipe) noexcept nogil:
        # Whom the certificate of this connection names; 0: nobody, or it is not known.
        cdef int i
        cdef uint64_t found = 0
        pthread_mutex_lock(&self.state.mutex)
        for i in range(self.state.used):
            if self.state.items[i].pipe == pipe and self.state.items[i].state != FREE:
                found = self.state.items[i].member
                break
        pthread_mutex_unlock(&self.state.mutex)
        return found

    @property
    def unnamed(self):
        """How many were closed because their certificate names no member."""
        return self.state.unnamed

    def py_identify(self, uint32_t pipe, uint64_t member):
        """Whom the certificate of this pipe names; 0: nobody, which is counted."""
        _arrivals_identify(&self.state, pipe, member)

    def py_member(self, uint32_t pipe):
        """Whom the certificate of this pipe names; 0: nobody, or it is not known."""
        return self.member(pipe)

    def py_retire(self, int64_t before):
        """Those that came before then have to go; how many they are."""
        cdef int i, count = 0
        pthread_mutex_lock(&self.state.mutex)
        for i in range(self.state.used):
            if self.state.items[i].state in (STRANGER, PROVEN) and self.state.items[i].since < before:
                _become(&self.state, i, CLOSING)
                count += 1
        pthread_mutex_unlock(&self.state.mutex)
        return count

    def py_pipes(self):
        """The pipes of those that are there, with the time at which each came."""
        cdef int place = 0
        cdef uint32_t pipe
        cdef int64_t since
        found = []
        # No object is made with the mutex held: that may run others' Python code, and so wait for the GIL.
        while True:
            place = _arrivals_there(&self.state, place, &pipe, &since)
            if place < 0:
                return found
            found.append((pipe, since))
            place += 1

    @property
    def refused(self):
        """How many were closed before they had sent a valid frame, or for want of room."""
        return self.state.refused

    def py_admit(self, uint32_t listener, uint64_t source, int64_t now):
        """One will come over a listener of its own: its place, -1 when there is no room at all."""
        return self.admit(listener, source, now)

    def py_opened(self, uint32_t listener, uint32_t pipe, int64_t now):
        """It is there as this pipe: its place, -1 when it has to be closed at once."""
        return self.opened(listener, pipe, now)

    def py_heard(self, uint32_t pipe, int64_t now):
        """A frame has come over this pipe: if it is proven, it is not silent."""
        self.heard(pipe, now)

    def py_drop(self, uint32_t listener):
        """What was admitted over this listener will not come."""
        self.drop(listener)

    def py_ended(self, uint32_t pipe):
        """This pipe is gone."""
        self.ended(pipe)

    def py_proven(self, uint32_t pipe, int64_t now):
        """A valid frame has come over this pipe; False when it is not known."""
        return bool(self.proven(pipe, now))

    def py_sweep(self, int64_t now):
        """Who has been a stranger for too long has to go; when the next one will have, -1 for nobody."""
        return self.sweep(now)

    def py_next_to_close(self):
        """One that has to go, as (listener, pipe, whether the listener is its own), or None; it is forgotten then."""
        return (self.listener, self.pipe, bool(self.own)) if self.next_to_close() else None

    def py_count(self, bint strangers=False):
        """How many there are, or how many strangers among them."""
        return self.count(strangers)

    def py_used(self):
        """How many places are looked through for one connection: those that are free lie behind, but for gaps."""
        return self.state.used
