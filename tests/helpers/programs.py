"""Starts ``tests.helpers.writer`` as a program of its own, kills it, and hears what it said to the end. Not a test."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

from tests.helpers.paths import ROOT
from tests.helpers.writer import Judge, Kept, make_node

WAIT = 60.0


class Program:
    """One life of a member. before: what stands in front of the command, such as strace."""

    def __init__(self, judge: Judge, *arguments: str, before: tuple[str, ...] = ()) -> None:
        self.judge = judge
        command = [*before, sys.executable, "-m", "tests.helpers.writer", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.errors: list[str] = []
        #: all that it has said
        self.said: list[str] = []
        self.threads = [threading.Thread(target=each, daemon=True) for each in (self._read, self._read_errors)]
        for thread in self.threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):  # what was cut off was not said
                self.judge.heard(line.strip())
                self.said.append(line.strip())
                self.lines.put(line.strip())
        self.lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line.rstrip())

    def hear(self, kind: str, seconds: float = WAIT) -> str:
        """The next line of that kind; raises EOFError when there is none any more, TimeoutError."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(end - time.monotonic(), 0.001))
            except queue.Empty:
                raise TimeoutError(f"no {kind}: {self.errors[-3:]}") from None
            if line is None:
                self.lines.put(None)
                raise EOFError(f"no {kind}: {self.errors[-3:]}")
            if line.split(" ")[0] == kind:
                return line

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()

    def ask(self, command: str, answer: str) -> str:
        self.tell(command)
        return self.hear(answer)

    def state(self) -> dict:
        return json.loads(self.ask("state", "state").split(" ", 1)[1])

    def kill(self) -> None:
        """SIGKILL, and what it had said by then."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.end()

    def end(self, seconds: float = WAIT) -> int:
        """Wait for its end, and hear the rest. Raises subprocess.TimeoutExpired."""
        code = self.process.wait(seconds)
        for thread in self.threads:
            thread.join(WAIT)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        return code


def settled(programs: list[Program], members: set[int]) -> list[dict]:
    """Nobody proposes; the states, once all have applied the same and follow one of the members."""
    for program in programs:
        program.ask("pause", "paused")
    end = time.monotonic() + WAIT
    while True:
        states = [program.state() for program in programs]
        leaders = {state["leader"] for state in states}
        if len({state["applied"] for state in states}) == 1 and leaders <= members and len(leaders) == 1:
            return states
        assert time.monotonic() < end, f"they do not come together: {[(s['leader'], s['applied']) for s in states]}"
        time.sleep(0.02)


def look(raftx, directory: str) -> dict:
    """What a member alone in its group has, started in this process on its directory."""
    machine = Kept()
    storage_doubt = ""
    node = make_node(raftx, directory, machine).start()
    try:
        end = time.monotonic() + WAIT
        while not node.is_leader or node.applied_index < node.status().last:
            assert node.failure is None and time.monotonic() < end, node
            time.sleep(0.005)
        storage_doubt = node._outside.storage.doubt
        return {**machine.state(), "doubt": storage_doubt, "snapshot": node.status().to_dict()["snapshot"]}
    finally:
        node.close()
