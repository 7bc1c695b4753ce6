/* What code without the GIL trusts its callers with: indexes, and the invariants that stand beside fields. In a debug
   build (RAFTX_BUILD=debug, which defines RAFTX_DEBUG) each is looked at, and one that does not hold is written to
   stderr with its place and ends the process: such code cannot raise. In every other build nothing is left of them. */
#ifndef RAFTX_CHECK_H
#define RAFTX_CHECK_H
#include <stddef.h>
#ifdef RAFTX_DEBUG
#include <stdio.h>
#include <stdlib.h>
#define RAFTX_CHECKED 1
__attribute__((noreturn, cold, unused)) static void raftx_broken(const char *file, int line, const char *what) {
    fprintf(stderr, "raftx: %s:%d: broken: %s\n", file, line, what);
    fflush(stderr);
    abort();
}
__attribute__((noreturn, cold, unused)) static void raftx_outside(
    const char *file, int line, const char *what, size_t at, size_t size, size_t whole
) {
    fprintf(stderr, "raftx: %s:%d: out of range: %s: %lld", file, line, what, (long long)at);
    if (size != 1) fprintf(stderr, " and %lld from there", (long long)size);
    fprintf(stderr, ", of %lld\n", (long long)whole);
    fflush(stderr);
    abort();
}
__attribute__((unused)) static inline void raftx_look_part(
    const char *file, int line, const char *what, size_t at, size_t size, size_t whole
) {
    if (at > whole || size > whole - at) raftx_outside(file, line, what, at, size, whole);
}
#define raftx_check(holds) ((holds) ? (void)0 : raftx_broken(__FILE__, __LINE__, #holds))
/* 0 <= index < count; each may be of any type of integers. */
#define raftx_check_index(index, count) \
    raftx_look_part(__FILE__, __LINE__, #index " < " #count, (size_t)(index), 1, (size_t)(count))
/* offset + size <= whole, whatever wraps. */
#define raftx_check_part(offset, size, whole) \
    raftx_look_part(__FILE__, __LINE__, #offset " + " #size " <= " #whole, (size_t)(offset), (size_t)(size), (size_t)(whole))
#else
#define RAFTX_CHECKED 0
/* Nothing is computed in a sizeof, and what stands there counts as used. Not even an empty function is left, which a
   compiler would count when it decides what to inline. */
#define raftx_check(holds) ((void)sizeof(holds))
#define raftx_check_index(index, count) ((void)sizeof(index), (void)sizeof(count))
#define raftx_check_part(offset, size, whole) ((void)sizeof(offset), (void)sizeof(size), (void)sizeof(whole))
#endif
#endif
