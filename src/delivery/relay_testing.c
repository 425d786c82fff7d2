/* delivery/relay_testing.c: see relay_testing.h. Test code only. */
#include "delivery/relay_testing.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"
#include "io/stream.h"
#include "message/message_testing.h"

/* --- DNS --- */

struct dns_query {
    struct loop_task task;
    void (*done)(void *user, const struct dns_answer *answer);
    void *user;
    char name[64];
    enum dns_type type;
    bool is_cancelled;
};

static void answer_mx(const char *name, struct dns_answer *answer, struct dns_record *records)
{
    static const struct {
        const char *name;
        enum dns_status status;
    } failures[] = {
        {"gone.test", DNS_NXDOMAIN}, {"fail.test", DNS_SERVFAIL}, {"slow.test", DNS_TIMEOUT}};
    static const char *const hosts[] = {"mx1.test", "mx2.test", "mx3.test"};

    answer->status = DNS_OK;
    if (strcmp(name, "null.test") == 0)
        answer->n = 1;
    for (size_t i = 0; strcmp(name, "x.test") == 0 && i < 3; i++)
        records[answer->n++] = (struct dns_record){.preference = (uint16_t)(10 * i + 10),
                                                   .text = slice_str(hosts[i])};
    for (size_t i = 0; strcmp(name, "equal.test") == 0 && i < 2; i++)
        records[answer->n++] =
            (struct dns_record){.preference = 10, .text = slice_str(hosts[i])};
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
        if (strcmp(name, failures[i].name) == 0)
            answer->status = failures[i].status;
    for (size_t i = 0; i < answer->n; i++)
        records[i].type = DNS_MX;
}

static void run_answer(struct loop_task *task)
{
    struct dns_query *q = (struct dns_query *)((char *)task - offsetof(struct dns_query, task));
    struct dns_record records[4] = {{0}};
    struct dns_answer answer = {.status = DNS_NODATA, .records = records, .negative_ttl = 60};

    if (q->type == DNS_MX)
        answer_mx(q->name, &answer, records);
    if (q->type == DNS_A && strncmp(q->name, "mx", 2) == 0) {
        records[0] = (struct dns_record){.type = DNS_A,
                                         .addr = {127, 0, 0, (uint8_t)(q->name[2] - '0')}};
        answer.status = DNS_OK;
        answer.n = 1;
    }
    for (size_t i = 0; i < answer.n; i++)
        records[i].ttl = 60;
    if (!q->is_cancelled)
        q->done(q->user, &answer);
    free(q);
}

static int ask(void *user, barid_slice name, enum dns_type type,
               void (*done)(void *user, const struct dns_answer *answer), void *done_user,
               struct dns_query **query_r)
{
    struct post *p = user;
    struct dns_query *q = calloc(1, sizeof(*q));

    *q = (struct dns_query){
        .task = {.run = run_answer}, .done = done, .user = done_user, .type = type};
    snprintf(q->name, sizeof(q->name), "%.*s", (int)name.n, name.p);
    *query_r = q;
    p->asked++;
    if (strcmp(q->name, "never.test") != 0)
        loop_defer(p->loop, &q->task);
    return 0;
}

static void cancel(void *user, struct dns_query **query)
{
    struct post *p = user;

    (*query)->is_cancelled = true;
    if (strcmp((*query)->name, "never.test") == 0)
        loop_defer(p->loop, &(*query)->task);
    *query = NULL;
}

/* --- servers --- */

struct guest {
    struct server *server;
    struct guest *next;
    struct stream *stream;
    char in[8192];
    size_t n;
    bool in_data, is_closed, wants_tls;
    size_t chunk;    /* octets of it still to come */
    char bdat[64];   /* its command */
    size_t flood_at; /* of server.flood; SIZE_MAX = not now */
};

static void flood(struct guest *g)
{
    barid_slice rest = slice_from(g->server->flood, g->flood_at);

    while (g->stream != NULL && rest.n > 0 &&
           stream_backlog(g->stream) < STREAM_BACKLOG_MAX / 2) {
        barid_slice piece = slice_head(rest, STREAM_BACKLOG_MAX / 2);

        if (stream_write(g->stream, piece.p, piece.n) < 0)
            return;
        g->flood_at += piece.n;
        rest = slice_from(rest, piece.n);
    }
}

static void say(struct guest *g, const char *reply)
{
    char line[1024];
    int n = snprintf(line, sizeof(line), "%s\r\n", reply);

    if (strcmp(reply, HOLDS) == 0)
        return;
    if (strcmp(reply, CLOSES) == 0) {
        g->is_closed = true;
    } else if (strcmp(reply, FLOODS) == 0) {
        g->flood_at = 0;
        flood(g);
    } else if (strcmp(reply, STARTS_TLS) == 0) {
        stream_write(g->stream, "220 go\r\n", 8);
        g->wants_tls = true;
    } else {
        stream_write(g->stream, line, (size_t)n);
    }
}

