/*
 * smtp/reply_parse.h: replies of a server as a client reads them (RFC 5321 4.2, RFC 2034).
 * Incremental: bytes in any cut, one reply at a time. Bare LF line ends are taken, as some
 * servers send them and nothing can be smuggled into a reply.
 */
#ifndef SMTP_REPLY_PARSE_H
#define SMTP_REPLY_PARSE_H

#include "base/buf.h"

/* Against hostile servers. RFC 5321 4.5.3.1.5 bounds a line by 512; many servers exceed it. */
#define REPLY_LINE_MAX  4096
#define REPLY_LINES_MAX 512
#define REPLY_MAX       65536 /* octets of one reply, all lines with their codes */

struct reply_parser {
    struct buf line; /* the line under way */
    struct buf text; /* lines so far, without codes, joined by '\n' */
    uint16_t code;   /* of the reply under way; 0 = before its first line */
    size_t lines;
    size_t octets;
    barid_slice enhanced; /* into enhanced_text; of the first line */
    char enhanced_text[12];
    bool done;
};

void reply_parser_init(struct reply_parser *p, const barid_mem *mem);
void reply_parser_deinit(struct reply_parser *p); /* frees; reusable */

/*
 * Take bytes until one reply is complete. *used_r gets the octets taken, on every result.
 * 1: complete: code, enhanced and text are valid until the next call; 0: more bytes are needed
 * (all were taken); BARID_ESYNTAX (not a reply; codes of its lines differ), BARID_ELIMIT,
 * BARID_ENOMEM: the stream is lost.
 */
int reply_parser_feed(struct reply_parser *p, barid_slice in, size_t *used_r);

#endif
