/*
 * smtp/receiver.h: the octets of a message as they come by DATA or BDAT, turned into a header
 * block and body chunks of equal size. The one place that knows dot-stuffing, the end of DATA
 * and what a bare CR or LF means. Knows no events and no replies but their names.
 *
 *   RX_HEADERS, RX_BODY: rx_block(rx) holds the block; call rx_release(rx), then go on with
 *   the input that was not used. RX_END: only by rx_data, at CRLF.CRLF. After the last octet
 * call rx_finish until it says RX_END.
 */
#ifndef SMTP_RECEIVER_H
#define SMTP_RECEIVER_H

#include "base/buf.h"
#include "barid/reply.h"

/* Octets of every body chunk but the last: a contract of the `body` event. */
#define RX_CHUNK 65536

enum rx_result {
    RX_MORE,    /* all input was used */
    RX_HEADERS, /* the header block is complete */
    RX_BODY,    /* a chunk is full, and more octets follow */
    RX_END,     /* the message is complete */
    RX_OVERRUN  /* refused, and the peer sent more than the limit since: give up reading */
};

enum rx_state { RX_AT_BOL, RX_AT_DOT, RX_AT_DOT_CR, RX_IN_LINE, RX_AT_CR, RX_STATES };

struct receiver {
    struct buf block;            /* the header block, then a body chunk */
    uint64_t size;               /* octets of the message so far: header, blank line, body */
    uint64_t size_max;           /* of size; also of what is dropped after a refusal */
    uint64_t dropped;            /* octets since the refusal */
    size_t header_max;           /* octets of the header block */
    size_t line_max;             /* octets of a line without CRLF */
    size_t line;                 /* octets so far of the line under way */
    enum barid_reply_id refusal; /* why the message cannot be taken; NONE = it can */
    uint8_t state;               /* enum rx_state */
    bool dots;                   /* DATA: dot-stuffed, ends at CRLF.CRLF */
    bool binary;                 /* BODY=BINARYMIME: every octet as it is */
    bool normalise;              /* a bare CR or LF becomes CRLF, else the message is refused */
    bool owed;                   /* an LF already read whose CR filled the chunk */
    bool dropping;               /* nothing is kept any more */
    bool in_body;                /* the header block is over */
    bool headers_due;            /* RX_HEADERS is to be said */
    bool has_blank_line;
};

void rx_init(struct receiver *rx, const barid_mem *mem);
void rx_deinit(struct receiver *rx);

/* Dot-stuffed octets after 354. *used_r gets the octets used, on every result. */
enum rx_result rx_data(struct receiver *rx, barid_slice in, size_t *used_r);
/* Octets of BDAT chunks; never RX_END. */
enum rx_result rx_chunk(struct receiver *rx, barid_slice in, size_t *used_r);
/* No octets follow: RX_HEADERS, RX_BODY (rx_is_last tells the last chunk), in the end RX_END.
 */
enum rx_result rx_finish(struct receiver *rx);

static inline barid_slice rx_block(const struct receiver *rx)
{
    return buf_slice(&rx->block);
}
/* After RX_BODY by rx_finish: no octet follows. */
static inline bool rx_is_last(const struct receiver *rx)
{
    return !rx->owed && rx->state != RX_AT_CR;
}
/* The block was dealt with. */
void rx_release(struct receiver *rx);
/* Keep nothing from here on: the message was refused by somebody else. */
void rx_drop(struct receiver *rx);

#endif
