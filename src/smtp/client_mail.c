/*
 * smtp/client_mail.c: the envelope: MAIL, RCPT and DATA as one sequence.
 *
 * Positions: 0 is MAIL, 1 to n the recipients, n + 1 DATA (none with BDAT, whose chunks wait
 * for the replies to RCPT: a message for nobody is not sent). `sent` and `replied` walk it.
 * With PIPELINING sent runs ahead as far as the output window lets it (RFC 2920 3.1), without
 * by one.
 */
#include "smtp/client_int.h"

#include <stdio.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "smtp/xtext.h"

/* RFC 3461 4.2, 4.4: and enough for AUTH=. */
#define PARAM_MAX 500

/* --- what the host asks for --------------------------------------------------------------- */

static bool param_right(barid_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= 32 || s.p[i] == 127 || s.p[i] == '=')
            return false;
    return s.n <= PARAM_MAX && utf8_valid(s);
}

/* Everything that goes into a command must be unable to leave it. */
static int check_mail(const barid_client_mail *mail, bool *utf8_r)
{
    const unsigned flags = BARID_PATH_UTF8_OK | BARID_PATH_LOCAL_OK | BARID_PATH_POSTMASTER_OK;
    barid_path path;
    int r;

    if ((r = barid_mailbox_parse(mail->sender, flags | BARID_PATH_NULL_OK, &path)) < 0)
        return BARID_ESYNTAX;
    *utf8_r = path.utf8 || mail->params.smtputf8;
    if (!param_right(mail->params.envid) || !param_right(mail->params.auth))
        return BARID_ESYNTAX;
    for (size_t i = 0; i < mail->n_rcpts; i++) {
        if ((r = barid_mailbox_parse(mail->rcpts[i].address, flags, &path)) < 0 ||
            !param_right(mail->rcpts[i].params.orcpt))
            return BARID_ESYNTAX;
        *utf8_r = *utf8_r || path.utf8;
    }
    return 0;
}

/* A need that the server did not offer fails the mail before a word is said. True when so. */
static bool refused_here(struct barid_client *c)
{
    const barid_mail_params *p = &c->mail->params;

    if (c->use_utf8 && !client_can(c, BARID_EXT_SMTPUTF8))
        client_decide_local(c, 550, "5.6.7", "the server does not offer SMTPUTF8");
    else if (p->body == BARID_BODY_BINARYMIME &&
             (!client_can(c, BARID_EXT_BINARYMIME) || !c->use_bdat))
        client_decide_local(c, 554, "5.6.3", "the server does not offer BINARYMIME");
    else if (p->body == BARID_BODY_8BITMIME && !client_can(c, BARID_EXT_8BITMIME))
        client_decide_local(c, 554, "5.6.3", "the server does not offer 8BITMIME");
    else if (p->size_given && c->size_limit > 0 && p->size > c->size_limit)
        client_decide_local(c, 552, "5.3.4", "the message is larger than the server takes");
    else
        return false;
    return true;
}

int barid_client_send(barid_client *c, const barid_client_mail *mail, uint64_t now_ms)
{
    bool utf8 = false;
    int r;

    c->now = now_ms;
    if (c->phase != PHASE_READY || c->mail != NULL || (c->pending & 1u << BARID_CLIENT_READY) ||
        mail->n_rcpts == 0)
        return BARID_EINVALID;
    if ((r = check_mail(mail, &utf8)) < 0)
        return r;
    c->rcpts = mem_array(c->mem, mail->n_rcpts, sizeof(*c->rcpts));
    if (c->rcpts == NULL)
        return BARID_ENOMEM;
    c->mail = mail;
    c->use_utf8 = utf8;
    c->mail_failed = c->prdr_begun = false;
    c->use_bdat = client_can(c, BARID_EXT_CHUNKING) && !c->config->no_chunking;
    c->use_prdr = mail->params.prdr && client_can(c, BARID_EXT_PRDR);
    c->sent = c->replied = c->accepted = c->final = 0;
    c->body = (struct client_body){0};
    if (refused_here(c)) {
        client_finish(c, false);
        return 0;
    }
    client_enter(c, PHASE_ENVELOPE);
    client_envelope(c);
    return 0;
}

/* --- commands ----------------------------------------------------------------------------- */

/* Appends to line; the sizes of what is appended were checked by send(). */
struct line {
    char text[2048];
    size_t n;
};

static void add(struct line *l, const char *s, barid_slice value)
{
    size_t n = strlen(s);

    if (l->n + n + value.n > sizeof(l->text))
        return;
    memcpy(l->text + l->n, s, n);
    if (value.n > 0)
        memcpy(l->text + l->n + n, value.p, value.n);
    l->n += n + value.n;
}

static const barid_slice nothing;

static void add_dsn_mail(struct line *l, const barid_mail_params *p)
{
    if (p->ret != BARID_RET_DEFAULT)
        add(l, p->ret == BARID_RET_FULL ? " RET=FULL" : " RET=HDRS", nothing);
    if (p->envid.n > 0)
        add(l, " ENVID=", p->envid);
}

