"""Changes of membership that this node was asked for: each is a goal, and is worked at until it is reached.

A goal says, of any membership, which single change is next, or that nothing is left to be done. One change is asked
for at a time, of whoever leads, again and again until an entry shows what has come of it, or until the deadline. That
is safe because a leader takes a change only from who has applied every change before (changes.py). On the watch thread,
so a hanging ``apply`` holds up no deadline; ``ask``, ``ended`` and ``refused`` may be called from others.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .._native.memory import Entry
from .._native.threads import Clock
from ..errors import ConfigError, NotDone
from ..storage.membership import Context
from ..transport.address import parse
from ..types import (
    ADD_LEARNER,
    ADD_VOTER,
    ENTRY_CONF_CHANGE_V2,
    MEMBERS_MAX,
    REMOVE,
    UPDATE,
    ConfChange,
    ConfChangeSingle,
    ConfState,
)
from .channels import ApplyGauges, CommandQueue, Gauges
from .futures import Future
from .members import Members, Membership
from .outcomes import Outcomes
from .rows import REFUSALS, REFUSED_ADDRESS, REFUSED_BEHIND, REFUSED_QUORUM

AGAIN_NS = 300_000_000  # without an answer, a change is asked for again
PAUSE_NS = 20_000_000  # after a refusal; twice as long after each further one,
PAUSE_MAX_NS = 200_000_000  # up to this
HAND_OVER_NS = 2_000_000_000  # so long another member is asked to lead before a leader is removed in spite of that
MISFITS = 2  # so often a change is asked for again that has changed nothing
OPEN_MAX = 256  # changes that may be open on one node
GONE = -1  # no entry has added it: it is no member


@dataclass(frozen=True)
class Step:
    """One change, and the addresses that it sets."""

    parts: tuple[tuple[int, int], ...]
    addresses: Mapping[int, str]
    #: a leader that this takes the vote from is asked to hand over first
    leaver: int = 0
    #: who the members are, where no entry has said so yet
    founders: ConfState | None = None

    def record(self) -> bytes:
        """As it is proposed."""
        context = Context(self.addresses, self.founders).encode()
        change = ConfChange(tuple([ConfChangeSingle(kind, id) for kind, id in self.parts]), context=context)
        return Entry(0, 0, change.encode(), ENTRY_CONF_CHANGE_V2).encode()


@dataclass(frozen=True)
class ChangeProgress:
    """How far a change of membership has come: ``progress`` of its future."""

    #: what is waited for, in words
    waits_for: str
    #: entries that a learner has acknowledged, and the last one of the leader's log, while it catches up; else 0
    match: int = 0
    last: int = 0


class Goal:
    """What the membership is to be. ``next``: the change that brings it nearer; None: nothing is left to be done."""

    def __init__(
        self,
        text: str,
        next: Callable[[Membership], Step | None],
        leaver: int = 0,
        stay: tuple[int, ...] = (),
        go: tuple[int, ...] = (),
    ) -> None:
        self.text = text
        self.next = next
        #: the goal is that this member is none
        self.leaver = leaver
        #: who is to be a member, and who is to be none
        self.stay, self.go = stay, go


class Operation:
    """A goal that is worked at."""

    def __init__(self, number: int, goal: Goal, future: Future[Any], deadline: int) -> None:
        self.number = number
        self.goal = goal
        self.future = future
        self.deadline = deadline
        #: the change that is asked for: its number, how far the log was applied when it was made (-1: there was
        #: none yet), and itself; 0: none
        self.change = 0
        self.applied = -1
        self.record = b""
        self.step: Step | None = None
        #: how often a change was sent that was neither refused nor overtaken since: more than 0, and it may be done
        self.unanswered = 0
        #: an entry was applied that may be a change of this one; and whether, as far as is seen here, the goal is
        #: reached, or may be once a joint configuration is left
        self.may_be_applied = self.seems_done = False
        #: when to look again, and the pause after the next refusal
        self.due = 0
        self.pause = PAUSE_NS
        #: how often its change was applied and has changed nothing
        self.misfits = 0
        #: why it is not done yet
        self.reason = ""
        self.hand_over_until = 0
        #: a read that tells whether what is known here is the newest; and the membership that was seen after it
        self.read: Future[Any] | None = None
        self.read_of = -1
        #: whether it is worked at: what is seen here from then on is of after the request
        self.begun = False
        #: who was a member since: the entry that has added each; GONE for one that is none any more
        self.held: dict[int, int] = {}
        #: a membership in which the goal was reached; and why it is not reached any more, or not known to be
        self.reached: Membership | None = None
        self.lost = self.unsure = ""

    def begin(self, present: Membership) -> None:
        """This membership is of after the request."""
        self.begun = True
        self.see(present, False)

    def see(self, present: Membership, jumped: bool) -> None:
        """Each membership since then, in order. jumped: it came with a snapshot, so some may be missing before it.

        A member that has left is not the one that comes back with its id: what was asked for it ends here. Or an
        addition that waits for its learner would undo a removal that was asked for after it, and is done.
        """
        if self.reached is not None or self.lost or self.unsure:
            return
        ids = present.ids()
        for id in (*self.goal.stay, *self.goal.go):
            was, now = self.held.get(id), present.joined.get(id, 0) if id in ids else GONE
            if was is None and now == GONE:
                if jumped and self.unanswered and id in self.goal.stay:
                    self.unsure = f"a snapshot has overtaken this member: whether member {id} was added is not known"
            elif was in (None, now) or (now == GONE and id in self.goal.go):
                self.held[id] = now
            elif self.goal.leaver == id:
                self.reached = present  # the one that was to go has gone
            elif jumped and self.unanswered:
                self.unsure = (
                    f"a snapshot has overtaken this member: member {id} was removed, perhaps after it was done"
                )
            else:
                what = "removed" if now == GONE else "removed, and added again,"
                self.lost = f"member {id} was {what} meanwhile: ask again if that was not meant"
        if self.lost or self.unsure or present.is_joint() or not {*self.goal.stay} <= {*ids}:
            return
        with contextlib.suppress(NotDone):
            if self.goal.next(present) is None:
                self.reached = present


class Changer:
    """Those of one node. wake: lets the watch thread have a round. read: as Node.read."""

    def __init__(
        self,
        id: int,
        members: Members,
        gauges: Gauges,
        apply_gauges: ApplyGauges,
        commands: CommandQueue,
        outcomes: Outcomes,
        clock: Clock,
        wake: Callable[[], object],
        applied: int,
        read: Callable[[], Future[Any]],
    ) -> None:
        self.id = id
        self.members = members
        self.gauges = gauges
        self.apply_gauges = apply_gauges
        self.commands = commands
        self.outcomes = outcomes
        self.clock = clock
        self.wake = wake
        #: what was applied when this life began
        self.begun_at = applied
        self.read = read
        self.numbers = itertools.count(1)
        #: in the order in which they were asked for; the first one is worked at. Any thread adds, this one removes
        self.open: collections.deque[Operation] = collections.deque()
        #: who the members are, as far as their changes were looked at here
        self.present = members.now
        #: entries of changes that were applied, with the membership then, and (number, reason, match, last) of what
        #: was refused
        self.applied: collections.deque[tuple[int, Membership]] = collections.deque()
        self.refusals: collections.deque[tuple[int, int, int, int]] = collections.deque()

    # --- other threads -------------------------------------------------------------------------------

    def ask(self, number: int, goal: Goal, future: Future[Any], timeout_ns: int) -> bool:
        """Work at this goal, behind those that are open. False when too many are. Any thread."""
        if len(self.open) >= OPEN_MAX:
            return False
        self.open.append(Operation(number, goal, future, self.clock.py_now() + timeout_ns))
        self.wake()
        return True

    def ended(self, index: int) -> None:
        """An entry with a change is applied. The apply thread."""
        self.applied.append((index, self.members.now))
        self.wake()

    def refused(self, number: int, reason: int, match: int, last: int) -> None:
        """A change was not taken. The apply thread."""
        self.refusals.append((number, reason, match, last))
        self.wake()

    def judge(self, record: bytes, sender: int, number: int, applied: int, life: int) -> None:
        """A member asks this one, which leads, for a change: whether its addresses can be some. The apply thread.

        Without room for the answer the member asks again.
        """
        self.commands.judged(record, sender, number, applied, life, self.members.directory.fits(record))

    def end(self) -> None:
        """This member was removed: who asked it for just that is to hear that it is done, before the node ends."""
        present = self.members.now
        if not present.ids() or self.id in present.ids():
            return  # it was told by others, and knows nothing itself
        for op in list(self.open):
            if op.goal.leaver == self.id:
                self.outcomes.settle(op.number, present)

    # --- the watch thread ----------------------------------------------------------------------------

    def next_due(self) -> int | None:
        """When there is something to do next; None: not before something arrives."""
        present = list(self.open)  # others may add meanwhile
        times = [each.deadline for each in present]
        if present:
            times.append(present[0].due)
        return min(times) if times else None

    def work(self) -> None:
        """Take what has arrived, end what is reached or overdue, and ask for the next change."""
        # In this order: the membership is of that entry, or a later one.
        applied = max(self.apply_gauges.done, self.begun_at)
        while self.applied:
            self._take_applied(*self.applied.popleft())
        for each in [op for op in list(self.open) if self._is_over(op)]:
            self.open.remove(each)
        while self.refusals:
            self._take_refusal(*self.refusals.popleft())
        now = self.clock.py_now()
        for each in [op for op in list(self.open) if now >= op.deadline]:
            self._overdue(each)
        for each in [op for op in list(self.open) if self._is_given_up(op)]:
            self._drop(each)
        while self.open:
            op = self.open[0]
            if self._is_given_up(op):
                self._drop(op)
            elif now < op.due or not self._work_at(op, now, applied):
                break
        self.outcomes.wake_threads()

    def _is_given_up(self, op: Operation) -> bool:
        """Whether its owner waits no more, or the node has ended."""
        return op.future.done() or not self.outcomes.is_open(op.number)

    def _drop(self, op: Operation) -> None:
        self.open.remove(op)
        self.outcomes.drop(op.number)

    def _is_over(self, op: Operation) -> bool:
        """Whether what was seen of the membership ends it, and has."""
        if op.reached is not None:
            self.outcomes.settle(op.number, op.reached)
        elif op.lost:
            self.outcomes.reject(op.number, f"{op.goal.text}: {op.lost}")
        elif op.unsure:
            self.outcomes.end_unknown(op.number, f"{op.goal.text}: {op.unsure}", None)
        else:
            return False
        return True

    def _take_applied(self, index: int, present: Membership) -> None:
        """Only one change can follow those that its asker had applied: if it is another one, ours can not any more."""
        self.present = present
        for op in list(self.open):
            if op.begun and present.index == index:
                op.see(present, present.term == 0)  # a snapshot does not say the term of the last change before it
            if 0 <= op.applied < index:
                if op.change and present.index < index:
                    op.misfits += 1
                op.may_be_applied = op.may_be_applied or op.unanswered > 0
                op.change = op.unanswered = op.due = 0
                op.pause = PAUSE_NS

    def _take_refusal(self, number: int, reason: int, match: int, last: int) -> None:
        if not self.open or self.open[0].change != number:
            return
        op = self.open[0]
        # The goal is looked at anew: what is asked for next is of a later entry, perhaps.
        op.change, op.unanswered = 0, max(0, op.unanswered - 1)
        text = REFUSALS[reason] if reason < len(REFUSALS) else REFUSALS[0]
        if reason == REFUSED_BEHIND:
            text = f"{text} ({match} of {last} entries)"
            if match == 0:
                text = f"{text}: nothing has come of it yet; look whether it runs, where the membership says"
        op.reason = text
        if reason == REFUSED_ADDRESS and not op.unanswered:
            # It will say the same again; and no copy of the change is on its way that another leader might take.
            self.open.popleft()
            self.outcomes.reject(op.number, f"{op.goal.text}: {text}: correct it, and ask again")
            return
        self._tell(
            op, ChangeProgress(op.reason, match, last) if reason == REFUSED_BEHIND else ChangeProgress(op.reason)
        )
        op.due = self.clock.py_now() + op.pause
        op.pause = min(2 * op.pause, PAUSE_MAX_NS)
        if reason in (REFUSED_BEHIND, REFUSED_QUORUM):
            # That may take long: others go first, and one of them may be the cure.
            self.open.rotate(-1)

    def _overdue(self, op: Operation) -> None:
        self.open.remove(op)
        reason = f"{op.goal.text}: {op.reason or 'it waited for another change that was asked for here'}"
        if op.unanswered or (op.may_be_applied and op.seems_done):
            self.outcomes.end_unknown(op.number, reason, None)
        else:
            self.outcomes.reject(op.number, reason)

    def _work_at(self, op: Operation, now: int, applied: int) -> bool:
        """The first one: whether it has ended. applied: up to there, at least, everything is in the membership."""
        present = self.present
        if op.change and op.step is not None:
            return self._send(op, now)
        if not present.ids():
            op.due, op.reason = now + PAUSE_MAX_NS, "this member was not added yet, and knows no other one"
            return False
        if not op.begun:
            # What is seen here may be old: it counts once it is known to be what everybody may see.
            if not self._is_fresh(op, present, now):
                return False
            op.begin(present)
        if present.is_joint():
            op.due, op.reason, op.seems_done = now + PAUSE_MAX_NS, "a joint configuration is being left", True
            return False
        reason = ""
        step = None
        try:
            step = op.goal.next(present)
            self._check_places(present, step)
        except NotDone as error:
            step, reason = None, error.reason
        if step is not None and op.misfits > MISFITS:
            step, reason = None, "the change does not fit the membership"
        op.seems_done = step is None and not reason
        if step is None:
            self.open.popleft()
            if reason:
                self.outcomes.reject(op.number, f"{op.goal.text}: {reason}")
            else:
                self.outcomes.settle(op.number, present)
            return True
        if not present.founded:
            # It changes nothing but this: nobody's address, and no vote.
            step = Step(((UPDATE, self.id),), present.addresses, founders=present.conf_state)
        if step.leaver and step.leaver == self.gauges.leader and self._hands_over(op, step.leaver, present, now):
            return False
        op.change = next(self.numbers)
        op.applied, op.step = applied, step
        op.record = step.record()
        return self._send(op, now)

    def _check_places(self, present: Membership, step: Step | None) -> None:
        """Raise NotDone for an address that another member has: one of the two would hear what is meant for both."""
        if step is None:
            return
        known = {**self.members.directory.told, **present.addresses, **step.addresses}
        taken = {place(known[id]): id for id in present.ids() if known.get(id) and id not in step.addresses}
        for id, url in step.addresses.items():
            other = taken.setdefault(place(url), id)
            if other != id:
                raise NotDone(
                    f"member {other} is at {url!r}, and each member needs an address of its own: choose another one, "
                    f"or move or remove member {other} first"
                )

    def _is_fresh(self, op: Operation, present: Membership, now: int) -> bool:
        """Whether a read that began after the request has found this membership; else one is asked for."""

        def end(_: object) -> None:
            op.due = 0
            self.wake()

        op.due = now + AGAIN_NS
        if op.read is None:
            op.read, op.read_of = self.read(), -1
            op.read.add_done_callback(end)
        if not op.read.done():
            op.reason = op.reason or "this member has to ask whether it knows the newest membership"
            return False
        error = op.read.exception(0)
        if error is not None:
            op.reason = error.reason if isinstance(error, NotDone) else str(error)
            op.read, op.due = None, now + op.pause
            op.pause = min(2 * op.pause, PAUSE_MAX_NS)
            return False
        if op.read_of != present.index:
            # What was applied before the read ended is in what is seen now.
            op.read_of, op.due = present.index, now
            return False
        return True

    def _send(self, op: Operation, now: int) -> bool:
        op.unanswered += 1
        if not self.commands.change(op.record, op.change, op.applied):
            op.unanswered -= 1
        op.due = now + AGAIN_NS
        if op.future.progress is None:
            self._tell(op, ChangeProgress(f"{op.goal.text}: to be committed and applied here"))
        return False

    def _hands_over(self, op: Operation, leaver: int, present: Membership, now: int) -> bool:
        """Whether the leader that is to go is asked to let another voter lead first: no election is waited for."""
        if op.hand_over_until == 0:
            op.hand_over_until = now + HAND_OVER_NS
        others = [id for id in present.conf_state.voters if id != leaver]
        if now >= op.hand_over_until or not others:
            return False
        if leaver == self.id:
            self.commands.transfer(0)
        else:
            self.commands.transfer(self.id if self.id in others else others[0])
        op.due, op.reason = now + PAUSE_MAX_NS, f"member {leaver}, which leads, hands over first"
        self._tell(op, ChangeProgress(op.reason))
        return True

    def _tell(self, op: Operation, progress: ChangeProgress) -> None:
        op.future.progress = progress


# --- goals -------------------------------------------------------------------------------------------


def place(url: str) -> object:
    """What makes an address the same as another one."""
    try:
        address = parse(url, "url")
    except ConfigError:
        return url  # a transport of somebody's own may have others
    return (address.host.lower(), address.port) if address.port else url


def _role(present: Membership, id: int) -> str:
    conf: ConfState = present.conf_state
    return "voter" if id in conf.voters else "learner" if id in conf.learners else ""


def _no_member(present: Membership, id: int) -> str:
    return f"there is no member {id}, only {', '.join([str(each) for each in present.ids()])}"


def _check_room(present: Membership, more: int = 1) -> None:
    if len(present.ids()) + more > MEMBERS_MAX and more:
        raise NotDone(f"there are {MEMBERS_MAX} members, and a cluster has no more: remove one first")


def _check_address(present: Membership, id: int, url: str) -> None:
    there = present.addresses.get(id, "")
    if url and there != url:
        raise NotDone(f"member {id} is there, at {there!r}: move it, or choose another id")


def _add(id: int, url: str, voter: bool) -> Callable[[Membership], Step | None]:
    asked = False

    def next_step(present: Membership) -> Step | None:
        nonlocal asked
        role = _role(present, id)
        if not role:
            _check_room(present)
            asked = True
            return Step(((ADD_LEARNER, id),), {id: url} if url else {})
        if not asked:  # if it was, and the address is another one, it has moved since
            _check_address(present, id, url)
        if role == "voter" and not voter:
            raise NotDone(f"member {id} is a voter: demote it")
        return Step(((ADD_VOTER, id),), {}) if role == "learner" and voter else None

    return next_step


def add_learner(id: int, url: str) -> Goal:
    """It is there as a learner."""
    return Goal(f"add_learner({id})", _add(id, url, False), stay=(id,))


def add_voter(id: int, url: str) -> Goal:
    """It is there as a voter; a new one learns first."""
    return Goal(f"add_voter({id})", _add(id, url, True), stay=(id,))


def promote(id: int) -> Goal:
    """The learner votes."""

    def next_step(present: Membership) -> Step | None:
        role = _role(present, id)
        if not role:
            raise NotDone(f"{_no_member(present, id)}: add it first")
        return Step(((ADD_VOTER, id),), {}) if role == "learner" else None

    return Goal(f"promote({id})", next_step, stay=(id,))


def demote(id: int) -> Goal:
    """The voter learns only."""

    def next_step(present: Membership) -> Step | None:
        role = _role(present, id)
        if not role:
            raise NotDone(_no_member(present, id))
        if role == "learner":
            return None
        _check_last(present, id)
        return Step(((ADD_LEARNER, id),), {}, leaver=id)

    return Goal(f"demote({id})", next_step, stay=(id,))


def remove(id: int, missing_ok: bool) -> Goal:
    """It is no member. missing_ok: also where it was none when this was asked for."""
    there = missing_ok

    def next_step(present: Membership) -> Step | None:
        nonlocal there
        if id not in present.ids():
            if not there:
                raise NotDone(_no_member(present, id))
            return None
        there = True
        _check_last(present, id)
        return Step(((REMOVE, id),), {}, leaver=id)

    return Goal(f"remove({id})", next_step, leaver=id, go=(id,))


def _check_last(present: Membership, id: int) -> None:
    if present.conf_state.voters == (id,):
        raise NotDone(f"member {id} is the only voter: add another one first")


def move(id: int, url: str) -> Goal:
    """It is reached there."""

    def next_step(present: Membership) -> Step | None:
        if id not in present.ids():
            raise NotDone(f"{_no_member(present, id)}: add it")
        return None if present.addresses.get(id) == url else Step(((UPDATE, id),), {id: url})

    return Goal(f"move({id})", next_step, stay=(id,))


def change_configuration(parts: tuple[tuple[int, int], ...], addresses: Mapping[int, str]) -> Goal:
    """All of this, in one step; who is to vote and is no member learns first."""

    def next_step(present: Membership) -> Step | None:
        new = [id for kind, id in parts if kind in (ADD_VOTER, ADD_LEARNER) and not _role(present, id)]
        _check_room(present, len(new))
        for kind, id in parts:
            if kind == UPDATE and not _role(present, id):
                raise NotDone(f"{_no_member(present, id)}: add it")
        for kind, id in parts:
            if kind == ADD_VOTER and not _role(present, id):
                return Step(((ADD_LEARNER, id),), {id: addresses[id]} if id in addresses else {})
        wanted = {ADD_VOTER: "voter", ADD_LEARNER: "learner", REMOVE: ""}
        left = tuple([(kind, id) for kind, id in parts if kind != UPDATE and _role(present, id) != wanted[kind]])
        moved = {id: url for id, url in addresses.items() if present.addresses.get(id) != url}
        if not left and not any(id in present.ids() for id in moved):
            return None
        voters = set(present.conf_state.voters)
        for kind, id in left:
            voters = voters | {id} if kind == ADD_VOTER else voters - {id}
        if not voters:
            raise NotDone("no voter would be left")
        leavers = [id for kind, id in left if kind != ADD_VOTER and id in present.conf_state.voters]
        leaver = leavers[0] if len(leavers) == 1 else 0
        return Step(left or tuple([(UPDATE, id) for id in moved if id in present.ids()]), moved, leaver)

    stay = tuple([id for kind, id in parts if kind != REMOVE])
    return Goal("change_configuration", next_step, stay=stay, go=tuple([id for kind, id in parts if kind == REMOVE]))
