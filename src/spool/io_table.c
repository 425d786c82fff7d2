/* spool/io_table.c: the real table, and complete reads and writes on top of any. */
#include "spool/io_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* One call of write takes that many pieces at most (IOV_MAX of Linux). */
#define WRITE_PIECES_MAX 1024

static int result(int rc)
{
    return rc < 0 ? -errno : rc;
}

static int sys_open(void *user, int dir, const char *name, int flags, int mode)
{
    (void)user;
    return result(openat(dir, name, flags | O_CLOEXEC, mode));
}

static void sys_close(void *user, int fd)
{
    (void)user;
    close(fd);
}

static int64_t sys_read(void *user, int fd, void *p, size_t n, uint64_t offset)
{
    ssize_t got;

    (void)user;
    do {
        got = pread(fd, p, n, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static int64_t sys_write(void *user, int fd, const struct iovec *v, int n, uint64_t offset)
{
    ssize_t put;

    (void)user;
    do {
        put = pwritev(fd, v, n, (off_t)offset);
    } while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

static int sys_datasync(void *user, int fd)
{
    (void)user;
    return result(fdatasync(fd));
}

static int sys_sync(void *user, int fd)
{
    (void)user;
    return result(fsync(fd));
}

static int sys_rename(void *user, int dir, const char *from, const char *to)
{
    (void)user;
    return result(renameat(dir, from, dir, to));
}

static int sys_unlink(void *user, int dir, const char *name)
{
    (void)user;
    return result(unlinkat(dir, name, 0));
}

static int sys_mkdir(void *user, int dir, const char *name, int mode)
{
    (void)user;
    return result(mkdirat(dir, name, (mode_t)mode));
}

/* fallocate, not posix_fallocate: that would write every block itself where the file system
 * cannot. */
static int sys_allocate(void *user, int fd, uint64_t size)
{
    (void)user;
    return result(fallocate(fd, 0, 0, (off_t)size));
}

static int sys_truncate(void *user, int fd, uint64_t size)
{
    (void)user;
    return result(ftruncate(fd, (off_t)size));
}

static int sys_size(void *user, int fd, uint64_t *size_r)
{
    struct stat st;

    (void)user;
    if (fstat(fd, &st) < 0)
        return -errno;
    *size_r = (uint64_t)st.st_size;
    return 0;
}

static int sys_free_space(void *user, int fd, uint64_t *free_r)
{
    struct statvfs st;

    (void)user;
    if (fstatvfs(fd, &st) < 0)
        return -errno;
    *free_r = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

static int sys_lock(void *user, int fd)
{
    (void)user;
    return result(flock(fd, LOCK_EX | LOCK_NB));
}

static int sys_flush(void *user, int fd, uint64_t offset, uint64_t n)
{
    (void)user;
    return result(sync_file_range(fd, (off_t)offset, (off_t)n, SYNC_FILE_RANGE_WRITE));
}

static int sys_list(void *user, int dir, void (*each)(void *arg, const char *name), void *arg)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int rc;

    (void)user;
    if (d == NULL) {
        rc = -errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    errno = 0;
    while ((entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(arg, entry->d_name);
        errno = 0;
    }
    rc = -errno;
    closedir(d);
    return rc;
}

const struct io_table io_table_system = {
    .open = sys_open,
    .close = sys_close,
    .read = sys_read,
    .write = sys_write,
    .datasync = sys_datasync,
    .sync = sys_sync,
    .rename = sys_rename,
    .unlink = sys_unlink,
    .mkdir = sys_mkdir,
    .allocate = sys_allocate,
    .truncate = sys_truncate,
    .size = sys_size,
    .free_space = sys_free_space,
    .lock = sys_lock,
    .flush = sys_flush,
    .list = sys_list,
};

int io_write_all(const struct io_table *io, int fd, struct iovec *v, size_t n, uint64_t offset)
{
    while (n > 0) {
        int64_t put;

        if (v->iov_len == 0) {
            v++;
            n--;
            continue;
        }
        put = io->write(io->user, fd, v, n < WRITE_PIECES_MAX ? (int)n : WRITE_PIECES_MAX,
                        offset);
        if (put <= 0)
            return put < 0 ? (int)put : -EIO;
        offset += (uint64_t)put;
        while (n > 0 && (uint64_t)put >= v->iov_len) {
            put -= (int64_t)v->iov_len;
            v++;
            n--;
        }
        if (put > 0) {
            v->iov_base = (char *)v->iov_base + put;
            v->iov_len -= (size_t)put;
        }
    }
    return 0;
}

int io_write_block(const struct io_table *io, int fd, const void *p, size_t n, uint64_t offset)
{
    struct iovec v = {(void *)(uintptr_t)p, n};

    return io_write_all(io, fd, &v, 1, offset);
}

int64_t io_read_all(const struct io_table *io, int fd, void *p, size_t n, uint64_t offset)
{
    size_t at = 0;

    while (at < n) {
        int64_t got = io->read(io->user, fd, (char *)p + at, n - at, offset + at);

        if (got < 0)
            return got;
        if (got == 0)
            break;
        at += (size_t)got;
    }
    return (int64_t)at;
}
