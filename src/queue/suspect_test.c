/* queue/suspect_test.c: what was being sent when the process ended is known to the next one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"
#include "queue/queue_int.h"
#include "queue/letter_testing.h"
#include "queue/suspect.h"

#define FILE_SIZE ((size_t)SUSPECTS_MAX * 16)

static char dir[TEST_DIR_SIZE], file[TEST_DIR_SIZE + 16], left[TEST_DIR_SIZE + 16];

static int setup(void **state)
{
    relay_setup(state);
    test_dir_make(dir);
    snprintf(file, sizeof(file), "%s/inflight", dir);
    snprintf(left, sizeof(left), "%s/left", dir);
    ((struct relaying *)*state)->f.options.inflight = file;
    return 0;
}

static int teardown(void **state)
{
    relay_teardown(state);
    test_dir_remove(dir);
    return 0;
}

static char *read_file(const char *path)
{
    char *p = calloc(1, FILE_SIZE + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(read(fd, p, FILE_SIZE + 1), FILE_SIZE);
    close(fd);
    return p;
}

static void write_file(const char *path, const char *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), n);
    close(fd);
}

/* Slots with an id. */
static size_t marks(const char *path)
{
    char *p = read_file(path);
    size_t n = 0;

    for (size_t i = 0; i < FILE_SIZE; i += 16) {
        uint64_t id;

        memcpy(&id, p + i, sizeof(id));
        n += id != 0;
    }
    free(p);
    return n;
}

static uint32_t fold(uint64_t id)
{
    return (uint32_t)id ^ (uint32_t)(id >> 32);
}

/* The next queue finds what the file said at this moment of one letter, about another one that is just like it: nothing was recorded. */
static char *keep(void)
{
    return read_file(file);
}

static void leave(struct relaying *r, char *kept, uint64_t id, uint64_t now)
{
    for (size_t i = 0; i < FILE_SIZE; i += 16) {
        uint64_t was;
        uint32_t check;

        memcpy(&was, kept + i, sizeof(was));
        memcpy(&check, kept + i + 12, sizeof(check));
        if (was != id)
            continue;
        check ^= fold(id) ^ fold(now);
        memcpy(kept + i, &now, sizeof(now));
        memcpy(kept + i + 12, &check, sizeof(check));
    }
    write_file(left, kept, FILE_SIZE);
    free(kept);
    r->f.options.inflight = left;
}

static void elsewhere(struct policy_call *call, void *user)
{
    struct policy_route *route = call->route;
    struct hop *hop = arena_alloc(route->arena, sizeof(*hop));
    struct err err;

    (void)user;
    *hop = *route->base;
    assert_int_equal(hop_parse(hop, route->arena, BARID_S("other.test"), &err), 0);
    route->hops = hop;
    route->n_hops = 1;
    call->verdict.kind = BARID_ACCEPT;
}

/* Killed between the final dot and the record of its answer, wherever policy had sent it. */
static void test_left_behind(void **state)
{
    struct relaying *r = *state;

    for (unsigned i = 0; i < 2; i++) {
        const struct letter letter = {.rcpts = {"a@one.test", "b@two.test"}};
        uint64_t id = send_letter(r, &letter), other;
        struct unit_state s;
        char *kept;

        r->f.options.inflight = file;
        if (i == 1)
            hear(r, BARID_EVENT_ROUTE)->act = elsewhere;
        r->relay.hosts[0] = (struct host){.name = "two.test", .is_silent = true};
        r->relay.hosts[1] = (struct host){.name = "", .holds = true};
        start_relaying(r);
        UNTIL(&r->f, r->relay.n_final == 1 + i);
        assert_int_equal(marks(file), 1 + i);
        kept = keep();
        relay_answer_all(r);
        stop_relaying(r);
        assert_int_equal(marks(file), 0);
        other = send_letter(r, &letter);
        leave(r, kept, id, other);
        start_relaying(r);
        s = unit_of(r, other, 0);
        assert_true(s.suspect);
        assert_int_equal(s.status, UNIT_PENDING);
        assert_true(slice_starts_nocase(s.reply, BARID_S("451 4.4.2 this server was stopped")));
        if (i == 0)
            assert_false(unit_of(r, other, 1).suspect);
        assert_true(logged(&r->f, "the next attempt may deliver it again"));
        memset(r->relay.hosts, 0, sizeof(r->relay.hosts));
        run_dry(r);
        stop_relaying(r); /* the record of the last result is there */
        assert_int_equal(marks(left), 0);
        relaying_tear_down(r);
        relaying_set_up(r);
    }
}

