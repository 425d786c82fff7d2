/* io/io_testing.h: what the tests of streams share: an owner that remembers what it was told.
 * Test code only. */
#ifndef IO_IO_TESTING_H
#define IO_IO_TESTING_H

#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/slice.h"
#include "io/stream.h"
#include "io/timer.h"

struct owner {
    struct loop *loop;
    struct stream *s;
    struct buf in;
    unsigned reads, closes, drains, handshakes;
    int close_err;
    bool del_on_read, del_on_close, del_on_drain, del_on_tls, pause_on_read, echo;
    bool tls_ok;
    char tls_version[16], tls_sni[64], tls_subject[256], tls_error[384];
};

static inline void owner_on_read(void *user, const char *p, size_t n)
{
    struct owner *o = user;

    assert_int_equal(o->closes, 0);
    o->reads++;
    buf_append(&o->in, slice_of(p, n));
    if (o->echo)
        stream_write(o->s, p, n);
    if (o->pause_on_read)
        stream_read(o->s, false);
    if (o->del_on_read)
        stream_del(&o->s);
}

static inline void owner_on_close(void *user, int err)
{
    struct owner *o = user;

    o->closes++;
    o->close_err = err;
    if (o->del_on_close)
        stream_del(&o->s);
}

static inline void owner_on_drain(void *user)
{
    struct owner *o = user;

    o->drains++;
    if (o->del_on_drain)
        stream_del(&o->s);
}

static inline void copy_text(char *out, size_t n, barid_slice s)
{
    s = slice_head(s, n - 1);
    if (s.n > 0)
        memcpy(out, s.p, s.n);
    out[s.n] = '\0';
}

static inline void owner_on_tls(void *user, const barid_tls_info *info, const struct err *err)
{
    struct owner *o = user;

    o->handshakes++;
    o->tls_ok = info != NULL;
    if (info != NULL) {
        copy_text(o->tls_version, sizeof(o->tls_version), info->version);
        copy_text(o->tls_sni, sizeof(o->tls_sni), info->sni);
        copy_text(o->tls_subject, sizeof(o->tls_subject), info->peer_subject);
    } else {
        copy_text(o->tls_error, sizeof(o->tls_error), slice_str(err->text));
    }
    if (o->del_on_tls)
        stream_del(&o->s);
}

static const struct stream_ops owner_ops = {owner_on_read, owner_on_close, owner_on_drain,
                                            owner_on_tls};

static inline void owner_take(struct owner *o, struct loop *loop, struct stream *s)
{
    *o = (struct owner){.loop = loop, .s = s};
    buf_init(&o->in, NULL, 0);
    stream_bind(s, &owner_ops, o);
    stream_read(s, true);
}

static inline void owner_open(struct owner *o, struct loop *loop, int fd)
{
    struct stream *s;

    assert_int_equal(stream_open(&s, loop, fd, NULL), 0);
    owner_take(o, loop, s);
}

static inline void owner_close(struct owner *o)
{
    stream_del(&o->s);
    buf_deinit(&o->in);
}

static inline bool owner_got(const struct owner *o, const char *text)
{
    return slice_eq(buf_slice(&o->in), slice_str(text));
}

/* Turns until the condition holds; a test that hangs is ended by alarm(2), set in main. */
#define TURN_UNTIL(loop, condition)                                                            \
    do {                                                                                       \
        while (!(condition))                                                                   \
            loop_turn((loop), true);                                                           \
    } while (0)

/* Lets everything happen that can happen without waiting. */
static inline void turn_some(struct loop *loop)
{
    for (int i = 0; i < 8; i++)
        loop_turn(loop, false);
}

static inline void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

#endif
