/*
 * server/driver.h: a stream joined to a session: bytes in, events to the owner, replies out,
 * handshakes, deadlines, the end. Knows neither policy nor spool: the mail server and the
 * callback server both stand on it.
 *
 *   OPEN ──session wants to close, nothing unanswered──▶ CLOSED (on_closed, once)
 */
#ifndef SERVER_DRIVER_H
#define SERVER_DRIVER_H

#include "barid/session.h"
#include "io/stream.h"
#include "io/timer.h"

struct driver;

struct driver_ops {
    /* Every event. One with a token is answered by driver_answer, now or later; nothing further
     * is raised meanwhile. */
    void (*on_event)(struct driver *d, const barid_event *ev);
    /* No transaction is open and nothing is unanswered. May be NULL. */
    void (*on_idle)(struct driver *d);
    void (*on_tls_failed)(struct driver *d, const struct err *err); /* may be NULL */
    /* The stream is about to be closed: what counts connections counts one less before the peer
     * can know. May be NULL. */
    void (*on_closing)(struct driver *d);
    /* The stream is closed. Never from within another callback; the owner may free the driver
     * now. */
    void (*on_closed)(struct driver *d);
};

struct driver {
    const struct driver_ops *ops;
    struct loop *loop;
    struct stream *stream;  /* NULL once closed */
    barid_session *session; /* stays readable until deinit */
    struct timer *timer;
    struct tls_ctx *tls; /* borrowed; NULL = no TLS */
    barid_token token;   /* the unanswered event, 0 = none */
    enum barid_event_id event;
    uint64_t bytes_in;
    bool pumping, again, closed;
};

/* Takes the stream over on success. config and tls are borrowed for the driver's life. 0,
 * BARID_ENOMEM, BARID_EINVALID. Call driver_start when the owner is ready for events. */
int driver_init(struct driver *d, struct loop *loop, struct stream *stream,
                const barid_session_config *config, struct tls_ctx *tls,
                const struct driver_ops *ops);
void driver_start(struct driver *d);
/* Frees what is left; accepts a zeroed driver. A stream still open is closed without ceremony.
 */
void driver_deinit(struct driver *d);

/* 0, or BARID_EINVALID when the verdict was not allowed (the session answered 451 instead).
 * Goes on pumping: d may be freed by its owner before this returns. */
int driver_answer(struct driver *d, const barid_verdict *verdict);
void driver_stop(struct driver *d, bool force); /* barid_session_stop, then pump */

#endif
