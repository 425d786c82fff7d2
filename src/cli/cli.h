/*
 * cli/cli.h: what the commands share: the table, one-line errors, finding the configuration.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <getopt.h>
#include <sysexits.h>

#include "base/buf.h"
#include "base/err.h"
#include "policy/config.h"

struct command {
    const char *name;      /* "queue list" is two words in one name */
    int (*run)(const struct command *c, int argc, char **argv); /* argv[0] is the name; an exit code */
    const char *arguments; /* for the usage line */
    const char *doc;       /* one line for the list */
    const char *help;      /* the options, for `barid help NAME`; lines ended by '\n' */
};
extern const struct command *const cli_commands[]; /* ends with NULL */

/* "barid NAME: text" on stderr; returns code. */
int cli_fail(const struct command *c, int code, const char *fmt, ...) BARID_PRINTF(3, 4);
/* The line for a wrong command line: EX_USAGE. */
int cli_usage(const struct command *c, const char *fmt, ...) BARID_PRINTF(2, 3);

/* getopt_long with our messages. The option's value, -1 at the end, '?' after it complained. ':' in front of names
 * is not needed. */
int cli_option(const struct command *c, int argc, char **argv, const char *letters, const struct option *options);
/* "123"; EX_USAGE with a line naming the option, or 0. */
int cli_number(const struct command *c, const char *option, const char *text, uint64_t max, uint64_t *value_r);

/* -c FILE as given, else ./barid.lua, else /etc/barid/barid.lua; NULL after it complained. Static or the argument. */
const char *cli_find_config(const struct command *c, const char *given);
/* Loads it; mistakes are lines on stderr. EX_OK or an exit code. */
int cli_load_config(const struct command *c, const char *given, struct config **config_r);

/* All of a file, "-" = standard input. max 0 = no limit. EX_OK or an exit code after it complained. */
int cli_read_file(const struct command *c, const char *file, size_t max, struct buf *out);
/* One line of an open file without its end; for passwords: max 1024 octets. */
int cli_read_secret(const struct command *c, const char *file, struct buf *out);

#endif
