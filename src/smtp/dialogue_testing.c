/* smtp/dialogue_testing.c: a grammar of dialogues; see dialogue_testing.h. An octet that is not
 * there is 0, and chooses what is usual. */
#include "smtp/dialogue_testing.h"

#include <string.h>

#include "base/slice.h"

struct source {
    const uint8_t *p;
    size_t n;
};

static unsigned take(struct source *from)
{
    if (from->n == 0)
        return 0;
    from->n--;
    return *from->p++;
}

#define PICK(from, table) (table)[take(from) % (sizeof(table) / sizeof((table)[0]))]

/* --- the server --- */

static void set_limits(struct reference_options *o, struct source *from)
{
    unsigned bits = take(from), more = take(from);

    o->line = (bits & 1) != 0 ? 80 : 2048;
    o->data_line = (bits & 2) != 0 ? 24 : 0x7fffffff;
    o->commands = (bits & 4) != 0 ? 20 : 10000;
    o->errors = (bits & 8) != 0 ? 5 : 20;
    o->noops = (bits & 16) != 0 ? 4 : 100;
    o->recipients = (bits & 32) != 0 ? 2 : 1000;
    o->header = (bits & 64) != 0 ? 60 : 262144;
    o->message = (bits & 128) != 0 ? 200 : 52428800;
    o->transactions = (more & 1) != 0 ? 3 : 0;
    o->output = (more & 2) != 0 ? 40 : 65536;
    o->no_null_rcpt_postmaster = (more & 4) != 0;
    o->strict_helo_name = (more & 8) != 0;
    o->no_enhanced_codes = (more & 16) != 0;
    o->auth = (more & 32) != 0;
    o->auth_required = (more & 96) == 96;
}

static void set_options(struct reference_options *o, struct source *from)
{
    unsigned kind = take(from), bits = take(from);

    o->protocol = (enum barid_protocol)(kind % 3);
    o->policy = (kind & 56) != 56;
    o->refuse_connect = (kind & 192) == 192 && (kind & 8) != 0;
    o->starttls = (bits & 3) != 3;
    o->tls_fails = (bits & 28) == 28;
    o->normalise = (bits & 32) != 0;
    o->strict_mixed = (bits & 64) != 0;
    o->no_helo_needed = (bits & 132) == 132;
    o->second_helo_refused = (bits & 136) == 136;
    set_limits(o, from);
}

/* --- lines --- */

static void add(struct dialogue *d, const char *text)
{
    buf_str(&d->input, text);
}

/* Something in the line since start that the client would not say. */
static void damage(struct dialogue *d, struct source *from, size_t start)
{
    static const char odd[] = {'\0', '\r', '\n', ' ', '\t',   '.',
                               '<',  '>',  ':',  '=', '\xff', 'A'};
    size_t n = d->input.len - start, at = start;
    unsigned how = take(from);
    char c = PICK(from, odd);

    if (n == 0)
        return;
    at += take(from) % n;
    if (how % 3 == 0) {
        d->input.p[at] = c;
    } else if (how % 3 == 1) {
        memmove(d->input.p + at, d->input.p + at + 1, d->input.len - at - 1);
        d->input.len--;
    } else if (buf_byte(&d->input, c) == 0) {
        memmove(d->input.p + at + 1, d->input.p + at, d->input.len - at - 1);
        d->input.p[at] = c;
    }
}

static void end_line(struct dialogue *d, struct source *from, size_t start)
{
    unsigned how = take(from);

    if (how > 0 && how < 24)
        damage(d, from, start);
    if (how < 250)
        add(d, "\r\n");
    else if (how < 253)
        add(d, "\n");
    else if (how == 253)
        add(d, "\r");
}

/* --- commands --- */

static void say_hello(struct dialogue *d, struct source *from)
{
    static const char *const words[] = {"EHLO", "EHLO", "HELO", "LHLO", "ehlo"};
    static const char *const names[] = {" c.example", " [192.0.2.1]", " c d", "", " ", "\tc"};
    size_t start = d->input.len;
    unsigned how = take(from);

    add(d, how < 200 ? (d->options.protocol == BARID_LMTP ? "LHLO" : "EHLO")
                     : words[how % (sizeof(words) / sizeof(words[0]))]);
    add(d, PICK(from, names));
    end_line(d, from, start);
}

static const char *const addresses[] = {
    "<a@b.example>",
    "<b@b.example>",
    "<x1@b.example>",
    "<y1@b.example>",
    "<p1@b.example>",
    "<t1@b.example>",
    "<>",
    "<postmaster>",
    "<local>",
    "<c.d+e@f>",
    "a@b.example",
    "<a@b.example",
    "<a@b@c>",
    "<a@-b>",
    "<a..b@c>",
    "<.a@b>",
    "<a@b.>",
    "<@>",
    " <a@b.example>",
    "<a@b.example>x",
    "<p2@c>",
    "<t2@c>",
    "<a-b_c@d-e.f>",
    "",
    "<\xc3\xbc@b.example>",
    "<\xc3@b.example>",
};

