"""raftx's own storages, held against what every storage must do (raftx.testing.storage_suite)."""

import random

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.wal import SMALL

VOTERS = [1, 2, 3]


def memory(impl, tmp_path):
    """A MemoryStorage is the same object in each of its lives."""
    kept = impl.MemoryStorage(VOTERS)
    return module(impl, "testing.storage_suite").Subject(lambda: kept, lambda storage: storage.crash())


def file(impl, tmp_path):
    return module(impl, "testing.storage_suite").Subject(
        lambda: impl.FileStorage(tmp_path / "node", VOTERS, segment_bytes=SMALL)
    )


def simulated(impl, tmp_path):
    disk = module(impl, "testing.disk").SimDisk(random.Random(3))

    def crash(storage):
        disk.crash()
        storage.close()

    return module(impl, "testing.storage_suite").Subject(
        lambda: impl.FileStorage("/node", VOTERS, segment_bytes=SMALL, disk=disk), crash
    )


def cases():
    """A storage of each kind and each check that it has to pass."""
    found = []
    suite = module(IMPLEMENTATIONS["pure"], "testing.storage_suite")
    for make, storage in ((memory, "MemoryStorage"), (file, "FileStorage"), (simulated, "FileStorage")):
        for check in suite.checks_for(getattr(IMPLEMENTATIONS["pure"], storage)):
            found.append(pytest.param(make, check.__name__, id=f"{make.__name__}-{check.__name__}"))
    return found


@pytest.mark.parametrize(("make", "check"), cases())
def test_conformance(impl, tmp_path, make, check):
    getattr(module(impl, "testing.storage_suite"), check)(make(impl, tmp_path))


class Forgetful:
    """A storage that breaks promises, one at a time."""

    def __init__(self, kept, fault):
        self.kept = kept
        self.fault = fault

    def open(self, id, cluster):
        loaded = self.kept.open(id, cluster)
        if self.fault == "incarnation":
            loaded.incarnation = 1
        elif self.fault == "entries":
            loaded.records = loaded.records[:-1]
        elif self.fault == "state":
            loaded.hard_state = type(loaded.hard_state)()
        elif self.fault == "base":
            loaded.base_index = 0
            loaded.base_term = 0
        return loaded

    def append(self, hard_state, records):
        self.kept.append(hard_state, records if self.fault != "pieces" else records[:1])

    def sync(self):
        if self.fault != "sync":
            self.kept.sync()

    def compact(self, index, term, conf_state):
        if self.fault == "too much":
            index += 1
        self.kept.compact(index, term, conf_state)

    def close(self):
        if self.fault != "close":
            self.kept.close()


@pytest.mark.parametrize("fault", ["incarnation", "entries", "state", "base", "pieces", "sync", "too much", "close"])
def test_the_suite_finds_what_is_wrong(impl, fault):
    """Each broken promise fails a check; a storage that keeps them does not."""
    suite = module(impl, "testing.storage_suite")

    def failures(fault):
        failed = []
        for check in suite.checks_for(Forgetful):
            kept = impl.MemoryStorage(VOTERS)
            subject = suite.Subject(lambda kept=kept: Forgetful(kept, fault), lambda storage: storage.kept.crash())
            try:
                check(subject)
            except Exception:
                failed.append(check.__name__)
        return failed

    assert failures("") == []
    assert failures(fault)
