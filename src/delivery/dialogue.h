/*
 * delivery/dialogue.h: a client session joined to a stream: the mirror of server/driver.h. One loop, its thread.
 */
#ifndef DELIVERY_DIALOGUE_H
#define DELIVERY_DIALOGUE_H

#include "barid/client.h"
#include "base/err.h"
#include "io/stream.h"

struct dialogue;

/* Octets of a message that wait for the kernel: more are not asked for before. */
#define DIALOGUE_BACKLOG_MAX (256u << 10)

struct dialogue_ops {
    /* All but WANT_BODY. dialogue_send and dialogue_quit may be called from here, dialogue_del may not. */
    void (*on_event)(void *user, const barid_client_event *event);
    /* There is no connection, and there will be none: instead of all events. NULL where the stream was given. */
    void (*on_unreachable)(void *user, const struct err *err);
    /* After CLOSED or on_unreachable, once: the connection is closed, nothing is called any more, and the dialogue may be deleted
     * from here. */
    void (*on_over)(void *user);
    /* The next octets of the message: at most n, *p_r valid until the next call on the dialogue; *last_r: they end it. 1; 0: not
     * now, dialogue_body_ready says when; or a barid_err: it cannot be read, the mail is given up and its end never sent. */
    int (*on_body)(void *user, size_t n, barid_slice *p_r, bool *last_r);
    /* The end of the message (final dot, last chunk) is handed to the stream next: from now on the mail may have been delivered. May
     * be NULL. */
    void (*on_final)(void *user);
    /* The handshake ended, info NULL: failed. May be NULL. */
    void (*on_tls)(void *user, const barid_tls_info *info, const struct err *err);
};

struct dialogue_options {
    struct loop *loop;
    const barid_client_config *config; /* borrowed until the dialogue is deleted */
    struct tls_ctx *tls;               /* referenced; NULL: a handshake fails */
    const char *server_name; /* copied; what the certificate has to name, NULL = nothing */
    const struct dialogue_ops *ops;
    void *user;
    const barid_mem *mem;
};

/* On a stream that is there: taken over whatever happens. 0, BARID_ENOMEM, BARID_EINVALID (the configuration contradicts
 * itself). Nothing is called from within; dialogue_start, and what is called below, may call the owner, also on_over. */
int dialogue_new(struct dialogue **d_r, const struct dialogue_options *o,
                 struct stream *stream);
void dialogue_start(struct dialogue *d);

struct dialogue_place {
    barid_endpoint to; /* ignored when unix_path is set */
    const char *unix_path;
    const barid_endpoint *from; /* source address; NULL = the system's choice */
    uint32_t connect_ms;
};
/* On a stream that has to be made; it starts by itself. 0; else nothing is called: BARID_ENOMEM, or what stream_connect says,
 * with *err. */
int dialogue_open(struct dialogue **d_r, const struct dialogue_options *o,
                  const struct dialogue_place *place, struct err *err);
/* Another owner: from now on it is told. Also from within on_event. */
void dialogue_give(struct dialogue *d, const struct dialogue_ops *ops, void *user);
/* Closes at once what is still open; nothing is called any more. Accepts NULL. */
void dialogue_del(struct dialogue **d);

/* As barid_client_send: once after each READY. mail is borrowed until DONE. */
int dialogue_send(struct dialogue *d, const barid_client_mail *mail);
void dialogue_quit(struct dialogue *d);
void dialogue_body_ready(struct dialogue *d);
const barid_client *dialogue_client(const struct dialogue *d); /* for what the server offers */

#endif
