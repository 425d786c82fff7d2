/* queue/notice_test.c: what senders are told, when, and what happens where it cannot be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "queue/notice.h"
#include "queue/letter_testing.h"

/* Reports to far.test stay in the store; this is the first one's text, or what is wrong. */
static void hold_reports(struct relaying *r)
{
    r->relay.hosts[HOSTS_MAX - 1] = (struct host){.name = "far.test", .holds = true};
}

static void expect_text(struct relaying *r, uint64_t after, const char *const *texts, size_t n)
{
    char *text;

    assert_true(read_stored(r, after, &text) > 0);
    for (size_t i = 0; i < n; i++)
        if (strstr(text, texts[i]) == NULL)
            fail_msg("not in the report: %s\n%s", texts[i], text);
    free(text);
}
#define EXPECT(r, after, ...)                                                                  \
    expect_text(r, after, (const char *const[]){__VA_ARGS__},                                  \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void until_reported(struct relaying *r, uint64_t n)
{
    UNTIL(&r->f, stats(&r->f).reported == n);
    UNTIL(&r->f, sent_to(r, "far.test") == n);
    settle(&r->f);
}

static void test_failure(void **state)
{
    struct relaying *r = *state;

    hold_reports(r);
    send_letter(
        r, &(struct letter){.sender = "s@far.test",
                            .rcpts = {"nobody@one.test", "good@one.test", "none@one.test"}});
    start_relaying(r);
    until_reported(r, 1);
    assert_int_equal(messages(&r->f), 1); /* the report alone */
    EXPECT(r, 0, "nobody@one.test", "none@one.test", "550 5.1.1 no such user", "Action: failed",
           "To: <s@far.test>", "MAILER-DAEMON@mx.test");
    assert_int_equal(stats(&r->f).failed, 2);
    r->relay.hosts[HOSTS_MAX - 1] =
        (struct host){.name = "far.test", .reply = "550 5.1.1 no such sender"};
    stop_relaying(r);
    start_relaying(r);
    run_dry(r); /* no report about a report */
    assert_int_equal(stats(&r->f).reported, 0);
}

/* Bodies of one mail, damaged on the disk: found when it is opened, or at its end. One test at a time. */
static struct {
    const struct spool_ops *real;
    struct spool_ops ops;
    uint64_t id;
    void *body;
    bool at_end;
} damaged;

static int damaged_open(struct spool *s, uint64_t id, void **body_r, uint64_t *size_r)
{
    int rc;

    if (id == damaged.id && !damaged.at_end)
        return BARID_ECORRUPT;
    rc = damaged.real->body_open(s, id, body_r, size_r);
    if (rc == 0 && id == damaged.id)
        damaged.body = *body_r;
    return rc;
}

static int64_t damaged_read(void *body, uint64_t offset, void *p, size_t n)
{
    int64_t got = damaged.real->body_read(body, offset, p, n);

    return body == damaged.body && got == 0 ? BARID_ECORRUPT : got;
}

static void damaged_close(void *body)
{
    damaged.real->body_close(body);
    if (body == damaged.body)
        damaged.body = NULL;
}

/* An operator returns what was held as its body cannot be read: the sender hears of it without the body. */
static void test_damaged_body(void **state)
{
    struct relaying *r = *state;
    char *text;

    for (int i = 0; i < 2; i++) {
        hold_reports(r);
        damaged.id = send_letter(r, &(struct letter){.sender = "s@far.test",
                                                     .rcpts = {"a@one.test"},
                                                     .state = {.status = UNIT_GIVEN_UP,
                                                               .due_us = START,
                                                               .reply = BARID_S("554 5.0.0 returned")}});
        damaged.at_end = i == 1;
        damaged.real = r->f.spool->ops;
        damaged.ops = *damaged.real;
        damaged.ops.body_open = damaged_open;
        damaged.ops.body_read = damaged_read;
        damaged.ops.body_close = damaged_close;
        r->f.spool->ops = &damaged.ops;
        start_relaying(r);
        UNTIL(&r->f, stats(&r->f).reported == 1 || logged(&r->f, "cannot be stored"));
        until_reported(r, 1);
        EXPECT(r, 0, "Action: failed", "554 5.0.0 returned", "Content-Type: text/rfc822-headers");
        read_stored(r, 0, &text);
        assert_null(strstr(text, "message/rfc822"));
        free(text);
        assert_int_equal(messages(&r->f), 1);
        r->f.spool->ops = damaged.real;
        relaying_tear_down(r);
        relaying_set_up(r);
    }
}

static void see_attempt(struct policy_call *call, void *user)
{
    (void)user;
    if (call->mail->sender.null) /* the report's own, at the end */
        return;
    assert_int_equal(call->attempt->n_rcpts, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(call->attempt->rcpts[i], i);
}

/* One file for three: policy sees all of them, and those that want to be are told of. */
static void test_shared(void **state)
{
    static const unsigned first_notify[] = {0, BARID_NOTIFY_NEVER};
    struct relaying *r = *state;
    char *text;

    for (size_t i = 0; i < 2; i++) {
        hold_reports(r);
        hear(r, BARID_EVENT_ATTEMPT)->act = see_attempt;
        r->f.fake.fail_first = 1;
        r->f.fake.status = DELIVERY_FAILED;
        send_letter(r, &(struct letter){.sender = "s@far.test",
                                        .rcpts = {"a@one.test", "b@one.test", "c@one.test"},
                                        .is_file = true,
                                        .is_shared = true,
                                        .first_notify = first_notify[i]});
        start_relaying(r);
        until_reported(r, 1);
        EXPECT(r, 0, "Final-Recipient: rfc822; b@one.test\r\n",
               "Final-Recipient: rfc822; c@one.test\r\n", "452 4.2.2 quota");
        read_stored(r, 0, &text);
        assert_int_equal(strstr(text, "a@one.test") != NULL, i == 0);
        free(text);
        assert_int_equal(r->hooks[BARID_EVENT_ATTEMPT].asked, 1);
        relaying_tear_down(r);
        relaying_set_up(r);
    }
}

static void test_delay(void **state)
{
    struct relaying *r = *state;

    hold_reports(r);
    r->f.options.retry = (struct queue_retry){60, 600, 5, 2};
    send_letter(r, &(struct letter){.sender = "s@far.test", .rcpts = {"later@one.test"}});
    start_relaying(r);
    for (unsigned i = 1; i < 5; i++) {
        UNTIL(&r->f, stats(&r->f).deferred == i);
        settle(&r->f);
        assert_int_equal(stats(&r->f).reported, i >= 2);
        advance(&r->f, 660 * S);
    }
    until_reported(r, 2); /* the fifth was the last: given up */
    assert_int_equal(stats(&r->f).failed, 1);
    assert_true(logged(&r->f, "action=delay"));
    assert_true(logged(&r->f, "action=failure"));
}

struct success {
    unsigned notify;
    bool is_file, dsn_passed;
    const char *action; /* NULL: nothing is said */
};

static void test_success(void **state)
{
    static const struct success cases[] = {
        {BARID_NOTIFY_SUCCESS, false, false, "Action: relayed"},
        {BARID_NOTIFY_SUCCESS, true, false, "Action: delivered"},
        {BARID_NOTIFY_SUCCESS, false, true, NULL},
        {BARID_NOTIFY_FAILURE, false, false, NULL},
        {0, true, false, NULL},
    };
    struct relaying *r = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        hold_reports(r);
        r->relay.hosts[0] =
            (struct host){.name = "one.test", .dsn_passed = cases[i].dsn_passed};
        send_letter(r, &(struct letter){.sender = "s@far.test",
                                        .rcpts = {"u@one.test"},
                                        .notify = cases[i].notify,
                                        .is_file = cases[i].is_file});
        start_relaying(r);
        if (cases[i].action != NULL) {
            until_reported(r, 1);
            EXPECT(r, 0, cases[i].action);
        } else {
            UNTIL(&r->f, stats(&r->f).delivered == 1 && stats(&r->f).running == 0);
            assert_int_equal(stats(&r->f).reported, 0);
            assert_int_equal(messages(&r->f), 0);
        }
        relaying_tear_down(r);
        relaying_set_up(r);
    }
}

static void test_nobody_wants_to_know(void **state)
{
    static const struct letter letters[] = {
        {.sender = "s@far.test", .rcpts = {"no1@one.test"}, .notify = BARID_NOTIFY_NEVER},
        {.sender = "s@far.test", .rcpts = {"no1@one.test"}, .notify = BARID_NOTIFY_SUCCESS},
        {.sender = NULL, .rcpts = {"no1@one.test"}},
    };
    struct relaying *r = *state;

    start_relaying(r);
    for (size_t i = 0; i < sizeof(letters) / sizeof(*letters); i++) {
        send_letter(r, &letters[i]);
        UNTIL(&r->f, stats(&r->f).failed == i + 1 && stats(&r->f).running == 0);
        assert_int_equal(stats(&r->f).reported, 0);
        assert_int_equal(messages(&r->f), 0);
    }
}

/* --- policy --- */

static void edit(struct policy_call *call, void *user)
{
    struct policy_report *p = call->report;

    (void)user;
    while (arena_alloc(p->arena, 4096) !=
           NULL) /* NOTICE_ARENA_MAX: a text without end has one */
        continue;
    p->report->subject = BARID_S("It came back");
    p->report->text = BARID_S("so sorry");
    assert_int_equal(p->attempts, 1);
    assert_true(p->wanted);
}

static void test_policy_edits(void **state)
{
    struct relaying *r = *state;

    hold_reports(r);
    hear(r, BARID_EVENT_FAILURE)->act = edit;
    send_letter(r, &(struct letter){.sender = "s@far.test", .rcpts = {"nobody@one.test"}});
    start_relaying(r);
    until_reported(r, 1);
    EXPECT(r, 0, "Subject: It came back", "so sorry");
}

struct answer {
    enum barid_verdict_kind kind;
    unsigned notify;
    uint64_t reported, held, failed;
};

static void test_policy_decides(void **state)
{
    static const struct answer answers[] = {
        {BARID_CONTINUE, 0, 1, 0, 1},
        {BARID_ACCEPT, BARID_NOTIFY_NEVER, 1, 0, 1},
        {BARID_DISCARD, 0, 0, 0, 1},
        {BARID_HOLD, 0, 0, 1, 0},
        {BARID_CONTINUE, BARID_NOTIFY_NEVER, 0, 0, 1},
    };
    struct relaying *r = *state;

    for (size_t i = 0; i < 2 * sizeof(answers) / sizeof(*answers); i++) {
        const struct answer *a = &answers[i / 2];
        struct hook *h = hear(r, BARID_EVENT_FAILURE);

        hold_reports(r);
        h->verdict.kind = a->kind;
        h->waits = i % 2 == 1;
        send_letter(r, &(struct letter){.sender = "s@far.test",
                                        .rcpts = {"nobody@one.test"},
                                        .notify = a->notify});
        start_relaying(r);
        UNTIL(&r->f, h->asked == 1);
        if (h->waits)
            hook_answer(r, BARID_EVENT_FAILURE);
        UNTIL(&r->f, stats(&r->f).held == a->held && stats(&r->f).failed == a->failed);
        assert_int_equal(stats(&r->f).reported, a->reported);
        relaying_tear_down(r);
        relaying_set_up(r);
    }
}

/* A delay that nobody asked for is told where policy says so, each time. */
static void test_policy_tells_of_delays(void **state)
{
    struct relaying *r = *state;

    hold_reports(r);
    hear(r, BARID_EVENT_DELAY)->verdict.kind = BARID_ACCEPT;
    send_letter(r, &(struct letter){.sender = "s@far.test", .rcpts = {"later@one.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).deferred == 1);
    until_reported(r, 1);
    advance(&r->f, 70 * S);
    UNTIL(&r->f, stats(&r->f).deferred == 2);
    until_reported(r, 2);
}

/* --- our own sender --- */

static bool is_here(void *user, barid_slice domain)
{
    (void)user;
    return slice_eq(domain, BARID_S("here.test"));
}

static void store_it(struct policy_call *call, void *user)
{
    const struct relaying *r = user;

    assert_int_equal(r->hooks[BARID_EVENT_MESSAGE].asked,
                     r->hooks[BARID_EVENT_RECIPIENT].asked);
    assert_true(slice_eq(call->rcpt->box.address, BARID_S("s@here.test")) ||
                slice_eq(call->rcpt->box.address, BARID_S("root")));
    assert_int_equal(mail_add_row(call->mail, DISPOSITION_STORE, DISPOSITION_ONE,
                                  call->rcpt->index, BARID_S("inbox")),
                     0);
}

static void test_local_sender(void **state)
{
    struct relaying *r = *state;
    struct hook *recipient = hear(r, BARID_EVENT_RECIPIENT);

    hear(r, BARID_EVENT_MESSAGE);
    recipient->act = store_it;
    recipient->user = r;
    r->f.options.is_local = is_here;
    send_letter(r, &(struct letter){.sender = "s@here.test", .rcpts = {"nobody@one.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).reported == 1 && stats(&r->f).delivered == 1);
    UNTIL(&r->f, stats(&r->f).running == 0);
    assert_int_equal(recipient->asked, 1);
    assert_int_equal(r->f.fake.n, 1);
    assert_string_equal(r->f.fake.seen[0].target, "inbox");
    assert_int_equal(messages(&r->f), 0);
}

/* At a submission or LMTP listener a sender may be a name without a domain: one of ours, too. */
static void test_sender_without_domain(void **state)
{
    struct relaying *r = *state;
    struct hook *recipient = hear(r, BARID_EVENT_RECIPIENT);

    hear(r, BARID_EVENT_MESSAGE);
    recipient->act = store_it;
    recipient->user = r;
    send_letter(r, &(struct letter){.sender = "root", .rcpts = {"nobody@one.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).reported == 1 || logged(&r->f, "cannot be stored"));
    assert_false(logged(&r->f, "cannot be stored"));
    UNTIL(&r->f, stats(&r->f).delivered == 1);
    UNTIL(&r->f, stats(&r->f).running == 0);
    assert_string_equal(r->f.fake.seen[0].target, "inbox");
    assert_int_equal(messages(&r->f), 0);
}

/* --- what cannot be stored --- */

static struct {
    const struct spool_ops *real;
    struct spool_ops ops;
    _Atomic unsigned begins, commits; /* so many fail */
} broken;

static int broken_begin(struct spool *s, struct spool_put **put_r)
{
    if (broken.begins == 0)
        return broken.real->put_begin(s, put_r);
    broken.begins--;
    *put_r = NULL;
    return BARID_EFULL;
}

static int broken_commit(struct spool *s, struct spool_put **puts, size_t n, spool_done done,
                         void *user)
{
    if (broken.commits == 0)
        return broken.real->commit(s, puts, n, done, user);
    broken.commits--;
    broken.real->put_abort(puts[0]);
    return BARID_EFULL;
}

/* Given up it stays, and due: its sender hears of it when there is room, once. */
static void test_store_is_full(void **state)
{
    struct relaying *r = *state;
    char reply[512];

    for (unsigned i = 0; i < 2; i++) {
        uint64_t id;

        hold_reports(r);
        id = send_letter(
            r, &(struct letter){.sender = "s@far.test", .rcpts = {"nobody@one.test"}});
        broken.real = r->f.spool->ops;
        broken.ops = *broken.real;
        broken.ops.put_begin = broken_begin;
        broken.ops.commit = broken_commit;
        broken.begins = i == 0 ? 2 : 0;
        broken.commits = i == 1 ? 2 : 0;
        r->f.spool->ops = &broken.ops;
        start_relaying(r);
        for (unsigned k = 0; k < 2; k++) {
            struct unit_state s;

            UNTIL(&r->f, broken.begins + broken.commits == 1 - k && stats(&r->f).running == 0);
            s = state_of(&r->f, id, 0, reply, sizeof(reply));
            assert_int_equal(s.status, UNIT_GIVEN_UP);
            assert_int_equal(s.attempts, 1);
            assert_int_equal(s.due_us - r->f.clock.wall_us, 60 * S);
            assert_string_equal(reply, "550 5.1.1 no such user");
            settle(&r->f);
            advance(&r->f, 60 * S);
        }
        until_reported(r, 1);
        assert_int_equal(sent_to(r, "one.test"), 1); /* it was not tried again */
        assert_true(logged(&r->f, "a report cannot be stored"));
        relaying_tear_down(r);
        relaying_set_up(r);
    }
}

/* Given up by a process before: told once, with what was said then. More than one slice of them. */
static void test_given_up_before(void **state)
{
    struct relaying *r = *state;

    hold_reports(r);
    send_letter(r, &(struct letter){.sender = "s@far.test",
                                    .rcpts = {"u@one.test"},
                                    .n_rcpts = 2 * WORK_SLICE + 1,
                                    .state = {.status = UNIT_GIVEN_UP,
                                              .attempts = 3,
                                              .reply = BARID_S("550 5.1.1 long ago")}});
    start_relaying(r);
    until_reported(r, 3);
    EXPECT(r, 0, "550 5.1.1 long ago", "<u@one.test>");
    assert_int_equal(sent_to(r, "one.test"), 0);
    assert_int_equal(stats(&r->f).failed, 2 * WORK_SLICE + 1);
    stop_relaying(r);
    start_relaying(r);
    settle(&r->f);
    assert_int_equal(stats(&r->f).reported, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        R(test_failure),
        R(test_damaged_body),
        R(test_shared),
        R(test_delay),
        R(test_success),
        R(test_nobody_wants_to_know),
        R(test_policy_edits),
        R(test_policy_decides),
        R(test_policy_tells_of_delays),
        R(test_local_sender),
        R(test_sender_without_domain),
        R(test_store_is_full),
        R(test_given_up_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
