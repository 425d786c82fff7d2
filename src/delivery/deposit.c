/*
 * delivery/deposit.c: one message into one file. Knows names and directories that its callers
 * opened, no layout.
 *
 * States of a file, and what a crash leaves:
 *   nothing -> temp (partial) -> temp (whole, synced) -> final -> final (directory synced) ->
 * reported A crash before the rename leaves a temp file, which the next attempt replaces. A
 * crash after it leaves the final file; the next attempt finds it under the same name and
 * reports it as delivered, after syncing the directory, as nobody knows whether the first
 * attempt came to that.
 */
#include "delivery/deposit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"
#include "delivery/outfile.h"

#define BODY_CHUNK    (64u << 10)
#define COMPARE_CHUNK (16u << 10)

static void write_header(const struct deposit *p, struct outfile *out)
{
    const struct mail *m = p->delivery->mail;

    outfile_write(out, p->front);
    for (size_t i = 0; i < m->header.n; i++) {
        const struct header_field *f = &m->header.f[i];
        bool skip = p->left_out.n > 0 && slice_eq_nocase(f->name, p->left_out);

        if (!f->deleted && !skip)
            outfile_write(out, f->raw);
    }
    if (m->has_blank_line || p->always_blank)
        outfile_write(out, BARID_S("\r\n"));
}

static const char *write_body(const struct deposit *p, struct outfile *out, char *chunk)
{
    const struct delivery *d = p->delivery;
    uint64_t at = 0;

    while (at < d->body_size && out->error == 0) {
        uint64_t left = d->body_size - at;
        int64_t n =
            d->body_read(d->body, at, chunk, left < BODY_CHUNK ? (size_t)left : BODY_CHUNK);

        if (n < 0)
            return barid_strerror((int)n);
        if (n == 0)
            return "it ends too early";
        outfile_write(out, slice_of(chunk, (size_t)n));
        at += (uint64_t)n;
    }
    return NULL;
}

/* The whole message, synced. False with *fault_r. */
static bool write_message(const struct deposit *p, struct outfile *out, struct fault *fault_r)
{
    char *chunk = mem_alloc(p->mem, BODY_CHUNK);
    const char *problem;

    if (chunk == NULL) {
        *fault_r = (struct fault){.text = "out of memory"};
        return false;
    }
    write_header(p, out);
    problem = write_body(p, out, chunk);
    mem_free(p->mem, chunk);
    *fault_r = (struct fault){.text = problem};
    if (problem == NULL)
        fault_r->error = outfile_sync(out);
    return problem == NULL && fault_r->error == 0;
}

/* A temp file of that name is what an attempt left that was cut off: nobody else makes this
 * name. */
static int open_temp(const struct deposit *p)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(p->temp_dir, p->temp, flags, 0600);

    if (fd < 0 && errno == EEXIST && unlinkat(p->temp_dir, p->temp, 0) == 0)
        fd = openat(p->temp_dir, p->temp, flags, 0600);
    return fd;
}

static bool write_temp(const struct deposit *p, struct fault *fault_r)
{
    struct outfile out;
    int fd = open_temp(p);
    bool ok;

    if (fd < 0) {
        *fault_r = (struct fault){.error = errno};
        return false;
    }
    if (outfile_init(&out, p->mem, fd, p->lf) < 0) {
        *fault_r = (struct fault){.text = "out of memory"};
        ok = false;
    } else {
        ok = write_message(p, &out, fault_r);
    }
    outfile_close(&out);
    if (!ok)
        unlinkat(p->temp_dir, p->temp, 0);
    return ok;
}

