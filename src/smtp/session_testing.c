/* smtp/session_testing.c: see session_testing.h. Test code only. */
#include "smtp/session_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/testing.h"
#include "smtp/session_words_testing.h"

#define VERDICTS_MAX 32

struct script {
    const struct script_mode *mode;
    struct script_result *r;
    barid_session_config config;
    barid_endpoint peer;
    barid_session *s;
    uint64_t now;
    struct rng_seeded rng;
    struct script_verdict verdicts[VERDICTS_MAX];
    size_t n_verdicts;
    unsigned seen[BARID_EVENTS];
    struct buf input;    /* to be fed */
    struct buf expected; /* S lines not yet compared */
    size_t out_compared, log_compared;
    size_t commits; /* accepted */
    bool waiting;   /* an event was taken and not answered */
    barid_event event;
};

static void fail(struct script *x, const char *what, barid_slice a, barid_slice b)
{
    if (!x->r->ok || x->mode->mem != NULL)
        return;
    x->r->ok = false;
    snprintf(x->r->why, sizeof(x->r->why), "%s: got \"%.*s\", expected \"%.*s\"", what,
             (int)a.n, a.p != NULL ? a.p : "", (int)b.n, b.p != NULL ? b.p : "");
    if (getenv("SCRIPT_VERBOSE") != NULL)
        fprintf(stderr, "%s\n--- got\n%.*s\n--- expected\n%.*s\n", what, (int)a.n,
                a.p != NULL ? a.p : "", (int)b.n, b.p != NULL ? b.p : "");
}

static void must(int rc)
{
    if (rc < 0)
        abort();
}

/* --- what the session is answered --- */

static barid_verdict verdict_for(struct script *x, enum barid_event_id id)
{
    barid_verdict v = {.kind = BARID_CONTINUE};

    if (id == BARID_EVENT_COMMIT)
        v = (barid_verdict){.kind = BARID_ACCEPT, .id = BARID_S("Q")};
    for (size_t i = 0; i < x->n_verdicts; i++) {
        if (x->verdicts[i].event == id &&
            (x->verdicts[i].nth == 0 || x->verdicts[i].nth == x->seen[id]))
            return x->verdicts[i].verdict;
    }
    return v;
}

/* --- what the session does --- */

static void log_slice(struct buf *log, const char *key, barid_slice s)
{
    if (s.n > 0)
        must(buf_fmt(log, " %s=%.*s", key, (int)s.n, s.p));
}

/* Small data in full, with '|' for CRLF; of larger the size and a checksum. */
static void log_data(struct buf *log, barid_slice s)
{
    must(buf_fmt(log, " %zu", s.n));
    if (s.n > 80) {
        must(buf_fmt(log, ":%08x", (unsigned)crc32c(0, s.p, s.n)));
        return;
    }
    must(buf_byte(log, ':'));
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
            must(buf_byte(log, '|'));
            i++;
        } else if (c == '\r' || c == '\n') {
            must(buf_str(log, c == '\r' ? "<CR>" : "<LF>"));
        } else {
            must(buf_byte(log, c));
        }
    }
}

static void log_event(struct script *x, const barid_event *e)
{
    struct buf *log = &x->r->log;
    const barid_event_info *info = barid_event_info_get(e->id);

    must(buf_fmt(log, "%s", info->name));
    log_slice(log, "verb", e->verb);
    log_slice(log, "arg", e->argument);
    if (e->path != NULL)
        must(
            buf_fmt(log, " <%.*s>", (int)e->path->raw.n, e->path->raw.n ? e->path->raw.p : ""));
    if (e->rcpt_params != NULL)
        must(buf_fmt(log, " %zu", e->rcpt_index));
    if (e->id == BARID_EVENT_HEADERS || e->id == BARID_EVENT_BODY)
        log_data(log, e->data);
    if (e->last || e->bdat || e->has_blank_line)
        must(buf_fmt(log, "%s%s%s", e->last ? " last" : "", e->bdat ? " bdat" : "",
                     e->has_blank_line ? " blank" : ""));
    if (e->id == BARID_EVENT_MESSAGE || e->id == BARID_EVENT_COMMIT)
        must(buf_fmt(log, " %llu", (unsigned long long)e->size));
    if (e->id == BARID_EVENT_AUTH)
        must(buf_fmt(log, " %s", barid_auth_mechanism_name(e->mechanism)));
    log_slice(log, "authcid", e->authcid);
    log_slice(log, "authzid", e->authzid);
    log_slice(log, "password", e->password);
    if (e->id == BARID_EVENT_DISCONNECT)
        must(buf_fmt(log, " %s", barid_close_reason_name(e->reason)));
    must(buf_byte(log, '\n'));
}

