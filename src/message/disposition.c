/*
 * message/disposition.c: rows to units. Knows the rules of binding and merging, not how
 * anything is delivered.
 *
 * First every (row, recipient served) pair becomes an entry with its expanded target, unless
 * the target is excluded. Entries of the same kind, target and holding are then one unit. Units
 * stand in the order in which their first entry was made, so the result depends on the calls of
 * the policy alone.
 *
 * A row that an exclusion removed is no row: its recipient falls back to the mail:store rows,
 * and is undecided when nothing is left, rather than accepted and forgotten. Somebody elsewhere who
 * has no row at all is sent to by default, if the relay check let the recipient in.
 */
#include "message/disposition.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"
#include "message/mail.h"
#include "message/template.h"

/* Pairs of row and recipient: bounds a mail:store of many targets for many recipients at some 7
 * MB. */
#define ENTRIES_MAX   100000
#define ENTRIES_FIRST 16

struct entry {
    enum disposition_kind kind;
    bool held, pinned;
    barid_slice target;
    size_t rcpt; /* SIZE_MAX = none */
    size_t seq;
};

struct evaluation {
    struct mail *mail;
    struct entry *e;
    size_t n, cap;
    bool *own; /* per recipient: a row of its own */
    bool *any; /* per recipient: any row */
    struct buf scratch;
    struct err *err;
};

static bool is_served(const struct rcpt *r)
{
    return r->verdict == RCPT_ACCEPTED || r->verdict == RCPT_HELD ||
           r->verdict == RCPT_QUARANTINED;
}

static bool is_held(const struct rcpt *r)
{
    return r->verdict == RCPT_HELD || r->verdict == RCPT_QUARANTINED;
}

static int out_of_memory(struct evaluation *ev)
{
    return err_set(ev->err, BARID_ENOMEM, "out of memory");
}

static int add_entry(struct evaluation *ev, const struct disposition *row,
                     const struct rcpt *rcpt, barid_slice target)
{
    if (ev->n >= ENTRIES_MAX)
        return err_set(ev->err, BARID_ELIMIT, "more than %d deliveries for one mail",
                       ENTRIES_MAX);
    if (ev->n == ev->cap) {
        size_t cap = ev->cap > 0 ? ev->cap * 2 : ENTRIES_FIRST;
        struct entry *e = mem_realloc(ev->mail->arena->mem, ev->e, cap * sizeof(*e));

        if (e == NULL)
            return out_of_memory(ev);
        ev->e = e;
        ev->cap = cap;
    }
    ev->e[ev->n] = (struct entry){.kind = row->kind,
                                  .pinned = row->pinned,
                                  .held = rcpt != NULL && is_held(rcpt),
                                  .target = target,
                                  .rcpt = rcpt != NULL ? rcpt->index : SIZE_MAX,
                                  .seq = ev->n};
    ev->n++;
    return 0;
}

/* The target of a row for a recipient; next hops are taken as they are. */
static int expand(struct evaluation *ev, enum disposition_kind kind, barid_slice text,
                  const struct rcpt *rcpt)
{
    if (kind != DISPOSITION_SEND)
        return template_expand_buf(text, ev->mail, rcpt, &ev->scratch, ev->err);
    buf_clear(&ev->scratch);
    return buf_append(&ev->scratch, text) < 0 ? out_of_memory(ev) : 0;
}

/* 1 = excluded, 0 = not, or an error. */
static int is_excluded(struct evaluation *ev, enum disposition_kind kind, barid_slice target,
                       const struct rcpt *rcpt)
{
    for (size_t i = 0; i < ev->mail->n_excluded; i++) {
        const struct exclusion *ex = &ev->mail->excluded[i];
        int rc = ex->kind == kind ? expand(ev, kind, ex->target, rcpt) : 0;

        /* What does not expand for this recipient excludes nothing of it. */
        if (rc == BARID_ENOMEM)
            return rc;
        if (ex->kind == kind && rc == 0 && slice_eq(buf_slice(&ev->scratch), target))
            return 1;
    }
    return 0;
}

