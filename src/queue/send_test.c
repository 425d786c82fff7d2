/* queue/send_test.c: the body on its way, transports that cannot, and recipients that policy sends at delivery. */
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
#include "queue/source.h"

/* --- bodies --- */

static uint64_t sum_of(size_t n)
{
    char *body = malloc(n);
    uint64_t sum = 0;

    test_fill(7, 0, body, n);
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + (unsigned char)body[i];
    free(body);
    return sum;
}

static void test_body_sizes(void **state)
{
    static const size_t sizes[] = {1, WORK_BODY_SMALL, WORK_BODY_SMALL + 1, SOURCE_PIECE_MAX,
                                   SOURCE_PIECE_MAX * 2 + 1};
    static const size_t pieces[] = {997, 65536, SOURCE_PIECE_MAX * 2};
    struct relaying *r = *state;
    unsigned n = 0;

    start_relaying(r);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        for (size_t k = 0; k < sizeof(pieces) / sizeof(*pieces); k++) {
            r->relay.piece = pieces[k];
            r->relay.n_ready = 0;
            send_letter(r, &(struct letter){.rcpts = {"u@one.test"}, .body_n = sizes[i]});
            UNTIL(&r->f, stats(&r->f).delivered == n + 1);
            assert_int_equal(r->relay.body_n, sizes[i]);
            assert_true(r->relay.body_sum == sum_of(sizes[i]));
            assert_int_equal(r->relay.n_ready,
                             sizes[i] <= WORK_BODY_SMALL
                                 ? 0
                                 : (sizes[i] + SOURCE_PIECE_MAX - 1) / SOURCE_PIECE_MAX);
            n++;
        }
    }
    UNTIL(&r->f, stats(&r->f).running == 0);
    printf("# proof: queue bodies: %u sizes and pieces, octets as stored\n", n);
}

/* A store whose body_open or body_read fails from a call on, so often. */
static struct {
    const struct spool_ops *real;
    struct spool_ops ops;
    _Atomic unsigned opens, reads, open_fails, read_fails; /* the n-th call fails; 0 = none */
    int err;
} broken;

static int broken_open(struct spool *s, uint64_t id, void **body_r, uint64_t *size_r)
{
    return ++broken.opens == broken.open_fails ? broken.err
                                               : broken.real->body_open(s, id, body_r, size_r);
}

static int64_t broken_read(void *body, uint64_t offset, void *p, size_t n)
{
    return ++broken.reads == broken.read_fails ? broken.err
                                               : broken.real->body_read(body, offset, p, n);
}

static void break_bodies(struct relaying *r, unsigned open_fails, unsigned read_fails, int err)
{
    broken.real = r->f.spool->ops;
    broken.ops = *broken.real;
    broken.ops.body_open = broken_open;
    broken.ops.body_read = broken_read;
    broken.opens = broken.reads = 0;
    broken.open_fails = open_fails;
    broken.read_fails = read_fails;
    broken.err = err;
    r->f.spool->ops = &broken.ops;
}

static void test_body_fails(void **state)
{
    struct relaying *r = *state;
    uint64_t id;
    char reply[512];

    break_bodies(r, 0, 2, BARID_EIO); /* the second piece */
    id = send_letter(r,
                     &(struct letter){.rcpts = {"u@one.test"}, .body_n = SOURCE_PIECE_MAX * 2});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).deferred == 1);
    assert_int_equal(state_of(&r->f, id, 0, reply, sizeof(reply)).status, UNIT_PENDING);
    assert_int_equal(r->relay.n_final, 0);
    run_dry(r);
    assert_int_equal(r->relay.n_final, 1);
    assert_int_equal(stats(&r->f).delivered, 1);
}

/* Whatever cannot be read, nobody gets a mail without its body. */
static void test_no_mail_without_its_body(void **state)
{
    static const size_t sizes[] = {100, WORK_BODY_SMALL * 2};
    struct relaying *r = *state;

    for (size_t i = 0; i < 2; i++) {
        for (unsigned k = 0; k < 2; k++) {
            break_bodies(r, k == 0, k == 1, BARID_EIO);
            send_letter(r, &(struct letter){
                               .rcpts = {"u@one.test"}, .n_rcpts = 40, .body_n = sizes[i]});
            start_relaying(r);
            while (messages(&r->f) > 0) {
                UNTIL(&r->f, stats(&r->f).running == 0);
                if (r->relay.n_final > 0) {
                    assert_int_equal(r->relay.body_n, sizes[i]);
                    assert_true(r->relay.body_sum == sum_of(sizes[i]));
                }
                settle(&r->f);
                advance(&r->f, 60 * S);
            }
            assert_int_equal(stats(&r->f).delivered, 40);
            assert_int_equal(stats(&r->f).failed + stats(&r->f).held, 0);
            relaying_tear_down(r);
            relaying_set_up(r);
        }
    }
}

