"""Members in network namespaces of their own, on a switch, and ways to cut them off. Not a test: helpers of tests.

Needs root and ``ip``; cuts at the receiver or in the sender's own stack need ``iptables`` too. Every name begins with
the process id, and nothing outside of the namespaces made here is changed.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import time

from tests.helpers.processes import WAIT, Member, Processes, run_member

CLONE_NEWNET = 0x40000000
PORT = 5601
#: who loses packets: the switch, which nobody notices; the receiver; the sender's own stack, which tells TCP
SWITCH, RECEIVER, SENDER = "switch", "receiver", "sender"
WAYS = (SWITCH, RECEIVER, SENDER)
BOTH, TO, FROM = "both", "to", "from"  # directions: both, only what goes to the member, only what comes from it
DIRECTIONS = (BOTH, TO, FROM)
NOWHERE = "02:00:00:00:00:fe"  # a hardware address that nobody has


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def missing():
    """What is needed and not there, as a sentence; empty when nothing is."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    for tool in ("ip", "iptables"):
        if shutil.which(tool) is None:
            return f"there is no {tool} (Debian: iproute2 and iptables)"
    name = f"rx{os.getpid()}-try"
    try:
        run("ip", "netns", "add", name)
        run("ip", "netns", "exec", name, "iptables", "-L")
        run("ip", "netns", "exec", name, "ip", "link", "add", "br0", "type", "bridge")
    except RuntimeError as error:
        return f"no network namespaces here: {error}"
    finally:
        with contextlib.suppress(RuntimeError):
            run("ip", "netns", "del", name)
    return ""


