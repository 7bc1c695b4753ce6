"""The seal behind a frame: what it lets through, and that nothing comes twice. Both implementations make the same."""

import hashlib
import hmac
import random

import pytest

from tests.helpers.implementations import module
from tests.helpers.sockets import CLUSTER

KEY, OTHER = bytes(range(32)), bytes(range(100, 132))
SEAL, REPLAY = 14, 15


def seal(impl, *keys):
    return module(impl, "_native.seal").Seal(list(keys or (KEY,)))


def frame(impl, sender=2, life=5, to=1):
    return module(impl, "_core").Codec(CLUSTER, sender, life).encode(to, [])


def test_a_seal_is_what_the_page_says(impl):
    """docs/wire-format.md: number, name of the key, 4 bytes, and half of an HMAC-SHA-256 over everything before it."""
    bare = frame(impl)
    one = seal(impl)
    for number in (1, 2, 3):
        sealed = one.py_close(bare)
        assert sealed[: len(bare)] == bare and len(sealed) == len(bare) + 32
        assert sealed[-32:-24] == number.to_bytes(8, "little")
        assert sealed[-24:-20] == hmac.digest(KEY, b"raftx key name", hashlib.sha256)[:4]
        assert sealed[-20:-16] == bytes(4)
        assert sealed[-16:] == hmac.digest(KEY, sealed[:-16], hashlib.sha256)[:16]


def test_what_was_changed_or_has_no_seal_is_refused(impl):
    sealed = seal(impl).py_close(frame(impl))
    other = seal(impl)
    for at in range(len(sealed)):
        for bit in (1, 128):
            changed = bytearray(sealed)
            changed[at] ^= bit
            assert other.py_open(bytes(changed)) == SEAL
    for size in range(len(sealed)):
        assert other.py_open(sealed[:size]) == SEAL
    assert other.py_open(sealed + b"\0") == SEAL
    assert other.py_open(frame(impl)) == SEAL
    assert seal(impl, OTHER).py_open(sealed) == SEAL
    assert other.py_open(sealed) == 0


def test_two_keys_while_one_takes_the_others_place(impl):
    bare = frame(impl)
    old, both, new = seal(impl, OTHER), seal(impl, KEY, OTHER), seal(impl, KEY)
    assert both.py_open(old.py_close(bare)) == 0
    assert new.py_open(both.py_close(bare)) == 0
    assert old.py_open(both.py_close(bare)) == SEAL


def test_no_frame_is_taken_twice(impl):
    """In order or not, and however far apart: held against a set of all numbers that came."""
    sender, taker = seal(impl), seal(impl)
    bare = frame(impl)
    made = [sender.py_close(bare) for _ in range(400)]
    rng = random.Random(7)
    came, highest = set(), -1
    for _ in range(3000):
        number = min(max(rng.randrange(highest - 70, highest + 5), 0), len(made) - 1)
        expected = 0 if number not in came and highest - number < 64 else REPLAY
        assert taker.py_open(made[number]) == expected, (number, highest)
        came.add(number)
        highest = max(highest, number)
    assert highest > 300


def test_a_new_life_counts_anew_and_an_old_one_takes_nothing_back(impl):
    first, second = seal(impl), seal(impl)
    taker = seal(impl)
    old = [first.py_close(frame(impl, life=5)) for _ in range(3)]
    new = [second.py_close(frame(impl, life=6)) for _ in range(3)]
    assert [taker.py_open(each) for each in (*old, *old)] == [0, 0, 0, REPLAY, REPLAY, REPLAY]
    assert [taker.py_open(each) for each in new] == [0, 0, 0]
    # What is of a life that is over is the node's to drop; it does not make the present one count anew.
    assert taker.py_open(old[0]) == 0
    assert [taker.py_open(each) for each in new] == [REPLAY, REPLAY, REPLAY]


def test_each_sender_has_numbers_of_its_own(impl):
    taker, makers = seal(impl), {id: seal(impl) for id in range(2, 300)}
    for id, maker in makers.items():
        assert taker.py_open(maker.py_close(frame(impl, sender=id))) == 0
    last = makers[299].py_close(frame(impl, sender=299))
    assert [taker.py_open(last), taker.py_open(last)] == [0, REPLAY]


@pytest.mark.parametrize("keys", [(), (KEY, OTHER, KEY), (b"short",), (KEY + b"x",), ("x" * 32,)])
def test_keys_are_checked_and_never_shown(impl, keys):
    made = module(impl, "_native.seal").Seal
    with pytest.raises(impl.ConfigError) as error:
        made(list(keys))
    assert "short" not in str(error.value)
    assert repr(seal(impl)) == "<raftx seal with 1 keys>"


def test_numbers_of_any_size_are_taken(impl):
    """Whoever has the key may say any number; it costs nothing."""
    bare = frame(impl)
    taker = seal(impl)
    for number in (1, 2**63, 2**64 - 1, 2**64 - 2):
        text = bare + number.to_bytes(8, "little") + hmac.digest(KEY, b"raftx key name", hashlib.sha256)[:4] + bytes(4)
        assert taker.py_open(text + hmac.digest(KEY, text, hashlib.sha256)[:16]) == 0
    text = bare + bytes(8) + hmac.digest(KEY, b"raftx key name", hashlib.sha256)[:4] + bytes(4)
    assert taker.py_open(text + hmac.digest(KEY, text, hashlib.sha256)[:16]) == REPLAY


def test_what_is_for_others_moves_no_number(impl):
    """Somebody who passes frames on to a member that they are not for must not make what is for it come late."""
    one, sender = module(impl, "_native.seal").Seal([KEY], CLUSTER, 1), seal(impl)
    early = sender.py_close(frame(impl))
    for _ in range(100):
        assert one.py_open(sender.py_close(frame(impl, to=3))) == 0  # the codec refuses it
        of_another = module(impl, "_core").Codec(b"another cluster!", 2, 2**40).encode(1, [])
        assert one.py_open(sender.py_close(of_another)) == 0
    assert one.py_open(early) == 0
    assert one.py_open(early) == REPLAY


def test_what_is_no_name_of_a_cluster(impl):
    with pytest.raises(impl.ConfigError, match="cluster must be 16 bytes"):
        module(impl, "_native.seal").Seal([KEY], b"short", 1)
