/* spool/log_dir.c: see log_dir.h. Nothing is changed in a directory before it is known to be
 * ours. */
#include "spool/log_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/encode.h"
#include "spool/io_table.h"

#define FORMAT_MAX 256

static int open_dir(struct store *s, int dir, const char *name)
{
    return s->io->open(s->io->user, dir, name, O_RDONLY | O_DIRECTORY, 0);
}

/* A small text file. Its length, or -errno. */
static int read_text(struct store *s, const char *name, char *text, size_t size)
{
    int fd = s->io->open(s->io->user, s->dir, name, O_RDONLY, 0);
    int64_t n;

    if (fd < 0)
        return fd;
    n = io_read_all(s->io, fd, text, size - 1, 0);
    s->io->close(s->io->user, fd);
    text[n > 0 ? n : 0] = '\0';
    return (int)n;
}

static void each_foreign(void *arg, const char *name)
{
    bool *foreign = arg;

    /* A start that was interrupted leaves these two. */
    if (strcmp(name, "LOCK") != 0 && strcmp(name, "FORMAT.new") != 0)
        *foreign = true;
}

static int check_empty(struct store *s, struct err *e)
{
    bool foreign = false;
    int rc = s->io->list(s->io->user, s->dir, each_foreign, &foreign);

    if (rc < 0)
        return err_errno(e, BARID_EIO, -rc, "%s: cannot read", s->options.dir);
    if (foreign)
        return err_set(e, BARID_EINVALID,
                       "%s is not a spool and not empty: name another directory",
                       s->options.dir);
    if (s->options.read_only)
        return err_set(e, BARID_ENOTFOUND, "%s holds no spool", s->options.dir);
    return 0;
}

static int format_damaged(const struct store *s, struct err *e)
{
    return err_set(e, BARID_ECORRUPT, "%s/FORMAT is damaged: restore it from another copy",
                   s->options.dir);
}

/* Behind the sum, with one of its own, for versions that know no key read no further. None in a
 * store of such a version: then it is to be added. */
static bool parse_key(struct store *s, const char *line, bool *has_key_r)
{
    unsigned byte, sum;

    if (!(*has_key_r = *line != '\0'))
        return true;
    if (strncmp(line, "key ", 4) != 0)
        return false;
    line += 4;
    for (size_t i = 0; i < sizeof(s->spool.key); i++, line += 2) {
        if (sscanf(line, "%2x", &byte) != 1)
            return false;
        s->spool.key[i] = (uint8_t)byte;
    }
    return sscanf(line, " sum %x", &sum) == 1 &&
           crc32c(0, s->spool.key, sizeof(s->spool.key)) == sum;
}

/* FORMAT as text. BARID_ENOTFOUND: none there. */
static int parse_format(struct store *s, bool *has_key_r, struct err *e)
{
    char text[FORMAT_MAX], line[FORMAT_MAX];
    unsigned version = 0, sum = 0;
    unsigned long long size = 0;
    int n = read_text(s, "FORMAT", text, sizeof(text)), used = 0, end = 0;

    if (n == -ENOENT)
        return BARID_ENOTFOUND;
    if (n < 0)
        return err_errno(e, BARID_EIO, -n, "%s/FORMAT: cannot read", s->options.dir);
    if (sscanf(text, "barid-spool %u\n", &version) != 1)
        return err_set(e, BARID_EINVALID, "%s/FORMAT is not that of a spool", s->options.dir);
    if (version > LOG_FORMAT_VERSION)
        return err_set(e, BARID_EVERSION,
                       "%s was written by a newer version (format %u, this one reads %u)",
                       s->options.dir, version, LOG_FORMAT_VERSION);
    if (sscanf(text, "%*[^\n]\nsegment-size %llu\n%nsum %x\n%n", &size, &used, &sum, &end) != 2)
        return format_damaged(s, e);
    snprintf(line, sizeof(line), "%.*s", used, text);
    if (crc32c(0, line, strlen(line)) != sum || size % LOG_BLOCK != 0 || size > UINT32_MAX ||
        !parse_key(s, text + end, has_key_r))
        return format_damaged(s, e);
    s->options.segment_size = size;
    return 0;
}

/* With a new key. */
static size_t make_format(struct store *s, char text[FORMAT_MAX])
{
    int n = snprintf(text, FORMAT_MAX, "barid-spool %d\nsegment-size %llu\n",
                     LOG_FORMAT_VERSION, (unsigned long long)s->options.segment_size);

    rng_fill(&s->rng, s->spool.key, sizeof(s->spool.key));
    n += snprintf(text + n, FORMAT_MAX - (size_t)n, "sum %08x\nkey ", crc32c(0, text, (size_t)n));
    for (size_t i = 0; i < sizeof(s->spool.key); i++)
        n += snprintf(text + n, FORMAT_MAX - (size_t)n, "%02x", s->spool.key[i]);
    n += snprintf(text + n, FORMAT_MAX - (size_t)n, " sum %08x\n",
                  crc32c(0, s->spool.key, sizeof(s->spool.key)));
    return (size_t)n;
}

