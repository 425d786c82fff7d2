/* cli/cmd_send.c: barid send: options to a mail, results to an exit code. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/slice.h"
#include "cli/commands.h"
#include "cli/send.h"
#include "daemon/exit.h"

#define SEND_RCPTS_MAX   10000
#define SEND_HEADERS_MAX 100
#define SEND_MESSAGE_MAX (1u << 30) /* it is held in memory */

enum {
    OPT_TO = 256, OPT_FROM, OPT_SERVER, OPT_LMTP, OPT_TLS, OPT_VERIFY, OPT_CA, OPT_USER, OPT_PASSWORD_FILE,
    OPT_PASSWORD_ENV, OPT_MECHANISM, OPT_DATA, OPT_HEADER, OPT_SUBJECT, OPT_BODY, OPT_BDAT, OPT_BINARY, OPT_PRDR, OPT_NO_PIPELINING,
    OPT_REPEAT, OPT_HELO
};

struct send {
    const struct command *c;
    struct send_options o;
    barid_client_config client;
    barid_client_mail mail;
    barid_client_rcpt *rcpts;
    const char *from, *data_file, *body, *subject, *password_file, *password_env;
    const char *headers[SEND_HEADERS_MAX];
    size_t n_headers;
    uint64_t repeat;
    bool bdat, binary, prdr, opportunistic;
    uint32_t mechanisms;
    struct buf message, password;
    size_t delivered, put_off, refused;
};

/* --- results ------------------------------------------------------------------------------------------------ */

