/* policy/policy_testing.c: the world of policy_testing.h. Its state is global, as the link
 * names of src/io are. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/slice.h"
#include "io/timer.h"
#include "policy/policy_testing.h"

struct clock_fake world_clock;

/* --- loop and timers ------------------------------------------------------------------------
 */

struct loop {
    int unused;
};
static struct loop the_loop;
struct loop *const world_loop = &the_loop;

uint64_t loop_now_ms(const struct loop *loop)
{
    assert_ptr_equal(loop, &the_loop);
    return world_clock.mono_ms;
}

const struct clock *loop_clock(const struct loop *loop)
{
    assert_ptr_equal(loop, &the_loop);
    return &world_clock.clock;
}

struct timer {
    struct list node;
    void (*fn)(void *user);
    void *user;
    uint64_t deadline;
};
static struct list timers = {&timers, &timers};

struct timer *timer_new(struct loop *loop, void (*fn)(void *user), void *user)
{
    struct timer *t = calloc(1, sizeof(*t));

    assert_ptr_equal(loop, &the_loop);
    if (t == NULL)
        return NULL;
    *t = (struct timer){.fn = fn, .user = user, .deadline = UINT64_MAX};
    list_append(&timers, &t->node);
    return t;
}

void timer_set(struct timer *t, uint64_t deadline_ms)
{
    t->deadline = deadline_ms;
}

void timer_del(struct timer **t)
{
    if (*t == NULL)
        return;
    list_remove(&(*t)->node);
    free(*t);
    *t = NULL;
}

size_t world_timers(void)
{
    size_t n = 0;

    LIST_EACH(it, &timers)
    {
        n += LIST_ENTRY(it, struct timer, node)->deadline != UINT64_MAX;
    }
    return n;
}

static struct timer *due(void)
{
    LIST_EACH(it, &timers)
    {
        struct timer *t = LIST_ENTRY(it, struct timer, node);

        if (t->deadline <= world_clock.mono_ms)
            return t;
    }
    return NULL;
}

void world_advance(uint64_t ms)
{
    struct timer *t;

    clock_fake_advance(&world_clock, ms);
    while ((t = due()) != NULL) {
        t->deadline = UINT64_MAX;
        t->fn(t->user);
    }
}

/* --- DNS ------------------------------------------------------------------------------------
 */

struct dns_query {
    struct list node;
    char text[300];
    void (*done)(void *user, const struct dns_answer *answer);
    void *user;
};
static struct list queries = {&queries, &queries};

static struct dns_query *oldest(void)
{
    return list_empty(&queries) ? NULL : LIST_ENTRY(queries.next, struct dns_query, node);
}

int dns_ask(struct dns *dns, barid_slice name, enum dns_type type,
            void (*done)(void *user, const struct dns_answer *answer), void *user,
            struct dns_query **query_r)
{
    struct dns_query *q = calloc(1, sizeof(*q));

    (void)dns;
    if (q == NULL)
        return BARID_ENOMEM;
    snprintf(q->text, sizeof(q->text), "%.*s/%d", (int)name.n, name.p, type);
    q->done = done;
    q->user = user;
    list_append(&queries, &q->node);
    if (query_r != NULL)
        *query_r = q;
    return 0;
}

void dns_cancel(struct dns_query **query)
{
    list_remove(&(*query)->node);
    free(*query);
    *query = NULL;
}

const char *dns_status_name(enum dns_status status)
{
    return status == DNS_TIMEOUT ? "timeout" : "servfail";
}

void dns_reverse_name(const uint8_t *addr, bool ipv6, const char *suffix_or_null, char *out)
{
    assert_false(ipv6);
    assert_null(suffix_or_null);
    snprintf(out, DNS_REVERSE_SIZE, "%d.%d.%d.%d.in-addr.arpa", addr[3], addr[2], addr[1],
             addr[0]);
}

const char *world_dns_question(void)
{
    return oldest() != NULL ? oldest()->text : "";
}

bool world_dns_answer(enum dns_status status, const struct dns_record *records, size_t n)
{
    struct dns_query *q = oldest();

    if (q == NULL)
        return false;
    list_remove(&q->node);
    q->done(q->user, &(struct dns_answer){.status = status, .records = records, .n = n});
    free(q);
    return true;
}

/* --- the mail -------------------------------------------------------------------------------
 */

static uint64_t body_size(void *user)
{
    return ((struct world *)user)->body.len;
}

static int64_t body_read(void *user, uint64_t offset, void *p, size_t n)
{
    struct world *w = user;
    barid_slice rest = slice_from(buf_slice(&w->body), (size_t)offset);

    n = n < rest.n ? n : rest.n;
    if (n > 7)
        n = 7; /* short reads are allowed, so they happen */
    if (n > 0)
        memcpy(p, rest.p, n);
    return (int64_t)n;
}

static int body_replace(void *user, barid_slice body)
{
    struct world *w = user;

    buf_clear(&w->body);
    return buf_append(&w->body, body);
}

