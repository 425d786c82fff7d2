/* smtp/differential_testing.c: see differential_testing.h. */
#include "smtp/differential_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/slice.h"
#include "smtp/dialogue_testing.h"

enum mode { MODE_WHOLE, MODE_CUTS, MODE_LATE, MODES };

#define RCPTS      1000 /* the default limit of a session */
#define LONG_INPUT 8192 /* octets; cut in larger pieces, or it would take all the time */
#define LATE_FEEDS 3    /* pieces that come while an event is unanswered */

struct side {
    const struct dialogue *d;
    const struct reference *r;
    enum mode mode;
    struct rng_seeded rng;
    size_t cut_max;
    barid_session_config config;
    barid_session *s;
    const char *why; /* the first difference, */
    size_t why_at;   /* after so many replies */

    size_t fed, end; /* octets of the input; of its segment */
    struct buf out;  /* what was said and not yet counted as replies */
    size_t replies, disconnects;
    enum barid_close_reason reason;
    bool last, eof; /* the last segment; the peer closed its side */

    struct buf mails, content;
    char *kept[RCPTS + 1]; /* addresses: the sender, then the recipients */
    bool refused[RCPTS + 1];
    size_t n_rcpts, n_mails;
};

static void expect(struct side *x, bool holds, const char *why)
{
    if (holds || x->why != NULL)
        return;
    x->why = why;
    x->why_at = x->replies;
}

/* --- replies --- */

static void count_reply(struct side *x, unsigned code)
{
    const struct reference *r = x->r;
    size_t i = x->replies++;

    if (i >= r->n_replies) {
        expect(x, r->unsure, "a reply too many");
        return;
    }
    expect(x, r->reply[i].code == code, "another code");
    expect(x, x->fed >= r->reply[i].at, "a reply before its command was heard");
}

/* RFC 2034 4: 2yz, 4yz and 5yz have an enhanced code of their class (a greeting and the list of
 * EHLO do not), 3yz has none. */
static bool is_class_right(const struct side *x, barid_slice line)
{
    bool enhanced = line.n > 6 && line.p[4] >= '0' && line.p[4] <= '9' && line.p[5] == '.';

    if (x->d->options.no_enhanced_codes || line.p[0] == '3')
        return !enhanced;
    return enhanced ? line.p[4] == line.p[0] : line.p[0] == '2';
}

static void read_lines(struct side *x)
{
    barid_slice rest = buf_slice(&x->out);

    while (rest.n > 0 && slice_find(rest, '\n') < rest.n) {
        barid_slice line = slice_cut(rest, '\n', &rest);

        expect(x, line.n >= 5 && line.p[line.n - 1] == '\r', "a reply that is none");
        expect(x, line.n < 5 || is_class_right(x, line), "another enhanced code");
        if (line.n >= 5 && line.p[3] == ' ')
            count_reply(x, (unsigned)strtoul(line.p, NULL, 10));
    }
    buf_consume(&x->out, x->out.len - rest.n);
}

/* Whole, or in pieces: what is said meanwhile comes with it. */
static bool read_output(struct side *x)
{
    const uint8_t *p;
    size_t n;
    bool any = false;

    while ((n = barid_session_output(x->s, &p)) > 0) {
        if (x->mode != MODE_WHOLE && n > 1)
            n = (size_t)(rng_u64(&x->rng.rng) % n) + 1;
        buf_append(&x->out, slice_of(p, n));
        barid_session_sent(x->s, n);
        any = true;
    }
    read_lines(x);
    return any;
}

/* All replies to what was heard were said. */
static void expect_settled(struct side *x)
{
    size_t due = 0;

    while (due < x->r->n_replies && x->r->reply[due].at <= x->fed)
        due++;
    expect(x, x->replies >= due, "a reply is missing");
}

/* --- input --- */

static bool feed_some(struct side *x)
{
    size_t n = x->end - x->fed;
    char *copy;

    if (n == 0 || (barid_session_wants(x->s) & BARID_WANT_READ) == 0)
        return false;
    if (x->mode != MODE_WHOLE && n > 1)
        n = (size_t)(rng_u64(&x->rng.rng) % (n < x->cut_max ? n : x->cut_max)) + 1;
    copy = malloc(n);
    if (copy == NULL)
        abort();
    memcpy(copy, x->d->input.p + x->fed, n);
    x->fed += n;
    expect(x, barid_session_feed(x->s, copy, n, 1) == 0, "input is refused");
    free(copy);
    return true;
}

