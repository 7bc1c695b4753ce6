"""A member on a real file system that fills up: the cluster goes on, and so does the member when there is room."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

# In a mount namespace of its own: what is mounted there ends with the process.
SCRIPT = """
import json, os, subprocess, sys, time
import raftx
from tests.helpers.ports import ports

class Machine:
    def __init__(self): self.datas = []
    def apply(self, entry): self.datas.append(entry.data)

def wait(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until and not any(node.failure for node in nodes.values()), nodes
        time.sleep(0.01)

def lead(id):
    while not nodes[id].is_leader:
        next((n for n in nodes.values() if n.is_leader), nodes[id]).transfer_leadership(id).exception(timeout=20)
        time.sleep(0.05)

def write(count, size=20_000):
    outcomes = []
    while len(outcomes) < count:
        leader = next((n for n in nodes.values() if n.is_leader), nodes[2])
        data = b"%d/" % len(sent + refused + unknown) + bytes(size)  # each once
        error = leader.propose(data).exception(timeout=20)
        outcomes.append(type(error).__name__)
        if error is None: sent.append(data)
        elif isinstance(error, raftx.NotDone): refused.append(data)
        else: unknown.append(data)
    return outcomes

base, sent, refused, unknown = sys.argv[1], [], [], []
small = os.path.join(base, "small")
os.mkdir(small)
subprocess.run(["mount", "-t", sys.argv[2], *sys.argv[3:], small], check=True)
urls = {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(ports(3), 1)}
paths = {id: os.path.join(small if id == 1 else base, str(id)) for id in urls}
for id in urls: raftx.FileStorage.create(paths[id], id=id, members=urls, segment_bytes=1 << 20)
machines = {id: Machine() for id in urls}
def start(id):
    config = raftx.Config(id=id, tick_ms=20, snapshot_entries=0, proposal_timeout_ms=5000)
    nodes[id] = raftx.Node(config, raftx.FileStorage(paths[id]), raftx.NngTransport(urls[id], peers=urls), machines[id])
    nodes[id].start()
nodes = {}
for id in urls: start(id)
wait(lambda: any(n.is_leader for n in nodes.values()))
lead(1)
write(3)
ballast = os.open(os.path.join(small, "ballast"), os.O_WRONLY | os.O_CREAT)
try:
    while True: os.write(ballast, bytes(4096))
except OSError: pass
result = {"filled": write(40) and False}
while not nodes[1].status().disk.full: write(1)
wait(lambda: not nodes[1].is_leader and any(n.is_leader for n in nodes.values()))
result["led by"] = next(id for id, n in nodes.items() if n.is_leader)
result["refused"] = type(nodes[1].propose(b"no").exception(timeout=20)).__name__
refused.append(b"no")
result["shortage"] = nodes[1].status().disk.shortage
result["beside"] = sum(each == "NoneType" for each in write(120))
result["failure"] = [str(n.failure) for n in nodes.values()]
# It ends and begins again on the full disk, and recovers without another start.
result["not taken"] = nodes[1].status().messages_not_taken
nodes[1].close()
machines[1] = Machine()
start(1)
wait(lambda: nodes[1].leader_id)
wait(lambda: nodes[1].status().disk.full)  # found out by the thread that makes segments, a moment after the start
os.ftruncate(ballast, 0)
wait(lambda: not nodes[1].status().disk.full)
wait(lambda: len({n.applied_index for n in nodes.values()}) == 1)
lead(1)
result["again"] = sum(each == "NoneType" for each in write(5))
wait(lambda: len({n.applied_index for n in nodes.values()}) == 1)
applied = [machine.datas for machine in machines.values()]
result["lost"] = len(set(sent) - set(applied[0]))
result["refused and applied"] = len(set(refused) & set(applied[0]))
result["agree"] = applied[0] == applied[1] == applied[2]
for n in nodes.values(): n.close()
print(json.dumps(result))
"""


def can_mount():
    """Whether this process may mount something where nobody else sees it."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    try:
        done = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True)
    except OSError as error:
        return f"unshare cannot be run: {error}"
    return "" if done.returncode == 0 else f"nothing can be mounted here: {done.stderr.decode()}"


@pytest.mark.slow
def test_a_small_file_system(impl, tmp_path):
    """A tmpfs of 8 MiB for one of three members."""
    if reason := can_mount():
        pytest.skip(reason)
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            sys.executable,
            "-W",
            "error",
            "-c",
            SCRIPT,
            str(tmp_path),
            "tmpfs",
            "-o",
            "size=8m",
            "t",
        ],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        env={**os.environ, "RAFTX_PURE": "" if impl.COMPILED else "1"},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["led by"] in (2, 3) and result["refused"] == "DiskFull" and result["shortage"] == "ENOSPC"
    assert result["beside"] >= 100 and result["failure"] == ["None"] * 3 and result["not taken"] > 0
    assert result["again"] >= 1
    assert result["lost"] == result["refused and applied"] == 0 and result["agree"]
    assert done.stderr.count("there is no room") == 2  # once a life