static void say_mail(struct dialogue *d, struct source *from)
{
    static const char *const words[] = {
        "MAIL FROM:", "MAIL FROM:", "mail from:", "MAIL FROM: ", "MAIL FROM", "MAIL"};
    static const char *const params[] = {
        "",
        "",
        " SIZE=100",
        " SIZE=201",
        " SIZE=99999999999999999999",
        " SIZE=x",
        " SIZE",
        " BODY=8BITMIME",
        " BODY=BINARYMIME",
        " BODY=7BIT SIZE=3",
        " BODY=9BIT",
        " SMTPUTF8",
        " SMTPUTF8=1",
        " PRDR",
        " PRDR BODY=BINARYMIME",
        " prdr size=5",
        " RET=FULL",
        " RET=NO",
        " ENVID=abc",
        " XYZ",
        " XYZ=1",
        " SIZE=1 SIZE=1",
        " =",
        " AUTH=<>",
        "  ",
        " NOTIFY=NEVER",
    };
    size_t start = d->input.len;

    add(d, PICK(from, words));
    add(d, PICK(from, addresses));
    add(d, PICK(from, params));
    end_line(d, from, start);
}

static void say_rcpt(struct dialogue *d, struct source *from)
{
    static const char *const words[] = {
        "RCPT TO:", "RCPT TO:", "RCPT TO:", "rcpt to: ", "RCPT TO", "RCPT FROM:"};
    static const char *const params[] = {"",
                                         "",
                                         "",
                                         " NOTIFY=NEVER",
                                         " NOTIFY=SUCCESS,DELAY",
                                         " NOTIFY=NEVER,DELAY",
                                         " ORCPT=rfc822;a@b",
                                         " SIZE=1",
                                         " NOTIFY",
                                         " X"};
    size_t start = d->input.len;

    add(d, PICK(from, words));
    add(d, PICK(from, addresses));
    add(d, PICK(from, params));
    end_line(d, from, start);
}

static void say_other(struct dialogue *d, struct source *from)
{
    static const char *const lines[] = {
        "NOOP",           "NOOP x",     "RSET",  "RSET",    "RSET x",          "VRFY a",
        "VRFY",           "EXPN a",     "EXPN",  "HELP",    "HELP x",          "FOO",
        "FOO bar",        "",           " ",     " NOOP",   "AUTH PLAIN AAAA", "AUTH",
        "XCLIENT NAME=x", "noop",       "rset ", "NOOP\tx", "NOOPX",           "QUIT x",
        "DATA x",         "STARTTLS x", "BDAT",
    };
    size_t start = d->input.len;

    add(d, PICK(from, lines));
    end_line(d, from, start);
}

static void say_long(struct dialogue *d, struct source *from)
{
    static const size_t lengths[] = {76, 77, 78, 79, 80, 81, 200, 2045, 2046, 2047, 4100};
    static const char *const words[] = {"NOOP ", "AUTH ", "BDAT ", "xxxxx"};
    size_t start = d->input.len, n = PICK(from, lengths);

    add(d, PICK(from, words));
    while (d->input.len - start < n && buf_byte(&d->input, 'x') == 0)
        ;
    end_line(d, from, start);
}

static void say_starttls(struct dialogue *d, struct source *from)
{
    size_t start = d->input.len;

    add(d, "STARTTLS");
    end_line(d, from, start);
    if (take(from) % 4 == 3) /* injected behind it */
        add(d, "NOOP\r\nMAIL FROM:<a@b.example>\r\n");
    if (d->n_ends < DIALOGUE_SEGMENTS - 1)
        d->ends[d->n_ends++] = d->input.len;
}

static void say_auth(struct dialogue *d, struct source *from)
{
    static const char *const words[] = {"AUTH PLAIN ", "AUTH PLAIN", "auth plain ",
                                        "AUTH LOGIN ", "AUTH PLAIN", "AUTH PLAIN ="};
    static const char *const responses[] = {"AGEAcA==", "AHgAcA==", "AHkAcA==",  "AA==",
                                            "AGEA",     "AGEAcA=",  "=",         "",
                                            "*",        "*AGEA",    " AGEAcA==", "AAAA"};
    size_t start = d->input.len;
    const char *word = PICK(from, words);

    add(d, word);
    if (slice_ends_nocase(slice_str(word), BARID_S(" "))) {
        add(d, PICK(from, responses));
    } else if (slice_ends_nocase(slice_str(word), BARID_S("N"))) {
        add(d, "\r\n");
        start = d->input.len;
        add(d, PICK(from, responses));
    }
    end_line(d, from, start);
}

static void say_quit(struct dialogue *d, struct source *from)
{
    unsigned how = take(from);

    if (how < 40)
        add(d, "QUIT\r\n");
    else if (how >= 200)
        say_auth(d, from);
    else
        say_other(d, from);
}

/* --- messages --- */

static void add_run(struct buf *out, struct source *from)
{
    size_t n = take(from);

    if (n >= 252) /* about the size of a body chunk */
        n = 65500 + take(from) % 80;
    while (n-- > 0)
        buf_byte(out, 'x');
}

