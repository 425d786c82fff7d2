/* delivery/relay_faults_test.c: the relay when things go wrong: given up at every turn, each allocation failing, bodies that come late or
 * not at all, servers that flood it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"
#include "base/testing.h"
#include "delivery/relay_int.h"
#include "delivery/relay_testing.h"

static void begin(struct post *p)
{
    assert_true(post_begin(p, NULL));
}

/* --- given up --- */

/* One step: a turn of the loop and of the servers. */
static void step(struct post *p)
{
    loop_turn(p->loop, false);
    post_serve(p);
}

static const struct rule *const lives[] = {
    NULL,
    R({"RCPT", "450 4.2.1 later"}),
    R({"EHLO", "250-mx\r\n250-CHUNKING\r\n250 PIPELINING"}),
    R({"MAIL", CLOSES}),
};

static void test_cancel(void **state)
{
    unsigned points = 0;

    (void)state;
    for (size_t life = 0; life < sizeof(lives) / sizeof(lives[0]); life++) {
        for (int turns = 0; turns < 60; turns++) {
            struct post p;
            struct parcel *parcel;
            unsigned results;

            begin(&p);
            post_server(&p, 1, lives[life], true);
            post_server(&p, 2, NULL, true);
            parcel = post_parcel(&p, 0, "x.test", 3);
            post_send(parcel);
            for (int i = 0; i < turns && parcel->over == 0; i++)
                step(&p);
            points += parcel->over == 0;
            results = parcel->results;
            if (parcel->over == 0)
                p.t->cancel(p.t, &parcel->c);
            assert_null(parcel->c.sending);
            p.t->cancel(p.t, &parcel->c); /* nothing is under way: nothing happens */
            p.t->body_ready(p.t, &parcel->c);
            post_turn(&p);
            assert_int_equal(parcel->results, results);
            /* what was half sent has no end */
            assert_true(parcel->finals > 0 || !server_saw(&p.servers[1], "|.|"));
            post_end(&p);
        }
    }
    assert_true(points > 40);
    printf("# proof: relay given up: %u points of a mail's way\n", points);
}

/* DNS that does not answer. */
static void test_cancel_question(void **state)
{
    struct post p;
    struct parcel *parcel;

    (void)state;
    begin(&p);
    parcel = post_parcel(&p, 0, "never.test", 1);
    post_send(parcel);
    post_turn(&p);
    assert_int_equal(parcel->results, 0);
    p.t->cancel(p.t, &parcel->c);
    post_turn(&p);
    assert_int_equal(parcel->results, 0);
    post_end(&p);
}

/* --- bodies --- */

static void test_late_body(void **state)
{
    static const uint64_t waits[] = {0, 5};

    (void)state;
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        struct post p;
        struct parcel *parcel;

        begin(&p);
        post_server(&p, 0, NULL, true);
        parcel = post_parcel(&p, 0, "x.test", 1);
        parcel->body_says = 0;
        parcel->body_waits_at = waits[i];
        post_send(parcel);
        for (int j = 0; j < 4; j++)
            post_turn(&p);
        assert_int_equal(parcel->results, 0);
        assert_int_equal(parcel->finals, 0);
        parcel->body_says = 1;
        p.t->body_ready(p.t, &parcel->c);
        post_run(parcel);
        assert_string_equal(parcel->log[0], "done mx1.test final 250 ok");
        assert_true(slice_eq(buf_slice(&p.servers[0].message),
                             BARID_S("Subject: x\r\nTo: y\r\n\r\nhello\r\n..dot\r\n")));
        post_end(&p);
    }
}

/* The server is gone when it comes, at whatever point the way to the next one is. */
static void test_late_body_of_another(void **state)
{
    struct post p;
    struct parcel *parcel;

    (void)state;
    begin(&p);
    post_server(&p, 0, NULL, true);
    post_server(&p, 1, NULL, true);
    parcel = post_parcel(&p, 0, "x.test", 1);
    parcel->body_says = 0;
    post_send(parcel);
    for (int j = 0; j < 4; j++)
        post_turn(&p);
    assert_true(server_saw(&p.servers[0], "DATA|"));
    server_closes(&p.servers[0], CLOSES);
    while (parcel->over == 0) {
        step(&p);
        parcel->body_says = server_saw(&p.servers[1], "DATA|");
        p.t->body_ready(p.t, &parcel->c);
    }
    assert_string_equal(parcel->log[0], "done mx2.test final 250 ok");
    post_end(&p);
}

