/* message/record_test.c: a mail there and back, versions, damage, each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/slice.h"
#include "base/testing.h"
#include "message/message_testing.h"
#include "message/record.h"

#define HEADER "Received: x\r\nTo: anna@example.com\r\n"

static struct session_facts facts(void)
{
    struct session_facts f = {.id = "0123456789abcdef",
                              .protocol = BARID_SUBMISSION,
                              .client = {BARID_FAMILY_IPV4, {192, 0, 2, 1}, 4711},
                              .local = {BARID_FAMILY_IPV6, {0x20, 1, 0xd, 0xb8}, 587},
                              .listener = BARID_S("0.0.0.0:587"),
                              .client_name = BARID_S("client.example.org"),
                              .helo = BARID_S("laptop"),
                              .esmtp = true,
                              .tls = true,
                              .tls_version = BARID_S("TLSv1.3"),
                              .tls_cipher = BARID_S("TLS_AES_256_GCM_SHA384"),
                              .tls_sni = BARID_S("mx.example.com"),
                              .tls_peer = BARID_S("CN=x"),
                              .tls_bits = 256,
                              .user = BARID_S("anna"),
                              .mechanism = BARID_AUTH_SCRAM_SHA_256,
                              .trusted = true,
                              .started_us = 1795000000000000};
    return f;
}

static int set_vars(struct mail *m)
{
    const struct var vars[] = {
        {.key = BARID_S("yes"), .type = VAR_BOOL, .flag = true},
        {.key = BARID_S("no"), .type = VAR_BOOL},
        {.key = BARID_S("n"), .type = VAR_INT, .num = INT64_MIN},
        {.key = BARID_S("zero"), .type = VAR_INT},
        {.key = BARID_S("pi"), .type = VAR_NUM, .real = 3.25},
        {.key = BARID_S("s"), .type = VAR_STR, .str = {"a\0b", 3}},
        {.key = BARID_S("empty"), .type = VAR_STR},
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(vars) / sizeof(*vars); i++)
        rc = vars_set(&m->vars, &vars[i]);
    return rc == 0 ? vars_set(&m->rcpts[1]->vars, &vars[2]) : rc;
}

static int fill(struct mail *m, struct arena *arena, struct session_facts *f)
{
    const barid_mail_params params = {true,         1000,           BARID_BODY_8BITMIME, true,
                                      true,         BARID_RET_HDRS, BARID_S("QQ+3D1"),   true,
                                      BARID_S("<>")};
    int rc = mail_init(m, arena, f, INT64_C(1795173699123456));

    if (rc == 0)
        rc = mail_set_header(m, BARID_S(HEADER), true);
    if (rc == 0)
        rc = mail_set_params(m, &params);
    if (rc == 0 && (!test_sender(m, "Bounce+x@Example.org") ||
                    test_rcpt(m, "anna+l@example.com") == NULL ||
                    test_rcpt(m, "\"b c\"@example.com") == NULL ||
                    test_rcpt(m, "held@example.com") == NULL))
        rc = BARID_ENOMEM;
    if (rc < 0)
        return rc;
    m->id = UINT64_C(0x0123456789abcdef);
    m->state = MAIL_HELD;
    m->state_reason = BARID_S("policy said so");
    m->delay_until_us = 1795173700000000;
    m->relay_allowed = true;
    m->policy_version = 7;
    m->body_size = 123456789;
    m->rcpts[1]->notify = BARID_NOTIFY_FAILURE | BARID_NOTIFY_DELAY;
    m->rcpts[1]->orcpt = BARID_S("rfc822;b+20c@example.com");
    m->rcpts[1]->alias_of_previous = true;
    m->rcpts[2]->verdict = RCPT_HELD;
    m->rcpts[2]->reply = BARID_S("550 5.1.1 no");
    m->rcpts[2]->is_local = false;
    m->rcpts[2]->relayed = true;
    m->retry = (struct mail_retry){
        .set = true, .first_s = 60, .max_s = 3600, .tries = 5, .notice_set = true, .notice = 2};
    explain_add(&m->explain,
                &(struct explain_entry){.event = BARID_EVENT_RCPT, .text = BARID_S("why")});
    rc = set_vars(m);
    if (rc == 0)
        rc = mail_add_row(m, DISPOSITION_STORE, DISPOSITION_REST, 0, BARID_S("%{domain}"));
    if (rc == 0)
        rc = mail_add_pinned(m, DISPOSITION_ONE, 0, BARID_S("[mail.example.net]:587"));
    return rc == 0
               ? mail_add_row(m, DISPOSITION_ARCHIVE, DISPOSITION_MESSAGE, 0, BARID_S("all"))
               : rc;
}

/* Everything of a is in b, by looking at what a reader looks at. */
static void assert_same_box(const struct mailbox *a, const struct mailbox *b)
{
    assert_true(slice_eq(a->address, b->address));
    assert_true(slice_eq(a->local, b->local));
    assert_true(slice_eq(a->domain, b->domain));
    assert_true(slice_eq(a->user, b->user));
    assert_true(slice_eq(a->tag, b->tag));
    assert_int_equal(a->null, b->null);
    assert_int_equal(a->quoted, b->quoted);
    assert_int_equal(a->literal, b->literal);
    assert_int_equal(a->utf8, b->utf8);
}

