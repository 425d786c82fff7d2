/* cli/cmd_queue.c: barid queue list, show, count: looking, with or without a daemon. */
#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "cli/commands.h"
#include "cli/queue_print.h"
#include "cli/queue_source.h"
#include "control/queue_view.h"
#include "message/mail.h"

/* --- list ------------------------------------------------------------------------------------------------ */

static void list_message(void *user, json_t *m)
{
    if (*(bool *)user)
        print_json(m);
    else
        print_message_line(m);
}

/* The options, and no other word. */
static int read_options(const struct command *c, int argc, char **argv, struct queue_options *o)
{
    int code = queue_options_read(c, argc, argv, false, false, o);

    if (code == EX_OK && optind < argc)
        code = cli_usage(c, "unexpected argument \"%s\"", argv[optind]);
    return code;
}

static int run_list(const struct command *c, int argc, char **argv)
{
    struct queue_options o;
    int code = read_options(c, argc, argv, &o);

    if (code == EX_OK)
        code = queue_each(c, &o, list_message, &o.json);
    queue_options_deinit(&o);
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
    struct spool *spool = NULL;
    json_t *answer = NULL;
    int code = remote_ask(c, &o->remote, "GET", "/v1/queue/count", true, &answer);

    if (code == EX_UNAVAILABLE && (code = remote_spool(c, &o->remote, &spool)) == EX_OK)
        answer = queue_view_count(spool);
    if (spool != NULL)
        spool->ops->close(spool);
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

    if (code == EX_OK && !queue_options_filter(&o)) {
        code = print_count(c, &o);
    } else if (code == EX_OK) {
        code = queue_each(c, &o, count_message, &n);
        if (code == EX_OK)
            printf(o.json ? "{\"messages\":%llu}\n" : "%llu\n", n);
    }
    queue_options_deinit(&o);
    return code;
}

/* --- show ------------------------------------------------------------------------------------------------ */

static int show_spool(const struct command *c, struct queue_options *o, const char *id_text, uint64_t id, json_t **answer_r)
{
    struct spool *spool = NULL;
    int code = remote_spool(c, &o->remote, &spool), rc = 0;

    if (code != EX_OK)
        return code;
    rc = queue_view_message(spool, id, answer_r);
    spool->ops->close(spool);
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
    int code = queue_options_read(c, argc, argv, false, false, &o);

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
    if (code == EX_OK)
        (o.json ? print_json : print_message)(answer);
    json_decref(answer);
    queue_options_deinit(&o);
    return code;
}

#define LIST_HELP QUEUE_FILTER_HELP "  --json                JSON\n" REMOTE_HELP "\nWithout a running daemon the spool itself is read.\n"

const struct command command_queue_list = {"queue list", run_list, "[FILTERS]", "what is in the spool", LIST_HELP};
const struct command command_queue_count = {"queue count", run_count, "[FILTERS]", "how much is in the spool", LIST_HELP};
const struct command command_queue_show = {
    "queue show", run_show, "ID", "one message: each recipient's state, attempts, next hop, last reply",
    "  --json                everything known about it\n" REMOTE_HELP};