/* --- events --- */

static void keep_address(char **to, barid_slice address)
{
    free(*to);
    *to = strndup(address.n > 0 ? address.p : "", address.n);
    if (*to == NULL)
        abort();
}

static void note_mail(struct side *x, enum barid_verdict_kind kind)
{
    reference_note_envelope(&x->mails, "from", slice_str(x->kept[0]));
    for (size_t i = 0; i < x->n_rcpts; i++)
        if (!x->refused[i + 1])
            reference_note_envelope(&x->mails, "to", slice_str(x->kept[i + 1]));
    reference_note_content(&x->mails, buf_slice(&x->content), kind);
}

static enum barid_verdict_kind commit_kind(struct side *x)
{
    enum barid_verdict_kind kind = BARID_ACCEPT;

    if (x->n_mails < x->r->n_mails)
        expect(x, x->replies == x->r->before[x->n_mails], "a reply before the commit");
    if (x->d->options.policy) {
        kind = reference_policy(BARID_EVENT_COMMIT, buf_slice(&x->content));
        note_mail(x, kind);
    }
    x->n_mails++;
    return kind;
}

static enum barid_verdict_kind rcpt_kind(struct side *x, const barid_event *e)
{
    enum barid_verdict_kind kind = reference_policy(e->id, e->path->raw);

    expect(x, e->rcpt_index == x->n_rcpts, "index of a recipient");
    if (kind == BARID_ACCEPT && x->n_rcpts < RCPTS) {
        keep_address(&x->kept[++x->n_rcpts], e->path->raw);
        x->refused[x->n_rcpts] = false;
    }
    return kind;
}

static enum barid_verdict_kind content_kind(struct side *x, const barid_event *e)
{
    bool first = e->id == BARID_EVENT_HEADERS;
    barid_slice body = e->data;

    if (first)
        buf_clear(&x->content);
    buf_append(&x->content, e->data);
    if (first && e->has_blank_line)
        buf_str(&x->content, "\r\n");
    return reference_policy(e->id, body);
}

static enum barid_verdict_kind kind_of(struct side *x, const barid_event *e)
{
    enum barid_verdict_kind kind;

    switch (e->id) {
    case BARID_EVENT_CONNECT:
        return x->d->options.refuse_connect ? BARID_REJECT : BARID_CONTINUE;
    case BARID_EVENT_AUTH:
        return reference_policy(e->id, e->authcid);
    case BARID_EVENT_MAIL:
        keep_address(&x->kept[0], e->path->raw);
        x->n_rcpts = 0;
        return reference_policy(e->id, e->path->raw);
    case BARID_EVENT_RCPT:
        return rcpt_kind(x, e);
    case BARID_EVENT_HEADERS:
        return content_kind(x, e);
    case BARID_EVENT_BODY:
        return content_kind(x, e);
    case BARID_EVENT_RECIPIENT:
        kind = reference_policy(e->id, e->path->raw);
        x->refused[e->rcpt_index + 1] = kind != BARID_ACCEPT;
        return kind;
    case BARID_EVENT_COMMIT:
        return commit_kind(x);
    default:
        return BARID_CONTINUE;
    }
}

/* While an event is unanswered input is buffered, and nothing happens; also when it ends. */
static void dawdle(struct side *x)
{
    size_t commands = barid_session_commands(x->s);
    const uint8_t *p;
    barid_event e;

    for (int i = 0; i < LATE_FEEDS && feed_some(x); i++) {
        x->eof = x->eof || (x->last && x->fed == x->end);
        if (x->eof)
            barid_session_eof(x->s);
        expect(x, barid_session_next(x->s, &e) == 0, "two events at a time");
        expect(x, barid_session_commands(x->s) == commands, "parsed during an event");
        expect(x, barid_session_output(x->s, &p) == 0, "said something during an event");
    }
}