static void assert_same_vars(const struct vars *a, const struct vars *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->bytes, b->bytes);
    for (size_t i = 0; i < a->n; i++) {
        assert_true(slice_eq(a->v[i].key, b->v[i].key));
        assert_int_equal(a->v[i].type, b->v[i].type);
        assert_int_equal(a->v[i].flag, b->v[i].flag);
        assert_true(a->v[i].num == b->v[i].num);
        assert_memory_equal(&a->v[i].real, &b->v[i].real, sizeof(double));
        assert_true(slice_eq(a->v[i].str, b->v[i].str));
    }
}

static void assert_same_facts(const struct session_facts *a, const struct session_facts *b)
{
    assert_string_equal(a->id, b->id);
    assert_int_equal(a->protocol, b->protocol);
    assert_memory_equal(a->client.addr, b->client.addr, 16);
    assert_int_equal(a->client.port, b->client.port);
    assert_int_equal(a->client.family, b->client.family);
    assert_memory_equal(a->local.addr, b->local.addr, 16);
    assert_int_equal(a->local.family, b->local.family);
    assert_true(slice_eq(a->listener, b->listener));
    assert_true(slice_eq(a->client_name, b->client_name));
    assert_true(slice_eq(a->helo, b->helo));
    assert_true(slice_eq(a->tls_version, b->tls_version));
    assert_true(slice_eq(a->tls_cipher, b->tls_cipher));
    assert_true(slice_eq(a->tls_sni, b->tls_sni));
    assert_true(slice_eq(a->tls_peer, b->tls_peer));
    assert_true(slice_eq(a->user, b->user));
    assert_int_equal(a->esmtp, b->esmtp);
    assert_int_equal(a->tls, b->tls);
    assert_int_equal(a->tls_bits, b->tls_bits);
    assert_int_equal(a->mechanism, b->mechanism);
    assert_int_equal(a->trusted, b->trusted);
    assert_true(a->started_us == b->started_us);
}

static void assert_same_rcpts(const struct mail *a, const struct mail *b)
{
    assert_int_equal(a->n_rcpts, b->n_rcpts);
    for (size_t i = 0; i < a->n_rcpts; i++) {
        const struct rcpt *x = a->rcpts[i], *y = b->rcpts[i];

        assert_int_equal(y->index, i);
        assert_same_box(&x->box, &y->box);
        assert_true(slice_eq(x->original, y->original));
        assert_int_equal(x->is_local, y->is_local);
        assert_int_equal(x->relayed, y->relayed);
        assert_int_equal(x->alias_of_previous, y->alias_of_previous);
        assert_int_equal(x->notify, y->notify);
        assert_true(slice_eq(x->orcpt, y->orcpt));
        assert_int_equal(x->verdict, y->verdict);
        assert_true(slice_eq(x->reply, y->reply));
        assert_same_vars(&x->vars, &y->vars);
    }
}

