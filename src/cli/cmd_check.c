/* cli/cmd_check.c: barid check. */
#include <stdio.h>

#include "cli/commands.h"
#include "daemon/daemon.h"

enum { OPT_DEFAULTS = 256 };

static void print_line(void *user, const char *text)
{
    (void)user;
    puts(text);
}

static int run_check(const struct command *c, int argc, char **argv)
{
    static const struct option options[] = {{"defaults", no_argument, NULL, OPT_DEFAULTS},
                                            {"config", required_argument, NULL, 'c'},
                                            {0}};
    const char *file = NULL;
    bool defaults = false;
    int value, code;

    while ((value = cli_option(c, argc, argv, "c:", options)) != -1) {
        if (value == '?')
            return EX_USAGE;
        if (value == 'c')
            file = optarg;
        defaults |= value == OPT_DEFAULTS;
    }
    if (optind < argc)
        file = argv[optind++];
    if (optind < argc)
        return cli_usage(c, "unexpected argument \"%s\"", argv[optind]);
    if (defaults) {
        config_print_defaults(print_line, NULL);
        if (file == NULL)
            return EX_OK;
    }
    file = cli_find_config(c, file);
    if (file == NULL)
        return EX_NOINPUT;
    code = daemon_check(file);
    if (code == EX_OK)
        printf("%s: no mistakes found\n", file);
    return code;
}

const struct command command_check = {
    "check", run_check, "[FILE] [--defaults]", "validate a configuration: every mistake with file and line",
    "  --defaults   print every declaration with its default\n"
    "\n"
    "Certificates and the users file are looked at, too; ports and the spool are not.\n"};
