"""Entries for a state machine that takes many at once (``apply_batch``), gathered and given. On the apply thread.

What may stand between two entries of a batch, a change of the term or of the membership, is the applier's to see to:
it gives a batch first. Nothing of a batch is known before all of it is: an exception ends the node.
"""

from __future__ import annotations

import logging
from typing import Any

from .._native.memory import Entry
from ..report import report
from .unfinished import UNFINISHED, refuse_result

BATCH_ENTRIES = 1024  # that are given at once
BATCH_BYTES = 4 << 20  # of their data, above which no further one is taken


class ApplyBatch:
    """What is given next. machine: has ``apply_batch``."""

    def __init__(self, id: int, machine: Any) -> None:
        self.id = id
        self.machine = machine
        self.entries: list[Entry] = []
        #: of each entry, the number of this node's own proposal; 0: it is of another one
        self.sequences: list[int] = []
        self.size = 0

    def add(self, entry: Entry, sequence: int, size: int) -> bool:
        """Take an entry; whether the batch is full."""
        self.entries.append(entry)
        self.sequences.append(sequence)
        self.size += size
        return len(self.entries) >= BATCH_ENTRIES or self.size >= BATCH_BYTES

    def give(self) -> tuple[list[Entry], list[int], Any]:
        """Give what there is to the state machine: entries, numbers, and a result for each. Raises what that raises.

        Raises TypeError for what is no list of as many results: nobody knows then what has become of which entry.
        """
        entries, sequences = self.entries, self.sequences
        self.entries, self.sequences, self.size = [], [], 0
        try:
            # A list of its own: what the state machine does to it changes nothing here.
            results = self.machine.apply_batch(list(entries))
            if not isinstance(results, (list, tuple)):
                raise TypeError(
                    "apply_batch(entries) must return a list with one result for each entry, not "
                    f"{type(results).__name__}"
                )
            results = list(results)  # theirs may change
            if len(results) != len(entries):
                raise TypeError(
                    f"apply_batch(entries) must return one result for each of {len(entries)} entries, and returned "
                    f"{len(results)}"
                )
            for result in results:
                if type(result) in UNFINISHED:
                    refuse_result("apply_batch(entries), for an entry,", result)
        except BaseException as error:
            report(
                logging.ERROR,
                "node %d: the state machine's apply_batch raised %s for entries %d..%d of term %d: it is not known "
                "which of them were applied. An ApplyError is returned in place of a result, and not raised. If it can "
                "never take one of them: raftx wal skip, on every member, all stopped",
                *(self.id, type(error).__name__, entries[0].index, entries[len(entries) - 1].index, entries[0].term),
            )
            raise
        return entries, sequences, results

    def give_one(self, entry: Entry) -> Any:
        """Give a single entry, of a session say, whose outcome is looked at before the next one; its result.

        That may be an ApplyError. Raises what ``give`` raises.
        """
        self.add(entry, 0, 0)
        _, _, results = self.give()
        return results[0]