static void answer(struct script *x)
{
    barid_verdict v = verdict_for(x, x->event.id);
    int rc;

    x->waiting = false;
    if (x->event.id == BARID_EVENT_COMMIT && v.kind == BARID_ACCEPT)
        x->commits++;
    rc = barid_session_answer(x->s, x->event.token, &v);
    if (rc < 0)
        must(buf_fmt(&x->r->log, "wrong\n"));
    /* Exactly once. */
    if (barid_session_answer(x->s, x->event.token, &v) != BARID_EINVALID)
        fail(x, "answered twice", BARID_S(""), BARID_S(""));
}

static void take_event(struct script *x)
{
    if (x->waiting || barid_session_next(x->s, &x->event) != 1)
        return;
    x->seen[x->event.id]++;
    log_event(x, &x->event);
    x->waiting = x->event.token != 0;
}

static size_t count(barid_slice text, const char *word)
{
    size_t n = 0, len = strlen(word);

    for (size_t i = 0; i + len <= text.n; i++)
        n += memcmp(text.p + i, word, len) == 0;
    return n;
}

static void take_output(struct script *x)
{
    const uint8_t *p;
    size_t n = barid_session_output(x->s, &p);

    if (n > 0 && x->mode->random_cuts)
        n = (size_t)(rng_u64(&x->rng.rng) % n) + 1;
    must(buf_append(&x->r->out, slice_of(p, n)));
    barid_session_sent(x->s, n);
    /* The one lie that must never be told. */
    if (x->commits == 0 && count(buf_slice(&x->r->out), "queued as") > 0) {
        fprintf(stderr, "script: acknowledged without commit\n");
        abort();
    }
}

/* Until it has nothing more to say or ask. */
static void settle(struct script *x)
{
    const uint8_t *p;
    bool more = true;

    while (more) {
        take_event(x);
        more = x->waiting;
        if (x->waiting)
            answer(x);
        take_output(x);
        more = more || barid_session_output(x->s, &p) > 0;
    }
}

static void step(struct script *x)
{
    take_event(x);
    if (x->waiting && (!x->mode->late || (barid_session_wants(x->s) & BARID_WANT_READ) == 0))
        answer(x);
    take_output(x);
}

static void feed(struct script *x, size_t n)
{
    char *copy =
        xalloc(n); /* alone in a block: a sanitizer sees what is read past it or after */

    memcpy(copy, x->input.p, n);
    buf_consume(&x->input, n);
    barid_session_feed(x->s, copy, n, x->now);
    free(copy);
}

static void feed_all(struct script *x)
{
    for (unsigned idle = 0; x->input.len > 0 && idle < 1000; idle++) {
        size_t n =
            x->mode->cut == 0 || x->mode->cut > x->input.len ? x->input.len : x->mode->cut;
        unsigned wants;

        step(x);
        wants = barid_session_wants(x->s);
        if ((wants & (BARID_WANT_CLOSE | BARID_WANT_TLS)) != 0)
            break;
        if ((wants & BARID_WANT_READ) == 0)
            continue;
        if (x->mode->random_cuts)
            n = (size_t)(rng_u64(&x->rng.rng) % n) + 1;
        feed(x, n);
        idle = 0;
    }
    settle(x);
}

/* --- the dialogue --- */

static void fake_random(void *user, void *p, size_t n)
{
    (void)user;
    memset(p, 'r', n);
}

static void open_session(struct script *x)
{
    if (x->s != NULL || x->r->size_idle == SIZE_MAX)
        return;
    if ((x->config.extensions & BARID_EXT_AUTH) != 0)
        x->config.random = fake_random;
    if (barid_session_new(&x->s, &x->config, &x->peer, x->mode->mem, x->now) < 0) {
        x->r->size_idle = SIZE_MAX; /* out of memory, or a config of the script's own making */
        fail(x, "session_new", BARID_S(""), BARID_S(""));
        return;
    }
    settle(x);
}

static void compare_output(struct script *x)
{
    barid_slice got = slice_from(buf_slice(&x->r->out), x->out_compared);

    x->out_compared = x->r->out.len;
    if (!slice_eq(got, buf_slice(&x->expected)))
        fail(x, "output", got, buf_slice(&x->expected));
    buf_clear(&x->expected);
}

static void compare_log(struct script *x, barid_slice want)
{
    barid_slice got = slice_from(buf_slice(&x->r->log), x->log_compared);

    x->log_compared = x->r->log.len;
    if (!slice_eq(slice_trim(got), slice_trim(want)))
        fail(x, "events", got, want);
}

