/*
 * message/mail.c: one mail while it is built. Knows neither the session nor the spool nor Lua.
 *
 * Invariants: rcpts[i]->index == i; a struct rcpt never moves (scripts and events point to it);
 * rows and exclusions are unique; all text lies in the arena.
 */
#include "message/mail.h"

#include <string.h>

#include "base/slice.h"
#include "message/hop.h"
#include "message/template.h"

#define MAIL_FIRST 8 /* slots of a first array: most mails have a few recipients and rows */

/* *array_r with room for one more element of size; the old array stays in the arena. */
static int grow(struct arena *arena, void **array, size_t n, size_t *cap, size_t size,
                size_t max)
{
    size_t next = *cap > 0 ? *cap * 2 : MAIL_FIRST;
    void *p;

    if (n >= max)
        return BARID_ELIMIT;
    if (n < *cap)
        return 0;
    p = arena_alloc(arena, next * size);
    if (p == NULL)
        return BARID_ENOMEM;
    if (n > 0)
        memcpy(p, *array, n * size);
    *array = p;
    *cap = next;
    return 0;
}

static const char *const state_names[] = {
    [MAIL_ACTIVE] = "active",       [MAIL_HELD] = "held",
    [MAIL_REMOVED] = "removed",     [MAIL_QUARANTINED] = "quarantined",
    [MAIL_DISCARDED] = "discarded",
};

const char *mail_state_name(enum mail_state s)
{
    return (size_t)s < sizeof(state_names) / sizeof(*state_names) ? state_names[s] : "?";
}

static const char *const kind_names[] = {
    [0] = "none",
    [DISPOSITION_STORE] = "store",
    [DISPOSITION_ARCHIVE] = "archive",
    [DISPOSITION_SEND] = "send",
};

const char *disposition_kind_name(enum disposition_kind kind)
{
    return (size_t)kind < sizeof(kind_names) / sizeof(*kind_names) ? kind_names[kind] : "?";
}

int mail_init(struct mail *m, struct arena *arena, struct session_facts *session,
              int64_t now_us)
{
    *m = (struct mail){.arena = arena, .session = session, .received_us = now_us};
    m->sender.null = true;
    vars_init(&m->vars, arena);
    explain_init(&m->explain, arena);
    return header_parse(&m->header, arena, (barid_slice){NULL, 0});
}

int mail_set_header(struct mail *m, barid_slice block, bool has_blank_line)
{
    barid_slice copy;
    int rc = arena_slice(m->arena, block, &copy);

    if (rc == 0)
        rc = header_parse(&m->header, m->arena, copy);
    if (rc < 0)
        return rc;
    m->has_header = true;
    m->has_blank_line = has_blank_line;
    m->hops = (unsigned)header_count(&m->header, BARID_S("Received"));
    return 0;
}

int mail_set_params(struct mail *m, const barid_mail_params *params)
{
    barid_mail_params copy = *params;
    int rc = arena_slice(m->arena, params->envid, &copy.envid);

    if (rc == 0)
        rc = arena_slice(m->arena, params->auth, &copy.auth);
    if (rc == 0)
        m->params = copy;
    return rc;
}

bool mail_may_relay(const struct mail *m)
{
    return m->relay_allowed ||
           (m->session != NULL && (m->session->trusted || m->session->user.n > 0));
}

int mail_add_rcpt(struct mail *m, const struct mailbox *box, barid_slice original,
                  struct rcpt **rcpt_r)
{
    void *array = m->rcpts;
    struct rcpt *rcpt;
    int rc = grow(m->arena, &array, m->n_rcpts, &m->cap_rcpts, sizeof(struct rcpt *),
                  MAIL_RCPTS_MAX);

    if (rc < 0)
        return rc;
    m->rcpts = array;
    rcpt = arena_alloc(m->arena, sizeof(*rcpt));
    if (rcpt == NULL || arena_slice(m->arena, original, &rcpt->original) < 0)
        return BARID_ENOMEM;
    rcpt->index = m->n_rcpts;
    rcpt->box = *box;
    vars_init(&rcpt->vars, m->arena);
    m->rcpts[m->n_rcpts++] = rcpt;
    *rcpt_r = rcpt;
    return 0;
}