/* Up to a limit of the server, an octet or two more or less. */
static void add_edge(const struct reference_options *o, struct buf *out, size_t start,
                     struct source *from)
{
    size_t most = o->message < 1000 ? (size_t)o->message : o->header < 1000 ? o->header : 80;
    size_t n = start + most + take(from) % 5 - 2;

    while (out->len < n && buf_byte(out, 'x') == 0)
        ;
}

static void add_content(const struct reference_options *o, struct buf *out, struct source *from)
{
    static const char *const pieces[] = {
        "Subject: x\r\n",
        "\r\n",
        "text\r\n",
        "..\r\n",
        ".x\r\n",
        ".",
        "\n",
        "\r",
        "\r\n.\r",
        "\n.\r\n",
        "\r.\r\n",
        "\r\n.\n",
        "\n.\n",
        "\r\r\n",
        "\r\n\r\n",
        "x",
        "H: x\r\n",
        "K: x\r\n",
        "L: x\r\n",
        "\r\nB",
        "a\r\n",
        " folded\r\n",
        "\0",
        "\xff\xc3\xa9",
        "\r\nQUIT\r\n",
        "MAIL FROM:<a@b.example>\r\n",
        "RSET\r\n",
        "\r\n..\r\n.",
        "\n\n",
        "12345678901234567890",
        "\r\n.x\r\n",
    };
    size_t n = take(from) % 12, start = out->len;

    while (n-- > 0) {
        unsigned which = take(from) % 32;

        if (which == 31)
            add_run(out, from);
        else
            buf_append(out, slice_of(pieces[which], which == 22 ? 1 : strlen(pieces[which])));
    }
    if (take(from) % 8 == 7)
        add_edge(o, out, start, from);
}

static void say_data(struct dialogue *d, struct source *from)
{
    static const char *const ends[] = {
        "\r\n.\r\n",        "\r\n.\r\n",      "\r\n.\r\n",        ".\r\n",
        "\r\n.\n\r\n.\r\n", "\n.\n\r\n.\r\n", "\r\n.\r\r\n.\r\n", "\r\n"};
    size_t start = d->input.len;

    add(d, "DATA");
    end_line(d, from, start);
    add_content(&d->options, &d->input, from);
    add(d, PICK(from, ends));
}

static void say_chunk(struct dialogue *d, struct source *from)
{
    static const char *const lasts[] = {"",      "",        " LAST",  " LAST",
                                        " last", "  LAST ", " FIRST", " LAST x"};
    static const char *const sizes[] = {"x",
                                        "-1",
                                        "",
                                        "0x3",
                                        "4611686018427387904",
                                        "4611686018427387905",
                                        "99999999999999999999",
                                        "201",
                                        "1"};
    unsigned how = take(from);
    struct buf content;
    size_t start = d->input.len;

    buf_init(&content, NULL, 0);
    add_content(&d->options, &content, from);
    if (how < 240)
        buf_fmt(&d->input, "BDAT %zu", content.len);
    else
        buf_fmt(&d->input, "BDAT %s", PICK(from, sizes));
    add(d, PICK(from, lasts));
    end_line(d, from, start);
    buf_append(&d->input, buf_slice(&content));
    buf_deinit(&content);
}

/* A whole mail, so that few octets lead far. */
static void say_all(struct dialogue *d, struct source *from)
{
    static const char *const mails[] = {"MAIL FROM:<a@b.example>\r\n", "MAIL FROM:<> PRDR\r\n",
                                        "MAIL FROM:<a@b.example> BODY=BINARYMIME\r\n"};
    size_t n;

    add(d, d->options.protocol == BARID_LMTP ? "LHLO c\r\n" : "EHLO c\r\n");
    add(d, PICK(from, mails));
    for (n = take(from) % 4 + 1; n > 0; n--) {
        add(d, "RCPT TO:");
        add(d, addresses[take(from) % 6]);
        add(d, "\r\n");
    }
    if (take(from) % 2 == 0)
        say_data(d, from);
    else
        say_chunk(d, from);
}

static void say_octets(struct dialogue *d, struct source *from)
{
    for (size_t n = take(from) % 16; n > 0; n--)
        buf_byte(&d->input, (char)take(from));
}

static void (*const commands[])(struct dialogue *d, struct source *from) = {
    say_all,   say_hello, say_mail, say_rcpt,  say_rcpt,     say_data, say_chunk, say_chunk,
    say_other, say_mail,  say_rcpt, say_chunk, say_starttls, say_long, say_quit,  say_octets,
};

void dialogue_make(struct dialogue *d, const uint8_t *data, size_t size)
{
    struct source from = {data, size};

    *d = (struct dialogue){.n_ends = 0};
    buf_init(&d->input, NULL, DIALOGUE_MAX);
    set_options(&d->options, &from);
    while (from.n > 0)
        PICK(&from, commands)(d, &from);
    d->ends[d->n_ends++] = d->input.len;
}

void dialogue_deinit(struct dialogue *d)
{
    buf_deinit(&d->input);
}
