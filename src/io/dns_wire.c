/*
 * io/dns_wire.c: questions and answers. Pure. An answer is walked once per link of a CNAME
 * chain, so that the order of its records does not matter; only what belongs to the asked name
 * is ever looked into.
 */
#include "io/dns_wire.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/slice.h"

#define HEADER 12

enum { CLASS_IN = 1, TYPE_SOA = 6, TYPE_OPT = 41 };

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

size_t dns_query_make(const struct dns_question *q, uint8_t out[DNS_QUERY_MAX])
{
    uint8_t *p = out + HEADER;

    memset(out, 0, DNS_QUERY_MAX);
    put16(out, q->id);
    out[2] = 0x01;                /* RD */
    out[3] = q->ad ? 0x20 : 0x00; /* AD */
    put16(out + 4, 1);
    put16(out + 10, q->edns);
    memcpy(p, q->name.w, q->name.n);
    p += q->name.n;
    put16(p, q->type);
    put16(p + 2, CLASS_IN);
    p += 4;
    if (q->edns) { /* the root name, then TYPE, size as CLASS, TTL and RDLENGTH 0 */
        put16(p + 1, TYPE_OPT);
        put16(p + 3, DNS_EDNS_SIZE);
        p += 11;
    }
    return (size_t)(p - out);
}

/* One resource record; the rdata lies at msg[rdata]. */
struct rr {
    struct dns_name owner;
    unsigned type, class;
    uint32_t ttl;
    size_t rdata, rdlen;
};

static int rr_read(const uint8_t *msg, size_t n, size_t *at, struct rr *rr)
{
    const uint8_t *p;

    if (dns_name_read(msg, n, at, &rr->owner) != 0 || n - *at < 10)
        return BARID_ESYNTAX;
    p = msg + *at;
    rr->type = get16(p);
    rr->class = get16(p + 2);
    rr->ttl = (uint32_t)get16(p + 4) << 16 | get16(p + 6);
    if (rr->ttl > INT32_MAX) /* RFC 2181 8 */
        rr->ttl = 0;
    rr->rdlen = get16(p + 8);
    rr->rdata = *at + 10;
    if (n - rr->rdata < rr->rdlen)
        return BARID_ESYNTAX;
    *at = rr->rdata + rr->rdlen;
    return 0;
}

/* What the records become: fixed parts, and texts by offset until their number is known. */
struct collect {
    const uint8_t *msg;
    size_t n;
    uint32_t ttl; /* no record lives longer than the chain that leads to it */
    struct buf records, texts;
};

static int text_of_name(struct collect *c, size_t at, size_t end)
{
    struct dns_name name;
    char text[DNS_TEXT_MAX];
    size_t n;

    if (dns_name_read(c->msg, end, &at, &name) != 0 || at != end)
        return BARID_ESYNTAX;
    n = dns_name_format(&name, text);
    return buf_append(&c->texts, slice_of(text, n));
}

/* The strings of a TXT record, joined (RFC 7208 3.3). */
static int text_of_strings(struct collect *c, size_t at, size_t end)
{
    if (at == end)
        return BARID_ESYNTAX;
    while (at < end) {
        size_t len = c->msg[at++];
        int rc;

        if (len > end - at)
            return BARID_ESYNTAX;
        if ((rc = buf_append(&c->texts, slice_of(c->msg + at, len))) != 0)
            return rc;
        at += len;
    }
    return 0;
}

static int address(struct dns_record *r, const uint8_t *p, size_t len, size_t want)
{
    if (len != want)
        return BARID_ESYNTAX;
    memcpy(r->addr, p, want);
    return 0;
}

