/* cli/cmd_queue_events.c: barid queue events: what becomes of mail, line by line, until either side ends. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/remote.h"

/* Each line at once: somebody waits for it at the other end of a pipe. A ping is between the two programs; the first one says that we are
 * listening. */
static bool print_line(void *user, const char *line, size_t n)
{
    static const char ping[] = "{\"event\":\"ping\"}";

    if (n == sizeof(ping) - 1 && memcmp(line, ping, n) == 0) {
        if (!*(bool *)user)
            fputs("listening\n", stderr);
        *(bool *)user = true;
        return true;
    }
    fwrite(line, 1, n, stdout);
    putchar('\n');
    return fflush(stdout) == 0;
}

static int run_events(const struct command *c, int argc, char **argv)
{
    static const struct option options[] = {REMOTE_OPTIONS, {0}};
    struct remote r = {0};
    bool listening = false;
    int value, code = EX_OK;

    while ((value = cli_option(c, argc, argv, REMOTE_LETTERS, options)) != -1) {
        if (value == '?')
            return EX_USAGE;
        remote_option(&r, value);
    }
    if (optind < argc)
        code = cli_usage(c, "unexpected argument \"%s\"", argv[optind]);
    if (code == EX_OK)
        code = remote_listen(c, &r, "/v1/queue/events", print_line, &listening);
    remote_deinit(&r);
    return code;
}

const struct command command_queue_events = {
    "queue events", run_events, "", "what becomes of mail from now on, a line of JSON each",
    REMOTE_HELP};
