/*
 * smtp/cmd_helo.c: HELO, EHLO and LHLO (RFC 5321 4.1.1.1, RFC 2033 4.1), and the list of
 * extensions. What is listed is what session_extensions allows, so nothing listed is refused.
 */
#include <stdio.h>
#include <string.h>

#include "smtp/acts.h"
#include "smtp/verbs.h"
#include "smtp/xclient.h"

/* The reply to EHLO: a name and one line per extension, far below this. */
#define EHLO_TEXT 2048

struct list {
    char *text;
    size_t n;
};

static void add(struct list *l, const char *line)
{
    size_t n = strlen(line);

    if (n + 1 >= EHLO_TEXT - l->n)
        return;
    l->text[l->n] = '\n';
    memcpy(l->text + l->n + 1, line, n + 1);
    l->n += n + 1;
}

static void add_size(const struct barid_session *s, struct list *l)
{
    char line[40];

    snprintf(line, sizeof(line), "SIZE %llu", (unsigned long long)SESSION_LIMIT(s, message));
    add(l, line);
}

/* Strongest first, as clients tend to take the first that they know. */
static void add_auth(const struct barid_session *s, struct list *l)
{
    static const enum barid_auth_mechanism order[] = {
        BARID_AUTH_SCRAM_SHA_256, BARID_AUTH_SCRAM_SHA_1, BARID_AUTH_CRAM_MD5,
        BARID_AUTH_PLAIN,         BARID_AUTH_LOGIN,
    };
    uint32_t usable = session_mechanisms(s);
    char line[80] = "AUTH";

    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if ((usable & 1u << order[i]) != 0) {
            strcat(line, " ");
            strcat(line, barid_auth_mechanism_name(order[i]));
        }
    }
    /* RFC 4954 4: not listed again after success, nor where no mechanism can be used. */
    if (!s->authenticated && usable != 0)
        add(l, line);
}

static void add_limits(const struct barid_session *s, struct list *l)
{
    size_t mails = SESSION_LIMIT(s, transactions);
    char line[80];
    int n = snprintf(line, sizeof(line), "LIMITS RCPTMAX=%zu", SESSION_LIMIT(s, recipients));

    if (mails > 0)
        snprintf(line + n, sizeof(line) - (size_t)n, " MAILMAX=%zu", mails);
    add(l, line);
}

static const struct {
    enum barid_extension bit;
    const char *line; /* or NULL: */
    void (*add)(const struct barid_session *s, struct list *l);
} extensions[] = {
    {BARID_EXT_PIPELINING, "PIPELINING", NULL},
    {BARID_EXT_SIZE, NULL, add_size},
    {BARID_EXT_8BITMIME, "8BITMIME", NULL},
    {BARID_EXT_SMTPUTF8, "SMTPUTF8", NULL},
    {BARID_EXT_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES", NULL},
    {BARID_EXT_CHUNKING, "CHUNKING", NULL},
    {BARID_EXT_BINARYMIME, "BINARYMIME", NULL},
    {BARID_EXT_STARTTLS, "STARTTLS", NULL},
    {BARID_EXT_AUTH, NULL, add_auth},
    {BARID_EXT_LIMITS, NULL, add_limits},
    {BARID_EXT_PRDR, "PRDR", NULL},
    {BARID_EXT_DSN, "DSN", NULL},
    {BARID_EXT_XCLIENT, XCLIENT_EHLO, NULL},
    {BARID_EXT_VRFY, "VRFY", NULL},
    {BARID_EXT_HELP, "HELP", NULL},
};

static void reply_list(struct barid_session *s, barid_slice first)
{
    char text[EHLO_TEXT], name[EHLO_TEXT / 2];
    struct list l = {text, 0};
    uint32_t usable = session_extensions(s);

    if (first.n == 0)
        first = reply_hello_text(s, name, sizeof(name));
    first = slice_head(first, slice_find(first, '\n'));
    first = slice_head(first, EHLO_TEXT / 2);
    if (first.n > 0)
        memcpy(text, first.p, first.n);
    l.n = first.n;
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        if ((usable & extensions[i].bit) == 0)
            continue;
        if (extensions[i].line != NULL)
            add(&l, extensions[i].line);
        else
            extensions[i].add(s, &l);
    }
    reply_plain(s, 250, slice_of(text, l.n));
}

/* Whether the line may be a greeting at all; replies when not. */
static bool check(struct barid_session *s, const struct command *c, barid_slice *name_r)
{
    barid_slice rest;

    /* Anything behind the name is a mistake that many clients make: it is not part of it. */
    *name_r = slice_cut(c->arg, ' ', &rest);
    if (name_r->n == 0)
        reply_syntax(s, "a host name is needed");
    else if (name_r->n > BARID_DOMAIN_MAX)
        reply_syntax(s, "host name too long");
    else if (s->config->switches.strict_helo_name && !barid_domain_valid(*name_r, false) &&
             !barid_address_literal_valid(*name_r))
        reply_syntax(s, "neither a host name nor an address literal");
    else if (s->greeted && s->config->switches.second_helo_refused)
        reply_sequence(s, "already greeted");
    else
        return true;
    return false;
}

/* While it is asked about, the new name is what everybody sees. */
static int set_name(struct barid_session *s, barid_slice name, bool esmtp)
{
    s->before.helo = s->helo;
    s->before.esmtp = s->esmtp;
    s->before.hidden = s->hidden;
    s->helo = (barid_slice){NULL, 0};
    s->esmtp = esmtp;
    s->hidden = 0;
    return session_set_fact(s, &s->helo, name);
}

/* RFC 5321 4.1.4: after a greeting that was not accepted all is as before, a transaction, too. */
static void keep_name(struct barid_session *s)
{
    session_set_fact(s, &s->helo, (barid_slice){NULL, 0});
    s->helo = s->before.helo;
    s->esmtp = s->before.esmtp;
    s->hidden = s->before.hidden;
    s->before.helo = (barid_slice){NULL, 0};
}

static void greet(struct barid_session *s, const struct command *c, bool esmtp)
{
    barid_slice name;
    barid_event *event;

    if (!check(s, c, &name))
        return;
    if (set_name(s, name, esmtp) < 0) {
        reply(s, BARID_REPLY_LOCAL_ERROR);
        keep_name(s);
        return;
    }
    event = session_ask_command(s, BARID_EVENT_HELO, c);
    if (event != NULL)
        event->argument = s->helo;
    else
        keep_name(s);
}

void cmd_helo(struct barid_session *s, const struct command *c)
{
    greet(s, c, false);
}

void cmd_ehlo(struct barid_session *s, const struct command *c)
{
    greet(s, c, true);
}

void act_helo(struct barid_session *s, const barid_verdict *v)
{
    barid_slice text = {NULL, 0};
    char name[EHLO_TEXT / 2];

    if (session_refused(s, v)) {
        keep_name(s);
        return;
    }
    session_set_fact(s, &s->before.helo, (barid_slice){NULL, 0});
    tx_del(&s->tx); /* a greeting clears the transaction, as RSET does */
    s->greeted = true;
    s->hidden = v->hide_extensions;
    text = v->kind == BARID_ACCEPT ? v->text : text;
    if (s->esmtp)
        reply_list(s, text);
    else
        reply_plain(s, 250, text.n > 0 ? text : reply_hello_text(s, name, sizeof(name)));
}