static const char *reply_to(struct server *s, const char *line)
{
    for (size_t i = 0; s->rules != NULL && s->rules[i].line != NULL; i++) {
        if (strncmp(line, s->rules[i].line, strlen(s->rules[i].line)) != 0 ||
            (line[0] != '\0') != (s->rules[i].line[0] != '\0'))
            continue;
        s->counts[i]++;
        if (s->rules[i].count == 0 || s->rules[i].count == s->counts[i])
            return s->rules[i].reply;
    }
    return line[0] == '\0'             ? "220 mx"
           : strcmp(line, "DATA") == 0 ? "354 go"
           : strcmp(line, "QUIT") == 0 ? "221 bye"
                                       : "250 ok";
}

static void take_line(struct guest *g, const char *line)
{
    struct server *s = g->server;
    const char *reply;

    if (g->in_data && strcmp(line, ".") != 0) {
        buf_str(&s->message, line);
        buf_str(&s->message, "\r\n");
        return;
    }
    buf_str(&s->seen, line);
    buf_str(&s->seen, "|");
    if (strncmp(line, "BDAT ", 5) == 0) {
        g->chunk = strtoul(line + 5, NULL, 10);
        snprintf(g->bdat, sizeof(g->bdat), "%.60s", line);
        if (g->chunk > 0)
            return;
    }
    reply = reply_to(s, line);
    g->in_data = strncmp(reply, "354", 3) == 0;
    say(g, reply);
    if (strcmp(line, "QUIT") == 0 && strcmp(reply, HOLDS) != 0)
        g->is_closed = true;
}

static void take_chunk(struct guest *g)
{
    size_t n = g->chunk < g->n ? g->chunk : g->n;

    buf_append(&g->server->message, slice_of(g->in, n));
    g->n -= n;
    g->chunk -= n;
    memmove(g->in, g->in + n, g->n + 1);
    if (g->chunk == 0)
        say(g, reply_to(g->server, g->bdat));
}

static void take_input(struct guest *g)
{
    char *end;

    while (!g->is_closed && !g->wants_tls) {
        if (g->chunk > 0) {
            if (g->n == 0)
                return;
            take_chunk(g);
            continue;
        }
        end = strstr(g->in, "\r\n");
        if (end == NULL)
            return;
        *end = '\0';
        take_line(g, g->in);
        g->n -= (size_t)(end + 2 - g->in);
        memmove(g->in, end + 2, g->n + 1);
    }
}

static void on_read(void *user, const char *p, size_t n)
{
    struct guest *g = user;

    while (n > 0 && !g->is_closed) {
        size_t part = sizeof(g->in) - 1 - g->n;

        part = part < n ? part : n;
        memcpy(g->in + g->n, p, part);
        g->n += part;
        g->in[g->n] = '\0';
        p += part;
        n -= part;
        take_input(g);
    }
}

static void on_close(void *user, int err)
{
    (void)err;
    ((struct guest *)user)->is_closed = true;
}

static void on_tls(void *user, const barid_tls_info *info, const struct err *err)
{
    struct guest *g = user;

    (void)err;
    if (info == NULL)
        g->is_closed = true;
    else if (g->server->implicit_tls)
        say(g, reply_to(g->server, ""));
    stream_read(g->stream, true);
}

static const struct stream_ops guest_ops = {
    .on_read = on_read, .on_close = on_close, .on_tls = on_tls};

static void welcome(struct server *s, int fd)
{
    struct guest *g = calloc(1, sizeof(*g));
    char text[16];

    g->server = s;
    g->flood_at = SIZE_MAX;
    g->next = s->guests;
    s->guests = g;
    s->open++;
    snprintf(text, sizeof(text), "(%u)", ++s->connections);
    buf_str(&s->seen, text);
    assert_int_equal(stream_open(&g->stream, s->post->loop, fd, NULL), 0);
    stream_bind(g->stream, &guest_ops, g);
    if (s->implicit_tls) {
        assert_int_equal(stream_tls_accept(g->stream, s->tls), 0);
        return;
    }
    stream_read(g->stream, true);
    say(g, reply_to(s, ""));
}

