/*
 * bench/hooks.c: what hooks cost a message. Whole sessions in one process: protocol, server steps, policy and the put of a
 * spool are those of the daemon; sockets, clocks, threads and the disk are not there (hooks_io.c, discard_commit), so that
 * what is left is instructions.
 *
 *   none       no hook; a handler in C decides, here and in all others
 *   empty      a Lua hook on every event that takes no arguments
 *   arguments  a Lua hook on every event that takes its arguments and does nothing
 *   five       a Lua hook on every event that reads five fields of what it is given
 *
 * usage: hooks discard|hold MESSAGES_PER_CONNECTION MESSAGES [VARIANT]
 *
 * MESSAGES of each variant, in turns of a few hundred; or of VARIANT alone, for a tool that counts the whole process. Prints
 * one JSON object: per variant instructions (0 where the machine does not count them) and CPU time, per message.
 */
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/slice.h"
#include "hooks_io.h"
#include "policy/dispatch.h"
#include "policy/policy_lua.h"
#include "policy/shared.h"
#include "server/server.h"
#include "spool/spool_open.h"

#define TURN         500 /* messages of one variant before the next has its turn */
#define VARIANTS     4
#define SHARED_BYTES (1u << 20)

static const char *const names[VARIANTS] = {"none", "empty", "arguments", "five"};

static const char *const policies[VARIANTS] = {
    "",
    "for _, event in ipairs { 'connect', 'tls', 'helo', 'auth', 'mail', 'rcpt', 'data', "
    "'headers', 'body',\n"
    "    'message', 'recipient', 'noop', 'rset', 'vrfy', 'expn', 'help', 'quit', 'unknown', "
    "'queued', 'disconnect' } do\n"
    "  hook(event, 'empty', function() end)\n"
    "end\n",
    "function on.connect(session) end\n"
    "function on.tls(session) end\n"
    "function on.helo(session, name) end\n"
    "function on.auth(session, credentials) end\n"
    "function on.mail(session, mail) end\n"
    "function on.rcpt(session, mail, rcpt) end\n"
    "function on.data(session, mail) end\n"
    "function on.headers(session, mail) end\n"
    "function on.body(session, mail, chunk) end\n"
    "function on.message(session, mail) end\n"
    "function on.recipient(session, mail, rcpt) end\n"
    "function on.noop(session, argument) end\n"
    "function on.rset(session, argument) end\n"
    "function on.vrfy(session, argument) end\n"
    "function on.expn(session, argument) end\n"
    "function on.help(session, argument) end\n"
    "function on.quit(session, argument) end\n"
    "function on.unknown(session, argument) end\n"
    "function on.queued(mail) end\n"
    "function on.disconnect(session, reason) end\n",
    "local a, b, c, d, e\n"
    "function on.connect(session)\n"
    "  a, b, c, d, e = session.ip, session.port, session.local_ip, session.listener, "
    "session.tls\n"
    "end\n"
    "function on.helo(session, name)\n"
    "  a, b, c, d, e = session.ip, session.helo, session.esmtp, session.protocol, session.tls\n"
    "end\n"
    "function on.mail(session, mail)\n"
    "  a, b, c, d, e = session.ip, session.helo, mail.sender, mail.sender_domain, "
    "mail.declared_size\n"
    "end\n"
    "function on.rcpt(session, mail, rcpt)\n"
    "  a, b, c, d, e = session.ip, mail.sender, rcpt.address, rcpt.user, rcpt.domain\n"
    "end\n"
    "function on.data(session, mail)\n"
    "  a, b, c, d, e = session.ip, session.user, mail.sender, mail.body_type, mail.smtputf8\n"
    "end\n"
    "function on.headers(session, mail)\n"
    "  a, b, c, d, e = session.ip, session.helo, mail.sender, mail.size, mail.hops\n"
    "end\n"
    "function on.body(session, mail, chunk)\n"
    "  a, b, c, d, e = session.ip, session.helo, mail.id, mail.sender, mail.size\n"
    "end\n"
    "function on.message(session, mail)\n"
    "  a, b, c, d, e = session.ip, session.user, mail.id, mail.sender, mail.size\n"
    "end\n"
    "function on.recipient(session, mail, rcpt)\n"
    "  a, b, c, d, e = mail.id, mail.sender, rcpt.address, rcpt.user, rcpt.domain\n"
    "end\n"
    "function on.queued(mail)\n"
    "  a, b, c, d, e = mail.id, mail.sender, mail.size, mail.state, mail.received_at\n"
    "end\n"
    "function on.quit(session, argument)\n"
    "  a, b, c, d, e = session.id, session.ip, session.helo, session.user, session.tls\n"
    "end\n"
    "function on.disconnect(session, reason)\n"
    "  a, b, c, d, e = session.id, session.ip, session.helo, session.user, session.started_at\n"
    "end\n",
};

