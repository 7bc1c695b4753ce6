"""What the objects of one client share: its session, its lease, and the thread that keeps the lease alive.

Commands go through one session of the node, so each is applied once. What a client holds or waits for belongs to its
lease. It is opened with the first such object; while there is one, the thread renews it four times in its time-to-live,
and without one there is neither thread nor traffic. The client counts its lease as over two thirds of the time-to-live
after it sent the last renewal that was acknowledged: before anybody else can, also while replicated time makes up for
clocks that were wrong. Whoever waits listens to the member's own state machine; nothing is asked again and again. While
somebody waits, the thread also sees to it that leases of others run out: it proposes an entry when one is due.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ConfigError, NotDone, RaftError, SessionEnded, Stopped, Unknown, UsageError
from ..node.futures import Done, Future
from ..report import report
from ..types import check_timeout
from .clock import SECOND, boot
from .commands import LEASE_BYTES, TTL_MAX_MS, TTL_MIN_MS, encode
from .errors import (
    Full,
    LeaseExpired,
    LockLost,
    Malformed,
    OutOfRange,
    RecipeError,
    SettingsDiffer,
    TokenRefused,
    VersionDiffers,
)
from .machine import Recipes
from .waits import Wait

T = TypeVar("T")

TTL = 10.0  # seconds
TIMEOUT = 10.0  # seconds for an answer of the cluster
AGAIN_NS = SECOND // 4  # before what was not answered is tried again
LIVENESS = 0.5  # seconds in which the thread sees that its node has ended
MARGIN_NS = 5_000_000  # behind the time at which a lease is due
OTHERS_NS = (50_000_000, 150_000_000)  # members that do not lead wait so much longer
TICKS_NS = 100_000_000  # between two entries that are to bring the time
CLOSING = 2.0  # seconds in which a lease is given back at the end

EXPIRED = "the client's lease is over: the cluster had no renewal in time"


class Holding:
    """Something that a client holds or waits for."""

    def __init__(self, grip: Grip, kind: str, name: str, claim: int) -> None:
        self.grip = grip
        self.kind, self.name, self.claim = kind, name, claim
        #: the fencing token; 0: it is not held
        self.token = 0
        #: ends when it is lost, or was given back
        self.lost: Future[None] = Future()
        self.on_lost: Callable[[], object] | None = None

    @property
    def key(self) -> tuple[bytes, int]:
        """As the state machine knows it."""
        return self.grip.id, self.claim

    def is_lost(self) -> bool:
        """Whether it can not be relied on any more. By the clock: it is right also at once after a pause."""
        return self.grip.lost or boot() >= self.grip.until


class Grip:
    """A lease, as its client knows it. ``ttl``: nanoseconds."""

    def __init__(self, ttl: int) -> None:
        self.id = os.urandom(LEASE_BYTES)
        self.ttl = ttl
        self.opened = self.lost = self.renewing = False
        #: when it counts as over, and when it is renewed; by the clock ``boot``
        self.until = boot() + ttl
        self.renew_at = 0
        self.holdings: dict[int, Holding] = {}

    def renewed(self, sent: int) -> None:
        """A renewal that was sent then is acknowledged."""
        if not self.opened:
            self.until = 0
            self.opened = True
        self.until = max(self.until, sent + self.ttl * 2 // 3)
        self.renew_at = max(self.renew_at, sent + self.ttl // 4)


class Hub:
    """One client's. ttl, timeout: seconds."""

    def __init__(self, node: Any, machine: Recipes | None, ttl: float, timeout: float) -> None:
        self.node = plain_node(node)
        self.machine = machine if machine is not None else machine_of(self.node)
        number = isinstance(ttl, (int, float)) and not isinstance(ttl, bool)
        if not number or not TTL_MIN_MS <= ttl * 1000 <= TTL_MAX_MS:
            raise ConfigError(
                f"ttl must be a number of seconds in {TTL_MIN_MS / 1000}..{TTL_MAX_MS // 1000}, not {ttl!r}"
            )
        check_timeout(timeout, none=False)
        self.ttl_ms = int(ttl * 1000)
        self.timeout = timeout
        self.closed = False
        self._session: Any = None
        self._guard = threading.RLock()
        self._grip: Grip | None = None
        self._claims = itertools.count(1)
        #: leases that are lost and whose holders have not been told
        self._lost: collections.deque[Grip] = collections.deque()
        #: (when, what) is to be given back
        self._back: collections.deque[tuple[int, Holding]] = collections.deque()
        #: the futures of those who wait for the state machine
        self._waiting: dict[object, Future[Any]] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._ticking = False
        self._tick_after = 0
        self._delay = random.randint(*OTHERS_NS)

    # --- commands ----------------------------------------------------------------------------------

    async def ask(self, do: str, *arguments: Any, timeout: float | None = None) -> tuple[Any, ...]:
        """Propose a command, once; what came of it. Raises NotDone, Unknown, Stopped, RecipeError, UsageError."""
        data = encode(do, *arguments)
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            session = self._open_session()
            left = max(0.0, deadline - time.monotonic())
            try:
                done: Done[Any] = await Wait(session.propose(data, timeout=left))
            except SessionEnded:
                with self._guard:
                    if self._session is session:
                        self._session = None
                if left == 0.0 or self.closed:
                    raise
                continue
            if type(done.result) is not tuple:
                raise Unknown("it is done, and what came of it is not known any more")
            return outcome(done.result)

    def _open_session(self) -> Any:
        with self._guard:
            if self.closed:
                raise UsageError("the client was closed: make another one")
            if self._session is None:
                # One that was forgotten is followed by another: a client that does nothing has no traffic.
                self._session = self.node.session(keep_alive=False)
            return self._session

    async def query(self, function: Callable[[Recipes], T], level: str, max_staleness: float | None) -> T:
        """What the function says of the state, at that level of reads. Leases that are due are over by then."""
        if self._is_due():
            with contextlib.suppress(NotDone, Unknown):
                await self.ask("tick", timeout=1.0)
        machine = self.machine
        more = {} if max_staleness is None else {"max_staleness": max_staleness}
        future: Future[T] = self.node.query(lambda _: function(machine), level=level, **more)
        return await Wait(future)

    def _is_due(self) -> bool:
        machine = self.machine
        with machine.lock:
            due = machine.leases.next_due()
            return due is not None and machine.estimate() > due + MARGIN_NS

    # --- waiting for the state machine -----------------------------------------------------------------

    async def until(self, keys: list[Any], probe: Callable[[Recipes], T | None], deadline: float | None) -> T:
        """Wait until the probe says something other than None; it is asked after each change of these objects.

        Raises TimeoutError, what the probe raises, and Stopped.
        """
        machine = self.machine
        who = object()
        future: Future[T] = Future()

        def look() -> None:
            if future.done():
                return
            try:
                value = probe(machine)
            except RaftError as error:
                fail(future, error)
                return
            if value is not None:
                settle(future, value)

        self._waiting[who] = future
        try:
            with machine.lock:
                for key in keys:
                    machine.listen(key, who, look)
                look()
            if not future.done():
                self.start()
            return await Wait(future, deadline)
        finally:
            self._waiting.pop(who, None)
            with machine.lock:
                for key in keys:
                    machine.forget(key, who)

    # --- the lease -----------------------------------------------------------------------------------

    async def hold(self, kind: str, name: str, timeout: float) -> Holding:
        """Something that is going to be held, under a lease that the cluster knows. Raises as ``ask``."""
        with self._guard:
            grip = self._grip
            stale = grip is not None and not grip.holdings and grip.until - boot() < grip.ttl // 3
            if grip is None or grip.lost or stale:
                grip = self._grip = Grip(self.ttl_ms * 1_000_000)
            holding = Holding(grip, kind, name, next(self._claims))
            grip.holdings[holding.claim] = holding
        try:
            if not grip.opened:
                sent = boot()
                await self.ask("open", grip.id, self.ttl_ms, timeout=timeout)
                self._opened(grip, sent)
        except BaseException:
            self.drop(holding)
            raise
        self.start()
        return holding

    def _opened(self, grip: Grip, sent: int) -> None:
        machine = self.machine
        grip.renewed(sent)

        def look() -> None:
            if grip.id not in machine.leases.by_id:
                machine.forget(("lease", grip.id), grip)
                self._over(grip)

        with machine.lock:
            machine.listen(("lease", grip.id), grip, look)
            look()

    def drop(self, holding: Holding) -> None:
        """It is neither held nor waited for any more, as the cluster knows."""
        holding.token = 0
        holding.grip.holdings.pop(holding.claim, None)
        settle(holding.lost, None)

    def abandon(self, holding: Holding) -> None:
        """Give it back, whatever it was, in the background: as long as the lease lasts, the thread tries."""
        holding.token = 0
        if not holding.grip.lost and holding.claim in holding.grip.holdings:
            self._back.append((0, holding))
            self.start()

    def lease_over(self, holding: Holding) -> None:
        """The cluster has said that its lease is over."""
        self.drop(holding)
        self._over(holding.grip)

    def _over(self, grip: Grip) -> None:
        """A lease is over. Any thread; the client's own tells who held something."""
        with self._guard:
            if grip.lost:
                return
            grip.lost = True
            if self._grip is grip:
                self._grip = None
        self._lost.append(grip)
        self.start()

    # --- the thread ------------------------------------------------------------------------------------

    def start(self) -> None:
        """There is something to do for the thread."""
        with self._guard:
            if self._thread is None:
                name = f"raftx-{self.node.id}-recipes"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()
        self._wake.set()

    def _work(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = self._round()
            except Exception as error:
                report(logging.ERROR, "the thread of a client of recipes goes on after:", error=error)
                pause = LIVENESS
            if pause is None:
                with self._guard:
                    if not self._wake.is_set():
                        self._thread = None
                        return
                continue
            self._wake.wait(pause)

    def _round(self) -> float | None:
        """Do what is due; seconds until there is more, None where there is nothing that could come."""
        now = boot()
        ended = self._has_ended()
        grip = self._grip
        if grip is not None and grip.opened and grip.holdings and (ended is not None or now >= grip.until):
            self._over(grip)
        self._tell_lost()
        if ended is not None:
            for future in list(self._waiting.values()):
                fail(future, ended)
            return None
        moments = [self._renew(now), self._give_back(now), self._pass_time(now)]
        known = [moment for moment in moments if moment is not None]
        if not known and not self._waiting:
            return None
        return min([LIVENESS, *[max(0.0, (moment - now) / SECOND) for moment in known]])

    def _has_ended(self) -> Stopped | None:
        if self.closed:
            return Stopped("the client was closed")
        try:
            if not self.node.wait(0):
                return None
        except BaseException as error:
            stopped = Stopped(f"the node has ended: {error}")
            stopped.__cause__ = error
            return stopped
        return Stopped("the node was closed")

    def _tell_lost(self) -> None:
        with contextlib.suppress(IndexError):  # another thread tells them, too
            while True:
                self._tell(self._lost.popleft())

    def _tell(self, grip: Grip) -> None:
        """Whoever held something under that lease is told that it is lost."""
        for holding in list(grip.holdings.values()):
            self.drop(holding)
            if holding.on_lost is not None:
                try:
                    holding.on_lost()
                except Exception as error:
                    report(logging.ERROR, "exception in on_lost of %s %r", holding.kind, holding.name, error=error)

    def _renew(self, now: int) -> int | None:
        """Renew the lease if it is time to; when to look again."""
        grip = self._grip
        if grip is None or not grip.holdings:
            return None
        if not grip.opened:
            return now + AGAIN_NS
        if now >= grip.renew_at and not grip.renewing:
            grip.renewing = True
            self._propose(
                "keep", grip.id, timeout=grip.ttl / 8 / SECOND, then=lambda ended: self._kept(grip, now, ended)
            )
        return grip.until if grip.renewing else min(grip.until, grip.renew_at)

    def _kept(self, grip: Grip, sent: int, ended: Future[Any]) -> None:
        error = ended.exception(0)
        result = None if error is not None else ended.result(0).result
        if result == ("ok",):
            grip.renewed(sent)
        elif result == ("expired",):
            self._over(grip)
        else:
            grip.renew_at = boot() + grip.ttl // 20
        grip.renewing = False
        self._wake.set()

    def _give_back(self, now: int) -> int | None:
        """What was abandoned; when to try again."""
        for _ in range(len(self._back)):
            when, holding = self._back.popleft()
            if when > now:
                self._back.append((when, holding))
            elif not holding.grip.lost:
                # Through the session: behind the claim, which must not come later.
                command = encode("leave", holding.kind, holding.name, *holding.key)
                try:
                    future = self._open_session().propose(command, timeout=1.0)
                except RaftError:
                    continue  # the client was closed, or the node
                future.add_done_callback(functools.partial(self._gave_back, holding))
        return min([when for when, _ in self._back], default=None)

    def _gave_back(self, holding: Holding, ended: Future[Any]) -> None:
        error = ended.exception(0)
        if error is None:
            self.drop(holding)
        else:
            if isinstance(error, SessionEnded):
                self._session = None
            self._back.append((boot() + AGAIN_NS, holding))
        self._wake.set()

    def _pass_time(self, now: int) -> int | None:
        """While somebody waits, bring the time at which a lease of others is over; when to look again."""
        if not self._waiting:
            return None
        machine = self.machine
        with machine.lock:
            due = machine.leases.next_due()
            estimate = machine.estimate()
            age = now - machine.applied_at
        if due is None:
            return None
        # Where no time is known, an entry may bring one.
        left = due - estimate if estimate else -age
        left += MARGIN_NS + (0 if self.node.is_leader else self._delay)
        if self._ticking:
            return None
        if left > 0 or now < self._tick_after:
            return max(now + left, self._tick_after)
        self._ticking = True
        self._tick_after = now + TICKS_NS
        self._propose("tick", timeout=1.0, then=self._ticked)
        return None

    def _ticked(self, _: Future[Any]) -> None:
        self._ticking = False
        self._wake.set()

    def _propose(self, do: str, *arguments: Any, timeout: float, then: Callable[[Future[Any]], object]) -> None:
        """Propose what may be repeated, without a session, and do not wait."""
        try:
            future: Future[Any] = self.node.propose(encode(do, *arguments), timeout=timeout)
        except Stopped as error:
            future = Future()
            future.set_exception(error)
        future.add_done_callback(then)

    # --- the end -------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Give the lease and the session back, and end the thread. Nothing of the client goes on afterwards."""
        grip, session = self._grip, self._session
        if self.closed:
            return
        with contextlib.suppress(RaftError):
            if grip is not None and grip.opened:
                await self.ask("end", grip.id, timeout=CLOSING)
        self.closed = True
        with contextlib.suppress(RaftError):
            if session is not None:
                session.close(timeout=CLOSING)
        if grip is not None:
            self._over(grip)
            self._tell_lost()
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSING)


