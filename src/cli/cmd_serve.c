/* cli/cmd_serve.c: barid serve. */
#include <stdlib.h>

#include "cli/commands.h"
#include "daemon/daemon.h"

enum { OPT_FOREGROUND = 256, OPT_READY_FD, OPT_CLOCK, OPT_SEED };

static int run_serve(const struct command *c, int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"foreground", no_argument, NULL, OPT_FOREGROUND},
        {"ready-fd", required_argument, NULL, OPT_READY_FD},
        {"clock-file", required_argument, NULL, OPT_CLOCK},
        {"seed", required_argument, NULL, OPT_SEED},
        {0},
    };
    struct daemon_options o = {.ready_fd = -1};
    uint64_t fd = 0;
    int value;

    while ((value = cli_option(c, argc, argv, "c:", options)) != -1) {
        if (value == 'c')
            o.config_file = optarg;
        else if (value == OPT_CLOCK)
            o.clock_file = optarg;
        else if (value == OPT_READY_FD && cli_number(c, "--ready-fd", optarg, 1 << 20, &fd) != 0)
            return EX_USAGE;
        else if (value == OPT_READY_FD)
            o.ready_fd = (int)fd;
        else if (value == OPT_SEED && cli_number(c, "--seed", optarg, UINT64_MAX, &o.seed) != 0)
            return EX_USAGE;
        else if (value == '?')
            return EX_USAGE;
        o.seeded |= value == OPT_SEED;
    }
    if (optind < argc)
        return cli_usage(c, "unexpected argument \"%s\"", argv[optind]);
    o.config_file = cli_find_config(c, o.config_file);
    return o.config_file != NULL ? daemon_run(&o) : EX_NOINPUT;
}

const struct command command_serve = {
    "serve", run_serve, "[-c FILE]", "run the mail server",
    "  -c, --config FILE   the configuration; else ./barid.lua, else /etc/barid/barid.lua\n"
    "  --foreground        stay in the foreground (it always does)\n"
    "  --ready-fd N        write \"ready ADDRESS ...\" to descriptor N when everything listens\n"
    "\n"
    "SIGTERM and SIGINT stop gracefully, a second one at once; SIGHUP loads the configuration\n"
    "again and reopens the log file; SIGUSR1 reopens the log file.\n"
    "\n"
    "Testing:\n"
    "  --clock-file FILE   add the milliseconds in FILE (8 octets, host order, may change) to the clock\n"
    "  --seed N            repeatable random numbers, unfit for secrets\n"};