static void test_damaged_body_is_held(void **state)
{
    struct relaying *r = *state;

    break_bodies(r, 1, 0, BARID_ECORRUPT);
    send_letter(r, &(struct letter){.rcpts = {"u@one.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).held == 1);
    assert_int_equal(r->relay.n, 0);
}

/* --- transports --- */

static void test_transport_cannot(void **state)
{
    struct relaying *r = *state;
    char reply[512];
    uint64_t id = send_letter(r, &(struct letter){.rcpts = {"u@one.test"}});

    r->relay.hosts[0] = (struct host){.name = "", .refuses = BARID_ENOMEM};
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).deferred == 1);
    state_of(&r->f, id, 0, reply, sizeof(reply));
    assert_string_equal(reply, "451 4.3.0 out of memory");
    stop_relaying(r);
    r->f.transports[0] = NULL;
    start_relaying(r);
    settle(&r->f);
    advance(&r->f, 70 * S);
    UNTIL(&r->f, stats(&r->f).held == 1);
    state_of(&r->f, id, 0, reply, sizeof(reply));
    assert_string_equal(reply, "550 5.3.5 this server has nothing that delivers by \"send\"");
}

/* --- a question whose answer is send --- */

struct places {
    const char *file, *send[3];
};

static void place(struct policy_call *call, void *user)
{
    const struct places *p = user;

    if (p->file != NULL)
        assert_int_equal(mail_add_row(call->mail, DISPOSITION_STORE, DISPOSITION_ONE,
                                      call->rcpt->index, slice_str(p->file)),
                         0);
    for (size_t i = 0; i < 3 && p->send[i] != NULL; i++)
        assert_int_equal(mail_add_row(call->mail, DISPOSITION_SEND, DISPOSITION_ONE,
                                      call->rcpt->index, slice_str(p->send[i])),
                         0);
}

static void ask(struct relaying *r, struct places *p)
{
    struct hook *h = hear(r, BARID_EVENT_RECIPIENT);

    h->act = place;
    h->user = p;
}

static void test_asked_then_sent(void **state)
{
    struct relaying *r = *state;
    struct places p = {.file = "box", .send = {"one.test", "two.test"}};

    ask(r, &p);
    send_letter(r, &(struct letter){.rcpts = {"u@here.test"},
                                    .is_asked = true,
                                    .body_n = WORK_BODY_SMALL * 2});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).delivered == 1);
    assert_int_equal(r->f.fake.n, 1);
    assert_int_equal(sent_to(r, "one.test"), 1);
    assert_int_equal(sent_to(r, "two.test"), 1);
    assert_int_equal(messages(&r->f), 0);
}

/* One place puts it off: the next ones wait for the next attempt, and the file is found by its name. */
static void test_asked_then_put_off(void **state)
{
    struct relaying *r = *state;
    struct places p = {.file = "box", .send = {"one.test", "two.test"}};

    ask(r, &p);
    r->relay.hosts[0] = (struct host){.name = "one.test", .reply = "451 4.2.0 later"};
    send_letter(r, &(struct letter){.rcpts = {"u@here.test"}, .is_asked = true});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).deferred == 1);
    assert_int_equal(sent_to(r, "two.test"), 0);
    r->relay.hosts[0].name = NULL;
    run_dry(r);
    assert_int_equal(stats(&r->f).delivered, 1);
    assert_int_equal(r->f.fake.seen[0].unit_index, r->f.fake.seen[1].unit_index);
    assert_int_equal(sent_to(r, "two.test"), 1);
}

/* What policy sends elsewhere does not keep files from their turn. */
static void test_asked_keeps_no_files(void **state)
{
    struct relaying *r = *state;
    struct places p = {.send = {"slow.test"}};

    ask(r, &p);
    r->f.options.max_running = 2;
    r->relay.hosts[0] = (struct host){.name = "slow.test", .holds = true};
    for (unsigned i = 0; i < 4; i++)
        send_letter(r, &(struct letter){.rcpts = {"u@here.test"}, .is_asked = true});
    start_relaying(r);
    UNTIL(&r->f, r->relay.n_final == 4);
    post(&r->f, 1, START);
    UNTIL(&r->f, stats(&r->f).delivered == 1);
    run_dry(r);
    assert_int_equal(stats(&r->f).delivered, 5);
}

static void test_asked_and_stopped(void **state)
{
    struct relaying *r = *state;
    struct places p = {.send = {"one.test"}};

    ask(r, &p);
    r->relay.hosts[0] = (struct host){.name = "one.test", .is_silent = true};
    send_letter(r, &(struct letter){.rcpts = {"u@here.test"}, .is_asked = true});
    start_relaying(r);
    UNTIL(&r->f, r->relay.n == 1);
    settle(&r->f);
    stop_relaying(r);
    assert_int_equal(r->relay.n_cancelled, 1);
    r->relay.hosts[0].name = NULL;
    start_relaying(r);
    run_dry(r);
    assert_int_equal(stats(&r->f).delivered, 1);
    assert_int_equal(r->hooks[BARID_EVENT_RECIPIENT].asked, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        R(test_body_sizes),
        R(test_body_fails),
        R(test_no_mail_without_its_body),
        R(test_damaged_body_is_held),
        R(test_transport_cannot),
        R(test_asked_then_sent),
        R(test_asked_then_put_off),
        R(test_asked_keeps_no_files),
        R(test_asked_and_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
