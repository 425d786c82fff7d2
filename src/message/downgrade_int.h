/*
 * message/downgrade_int.h: the plan of a conversion, made in the first reading and carried out in the second.
 *
 *   downgrade_header.c   one header block: what its part is, and the places in it
 *   downgrade_plan.c     the structure of the body: where parts begin and end, what they hold
 *   downgrade.c          the two readings; transfer.c writes octets
 */
#ifndef MESSAGE_DOWNGRADE_INT_H
#define MESSAGE_DOWNGRADE_INT_H

#include "base/buf.h"
#include "message/downgrade.h"
#include "message/mime.h"
#include "message/transfer.h"

enum part_encoding {
    PART_NO_ENCODING,
    PART_7BIT,
    PART_8BIT,
    PART_BINARY,
    PART_QUOTED,
    PART_BASE64,
    PART_UNKNOWN
};

#define PIECE_ADD_VERSION 1u
#define PIECE_ADD_TYPE    2u

struct piece {
    uint64_t from;
    uint8_t act; /* TRANSFER_DROP: what encoding and add say is written instead */
    uint8_t encoding, add;
};

struct pieces {
    struct piece *p;
    size_t n, cap;
};

/* 0, BARID_ENOMEM, or BARID_ELIMIT (DOWNGRADE_PIECES_MAX) with *err. */
int pieces_add(struct pieces *list, const barid_mem *mem, uint64_t from, enum transfer_act act,
               struct err *err);

enum part_content { PART_TEXT, PART_OTHER, PART_MULTIPART, PART_MESSAGE };

struct part {
    /* Where its header has places that may have to be changed. */
    struct pieces *list;
    size_t field, n_fields; /* Content-Transfer-Encoding: every second piece from field on */
    size_t insert;          /* behind its last field */
    bool is_message;        /* its header is that of a message */
    bool has_type, has_version, is_digest;
    enum part_content content;
    enum part_encoding encoding;
    char boundary[DOWNGRADE_BOUNDARY_MAX];
    size_t n_boundary; /* 0 = not a multipart */
};

/* Finds out about the part and adds the places to part->list; base: the offset of the block, which ends before the blank line.
 * in_digest: without a Content-Type it is a message. Sets everything but list and is_message. As pieces_add; ELIMIT too for a boundary
 * that is too long, with *err. */
int part_read(struct part *part, const barid_mem *mem, barid_slice block, uint64_t base,
              bool in_digest, struct err *err);
/* The label is to be encoding; is_high: it holds octets above 127. */
void part_label(const struct part *part, enum part_encoding encoding, bool is_high);

struct level {
    char boundary[DOWNGRADE_BOUNDARY_MAX];
    size_t n_boundary;
    bool is_digest;
};

#define PLAN_LINE_MAX                                                                          \
    (2 *                                                                                       \
     DOWNGRADE_BOUNDARY_MAX) /* a delimiter, and white space behind it: a longer line is none */

enum plan_state { PLAN_HEADER, PLAN_LEAF, PLAN_BETWEEN };

struct plan {
    const barid_mem *mem;
    enum barid_body_type target;
    struct pieces head,
        body; /* of the message's header block, and of what follows the blank line */
    struct body_scan scan; /* the whole body so far: scan.octets is the offset */
    enum plan_state state;
    struct part part;       /* the one being read */
    size_t leaf;            /* its piece */
    struct body_scan start; /* where it began */
    struct body_scan end,
        line_end;      /* before the last line break, and before the one of this line */
    struct buf header; /* of this part so far */
    uint64_t header_at, line_at;
    char line[PLAN_LINE_MAX]; /* this line, while it may be a delimiter */
    size_t n_line;
    bool may_delimit;
    char first; /* octet of this line */
    struct level level[MIME_DEPTH_MAX];
    size_t n_levels;
    bool is_odd; /* a boundary has octets that do not come out as they are, or a "*" */
};

void plan_init(struct plan *p, const barid_mem *mem, enum barid_body_type target);
void plan_deinit(struct plan *p);
/* The message's header first, then the body in pieces, then the end. As part_read. */
int plan_header(struct plan *p, barid_slice block, struct err *err);
int plan_body(struct plan *p, const char *octets, size_t n, struct err *err);
int plan_end(struct plan *p, struct err *err);

/* Writes the fields that piece asks for. */
void put_fields(struct transfer *t, const struct piece *piece);

#endif
