/*
 * cli/cmd_sink.c: barid sink: takes every mail and writes one JSON line about each. Made of libbarid-server, like any embedder
 * could.
 *
 * An envelope is one MAIL transaction; its line is written, and the data file closed, before the mail is acknowledged, so what
 * a client believes to be delivered can be counted here. A smuggled second message would be a line of its own.
 */
#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "barid/server.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "cli/commands.h"
#include "control/json_text.h"
#include "message/facts.h"

#define SINK_REPLIES_MAX 32
#define SINK_DRAIN_MS    1000

enum { OPT_PORT = 256, OPT_LISTEN, OPT_LMTP, OPT_OUT, OPT_DATA, OPT_REPLY, OPT_COUNT, OPT_CERT, OPT_KEY, OPT_HOSTNAME };

struct scripted { /* --reply EVENT[:ADDRESS]=CODE [TEXT] */
    enum barid_event_id event;
    barid_slice address; /* empty = any */
    barid_verdict verdict;
};

struct sink {
    const struct command *c;
    barid_server *server;
    barid_session_config config;
    barid_server_tls tls;
    const char *address, *data_dir;
    FILE *out;
    struct scripted replies[SINK_REPLIES_MAX];
    size_t n_replies;
    uint64_t count, stop_after;
    uint64_t files; /* begun: several sessions write at once */
    bool write_failed;
};

struct envelope {
    struct sink *sink;
    EVP_MD_CTX *sha256;
    uint64_t size;
    json_t *sender, *recipients;
    const char *body;
    bool smtputf8;
    FILE *data;
    char file[512];
};

/* --- one envelope ---------------------------------------------------------------------------------------- */

static void envelope_reset(struct envelope *e)
{
    EVP_MD_CTX_free(e->sha256);
    json_decref(e->sender);
    json_decref(e->recipients);
    if (e->data != NULL) {
        fclose(e->data);
        unlink(e->file); /* not accepted: nobody is to count it */
    }
    *e = (struct envelope){.sink = e->sink};
}

static void envelope_begin(struct envelope *e, const barid_event *ev)
{
    static const char *const bodies[] = {NULL, "7BIT", "8BITMIME", "BINARYMIME"};

    envelope_reset(e);
    e->sender = json_text(ev->path->raw);
    e->recipients = json_array();
    e->body = ev->mail_params != NULL ? bodies[ev->mail_params->body & 3] : NULL;
    e->smtputf8 = ev->mail_params != NULL && ev->mail_params->smtputf8;
}

static void take(struct envelope *e, barid_slice data)
{
    struct sink *s = e->sink;

    if (e->sha256 == NULL) {
        e->sha256 = EVP_MD_CTX_new();
        if (e->sha256 != NULL)
            EVP_DigestInit_ex(e->sha256, EVP_sha256(), NULL);
        if (s->data_dir != NULL) {
            snprintf(e->file, sizeof(e->file), "%s/%d-%06llu.eml", s->data_dir, (int)getpid(), (unsigned long long)s->files++);
            e->data = fopen(e->file, "wx");
            s->write_failed |= e->data == NULL;
        }
    }
    if (e->sha256 != NULL)
        EVP_DigestUpdate(e->sha256, data.p, data.n);
    if (e->data != NULL && data.n > 0)
        s->write_failed |= fwrite(data.p, 1, data.n, e->data) != data.n;
    e->size += data.n;
}

static json_t *digest_json(struct envelope *e)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    struct buf hex;
    json_t *text;

    if (e->sha256 == NULL || EVP_DigestFinal_ex(e->sha256, digest, &n) != 1)
        return json_null();
    buf_init(&hex, NULL, 0);
    hex_encode(&hex, slice_of(digest, n));
    text = json_text(buf_slice(&hex));
    buf_deinit(&hex);
    return text;
}

/* Those that `recipient` refused were made null. */
static json_t *accepted_json(const struct envelope *e)
{
    json_t *list = json_array(), *one;
    size_t i;

    json_array_foreach(e->recipients, i, one)
        if (!json_is_null(one))
            json_array_append(list, one);
    return list;
}

