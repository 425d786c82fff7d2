/*
 * cli/cmd_queue.c: barid queue list, show, count. Through the control socket where a daemon runs, else from the spool itself;
 * the JSON is the same, so everything after it is, too.
 */
#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "cli/commands.h"
#include "cli/remote.h"
#include "control/client.h"
#include "control/queue_view.h"
#include "message/mail.h"

enum { OPT_SENDER = 256, OPT_RECIPIENT, OPT_STATE, OPT_OLDER, OPT_JSON };

struct queue_options {
    struct remote remote;
    const char *sender, *recipient, *state;
    uint64_t older_s; /* UINT64_MAX = any */
    bool json;
};

/* "90", "15m", "2h", "3d" */
static int parse_age(const struct command *c, const char *text, uint64_t *seconds_r)
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
        return cli_usage(c, "--older takes seconds, or a number with s, m, h or d: not \"%s\"", text);
    *seconds_r *= factor;
    return EX_OK;
}

static int read_options(const struct command *c, int argc, char **argv, struct queue_options *o)
{
    static const struct option options[] = {REMOTE_OPTIONS,
                                            {"sender", required_argument, NULL, OPT_SENDER},
                                            {"recipient", required_argument, NULL, OPT_RECIPIENT},
                                            {"state", required_argument, NULL, OPT_STATE},
                                            {"older", required_argument, NULL, OPT_OLDER},
                                            {"json", no_argument, NULL, OPT_JSON},
                                            {0}};
    int value;

    *o = (struct queue_options){.older_s = UINT64_MAX};
    while ((value = cli_option(c, argc, argv, REMOTE_LETTERS, options)) != -1) {
        if (value == '?' || (value == OPT_OLDER && parse_age(c, optarg, &o->older_s) != EX_OK))
            return EX_USAGE;
        if (remote_option(&o->remote, value))
            continue;
        if (value == OPT_SENDER)
            o->sender = optarg;
        else if (value == OPT_RECIPIENT)
            o->recipient = optarg;
        else if (value == OPT_STATE)
            o->state = optarg;
        o->json |= value == OPT_JSON;
    }
    if (o->state != NULL && queue_state_by_name(slice_str(o->state)) < 0)
        return cli_usage(c, "--state must be active, held, removed or quarantined");
    return EX_OK;
}

/* --- where the answers come from ---------------------------------------------------------------------- */

static json_t *page_of_spool(const struct queue_options *o, struct spool *s, const char *after)
{
    struct queue_filter f;

    queue_filter_init(&f);
    f.limit = QUEUE_VIEW_LIMIT_MAX;
    f.sender = slice_str(o->sender);
    f.recipient = slice_str(o->recipient);
    if (o->state != NULL)
        f.state = queue_state_by_name(slice_str(o->state));
    if (o->older_s != UINT64_MAX)
        f.before_us = clock_wall_us(&clock_system) - (int64_t)o->older_s * 1000000;
    if (after != NULL)
        mail_id_parse(slice_str(after), &f.after);
    return queue_view_list(s, &f);
}

static int page_of_daemon(const struct command *c, struct queue_options *o, const char *after, json_t **page_r)
{
    char number[32];
    struct buf path;
    int code;

    buf_init(&path, NULL, 0);
    buf_str(&path, "/v1/queue");
    snprintf(number, sizeof(number), "%d", QUEUE_VIEW_LIMIT_MAX);
    control_query(&path, "limit", number);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)o->older_s);
    if (o->older_s != UINT64_MAX)
        control_query(&path, "older", number);
    if (o->sender != NULL)
        control_query(&path, "sender", o->sender);
    if (o->recipient != NULL)
        control_query(&path, "recipient", o->recipient);
    if (o->state != NULL)
        control_query(&path, "state", o->state);
    if (after != NULL)
        control_query(&path, "after", after);
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
static int next_page(const struct command *c, struct queue_options *o, struct source *s, const char *after, json_t **page_r)
{
    int code = EX_OK;

    if (s->spool == NULL) {
        code = page_of_daemon(c, o, after, page_r);
        if (code != EX_UNAVAILABLE || s->decided)
            return s->decided && code == EX_UNAVAILABLE ? cli_fail(c, code, "the daemon went away") : code;
        code = remote_spool(c, &o->remote, &s->spool);
    }
    s->decided = true;
    if (code == EX_OK)
        *page_r = page_of_spool(o, s->spool, after);
    return code;
}

static int each_message(const struct command *c, struct queue_options *o, void (*fn)(void *user, json_t *message), void *user)
{
    struct source source = {0};
    json_t *page = NULL;
    char after[MAIL_ID_TEXT_SIZE] = "";
    int code;

    while ((code = next_page(c, o, &source, after[0] != '\0' ? after : NULL, &page)) == EX_OK) {
        const char *next = json_string_value(json_object_get(page, "next"));
        json_t *message;
        size_t i;

        json_array_foreach(json_object_get(page, "messages"), i, message)
            fn(user, message);
        snprintf(after, sizeof(after), "%s", next != NULL ? next : "");
        json_decref(page);
        if (after[0] == '\0')
            break;
        source.decided = true;
    }
    source_close(&source);
    return code;
}

/* --- list ------------------------------------------------------------------------------------------------ */

static const char *text_of(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s != NULL ? s : "";
}

