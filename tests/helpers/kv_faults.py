"""What may happen to a cluster of ``kv_member`` programs: one fault, from its beginning to its end. Not a test."""

from __future__ import annotations

import random
import signal
import time

from tests.helpers.kv_cluster import Asked, KvCluster

FAULTS = ("kill", "pause", "churn", "cut", "pulses", "transfer")


def inflict(fault: str, cluster: KvCluster, draw: random.Random) -> None:
    """One of FAULTS. When it returns everybody runs, and nothing is cut. Raises Broken."""
    COURSES[fault](cluster, draw)


def kill(cluster: KvCluster, draw: random.Random) -> None:
    """One member, often the leader, or several at once, sometimes all; they come back."""
    ids = sorted(cluster.members)
    count = draw.choice((1, 1, 1, 2, len(ids)))
    victims = draw.sample(ids, count)
    if draw.random() < 0.4:
        leader = cluster.leader()
        victims = [leader, *[id for id in victims if id != leader]][:count]
    cluster.kill(*victims)
    time.sleep(draw.random() * 0.3)
    cluster.start(*victims)


def pause(cluster: KvCluster, draw: random.Random) -> None:
    """The leader stands still for longer than an election."""
    member = cluster.members[cluster.leader()]
    member.signal(signal.SIGSTOP)
    try:
        time.sleep(1.0 + 2.0 * draw.random() ** 2)
    finally:
        member.signal(signal.SIGCONT)


def pulses(cluster: KvCluster, draw: random.Random) -> None:
    """Any members stand still, one after the other, for times about those of leases and elections."""
    end = time.monotonic() + 0.8
    while time.monotonic() < end:
        member = draw.choice(list(cluster.members.values()))
        member.signal(signal.SIGSTOP)
        try:
            time.sleep(draw.choice((0.02, 0.15, 0.4)) * draw.random())
        finally:
            member.signal(signal.SIGCONT)
        time.sleep(0.05 * draw.random())


def transfer(cluster: KvCluster, draw: random.Random) -> None:
    """Leadership is handed over a few times; nobody waits for what comes of it."""
    for _ in range(3):
        ids = sorted(cluster.members)
        cluster.members[draw.choice(ids)].ask(Asked({"do": "transfer", "id": draw.choice(ids)}))
        time.sleep(0.05 + 0.15 * draw.random())


def churn(cluster: KvCluster, draw: random.Random) -> None:
    """A new member comes, and one of the others goes, the leader perhaps."""
    before = sorted(cluster.members)
    cluster.add()
    cluster.remove(cluster.leader() if draw.random() < 0.3 else draw.choice(before))


def cut(cluster: KvCluster, draw: random.Random) -> None:
    """Some members do not hear others."""
    ids = sorted(cluster.members)
    leader = cluster.leader()
    how = draw.choice(("leader", "halves", "from leader", "to leader", "one link"))
    others = [id for id in ids if id != leader]
    if how == "leader":
        pairs = [(leader, id) for id in others] + [(id, leader) for id in others]
    elif how == "halves":
        some = set(draw.sample(ids, len(ids) // 2))
        pairs = [(one, two) for one in ids for two in ids if (one in some) != (two in some)]
    elif how == "from leader":
        pairs = [(leader, id) for id in others]
    elif how == "to leader":
        pairs = [(id, leader) for id in others]
    else:
        one, two = draw.sample(ids, 2)
        pairs = [(one, two), (two, one)]
    cluster.cut(pairs)
    try:
        time.sleep(0.5 + draw.random())
    finally:
        cluster.cut([])


COURSES = {"kill": kill, "pause": pause, "churn": churn, "cut": cut, "pulses": pulses, "transfer": transfer}
