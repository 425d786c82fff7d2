/* delivery/relay_conversion_faults_test.c: a conversion when things go wrong: bodies that come late or not at all, servers that go, large mail,
 * given up at every turn, each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/testing.h"
#include "delivery/relay_conversion_testing.h"
#include "delivery/relay_int.h"

/* --- bodies that come late, or not --- */

static void test_late(void **state)
{
    unsigned points = 0;

    (void)state;
    for (uint64_t at = 0; at < sizeof(umlauts) - 1; at++) {
        struct post p;
        struct parcel *parcel;

        begin(&p, BARID_BODY_8BITMIME);
        post_server(&p, 0, plain, true);
        parcel = parcel_of(&p, TEXT, slice_str(umlauts), 1);
        parcel->body_says = 0;
        parcel->body_waits_at = at;
        post_send(parcel);
        for (int i = 0; i < 4; i++) {
            post_turn(&p);
            p.t->body_ready(p.t, &parcel->c); /* it is not */
        }
        assert_int_equal(parcel->results, 0);
        assert_false(server_saw(&p.servers[0], "MAIL"));
        /* read once, and late again when it is sent */
        parcel->body_says = 1;
        p.t->body_ready(p.t, &parcel->c);
        parcel->body_says = 0;
        for (int i = 0; i < 4; i++)
            post_turn(&p);
        assert_true(server_saw(&p.servers[0], "|DATA|"));
        assert_int_equal(parcel->finals, 0);
        parcel->body_says = 1;
        p.t->body_ready(p.t, &parcel->c);
        post_run(parcel);
        assert_string_equal(parcel->log[0], "done mx1.test final 250 ok");
        expect_quoted(&p.servers[0], slice_str(umlauts), true);
        post_end(&p);
        points++;
    }
    printf("# proof: relay converts a late body: late at %u points, twice each\n", points);
}

/* The server goes while the body is waited for; the next one takes it as it is. */
static void test_lost_while_waiting(void **state)
{
    struct post p;
    struct parcel *parcel;

    (void)state;
    begin(&p, BARID_BODY_8BITMIME);
    post_server(&p, 0, plain, true);
    post_server(&p, 1, eight, true);
    parcel = parcel_of(&p, TEXT, slice_str(umlauts), 1);
    parcel->body_says = 0;
    parcel->body_waits_at = 5;
    post_send(parcel);
    for (int i = 0; i < 4; i++)
        post_turn(&p);
    assert_true(server_saw(&p.servers[0], "EHLO"));
    server_closes(&p.servers[0], "421 4.3.2 bye");
    for (int i = 0; i < 4; i++)
        post_turn(&p);
    assert_true(server_saw(&p.servers[1], "|DATA|"));
    assert_int_equal(parcel->finals, 0);
    parcel->body_says = 1;
    p.t->body_ready(p.t, &parcel->c); /* to who is asked now */
    post_run(parcel);
    assert_string_equal(parcel->log[0], "done mx2.test final 250 ok");
    assert_true(message_has(&p.servers[1], A));
    post_end(&p);
}

/* So is a kept connection, which is replaced. */
static void test_kept_lost_while_waiting(void **state)
{
    struct post p;
    struct parcel *parcel;

    (void)state;
    begin(&p, BARID_BODY_8BITMIME);
    post_server(&p, 0, plain, true);
    deliver(parcel_of(&p, TEXT, slice_str(umlauts), 1));
    buf_clear(&p.servers[0].message);
    parcel = parcel_of(&p, TEXT, slice_str(umlauts), 1);
    parcel->body_says = 0;
    parcel->body_waits_at = 5;
    post_send(parcel);
    for (int i = 0; i < 4; i++)
        post_turn(&p);
    assert_int_equal(p.servers[0].connections, 1);
    server_closes(&p.servers[0], "421 4.3.2 bye");
    for (int i = 0; i < 4; i++)
        post_turn(&p);
    assert_int_equal(p.servers[0].connections, 2);
    parcel->body_says = 1;
    p.t->body_ready(p.t, &parcel->c);
    post_run(parcel);
    assert_string_equal(parcel->log[0], "done mx1.test final 250 ok");
    expect_quoted(&p.servers[0], slice_str(umlauts), true);
    post_end(&p);
}

/* No other server is asked: it would be as unreadable there. */
static void test_unreadable(void **state)
{
    static const uint64_t sizes[] = {sizeof(umlauts) - 1, sizeof(umlauts)};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct post p;
        struct parcel *parcel;

        begin(&p, BARID_BODY_8BITMIME);
        for (size_t j = 0; j < 2; j++)
            post_server(&p, j, plain, true);
        parcel = parcel_of(&p, TEXT, slice_str(umlauts), 2);
        parcel->body_says = i == 0 ? BARID_EIO : 1;
        parcel->body_waits_at = 5;
        parcel->c.body_size = sizes[i];
        deliver(parcel);
        assert_string_equal(parcel->log[1],
                            i == 0 ? "again mx1.test local 451 4.3.0 the message cannot be "
                                     "read: input or output failed"
                                   : "again mx1.test local 451 4.3.0 the message cannot be "
                                     "read: stored data is damaged");
        assert_false(server_saw(&p.servers[0], "MAIL"));
        assert_int_equal(p.servers[1].connections, 0);
        post_end(&p);
    }
}

/* --- large ones --- */

#define LARGE (20u << 20)

struct counted {
    barid_mem mem;
    size_t live, peak;
};

