/* Sockets that stand, for tcp.pyx: reading, writing, waiting for a few descriptors. Nothing here blocks but what waits. */
#ifndef RAFTX_TCP_H
#define RAFTX_TCP_H
#include "wire.h"
#include <sys/uio.h>

static const uint8_t raftx_pull_greeting[8] = {0, 'S', 'P', 0, 0, 0x51, 0, 0};

/* Bytes that came; 0 at the end; -errno. What does not fit into the first place comes into the second. */
static inline ssize_t raftx_receive(int fd, uint8_t *first, size_t first_size, uint8_t *second, size_t second_size) {
    struct iovec parts[2] = {{first, first_size}, {second, second_size}};
    ssize_t n;
    do n = readv(fd, parts, second_size ? 2 : 1); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Bytes that were taken; -errno. */
static inline ssize_t raftx_send(int fd, const uint8_t *data, size_t size) {
    ssize_t n;
    do n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* The same of what lies in several places, one behind the other; there is at least one. */
static inline ssize_t raftx_send_parts(int fd, struct iovec *parts, int count) {
    struct msghdr message = {0};
    ssize_t n;
    if (count == 1) return raftx_send(fd, (const uint8_t *)parts[0].iov_base, parts[0].iov_len);
    message.msg_iov = parts;
    message.msg_iovlen = (size_t)count;
    do n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* A greeting is the first that is sent: it fits. */
static inline int raftx_greets(int fd, const uint8_t *greeting) { return raftx_send(fd, greeting, 8) == 8; }

/* Wait for a few; bit i of the answer: something has happened to fds[i], -1: to none. timeout: ns, below 0: no limit. */
static inline int raftx_wait_few(const int *fds, int count, int64_t timeout) {
    struct pollfd p[4];
    struct timespec t = {timeout / 1000000000LL, timeout % 1000000000LL};
    int woken = 0;
    for (int i = 0; i < count; i++) {
        p[i].fd = fds[i];
        p[i].events = POLLIN;
        p[i].revents = 0;
    }
    if (ppoll(p, (nfds_t)count, timeout < 0 ? NULL : &t, NULL) <= 0) return 0;
    for (int i = 0; i < count; i++)
        if (p[i].revents) woken |= 1 << i;
    return woken;
}
static inline uint32_t raftx_events(const struct epoll_event *e) { return e->events; }
#endif