static void make_mail(struct world *w)
{
    struct mail *m = &w->mail;
    struct mailbox box;

    arena_init(&w->arena, NULL, 0);
    assert_int_equal(mail_init(m, &w->arena, &w->facts, 1000000), 0);
    assert_int_equal(
        mailbox_from_text(&m->sender, &w->arena, BARID_S("sender@Example.org"), '+'), 0);
    m->sender_original = m->sender.address;
    assert_int_equal(mailbox_from_text(&box, &w->arena, BARID_S("User+tag@Example.com"), '+'),
                     0);
    assert_int_equal(mail_add_rcpt(m, &box, BARID_S("User+tag@Example.com"), &w->rcpt), 0);
    w->rcpt->is_local = true;
    assert_int_equal(mail_set_header(m,
                                     BARID_S("From: sender@example.org\r\nTo: "
                                             "user+tag@example.com\r\nSubject: a\r\n test\r\n"),
                                     true),
                     0);
    buf_init(&w->body, NULL, 0);
    assert_int_equal(buf_str(&w->body, "Hello\r\nWorld\r\n"), 0);
    m->body_size = w->body.len;
    m->body = (struct body_ops){body_size, body_read, body_replace, w};
}

static const char *const domains[] = {"example.com"};
static const size_t first_rcpt[] = {0};

static void make_delivery(struct world *w)
{
    w->hop_text = "example.com:2525";
    w->result = (struct send_result){.status = DELIVERY_AGAIN,
                                     .stage = "rcpt",
                                     .reply = BARID_S("451 4.3.2 try later"),
                                     .remote = BARID_S("mx.example.com"),
                                     .remote_address = BARID_S("192.0.2.25:25")};
    w->route = (struct policy_route){
        .rcpts = first_rcpt, .n_rcpts = 1, .attempts = 2, .arena = &w->arena};
    w->relay = (struct policy_relay){
        .hop = &w->hop, .n_rcpts = 1, .attempts = 2, .arena = &w->arena};
    w->attempt = (struct policy_attempt){.rcpts = first_rcpt,
                                         .n_rcpts = 1,
                                         .hop = &w->hop,
                                         .result = &w->result,
                                         .attempts = 3,
                                         .next_us = INT64_C(1700000600) * 1000000};
    w->report = (struct policy_report){.report = &w->notice,
                                       .wanted = true,
                                       .attempts = 3,
                                       .tries_left = 4,
                                       .next_us = INT64_C(1700000600) * 1000000,
                                       .arena = &w->arena};
}

/* Everything that a hook may have changed, as it was. */
static void begin_delivery(struct world *w, enum barid_event_id event)
{
    w->hop = w->hop_before;
    w->route.hops = &w->hop;
    w->route.n_hops = 1;
    hop_init(&w->base);
    w->base.helo = BARID_S("base.test");
    w->route.base = &w->base;
    w->notice_rcpt = (struct report_rcpt){.rcpt = w->rcpt,
                                          .reply = BARID_S("550 5.1.1 no such user"),
                                          .remote = BARID_S("mx.example.com")};
    w->notice = (struct report){.mail = &w->mail,
                                .action = event == BARID_EVENT_DELAY ? REPORT_DELAYED
                                                                     : REPORT_FAILED,
                                .rcpts = &w->notice_rcpt,
                                .n_rcpts = 1,
                                .hostname = BARID_S("mx.example.com")};
    w->report.to = w->mail.sender.address;
    w->mail.frozen = w->mail.decided = true;
    w->call.route = event == BARID_EVENT_ROUTE ? &w->route : NULL;
    w->call.relay = event == BARID_EVENT_RELAY ? &w->relay : NULL;
    w->call.attempt = event == BARID_EVENT_ATTEMPT ? &w->attempt : NULL;
    w->call.report =
        event == BARID_EVENT_FAILURE || event == BARID_EVENT_DELAY ? &w->report : NULL;
}

void world_init(struct world *w)
{
    static const uint64_t seed[2] = {1, 2};

    memset(w, 0, sizeof(*w));
    clock_fake_init(&world_clock, INT64_C(1000000) * WORLD_NOW);
    log_memory_init(&w->log);
    w->config = config_default();
    assert_non_null(w->config);
    w->config->file = "/etc/policy.lua";
    w->config->hostname = "mx.example.com";
    w->config->domains = (const char **)domains;
    w->config->n_domains = 1;
    w->config->limits.hook_cpu_ms = 2000; /* tests run under sanitizers: instructions decide */
    assert_int_equal(shared_new(&w->shared, &world_clock.clock, 1000000, seed), 0);
    snprintf(w->facts.id, sizeof(w->facts.id), "%s", "0123456789abcdef");
    w->facts.client =
        (barid_endpoint){.family = BARID_FAMILY_IPV4, .addr = {192, 0, 2, 7}, .port = 40000};
    w->facts.helo = BARID_S("client.example");
    make_mail(w);
    make_delivery(w);
}

