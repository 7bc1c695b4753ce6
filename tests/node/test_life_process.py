"""A node and its process: signal handlers that interrupt it, and children that are forked from it.

Each test is a process of its own, in the mode under test.
"""

import os
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.ports import ports
from tests.helpers.transports import WAYS

PRELUDE = """
import gc, multiprocessing, os, signal, sys, threading, time, traceback
import raftx
from tests.helpers.ports import port as free
from tests.helpers.transports import make_transport

class Machine:
    def apply(self, entry):
        time.sleep(DELAY)
        return entry.index

DELAY = 0

def eventually(condition):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.002)

def make(id, urls, storage=None, way="direct"):
    config = raftx.Config(id=id, tick_ms=10, seed=id)
    transport = make_transport(raftx, way, urls[id], urls)
    return raftx.Node(config, storage or raftx.MemoryStorage(voters=urls), transport, Machine())

def single():
    network = raftx.MemoryNetwork()
    node = raftx.Node(raftx.Config(id=1, tick_ms=10), raftx.MemoryStorage(voters=[1]), network.transport(), Machine())
    node.start()
    eventually(lambda: node.is_leader)
    return node

def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("raftx-")]
"""


# From 3.12 on Python warns where a process with threads forks; here that is on purpose, in processes of these too.
FORKS = "ignore:This process:DeprecationWarning"


def free_port():
    """A port with a free one behind it."""
    while True:
        port, behind = ports(2)
        if behind == port + 1:
            return port


def run(impl, code, *arguments):
    """Run it in that mode; (status, stdout, stderr)."""
    ran = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "RAFTX_PURE": "" if impl.COMPILED else "1", "PYTHONWARNINGS": FORKS},
    )
    return ran.returncode, ran.stdout, ran.stderr


# --- signals -------------------------------------------------------------------------------------

SHOTS = """
def shoot(number, after):
    # Not threading.Timer: a thread that only kills, and so never holds up the main thread.
    def body():
        time.sleep(after)
        os.kill(os.getpid(), number)
    thread = threading.Thread(target=body)
    thread.start()
    return thread
"""


def test_a_handler_closes_during_close(impl):
    """The second close() finds the first one under it."""
    code = (
        SHOTS
        + """
for life in range(8):
    node = single()
    signal.signal(signal.SIGTERM, lambda *_: node.close())
    shot = shoot(signal.SIGTERM, life % 6 * 0.0006)
    node.close()
    shot.join()
    node.close()
    assert not threads() and node.status().state == "ended", threads()
print("done")
"""
    )
    assert run(impl, code) == (0, "done\n", "")


def test_a_handler_closes_during_start(impl):
    code = (
        SHOTS
        + """
class Slow(raftx.MemoryStorage):
    def open(self, id, cluster):
        time.sleep(0.1)
        self.closed = list(shots)
        return super().open(id, cluster)

for after in (0.02, 0.05, 0.09, 0.098, 0.1, 0.101):
    network = raftx.MemoryNetwork()
    storage, shots = Slow(voters=[1]), []
    node = raftx.Node(raftx.Config(id=1), storage, network.transport(), Machine())
    signal.signal(signal.SIGTERM, lambda *_: (shots.append(after), node.close()))
    shot = shoot(signal.SIGTERM, after)
    try:
        node.start()
    except raftx.Stopped:
        pass
    else:
        assert not storage.closed, after
    shot.join()
    time.sleep(0.001)
    assert not threads() and node.status().state == "ended", (node, threads())
print("done")
"""
    )
    assert run(impl, code) == (0, "done\n", "")


def test_a_handler_proposes_during_propose(impl):
    """And waits for it, which it may: the main thread ends no futures."""
    code = """
node = single()
inner = []
def handler(*_):
    inner.append(node.propose(b"inner").result(timeout=20).index)
    inner.append(node.propose_many([b"inner"] * 3).result(timeout=20)[-1].index)
    if time.monotonic() < limit:
        signal.setitimer(signal.ITIMER_REAL, 0.0011)
signal.signal(signal.SIGALRM, handler)
outer = []
limit = time.monotonic() + 1.2
signal.setitimer(signal.ITIMER_REAL, 0.0011)
while time.monotonic() < limit:
    outer += [node.propose(b"outer"), node.propose_many([b"outer", b"outer"])]
    if len(outer) % 100 == 0:
        outer[-1].result(timeout=20)
time.sleep(0.1)
indexes = []
for future in outer:
    done = future.result(timeout=20)
    indexes += [each.index for each in done] if isinstance(done, list) else [done.index]
assert indexes == sorted(indexes) and len(set(indexes)) == len(indexes)
assert len(inner) > 6 and not set(inner) & set(indexes)
node.close()
print("done")
"""
    assert run(impl, code) == (0, "done\n", "")