static void serve(struct server *s)
{
    int fd;

    while (s->listener >= 0 &&
           (fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        welcome(s, fd);
    for (struct guest *g = s->guests; g != NULL; g = g->next) {
        if (g->wants_tls && stream_backlog(g->stream) == 0) {
            g->wants_tls = false;
            if (stream_tls_accept(g->stream, s->tls) != 0)
                g->is_closed = true;
        }
        if (g->flood_at != SIZE_MAX)
            flood(g);
        if (g->is_closed && g->stream != NULL) {
            stream_del(&g->stream);
            s->open--;
        }
    }
}

static void server_end(struct server *s)
{
    while (s->guests != NULL) {
        struct guest *g = s->guests;

        s->guests = g->next;
        stream_reset(&g->stream);
        free(g);
    }
    if (s->listener >= 0)
        close(s->listener);
    tls_unref(&s->tls);
    buf_deinit(&s->seen);
    buf_deinit(&s->message);
}

static bool bind_at(struct post *p, size_t i)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(p->port),
                             .sin_addr.s_addr = htonl(0x7f000001 + (uint32_t)i)};
    socklen_t n = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *)&in, n) != 0) {
        close(fd);
        return false;
    }
    getsockname(fd, (struct sockaddr *)&in, &n);
    p->port = ntohs(in.sin_port);
    p->servers[i].listener = fd;
    return true;
}

/* One port that is free on all addresses. */
static void bind_all(struct post *p)
{
    for (size_t i = 0; i < TEST_SERVERS_MAX; i++) {
        if (bind_at(p, i))
            continue;
        while (i-- > 0)
            close(p->servers[i].listener);
        p->port = 0; /* i is SIZE_MAX: from the first again */
    }
}

static void server_set(struct post *p, size_t i, const struct rule *rules)
{
    p->servers[i].post = p;
    p->servers[i].rules = rules;
    memset(p->servers[i].counts, 0, sizeof(p->servers[i].counts));
}

void post_server(struct post *p, size_t i, const struct rule *rules, bool listens)
{
    server_set(p, i, rules);
    if (listens)
        assert_int_equal(listen(p->servers[i].listener, 8), 0);
}

