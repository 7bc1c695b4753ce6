"""Who the members are, as far as this node has applied the log: changes of membership, addresses, what follows.

A membership is part of the replicated state, and so are the members' addresses, and the entry that added each member.
What a committed change leads to is computed here, with the GIL, and installed in the engine, without it (changes.py).
The apply thread's, but for what is said of other threads.
"""

from __future__ import annotations

import bisect
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .._native.memory import Entry
from ..consensus.configuration import Configuration
from ..errors import ConfChangeError
from ..report import report
from ..storage.membership import CHANGES, Context, change_after
from ..storage.snapshot_format import Descriptor
from ..types import ConfChange, ConfState
from .changes import InstallQueue

KEPT = 64  # memberships of before the base of the log that are known, at most
HISTORY = 1024  # memberships that are known in all, at most
STRANGERS = 16  # addresses of who is no member here, that are known at most


@dataclass(frozen=True)
class Membership:
    """The members from an entry on: one element of ``Node.configurations``."""

    #: the entry that has led to it; 0: it is the first one, or came with a snapshot or a storage
    index: int = 0
    conf_state: ConfState = field(default_factory=ConfState)
    #: where each member is reached, as far as that was said
    addresses: Mapping[int, str] = field(default_factory=dict)
    #: the entry that added each member; 0, or not in here, for one of the first members
    joined: Mapping[int, int] = field(default_factory=dict)
    #: the entry that says who the first members are, for who joins with an empty log; 0: none has said it yet
    founded: int = 0
    #: the term of entry ``index``; 0 where that is not known
    term: int = 0

    def kept(self) -> dict[int, int]:
        """``joined`` and ``founded`` as a snapshot has them."""
        return {**self.joined, 0: self.founded} if self.founded else dict(self.joined)

    def ids(self) -> tuple[int, ...]:
        """Every member, learners and outgoing voters included, ascending."""
        conf = self.conf_state
        return tuple(sorted({*conf.voters, *conf.voters_outgoing, *conf.learners, *conf.learners_next}))

    def is_joint(self) -> bool:
        """Whether a change through a joint configuration is under way."""
        return bool(self.conf_state.voters_outgoing)


def after(before: Membership, index: int, kind: int, data: bytes, term: int = 0) -> tuple[Membership, Configuration]:
    """What a committed change leads to. Raises ConfChangeError when it is none, or does not fit."""
    configuration, context = change_after(before.conf_state, index, kind, data)
    founds = context is not None and context.founders is not None
    now = Membership(index, configuration.conf_state())
    ids = now.ids()
    said = {} if context is None else context.addresses
    addresses = {id: url for id, url in {**before.addresses, **said}.items() if id in ids}
    old = ids if founds else before.ids()
    joined = {id: before.joined.get(id, 0) if id in old else index for id in ids}
    return (
        Membership(
            index,
            now.conf_state,
            addresses,
            {id: at for id, at in joined.items() if at},
            before.founded or (index if founds else 0),
            term,
        ),
        configuration,
    )


def of_snapshot(descriptor: Descriptor) -> Membership:
    """That of a snapshot."""
    return of_kept(descriptor.index, descriptor.conf_state, descriptor.addresses, descriptor.joined)


def of_kept(index: int, conf_state: ConfState, addresses: Mapping[int, str], joined: Mapping[int, int]) -> Membership:
    """What a snapshot, or a storage, has of one: under 0, which is nobody's id, ``joined`` has ``founded``."""
    ids = {id: at for id, at in joined.items() if id}
    return Membership(index, conf_state, addresses, ids, joined.get(0, 0))


def membership_at(members: Members, index: int, held: int, records: Iterable[bytes | memoryview]) -> Membership:
    """That with all changes up to an entry.

    held: up to there a machine with durable state of its own has everything, which may be more than came by in this
    life; records: the log that the storage held, which has the changes in between.
    """
    if index <= members.now.index or index > held:
        return members.at(index)
    found: dict[int, Entry] = {}
    for piece in records:
        for entry in Entry.decode_all(piece):
            for later in [at for at in found if at >= entry.index]:
                del found[later]
            if entry.kind in CHANGES:
                found[entry.index] = entry
    present = members.now
    for at in sorted(found):
        if present.index < at <= index:
            with contextlib.suppress(ConfChangeError):
                present, _ = after(present, at, found[at].kind, found[at].data)
    return present


