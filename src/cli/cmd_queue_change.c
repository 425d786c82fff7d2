/*
 * cli/cmd_queue_change.c: barid queue hold, release, retry, remove, recover, bounce: through the control socket only, so many messages a
 * request. What was refused is a line on stderr each, and the first of them decides the exit code.
 */
#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "cli/commands.h"
#include "cli/queue_print.h"
#include "cli/queue_source.h"
#include "control/client.h"
#include "message/mail.h"

#define IDS_PER_REQUEST 64 /* fit into one argument of a request (REQUEST_TEXT_MAX) */

struct change {
    const struct command *c;
    const char *verb;
    struct queue_options o;
    unsigned long long changed, refused;
    int code;
};

static int code_of(const char *refusal)
{
    if (strcmp(refusal, "no_such_message") == 0)
        return EX_NOINPUT;
    return strcmp(refusal, "busy") == 0      ? EX_TEMPFAIL
           : strcmp(refusal, "refused") == 0 ? EX_DATAERR
                                             : EX_IOERR;
}

static void take_answer(struct change *ch, json_t *answer)
{
    json_t *one;
    size_t i;

    json_array_foreach(json_object_get(answer, "changed"), i, one)
    {
        ch->changed++;
        if (!ch->o.json)
            printf("%s\n", json_string_value(one));
    }
    json_array_foreach(json_object_get(answer, "refused"), i, one)
    {
        int code = code_of(json_string_value(json_object_get(one, "code")));

        ch->refused++;
        cli_fail(ch->c, code, "%s", json_string_value(json_object_get(one, "text")));
        ch->code = ch->code == EX_OK ? code : ch->code;
    }
    if (ch->o.json)
        print_json(answer);
}

static int ask(struct change *ch, const char *name, const char *value, const char *after,
               json_t **answer_r)
{
    struct buf path;
    int code;

    buf_init(&path, NULL, 0);
    buf_fmt(&path, "/v1/queue/%s", ch->verb);
    control_query(&path, name, value);
    if (ch->o.n_intervals > 0) {
        buf_byte(&ch->o.intervals, '\0');
        control_query(&path, "interval", ch->o.intervals.p);
        ch->o.intervals.len--;
    }
    queue_options_query(&ch->o, &path);
    if (after[0] != '\0')
        control_query(&path, "after", after);
    buf_byte(&path, '\0');
    code = remote_ask(ch->c, &ch->o.remote, "POST", path.p, false, answer_r);
    buf_deinit(&path);
    return code;
}

static int change_ids(struct change *ch, int n, char **ids)
{
    char list[IDS_PER_REQUEST * MAIL_ID_TEXT_SIZE + 1];
    int code = EX_OK;

    for (int i = 0; i < n && code == EX_OK;) {
        json_t *answer = NULL;
        size_t used = 0;

        for (int k = 0; k < IDS_PER_REQUEST && i < n; k++, i++)
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", k > 0 ? "," : "",
                                     ids[i]);
        code = ask(ch, "id", list, "", &answer);
        if (code == EX_OK)
            take_answer(ch, answer);
        json_decref(answer);
    }
    return code;
}

static int change_all(struct change *ch)
{
    char after[MAIL_ID_TEXT_SIZE] = "";
    int code;

    do {
        json_t *answer = NULL;
        const char *next;

        code = ask(ch, ch->o.held ? "held" : "all", "1", after, &answer);
        if (code == EX_OK)
            take_answer(ch, answer);
        next = json_string_value(json_object_get(answer, "next"));
        snprintf(after, sizeof(after), "%s", next != NULL ? next : "");
        json_decref(answer);
    } while (code == EX_OK && after[0] != '\0');
    return code;
}

static int check(struct change *ch, int n, char **ids)
{
    bool all = ch->o.all || ch->o.held || queue_options_filter(&ch->o);
    uint64_t id;

    if (n == 0 && !all)
        return cli_usage(ch->c, "which messages? queue ids, filters, or --all");
    if (n > 0 && all)
        return cli_usage(ch->c, "either queue ids or filters");
    for (int i = 0; i < n; i++)
        if (mail_id_parse(slice_str(ids[i]), &id) < 0)
            return cli_fail(ch->c, EX_USAGE,
                            "\"%s\" is not a queue id: barid queue list shows them", ids[i]);
    return EX_OK;
}

static int run(const struct command *c, const char *verb, int argc, char **argv)
{
    struct change ch = {.c = c, .verb = verb};
    int code = queue_options_read(c, argc, argv, true, strcmp(verb, "retry") == 0, &ch.o);
    int n = argc - optind;

    if (code == EX_OK)
        code = check(&ch, n, argv + optind);
    if (code == EX_OK)
        code = n > 0 ? change_ids(&ch, n, argv + optind) : change_all(&ch);
    queue_options_deinit(&ch.o);
    return code == EX_OK ? ch.code : code;
}

static int run_hold(const struct command *c, int argc, char **argv)
{
    return run(c, "hold", argc, argv);
}
static int run_release(const struct command *c, int argc, char **argv)
{
    return run(c, "release", argc, argv);
}
static int run_retry(const struct command *c, int argc, char **argv)
{
    return run(c, "retry", argc, argv);
}
static int run_remove(const struct command *c, int argc, char **argv)
{
    return run(c, "remove", argc, argv);
}
static int run_recover(const struct command *c, int argc, char **argv)
{
    return run(c, "recover", argc, argv);
}
static int run_bounce(const struct command *c, int argc, char **argv)
{
    return run(c, "bounce", argc, argv);
}

#define CHANGE_HELP                                                                            \
    QUEUE_FILTER_HELP "  --all                 every message that it can be done to\n"         \
                      "  --json                JSON\n" REMOTE_HELP                             \
                      "\nPrints the ids of what was changed. Needs the running daemon.\n"
#define WHICH "ID... | FILTERS | --all"

const struct command command_queue_hold = {"queue hold", run_hold, WHICH,
                                           "no new attempts until it is released", CHANGE_HELP};
const struct command command_queue_release = {
    "queue release", run_release, WHICH, "what is held or quarantined goes on", CHANGE_HELP};
const struct command command_queue_retry = {
    "queue retry", run_retry, "ID... | FILTERS | --all | --held", "the next attempt is now",
    "By id also what is held and what failed for good is tried again.\n\n"
    "  --held                what is held, and nothing else\n"
    "  --interval SPAN       until the attempt after it; again for the next ones: they come "
    "before the schedule\n" CHANGE_HELP};
const struct command command_queue_remove = {"queue remove", run_remove, WHICH,
                                             "held mail out of sight; recover brings it back",
                                             CHANGE_HELP};
const struct command command_queue_recover = {"queue recover", run_recover, WHICH,
                                              "removed or quarantined mail is held again",
                                              CHANGE_HELP};
const struct command command_queue_bounce = {"queue bounce", run_bounce, WHICH,
                                             "give it up and tell the sender", CHANGE_HELP};
