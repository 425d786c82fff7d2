/*
 * io/stream.h: a connected byte stream over TCP or a unix socket, plain or TLS, seen alike.
 *
 * Ownership: the creator owns it until stream_del; deleting from within a callback is allowed.
 * Reading uses one buffer per loop, so an idle stream holds no buffer. Writing tries the socket at once
 * and keeps only what did not fit, up to a limit.
 */
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include "barid/event.h"
#include "io/loop.h"
#include "io/tls.h"

struct stream;

struct stream_ops {
    /* Bytes arrived (decrypted); valid during the call. */
    void (*on_read)(void *user, const char *p, size_t n);
    /* The peer closed its side (err 0) or the stream broke (barid_err). Called once; nothing follows. */
    void (*on_close)(void *user, int err);
    /* Everything written so far has left for the kernel (only after stream_write returned 0 with backlog). May be NULL. */
    void (*on_drain)(void *user);
    /* The handshake ended: info NULL and *err when it failed. */
    void (*on_tls)(void *user, const barid_tls_info *info, const struct err *err);
};

/* ops is borrowed. Reading starts stopped. */
void stream_bind(struct stream *s, const struct stream_ops *ops, void *user);
void stream_read(struct stream *s, bool on);

/* Copies what the socket does not take at once. 0; BARID_ELIMIT when more than STREAM_BACKLOG_MAX waits; BARID_ENOMEM; BARID_ECLOSED. */
int stream_write(struct stream *s, const void *p, size_t n);
size_t stream_backlog(const struct stream *s); /* octets not yet taken by the kernel */

/* Start TLS as server or client; on_tls follows. Input that arrived before is an error, never plaintext within. */
int stream_tls_accept(struct stream *s, struct tls_ctx *ctx);
int stream_tls_connect(struct stream *s, struct tls_ctx *ctx, const char *server_name);
bool stream_is_tls(const struct stream *s);

const barid_endpoint *stream_peer(const struct stream *s);
const barid_endpoint *stream_local(const struct stream *s);
/* Peer credentials of a unix socket; 0 or BARID_EUNSUPPORTED. */
int stream_peer_uid(const struct stream *s, unsigned *uid_r);

/* Flush what waits (bounded time), send close_notify, close, free. No callback follows. reset drops instead of flushing. */
void stream_del(struct stream **s);
void stream_reset(struct stream **s);

/* Connect; done(user, stream, err) exactly once, on the loop, unless this returns an error. The stream belongs to the callee. */
struct stream_connect;
int stream_connect(struct loop *loop, const barid_endpoint *to, const char *unix_path, const barid_endpoint *from,
                   uint32_t timeout_ms, void (*done)(void *user, struct stream *s, const struct err *err), void *user,
                   struct stream_connect **handle_r, struct err *err);
void stream_connect_cancel(struct stream_connect **handle); /* done is not called */

#endif