class Members:
    """Those of one node. installs: to the engine. publish: called with each membership that is in use from then on.

    directory: whom the transport reaches. ended: called with the entry of each change that was applied, also where it
    has changed nothing.
    """

    def __init__(
        self,
        id: int,
        first: Membership,
        installs: InstallQueue,
        publish: Callable[[Membership], object],
        directory: Directory,
        ended: Callable[[int], object],
    ) -> None:
        self.id = id
        #: the newest; any thread may look at it
        self.now = first
        #: those before, in order, HISTORY at most. Invariant: the first of them is that of the base of the log, or
        #: before it, and the last one is ``now``
        self.history = [first]
        #: the entries of those behind which some are left out
        self.gaps: set[int] = set()
        self.installs = installs
        self.publish = publish
        self.directory = directory
        self.ended = ended

    def apply(self, index: int, kind: int, data: bytes, term: int = 0) -> None:
        """A committed change. What does not fit changes nothing, on every member alike."""
        if index <= self.now.index:
            return  # it is in what was begun with
        try:
            now, configuration = after(self.now, index, kind, data, term)
        except ConfChangeError as error:
            report(
                logging.WARNING,
                "node %d: the change of membership in entry %d does not fit, and changes nothing: %s",
                *(self.id, index, error),
            )
            self.ended(index)
            return
        # There is room for more of them than there can be between two batches.
        if not self.installs.install(configuration.encode()):
            raise RuntimeError("the engine does not take memberships any more")
        if not self.now.ids():
            self._tell_joined(now)
        self._use(now)
        self.ended(index)

    def restore(self, descriptor: Descriptor) -> None:
        """Another member's snapshot takes the place of the log, as the core knows already."""
        now = of_snapshot(descriptor)
        self.history = [now]
        self.gaps.clear()
        self._tell_joined(now)
        self._use(now)
        self.ended(now.index)

    def _tell_joined(self, now: Membership) -> None:
        for id in now.ids():
            self.installs.put_joined(id, now.joined.get(id, 0))

    def _use(self, now: Membership) -> None:
        before, self.now = self.now, now
        if self.history[-1] is not now:
            self.history.append(now)
            if len(self.history) > HISTORY:
                self._thin()
        self.tell_self(before)
        self.publish(now)
        self.directory.follow(now)

    def begin(self) -> None:
        """Before the first round: the engine hears where this node is reached, and the transport of the members."""
        self.tell_self(None)
        self.directory.follow(self.now)

    def tell_self(self, before: Membership | None) -> None:
        """What this node says of itself to others."""
        said = [self._self(each) for each in (self.now, before) if each is not None]
        if len(said) == 1 or said[0] != said[1]:
            url, joined = said[0]
            self.installs.put_self(Entry(0, 0, url.encode(), 0).encode() if url else b"", joined)

    def _self(self, membership: Membership) -> tuple[str, int]:
        url = membership.addresses.get(self.id, "")
        # Which entry has added a member that was founded to join, the others tell it (meetings.py).
        return url, 1

    def at(self, index: int) -> Membership:
        """That with all changes up to an entry, which is not before the base of the log.

        Where some are left out, one before it.
        """
        place = bisect.bisect_right(self.history, index, key=lambda each: each.index)
        return self.history[max(place - 1, 0)]

    def compactable(self, index: int, term: int) -> tuple[int, int, Membership]:
        """Up to which entry, of which term, the log may be forgotten where ``index`` was asked for.

        That, unless the membership there is not known any more: then an entry before it, or 0 for none.
        """
        there = self.at(index)
        if there.index not in self.gaps or there.index == index:
            return index, term, there
        return (there.index, there.term, there) if there.term else (0, 0, there)

    def _thin(self) -> None:
        """Leave out every other one of the older half, but the first."""
        half = len(self.history) // 2
        self.gaps.update(each.index for each in self.history[0:half:2])
        del self.history[1 : half + 1 : 2]
        known = {each.index for each in self.history}
        self.gaps &= known

    def forget(self, index: int) -> None:
        """The log begins behind this entry: what was before is not asked for."""
        place = bisect.bisect_right(self.history, index, key=lambda each: each.index)
        if place > KEPT:
            self.gaps -= {each.index for each in self.history[: place - KEPT]}
            del self.history[: place - KEPT]


