/* cli/cmd_passwd.c: barid passwd: adding, removing and listing users. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "barid/verifier.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/slice.h"
#include "cli/commands.h"
#include "daemon/exit.h"
#include "server/users.h"

enum { OPT_STDIN = 256, OPT_PLAIN, OPT_ITERATIONS };

struct passwd_options {
    const char *file, *config;
    bool from_stdin, plain;
    uint64_t iterations;
};

/* A line from the terminal without echo. Signals meanwhile would leave it silent: they are held back by the terminal's own
 * driver only if we let them, so echo is restored before anything else happens. */
static int ask_terminal(const struct command *c, const char *prompt, struct buf *out)
{
    FILE *tty = fopen("/dev/tty", "r+");
    struct termios before, silent;
    char line[1026];
    bool got;

    if (tty == NULL || tcgetattr(fileno(tty), &before) != 0) {
        if (tty != NULL)
            fclose(tty);
        return cli_fail(c, EX_USAGE, "there is no terminal to ask for the password: use --stdin");
    }
    silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    tcsetattr(fileno(tty), TCSAFLUSH, &silent);
    fputs(prompt, tty);
    fflush(tty);
    got = fgets(line, sizeof(line), tty) != NULL;
    tcsetattr(fileno(tty), TCSAFLUSH, &before);
    fputs("\n", tty);
    fclose(tty);
    if (got)
        buf_append(out, slice_trim(slice_str(line)));
    mem_wipe(line, sizeof(line));
    return got && out->len > 0 ? EX_OK : cli_fail(c, EX_DATAERR, "no password was given");
}

static int ask_twice(const struct command *c, struct buf *out)
{
    struct buf again;
    int code;

    buf_init(&again, NULL, 0);
    buf_reserve(&again, 1100);
    code = ask_terminal(c, "Password: ", out);
    if (code == EX_OK)
        code = ask_terminal(c, "Again: ", &again);
    if (code == EX_OK && !slice_eq(buf_slice(out), buf_slice(&again)))
        code = cli_fail(c, EX_DATAERR, "the two are different: nothing was changed");
    buf_wipe(&again);
    return code;
}

static int make_secret(const struct command *c, const struct passwd_options *o, barid_slice password, struct buf *secret)
{
    uint8_t salt[BARID_VERIFIER_SALT];
    char text[BARID_VERIFIER_TEXT_MAX];
    barid_verifier v;
    int rc;

    rng_fill(&rng_system, salt, sizeof(salt));
    /* Made in any case: it refuses passwords that no mechanism could carry. */
    rc = barid_verifier_make(&v, BARID_AUTH_SCRAM_SHA_256, password, slice_of(salt, sizeof(salt)), (uint32_t)o->iterations);
    if (rc < 0)
        return cli_fail(c, EX_DATAERR, "this password cannot be used: %s", barid_strerror(rc));
    if (o->plain) {
        buf_str(secret, "{PLAIN}");
        buf_append(secret, password);
    } else {
        buf_append(secret, slice_of(text, barid_verifier_format(&v, text)));
    }
    mem_wipe(&v, sizeof(v));
    mem_wipe(text, sizeof(text));
    return EX_OK;
}

static int add(const struct command *c, const struct passwd_options *o, const char *name)
{
    struct buf password, secret;
    struct err err = {0};
    int code;

    buf_init(&password, NULL, 0);
    buf_init(&secret, NULL, 0);
    buf_reserve(&password, 1100); /* secrets must not be left behind by growing */
    buf_reserve(&secret, 2200);
    code = o->from_stdin ? cli_read_secret(c, "-", &password) : ask_twice(c, &password);
    if (code == EX_OK)
        code = make_secret(c, o, buf_slice(&password), &secret);
    if (code == EX_OK && users_set(o->file, slice_str(name), buf_slice(&secret), &err) < 0)
        code = cli_fail(c, err.code == BARID_ESYNTAX ? EX_DATAERR : EX_CANTCREAT, "%s", err.text);
    buf_wipe(&password);
    buf_wipe(&secret);
    return code;
}

