/* What _memory.pyx and _core.pyx both do for every record, without a call between modules: bytes and
   numbers, CRC-32, the shape of a record. Each of the two has its own copy of the tables and calls
   raftx_crc_init() when it is imported. Little-endian machines only, as everything that is compiled. */
#ifndef RAFTX_MEMORY_H
#define RAFTX_MEMORY_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline uint32_t LD32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t LD64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline void ST32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void ST64(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }
static inline uint8_t *raftx_alloc(size_t alignment, size_t size) {
    void *p = NULL;
    if (!alignment) return (uint8_t *)malloc(size);
    return posix_memalign(&p, alignment, size) ? NULL : (uint8_t *)p;
}

/* CRC-32 with zlib's polynomial, sixteen bytes a step; zlib.crc32 gives the same numbers. */
static uint32_t raftx_crc_table[16][256];
static void raftx_crc_tables_init(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = (c >> 1) ^ (0xEDB88320u & (0u - (c & 1u)));
        raftx_crc_table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 16; t++)
            raftx_crc_table[t][i] =
                (raftx_crc_table[t - 1][i] >> 8) ^ raftx_crc_table[0][raftx_crc_table[t - 1][i] & 0xFF];
}
static uint32_t raftx_crc_tables(uint32_t c, const uint8_t *p, size_t n) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    while (n >= 16) {
        uint32_t w[4];
        memcpy(w, p, 16);
        w[0] ^= c;
        c = 0;
        for (int i = 0; i < 4; i++) {
            uint32_t v = w[i];
            c ^= raftx_crc_table[15 - 4 * i][v & 0xFF] ^ raftx_crc_table[14 - 4 * i][(v >> 8) & 0xFF]
               ^ raftx_crc_table[13 - 4 * i][(v >> 16) & 0xFF] ^ raftx_crc_table[12 - 4 * i][v >> 24];
        }
        p += 16;
        n -= 16;
    }
#endif
    while (n--) c = (c >> 8) ^ raftx_crc_table[0][(c ^ *p++) & 0xFF];
    return c;
}
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
/* The same by carry-less multiplication where the processor has it (Gopal et al., Intel 2009):
   folds 64 bytes a step. n is at least 64; the rest below 16 is left to the tables. */
