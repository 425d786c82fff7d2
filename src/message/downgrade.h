/*
 * message/downgrade.h: a message that needs 8BITMIME or BINARYMIME made fit for a server that offers less (RFC 6152 3,
 * RFC 3030 3): the parts that do not fit become quoted-printable or base64, the rest stays as it is. Pure, streaming.
 *
 * The body is read twice: once to learn what each part holds (downgrade_prepare), then as it is sent, from 0 again for every
 * server (downgrade_body). So each part is encoded only where its octets ask for it, whatever its label says, and what fits already
 * comes out octet for octet. Kept between are the new header block and a list of places: DOWNGRADE_PIECES_MAX, not the size of the message.
 *
 *   downgrade_new
 *   downgrade_prepare   until 1
 *   downgrade_header, downgrade_body
 *   downgrade_del
 *
 * What becomes of what:
 *   text, message           quoted-printable; base64 where more than a quarter is above 127, or a CR or LF stands alone
 *   other leaves            base64
 *   multipart               read into; its label says what it holds now. multipart/signed, too: its signature may break, as with
 *                           every other relay that converts; HOP_REFUSE is for who minds
 *   message/rfc822          read into: it must not be encoded (RFC 2046 5.2.1)
 *   message/partial, message/external-body   as text: not allowed, but else they could not be sent at all
 *   base64, quoted-printable, any other encoding   kept; octets that do not belong there are mended: =XX, or as below
 *   no MIME-Version         added, in embedded messages where they are a multipart or encoded; and no Content-Type where octets
 *                           above 127 are encoded: text/plain; charset=unknown-8bit (RFC 1428)
 *   preamble, epilogue, headers of parts and of embedded messages: an octet above 127 that does not fit, and NUL, becomes "?" (or
 *                           "*" on a line with "-" in front), a bare LF a CRLF, a bare CR a space; a line over 998 octets is folded
 *   the message's own header: octets above 127 stay: only SMTPUTF8 allows them, and no label tells what they mean
 *
 * Lines end in LF with or without CR, as the parsers of the receivers read them; a delimiter is a line of its own.
 */
#ifndef MESSAGE_DOWNGRADE_H
#define MESSAGE_DOWNGRADE_H

#include "base/err.h"
#include "message/body_scan.h"

#define DOWNGRADE_PIECES_MAX                                                                   \
    32768 /* places where something else begins, 16 octets each: 8192 parts */
#define DOWNGRADE_HEADER_MAX                                                                   \
    (64u << 10) /* octets of the header of one part; it is held while it is read */
#define DOWNGRADE_BOUNDARY_MAX 250 /* octets; RFC 2046 5.1.1 allows 70 */
#define DOWNGRADE_TURN                                                                         \
    (1u                                                                                        \
     << 20) /* octets that one call of downgrade_prepare looks at: a loop must not stand still */

struct downgrade;

struct downgrade_options {
    enum barid_body_type
        target;         /* what the server takes: BARID_BODY_7BIT or BARID_BODY_8BITMIME */
    barid_slice header; /* CRLF-ended, without the blank line; borrowed */
    uint64_t body_size; /* octets behind the blank line */
    /* Octets of the body from offset: at most n, *p_r valid until the next call. 1; 0: not now; or a barid_err. As consignment.body
     * (interface/transport.h). An empty slice before body_size is BARID_ECORRUPT. */
    int (*body)(void *user, uint64_t offset, size_t n, barid_slice *p_r);
    void *user;
    const barid_mem *mem; /* NULL = malloc */
};

/* What the server takes, of what it offers and we may use. BARID_BODY_BINARYMIME: nothing has to be converted, ever. */
enum barid_body_type downgrade_target(bool eightbit, bool binary, bool chunking);
/* Does a body that needs `has` (body_scan_type) have to be converted for target? BARID_BODY_DEFAULT is 7bit. */
bool downgrade_needed(enum barid_body_type has, enum barid_body_type target);

/* 0, BARID_ENOMEM, or BARID_EINVALID (target). */
int downgrade_new(struct downgrade **d_r, const struct downgrade_options *o);
/* Reads the body once. 1: ready; 0: the source said "not now": call again when it is there; BARID_EAGAIN: a turn's work is done, call again
 * soon. BARID_ELIMIT: it does not fit, and its parts are too deep, too many, or with a header or boundary that is too long or odd: cannot
 * be converted (5.6.3), *err says why.
 * BARID_ENOMEM; or what the source said. After an error it can only be deleted. */
int downgrade_prepare(struct downgrade *d, struct err *err);

/* All below: after downgrade_prepare gave 1. */
bool downgrade_changed(const struct downgrade *d); /* false: header and body are as they were */
barid_slice downgrade_header(
    const struct downgrade
        *d); /* CRLF-ended, without the blank line; lives as long as d, or is the one given */
/* Octets of the new body from offset: at most n (n > 0), *p_r valid until the next call; *last_r: they end it (only then *p_r may be
 * empty). 1; 0: not now: ask for the same again; or what the source said. offset: where the last answer ended, or 0 to begin again;
 * else BARID_EINVALID. */
int downgrade_body(struct downgrade *d, uint64_t offset, size_t n, barid_slice *p_r,
                   bool *last_r);
/* Octets that became "?" so far, in this reading of the body: something a person may want to know. */
uint64_t downgrade_lost(const struct downgrade *d);

void downgrade_del(struct downgrade **d); /* accepts NULL */

#endif