/* 1 = an entry was made, 0 = excluded. */
static int serve(struct evaluation *ev, const struct disposition *row, const struct rcpt *rcpt)
{
    barid_slice target;
    int rc = expand(ev, row->kind, row->target, rcpt);

    if (rc < 0)
        return rc;
    if (arena_slice(ev->mail->arena, buf_slice(&ev->scratch), &target) < 0)
        return out_of_memory(ev);
    rc = is_excluded(ev, row->kind, target, rcpt);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = add_entry(ev, row, rcpt, target);
    if (rc == 0 && rcpt != NULL)
        ev->any[rcpt->index] = true;
    return rc < 0 ? rc : 1;
}

static int serve_one(struct evaluation *ev, const struct disposition *row)
{
    const struct rcpt *rcpt = ev->mail->rcpts[row->rcpt_index];
    int rc = is_served(rcpt) ? serve(ev, row, rcpt) : 0;

    if (rc == 1)
        ev->own[rcpt->index] = true;
    return rc;
}

static int serve_rest(struct evaluation *ev, const struct disposition *row)
{
    int rc = 0;

    for (size_t i = 0; rc >= 0 && i < ev->mail->n_rcpts; i++)
        if (is_served(ev->mail->rcpts[i]) && !ev->own[i])
            rc = serve(ev, row, ev->mail->rcpts[i]);
    return rc;
}

static int serve_message(struct evaluation *ev, const struct disposition *row)
{
    bool stands = ev->mail->n_rcpts == 0;

    for (size_t i = 0; i < ev->mail->n_rcpts && !stands; i++)
        stands = is_served(ev->mail->rcpts[i]) || ev->mail->rcpts[i]->verdict == RCPT_DISCARDED;
    return stands ? serve(ev, row, NULL) : 0;
}

/* Own rows first: only then is known whom mail:store serves. */
static int serve_rows(struct evaluation *ev)
{
    static const struct {
        enum disposition_scope scope;
        int (*serve)(struct evaluation *ev, const struct disposition *row);
    } passes[] = {{DISPOSITION_ONE, serve_one},
                  {DISPOSITION_REST, serve_rest},
                  {DISPOSITION_MESSAGE, serve_message}};
    int rc = 0;

    for (size_t p = 0; p < sizeof(passes) / sizeof(*passes); p++)
        for (size_t i = 0; rc >= 0 && i < ev->mail->n_rows; i++)
            if (ev->mail->rows[i].scope == passes[p].scope)
                rc = passes[p].serve(ev, &ev->mail->rows[i]);
    return rc < 0 ? rc : 0;
}

/* Somebody elsewhere without a row: sent. After all rows, as only then is known who has none. */
static int serve_elsewhere(struct evaluation *ev)
{
    static const struct disposition row = {.kind = DISPOSITION_SEND};
    bool may = mail_may_relay(ev->mail);
    int rc = 0;

    for (size_t i = 0; rc >= 0 && i < ev->mail->n_rcpts; i++) {
        const struct rcpt *r = ev->mail->rcpts[i];

        if (is_served(r) && !ev->any[i] && !r->is_local && (r->relayed || may))
            rc = serve(ev, &row, r);
    }
    return rc < 0 ? rc : 0;
}

/* Held without a row: a unit of its own that keeps the mail until somebody decides. */
static int serve_waiting(struct evaluation *ev)
{
    static const struct disposition none = {.kind = 0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ev->mail->n_rcpts; i++)
        if (is_held(ev->mail->rcpts[i]) && !ev->any[i])
            rc = add_entry(ev, &none, ev->mail->rcpts[i], (barid_slice){NULL, 0});
    return rc;
}

/* Same unit: same kind, target and holding. Sending and waiting are one unit per recipient, as
 * each has its own fate. */
static int compare_unit(const struct entry *a, const struct entry *b)
{
    bool alone = a->kind != DISPOSITION_STORE && a->kind != DISPOSITION_ARCHIVE;
    int c = slice_cmp(a->target, b->target);

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->held != b->held)
        return a->held ? 1 : -1;
    if (c == 0 && alone && a->rcpt != b->rcpt)
        return a->rcpt < b->rcpt ? -1 : 1;
    return c;
}

static int compare_entry(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = compare_unit(x, y);

    if (c == 0)
        c = (x->rcpt > y->rcpt) - (x->rcpt < y->rcpt);
    return c != 0 ? c : (x->seq > y->seq) - (x->seq < y->seq);
}

struct group {
    size_t first, n; /* entries, sorted */
    size_t seq;      /* lowest of them */
};

