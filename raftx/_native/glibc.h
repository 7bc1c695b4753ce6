/* Names of glibc that a module is linked to: the oldest that do the same, so that what is built on a new machine runs
   on older ones (manylinux). Included by the headers that call them, behind the system's own. Nothing on other machines. */
#ifndef RAFTX_GLIBC_H
#define RAFTX_GLIBC_H
#if defined(__x86_64__) && defined(__LP64__) && defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 32)
/* They have moved from libpthread to libc, and got a name of that day there. */
__asm__(".symver pthread_create,pthread_create@GLIBC_2.2.5");
__asm__(".symver pthread_sigmask,pthread_sigmask@GLIBC_2.2.5");
#endif
#if __GLIBC_PREREQ(2, 33)
/* Functions since then; before, these two, which are there still. 1 is the only layout of a struct stat on x86-64. */
extern int __fxstat(int, int, struct stat *);
extern int __fxstatat(int, int, const char *, struct stat *, int);
#define fstat(fd, s) __fxstat(1, fd, s)
#define fstatat(directory, name, s, flags) __fxstatat(1, directory, name, s, flags)
#endif
#endif
#endif