static json_t *envelope_json(struct envelope *e, const barid_session *session)
{
    json_t *o = json_object();
    char client[ENDPOINT_TEXT_SIZE];

    endpoint_text(barid_session_peer(session), client);
    json_object_set_new(o, "time", json_time(clock_wall_us(&clock_system)));
    json_object_set_new(o, "client", json_string(client));
    json_object_set_new(o, "helo", json_text(barid_session_helo(session)));
    json_object_set_new(o, "tls", json_boolean(barid_session_tls(session) != NULL));
    json_object_set(o, "sender", e->sender);
    json_object_set_new(o, "recipients", accepted_json(e));
    json_object_set_new(o, "size", json_integer((json_int_t)e->size));
    json_object_set_new(o, "sha256", digest_json(e));
    if (e->body != NULL)
        json_object_set_new(o, "body", json_string(e->body));
    if (e->smtputf8)
        json_object_set_new(o, "smtputf8", json_true());
    if (e->data != NULL)
        json_object_set_new(o, "file", json_string(e->file));
    return o;
}

/* The line and the data are out, or the mail is not acknowledged. */
static bool envelope_commit(struct envelope *e, const barid_session *session)
{
    struct sink *s = e->sink;
    json_t *o;

    if (e->sha256 == NULL) /* an empty message has no data events */
        take(e, (barid_slice){0});
    o = envelope_json(e, session);
    if (e->data != NULL) {
        s->write_failed |= fclose(e->data) != 0;
        e->data = NULL;
    }
    if (!s->write_failed)
        s->write_failed = json_dumpf(o, s->out, JSON_COMPACT | JSON_ENSURE_ASCII) != 0 || fputc('\n', s->out) == EOF ||
                          fflush(s->out) != 0;
    json_decref(o);
    envelope_reset(e);
    s->count += !s->write_failed;
    return !s->write_failed;
}

/* --- events ---------------------------------------------------------------------------------------------- */

static barid_verdict scripted_verdict(const struct sink *s, const barid_event *ev)
{
    for (size_t i = 0; i < s->n_replies; i++) {
        const struct scripted *r = &s->replies[i];

        if (r->event != ev->id)
            continue;
        if (r->address.n == 0 || (ev->path != NULL && slice_eq_nocase(ev->path->raw, r->address)))
            return r->verdict;
    }
    return (barid_verdict){.kind = BARID_CONTINUE};
}

static barid_verdict on_commit(struct sink *s, struct envelope *e, const barid_session *session)
{
    if (!envelope_commit(e, session)) {
        cli_fail(s->c, EX_IOERR, "a mail could not be written: stopping");
        barid_server_stop(s->server, 0);
        return (barid_verdict){.kind = BARID_TEMPFAIL};
    }
    if (s->stop_after > 0 && s->count >= s->stop_after)
        barid_server_stop(s->server, SINK_DRAIN_MS);
    return (barid_verdict){.kind = BARID_ACCEPT};
}

static struct envelope *envelope_of(barid_connection *c, struct sink *s)
{
    struct envelope *e = barid_connection_data(c);

    if (e == NULL) {
        e = xalloc(sizeof(*e));
        e->sink = s;
        barid_connection_set_data(c, e);
    }
    return e;
}

static bool refuses(const barid_verdict *v)
{
    return v->kind == BARID_REJECT || v->kind == BARID_TEMPFAIL;
}

static void on_event(barid_connection *c, const barid_event *ev, void *user)
{
    struct sink *s = user;
    struct envelope *e = envelope_of(c, s);
    barid_verdict v = scripted_verdict(s, ev);

    if (ev->id == BARID_EVENT_MAIL)
        envelope_begin(e, ev);
    else if (ev->id == BARID_EVENT_RCPT && !refuses(&v))
        json_array_append_new(e->recipients, json_text(ev->path->raw));
    else if (ev->id == BARID_EVENT_RECIPIENT && refuses(&v))
        json_array_set_new(e->recipients, ev->rcpt_index, json_null());
    else if (ev->id == BARID_EVENT_HEADERS) {
        take(e, ev->data);
        if (ev->has_blank_line)
            take(e, BARID_S("\r\n"));
    } else if (ev->id == BARID_EVENT_BODY)
        take(e, ev->data);
    else if (ev->id == BARID_EVENT_COMMIT)
        v = on_commit(s, e, barid_connection_session(c));
    if (ev->token != 0)
        barid_connection_answer(c, ev->token, &v);
}

static void on_closed(barid_connection *c, void *user)
{
    struct envelope *e = barid_connection_data(c);

    (void)user;
    if (e != NULL)
        envelope_reset(e);
    mem_free(NULL, e);
}