static int compare_group(const void *a, const void *b)
{
    const struct group *x = a, *y = b;

    return (x->seq > y->seq) - (x->seq < y->seq);
}

/* Fills g (room for n) from the sorted entries; the number of groups. */
static size_t find_groups(const struct evaluation *ev, struct group *g)
{
    size_t n = 0;

    for (size_t i = 0; i < ev->n; i++) {
        if (i == 0 || compare_unit(&ev->e[i - 1], &ev->e[i]) != 0)
            g[n++] = (struct group){.first = i, .seq = SIZE_MAX};
        g[n - 1].n++;
        if (ev->e[i].seq < g[n - 1].seq)
            g[n - 1].seq = ev->e[i].seq;
    }
    return n;
}

static void fill_unit(const struct evaluation *ev, const struct group *g, struct unit *u,
                      size_t *rcpts)
{
    const struct entry *e = &ev->e[g->first];

    *u = (struct unit){.kind = e->kind, .target = e->target, .pinned = e->pinned, .held = e->held};
    for (size_t i = 0; i < g->n; i++)
        /* Two rows that expand alike name a recipient twice: it is served once. */
        if (e[i].rcpt != SIZE_MAX && (u->n_rcpts == 0 || rcpts[u->n_rcpts - 1] != e[i].rcpt))
            rcpts[u->n_rcpts++] = e[i].rcpt;
    u->rcpts = u->n_rcpts > 0 ? rcpts : NULL;
}

static int make_units(struct evaluation *ev, struct group *g, struct unit **units_r,
                      size_t *n_units_r)
{
    struct arena *arena = ev->mail->arena;
    size_t *rcpts = arena_alloc(arena, ev->n * sizeof(*rcpts));
    struct unit *units;
    size_t n;

    if (ev->n > 0)
        qsort(ev->e, ev->n, sizeof(*ev->e), compare_entry);
    n = find_groups(ev, g);
    if (n > MAIL_ROWS_MAX)
        return err_set(ev->err, BARID_ELIMIT, "more than %d deliveries for one mail",
                       MAIL_ROWS_MAX);
    qsort(g, n, sizeof(*g), compare_group);
    units = arena_alloc(arena, n * sizeof(*units));
    if (rcpts == NULL || units == NULL)
        return out_of_memory(ev);
    for (size_t i = 0; i < n; i++) {
        fill_unit(ev, &g[i], &units[i], rcpts);
        rcpts += units[i].n_rcpts;
    }
    *units_r = units;
    *n_units_r = n;
    return 0;
}

static int evaluate(struct evaluation *ev, struct unit **units_r, size_t *n_units_r,
                    bool *undecided)
{
    struct mail *m = ev->mail;
    struct group *g;
    int rc = m->state != MAIL_DISCARDED ? serve_rows(ev) : 0;

    if (rc == 0 && m->state != MAIL_DISCARDED)
        rc = serve_elsewhere(ev);
    if (rc == 0 && m->state != MAIL_DISCARDED)
        rc = serve_waiting(ev);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < m->n_rcpts && m->state != MAIL_DISCARDED; i++)
        undecided[i] = m->rcpts[i]->verdict == RCPT_ACCEPTED && !ev->any[i];
    g = mem_array(m->arena->mem, ev->n + 1, sizeof(*g));
    rc = g != NULL ? make_units(ev, g, units_r, n_units_r) : out_of_memory(ev);
    mem_free(m->arena->mem, g);
    return rc;
}

int mail_evaluate(struct mail *m, struct unit **units_r, size_t *n_units_r, bool **undecided_r,
                  struct err *err)
{
    struct evaluation ev = {.mail = m, .err = err};
    bool *undecided = arena_alloc(m->arena, m->n_rcpts);
    int rc;

    ev.own = arena_alloc(m->arena, m->n_rcpts);
    ev.any = arena_alloc(m->arena, m->n_rcpts);
    if (undecided == NULL || ev.own == NULL || ev.any == NULL)
        return out_of_memory(&ev);
    buf_init(&ev.scratch, m->arena->mem, 0);
    rc = evaluate(&ev, units_r, n_units_r, undecided);
    if (rc == 0)
        *undecided_r = undecided;
    mem_free(m->arena->mem, ev.e);
    buf_deinit(&ev.scratch);
    return rc;
}
