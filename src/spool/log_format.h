/*
 * spool/log_format.h: the octets of the log: segment header, records, units, sidecar; and the
 * scan of a segment. Pure: no file, no clock, no allocation.
 *
 * A segment is a header block and then records. A batch begins at a block boundary and its
 * last record says so (LOG_BATCH_END), so that no block ever holds octets of two syncs: what
 * was acknowledged is never written again. Little endian. A record:
 *
 *    0 magic       4 crc of 8..87   8 nonce of the segment's life
 *   12 type       13 flags         14 state       15 marks
 *   16 synced_to  20 group_left
 *   24 id         32 version       36 units       40 next_us
 *   48 units_len  52 meta_len      56 header_len  60 head_crc
 *   64 body_len   72 body_id       80 body_crc    84 group of next hops
 *   88 units | meta | header | body, padded to 8
 *
 * Units are runs of equal ones:
 *
 *    0 run         4 status         5 attempts     9 due_us      17 reply_len    19 reply
 *
 * With LOG_UNIT_MORE in the status, before the reply: 0 bits (1 = suspect, 14 = number of the
 * seconds ahead, twice), 1 group, 5 seconds ahead, 4 octets each. Marks, group and that bit are
 * 0 in stores of before there were next hops, which says what was true then.
 *
 *   PUT    a message. Its body follows (body_id 0), or is a BODY record (LOG_SHARED), or a
 *          file (LOG_BIG); then body_id names it and body_len is its length.
 *   STATE  state and all units of a message; the highest version counts.
 *   DEL    a message is gone; body_len is the number of the segment its PUT was in.
 *   BODY   a body that several messages share.
 *   OPEN   first in every segment: id = no id was given out above it, body_id = this segment's
 *          number, next_us = number of the segment before, body_len = where that one ends.
 */
#ifndef SPOOL_LOG_FORMAT_H
#define SPOOL_LOG_FORMAT_H

#include <string.h>

#include "interface/spool.h"

#define LOG_FORMAT_VERSION 1
#define LOG_BLOCK          4096 /* header block, alignment of batches */
#define LOG_RECORD_SIZE    88
#define LOG_SIDECAR_ROW    96 /* offset, zero, record head */
#define LOG_SIDECAR_HEAD   40

enum log_type { LOG_PUT = 1, LOG_STATE, LOG_DEL, LOG_BODY, LOG_OPEN };
enum log_mark { LOG_MIXED = 1, LOG_TRIED = 2 }; /* of struct units_digest */
enum log_flag { LOG_BIG = 1, LOG_SHARED = 2, LOG_COPIED = 4, LOG_BATCH_END = 8 };

struct log_record {
    uint32_t nonce;
    uint8_t type, flags, state, marks;
    uint32_t synced_to;  /* block boundary in this segment: all before it was durable then */
    uint32_t group_left; /* records that follow in the same all-or-none group */
    uint64_t id;
    uint32_t version;
    uint32_t units;
    int64_t next_us;
    uint32_t units_len, meta_len, header_len;
    uint32_t head_crc; /* of units | meta | header */
    uint64_t body_len;
    uint64_t body_id;
    uint32_t body_crc;
    uint32_t group; /* PUT, STATE: as marks say, of struct units_digest */
};

struct log_segment_header {
    uint64_t segno;
    uint32_t nonce;
    uint64_t id_floor; /* no id was given out above it when the header was written */
    int64_t created_us;
};

static inline uint64_t log_align(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

bool log_body_inline(const struct log_record *r);
uint64_t log_record_length(const struct log_record *r); /* head to padding */
void log_record_encode(const struct log_record *r, uint8_t *p);
/* Head only. 0, or BARID_ECORRUPT (magic, crc, or fields that contradict each other). */
int log_record_decode(struct log_record *r, const uint8_t *p);
/* Whether it is worth trying. */
static inline bool log_record_begins(const uint8_t *p)
{
    return memcmp(p, "SBR1", 4) == 0;
}

void log_header_encode(const struct log_segment_header *h, uint8_t *block);
/* 0, BARID_ECORRUPT, BARID_EVERSION. */
int log_header_decode(struct log_segment_header *h, const uint8_t *block);

/* The octets of one run but its reply, at most. */
#define LOG_RUN_SIZE 19
#define LOG_RUN_MOST  (LOG_RUN_SIZE + 5 + 4 * UNIT_AHEAD_MAX)
/* Equal units after each other are one run, so that a list of 20,000 costs a few octets. */
size_t log_units_size(const struct unit_state *units, size_t n);
uint8_t *log_units_encode(const struct unit_state *units, size_t n, uint8_t *p);
/* Replies point into p. Exactly n units, or BARID_ECORRUPT. */
int log_units_decode(struct unit_state *units, size_t n, const uint8_t *p, size_t len);

struct log_sidecar_head {
    uint64_t segno;
    uint32_t nonce;
    uint32_t rows;
    uint64_t end; /* where the segment's records end */
    uint32_t rows_crc;
};
void log_sidecar_encode(const struct log_sidecar_head *h, uint8_t *p);
int log_sidecar_decode(struct log_sidecar_head *h, const uint8_t *p);
void log_sidecar_row_encode(uint32_t offset, const struct log_record *r, uint8_t *p);
int log_sidecar_row_decode(uint32_t *offset_r, struct log_record *r, const uint8_t *p);

/*
 * Reads a whole segment in memory, record by record. What follows the last durable record is a
 * torn tail and ends the scan silently, unfinished groups included. A gap before a point that
 * is known to have been durable (known_end, or the synced_to of a later record) is damage.
 */
enum log_trust { LOG_TRUST_NONCE = 1, LOG_TRUST_CRC = 2 }; /* checks that a test leaves out */
struct log_scan {
    const uint8_t *p; /* the segment from its first octet */
    size_t size;
    uint32_t nonce;
    uint64_t known_end; /* 0 = not known; records end here, all of them durable */
    unsigned trust;     /* enum log_trust: for tests that must fail */

    size_t at;        /* next octet to read */
    size_t durable;   /* below it everything was synced once */
    size_t group_end; /* below it a group has been found complete */
};
enum log_found { LOG_FOUND_END, LOG_FOUND_RECORD, LOG_FOUND_DAMAGE };
void log_scan_init(struct log_scan *s, const void *p, size_t size, uint32_t nonce,
                   uint64_t known_end);
/* offset and length of the record or the damage; at the end offset_r is where records end. */
enum log_found log_scan_next(struct log_scan *s, struct log_record *r, size_t *offset_r,
                             size_t *length_r);

#endif
