/*
 * interface/transport.h: how a unit of work leaves the spool. Implementations: delivery/maildir.c, delivery/archive.c.
 *
 * deliver is called on a pool thread (it may block on files) with everything loaded; it returns the result at once. A transport
 * that waits for a network will come with an asynchronous slot of its own.
 */
#ifndef INTERFACE_TRANSPORT_H
#define INTERFACE_TRANSPORT_H

#include "interface/spool.h"
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

struct transport {
    const char *name; /* "maildir" */
    enum disposition_kind kind;
    /* Never fails without a result; out of memory is DELIVERY_AGAIN. */
    void (*deliver)(struct transport *t, const struct delivery *d, struct delivery_result *r);
    void (*close)(struct transport *t);
};

#endif
