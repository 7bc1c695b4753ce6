"""Schedules in which disks lose what was durable: a member knows that it may have, and is in doubt (see doubt.py).

One member at a time, in groups of three and more whose membership stays as it is: the others must be able to elect a
leader without it. Everything else is as in schedule.py, and the same Checker looks.
"""

from __future__ import annotations

from ..errors import Corruption
from .invariants import Violation
from .schedule import Schedule
from .simulator import Simulation

MEMBERSHIP = ("change", "join", "fork")


class DamageSchedule(Schedule):
    """One schedule in the making."""

    def __init__(self, seed: int, **errors: bool) -> None:
        super().__init__(seed, damages=True, **errors)
        self.operations = [name for name in self.operations if name not in MEMBERSHIP] or ["propose"]
        self.phases = [name for name in self.phases if name not in MEMBERSHIP] + ["lose"] * 4
        self.do["lose"] = self.lose

    def change(self) -> None:
        """The membership stays."""
        self.propose()

    def event(self) -> None:
        """One event, drawn; a disk is damaged now and then."""
        if self.chance(0.01):
            self.damage(self.somebody().id)
        else:
            super().event()

    def damage(self, id: int) -> None:
        """A disk loses some writes; its member begins again, mostly."""
        if self.simulation.damage(id, 1 + self.below(8)) and self.chance(0.7):
            self.simulation.restart(id)

    def lose(self) -> None:
        """What one member acknowledged last, or whom it voted for, is lost, and others compete for its help."""
        simulation = self.simulation
        leader = self.working_leader()
        if leader is None:
            return
        simulation.cut.clear()
        victim = self.anybody()
        apart = self.anybody()
        if apart.id not in (victim.id, leader.id):
            # What is committed now, is on the strength of the victim's acknowledgement.
            self.split({apart.id})
        for _ in range(1 + self.below(2)):
            simulation.propose(leader.id)
            self.flow(12)
        if self.chance(0.5):
            # A candidate has its vote, and nothing came of it yet.
            simulation.campaign(apart.id)
            self.flow(4)
        self.damage(victim.id)
        simulation.restart(victim.id)
        x = self.random()
        if x < 0.4:
            self.split({leader.id})
        elif x < 0.6:
            self.fail(leader)
        else:
            simulation.cut.clear()
        for _ in range(1 + self.below(3)):
            for member in list(simulation.members.values()):
                for _ in range(1 + self.below(6)):
                    simulation.tick(member.id)
                self.flow(8)
        simulation.campaign(apart.id)
        self.flow(20)
        self.propose()
        self.flow(20)
        if self.chance(0.5):
            simulation.cut.clear()


def schedule(seed: int, steps: int = 800, **errors: bool) -> Simulation:
    """The simulation of a seed, run to its end. Raises Violation."""
    made = DamageSchedule(seed, **errors)
    try:
        made.run(steps)
    except (Violation, Corruption) as violation:
        raise Violation(f"damages, seed {seed}, {steps} steps: {violation}") from violation
    return made.simulation
