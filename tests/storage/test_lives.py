"""The file ``lives``: what a member remembers of lives, through crashes, full disks and damage."""

import contextlib
import errno
import itertools
import random
from pathlib import Path

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.wal import CLUSTER, create

PATH = "/m"
STORE = bytes(range(16))
ROWS = 408
SLOT = 16 << 10


def met(impl, life, store=STORE):
    return module(impl, "storage.protocol").Met(life, store)


def opened(impl, path, **settings):
    storage = impl.FileStorage(path, **settings)
    return storage, storage.open(1, CLUSTER)


def test_each_opening_is_a_life_of_its_own(impl, tmp_path):
    """It counts, and no two have the same number, also where the directory was set back in between."""
    path = tmp_path / "m"
    create(impl, path)
    before = {each.name: each.read_bytes() for each in path.iterdir()}
    lives = []
    for count in (1, 2, 3):
        storage, loaded = opened(impl, path)
        lives.append(loaded.life)
        assert loaded.life >> 32 == loaded.incarnation == count
        assert loaded.store == module(impl, "storage.founding").decode((path / "founding").read_bytes()).store
        storage.close()
    for each in path.iterdir():
        each.unlink()
    for name, data in before.items():
        (path / name).write_bytes(data)
    storage, loaded = opened(impl, path)
    storage.close()
    assert loaded.life >> 32 == 1 and loaded.life not in lives


def test_what_was_met_is_there_again(impl, tmp_path):
    path = tmp_path / "m"
    create(impl, path)
    storage, loaded = opened(impl, path)
    assert loaded.met == {} and not loaded.rebuilt
    expected = {}
    for id, life in ((2, 5 << 32 | 9), (3, 1 << 32), (2, 6 << 32 | 1)):
        store = bytes([id] * 16)
        assert storage.remember(id, met(impl, life, store)) is True
        expected[id] = met(impl, life, store)
        storage.close()
        storage, loaded = opened(impl, path)
        assert loaded.met == expected
    storage.close()


def test_more_members_than_there_are_rows(impl, tmp_path):
    """Who was learned of longest ago makes room; whoever is heard of again is kept."""
    path = tmp_path / "m"
    create(impl, path)
    storage, _ = opened(impl, path)
    for id in range(2, ROWS + 2):
        storage.remember(id, met(impl, id))
    storage.remember(2, met(impl, 2000))
    for id in range(1000, 1003):
        storage.remember(id, met(impl, id))
    storage.close()
    storage, loaded = opened(impl, path)
    storage.close()
    assert len(loaded.met) == ROWS and loaded.met[2].life == 2000
    assert [id for id in (3, 4, 5, 6, 1000, 1002) if id in loaded.met] == [6, 1000, 1002]


def test_a_member_that_was_told_that_it_has_forgotten_does_not_open(impl, tmp_path):
    path = tmp_path / "m"
    create(impl, path)
    storage, _ = opened(impl, path)
    storage.forgotten(5000 << 32 | 0xAB)
    storage.close()
    storage = impl.FileStorage(path)
    for _ in range(2):
        with pytest.raises(impl.MemoryLost, match=r"life 5000 \(000000ab\).*raftx wal rebuild"):
            storage.open(1, CLUSTER)
    seen = module(impl, "storage.look").look(path)
    assert [each.file for each in seen.damage] == ["lives"] and "has lost its memory" in seen.damage[0].reason
    seen.close()
    # What was remembered of others is kept, and the new directory's lives come after the one that was lost.
    module(impl, "storage.rebuild").rebuild(path)
    storage, loaded = opened(impl, path)
    storage.close()
    assert loaded.incarnation > 5000 and loaded.rebuilt and loaded.hard_state.in_doubt


