"""Members that come and go in a schedule: joins, promotions, removals of leaders, moves, several changes at once.

A part of schedules, drawn apart from the rest. What is asked for is judged by ``requests.Change``; a member that was
removed is to end, and to stay away.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...types import ADD_LEARNER, ADD_VOTER, REMOVE, ConfChangeSingle
from .disks import WalDisk

if TYPE_CHECKING:
    from .world import World

MEMBERS = 7  # in all, at most, those that were removed included
TIMEOUTS = (0.2, 2.0, 10.0)


class Churn:
    """That of one schedule. ``active``: whether there is any."""

    def __init__(self, seed: int, world: World, active: bool) -> None:
        self.rng = random.Random(f"churn {seed}")
        self.world = world
        self.active = active and self.rng.random() < 0.3
        self.next = max(world.ids) + 1
        if self.active:
            world.checker.members = 1  # what a majority is changes
            world.walls.set_right()

    def disturb(self) -> None:
        """Perhaps a change is asked for."""
        if not self.active or self.rng.random() >= 0.06:
            return
        alive = self.world.alive()
        if not alive:
            return
        rng = self.rng
        what = rng.random()
        asked = rng.choice(alive)
        if what < 0.35 and self.next <= MEMBERS:
            self._join(asked)
        elif what < 0.6:
            leader = self.world.leader()
            id = leader if leader and rng.random() < 0.4 else rng.choice(self.world.ids)
            self._ask(asked, "remove", lambda node, timeout: node.remove(id, timeout=timeout))
        elif what < 0.7:
            id = rng.choice(self.world.ids)
            self._ask(asked, "demote", lambda node, timeout: node.demote(id, timeout=timeout))
        elif what < 0.8:
            id = rng.choice(self.world.ids)
            self._ask(asked, "promote", lambda node, timeout: node.promote(id, timeout=timeout))
        elif what < 0.9:
            id, url = rng.choice(self.world.ids), f"sim:{rng.randrange(1000)}"
            self._ask(asked, "move", lambda node, timeout: node.move(id, url, timeout=timeout))
        else:
            self._several(asked)

    def _join(self, asked: int) -> None:
        id, rng = self.next, self.rng
        self.next += 1
        config = dataclasses.replace(next(iter(self.world.members.values())).config, id=id, seed=rng.getrandbits(64))
        self.world.add(config, WalDisk(id, None, rng), rng.uniform(0.9, 1.1))
        if rng.random() < 0.8:
            self.world.begin(id)
        voter = rng.random() < 0.8

        def ask(node: Any, timeout: float) -> Any:
            return (node.add_voter if voter else node.add_learner)(id, f"sim:{id}", timeout=timeout)

        self._ask(asked, "add", ask)

    def _several(self, asked: int) -> None:
        kinds = (ADD_VOTER, ADD_LEARNER, REMOVE)
        ids = self.rng.sample(self.world.ids, min(len(self.world.ids), self.rng.choice((1, 2, 3))))
        parts = [ConfChangeSingle(self.rng.choice(kinds), id) for id in ids]
        urls = {part.id: f"sim:{part.id}" for part in parts if part.kind != REMOVE}
        self._ask(asked, "several", lambda node, timeout: node.change_configuration(parts, urls, timeout=timeout))

    def _ask(self, asked: int, what: str, call: Callable[[Any, float], Any]) -> None:
        self.world.change(asked, what, call, self.rng.choice(TIMEOUTS))
