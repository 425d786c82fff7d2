/* delivery/answers_test.c: one question for all who want to know; how long it is believed; how many at once and how much in all; who
 * stops waiting at any moment; each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "base/testing.h"
#include "delivery/answers.h"

#define CROWD 1000

/* What the source was asked: name and type live as long as the question. */
struct dns_query {
    char name[300];
    enum dns_type type;
    void (*done)(void *user, const struct dns_answer *answer);
    void *user;
    bool live;
};

static struct dns_query asked[40000];
static size_t n_asked, refused_at;

static int fake_ask(void *user, barid_slice name, enum dns_type type,
                    void (*done)(void *user, const struct dns_answer *answer), void *done_user,
                    struct dns_query **query_r)
{
    struct dns_query *q = &asked[n_asked];

    assert_true(n_asked < sizeof(asked) / sizeof(asked[0]));
    assert_true(name.n < sizeof(q->name));
    if (refused_at != 0 && --refused_at == 0)
        return BARID_ENOMEM;
    *q = (struct dns_query){.type = type, .done = done, .user = done_user, .live = true};
    snprintf(q->name, sizeof(q->name), "%s%.*s", user != NULL ? (char *)user : "", (int)name.n,
             name.p);
    n_asked++;
    *query_r = q;
    return 0;
}

static void fake_cancel(void *user, struct dns_query **query)
{
    (void)user;
    assert_true((*query)->live);
    (*query)->live = false;
    *query = NULL;
}

static const struct hosts_source fake = {.ask = fake_ask, .cancel = fake_cancel};

struct fixture {
    struct fail_mem *mem, own;
    struct clock_fake clock;
    struct loop *loop;
    struct rng_seeded rng;
    struct answers *answers;
    struct hosts_source source;
};

/* What somebody who asks was told. */
struct told {
    unsigned times;
    enum dns_status status;
    size_t n;
    char text[64];
    struct dns_query *handle, **cancels;
    struct fixture *f;
};

static void on_told(void *user, const struct dns_answer *answer)
{
    struct told *t = user;

    t->times++;
    t->status = answer->status;
    t->n = answer->n;
    t->handle = NULL;
    if (answer->n > 0)
        snprintf(t->text, sizeof(t->text), "%.*s", (int)answer->records[answer->n - 1].text.n,
                 answer->records[answer->n - 1].text.p);
    if (t->cancels != NULL)
        t->f->source.cancel(t->f->source.user, t->cancels);
}

/* mem NULL: one that does not fail. answers is NULL when there was no memory for it. */
static struct fixture *make_with(struct fail_mem *mem)
{
    struct fixture *f = calloc(1, sizeof(*f));

    n_asked = refused_at = 0;
    fail_mem_init(&f->own, 0);
    f->mem = mem != NULL ? mem : &f->own;
    clock_fake_init(&f->clock, INT64_C(1795173699000042));
    rng_seeded_init(&f->rng, 1);
    assert_int_equal(loop_new(&f->loop, &f->clock.clock, NULL, NULL), 0);
    if (answers_new(&f->answers, f->loop, &fake, &f->rng.rng, &f->mem->mem) == 0)
        f->source = answers_source(f->answers);
    return f;
}

static struct fixture *make(void)
{
    return make_with(NULL);
}

static void turns(struct fixture *f)
{
    for (int i = 0; i < 4; i++)
        loop_turn(f->loop, false);
}

static void drop(struct fixture *f)
{
    answers_del(&f->answers);
    answers_del(&f->answers);
    turns(f);
    for (size_t i = 0; i < n_asked; i++)
        assert_false(asked[i].live);
    assert_int_equal(f->mem->live, 0);
    loop_del(&f->loop);
    free(f);
}

static int ask(struct fixture *f, const char *name, enum dns_type type, struct told *t)
{
    t->f = f;
    return f->source.ask(f->source.user, slice_str(name), type, on_told, t, &t->handle);
}

static void reply_with(struct dns_query *q, const struct dns_answer *answer)
{
    assert_true(q->live);
    q->live = false;
    q->done(q->user, answer);
}

