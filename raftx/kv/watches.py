"""Watches: what clients want to be told of, and what each is told next. In one event loop.

The apply thread tells the loop once that there is something new; the loop looks at the log of the store from where it
looked last. A watch that is concerned is marked with the first revision that it is to be told of, and whoever serves it
reads on from there as fast as its client takes it: nothing is copied or kept for slow ones. One that falls behind what
was compacted ends.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import Callable, Iterable

from . import messages as m
from .errors import DUPLICATE_WATCH, EMPTY_RANGE, SERVER_STOPPED
from .machine import KeyValues
from .messages import Message
from .store import Version
from .txn import key_value

REVISIONS_MAX = 1_000  # that are looked at for one message
EVENTS_MAX = 1_000  # after which a message ends, behind the revision that it is in
BYTES_MAX = 1 << 20  # likewise
PROGRESS_SECONDS = 600.0
ANSWERS_MAX = 256  # that a client may leave unread before no more is taken from it


class Watch:
    """One of them. ``end``: as of ``Store.range``."""

    def __init__(self, stream: WatchStream, id: int, key: bytes, end: bytes | None, start: int, request: Message):
        self.stream = stream
        self.id = id
        self.key, self.end = key, end
        #: the first revision that it is told of
        self.start = start
        #: the compacted revision when it began
        self.compacted = stream.of.machine.store.compacted
        #: the first one that it is to be told of and was not; None: nothing that is known by now
        self.next: int | None = None
        filters = request.get("filters", ())
        self.puts, self.deletes = m.PUT not in filters, m.DELETE not in filters
        self.prev_kv: bool = request.get("prev_kv", False)
        self.notify: bool = request.get("progress_notify", False)
        self.told_at = time.monotonic()

    def wants(self, change: Version) -> bool:
        """Whether it is told of a change."""
        if change.mod < self.start or not (self.puts if change.version else self.deletes):
            return False
        if self.end is None:
            return change.key == self.key
        return self.key <= change.key and (not self.end or change.key < self.end)


class Watches:
    """Those of all clients. ``header``: makes the header of a response of a revision; None: without one."""

    def __init__(self, machine: KeyValues, header: Callable[[int | None], Message]) -> None:
        self.machine = machine
        self.header = header
        self._loop = asyncio.get_running_loop()
        self._told = False
        #: up to which revision the log was looked at, in the loop and on the apply thread; what is between, by revision
        self.seen = self._noted = machine.store.revision
        self._news: list[list[Version]] = []
        #: the first revision that may be missing because a snapshot was restored; 0: none
        self._lost = 0
        self._restored = machine.restored
        self._by_key: dict[bytes, set[Watch]] = {}
        self._of_ranges: set[Watch] = set()
        self.streams: set[WatchStream] = set()
        self.closed = False
        machine.listeners.append(self._changed)

    def open(self, stream: WatchStream) -> None:
        """A stream begins. Raises SERVER_STOPPED."""
        if self.closed:
            raise SERVER_STOPPED
        with self.machine.lock:
            self.streams.add(stream)
            self._look()  # nothing is gathered while there is none

    def close(self) -> None:
        """End them all. May be called twice."""
        self.closed = True
        if self._changed in self.machine.listeners:
            self.machine.listeners.remove(self._changed)
        for stream in list(self.streams):
            stream.close()

    def _changed(self) -> None:
        """There is something new. On the apply thread."""
        machine = self.machine
        with machine.lock:
            restored, self._restored = self._restored != machine.restored, machine.restored
            noted, self._noted = self._noted, machine.store.revision
            if not self.streams:
                return  # to wake the loop would be half of what a write costs here
            if restored:
                self._lost = self._lost or noted + 1
            self._news += machine.store.changed(noted + 1, self._noted)
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        self._told = False
        with self.machine.lock:
            news, self._news = self._news, []
            lost, self._lost = self._lost, 0
            self.seen = self._noted
            compacted = self.machine.store.compacted
        for changed in news:
            for change in changed:
                for watch in self._by_key.get(change.key, ()):
                    self._note(watch, change)
                for watch in self._of_ranges:
                    self._note(watch, change)
        for watch in self._all() if lost else ():
            place = max(lost, watch.start) if watch.next is None else watch.next
            if place <= compacted:
                # What it lacks is compacted; of the compacted revision a snapshot does not have everything.
                watch.next = compacted - 1
                watch.stream.wake()

    def _all(self) -> Iterable[Watch]:
        return [watch for stream in self.streams for watch in stream.watches.values()]

    def _note(self, watch: Watch, change: Version) -> None:
        if watch.next is None and watch.wants(change):
            watch.next = change.mod
            watch.stream.wake()

    def add(self, watch: Watch) -> None:
        """One that begins."""
        if watch.start <= self.seen:
            watch.next = watch.start
        if watch.end is None:
            self._by_key.setdefault(watch.key, set()).add(watch)
        else:
            self._of_ranges.add(watch)

    def remove(self, watch: Watch) -> None:
        """One that ends."""
        if watch.end is not None:
            self._of_ranges.discard(watch)
            return
        those = self._by_key.get(watch.key)
        if those is not None:
            those.discard(watch)
            if not those:
                del self._by_key[watch.key]

    def pull(self, watch: Watch) -> Message | None:
        """What it is told next; None: nothing for now, if ``next`` is None, too. ``canceled``: it has ended."""
        if watch.next is None:
            return None
        store = self.machine.store
        events: list[Message] = []
        size = 0
        with self.machine.lock:
            if watch.next < store.compacted:
                done = {"canceled": True, "compact_revision": store.compacted, "header": self.header(None)}
                return {**done, "watch_id": watch.id}
            last = min(self.seen, watch.next + REVISIONS_MAX - 1)
            revision = watch.next - 1
            for changed in store.changed(watch.next, last):
                for change in changed:
                    if watch.wants(change) and not (watch.compacted >= change.mod and store.is_gone(change)):
                        events.append(self._event(watch, change))
                        size += len(change.key) + len(change.value)
                revision = changed[0].mod if changed else revision
                if len(events) >= EVENTS_MAX or size >= BYTES_MAX:
                    break
            else:
                revision = last
        watch.next = revision + 1 if revision < self.seen else None
        if not events:
            return None
        watch.told_at = time.monotonic()
        return {"header": self.header(revision), "watch_id": watch.id, "events": events}

    def _event(self, watch: Watch, change: Version) -> Message:
        if change.version:
            event: Message = {"kv": key_value(change)}
        else:
            event = {"type": m.DELETE, "kv": {"key": change.key, "mod_revision": change.mod}}
        if watch.prev_kv:
            before = self.machine.store.before(change)
            if before is not None:
                event["prev_kv"] = key_value(before)
        return event


class WatchStream:
    """The watches of one client, which share what it is told."""

    def __init__(self, of: Watches, progress_seconds: float = PROGRESS_SECONDS) -> None:
        self.of = of
        self._progress_seconds = progress_seconds
        self.watches: dict[int, Watch] = {}
        self._answers: collections.deque[Message] = collections.deque()
        self._bell = asyncio.Event()
        self._room = asyncio.Event()
        self._next_id = 0
        self.closed = False
        of.open(self)

    def close(self) -> None:
        """It ends."""
        if self.closed:
            return
        self.closed = True
        self.of.streams.discard(self)
        for watch in self.watches.values():
            self.of.remove(watch)
        self.watches.clear()
        self.wake()
        self._room.set()

    async def room(self) -> None:
        """Wait until the client has read what it was answered, but for some of it."""
        while len(self._answers) >= ANSWERS_MAX and not self.closed:
            self._room.clear()
            await self._room.wait()

    def wake(self) -> None:
        """There is something to tell."""
        self._bell.set()

    def ask(self, request: Message) -> None:
        """What the client wants: a WatchRequest."""
        if "create_request" in request:
            self._create(request["create_request"])
        elif "cancel_request" in request:
            self._cancel(request["cancel_request"].get("watch_id", 0))
        elif "progress_request" in request:
            self._answers.append({"header": self.of.header(self.of.seen), "watch_id": -1})
        self.wake()

    def _create(self, request: Message) -> None:
        with self.of.machine.lock:
            revision = self.of.machine.store.revision
        answer: Message = {"header": self.of.header(revision), "created": True}
        key = request.get("key") or b"\0"
        end: bytes | None = request.get("range_end") or None
        end = b"" if end == b"\0" else end
        id = request.get("watch_id", 0)
        reason = ""
        if end and end <= key:
            reason = EMPTY_RANGE
        elif id and id in self.watches:
            reason = DUPLICATE_WATCH
        if reason:
            self._answers.append({**answer, "watch_id": -1, "canceled": True, "cancel_reason": reason})
            return
        if not id:
            while self._next_id in self.watches:
                self._next_id += 1
            id = self._next_id
            self._next_id += 1
        self._answers.append({**answer, "watch_id": id})
        watch = Watch(self, id, key, end, request.get("start_revision", 0) or revision + 1, request)
        self.watches[id] = watch
        self.of.add(watch)

    def _cancel(self, id: int) -> None:
        watch = self.watches.pop(id, None)
        if watch is None:
            return
        self.of.remove(watch)
        self._answers.append({"header": self.of.header(self.of.seen), "watch_id": id, "canceled": True})

    async def next(self) -> Message | None:
        """What the client is told next; None: the stream has ended."""
        while not self.closed:
            self._bell.clear()
            if self._answers:
                self._room.set()
                return self._answers.popleft()
            behind = False
            for id, watch in list(self.watches.items()):
                told = self.of.pull(watch)
                behind = watch.next is not None
                if told is None and not behind:
                    continue
                # The next one first, the next time.
                del self.watches[id]
                if told is not None and told.get("canceled"):
                    self.of.remove(watch)
                else:
                    self.watches[id] = watch
                if told is not None:
                    return told
                break
            if behind:
                await asyncio.sleep(0)  # a long history without anything for it; others have their turn
                continue
            progress = self._progress()
            if progress is not None:
                return progress
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._bell.wait(), self._patience())
        return None

    def _progress(self) -> Message | None:
        now = time.monotonic()
        for watch in self.watches.values():
            if watch.notify and now - watch.told_at >= self._progress_seconds:
                watch.told_at = now
                return {"header": self.of.header(self.of.seen), "watch_id": watch.id}
        return None

    def _patience(self) -> float | None:
        moments: list[float] = [watch.told_at for watch in self.watches.values() if watch.notify]
        return max(0.0, min(moments) + self._progress_seconds - time.monotonic()) if moments else None
