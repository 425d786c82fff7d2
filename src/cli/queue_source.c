/*
 * cli/queue_source.c: the filters, and pages of messages: through the control socket where a daemon runs, else from the spool itself; the
 * JSON is the same, so everything after it is, too.
 */
#include "cli/queue_source.h"

#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "control/client.h"
#include "control/queue_view.h"
#include "message/mail.h"

enum {
    OPT_SENDER = 256,
    OPT_RECIPIENT,
    OPT_NEXT_HOP,
    OPT_STATE,
    OPT_OLDER,
    OPT_YOUNGER,
    OPT_JSON,
    OPT_ALL,
    OPT_HELD,
    OPT_INTERVAL
};

/* "90", "15m", "2h", "3d" */
static int parse_span(const struct command *c, const char *option, const char *text,
                      uint64_t *seconds_r)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    barid_slice s = slice_str(text);
    uint64_t factor = 1;

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (s.n > 1 && s.p[s.n - 1] == units[i].letter) {
            factor = units[i].seconds;
            s.n--;
            break;
        }
    if (slice_u64(s, UINT32_MAX / factor, seconds_r) < 0)
        return cli_usage(c, "--%s takes seconds, or a number with s, m, h or d: not \"%s\"",
                         option, text);
    *seconds_r *= factor;
    return EX_OK;
}

static int add_interval(const struct command *c, struct queue_options *o, const char *text)
{
    uint64_t seconds = 0;

    if (parse_span(c, "interval", text, &seconds) != EX_OK)
        return EX_USAGE;
    if (seconds == 0 || ++o->n_intervals > UNIT_AHEAD_MAX)
        return cli_usage(c, "--interval takes a span above 0, and may be given %d times",
                         UNIT_AHEAD_MAX);
    buf_fmt(&o->intervals, "%s%llu", o->n_intervals > 1 ? "," : "",
            (unsigned long long)seconds);
    return EX_OK;
}

static int take_option(const struct command *c, struct queue_options *o, int value)
{
    switch (value) {
    case OPT_OLDER:
        return parse_span(c, "older", optarg, &o->older_s);
    case OPT_YOUNGER:
        return parse_span(c, "younger", optarg, &o->younger_s);
    case OPT_INTERVAL:
        return add_interval(c, o, optarg);
    case OPT_SENDER:
        o->sender = optarg;
        break;
    case OPT_RECIPIENT:
        o->recipient = optarg;
        break;
    case OPT_NEXT_HOP:
        o->next_hop = optarg;
        break;
    case OPT_STATE:
        o->state = optarg;
        break;
    case OPT_JSON:
        o->json = true;
        break;
    case OPT_ALL:
        o->all = true;
        break;
    case OPT_HELD:
        o->held = true;
        break;
    default:
        remote_option(&o->remote, value);
    }
    return EX_OK;
}

/* The first so many stand for every command, the others for those that change or retry. */
static const struct option options[] = {{"interval", required_argument, NULL, OPT_INTERVAL},
                                        {"held", no_argument, NULL, OPT_HELD},
                                        {"all", no_argument, NULL, OPT_ALL},
                                        REMOTE_OPTIONS,
                                        {"sender", required_argument, NULL, OPT_SENDER},
                                        {"recipient", required_argument, NULL, OPT_RECIPIENT},
                                        {"next-hop", required_argument, NULL, OPT_NEXT_HOP},
                                        {"state", required_argument, NULL, OPT_STATE},
                                        {"older", required_argument, NULL, OPT_OLDER},
                                        {"younger", required_argument, NULL, OPT_YOUNGER},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {0}};

int queue_options_read(const struct command *c, int argc, char **argv, bool changing,
                       bool retrying, struct queue_options *o)
{
    const struct option *mine = options + (retrying ? 0 : changing ? 2 : 3);
    int value;

    *o = (struct queue_options){.older_s = UINT64_MAX, .younger_s = UINT64_MAX};
    buf_init(&o->intervals, NULL, 0);
    while ((value = cli_option(c, argc, argv, REMOTE_LETTERS, mine)) != -1)
        if (value == '?' || take_option(c, o, value) != EX_OK)
            return EX_USAGE;
    if (o->state != NULL && queue_state_by_name(slice_str(o->state)) < 0)
        return cli_usage(c, "--state must be active, held, removed, quarantined or deferred");
    return EX_OK;
}