def run_member_in(namespace, *arguments):
    """The body of a process whose sockets are in that namespace."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)
    run_member(*arguments)


class Network:
    """A switch and ``n`` hosts, 10.99.0.1 to n."""

    def __init__(self, n):
        self.prefix = f"rx{os.getpid()}"
        self.switch = f"{self.prefix}-sw"
        self.hosts = {id: f"{self.prefix}-{id}" for id in range(1, n + 1)}
        self.cuts = []

    def __enter__(self):
        try:
            run("ip", "netns", "add", self.switch)
            self.at(self.switch, "ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
            self.at(self.switch, "ip", "link", "set", "br0", "up")
            for id, host in self.hosts.items():
                run("ip", "netns", "add", host)
                self.at(self.switch, "ip", "link", "add", f"p{id}", "type", "veth", "peer", "eth0", "netns", host)
                self.at(self.switch, "ip", "link", "set", f"p{id}", "master", "br0", "up")
                self.at(host, "ip", "link", "set", "eth0", "address", self.hardware(id))
                self.at(host, "ip", "address", "add", f"10.99.0.{id}/24", "dev", "eth0")
                self.at(host, "ip", "link", "set", "eth0", "up")
                self.at(host, "ip", "link", "set", "lo", "up")
            for id in self.hosts:
                for other in self.hosts:
                    if other != id:
                        self.neighbour(id, other, self.hardware(other))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in (self.switch, *self.hosts.values()):
            with contextlib.suppress(RuntimeError):
                run("ip", "netns", "del", name)

    @staticmethod
    def hardware(id):
        return f"02:00:00:00:00:{id:02x}"

    def at(self, namespace, *command):
        return run("ip", "netns", "exec", namespace, *command)

    def neighbour(self, id, other, hardware):
        """Where host ``id`` sends what is for ``other``. Permanent: no lookup takes time, or fails, during a cut."""
        self.at(
            self.hosts[id], "ip", "neigh", "replace", f"10.99.0.{other}", "lladdr", hardware, "dev", "eth0",
            "nud", "permanent",
        )  # fmt: skip

    def cut(self, id, direction=BOTH, way=SWITCH):
        """Lose, without a word, what goes to this host, comes from it, or both."""
        others = [other for other in self.hosts if other != id]
        if way == SWITCH:
            for other in others:
                if direction in (BOTH, FROM):
                    self.neighbour(id, other, NOWHERE)
                if direction in (BOTH, TO):
                    self.neighbour(other, id, NOWHERE)
        for other in others if way != SWITCH else ():
            for sender, recipient in [(id, other)] * (direction != TO) + [(other, id)] * (direction != FROM):
                if way == RECEIVER:
                    rule = ["INPUT", "-s", f"10.99.0.{sender}", "-j", "DROP"]
                    place = self.hosts[recipient]
                else:
                    rule = ["OUTPUT", "-d", f"10.99.0.{recipient}", "-j", "DROP"]
                    place = self.hosts[sender]
                self.at(place, "iptables", "-A", *rule)
                self.cuts.append((place, rule))

    def set_links(self, cuts):
        """Lose from now on what goes from one to the other of these pairs, at the receiver, and nothing else so."""
        rules = {
            (sender, to): (self.hosts[to], ["INPUT", "-s", f"10.99.0.{sender}", "-j", "DROP"]) for sender, to in cuts
        }
        for place, rule in [each for each in self.cuts if each not in rules.values()]:
            self.at(place, "iptables", "-D", *rule)
        for place, rule in [each for each in rules.values() if each not in self.cuts]:
            self.at(place, "iptables", "-A", *rule)
        self.cuts = list(rules.values())

    def heal(self):
        for place, rule in self.cuts:
            self.at(place, "iptables", "-D", *rule)
        self.cuts.clear()
        for id in self.hosts:
            for other in self.hosts:
                if other != id:
                    self.neighbour(id, other, self.hardware(other))


class Cluster(Processes):
    """Members as processes in the hosts of a network."""

    def __init__(self, network, directory, transport=None, **settings):
        super().__init__(directory, len(network.hosts), {"insecure": True, **(transport or {})}, **settings)
        self.network = network
        self.urls = {id: f"tcp://10.99.0.{id}:{PORT}" for id in network.hosts}

    def make(self, id):
        return Member(
            id, self.urls, self.directory / str(id), self.settings, self.transport,
            body=run_member_in, first=(self.network.hosts[id],),
        )  # fmt: skip


class Outcome:
    """What one cut came to. Times in seconds from the heal."""

    def __init__(self):
        self.returned = None  # until the member that was cut off had everything and knew the leader
        self.served = None  # after a kill: until a proposal was acknowledged again
        self.elections = None  # after the heal, of the member that was cut off or of the others

    def __repr__(self):
        return f"returned {self.returned} s, served {self.served} s, elections {self.elections}"


def one_cut(cluster, whose, direction, way, seconds, kill, limit=30.0):
    """Cut the leader or a follower off for some seconds; heal; kill the leader then, or not. Proposals go on."""
    network = cluster.network
    leader = cluster.leader()
    victim = leader if whose == "leader" else next(m for m in cluster.members.values() if m is not leader)
    others = [member for member in cluster.members.values() if member is not victim]
    network.cut(victim.id, direction, way)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        others[0].ask("propose", b"during", answer="outcome")
        time.sleep(0.02)
    # Who leads at the heal; a one-way cut may have left the leader where it was.
    while True:
        seen = {member.ask("status")["leader"] for member in others}
        if len(seen) == 1 and seen != {0}:
            break
    leader = cluster.members[seen.pop()]
    before = leader.ask("status")
    healed = time.monotonic()
    network.heal()
    outcome = Outcome()
    if kill and leader is not victim:
        cluster.kill(leader.id)
        left = next(member for member in others if member is not leader)
        while not isinstance(left.ask("propose", b"after", answer="outcome"), int):
            if time.monotonic() - healed > limit:
                return outcome
        outcome.served = round(time.monotonic() - healed, 2)
        return outcome
    while True:
        status = victim.ask("status")
        if status["applied"] >= before["commit"] and status["leader"] not in (0, None):
            break
        if time.monotonic() - healed > limit:
            return outcome
        time.sleep(0.005)
    outcome.returned = round(time.monotonic() - healed, 2)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        others[0].ask("propose", b"later", answer="outcome")
        time.sleep(0.02)
    outcome.elections = max(member.ask("status")["term"] for member in cluster.members.values()) - before["term"]
    return outcome


__all__ = ["BOTH", "DIRECTIONS", "FROM", "RECEIVER", "SENDER", "SWITCH", "TO", "WAIT", "WAYS", "Cluster", "Network",
           "missing", "one_cut"]  # fmt: skip
