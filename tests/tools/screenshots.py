"""Pictures of the live page, of a real cluster under load: ``python -m tests.tools.screenshots [--to FOLDER]``.

    admin-light.png, admin-dark.png     for the documents
    phone, degraded, down               beside them with --all, to look at

Needs playwright and a Chromium (Debian: apt-get install chromium). Exit status 2 where there is none.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import raftx
from tests.helpers.browser import Browser, open_browser, why_none
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports

WARM_SECONDS = 40.0
LEADER_SECONDS = 30.0
SIZES = {"wide": (1060, 985), "phone": (390, 1400)}


class Sum:
    """A state machine."""

    total = 0

    def apply(self, entry: raftx.Entry) -> int:
        self.total += len(entry.data)
        return self.total

    def snapshot(self) -> bytes:
        return self.total.to_bytes(8, "big") * 4096

    def restore(self, reader: Any) -> None:
        self.total = int.from_bytes(reader.read()[:8], "big")


class Cluster:
    """Five members in this process, and somebody who writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.urls = {id: f"tcp://127.0.0.1:{port}" for id, port in zip(range(1, 6), ports(5))}
        self.nodes: dict[int, raftx.Node[int]] = {}
        self.ending = threading.Event()
        self.writer = threading.Thread(target=self._write, name="writer", daemon=True)
        for id in (1, 2, 3, 4):
            raftx.FileStorage.create(folder / str(id), id=id, members={each: self.urls[each] for each in (1, 2, 3, 4)})
            self.start(id)
        raftx.FileStorage.create(folder / "5", id=5, join=[self.urls[id] for id in (1, 2, 3, 4)])
        self.start(5)

    def start(self, id: int) -> None:
        self.nodes[id] = raftx.Node(
            raftx.Config(id=id, snapshot_entries=20_000),
            raftx.FileStorage(self.folder / str(id)),
            raftx.NngTransport(self.urls[id], self.urls),
            Sum(),
            admin="127.0.0.1:0",
        ).start()

    @property
    def url(self) -> str:
        return self.nodes[1].admin_url

    def leader(self) -> raftx.Node[int]:
        deadline = time.monotonic() + LEADER_SECONDS
        while time.monotonic() < deadline:
            for node in self.nodes.values():
                if node.is_leader:
                    return node
            time.sleep(0.02)
        raise TimeoutError("no leader")

    def _write(self) -> None:
        draw = random.Random(1)
        while not self.ending.is_set():
            node = draw.choice(list(self.nodes.values()))
            with contextlib.suppress(raftx.RaftError, TimeoutError):
                for _ in range(draw.randrange(1, 6)):
                    node.propose_many([draw.randbytes(120) for _ in range(draw.randrange(1, 24))])
            time.sleep(draw.uniform(0.002, 0.02))

    def live(self, seconds: float) -> None:
        """Let things happen: a member joins, leadership moves, snapshots are made."""
        self.leader()
        self.writer.start()
        node = self.leader()
        node.add_voter(5, self.urls[5]).result(timeout=30)
        time.sleep(seconds / 3)
        self.leader().transfer_leadership().result(timeout=10)
        time.sleep(seconds / 3)
        self.nodes[1].snapshot().result(timeout=30)
        with contextlib.suppress(raftx.ProposalError):
            self.leader().transfer_leadership(2).result(timeout=10)
        time.sleep(seconds / 3)

    def close(self) -> None:
        self.ending.set()
        if self.writer.is_alive():
            self.writer.join()
        for node in self.nodes.values():
            node.close()


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="raftx-page-") as folder:
        made = Cluster(Path(folder))
        try:
            yield made
        finally:
            made.close()


def shoot(browser: Browser, url: str, to: Path, theme: str, size: str, seconds: float = 0.0) -> None:
    width, height = SIZES[size]
    page = browser.page(url, width, height, theme)
    try:
        page.wait_for_selector("#members-table tbody tr")
        time.sleep(seconds)
        page.screenshot(path=str(to), full_page=size == "phone")
    finally:
        page.close()


def main(arguments: list[str]) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=ROOT / "docs", help="the folder")
    parser.add_argument("--all", action="store_true", help="more of them")
    parser.add_argument("--seconds", type=float, default=WARM_SECONDS, help="of load before the first one")
    options = parser.parse_args(arguments)
    reason = why_none()
    if reason:
        sys.stderr.write(f"{reason}\n")
        return 2
    options.to.mkdir(parents=True, exist_ok=True)
    with cluster() as made, open_browser() as browser:
        page = browser.page(made.url, *SIZES["wide"], "light")  # it collects what the pictures show
        dark = browser.page(made.url, *SIZES["wide"], "dark")
        made.live(options.seconds)
        page.screenshot(path=str(options.to / "admin-light.png"))
        dark.screenshot(path=str(options.to / "admin-dark.png"))
        if options.all:
            shoot(browser, made.url, options.to / "phone.png", "light", "phone", 5)
            shoot(browser, made.url, options.to / "phone-dark.png", "dark", "phone", 5)
            made.nodes.pop(4).close()
            time.sleep(5)
            page.screenshot(path=str(options.to / "degraded.png"))
            for id in (2, 3, 5):
                made.nodes.pop(id).close()
            time.sleep(4)
            page.screenshot(path=str(options.to / "no-leader.png"))
            made.nodes[1].close()
            time.sleep(6)
            page.screenshot(path=str(options.to / "down.png"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