def settle(future: Future[T], value: T) -> None:
    """It ends with that, unless it has ended."""
    with contextlib.suppress(UsageError):
        future.set_result(value)


def fail(future: Future[Any], error: BaseException) -> None:
    """The same with an exception."""
    with contextlib.suppress(UsageError):
        future.set_exception(error)


def outcome(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """A result that is no refusal. Raises RecipeError for one that is."""
    code, rest = result[0], result[1:]
    if code == "version":
        key, found = rest
        what = f"key {key!r} has version {found} (0: it is not there)" if key else f"the counter is {found}"
        raise VersionDiffers(f"{what}: read it again, and decide anew", found)
    if code == "differs":
        raise SettingsDiffer(f"it is in use with {rest[0]}: give all its clients the same number, or another name")
    if code == "other":
        raise SettingsDiffer(f"this request has taken {rest[0]} before: ask for as many with it, or give another id")
    if code == "full":
        raise Full(f"there are {rest[0]} already: wait, or let some go")
    if code == "range":
        raise OutOfRange(f"a counter is in -2^63..2^63-1, and this one is {rest[0]}")
    if code == "malformed":
        raise Malformed(f"the members refuse the command: {rest[0]}")
    texts: dict[str, tuple[type[RecipeError], str]] = {
        "expired": (LeaseExpired, EXPIRED),
        "fenced": (TokenRefused, "the fencing token is not in force: what it was given for was released, or lost"),
        "lost": (LockLost, "it was lost before: somebody else may have it"),
    }
    if code in texts:
        kind, text = texts[code]
        raise kind(text)
    return result


def plain_node(node: Any) -> Any:
    """The Node of what was given. Raises UsageError."""
    for each in (node, getattr(node, "node", None), getattr(node, "_node", None)):
        if hasattr(each, "_outside"):
            return each
    raise UsageError(f"node must be a raftx.Node, not {node!r}")


def machine_of(node: Any) -> Recipes:
    """Its state machine. Raises UsageError where that is no Recipes."""
    machine = node._outside.state_machine
    if not isinstance(machine, Recipes):
        raise UsageError(
            f"the state machine of the node must be a raftx.recipes.Recipes, not {type(machine).__name__}: give the "
            "node Recipes(), or Recipes(your_machine)"
        )
    return machine