static void reply(struct dns_query *q, uint32_t ttl, const char *text)
{
    const struct dns_record records[] = {
        {.type = q->type, .ttl = ttl + 10, .text = BARID_S("first.test")},
        {.type = q->type, .ttl = ttl, .text = slice_str(text)}};

    reply_with(q, &(struct dns_answer){.status = DNS_OK, .records = records, .n = 2});
}

static void advance(struct fixture *f, uint64_t seconds)
{
    clock_fake_advance(&f->clock, seconds * 1000);
    turns(f);
}

/* Asked now, it is told without a question (true) or asks (false: and that is answered). */
static bool is_known(struct fixture *f, const char *name, enum dns_type type)
{
    struct told t = {0};
    size_t before = n_asked;

    assert_int_equal(ask(f, name, type, &t), 0);
    assert_int_equal(t.times, 0); /* never from within */
    if (n_asked > before)
        reply(&asked[before], 0, "again.test");
    turns(f);
    assert_int_equal(t.times, 1);
    return n_asked == before;
}

static void test_crowd(void **state)
{
    struct fixture *f = make();
    struct told t[CROWD] = {0};

    (void)state;
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(ask(f, i % 2 == 0 ? "A.test" : "a.TEST", DNS_MX, &t[i]), 0);
    assert_int_equal(n_asked, 1);
    assert_string_equal(asked[0].name, "a.test");
    reply(&asked[0], 60, "mx.test");
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(t[i].times, 0);
    turns(f);
    for (size_t i = 0; i < CROWD; i++) {
        assert_true(t[i].times == 1 && t[i].status == DNS_OK && t[i].n == 2);
        assert_string_equal(t[i].text, "mx.test");
    }
    assert_true(is_known(f, "a.test", DNS_MX));
    assert_false(is_known(f, "a.test", DNS_A)); /* another question */
    printf("# proof: answers: %d who want the same name, 1 question\n", CROWD);
    drop(f);
}

static void test_believed(void **state)
{
    struct fixture *f = make();
    struct told t = {0};

    (void)state;
    ask(f, "a.test", DNS_MX, &t);
    reply(&asked[0], 60, "mx.test"); /* the least of its records */
    advance(f, 59);
    assert_true(is_known(f, "a.test", DNS_MX));
    advance(f, 1);
    assert_false(is_known(f, "a.test", DNS_MX));
    assert_false(is_known(f, "a.test", DNS_MX)); /* that one had TTL 0 */
    ask(f, "long.test", DNS_A, &t);
    reply(&asked[n_asked - 1], 1000000, "mx.test");
    advance(f, ANSWERS_TTL_MAX_S - 1);
    assert_true(is_known(f, "long.test", DNS_A));
    advance(f, 1);
    assert_false(is_known(f, "long.test", DNS_A));
    drop(f);
}

static bool is_kept(struct fixture *f, enum dns_status status, uint32_t negative_ttl,
                    uint64_t seconds)
{
    struct told t = {0};
    static unsigned number;
    char name[32];

    snprintf(name, sizeof(name), "n%u.test", number++);
    assert_int_equal(ask(f, name, DNS_AAAA, &t), 0);
    reply_with(&asked[n_asked - 1],
               &(struct dns_answer){.status = status, .negative_ttl = negative_ttl});
    turns(f);
    assert_true(t.times == 1 && t.status == status);
    advance(f, seconds);
    return is_known(f, name, DNS_AAAA);
}

static void test_negative(void **state)
{
    struct fixture *f = make();

    (void)state;
    for (enum dns_status s = DNS_NODATA; s <= DNS_NXDOMAIN; s++) {
        assert_true(is_kept(f, s, 60, 59));
        assert_false(is_kept(f, s, 60, 60));
        assert_false(is_kept(f, s, 0, 0)); /* nobody said how long */
        assert_true(is_kept(f, s, 100000, ANSWERS_NEGATIVE_MAX_S - 1));
        assert_false(is_kept(f, s, 100000, ANSWERS_NEGATIVE_MAX_S));
    }
    for (enum dns_status s = DNS_SERVFAIL; s <= DNS_CANCELLED; s++)
        assert_false(is_kept(f, s, 60, 0));
    drop(f);
}

