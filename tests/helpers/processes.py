"""Members of a cluster as real processes (spawned), driven over pipes. Not a test: helpers of tests.

A member proposes what it is told to, or without pause, and reports what was acknowledged; the parent
kills it whenever it likes. What a member says before its death is read to the end.
"""

import collections
import contextlib
import ctypes
import multiprocessing
import os
import resource
import select
import signal
import threading
import time
import traceback

from tests.helpers.ports import ports
from tests.helpers.storages import founded
from tests.helpers.transports import make_transport

SPAWN = multiprocessing.get_context("spawn")
WAIT = 60.0


class Journal:
    """The state machine: every command in order."""

    def __init__(self):
        self.commands = []

    def apply(self, entry):
        self.commands.append(entry.data)
        return len(self.commands)


def run_limited_member(descriptors, *arguments):
    """The same with so few descriptors."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    run_member(*arguments)


class PollFd(ctypes.Structure):
    """What poll(2) waits for."""

    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


class Reporter:
    """Sends to the parent from any thread."""

    def __init__(self, pipe):
        self.pipe = pipe
        self.lock = threading.Lock()

    def __call__(self, *message):
        # Without a parent there is nobody to tell, and nothing left to do.
        with self.lock, contextlib.suppress(OSError):
            self.pipe.send(message)


def run_member(pipe, id, urls, directory, settings, transport_settings):
    """The body of a process."""
    tell = Reporter(pipe)
    try:
        import raftx

        journal = Journal()
        transport_settings = dict(transport_settings)
        way = transport_settings.pop("way", "direct")
        node = raftx.Node(
            raftx.Config(id=id, **settings),
            founded(raftx, directory, urls, id=id, segment_bytes=1 << 20),
            make_transport(raftx, way, urls[id], {i: u for i, u in urls.items() if i != id}, **transport_settings),
            journal,
        )
        with node:
            tell("ready", raftx.COMPILED)
            serve(raftx, node, journal, pipe, tell)
        tell("closed")
    except EOFError:
        pass
    except BaseException:
        tell("error", traceback.format_exc())


def serve(raftx, node, journal, pipe, tell):
    """Commands until told to stop, or until the parent is gone."""
    stop = threading.Event()
    threads = []

    def flood(width):
        """Propose without pause, ``width`` at a time; report what is done."""
        count = 0
        window = collections.deque()
        while not stop.is_set():
            while len(window) < width:
                count += 1
                value = b"%d/%d/%d" % (node.id, node.status().incarnation, count)
                window.append((value, node.propose(value)))
            value, future = window.popleft()
            try:
                tell("done", value, future.result(WAIT).index)
            except raftx.ProposalError as error:
                tell("not", value, type(error).__name__)
                time.sleep(0.005)
            except (raftx.Stopped, TimeoutError):
                return

    while True:
        command, *arguments = pipe.recv()
        if command == "stop":
            stop.set()
            break
        if command == "flood":
            threads.append(threading.Thread(target=flood, args=arguments, daemon=True))
            threads[-1].start()
        elif command == "dry":
            stop.set()
            for thread in threads:
                thread.join(WAIT)
            tell("dry")
        elif command == "propose":
            try:
                tell("outcome", node.propose(arguments[0]).result(WAIT).result)
            except raftx.ProposalError as error:
                tell("outcome", str(error))
        elif command == "status":
            tell("status", node.status().to_dict())
        elif command == "read":
            # The last command, by a read of this level; (None, why) where it was not done.
            level, timeout = arguments
            try:
                tell("read", (node.query(lambda each: each.commands[-1], level=level).result(timeout), None))
            except (raftx.NotDone, TimeoutError) as error:
                tell("read", (None, type(error).__name__))
        elif command == "journal":
            tell("journal", list(journal.commands))
        elif command == "hold":
            # The whole process stands still, as far as Python goes, until the parent says something.
            tell("holding")
            wait = PollFd(pipe.fileno(), select.POLLIN, 0)
            ctypes.PyDLL(None).poll(ctypes.byref(wait), 1, int(WAIT * 1000))
            tell("released")
    for thread in threads:
        thread.join(WAIT)


class Member:
    """One process and what it has said."""

    def __init__(self, id, urls, directory, settings, transport_settings, body=run_member, first=()):
        self.id = id
        self.pipe, theirs = SPAWN.Pipe()
        arguments = (*first, theirs, id, urls, str(directory), settings, transport_settings)
        self.process = SPAWN.Process(target=body, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.done = []

    def receive(self, *kinds):
        """The next message of one of these kinds; what is done is kept meanwhile."""
        deadline = time.monotonic() + WAIT
        while True:
            if not self.pipe.poll(max(0.0, deadline - time.monotonic())):
                raise TimeoutError(f"member {self.id} says nothing")
            kind, *values = self.pipe.recv()
            if kind == "done":
                self.done.append(tuple(values))
            if kind == "error":
                raise RuntimeError(f"member {self.id}:\n{values[0]}")
            if kind in kinds:
                return values[0] if values else None

    def hold(self):
        """Let it stand still inside a C call that keeps the GIL."""
        self.pipe.send(("hold",))
        self.receive("holding")

    def let_go(self):
        """What it was asked before stays true until now: it has stood still."""
        assert not self.pipe.poll(0)
        self.pipe.send(("go",))
        self.receive("released")

    def drain(self):
        """Take what has been said."""
        while self.pipe.poll(0):
            kind, *values = self.pipe.recv()
            if kind == "done":
                self.done.append(tuple(values))
            if kind == "error":
                raise RuntimeError(f"member {self.id}:\n{values[0]}")

    def ask(self, command, *arguments, answer=None):
        self.pipe.send((command, *arguments))
        return self.receive(answer or command)

    def kill(self):
        """SIGKILL; what it had said by then counts."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(WAIT)
        with contextlib.suppress(EOFError, OSError):
            self.drain()
        self.pipe.close()

    def close(self):
        if self.process.is_alive():
            with contextlib.suppress(OSError):
                self.pipe.send(("stop",))
            end = time.monotonic() + 10
            while self.process.is_alive() and time.monotonic() < end:
                # A full pipe would keep it from ending.
                with contextlib.suppress(EOFError, OSError):
                    self.drain()
                self.process.join(0.01)
            if self.process.is_alive():
                self.process.kill()
                self.process.join(WAIT)
        self.pipe.close()


class Processes:
    """A cluster of members. transport: settings, and "way" (transports.make_transport)."""

    def __init__(self, directory, n=3, transport=None, **settings):
        self.urls = {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(ports(n), 1)}
        self.directory = directory
        self.settings = settings
        self.transport = transport or {}
        self.members = {}
        self.done = []

    def start(self, *ids):
        for id in ids or self.urls:
            self.members[id] = self.make(id)
        for id in ids or self.urls:
            self.members[id].receive("ready")

    def make(self, id):
        return Member(id, self.urls, self.directory / str(id), self.settings, self.transport)

    def kill(self, id):
        member = self.members.pop(id)
        member.kill()
        self.done += member.done

    def stop(self):
        for member in self.members.values():
            member.close()
            self.done += member.done
        self.members.clear()

    def leader(self):
        """The member that all living ones take for the leader."""
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            views = {member.ask("status")["leader"] for member in self.members.values()}
            if len(views) == 1 and views <= set(self.members):
                return self.members[views.pop()]
            time.sleep(0.01)
        raise TimeoutError("no leader")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
