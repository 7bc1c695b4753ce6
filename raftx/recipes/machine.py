"""Recipes: the state machine of all objects, by name, beside the user's own state machine.

Commands of recipes are applied here, everything else is the user's. What comes of a command depends on the entries
alone: times are those of entries. Nothing that a command holds makes ``apply`` raise; a refusal is a result. What
clients wait for they are told here (``listen``): after each entry, on the apply thread, by calls that must be quick.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import ApplyError, ConfigError
from ..node.machines import said_by
from ..report import report
from . import snapshots
from .clock import boot
from .commands import (
    ANSWER,
    BARRIER,
    COUNTER,
    DICT,
    ELECTION,
    EVERYBODY,
    LIMITER,
    LINES,
    LOCK,
    PARTY,
    QUEUE,
    RWLOCK,
    decode,
    is_ours,
)
from .leases import Lease, Leases
from .lines import Barrier, Key, Line
from .stores import Answer, Answers, Counter, Dict, Limiter, Queue

if TYPE_CHECKING:
    from .._native.memory import Entry

OBJECTS_MAX = 100_000  # of all kinds but limiters, which go by themselves once they are full again
LIMITERS_MAX = 1_000_000
ANSWERS_MAX = 1_000_000  # to requests that may come again
LEASES_MAX = 100_000
HELD_MAX = 10_000  # by one lease, or waited for
OWN_VERSION_MAX = 2**32 - 1
SWEPT = 2  # limiters, and answers, that are looked at with each command for one

Result = tuple[Any, ...]
KINDS: dict[str, Any] = {
    **dict.fromkeys(LINES, Line),
    BARRIER: Barrier,
    QUEUE: Queue,
    DICT: Dict,
    COUNTER: Counter,
}

#: where it is not the clients' to say
LIMITS = {LOCK: 1, ELECTION: 1, RWLOCK: EVERYBODY, PARTY: EVERYBODY}


class Recipes:
    """A state machine for ``raftx.Node``: ``Recipes()``, or ``Recipes(own)`` beside one of your own.

    Your own is given every entry that is no command of recipes, as if it were alone: one after the other, or in batches
    if it has ``apply_batch``. Snapshots hold both; if it has no ``snapshot``, there are none. In its ``apply`` it may
    ask ``check`` whether a fencing token is in force. Raises ConfigError for one that keeps its state itself
    (``applied_index``): after a start it is given only what it lacks, and the state of recipes is in the rest.
    """

    def __init__(self, machine: Any = None) -> None:
        self.machine = machine
        self.check_own()
        #: held while the state changes, and by whoever reads it on another thread
        self.lock = threading.RLock()
        #: by which clients wait: what to call after a change of an object, by (kind, name) or ("lease", id)
        self._listeners: dict[Any, dict[Any, Callable[[], None]]] = {}
        self._touched: dict[Any, None] = {}
        #: nanoseconds of this member's own clock when it was given the newest entry. No part of the state
        self.applied_at = 0
        self.reset()
        if machine is None or callable(getattr(machine, "snapshot", None)):
            self.snapshot = self._snapshot
            self.restore = self._restore
        if callable(getattr(machine, "apply_batch", None)):
            self.apply_batch = self._apply_batch

    def check_own(self) -> None:
        """Raise ConfigError for a state machine that cannot stand beside recipes."""
        own = self.machine
        if isinstance(own, (type, Recipes)):
            raise ConfigError(f"machine must be a state machine of your own, an object, or None, not {own!r}")
        if own is not None and not any(callable(getattr(own, name, None)) for name in ("apply", "apply_batch")):
            raise ConfigError(f"machine must have a method apply(entry), not {own!r}")
        if inspect.getattr_static(own, "applied_index", None) is not None or hasattr(own, "applied_index"):
            raise ConfigError(
                "machine has applied_index: it would be given only the entries that it lacks, and the state of recipes "
                "is in the others. Let it have snapshot() and restore() instead"
            )
        if own is not None and (hasattr(own, "snapshot"), hasattr(own, "restore")) in ((True, False), (False, True)):
            raise ConfigError("machine must have snapshot() and restore(), or neither")
        version = said_by(own, "version", ConfigError)
        if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version <= OWN_VERSION_MAX:
            raise ConfigError(f"machine.version must be an integer in 0..{OWN_VERSION_MAX}, not {version!r}")

    def reset(self) -> None:
        """Nothing is known."""
        self.leases = Leases()
        #: fencing tokens and numbers of items that were given
        self.counted = 0
        #: by kind and name
        self.objects: dict[tuple[str, str], Any] = {}
        #: limiters, by name: the one that was used longest ago first
        self.limiters: dict[str, Limiter] = {}
        self.answers = Answers()
        #: by token that is in force: whose it is
        self.fences: dict[int, tuple[str, str]] = {}

    @property
    def version(self) -> int:
        """Of the format of snapshots: that of recipes, and that of the user's own state machine."""
        own: int = said_by(self.machine, "version", ConfigError)
        return snapshots.FORMAT << 32 | own

    # --- fencing -----------------------------------------------------------------------------------

    def holds(self, name: str, token: int, kind: str = LOCK) -> bool:
        """Whether that fencing token of the object of that name is in force: for ``apply`` of your own machine.

        kind: "lock", "rwlock", "semaphore", "election" or "queue" (the token of an item that is being worked on).
        """
        return self.fences.get(token) == (kind, name)

    def check(self, name: str, token: int, kind: str = LOCK) -> None:
        """Raise ``raftx.ApplyError`` unless ``holds``: in ``apply`` of your own machine, before it changes anything."""
        if not self.holds(name, token, kind):
            raise ApplyError(f"token {token!r} of {kind} {name!r} is not in force: it was released, or lost")

    # --- entries -----------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> Any:
        """Take a committed entry."""
        if not is_ours(entry.data) and self.machine is not None:
            self._pass(entry)
            if callable(getattr(self.machine, "apply", None)):
                return self.machine.apply(entry)
            (result,) = self.machine.apply_batch([entry])
            if isinstance(result, ApplyError):
                raise result
            return result
        return self._take(entry)

    def _apply_batch(self, entries: list[Entry]) -> list[Any]:
        """Several: those of the user's own machine in runs in which nothing happens here."""
        results: list[Any] = []
        run: list[Entry] = []

        def flush() -> None:
            if run:
                made = self.machine.apply_batch(list(run))
                if not isinstance(made, list) or len(made) != len(run):
                    what = f"a list of {len(made)}" if isinstance(made, list) else repr(made)
                    raise TypeError(f"apply_batch() must return a list of {len(run)} results, not {what}")
                results.extend(made)
                run.clear()

        for entry in entries:
            if is_ours(entry.data):
                flush()
                results.append(self._take(entry))
                continue
            if self.leases.changes_at(entry.time):
                flush()
            self._pass(entry)
            run.append(entry)
        flush()
        return results

    def _pass(self, entry: Entry) -> None:
        """The time of an entry that is not ours."""
        with self.lock:
            self._pass_on(entry)
        self._tell()

    def _take(self, entry: Entry) -> Result:
        """A command."""
        with self.lock:
            self._pass_on(entry)
            command = decode(entry.data)
            result = ("malformed", command) if isinstance(command, str) else self._do(*command)
        self._tell()
        return result

    def _pass_on(self, entry: Entry) -> None:
        """Time passes; leases run out, one after the other."""
        self.applied_at = boot()
        self.leases.pass_on(entry.time, entry.term)
        while (expired := self.leases.expired()) is not None:
            self._end(*expired)

    def _end(self, id: bytes, lease: Lease) -> None:
        """A lease is over: what it has goes to others."""
        self._touched["lease", id] = None
        places = {}
        # In an order that a restored member has, too: it decides who gets which token.
        for kind, name, claim in sorted(lease.held):
            there = self.objects.get((kind, name))
            if there is not None:
                self.fences.pop(there.drop((id, claim)), None)
                places[kind, name] = there
        for place, there in places.items():
            self._settle(place, there)

    def _settle(self, place: tuple[str, str], there: Any) -> None:
        """Something has changed in an object: who waits may get something now; one that is not used goes."""
        self._touched[place] = None
        for key in there.settle() or ():
            self.leases.let_go(place, key)
        if there.unused():
            self.objects.pop(place, None)

    # --- commands ----------------------------------------------------------------------------------

    def _do(self, do: str, *arguments: Any) -> Result:
        method: Callable[..., Result] = getattr(self, f"_do_{do}")
        return method(*arguments)

    def _object(self, kind: str, name: str) -> Any:
        """An object, which may be a new one; None where there are too many."""
        there = self.objects.get((kind, name))
        if there is None and len(self.objects) < OBJECTS_MAX:
            place = kind, name

            def give(key: Key) -> int:
                token = self._count()
                self.fences[token] = place
                self.leases.keep(place, key)
                return token

            there = self.objects[place] = KINDS[kind](give, self._count)
        return there

    def _count(self) -> int:
        self.counted += 1
        return self.counted

    def _do_tick(self) -> Result:
        return ("ok",)

    def _do_open(self, id: bytes, ttl_ms: int) -> Result:
        if id not in self.leases.by_id and len(self.leases.by_id) >= LEASES_MAX:
            return "full", LEASES_MAX
        self.leases.open(id, ttl_ms * 1_000_000)
        return ("ok",)

    def _do_keep(self, id: bytes) -> Result:
        lease = self.leases.by_id.get(id)
        if lease is None:
            return ("expired",)
        self.leases.renew(id, lease)
        return ("ok",)

    def _do_end(self, id: bytes) -> Result:
        lease = self.leases.drop(id)
        if lease is None:
            return ("expired",)
        self._end(id, lease)
        return ("ok",)

    def _with_lease(self, kind: str, name: str, key: Key, act: Callable[[Any], Result]) -> Result:
        """What somebody with a lease does, and what follows."""
        lease = self.leases.by_id.get(key[0])
        if lease is None:
            return ("expired",)
        mine = (kind, name, key[1])
        if mine not in lease.held and len(lease.held) >= HELD_MAX:
            return "full", HELD_MAX
        there = self._object(kind, name)
        if there is None:
            return "full", OBJECTS_MAX
        result = act(there)
        if result[0] == "waits":
            self.leases.keep((kind, name), key)
        self._settle((kind, name), there)
        return result

    def _do_claim(
        self, kind: str, name: str, id: bytes, claim: int, weight: int, limit: int, wait: bool, data: bytes
    ) -> Result:
        key = id, claim
        if limit != LIMITS.get(kind, limit) or weight not in (1, limit):
            return "malformed", "a claim of this kind has another limit, or a part of it"
        return self._with_lease(kind, name, key, lambda line: line.claim(key, weight, limit, wait, data))

    def _do_pull(self, name: str, id: bytes, claim: int, wait: bool) -> Result:
        return self._with_lease(QUEUE, name, (id, claim), lambda queue: queue.pull((id, claim), wait))

    def _do_arrive(self, name: str, id: bytes, claim: int, parties: int, double: bool) -> Result:
        key = id, claim
        return self._with_lease(BARRIER, name, key, lambda barrier: barrier.arrive(key, parties, double))

    def _do_depart(self, name: str, id: bytes, claim: int) -> Result:
        return self._with_lease(BARRIER, name, (id, claim), lambda barrier: barrier.depart((id, claim)))

    def _do_leave(self, kind: str, name: str, id: bytes, claim: int) -> Result:
        there = self.objects.get((kind, name))
        token = -1 if there is None else there.drop((id, claim))
        if token < 0:
            return ("gone",)
        self.fences.pop(token, None)
        self.leases.let_go((kind, name), (id, claim))
        self._settle((kind, name), there)
        return ("ok",)

    def _do_cancel(self, kind: str, name: str, id: bytes, claim: int) -> Result:
        there = self.objects.get((kind, name))
        token = 0 if there is None else there.holds((id, claim))
        if token:
            return "held", token
        return self._do_leave(kind, name, id, claim)

    def _do_ack(self, name: str, id: bytes, claim: int, token: int) -> Result:
        queue = self.objects.get((QUEUE, name))
        if queue is None:
            return ("lost",)
        result: Result = queue.ack((id, claim), token)
        if result[0] == "ok":
            self.fences.pop(token, None)
            self.leases.let_go((QUEUE, name), (id, claim))
            self._settle((QUEUE, name), queue)
        return result

    def _store(self, kind: str, name: str, token: int | None, act: Callable[[Any], Result]) -> Result:
        """What somebody does to what needs no lease, perhaps with a fencing token."""
        if token is not None and token not in self.fences:
            return ("fenced",)
        there = self._object(kind, name)
        if there is None:
            return "full", OBJECTS_MAX
        result = act(there)
        if result[0] == "ok":
            self._touched[kind, name] = None
        if there.unused():
            self.objects.pop((kind, name), None)
        return result

    def _do_update(
        self, name: str, changes: tuple[tuple[str, bytes | None, int | None], ...], token: int | None
    ) -> Result:
        return self._store(DICT, name, token, lambda values: values.update(changes))

    def _do_clear(self, name: str, token: int | None) -> Result:
        return self._store(DICT, name, token, lambda values: values.clear())

    def _do_add(self, name: str, delta: int, token: int | None) -> Result:
        return self._store(COUNTER, name, token, lambda counter: counter.add(delta))

    def _do_swap(self, name: str, expected: int | None, value: int, token: int | None) -> Result:
        return self._store(COUNTER, name, token, lambda counter: counter.swap(expected, value))

    def _do_push(self, name: str, value: bytes, limit: int, token: int | None) -> Result:
        def act(queue: Queue) -> Result:
            result = queue.push(value, limit)
            queue.settle()
            return result

        return self._store(QUEUE, name, token, act)

    def _do_take(self, name: str, period: int, burst: int, count: int, patience: int) -> Result:
        now = self.leases.now
        for oldest in list(itertools.islice(self.limiters, SWEPT)):
            if self.limiters[oldest].full_at <= now:
                del self.limiters[oldest]
        limiter = self.limiters.pop(name, None)
        if limiter is None:
            if len(self.limiters) >= LIMITERS_MAX:
                return "full", LIMITERS_MAX
            limiter = Limiter()
        result = limiter.take_tokens(now, period, burst, count, patience)
        if limiter.full_at > now:
            self.limiters[name] = limiter
        return result

    def _do_once(self, name: str, period: int, burst: int, count: int, patience: int, request: str) -> Result:
        now, key = self.leases.now, (name, request)
        self.answers.forget(now, SWEPT)
        known = self.answers.get(key, now)
        if known is not None:
            if known.taken != count:
                return "other", known.taken
            delay = max(0, known.begins - now)
            return ("ok" if delay <= patience else "later"), delay, known.left
        if len(self.answers.known) >= ANSWERS_MAX:
            return "full", ANSWERS_MAX
        result = self._do_take(name, period, burst, count, patience)
        # Of what was refused nothing was taken: when it comes again, it is decided anew.
        if result[0] == "ok":
            self.answers.keep(key, Answer(count, result[2], now + result[1]))
        return result

    # --- who waits ---------------------------------------------------------------------------------

    def listen(self, key: Any, who: Any, call: Callable[[], None]) -> None:
        """Call that after each change of an object, until ``forget``. Any thread, with the lock."""
        self._listeners.setdefault(key, {})[who] = call

    def forget(self, key: Any, who: Any) -> None:
        """Not any more. Any thread, with the lock."""
        those = self._listeners.get(key)
        if those is not None:
            those.pop(who, None)
            if not those:
                del self._listeners[key]

    def _tell(self) -> None:
        """Call those who listen to what has changed."""
        if not self._touched:
            return
        with self.lock:
            for key in self._touched:
                for call in list(self._listeners.get(key, {}).values()):
                    try:
                        call()
                    except Exception as error:  # it is a client's matter, and no other member has it
                        report(logging.ERROR, "exception in what a client of recipes waits for:", error=error)
            self._touched.clear()

    # --- snapshots ---------------------------------------------------------------------------------

    def _snapshot(self) -> snapshots.State:
        own = None if self.machine is None else self.machine.snapshot()
        return snapshots.State(self._records(), own, getattr(self.machine, "version", 0))

    def _records(self) -> list[tuple[Any, ...]]:
        """All that is known, in records that nothing changes any more."""
        with self.lock:
            records: list[tuple[Any, ...]] = [("time", self.leases.now, self.leases.term, self.counted)]
            records += [("lease", *each) for each in self.leases.records()]
            for (kind, name), there in self.objects.items():
                records += [(kind, name, *each) for each in there.records()]
            records += [(LIMITER, name, limiter.full_at) for name, limiter in self.limiters.items()]
            return records + [(ANSWER, *each) for each in self.answers.records()]

    def _restore(self, reader: Any) -> None:
        records, rest = snapshots.read(reader, getattr(self.machine, "version", 0))
        with self.lock:
            self.reset()
            for record in records:
                self._recall(*record)
            for place, there in self.objects.items():
                self._recall_held(place, there)
            # Whatever anybody waits for may have happened.
            self._touched = dict.fromkeys(self._listeners)
            self.applied_at = boot()
        if self.machine is not None:
            self.machine.restore(rest)
        self._tell()

    def _recall(self, what: str, *rest: Any) -> None:
        if what == "time":
            self.leases.now, self.leases.term, self.counted = rest
        elif what == "lease":
            self.leases.take(*rest)
        elif what == LIMITER:
            self.limiters[rest[0]] = limiter = Limiter()
            limiter.full_at = rest[1]
        elif what == ANSWER:
            self.answers.keep((rest[0], rest[1]), Answer(*rest[2:]))
        else:
            self._object(what, rest[0]).take(*rest[1:])

    def _recall_held(self, place: tuple[str, str], there: Any) -> None:
        if isinstance(there, (Line, Barrier, Queue)):
            for key in there.keys():  # noqa: SIM118 - no dict
                self.leases.keep(place, key)
            for _, token in there.tokens():
                self.fences[token] = place

    def digest(self) -> bytes:
        """What tells the state: the same on every member that was given the same entries. For tests."""
        digest = hashlib.sha256()
        for piece in snapshots.encoded(self._records()):
            digest.update(piece)
        own = getattr(self.machine, "digest", None)
        digest.update(repr(own()).encode() if own is not None else b"")
        return digest.digest()

    # --- for clients: with the lock, or on the apply thread --------------------------------------------

    def find(self, kind: str, name: str) -> Any:
        """An object; one that is not there is as a new one."""
        there = self.objects.get((kind, name)) if kind != LIMITER else self.limiters.get(name)
        if there is not None:
            return there
        return Limiter() if kind == LIMITER else KINDS[kind](lambda _: 0, lambda: 0)

    def estimate(self) -> int:
        """What the time of an entry might be now, by this member's own clock; 0: that is not known."""
        now = self.leases.now
        return now + boot() - self.applied_at if now else 0
