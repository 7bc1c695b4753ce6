"""The wire format holds still: frames of fixed messages, byte for byte as in golden/frames.json.

A change of the format is a change of that file, to be looked at with the change that made it:
``RAFTX_WRITE_GOLDEN=1 python -m pytest tests/native/test_golden_frames.py`` writes it anew, from the definition in
plain Python. Members of different versions cannot talk once a byte of it differs.
"""

from __future__ import annotations

import json
import os
from types import ModuleType

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS
from tests.helpers.paths import DATA
from tests.helpers.wire_samples import BODY_KINDS, RECIPIENT, WIRE_KINDS, addressed, codecs, samples, seen

GOLDEN = DATA / "golden" / "frames.json"


def frames(impl: ModuleType) -> dict[str, str]:
    """The frame of each sample, as hex."""
    sender, _ = codecs(impl)
    return {name: sender.encode(RECIPIENT, messages).hex() for name, messages in samples(impl).items()}


def write() -> None:
    """Write the file anew."""
    text = json.dumps(frames(IMPLEMENTATIONS["pure"]), indent=0, sort_keys=True)
    GOLDEN.write_text(text + "\n", encoding="ascii")


@pytest.fixture(scope="module")
def golden() -> dict[str, str]:
    """What the file holds, written anew when that is asked for."""
    if os.environ.get("RAFTX_WRITE_GOLDEN", "") not in ("", "0"):
        write()
    kept: dict[str, str] = json.loads(GOLDEN.read_text(encoding="ascii"))
    return kept


def test_file_has_every_kind_and_body(impl: ModuleType, golden: dict[str, str]) -> None:
    _, receiver = codecs(impl)
    assert golden.keys() == samples(impl).keys()
    received = [message for frame in golden.values() for message in receiver.decode(bytes.fromhex(frame))]
    assert {message.kind for message in received} == set(WIRE_KINDS)
    assert {message.kind for message in received if message.count} == set(BODY_KINDS)


def test_frames_are_those_of_the_file(impl: ModuleType, golden: dict[str, str]) -> None:
    made = frames(impl)
    assert made.keys() == golden.keys()
    different = [name for name, frame in made.items() if frame != golden[name]]
    assert not different


def test_frames_of_the_file_are_taken(impl: ModuleType, golden: dict[str, str]) -> None:
    _, receiver = codecs(impl)
    for name, messages in samples(impl).items():
        received = receiver.decode(bytes.fromhex(golden[name]))
        assert seen(received) == seen(addressed(messages)), name
        assert [message.snapshot for message in received] == [message.snapshot for message in messages], name
        assert (receiver.sender, receiver.sender_incarnation) == (1, 5)
