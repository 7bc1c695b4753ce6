"""The quick start of the README, walked as it is printed: members are started, killed, started again, and looked at.

Only the ports are others, and what installs raftx has run. It begins in a clone that was not compiled. Not a test: it
is given the directory of ``python`` and ``raftx``, which are installed. No member is left.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.ports import ports

WAIT = 60.0
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def installing() -> str:
    """The line that installs raftx."""
    return next(line for line in commands(0) if line.startswith("pip install"))


def commands(block: int) -> list[str]:
    """The lines of a block for a shell, without what is said of them."""
    return [re.sub(r"\s+# .*", "", line) for line in blocks("sh")[block].splitlines()]


class Walk:
    """A shell that begins in a clone within ``place``; its background jobs are members. pure: nothing is compiled."""

    def __init__(self, place: Path, programs: Path, pure: bool = False) -> None:
        self.pure = pure
        self.environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "NO_COLOR": "1"}
        clone = place / "clone"
        shutil.copytree(ROOT / "raftx", clone / "raftx", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        self.directory = clone
        first = [line for line in commands(0) if not line.startswith("pip ")]
        self.directory = directory = Path(self.run("; ".join([*first, "pwd"])).strip())
        numbers = ports(3)
        self.admins = ports(3)
        (service,) = blocks("python")
        (directory / "service.py").write_text(service, encoding="utf-8")
        script = "\n".join(commands(1))
        for port, number in zip(("5601", "5602", "5603"), numbers, strict=True):
            assert script.count(port) == 1
            script = script.replace(port, str(number))
        self.lines = script.splitlines()
        self.members: dict[int, subprocess.Popen[bytes]] = {}

    def run(self, line: str) -> str:
        """What a line prints, which must succeed."""
        done = subprocess.run(
            ["sh", "-ec", line], cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=WAIT
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    def start(self, id: int) -> None:
        """What a member says goes on in its file."""
        with open(self.directory / f"said-{id}", "ab") as said:
            self.members[id] = subprocess.Popen(
                ["python", "service.py", str(id)], cwd=self.directory, env=self.environment, stdout=said, stderr=said
            )

    def kill(self, id: int, how: int = signal.SIGKILL) -> int:
        """What it ended with."""
        member = self.members.pop(id)
        member.send_signal(how)
        return member.wait(WAIT)

    def counts(self, id: int) -> list[int]:
        """What a member has counted so far."""
        said = (self.directory / f"said-{id}").read_text(encoding="utf-8")
        return [int(number) for number in re.findall(rf"member {id} counts (\d+)", said)]

    def until(self, condition, what: str):
        deadline = time.monotonic() + WAIT
        while not (value := condition()):
            said = {path.name: path.read_text(encoding="utf-8")[-2000:] for path in self.directory.glob("said-*")}
            assert time.monotonic() < deadline, (what, said)
            time.sleep(0.05)
        return value

    def goes_on(self, id: int) -> None:
        so_far = len(self.counts(id))
        self.until(lambda: len(self.counts(id)) > so_far + 1, f"member {id} counts")

    def page(self, path: str, of: int = 1) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admins[of - 1]}{path}", timeout=WAIT) as answer:
            return answer.read().decode()

    def all_of_it(self) -> None:
        """Found three members, let them count, look at them; kill one, stop all, and start them again."""
        init, create, start, status = self.lines
        assert init.startswith("raftx init ") and create.startswith("for id in 1 2 3; do raftx create")
        assert start == "for id in 1 2 3; do python service.py $id & done" and status == "raftx status"
        self.run(f"{init} --admin-port {self.admins[0]}")
        text = (self.directory / "cluster.toml").read_text(encoding="utf-8")
        for number, port in enumerate(self.admins):
            # Three that are free need not be next to each other.
            text = re.sub(rf"(\[members\.{number + 1}\][^\[]*admin = \"127\.0\.0\.1:)\d+", rf"\g<1>{port}", text)
        (self.directory / "cluster.toml").write_text(text, encoding="utf-8")
        self.run(create)
        try:
            for id in (1, 2, 3):
                self.start(id)
            for id in (1, 2, 3):
                self.goes_on(id)
            table = self.run(status)
            assert table.count("follower") == 2 and table.count("leader") == 1
            assert self.page("/readyz") and "raftx_" in self.page("/metrics") and "<html" in self.page("/")
            self.kill(1)
            self.goes_on(2)
            self.start(1)
            self.goes_on(1)
            for id in (1, 2, 3):
                assert self.kill(id, signal.SIGTERM) == 0, (self.directory / f"said-{id}").read_text(encoding="utf-8")
                assert "Traceback" not in (self.directory / f"said-{id}").read_text(encoding="utf-8")
            last = max(self.counts(1) + self.counts(2) + self.counts(3))
            for id in (1, 2, 3):
                self.start(id)
            self.until(lambda: max(self.counts(2)) > last, "the cluster goes on where it was")
            counted = sorted(self.counts(1) + self.counts(2) + self.counts(3))
            assert len(set(counted)) == len(counted), "a count was made twice"
            if not self.pure:
                for path in self.directory.glob("said-*"):
                    assert "interpreted" not in path.read_text(encoding="utf-8"), "it is not the installed package"
        finally:
            for id in list(self.members):
                self.kill(id)
