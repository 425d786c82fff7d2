/*
 * io/stream_int.h: the inside of a stream, for stream.c, stream_connect.c, stream_tls.c and
 * listener.c.
 */
#ifndef IO_STREAM_INT_H
#define IO_STREAM_INT_H

#include "base/buf.h"
#include "io/loop_int.h"
#include "io/stream.h"
#include "io/timer.h"

/* A deleted stream may take this long to hand its last octets to the peer. */
#define STREAM_FLUSH_MS 5000
/* Then, when input still waits in the socket, this long and this much of it is read and thrown
 * away: closing at once would reset the connection, and the peer could lose the reply it was
 * about to read (RFC 1122 4.2.2.13). */
#define STREAM_LINGER_MS  2000
#define STREAM_LINGER_MAX (1024 * 1024)

struct stream_layer;

/* What stands between the socket and the owner (TLS). Callbacks are made through stream_deliver
 * and stream_end. */
struct stream_layer_ops {
    void (*input)(struct stream *s, const char *p, size_t n); /* from the socket */
    void (*end)(struct stream *s, int err);                   /* the socket ended */
    int (*write)(struct stream *s, const void *p, size_t n);  /* from the owner */
    void (*resume)(struct stream *s); /* deferred: reading is on again, or an error waits */
    bool (*waiting)(const struct stream *s); /* has input that the owner has not seen */
    void (*close)(struct stream *s);         /* say goodbye before the flush */
    void (*del)(struct stream_layer *layer);
};
struct stream_layer {
    const struct stream_layer_ops *ops;
};

enum stream_state {
    STREAM_CONNECTING, /* stream_connect.c waits for the socket to become writable */
    STREAM_OPEN,
    STREAM_FLUSHING,  /* deleted; output waits; no owner any more */
    STREAM_LINGERING, /* deleted, all written; input is read away until the peer closes */
    STREAM_CLOSED /* freed by the deferred task, so it outlives any callback on the stack */
};

struct stream {
    struct poller_item item; /* first */
    struct loop *loop;
    const struct stream_ops *ops;
    void *user;
    struct stream_layer *layer;     /* NULL = plain */
    struct stream_connect *connect; /* state CONNECTING only */
    struct timer *timer;            /* states FLUSHING and LINGERING only */
    struct buf out;                 /* what the kernel did not take */
    size_t out_at;                  /* of which so much has gone since */
    struct loop_task task;          /* deferred work: report a failure, resume the layer */
    uint32_t lingered;              /* octets read away */
    int fd;
    int error; /* barid_err once the socket failed */
    uint8_t state;
    bool reading;      /* the owner wants input */
    bool layer_reads;  /* the layer does, whatever the owner says: a handshake */
    bool ended;        /* on_close was called */
    bool lingers;      /* the peer may be sending when the stream is deleted */
    bool at_eof;       /* the peer sent FIN */
    bool drain_wanted; /* on_drain is due when out is empty */
    bool task_queued;
    barid_endpoint peer, local;
};

/* A stream on fd (owned from now on, also on error), in state OPEN or CONNECTING. 0,
 * BARID_ENOMEM, BARID_EIO. */
int stream_make(struct stream **s_r, struct loop *loop, int fd, enum stream_state state);
void stream_set_local(struct stream *s);
/* Tell the poller what is waited for. lazy: do not bother to stop reading, it is found out when
 * input comes. */
void stream_poll(struct stream *s, bool lazy);
void stream_destroy(struct stream *s);

/* For layers. send appends without limit (the front checked it): 0 or BARID_ECLOSED,
 * BARID_ENOMEM. */
int stream_send(struct stream *s, const void *p, size_t n);
void stream_deliver(struct stream *s, const char *p, size_t n);
void stream_end(struct stream *s, int err);
void stream_defer(struct stream *s);

/* stream_connect.c: the socket became writable or failed; the loop ends. */
void stream_connect_ready(struct stream *s);
void stream_connect_abandon(struct stream *s);

#endif
