"""Looking names up: on a few threads, however many peers come and go, and whatever the resolver does.

A library that is loaded before the system's own answers for names that end in ``.slow``, ``.hangs`` and ``.new``.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import raftx
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports
from tests.helpers.transports import WAYS

LOOKUPS = 4  # names that are looked up at a time
ANSWERS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int asked(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static int ends(const char *name, const char *with) {
    size_t n = strlen(name), m = strlen(with);
    return n >= m && !strcmp(name + n - m, with);
}

int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **found) {
    asked *real = (asked *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && !(hints && hints->ai_flags & AI_NUMERICHOST)) {
        if (ends(name, ".hangs")) { sleep(60); return EAI_AGAIN; }
        if (ends(name, ".slow")) usleep(300000);
        if (ends(name, ".slow") || ends(name, ".new")) name = "127.0.0.1";
    }
    return real(name, port, hints, found);
}
"""

SCRIPT = """
import json, os, sys, time
import raftx
from tests.helpers.transports import make_transport

def threads():
    return len(os.listdir("/proc/self/task"))

def transport(way, peers, *rest):
    made = make_transport(raftx, way, "tcp://127.0.0.1:0", peers)
    node = raftx.Node(raftx.Config(id=1, tick_ms=10), raftx.MemoryStorage(voters=[1, *peers]), made).start()
    return made, node

def at_rest(way):
    "How many threads there are without a node: NNG keeps its own."
    transport(way, {})[1].close()
    time.sleep(0.1)
    return threads()

def wait(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()

def churn(way):
    "Peers whose lookups hang come and go; then the node is closed."
    before = at_rest(way)
    made, node = transport(way, {})
    time.sleep(0.1)
    running = threads()
    for number in range(20):
        made.add_peer(2 + number % 3, f"tcp://host{number}.hangs:5601")
        time.sleep(0.005)
        if number % 4:
            made.remove_peer(2 + number % 3)
    time.sleep(0.1)
    more = threads() - running
    node.close()
    time.sleep(0.1)
    return [more, threads() - before]

def several(way, port):
    "Slow names are looked up a few at a time; one that was removed while it waited is not."
    before = at_rest(way)
    made, node = transport(way, {id: f"tcp://number{id}.slow:{port}" for id in range(2, 8)})
    made.add_peer(8, "tcp://eight.hangs:1")
    time.sleep(0.03)
    made.remove_peer(8)
    made.add_peer(9, f"tcp://nine.new:{port}")
    failed = wait(lambda: made.status()["dial_failures"] >= 14)   # nobody listens there
    dials = made.status()["dials"]
    node.close()
    return [failed, dials >= 14, wait(lambda: threads() == before)]

def beside(way, port):
    "Names that can be found are, beside some that hang."
    made, node = transport(way, {id: f"tcp://number{id}.hangs:{port}" for id in (2, 3)})
    time.sleep(0.1)
    made.add_peer(4, f"tcp://four.slow:{port}")
    made.add_peer(5, f"tcp://five.new:{port}")
    return wait(lambda: made.status()["dial_failures"] >= 4)   # nobody listens there

def ends(way):
    "A lookup that ends after the node was closed wakes nobody."
    before = at_rest(way)
    made, node = transport(way, {2: "tcp://two.slow:1", 3: "tcp://three.slow:1"})
    time.sleep(0.1)
    node.close()
    return [made.status()["dials"], wait(lambda: threads() == before)]

if __name__ == "__main__":
    what, way, *rest = sys.argv[1:]
    print(json.dumps(globals()[what](way, *rest)), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def lookups(tmp_path_factory):
    """``lookups(name, way, ...)``: what this function of the script gives, run where lookups are as they say."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "there is no C compiler, which make names as needed"
    path = tmp_path_factory.mktemp("lookups")
    (path / "answers.c").write_text(ANSWERS)
    (path / "script.py").write_text(SCRIPT)
    library = path / "answers.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, path / "answers.c", "-ldl"], check=True)
    package = str(Path(raftx.__file__).parent.parent)

    def run(pure, *arguments):
        # What is loaded first in a build with sanitizers stays the first.
        preload = " ".join([*os.environ.get("LD_PRELOAD", "").split(), str(library)])
        environment = {**os.environ, "PYTHONPATH": f"{package}:{ROOT}", "LD_PRELOAD": preload, "RAFTX_PURE": "1" * pure}
        done = subprocess.run(
            [sys.executable, path / "script.py", *map(str, arguments)],
            capture_output=True, text=True, timeout=60, check=True, cwd=ROOT, env=environment,
        )  # fmt: skip
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("way", WAYS)
def test_peers_that_come_and_go_leave_few_threads(impl, lookups, way):
    """While the transport runs, and after it was closed: a lookup that hangs cannot be cancelled."""
    while_open, after = lookups(not impl.COMPILED, "churn", way)
    # Twenty names are asked for. On a busy machine a thread of the node itself may begin meanwhile.
    assert while_open <= LOOKUPS + 3
    assert after <= LOOKUPS


@pytest.mark.parametrize("way", ["direct", "tcp"])
def test_names_are_looked_up_a_few_at_a_time(impl, lookups, way):
    (port,) = ports(1)
    assert lookups(not impl.COMPILED, "several", way, port) == [True, True, True]


@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_hangs_holds_up_no_other(impl, lookups, way):
    (port,) = ports(1)
    assert lookups(not impl.COMPILED, "beside", way, port)


@pytest.mark.parametrize("way", ["direct", "tcp"])
def test_a_lookup_may_end_after_the_node(impl, lookups, way):
    assert lookups(not impl.COMPILED, "ends", way) == [0, True]