/* --- options --------------------------------------------------------------------------------------------- */

/* "5.1.1 text": RFC 3463 2, of the class of the reply (RFC 2034 4). */
static bool looks_enhanced(barid_slice text, char class)
{
    barid_slice rest, word = slice_cut(text, ' ', &rest);
    size_t dots = 0;

    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] != '.' && (word.p[i] < '0' || word.p[i] > '9'))
            return false;
        dots += word.p[i] == '.';
    }
    return dots == 2 && word.n >= 5 && word.p[0] == class && word.p[1] == '.';
}

static int parse_reply(struct sink *s, const char *text)
{
    struct scripted *r = &s->replies[s->n_replies];
    barid_slice rest, code, tail, name = slice_cut(slice_str(text), '=', &rest);
    uint64_t number;

    if (s->n_replies == SINK_REPLIES_MAX)
        return cli_usage(s->c, "at most %d --reply", SINK_REPLIES_MAX);
    name = slice_cut(name, ':', &r->address);
    r->event = barid_event_by_name(name);
    code = slice_cut(rest, ' ', &tail);
    if (r->event == BARID_EVENT_NONE || slice_u64(code, 599, &number) < 0 || number < 200 || (number >= 300 && number < 400))
        return cli_usage(s->c, "--reply takes EVENT[:ADDRESS]=CODE [TEXT], such as rcpt:a@example.com=450 later: not \"%s\"", text);
    if (barid_event_info_get(r->event)->kind != BARID_KIND_DECIDE)
        return cli_usage(s->c, "--reply: the event %.*s is not answered", (int)name.n, name.p);
    r->verdict = (barid_verdict){.kind = number >= 500   ? BARID_REJECT
                                         : number >= 400 ? BARID_TEMPFAIL
                                                         : BARID_ACCEPT,
                                 .code = (uint16_t)number,
                                 .text = tail};
    if (looks_enhanced(tail, code.p[0]))
        r->verdict.enhanced = slice_cut(tail, ' ', &r->verdict.text);
    s->config.events |= BARID_EVENT_BIT(r->event);
    s->n_replies++;
    return EX_OK;
}

static int open_out(struct sink *s, const char *file)
{
    s->out = fopen(file, "ae");
    return s->out != NULL ? EX_OK : cli_fail(s->c, EX_CANTCREAT, "%s: %s", file, strerror(errno));
}

static int take_option(struct sink *s, int value, char *port_address, size_t size)
{
    uint64_t port;

    switch (value) {
    case OPT_PORT:
        if (cli_number(s->c, "--port", optarg, 65535, &port) != 0)
            return EX_USAGE;
        snprintf(port_address, size, "127.0.0.1:%u", (unsigned)port);
        s->address = port_address;
        return EX_OK;
    case OPT_LISTEN:
        s->address = optarg;
        return EX_OK;
    case OPT_LMTP:
        s->config.protocol = BARID_LMTP;
        return EX_OK;
    case OPT_OUT:
        return open_out(s, optarg);
    case OPT_DATA:
        s->data_dir = optarg;
        return EX_OK;
    case OPT_REPLY:
        return parse_reply(s, optarg);
    case OPT_COUNT:
        return cli_number(s->c, "--count", optarg, UINT32_MAX, &s->stop_after) != 0 ? EX_USAGE : EX_OK;
    case OPT_CERT:
        s->tls.cert_file = optarg;
        return EX_OK;
    case OPT_KEY:
        s->tls.key_file = optarg;
        return EX_OK;
    case OPT_HOSTNAME:
        s->config.hostname = slice_str(optarg);
        return EX_OK;
    default:
        return EX_USAGE;
    }
}

static void *wait_for_signal(void *user)
{
    struct sink *s = user;
    sigset_t set;
    int signum;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigwait(&set, &signum);
    barid_server_stop(s->server, SINK_DRAIN_MS);
    return NULL;
}

/* Signals go to one thread that waits for them: a handler could do nothing useful. */
static void watch_signals(struct sink *s)
{
    pthread_t thread;
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&thread, NULL, wait_for_signal, s) == 0)
        pthread_detach(thread);
}

