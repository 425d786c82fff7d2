/*
 * control/queue_change_test.c: what each verb does to mail in each state, what it refuses, what the history hears; many at once; without
 * memory. And which messages a filter means.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/malloc_testing.h"
#include "base/slice.h"
#include "control/queue_change_int.h"
#include "control/trace_view.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define NOW 1764400000000000

/* --- a spool, and a history that remembers ------------------------------------------------------------- */

static struct {
    struct history history;
    char text[4096]; /* "held:by an operator<u@example.com> " */
} heard;

static void hear(struct history *h, const struct history_entry *e)
{
    size_t used = strlen(heard.text);

    (void)h;
    snprintf(heard.text + used, sizeof(heard.text) - used, "%s<%.*s> ", history_kind_name(e->kind), (int)e->rcpts.n, e->rcpts.p);
    assert_true(slice_eq(e->text, BARID_S("by an operator")));
}

static const struct history_ops hear_ops = {.note = hear};

static struct spool *open_spool(void)
{
    struct spool *s;

    assert_int_equal(spool_memory_open(&s, &(struct spool_memory_options){0}, NULL), 0);
    heard.history.ops = &hear_ops;
    heard.text[0] = '\0';
    return s;
}

/* One unit for each of states; recipients a@example.com, b@..., sent to their domain. */
static uint64_t add(struct spool *s, enum spool_state state, const struct unit_state *states, size_t n)
{
    struct session_facts facts = {.id = "0123456789abcdef", .helo = BARID_S("h.example")};
    struct unit units[4];
    size_t index[4] = {0, 1, 2, 3};
    struct spool_put *put;
    struct arena arena;
    struct buf meta;
    struct mail m;
    uint64_t id;

    arena_init(&arena, NULL, 0);
    buf_init(&meta, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, &facts, NOW - 60 * INT64_C(1000000)), 0);
    assert_int_equal(mailbox_from_text(&m.sender, &arena, BARID_S("s@x.example"), '+'), 0);
    for (size_t i = 0; i < n; i++) {
        struct mailbox box;
        struct rcpt *r;
        char *address = arena_fmt(&arena, "%c@example.com", (int)('a' + i));

        assert_int_equal(mailbox_from_text(&box, &arena, slice_str(address), '+'), 0);
        assert_int_equal(mail_add_rcpt(&m, &box, box.address, &r), 0);
        units[i] = (struct unit){.kind = DISPOSITION_SEND, .rcpts = &index[i], .n_rcpts = 1};
    }
    units[0].target = n > 1 ? BARID_S("[relay.example]:26 other.example") : (barid_slice){0};
    assert_int_equal(record_encode(&m, units, n, &meta), 0);
    assert_int_equal(s->ops->put_begin(s, &put), 0);
    id = s->ops->put_id(put);
    assert_int_equal(s->ops->put_describe(put, state, buf_slice(&meta), BARID_S("Subject: x\r\n"), states, n), 0);
    assert_int_equal(test_commit(s, &put, 1), 0);
    buf_deinit(&meta);
    arena_deinit(&arena);
    return id;
}

#define LATER (NOW + 3600 * INT64_C(1000000))

static uint64_t add_one(struct spool *s, enum spool_state state, enum unit_status status)
{
    return add(s, state, &(struct unit_state){.status = status, .due_us = LATER, .attempts = 2, .reply = BARID_S("450 later")}, 1);
}

static enum spool_state state_of(struct spool *s, uint64_t id)
{
    struct spool_message m;

    return s->ops->after(s, id - 1, &m) == 0 && m.id == id ? m.state : (enum spool_state)9;
}

static struct unit_state unit_of(struct spool *s, uint64_t id, size_t i)
{
    struct spool_loaded l;
    struct unit_state st;

    assert_int_equal(s->ops->load(s, id, &l), 0);
    assert_true(i < l.n_units);
    st = l.units[i];
    st.reply = slice_eq(st.reply, BARID_S("554 5.0.0 returned by an operator")) ? BARID_S("554") : (barid_slice){0};
    s->ops->loaded_free(&l);
    return st;
}

static struct queue_change change_of(struct spool *s, const struct queue_verb *verb)
{
    return (struct queue_change){.verb = verb, .spool = s, .history = &heard.history, .now_us = NOW};
}