def test_a_rebuilt_member_in_doubt_counts_on_from_the_life_that_others_have_met(impl, tmp_path):
    """It knows that it has forgotten everything: only its number was too low. Once the doubt is over it is refused."""
    path = tmp_path / "m"
    module(impl, "storage.rebuild").rebuild(path, id=1, members=[1, 2, 3], cluster=CLUSTER)
    storage, loaded = opened(impl, path)
    assert loaded.incarnation == 1025 and loaded.hard_state.in_doubt
    storage.forgotten(5000 << 32 | 0xAB)
    storage.close()
    with module(impl, "storage.look").look(path) as seen:
        assert not seen.damage and ("lives", 0) in [mend[:2] for mend in seen.mends]
        assert any("above that" in mend[2] for mend in seen.mends)
    storage, loaded = opened(impl, path)
    assert loaded.incarnation == 5001 and loaded.hard_state.in_doubt and loaded.rebuilt
    storage.close()
    storage, loaded = opened(impl, path)
    assert loaded.incarnation == 5002
    # A life of the very number it lives does no harm either.
    storage.forgotten(5002 << 32 | 1)
    storage.close()
    storage, loaded = opened(impl, path)
    assert loaded.incarnation == 5003
    storage.append(impl.HardState(3, 2, 0, False), [])
    storage.sync()
    storage.forgotten(9000 << 32)
    storage.close()
    with pytest.raises(impl.MemoryLost, match="life 9000"):
        opened(impl, path)
    with module(impl, "storage.look").look(path) as seen:
        assert [each.file for each in seen.damage] == ["lives"]
    # A member that was removed stays away, in doubt or not.
    module(impl, "storage.rebuild").rebuild(path)
    storage, _ = opened(impl, path)
    storage.forgotten(module(impl, "storage.wal_format").REMOVED_LIFE)
    storage.close()
    with pytest.raises(impl.Removed):
        opened(impl, path)
    with module(impl, "storage.look").look(path) as seen:
        assert "was removed" in seen.damage[0].reason
    # The doubt that counts is the one on disk: whoever takes the directory as it is has none.
    module(impl, "storage.rebuild").rebuild(path)
    storage, _ = opened(impl, path)
    storage.forgotten(20_000 << 32)
    storage.close()
    with pytest.raises(impl.MemoryLost, match="life 20000"):
        opened(impl, path, accept_loss=True)


def test_a_rebuilt_member_knows_whom_it_had_met(impl, tmp_path):
    path = tmp_path / "m"
    create(impl, path)
    storage, _ = opened(impl, path)
    storage.remember(2, met(impl, 5))
    storage.forgotten(9 << 32)
    storage.close()
    module(impl, "storage.rebuild").rebuild(path)
    storage, loaded = opened(impl, path)
    storage.close()
    assert loaded.met == {2: met(impl, 5)}


@pytest.mark.parametrize("what", ["missing", "both slots", "cut"])
def test_a_file_that_cannot_be_read_is_refused(impl, tmp_path, what):
    path = tmp_path / "m"
    create(impl, path)
    file = path / "lives"
    if what == "missing":
        file.unlink()
    elif what == "cut":
        file.write_bytes(file.read_bytes()[:40])
    else:
        file.write_bytes(bytes(2 * SLOT))
    with pytest.raises(impl.WalDamaged, match=rf"the file lives is {'missing' if what == 'missing' else 'damaged'}"):
        impl.FileStorage(path).open(1, CLUSTER)


