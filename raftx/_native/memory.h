/* What memory.pyx, outbox.pyx and _core.pyx do for every record, without a call between modules: bytes and
   numbers, CRC-32, the shape of a record. Each has its own copy of the tables, and who computes checksums calls
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
    /* A record's header leaves twelve bytes: by the byte they would cost as much as all before. */
    if (n >= 8) {
        uint32_t a, b;
        memcpy(&a, p, 4);
        memcpy(&b, p + 4, 4);
        a ^= c;
        c = raftx_crc_table[7][a & 0xFF] ^ raftx_crc_table[6][(a >> 8) & 0xFF]
          ^ raftx_crc_table[5][(a >> 16) & 0xFF] ^ raftx_crc_table[4][a >> 24]
          ^ raftx_crc_table[3][b & 0xFF] ^ raftx_crc_table[2][(b >> 8) & 0xFF]
          ^ raftx_crc_table[1][(b >> 16) & 0xFF] ^ raftx_crc_table[0][b >> 24];
        p += 8;
        n -= 8;
    }
    if (n >= 4) {
        uint32_t a;
        memcpy(&a, p, 4);
        a ^= c;
        c = raftx_crc_table[3][a & 0xFF] ^ raftx_crc_table[2][(a >> 8) & 0xFF]
          ^ raftx_crc_table[1][(a >> 16) & 0xFF] ^ raftx_crc_table[0][a >> 24];
        p += 4;
        n -= 4;
    }
#endif
    while (n--) c = (c >> 8) ^ raftx_crc_table[0][(c ^ *p++) & 0xFF];
    return c;
}
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
/* The same by carry-less multiplication where the processor has it (Gopal et al., Intel 2009):
   folds 64 bytes a step. n is at least 16; the rest below 16 is left to the tables. */
