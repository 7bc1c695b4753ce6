"""Members with recipes as real processes: the parent says which object is to do what. Not a test."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback

from tests.helpers.processes import WAIT, Member, Processes, Reporter
from tests.helpers.storages import founded


class Notes:
    """A state machine of its own beside recipes: notes, each with the token of lock "x"."""

    def __init__(self):
        self.notes = []
        self.recipes = None

    def apply(self, entry):
        token, note = entry.data.split(b" ", 1)
        self.recipes.check("x", int(token))
        self.notes.append((int(token), note))
        return len(self.notes)

    def snapshot(self):
        return repr(self.notes).encode()

    def restore(self, reader):
        self.notes = eval(reader.read())


def run_recipes(ttl, pipe, id, urls, directory, settings, transport_settings):
    """The body of a process."""
    tell = Reporter(pipe)
    try:
        import raftx
        import raftx.recipes

        own = Notes()
        own.recipes = machine = raftx.recipes.Recipes(own)
        node = raftx.Node(
            raftx.Config(id=id, **settings),
            founded(raftx, directory, urls, id=id, segment_bytes=1 << 20),
            raftx.NngTransport(urls[id], {i: u for i, u in urls.items() if i != id}, **transport_settings),
            machine,
        )
        with node:
            tell("ready", raftx.COMPILED)
            clients = {}
            serve(raftx, node, clients, ttl, pipe, tell)
            for client in clients.values():
                client.close()
        tell("closed")
    except EOFError:
        pass
    except BaseException:
        tell("error", traceback.format_exc())


def serve(raftx, node, clients, ttl, pipe, tell):
    """Requests, each on a thread, until told to stop."""
    objects = {}

    def find(client, key, kind, arguments):
        if client not in clients:
            clients[client] = raftx.recipes.Client(node, ttl=ttl, timeout=20.0)
        if key not in objects:
            makes = clients[client]
            if kind in ("reader", "writer"):
                makes, arguments = makes.rwlock(*arguments), ()
            objects[key] = getattr(makes, kind)(*arguments)
        return objects[key]

    def plain(value, key):
        if isinstance(value, raftx.recipes.Item):
            objects[key, "item"] = value
            return value.number, value.value, value.attempts, value.token
        return value

    def do(number, target, method, arguments, more):
        try:
            if target == "node":
                value = node.propose(*arguments, timeout=20.0).result(WAIT).result
            elif target == "own":
                value = node.query(lambda machine: list(machine.machine.notes)).result(WAIT)
            elif method == "changes":
                value = changes_of(target)
            elif method.startswith("="):
                value = getattr(target, method[1:])
            elif method == "lost?":
                value = target.lost.is_set()
            else:
                value = getattr(target, method)(*arguments, **more)
            tell("answer", (number, plain(value, next((k for k, v in objects.items() if v is target), None)), None))
        except Exception as error:
            tell("answer", (number, None, f"{type(error).__name__}: {error}"))

    while True:
        command, *arguments = pipe.recv()
        if command == "stop":
            return
        if command == "status":
            tell("status", node.status().to_dict())
            continue
        number, client, key, kind, made_of, method, given, more = arguments
        if kind in ("node", "own"):
            target = kind
        elif kind == "item":
            target = objects[key, "item"]
        else:
            target = find(client, key, kind, made_of)
        threading.Thread(target=do, args=(number, target, method, given, more), daemon=True).start()


def changes_of(values):
    """All changes of a dict that are kept."""
    last, found = values.items().revision, []
    watch = values.watch(max(0, last - 1000))
    while watch.revision < last:
        found.append(watch.next(WAIT))
    return found


class Refused(Exception):
    """What an object has raised."""


class Thing:
    """An object of a member."""

    def __init__(self, member, client, kind, *made_of):
        self.member, self.client, self.kind, self.made_of = member, client, kind, made_of
        self.key = f"{client} {member.counted()}"

    def begin(self, method, *given, **more):
        """Ask for something; the number of the request."""
        number = self.member.counted()
        made_of = self.made_of
        self.member.pipe.send(("do", number, self.client, self.key, self.kind, made_of, method, given, more))
        return number

    def end(self, number):
        """The answer. Raises Refused."""
        return self.member.answer(number)

    def __call__(self, method, *given, **more):
        return self.end(self.begin(method, *given, **more))

    def item(self):
        """The item that it has got."""
        made = Thing(self.member, self.client, "item")
        made.key = self.key
        return made


class RecipeMember(Member):
    """One process."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.count = 0
        self.answers = {}

    def counted(self):
        self.count += 1
        return self.count

    def thing(self, kind, *made_of, client="a"):
        return Thing(self, client, kind, *made_of)

    def answer(self, number):
        deadline = time.monotonic() + WAIT
        while number not in self.answers:
            assert time.monotonic() < deadline
            found, value, error = self.receive("answer")
            self.answers[found] = value, error
        value, error = self.answers.pop(number)
        if error is not None:
            raise Refused(error)
        return value

    def stop(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)


class RecipeProcesses(Processes):
    """A cluster of them."""

    def __init__(self, directory, n=3, ttl=2.0, **settings):
        super().__init__(directory, n, **settings)
        self.ttl = ttl

    def make(self, id):
        directory = self.directory / str(id)
        return RecipeMember(
            id, self.urls, directory, self.settings, self.transport, body=run_recipes, first=(self.ttl,)
        )

    def __exit__(self, *_):
        # To end well, the last of them would try for seconds to give back what it holds, without a majority.
        for id in list(self.members):
            self.kill(id)