/* It cannot be read, or is shorter or longer than it was said to be: no server gets an end, and no other is asked. */
static void test_unreadable(void **state)
{
    static const struct {
        int says;
        uint64_t size;
        const char *want;
    } rows[] = {
        {BARID_EIO, 13,
         "again mx1.test local 451 4.3.0 the message cannot be read: input or output failed"},
        {1, 14,
         "again mx1.test local 451 4.3.0 the message cannot be read: input or output failed"},
        {1, 12,
         "again mx1.test local 451 4.3.0 the message cannot be read: stored data is damaged"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct post p;
        struct parcel *parcel;

        begin(&p);
        post_server(&p, 0, NULL, true);
        post_server(&p, 1, NULL, true);
        parcel = post_parcel(&p, 0, "x.test", 2);
        parcel->body_says = rows[i].says;
        parcel->body_waits_at = 5;
        parcel->c.body_size = rows[i].size;
        post_send(parcel);
        post_run(parcel);
        assert_string_equal(parcel->log[1], rows[i].want);
        assert_int_equal(parcel->finals, 0);
        assert_false(server_saw(&p.servers[0], "|.|"));
        assert_int_equal(p.servers[1].connections, 0);
        post_end(&p);
    }
}

/* In pieces of every size, by DATA and by BDAT. A hop that asks for more than RELAY_CHUNK_MAX gets no more. */
static void test_large_body(void **state)
{
    static const size_t chunks[] = {1, 20, 21, 22, 1000, 0, 4u * RELAY_CHUNK_MAX};
    const size_t n = 3u * RELAY_CHUNK_MAX;
    char *text = malloc(n);

    (void)state;
    for (size_t i = 0; i < n; i++)
        text[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : (char)('a' + i % 7);
    for (size_t i = 0; i < 2 * sizeof(chunks) / sizeof(chunks[0]); i++) {
        struct post p;
        struct parcel *parcel;
        size_t chunk = chunks[i / 2];

        begin(&p);
        post_server(&p, 0,
                    i % 2 == 0 ? NULL : R({"EHLO", "250-mx\r\n250-CHUNKING\r\n250 PIPELINING"}),
                    true);
        parcel = post_parcel(&p, 0, "x.test", 1);
        parcel->hop.chunk = chunk;
        parcel->body = slice_of(text, chunk > 0 && chunk < 1000 ? 640 : n);
        parcel->c.body_size = parcel->body.n;
        post_send(parcel);
        post_run(parcel);
        assert_string_equal(parcel->log[0], "done mx1.test final 250 ok");
        assert_int_equal(p.servers[0].message.len, parcel->body.n + 21);
        assert_true(slice_eq(slice_from(buf_slice(&p.servers[0].message), 21), parcel->body));
        if (chunk > RELAY_CHUNK_MAX)
            assert_int_equal(server_saw(&p.servers[0], "BDAT 1048576|"), i % 2 == 1);
        post_end(&p);
    }
    free(text);
}

/* --- hostile servers --- */

static barid_slice repeated(const char *first, const char *line, size_t n, char **memory_r)
{
    size_t head = strlen(first), size = strlen(line);
    char *p = malloc(head + n * size + 1);

    memcpy(p, first, head);
    for (size_t i = 0; i < n; i++)
        memcpy(p + head + i * size, line, size);
    *memory_r = p;
    return slice_of(p, head + n * size);
}

/* Whatever is said without end, at any point: the next server is asked, and memory stays small. */
static void test_floods(void **state)
{
    static const char *const when[] = {"", "EHLO", "MAIL", "RCPT", "DATA"};
    static const struct {
        const char *first, *line;
        size_t n;
    } what[] = {{"250 ", "x", 10u << 20},                /* one line that does not end */
                {"", "250-x\r\n", 1u << 20},             /* lines that do not */
                {"250-mx\r\n", "250-X-WORD\r\n", 10000}, /* keywords */
                {"", "no reply at all\r\n", 100000}};
    unsigned tried = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(when) / sizeof(when[0]); i++) {
        for (size_t j = 0; j < sizeof(what) / sizeof(what[0]); j++) {
            struct rule rules[2] = {{when[i], FLOODS}};
            char *memory;
            struct post p;

            begin(&p);
            post_server(&p, 0, rules, true);
            post_server(&p, 1, NULL, true);
            p.servers[0].flood = repeated(what[j].first, what[j].line, what[j].n, &memory);
            assert_string_equal(post_one(&p), "done mx2.test final 250 ok");
            post_end(&p);
            free(memory);
            tried++;
        }
    }
    printf("# proof: relay against floods: %u, the next server took the mail\n", tried);
}

/* --- memory --- */

static bool all_done(const struct parcel *parcel)
{
    for (size_t i = 0; i < parcel->c.n_rcpts; i++)
        if (strncmp(parcel->log[i], "done", 4) != 0)
            return false;
    return true;
}

static void send_without_memory(struct fail_mem *fail, const struct rule *rules,
                                const char *path)
{
    struct post p;

    if (post_begin(&p, &fail->mem)) {
        struct parcel *parcel;
        int rc;

        if (path != NULL)
            post_unix_server(&p, 1, rules, path);
        else
            post_server(&p, 1, rules, true);
        for (int i = 0; i < 2; i++) { /* the second on a kept connection */
            parcel = post_parcel(&p, 0, path != NULL ? "" : "x.test", 2);
            parcel->hop.unix_path = slice_str(path);
            rc = post_send(parcel);
            assert_true(rc == 0 || rc == BARID_ENOMEM);
            if (rc == 0)
                post_run(parcel);
            else
                assert_null(parcel->c.sending);
            post_turn(&p);
            assert_true(rc != 0 || all_done(parcel) ||
                        (fail->failed && strncmp(parcel->log[0], "again", 5) == 0));
            /* what is said to be there is there */
            assert_true(rc != 0 || !all_done(parcel) || parcel->finals > 0);
        }
    }
    post_end(&p);
}

static void test_no_memory(void **state)
{
    struct fail_mem by_data = {0}, by_bdat = {0}, by_path = {0};
    char path[64];

    (void)state;
    while (fail_mem_next(&by_data))
        send_without_memory(&by_data, NULL, NULL);
    while (fail_mem_next(&by_bdat))
        send_without_memory(&by_bdat, R({"EHLO", "250-mx\r\n250-CHUNKING\r\n250 DSN"}), NULL);
    snprintf(path, sizeof(path), "/tmp/barid-relay-%d", (int)getpid());
    while (fail_mem_next(&by_path)) {
        send_without_memory(&by_path, NULL, path);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel),     cmocka_unit_test(test_cancel_question),
        cmocka_unit_test(test_late_body),  cmocka_unit_test(test_late_body_of_another),
        cmocka_unit_test(test_unreadable), cmocka_unit_test(test_large_body),
        cmocka_unit_test(test_floods),     cmocka_unit_test(test_no_memory),
    };

    alarm(240);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