void post_unix_server(struct post *p, size_t i, const struct rule *rules, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    server_set(p, i, rules);
    close(p->servers[i].listener);
    p->servers[i].listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    assert_int_equal(bind(p->servers[i].listener, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(listen(p->servers[i].listener, 8), 0);
}

void server_closes(struct server *s, const char *reply)
{
    for (struct guest *g = s->guests; g != NULL; g = g->next)
        if (g->stream != NULL) {
            say(g, reply);
            g->is_closed = true;
        }
}

bool server_saw(const struct server *s, const char *words)
{
    return s->seen.len > 0 && memmem(s->seen.p, s->seen.len, words, strlen(words)) != NULL;
}

/* --- parcels --- */

static int on_body(struct consignment *c, uint64_t offset, size_t n, barid_slice *p_r)
{
    struct parcel *parcel = (struct parcel *)c;

    if (parcel->body_says != 1 && offset >= parcel->body_waits_at)
        return parcel->body_says;
    if (parcel->body_says != 1 && n > parcel->body_waits_at - offset)
        n = (size_t)(parcel->body_waits_at - offset);
    *p_r = slice_head(slice_from(parcel->body, (size_t)offset), n);
    return 1;
}

static void on_final(struct consignment *c)
{
    ((struct parcel *)c)->finals++;
}

static void on_result(struct consignment *c, size_t i, const struct send_result *r)
{
    static const char *const statuses[] = {"done", "again", "failed"};
    struct parcel *parcel = (struct parcel *)c;

    assert_int_equal(parcel->over, 0);
    assert_string_equal(parcel->log[i], ""); /* once */
    assert_non_null(c->sending);
    parcel->results++;
    parcel->dsn_passed = r->dsn_passed;
    snprintf(parcel->log[i], sizeof(parcel->log[i]), "%s%s%s %.*s %s %.*s", statuses[r->status],
             r->is_suspect ? " suspect" : "", r->no_connection ? " unreached" : "",
             (int)r->remote.n, r->remote.p, r->stage, (int)r->reply.n, r->reply.p);
}

static void on_over(struct consignment *c)
{
    struct parcel *parcel = (struct parcel *)c;

    assert_int_equal(parcel->results, c->n_rcpts);
    assert_null(c->sending);
    parcel->over++;
}

static void hop_default(struct hop *hop, const char *name, uint16_t port)
{
    *hop = (struct hop){.name = slice_str(name),
                        .port = port,
                        .helo = BARID_S("us.test"),
                        .tls = HOP_TLS_OPPORTUNISTIC,
                        .mechanisms_secure = 1u << BARID_AUTH_PLAIN,
                        .starttls = true,
                        .pipelining = true,
                        .chunking = true,
                        .eightbit = true,
                        .binary = true,
                        .smtputf8 = true,
                        .dsn = true,
                        .connect_ms = 30000,
                        .max_mails = 100};
}

struct parcel *post_parcel(struct post *p, size_t i, const char *hop, size_t n)
{
    static const char header[] = "Subject: x\r\nTo: y\r\n";
    struct parcel *parcel = &p->parcels[i];

    *parcel = (struct parcel){
        .post = p, .rcpts = {0, 1, 2}, .body = BARID_S("hello\r\n.dot\r\n"), .body_says = 1};
    hop_default(&parcel->hop, hop, p->port);
    parcel->c = (struct consignment){.mail = &p->mail,
                                     .hop = &parcel->hop,
                                     .rcpts = parcel->rcpts,
                                     .n_rcpts = n,
                                     .header = slice_of(header, sizeof(header) - 1),
                                     .body_size = parcel->body.n,
                                     .body = on_body,
                                     .on_final = on_final,
                                     .on_result = on_result,
                                     .on_over = on_over};
    return parcel;
}

int post_send(struct parcel *parcel)
{
    int rc = parcel->post->t->send(parcel->post->t, &parcel->c);

    assert_int_equal(parcel->results, 0);
    return rc;
}

void post_serve(struct post *p)
{
    for (size_t i = 0; i < TEST_SERVERS_MAX; i++)
        serve(&p->servers[i]);
}

void post_turn(struct post *p)
{
    for (int i = 0; i < 8; i++) {
        loop_turn(p->loop, false);
        post_serve(p);
    }
}

void post_advance(struct post *p, uint64_t ms)
{
    clock_fake_advance(&p->clock, ms);
    post_turn(p);
}

void post_run(struct parcel *parcel)
{
    while (parcel->over == 0)
        post_turn(parcel->post);
    assert_int_equal(parcel->over, 1);
}

const char *post_one(struct post *p)
{
    struct parcel *parcel = post_parcel(p, 0, "x.test", 3);

    assert_int_equal(post_send(parcel), 0);
    post_run(parcel);
    return parcel->log[0];
}

/* --- all --- */

void post_tls(struct post *p, const char *ca_file)
{
    struct err err = {0};

    assert_int_equal(
        tls_client_new(&p->tls, &(struct tls_client_options){.verify = TLS_VERIFY_NONE}, &err),
        0);
    assert_int_equal(tls_client_new(&p->tls_verified,
                                    &(struct tls_client_options){.verify = TLS_VERIFY_PEER,
                                                                 .ca_file = ca_file},
                                    &err),
                     0);
    relay_set_tls(p->t, p->tls, p->tls_verified);
}

bool post_begin(struct post *p, const barid_mem *mem)
{
    struct relay_options o = {.hosts = {.ask = ask, .cancel = cancel, .user = p}, .mem = mem};
    struct err err = {0};

    memset(p, 0, sizeof(*p));
    clock_fake_init(&p->clock, INT64_C(1795173699000042));
    rng_seeded_init(&p->rng, 7);
    assert_int_equal(loop_new(&p->loop, &p->clock.clock, NULL, NULL), 0);
    arena_init(&p->arena, NULL, 0);
    if (mail_init(&p->mail, &p->arena, &p->facts, p->clock.wall_us) != 0 ||
        !test_sender(&p->mail, "s@us.test") || test_rcpt(&p->mail, "a@x.test") == NULL ||
        test_rcpt(&p->mail, "b@x.test") == NULL || test_rcpt(&p->mail, "c@x.test") == NULL)
        abort();
    p->mail.has_blank_line = true;
    bind_all(p);
    for (size_t i = 0; i < TEST_SERVERS_MAX; i++) {
        p->servers[i].post = p;
        buf_init(&p->servers[i].seen, NULL, 0);
        buf_init(&p->servers[i].message, NULL, 0);
    }
    o.loop = p->loop;
    o.rng = &p->rng.rng;
    return relay_open(&p->t, &o, &err) == 0;
}

void post_end(struct post *p)
{
    for (size_t i = 0; i < TEST_PARCELS_MAX; i++)
        if (p->parcels[i].c.sending != NULL)
            p->t->cancel(p->t, &p->parcels[i].c);
    if (p->t != NULL)
        p->t->close(p->t);
    post_turn(p); /* what was cancelled is freed */
    for (size_t i = 0; i < TEST_SERVERS_MAX; i++)
        server_end(&p->servers[i]);
    tls_unref(&p->tls);
    tls_unref(&p->tls_verified);
    arena_deinit(&p->arena);
    loop_del(&p->loop);
}
