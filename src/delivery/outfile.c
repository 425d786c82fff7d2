/*
 * delivery/outfile.c: one file, written from its start. Knows no mail.
 *
 * CRLF becomes LF whatever the cuts: a CR at the end of a piece waits for the octet behind it.
 * A CR or LF alone stays what it is.
 */
#include "delivery/outfile.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"

int outfile_init(struct outfile *o, const barid_mem *mem, int fd, bool lf)
{
    *o = (struct outfile){.mem = mem, .fd = fd, .lf = lf};
    o->buf = mem_alloc(mem, OUTFILE_BUFFER);
    return o->buf != NULL ? 0 : BARID_ENOMEM;
}

static void flush(struct outfile *o)
{
    size_t at = 0;

    while (o->error == 0 && at < o->n) {
        ssize_t n = write(o->fd, o->buf + at, o->n - at);

        if (n > 0)
            at += (size_t)n;
        else if (n == 0)
            o->error = ENOSPC; /* a regular file takes something or says why not */
        else if (errno != EINTR)
            o->error = errno;
    }
    o->size += at;
    o->n = 0;
}

static void put(struct outfile *o, const char *p, size_t n)
{
    while (o->error == 0 && n > 0) {
        size_t room = OUTFILE_BUFFER - o->n, take = n < room ? n : room;

        memcpy(o->buf + o->n, p, take);
        o->n += take;
        p += take;
        n -= take;
        if (o->n == OUTFILE_BUFFER)
            flush(o);
    }
}

void outfile_write(struct outfile *o, barid_slice s)
{
    if (!o->lf) {
        put(o, s.p, s.n);
        return;
    }
    while (s.n > 0) {
        size_t cr = slice_find(s, '\r');

        if (o->cr_waits && s.p[0] != '\n')
            put(o, "\r", 1);
        o->cr_waits = cr < s.n;
        put(o, s.p, cr);
        s = slice_from(s, cr + 1);
    }
}

int outfile_sync(struct outfile *o)
{
    if (o->cr_waits)
        put(o, "\r", 1);
    o->cr_waits = false;
    flush(o);
    if (o->error == 0 && fsync(o->fd) < 0)
        o->error = errno;
    return o->error;
}

void outfile_close(struct outfile *o)
{
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
    mem_free(o->mem, o->buf);
    o->buf = NULL;
}