void queue_options_deinit(struct queue_options *o)
{
    remote_deinit(&o->remote);
    buf_deinit(&o->intervals);
}

bool queue_options_filter(const struct queue_options *o)
{
    return o->sender != NULL || o->recipient != NULL || o->next_hop != NULL ||
           o->state != NULL || o->older_s != UINT64_MAX || o->younger_s != UINT64_MAX;
}

static void add_number(struct buf *path, const char *name, uint64_t value)
{
    char number[32];

    snprintf(number, sizeof(number), "%llu", (unsigned long long)value);
    if (value != UINT64_MAX)
        control_query(path, name, number);
}

static void add_text(struct buf *path, const char *name, const char *value)
{
    if (value != NULL)
        control_query(path, name, value);
}

void queue_options_query(const struct queue_options *o, struct buf *path)
{
    add_text(path, "sender", o->sender);
    add_text(path, "recipient", o->recipient);
    add_text(path, "next_hop", o->next_hop);
    add_text(path, "state", o->state);
    add_number(path, "older", o->older_s);
    add_number(path, "younger", o->younger_s);
}

/* --- where the answers come from ---------------------------------------------------------------------- */

static json_t *page_of_spool(const struct queue_options *o, struct spool *s, const char *after)
{
    struct queue_filter f;

    queue_filter_init(&f);
    f.limit = QUEUE_VIEW_LIMIT_MAX;
    f.sender = slice_str(o->sender);
    f.recipient = slice_str(o->recipient);
    f.next_hop = slice_str(o->next_hop);
    if (o->state != NULL)
        f.state = queue_state_by_name(slice_str(o->state));
    if (o->older_s != UINT64_MAX)
        f.before_us = clock_wall_us(&clock_system) - (int64_t)o->older_s * 1000000;
    if (o->younger_s != UINT64_MAX)
        f.after_us = clock_wall_us(&clock_system) - (int64_t)o->younger_s * 1000000;
    if (after != NULL)
        mail_id_parse(slice_str(after), &f.after);
    return queue_view_list(s, &f);
}

static int page_of_daemon(const struct command *c, struct queue_options *o, const char *after,
                          json_t **page_r)
{
    struct buf path;
    int code;

    buf_init(&path, NULL, 0);
    buf_str(&path, "/v1/queue");
    add_number(&path, "limit", QUEUE_VIEW_LIMIT_MAX);
    queue_options_query(o, &path);
    add_text(&path, "after", after);
    buf_byte(&path, '\0');
    code = remote_ask(c, &o->remote, "GET", path.p, true, page_r);
    buf_deinit(&path);
    return code;
}

struct source { /* *spool NULL = the daemon */
    struct spool *spool;
    bool decided;
};

static void source_close(struct source *s)
{
    if (s->spool != NULL)
        s->spool->ops->close(s->spool);
}

/* The daemon is asked first; only when nobody answers the spool is opened. */
static int next_page(const struct command *c, struct queue_options *o, struct source *s,
                     const char *after, json_t **page_r)
{
    int code = EX_OK;

    if (s->spool == NULL) {
        code = page_of_daemon(c, o, after, page_r);
        if (code != EX_UNAVAILABLE || s->decided)
            return s->decided && code == EX_UNAVAILABLE
                       ? cli_fail(c, code, "the daemon went away")
                       : code;
        code = remote_spool(c, &o->remote, &s->spool);
    }
    s->decided = true;
    if (code == EX_OK)
        *page_r = page_of_spool(o, s->spool, after);
    return code;
}

int queue_each(const struct command *c, struct queue_options *o,
               void (*fn)(void *user, json_t *message), void *user)
{
    struct source source = {0};
    json_t *page = NULL;
    char after[MAIL_ID_TEXT_SIZE] = "";
    int code;

    while ((code = next_page(c, o, &source, after[0] != '\0' ? after : NULL, &page)) == EX_OK) {
        const char *next = json_string_value(json_object_get(page, "next"));
        json_t *message;
        size_t i;

        json_array_foreach(json_object_get(page, "messages"), i, message) fn(user, message);
        snprintf(after, sizeof(after), "%s", next != NULL ? next : "");
        json_decref(page);
        if (after[0] == '\0')
            break;
        source.decided = true;
    }
    source_close(&source);
    return code;
}