static void print_clean(barid_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        putchar(s.p[i] == '\n' ? ' ' : (unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f ? '?' : s.p[i]);
}

static void on_result(void *user, const barid_client_event *ev)
{
    struct send *s = user;
    unsigned code = ev->reply.code;

    if (ev->id != BARID_CLIENT_RESULT)
        return;
    printf("%.*s: ", (int)s->rcpts[ev->rcpt].address.n, s->rcpts[ev->rcpt].address.p);
    if (code != 0) {
        printf("%u ", code);
        if (ev->reply.enhanced.n > 0)
            printf("%.*s ", (int)ev->reply.enhanced.n, ev->reply.enhanced.p);
        print_clean(ev->reply.text);
    } else {
        printf("no answer (%s: %s)", barid_client_stage_name(ev->stage), barid_strerror(ev->error));
    }
    putchar('\n');
    s->delivered += code >= 200 && code < 300;
    s->refused += code >= 500;
    s->put_off += code < 200 || (code >= 400 && code < 500);
}

static int exit_of(const struct send *s, int rc, enum barid_client_stage stage, unsigned code, const struct err *err)
{
    if (rc < 0) {
        cli_fail(s->c, 0, "%s", err->text);
        if (code >= 500)
            return stage == BARID_STAGE_AUTH ? EX_NOPERM : EX_UNAVAILABLE;
        if (rc == BARID_ENOTFOUND)
            return EX_NOHOST;
        return rc == BARID_ESYNTAX || rc == BARID_EUNSUPPORTED ? EX_PROTOCOL : EX_TEMPFAIL;
    }
    return s->refused > 0 ? EX_UNAVAILABLE : s->put_off > 0 ? EX_TEMPFAIL : EX_OK;
}

/* --- the message -------------------------------------------------------------------------------------------- */

static void put_given_headers(struct send *s)
{
    for (size_t i = 0; i < s->n_headers; i++)
        buf_fmt(&s->message, "%s\r\n", s->headers[i]);
    if (s->subject != NULL)
        buf_fmt(&s->message, "Subject: %s\r\n", s->subject);
}

static void put_own_message(struct send *s)
{
    char date[CLOCK_RFC5322_SIZE];
    uint64_t seed = rng_u64(&rng_system);

    clock_rfc5322(clock_wall_us(&clock_system), date);
    buf_fmt(&s->message, "Date: %s\r\nMessage-ID: <%016llx@%.*s>\r\nFrom: <%s>\r\n", date, (unsigned long long)seed,
            (int)s->client.helo.n, s->client.helo.p, s->from);
    for (size_t i = 0; i < s->mail.n_rcpts; i++)
        buf_fmt(&s->message, "%s<%.*s>", i == 0 ? "To: " : ",\r\n ", (int)s->rcpts[i].address.n, s->rcpts[i].address.p);
    buf_str(&s->message, "\r\n");
    put_given_headers(s);
    buf_fmt(&s->message, "\r\n%s\r\n", s->body != NULL ? s->body : "This is a test.");
}

static int make_message(struct send *s)
{
    buf_init(&s->message, NULL, 0);
    if (s->data_file == NULL) {
        put_own_message(s);
        return EX_OK;
    }
    put_given_headers(s);
    return cli_read_file(s->c, s->data_file, SEND_MESSAGE_MAX, &s->message);
}

static void describe(struct send *s)
{
    barid_mail_params *p = &s->mail.params;
    bool ascii_envelope = ascii_only(s->mail.sender);

    for (size_t i = 0; i < s->mail.n_rcpts; i++)
        ascii_envelope = ascii_envelope && ascii_only(s->rcpts[i].address);
    p->size_given = true;
    p->size = s->message.len;
    p->smtputf8 = !ascii_envelope; /* RFC 6531 3.4: only where it is needed */
    p->prdr = s->prdr;
    if (s->binary)
        p->body = BARID_BODY_BINARYMIME;
    else if (!ascii_only(buf_slice(&s->message)))
        p->body = BARID_BODY_8BITMIME;
    s->o.message = buf_slice(&s->message);
}

/* --- options ------------------------------------------------------------------------------------------------- */

static int add_rcpts(struct send *s, const char *list)
{
    barid_slice rest = slice_str(list);

    while (rest.n > 0) {
        barid_slice one = slice_trim(slice_cut(rest, ',', &rest));

        if (s->mail.n_rcpts == SEND_RCPTS_MAX)
            return cli_usage(s->c, "at most %d recipients", SEND_RCPTS_MAX);
        s->rcpts[s->mail.n_rcpts++].address = one;
    }
    return EX_OK;
}

static int take_tls(struct send *s, const char *text)
{
    s->opportunistic = false;
    s->client.tls = BARID_CLIENT_TLS_NONE;
    if (strcmp(text, "starttls") == 0)
        s->client.tls = BARID_CLIENT_TLS_REQUIRED;
    else if (strcmp(text, "implicit") == 0)
        s->client.implicit_tls = true;
    else if (strcmp(text, "none") != 0)
        return cli_usage(s->c, "--tls is none, starttls or implicit, not \"%s\"", text);
    return EX_OK;
}

static int take_mechanism(struct send *s, const char *text)
{
    for (enum barid_auth_mechanism m = BARID_AUTH_PLAIN; m <= BARID_AUTH_SCRAM_SHA_256; m++)
        if (slice_eq_nocase(slice_str(text), slice_str(barid_auth_mechanism_name(m)))) {
            s->mechanisms |= 1u << m;
            return EX_OK;
        }
    return cli_usage(s->c, "--mechanism is PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1 or SCRAM-SHA-256, not \"%s\"", text);
}

static int take_header(struct send *s, const char *text)
{
    if (s->n_headers == SEND_HEADERS_MAX || strchr(text, ':') == NULL || strpbrk(text, "\r\n") != NULL)
        return cli_usage(s->c, "--header takes \"Name: value\", at most %d times", SEND_HEADERS_MAX);
    s->headers[s->n_headers++] = text;
    return EX_OK;
}

static int take_text_option(struct send *s, int value)
{
    const struct {
        int option;
        const char **text;
    } table[] = {
        {OPT_FROM, &s->from},       {OPT_SERVER, &s->o.server},
        {OPT_CA, &s->o.ca_file},    {OPT_PASSWORD_FILE, &s->password_file},
        {OPT_DATA, &s->data_file},  {OPT_PASSWORD_ENV, &s->password_env},
        {OPT_BODY, &s->body},       {OPT_SUBJECT, &s->subject},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].option == value) {
            *table[i].text = optarg;
            return EX_OK;
        }
    return EX_USAGE;
}

