"""What is seen of the members of a mixed cluster, and what must hold of it at every moment.

Everything here is read from the answers of protocol.md, so that every member is judged alike, whichever library it
runs. ``Seat`` follows one member's work, ``Watch`` compares what the members do, ``Counts`` adds up what happened.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from typing import Any

from .cluster import OK
from .mixed_hosts import Host
from .outside import Json

FOLLOWER, CANDIDATE, LEADER = 0, 1, 2
PROBE, REPLICATE, SNAPSHOT = 0, 1, 2

# Places in the state of an answer
_TERM, _LEAD, _ROLE, _ELECTION, _TIMEOUT, _TRANSFEREE = 1, 3, 4, 5, 7, 8
_COMMITTED, _APPLIED, _FIRST, _LAST, _LAST_TERM, _PENDING_SNAPSHOT = 11, 13, 14, 15, 16, 19
_HAS_READY, _CONF, _PROGRESS, _STORAGE = 22, 23, 25, 27
# The state of a member that is down
_NOBODY = ["0"] * _CONF + ["////0", "-", "-", "-", "0,0,0,0,0,0,0,0,0"]

_COMMITTED_PART = re.compile(r"(?:^| )committed=(.*?) (?:sync )?$")
_SNAP_PART = re.compile(r"(?:^| )snap=(\d+),(\d+),(\S+) ")
_READS_PART = re.compile(r"(?:^| )reads=(\S+) ")
# Kinds of the messages for the storage; no entry and no response begins like one.
_STORAGE_PART = re.compile(r"(?:^| )(19|21),")


class Disagreement(Exception):
    """Something that must hold does not."""


def ids_of(text: str) -> tuple[int, ...]:
    """The ids of a list in an answer."""
    return tuple([int(id) for id in text.split(",")]) if text else ()


class Conf:
    """A configuration, as answers show it."""

    def __init__(self, text: str) -> None:
        voters, outgoing, learners, learners_next, auto_leave = text.split("/")
        self.text = text
        self.voters, self.outgoing = ids_of(voters), ids_of(outgoing)
        self.learners, self.learners_next = ids_of(learners), ids_of(learners_next)
        self.auto_leave = auto_leave == "1"

    @staticmethod
    def of(snapshot: Json) -> Conf:
        """That of a snapshot in the neutral form."""
        sets = [snapshot.get(name, []) for name in ("voters", "outgoing", "learners", "learners_next")]
        text = "/".join([",".join([str(id) for id in ids]) for ids in sets])
        return Conf(f"{text}/{1 if snapshot.get('auto_leave') else 0}")

    @property
    def members(self) -> set[int]:
        return {*self.voters, *self.outgoing, *self.learners, *self.learners_next}


class Seat:
    """One member as it is seen: its newest state, and the work that is under way."""

    def __init__(self, id: int, name: str, host: Host, spec: Json) -> None:
        self.id = id
        self.name = name
        self.host = host
        self.library = "etcd" if name == "etcd" else "raftx"
        self.asynchronous: bool = spec.get("async", False)
        self.forwarding: bool = spec.get("forwarding", True)
        self.election: int = spec["election"]
        self.up = True
        self.words: list[str] = _NOBODY
        #: how far the state machine is
        self.machine: int = spec.get("start", 0)
        self.start = self.machine
        self.persisted = False
        self.appends: deque[tuple[int, int, str] | None] = deque()  # snapshots that are to be written
        self.applies: deque[list[str]] = deque()
        #: who sent the newest snapshot that was stepped in
        self.snapshot_from = 0

    def __str__(self) -> str:
        return f"{self.name} {self.id}"

    @property
    def term(self) -> int:
        return int(self.words[_TERM])

    @property
    def lead(self) -> int:
        return int(self.words[_LEAD])

    @property
    def role(self) -> int:
        return int(self.words[_ROLE])

    @property
    def leads(self) -> bool:
        return self.up and self.words[_ROLE] == "2"

    @property
    def patience(self) -> int:
        """Ticks until it campaigns."""
        return int(self.words[_TIMEOUT]) - int(self.words[_ELECTION])

    @property
    def lease(self) -> int:
        """Ticks until it may vote for somebody else than the leader that it has heard from."""
        return self.election - int(self.words[_ELECTION]) if self.lead else 0

    @property
    def transferee(self) -> int:
        return int(self.words[_TRANSFEREE])

    @property
    def committed(self) -> int:
        return int(self.words[_COMMITTED])

    @property
    def applied(self) -> int:
        return int(self.words[_APPLIED])

    @property
    def first(self) -> int:
        return int(self.words[_FIRST])

    @property
    def end(self) -> tuple[int, int]:
        """Term and index of the last entry: what decides who is newer."""
        return int(self.words[_LAST_TERM]), int(self.words[_LAST])

    @property
    def conf(self) -> Conf:
        return Conf(self.words[_CONF])

    @property
    def snapshot_index(self) -> int:
        """The newest snapshot that it has on disk."""
        return int(self.words[_STORAGE].split(",")[3])

    def progress(self) -> list[tuple[int, int, int]]:
        """(id, match, state) of everybody it knows."""
        if self.words[_PROGRESS] == "-":
            return []
        rows = [row.split(",") for row in self.words[_PROGRESS].split(";")]
        return [(int(row[0]), int(row[1]), int(row[4])) for row in rows]

    @property
    def has_ready(self) -> bool:
        return self.words[_HAS_READY] == "1"

    def todo(self) -> list[str]:
        """The pieces of work that it could do next."""
        if not self.up:
            return []
        if self.asynchronous:
            return ["persist"] * bool(self.appends) + ["apply"] * bool(self.applies) + ["ready"] * self.has_ready
        if self.appends:
            return ["apply" if self.persisted else "persist"]
        return ["ready"] * self.has_ready

    def takes_snapshot(self) -> bool:
        """Not while membership changes wait to be applied: they would be applied on top of the snapshot's
        configuration, and no library is to be blamed for what comes of it."""
        return not any([entry.split("/", 3)[2] != "0" for batch in self.applies for entry in batch])


class Watch:
    """What the members have done so far, and whether it fits together. Raises Disagreement when it does not."""

    def __init__(self, seats: dict[int, Seat], counts: Counter[str]) -> None:
        self.seats = seats
        self.counts = counts
        #: up to here nobody applied anything: it came with the first snapshots
        self.base = max([seat.start for seat in seats.values()])
        #: term/kind/data of every entry that somebody has applied
        self.log: dict[int, str] = {}
        #: the configuration at an index, where it was seen
        self.confs: dict[int, str] = {}
        self.leaders: dict[int, int] = {}
        #: the highest commit index ever seen
        self.committed = 0
        #: data that was proposed, and what of it was applied somewhere: from then on it must never be missing
        self.proposed: set[str] = set()
        self.acknowledged: set[str] = set()
        #: reads by context: who asked, and the least index that may answer
        self.reads: dict[str, tuple[int, int]] = {}
        #: the newest configuration that was seen, and its index
        self.newest = (0, "////0")
        #: members that were removed
        self.gone: set[int] = set()

    def saw(self, seat: Seat, step: list[Any], answer: str) -> str:
        """Take note of an answer; returns its result."""
        result, ready, sent, state = answer.split("|", 3)
        if result == "panic" or result.startswith("raised"):
            raise Disagreement(f"{seat} gave up: {seat.host.reason}")
        if state:
            seat.words = state.split(" ")
        name = step[0]
        if result == OK:
            if name == "ready":
                self._ready(seat, ready, sent)
            elif name == "persist":
                self._persist(seat)
            elif name == "apply":
                self._apply(seat)
            elif name == "crash":
                self._crash(seat)
            elif name == "restart":
                seat.up = True
                seat.machine = int(seat.words[_STORAGE].split(",")[8])
        if state:
            self._state(seat)
        return result

    def _ready(self, seat: Seat, ready: str, sent: str) -> None:
        found = _COMMITTED_PART.search(ready)
        committed = found[1].split(";") if found else []
        found = _SNAP_PART.search(ready)
        snapshot = (int(found[1]), int(found[2]), found[3]) if found else None
        if seat.asynchronous:
            if "19" in _STORAGE_PART.findall(sent):
                seat.appends.append(snapshot)
            elif snapshot:
                raise Disagreement(f"{seat} hands out a snapshot that is not to be written")
            if committed:
                seat.applies.append(committed)
        else:
            seat.appends.append(snapshot)
            seat.applies.append(committed)
            seat.persisted = False
        if snapshot:
            self.counts[f"snapshots from {self.seats[seat.snapshot_from].library} to {seat.library}"] += 1
        found = _READS_PART.search(ready)
        for read in found[1].split(";") if found else ():
            index, context = read.split(":")
            self._read(seat, int(index), context)

    def _persist(self, seat: Seat) -> None:
        if not seat.asynchronous:
            seat.persisted = True
            return
        snapshot = seat.appends.popleft()
        if snapshot:
            self._install(seat, *snapshot)

    def _apply(self, seat: Seat) -> None:
        if not seat.asynchronous:
            snapshot = seat.appends.popleft()
            seat.persisted = False
            if snapshot:
                self._install(seat, *snapshot)
        for text in seat.applies.popleft():
            term, number, kind, data = text.split("/", 3)
            index = int(number)
            if index <= seat.machine:
                continue
            if index != seat.machine + 1:
                raise Disagreement(f"{seat} applies {index} behind {seat.machine}")
            seat.machine = index
            self._entry(seat, index, f"{term}/{kind}/{data}")

    def _crash(self, seat: Seat) -> None:
        seat.up = seat.persisted = False
        seat.words = _NOBODY
        seat.appends.clear()
        seat.applies.clear()

    def _entry(self, seat: Seat, index: int, entry: str) -> None:
        """One entry was applied: the same as everywhere."""
        known = self.log.get(index)
        if known is not None and known != entry:
            raise Disagreement(f"{seat} applies {entry} at {index}, another member {known}")
        if known is None:
            self.log[index] = entry
            kind, data = entry.split("/", 2)[1:]
            if kind != "0":
                self.counts["changes applied"] += 1
                self.counts[f"changes applied, {change_name(data)}"] += 1
            elif data in self.proposed:
                self.acknowledged.add(data)
                self.counts["proposals applied"] += 1

    def _install(self, seat: Seat, index: int, term: int, conf: str) -> None:
        """The state machine took a snapshot: of what others have applied."""
        if index <= seat.machine:
            raise Disagreement(f"{seat} goes back from {seat.machine} to a snapshot of {index}")
        entry = self.log.get(index)
        if index > self.base and entry is None:
            raise Disagreement(f"{seat} takes a snapshot of {index}, which nobody has applied")
        if entry is not None and int(entry.split("/")[0]) != term:
            raise Disagreement(f"{seat} takes a snapshot of {index} in term {term}, applied was {entry}")
        seat.machine = index
        self._conf(seat, index, conf)

    def _conf(self, seat: Seat, index: int, conf: str) -> None:
        known = self.confs.get(index)
        if known is not None and known != conf:
            raise Disagreement(f"{seat} has configuration {conf} at {index}, another member {known}")
        if known is None:
            self.confs[index] = conf
            if index > self.newest[0]:
                before, self.newest = self.newest[1], (index, conf)
                self._moved(before, conf)

    def _moved(self, before: str, conf: str) -> None:
        """Count who became what."""
        was, now = Conf(before), Conf(conf)
        for id in now.members | was.members:
            voted, votes = id in was.voters, id in now.voters
            if voted and id in now.learners:
                self.counts["voters demoted"] += 1
            if id in was.learners and votes:
                self.counts["learners promoted"] += 1
            if id not in now.members:
                self.gone.add(id)
                self.counts["members removed"] += 1
            elif id in self.gone:
                self.gone.remove(id)
                self.counts["members that came back"] += 1
        if now.outgoing and not was.outgoing:
            self.counts["joint configurations"] += 1

    def _state(self, seat: Seat) -> None:
        words = seat.words
        machine = int(words[_STORAGE].split(",")[8])
        if machine != seat.machine:
            raise Disagreement(f"{seat}: the state machine is at {machine}, what it was given ends at {seat.machine}")
        if seat.leads:
            term = seat.term
            known = self.leaders.get(term)
            if known is not None and known != seat.id:
                raise Disagreement(f"{seat} and {known} lead in term {term}")
            if known is None:
                self.leaders[term] = seat.id
                self.counts[f"elections won by {seat.name}"] += 1
        self.committed = max(self.committed, seat.committed)
        # The library's configuration is that of what is applied, unless a snapshot is between the two.
        if words[_PENDING_SNAPSHOT] == "0" and seat.applied == machine:
            self._conf(seat, machine, words[_CONF])

    def _read(self, seat: Seat, index: int, context: str) -> None:
        """A read was answered: not with less than what was committed when it was asked."""
        if context not in self.reads:
            raise Disagreement(f"{seat} answers read {context}, which nobody asked for")
        who, least = self.reads[context]
        if who != seat.id:
            raise Disagreement(f"{seat} answers read {context} of {who}")
        if index < least:
            raise Disagreement(f"{seat} answers read {context} with {index}; committed was {least} when it was asked")
        self.counts[f"reads answered to {seat.name}"] += 1

    def complete(self, seat: Seat) -> None:
        """A member that is up to date has applied everything that anybody has."""
        if seat.machine != max(self.log):
            raise Disagreement(f"{seat} has applied up to {seat.machine} of {max(self.log)}")
        there = {entry.split("/", 2)[2] for index, entry in self.log.items() if index <= seat.machine}
        if not self.acknowledged <= there:
            raise Disagreement(f"{seat} lacks {sorted(self.acknowledged - there)}")
        if len(self.log) != seat.machine - min(self.log) + 1:
            raise Disagreement("the log that was applied has a gap")


def change_name(data: str) -> str:
    """What a membership change does, in a word."""
    transition, _, changes = data.partition(":")
    if not changes:
        return "leaving a joint configuration"
    return (
        "joint" if transition != "0" or " " in changes else {"v": "voter", "l": "learner", "r": "removed"}[changes[0]]
    )