static int serve(struct sink *s)
{
    char error[384] = "";
    int rc;

    if (s->tls.cert_file != NULL)
        s->config.extensions |= BARID_EXT_STARTTLS;
    rc = barid_server_new(&s->server, on_event, on_closed, s, error, sizeof(error));
    if (rc == 0)
        rc = barid_server_listen(s->server, s->address, &s->config, s->tls.cert_file != NULL ? &s->tls : NULL, error, sizeof(error));
    if (rc == 0) {
        watch_signals(s);
        if (barid_server_port(s->server, 0) != 0)
            fprintf(stderr, "listening on port %u\n", barid_server_port(s->server, 0));
        else
            fprintf(stderr, "listening on %s\n", s->address);
        barid_server_run(s->server);
    }
    barid_server_del(&s->server);
    if (rc < 0)
        return cli_fail(s->c, rc == BARID_ESYNTAX ? EX_USAGE : EX_UNAVAILABLE, "%s", error);
    return s->write_failed ? EX_IOERR : EX_OK;
}

/* Whoever sends here is under test, not a stranger. */
static void open_limits(barid_limits *l)
{
    barid_limits_default(l);
    l->commands = l->errors = l->noops = SIZE_MAX;
    l->recipients = 100000;
    l->header = 64u << 20;
    l->message = UINT64_C(1) << 40;
    l->data_min_rate = 1;
}

static int run_sink(const struct command *c, int argc, char **argv)
{
    static const struct option options[] = {{"port", required_argument, NULL, OPT_PORT},
                                            {"listen", required_argument, NULL, OPT_LISTEN},
                                            {"lmtp", no_argument, NULL, OPT_LMTP},
                                            {"out", required_argument, NULL, OPT_OUT},
                                            {"data", required_argument, NULL, OPT_DATA},
                                            {"reply", required_argument, NULL, OPT_REPLY},
                                            {"count", required_argument, NULL, OPT_COUNT},
                                            {"cert", required_argument, NULL, OPT_CERT},
                                            {"key", required_argument, NULL, OPT_KEY},
                                            {"hostname", required_argument, NULL, OPT_HOSTNAME},
                                            {0}};
    struct sink s = {.c = c, .address = "127.0.0.1:2526"};
    char address[32];
    int value, code = EX_OK;

    s.config = (barid_session_config){.size = sizeof(s.config), .hostname = BARID_S("sink.localhost"), .extensions = BARID_EXT_DEFAULT};
    s.config.events = BARID_EVENT_BIT(BARID_EVENT_MAIL) | BARID_EVENT_BIT(BARID_EVENT_RCPT) |
                      BARID_EVENT_BIT(BARID_EVENT_HEADERS) | BARID_EVENT_BIT(BARID_EVENT_BODY);
    open_limits(&s.config.limits);
    while (code == EX_OK && (value = cli_option(c, argc, argv, "", options)) != -1)
        code = take_option(&s, value, address, sizeof(address));
    if (code == EX_OK && optind < argc)
        code = cli_usage(c, "unexpected argument \"%s\"", argv[optind]);
    if (code == EX_OK && (s.tls.cert_file == NULL) != (s.tls.key_file == NULL))
        code = cli_usage(c, "--cert and --key belong together");
    if (code == EX_OK && s.data_dir != NULL && mkdir(s.data_dir, 0700) != 0 && errno != EEXIST)
        code = cli_fail(c, EX_CANTCREAT, "%s: %s", s.data_dir, strerror(errno));
    if (s.out == NULL)
        s.out = stdout;
    if (code == EX_OK)
        code = serve(&s);
    if (s.out != stdout)
        fclose(s.out);
    return code;
}

const struct command command_sink = {
    "sink", run_sink, "[--port N] [--lmtp] ...", "accept everything and write one JSON line per envelope",
    "  --port N           TCP port on 127.0.0.1; 0 = any free one; 2526 by default\n"
    "  --listen ADDRESS   any address, such as [::1]:2526 or unix:/tmp/sink\n"
    "  --lmtp             speak LMTP\n"
    "  --out FILE         append the lines to FILE instead of printing them\n"
    "  --data DIR         keep each message in a file of DIR\n"
    "  --reply EVENT[:ADDRESS]=CODE [TEXT]   answer an event so; may be repeated, the first match counts\n"
    "  --count N          stop after N envelopes\n"
    "  --cert FILE --key FILE   offer STARTTLS\n"
    "  --hostname NAME    our name in the greeting\n"};
