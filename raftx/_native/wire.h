/* Sockets for wire.pyx and tcp.pyx: accepting, dialling, looking names up, waiting for many. Nothing here blocks but
   the threads of lookups, and what is named to wait. */
#ifndef RAFTX_WIRE_H
#define RAFTX_WIRE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <sys/stat.h>
#include "glibc.h"

#define RAFTX_ADDRESSES 8

typedef struct epoll_event raftx_epoll_event;
typedef struct { uint32_t id; } raftx_nng_listener;

typedef struct {
    int count;
    struct sockaddr_storage at[RAFTX_ADDRESSES];
    socklen_t sizes[RAFTX_ADDRESSES];
} raftx_addresses;

/* The greeting of a Push0 socket (protocol 0x50) in SP, as NNG sends it. */
static const uint8_t raftx_push_greeting[8] = {0, 'S', 'P', 0, 0, 0x50, 0, 0};

static inline int raftx_reserve(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

/* What tells one sender from another: an IPv4 address, or the first 64 bits of an IPv6 one. */
static inline uint64_t raftx_source(const struct sockaddr_storage *a) {
    uint64_t source = 0;
    if (a->ss_family == AF_INET) return 1 + ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr);
    if (a->ss_family == AF_INET6) {
        const struct in6_addr *six = &((const struct sockaddr_in6 *)a)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(six)) {
            for (int i = 12; i < 16; i++) source = source << 8 | six->s6_addr[i];
            return 1 + source;
        }
        for (int i = 0; i < 8; i++) source = source << 8 | six->s6_addr[i];
        return ~source;
    }
    return 0;
}

/* What is not acknowledged in time ends the connection; so does a peer that has gone without a word. */
static inline void raftx_tune(int fd, int unacknowledged_ms) {
    int one = 1, idle = 5, interval = 2, count = 3;
    unsigned int limit = (unsigned int)unacknowledged_ms;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* A connection, or -errno. */
static inline int raftx_accept(int fd, uint64_t *source) {
    struct sockaddr_storage from;
    socklen_t size = sizeof(from);
    int made;
    memset(&from, 0, sizeof(from));
    made = accept4(fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (made < 0) return -errno;
    *source = raftx_source(&from);
    return made;
}

/* 1: the whole greeting is there; 2: and nothing else, and its sender has gone; 0: not yet; -1: it is another one, or
   the connection has ended. ended: nothing follows what is there. */
static inline int raftx_greeting(int fd, int ended) {
    uint8_t seen[9];
    struct pollfd gone = {fd, POLLRDHUP, 0};
    ssize_t n;
    do n = recv(fd, seen, sizeof(seen), MSG_PEEK | MSG_DONTWAIT); while (n < 0 && errno == EINTR);
    if (n < 0) return (errno == EAGAIN || errno == EWOULDBLOCK) && !ended ? 0 : -1;
    if (n == 0 || memcmp(seen, raftx_push_greeting, n < 8 ? (size_t)n : 8)) return -1;
    if (n == 8 && (ended || poll(&gone, 1, 0) > 0)) return 2;
    return n >= 8 ? 1 : ended ? -1 : 0;
}

/* Many descriptors that are waited for together, by a tag each. 0, or an error number. */
static inline int raftx_poller(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline int raftx_watch(int poller, int fd, uint32_t events, uint64_t tag) {
    struct epoll_event e;
    memset(&e, 0, sizeof(e));
    e.events = events;
    e.data.u64 = tag;
    return epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) ? errno : 0;
}

static inline int raftx_rewatch(int poller, int fd, uint32_t events, uint64_t tag) {
    struct epoll_event e;
    memset(&e, 0, sizeof(e));
    e.events = events;
    e.data.u64 = tag;
    return epoll_ctl(poller, EPOLL_CTL_MOD, fd, &e) ? errno : 0;
}

/* Before it is closed, too: a forked child may have a copy, with which it would go on being watched. */
static inline void raftx_unwatch(int poller, int fd) {
    struct epoll_event e;
    memset(&e, 0, sizeof(e));
    epoll_ctl(poller, EPOLL_CTL_DEL, fd, &e);
}

/* What has happened by now, without waiting: how many. */
static inline int raftx_happened(int poller, struct epoll_event *e, int room) {
    int n = epoll_wait(poller, e, room, 0);
    return n < 0 ? 0 : n;
}

static inline uint64_t raftx_tag(const struct epoll_event *e) { return e->data.u64; }
static inline int raftx_has_ended(const struct epoll_event *e) {
    return (e->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
}

/* A socket's place in the file system; -1 when the path is too long. */
static inline int raftx_unix(const char *path, raftx_addresses *out) {
    struct sockaddr_un *to = (struct sockaddr_un *)&out->at[0];
    size_t size = strlen(path);
    if (size >= sizeof(to->sun_path)) return -1;
    memset(to, 0, sizeof(*to));
    to->sun_family = AF_UNIX;
    memcpy(to->sun_path, path, size + 1);
    out->sizes[0] = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
    out->count = 1;
    return 0;
}

/* Begin to connect: a descriptor, or -errno. */
static inline int raftx_dial(const raftx_addresses *a, int which, int unacknowledged_ms) {
    const struct sockaddr *to = (const struct sockaddr *)&a->at[which];
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), code;
    if (fd < 0) return -errno;
    raftx_tune(fd, unacknowledged_ms);
    if (connect(fd, to, a->sizes[which]) && errno != EINPROGRESS && errno != EINTR) {
        code = errno;
        close(fd);
        return -code;
    }
    return fd;
}

/* How an attempt that poll() woke us for has ended: 0, or an error number. */
static inline int raftx_dialled(int fd) {
    int code = 0;
    socklen_t size = sizeof(code);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size)) return errno;
    return code;
}