static int write_format(struct store *s, struct err *e)
{
    char text[FORMAT_MAX];
    size_t n = make_format(s, text);
    int fd, rc;

    fd = s->io->open(s->io->user, s->dir, "FORMAT.new", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return err_errno(e, store_err(fd), -fd, "%s/FORMAT.new: cannot create", s->options.dir);
    rc = io_write_block(s->io, fd, text, n, 0);
    if (rc >= 0)
        rc = s->io->sync(s->io->user, fd);
    s->io->close(s->io->user, fd);
    if (rc >= 0)
        rc = s->io->rename(s->io->user, s->dir, "FORMAT.new", "FORMAT");
    if (rc >= 0)
        rc = s->io->sync(s->io->user, s->dir);
    return rc < 0 ? err_errno(e, store_err(rc), -rc, "%s/FORMAT: cannot write", s->options.dir)
                  : 0;
}

static int take_lock(struct store *s, struct err *e)
{
    char pid[32];
    int rc;

    s->lock_fd = s->io->open(s->io->user, s->dir, "LOCK", O_RDWR | O_CREAT, 0600);
    if (s->lock_fd < 0)
        return err_errno(e, BARID_EIO, -s->lock_fd, "%s/LOCK: cannot open", s->options.dir);
    rc = s->io->lock(s->io->user, s->lock_fd);
    if (rc == -EWOULDBLOCK) {
        if (read_text(s, "LOCK", pid, sizeof(pid)) <= 0)
            snprintf(pid, sizeof(pid), "unknown");
        return err_set(e, BARID_ELOCKED, "%s is in use by process %s: stop it, or ask it",
                       s->options.dir, pid);
    }
    if (rc < 0)
        return err_errno(e, BARID_EIO, -rc, "%s/LOCK: cannot lock", s->options.dir);
    if (s->options.read_only)
        return 0;
    rc = snprintf(pid, sizeof(pid), "%-10ld", (long)getpid());
    /* For people only: a failure to write it is none to own the spool. */
    io_write_block(s->io, s->lock_fd, pid, (size_t)rc, 0);
    return 0;
}

/* 1: made; 0: was there. */
static int make_dir(struct store *s, int dir, const char *name, struct err *e)
{
    int rc = s->options.read_only ? -EEXIST : s->io->mkdir(s->io->user, dir, name, 0700);

    if (rc >= 0)
        return 1;
    if (rc != -EEXIST)
        return err_errno(e, store_err(rc), -rc, "%s: cannot make %s", s->options.dir, name);
    return 0;
}

static int open_below(struct store *s, struct err *e)
{
    int rc = make_dir(s, s->dir, "seg", e);

    if (rc >= 0)
        rc = make_dir(s, s->dir, "big", e);
    if (rc >= 0)
        rc = make_dir(s, s->dir, "damaged", e);
    if (rc < 0)
        return rc;
    if (!s->options.read_only && (rc = s->io->sync(s->io->user, s->dir)) < 0)
        return err_errno(e, BARID_EIO, -rc, "%s: cannot sync", s->options.dir);
    s->seg_dir = open_dir(s, s->dir, "seg");
    s->big_dir = open_dir(s, s->dir, "big");
    if (s->seg_dir < 0 || s->big_dir < 0)
        return err_set(e, BARID_EIO, "%s: cannot open seg and big", s->options.dir);
    return 0;
}

/* Before anything in it is promised the spool's own name is durable. An earlier start may have
 * made it and died; a directory that somebody else made may lie where we cannot look, and is
 * then theirs to care for. */
static int sync_above(struct store *s, bool made, struct err *e)
{
    int fd = open_dir(s, s->dir, ".."), rc = fd;

    if (fd >= 0) {
        rc = s->io->sync(s->io->user, fd);
        s->io->close(s->io->user, fd);
    }
    if (rc >= 0 || !made)
        return 0;
    return err_errno(e, BARID_EIO, -rc, "%s: cannot sync the directory above it",
                     s->options.dir);
}

int log_dir_open(struct store *s, struct err *e)
{
    bool fresh, made, has_key = false;
    int rc = make_dir(s, AT_FDCWD, s->options.dir, e);

    if (rc < 0)
        return rc;
    made = rc > 0;
    if ((s->dir = open_dir(s, AT_FDCWD, s->options.dir)) < 0)
        return err_errno(e, BARID_EIO, -s->dir, "%s: cannot open", s->options.dir);
    rc = parse_format(s, &has_key, e);
    fresh = rc == BARID_ENOTFOUND;
    if (fresh)
        rc = check_empty(s, e);
    if (rc == 0)
        rc = take_lock(s, e);
    if (rc == 0 && fresh)
        rc = sync_above(s, made, e);
    if (rc == 0 && fresh)
        rc = write_format(s, e);
    else if (rc == 0 && !has_key && !s->options.read_only)
        write_format(s, NULL); /* fails on a full disk: then it has another key the next time */
    return rc != 0 ? rc : open_below(s, e);
}

void log_dir_close(struct store *s)
{
    const int fds[] = {s->big_dir, s->seg_dir, s->lock_fd, s->dir};

    for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
        if (fds[i] >= 0)
            s->io->close(s->io->user, fds[i]);
    }
}