class Directory:
    """Where this node's transport reaches others: as the membership says, else as the transport was told.

    What the transport was told comes before an address from the founding, as long as no change has set another one: who
    starts a member knows better than who founded it. The apply thread's.

    founding: where the first members were reached, as their storage was told when it was founded.
    """

    def __init__(self, id: int, transport: Any, founding: Mapping[int, str] = MappingProxyType({})) -> None:
        self.id = id
        self.transport = transport
        self.told = dict(getattr(transport, "peers", None) or {})
        self.founding = founding
        #: whether people were told that the transport reaches nobody else than those it was told of
        self.warned = False
        #: addresses that came with the membership, and those of who is no member here and has introduced itself
        self.known: dict[int, str] = {}
        self.strangers: dict[int, str] = {}

    def follow(self, membership: Membership) -> None:
        """Reach everybody where the membership says; who left, as a stranger, for a while: it is to hear of it."""
        for id, url in membership.addresses.items():
            if id in self.told and self.founding.get(id) == url:
                url = self.told[id]
            self.strangers.pop(id, None)
            if id != self.id and self.known.get(id) != url and self._add(id, url):
                self.known[id] = url
        for id in [each for each in self.known if each not in membership.addresses]:
            self._stranger(id, self.known.pop(id))

    def fits(self, record: bytes) -> bool:
        """Whether the addresses in a change, as it is proposed, can be some, as far as the transport can tell."""
        check = getattr(self.transport, "check_address", None)
        if check is None:
            return True
        try:
            change = ConfChange.decode(bytes(Entry.data_of(record)))
            context = Context.decode(change.context)
            for id, url in ({} if context is None else context.addresses).items():
                check(url, f"the address of member {id}")
        except Exception as error:
            report(logging.WARNING, "node %d: a change of membership is refused: %s", self.id, error)
            return False
        return True

    def stranger(self, id: int, url: str) -> None:
        """Who is no member here says where it is reached."""
        if id == self.id or id in self.known or self.strangers.get(id) == url:
            return
        if self._add(id, url):
            self._stranger(id, url)

    def _stranger(self, id: int, url: str) -> None:
        self.strangers.pop(id, None)
        self.strangers[id] = url
        while len(self.strangers) > STRANGERS:
            self._forget_stranger()

    def _forget_stranger(self) -> None:
        oldest = next(iter(self.strangers))
        del self.strangers[oldest]
        self._call("remove_peer", oldest)

    def _add(self, id: int, url: str) -> bool:
        """Whether the transport reaches it there. Who is no member makes room."""
        if not hasattr(self.transport, "add_peer"):
            if self.told and self.told.get(id) != url and not self.warned:
                self.warned = True
                report(
                    logging.WARNING,
                    "node %d: member %d is at %r, which the transport, %s, was not told of, and it has no "
                    "add_peer(id, address) and remove_peer(id): it reaches those alone that it was made with. Give it "
                    "both methods (raftx.Transport), or all members and where they are",
                    *(self.id, id, url, type(self.transport).__name__),
                )
            return True
        error = self._call("add_peer", id, url)
        while error is not None and self.strangers:
            self._forget_stranger()
            error = self._call("add_peer", id, url)
        if error is not None:
            report(logging.WARNING, "node %d: member %d cannot be reached at %r: %s", *(self.id, id, url, error))
        return error is None

    def _call(self, name: str, *values: object) -> Exception | None:
        """A method of the transport's, if it has it; what it raised."""
        method = getattr(self.transport, name, None)
        if method is None:
            return None
        try:
            method(*values)
        except Exception as error:
            return error
        return None