/* What a peer chose (addresses, replies) must not act on the terminal. */
static void print_safe(const char *s)
{
    for (; *s != '\0'; s++)
        putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void print_message(void *user, json_t *m)
{
    bool as_json = *(bool *)user;
    json_t *rcpt;
    size_t i;

    if (as_json) {
        json_dumpf(m, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        putchar('\n');
        return;
    }
    printf("%s %-11s %8lld %.19sZ <", text_of(m, "id"), text_of(m, "state"),
           (long long)json_integer_value(json_object_get(m, "size")), text_of(m, "received"));
    print_safe(text_of(m, "sender"));
    printf(">");
    json_array_foreach(json_object_get(m, "recipients"), i, rcpt) {
        printf(" <");
        print_safe(json_string_value(rcpt));
        printf(">");
    }
    putchar('\n');
    if (text_of(m, "last_reply")[0] != '\0' || text_of(m, "reason")[0] != '\0' || text_of(m, "error")[0] != '\0') {
        printf("    ");
        print_safe(text_of(m, "error"));
        print_safe(text_of(m, "reason"));
        print_safe(text_of(m, "last_reply"));
        if (json_is_string(json_object_get(m, "next_attempt")))
            printf(" (again at %.19sZ)", text_of(m, "next_attempt"));
        putchar('\n');
    }
}

static int run_list(const struct command *c, int argc, char **argv)
{
    struct queue_options o;
    int code = read_options(c, argc, argv, &o);

    if (code == EX_OK && optind < argc)
        code = cli_usage(c, "unexpected argument \"%s\"", argv[optind]);
    if (code == EX_OK)
        code = each_message(c, &o, print_message, &o.json);
    remote_deinit(&o.remote);
    return code;
}

/* --- count ----------------------------------------------------------------------------------------------- */

static void count_message(void *user, json_t *m)
{
    (void)m;
    ++*(unsigned long long *)user;
}

static int print_count(const struct command *c, struct queue_options *o)
{
    static const char *const states[] = {"active", "held", "removed", "quarantined", "messages"};
    struct source source = {0};
    json_t *answer = NULL;
    int code = remote_ask(c, &o->remote, "GET", "/v1/queue/count", true, &answer);

    if (code == EX_UNAVAILABLE && (code = remote_spool(c, &o->remote, &source.spool)) == EX_OK)
        answer = queue_view_count(source.spool);
    source_close(&source);
    if (code != EX_OK)
        return code;
    if (o->json) {
        json_dumpf(answer, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
            printf("%-12s %lld\n", states[i], (long long)json_integer_value(json_object_get(answer, states[i])));
    }
    json_decref(answer);
    return EX_OK;
}

static int run_count(const struct command *c, int argc, char **argv)
{
    struct queue_options o;
    unsigned long long n = 0;
    int code = read_options(c, argc, argv, &o);

    if (code == EX_OK && optind < argc)
        code = cli_usage(c, "unexpected argument \"%s\"", argv[optind]);
    if (code == EX_OK && o.sender == NULL && o.recipient == NULL && o.state == NULL && o.older_s == UINT64_MAX) {
        code = print_count(c, &o);
    } else if (code == EX_OK) {
        code = each_message(c, &o, count_message, &n);
        if (code == EX_OK)
            printf(o.json ? "{\"messages\":%llu}\n" : "%llu\n", n);
    }
    remote_deinit(&o.remote);
    return code;
}

/* --- show ------------------------------------------------------------------------------------------------ */

static int show_spool(const struct command *c, struct queue_options *o, const char *id_text, uint64_t id, json_t **answer_r)
{
    struct source source = {0};
    int code = remote_spool(c, &o->remote, &source.spool), rc = 0;

    if (code == EX_OK)
        rc = queue_view_message(source.spool, id, answer_r);
    source_close(&source);
    if (rc < 0)
        return cli_fail(c, rc == BARID_ENOTFOUND ? EX_NOINPUT : EX_DATAERR, "message %s: %s", id_text, barid_strerror(rc));
    return code;
}

static int run_show(const struct command *c, int argc, char **argv)
{
    struct queue_options o;
    json_t *answer = NULL;
    char path[64];
    uint64_t id = 0;
    int code = read_options(c, argc, argv, &o);

    if (code == EX_OK && optind + 1 != argc)
        code = cli_usage(c, "one queue id is needed");
    if (code == EX_OK && mail_id_parse(slice_str(argv[optind]), &id) < 0)
        code = cli_fail(c, EX_USAGE, "\"%s\" is not a queue id: barid queue list shows them", argv[optind]);
    if (code == EX_OK) {
        snprintf(path, sizeof(path), "/v1/queue/%s", argv[optind]);
        code = remote_ask(c, &o.remote, "GET", path, true, &answer);
        if (code == EX_UNAVAILABLE)
            code = show_spool(c, &o, argv[optind], id, &answer);
    }
    if (code == EX_OK) {
        json_dumpf(answer, stdout, JSON_ENSURE_ASCII | (o.json ? JSON_COMPACT : JSON_INDENT(2)));
        putchar('\n');
    }
    json_decref(answer);
    remote_deinit(&o.remote);
    return code;
}

#define FILTER_HELP                                                                                                   \
    "  --sender ADDRESS      from this address, \"@domain\", or \"<>\"\n"                                             \
    "  --recipient ADDRESS   to this address or \"@domain\"\n"                                                        \
    "  --state STATE         active, held, removed or quarantined\n"                                                  \
    "  --older AGE           received longer ago: seconds, or 15m, 2h, 3d\n"                                          \
    "  --json                JSON\n" REMOTE_HELP                                                                      \
    "\nWithout a running daemon the spool itself is read.\n"

const struct command command_queue_list = {"queue list", run_list, "[FILTERS]", "what is in the spool", FILTER_HELP};
const struct command command_queue_count = {"queue count", run_count, "[FILTERS]", "how much is in the spool", FILTER_HELP};
const struct command command_queue_show = {"queue show", run_show, "ID", "everything known about one message, as JSON",
                                       "  --json                on one line\n" REMOTE_HELP};
