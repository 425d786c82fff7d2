/* spool/log_format.c: encoding and decoding, see log_format.h. The scan is in log_scan.c. */
#include "spool/log_format.h"

#include <string.h>

#include "base/encode.h"
#include "base/slice.h"

#define MAGIC_SEGMENT 0x31534253u
#define MAGIC_SIDECAR 0x31494253u
#define LOG_UNIT_MORE 0x80 /* in a status: a block for what next hops need follows */

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, (uint16_t)v);
    put16(p + 2, (uint16_t)(v >> 16));
}

static void put64(uint8_t *p, uint64_t v)
{
    put32(p, (uint32_t)v);
    put32(p + 4, (uint32_t)(v >> 32));
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

bool log_body_inline(const struct log_record *r)
{
    return r->type == LOG_BODY ||
           (r->type == LOG_PUT && (r->flags & (LOG_BIG | LOG_SHARED)) == 0);
}

uint64_t log_record_length(const struct log_record *r)
{
    uint64_t n = LOG_RECORD_SIZE + (uint64_t)r->units_len + r->meta_len + r->header_len;

    if (log_body_inline(r))
        n += r->body_len;
    return log_align(n, 8);
}

void log_record_encode(const struct log_record *r, uint8_t *p)
{
    memcpy(p, "SBR1", 4);
    put32(p + 8, r->nonce);
    p[12] = r->type;
    p[13] = r->flags;
    p[14] = r->state;
    p[15] = r->marks;
    put32(p + 16, r->synced_to);
    put32(p + 20, r->group_left);
    put64(p + 24, r->id);
    put32(p + 32, r->version);
    put32(p + 36, r->units);
    put64(p + 40, (uint64_t)r->next_us);
    put32(p + 48, r->units_len);
    put32(p + 52, r->meta_len);
    put32(p + 56, r->header_len);
    put32(p + 60, r->head_crc);
    put64(p + 64, r->body_len);
    put64(p + 72, r->body_id);
    put32(p + 80, r->body_crc);
    put32(p + 84, r->group);
    put32(p + 4, crc32c(0, p + 8, LOG_RECORD_SIZE - 8));
}

static void get_fields(struct log_record *r, const uint8_t *p)
{
    r->nonce = get32(p + 8);
    r->type = p[12];
    r->flags = p[13];
    r->state = p[14];
    r->marks = p[15];
    r->synced_to = get32(p + 16);
    r->group_left = get32(p + 20);
    r->id = get64(p + 24);
    r->version = get32(p + 32);
    r->units = get32(p + 36);
    r->next_us = (int64_t)get64(p + 40);
    r->units_len = get32(p + 48);
    r->meta_len = get32(p + 52);
    r->header_len = get32(p + 56);
    r->head_crc = get32(p + 60);
    r->body_len = get64(p + 64);
    r->body_id = get64(p + 72);
    r->body_crc = get32(p + 80);
    r->group = get32(p + 84);
}

int log_record_decode(struct log_record *r, const uint8_t *p)
{
    if (!log_record_begins(p) || get32(p + 4) != crc32c(0, p + 8, LOG_RECORD_SIZE - 8))
        return BARID_ECORRUPT;
    get_fields(r, p);
    if (r->type < LOG_PUT || r->type > LOG_OPEN || r->state > SPOOL_QUARANTINED)
        return BARID_ECORRUPT;
    if (r->units > SPOOL_UNITS_MAX || (log_body_inline(r) && r->body_len > UINT32_MAX))
        return BARID_ECORRUPT;
    return 0;
}

void log_header_encode(const struct log_segment_header *h, uint8_t *block)
{
    memset(block, 0, LOG_BLOCK);
    put32(block, MAGIC_SEGMENT);
    put32(block + 8, LOG_FORMAT_VERSION);
    put32(block + 12, h->nonce);
    put64(block + 16, h->segno);
    put64(block + 24, h->id_floor);
    put64(block + 32, (uint64_t)h->created_us);
    put32(block + 4, crc32c(0, block + 8, 32));
}

int log_header_decode(struct log_segment_header *h, const uint8_t *block)
{
    if (get32(block) != MAGIC_SEGMENT || get32(block + 4) != crc32c(0, block + 8, 32))
        return BARID_ECORRUPT;
    if (get32(block + 8) > LOG_FORMAT_VERSION)
        return BARID_EVERSION;
    h->nonce = get32(block + 12);
    h->segno = get64(block + 16);
    h->id_floor = get64(block + 24);
    h->created_us = (int64_t)get64(block + 32);
    return 0;
}

static bool same_unit(const struct unit_state *a, const struct unit_state *b)
{
    return a->status == b->status && a->attempts == b->attempts && a->due_us == b->due_us &&
           a->group == b->group && a->suspect == b->suspect &&
           memcmp(a->ahead_s, b->ahead_s, sizeof(a->ahead_s)) == 0 &&
           slice_eq(a->reply, b->reply);
}

/* How many units from the first on are equal. */
static size_t run_length(const struct unit_state *units, size_t n)
{
    size_t run = 1;

    while (run < n && same_unit(&units[0], &units[run]))
        run++;
    return run;
}

static unsigned ahead_count(const struct unit_state *u)
{
    unsigned n = UNIT_AHEAD_MAX;

    while (n > 0 && u->ahead_s[n - 1] == 0)
        n--;
    return n;
}

/* Octets of the block that LOG_UNIT_MORE announces; 0 = none is needed. */
static size_t more_size(const struct unit_state *u)
{
    unsigned ahead = ahead_count(u);

    return u->group == SPOOL_GROUP_NONE && !u->suspect && ahead == 0 ? 0 : 5 + 4 * ahead;
}

size_t log_units_size(const struct unit_state *units, size_t n)
{
    size_t size = 0;

    for (size_t i = 0; i < n; i += run_length(units + i, n - i))
        size += LOG_RUN_SIZE + more_size(&units[i]) + units[i].reply.n;
    return size;
}

static void more_encode(const struct unit_state *u, uint8_t *p)
{
    unsigned ahead = ahead_count(u);

    p[0] = (uint8_t)((u->suspect ? 1 : 0) | ahead << 1);
    put32(p + 1, u->group);
    for (unsigned i = 0; i < ahead; i++)
        put32(p + 5 + 4 * i, u->ahead_s[i]);
}

uint8_t *log_units_encode(const struct unit_state *units, size_t n, uint8_t *p)
{
    size_t run;

    for (size_t i = 0; i < n; i += run) {
        const struct unit_state *u = &units[i];
        size_t more = more_size(u);

        run = run_length(u, n - i);
        put32(p, (uint32_t)run);
        p[4] = (uint8_t)((unsigned)u->status | (more > 0 ? LOG_UNIT_MORE : 0));
        put32(p + 5, u->attempts);
        put64(p + 9, (uint64_t)u->due_us);
        put16(p + 17, (uint16_t)u->reply.n);
        p += LOG_RUN_SIZE;
        if (more > 0)
            more_encode(u, p);
        p += more;
        if (u->reply.n > 0)
            memcpy(p, u->reply.p, u->reply.n);
        p += u->reply.n;
    }
    return p;
}

/* Its length, 0 when it is none. */
static size_t more_decode(struct unit_state *u, const uint8_t *p, size_t len)
{
    size_t ahead = len >= 5 ? (size_t)p[0] >> 1 : 0;

    if (len < 5 || ahead > UNIT_AHEAD_MAX || len < 5 + 4 * ahead)
        return 0;
    u->suspect = (p[0] & 1) != 0;
    u->group = get32(p + 1);
    for (size_t i = 0; i < ahead; i++)
        u->ahead_s[i] = get32(p + 5 + 4 * i);
    return u->group == SPOOL_GROUP_MIXED ? 0 : 5 + 4 * ahead;
}

/* One run; its length, 0 when it is none. */
static size_t run_decode(struct unit_state *u, size_t *run_r, const uint8_t *p, size_t len)
{
    size_t at = LOG_RUN_SIZE, more = 0, reply_len;

    if (len < LOG_RUN_SIZE || (p[4] & ~LOG_UNIT_MORE) > UNIT_GIVEN_UP)
        return 0;
    *run_r = get32(p);
    *u = (struct unit_state){
        .status = (enum unit_status)(p[4] & ~LOG_UNIT_MORE),
        .attempts = get32(p + 5),
        .due_us = (int64_t)get64(p + 9),
    };
    reply_len = get16(p + 17);
    if ((p[4] & LOG_UNIT_MORE) != 0 && (more = more_decode(u, p + at, len - at)) == 0)
        return 0;
    at += more;
    if (reply_len > len - at)
        return 0;
    u->reply = slice_of(p + at, reply_len);
    return at + reply_len;
}

int log_units_decode(struct unit_state *units, size_t n, const uint8_t *p, size_t len)
{
    size_t at = 0;

    while (at < n) {
        struct unit_state unit;
        size_t run, length = run_decode(&unit, &run, p, len);

        if (length == 0 || run == 0 || run > n - at)
            return BARID_ECORRUPT;
        while (run-- > 0)
            units[at++] = unit;
        p += length;
        len -= length;
    }
    return len == 0 ? 0 : BARID_ECORRUPT;
}

void log_sidecar_encode(const struct log_sidecar_head *h, uint8_t *p)
{
    put32(p, MAGIC_SIDECAR);
    put32(p + 8, h->nonce);
    put32(p + 12, h->rows);
    put64(p + 16, h->segno);
    put64(p + 24, h->end);
    put32(p + 32, h->rows_crc);
    put32(p + 36, LOG_FORMAT_VERSION);
    put32(p + 4, crc32c(0, p + 8, LOG_SIDECAR_HEAD - 8));
}

int log_sidecar_decode(struct log_sidecar_head *h, const uint8_t *p)
{
    if (get32(p) != MAGIC_SIDECAR || get32(p + 4) != crc32c(0, p + 8, LOG_SIDECAR_HEAD - 8) ||
        get32(p + 36) != LOG_FORMAT_VERSION)
        return BARID_ECORRUPT;
    h->nonce = get32(p + 8);
    h->rows = get32(p + 12);
    h->segno = get64(p + 16);
    h->end = get64(p + 24);
    h->rows_crc = get32(p + 32);
    return 0;
}

void log_sidecar_row_encode(uint32_t offset, const struct log_record *r, uint8_t *p)
{
    put32(p, offset);
    put32(p + 4, 0);
    log_record_encode(r, p + 8);
}

int log_sidecar_row_decode(uint32_t *offset_r, struct log_record *r, const uint8_t *p)
{
    *offset_r = get32(p);
    return log_record_decode(r, p + 8);
}
