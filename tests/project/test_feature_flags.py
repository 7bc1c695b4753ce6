"""examples/feature_flags.py: three processes that agree on who was first, and whose leader is killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.ports import ports
from tests.helpers.waiting import WAIT, eventually

pytestmark = [pytest.mark.once, pytest.mark.slow]


class Service:
    """The three members of one file."""

    def __init__(self, folder):
        raft, self.http = ports(3), ports(3)
        self.file = folder / "cluster.toml"
        members = "".join(f'[members.{id}]\nurl = "tcp://127.0.0.1:{port}"\n' for id, port in enumerate(raft, 1))
        self.file.write_text(f'cluster = "flags"\ndata = "data/{{id}}"\n{members}', encoding="utf-8")
        self.processes = {}

    def start(self, id, *options):
        example = str(ROOT / "examples" / "feature_flags.py")
        command = [sys.executable, example, str(self.file), str(id), str(self.http[id - 1])]
        self.processes[id] = subprocess.Popen(
            [*command, *options], env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
        )
        return self.processes[id]

    def ask(self, id, path, body=None):
        """(status, answer) of a request to a member; (0, None) when it is not there."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http[id - 1]}{path}", data)
        try:
            with urllib.request.urlopen(request, timeout=WAIT) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, None

    def ready(self, *ids):
        """Wait until these members are; one that has ended says why."""
        deadline = time.monotonic() + 2 * WAIT
        for id in ids:
            while (answer := self.ask(id, "/ready"))[0] != 200:
                ended = self.processes[id].poll() is not None
                assert not ended, self.processes[id].stderr.read()
                assert time.monotonic() < deadline, answer
                time.sleep(0.05)

    def change(self, id, name, old, new):
        """Until it is decided."""
        deadline = time.monotonic() + WAIT
        while True:
            status, answer = self.ask(id, f"/flags/{name}", {"old": old, "new": new})
            if status in (200, 409):
                return status, answer
            assert time.monotonic() < deadline, answer
            time.sleep(0.05)

    def close(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stderr.close()


@pytest.fixture
def service(tmp_path):
    with contextlib.closing(Service(tmp_path)) as made:
        yield made


def test_three_processes_and_the_end_of_a_leader(service):
    for id in (1, 2, 3):
        service.start(id, "--create")
    service.ready(1, 2, 3)
    assert service.change(1, "dark", None, {"on": True}) == (200, {"changed": True, "value": {"on": True}})
    # Compare-and-set: of many that believe the same, one is right, whatever member they ask.
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: service.change(n % 3 + 1, "dark", {"on": True}, n), range(6)))
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409, 409, 409]
    (won,) = [answer["value"] for status, answer in answers if status == 200]
    for id in (1, 2, 3):
        assert service.ask(id, "/flags/dark") == (200, {"value": won})
    # A second worker on one member's directory is told what to do, and nothing else happens.
    first = service.processes[1]
    second = service.start(1)
    service.processes.update({1: first, 4: second})
    errors = second.stderr.read()
    second.wait(WAIT)
    assert service.ask(1, "/flags/dark") == (200, {"value": won})
    assert second.returncode != 0
    assert "is in use by another process or node" in errors and "--workers 1" in errors


def test_the_leader_is_killed_and_comes_back(service):
    for id in (1, 2, 3):
        service.start(id, "--create")
    service.ready(1)
    assert service.change(1, "a", None, 1)[0] == 200
    leader = service.ask(1, "/ready")[1]["leader"]
    service.processes[leader].send_signal(signal.SIGKILL)
    service.processes[leader].wait()
    other = leader % 3 + 1
    assert service.change(other, "a", 1, 2)[0] == 200
    assert service.ask(leader, "/flags/a") == (0, None)
    # Founded once: it starts without --create, with all that it had and has missed.
    service.processes[leader].stderr.close()
    service.start(leader)
    eventually(lambda: service.ask(leader, "/flags/a") == (200, {"value": 2}), every=0.05)
    assert service.ask(leader, "/flags/a", {"old": 2})[0] == 400
    assert service.ask(leader, "/flags/none") == (200, {"value": None})
    # Asked to end, they end well.
    for process in service.processes.values():
        process.send_signal(signal.SIGTERM)
    for process in service.processes.values():
        assert process.wait(WAIT) in (0, -signal.SIGTERM)