static bool take_events(struct side *x)
{
    barid_event e;
    bool any = false;

    while (barid_session_next(x->s, &e) == 1) {
        barid_verdict v = {.kind = BARID_CONTINUE};

        any = true;
        read_output(x);
        if (e.token == 0) {
            x->disconnects += e.id == BARID_EVENT_DISCONNECT;
            x->reason = e.reason;
            continue;
        }
        expect(x, barid_session_close_reason(x->s) == BARID_CLOSE_NONE, "an event at the end");
        v.kind = kind_of(x, &e);
        if (x->mode == MODE_LATE)
            dawdle(x);
        expect(x, barid_session_answer(x->s, e.token, &v) == 0, "a verdict is refused");
    }
    return any;
}

static void settle(struct side *x)
{
    /* What was read may make room for the next command, and that for an event. */
    while (take_events(x) || read_output(x))
        ;
    expect_settled(x);
}

/* --- a dialogue --- */

static void fill(void *user, void *p, size_t n)
{
    (void)user;
    memset(p, 'r', n);
}

static void configure(barid_session_config *c, const struct reference_options *o)
{
    *c = (barid_session_config){.size = sizeof(*c), .hostname = BARID_S("mx.example")};
    c->protocol = o->protocol;
    c->events = o->policy ? UINT64_MAX : BARID_EVENT_BIT(BARID_EVENT_DISCONNECT);
    c->extensions = BARID_EXT_DEFAULT | (o->starttls ? BARID_EXT_STARTTLS : 0) |
                    (o->auth ? BARID_EXT_AUTH : 0);
    c->mechanisms = 1u << BARID_AUTH_PLAIN;
    c->plain_auth_without_tls = true;
    c->auth_required = o->auth_required;
    c->random = fill;
    c->limits.line = o->line;
    c->limits.data_line = o->data_line;
    c->limits.commands = o->commands;
    c->limits.errors = o->errors;
    c->limits.noops = o->noops;
    c->limits.recipients = o->recipients;
    c->limits.transactions = o->transactions;
    c->limits.header = o->header;
    c->limits.message = o->message;
    c->limits.pipelined = 100;
    c->limits.output = o->output;
    c->switches.no_helo_needed = o->no_helo_needed;
    c->switches.second_helo_refused = o->second_helo_refused;
    c->switches.strict_mixed = o->strict_mixed;
    c->switches.strict_helo_name = o->strict_helo_name;
    c->switches.no_null_rcpt_postmaster = o->no_null_rcpt_postmaster;
    c->switches.no_enhanced_codes = o->no_enhanced_codes;
    c->switches.bare_newline = o->normalise ? BARID_BARE_NORMALISE : BARID_BARE_REFUSE;
}

static void shake_hands(struct side *x)
{
    static const barid_tls_info info = {.version = {"TLSv1.3", 7}};

    if ((barid_session_wants(x->s) & BARID_WANT_TLS) == 0)
        return;
    barid_session_tls_done(x->s, x->d->options.tls_fails ? NULL : &info, 1);
    settle(x);
}

/* A peer that closed its side is not asked for a handshake. */
static bool is_reason_right(const struct side *x)
{
    return x->reason == x->r->reason ||
           (x->eof && x->r->reason == BARID_CLOSE_TLS && x->reason == BARID_CLOSE_PEER);
}

static void expect_end(struct side *x)
{
    const struct reference *r = x->r;
    bool same = slice_eq(buf_slice(&x->mails), buf_slice(&r->mails));

    expect(x, x->disconnects == 1, "disconnect is raised once");
    expect(x, barid_session_wants(x->s) == BARID_WANT_CLOSE, "wants to close at the end");
    expect(x, barid_session_close_reason(x->s) == x->reason, "another reason in the event");
    expect(x, x->out.len == 0, "half a reply");
    if (r->unsure) {
        same = slice_eq(slice_head(buf_slice(&x->mails), r->mails.len), buf_slice(&r->mails));
        expect(x, !x->d->options.policy || same, "another mail");
        return;
    }
    expect(x, x->replies == r->n_replies, "number of replies");
    expect(x, barid_session_commands(x->s) == r->commands, "number of commands");
    expect(x, x->n_mails == r->n_mails, "number of mails");
    expect(x, is_reason_right(x), "another reason of the end");
    expect(x, !x->d->options.policy || same, "another mail");
}