def test_every_byte_of_the_newer_slot_counts(impl, tmp_path):
    """Each bit of it: the older one serves then, and says the same."""
    path = tmp_path / "m"
    create(impl, path)
    storage, loaded = opened(impl, path)
    storage.remember(2, met(impl, 5))
    storage.close()
    lives = module(impl, "storage.lives")
    store = loaded.store
    whole = (path / "lives").read_bytes()
    slots = [lives.decode(whole[at : at + SLOT]) for at in (0, SLOT)]
    assert [each.store for each in slots] == [store, store]
    newer = max(range(2), key=lambda each: slots[each].number)
    assert slots[newer].met == slots[1 - newer].met == {2: met(impl, 5)}
    assert (slots[newer].number, slots[1 - newer].number) == (4, 3)
    for bit in range(8 * (64 + 32)):
        data = bytearray(whole[newer * SLOT : (newer + 1) * SLOT])
        data[bit // 8] ^= 1 << bit % 8
        assert lives.decode(bytes(data)) is None, bit


def damaged(path, slot, how="a bit"):
    """Damage one slot of the file of that directory."""
    data = bytearray((path / "lives").read_bytes())
    if how == "a bit":
        data[slot * SLOT + 70] ^= 1
    elif how == "zeros":
        data[slot * SLOT : (slot + 1) * SLOT] = bytes(SLOT)
    else:
        data[slot * SLOT : (slot + 1) * SLOT] = data[(1 - slot) * SLOT : (2 - slot) * SLOT]
    (path / "lives").write_bytes(data)


@pytest.mark.parametrize("how", ["a bit", "zeros", "a copy of the other one"])
@pytest.mark.parametrize("slot", [0, 1])
def test_one_slot_is_enough_and_the_other_one_is_written_again(impl, tmp_path, caplog, slot, how):
    """What was met is in both; people are told of the damage, and the next one takes nothing either."""
    path = tmp_path / "m"
    create(impl, path)
    storage, _ = opened(impl, path)
    for life in (5, 6):
        storage.remember(2, met(impl, life))
    storage.close()
    for each, count in ((slot, 2), (1 - slot, 3)):
        damaged(path, each, how)
        caplog.clear()
        with module(impl, "storage.look").look(path) as seen:
            assert [(file, place) for file, place, _ in seen.mends] == [("lives", each * SLOT)] and not seen.damage
        storage, loaded = opened(impl, path)
        storage.close()
        assert loaded.met == {2: met(impl, 6)} and loaded.incarnation == count and not loaded.hard_state.in_doubt
        assert storage.repaired[:2] == ("lives", each * SLOT)
        assert f"lives repaired at byte {each * SLOT}: one of its two slots cannot be read" in caplog.text
    storage, loaded = opened(impl, path)
    storage.close()
    assert storage.repaired is None and loaded.met == {2: met(impl, 6)}


def test_a_slot_that_was_never_written_is_no_damage(impl, tmp_path):
    path = tmp_path / "m"
    create(impl, path)
    assert (path / "lives").read_bytes()[SLOT:] == bytes(SLOT)
    storage, _ = opened(impl, path)
    storage.close()
    assert storage.repaired is None


def test_a_write_that_failed_is_made_again_in_the_same_slot(impl):
    """Half of it may be there. The other slot is the only whole one, and stays as it is until the write has ended."""
    disk = module(impl, "testing.disk").SimDisk(random.Random(1))
    create(impl, PATH, disk=disk)
    storage, loaded = opened(impl, PATH, disk=disk)
    storage.remember(2, met(impl, 5))
    decode = module(impl, "storage.lives").decode

    def slots():
        data = disk.read(f"{PATH}/lives")
        return [each and each.met for each in (decode(data[at : at + SLOT]) for at in (0, SLOT))]

    assert {2: met(impl, 5)} in slots()
    disk.fail("write", errno.ENOSPC, times=3, name="lives", short=True)
    for life in (6, 7, 8):
        with pytest.raises(impl.StorageFailed):
            storage.remember(2, met(impl, life))
        assert {2: met(impl, 5)} in slots()
    storage.remember(2, met(impl, 9))
    assert slots() == 2 * [{2: met(impl, 9)}]
    disk.crash()
    storage, loaded = opened(impl, PATH, disk=disk)
    storage.close()
    assert loaded.met == {2: met(impl, 9)}


def test_the_power_goes_at_every_operation(impl):
    """What was remembered before it is remembered; what was under way is, or is not."""
    sim = module(impl, "testing.disk")
    reached = 0
    for cut in itertools.count(1):
        disk = sim.SimDisk(random.Random(cut))
        create(impl, PATH, disk=disk)
        storage, _ = opened(impl, PATH, disk=disk)
        storage.remember(2, met(impl, 1))
        disk.cut_after(cut)
        done = True
        try:
            for life in (2, 3):
                storage.remember(2, met(impl, life))
                reached = life
        except impl.StorageError:
            done = False
        disk.crash()
        disk.repair()
        storage, loaded = opened(impl, PATH, disk=disk)
        storage.close()
        assert loaded.met[2].life in (reached, reached + 1) if not done else loaded.met[2].life == 3
        assert loaded.incarnation == 2
        if done:
            break
        reached = 1
    assert cut >= 4


def test_a_crash_while_it_is_opened_never_gives_a_number_twice(impl):
    """An opening that was cut may have told nobody; the next one counts on all the same."""
    sim = module(impl, "testing.disk")
    for cut in itertools.count(1):
        disk = sim.SimDisk(random.Random(cut))
        create(impl, PATH, disk=disk)
        storage, first = opened(impl, PATH, disk=disk)
        storage.remember(2, met(impl, 5))
        storage.close()
        disk.cut_after(cut)
        second = None
        with contextlib.suppress(impl.StorageError):
            storage, second = opened(impl, PATH, disk=disk)
        disk.crash()
        disk.repair()
        storage, third = opened(impl, PATH, disk=disk)
        storage.close()
        assert third.incarnation > (second or first).incarnation and third.met == {2: met(impl, 5)}
        if second is not None:
            break
    assert cut >= 5


def test_the_log_may_lose_its_end_and_lives_still_count_on(impl, tmp_path):
    """The batch of the last opening is gone: the member is in doubt, and its next life is no twin of the last."""
    path = tmp_path / "m"
    create(impl, path)
    for _ in range(3):
        storage, loaded = opened(impl, path)
        storage.close()
    log = next(Path(path).glob("wal-*.log"))
    data = bytearray(log.read_bytes())
    end = len(bytes(data).rstrip(b"\0"))
    data[(end - 1) // 4096 * 4096 :] = bytes(len(data) - (end - 1) // 4096 * 4096)
    log.write_bytes(data)
    (path / "wal.mark").unlink()
    storage, again = opened(impl, path)
    storage.close()
    assert again.incarnation == loaded.incarnation + 1 and again.hard_state.in_doubt


def test_a_full_disk_keeps_nobody_from_remembering(impl):
    sim = module(impl, "testing.disk")
    disk = sim.SimDisk(random.Random(1))
    create(impl, PATH, disk=disk)
    storage, _ = opened(impl, PATH, disk=disk)
    disk.capacity = disk.platter.used()
    assert storage.remember(2, met(impl, 5))
    storage.close()
    storage, loaded = opened(impl, PATH, disk=disk)
    storage.close()
    assert loaded.met == {2: met(impl, 5)}


def test_who_can_be_who_it_says(impl):
    """The table of docs/guarantees.md."""
    ledger = module(impl, "storage.ledger").Ledger(None, 0, 0)
    ledger.py_put(2, 5 << 32 | 7, 1, 2)
    other_store, earlier, twin = 1, 2, 3
    for life, words, rebuilt, expected in (
        (5 << 32 | 7, (1, 2), False, 0),  # the same
        (6 << 32 | 1, (1, 2), False, 0),  # the next one
        (5 << 32 | 8, (1, 2), False, twin),
        (4 << 32 | 9, (1, 2), False, earlier),
        (4 << 32 | 9, (1, 2), True, earlier),
        (1 << 32 | 9, (1, 3), False, other_store),
        (6 << 32 | 9, (1, 3), False, other_store),
        (6 << 32 | 9, (3, 2), True, 0),
        (5 << 32 | 7, (1, 3), True, other_store),  # it was set back before it was rebuilt
    ):
        assert ledger.py_refusal(2, life, *words, rebuilt) == expected, (life, words, rebuilt)
        assert ledger.py_refusal(3, life, *words, rebuilt) == 0
    assert ledger.py_rows() == [(2, 5 << 32 | 7, 1, 2)]


@pytest.mark.once
def test_both_modes_write_the_same():
    """A slot byte for byte."""
    if len(IMPLEMENTATIONS) < 2:
        pytest.skip("one mode only in this run: there is nothing to compare it with")
    draw = random.Random(3)
    one, other = [module(impl, "storage.ledger").Ledger(None, 2**64 - 1, 5, 9, 4) for impl in IMPLEMENTATIONS.values()]
    for _ in range(700):
        row = (draw.randrange(1, 600), *(draw.getrandbits(63) for _ in range(3)))
        one.py_put(*row)
        other.py_put(*row)
    assert one.py_slot() == other.py_slot() and one.py_rows() == other.py_rows()


def test_memory_storage_remembers(impl):
    storage = impl.MemoryStorage(voters=[1, 2], random=random.Random(1).randbytes)
    loaded = storage.open(1, CLUSTER)
    assert loaded.life == 1 << 32 | int.from_bytes(random.Random(1).randbytes(20)[16:], "little")
    assert storage.remember(2, met(impl, 5))
    storage.crash()
    loaded = storage.open(1, CLUSTER)
    assert loaded.met == {2: met(impl, 5)} and loaded.life >> 32 == 2
    storage.forgotten(3 << 32)
    storage.close()
    with pytest.raises(impl.MemoryLost):
        storage.open(1, CLUSTER)
