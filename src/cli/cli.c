/* cli/cli.c: messages, options and files of the commands. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "daemon/exit.h"

#define SECRET_MAX 1024

BARID_PRINTF(2, 0)
static void complain(const struct command *c, const char *fmt, va_list args)
{
    fprintf(stderr, "barid %s: ", c->name);
    vfprintf(stderr, fmt, args);
}

int cli_fail(const struct command *c, int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    complain(c, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return code;
}

int cli_usage(const struct command *c, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    complain(c, fmt, args);
    va_end(args);
    fprintf(stderr, " (see barid help %s)\n", c->name);
    return EX_USAGE;
}

int cli_option(const struct command *c, int argc, char **argv, const char *letters, const struct option *options)
{
    char silent[64];
    int value;

    snprintf(silent, sizeof(silent), ":%s", letters); /* ':' = we complain, and know a missing value */
    opterr = 0;
    value = getopt_long(argc, argv, silent, options, NULL);
    if (value == ':')
        cli_usage(c, "%s needs a value", argv[optind - 1]);
    else if (value == '?' && optopt != 0)
        cli_usage(c, "unknown option -%c", optopt);
    else if (value == '?')
        cli_usage(c, "unknown option %s", argv[optind - 1]);
    return value == ':' ? '?' : value;
}

int cli_number(const struct command *c, const char *option, const char *text, uint64_t max, uint64_t *value_r)
{
    if (slice_u64(slice_str(text), max, value_r) < 0)
        return cli_usage(c, "%s must be a number up to %llu, not \"%s\"", option, (unsigned long long)max, text);
    return 0;
}

const char *cli_find_config(const struct command *c, const char *given)
{
    static const char *const places[] = {"barid.lua", "/etc/barid/barid.lua"};

    if (given != NULL)
        return given;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if (access(places[i], F_OK) == 0)
            return places[i];
    cli_fail(c, EX_NOINPUT, "no configuration: give one by -c FILE, or make ./barid.lua or /etc/barid/barid.lua");
    return NULL;
}

static void config_line(void *user, const char *text)
{
    (void)user;
    fprintf(stderr, "%s\n", text);
}

int cli_load_config(const struct command *c, const char *given, struct config **config_r)
{
    struct config_report report = {.line = config_line};
    const char *file = cli_find_config(c, given);

    if (file == NULL)
        return EX_NOINPUT;
    if (access(file, R_OK) != 0) {
        int e = errno;

        return cli_fail(c, exit_code_errno(e), "%s: %s", file, strerror(e));
    }
    *config_r = config_load(file, &report);
    return *config_r != NULL ? EX_OK : EX_CONFIG;
}

static int read_all(int fd, size_t max, struct buf *out)
{
    for (;;) {
        ssize_t n;

        if (buf_reserve(out, 65536) < 0)
            return ENOMEM;
        n = read(fd, out->p + out->len, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            return 0;
        out->len += (size_t)n;
        if (max > 0 && out->len > max)
            return EFBIG;
    }
}

int cli_read_file(const struct command *c, const char *file, size_t max, struct buf *out)
{
    bool is_stdin = strcmp(file, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    int e = fd < 0 ? errno : read_all(fd, max, out);

    if (fd >= 0 && !is_stdin)
        close(fd);
    if (e == 0)
        return EX_OK;
    return cli_fail(c, exit_code_errno(e), "%s: %s", is_stdin ? "standard input" : file, strerror(e));
}

int cli_read_secret(const struct command *c, const char *file, struct buf *out)
{
    int code = cli_read_file(c, file, 0, out);
    size_t n;

    if (code != EX_OK)
        return code;
    n = slice_find(buf_slice(out), '\n');
    if (n > 0 && n <= out->len && out->p[n - 1] == '\r')
        n--;
    out->len = n;
    if (n == 0 || n > SECRET_MAX)
        return cli_fail(c, EX_DATAERR, "%s: the first line must hold a password of 1 to %d octets", file, SECRET_MAX);
    return EX_OK;
}
