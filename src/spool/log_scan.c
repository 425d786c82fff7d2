/*
 * spool/log_scan.c: finding the records of a segment after whatever happened to it.
 *
 * At an offset without a valid record there are three cases: the records end here as known;
 * the write of the last batch was torn (nothing after this point was ever acknowledged); or
 * something durable was damaged. Only a later witness tells the last two apart: a record that
 * was made when this offset was durable already, or the end that the next segment recorded.
 */
#include <string.h>

#include "base/encode.h"
#include "spool/log_format.h"

void log_scan_init(struct log_scan *s, const void *p, size_t size, uint32_t nonce,
                   uint64_t known_end)
{
    *s = (struct log_scan){.p = p, .size = size, .nonce = nonce, .at = LOG_BLOCK};
    if (known_end != 0 && known_end <= size) {
        s->known_end = known_end;
        s->durable = (size_t)known_end;
        s->size = (size_t)known_end;
    }
}

static bool payload_valid(const uint8_t *p, const struct log_record *r)
{
    size_t head = (size_t)r->units_len + r->meta_len + r->header_len;

    if (crc32c(0, p + LOG_RECORD_SIZE, head) != r->head_crc)
        return false;
    return !log_body_inline(r) ||
           crc32c(0, p + LOG_RECORD_SIZE + head, (size_t)r->body_len) == r->body_crc;
}

/* The next place at or after `at` where a record could begin: most of a segment that was hardly
 * used is looked at here, eight octets a step. */
static size_t next_place(const struct log_scan *s, size_t at)
{
    while (at + LOG_RECORD_SIZE <= s->size && !log_record_begins(s->p + at))
        at += 8;
    return at;
}

static bool valid_at(const struct log_scan *s, size_t at, struct log_record *r)
{
    if (at > s->size || s->size - at < LOG_RECORD_SIZE || log_record_decode(r, s->p + at) != 0)
        return false;
    if (r->nonce != s->nonce && (s->trust & LOG_TRUST_NONCE) == 0)
        return false; /* a record of an earlier life of this file */
    if (log_record_length(r) > s->size - at)
        return false;
    return (s->trust & LOG_TRUST_CRC) != 0 || payload_valid(s->p + at, r);
}

static size_t next_after(const struct log_record *r, size_t at)
{
    at += (size_t)log_record_length(r);
    return (r->flags & LOG_BATCH_END) != 0 ? (size_t)log_align(at, LOG_BLOCK) : at;
}

/* Whether the group that begins with r at `at` is whole; its end in *end_r. */
static bool group_whole(const struct log_scan *s, size_t at, struct log_record r, size_t *end_r)
{
    while (r.group_left > 0) {
        uint32_t left = r.group_left;

        at = next_after(&r, at);
        if (!valid_at(s, at, &r) || r.group_left != left - 1)
            return false;
    }
    *end_r = at + (size_t)log_record_length(&r);
    return true;
}

/* Looks behind a bad offset: the first valid record there (0 = none), and whether bad was
 * durable. */
static size_t look_behind(struct log_scan *s, size_t bad)
{
    struct log_record r;
    size_t first = 0;

    for (size_t at = next_place(s, bad + 8); at + LOG_RECORD_SIZE <= s->size;) {
        if (s->durable > bad && at >= s->durable)
            break;
        if (!valid_at(s, at, &r)) {
            at = next_place(s, at + 8);
            continue;
        }
        if (first == 0)
            first = at;
        if (r.synced_to > s->durable && r.synced_to <= at)
            s->durable = r.synced_to;
        if (s->durable > bad)
            break;
        at = next_place(s, next_after(&r, at));
    }
    return first;
}

static enum log_found found_bad(struct log_scan *s, size_t *offset_r, size_t *length_r)
{
    size_t bad = s->at, first;

    *offset_r = bad;
    *length_r = 0;
    if (bad >= s->size)
        return LOG_FOUND_END;
    first = look_behind(s, bad);
    if (s->durable <= bad)
        return LOG_FOUND_END; /* a torn tail: never acknowledged */
    /* Batches begin where everything before is durable: what comes from there on stands for
     * itself. */
    if (first == 0 || first > s->durable)
        first = s->durable < s->size ? s->durable : s->size;
    s->at = first;
    s->group_end = first;
    *length_r = first - bad;
    return LOG_FOUND_DAMAGE;
}

enum log_found log_scan_next(struct log_scan *s, struct log_record *r, size_t *offset_r,
                             size_t *length_r)
{
    size_t bad = s->at;

    if (!valid_at(s, s->at, r))
        return found_bad(s, offset_r, length_r);
    if (r->synced_to > s->durable && r->synced_to <= s->at)
        s->durable = r->synced_to;
    if (s->at >= s->group_end && r->group_left > 0 &&
        !group_whole(s, s->at, *r, &s->group_end)) {
        /* All or none, unless it was durable: then what is left of it was acknowledged. */
        look_behind(s, bad);
        if (s->durable <= bad) {
            *offset_r = bad;
            *length_r = 0;
            s->size = bad;
            return LOG_FOUND_END;
        }
    }
    *offset_r = s->at;
    *length_r = (size_t)log_record_length(r);
    s->at = next_after(r, s->at);
    return LOG_FOUND_RECORD;
}
