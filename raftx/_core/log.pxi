"""The entry log. Part of _core.pyx; the twin is _twins/log.py.

Who made an entry, and whether it is committed, is not known here.
"""
cdef uint64_t MAX_DATA = <uint64_t>1 << 31


cdef class EntryLog:
    """The log in memory, in the form in which it is sent and written.

    One thread changes it. Columns and blocks may be read by others through views and spans, which
    hold references; nothing they refer to is ever overwritten.
    """

    def __cinit__(self, first=1, base_term=0, block_bytes=1 << 20):
        self.first = integer(first)
        self.last = self.first - 1
        self.base_term = integer(base_term)
        self.block_bytes = integer(block_bytes)
        if self.first < 1 or self.first >= NUMBER_LIMIT:
            raise ValueError("first must be in 1..2^63-1")
        if not 4096 <= self.block_bytes <= 1 << 30:
            raise ValueError("block_bytes must be in 4096..2^30")
        self.head = 0
        self.room = 0
        self.block_count = self.block_room = 0
        self.spare = NULL
        self.spare_count = 0
        self.sealed = True
        self._grow(1)

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.block_count):
            block_unref(self.blocks[i])
        free(self.blocks)
        free(self.block_first)
        while self.spare != NULL:
            self._drop_spare()
        block_unref(self.term_block)
        block_unref(self.place_block)
        block_unref(self.size_block)

    cdef int _grow(self, size_t entries) except -1 nogil:
        # Columns move to new memory when they are full: views of the old ones keep theirs.
        cdef size_t used = self.last + 1 - self.first
        cdef size_t room
        cdef Block* terms
        cdef Block* places
        cdef Block* sizes
        if self.head + used + entries <= self.room:
            return 0
        room = 256
        while room < (used + entries) * 2:
            room *= 2
        terms = block_new(room * 8)
        places = block_new(room * sizeof(void*))
        sizes = block_new(room * 4)
        if used:
            memcpy(block_data(terms), self.term_at + self.head, used * 8)
            memcpy(block_data(places), self.place_at + self.head, used * sizeof(void*))
            memcpy(block_data(sizes), self.size_at + self.head, used * 4)
        block_unref(self.term_block)
        block_unref(self.place_block)
        block_unref(self.size_block)
        self.term_block = terms
        self.place_block = places
        self.size_block = sizes
        self.term_at = <uint64_t*>block_data(terms)
        self.place_at = <uint8_t**>block_data(places)
        self.size_at = <uint32_t*>block_data(sizes)
        self.head = 0
        self.room = room
        self._sound()
        return 0

    cdef uint8_t* _room(self, size_t size) except NULL nogil:
        # Room for ``size`` bytes that will hold entries from last + 1 on.
        cdef Block* block
        cdef void* moved
        if not self.sealed:
            check_index(self.block_count - 1, self.block_room)
            block = self.blocks[self.block_count - 1]
            if block.used + size <= block.capacity:
                return block_data(block) + block.used
        if self.block_count == self.block_room:
            self.block_room = self.block_room * 2 if self.block_room else 16
            moved = realloc(self.blocks, self.block_room * sizeof(void*))
            if moved != NULL:
                self.blocks = <Block**>moved
                moved = realloc(self.block_first, self.block_room * 8)
            if moved == NULL:
                with gil:
                    raise MemoryError()
            self.block_first = <uint64_t*>moved
        block = self.spare
        if block != NULL and size <= self.block_bytes:
            self.spare = block.spare
            self.spare_count -= 1
            block.used = 0
        else:
            block = block_new(max(size, self.block_bytes))
        check_index(self.block_count, self.block_room)
        self.blocks[self.block_count] = block
        self.block_first[self.block_count] = self.last + 1
        self.block_count += 1
        self.sealed = False
        return block_data(block)

    cdef size_t _block_of(self, uint64_t index) noexcept nogil:
        # The newest block whose first index is not above: search from the end, where the traffic is.
        cdef size_t i = self.block_count - 1
        check(self.block_count > 0)
        while i > 0 and self.block_first[i] > index:
            i -= 1
        return i

    cdef int kind(self, uint64_t index) noexcept nogil:
        if index < self.first or index > self.last:
            return -1
        return self.place_at[self.head + (index - self.first)][RECORD_KIND]

    cdef uint64_t last_time(self) noexcept nogil:
        if self.last < self.first:
            return self.base_time
        return self._time_at(self.last)

    cdef uint64_t _time_at(self, uint64_t index) noexcept nogil:
        # Of an entry that is here.
        check_index(index - self.first, self.last + 1 - self.first)
        return LD64(self.place_at[self.head + (index - self.first)] + RECORD_TIME) // TIME_UNIT * TIME_UNIT

    cdef uint64_t append(self, uint64_t term, int kind, const uint8_t* data, size_t size) except 0 nogil:
        cdef uint8_t* p
        cdef size_t i
        if size > MAX_DATA:
            raise OverflowError("data of an entry must not exceed 2^31 bytes")
        self._grow(1)
        p = self._room(ENTRY_HEADER + size)
        memset(p, 0, ENTRY_HEADER)
        ST32(p + RECORD_LENGTH, <uint32_t>size)
        ST64(p + RECORD_INDEX, self.last + 1)
        ST64(p + RECORD_TERM, term)
        p[RECORD_KIND] = <uint8_t>kind
        record_stamp(p, max(self.time, self.last_time()))
        if size:
            memcpy(p + ENTRY_HEADER, data, size)
        record_seal(p)
        i = self.head + (self.last + 1 - self.first)
        check_index(i, self.room)
        self.term_at[i] = term
        self.place_at[i] = p
        self.size_at[i] = <uint32_t>(ENTRY_HEADER + size)
        self.blocks[self.block_count - 1].used += ENTRY_HEADER + size
        self.last += 1
        self._sound()
        return self.last

    cdef uint64_t append_empty(self, uint64_t term) except 0 nogil:
        return self.append(term, 0, NULL, 0)

    cdef uint64_t append_change(self, uint64_t term) except 0 nogil:
        return self.append(term, 2, NULL, 0)

    cdef uint64_t append_proposals(self, uint64_t term, const uint8_t* body, size_t size) except 0 nogil:
        cdef size_t step, i = self.head + (self.last + 1 - self.first), start = 0
        cdef uint64_t before = self.last, time = max(self.time, self.last_time())
        cdef uint8_t* p
        while start < size:
            step = record_size(body + start, size - start)
            if not step:
                break
            if i == self.room:
                self._grow(1)
                i = self.head + (self.last + 1 - self.first)
            p = self._room(step)
            check_index(i, self.room)
            record_place(p, body + start, step, self.last + 1, term, time)
            self.term_at[i] = term
            self.place_at[i] = p
            self.size_at[i] = <uint32_t>step
            self.blocks[self.block_count - 1].used += step
            self.last += 1
            i += 1
            start += step
        if start < size:
            self.truncate(before)
            raise FrameError("records")
        if not size:
            raise Corruption("a proposal without entries")
        self._sound()
        return self.last

    cdef uint64_t append_records(self, const uint8_t* body, size_t size) except 0 nogil:
        cdef size_t step, run, i, start = 0
        cdef uint64_t first, next
        cdef uint8_t* p
        cdef Block* block
        if size < ENTRY_HEADER:
            raise Corruption("an append without entries")
        first = next = LD64(body + RECORD_INDEX)
        if first < self.first or first > self.last + 1:
            raise Corruption(f"append at {first} does not fit the log [{self.first}, {self.last}]")
        # All of it is looked at before anything is replaced.
        while start < size:
            step = record_size(body + start, size - start)
            if not step or LD64(body + start + RECORD_INDEX) != next:
                raise Corruption(f"entry after {next - 1} is missing or broken")
            start += step
            next += 1
        if first <= self.last:
            self.truncate(first - 1)
        self._grow(next - first)
        start = 0
        while start < size:
            # As many whole records as the block has room for, in one copy.
            p = self._room(ENTRY_HEADER + <size_t>LD32(body + start + RECORD_LENGTH))
            block = self.blocks[self.block_count - 1]
            i = self.head + (self.last + 1 - self.first)
            run = 0
            while start + run < size:
                step = ENTRY_HEADER + <size_t>LD32(body + start + run + RECORD_LENGTH)
                if block.used + run + step > block.capacity:
                    break
                check_index(i, self.room)
                self.term_at[i] = LD64(body + start + run + RECORD_TERM)
                self.place_at[i] = p + run
                self.size_at[i] = <uint32_t>step
                self.last += 1
                i += 1
                run += step
            check(block.used + run <= block.capacity)
            memcpy(p, body + start, run)
            block.used += run
            start += run
        self._sound()
        return self.last

    cdef uint64_t append_from(self, const uint8_t* body, size_t size, uint64_t index) except 0 nogil:
        # append_records without the leading records whose index is below ``index``.
        cdef size_t step, start = 0
        while start < size:
            step = record_size(body + start, size - start)
            if not step or LD64(body + start + RECORD_INDEX) >= index:
                break
            start += step
        return self.append_records(body + start, size - start)

    cdef uint64_t find_conflict(self, const uint8_t* body, size_t size) noexcept nogil:
        cdef size_t step, start = 0
        while start < size:
            step = record_size(body + start, size - start)
            if not step:
                return 0
            if not self.match(LD64(body + start + RECORD_INDEX), LD64(body + start + RECORD_TERM)):
                return LD64(body + start + RECORD_INDEX)
            start += step
        return 0

    cdef (uint64_t, uint64_t) find_conflict_by_term(self, uint64_t index, uint64_t term) noexcept nogil:
        cdef uint64_t ours
        if index > self.last:
            return index, 0
        while index > 0:
            if index + 1 < self.first:
                return index, 0
            ours = self.term(index)
            if ours <= term:
                return index, ours
            index -= 1
        return 0, 0

    cdef int truncate(self, uint64_t last) except -1 nogil:
        if last > self.last or last + 1 < self.first:
            raise Corruption(f"truncate to {last} is outside of the log [{self.first}, {self.last}]")
        if last == self.last:
            return 0
        self.last = last
        # What follows goes to a fresh block: bytes that a write or a view still refers to stay.
        self.sealed = True
        while self.block_count and self.block_first[self.block_count - 1] > last:
            self.block_count -= 1
            block_unref(self.blocks[self.block_count])
        # The columns have been exported up to the old end: give the new entries memory of their own.
        if self.term_block.refs > 1 or self.size_block.refs > 1 or self.place_block.refs > 1:
            self.room = 0
            self._grow(1)
        self._sound()
        return 0

    cdef int compact(self, uint64_t index) except -1 nogil:
        cdef size_t gone = 0
        if index > self.last:
            raise Corruption(f"compact to {index} is beyond the last index {self.last}")
        if index < self.first:
            return 0
        self.base_term = self.term(index)
        self.base_time = self._time_at(index)
        self.head += index + 1 - self.first
        self.first = index + 1
        while gone + 1 < self.block_count and self.block_first[gone + 1] <= self.first:
            gone += 1
        if gone < self.block_count and self.last < self.first:
            gone = self.block_count
            self.sealed = True
        if gone:
            self._drop_blocks(gone)
        self._sound()
        return 0

    cdef void _drop_blocks(self, size_t gone) noexcept nogil:
        cdef size_t i
        check(gone <= self.block_count)
        # Fresh memory costs more than what is written to it, so as many blocks as the log has left are kept; but none
        # that a span or a view refers to.
        for i in range(gone):
            if (
                self.spare_count <= self.block_count - gone
                and self.blocks[i].capacity == self.block_bytes
                and refs_load(&self.blocks[i].refs, ACQUIRE) == 1
            ):
                self.blocks[i].spare = self.spare
                self.spare = self.blocks[i]
                self.spare_count += 1
            else:
                block_unref(self.blocks[i])
        self.block_count -= gone
        while self.spare_count > self.block_count + 1:
            self._drop_spare()
        if self.block_count:  # without one there may be no memory to move
            memmove(self.blocks, self.blocks + gone, self.block_count * sizeof(void*))
            memmove(self.block_first, self.block_first + gone, self.block_count * 8)

    cdef void _drop_spare(self) noexcept nogil:
        cdef Block* block = self.spare
        self.spare = block.spare
        self.spare_count -= 1
        block_unref(block)

    cdef int restore(self, uint64_t index, uint64_t term) except -1 nogil:
        self._drop_blocks(self.block_count)
        self.sealed = True
        self.first = index + 1
        self.last = index
        self.base_term = term
        self.base_time = 0
        self.head = self.room = 0
        self._grow(1)
        return 0

    cdef uint64_t _run(self, uint64_t low, uint64_t high) noexcept nogil:
        # Bytes of the records low .. high where they stand in one block, and so in one piece; else 0.
        cdef size_t i = self.head + (low - self.first), j = self.head + (high - self.first)
        if low > high or self.block_first[self._block_of(high)] > low:
            return 0
        check_index(j, self.room)
        return self.place_at[j] + self.size_at[j] - self.place_at[i]

    cdef uint64_t limit(self, uint64_t low, uint64_t high, uint64_t max_bytes) noexcept nogil:
        cdef size_t i = self.head + (low - self.first)
        cdef uint64_t total = self._run(low, high)
        check_index(low - self.first, self.last + 1 - self.first)
        check(high <= self.last)
        if total and total <= max_bytes:
            return high
        total = self.size_at[i]
        while low < high:
            i += 1
            total += self.size_at[i]
            if total > max_bytes:
                break
            low += 1
        return low

    cdef uint64_t payload(self, uint64_t low, uint64_t high) noexcept nogil:
        cdef size_t i = self.head + (low - self.first)
        cdef uint64_t total = self._run(low, high)
        check(low >= self.first)
        check(high <= self.last)
        if total:
            return total - (high + 1 - low) * ENTRY_HEADER
        while low <= high:
            total += self.size_at[i] - ENTRY_HEADER
            i += 1
            low += 1
        return total

    cdef int spans(self, uint64_t low, uint64_t high, Spans out) except -1 nogil:
        cdef size_t b, i
        cdef uint64_t end
        cdef const uint8_t* p
        cdef const uint8_t* q
        if low < self.first or high > self.last:
            raise Corruption(f"entries [{low}, {high}] are outside of the log [{self.first}, {self.last}]")
        if low > high:
            return 0
        b = self._block_of(high)
        if self.block_first[b] <= low:  # one block has all of them, as it mostly is
            i = self.head + (high - self.first)
            p = self.place_at[self.head + (low - self.first)]
            q = self.place_at[i] + self.size_at[i]
            return out.push(self.blocks[b], p, q - p, low, <uint32_t>(high + 1 - low))
        b = self._block_of(low)
        while low <= high:
            end = high
            if b + 1 < self.block_count and self.block_first[b + 1] <= high:
                end = self.block_first[b + 1] - 1
            i = self.head + (end - self.first)
            p = self.place_at[self.head + (low - self.first)]
            q = self.place_at[i] + self.size_at[i]
            check_index(b, self.block_count)
            out.push(self.blocks[b], p, q - p, low, <uint32_t>(end + 1 - low))
            low = end + 1
            b += 1
        return 0

    cdef int fill(self, Outbox box, uint64_t low, uint64_t high) except -1 nogil:
        cdef Row* row = box.rows + box.tail - 1
        cdef size_t before = box.spans.size
        if low > high:
            return 0
        if DEBUG and box.head == box.tail:
            raise IndexError("no such row")
        self.spans(low, high, box.spans)
        row.span_high = box.spans.count
        row.body_size = box.spans.size - before
        row.count = <uint32_t>(high + 1 - low)
        return 0

    cdef int extend(self, Outbox box, size_t row, uint64_t high, uint64_t commit) except -1 nogil:
        # The row's entries are taken anew: its old spans stay referenced until the box is empty.
        cdef Row* target = box.rows + box.head + row
        cdef size_t before = box.spans.size
        if DEBUG and row >= box.tail - box.head:
            raise IndexError("no such row")
        target.commit = commit
        if high > target.index + target.count:
            target.span_low = box.spans.count
            self.spans(target.index + 1, high, box.spans)
            target.span_high = box.spans.count
            target.body_size = box.spans.size - before
            target.count = <uint32_t>(high - target.index)
        return 0

    # What follows is for Python: tests, RawNode's views, tools.

    def __repr__(self):
        held = f"{self.first}..{self.last}" if self.last >= self.first else "empty"
        return f"<EntryLog {held}, behind {self.first - 1} of term {self.base_term}>"

    def __len__(self):
        return self.last + 1 - self.first

    def py_append(self, term, bytes data not None, kind=0):
        """Append one entry at last + 1; returns its index."""
        return self.append(
            integer(term), integer(kind), <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
        )

    def py_extend(self, entries):
        """Append records or entries, replacing everything from the first one's index on; all of them or none."""
        cdef Message m = Message(entries=entries if isinstance(entries, list) else [bytes(entries)])
        return self.append_records(m.body, m.body_size)

    def py_truncate(self, last):
        """Keep entries up to ``last``."""
        self.truncate(integer(last))

    def py_compact(self, index):
        """Drop entries up to and including ``index``."""
        self.compact(integer(index))

    def py_restore(self, index, term):
        """Empty the log behind a snapshot; ``index`` is in 0..2^63-1 (ValueError)."""
        cdef uint64_t at = integer(index), its = integer(term)
        if at >= NUMBER_LIMIT:
            raise ValueError("index must be in 0..2^63-1")
        self.restore(at, its)

    def py_term(self, index):
        """Term of an entry, 0 when it is not here."""
        return self.term(integer(index))

    def py_find_conflict(self, records):
        """Index of the first record that the log does not hold, or 0."""
        cdef bytes b = bytes(records)
        return self.find_conflict(<const uint8_t*>PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b))

    def py_find_conflict_by_term(self, index, term):
        """Where a probe should go on: the largest index not above with a term not above."""
        return self.find_conflict_by_term(integer(index), integer(term))

    def py_limit(self, low, high, max_bytes):
        """The last index such that the records from ``low`` on fit in ``max_bytes``; at least ``low``."""
        cdef uint64_t start = integer(low), end = integer(high), most = integer(max_bytes)
        self._check(start, end)
        return self.limit(start, end, most)

    def _check(self, uint64_t low, uint64_t high):
        if low < self.first or high > self.last or low > high:
            raise IndexError(f"entries [{low}, {high}] are outside of the log [{self.first}, {self.last}]")

    def _spans(self, uint64_t low, uint64_t high):
        cdef Spans out = Spans()
        self._check(low, high)
        self.spans(low, high, out)
        return out

    def entries(self, low, high):
        """The entries low .. high, both included."""
        cdef uint64_t start = integer(low), end = integer(high)
        return self._spans(start, end).entries() if start <= end else []

    def records(self, low, high):
        """The records low .. high as bytes."""
        cdef uint64_t start = integer(low), end = integer(high)
        return self._spans(start, end).tobytes() if start <= end else b""

    def view(self, low, high):
        """Read-only views of the records low .. high, one for each contiguous run."""
        return self._spans(integer(low), integer(high)).pieces()

    def terms(self):
        """Read-only buffer ("Q") of the terms of first .. last."""
        return view_of(self.term_block, self.term_at + self.head, (self.last + 1 - self.first) * 8, b"Q", 8)

    def sizes(self):
        """Read-only buffer ("I") of the record sizes of first .. last, in bytes."""
        return view_of(self.size_block, self.size_at + self.head, (self.last + 1 - self.first) * 4, b"I", 4)