int world_load(struct world *w, const char *text)
{
    struct policy_services services = {.loop = world_loop,
                                       .dns = (struct dns *)w,
                                       .shared = w->shared,
                                       .log = w->quiet ? NULL : &w->log.log,
                                       .config = w->config,
                                       .mem = w->mem};
    int rc;

    w->err = (struct err){0};
    hop_init(&w->hop_before);
    w->hop_before.helo = BARID_S("mx.example.com");
    assert_int_equal(hop_parse(&w->hop_before, &w->arena, slice_str(w->hop_text), &w->err), 0);
    rc = policy_lua_new(&w->policy, &services, slice_str(text), 1, &w->err);
    if (rc == 0) {
        w->session = policy_session_new(w->policy, &w->facts);
        if (w->session == NULL) {
            policy_unref(&w->policy);
            rc = BARID_ENOMEM;
        }
    }
    return rc;
}

void world_deinit(struct world *w)
{
    if (w->session != NULL)
        policy_mail_over(w->session, &w->mail);
    policy_session_del(&w->session);
    policy_unref(&w->policy);
    shared_del(&w->shared);
    w->config->domains = NULL;
    config_del(&w->config);
    buf_deinit(&w->body);
    arena_deinit(&w->arena);
    log_memory_deinit(&w->log);
    assert_true(list_empty(&queries));
    assert_true(list_empty(&timers));
}

/* --- asking ---------------------------------------------------------------------------------
 */

const char *world_answer(struct world *w)
{
    const barid_verdict *v = &w->call.verdict;
    char code[8] = "";

    if (v->code != 0)
        snprintf(code, sizeof(code), " %u", (unsigned)v->code);
    snprintf(w->answer, sizeof(w->answer), "%s%s%s%.*s%s%.*s%s", barid_verdict_name(v->kind),
             code, v->enhanced.n > 0 ? " " : "", (int)v->enhanced.n,
             v->enhanced.n > 0 ? v->enhanced.p : "", v->text.n > 0 ? " " : "", (int)v->text.n,
             v->text.n > 0 ? v->text.p : "", v->silent ? " silent" : "");
    return w->answer;
}

const char *world_effect(struct world *w)
{
    char text[HOP_TEXT_SIZE], *out = w->effect;
    size_t n = 0, size = sizeof(w->effect);

    out[0] = '\0';
    switch (w->call.event) {
    case BARID_EVENT_ROUTE:
        for (size_t i = 0; i < w->route.n_hops && n < size; i++) {
            hop_text(&w->route.hops[i], text);
            n += (size_t)snprintf(out + n, size - n, "%s%s", i > 0 ? " " : "", text);
        }
        break;
    case BARID_EVENT_RELAY:
        hop_text(&w->hop, text);
        snprintf(out, size, "%s", text);
        break;
    case BARID_EVENT_ATTEMPT:
        n = (size_t)snprintf(
            out, size, "%lld",
            (long long)(w->attempt.again_us == 0 ? 0 : w->attempt.again_us / 1000000 - WORLD_NOW));
        snprintf(out + n, size - n, "%s", w->attempt.again_limited ? " limited" : "");
        break;
    default:
        snprintf(out, size, "%.*s %.*s", (int)w->report.to.n, w->report.to.p,
                 (int)w->notice.subject.n, w->notice.subject.n > 0 ? w->notice.subject.p : "");
    }
    return out;
}

static void on_done(struct policy_call *call)
{
    struct world *w = call->user;

    w->done++;
    world_answer(w);
}

const char *world_ask(struct world *w, enum barid_event_id event)
{
    static const struct policy_credentials credentials = {
        .mechanism = BARID_AUTH_PLAIN, .authcid = {"joe", 3}, .password = {"secret", 6}};
    bool with_mail = barid_event_info_get(event)->scope != BARID_SCOPE_SESSION;

    memset(&w->call, 0, sizeof(w->call));
    w->call.event = event;
    w->call.session = w->session;
    w->call.mail = with_mail ? &w->mail : NULL;
    w->call.rcpt = event == BARID_EVENT_RCPT || event == BARID_EVENT_RECIPIENT ? w->rcpt : NULL;
    w->call.argument = BARID_S("argument");
    w->call.data = BARID_S("chunk");
    w->call.credentials = event == BARID_EVENT_AUTH ? &credentials : NULL;
    w->call.reason = BARID_CLOSE_QUIT;
    w->call.done = on_done;
    w->call.user = w;
    if (barid_event_info_get(event)->scope == BARID_SCOPE_DELIVERY)
        begin_delivery(w, event);
    if (policy_ask(w->policy, &w->call) == POLICY_WAITING)
        return "waiting";
    return world_answer(w);
}

const char *world_settle(struct world *w, const char *answer)
{
    static const struct dns_record record = {.type = DNS_A, .addr = {127, 0, 0, 2}};
    const unsigned before = w->done;

    if (strcmp(answer, "waiting") != 0)
        return answer;
    for (int i = 0; w->done == before && i < 1000; i++) {
        if (!world_dns_answer(DNS_OK, &record, 1))
            world_advance(100);
    }
    return w->done > before ? w->answer : answer;
}

bool world_logged(const struct world *w, const char *text)
{
    return w->log.text.len > 0 &&
           memmem(w->log.text.p, w->log.text.len, text, strlen(text)) != NULL;
}