static void test_line(void **state)
{
    struct fixture *f = make();
    struct told t[CROWD] = {0};
    size_t most = 0, at = 0;
    char name[32];

    (void)state;
    for (size_t i = 0; i < CROWD; i++) {
        snprintf(name, sizeof(name), "l%zu.test", i);
        assert_int_equal(ask(f, name, DNS_MX, &t[i]), 0);
    }
    while (at < n_asked) {
        most = n_asked - at > most ? n_asked - at : most;
        reply(&asked[at++], 60, "mx.test");
    }
    turns(f);
    assert_int_equal(most, ANSWERS_ASKING_MAX);
    assert_int_equal(n_asked, CROWD);
    for (size_t i = 0; i < CROWD; i++)
        assert_true(t[i].times == 1 && t[i].status == DNS_OK);
    printf("# proof: answers: named limits: %d names at once, %zu questions at most\n", CROWD,
           most);
    drop(f);
}

/* More names than there is room for: the one wanted longest ago is forgotten, memory stays below ANSWERS_OCTETS_MAX. */
static void test_room(void **state)
{
    struct fixture *f = make();
    struct told t = {0};
    char name[250];
    size_t peak = 0;

    (void)state;
    memset(name, 'x', sizeof(name));
    for (size_t i = 0; i < 30000; i++) {
        snprintf(name + 200, sizeof(name) - 200, ".r%zu.test", i);
        assert_int_equal(ask(f, name, DNS_MX, &t), 0);
        reply(&asked[n_asked - 1], 3600, "mx.test");
        turns(f);
        peak = answers_count(f->answers) > peak ? answers_count(f->answers) : peak;
        if (i % 1000 == 0) { /* wanted again and again: stays */
            snprintf(name + 200, sizeof(name) - 200, ".r0.test");
            assert_true(is_known(f, name, DNS_MX));
        }
    }
    assert_true(peak < 30000 && peak > 10000);
    snprintf(name + 200, sizeof(name) - 200, ".r29999.test");
    assert_true(is_known(f, name, DNS_MX));
    snprintf(name + 200, sizeof(name) - 200, ".r1.test");
    assert_false(is_known(f, name, DNS_MX));
    printf("# proof: answers: named limits: %zu names of 30000 in ANSWERS_OCTETS_MAX\n", peak);
    drop(f);
}

static void cancel(struct fixture *f, struct told *t)
{
    f->source.cancel(f->source.user, &t->handle);
    assert_null(t->handle);
}

static void test_cancel(void **state)
{
    struct fixture *f = make();
    struct told t[4] = {0};

    (void)state;
    ask(f, "a.test", DNS_MX, &t[0]);
    ask(f, "a.test", DNS_MX, &t[1]);
    cancel(f, &t[0]); /* while it is asked */
    reply(&asked[0], 60, "mx.test");
    cancel(f, &t[1]); /* while it is ready */
    turns(f);
    assert_true(t[0].times == 0 && t[1].times == 0);
    assert_true(is_known(f, "a.test", DNS_MX));
    ask(f, "a.test", DNS_MX, &t[0]);
    ask(f, "a.test", DNS_MX, &t[1]);
    ask(f, "a.test", DNS_MX, &t[2]);
    t[0].cancels = &t[2].handle; /* from within the first done of the same turn */
    turns(f);
    assert_true(t[0].times == 1 && t[1].times == 1 && t[2].times == 0);
    ask(f, "zero.test", DNS_MX, &t[3]);
    reply(&asked[n_asked - 1], 0, "mx.test");
    cancel(f, &t[3]); /* the last who wanted what is not kept */
    turns(f);
    drop(f);
}

static void test_end(void **state)
{
    struct fixture *f = make();
    struct told t[400] = {0};
    char name[32];

    (void)state;
    for (size_t i = 0; i < 400; i++) { /* asked, and in line */
        snprintf(name, sizeof(name), "e%zu.test", i);
        ask(f, name, DNS_MX, &t[i]);
    }
    reply(&asked[0], 60, "mx.test");
    for (size_t i = 0; i < 400; i++)
        cancel(f, &t[i]);
    drop(f);
}