static void add_word(struct buf *text, barid_slice s)
{
    must(buf_fmt(text, " %.*s", s.n > 0 ? (int)s.n : 1, s.n > 0 ? s.p : "-"));
}

static void add_endpoint(struct buf *text, const barid_endpoint *e)
{
    if (e->family == BARID_FAMILY_NONE)
        must(buf_str(text, "-"));
    else
        must(buf_fmt(text, "%d.%d.%d.%d:%d", e->addr[0], e->addr[1], e->addr[2], e->addr[3],
                     e->port));
}

static void compare_facts(struct script *x, barid_slice want)
{
    const barid_tls_info *tls = barid_session_tls(x->s);
    struct buf got;

    buf_init(&got, NULL, 0);
    add_endpoint(&got, barid_session_peer(x->s));
    add_word(&got, barid_session_helo(x->s));
    must(buf_str(&got, barid_session_is_esmtp(x->s) ? "/esmtp" : ""));
    add_word(&got, barid_session_user(x->s));
    add_word(&got, slice_str(barid_auth_mechanism_name(barid_session_mechanism(x->s))));
    add_word(&got, tls != NULL ? tls->version : (barid_slice){NULL, 0});
    add_word(&got, barid_session_peer_name(x->s));
    must(buf_byte(&got, ' '));
    add_endpoint(&got, barid_session_proxy_dest(x->s));
    if (!slice_eq(buf_slice(&got), want))
        fail(x, "facts", buf_slice(&got), want);
    buf_deinit(&got);
}

static void handshake(struct script *x, const char *arg)
{
    static const barid_tls_info info = {
        .version = {"TLSv1.3", 7}, .cipher = {"TLS_AES_256_GCM_SHA384", 22}, .bits = 256};

    settle(x);
    if ((barid_session_wants(x->s) & BARID_WANT_TLS) == 0)
        fail(x, "no WANT_TLS", BARID_S(""), BARID_S(""));
    buf_clear(&x->input);
    barid_session_tls_done(x->s, strcmp(arg, "fail") == 0 ? NULL : &info, x->now);
    settle(x);
}

static size_t unescape(const char *p, size_t n, char *out)
{
    size_t o = 0;

    for (size_t i = 0; i < n; i++) {
        const char *known = "rn0t\\", *at;

        if (p[i] != '\\' || i + 1 == n) {
            out[o++] = p[i];
        } else if (p[i + 1] == 'x' && i + 3 < n) {
            out[o++] = (char)strtol((char[]){p[i + 2], p[i + 3], '\0'}, NULL, 16);
            i += 3;
        } else {
            at = strchr(known, p[++i]);
            out[o++] = at != NULL ? "\r\n\0\t\\"[at - known] : p[i];
        }
    }
    out[o] = '\0';
    return o;
}

static void send_run(struct script *x, const char *arg)
{
    char *end;
    unsigned long n = strtoul(arg, &end, 10);

    for (unsigned long i = 0; i < n; i++)
        must(buf_byte(&x->input, end[1]));
}

static void time_passes(struct script *x, const char *arg)
{
    x->now += strtoull(arg, NULL, 10);
    barid_session_tick(x->s, x->now);
    settle(x);
}

/* Steps that are not input: what was sent before has been dealt with. */
static void other_step(struct script *x, char kind, const char *arg, size_t n)
{
    feed_all(x);
    if (strchr("TWPE", kind) != NULL)
        compare_output(x);
    if (kind == 'T')
        handshake(x, arg);
    else if (kind == 'W')
        time_passes(x, arg);
    else if (kind == 'E')
        barid_session_eof(x->s);
    else if (kind == 'P')
        barid_session_stop(x->s, strcmp(arg, "force") == 0);
    else if (kind == 'F')
        compare_facts(x, slice_of(arg, n));
    else if (kind == 'L')
        compare_log(x, slice_of(arg, n));
    else
        abort();
    settle(x);
}

static void do_line(struct script *x, char kind, char *arg, size_t n)
{
    if (kind == 'O') {
        words_options(&x->config, arg);
        return;
    }
    if (kind == 'V') {
        if (x->n_verdicts == VERDICTS_MAX)
            abort();
        words_verdict(&x->verdicts[x->n_verdicts++], arg);
        return;
    }
    open_session(x);
    if (x->s == NULL)
        return;
    if (kind == 'C' || kind == 'R') {
        must(buf_append(&x->input, slice_of(arg, n)));
        must(kind == 'C' ? buf_str(&x->input, "\r\n") : 0);
    } else if (kind == 'Z') {
        send_run(x, arg);
    } else if (kind == 'S') {
        must(buf_append(&x->expected, slice_of(arg, n)));
        must(buf_str(&x->expected, "\r\n"));
    } else {
        other_step(x, kind, arg, n);
    }
}

