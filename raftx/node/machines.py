"""What an application replicates: the kinds of state machines that a node takes, for who reads and who checks types.

Nobody has to derive from them.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from .._native.memory import Entry
from ..errors import ApplyError

R_co = TypeVar("R_co", covariant=True)


class StateMachine(Protocol[R_co]):
    """What an application replicates. Generic in what ``apply`` returns, which is the result of proposals."""

    def apply(self, entry: Entry, /) -> R_co:
        """Take one committed entry and return the proposal's result.

        ``entry.data`` is the command, as it was proposed. ``entry.time`` is the time by which deadlines count:
        nanoseconds since the epoch, the same on every member, never less than before; 0 while it is not known yet,
        which the first entries of a cluster may have. ``entry.index`` and ``entry.term`` say which entry it is,
        ``entry.session`` and ``entry.session_sequence`` which proposal of which session, if it is one.
        ``help(raftx.Entry)`` has their bounds.

        Called on the apply thread, in the order of index, each entry once. Must depend on nothing but the entries; it
        must use no other clock. ``raftx.ApplyError`` is the way to refuse a command: it is the proposal's outcome, on
        every member alike, and the node goes on. Any other exception ends the node, with the entry and the traceback in
        the log; the other members end alike, and so does each start, until ``apply`` can take that entry, or until the
        owner has agreed on each member to skip it (``raftx wal skip``). With ``Config.on_apply_error="return"`` every
        Exception but MemoryError is an outcome. An ``async def`` is refused, and so is a generator function; one that a
        decorator hides is a TypeError when it is called, as nothing of it would run: so a result is no coroutine and no
        generator.

        ``apply_batch(entries)``, where there is one, is called in place of ``apply``, which may be missing then: with a
        list of entries of one term, up to 1,024 of them and about 4 MiB. It returns a list with one result for each; an
        ApplyError in it is that proposal's refusal. It must depend on the entries alone, and not on where a batch
        begins or ends: that differs between members. Whatever it raises ends the node, ApplyError too, since nobody
        knows what of the batch was applied; so does a list of another length.

        A state machine may have more, which let the log end somewhere; ``snapshot`` and ``restore`` both, or neither:

        ``snapshot()``: its state now, as bytes, an iterable of bytes, a binary file, or an object with
        ``write(file)``. Called on the apply thread between two entries. What it returns is written on another thread
        while entries go on being applied, so it must not change any more. An exception is logged; the log stays.
        ``restore(reader)``: the state it is to have, in place of its own, before the first entry is applied.
        ``reader.read(size=-1)`` gives bytes, as iteration does; ``reader.index``, ``reader.version`` and
        ``reader.size`` tell of what. An exception ends the node; the next start tries again.
        ``version``: an integer, of the format of its state. A snapshot of a newer one is refused at the start.
        ``applied_index``: where it keeps its state durably itself, the last entry that is in it. Entries up to there
        are not applied again.
        """


class BatchStateMachine(Protocol[R_co]):
    """A state machine that takes several entries at once. Generic in the result of one proposal."""

    def apply_batch(self, entries: list[Entry], /) -> Sequence[R_co | ApplyError]:
        """Take committed entries and return a list with one result for each; see ``StateMachine.apply``."""


def said_by(machine: Any, name: str, error: type[Exception]) -> Any:
    """What a state machine has under this name; 0 where it has no such thing. Raises ``error`` where that is not known.

    An AttributeError within a property is not taken for a machine that says nothing: one that has everything up to an
    entry would be given that once more.
    """
    try:
        return getattr(machine, name)
    except AttributeError as why:
        if inspect.getattr_static(machine, name, None) is None:
            return 0
        raise error(f"state_machine.{name} cannot be read, as reading it raises AttributeError: {why}") from why
