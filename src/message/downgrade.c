/*
 * message/downgrade.c: the two readings of a body: one that plans, one that carries out.
 *
 * Invariants once prepared: at is the offset of the source, in the piece [piece], and everything before it is in out or given away.
 * given is the offset of the result. out holds what one step makes: SLICE octets of the source, each of which becomes at most three and
 * a line break.
 */
#include "message/downgrade.h"

#include "base/mem.h"
#include "base/slice.h"
#include "message/downgrade_int.h"

#define SLICE    4096 /* octets of the source encoded at once */
#define OUT_SIZE (4 * SLICE)

struct downgrade {
    struct downgrade_options o;
    struct plan plan;
    bool begun, ready, changed;
    struct err limit;  /* where planning ended; it does not matter when all fits */
    struct buf header; /* the new one; empty when nothing changed */
    struct buf out;
    size_t out_at; /* octets of out that are given away */
    struct transfer transfer;
    uint64_t at, given;
    size_t piece;
};

enum barid_body_type downgrade_target(bool eightbit, bool binary, bool chunking)
{
    if (binary && chunking)
        return BARID_BODY_BINARYMIME;
    return eightbit ? BARID_BODY_8BITMIME : BARID_BODY_7BIT;
}

bool downgrade_needed(enum barid_body_type has, enum barid_body_type target)
{
    static const int rank[] = {[BARID_BODY_DEFAULT] = 0,
                               [BARID_BODY_7BIT] = 0,
                               [BARID_BODY_8BITMIME] = 1,
                               [BARID_BODY_BINARYMIME] = 2};

    return rank[has] > rank[target];
}

int downgrade_new(struct downgrade **d_r, const struct downgrade_options *o)
{
    struct downgrade *d;

    *d_r = NULL;
    if (o->target != BARID_BODY_7BIT && o->target != BARID_BODY_8BITMIME)
        return BARID_EINVALID;
    d = mem_zalloc(o->mem, sizeof(*d));
    if (d == NULL)
        return BARID_ENOMEM;
    d->o = *o;
    plan_init(&d->plan, o->mem, o->target);
    buf_init(&d->header, o->mem, 0);
    buf_init(&d->out, o->mem, 0);
    if (buf_reserve(&d->out, OUT_SIZE) < 0) {
        downgrade_del(&d);
        return BARID_ENOMEM;
    }
    *d_r = d;
    return 0;
}

void downgrade_del(struct downgrade **d)
{
    const barid_mem *mem;

    if (*d == NULL)
        return;
    mem = (*d)->o.mem;
    plan_deinit(&(*d)->plan);
    buf_deinit(&(*d)->header);
    buf_deinit(&(*d)->out);
    mem_free(mem, *d);
    *d = NULL;
}

/* At most n octets of the source from d->at: as o.body. */
static int source(struct downgrade *d, size_t n, barid_slice *p_r)
{
    uint64_t left = d->o.body_size - d->at;
    int rc = d->o.body(d->o.user, d->at, n < left ? n : (size_t)left, p_r);

    if (rc <= 0)
        return rc;
    *p_r = slice_head(*p_r, n < left ? n : (size_t)left);
    return p_r->n > 0 ? 1 : BARID_ECORRUPT;
}

/* --- the first reading --- */

/* Where piece i of a list ends, whose octets end at size. */
static uint64_t piece_end(const struct pieces *list, size_t i, uint64_t size)
{
    return i + 1 < list->n ? list->p[i + 1].from : size;
}

static int make_header(struct downgrade *d)
{
    const struct pieces *list = &d->plan.head;
    struct transfer e = {.out = &d->header, .keep_high = true};

    for (size_t i = 0; i < list->n; i++) {
        const struct piece *piece = &list->p[i];
        barid_slice text = slice_head(d->o.header, (size_t)piece_end(list, i, d->o.header.n));

        text = slice_from(text, (size_t)piece->from);
        if (piece->act == TRANSFER_DROP)
            put_fields(&e, piece);
        else
            transfer_octets(&e, piece->act, text.p, text.n);
        transfer_end(&e, piece->act, false);
    }
    return e.rc;
}

/* Ends the pieces that are through, also those without an octet. */
static void leave_pieces(struct downgrade *d)
{
    const struct pieces *list = &d->plan.body;

    while (d->piece < list->n && piece_end(list, d->piece, d->o.body_size) == d->at) {
        const struct piece *piece = &list->p[d->piece++];

        if (piece->act == TRANSFER_DROP)
            put_fields(&d->transfer, piece);
        transfer_end(&d->transfer, piece->act, d->at == d->o.body_size);
    }
}

static void begin_again(struct downgrade *d)
{
    d->transfer =
        (struct transfer){.out = &d->out, .keep_high = d->o.target == BARID_BODY_8BITMIME};
    d->at = d->given = 0;
    d->piece = d->out_at = 0;
    buf_clear(&d->out);
    leave_pieces(d);
}