/* Temp to final without replacing. 0 or an errno value. */
static int put_in_place(const struct deposit *p)
{
    if (renameat2(p->temp_dir, p->temp, p->final_dir, p->final, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    /* A file system without that flag: a link never replaces either. */
    if (linkat(p->temp_dir, p->temp, p->final_dir, p->final, 0) < 0)
        return errno;
    unlinkat(p->temp_dir, p->temp, 0);
    return 0;
}

/* Both files to their ends. */
static bool same_octets(int a, int b)
{
    char x[COMPARE_CHUNK], y[COMPARE_CHUNK];
    off_t at = 0;

    for (;;) {
        ssize_t n = pread(a, x, sizeof(x), at), k = pread(b, y, sizeof(y), at);

        if (n < 0 || n != k || memcmp(x, y, (size_t)n) != 0)
            return false;
        if (n == 0)
            return true;
        at += n;
    }
}

static bool same_as_final(const struct deposit *p)
{
    int a = openat(p->temp_dir, p->temp, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int b = openat(p->final_dir, p->final, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool same = a >= 0 && b >= 0 && same_octets(a, b);

    if (a >= 0)
        close(a);
    if (b >= 0)
        close(b);
    return same;
}

enum deposit_step deposit(const struct deposit *p, struct fault *fault_r)
{
    enum deposit_step step = DEPOSIT_DONE;
    int rc;

    *fault_r = (struct fault){.error = 0};
    if (!write_temp(p, fault_r))
        return DEPOSIT_FAILED;
    rc = put_in_place(p);
    if (rc == EEXIST && same_as_final(p))
        step = DEPOSIT_BEFORE;
    else if (rc == EEXIST)
        *fault_r = (struct fault){.text = "another file has this name: move it away"};
    else if (rc != 0)
        fault_r->error = rc;
    if (rc != 0)
        unlinkat(p->temp_dir, p->temp, 0);
    if (rc != 0 && step != DEPOSIT_BEFORE)
        return DEPOSIT_FAILED;
    if (fsync(p->final_dir) < 0) {
        fault_r->error = errno;
        return DEPOSIT_FAILED;
    }
    return step;
}

bool deposit_exists(const struct deposit *p, struct fault *fault_r)
{
    struct stat st;

    *fault_r = (struct fault){.error = 0};
    if (fstatat(p->final_dir, p->final, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return false;
    if (fsync(p->final_dir) < 0)
        fault_r->error = errno;
    return true;
}

/* --- replies ------------------------------------------------------------------------------ */

static const struct {
    int error;
    const char *reply; /* code and what is wrong; the path and strerror follow */
} replies[] = {
    {ENOSPC, "452 4.3.1 the disk is full"},
    {EDQUOT, "452 4.2.2 over quota"},
    {EXDEV, "451 4.3.5 leads out of the root: remove the symbolic link"},
    {ELOOP, "451 4.3.5 a symbolic link is in the way: remove it"},
    {ENOTDIR, "451 4.3.5 something that is no directory is in the way: move it away"},
    {EEXIST, "451 4.3.5 something that is no directory is in the way: move it away"},
    {EACCES, "451 4.3.5 no permission: give the directory to the user that barid runs as"},
    {EPERM, "451 4.3.5 no permission: give the directory to the user that barid runs as"},
    {EROFS, "451 4.3.5 the file system is read-only"},
    {ENAMETOOLONG, "451 4.3.5 the path is too long"},
    {EIO, "451 4.3.0 the disk failed"},
};

static const char *reply_of(int error)
{
    for (size_t i = 0; i < sizeof(replies) / sizeof(*replies); i++)
        if (replies[i].error == error)
            return replies[i].reply;
    return "451 4.3.0 cannot be written";
}

/* Cut to fit: the operator still sees what and the beginning of where. */
static void set_where(struct delivery_result *r, const char *where)
{
    snprintf(r->where, sizeof(r->where), "%s", where);
}

void fault_result(const struct fault *fault, const char *where, struct delivery_result *r)
{
    *r = (struct delivery_result){.status = DELIVERY_AGAIN};
    if (fault->text != NULL)
        snprintf(r->reply, sizeof(r->reply), "451 4.3.0 %s (%s)", fault->text, where);
    else
        snprintf(r->reply, sizeof(r->reply), "%s (%s: %s)", reply_of(fault->error), where,
                 strerror(fault->error));
    set_where(r, where);
}

void done_result(bool before, bool maybe_duplicate, const char *where,
                 struct delivery_result *r)
{
    *r = (struct delivery_result){.status = DELIVERY_DONE, .maybe_duplicate = maybe_duplicate};
    snprintf(r->reply, sizeof(r->reply), "250 2.0.0 %s",
             before            ? "stored by an earlier attempt"
             : maybe_duplicate ? "stored, maybe for the second time"
                               : "stored");
    set_where(r, where);
}
