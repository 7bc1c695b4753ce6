"""The state machine of the key-value server: commands of the log on the store, leases and members.

What comes of a command depends on the entries alone, and a refusal is a result: nothing that an entry holds makes
``apply_batch`` raise. Whoever looks at the state from another thread holds ``lock`` meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from . import commands, snapshots
from .errors import MALFORMED_ENTRY, KvError
from .leases import Leases
from .messages import Message
from .store import Store
from .txn import Work, check_delete, check_put, check_txn

OPERATIONS_HARD_MAX = 1 << 20  # of one transaction; servers refuse fewer before they propose

Result = Message | KvError


class KeyValues:
    """For ``raftx.Node``. The result of a proposal is a response without its header, or a KvError."""

    version = snapshots.FORMAT

    def __init__(self) -> None:
        #: held while the state changes, and by whoever reads it on another thread
        self.lock = threading.RLock()
        self.store = Store()
        self.leases = Leases()
        #: by id: what members have said of themselves
        self.members: dict[int, Message] = {}
        #: of the last entry; the term is that of a leader
        self.index = self.term = self.time = 0
        #: how often it was given the state of a snapshot
        self.restored = 0
        #: what to call after changes, on the apply thread; must be quick
        self.listeners: list[Callable[[], object]] = []

    # --- entries -----------------------------------------------------------------------------------

    def apply(self, entry: Any) -> Result:
        """Take one committed entry."""
        return self.apply_batch([entry])[0]

    def apply_batch(self, entries: list[Any]) -> list[Result]:
        """Take committed entries."""
        with self.lock:
            before = self.store.revision
            results = [self._apply(entry) for entry in entries]
            changed = self.store.revision != before
        if changed:
            self._tell()
        return results

    def _tell(self) -> None:
        for listener in list(self.listeners):
            listener()

    def _apply(self, entry: Any) -> Result:
        self.index, self.term, self.time = entry.index, entry.term, entry.time
        command = commands.decode(entry.data)
        if command is None:
            return MALFORMED_ENTRY()
        kind, request = command
        try:
            done = _DO[kind](self, request)
        except KvError as error:
            return error.with_traceback(None)
        done["revision"] = self.store.revision
        return done

    def _put(self, request: Message) -> Message:
        check_put(request)
        work = Work(self.store, self.leases)
        work.check_single_put(request)
        done = work.put(request)
        work.end()
        return done

    def _delete(self, request: Message) -> Message:
        check_delete(request)
        work = Work(self.store, self.leases)
        done = work.delete(request)
        work.end()
        return done

    def _txn(self, request: Message) -> Message:
        check_txn(request, OPERATIONS_HARD_MAX)
        return Work(self.store, self.leases).txn(request)

    def _compact(self, request: Message) -> Message:
        self._tell()  # of what may be gone afterwards
        self.store.compact(request.get("revision", 0))
        return {}

    def _grant(self, request: Message) -> Message:
        id = request.get("ID", 0)
        return {"ID": id, "TTL": self.leases.grant(id, request.get("TTL", 0), self.index, self.time)}

    def _keep(self, request: Message) -> Message:
        id = request.get("ID", 0)
        return {"ID": id, "TTL": self.leases.keep(id, self.index, self.time)}

    def _revoke(self, request: Message) -> Message:
        keys = self.leases.revoke(request.get("ID", 0))
        writing = self.store.write()
        there = [self.store.get(key, self.store.revision) for key in keys]
        writing.delete([each for each in there if each is not None])
        writing.end()
        return {}

    def _expire(self, request: Message) -> Message:
        id, renewed = request.get("ID", 0), request.get("renewed", 0)
        if not self.leases.has_expired(id, renewed, self.time):
            return {"expired": False}
        self._revoke(request)
        return {"expired": True}

    def _member(self, request: Message) -> Message:
        self.members[request.get("ID", 0)] = request
        return {}

    # --- snapshots -----------------------------------------------------------------------------------

    def snapshot(self) -> snapshots.State:
        """The state now, written while entries go on being applied."""
        with self.lock:
            return snapshots.State(self)

    def restore(self, reader: Any) -> None:
        """The state of a snapshot, in place of this one. Who looks at the state waits while it changes places alone."""
        read = snapshots.read(reader)
        with self.lock:
            read.into(self)
            self.restored += 1
        self._tell()


_DO: dict[bytes, Callable[[KeyValues, Message], Message]] = {
    commands.PUT: KeyValues._put,
    commands.DELETE: KeyValues._delete,
    commands.TXN: KeyValues._txn,
    commands.COMPACT: KeyValues._compact,
    commands.GRANT: KeyValues._grant,
    commands.REVOKE: KeyValues._revoke,
    commands.KEEP: KeyValues._keep,
    commands.EXPIRE: KeyValues._expire,
    commands.MEMBER: KeyValues._member,
}
