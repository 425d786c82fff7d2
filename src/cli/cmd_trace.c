/* cli/cmd_trace.c: barid trace: the story of one mail. From the daemon where one answers, else from spool and history themselves. */
#include <stdio.h>

#include "base/slice.h"
#include "cli/commands.h"
#include "cli/queue_print.h"
#include "cli/remote.h"
#include "control/trace_view.h"
#include "history/history.h"
#include "message/mail.h"

enum { OPT_JSON = 256 };

static int trace_files(const struct command *c, struct remote *r, const char *text, uint64_t id,
                       json_t **trace_r)
{
    struct spool *spool = NULL;
    struct history *history = NULL;
    int code = remote_history(c, r, &history), rc;

    /* The spool may be in use by a daemon without a control socket: its history can be read all the same. */
    if (code == EX_OK)
        code =
            history != NULL ? remote_spool_if_free(c, r, &spool) : remote_spool(c, r, &spool);
    if (code == EX_OK) {
        rc = trace_view(spool, history, id, trace_r);
        if (rc < 0)
            code = cli_fail(
                c, rc == BARID_ENOTFOUND ? EX_NOINPUT : EX_DATAERR, "message %s: %s", text,
                rc == BARID_ENOTFOUND ? "not in the spool, and the history knows nothing of it"
                                      : barid_strerror(rc));
    }
    if (spool != NULL)
        spool->ops->close(spool);
    history_close(&history);
    return code;
}

static int trace(const struct command *c, struct remote *r, const char *text, bool as_json)
{
    json_t *answer = NULL;
    char path[64];
    uint64_t id;
    int code;

    if (mail_id_parse(slice_str(text), &id) < 0)
        return cli_fail(
            c, EX_USAGE,
            "\"%s\" is not a queue id: it stands in the reply to the client and in the log",
            text);
    snprintf(path, sizeof(path), "/v1/trace/%s", text);
    code = remote_ask(c, r, "GET", path, true, &answer);
    if (code == EX_UNAVAILABLE)
        code = trace_files(c, r, text, id, &answer);
    if (code == EX_OK)
        (as_json ? print_json : print_trace)(answer);
    json_decref(answer);
    return code;
}

static int run_trace(const struct command *c, int argc, char **argv)
{
    static const struct option options[] = {
        REMOTE_OPTIONS, {"json", no_argument, NULL, OPT_JSON}, {0}};
    struct remote r = {0};
    bool as_json = false;
    int value, code;

    while ((value = cli_option(c, argc, argv, REMOTE_LETTERS, options)) != -1) {
        if (value == '?')
            return EX_USAGE;
        as_json |= value == OPT_JSON;
        remote_option(&r, value);
    }
    code = optind + 1 == argc ? trace(c, &r, argv[optind], as_json)
                              : cli_usage(c, "one queue id is needed");
    remote_deinit(&r);
    return code;
}

const struct command command_trace = {
    "trace", run_trace, "ID",
    "the story of one mail: what policy said and where, attempts, its end",
    "  --json                JSON\n" REMOTE_HELP
    "\nWithout a running daemon spool and history are read. After the mail is gone: as long as "
    " history { dir = ..., days = ... }  says.\n"};
