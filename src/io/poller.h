/*
 * io/poller.h: the sockets of a loop's streams: an epoll set of their own that libuv sees as one
 * descriptor. For the files of src/io only.
 *
 * Not one uv_poll_t each: that costs a connection four more calls of epoll_ctl, one of ioctl and
 * 130 octets, and streams are what a busy server makes by the thousand.
 */
#ifndef IO_POLLER_H
#define IO_POLLER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

/* The socket failed: it is watched no more, whatever was wanted. */
#define POLLER_IN    1u
#define POLLER_OUT   2u
#define POLLER_ERROR 4u

struct poller_item;
struct poller_ops {
    void (*ready)(struct poller_item *item, unsigned events);
    /* The loop ends: close without callbacks. all false: but not what still flushes. */
    void (*abandon)(struct poller_item *item, bool all);
};

/* Part of what owns the descriptor. Its memory must last until the loop's deferred tasks run:
 * events of the same wait may still point to it. */
struct poller_item {
    struct poller_item *next, **at; /* all items of the poller */
    const struct poller_ops *ops;
    int fd;         /* -1 = removed */
    uint8_t wanted; /* POLLER_IN | POLLER_OUT */
};

struct poller {
    int fd; /* the epoll set */
    uv_poll_t uv;
    struct poller_item *first;
};

int poller_init(struct poller *p, uv_loop_t *uv, struct err *err); /* 0 or BARID_EIO */
void poller_deinit(struct poller *p); /* no items are left; the uv loop has to turn once more */
void poller_abandon(struct poller *p, bool all);

/* fd stays the owner's. Nothing is wanted yet. */
void poller_add(struct poller *p, struct poller_item *item, int fd,
                const struct poller_ops *ops);
int poller_want(struct poller *p, struct poller_item *item,
                unsigned events);             /* 0 or BARID_EIO */
void poller_remove(struct poller_item *item); /* the owner closes fd next: that takes it out */

#endif
