"""A cluster of whole nodes in which one operation of one member's disk fails: it goes on, and nothing is lost.

Which operation is drawn: writes (also half done), syncs, reads, openings, new segments, names. What a failed sync was
to make durable goes with the next power cut. Everything else that schedules do goes on meanwhile.
"""

import errno
import random
from collections import Counter

import pytest

from tests.helpers.implementations import module

SCHEDULES = {"compiled": 40, "pure": 12}
OPERATIONS = (60, 400)  # of a disk until the fault comes: not in the first opening


def disks(impl, seed):
    """What makes the disks of a schedule, and those that it has made."""
    parts = module(impl, "testing.nodes.disks")
    ids = module(impl, "testing.nodes.schedule").Schedule(seed).ids
    draw = random.Random(f"faulty member {seed}")
    unlucky, made = draw.choice(ids), {}

    class Once(parts.WalDisk):
        """One operation of one member fails, and no other one of any."""

        def __init__(self, id, voters, rng):
            super().__init__(id, voters, rng)
            made[id] = self
            self.disk.forgets = True
            if id == unlucky:
                code = draw.choice((errno.EIO, errno.ENOSPC))
                # A mark that cannot be read leaves a member in doubt, from which two others bring it back.
                operation = "any" if len(ids) > 2 else draw.choice(("write", "sync", "names", "create"))
                self.disk.fail(operation, code, draw.randrange(*OPERATIONS), 1, short=draw.random() < 0.5)

        def fault(self, rng, totals):
            pass

        def damage(self, rng, totals):
            return False

        def heal(self):
            pass

        def failed(self):
            return self.disk.counts["failures"] > 0

        def may_fail(self, error):
            return self.failed() and isinstance(error, impl.StorageError)

        def may_refuse(self, error):
            # A sector of the mark that cannot be read says nothing, whatever the reason.
            unread = isinstance(error, impl.WalDamaged) and "wal.mark cannot be read" in str(error)
            return self.failed() and (unread or type(error) in (impl.StorageError, impl.StorageFailed))

    return (lambda id, rng: Once(id, ids, rng)), made


@pytest.mark.slow
def test_one_member_meets_a_fault(impl, tell):
    totals, seen = Counter(), Counter()
    count = SCHEDULES["compiled" if impl.COMPILED else "pure"]
    for seed in range(count):
        make_disk, made = disks(impl, seed)
        totals.update(module(impl, "testing.nodes.schedule").run(seed, make_disk).totals)
        for each in made.values():
            seen.update({kind: n for kind, n in each.disk.counts.items() if kind.startswith("failed ")})
    hit = sum(seen.values())
    text = ", ".join([f"{kind} {n}" for kind, n in sorted(seen.items())])
    tell(f"{count} schedules, {hit} faults ({text}), {totals['failed nodes']} nodes failed, {totals['done']} done")
    assert hit > count // 3
    assert totals["failed nodes"] >= max(1, hit // 8) and totals["done"] > 5 * count
