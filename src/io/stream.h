/*
 * io/stream.h: a connected byte stream over TCP or a unix socket, plain or TLS, seen alike.
 *
 * Ownership: the creator owns it until stream_del; deleting from within a callback is allowed.
 * Reading uses one buffer per loop, so an idle stream holds no buffer. Writing tries the socket
 * at once and keeps only what did not fit, up to a limit.
 */
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include "barid/endpoint.h"
#include "io/loop.h"
#include "io/tls.h"

struct stream;

struct stream_ops {
    /* Bytes arrived (decrypted); valid during the call. */
    void (*on_read)(void *user, const char *p, size_t n);
    /* The peer closed its side (err 0) or the stream broke (barid_err). Called once; after an
     * error nothing follows, and after the peer's closing only on_drain. */
    void (*on_close)(void *user, int err);
    /* Nothing written waits any more (only after stream_write returned 0 with backlog): all has
     * left for the kernel; or the stream broke after the peer closed its side, which
     * stream_write tells from then on. May be NULL. */
    void (*on_drain)(void *user);
    /* The handshake ended: info NULL and *err when it failed, and then nothing follows. Both
     * live during the call. */
    void (*on_tls)(void *user, const barid_tls_info *info, const struct err *err);
};

/* A stream on a connected socket; fd is owned from now on, also on error. 0, or BARID_ENOMEM,
 * BARID_EIO with *err. */
int stream_open(struct stream **s_r, struct loop *loop, int fd, struct err *err);

/* ops is borrowed. Reading starts stopped; while it is stopped, the peer's closing is not seen
 * either. */
void stream_bind(struct stream *s, const struct stream_ops *ops, void *user);
void stream_read(struct stream *s, bool on);

/* What may wait for a peer that does not read. An owner that answers on and on stops reading
 * when a backlog stands, so this is met only by one that writes a large text at once: it writes
 * in pieces, after on_drain. */
#define STREAM_BACKLOG_MAX ((size_t)1024 * 1024)

/* Copies what the socket does not take at once. 0; BARID_ELIMIT when more than
 * STREAM_BACKLOG_MAX would wait (nothing of it was written); BARID_ENOMEM and BARID_ECLOSED
 * (the stream is broken, on_close follows); BARID_EINVALID during a handshake. After on_close
 * with err 0 writing is still possible. */
int stream_write(struct stream *s, const void *p, size_t n);
size_t stream_backlog(const struct stream *s); /* octets not yet taken by the kernel */

/* Start TLS as server or client; on_tls follows, never from within the call (also when reading
 * is stopped). 0, BARID_ENOMEM, BARID_ECLOSED, BARID_EINVALID (TLS already, wrong kind of
 * context, no name to verify). server_name may be NULL or an address. Input that arrived before
 * is an error, never plaintext within. */
int stream_tls_accept(struct stream *s, struct tls_ctx *ctx);
/* The same when the first octets of the handshake were read already (behind a PROXY header). */
int stream_tls_accept_early(struct stream *s, struct tls_ctx *ctx, const void *early, size_t n);
int stream_tls_connect(struct stream *s, struct tls_ctx *ctx, const char *server_name);
bool stream_is_tls(const struct stream *s);

const barid_endpoint *stream_peer(const struct stream *s);
const barid_endpoint *stream_local(const struct stream *s);
/* Peer credentials of a unix socket; 0 or BARID_EUNSUPPORTED. */
int stream_peer_uid(const struct stream *s, unsigned *uid_r);

/* Flush what waits (bounded time), send close_notify, close, free. No callback follows. reset
 * drops instead of flushing. Both accept NULL.
 *
 * A socket that is closed while its peer still sends answers with a reset, and that takes from the
 * peer what it has not read. So what is there unread is read away first, until the peer closes
 * (bounded time and amount). linger, called before: also when nothing is there yet, for a peer
 * that does not expect the end. */
void stream_linger(struct stream *s);
void stream_del(struct stream **s);
void stream_reset(struct stream **s);

/* Connect; done(user, stream, err) exactly once, on the loop and not within this call, unless
 * this returns an error. The stream belongs to the callee. to is ignored when unix_path is set;
 * from (may be NULL) is the source address. handle_r may be NULL; the handle is over when done
 * is called. */
struct stream_connect;
int stream_connect(struct loop *loop, const barid_endpoint *to, const char *unix_path,
                   const barid_endpoint *from, uint32_t timeout_ms,
                   void (*done)(void *user, struct stream *s, const struct err *err),
                   void *user, struct stream_connect **handle_r, struct err *err);
void stream_connect_cancel(struct stream_connect **handle); /* done is not called */

#endif