/* A target of that kind as it is kept: next hops in one spelling, so that the same are one row; what is no template is refused. Copied
 * only where it changes. */
static int take_target(struct mail *m, enum disposition_kind kind, barid_slice target,
                       barid_slice *target_r)
{
    *target_r = target;
    if (kind == DISPOSITION_SEND)
        return hop_list_text(m->arena, target, target_r, NULL);
    return template_check(target, kind != DISPOSITION_ARCHIVE, NULL);
}

static bool scope_ok(const struct mail *m, enum disposition_kind kind,
                     enum disposition_scope scope, size_t rcpt_index)
{
    if (kind == DISPOSITION_ARCHIVE)
        return scope == DISPOSITION_MESSAGE;
    if (kind != DISPOSITION_STORE && kind != DISPOSITION_SEND)
        return false;
    return scope == DISPOSITION_REST || (scope == DISPOSITION_ONE && rcpt_index < m->n_rcpts);
}

static bool same_row(const struct disposition *a, const struct disposition *b)
{
    return a->kind == b->kind && a->scope == b->scope &&
           (a->scope != DISPOSITION_ONE || a->rcpt_index == b->rcpt_index) &&
           slice_eq(a->target, b->target);
}

static int add_row(struct mail *m, struct disposition row)
{
    void *array = m->rows;
    int rc;

    if (!scope_ok(m, row.kind, row.scope, row.rcpt_index))
        return BARID_EINVALID;
    rc = take_target(m, row.kind, row.target, &row.target);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < m->n_rows; i++) {
        if (same_row(&m->rows[i], &row)) {
            m->rows[i].pinned = m->rows[i].pinned || row.pinned;
            return 0;
        }
    }
    rc = grow(m->arena, &array, m->n_rows, &m->cap_rows, sizeof(row), MAIL_ROWS_MAX);
    m->rows = array;
    if (rc == 0)
        rc = arena_slice(m->arena, row.target, &row.target);
    if (rc == 0)
        m->rows[m->n_rows++] = row;
    return rc;
}

int mail_add_row(struct mail *m, enum disposition_kind kind, enum disposition_scope scope,
                 size_t rcpt_index, barid_slice target)
{
    return add_row(m, (struct disposition){.kind = kind,
                                           .scope = scope,
                                           .rcpt_index = rcpt_index,
                                           .target = target});
}

int mail_add_pinned(struct mail *m, enum disposition_scope scope, size_t rcpt_index,
                    barid_slice target)
{
    return add_row(m, (struct disposition){.kind = DISPOSITION_SEND,
                                           .scope = scope,
                                           .rcpt_index = rcpt_index,
                                           .target = target,
                                           .pinned = true});
}

int mail_exclude(struct mail *m, enum disposition_kind kind, barid_slice target)
{
    struct exclusion ex = {.kind = kind};
    void *array = m->excluded;
    int rc = take_target(m, kind, target, &ex.target);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < m->n_excluded; i++)
        if (m->excluded[i].kind == kind && slice_eq(m->excluded[i].target, ex.target))
            return 0;
    rc = grow(m->arena, &array, m->n_excluded, &m->cap_excluded, sizeof(ex), MAIL_EXCLUDED_MAX);
    m->excluded = array;
    if (rc == 0)
        rc = arena_slice(m->arena, ex.target, &ex.target);
    if (rc == 0)
        m->excluded[m->n_excluded++] = ex;
    return rc;
}

bool mail_rcpt_has_row(const struct mail *m, size_t i)
{
    for (size_t k = 0; k < m->n_rows; k++)
        if (m->rows[k].scope == DISPOSITION_REST ||
            (m->rows[k].scope == DISPOSITION_ONE && m->rows[k].rcpt_index == i))
            return true;
    return false;
}
