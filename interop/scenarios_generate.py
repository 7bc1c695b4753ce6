"""Random scenarios (scenarios.md): ``scenario(seed)`` is one, the same whenever it is asked for.

They lean to what makes a difference: several candidates at once, messages under way when the network is cut, leaders
that are cut off and return, proposals to the wrong member.
"""

from __future__ import annotations

import random
from typing import Any

SIZES = (1, 2, 3, 3, 3, 4, 5, 5, 7)
STEPS_MAX = 60
# How many steps, and how often each, in 100
OFTEN = {"campaign": 12, "tick": 12, "tick_all": 16, "propose": 26, "deliver": 20, "isolate": 8, "heal": 6}


def scenario(seed: int) -> dict[str, Any]:
    """The scenario of a seed."""
    draw = random.Random(seed)
    size = draw.choice(SIZES)
    nodes = draw.sample(range(1, 10), size)
    heartbeat = draw.choice((1, 1, 2, 3))
    # Often some members have the same timeout and become candidates together.
    timeouts = [heartbeat + draw.randint(1, draw.choice((4, 20))) for _ in nodes]
    value: dict[str, Any] = {
        "name": f"seed-{seed}",
        "nodes": nodes,
        "election_ticks": {str(id): ticks for id, ticks in zip(nodes, timeouts)},
        "heartbeat_ticks": heartbeat,
    }
    if draw.random() < 0.4:
        value["check_quorum"] = draw.random() < 0.8
    ops = list(OFTEN)
    weights = list(OFTEN.values())
    steps = value["steps"] = []
    for number in range(draw.randint(3, STEPS_MAX)):
        op = draw.choices(ops, weights)[0]
        step: dict[str, Any] = {"op": op}
        if op in ("campaign", "tick", "propose"):
            step["node"] = draw.choice(nodes)
        if op in ("tick", "tick_all"):
            step["count"] = draw.choice(
                (0, 1, 2, 3, heartbeat, min(timeouts), draw.choice(timeouts), max(timeouts) + 1)
            )
        if op == "propose":
            step["command"] = draw.choice((f"c{number}", f"c{number}", f'c{number} \u00e4"\n', ""))
        if op == "isolate":
            step["nodes"] = draw.sample(nodes, draw.randint(1, size))
        steps.append(step)
    return value


def settled(value: dict[str, Any]) -> dict[str, Any]:
    """The scenario with a whole network and two heartbeats at its end: everybody who can has learned what is committed.

    A leader of raftx does not repeat a commit index that it has sent in an append, even if that append repeats one
    that the follower has, and is ignored (etcd's rule); the follower learns it with the next heartbeat. The raft
    crate may send it at once.
    """
    beat = [{"op": "tick_all", "count": value["heartbeat_ticks"]}, {"op": "deliver"}]
    return {**value, "steps": [*value["steps"], {"op": "heal"}, *beat, *beat]}
