"""What happens to simulated groups of 33 to 64 members: elections and reads in which they do not all answer alike.

Scripts over a Schedule, beside its own. A set of members is one machine word; where it was cut short, one vote or one
answer counted for many, and nothing shows it while everybody votes for the same one. Nothing is drawn here but with the
schedule's own draws.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ..types import LEADER, MEMBERS_MAX

if TYPE_CHECKING:
    from .schedule import Schedule

#: Seeds from here on make schedules of large groups.
LARGE = 10**13
SHARE = 20  # of so many schedules of a soak, one is of a large group

SMALLEST = 33
SPARE = 2  # ids besides the first members, where there is room
# A vote, an append or a heartbeat goes to so many that everything takes more steps, and messages wait for longer.
FLOW = 6
STEPS = 20
IN_FLIGHT = 30  # messages for each member

PHASES = "calm 3 storm 3 ballot 7 rump 5 depose 2 crashes 1 join 1 behind 1 duel 1"


def with_large(first: int, count: int) -> list[int]:
    """``count`` seeds from ``first`` on, where one for SHARE of them makes a large group in its place."""
    return [seed if seed % SHARE or seed >= LARGE else LARGE + seed for seed in range(first, first + count)]


def size(draw: random.Random, learners: int) -> int:
    """Voters of a large group; with the learners there are at most 64 members."""
    return SMALLEST + draw.randrange(MEMBERS_MAX - learners - SMALLEST + 1)


def patience(schedule: Schedule) -> None:
    """Nobody counts on a leader any more: everybody may be voted for."""
    simulation = schedule.simulation
    if simulation.lease_reads:
        # Under a lease only time does it, and it passes for all.
        for _ in range(simulation.limits.config.election_ticks):
            simulation.tick(next(iter(simulation.members)))
        simulation.lose_all()
    else:
        for id in list(simulation.members):
            simulation.forget(id)


def ballot(schedule: Schedule) -> None:
    """Several campaign in the same term; the others hear of them in any order, of some of them, or of none.

    Before, some may miss entries, so that they have reason to refuse and to be refused.
    """
    simulation = schedule.simulation
    ids = list(simulation.members)
    leader = schedule.working_leader()
    if leader is not None and schedule.chance(0.5):
        schedule.split({id for id in ids if schedule.chance(0.4)} - {leader.id})
        for _ in range(1 + schedule.below(2)):
            simulation.propose(leader.id)
        schedule.flow(40)
    simulation.lose_all()
    simulation.cut.clear()
    if schedule.chance(0.3):
        silent = {id for id in ids if schedule.chance(0.35)}
        simulation.cut = {(a, b) for a in silent for b in ids} | {(b, a) for a in silent for b in ids}
    elif schedule.chance(0.3):
        schedule.split({id for id in ids if schedule.chance(0.5)})
    patience(schedule)
    for _ in range(2 + schedule.below(2)):
        simulation.campaign(ids[schedule.below(len(ids))])
    shuffled(schedule, 12 * len(ids))
    for member in list(simulation.members.values()):
        # The present leader works, cut off or not.
        if member.raw is not None and member.raw.core.role == LEADER:
            simulation.propose(member.id)
            simulation.read(member.id)
    shuffled(schedule, 4 * len(ids))
    simulation.cut.clear()
    schedule.flow(20)


def rump(schedule: Schedule) -> None:
    """A leader keeps less than half of the members and is asked for reads, while the others elect and commit."""
    leader = schedule.working_leader()
    if leader is None or leader.raw is None:
        return
    simulation = schedule.simulation
    simulation.cut.clear()
    schedule.flow(30)
    ids = [id for id in simulation.members if id != leader.id]
    kept = {leader.id}
    most = schedule.below(len(simulation.members) // 2)
    while len(kept) <= most:
        kept.add(ids[schedule.below(len(ids))])
    simulation.lose_all()
    schedule.split(kept)
    patience(schedule)
    rest = [id for id in ids if id not in kept]
    simulation.campaign(rest[schedule.below(len(rest))])
    shuffled(schedule, 8 * len(ids))
    other = schedule.leader()
    if other is not None and other is not leader:
        simulation.propose(other.id)
        shuffled(schedule, 8 * len(ids))
    for _ in range(2):
        simulation.read(leader.id)
        simulation.propose(leader.id)
    shuffled(schedule, 8 * len(ids))
    simulation.cut.clear()
    schedule.flow(20)


def shuffled(schedule: Schedule, events: int) -> None:
    """Messages arrive in any order, disks work meanwhile; until nothing is left to do."""
    network = schedule.simulation.network
    for _ in range(events):
        if network and schedule.chance(0.5):
            schedule.simulation.deliver(schedule.below(len(network)))
        elif not schedule.work():
            if not network:
                return
            schedule.simulation.deliver(schedule.below(len(network)))
