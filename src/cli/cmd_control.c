/* cli/cmd_control.c: barid status, reload, stop. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/remote.h"

enum { OPT_JSON = 256 };

static int ask(const struct command *c, int argc, char **argv, const char *method, const char *path, bool *json_r,
               json_t **answer_r)
{
    static const struct option options[] = {REMOTE_OPTIONS, {"json", no_argument, NULL, OPT_JSON}, {0}};
    struct remote r = {0};
    int value, code = EX_OK;

    while ((value = cli_option(c, argc, argv, REMOTE_LETTERS, options)) != -1) {
        if (value == '?')
            return EX_USAGE;
        if (remote_option(&r, value))
            continue;
        if (json_r == NULL)
            return cli_usage(c, "unknown option --json");
        *json_r = true;
    }
    if (optind < argc)
        code = cli_usage(c, "unexpected argument \"%s\"", argv[optind]);
    if (code == EX_OK)
        code = remote_ask(c, &r, method, path, false, answer_r);
    remote_deinit(&r);
    return code;
}

static long long number(json_t *o, const char *group, const char *key)
{
    return (long long)json_integer_value(json_object_get(group != NULL ? json_object_get(o, group) : o, key));
}

static void print_status(json_t *o)
{
    json_t *address;
    size_t i;

    printf("barid %s, %s, pid %lld, up %lld s\n", json_string_value(json_object_get(o, "version")),
           json_string_value(json_object_get(o, "state")), number(o, NULL, "pid"), number(o, NULL, "uptime_s"));
    printf("configuration %s, version %lld\n", json_string_value(json_object_get(o, "config")), number(o, NULL, "config_version"));
    printf("listening on");
    json_array_foreach(json_object_get(o, "listen"), i, address)
        printf(" %s", json_string_value(address));
    printf("\nconnections %lld open, %lld so far; messages %lld, recipients %lld, refused %lld, put off %lld\n",
           number(o, NULL, "connections_open"), number(o, "server", "sessions"), number(o, "server", "messages"),
           number(o, "server", "recipients"), number(o, "server", "refused"), number(o, "server", "tempfailed"));
    printf("spool %lld active, %lld held, %lld quarantined%s%s\n", number(o, "spool", "active"), number(o, "spool", "held"),
           number(o, "spool", "quarantined"), json_is_true(json_object_get(json_object_get(o, "spool"), "full")) ? ", FULL" : "",
           json_is_true(json_object_get(json_object_get(o, "spool"), "failed")) ? ", FAILED: restart needed" : "");
    printf("deliveries %lld done, %lld put off, %lld held, %lld running\n", number(o, "queue", "delivered"),
           number(o, "queue", "deferred"), number(o, "queue", "held"), number(o, "queue", "running"));
}

static int run_status(const struct command *c, int argc, char **argv)
{
    json_t *answer = NULL;
    bool as_json = false;
    int code = ask(c, argc, argv, "GET", "/v1/status", &as_json, &answer);

    if (code == EX_OK && as_json) {
        json_dumpf(answer, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (code == EX_OK) {
        print_status(answer);
    }
    json_decref(answer);
    return code;
}

static int run_reload(const struct command *c, int argc, char **argv)
{
    json_t *answer = NULL;
    int code = ask(c, argc, argv, "POST", "/v1/reload", NULL, &answer);

    json_decref(answer);
    return code;
}

static int run_stop(const struct command *c, int argc, char **argv)
{
    json_t *answer = NULL;
    int code = ask(c, argc, argv, "POST", "/v1/stop", NULL, &answer);

    json_decref(answer);
    return code;
}

const struct command command_status = {"status", run_status, "[--json]", "what the running daemon does",
                                   "  --json                all of it, as JSON\n" REMOTE_HELP};
const struct command command_reload = {"reload", run_reload, "", "load the configuration again",
                                   "Ends with 78 when the new one does not load: the old one keeps serving then.\n\n" REMOTE_HELP};
const struct command command_stop = {"stop", run_stop, "", "stop the running daemon gracefully", REMOTE_HELP};