@pytest.mark.slow
def test_a_handler_closes_during_propose(impl):
    code = (
        SHOTS
        + """
for life in range(6):
    node = single()
    signal.signal(signal.SIGTERM, lambda *_: node.close())
    shot = shoot(signal.SIGTERM, 0.003 + life * 0.0017)
    futures = []
    try:
        while True:
            futures.append(node.propose(b"x"))
            if life % 3 == 0:
                futures.append(node.propose_many([b"x", b"y"]))
            if life % 3 == 1:
                futures[-1].result(timeout=20)
    except (raftx.Stopped, raftx.Unknown, raftx.NotDone):
        pass
    shot.join()
    assert not threads(), threads()
    for future in futures:
        assert isinstance(future.exception(timeout=20), (type(None), raftx.ProposalError))
print("done")
"""
    )
    assert run(impl, code) == (0, "done\n", "")


def test_a_handler_closes_while_the_log_is_written(impl):
    """The interrupted thread holds the lock of a log handler, for which the node's threads must not be waited for."""
    code = (
        SHOTS
        + """
import logging
class Slow(logging.Handler):
    def emit(self, record):
        if record.msg == "mine":
            time.sleep(0.4)
logging.getLogger("raftx").setLevel(logging.DEBUG)
logging.getLogger("raftx").addHandler(Slow())
node = single()
took = []
def handler(*_):
    # What its callback raises is logged, too.
    node.propose(b"x").add_done_callback(lambda _: 1 / 0)
    time.sleep(0.05)
    begun = time.monotonic()
    node.close()
    took.append(time.monotonic() - begun)
signal.signal(signal.SIGTERM, handler)
shot = shoot(signal.SIGTERM, 0.1)
logging.getLogger("raftx").warning("mine")
shot.join()
assert took and took[0] < 4, took
eventually(lambda: not threads())
print("done")
"""
    )
    assert run(impl, code) == (0, "done\n", "")


# --- forks ---------------------------------------------------------------------------------------

FORK = """
import logging
logging.getLogger("raftx").setLevel(logging.ERROR)  # on a busy machine members lose one another, and say so
urls = {id: f"tcp://127.0.0.1:{free()}" for id in (1, 2)}
way = sys.argv[1]
nodes = [make(id, urls, way=way).start() for id in urls]
eventually(lambda: any(node.is_leader for node in nodes))
leader = next(node for node in nodes if node.is_leader)

def wait(child):
    limit = time.monotonic() + 30
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > limit:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hangs"
        time.sleep(0.01)

def propose():
    limit = time.monotonic() + 20
    while True:
        try:
            return nodes[0].propose(b"x").result(timeout=20)
        except raftx.ProposalError:  # an election: the machine is loaded
            assert time.monotonic() < limit
            time.sleep(0.01)

def unharmed():
    assert [node.status().state for node in nodes] == ["running"] * 2
    propose()
    for node in nodes:
        node.close()
    print("done")
"""

by_transport = pytest.mark.parametrize("way", WAYS)


@by_transport
def test_a_forked_child_ends(impl, way):
    """By sys.exit, by an exception, after close(), after its garbage is collected: at once and with its status."""
    code = (
        FORK
        + """
def leave(how):
    child = os.fork()
    if child:
        return wait(child)
    if how == "raise":
        sys.excepthook = lambda *_: None
        raise ValueError("of the child")
    if how == "close":
        for node in nodes:
            node.close()
    if how == "collect":
        globals().pop("nodes"), globals().pop("leader")
        gc.collect()
    if how == "with":
        try:
            with leader:
                pass
        except raftx.UsageError:
            sys.exit(8)
    sys.exit(7)

ends = {how: leave(how) for how in ("exit", "raise", "close", "collect", "with")}
assert ends == {"exit": 7, "raise": 1, "close": 7, "collect": 7, "with": 8}, ends
unharmed()
"""
    )
    assert run(impl, code, way) == (0, "done\n", "")


