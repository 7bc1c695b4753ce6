/* Time, atomics and sleeping for threads.pyx, files.pyx and nng.pyx; each includes this for itself. */
#ifndef RAFTX_SYS_H
#define RAFTX_SYS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
static inline int64_t raftx_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}
static inline int64_t raftx_wall(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}
/* Also of the time in which the system was suspended, and of that in which this process was stopped. */
static inline int64_t raftx_boot(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}
static inline int64_t raftx_load(int64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static inline void raftx_store(int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static inline int64_t raftx_exchange(int64_t *p, int64_t v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }
static inline int raftx_replace(int64_t *p, int64_t old, int64_t v) {
    return __atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
static inline int64_t raftx_add(int64_t *p, int64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST); }
static inline void raftx_poll(int fd, int64_t timeout) {
    struct pollfd p = {fd, POLLIN, 0};
    struct timespec t = {timeout / 1000000000LL, timeout % 1000000000LL};
    ppoll(&p, 1, timeout < 0 ? NULL : &t, NULL);
}
static inline void raftx_signal(int fd) { uint64_t one = 1; ssize_t n = write(fd, &one, 8); (void)n; }
static inline void raftx_drain(int fd) { uint64_t n; ssize_t r = read(fd, &n, 8); (void)r; }
static inline void raftx_sleep(int64_t ns) {
    struct timespec t = {ns / 1000000000LL, ns % 1000000000LL};
    while (nanosleep(&t, &t) && errno == EINTR) {}
}
typedef struct { uint32_t id; } raftx_nng_socket;
typedef struct { uint32_t id; } raftx_nng_pipe;
#endif