static void assert_same_mail(const struct mail *a, const struct mail *b)
{
    assert_true(a->id == b->id);
    assert_true(a->received_us == b->received_us);
    assert_same_box(&a->sender, &b->sender);
    assert_true(slice_eq(a->sender_original, b->sender_original));
    assert_int_equal(a->params.size_given, b->params.size_given);
    assert_true(a->params.size == b->params.size);
    assert_int_equal(a->params.body, b->params.body);
    assert_int_equal(a->params.smtputf8, b->params.smtputf8);
    assert_int_equal(a->params.prdr, b->params.prdr);
    assert_int_equal(a->params.ret, b->params.ret);
    assert_true(slice_eq(a->params.envid, b->params.envid));
    assert_int_equal(a->params.auth_given, b->params.auth_given);
    assert_true(slice_eq(a->params.auth, b->params.auth));
    assert_int_equal(a->state, b->state);
    assert_true(slice_eq(a->state_reason, b->state_reason));
    assert_true(a->delay_until_us == b->delay_until_us);
    assert_int_equal(a->relay_allowed, b->relay_allowed);
    assert_int_equal(a->retry.set, b->retry.set);
    assert_int_equal(a->retry.first_s, b->retry.first_s);
    assert_int_equal(a->retry.max_s, b->retry.max_s);
    assert_int_equal(a->retry.tries, b->retry.tries);
    assert_int_equal(a->retry.notice_set, b->retry.notice_set);
    assert_int_equal(a->retry.notice, b->retry.notice);
    assert_true(a->policy_version == b->policy_version);
    assert_true(a->body_size == b->body_size);
    assert_int_equal(a->hops, b->hops);
    assert_int_equal(a->has_header, b->has_header);
    assert_int_equal(a->has_blank_line, b->has_blank_line);
    assert_true(slice_eq(explain_data(&a->explain), explain_data(&b->explain)));
    assert_int_equal(a->header.n, b->header.n);
    assert_same_vars(&a->vars, &b->vars);
    assert_same_facts(a->session, b->session);
    assert_same_rcpts(a, b);
}

static void assert_same_units(const struct unit *a, const struct unit *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(a[i].kind, b[i].kind);
        assert_true(slice_eq(a[i].target, b[i].target));
        assert_int_equal(a[i].held, b[i].held);
        assert_int_equal(a[i].pinned, b[i].pinned);
        assert_int_equal(a[i].n_rcpts, b[i].n_rcpts);
        if (a[i].n_rcpts > 0)
            assert_memory_equal(a[i].rcpts, b[i].rcpts, a[i].n_rcpts * sizeof(size_t));
    }
}

struct made {
    struct arena arena;
    struct session_facts facts;
    struct mail m;
    struct unit *units;
    size_t n_units;
    struct buf out;
};

static int make(struct made *k, const barid_mem *mem)
{
    bool *undecided;
    int rc;

    arena_init(&k->arena, mem, 0);
    buf_init(&k->out, mem, 0);
    k->facts = facts();
    rc = fill(&k->m, &k->arena, &k->facts);
    if (rc == 0)
        rc = mail_evaluate(&k->m, &k->units, &k->n_units, &undecided, NULL);
    return rc == 0 ? record_encode(&k->m, k->units, k->n_units, &k->out) : rc;
}

static void unmake(struct made *k)
{
    buf_deinit(&k->out);
    arena_deinit(&k->arena);
}

static void test_round_trip(void **state)
{
    struct made k;
    struct arena arena;
    struct mail back;
    struct unit *units;
    size_t n;

    (void)state;
    assert_int_equal(make(&k, NULL), 0);
    assert_int_equal(k.n_units, 4);
    assert_true(k.units[0].pinned);
    arena_init(&arena, NULL, 0);
    assert_int_equal(
        record_decode(&back, &arena, buf_slice(&k.out), BARID_S(HEADER), &units, &n), 0);
    assert_same_mail(&k.m, &back);
    assert_int_equal(n, k.n_units);
    assert_same_units(k.units, units, n);
    assert_true(k.out.len < 1000);
    arena_deinit(&arena);
    unmake(&k);
}