static void test_source(void **state)
{
    struct fixture *f = make();
    static char other[] = "other:";
    struct told t[3] = {0};

    (void)state;
    ask(f, "a.test", DNS_MX, &t[0]);
    reply(&asked[0], 60, "mx.test");
    turns(f);
    ask(f, "b.test", DNS_MX, &t[1]);
    ask(f, "a.test", DNS_MX, &t[2]); /* ready: is told what was known */
    answers_set_source(f->answers, &(struct hosts_source){fake_ask, fake_cancel, other});
    reply_with(&asked[1], &(struct dns_answer){.status = DNS_CANCELLED}); /* as dns_del does */
    turns(f);
    assert_int_equal(t[1].times, 0); /* a reload is no failure of the domain */
    assert_true(t[2].times == 1 && t[2].status == DNS_OK);
    assert_string_equal(asked[2].name, "other:b.test");
    reply(&asked[2], 60, "mx2.test");
    turns(f);
    assert_true(t[1].times == 1 && t[1].status == DNS_OK);
    assert_string_equal(t[1].text, "mx2.test");
    assert_false(is_known(f, "a.test", DNS_MX));
    assert_string_equal(asked[3].name, "other:a.test");
    drop(f);
}

/* The source goes by itself, or with nobody left who waits: that is the end of it. */
static void test_source_cancels(void **state)
{
    struct fixture *f = make();
    static char other[] = "other:";
    struct told t[2] = {0};

    (void)state;
    ask(f, "a.test", DNS_MX, &t[0]);
    reply_with(&asked[0], &(struct dns_answer){.status = DNS_CANCELLED});
    turns(f);
    assert_true(t[0].times == 1 && t[0].status == DNS_CANCELLED);
    ask(f, "b.test", DNS_MX, &t[1]);
    cancel(f, &t[1]);
    answers_set_source(f->answers, &(struct hosts_source){fake_ask, fake_cancel, other});
    reply_with(&asked[1], &(struct dns_answer){.status = DNS_CANCELLED});
    turns(f);
    assert_int_equal(n_asked, 2);
    assert_int_equal(answers_count(f->answers), 0);
    drop(f);
}

static void test_refused(void **state)
{
    struct fixture *f = make();
    struct told t = {0};

    (void)state;
    refused_at = 1;
    assert_int_equal(ask(f, "a.test", DNS_MX, &t), 0);
    assert_int_equal(t.times, 0);
    turns(f);
    assert_true(t.times == 1 && t.status == DNS_SERVFAIL);
    assert_false(is_known(f, "a.test", DNS_MX));
    drop(f);
}

static void one_life(struct fixture *f, unsigned *told, unsigned *refused)
{
    struct told t[4] = {0};

    for (size_t i = 0; i < 4; i++) {
        size_t before = n_asked;

        if (ask(f, i < 2 ? "a.test" : "b.test", DNS_MX, &t[i]) != 0) {
            (*refused)++;
            continue;
        }
        if (n_asked > before)
            reply(&asked[before], 60, "mx.test");
    }
    turns(f);
    for (size_t i = 0; i < 4; i++)
        *told += t[i].times;
}

static void test_nomem(void **state)
{
    struct fail_mem fail = {0};

    (void)state;
    while (fail_mem_next(&fail)) {
        struct fixture *f = make_with(&fail);
        unsigned told = 0, refused = 0;

        if (f->answers != NULL) {
            one_life(f, &told, &refused);
            assert_int_equal(told + refused, 4);
        }
        drop(f);
    }
    assert_true(fail.injected > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crowd),    cmocka_unit_test(test_believed),
        cmocka_unit_test(test_negative), cmocka_unit_test(test_line),
        cmocka_unit_test(test_room),     cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_end),      cmocka_unit_test(test_source),
        cmocka_unit_test(test_source_cancels),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_nomem),
    };

    return cmocka_run_group_tests_name("delivery/answers", tests, NULL, NULL);
}