static void *counted_realloc(void *ptr, size_t size, void *user)
{
    struct counted *c = user;
    size_t old = ptr != NULL ? malloc_usable_size(ptr) : 0;
    void *p = realloc(ptr, size);

    if (p != NULL)
        c->live += malloc_usable_size(p) - old;
    if (c->live > c->peak)
        c->peak = c->live;
    return p;
}

static void *counted_malloc(size_t size, void *user)
{
    return counted_realloc(NULL, size, user);
}

static void counted_free(void *ptr, void *user)
{
    struct counted *c = user;

    c->live -= ptr != NULL ? malloc_usable_size(ptr) : 0;
    free(ptr);
}

static char *large_text(void)
{
    char *text = malloc(LARGE);

    assert_non_null(text);
    for (size_t i = 0; i < LARGE; i++)
        text[i] = i % 64 == 62   ? '\r'
                  : i % 64 == 63 ? '\n'
                  : i % 64 == 5  ? (char)0xe4
                                 : (char)('a' + i % 7);
    return text;
}

/* The loop turns meanwhile, and what is held does not grow with the mail. */
static void test_large(void **state)
{
    struct counted counted = {.mem = {counted_malloc, counted_realloc, counted_free, &counted}};
    char *text = large_text();
    unsigned turns = 0;
    struct post p;
    struct parcel *parcel;

    (void)state;
    assert_true(post_begin(&p, &counted.mem));
    p.mail.params.body = BARID_BODY_8BITMIME;
    post_server(&p, 0, R({"EHLO", CHUNKS}), true);
    parcel = parcel_of(&p, TEXT, slice_of(text, LARGE), 1);
    parcel->hop.chunk = 102400;
    post_send(parcel);
    while (!server_saw(&p.servers[0], "MAIL")) {
        loop_turn(p.loop, false);
        post_serve(&p);
        turns++;
    }
    assert_true(turns >= LARGE / DOWNGRADE_TURN / 2); /* a turn runs what is deferred twice */
    post_run(parcel);
    assert_string_equal(parcel->log[0], "done mx1.test final 250 ok");
    assert_true(server_saw(&p.servers[0], "BDAT 102400|"));
    expect_quoted(&p.servers[0], slice_of(text, LARGE), false);
    assert_true(counted.peak < 1u << 20);
    post_end(&p);
    assert_int_equal(counted.live, 0);
    free(text);
    printf("# proof: relay converts %u MB: %zu KB held at most\n", LARGE >> 20,
           counted.peak >> 10);
}

static void test_cancel(void **state)
{
    char *text = large_text();
    unsigned points = 0, preparing = 0;

    (void)state;
    for (int turns = 0; turns < 60; turns++) {
        struct post p;
        struct parcel *parcel;
        bool asked;

        begin(&p, BARID_BODY_8BITMIME);
        post_server(&p, 0, plain, true);
        parcel = parcel_of(&p, TEXT, slice_of(text, 4u << 20), 1);
        post_send(parcel);
        for (int i = 0; i < turns && parcel->over == 0; i++) {
            loop_turn(p.loop, false);
            post_serve(&p);
        }
        asked = server_saw(&p.servers[0], "EHLO");
        points += parcel->over == 0;
        preparing += asked && !server_saw(&p.servers[0], "MAIL");
        if (parcel->over == 0)
            p.t->cancel(p.t, &parcel->c);
        post_turn(&p);
        assert_null(parcel->c.sending);
        assert_true(parcel->finals > 0 || !server_saw(&p.servers[0], "|.|"));
        post_end(&p);
    }
    free(text);
    assert_true(points > 10 && preparing >= 3);
    printf("# proof: relay given up while it converts: %u points, %u of them in the first "
           "reading\n",
           points, preparing);
}

/* --- memory --- */

static void convert_without_memory(struct fail_mem *fail, const char *offers)
{
    const struct rule rules[] = {{"EHLO", offers, 0}, {0}};
    struct post p;

    if (post_begin(&p, &fail->mem)) {
        struct parcel *parcel = parcel_of(&p, TEXT, slice_str(umlauts), 1);
        int rc;

        p.mail.params.body = BARID_BODY_8BITMIME;
        for (size_t i = 0; i < 2; i++)
            post_server(&p, i, rules, true);
        rc = post_send(parcel);
        assert_true(rc == 0 || rc == BARID_ENOMEM);
        if (rc == 0)
            post_run(parcel);
        post_turn(&p);
        assert_true(rc != 0 || strncmp(parcel->log[0], "done", 4) == 0 ||
                    (fail->failed && strncmp(parcel->log[0], "again", 5) == 0));
        for (size_t i = 0; rc == 0 && i < 2; i++)
            if (strcmp(parcel->log[0], i == 0 ? "done mx1.test final 250 ok"
                                              : "done mx2.test final 250 ok") == 0)
                expect_quoted(&p.servers[i], slice_str(umlauts), strcmp(offers, PLAIN) == 0);
    }
    post_end(&p);
}

static void test_no_memory(void **state)
{
    struct fail_mem by_data = {0}, by_bdat = {0};

    (void)state;
    while (fail_mem_next(&by_data))
        convert_without_memory(&by_data, PLAIN);
    while (fail_mem_next(&by_bdat))
        convert_without_memory(&by_bdat, CHUNKS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_lost_while_waiting),
        cmocka_unit_test(test_kept_lost_while_waiting),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_no_memory),
    };

    alarm(240);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
