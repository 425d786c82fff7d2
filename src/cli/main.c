/* cli/main.c: barid COMMAND ...: finds the command and runs it. */
#include <stdio.h>
#include <string.h>

#include "barid/types.h"
#include "cli/commands.h"

const struct command *const cli_commands[] = {
    &command_serve,  &command_check,          &command_passwd,      &command_certificate, &command_send,
    &command_sink,   &command_queue_list,     &command_queue_show,  &command_queue_count, &command_queue_hold,
    &command_queue_release, &command_queue_retry, &command_queue_remove, &command_queue_recover, &command_queue_bounce,
    &command_queue_events, &command_trace, &command_status,
    &command_reload, &command_stop,           &command_verify_address, &command_verify_mime, &command_version,
    &command_help,   NULL,
};

static void list_commands(FILE *out)
{
    fputs("usage: barid COMMAND ...\n\n", out);
    for (const struct command *const *c = cli_commands; *c != NULL; c++)
        fprintf(out, "  %-16s %s\n", (*c)->name, (*c)->doc);
    fputs("\nbarid help COMMAND tells its options.\n", out);
}

static void show(const struct command *c)
{
    printf("usage: barid %s%s%s\n\n%s\n", c->name, c->arguments[0] != '\0' ? " " : "", c->arguments, c->doc);
    if (c->help[0] != '\0')
        printf("\n%s", c->help);
}

/* How many of the words name c: 0, 1 or 2. */
static int words_of(const struct command *c, int n, char **words)
{
    size_t first = n > 0 ? strlen(words[0]) : 0;

    if (n > 0 && strcmp(c->name, words[0]) == 0)
        return 1;
    if (n > 1 && strncmp(c->name, words[0], first) == 0 && c->name[first] == ' ' && strcmp(c->name + first + 1, words[1]) == 0)
        return 2;
    return 0;
}

static const struct command *find(int n, char **words, int *used_r)
{
    for (const struct command *const *c = cli_commands; *c != NULL; c++)
        if ((*used_r = words_of(*c, n, words)) > 0)
            return *c;
    return NULL;
}

static int unknown(int n, char **words)
{
    size_t length = strlen(words[0]);
    bool group = false;

    for (const struct command *const *c = cli_commands; *c != NULL; c++)
        group |= strncmp((*c)->name, words[0], length) == 0 && (*c)->name[length] == ' ';
    if (!group)
        fprintf(stderr, "barid: no such command: %s (barid help lists them)\n", words[0]);
    else if (n > 1)
        fprintf(stderr, "barid: no such command: %s %s (barid help lists them)\n", words[0], words[1]);
    else
        fprintf(stderr, "barid: %s needs another word (barid help lists them)\n", words[0]);
    return EX_USAGE;
}

static int run_help(const struct command *c, int argc, char **argv)
{
    const struct command *about;
    int used;

    (void)c;
    if (argc < 2) {
        list_commands(stdout);
        return EX_OK;
    }
    about = find(argc - 1, argv + 1, &used);
    if (about == NULL)
        return unknown(argc - 1, argv + 1);
    show(about);
    return EX_OK;
}

static int run_version(const struct command *c, int argc, char **argv)
{
    (void)c;
    (void)argc;
    (void)argv;
    printf("barid %s\n", barid_version());
    return EX_OK;
}

const struct command command_help = {"help", run_help, "[COMMAND]", "this list, or the options of one command", ""};
const struct command command_version = {"version", run_version, "", "print the version", ""};

int main(int argc, char **argv)
{
    const struct command *c;
    int used = 0;

    if (argc < 2) {
        list_commands(stderr);
        return EX_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return run_help(&command_help, 1, argv);
    if (strcmp(argv[1], "--version") == 0)
        return run_version(&command_version, 1, argv);
    c = find(argc - 1, argv + 1, &used);
    if (c == NULL)
        return unknown(argc - 1, argv + 1);
    for (int i = used + 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0) {
            show(c);
            return EX_OK;
        }
    int code = c->run(c, argc - used, argv + used);
    if (fflush(stdout) != 0 && code == EX_OK) /* a full disk behind a redirection */
        code = cli_fail(c, EX_IOERR, "standard output could not be written");
    return code;
}
