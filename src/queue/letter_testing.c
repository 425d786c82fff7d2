/* queue/letter_testing.c: see letter_testing.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "message/record.h"
#include "queue/letter_testing.h"

uint32_t group_of_domain(const struct relaying *r, const char *domain)
{
    struct arena arena;
    struct hop hop;
    size_t n;
    uint32_t group = SPOOL_GROUP_NONE;

    arena_init(&arena, NULL, 0);
    if (routing_hops(&r->f.options.routing, &arena, BARID_S(""), slice_str(domain), &hop, 1,
                     &n, NULL) == 0)
        group = hop_group(&hop, r->f.spool->key);
    arena_deinit(&arena);
    return group;
}

static void add_rcpt(struct mail *m, const struct letter *l, size_t i)
{
    const char *text = i < 8 && l->rcpts[i] != NULL
                           ? l->rcpts[i]
                           : arena_fmt(m->arena, "u%zu%s", i, strchr(l->rcpts[0], '@'));
    struct mailbox box;
    struct rcpt *rcpt;

    assert_int_equal(mailbox_from_text(&box, m->arena, slice_str(text), 0), 0);
    assert_int_equal(mail_add_rcpt(m, &box, slice_str(text), &rcpt), 0);
    rcpt->notify = i == 0 && l->first_notify != 0 ? l->first_notify : l->notify;
    rcpt->verdict = l->is_asked ? RCPT_TEMPFAILED : RCPT_ACCEPTED;
}

/* Of recipient i, or of all of them. */
static void make_unit(const struct mail *m, const struct letter *l, size_t i, struct unit *u)
{
    size_t n = l->is_shared ? m->n_rcpts : 1;

    *u = (struct unit){.kind = l->is_file && i % 2 == 0 ? DISPOSITION_STORE : DISPOSITION_SEND,
                       .pinned = l->pinned,
                       .n_rcpts = n};
    if (l->is_asked)
        u->kind = (enum disposition_kind)0;
    if (u->kind == DISPOSITION_STORE)
        u->target = BARID_S("box");
    else if (l->target != NULL)
        u->target = slice_str(l->target);
    u->rcpts = arena_alloc(m->arena, n * sizeof(*u->rcpts));
    for (size_t k = 0; k < n; k++)
        u->rcpts[k] = i + k;
}

static size_t letter_size(const struct letter *l)
{
    size_t n = 0;

    while (l->n_rcpts == 0 && n < 8 && l->rcpts[n] != NULL)
        n++;
    return l->n_rcpts > 0 ? l->n_rcpts : n;
}

static uint64_t put_letter(struct relaying *r, const struct letter *l, const struct mail *m,
                           const struct unit *units, size_t n)
{
    struct unit_state *states = calloc(n, sizeof(*states));
    size_t body_n = l->body_n > 0 ? l->body_n : 6;
    const struct spool_ops *ops = r->f.spool->ops;
    char *body = malloc(body_n);
    struct spool_put *put;
    struct buf meta;
    uint64_t id;

    buf_init(&meta, NULL, 0);
    assert_int_equal(record_encode(m, units, n, &meta), 0);
    for (size_t i = 0; i < n; i++) {
        barid_slice domain = m->rcpts[units[i].rcpts[0]]->box.domain;

        states[i] = l->state;
        states[i].due_us = l->state.due_us > 0 ? l->state.due_us : START;
        if (units[i].kind == DISPOSITION_SEND)
            states[i].group =
                group_of_domain(r, arena_fmt(m->arena, "%.*s", (int)domain.n, domain.p));
    }
    test_fill(7, 0, body, body_n);
    assert_int_equal(ops->put_begin(r->f.spool, &put), 0);
    assert_int_equal(ops->put_body(put, body, body_n), 0);
    assert_int_equal(ops->put_describe(put, SPOOL_ACTIVE, buf_slice(&meta),
                                       BARID_S("Subject: s\r\n"), states, n),
                     0);
    id = ops->put_id(put);
    assert_int_equal(test_commit(r->f.spool, &put, 1), 0);
    buf_deinit(&meta);
    free(states);
    free(body);
    return id;
}

uint64_t send_letter(struct relaying *r, const struct letter *l)
{
    struct session_facts facts = {.id = "0123456789abcdef"};
    size_t n = letter_size(l);
    struct arena arena;
    barid_path path;
    struct mail m;
    struct unit *units;
    uint64_t id;

    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, &facts, r->f.clock.wall_us), 0);
    if (l->sender != NULL) {
        assert_int_equal(barid_mailbox_parse(slice_str(l->sender), BARID_PATH_UTF8_OK | BARID_PATH_LOCAL_OK, &path), 0);
        assert_int_equal(mailbox_from_path(&m.sender, &arena, &path, 0), 0);
        m.sender_original = m.sender.address;
    } else {
        m.sender.null = true;
    }
    m.retry = l->retry;
    m.body_size = l->body_n > 0 ? l->body_n : 6;
    units = arena_alloc(&arena, n * sizeof(*units));
    for (size_t i = 0; i < n; i++)
        add_rcpt(&m, l, i);
    n = l->is_shared ? 1 : n;
    for (size_t i = 0; i < n; i++)
        make_unit(&m, l, i, &units[i]);
    id = put_letter(r, l, &m, units, n);
    arena_deinit(&arena);
    return id;
}
