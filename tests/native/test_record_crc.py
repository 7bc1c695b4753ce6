"""A record's checksum by each way that a processor may offer: plain tables, carry-less products, wide ones.

The compiled modules take the fastest that the processor has; the others are asked here, in a small program of its own.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.once

HEADER = ROOT / "raftx" / "_native" / "memory.h"
PROGRAM = r"""
#include <stdio.h>
#include "memory.h"
/* Levels: 0 tables, 1 carry-less products, 2 wide ones. Reads data from stdin; says for each level that this processor
   has, and for each size, the CRC of data, and that of a record of it, sealed, placed and checked. */
#if !defined(__x86_64__)
static void level(int of) { (void)of; }
static int levels(void) { return 1; }
#else
static int has_fold, has_wide;
static void level(int of) { raftx_crc_has_fold = of > 0; raftx_crc_has_wide = of > 1; }
static int levels(void) { return 1 + (raftx_crc_has_fold || has_fold) + (raftx_crc_has_wide || has_wide); }
#endif
static uint8_t data[1 << 17], record[(1 << 17) + 64], copy[(1 << 17) + 64];
int main(void) {
    size_t have = fread(data, 1, sizeof data, stdin), sizes = 0, size;
    raftx_crc_init();
    int count = levels();
#if defined(__x86_64__)
    has_fold = raftx_crc_has_fold; has_wide = raftx_crc_has_wide;
#endif
    for (int of = 0; of < count; of++) {
        level(of);
        for (sizes = 0, size = 0; size <= have; size += size < 1300 ? 1 : 4093, sizes++) {
            size_t whole = 32 + size;
            memset(record, 0, whole);
            ST32(record + 4, (uint32_t)size);
            ST64(record + 8, 7); ST64(record + 16, 9);
            memcpy(record + 32, data, size);
            record_seal(record);
            memset(copy, 0xAA, whole + 32);
            /* What is placed comes without its index and term. */
            uint8_t index[16]; memcpy(index, record + 8, 16);
            memset(record + 8, 0, 16);
            record_place(copy, record, whole, 7, 9, 0);
            memcpy(record + 8, index, 16);
            int same = !memcmp(record, copy, whole) && copy[whole] == 0xAA && record_valid(copy, whole);
            copy[whole - 1] ^= 1;
            if (size) same = same && !record_valid(copy, whole);
            printf("%d %zu %u %u %d\n", of, size, raftx_crc32(0, data, size), LD32(record), same);
        }
    }
    return 0;
}
"""


@pytest.mark.skipif("compiled" not in IMPLEMENTATIONS, reason="interpreted, zlib makes the checksums")
def test_every_way_makes_the_checksum_of_zlib(tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None, "what compiled raftx is gone"
    (tmp_path / "crc.c").write_text(PROGRAM)
    command = [compiler, "-O2", "-Wall", f"-I{HEADER.parent}", "-o", str(tmp_path / "crc"), str(tmp_path / "crc.c")]
    subprocess.run(command, check=True, capture_output=True)
    data = bytes([(7 * number + number // 251) % 256 for number in range(70_000)])
    done = subprocess.run([tmp_path / "crc"], input=data, check=True, capture_output=True)
    lines = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(lines) % len({level for level, *_ in lines}) == 0
    assert len(lines) >= 1300
    for level, size, crc, sealed, same in lines:
        assert crc == zlib.crc32(data[:size]), (level, size)
        head = struct.pack("<IQQQ", size, 7, 9, 0)
        assert sealed == zlib.crc32(data[:size], zlib.crc32(head)), (level, size)
        assert same, (level, size)