static void send_mail(struct barid_client *c)
{
    const barid_mail_params *p = &c->mail->params;
    struct line l = {.n = 0};
    char size[24];

    add(&l, "MAIL FROM:<", c->mail->sender);
    add(&l, ">", nothing);
    if (p->size_given && client_can(c, BARID_EXT_SIZE)) {
        snprintf(size, sizeof(size), "%llu", (unsigned long long)p->size);
        add(&l, " SIZE=", slice_str(size));
    }
    if (p->body == BARID_BODY_BINARYMIME)
        add(&l, " BODY=BINARYMIME", nothing);
    else if (p->body == BARID_BODY_8BITMIME)
        add(&l, " BODY=8BITMIME", nothing);
    else if (p->body == BARID_BODY_7BIT && client_can(c, BARID_EXT_8BITMIME))
        add(&l, " BODY=7BIT", nothing);
    if (c->use_utf8)
        add(&l, " SMTPUTF8", nothing);
    if (c->use_prdr)
        add(&l, " PRDR", nothing);
    if (client_can(c, BARID_EXT_DSN))
        add_dsn_mail(&l, p);
    if (p->auth_given && client_can(c, BARID_EXT_AUTH))
        add(&l, " AUTH=", p->auth);
    client_line(c, slice_of(l.text, l.n), nothing);
}

static void add_notify(struct line *l, unsigned notify)
{
    static const struct {
        unsigned bit;
        const char *name;
    } word[] = {{BARID_NOTIFY_NEVER, "NEVER"},
                {BARID_NOTIFY_SUCCESS, "SUCCESS"},
                {BARID_NOTIFY_FAILURE, "FAILURE"},
                {BARID_NOTIFY_DELAY, "DELAY"}};
    const char *before = " NOTIFY=";

    for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++)
        if (notify & word[i].bit) {
            add(l, before, slice_str(word[i].name));
            before = ",";
        }
}

static void send_rcpt(struct barid_client *c, const barid_client_rcpt *rcpt)
{
    struct line l = {.n = 0};

    add(&l, "RCPT TO:<", rcpt->address);
    add(&l, ">", nothing);
    if (client_can(c, BARID_EXT_DSN)) {
        add_notify(&l, rcpt->params.notify);
        if (rcpt->params.orcpt.n > 0)
            add(&l, " ORCPT=", rcpt->params.orcpt);
    }
    client_line(c, slice_of(l.text, l.n), nothing);
}

/* May the command at position `sent` go out now? */
static bool may_send(const struct barid_client *c)
{
    size_t n = c->mail->n_rcpts;
    bool pipelining = client_can(c, BARID_EXT_PIPELINING) && !c->config->no_pipelining;

    if (c->phase != PHASE_ENVELOPE || c->mail_failed || c->out.len >= CLIENT_WINDOW ||
        c->sent == n + (c->use_bdat ? 1 : 2))
        return false;
    /* Every recipient was refused before DATA went out. */
    if (c->sent == n + 1 && c->replied == n + 1 && c->accepted == 0)
        return false;
    return pipelining || c->sent == c->replied;
}

void client_envelope(struct barid_client *c)
{
    size_t n = c->mail->n_rcpts;

    while (may_send(c)) {
        size_t at = c->sent++;

        if (at == 0)
            send_mail(c);
        else if (at <= n)
            send_rcpt(c, &c->mail->rcpts[at - 1]);
        else
            client_line(c, BARID_S("DATA"), nothing);
    }
}

/* --- replies ------------------------------------------------------------------------------ */

static void mail_reply(struct barid_client *c)
{
    if (c->reply.code / 100 == 2)
        return;
    c->mail_failed = true;
    client_decide_all(c, BARID_STAGE_MAIL);
}

static void rcpt_reply(struct barid_client *c, size_t rcpt)
{
    if (c->reply.code / 100 != 2) {
        client_decide(c, rcpt, BARID_STAGE_RCPT);
    } else if (!c->mail_failed) {
        c->rcpts[rcpt].accepted = true;
        c->accepted++;
    }
}

static void data_reply(struct barid_client *c)
{
    if (c->reply.code != 354) {
        client_decide_all(c, BARID_STAGE_DATA);
        client_finish(c, true);
    } else if (c->accepted > 0) {
        client_enter(c, PHASE_BODY);
    } else {
        /* RFC 2920 3.1: pipelined DATA was taken for no recipient: an empty message ends it. */
        client_enter(c, PHASE_FINAL);
        client_line(c, BARID_S("."), nothing);
    }
}

void client_reply_envelope(struct barid_client *c)
{
    size_t n = c->mail->n_rcpts, at = c->replied;

    if (at >= c->sent) { /* a reply to nothing */
        client_lost(c, BARID_ESYNTAX);
        return;
    }
    c->replied++;
    if (at == 0)
        mail_reply(c);
    else if (at <= n)
        rcpt_reply(c, at - 1);
    else
        data_reply(c);
    if (c->phase != PHASE_ENVELOPE)
        return;
    client_envelope(c);
    if (c->phase != PHASE_ENVELOPE || c->replied < c->sent)
        return;
    if (c->mail_failed || c->accepted == 0)
        client_finish(c, true);
    else if (c->use_bdat && c->replied == n + 1)
        client_enter(c, PHASE_BODY);
}
