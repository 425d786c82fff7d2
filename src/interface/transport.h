/*
 * interface/transport.h: how a unit of work leaves the spool. Implementations: delivery/maildir.c, delivery/archive.c,
 * delivery/relay.c.
 *
 * A transport has one of two slots. deliver is called on a pool thread (it may block on files) with everything loaded and returns the
 * result at once. send is for one that waits for a network: called on the queue's loop, it answers later on the same loop.
 */
#ifndef INTERFACE_TRANSPORT_H
#define INTERFACE_TRANSPORT_H

#include "interface/spool.h"
#include "message/hop.h"
#include "message/mail.h"

enum delivery_status { DELIVERY_DONE, DELIVERY_AGAIN, DELIVERY_FAILED };

struct delivery_result {
    enum delivery_status status;
    bool maybe_duplicate;   /* an earlier attempt may have delivered it already */
    char reply[256];        /* one line for the log and the unit's state: "250 2.0.0 ..." or what went wrong */
    char where[256];        /* what was written, relative to the root */
};

struct delivery {
    const struct mail *mail;        /* decoded record; header list as committed */
    const struct unit *unit;
    size_t unit_index;              /* names the unit's file: an attempt that is made again writes the same name */
    uint32_t attempts;              /* before this one */
    bool after_restart;             /* the mail is older than this process: an attempt may have been cut off unseen */
    uint64_t body_size;
    int64_t (*body_read)(void *body, uint64_t offset, void *p, size_t n);
    void *body;
    int64_t now_us;
};

/* What became of one recipient at a next hop. Slices live until the call returns. */
struct send_result {
    enum delivery_status status;
    bool is_suspect;    /* AGAIN: lost after the final dot: it may have been delivered (RFC 1047) */
    bool no_connection; /* AGAIN, FAILED: nobody was reached who could be asked: another next hop may be tried */
    const char *stage;  /* "connect", "rcpt", "final", ... (barid_client_stage_name); "dns" */
    barid_slice reply;  /* one line: "550 5.1.1 no such user"; ours where no server said anything: "451 4.4.1 ..." */
    barid_slice remote; /* host name that said it, or was not reached; empty = none */
    barid_slice remote_address; /* "192.0.2.1:25"; empty = none */
    bool dsn_passed;    /* DONE: the next hop took over what the sender asked to be told (RFC 3461 5.2.2) */
};

/*
 * One mail on its way to one next hop. Filled by the queue, borrowed by the transport from send until over; mail, hop and header are read
 * only. Everything is called on the loop of the queue, never from within send.
 */
struct consignment {
    const struct mail *mail;
    const struct hop *hop;
    const size_t *rcpts; /* indexes in mail->rcpts; at most hop.max_rcpts where that is set */
    size_t n_rcpts;
    barid_slice header;  /* the header block, CRLF-ended, without the blank line */
    uint64_t body_size;  /* octets behind the blank line (mail->has_blank_line says whether there is one) */
    /* Octets of the body from offset: at most n, *p_r valid until the next call. 1; 0: not now, the transport's body_ready says when; or a
     * barid_err: it cannot be read, the mail is given up and its end never sent. May be read again from 0 for another server. */
    int (*body)(struct consignment *c, uint64_t offset, size_t n, barid_slice *p_r);
    /* The end of the message is about to be sent to a server: from now on it may have been delivered. Once per server. */
    void (*on_final)(struct consignment *c);
    /* Once for each of rcpts; i is its place there. */
    void (*on_result)(struct consignment *c, size_t i, const struct send_result *r);
    /* After the last result; the consignment is the queue's again. */
    void (*on_over)(struct consignment *c);
    void *sending; /* the transport's; NULL before send and after over */
};

struct transport {
    const char *name; /* "maildir" */
    enum disposition_kind kind;
    /* Never fails without a result; out of memory is DELIVERY_AGAIN. */
    void (*deliver)(struct transport *t, const struct delivery *d, struct delivery_result *r);
    /* 0, or BARID_ENOMEM: then nothing is called. NULL in a transport that delivers at once. */
    int (*send)(struct transport *t, struct consignment *c);
    void (*body_ready)(struct transport *t, struct consignment *c);
    /* Give up what is under way, without a word to the server after a message half sent; nothing is called any more. Not from within a
     * call of the consignment (body says a barid_err instead; on_over is after the end). Memory may be freed with the next turn of the
     * loop. */
    void (*cancel)(struct transport *t, struct consignment *c);
    void (*close)(struct transport *t); /* nothing may be under way */
};

#endif