/* An attempt that went wrong for certain does not take back that an earlier one may have delivered. */
static void test_stays_suspect(void **state)
{
    struct relaying *r = *state;
    uint64_t id =
        send_letter(r, &(struct letter){.rcpts = {"a@one.test"}, .state = {.suspect = true}});

    r->relay.hosts[0] = (struct host){.name = "", .reply = "451 4.2.0 later"};
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).deferred == 1);
    assert_true(unit_of(r, id, 0).suspect);
}

static void test_cleared_when_recorded(void **state)
{
    struct relaying *r = *state;

    r->relay.hosts[0] = (struct host){.name = "", .holds = true};
    start_relaying(r);
    for (unsigned i = 0; i < 10; i++)
        send_letter(r, &(struct letter){
                           .rcpts = {"a@one.test", "nobody@two.test", "later@three.test"}});
    UNTIL(&r->f, r->relay.n_final == 30);
    assert_int_equal(marks(file), 30);
    relay_answer_all(r);
    UNTIL(&r->f, stats(&r->f).running == 0);
    settle(&r->f);
    stop_relaying(r);
    assert_int_equal(marks(file), 0);
}

/* What a question sends: marked until the recipient's own record, also over several places. */
static void place(struct policy_call *call, void *user)
{
    (void)user;
    assert_int_equal(mail_add_row(call->mail, DISPOSITION_SEND, DISPOSITION_ONE,
                                  call->rcpt->index, BARID_S("one.test")),
                     0);
    assert_int_equal(mail_add_row(call->mail, DISPOSITION_SEND, DISPOSITION_ONE,
                                  call->rcpt->index, BARID_S("two.test")),
                     0);
}

static void test_question(void **state)
{
    struct relaying *r = *state;

    hear(r, BARID_EVENT_RECIPIENT)->act = place;
    r->relay.hosts[0] = (struct host){.name = "two.test", .holds = true};
    send_letter(r, &(struct letter){.rcpts = {"a@here.test"}, .is_asked = true});
    start_relaying(r);
    UNTIL(&r->f, r->relay.n_final == 2);
    assert_int_equal(marks(file), 1);
    relay_answer_all(r);
    UNTIL(&r->f, stats(&r->f).delivered == 1);
    stop_relaying(r);
    assert_int_equal(marks(file), 0);
}

static void test_damaged_file(void **state)
{
    struct relaying *r = *state;
    uint64_t id = send_letter(r, &(struct letter){.rcpts = {"later@one.test"}});
    uint64_t seed[2] = {id, 1}; /* an id that is there, with a check that is not its own */
    char *p = malloc(FILE_SIZE);

    test_fill(3, 0, p, FILE_SIZE);
    memcpy(p, seed, sizeof(seed));
    for (size_t n = 0; n <= FILE_SIZE; n = n == 0 ? 24 : n < FILE_SIZE ? FILE_SIZE : n + 1) {
        write_file(file, p, n);
        start_relaying(r);
        assert_int_equal(marks(file), 0);
        assert_false(unit_of(r, id, 0).suspect);
        assert_false(logged(&r->f, "may deliver it again"));
        stop_relaying(r);
    }
    free(p);
}

static void test_no_file(void **state)
{
    struct relaying *r = *state;
    struct err err = {0};

    r->f.options.inflight = dir;
    assert_int_equal(queue_new(&r->f.queue, &r->f.options, &err), BARID_EIO);
    assert_null(r->f.queue);
    assert_non_null(strstr(err.text, dir));
}

static void test_all_slots(void **state)
{
    static struct suspect_slot *slots[SUSPECTS_MAX];
    struct relaying *r = *state;
    struct suspects *s;

    start_relaying(r);
    s = r->f.queue->suspects;
    for (uint64_t i = 0; i < SUSPECTS_MAX; i++)
        assert_non_null(slots[i] = suspect_mark(s, i + 1, 7));
    assert_null(suspect_mark(s, 1, 7));
    assert_null(suspect_mark(NULL, 1, 7));
    suspect_clear(NULL);
    suspect_clear(slots[17]);
    assert_ptr_equal(suspect_mark(s, 99, 7), slots[17]);
    send_letter(r, &(struct letter){.rcpts = {"a@one.test"}}); /* goes unmarked */
    UNTIL(&r->f, stats(&r->f).delivered == 1);
    for (size_t i = 0; i < SUSPECTS_MAX; i++)
        suspect_clear(slots[i]);
    assert_int_equal(marks(file), 0);
}

int main(void)
{
#define U(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        U(test_left_behind), U(test_stays_suspect), U(test_cleared_when_recorded),
        U(test_question),    U(test_damaged_file),  U(test_no_file),
        U(test_all_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