/* The simplest mail: nothing but defaults. */
static void test_empty(void **state)
{
    struct arena arena;
    struct mail m, back;
    struct unit *units;
    struct buf out;
    size_t n;

    (void)state;
    arena_init(&arena, NULL, 0);
    buf_init(&out, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
    assert_int_equal(record_encode(&m, NULL, 0, &out), 0);
    assert_true(out.len < 10);
    assert_int_equal(record_decode(&back, &arena, buf_slice(&out), BARID_S(""), &units, &n), 0);
    assert_int_equal(n, 0);
    assert_true(back.sender.null);
    assert_non_null(back.session);
    buf_deinit(&out);
    arena_deinit(&arena);
}

static void test_versions(void **state)
{
    static const struct {
        const char *octets;
        size_t n;
        int rc;
    } rows[] = {
        {"", 0, BARID_ECORRUPT},
        {"\x10", 1, 0},
        {"\x1f", 1, 0},              /* newer minor */
        {"\x20", 1, BARID_EVERSION}, /* newer major */
        {"\xf0", 1, BARID_EVERSION},
        {"\x00", 1, BARID_ECORRUPT},
        {"\x10\xfa\x02hi", 5, 0}, /* a tag from the future */
        {"\x10\x01\x01\x05", 4, 0},
        {"\x10\x01\x02\x85", 4, BARID_ECORRUPT}, /* cut number */
        {"\x10\x01\x01", 3, BARID_ECORRUPT},
        {"\x10\x01", 2, BARID_ECORRUPT},
        {"\x10\x0a\x01\x63", 4, BARID_ECORRUPT},         /* a state that is none */
        {"\x10\x09\x04\x01\x02xy", 7, BARID_ECORRUPT},   /* session id of the wrong length */
        {"\x10\x08\x03\x04\x01\x00", 6, BARID_ECORRUPT}, /* a unit for recipient 0 of none */
        {"\x10\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, BARID_ECORRUPT},
        {"\x10\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 12, BARID_ECORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct arena arena;
        struct mail m;
        struct unit *units;
        size_t n;

        arena_init(&arena, NULL, 0);
        assert_int_equal(record_decode(&m, &arena, slice_of(rows[i].octets, rows[i].n),
                                       BARID_S(""), &units, &n),
                         rows[i].rc);
        arena_deinit(&arena);
    }
}

/* A record cut anywhere, or with a bit turned, is read to a mail or refused: nothing beyond its
 * end is touched. */
static void test_damage(void **state)
{
    struct made k;
    size_t refused = 0;

    (void)state;
    assert_int_equal(make(&k, NULL), 0);
    for (size_t i = 0; i < k.out.len * 9; i++) {
        struct arena arena;
        struct mail m;
        struct unit *units;
        size_t n, len = i < k.out.len ? i : k.out.len, bit = i < k.out.len ? 0 : i - k.out.len;
        char *copy;
        int rc;

        arena_init(&arena, NULL, 0);
        copy = arena_strdup(&arena, slice_of(k.out.p, len));
        if (i >= k.out.len)
            copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << (bit % 8)));
        rc = record_decode(&m, &arena, slice_of(copy, len), BARID_S(HEADER), &units, &n);
        assert_true(rc == 0 || rc == BARID_ECORRUPT || rc == BARID_EVERSION);
        refused += rc < 0;
        for (size_t u = 0; rc == 0 && u < n; u++)
            for (size_t r = 0; r < units[u].n_rcpts; r++)
                assert_true(units[u].rcpts[r] < m.n_rcpts);
        arena_deinit(&arena);
    }
    assert_true(refused > k.out.len);
    unmake(&k);
}

static void test_no_memory(void **state)
{
    struct fail_mem f = {0};

    (void)state;
    while (fail_mem_next(&f)) {
        struct made k;
        struct arena arena;
        struct mail back;
        struct unit *units;
        size_t n_units;
        int rc;

        arena_init(&arena, &f.mem, 0);
        rc = make(&k, &f.mem);
        if (rc < 0)
            assert_int_equal(k.out.len, 0);
        if (rc == 0)
            rc = record_decode(&back, &arena, buf_slice(&k.out), BARID_S(HEADER), &units,
                               &n_units);
        if (rc == 0 && !k.m.explain.cut)
            assert_same_mail(&k.m, &back);
        assert_true(rc == 0 || rc == BARID_ENOMEM);
        arena_deinit(&arena);
        unmake(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_versions),   cmocka_unit_test(test_damage),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
