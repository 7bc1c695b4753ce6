"""What a node remembers of the lives of others, for the engine. A worker of its own, which may wait for the disk.

It decides whether a member that introduces itself can be who it says, and the engine hears of it once that is durable.
Where the storage has a ledger it is written here, without the GIL; a storage written in Python is asked with it.
"""

from __future__ import annotations

from typing import Any

from .._native.files import WAIT
from .._native.memory import Spans
from .._native.threads import Cells, Runner
from ..storage.in_use import by_node
from ..storage.ledger import Ledger
from ..storage.protocol import Met
from ..storage.wal_format import LATER, REMOVED, REMOVED_LIFE
from .channels import CommandQueue
from .meetings import MeetQueue
from .rows import MET_STORE, OWN, REBUILT, STRANGER

ASK_NS = 1_000_000  # before a disk is asked again whether it has finished
CELL_STOP = 0


class Memory(Runner):
    """One per node. Everything but ``stop`` belongs to its thread. storage: asked, too; None where it has a ledger."""

    def __init__(self, id: int, ledger: Ledger, storage: Any, commands: CommandQueue, queue: MeetQueue) -> None:
        self.id = id
        self.ledger = ledger
        self.storage = storage
        self.asks = storage is not None
        self.writes = ledger.file is not None
        self.commands = commands
        self.queue = queue
        self.event = queue.event
        self.empty_spans = Spans()
        self.cells = Cells()
        #: rows that were taken, and the first that is not done
        self.rows = self.row = 0
        #: what was learned with the present row is being synced
        self.syncing = False
        #: what was learned last is not known to be durable
        self.unwritten = False
        #: it is, in one slot of the ledger alone; and the other one is being synced
        self.single = self.copying = False
        #: 0, or the -errno with which the disk has failed: nothing is remembered any more
        self.failed = 0

    def round(self) -> int:
        """Look at those who have introduced themselves. 0 when it is to stop, or the disk has failed."""
        if self.syncing:
            self.learned(self.ledger.sync())
        elif self.copying:
            self.copied(self.ledger.sync())
        while self.failed == 0 and not self.syncing and not self.copying:
            if self.row == self.rows:
                self.row = 0
                self.rows = self.queue.take()
                if self.rows == 0:
                    if not self.single or self.copy() == 0:
                        break
                    continue
            self.take()
        return 1 if self.failed == 0 and self.cells.get(CELL_STOP) == 0 else 0

    def take(self) -> int:
        """The next row: a member says which life it lives, and on which store; or this one has lost its memory."""
        sender, life = self.queue.sender(self.row), self.queue.life(self.row)
        word0, word1 = self.queue.word0(self.row), self.queue.word1(self.row)
        joined = self.queue.joined(self.row)
        if sender == self.id and self.queue.flags(self.row) & OWN != 0:
            return self.learn(sender, life, self.ledger.word0, self.ledger.word1, joined)
        if sender == self.id:
            self.ledger.lost = life
            return self.learn(sender, life, word0, word1, joined)
        if self.queue.flags(self.row) & STRANGER != 0:
            if self.ledger.was(sender, word0, word1, joined):
                return self.say(REMOVED_LIFE, REMOVED)
            self.row += 1
            return 0
        if self.queue.flags(self.row) & MET_STORE != 0 and not self.ledger.holds(sender, word0, word1, joined):
            self.row += 1
            return 0
        why = self.ledger.refusal(sender, life, word0, word1, self.queue.flags(self.row) & REBUILT != 0, joined)
        if why == LATER:
            self.row += 1  # a later member with this id was met: what is applied here is behind that
            return 0
        if why == REMOVED:
            return self.say(REMOVED_LIFE, why)
        if why != 0:
            return self.say(self.ledger.known_life(sender), why)
        if self.ledger.knows(sender, life, word0, word1, joined) and not self.unwritten:
            return self.say(0, 0)
        return self.learn(sender, life, word0, word1, joined)

    def learn(self, sender: int, life: int, word0: int, word1: int, joined: int) -> int:
        """Something new, which is said once it is durable."""
        if self.asks and not self.ask(sender, life):
            self.row += 1  # something is short; it introduces itself again
            return 0
        if sender != self.id or self.queue.flags(self.row) & OWN != 0:
            self.ledger.put(sender, life, word0, word1, joined)
        if not self.writes:
            return self.say(0, 0)
        self.unwritten = True
        code = self.ledger.write()
        if code != 0 and self.ledger.is_short(code):
            self.row += 1
            return 0
        return self.learned(self.ledger.sync() if code == 0 else code)

    def learned(self, code: int) -> int:
        """It is durable (0), or not (-errno), or not yet (WAIT)."""
        self.syncing = code == WAIT
        if code == 0:
            self.unwritten = False
            self.single = True
            return self.say(0, 0)
        if not self.syncing:
            self.failed = code
        return 0

    def copy(self) -> int:
        """Nobody waits: write the same into the other slot, so that damage to one takes nothing. 0 for want of room."""
        code = self.ledger.write()
        if code != 0 and self.ledger.is_short(code):
            return 0
        self.copied(self.ledger.sync() if code == 0 else code)
        return 1

    def copied(self, code: int) -> int:
        """The other slot is durable (0), or not (-errno), or not yet (WAIT)."""
        self.copying = code == WAIT
        if code == 0:
            self.single = False
        elif not self.copying:
            self.failed = code
        return 0

    def say(self, known: int, why: int) -> int:
        """The present row is done: tell the engine. Without room it is not told, and the member asks again."""
        if self.queue.flags(self.row) & OWN != 0:
            self.row += 1
            return 0
        sender, life, joined = self.queue.sender(self.row), self.queue.life(self.row), self.queue.joined(self.row)
        self.commands.put_met(self.empty_spans, sender, life, known, why, joined)
        self.row += 1
        return 0

    def ask(self, sender: int, life: int) -> bool:
        """Let a storage written in Python remember it; False when something is short. Raises what it raises."""
        if sender == self.id and self.queue.flags(self.row) & OWN == 0:
            forgotten = getattr(self.storage, "forgotten", None)
            if forgotten is not None:
                by_node(forgotten, life)
            return True
        remember = getattr(self.storage, "remember", None)
        if remember is None:
            return True
        met = Met(life, self.queue.store(self.row), self.queue.joined(self.row))
        return bool(by_node(remember, sender, met))

    def rest(self) -> int:
        """Sleep until somebody has introduced itself."""
        timeout = self.idle_for()
        if timeout != 0:
            self.event.wait(timeout)
        return 0

    def idle_for(self) -> int:
        """How long it may sleep unless it is woken: nanoseconds, once the sleep is announced; -1: for ever; 0: no."""
        self.event.prepare()
        if self.syncing or self.copying:
            return ASK_NS
        if self.queue.waiting() or self.cells.get(CELL_STOP) != 0:
            self.event.cancel()
            return 0
        return -1

    def stop(self) -> None:
        """End it. Any thread."""
        self.cells.set(CELL_STOP, 1)
        self.event.wake()