static int finish_plan(struct downgrade *d, struct err *err)
{
    int rc = d->limit.code == 0 ? plan_end(&d->plan, &d->limit) : 0;

    if (rc < 0 && rc != BARID_ELIMIT)
        return rc;
    d->changed = downgrade_needed(body_scan_type(&d->plan.scan), d->o.target);
    if (d->changed && d->limit.code != 0)
        return err_set(err, BARID_ELIMIT, "%s", d->limit.text);
    if (d->changed && d->plan.is_odd)
        return err_set(err, BARID_ELIMIT,
                       "a multipart with a boundary that is not ASCII, or has a \"*\"");
    rc = d->changed ? make_header(d) : 0;
    if (!d->changed)
        plan_deinit(&d->plan);
    if (rc < 0)
        return rc;
    buf_deinit(&d->plan.header); /* of no more use */
    d->ready = true;
    begin_again(d);
    return 1;
}

/* Text at d->at. A limit ends the plan, but not the scan. */
static int take_text(struct downgrade *d, barid_slice text)
{
    struct body_scan *scan = &d->plan.scan;
    int rc = 0;

    if (d->limit.code == 0)
        rc = plan_body(&d->plan, text.p, text.n, &d->limit);
    d->at += text.n;
    if (rc < 0 && rc != BARID_ELIMIT)
        return rc;
    text = slice_from(text, text.n - (size_t)(d->at - scan->octets));
    body_scan_feed(scan, text.p, text.n);
    return 0;
}

int downgrade_prepare(struct downgrade *d, struct err *err)
{
    uint64_t until;
    int rc = 0;

    if (d->ready)
        return 1;
    if (!d->begun)
        rc = plan_header(&d->plan, d->o.header, &d->limit);
    if (rc < 0 && rc != BARID_ELIMIT)
        return rc;
    d->begun = true;
    until = d->o.body_size - d->at > DOWNGRADE_TURN ? d->at + DOWNGRADE_TURN : d->o.body_size;
    while (d->at < until) {
        barid_slice text;

        rc = source(d, (size_t)(until - d->at), &text);
        if (rc == 1)
            rc = take_text(d, text) < 0 ? BARID_ENOMEM : 1;
        if (rc <= 0)
            return rc;
    }
    return d->at < d->o.body_size ? BARID_EAGAIN : finish_plan(d, err);
}

bool downgrade_changed(const struct downgrade *d)
{
    return d->changed;
}

barid_slice downgrade_header(const struct downgrade *d)
{
    return d->changed ? buf_slice(&d->header) : d->o.header;
}

uint64_t downgrade_lost(const struct downgrade *d)
{
    return d->transfer.lost;
}

/* --- the second reading --- */

static bool is_kept(const struct downgrade *d)
{
    return !d->changed || d->plan.body.p[d->piece].act == TRANSFER_KEEP;
}

/* Octets that stay as they are need no copy. */
static int give_kept(struct downgrade *d, size_t n, barid_slice *p_r)
{
    uint64_t left = piece_end(&d->plan.body, d->piece, d->o.body_size) - d->at;
    int rc = source(d, n < left ? n : (size_t)left, p_r);

    if (rc <= 0)
        return rc;
    d->at += p_r->n;
    d->given += p_r->n;
    leave_pieces(d);
    return 1;
}

static int step(struct downgrade *d)
{
    enum transfer_act act = d->plan.body.p[d->piece].act;
    uint64_t left = piece_end(&d->plan.body, d->piece, d->o.body_size) - d->at;
    barid_slice text = {NULL, (size_t)left};
    int rc = 1;

    if (act != TRANSFER_DROP)
        rc = source(d, left < SLICE ? (size_t)left : SLICE, &text);
    if (rc <= 0)
        return rc;
    transfer_octets(&d->transfer, act, text.p, text.n);
    d->at += text.n;
    leave_pieces(d);
    return d->transfer.rc < 0 ? d->transfer.rc : 1;
}

int downgrade_body(struct downgrade *d, uint64_t offset, size_t n, barid_slice *p_r,
                   bool *last_r)
{
    int rc = 1;

    *p_r = (barid_slice){NULL, 0};
    *last_r = false;
    if (!d->ready || n == 0 || (offset != d->given && offset != 0))
        return BARID_EINVALID;
    if (offset != d->given)
        begin_again(d);
    if (d->out_at == d->out.len) {
        buf_clear(&d->out);
        d->out_at = 0;
    }
    while (rc == 1 && d->out.len == 0 && d->at < d->o.body_size && !is_kept(d))
        rc = step(d);
    if (rc == 1 && d->out.len == 0 && d->at < d->o.body_size)
        rc = give_kept(d, n, p_r);
    else if (rc == 1) {
        *p_r = slice_head(slice_from(buf_slice(&d->out), d->out_at), n);
        d->out_at += p_r->n;
        d->given += p_r->n;
    }
    *last_r = rc == 1 && d->at == d->o.body_size && d->out_at == d->out.len;
    return rc;
}
