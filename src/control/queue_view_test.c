/*
 * control/queue_view_test.c: pages of a spool: what bounds them, and what becomes of them when memory
 * ends: nothing is left behind, and what is there is JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/malloc_testing.h"
#include "base/slice.h"
#include "control/queue_view.h"
#include "message/record.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

static struct spool *open_spool(void)
{
    struct spool *s;

    assert_int_equal(spool_memory_open(&s, &(struct spool_memory_options){0}, NULL), 0);
    return s;
}

static uint64_t add(struct spool *s, const char *rcpt)
{
    struct unit_state state = {
        .status = UNIT_PENDING, .due_us = INT64_MAX - 1, .reply = BARID_S("450 later")};
    size_t index = 0;
    struct unit unit = {
        .kind = DISPOSITION_STORE, .target = BARID_S("box"), .rcpts = &index, .n_rcpts = 1};
    struct session_facts facts = {.id = "0123456789abcdef", .helo = BARID_S("h\xff.example")};
    struct spool_put *put;
    struct mailbox box;
    struct arena arena;
    struct buf meta;
    struct rcpt *r;
    struct mail m;
    uint64_t id;

    arena_init(&arena, NULL, 0);
    buf_init(&meta, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, &facts, 1), 0);
    assert_int_equal(mailbox_from_text(&m.sender, &arena, BARID_S("a@x.example"), '+'), 0);
    assert_int_equal(mailbox_from_text(&box, &arena, slice_str(rcpt), '+'), 0);
    assert_int_equal(mail_add_rcpt(&m, &box, slice_str(rcpt), &r), 0);
    assert_int_equal(record_encode(&m, &unit, 1, &meta), 0);
    assert_int_equal(s->ops->put_begin(s, &put), 0);
    id = s->ops->put_id(put);
    assert_int_equal(s->ops->put_describe(put, SPOOL_ACTIVE, buf_slice(&meta),
                                          BARID_S("Subject: x\r\n"), &state, 1),
                     0);
    assert_int_equal(test_commit(s, &put, 1), 0);
    buf_deinit(&meta);
    arena_deinit(&arena);
    return id;
}

static size_t listed(const json_t *page)
{
    return json_array_size(json_object_get(page, "messages"));
}

/* What the store made due has no date: its schedule says another one. */
static void test_made_due(void **state)
{
    struct unit_change change = {.state = {.status = UNIT_PENDING,
                                           .due_us = INT64_C(2000000000000000),
                                           .attempts = 1,
                                           .group = SPOOL_GROUP_FIRST,
                                           .reply = BARID_S("451 4.4.1 nobody")}};
    struct spool *s = open_spool();
    uint64_t id = add(s, "b@x.example");
    const char *shown[2];
    json_t *pages[2];
    size_t n = 0;

    (void)state;
    assert_int_equal(s->ops->change(s, id, &change, 1, NULL, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        struct queue_filter f;

        queue_filter_init(&f);
        if (i == 1)
            assert_int_equal(s->ops->hasten(s, SPOOL_GROUP_FIRST, &n), 0);
        pages[i] = queue_view_list(s, &f);
        shown[i] = json_string_value(
            json_object_get(json_array_get(json_object_get(pages[i], "messages"), 0), "next_attempt"));
    }
    assert_int_equal(n, 1);
    assert_string_equal(shown[0], "2033-05-18T03:33:20.000000Z");
    assert_string_equal(shown[1], "now");
    json_decref(pages[0]);
    json_decref(pages[1]);
    s->ops->close(s);
}

/* A page has so many messages, and is made of so many. */
static void test_limits(void **state)
{
    struct queue_filter f, none;
    struct spool *s = open_spool();
    json_t *page;

    (void)state;
    for (int i = 0; i <= QUEUE_VIEW_EXAMINED_MAX; i++)
        add(s, "u@example.com");
    queue_filter_init(&f);
    none = f;
    page = queue_view_list(s, &f);
    assert_int_equal(listed(page), QUEUE_VIEW_LIMIT);
    json_decref(page);
    f.limit = QUEUE_VIEW_LIMIT_MAX + 1;
    page = queue_view_list(s, &f);
    assert_int_equal(listed(page), QUEUE_VIEW_LIMIT_MAX);
    json_decref(page);
    none.recipient = BARID_S("nobody@example.com");
    page = queue_view_list(s, &none);
    assert_int_equal(listed(page), 0);
    assert_int_equal(json_integer_value(json_object_get(page, "examined")),
                     QUEUE_VIEW_EXAMINED_MAX);
    assert_true(json_is_string(json_object_get(page, "next")));
    json_decref(page);
    s->ops->close(s);
}

/* jansson's memory as ours: this object's malloc(3) fails on request. */
static void *json_malloc(size_t n)
{
    return malloc(n);
}

static void test_no_memory(void **state)
{
    struct fail_mem mem = {0};
    struct queue_filter f;

    (void)state;
    json_set_alloc_funcs(json_malloc, free);
    queue_filter_init(&f);
    while (fail_mem_next(&mem)) {
        struct spool *s = open_spool();
        uint64_t id = add(s, "u@example.com");
        json_t *list, *count, *message = NULL;
        int rc;

        add(s, "v@example.com");
        malloc_fails(&mem);
        list = queue_view_list(s, &f);
        count = queue_view_count(s);
        rc = queue_view_message(s, id, &message);
        malloc_fails(NULL);
        assert_true(rc == 0 || (rc == BARID_ENOMEM && mem.failed && message == NULL));
        if (!mem.failed)
            assert_true(listed(list) == 2 && json_object_size(count) > 5 && message != NULL);
        json_decref(list);
        json_decref(count);
        json_decref(message);
        s->ops->close(s);
    }
    assert_true(mem.injected > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_due),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests_name("queue_view", tests, NULL, NULL);
}
