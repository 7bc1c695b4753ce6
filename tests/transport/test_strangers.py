"""What strangers may hold of a member: descriptors, memory, time. Members are processes; the stranger is this one."""

import contextlib
import os
import resource
import socket
import threading
import time
from pathlib import Path

import pytest

import raftx
from tests.helpers.processes import WAIT, Member, Processes, run_limited_member

TICKS = {"tick_ms": 20, "election_ticks": 15} if raftx.COMPILED else {"tick_ms": 50, "election_ticks": 15}
GREETING = b"\0SP\0\0\x50\0\0"
MIB = 1 << 20


@pytest.fixture
def many_descriptors():
    """As many as this process may have: it plays a thousand strangers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


by_transport = pytest.mark.parametrize("way", ["direct", "tcp"])


class Limited(Processes):
    """Members with few descriptors."""

    descriptors = 256

    def make(self, id):
        return Member(
            id, self.urls, self.directory / str(id), self.settings, self.transport,
            body=run_limited_member, first=(self.descriptors,),
        )  # fmt: skip


def place(url):
    host, port = url.removeprefix("tcp://").split(":")
    return host, int(port)


def connect(where):
    made = socket.socket()
    made.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        made.connect(where)
    return made


def resident(member):
    return int(Path(f"/proc/{member.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def commit(cluster, count, data=b"x"):
    """So many proposals, done by whoever leads."""
    done = 0
    deadline = time.monotonic() + WAIT
    while done < count:
        assert time.monotonic() < deadline
        done += isinstance(cluster.leader().ask("propose", data, answer="outcome"), int)


@pytest.mark.slow
@by_transport
def test_idle_connections_do_not_end_a_member(tmp_path, many_descriptors, way):
    """A thousand connections to each of three members with 256 descriptors, while segments are begun."""
    with Limited(tmp_path, transport={"way": way}, **TICKS) as cluster:
        cluster.start()
        commit(cluster, 1)
        term = cluster.leader().ask("status")["term"]
        strangers = []
        try:
            for number in range(1000):
                strangers += [connect(place(url)) for url in cluster.urls.values()]
                if number % 100 == 0:
                    commit(cluster, 2, bytes(MIB // 3))
            commit(cluster, 4, bytes(MIB // 2))
            for member in cluster.members.values():
                status = member.ask("status")
                assert status["state"] == "running"
                assert status["transport"]["refused"] > 500
                assert status["transport"]["strangers"] <= 64 + 16
                assert len(os.listdir(f"/proc/{member.process.pid}/fd")) < 200
                assert status["term"] == term
            # They are not kept for ever either.
            deadline = time.monotonic() + WAIT
            while any(m.ask("status")["transport"]["strangers"] for m in cluster.members.values()):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            for stranger in strangers:
                stranger.close()


@pytest.mark.slow
@by_transport
def test_begun_messages_hold_little_memory(tmp_path, many_descriptors, way):
    """200 connections that begin a message of 4 MiB: what they hold is bounded, and for a short time only."""
    with Processes(tmp_path, transport={"way": way}, **TICKS) as cluster:
        cluster.start()
        commit(cluster, 1)
        member = cluster.leader()
        before = resident(member)
        most = 0
        strangers = []
        body = bytes(4 * MIB - 100)
        try:
            for _ in range(200):
                stranger = socket.create_connection(place(cluster.urls[member.id]))
                stranger.settimeout(1)
                strangers.append(stranger)
                with contextlib.suppress(OSError):
                    stranger.sendall(GREETING + (4 * MIB).to_bytes(8, "big") + body)
                most = max(most, resident(member) - before)
            commit(cluster, 2)
            # 16 strangers of 4 MiB, and what the allocator keeps; all 200 would be 800 MiB.
            assert most < 200 * MIB
            deadline = time.monotonic() + WAIT
            while member.ask("status")["transport"]["strangers"] or resident(member) - before > 100 * MIB:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            for stranger in strangers:
                stranger.close()


@pytest.mark.slow
@by_transport
@pytest.mark.parametrize("greets", [False, True])
def test_a_member_comes_back_through_a_crowd(tmp_path, many_descriptors, greets, way):
    """Strangers connect as fast as they can, from the same address; a member is restarted all the same."""
    with Processes(tmp_path, transport={"way": way}, **TICKS) as cluster:
        cluster.start()
        commit(cluster, 1)
        leader = cluster.leader()
        victim = next(m for m in cluster.members.values() if m is not leader)
        stop = threading.Event()

        def crowd(where):
            kept = []
            while not stop.is_set():
                kept.append(connect(where))
                if greets:
                    with contextlib.suppress(OSError):
                        kept[-1].send(GREETING)
                if len(kept) > 200:
                    kept.pop(0).close()
                time.sleep(0.0005)
            for each in kept:
                each.close()

        threads = [threading.Thread(target=crowd, args=(place(cluster.urls[id]),)) for id in (leader.id, victim.id)]
        cluster.kill(victim.id)
        for thread in threads:
            thread.start()
        try:
            commit(cluster, 5)
            cluster.start(victim.id)
            target = leader.ask("status")["commit"]
            deadline = time.monotonic() + WAIT
            while cluster.members[victim.id].ask("status")["applied"] < target:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert leader.ask("status")["transport"]["refused"] > 20
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@pytest.mark.slow
@by_transport
def test_without_descriptors_a_member_waits(tmp_path, many_descriptors, way):
    """No descriptor is left for connections: that is counted, nothing ends, and later it goes on."""
    with Limited(tmp_path, transport={"way": way, "max_strangers": 100, "max_connections": 400}, **TICKS) as cluster:
        cluster.descriptors = 60
        cluster.start()
        commit(cluster, 1)
        strangers = []
        try:
            deadline = time.monotonic() + WAIT
            while not all(m.ask("status")["transport"]["shortages"] for m in cluster.members.values()):
                assert time.monotonic() < deadline
                strangers += [connect(place(url)) for url in cluster.urls.values() for _ in range(20)]
                time.sleep(0.02)
            commit(cluster, 3)
        finally:
            for stranger in strangers:
                stranger.close()
        follower = next(m for m in cluster.members.values() if m is not cluster.leader())
        cluster.kill(follower.id)
        cluster.start(follower.id)
        commit(cluster, 3)
        target = cluster.leader().ask("status")["commit"]
        deadline = time.monotonic() + WAIT
        while cluster.members[follower.id].ask("status")["applied"] < target:
            assert time.monotonic() < deadline
            time.sleep(0.02)