static int drop(const struct command *c, const struct passwd_options *o, const char *name)
{
    struct err err = {0};
    int rc = users_remove(o->file, slice_str(name), &err);

    return rc < 0 ? cli_fail(c, rc == BARID_ENOTFOUND ? EX_NOUSER : EX_CANTCREAT, "%s", err.text) : EX_OK;
}

static void print_user(void *user, const struct user_entry *e)
{
    (void)user;
    printf("%.*s %s\n", (int)e->name.n, e->name.p, e->plaintext ? "plain" : "scram");
}

static int list(const struct command *c, const struct passwd_options *o)
{
    const char *warning = NULL;
    struct users *u = NULL;
    struct err err = {0};
    int rc = users_load(&u, o->file, &err, &warning);

    if (rc < 0)
        return cli_fail(c, rc == BARID_ESYNTAX ? EX_DATAERR : EX_NOINPUT, "%s", err.text);
    users_each(u, print_user, NULL);
    users_unref(&u);
    if (warning != NULL)
        fprintf(stderr, "barid passwd: warning: %s: %s\n", o->file, warning);
    return EX_OK;
}

static bool is_verb(int n, char **words)
{
    return (n == 2 && (strcmp(words[0], "add") == 0 || strcmp(words[0], "remove") == 0)) ||
           (n == 1 && strcmp(words[0], "list") == 0);
}

static int run_verb(const struct command *c, const struct passwd_options *o, int n, char **words)
{
    if (n == 1)
        return list(c, o);
    return words[0][0] == 'a' ? add(c, o, words[1]) : drop(c, o, words[1]);
}

static int with_file(const struct command *c, struct passwd_options *o, int n, char **words)
{
    struct config *config = NULL;
    int code;

    if (o->file != NULL)
        return run_verb(c, o, n, words);
    code = cli_load_config(c, o->config, &config);
    if (code != EX_OK)
        return code;
    o->file = config->users_file;
    code = o->file != NULL ? run_verb(c, o, n, words)
                           : cli_fail(c, EX_CONFIG, "%s declares no users file: add  auth { users = FILE }  or use -f FILE",
                                      config->file);
    config_del(&config);
    return code;
}

static int run_passwd(const struct command *c, int argc, char **argv)
{
    static const struct option options[] = {{"file", required_argument, NULL, 'f'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"stdin", no_argument, NULL, OPT_STDIN},
                                            {"plain", no_argument, NULL, OPT_PLAIN},
                                            {"iterations", required_argument, NULL, OPT_ITERATIONS},
                                            {0}};
    struct passwd_options o = {.iterations = BARID_VERIFIER_ITERATIONS};
    int value;

    while ((value = cli_option(c, argc, argv, "f:c:", options)) != -1) {
        if (value == '?')
            return EX_USAGE;
        if (value == 'f')
            o.file = optarg;
        else if (value == 'c')
            o.config = optarg;
        else if (value == OPT_ITERATIONS &&
                 cli_number(c, "--iterations", optarg, BARID_VERIFIER_ITERATIONS_MAX, &o.iterations) != 0)
            return EX_USAGE;
        o.from_stdin |= value == OPT_STDIN;
        o.plain |= value == OPT_PLAIN;
    }
    if (o.iterations < BARID_VERIFIER_ITERATIONS)
        return cli_usage(c, "--iterations must be at least %d", BARID_VERIFIER_ITERATIONS); /* RFC 5802 5.1 */
    if (!is_verb(argc - optind, argv + optind))
        return cli_usage(c, "add NAME, remove NAME or list is needed");
    return with_file(c, &o, argc - optind, argv + optind);
}

const struct command command_passwd = {
    "passwd", run_passwd, "[-f FILE] add NAME | remove NAME | list", "make and change a users file",
    "  -f, --file FILE    the users file; else the one that the configuration declares\n"
    "  -c, --config FILE  the configuration\n"
    "  --stdin            the password is the first line of standard input\n"
    "  --plain            store the password itself: CRAM-MD5 needs it\n"
    "  --iterations N     of SCRAM-SHA-256; 4096 or more\n"};