__attribute__((target("pclmul,sse4.1")))
static uint32_t raftx_crc_fold(uint32_t crc, const uint8_t *p, size_t n, size_t *done) {
    const __m128i k1k2 = _mm_set_epi64x(0x01c6e41596LL, 0x0154442bd4LL);
    const __m128i k3k4 = _mm_set_epi64x(0x00ccaa009eLL, 0x01751997d0LL);
    const __m128i poly = _mm_set_epi64x(0x01f7011641LL, 0x01db710641LL);
    const __m128i mask = _mm_setr_epi32(~0, 0, ~0, 0);
    const uint8_t *start = p;
    __m128i x0, x1 = _mm_loadu_si128((const __m128i *)p), x2 = _mm_loadu_si128((const __m128i *)(p + 16));
    __m128i x3 = _mm_loadu_si128((const __m128i *)(p + 32)), x4 = _mm_loadu_si128((const __m128i *)(p + 48));
    __m128i x5, x6, x7, x8;
    x1 = _mm_xor_si128(x1, _mm_cvtsi32_si128((int)crc));
    p += 64;
    n -= 64;
    while (n >= 64) {
        x5 = _mm_clmulepi64_si128(x1, k1k2, 0x00); x6 = _mm_clmulepi64_si128(x2, k1k2, 0x00);
        x7 = _mm_clmulepi64_si128(x3, k1k2, 0x00); x8 = _mm_clmulepi64_si128(x4, k1k2, 0x00);
        x1 = _mm_clmulepi64_si128(x1, k1k2, 0x11); x2 = _mm_clmulepi64_si128(x2, k1k2, 0x11);
        x3 = _mm_clmulepi64_si128(x3, k1k2, 0x11); x4 = _mm_clmulepi64_si128(x4, k1k2, 0x11);
        x1 = _mm_xor_si128(_mm_xor_si128(x1, x5), _mm_loadu_si128((const __m128i *)p));
        x2 = _mm_xor_si128(_mm_xor_si128(x2, x6), _mm_loadu_si128((const __m128i *)(p + 16)));
        x3 = _mm_xor_si128(_mm_xor_si128(x3, x7), _mm_loadu_si128((const __m128i *)(p + 32)));
        x4 = _mm_xor_si128(_mm_xor_si128(x4, x8), _mm_loadu_si128((const __m128i *)(p + 48)));
        p += 64;
        n -= 64;
    }
    x5 = _mm_clmulepi64_si128(x1, k3k4, 0x00);
    x1 = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x1, k3k4, 0x11), x2), x5);
    x5 = _mm_clmulepi64_si128(x1, k3k4, 0x00);
    x1 = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x1, k3k4, 0x11), x3), x5);
    x5 = _mm_clmulepi64_si128(x1, k3k4, 0x00);
    x1 = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x1, k3k4, 0x11), x4), x5);
    while (n >= 16) {
        x2 = _mm_loadu_si128((const __m128i *)p);
        x5 = _mm_clmulepi64_si128(x1, k3k4, 0x00);
        x1 = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x1, k3k4, 0x11), x2), x5);
        p += 16;
        n -= 16;
    }
    x2 = _mm_clmulepi64_si128(x1, k3k4, 0x10);
    x1 = _mm_xor_si128(_mm_srli_si128(x1, 8), x2);
    x0 = _mm_loadl_epi64((const __m128i *)(const void *)(const int64_t[]){0x0163cd6124LL});
    x2 = _mm_srli_si128(x1, 4);
    x1 = _mm_and_si128(x1, mask);
    x1 = _mm_xor_si128(_mm_clmulepi64_si128(x1, x0, 0x00), x2);
    x2 = _mm_and_si128(x1, mask);
    x2 = _mm_clmulepi64_si128(x2, poly, 0x10);
    x2 = _mm_and_si128(x2, mask);
    x2 = _mm_clmulepi64_si128(x2, poly, 0x00);
    x1 = _mm_xor_si128(x1, x2);
    *done = (size_t)(p - start);
    return (uint32_t)_mm_extract_epi32(x1, 1);
}
static int raftx_crc_has_fold;
static void raftx_crc_detect(void) {
    __builtin_cpu_init();
    raftx_crc_has_fold = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}
#else
static const int raftx_crc_has_fold = 0;
static void raftx_crc_detect(void) {}
static uint32_t raftx_crc_fold(uint32_t crc, const uint8_t *p, size_t n, size_t *done) {
    (void)p; (void)n; *done = 0; return crc;
}
#endif
static uint32_t raftx_crc32(uint32_t seed, const uint8_t *p, size_t n) {
    uint32_t c = ~seed;
    if (n >= 64 && raftx_crc_has_fold) {
        size_t done;
        c = raftx_crc_fold(c, p, n, &done);
        p += done;
        n -= done;
    }
    return ~raftx_crc_tables(c, p, n);
}
static void raftx_crc_init(void) {
    raftx_crc_tables_init();
    raftx_crc_detect();
}

/* A record: crc u32 (of all that follows) | length u32 | index u64 | term u64 | kind u8 | 7 zero bytes | data */
#define RAFTX_RECORD_HEADER 32
#define RAFTX_RECORD_DATA_MAX 0x80000000u

static void record_seal(uint8_t *record) {
    ST32(record, raftx_crc32(0, record + 4, RAFTX_RECORD_HEADER - 4 + (size_t)LD32(record + 4)));
}
/* Size of the record at the start of ``left`` bytes; 0 when no whole record stands there. */
static inline size_t record_size(const uint8_t *record, size_t left) {
    size_t size;
    if (left < RAFTX_RECORD_HEADER) return 0;
    size = RAFTX_RECORD_HEADER + (size_t)LD32(record + 4);
    return size > left || LD32(record + 4) > RAFTX_RECORD_DATA_MAX ? 0 : size;
}
static int record_valid(const uint8_t *record, size_t size) {
    return LD32(record) == raftx_crc32(0, record + 4, size - 4);
}
#endif
