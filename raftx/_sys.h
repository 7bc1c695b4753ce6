/* Time, atomics, sleeping and files for _sys.pyx and _nng.pyx; each includes this for itself. */
#ifndef RAFTX_SYS_H
#define RAFTX_SYS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
static inline int64_t raftx_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}
static inline int64_t raftx_load(int64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static inline void raftx_store(int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static inline int64_t raftx_exchange(int64_t *p, int64_t v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }
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
static int raftx_pwrite(int fd, const uint8_t *p, size_t n, uint64_t at) {
    while (n) {
        ssize_t done = pwrite(fd, p, n, (off_t)at);
        if (done < 0) {
            if (errno == EINTR) continue;
            return -errno;
        }
        p += done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return 0;
}
static int64_t raftx_pread(int fd, uint8_t *p, size_t n, uint64_t at) {
    size_t total = 0;
    while (total < n) {
        ssize_t done = pread(fd, p + total, n - total, (off_t)(at + total));
        if (done < 0) {
            if (errno == EINTR) continue;
            return -errno;
        }
        if (!done) break;
        total += (size_t)done;
    }
    return (int64_t)total;
}
static int raftx_create(int directory, uint64_t number, uint64_t size) {
    char name[40];
    int fd, code;
    snprintf(name, sizeof(name), "wal-%016llx.log", (unsigned long long)number);
    fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return -errno;
    do code = posix_fallocate(fd, 0, (off_t)size); while (code == EINTR);
    if (code) { close(fd); return -code; }
    return fd;
}
static int raftx_sync(int fd) {
    while (fsync(fd)) {
        if (errno != EINTR) return -errno;
    }
    return 0;
}
static int raftx_datasync(int fd) {
    while (fdatasync(fd)) {
        if (errno != EINTR) return -errno;
    }
    return 0;
}
static const uint8_t raftx_zeros[1 << 16];
typedef struct { uint32_t id; } raftx_nng_socket;
typedef struct { uint32_t id; } raftx_nng_pipe;
#endif