static int take_flag(struct send *s, int value)
{
    const struct {
        int option;
        bool *flag;
    } table[] = {
        {OPT_VERIFY, &s->o.verify}, {OPT_BDAT, &s->bdat}, {OPT_BINARY, &s->binary}, {OPT_PRDR, &s->prdr},
        {OPT_NO_PIPELINING, &s->client.no_pipelining},    {'v', &s->o.verbose},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].option == value) {
            *table[i].flag = true;
            return EX_OK;
        }
    return take_text_option(s, value);
}

static int take_option(struct send *s, int value)
{
    switch (value) {
    case OPT_TO:
        return add_rcpts(s, optarg);
    case OPT_TLS:
        return take_tls(s, optarg);
    case OPT_MECHANISM:
        return take_mechanism(s, optarg);
    case OPT_HEADER:
        return take_header(s, optarg);
    case OPT_REPEAT:
        return cli_number(s->c, "--repeat", optarg, UINT32_MAX, &s->repeat) != 0 ? EX_USAGE : EX_OK;
    case OPT_LMTP:
        s->client.protocol = BARID_LMTP;
        return EX_OK;
    case OPT_USER:
        s->client.authcid = slice_str(optarg);
        return EX_OK;
    case OPT_HELO:
        s->client.helo = slice_str(optarg);
        return EX_OK;
    default:
        return take_flag(s, value);
    }
}

static int take_password(struct send *s)
{
    const char *text;

    buf_init(&s->password, NULL, 0);
    buf_reserve(&s->password, 70000); /* a secret must not be left behind by growing */
    if (s->client.authcid.n == 0)
        return EX_OK;
    if (s->password_file != NULL) {
        int code = cli_read_secret(s->c, s->password_file, &s->password);

        s->client.password = buf_slice(&s->password);
        return code;
    }
    text = s->password_env != NULL ? getenv(s->password_env) : NULL;
    if (text == NULL)
        return cli_usage(s->c, "--user needs --password-file FILE, or --password-env NAME of a variable that is set");
    buf_str(&s->password, text);
    s->client.password = buf_slice(&s->password);
    return EX_OK;
}

static void system_random(void *user, void *p, size_t n)
{
    (void)user;
    rng_fill(&rng_system, p, n);
}

static void complete(struct send *s)
{
    const uint32_t safe = 1u << BARID_AUTH_CRAM_MD5 | 1u << BARID_AUTH_SCRAM_SHA_1 | 1u << BARID_AUTH_SCRAM_SHA_256;
    const uint32_t clear = 1u << BARID_AUTH_PLAIN | 1u << BARID_AUTH_LOGIN;

    if (s->opportunistic)
        s->client.tls = BARID_CLIENT_TLS_OPPORTUNISTIC;
    /* A password goes in clear only where somebody asked for that mechanism by name. */
    s->client.mechanisms_secure = s->mechanisms != 0 ? s->mechanisms : safe | clear;
    s->client.mechanisms_plain = s->mechanisms != 0 ? s->mechanisms : safe;
    s->client.no_chunking = !s->bdat && !s->binary;
    s->client.bare_newline = BARID_BARE_NORMALISE; /* files of this system end lines by LF */
    s->client.transcript = s->o.verbose;
    s->client.random = system_random;
    s->mail.sender = slice_eq(slice_str(s->from), BARID_S("<>")) ? (barid_slice){0} : slice_str(s->from);
    s->mail.rcpts = s->rcpts;
    s->o.client = &s->client;
    s->o.mail = &s->mail;
    s->o.repeat = (unsigned)s->repeat;
    s->o.result = on_result;
    s->o.user = s;
}

static int deliver(struct send *s)
{
    enum barid_client_stage stage = BARID_STAGE_CONNECT;
    struct err err = {0};
    unsigned reply = 0;
    int code = take_password(s), rc;

    complete(s);
    if (code == EX_OK)
        code = make_message(s);
    if (code == EX_OK) {
        describe(s);
        signal(SIGPIPE, SIG_IGN);
        rc = send_run(&s->o, &stage, &reply, &err);
        code = exit_of(s, rc, stage, reply, &err);
    }
    buf_deinit(&s->message);
    buf_wipe(&s->password);
    return code;
}

static int check(const struct send *s, int argc, char **argv)
{
    if (optind < argc)
        return cli_usage(s->c, "unexpected argument \"%s\"", argv[optind]);
    if (s->mail.n_rcpts == 0 || s->from == NULL)
        return cli_usage(s->c, "--from and --to are needed");
    if (s->repeat == 0)
        return cli_usage(s->c, "--repeat must be at least 1");
    return EX_OK;
}