static int rdata(struct collect *c, const struct rr *rr, struct dns_record *r)
{
    const uint8_t *p = c->msg + rr->rdata;
    size_t end = rr->rdata + rr->rdlen;

    switch (r->type) {
    case DNS_A:
        return address(r, p, rr->rdlen, 4);
    case DNS_AAAA:
        return address(r, p, rr->rdlen, 16);
    case DNS_MX:
        if (rr->rdlen < 3)
            return BARID_ESYNTAX;
        r->preference = (uint16_t)get16(p);
        return text_of_name(c, rr->rdata + 2, end);
    case DNS_CNAME:
    case DNS_PTR:
        return text_of_name(c, rr->rdata, end);
    case DNS_TXT:
        return text_of_strings(c, rr->rdata, end);
    case DNS_TLSA:
        return rr->rdlen < 3 ? BARID_ESYNTAX : buf_append(&c->texts, slice_of(p, rr->rdlen));
    }
    return BARID_ESYNTAX;
}

static int collect_add(struct collect *c, const struct rr *rr)
{
    struct dns_record r = {.type = (enum dns_type)rr->type,
                           .ttl = rr->ttl < c->ttl ? rr->ttl : c->ttl};
    size_t before = c->texts.len;
    int rc;

    if (c->records.len >= DNS_RECORDS_MAX * sizeof(r))
        return BARID_ESYNTAX;
    if ((rc = rdata(c, rr, &r)) != 0)
        return rc;
    r.text.n = c->texts.len - before;
    return buf_append(&c->records, slice_of(&r, sizeof(r)));
}

/* One walk over the answer section for name: collects records of the type, or finds where a
 * CNAME leads. Returns 1 when *name moved, 0 when not, or an error. */
static int walk(struct collect *c, size_t at, unsigned count, enum dns_type type,
                struct dns_name *name)
{
    struct dns_name next;
    bool moved = false;
    uint32_t ttl = c->ttl;

    for (unsigned i = 0; i < count; i++) {
        struct rr rr;
        int rc = rr_read(c->msg, c->n, &at, &rr);

        if (rc != 0)
            return rc;
        if (rr.class != CLASS_IN || !dns_name_eq(&rr.owner, name))
            continue; /* not about what was asked: ignored, whatever it says */
        if (rr.type == (unsigned)type) {
            if ((rc = collect_add(c, &rr)) != 0)
                return rc;
        } else if (rr.type == DNS_CNAME && !moved) {
            size_t from = rr.rdata;

            if (dns_name_read(c->msg, rr.rdata + rr.rdlen, &from, &next) != 0 ||
                from != rr.rdata + rr.rdlen)
                return BARID_ESYNTAX;
            moved = true;
            ttl = rr.ttl < ttl ? rr.ttl : ttl;
        }
    }
    if (!moved || c->records.len > 0)
        return 0;
    *name = next;
    c->ttl = ttl;
    return 1;
}

static uint32_t negative_ttl(const uint8_t *msg, const struct rr *soa)
{
    const uint8_t *last = msg + soa->rdata + soa->rdlen - 4;
    uint32_t minimum = soa->rdlen > 20 ? (uint32_t)get16(last) << 16 | get16(last + 2) : 0;

    return soa->ttl < minimum ? soa->ttl : minimum;
}

/* A SOA in the authority section: the name exists without such records (RFC 2308 2.2), asking
 * again is no use for *ttl_r seconds: those of the record, or its last field where that is less. */
static bool has_soa(const uint8_t *msg, size_t n, size_t at, unsigned answers,
                    unsigned authority, uint32_t *ttl_r)
{
    struct rr rr;

    for (unsigned i = 0; i < answers; i++)
        if (rr_read(msg, n, &at, &rr) != 0)
            return false;
    for (unsigned i = 0; i < authority && rr_read(msg, n, &at, &rr) == 0; i++)
        if (rr.type == TYPE_SOA) {
            *ttl_r = negative_ttl(msg, &rr);
            return true;
        }
    return false;
}