/* Errors that come from having too little of something, here and now. */
static inline int raftx_is_shortage(int code) {
    return code == EMFILE || code == ENFILE || code == ENOMEM || code == ENOBUFS;
}

/* A write to a connection that has ended must not end the process: only this thread is meant. */
static inline void raftx_no_sigpipe(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static inline int raftx_find(const char *host, const char *port, int family, int flags, raftx_addresses *out) {
    struct addrinfo hints, *found = NULL, *each;
    int code;
    memset(&hints, 0, sizeof(hints));
    hints.ai_family = family == 4 ? AF_INET : family == 6 ? AF_INET6 : AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | flags;
    code = getaddrinfo(host, port, &hints, &found);
    if (code) return code;
    out->count = 0;
    for (each = found; each && out->count < RAFTX_ADDRESSES; each = each->ai_next) {
        memcpy(&out->at[out->count], each->ai_addr, each->ai_addrlen);
        out->sizes[out->count++] = each->ai_addrlen;
    }
    freeaddrinfo(found);
    return out->count ? 0 : EAI_NONAME;
}

/* Names are looked up on detached threads, which are there while there is something to look up: a resolver that hangs holds
   up no connection, nor the end of the process. They are so few because a lookup that hangs cannot be ended, however many
   peers come and go; and more than one, so that a name that cannot be found now does not hold up all others. */
#define RAFTX_LOOKUPS 4
typedef struct raftx_lookup {
    struct raftx_lookup *next;      /* of those that wait */
    int waits, done, forgotten, code;
    int family;
    char host[256], port[8];
    raftx_addresses found;
} raftx_lookup;

typedef struct {
    pthread_mutex_t mutex;          /* of all below, and of what the thread writes into a lookup */
    int users;                      /* the owner and the threads */
    int busy;                       /* so many threads will look at the list again */
    int wake;                       /* an eventfd, -1 once nobody asks any more */
    raftx_lookup *first;
} raftx_resolver;

static inline raftx_resolver *raftx_resolver_new(int wake) {
    raftx_resolver *r = (raftx_resolver *)calloc(1, sizeof(raftx_resolver));
    if (!r) return NULL;
    pthread_mutex_init(&r->mutex, NULL);
    r->users = 1;
    r->wake = wake;
    return r;
}

static inline void raftx_resolver_leave(raftx_resolver *r) {
    int left;
    pthread_mutex_lock(&r->mutex);
    left = --r->users;
    pthread_mutex_unlock(&r->mutex);
    if (!left) {
        pthread_mutex_destroy(&r->mutex);
        free(r);
    }
}

/* The owner asks no more; every lookup has been forgotten. */
static inline void raftx_resolver_close(raftx_resolver *r) {
    pthread_mutex_lock(&r->mutex);
    r->wake = -1;
    pthread_mutex_unlock(&r->mutex);
    raftx_resolver_leave(r);
}

static inline void *raftx_resolver_body(void *argument) {
    raftx_resolver *r = (raftx_resolver *)argument;
    raftx_lookup *l;
    raftx_addresses found;
    uint64_t one = 1;
    int code;
    pthread_mutex_lock(&r->mutex);
    while ((l = r->first)) {
        r->first = l->next;
        l->waits = 0;
        pthread_mutex_unlock(&r->mutex);
        memset(&found, 0, sizeof(found));
        code = raftx_find(l->host, l->port, l->family, AI_ADDRCONFIG, &found);
        pthread_mutex_lock(&r->mutex);
        if (l->forgotten) {
            free(l);
            continue;
        }
        l->found = found;
        l->code = code;
        l->done = 1;
        if (r->wake >= 0 && write(r->wake, &one, 8) < 0) {}
    }
    r->busy--;
    pthread_mutex_unlock(&r->mutex);
    raftx_resolver_leave(r);
    return NULL;
}

/* Take a lookup out of the list. Under the mutex. */
static inline void raftx_lookup_unlink(raftx_resolver *r, raftx_lookup *l) {
    raftx_lookup **at = &r->first;
    while (*at && *at != l) at = &(*at)->next;
    if (*at) *at = l->next;
    l->waits = 0;
}

/* Look a name up behind those that wait; NULL when there is no memory, or no thread at all, for it. */
static inline raftx_lookup *raftx_lookup_begin(raftx_resolver *r, const char *host, const char *port, int family) {
    raftx_lookup *l = (raftx_lookup *)calloc(1, sizeof(raftx_lookup)), **at;
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    int code = 0;
    if (!l) return NULL;
    l->family = family;
    l->waits = 1;
    snprintf(l->host, sizeof(l->host), "%s", host);
    snprintf(l->port, sizeof(l->port), "%s", port);
    pthread_mutex_lock(&r->mutex);
    for (at = &r->first; *at; at = &(*at)->next) {}
    *at = l;
    if (r->busy < RAFTX_LOOKUPS) {
        r->busy++;
        r->users++;
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        code = pthread_create(&thread, &attributes, raftx_resolver_body, r);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
        if (code) {
            r->busy--;
            r->users--;
            if (r->busy) code = 0;
            else raftx_lookup_unlink(r, l);
        }
    }
    pthread_mutex_unlock(&r->mutex);
    if (code) {
        free(l);
        return NULL;
    }
    return l;
}

/* Whether it has ended; its result is then in *out, 0 or a code of getaddrinfo in *code. */
static inline int raftx_lookup_ended(raftx_resolver *r, raftx_lookup *l, raftx_addresses *out, int *code) {
    int done;
    pthread_mutex_lock(&r->mutex);
    done = l->done;
    if (done) {
        *code = l->code;
        if (!l->code) *out = l->found;
    }
    pthread_mutex_unlock(&r->mutex);
    return done;
}

/* Its result is not wanted, or was taken: one that waits is not looked up, one that is under way ends unheard. */
static inline void raftx_lookup_forget(raftx_resolver *r, raftx_lookup *l) {
    int under_way;
    pthread_mutex_lock(&r->mutex);
    under_way = !l->waits && !l->done;
    if (l->waits) raftx_lookup_unlink(r, l);
    l->forgotten = 1;
    pthread_mutex_unlock(&r->mutex);
    if (!under_way) free(l);
}
#endif