/* The code of what was refused; NULL = it was done. */
static const char *change(struct spool *s, const struct queue_verb *verb, uint64_t id)
{
    static char code[32];
    struct queue_change c = change_of(s, verb);
    json_t *o = queue_change_ids(&c, &id, 1), *refused = json_array_get(json_object_get(o, "refused"), 0);

    assert_int_equal(json_array_size(json_object_get(o, "changed")), refused == NULL);
    snprintf(code, sizeof(code), "%s", refused != NULL ? json_string_value(json_object_get(refused, "code")) : "");
    json_decref(o);
    return code[0] != '\0' ? code : NULL;
}

/* --- each verb, each state -------------------------------------------------------------------------------- */

#define NO -1 /* refused: it stays as it was */

static const struct {
    const struct queue_verb *verb;
    int after[4]; /* from ACTIVE (one pending unit), HELD, REMOVED, QUARANTINED */
    const char *heard;
} table[] = {
    {&queue_hold, {SPOOL_HELD, NO, NO, NO}, "held<> "},
    {&queue_release, {NO, SPOOL_ACTIVE, NO, SPOOL_ACTIVE}, "released<> released<> "},
    {&queue_retry, {SPOOL_ACTIVE, SPOOL_ACTIVE, NO, NO}, "deferred<a@example.com> released<a@example.com> "},
    {&queue_remove, {NO, SPOOL_REMOVED, NO, NO}, "removed<> "},
    {&queue_recover, {NO, NO, SPOOL_HELD, SPOOL_HELD}, "recovered<> recovered<> "},
    {&queue_bounce,
     {SPOOL_ACTIVE, SPOOL_ACTIVE, NO, SPOOL_ACTIVE},
     "failed<a@example.com> failed<a@example.com> failed<a@example.com> "},
};

static void test_states(void **state)
{
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct spool *s = open_spool();

        for (int from = 0; from < 4; from++, n++) {
            uint64_t id = add_one(s, (enum spool_state)from, UNIT_PENDING);
            const char *code = change(s, table[i].verb, id);

            if (table[i].after[from] == NO)
                assert_string_equal(code, "refused");
            else
                assert_null(code);
            assert_int_equal(state_of(s, id), table[i].after[from] == NO ? from : table[i].after[from]);
        }
        assert_string_equal(heard.text, table[i].heard);
        assert_string_equal(change(s, table[i].verb, 12345), "no_such_message");
        s->ops->close(s);
    }
    printf("# proof: operators: %zu changes of state\n", n);
}

/* An attempt that begins and ends between looking and changing: it is of a unit that was not due, as its next hop is back. */
static struct {
    const struct spool_ops *real;
    struct spool_ops ops;
} quick;

