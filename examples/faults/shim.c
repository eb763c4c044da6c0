// Stands between a program and its C library: the calls that touch FAULT_DIR fail, or the clock steps, from the FAULT_AT-th call of
// FAULT_OP on, FAULT_TIMES times. Loaded by LD_PRELOAD into the one program that is tested.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls;

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static int hit(const char *op) {
    const char *wanted = getenv("FAULT_OP");
    if (!wanted || strcmp(wanted, op) != 0) return 0;
    long n = atomic_fetch_add(&calls, 1) + 1, at = number("FAULT_AT", 1);
    return n >= at && n < at + number("FAULT_TIMES", 1);
}

static int inside(const char *path) {
    const char *dir = getenv("FAULT_DIR");
    return dir && path && strncmp(path, dir, strlen(dir)) == 0;
}

static int ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long n = syscall(SYS_readlink, link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return inside(path);
}

static int fails(void) {
    errno = (int)number("FAULT_ERRNO", EIO);
    return -1;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    if (ours(fd)) {
        // A short write is none of an error: half is taken, and the next call fails or not.
        if (hit("short") && n > 1) return syscall(SYS_write, fd, bytes, n / 2);
        if (hit("write")) {
            if (number("FAULT_TORN", 0)) syscall(SYS_write, fd, bytes, n / 2);
            return fails();
        }
    }
    return syscall(SYS_write, fd, bytes, n);
}

ssize_t read(int fd, void *bytes, size_t n) {
    if (ours(fd) && hit("read")) return fails();
    return syscall(SYS_read, fd, bytes, n);
}

int fsync(int fd) { return ours(fd) && hit("fsync") ? fails() : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return ours(fd) && hit("fsync") ? fails() : (int)syscall(SYS_fdatasync, fd); }
int ftruncate64(int fd, off64_t n) { return ours(fd) && hit("truncate") ? fails() : (int)syscall(SYS_ftruncate, fd, n); }

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (inside(path) && hit("open")) return fails();
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int rc = (int)syscall(SYS_clock_gettime, clock, now);
    if (rc == 0 && clock == CLOCK_REALTIME && hit("clock")) now->tv_sec += number("FAULT_STEP", 0);
    return rc;
}