@by_transport
def test_a_forked_child_has_no_node(impl, way):
    """Every call raises UsageError there, on what the node gave out before, too; and so does a new node over NNG.

    With sockets of its own it may begin anew.
    """
    code = (
        FORK
        + """
propose()
changes, memberships, session = leader.state_changes, leader.configurations, leader.session("s")
ended = session.propose(b"x")
ended.result(timeout=20)
# Nobody ends this one.
cut = type(ended)()
cut._owner = leader._outcomes
def add_peer():
    leader._outside.transport.add_peer(9, "tcp://127.0.0.1:1")

child = os.fork()
if child == 0:
    calls = {
        "propose": lambda: leader.propose(b"x"), "propose_many": lambda: leader.propose_many([b"x"]),
        "start": leader.start, "wait": lambda: leader.wait(1), "status": leader.status, "campaign": leader.campaign,
        "transfer": leader.transfer_leadership, "leader_id": lambda: leader.leader_id, "role": lambda: leader.role,
        "is_leader": lambda: leader.is_leader, "term": lambda: leader.term, "changes": lambda: leader.state_changes,
        "committed": lambda: leader.committed, "configuration": lambda: leader.configuration,
        "stages": leader.stage_times, "commit": lambda: leader.commit_index, "applied": lambda: leader.applied_index,
        "transport": lambda: raftx.NngTransport("tcp://127.0.0.1:0", {}).start(9, print),
        "new node": make(3, {3: "tcp://127.0.0.1:0"}).start, "members": lambda: leader.members,
        "configurations": lambda: leader.configurations, "read": leader.read, "query": lambda: leader.query(print),
        "barrier": leader.barrier, "step_down": leader.step_down, "snapshot": leader.snapshot,
        "backup": lambda: leader.backup("/nowhere/x"), "compact": lambda: leader.compact(1),
        "wait_leader": lambda: leader.wait_leader(0), "wait_ready": lambda: leader.wait_ready(0),
        "wait_applied": lambda: leader.wait_applied(1, 0), "remove": lambda: leader.remove(2),
        "add_voter": lambda: leader.add_voter(9, "tcp://127.0.0.1:1"), "promote": lambda: leader.promote(2),
        "add_learner": lambda: leader.add_learner(9), "demote": lambda: leader.demote(2),
        "move": lambda: leader.move(2, "tcp://127.0.0.1:1"), "session": lambda: leader.session("t"),
        "propose of a session": lambda: session.propose(b"x"), "close of a session": session.close,
        "next of a stream": lambda: next(changes), "next of memberships": lambda: memberships.next(timeout=0),
        "result": lambda: cut.result(timeout=1), "exception": cut.exception, "add_peer": add_peer,
    }
    if way == "tcp":
        # What is made here is this process's own.
        del calls["transport"], calls["new node"]
        own = raftx.TcpTransport("tcp://127.0.0.1:0")
        own.start(9, print)
        own.close()
    bad = []
    if leader.close() is not None or leader.failure is not None or leader.id not in urls:
        bad.append("close")
    with session:
        pass
    for name, call in calls.items():
        try:
            call()
        except raftx.UsageError as error:
            if "fork" not in str(error):
                bad.append(str(error))
        else:
            bad.append(name)
    if "forked" not in repr(leader):
        bad.append(repr(leader))
    print("bad", bad, flush=True) if bad else None
    sys.exit(len(bad))
assert wait(child) == 0
unharmed()
"""
    )
    assert run(impl, code, way) == (0, "done\n", "")


@pytest.mark.slow
def test_a_new_node_in_a_forked_child(impl):
    """It has helpers of its own, also where a callback forks that a helper runs; the parent's go on."""
    code = """
class Held:
    def __init__(self):
        self.hold = threading.Event()

    def apply(self, entry):
        self.hold.wait(20)

def overdue(id, call):
    # A callback that a helper runs, the watch: apply does not return.
    config = raftx.Config(id=id, tick_ms=10, proposal_timeout_ms=100)
    machine = Held()
    node = raftx.Node(config, raftx.MemoryStorage(voters=[id]), raftx.MemoryNetwork().transport(), machine)
    node.start()
    eventually(lambda: node.is_leader)
    ended = []
    node.propose(b"x").add_done_callback(lambda _: ended.append(call()))
    eventually(lambda: ended)
    machine.hold.set()
    node.close()
    return ended[0]

def new():
    return overdue(2, lambda: True) and not set(threads()) - {threading.current_thread()}

def wait(child):
    limit = time.monotonic() + 30
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > limit:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(found[1])

def fork():
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert node.close() is None
            code = 7 if new() else 2
        finally:
            os._exit(code)
    return wait(child)

node = single()
assert fork() == 7
assert overdue(3, fork) == 7
assert overdue(4, lambda: True)
node.close()
assert new()
print("done")
"""
    assert run(impl, code) == (0, "done\n", "")


@pytest.mark.slow
@by_transport
def test_a_forked_worker_keeps_nothing_of_its_parent(impl, way, tmp_path):
    """It lives on when its parent is killed: another process takes directory and address, and is heard."""
    code = """
import subprocess
from multiprocessing import get_context

port, way, directory, role = int(sys.argv[1]), *sys.argv[2:]
urls = {1: f"tcp://127.0.0.1:{port}", 2: f"tcp://127.0.0.1:{port + 1}"}

def propose(node):
    limit = time.monotonic() + 20
    while True:
        try:
            return node.propose(b"x").result(timeout=20)
        except raftx.ProposalError:
            assert time.monotonic() < limit
            time.sleep(0.01)

if role == "parent":
    storage = raftx.FileStorage.create(directory, id=1, members=urls)
    node = make(1, urls, storage, way=way).start()
    propose(node)
    def work():
        os.write(ready, b"r")
        time.sleep(60)
    heard, ready = os.pipe()
    workers = [get_context("fork").Process(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
        os.read(heard, 1)
    print(*[worker.pid for worker in workers], flush=True)
    time.sleep(60)
    sys.exit()

other = make(2, urls, way=way).start()
command = [sys.executable, "-c", CODE, str(port), way, directory, "parent"]
parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
workers = [int(pid) for pid in parent.stdout.readline().split()]
parent.kill()
parent.wait()
assert len(workers) == 2
try:
    node = make(1, urls, raftx.FileStorage(directory), way=way).start()
    propose(other)
    propose(node)
    node.close()
finally:
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
other.close()
print("done")
"""
    whole = f"CODE = {PRELUDE + code!r}\n" + code  # what the parent runs, and the rest
    status, said, errors = run(impl, whole, str(free_port()), way, str(tmp_path / "log"), "test")
    assert (status, said) == (0, "done\n"), errors