static int run_send(const struct command *c, int argc, char **argv)
{
    static const struct option options[] = {{"to", required_argument, NULL, OPT_TO},
                                            {"from", required_argument, NULL, OPT_FROM},
                                            {"server", required_argument, NULL, OPT_SERVER},
                                            {"lmtp", no_argument, NULL, OPT_LMTP},
                                            {"tls", required_argument, NULL, OPT_TLS},
                                            {"verify", no_argument, NULL, OPT_VERIFY},
                                            {"ca", required_argument, NULL, OPT_CA},
                                            {"user", required_argument, NULL, OPT_USER},
                                            {"password-file", required_argument, NULL, OPT_PASSWORD_FILE},
                                            {"password-env", required_argument, NULL, OPT_PASSWORD_ENV},
                                            {"mechanism", required_argument, NULL, OPT_MECHANISM},
                                            {"data", required_argument, NULL, OPT_DATA},
                                            {"header", required_argument, NULL, OPT_HEADER},
                                            {"subject", required_argument, NULL, OPT_SUBJECT},
                                            {"body", required_argument, NULL, OPT_BODY},
                                            {"bdat", no_argument, NULL, OPT_BDAT},
                                            {"binary", no_argument, NULL, OPT_BINARY},
                                            {"prdr", no_argument, NULL, OPT_PRDR},
                                            {"no-pipelining", no_argument, NULL, OPT_NO_PIPELINING},
                                            {"repeat", required_argument, NULL, OPT_REPEAT},
                                            {"helo", required_argument, NULL, OPT_HELO},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {0}};
    struct send s = {.c = c, .repeat = 1, .opportunistic = true};
    int value, code = EX_OK;

    s.o.server = "127.0.0.1:2525";
    s.client.size = sizeof(s.client);
    s.client.helo = BARID_S("localhost");
    s.rcpts = xalloc(SEND_RCPTS_MAX * sizeof(*s.rcpts));
    while (code == EX_OK && (value = cli_option(c, argc, argv, "v", options)) != -1)
        code = value == '?' ? EX_USAGE : take_option(&s, value);
    if (code == EX_OK)
        code = check(&s, argc, argv);
    if (code == EX_OK)
        code = deliver(&s);
    mem_free(NULL, s.rcpts);
    return code;
}

const struct command command_send = {
    "send", run_send, "--from A --to B ...", "submit a mail over SMTP or LMTP and show what became of it",
    "  --server ADDRESS      host:port, [::1]:port or unix:/path; 127.0.0.1:2525 by default\n"
    "  --from ADDRESS        the sender; \"<>\" is the null sender\n"
    "  --to ADDRESS,...      recipients; may be repeated\n"
    "  --lmtp                speak LMTP\n"
    "  --helo NAME           our name\n"
    "  --tls MODE            none, starttls or implicit; else STARTTLS where it is offered\n"
    "  --verify, --ca FILE   check the server's certificate, against FILE or a directory\n"
    "  --user NAME           authenticate, with a password from one of:\n"
    "  --password-file FILE  its first line; - is standard input\n"
    "  --password-env NAME   a variable of the environment\n"
    "  --mechanism NAME      PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256; may be repeated.\n"
    "                        Without it PLAIN and LOGIN are used over TLS only\n"
    "  --data FILE           the message, header and body; - is standard input\n"
    "  --header \"Name: value\"  in front of the message; may be repeated\n"
    "  --subject TEXT, --body TEXT   of a message made here\n"
    "  --bdat                send by BDAT where offered\n"
    "  --binary              BODY=BINARYMIME: the octets exactly\n"
    "  --prdr                ask for a reply per recipient\n"
    "  --no-pipelining       one command at a time\n"
    "  --repeat N            that many mails in one session\n"
    "  -v, --verbose         show the dialogue on stderr, secrets masked\n"
    "\n"
    "Ends with 0 when every recipient was accepted, 69 when one was refused, 75 when one was put\n"
    "off or the server could not be reached, 77 when the password was refused.\n"};