static void talk(struct side *x)
{
    barid_endpoint peer = {.family = BARID_FAMILY_IPV4, .addr = {192, 0, 2, 1}};

    configure(&x->config, &x->d->options);
    if (barid_session_new(&x->s, &x->config, &peer, NULL, 1) < 0)
        abort();
    settle(x);
    for (size_t i = 0; i < x->d->n_ends; i++) {
        x->end = x->d->ends[i];
        x->last = i + 1 == x->d->n_ends;
        while (feed_some(x))
            settle(x);
        x->fed = x->end; /* what nobody reads any more is gone */
        shake_hands(x);
    }
    barid_session_eof(x->s);
    settle(x);
    expect_end(x);
    barid_session_del(&x->s);
}

/* For whoever has to find out: what was said, and in brackets what the reference made of it. */
static void show(const struct dialogue *d, const struct reference *r)
{
    size_t i = 0, run;

    for (size_t at = 0; at < d->input.len && at <= r->at; at += run) {
        unsigned char c = (unsigned char)d->input.p[at];

        while (i < r->n_replies && r->reply[i].at <= at)
            fprintf(stderr, "[%u]", r->reply[i++].code);
        for (run = 1; at + run < d->input.len && (unsigned char)d->input.p[at + run] == c;)
            run++;
        run = run < 9 ? 1 : run;
        if (c >= 32 && c < 127)
            fputc(c, stderr);
        else
            fprintf(stderr, c == '\n' ? "\\n\n# " : "\\x%02x", c);
        if (run > 1)
            fprintf(stderr, "{%zu}", run);
    }
    while (i < r->n_replies)
        fprintf(stderr, "[%u]", r->reply[i++].code);
    fprintf(stderr, "%s\n", r->unsure ? " unsure" : "");
}

static void complain(const struct dialogue *d, const struct reference *r, const struct side *x)
{
    const struct reference_options *o = &d->options;

    fprintf(
        stderr,
        "# %s after %zu replies, mode %d, protocol %d, policy %d; limits: line %zu, data line "
        "%zu, header %zu, message %llu\n# ",
        x->why, x->why_at, (int)x->mode, (int)o->protocol, o->policy, o->line, o->data_line,
        o->header, (unsigned long long)o->message);
    show(d, r);
}

static const char *run_mode(const struct dialogue *d, const struct reference *r, enum mode mode,
                            uint64_t seed)
{
    static const size_t cuts[] = {1, 9, 100, 70000};
    struct side *x = calloc(1, sizeof(*x));
    const char *why;

    if (x == NULL)
        abort();
    x->d = d;
    x->r = r;
    x->mode = mode;
    rng_seeded_init(&x->rng, seed);
    x->cut_max = cuts[seed % 4];
    if (d->input.len > LONG_INPUT && x->cut_max < 1000)
        x->cut_max = 1000;
    keep_address(&x->kept[0], (barid_slice){NULL, 0});
    talk(x);
    why = x->why;
    if (why != NULL && d->options.fault == FAULT_NONE)
        complain(d, r, x);
    buf_deinit(&x->out);
    buf_deinit(&x->mails);
    buf_deinit(&x->content);
    for (size_t i = 0; i <= RCPTS; i++)
        free(x->kept[i]);
    free(x);
    return why;
}

static void add_up(struct differential_count *count, const struct reference *r)
{
    count->dialogues++;
    count->commands += r->commands;
    count->replies += r->n_replies;
    count->mails += r->n_mails;
    count->unsure += r->unsure;
}

const char *differential_run(const uint8_t *data, size_t size, enum reference_fault fault,
                             struct differential_count *count)
{
    struct reference *r = calloc(1, sizeof(*r));
    struct dialogue d;
    const char *why = NULL;

    if (r == NULL)
        abort();
    dialogue_make(&d, data, size);
    d.options.fault = fault;
    reference_run(r, &d.options, buf_slice(&d.input), d.ends, d.n_ends);
    for (enum mode mode = MODE_WHOLE; mode < MODES && why == NULL; mode++)
        why = run_mode(&d, r, mode, size + (size > 0 ? data[size - 1] : 0u));
    if (count != NULL)
        add_up(count, r);
    reference_deinit(r);
    dialogue_deinit(&d);
    free(r);
    return why;
}