static int load_and_deliver(struct spool *s, uint64_t id, struct spool_loaded *loaded_r)
{
    struct unit_change done = {.unit = 0, .state = {.status = UNIT_DONE}};
    struct spool_claim claim;
    size_t n;
    int rc = quick.real->load(s, id, loaded_r);

    s->ops = quick.real;
    assert_int_equal(s->ops->claim(s, LATER, 1, &claim, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(s->ops->update(s, id, claim.lease, &done, 1, NULL, NULL), 0);
    s->ops->release(s, id, claim.lease);
    free(claim.units);
    return rc;
}

static void test_attempt_meanwhile(void **state)
{
    const struct unit_state two[] = {{.status = UNIT_PENDING, .due_us = LATER, .attempts = 1},
                                     {.status = UNIT_PENDING, .due_us = LATER, .attempts = 1}};
    struct spool *s = open_spool();
    uint64_t id = add(s, SPOOL_ACTIVE, two, 2);

    (void)state;
    quick.real = s->ops;
    quick.ops = *s->ops;
    quick.ops.load = load_and_deliver;
    s->ops = &quick.ops;
    assert_string_equal(change(s, &queue_retry, id), "busy");
    assert_int_equal(unit_of(s, id, 0).status, UNIT_DONE);
    assert_null(change(s, &queue_retry, id));
    assert_int_equal(unit_of(s, id, 0).status, UNIT_DONE);
    assert_int_equal(unit_of(s, id, 1).due_us, NOW);
    s->ops->close(s);
}

static void test_units(void **state)
{
    const struct unit_state all[] = {{.status = UNIT_PENDING, .due_us = LATER, .attempts = 3, .group = 77},
                                     {.status = UNIT_HELD, .due_us = LATER},
                                     {.status = UNIT_FAILED, .due_us = LATER},
                                     {.status = UNIT_DONE, .due_us = LATER}};
    struct spool *s = open_spool();
    uint64_t id = add(s, SPOOL_ACTIVE, all, 4);
    struct unit_state st;

    (void)state;
    assert_null(change(s, &queue_release, id)); /* what is held, and nothing else */
    assert_int_equal(unit_of(s, id, 1).status, UNIT_PENDING);
    assert_int_equal(unit_of(s, id, 1).due_us, NOW);
    assert_int_equal(unit_of(s, id, 0).due_us, LATER);
    assert_string_equal(change(s, &queue_release, id), "refused");
    assert_null(change(s, &queue_retry, id)); /* by id what failed, too; what is done stays so */
    st = unit_of(s, id, 0);
    assert_true(st.due_us == NOW && st.attempts == 3 && st.group == 77 && st.ahead_s[0] == 0);
    assert_int_equal(unit_of(s, id, 2).status, UNIT_PENDING);
    assert_int_equal(unit_of(s, id, 3).status, UNIT_DONE);
    assert_null(change(s, &queue_retry, id)); /* it is due: done is what was asked for */
    assert_null(change(s, &queue_bounce, id));
    for (size_t i = 0; i < 3; i++) {
        st = unit_of(s, id, i);
        assert_true(st.status == UNIT_GIVEN_UP && st.due_us == NOW && st.reply.n > 0);
    }
    assert_int_equal(unit_of(s, id, 3).status, UNIT_DONE);
    assert_string_equal(change(s, &queue_bounce, id), "refused");
    s->ops->close(s);
}

static void test_intervals(void **state)
{
    struct spool *s = open_spool();
    struct queue_change c = change_of(s, &queue_retry);
    uint64_t id = add_one(s, SPOOL_ACTIVE, UNIT_PENDING);
    json_t *o;

    (void)state;
    for (size_t i = 0; i < UNIT_AHEAD_MAX; i++)
        c.ahead_s[i] = (uint32_t)(60 * (i + 1));
    json_decref(queue_change_ids(&c, &id, 1));
    assert_memory_equal(unit_of(s, id, 0).ahead_s, c.ahead_s, sizeof(c.ahead_s));
    o = queue_change_ids(&c, &id, 1); /* due now: the queue may be taking it */
    assert_int_equal(json_array_size(json_object_get(o, "refused")), 1);
    json_decref(o);
    s->ops->close(s);
}

/* A delivery that is under way is left alone, and the message is as it was; hold is for the next attempt. */
static void test_leased(void **state)
{
    struct spool *s = open_spool();
    uint64_t id = add_one(s, SPOOL_ACTIVE, UNIT_PENDING);
    struct spool_claim claim;
    size_t n;

    (void)state;
    assert_int_equal(s->ops->claim(s, LATER, 1, &claim, &n), 0);
    assert_int_equal(n, 1);
    assert_string_equal(change(s, &queue_retry, id), "busy");
    assert_string_equal(change(s, &queue_bounce, id), "busy");
    assert_int_equal(state_of(s, id), SPOOL_ACTIVE);
    assert_string_equal(heard.text, "");
    assert_null(change(s, &queue_hold, id));
    s->ops->release(s, claim.id, claim.lease);
    free(claim.units);
    assert_int_equal(s->ops->claim(s, LATER, 1, &claim, &n), 0);
    assert_int_equal(n, 0);
    s->ops->close(s);
}

/* --- many of them ------------------------------------------------------------------------------------------- */

static size_t in_list(const json_t *o, const char *key)
{
    return json_array_size(json_object_get(o, key));
}

static void test_all(void **state)
{
    struct spool *s = open_spool();
    struct queue_change c = change_of(s, &queue_hold);
    struct queue_filter f;
    size_t rounds = 0, changed = 0;

    (void)state;
    queue_filter_init(&f);
    for (size_t i = 0; i < QUEUE_CHANGE_MAX + 10; i++)
        add_one(s, i % 100 == 99 ? SPOOL_QUARANTINED : SPOOL_ACTIVE, UNIT_PENDING);
    for (const char *next = ""; next != NULL; rounds++) {
        json_t *o = queue_change_all(&c, &f);

        assert_int_equal(in_list(o, "refused"), 0);
        assert_true(in_list(o, "changed") <= QUEUE_CHANGE_MAX);
        changed += in_list(o, "changed");
        next = json_string_value(json_object_get(o, "next"));
        if (next != NULL)
            assert_int_equal(mail_id_parse(slice_str(next), &f.after), 0);
        json_decref(o);
    }
    assert_int_equal(changed, QUEUE_CHANGE_MAX + 8);
    assert_int_equal(rounds, 2);
    s->ops->close(s);
}

/* retry of all, of what is held, and what neither touches. */
static void test_retry_which(void **state)
{
    struct spool *s = open_spool();
    struct queue_change c = change_of(s, &queue_retry);
    uint64_t pending = add_one(s, SPOOL_ACTIVE, UNIT_PENDING), unit_held = add_one(s, SPOOL_ACTIVE, UNIT_HELD);
    uint64_t held = add_one(s, SPOOL_HELD, UNIT_PENDING), bad = add_one(s, SPOOL_QUARANTINED, UNIT_PENDING);
    struct queue_filter f;
    json_t *o;

    (void)state;
    queue_filter_init(&f);
    o = queue_change_all(&c, &f);
    assert_int_equal(in_list(o, "changed"), 1);
    assert_int_equal(unit_of(s, pending, 0).due_us, NOW);
    json_decref(o);
    c.held = true;
    o = queue_change_all(&c, &f);
    assert_int_equal(in_list(o, "changed"), 2);
    assert_int_equal(in_list(o, "refused"), 0);
    json_decref(o);
    assert_int_equal(unit_of(s, unit_held, 0).status, UNIT_PENDING);
    assert_int_equal(state_of(s, held), SPOOL_ACTIVE);
    assert_int_equal(unit_of(s, held, 0).due_us, NOW);
    assert_int_equal(state_of(s, bad), SPOOL_QUARANTINED);
    s->ops->close(s);
}

/* "All" does not mean the quarantine. */
static void test_quarantine_is_spared(void **state)
{
    struct spool *s = open_spool();
    uint64_t held = add_one(s, SPOOL_HELD, UNIT_PENDING), bad = add_one(s, SPOOL_QUARANTINED, UNIT_PENDING);
    struct queue_change c = change_of(s, &queue_release);
    struct queue_filter f;

    (void)state;
    queue_filter_init(&f);
    json_decref(queue_change_all(&c, &f));
    assert_int_equal(state_of(s, held), SPOOL_ACTIVE);
    assert_int_equal(state_of(s, bad), SPOOL_QUARANTINED);
    c.verb = &queue_bounce;
    json_decref(queue_change_all(&c, &f));
    assert_int_equal(state_of(s, bad), SPOOL_QUARANTINED);
    c.quarantined = true;
    json_decref(queue_change_all(&c, &f));
    assert_int_equal(state_of(s, bad), SPOOL_ACTIVE);
    assert_int_equal(unit_of(s, bad, 0).status, UNIT_GIVEN_UP);
    s->ops->close(s);
}

/* --- filters ------------------------------------------------------------------------------------------------ */

static void test_globs(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        {"", "", true},          {"", "a", false},        {"*", "", true},           {"*", "abc", true},       {"?", "", false},
        {"?", "a", true},        {"a*c", "abbc", true},   {"a*c", "abcb", false},    {"*b*", "abc", true},     {"**", "x", true},
        {"A@B", "a@b", true},    {"a*b*c", "aXbXbc", true}, {"a?c", "ac", false},    {"[a]", "[a]", true},     {"[a]", "a", false},
        {"*@x.*", "u@x.org", true}, {"abc", "abcd", false}, {"abcd", "abc", false}, {"a*", "b", false},       {"*a", "aab", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (glob_matches(slice_str(rows[i].pattern), slice_str(rows[i].text)) != rows[i].matches)
            fail_msg("%s against %s", rows[i].pattern, rows[i].text);
}

static size_t taken(struct spool *s, struct queue_filter f)
{
    json_t *page = queue_view_list(s, &f);
    size_t n = in_list(page, "messages");

    json_decref(page);
    return n;
}

static void test_filters(void **state)
{
    const struct unit_state two[] = {{.status = UNIT_PENDING, .due_us = LATER}, {.status = UNIT_DONE, .due_us = LATER}};
    struct spool *s = open_spool();
    struct queue_filter any, f;

    (void)state;
    add_one(s, SPOOL_ACTIVE, UNIT_PENDING);
    add_one(s, SPOOL_HELD, UNIT_PENDING);
    add(s, SPOOL_ACTIVE, two, 2);
    queue_filter_init(&any);
    assert_int_equal(taken(s, any), 3);
#define TAKES(n, ...) (f = any, (void)(__VA_ARGS__), assert_int_equal(taken(s, f), n))
    TAKES(1, f.state = QUEUE_STATE_DEFERRED);
    TAKES(2, f.next_hop = BARID_S("example.com")); /* by default the domain */
    TAKES(1, f.next_hop = BARID_S("[relay.*"));
    TAKES(1, f.next_hop = BARID_S("other.example"));
    TAKES(3, f.next_hop = BARID_S("*"));
    TAKES(0, f.next_hop = BARID_S("b.example")); /* not of what is done */
    TAKES(3, f.after_us = NOW - 60 * INT64_C(1000000));
    TAKES(0, f.after_us = NOW - 60 * INT64_C(1000000) + 1);
    TAKES(0, f.before_us = NOW - 60 * INT64_C(1000000));
    TAKES(3, f.sender = BARID_S("*@X.example"));
    TAKES(1, f.recipient = BARID_S("b@*"));
    s->ops->close(s);
}

/* --- traces --------------------------------------------------------------------------------------------------- */

static size_t entries;

static int read_many(struct history *h, uint64_t id, bool (*each)(void *user, const struct history_entry *e), void *user)
{
    struct history_entry e = {.kind = HISTORY_DEFERRED, .id = id, .time_us = NOW, .due_us = LATER, .attempts = 1, .suspect = true};

    (void)h;
    for (size_t i = 0; i < entries && each(user, &e); i++)
        ;
    return 0;
}

static void test_trace(void **state)
{
    static const struct history_ops ops = {.read = read_many};
    struct history h = {.ops = &ops};
    struct spool *s = open_spool();
    uint64_t id = add_one(s, SPOOL_ACTIVE, UNIT_PENDING);
    json_t *o, *entry;

    (void)state;
    assert_int_equal(trace_view(s, NULL, id + 1, &o), BARID_ENOTFOUND);
    assert_int_equal(trace_view(s, &h, id, &o), 0);
    assert_true(json_is_object(json_object_get(o, "message")) && in_list(o, "history") == 0);
    json_decref(o);
    entries = 1;
    assert_int_equal(trace_view(NULL, &h, id, &o), 0);
    assert_true(json_is_null(json_object_get(o, "message")) && json_object_get(o, "cut") == NULL);
    entry = json_array_get(json_object_get(o, "history"), 0);
    assert_string_equal(json_string_value(json_object_get(entry, "event")), "deferred");
    assert_true(json_is_true(json_object_get(entry, "suspect")));
    json_decref(o);
    entries = TRACE_ENTRIES_MAX + 1;
    assert_int_equal(trace_view(NULL, &h, id, &o), 0);
    assert_int_equal(in_list(o, "history"), TRACE_ENTRIES_MAX);
    assert_true(json_is_true(json_object_get(o, "cut")));
    json_decref(o);
    s->ops->close(s);
}

/* --- without memory ----------------------------------------------------------------------------------------- */

static void *json_malloc(size_t n)
{
    return malloc(n);
}

static void test_no_memory(void **state)
{
    static const struct queue_verb *const verbs[] = {&queue_hold, &queue_retry, &queue_bounce};
    size_t injected = 0;

    (void)state;
    json_set_alloc_funcs(json_malloc, free);
    for (size_t i = 0; i < 3; i++) {
        struct fail_mem mem = {.settle = 2};

        while (fail_mem_next(&mem)) {
            struct spool *s = open_spool();
            struct queue_change c = change_of(s, verbs[i]);
            uint64_t id = add_one(s, SPOOL_ACTIVE, UNIT_PENDING);
            json_t *o;

            malloc_fails(&mem);
            o = queue_change_ids(&c, &id, 1);
            malloc_fails(NULL);
            if (!mem.failed)
                assert_int_equal(in_list(o, "changed"), 1);
            assert_true(state_of(s, id) <= SPOOL_HELD);
            json_decref(o);
            s->ops->close(s);
        }
        injected += mem.injected;
    }
    assert_true(injected > 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states), cmocka_unit_test(test_units),       cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_leased), cmocka_unit_test(test_all),         cmocka_unit_test(test_retry_which),
        cmocka_unit_test(test_quarantine_is_spared), cmocka_unit_test(test_attempt_meanwhile),
        cmocka_unit_test(test_globs),  cmocka_unit_test(test_filters),     cmocka_unit_test(test_trace),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests_name("queue_change", tests, NULL, NULL);
}