struct variant {
    struct policy *policy;
    struct server *server;
    struct listener *listener;
    uint64_t instructions;
    double *cpu; /* seconds of each turn */
    size_t n_turns;
};

/* Everything that the variants share. */
static struct config *config;
static struct config_listen listen_entry;
static const char *domains[] = {"rcpt.test"};
static struct spool spool, *memory;
static struct spool_ops spool_ops;
static struct admission *admission;
static struct shared *shared;
static struct variant variants[VARIANTS];
static barid_slice body;
static int counter = -1;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "hooks: %s: %s\n", what, why);
    exit(70);
}

/* --- the server --- */

static int memory_admit(struct spool *s, uint64_t size)
{
    (void)s;
    return memory->ops->admit(memory, size);
}

static int memory_put_begin(struct spool *s, struct spool_put **put_r)
{
    (void)s;
    return memory->ops->put_begin(memory, put_r);
}

/* Nothing is kept. done only posts a task, so it may be called from here. */
static int discard_commit(struct spool *s, struct spool_put **puts, size_t n, spool_done done,
                          void *user)
{
    (void)s;
    for (size_t i = 0; i < n; i++)
        memory->ops->put_abort(puts[i]);
    done(user, 0);
    return 0;
}

static void make_shared(void)
{
    static const uint64_t seed[2] = {1, 2};
    struct err err = {0};

    if (spool_memory_open(&memory, &(struct spool_memory_options){0}, &err) < 0 ||
        admission_new(&admission, seed) < 0 ||
        shared_new(&shared, &clock_system, SHARED_BYTES, seed) < 0 ||
        (config = config_default()) == NULL)
        die("start", err.text);
    spool_ops = *memory->ops;
    spool_ops.admit = memory_admit;
    spool_ops.put_begin = memory_put_begin;
    spool_ops.commit = discard_commit;
    spool.ops = &spool_ops;
    listen_entry = (struct config_listen){.address = "127.0.0.1:25",
                                          .extensions = BARID_EXT_DEFAULT,
                                          .limits = config->limits,
                                          .where = "bench"};
    listen_entry.limits.session.commands = 1000000000;
    config->hostname = "bench.test";
    config->domains = domains;
    config->n_domains = 1;
    config->listen = &listen_entry;
    config->n_listen = 1;
}

static enum policy_outcome decide(void *user, struct policy_call *call)
{
    call->verdict =
        (barid_verdict){.kind = *(enum barid_verdict_kind *)user, .text = BARID_S("bench")};
    return POLICY_ANSWERED;
}

/* A discard is decided per recipient and a hold for the message: so the hooks of both are asked. */
static void make_variant(struct variant *v, const char *text, enum barid_verdict_kind *verdict)
{
    static const uint8_t seed[32];
    struct err err = {0};
    struct policy_services services = {
        .loop = hooks_io_loop, .shared = shared, .config = config};
    struct policy_handler handler = {.name = "bench",
                                     .where = "",
                                     .event = *verdict == BARID_HOLD ? BARID_EVENT_MESSAGE
                                                                     : BARID_EVENT_RECIPIENT,
                                     .run = decide,
                                     .user = verdict};
    struct server_options o = {.loop = hooks_io_loop,
                               .spool = &spool,
                               .admission = admission,
                               .clock = &clock_system,
                               .rng = &rng_system,
                               .auth_seed = seed};
    struct server_version version = {.config = config};

    if (policy_lua_new(&v->policy, &services, slice_str(text), 1, &err) < 0 ||
        policy_add(v->policy, &handler) < 0)
        die("policy", err.text);
    version.policy = v->policy;
    if (server_new(&v->server, &o, &version, &err) < 0 ||
        server_listen(v->server, 0, -1, &err) < 0)
        die("server", err.text);
    v->listener = hooks_io_listener();
}

/* --- the client --- */

static void make_body(void)
{
    static char text[2048];
    size_t n = (size_t)snprintf(text, sizeof(text),
                                "From: <bench@sender.test>\r\nTo: <user@rcpt.test>\r\n"
                                "Subject: bench\r\nMessage-Id: <x@client.test>\r\n"
                                "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n");

    for (int i = 0; i < 11; i++) {
        memset(text + n, 'X', 76);
        memcpy(text + n + 76, "\r\n", 2);
        n += 78;
    }
    memcpy(text + n, ".\r\n", 3);
    body = (barid_slice){text, n + 3};
}