static void begin(struct script *x, const struct script_mode *mode, struct script_result *r)
{
    *x = (struct script){.mode = mode, .r = r, .now = 1000};
    *r = (struct script_result){.ok = true};
    x->config = (barid_session_config){
        .size = sizeof(x->config),
        .hostname = BARID_S("mx.example"),
        .events = UINT64_MAX,
        .extensions = BARID_EXT_DEFAULT,
        .mechanisms = 1u << BARID_AUTH_PLAIN | 1u << BARID_AUTH_LOGIN |
                      1u << BARID_AUTH_CRAM_MD5 | 1u << BARID_AUTH_SCRAM_SHA_1 |
                      1u << BARID_AUTH_SCRAM_SHA_256,
    };
    x->peer =
        (barid_endpoint){.family = BARID_FAMILY_IPV4, .addr = {192, 0, 2, 1}, .port = 4242};
    rng_seeded_init(&x->rng, mode->seed);
    buf_init(&x->input, NULL, 0);
    buf_init(&x->expected, NULL, 0);
    buf_init(&r->out, NULL, 0);
    buf_init(&r->log, NULL, 0);
}

static void finish(struct script *x)
{
    open_session(x);
    if (x->s != NULL) {
        feed_all(x);
        compare_output(x);
    }
    barid_session_del(&x->s);
    buf_deinit(&x->input);
    buf_deinit(&x->expected);
}

void script_run(const char *text, const struct script_mode *mode, struct script_result *r)
{
    struct script *x = xalloc(sizeof(*x));
    char arg[LINE_TEXT_MAX];

    begin(x, mode, r);
    for (const char *p = text, *end; *p != '\0'; p = *end != '\0' ? end + 1 : end) {
        size_t n;

        end = p + strcspn(p, "\n");
        n = (size_t)(end - p);
        if (n < 2 || p[1] != ':' || n >= sizeof(arg))
            abort();
        n -= n > 2 ? 3 : 2;
        n = unescape(p + (n > 0 ? 3 : 2), n, arg);
        do_line(x, p[0], arg, n);
    }
    finish(x);
    free(x);
}

void script_result_deinit(struct script_result *r)
{
    buf_deinit(&r->out);
    buf_deinit(&r->log);
}

/* --- all ways to run one --- */

static const char *name_mode(const struct script_mode *m)
{
    static char name[80];

    snprintf(name, sizeof(name), "cut %zu%s%s seed %llu", m->cut,
             m->random_cuts ? " random" : "", m->late ? " late" : "",
             (unsigned long long)m->seed);
    return name;
}

static bool check_mode(const char *text, const struct script_mode *mode,
                       const struct script_result *first, char *why, size_t size)
{
    struct script_result r;
    bool ok;

    script_run(text, mode, &r);
    ok = r.ok;
    if (!ok) {
        snprintf(why, size, "[%s] %s", name_mode(mode), r.why);
    } else if (!slice_eq(buf_slice(&r.out), buf_slice(&first->out)) ||
               !slice_eq(buf_slice(&r.log), buf_slice(&first->log))) {
        ok = false;
        snprintf(why, size, "[%s] differs from the whole run:\n%.*s", name_mode(mode),
                 (int)r.log.len, r.log.p);
    }
    script_result_deinit(&r);
    return ok;
}

static void check_failures(const char *text)
{
    struct fail_mem fm = {0};

    while (fail_mem_next(&fm)) {
        struct script_mode mode = {.mem = &fm.mem};
        struct script_result r;

        script_run(text, &mode, &r);
        script_result_deinit(&r);
    }
}

bool script_check(const char *text, const char **why_r)
{
    static const struct script_mode whole;
    static char why[2048];
    struct script_result first;
    bool ok;

    *why_r = why;
    script_run(text, &whole, &first);
    ok = first.ok;
    if (!ok)
        snprintf(why, sizeof(why), "[whole] %s", first.why);
    for (unsigned late = 0; ok && late < 2; late++) {
        struct script_mode bytes = {.cut = 1, .late = late != 0};
        struct script_mode late_whole = {.late = true};

        ok = check_mode(text, &bytes, &first, why, sizeof(why)) &&
             check_mode(text, &late_whole, &first, why, sizeof(why));
    }
    for (unsigned i = 0; ok && i < 12; i++) {
        struct script_mode random = {
            .cut = (size_t)2 << i, .random_cuts = true, .late = i % 2 == 1, .seed = i + 1};

        ok = check_mode(text, &random, &first, why, sizeof(why));
    }
    script_result_deinit(&first);
    if (ok)
        check_failures(text);
    return ok;
}