/* Records and texts move into one block. */
static int finish(struct collect *c, struct dns_reply *reply)
{
    size_t text = c->records.len;
    char *block;

    reply->n = c->records.len / sizeof(struct dns_record);
    if (reply->n == 0)
        return 0;
    block = mem_alloc(NULL, c->records.len + c->texts.len);
    if (block == NULL) {
        reply->n = 0;
        return BARID_ENOMEM;
    }
    memcpy(block, c->records.p, c->records.len);
    if (c->texts.len > 0)
        memcpy(block + text, c->texts.p, c->texts.len);
    reply->records = (struct dns_record *)block;
    for (size_t i = 0; i < reply->n; i++) {
        reply->records[i].text.p = block + text;
        text += reply->records[i].text.n;
    }
    return 0;
}

static enum dns_status status_of_rcode(unsigned rcode)
{
    switch (rcode) {
    case 0:
        return DNS_OK;
    case 3:
        return DNS_NXDOMAIN;
    case 5:
        return DNS_REFUSED;
    default:
        return DNS_SERVFAIL;
    }
}

/* Header and question: *at moves behind them. */
static int read_head(const uint8_t *msg, size_t n, const struct dns_question *q, size_t *at)
{
    struct dns_name name;

    /* QR set, opcode QUERY, not truncated, one question: ours. */
    if (n < HEADER || (msg[2] & 0xfa) != 0x80 || get16(msg) != q->id || get16(msg + 4) != 1)
        return BARID_ESYNTAX;
    *at = HEADER;
    if (dns_name_read(msg, n, at, &name) != 0 || n - *at < 4 || !dns_name_eq(&name, &q->name) ||
        get16(msg + *at) != (unsigned)q->type || get16(msg + *at + 2) != CLASS_IN)
        return BARID_ESYNTAX;
    *at += 4;
    return 0;
}

/* No longer than the chain that led to what is not there. */
static bool read_soa(const struct collect *c, size_t at, struct dns_reply *reply)
{
    bool found = has_soa(c->msg, c->n, at, get16(c->msg + 6), get16(c->msg + 8), &reply->negative_ttl);

    if (reply->negative_ttl > c->ttl)
        reply->negative_ttl = c->ttl;
    return found;
}

static int read_answers(struct collect *c, size_t at, const struct dns_question *q,
                        struct dns_reply *reply)
{
    unsigned count = get16(c->msg + 6);
    int rc;

    while ((rc = walk(c, at, count, q->type, &reply->target)) == 1)
        if (++reply->hops > DNS_CNAME_MAX)
            return BARID_ESYNTAX; /* a loop */
    if (rc != 0 || reply->status != DNS_OK || c->records.len > 0)
        return rc;
    reply->status = DNS_NODATA;
    reply->incomplete = !read_soa(c, at, reply) && reply->hops > 0;
    return 0;
}

int dns_reply_read(const uint8_t *msg, size_t n, const struct dns_question *q,
                   struct dns_reply *reply_r)
{
    struct collect c = {.msg = msg, .n = n, .ttl = INT32_MAX};
    size_t at;
    int rc;

    *reply_r = (struct dns_reply){.status = DNS_BAD_ANSWER, .target = q->name};
    if (read_head(msg, n, q, &at) != 0)
        return 0;
    buf_init(&c.records, NULL, 0);
    buf_init(&c.texts, NULL, 0);
    reply_r->rcode = msg[3] & 0x0f;
    reply_r->ad = (msg[3] & 0x20) != 0;
    reply_r->status = status_of_rcode(reply_r->rcode);
    rc = reply_r->status == DNS_OK ? read_answers(&c, at, q, reply_r) : 0;
    if (reply_r->status == DNS_NXDOMAIN)
        read_soa(&c, at, reply_r);
    if (rc == 0)
        rc = finish(&c, reply_r);
    buf_deinit(&c.records);
    buf_deinit(&c.texts);
    if (rc != BARID_ESYNTAX)
        return rc;
    reply_r->status = DNS_BAD_ANSWER;
    return 0;
}