__attribute__((target("pclmul,sse4.1")))
static inline uint32_t raftx_crc_fold_last(__m128i x1, const uint8_t *start, const uint8_t *p, size_t n, size_t *done) {
    const __m128i k3k4 = _mm_set_epi64x(0x00ccaa009eLL, 0x01751997d0LL);
    const __m128i poly = _mm_set_epi64x(0x01f7011641LL, 0x01db710641LL);
    const __m128i mask = _mm_setr_epi32(~0, 0, ~0, 0);
    __m128i x0, x2, x5;
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
__attribute__((target("pclmul,sse4.1")))
static inline uint32_t raftx_crc_fold_on(
    __m128i x1, __m128i x2, __m128i x3, __m128i x4, const uint8_t *start, const uint8_t *p, size_t n, size_t *done
) {
    const __m128i k1k2 = _mm_set_epi64x(0x01c6e41596LL, 0x0154442bd4LL);
    const __m128i k3k4 = _mm_set_epi64x(0x00ccaa009eLL, 0x01751997d0LL);
    __m128i x5, x6, x7, x8;
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
    return raftx_crc_fold_last(x1, start, p, n, done);
}
__attribute__((target("pclmul,sse4.1")))
static uint32_t raftx_crc_fold(uint32_t crc, const uint8_t *p, size_t n, size_t *done) {
    const __m128i *at = (const __m128i *)p;
    __m128i x1 = _mm_xor_si128(_mm_loadu_si128(at), _mm_cvtsi32_si128((int)crc));
    if (n < 64) return raftx_crc_fold_last(x1, p, p + 16, n - 16, done);
    return raftx_crc_fold_on(
        x1, _mm_loadu_si128(at + 1), _mm_loadu_si128(at + 2), _mm_loadu_si128(at + 3), p, p + 64, n - 64, done);
}
/* 128 bytes a step, two products an instruction. n is at least 256. With ``copy``, what is read is written there, all
   but the last n % 128 bytes; and the first 32 stand there already. */
__attribute__((target("avx2,vpclmulqdq,pclmul,sse4.1"), always_inline))
static inline uint32_t raftx_crc_wide(uint32_t crc, const uint8_t *p, size_t n, size_t *done, uint8_t *copy) {
    const __m256i k = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x014a7fe880LL, 0x01e88ef372LL));
    const __m128i k1k2 = _mm_set_epi64x(0x01c6e41596LL, 0x0154442bd4LL);
    const uint8_t *start = p;
    __m256i y[4];
    __m128i x[8];
    for (int i = 0; i < 4; i++) {
        y[i] = _mm256_loadu_si256((const __m256i *)(const void *)((copy && i == 0 ? copy : p) + 32 * i));
        if (copy && i) _mm256_storeu_si256((__m256i *)(void *)(copy + 32 * i), y[i]);
    }
    y[0] = _mm256_xor_si256(y[0], _mm256_zextsi128_si256(_mm_cvtsi32_si128((int)crc)));
    p += 128;
    n -= 128;
    while (n >= 128) {
        for (int i = 0; i < 4; i++) {
            __m256i low = _mm256_clmulepi64_epi128(y[i], k, 0x00), high = _mm256_clmulepi64_epi128(y[i], k, 0x11);
            __m256i next = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32 * i));
            if (copy) _mm256_storeu_si256((__m256i *)(void *)(copy + (p - start) + 32 * i), next);
            y[i] = _mm256_xor_si256(_mm256_xor_si256(low, high), next);
        }
        p += 128;
        n -= 128;
    }
    for (int i = 0; i < 4; i++) {
        x[2 * i] = _mm256_castsi256_si128(y[i]);
        x[2 * i + 1] = _mm256_extracti128_si256(y[i], 1);
    }
    for (int i = 0; i < 4; i++) {
        __m128i low = _mm_clmulepi64_si128(x[i], k1k2, 0x00), high = _mm_clmulepi64_si128(x[i], k1k2, 0x11);
        x[i] = _mm_xor_si128(_mm_xor_si128(low, high), x[i + 4]);
    }
    return raftx_crc_fold_on(x[0], x[1], x[2], x[3], start, p, n, done);
}
__attribute__((target("avx2,vpclmulqdq,pclmul,sse4.1")))
static uint32_t raftx_crc_fold_wide(uint32_t crc, const uint8_t *p, size_t n, size_t *done) {
    return raftx_crc_wide(crc, p, n, done, NULL);
}
__attribute__((target("avx2,vpclmulqdq,pclmul,sse4.1")))
static uint32_t raftx_crc_copy_wide(uint32_t crc, const uint8_t *p, size_t n, size_t *done, uint8_t *copy) {
    memcpy(copy + n / 128 * 128, p + n / 128 * 128, n % 128);
    return raftx_crc_wide(crc, p, n, done, copy);
}
static int raftx_crc_has_fold, raftx_crc_has_wide;
static void raftx_crc_detect(void) {
    __builtin_cpu_init();
    raftx_crc_has_fold = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
    raftx_crc_has_wide = raftx_crc_has_fold && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq");
}
#else
static const int raftx_crc_has_fold = 0, raftx_crc_has_wide = 0;
static void raftx_crc_detect(void) {}
static uint32_t raftx_crc_fold(uint32_t crc, const uint8_t *p, size_t n, size_t *done) {
    (void)p; (void)n; *done = 0; return crc;
}
static uint32_t raftx_crc_fold_wide(uint32_t crc, const uint8_t *p, size_t n, size_t *done) {
    return raftx_crc_fold(crc, p, n, done);
}
static uint32_t raftx_crc_copy_wide(uint32_t crc, const uint8_t *p, size_t n, size_t *done, uint8_t *copy) {
    memcpy(copy + 32, p + 32, n - 32);
    return raftx_crc_fold(crc, copy, n, done);
}
#endif
static uint32_t raftx_crc_state(uint32_t c, const uint8_t *p, size_t n) {
    if (n >= 32 && raftx_crc_has_fold) {
        size_t done;
        c = n >= 256 && raftx_crc_has_wide ? raftx_crc_fold_wide(c, p, n, &done) : raftx_crc_fold(c, p, n, &done);
        p += done;
        n -= done;
    }
    return n ? raftx_crc_tables(c, p, n) : c;
}
__attribute__((unused)) static uint32_t raftx_crc32(uint32_t seed, const uint8_t *p, size_t n) {
    return ~raftx_crc_state(~seed, p, n);
}
__attribute__((unused)) static void raftx_crc_init(void) {
    raftx_crc_tables_init();
    raftx_crc_detect();
}

