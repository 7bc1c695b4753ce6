"""Lives of a log on a simulated disk: random batches, faults at random places, and what must be there afterwards.

``Lives`` drives Wal, Reserve, Recovery and FileStorage of either implementation by their rounds, in one thread. It
knows every row that was handed over and which of them were acknowledged, and holds each opening against that. Not a
test.
"""

from __future__ import annotations

import random
from collections import Counter
from types import ModuleType
from typing import Any

from tests.helpers.implementations import module
from tests.helpers.storages import founded
from tests.helpers.wal import CLUSTER, SMALL, records

PATH = "/data/node"
LARGE = 2 * SMALL  # bytes of an entry that no ordinary segment has room for


class Wrong(AssertionError):
    """The log broke a promise."""


class Lives:
    """One directory, from its first life to its last."""

    def __init__(self, impl: ModuleType, seed: int, reached: Counter[str]) -> None:
        self.impl = impl
        self.draw = random.Random(seed)
        self.disk = module(impl, "testing.disk").SimDisk(random.Random(seed ^ 0x5EED))
        self.clock = impl.ManualClock()
        #: with many of them the header of a segment has more than one sector, so that it can be torn
        self.voters = range(1, 65 if self.draw.random() < 0.5 else 4)
        self.reached = reached
        self.protocol = module(impl, "storage.protocol")
        #: the bases that were asked for: index to term; 0 was never asked for
        self.bases = {0: 0}
        #: (hard state, entries) after each row that was handed over, which is numbered by its place
        self.states: list[tuple[Any, list[tuple[int, int, bytes]]]] = [(impl.HardState(), [])]
        self.acknowledged = 0
        self.incarnation = 0
        self.base = 0
        self.opens = 0
        #: of the last opening that failed
        self.why: BaseException | None = None
        #: what happened, to be compared between the modes
        self.trace: list[Any] = []

    # --- opening -----------------------------------------------------------------------------------

    def storage(self) -> Any:
        """A FileStorage on the disk, founded if it is not yet; None when the disk failed meanwhile."""
        try:
            return founded(self.impl, PATH, members=self.voters, segment_bytes=SMALL, disk=self.disk, cluster=CLUSTER)
        except self.impl.StorageError as error:
            if not self.disk.off and not self.disk.counts["failures"] and not self.disk.counts["shortages"]:
                raise Wrong(f"a founding failed without a fault: {error}") from error
            self.reached["foundings that failed"] += 1
            return None

    def open(self, storage: Any) -> bool:
        """Open it and hold what it has against what it must have. False when the disk failed meanwhile."""
        self.opens += 1
        before = self.disk.files(PATH) if self.disk.exists(storage.path) else []
        try:
            loaded = storage.open(1, CLUSTER)
            log = module(self.impl, "_core").EntryLog()
            if loaded.base_index:
                log.py_restore(loaded.base_index, loaded.base_term)
            for piece in loaded.records:
                log.py_extend(piece)
        except (self.impl.StorageError, OSError) as error:
            if isinstance(error, self.impl.WalDamaged) and not self.disk.off:
                raise
            if isinstance(error, self.impl.NotFounded):
                raise Wrong(f"the founding is lost: {error}") from error
            if not self.disk.off and not self.disk.counts["failures"] and not self.disk.counts["shortages"]:
                raise Wrong(f"an opening failed without a fault: {error}") from error
            self.why = error
            self.reached["openings that failed"] += 1
            self.reached["openings without a segment that failed"] += not any(n.startswith("wal-") for n in before)
            return False
        entries = [(e.index, e.term, e.data) for e in log.entries(log.first, log.last)]
        base = loaded.base_index
        if self.bases.get(base) != loaded.base_term or log.first != base + 1:
            raise Wrong(f"base {base} of term {loaded.base_term} was never asked for")
        if loaded.conf_state != self.impl.ConfState(voters=tuple(self.voters), learners=(1000 + base,) if base else ()):
            raise Wrong(f"the membership at {base} is not {loaded.conf_state}")
        if base < self.base:
            raise Wrong(f"base {base} after {self.base}")
        self.reached["bases that moved"] += base > self.base
        present = [int(name[4:20], 16) for name in before if name.startswith("wal-")]
        if present:
            self.reached["openings behind removed segments"] += present[0] > 1
            self.reached["removed segments that came back"] += present[-1] - present[0] >= len(present)
        self.base = base
        if storage.repaired is not None:
            self.reached["repaired"] += 1
            self.reached["repaired segment header"] += storage.repaired[2].startswith("its header")
        if loaded.hard_state.in_doubt:
            self.reached["in doubt"] += 1
        self.take(loaded.hard_state, entries, loaded.incarnation)
        return True

    def take(self, hard_state: Any, entries: list[tuple[int, int, bytes]], incarnation: int) -> None:
        """What an opening has found."""
        if not self.incarnation < incarnation <= self.opens:
            raise Wrong(f"incarnation {incarnation} after {self.incarnation} and {self.opens} openings")
        self.incarnation = incarnation
        if hard_state.in_doubt:
            hard_state = self.impl.HardState(hard_state.term, hard_state.vote, hard_state.commit)
        for row in range(len(self.states) - 1, self.acknowledged - 1, -1):
            if self.states[row][0] == hard_state and self.states[row][1][self.base :] == entries:
                break
        else:
            raise Wrong(f"row {self.acknowledged} was acknowledged, found {hard_state} and {len(entries)} entries")
        self.reached["rows lost"] += len(self.states) - 1 - row
        self.reached["rows found that nobody was told of"] += row - self.acknowledged
        del self.states[row + 1 :]
        # What was found is synced, and whoever opened it counts on it.
        self.acknowledged = row

    # --- a life --------------------------------------------------------------------------------------

    def live(self) -> None:
        """Open it, write for a while, and come to some end."""
        draw, disk = self.draw, self.disk
        chances = module(self.impl, "testing.disk").Chances
        disk.repair()
        if draw.random() < 0.5:
            disk.chances = chances(
                stall=draw.choice([0.0, 0.3]),
                short=draw.choice([0.0, 0.0, 0.05]),
                broken=draw.choice([0.0, 0.0, 0.02]),
            )
        if draw.random() < 0.5:
            disk.cut_after(draw.randrange(1, draw.choice([30, 150])))
        storage = self.storage()
        if storage is not None and self.open(storage):
            if draw.random() < 0.15:
                disk.capacity = disk.platter.used() + draw.randrange(2 * SMALL)
            self.serve(storage)
        elif disk.off or draw.random() < 0.5:
            disk.crash()
        else:
            disk.kill()
        if storage is not None:
            storage.close()
        if disk.off:
            disk.crash()
        if disk.error is not None:
            raise disk.error
        self.trace.append((self.acknowledged, len(self.states), self.incarnation, disk.state()))

    def serve(self, storage: Any) -> None:
        """Hand over rows and step the log and its reserve, in any order, up to the end of this life."""
        impl, draw, disk = self.impl, self.draw, self.disk
        system = module(impl, "_native.threads")
        writes = module(impl, "storage.writes")
        queue, gauges, event = writes.WriteQueue(system.Event()), writes.DiskGauges(), system.Event()
        wal = storage.wal
        wal.begin_serving(queue, gauges, event, self.clock)
        base = len(self.states) - 1
        alive = True
        for _ in range(draw.randrange(200)):
            what = draw.random()
            if what < 0.25:
                self.hand_over(queue, len(self.states) - base)
            elif what < 0.7:
                segment, short = wal.segment, gauges.shortage
                if wal.write_offset + 9000 > wal.size and draw.random() < 0.1:
                    # A rotation is near: let the power fail at one of its steps.
                    disk.cut_after(draw.randrange(1, 12))
                alive = wal.py_round()
                self.reached["rotations"] += wal.segment > segment
                self.reached["shortages waited out"] += bool(short) and not gauges.shortage
                self.reached["rounds that could not finish"] += alive and wal.step != 0
                self.reached["rounds that waited for the reserve"] += alive and wal.step == 1
            elif what < 0.9:
                wal.reserve.py_round()
            elif what < 0.92:
                self.compact(storage)
            elif what < 0.96:
                self.clock.advance(draw.choice([0.001, 0.04, 0.1, 0.6]))
            elif disk.frozen:
                disk.thaw()
            elif draw.random() < 0.3:
                disk.freeze()
            done = gauges.done
            if done:
                if not self.acknowledged <= base + done < len(self.states):
                    raise Wrong(f"row {base + done} is acknowledged after {self.acknowledged}")
                self.acknowledged = base + done
            if not alive:
                break
        if not alive:
            if not gauges.error:
                raise Wrong("the log ended without a failure")
            self.reached["failures"] += 1
        self.end(storage, queue, gauges, base, alive)

    def hand_over(self, queue: Any, number: int) -> None:
        """One more row: a hard state that does not go back, and entries that replace what is not committed."""
        draw, impl = self.draw, self.impl
        state, entries = self.states[-1]
        term, vote = state.term + (draw.random() < 0.2), state.vote
        if term > state.term:
            vote = draw.randrange(4)
        spans = None
        if draw.random() < 0.85:
            first = draw.randrange(max(state.commit, len(entries) - 3), len(entries) + 1) + 1
            sizes = [draw.choice([0, 40, 600, 5000, 9000]) for _ in range(draw.randrange(1, 4))]
            if draw.random() < 0.02:
                sizes = [LARGE]
            term = max(term, 1)
            items = [(term, draw.randbytes(size // 2) + bytes(size - size // 2)) for size in sizes]
            spans = module(impl, "_native.memory").Spans()
            spans.py_push(records(impl, first, items), first, len(items))
            entries = entries[: first - 1] + [(first + n, t, data) for n, (t, data) in enumerate(items)]
        commit = draw.randint(state.commit, len(entries)) if draw.random() < 0.5 else state.commit
        self.states.append((impl.HardState(term, vote, commit), entries))
        queue.py_put_write(spans, number, term, vote, commit)

    def compact(self, storage: Any) -> None:
        """Some of what is committed and acknowledged is not needed any more."""
        state, entries = self.states[self.acknowledged]
        index = state.commit - self.draw.randrange(3)
        if index > self.base:
            term = entries[index - 1][1]
            self.bases[index] = term
            # A membership that tells which base it belongs to.
            storage.compact(index, term, self.impl.ConfState(voters=tuple(self.voters), learners=(1000 + index,)))

    def end(self, storage: Any, queue: Any, gauges: Any, base: int, alive: bool) -> None:
        """A clean end, a kill or a power cut."""
        draw, disk, wal = self.draw, self.disk, storage.wal
        if alive and not disk.off and draw.random() < 0.3:
            disk.thaw()
            queue.py_end()
            for _ in range(1000):
                if not wal.py_round():
                    break
                wal.reserve.py_round()
            else:
                raise Wrong("the log does not stop")
            if not gauges.error:
                if gauges.done not in (0, len(self.states) - 1 - base):
                    raise Wrong("the log has stopped before everything was durable")
                self.acknowledged = max(self.acknowledged, base + gauges.done)
                self.reached["clean ends"] += 1
        if disk.off or draw.random() < 0.6:
            disk.crash()
        elif draw.random() < 0.5:
            disk.kill()
        else:
            disk.thaw()
            storage.close()

    # --- damage --------------------------------------------------------------------------------------

    def damage(self) -> None:
        """Damage to one place, after a process has ended: it is refused, in doubt, or does not matter."""
        draw, disk, impl = self.draw, self.disk, self.impl
        disk.repair()
        storage = self.storage()
        if storage is None or not self.open(storage):
            raise Wrong("a sound directory does not open") from self.why
        files = disk.files(PATH)
        storage.close()
        disk.kill()
        name = draw.choice(files)
        way = draw.choice(["bit", "bit", "bit", "missing", "zeros", "shorter"])
        data = disk.read(f"{PATH}/{name}")
        used = len(data.rstrip(b"\0"))
        if way == "missing":
            disk.delete(f"{PATH}/{name}")
        elif way == "bit":
            disk.flip(f"{PATH}/{name}", draw.randrange(8 * max(used, 1)))
        elif way == "zeros":
            at = draw.randrange(max(used, 1)) // 512 * 512
            disk.write(f"{PATH}/{name}", data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :])
        else:
            disk.write(f"{PATH}/{name}", data[: draw.randrange(len(data)) if data else 0])
        before = disk.state()
        storage = self.storage()
        doubts = self.reached["in doubt"]
        try:
            if not self.open(storage):
                raise Wrong(f"{way} of {name}: the opening failed without saying what is damaged")
            self.reached["damage: in doubt" if self.reached["in doubt"] > doubts else "damage: harmless"] += 1
        except impl.WalDamaged:
            self.reached["damage: refused"] += 1
            if disk.state() != before:
                raise Wrong(f"{way} of {name}: it was refused, and yet something was changed") from None
        except Wrong:
            # In doubt it may lack something; nobody counts on it before a leader has brought it up to date.
            if self.reached["in doubt"] == doubts:
                raise
            self.reached["damage: in doubt"] += 1
        storage.close()
        self.trace.append((name, way, disk.state()))


def live_through(impl: ModuleType, seed: int, reached: Counter[str]) -> list[Any]:
    """All lives of one seed; its trace."""
    lives = Lives(impl, seed, reached)
    for _ in range(lives.draw.randrange(1, 8)):
        lives.live()
    lives.damage()
    for what, count in lives.disk.counts.items():
        reached[f"disk: {what}"] += count
    return lives.trace
