/* queue/relay_faults_test.c: no memory, at each place once, while a mail goes to several next hops and its sender is told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "queue/letter_testing.h"
#include "queue/work.h"

static unsigned count(const struct relaying *r, const char *hop, const char *rcpt)
{
    unsigned n = 0;

    for (size_t i = 0; i < r->relay.n; i++)
        n += r->relay.sent[i].is_final && strcmp(r->relay.sent[i].hop, hop) == 0 &&
             strstr(r->relay.sent[i].rcpts, rcpt) != NULL;
    return n;
}

static void place(struct policy_call *call, void *user)
{
    (void)user;
    if (mail_add_row(call->mail, DISPOSITION_SEND, DISPOSITION_ONE, call->rcpt->index,
                     BARID_S("asked.test")) != 0)
        call->verdict = (barid_verdict){.kind = BARID_TEMPFAIL, .code = 451};
}

static void post_letters(struct relaying *r)
{
    r->relay.hosts[0] = (struct host){
        .name = "three.test", .reply = "451 4.4.1 nobody", .no_connection = true, .times = 2};
    r->relay.hosts[1] = (struct host){.name = "three.test"};
    send_letter(
        r, &(struct letter){.sender = "s@far.test",
                            .is_file = true,
                            .rcpts = {"file@here.test", "good@one.test", "box@here.test",
                                      "nobody@two.test", "file@here.test", "slow@three.test"}});
    send_letter(r,
                &(struct letter){.rcpts = {"large@four.test"}, .body_n = WORK_BODY_SMALL * 2});
    send_letter(r, &(struct letter){.rcpts = {"v@five.test"}, .n_rcpts = 20});
    send_letter(r, &(struct letter){.rcpts = {"ask@here.test"}, .is_asked = true});
}

static void expect_each_once(const struct relaying *r)
{
    assert_int_equal(count(r, "one.test", "good "), 1);
    assert_int_equal(count(r, "four.test", "large "), 1);
    assert_int_equal(count(r, "five.test", "u5 "), 1);
    assert_int_equal(count(r, "asked.test", "ask "), 1);
    assert_in_range(count(r, "two.test", "nobody "), 1,
                    2); /* where policy cannot be asked about a failure it is none yet */
    assert_int_equal(count(r, "far.test", "s "), 1);
    assert_int_equal(r->f.fake.n, 3);
    assert_int_equal(stats(&r->f).held, 0);
}

static void one_history(struct relaying *r, struct fail_mem *mem, bool asks)
{
    static const enum barid_event_id events[] = {BARID_EVENT_ROUTE, BARID_EVENT_RELAY,
                                                 BARID_EVENT_ATTEMPT, BARID_EVENT_FAILURE,
                                                 BARID_EVENT_DELAY};

    relaying_tear_down(r);
    relaying_set_up(r);
    hear(r, BARID_EVENT_RECIPIENT)->act = place;
    for (size_t i = 0; asks && i < sizeof(events) / sizeof(*events); i++)
        hear(r, events[i]);
    post_letters(r);
    r->f.options.retry = (struct queue_retry){60, 600, 40, 0};
    r->f.options.mem = &mem->mem;
    while (queue_new(&r->f.queue, &r->f.options, NULL) != 0)
        assert_true(mem->failed);
    run_dry(r);
    expect_each_once(r);
    stop_relaying(r);
}

static void test_each_allocation_failing(void **state)
{
    struct relaying *r = *state;
    size_t injected = 0;

    for (unsigned asks = 0; asks < 2; asks++) {
        struct fail_mem mem = {.settle = 3};

        while (fail_mem_next(&mem))
            one_history(r, &mem, asks);
        injected += mem.injected;
    }
    printf(
        "# proof: relayed mail without memory: %zu failures, each recipient and report once\n",
        injected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {R(test_each_allocation_failing)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
