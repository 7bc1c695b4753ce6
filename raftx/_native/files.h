/* Files and directories for files.pyx. Each function returns a result or -errno. */
#ifndef RAFTX_DISK_H
#define RAFTX_DISK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "glibc.h"
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
/* Several pieces one after the other, which it uses up. */
static int raftx_pwritev(int fd, struct iovec *parts, int count, uint64_t at) {
    while (count) {
        ssize_t done;
        if (!parts->iov_len) {
            parts++;
            count--;
            continue;
        }
        done = pwritev(fd, parts, count, (off_t)at);
        if (done < 0) {
            if (errno == EINTR) continue;
            return -errno;
        }
        at += (uint64_t)done;
        while (count && (size_t)done >= parts->iov_len) {
            done -= (ssize_t)parts->iov_len;
            parts++;
            count--;
        }
        if (count) {
            parts->iov_base = (uint8_t *)parts->iov_base + done;
            parts->iov_len -= (size_t)done;
        }
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
/* Room for ``size`` bytes, so that a full disk shows now and not later; the length at least, where a file system
   knows no reservation. */
static int raftx_allocate(int fd, uint64_t size) {
    int code;
    do code = posix_fallocate(fd, 0, (off_t)size); while (code == EINTR);
    if (code == EOPNOTSUPP || code == ENOSYS) {
        struct stat s;
        if (fstat(fd, &s)) return -errno;
        code = (uint64_t)s.st_size < size && ftruncate(fd, (off_t)size) ? errno : 0;
    }
    return -code;
}
/* A new file; what could not be made whole is not left behind. */
static int raftx_create(int directory, const char *name, uint64_t size) {
    int fd, code;
    do fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600); while (fd < 0 && errno == EINTR);
    if (fd < 0) return -errno;
    code = raftx_allocate(fd, size);
    if (code) {
        unlinkat(directory, name, 0);
        close(fd);
        return code;
    }
    return fd;
}
static int raftx_remove(int directory, const char *name) {
    return unlinkat(directory, name, 0) ? -errno : 0;
}
/* A file under another name; it opens the file. */
static int raftx_set_aside(int directory, const char *name, const char *aside) {
    int fd;
    do fd = openat(directory, name, O_RDWR | O_CLOEXEC); while (fd < 0 && errno == EINTR);
    if (fd < 0) return -errno;
    if (renameat(directory, name, directory, aside)) {
        int code = -errno;
        close(fd);
        return code;
    }
    return fd;
}
/* A file gets a name that nothing has: a rename would replace what has it. */
static int raftx_rename_new(int directory, const char *name, const char *new_name) {
    if (linkat(directory, name, directory, new_name, 0)) return -errno;
    return unlinkat(directory, name, 0) ? -errno : 0;
}
/* Whether a name still leads to what was opened: 0, -ENOENT when there is no such name, -ESTALE when it leads
   elsewhere. What cannot be told (no permission to look, say) is not held against it. */
static int raftx_same(int directory, const char *name, int flags, int fd) {
    struct stat named, opened;
    if (fstat(fd, &opened)) return -errno;
    if (!opened.st_nlink) return -ENOENT;
    if (fstatat(directory, name, &named, flags)) {
        if (errno == ESTALE) return -ESTALE;
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? -ENOENT : 0;
    }
    return named.st_dev == opened.st_dev && named.st_ino == opened.st_ino ? 0 : -ESTALE;
}
static int64_t raftx_length(int fd) {
    struct stat s;
    return fstat(fd, &s) ? -errno : (int64_t)s.st_size;
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
/* Begin to write out a range, and wait for the one of the same size that begins ``behind`` bytes before it. Nothing is
   durable by that: it only keeps short what a later sync has to do, without a commit of the file system's journal. */
static int raftx_write_out(int fd, int64_t position, int64_t size, int64_t behind) {
#ifdef SYNC_FILE_RANGE_WRITE
    const unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    int code = sync_file_range(fd, position, size, SYNC_FILE_RANGE_WRITE);
    if (!code && position >= behind) code = sync_file_range(fd, position - behind, size, all);
    if (!code) return 0;
    if (errno != ENOSYS && errno != EINVAL && errno != EOPNOTSUPP) return -errno;
#endif
    (void)position;
    (void)size;
    (void)behind;
    return raftx_datasync(fd);
}
static const uint8_t raftx_zeros[1 << 16];
#endif
