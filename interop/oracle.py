"""An oracle: another harness in a process of its own, spoken to in the session of protocol.md."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

Head = dict[str, Any]
Steps = list[list[Any]]


class OracleDied(Exception):
    """The oracle ended instead of answering; the text is what it said last."""


class Oracle:
    """A harness in a process of its own. What it says on standard error is shown when it dies."""

    _encode = json.JSONEncoder(separators=(",", ":")).encode

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        try:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
            )
        except OSError:
            self._errors.close()
            raise

    def send(self, head: Head, steps: Steps, full: bool = False) -> None:
        """Give it a scenario."""
        encode = self._encode
        end = ["end", "full"] if full else ["end"]
        lines = "\n".join([encode(head), *[encode(step) for step in steps], encode(end), ""])
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(lines.encode())
            stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error

    def receive(self) -> str:
        """Its line about the oldest scenario that has none yet."""
        stdout = self._process.stdout
        assert stdout is not None
        line = stdout.readline()
        if not line.endswith(b"\n"):
            raise self._died()
        return line[:-1].decode()

    def ask(self, head: Head, steps: Steps) -> list[str]:
        """The full answers of a scenario."""
        self.send(head, steps, full=True)
        answers: list[str] = json.loads(self.receive())
        return answers

    def _died(self) -> OracleDied:
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read()[-2000:].decode(errors="replace").strip()
        return OracleDied(f"{shlex.join(self.command)} ended with status {self._process.returncode}: {said}")

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