/* A record: its crc (of all that follows), length, index, term, kind and time; then data. The numbers are layout.pxd's. */
#define RAFTX_ENTRY_HEADER 32
#define RAFTX_RECORD_CRC 0
#define RAFTX_RECORD_LENGTH 4
#define RAFTX_RECORD_INDEX 8
#define RAFTX_RECORD_TERM 16
#define RAFTX_RECORD_TIME 24
#define RAFTX_TIME_UNIT 256
#define RAFTX_RECORD_DATA_MAX 0x80000000u

/* The state from which four zero bytes lead to the state that a CRC begins with. A record is read from its first byte
   with it, its own crc taken for zeros: so its header and most data come in pieces of sixteen bytes, and it stays aligned
   as it is. */
#define RAFTX_RECORD_STATE 0x9226F562u

static uint32_t record_crc(const uint8_t *record, size_t size) {
    return ~raftx_crc_state(RAFTX_RECORD_STATE ^ LD32(record), record, size);
}
static void record_seal(uint8_t *record) {
    ST32(record + RAFTX_RECORD_CRC, record_crc(record, RAFTX_ENTRY_HEADER + (size_t)LD32(record + RAFTX_RECORD_LENGTH)));
}
/* The kind stays, and the time is that of the other number. */
static inline void record_stamp(uint8_t *record, uint64_t time) {
    uint64_t kind = LD64(record + RAFTX_RECORD_TIME) % RAFTX_TIME_UNIT;
    ST64(record + RAFTX_RECORD_TIME, time / RAFTX_TIME_UNIT * RAFTX_TIME_UNIT + kind);
}
/* Copy a record of ``size`` bytes, with this index, term and time, and seal it: its data is read once. */
static inline void record_place(
    uint8_t *to, const uint8_t *record, size_t size, uint64_t index, uint64_t term, uint64_t time
) {
    size_t done;
    uint32_t c;
    if (size < 256 || !raftx_crc_has_wide) {
        memcpy(to, record, size);
        ST64(to + RAFTX_RECORD_INDEX, index);
        ST64(to + RAFTX_RECORD_TERM, term);
        record_stamp(to, time);
        record_seal(to);
        return;
    }
    memcpy(to, record, RAFTX_ENTRY_HEADER);
    ST64(to + RAFTX_RECORD_INDEX, index);
    ST64(to + RAFTX_RECORD_TERM, term);
    record_stamp(to, time);
    c = raftx_crc_copy_wide(RAFTX_RECORD_STATE ^ LD32(to), record, size, &done, to);
    ST32(to, ~(done < size ? raftx_crc_tables(c, to + done, size - done) : c));
}
/* The record of an entry of kind, index and term 0 with these data, which are read once. */
__attribute__((unused)) static void record_make(uint8_t *to, const uint8_t *data, size_t size) {
    size_t done;
    uint32_t c;
    memset(to, 0, RAFTX_ENTRY_HEADER);
    ST32(to + RAFTX_RECORD_LENGTH, (uint32_t)size);
    if (size < 256 || !raftx_crc_has_wide) {
        if (size) memcpy(to + RAFTX_ENTRY_HEADER, data, size);
        record_seal(to);
        return;
    }
    memcpy(to + RAFTX_ENTRY_HEADER, data, 32);
    c = raftx_crc_state(RAFTX_RECORD_STATE, to, RAFTX_ENTRY_HEADER);
    c = raftx_crc_copy_wide(c, data, size, &done, to + RAFTX_ENTRY_HEADER);
    ST32(to, ~(done < size ? raftx_crc_tables(c, to + RAFTX_ENTRY_HEADER + done, size - done) : c));
}
/* Size of the record at the start of ``left`` bytes; 0 when no whole record stands there. */
static inline size_t record_size(const uint8_t *record, size_t left) {
    size_t size;
    if (left < RAFTX_ENTRY_HEADER) return 0;
    size = RAFTX_ENTRY_HEADER + (size_t)LD32(record + RAFTX_RECORD_LENGTH);
    return size > left || LD32(record + RAFTX_RECORD_LENGTH) > RAFTX_RECORD_DATA_MAX ? 0 : size;
}
__attribute__((unused)) static int record_valid(const uint8_t *record, size_t size) {
    return LD32(record) == record_crc(record, size);
}
#endif