static void expect(barid_slice reply, const char *code)
{
    if (reply.n < 3 || memcmp(reply.p, code, 3) != 0) {
        fprintf(stderr, "hooks: wanted %s, got %.*s\n", code, (int)reply.n, reply.p);
        exit(70);
    }
}

static void run_connection(struct variant *v, size_t messages)
{
    expect(hooks_io_connect(v->listener), "220");
    expect(hooks_io_say(BARID_S("EHLO client.test\r\n")), "250");
    for (size_t i = 0; i < messages; i++) {
        expect(hooks_io_say(BARID_S("MAIL FROM:<bench@sender.test>\r\n")), "250");
        expect(hooks_io_say(BARID_S("RCPT TO:<user@rcpt.test>\r\n")), "250");
        expect(hooks_io_say(BARID_S("DATA\r\n")), "354");
        expect(hooks_io_say(body), "250");
    }
    expect(hooks_io_say(BARID_S("QUIT\r\n")), "221");
    if (hooks_io_is_open())
        die("client", "the connection stays open");
}

/* --- counting --- */

static void open_counter(void)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof(attr),
                                   .config = PERF_COUNT_HW_INSTRUCTIONS,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1};

    counter = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static uint64_t instructions(void)
{
    uint64_t n = 0;

    return counter >= 0 && read(counter, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static double cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void turn(struct variant *v, size_t messages, size_t per_connection)
{
    uint64_t from = instructions();
    double at = cpu();

    for (size_t left = messages; left > 0;) {
        size_t n = left < per_connection ? left : per_connection;

        run_connection(v, n);
        left -= n;
    }
    v->cpu[v->n_turns++] = cpu() - at;
    v->instructions += instructions() - from;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void report(struct variant *v, size_t messages, const char *name, const char *end)
{
    qsort(v->cpu, v->n_turns, sizeof(*v->cpu), by_value);
    printf("\"%s\":{\"instructions\":%.1f,\"cpu_us\":%.4f}%s", name,
           (double)v->instructions / (double)messages, v->cpu[v->n_turns / 2] / TURN * 1e6,
           end);
}

static void run_all(size_t messages, size_t per_connection, const char *only)
{
    size_t turns = (messages + TURN - 1) / TURN;

    for (size_t i = 0; i < VARIANTS; i++)
        if ((variants[i].cpu = calloc(turns + 1, sizeof(double))) == NULL)
            die("start", "out of memory");
    for (size_t i = 0; i < VARIANTS && only == NULL;
         i++) { /* arenas, pools and the Lua heap grow to their size */
        turn(&variants[i], TURN, per_connection);
        variants[i].n_turns = 0;
        variants[i].instructions = 0;
    }
    for (size_t t = 0; t < turns; t++)
        for (size_t i = 0; i < VARIANTS; i++)
            if (only == NULL || strcmp(only, names[i]) == 0)
                turn(&variants[i], TURN, per_connection);
    printf("{\"messages\":%zu,\"counted\":%s,", turns * TURN, counter >= 0 ? "true" : "false");
    for (size_t i = 0; i < VARIANTS; i++)
        report(&variants[i], turns * TURN, names[i], i + 1 < VARIANTS ? "," : "}\n");
}

static void free_all(void)
{
    for (size_t i = 0; i < VARIANTS; i++) {
        server_del(&variants[i].server);
        policy_unref(&variants[i].policy);
        free(variants[i].cpu);
    }
    config->listen = NULL; /* not of its memory */
    config->n_listen = 0;
    config_del(&config);
    shared_del(&shared);
    admission_del(&admission);
    memory->ops->close(memory);
}

int main(int argc, char **argv)
{
    enum barid_verdict_kind verdict = BARID_DISCARD;

    if (argc < 4 || (strcmp(argv[1], "discard") != 0 && strcmp(argv[1], "hold") != 0) ||
        strtoul(argv[2], NULL, 10) == 0) {
        fprintf(stderr,
                "usage: hooks discard|hold MESSAGES_PER_CONNECTION MESSAGES [VARIANT]\n");
        return 64;
    }
    if (strcmp(argv[1], "hold") == 0)
        verdict = BARID_HOLD;
    make_shared();
    make_body();
    open_counter();
    for (size_t i = 0; i < VARIANTS; i++)
        make_variant(&variants[i], policies[i], &verdict);
    run_all(strtoul(argv[3], NULL, 10), strtoul(argv[2], NULL, 10), argc > 4 ? argv[4] : NULL);
    free_all();
    return 0;
}
