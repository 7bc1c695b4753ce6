"""The frame codec from Python: one append with 1, 8 and 64 entries of 256 bytes, encoded and decoded."""

from __future__ import annotations

import pytest

SIZE = 256
REPEAT = {"compiled": 2_000, "interpreted": 100}


def message(mod, count):
    core, types = mod("_core"), mod("types")
    log = core.EntryLog()
    for _ in range(count):
        log.py_append(1, bytes(SIZE))
    return mod("_native.outbox").Message(types.MSG_APP, to=2, sender=1, term=1, commit=0, entries=log.entries(1, count))


@pytest.mark.parametrize("count", [1, 8, 64])
def test_encode(measure, mod, mode, count):
    codec = mod("_core").Codec(b"benchmark-codec!", 1, 1)
    messages = [message(mod, count)]
    repeat = REPEAT[mode]

    def body():
        for _ in range(repeat):
            codec.encode(2, messages)

    measure(f"codec, encode {count}", repeat * count, lambda: body)


@pytest.mark.parametrize("count", [1, 8, 64])
def test_decode(measure, mod, mode, count):
    core = mod("_core")
    frame = core.Codec(b"benchmark-codec!", 1, 1).encode(2, [message(mod, count)])
    codec = core.Codec(b"benchmark-codec!", 2, 1)
    repeat = REPEAT[mode]
    assert len(codec.decode(frame)[0].entries) == count

    def body():
        for _ in range(repeat):
            codec.decode(frame)

    measure(f"codec, decode {count}", repeat * count, lambda: body)
