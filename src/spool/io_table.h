/*
 * spool/io_table.h: every touch of the disk by the log, as a table, so that a test can stand
 * between: count, fail, record. Names are relative to a directory handle.
 *
 * All return 0 or more, or a negative errno value. Any thread may call.
 */
#ifndef SPOOL_IO_TABLE_H
#define SPOOL_IO_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct io_table {
    void *user;
    int (*open)(void *user, int dir, const char *name, int flags,
                int mode); /* the descriptor */
    void (*close)(void *user, int fd);
    int64_t (*read)(void *user, int fd, void *p, size_t n, uint64_t offset); /* 0 = end */
    int64_t (*write)(void *user, int fd, const struct iovec *v, int n,
                     uint64_t offset); /* may be short */
    int (*datasync)(void *user, int fd);
    int (*sync)(void *user, int fd); /* of directories and new files */
    int (*rename)(void *user, int dir, const char *from, const char *to);
    int (*unlink)(void *user, int dir, const char *name);
    int (*mkdir)(void *user, int dir, const char *name, int mode);
    int (*allocate)(void *user, int fd, uint64_t size); /* space for size octets */
    int (*truncate)(void *user, int fd, uint64_t size);
    int (*size)(void *user, int fd, uint64_t *size_r);
    int (*free_space)(void *user, int fd,
                      uint64_t *free_r); /* of the file system, for this user */
    int (*lock)(void *user, int fd);     /* exclusive; -EWOULDBLOCK when taken */
    int (*flush)(void *user, int fd, uint64_t offset,
                 uint64_t n); /* start writing, do not wait */
    int (*list)(void *user, int dir, void (*each)(void *arg, const char *name), void *arg);
};

extern const struct io_table io_table_system;

/* All of it, in pieces if need be; v is used up. 0 or -errno (-EIO when the disk takes
 * nothing). */
int io_write_all(const struct io_table *io, int fd, struct iovec *v, size_t n, uint64_t offset);
int io_write_block(const struct io_table *io, int fd, const void *p, size_t n, uint64_t offset);
/* Octets read, less than n only at the end; or -errno. */
int64_t io_read_all(const struct io_table *io, int fd, void *p, size_t n, uint64_t offset);

#endif
