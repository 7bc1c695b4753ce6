"""The entry log in plain Python: the definition of what ``_core/log.pxi`` does faster.

Who made an entry, and whether it is committed, is not known here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import final

from .._native.checks import check_index
from .._native.layout import ENTRY_HEADER, RECORD_INDEX, RECORD_KIND, RECORD_TIME, TIME_UNIT
from .._native.memory import (
    _U64,
    Block,
    Bytes,
    Entry,
    Spans,
    View,
    _bytes,
    _encode_record,
    _int,
    _number,
    _walk,
)
from .._native.outbox import Message, Outbox
from ..errors import Corruption, FrameError
from ..types import NUMBER_MAX


@final
class EntryLog:
    """Entries (first .. last) in encoded form, with columns for term, place and size.

    Bytes of a block never change once they are written: whoever holds a view keeps what it saw.
    """

    __slots__ = (
        "_blocks", "_firsts", "_places", "_sealed", "_sizes", "_terms", "base_term", "base_time", "block_bytes",
        "first", "last", "time",
    )  # fmt: skip

    first: int
    last: int
    base_term: int
    base_time: int  # time of the entry at first - 1; 0 where it is not known
    time: int  # that of what is appended next, unless the last entry's is later; 0: none
    _terms: array[int]
    _sizes: array[int]
    _places: list[tuple[Block, int]]
    _blocks: list[Block]
    _firsts: list[int]  # index of the first entry in each block
    _sealed: bool  # the last block takes no more

    def __init__(self, first: int = 1, base_term: int = 0, block_bytes: int = 1 << 20) -> None:
        self.first = _number(first)
        self.base_term = _number(base_term)
        self.block_bytes = _number(block_bytes)
        if not 1 <= self.first <= NUMBER_MAX:
            raise ValueError("first must be in 1..2^63-1")
        if not 4096 <= self.block_bytes <= 1 << 30:
            raise ValueError("block_bytes must be in 4096..2^30")
        self.time = 0
        self.restore(self.first - 1, self.base_term)

    def __len__(self) -> int:
        return len(self._terms)

    def __repr__(self) -> str:
        held = f"{self.first}..{self.last}" if self._terms else "empty"
        return f"<EntryLog {held}, behind {self.first - 1} of term {self.base_term}>"

    def term(self, index: int) -> int:
        """Term of an entry or of the one before the first; 0 when it is not here."""
        if index >= self.first:
            return self._terms[index - self.first] if index <= self.last else 0
        return self.base_term if index + 1 == self.first else 0

    def match(self, index: int, term: int) -> bool:
        """Whether the entry at ``index`` (or the one before the first) is known and of ``term``."""
        return self.first <= index + 1 and index <= self.last and self.term(index) == term

    def last_term(self) -> int:
        """Term of the last entry."""
        return self.term(self.last)

    def kind(self, index: int) -> int:
        """Kind of an entry, -1 when it is not here."""
        if not self.first <= index <= self.last:
            return -1
        block, offset = self._places[index - self.first]
        return block.data[offset + RECORD_KIND]

    def last_time(self) -> int:
        """Time of the last entry, or of the one before the first; 0 where it is not known."""
        return self._time_at(self.last) if self._terms else self.base_time

    def _time_at(self, index: int) -> int:
        block, offset = self._places[index - self.first]
        time: int = _U64.unpack_from(block.data, offset + RECORD_TIME)[0]
        return time // TIME_UNIT * TIME_UNIT

    def append(self, term: int, kind: int, data: Bytes, size: int) -> int:
        """Append one entry, with the present time; returns its index."""
        time = max(self.time, self.last_time())
        return self._add(_encode_record(self.last + 1, term, kind & 255, memoryview(data)[:size], time), term)

    def append_empty(self, term: int) -> int:
        """Append an entry without data; returns its index."""
        return self.append(term, 0, b"", 0)

    def append_change(self, term: int) -> int:
        """Append a membership change without data, which leaves a joint configuration; returns its index."""
        return self.append(term, 2, b"", 0)

    def append_proposals(self, term: int, body: Bytes, size: int) -> int:
        """Append proposal records, giving each index, ``term``, time and crc; returns the last index."""
        view = memoryview(body)
        before = self.last
        time = max(self.time, self.last_time())
        for offset, step, _, _ in _walk(view, size):
            if not step:
                self.truncate(before)
                raise FrameError("records")
            data = view[offset + ENTRY_HEADER : offset + step]
            self._add(_encode_record(self.last + 1, term, view[offset + RECORD_KIND], data, time), term)
        if not size:
            raise Corruption("a proposal without entries")
        return self.last

    def append_records(self, body: Bytes, size: int) -> int:
        """Replace everything from the first record's index on; returns the last index."""
        if size < ENTRY_HEADER:
            raise Corruption("an append without entries")
        view = memoryview(body)
        first = _U64.unpack_from(view, RECORD_INDEX)[0]
        if first < self.first or first > self.last + 1:
            raise Corruption(f"append at {first} does not fit the log [{self.first}, {self.last}]")
        # All of it is looked at before anything is replaced.
        found = list(_walk(view, size))
        for number, (_, step, index, _) in enumerate(found, first):
            if not step or index != number:
                raise Corruption(f"entry after {number - 1} is missing or broken")
        if first <= self.last:
            self.truncate(first - 1)
        for offset, step, _, term in found:
            self._add(view[offset : offset + step], term)
        return self.last

    def _add(self, record: Bytes, term: int) -> int:
        size = len(record)
        if self._sealed or self._blocks[-1].used + size > self._blocks[-1].capacity:
            self._blocks.append(Block(max(size, self.block_bytes)))
            self._firsts.append(self.last + 1)
            self._sealed = False
        block = self._blocks[-1]
        block.data[block.used : block.used + size] = record
        self._terms.append(term)
        self._places.append((block, block.used))
        self._sizes.append(size)
        block.used += size
        self.last += 1
        return self.last

    def append_from(self, body: Bytes, size: int, index: int) -> int:
        """``append_records`` without the leading records whose index is below ``index``."""
        view = memoryview(body)
        start = 0
        for offset, step, its, _ in _walk(view, size):
            if not step or its >= index:
                break
            start = offset + step
        return self.append_records(view[start:size], size - start)

    def find_conflict(self, body: Bytes, size: int) -> int:
        """Index of the first record that the log does not hold with the same term, or 0."""
        for _, step, index, term in _walk(body, size):
            if not step:
                return 0
            if not self.match(index, term):
                return index
        return 0

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """The largest (i, its term) with i <= ``index`` and a term <= ``term``; term 0 where it is unknown."""
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

    def truncate(self, last: int) -> int:
        """Keep first .. ``last``; what follows goes to a fresh block."""
        if last > self.last or last + 1 < self.first:
            raise Corruption(f"truncate to {last} is outside of the log [{self.first}, {self.last}]")
        if last == self.last:
            return 0
        keep = last + 1 - self.first
        del self._terms[keep:], self._places[keep:], self._sizes[keep:]
        self.last = last
        self._sealed = True
        while self._firsts and self._firsts[-1] > last:
            del self._firsts[-1], self._blocks[-1]
        return 0

    def compact(self, index: int) -> int:
        """Drop entries up to ``index`` and the blocks that only they were in."""
        if index > self.last:
            raise Corruption(f"compact to {index} is beyond the last index {self.last}")
        if index < self.first:
            return 0
        self.base_term = self.term(index)
        self.base_time = self._time_at(index)
        drop = index + 1 - self.first
        del self._terms[:drop], self._places[:drop], self._sizes[:drop]
        self.first = index + 1
        gone = 0
        while gone + 1 < len(self._blocks) and self._firsts[gone + 1] <= self.first:
            gone += 1
        if self.last < self.first:
            gone = len(self._blocks)
            self._sealed = True
        del self._blocks[:gone], self._firsts[:gone]
        return 0

    def restore(self, index: int, term: int) -> int:
        """Empty the log: it begins after ``index``, whose term is ``term``."""
        self.first = index + 1
        self.last = index
        self.base_term = term
        self.base_time = 0
        self._terms = array("Q")
        self._sizes = array("I")
        self._places = []
        self._blocks = []
        self._firsts = []
        self._sealed = True
        return 0

    def limit(self, low: int, high: int, max_bytes: int) -> int:
        """The last index such that the records from ``low`` on fit in ``max_bytes``; at least ``low``."""
        place = low - self.first
        check_index(place, len(self._sizes))
        total = self._sizes[place]
        while low < high:
            place += 1
            total += self._sizes[place]
            if total > max_bytes:
                break
            low += 1
        return low

    def payload(self, low: int, high: int) -> int:
        """Bytes of data in the entries low .. high."""
        sizes = self._sizes[low - self.first : high + 1 - self.first] if low <= high else ()
        return sum(sizes) - ENTRY_HEADER * len(sizes)

    def spans(self, low: int, high: int, out: Spans) -> int:
        """Append the records low .. high to ``out``: one span for each block they are in."""
        if low < self.first or high > self.last:
            raise Corruption(f"entries [{low}, {high}] are outside of the log [{self.first}, {self.last}]")
        number = bisect_right(self._firsts, low) - 1
        while low <= high:
            end = high
            if number + 1 < len(self._firsts):
                end = min(high, self._firsts[number + 1] - 1)
            block, start = self._places[low - self.first]
            stop = self._places[end - self.first][1] + self._sizes[end - self.first]
            out.push(block, block.view[start:stop], stop - start, low, end + 1 - low)
            low = end + 1
            number += 1
        return 0

    # What follows is for Python: tests, RawNode's views, tools.

    def fill(self, box: Outbox, low: int, high: int) -> int:
        """Give the newest row of a box the entries low .. high, none when low > high."""
        if low <= high:
            row = box.rows[-1]
            self.spans(low, high, row.spans)
            row.body_size = row.spans.size
            row.count = high + 1 - low
        return 0

    def extend(self, box: Outbox, row: int, high: int, commit: int) -> int:
        """Give an append in a box the entries up to ``high``, and this commit index."""
        check_index(row, len(box.rows))
        target = box.rows[row]
        target.commit = commit
        if high > target.index + target.count:
            target.spans.clear()
            self.spans(target.index + 1, high, target.spans)
            target.body_size = target.spans.size
            target.count = high - target.index
        return 0

    def py_append(self, term: int, data: bytes, kind: int = 0) -> int:
        """Append one entry at last + 1; returns its index."""
        return self.append(_number(term), _int(kind), _bytes(data), len(data))

    def py_extend(self, entries: list[Entry] | Bytes) -> int:
        """Append records or entries, replacing everything from the first one's index on; all of them or none."""
        m = Message(entries=entries if isinstance(entries, list) else [bytes(entries)])
        return self.append_records(m.body, m.body_size)

    def py_truncate(self, last: int) -> None:
        """Keep entries up to ``last``."""
        self.truncate(_number(last))

    def py_compact(self, index: int) -> None:
        """Drop entries up to and including ``index``."""
        self.compact(_number(index))

    def py_restore(self, index: int, term: int) -> None:
        """Empty the log behind a snapshot; ``index`` is in 0..2^63-1 (ValueError)."""
        index, term = _number(index), _number(term)
        if index > NUMBER_MAX:
            raise ValueError("index must be in 0..2^63-1")
        self.restore(index, term)

    def py_term(self, index: int) -> int:
        """Term of an entry, 0 when it is not here."""
        return self.term(_number(index))

    def py_find_conflict(self, records: Bytes) -> int:
        """Index of the first record that the log does not hold, or 0."""
        return self.find_conflict(bytes(records), len(records))

    def py_find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """Where a probe should go on: the largest index not above with a term not above."""
        return self.find_conflict_by_term(_number(index), _number(term))

    def py_limit(self, low: int, high: int, max_bytes: int) -> int:
        """The last index such that the records from ``low`` on fit in ``max_bytes``; at least ``low``."""
        max_bytes = _number(max_bytes)
        self._check(low, high)
        return self.limit(low, high, max_bytes)

    def _check(self, low: int, high: int) -> None:
        low, high = _number(low), _number(high)
        if low < self.first or high > self.last or low > high:
            raise IndexError(f"entries [{low}, {high}] are outside of the log [{self.first}, {self.last}]")

    def _spans(self, low: int, high: int) -> Spans:
        self._check(low, high)
        out = Spans()
        self.spans(low, high, out)
        return out

    def entries(self, low: int, high: int) -> list[Entry]:
        """The entries low .. high, both included."""
        return self._spans(low, high).entries() if _number(low) <= _number(high) else []

    def records(self, low: int, high: int) -> bytes:
        """The records low .. high as bytes."""
        return self._spans(low, high).tobytes() if _number(low) <= _number(high) else b""

    def view(self, low: int, high: int) -> list[View]:
        """Read-only views of the records low .. high, one for each contiguous run."""
        return self._spans(low, high).pieces()

    def terms(self) -> View:
        """Read-only buffer ("Q") of the terms of first .. last."""
        return memoryview(self._terms[:]).toreadonly()

    def sizes(self) -> View:
        """Read-only buffer ("I") of the record sizes of first .. last, in bytes."""
        return memoryview(self._sizes[:]).toreadonly()
