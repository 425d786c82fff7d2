/* smtp/client_greet.c: greeting, EHLO, LHLO and HELO, the list of extensions, STARTTLS. */
#include "smtp/client_int.h"

#include "base/slice.h"
#include "smtp/sasl_scram_common.h"

void client_ehlo(struct barid_client *c)
{
    barid_slice name = c->config->helo;

    c->extensions = 0;
    c->offered = 0;
    c->size_limit = 0;
    c->esmtp = false;
    buf_clear(&c->ehlo);
    if (c->config->no_ehlo) {
        client_enter(c, PHASE_HELO);
        client_fmt(c, "HELO %.*s", (int)name.n, name.p);
        return;
    }
    client_enter(c, PHASE_EHLO);
    client_fmt(c, "%s %.*s", c->config->protocol == BARID_LMTP ? "LHLO" : "EHLO", (int)name.n,
               name.p);
}

void client_reply_greeting(struct barid_client *c)
{
    if (c->reply.code / 100 != 2)
        client_give_up(c, 0, NULL);
    else
        client_ehlo(c);
}

/* --- extensions --------------------------------------------------------------------------- */

static void take_mechanisms(struct barid_client *c, barid_slice list)
{
    static const struct {
        barid_slice name;
        enum barid_auth_mechanism id;
    } mech[] = {{{"PLAIN", 5}, BARID_AUTH_PLAIN},
                {{"LOGIN", 5}, BARID_AUTH_LOGIN},
                {{"CRAM-MD5", 8}, BARID_AUTH_CRAM_MD5},
                {{"SCRAM-SHA-1", 11}, BARID_AUTH_SCRAM_SHA_1},
                {{"SCRAM-SHA-256", 13}, BARID_AUTH_SCRAM_SHA_256}};

    while (list.n > 0) {
        barid_slice word = slice_cut(list, ' ', &list);

        for (size_t i = 0; i < sizeof(mech) / sizeof(mech[0]); i++)
            if (slice_eq_nocase(word, mech[i].name))
                c->offered |= 1u << mech[i].id;
    }
}

static void take_keyword(struct barid_client *c, barid_slice keyword, barid_slice value)
{
    static const struct {
        barid_slice name;
        uint32_t extension;
    } known[] = {{{"PIPELINING", 10}, BARID_EXT_PIPELINING},
                 {{"SIZE", 4}, BARID_EXT_SIZE},
                 {{"8BITMIME", 8}, BARID_EXT_8BITMIME},
                 {{"SMTPUTF8", 8}, BARID_EXT_SMTPUTF8},
                 {{"ENHANCEDSTATUSCODES", 19}, BARID_EXT_ENHANCEDSTATUSCODES},
                 {{"CHUNKING", 8}, BARID_EXT_CHUNKING},
                 {{"BINARYMIME", 10}, BARID_EXT_BINARYMIME},
                 {{"STARTTLS", 8}, BARID_EXT_STARTTLS},
                 {{"AUTH", 4}, BARID_EXT_AUTH},
                 {{"LIMITS", 6}, BARID_EXT_LIMITS},
                 {{"PRDR", 4}, BARID_EXT_PRDR},
                 {{"DSN", 3}, BARID_EXT_DSN},
                 {{"XCLIENT", 7}, BARID_EXT_XCLIENT},
                 {{"VRFY", 4}, BARID_EXT_VRFY},
                 {{"HELP", 4}, BARID_EXT_HELP}};
    uint32_t extension = 0;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (slice_eq_nocase(keyword, known[i].name))
            extension = known[i].extension & ~c->config->ignore;
    c->extensions |= extension;
    if (extension == BARID_EXT_AUTH)
        take_mechanisms(c, value);
    /* RFC 1870 4: no value or 0 is no fixed limit. */
    if (extension == BARID_EXT_SIZE &&
        slice_u64(slice_trim(value), UINT64_MAX, &c->size_limit) < 0)
        c->size_limit = 0;
}

/* ehlo-keyword [SP params]; "AUTH=LOGIN" is an old form that some servers still give
 * besides. */
static barid_slice cut_keyword(barid_slice line, barid_slice *value_r)
{
    size_t n = 0;

    while (n < line.n && line.p[n] != ' ' && line.p[n] != '=')
        n++;
    *value_r = slice_from(line, n + 1);
    return slice_head(line, n);
}

/* The next keyword line of *rest, which it is cut off; false after the last. */
static bool keyword_line(barid_slice *rest, barid_slice *keyword_r, barid_slice *value_r)
{
    if (rest->n == 0)
        return false;
    *keyword_r = cut_keyword(slice_cut(*rest, '\n', rest), value_r);
    return true;
}

static int take_extensions(struct barid_client *c)
{
    barid_slice rest, keyword, value;
    int r;

    if (c->reply.lines > BARID_CLIENT_KEYWORDS_MAX)
        return BARID_ELIMIT;
    if ((r = buf_append(&c->ehlo, buf_slice(&c->reply.text))) < 0)
        return r;
    rest = buf_slice(&c->ehlo);
    (void)slice_cut(rest, '\n', &rest); /* the server's name */
    while (keyword_line(&rest, &keyword, &value))
        take_keyword(c, keyword, value);
    return 0;
}

bool barid_client_extension(const barid_client *c, barid_slice keyword, barid_slice *value_r)
{
    barid_slice rest = buf_slice(&c->ehlo), word;

    (void)slice_cut(rest, '\n', &rest);
    while (keyword_line(&rest, &word, value_r))
        if (slice_eq_nocase(word, keyword))
            return true;
    *value_r = (barid_slice){0};
    return false;
}

/* --- after EHLO or HELO ------------------------------------------------------------------- */

static void greeted(struct barid_client *c)
{
    if (!c->tls && c->config->tls != BARID_CLIENT_TLS_NONE) {
        if (client_can(c, BARID_EXT_STARTTLS)) {
            client_enter(c, PHASE_STARTTLS);
            client_line(c, BARID_S("STARTTLS"), (barid_slice){0});
            return;
        }
        if (c->config->tls == BARID_CLIENT_TLS_REQUIRED) {
            client_enter(c, PHASE_STARTTLS); /* the stage that failed */
            client_give_up(c, BARID_EUNSUPPORTED, "TLS is required and not offered");
            return;
        }
    }
    client_auth(c);
}

void client_reply_ehlo(struct barid_client *c)
{
    int r;

    if (c->reply.code / 100 == 2) {
        c->esmtp = true;
        if ((r = take_extensions(c)) < 0)
            client_lost(c, r);
        else
            greeted(c);
    } else if (c->reply.code / 100 == 5 && c->config->protocol != BARID_LMTP) {
        /* RFC 5321 3.2: a server that does not know EHLO may know HELO. */
        client_enter(c, PHASE_HELO);
        client_fmt(c, "HELO %.*s", (int)c->config->helo.n, c->config->helo.p);
    } else {
        client_give_up(c, 0, NULL);
    }
}

void client_reply_helo(struct barid_client *c)
{
    if (c->reply.code / 100 == 2)
        greeted(c);
    else
        client_give_up(c, 0, NULL);
}

void client_reply_starttls(struct barid_client *c)
{
    if (c->reply.code == 220) {
        /* What came in the clear behind the reply is not from the peer of the handshake. */
        buf_clear(&c->in);
        client_enter(c, PHASE_TLS);
    } else if (c->config->tls == BARID_CLIENT_TLS_REQUIRED) {
        client_give_up(c, 0, NULL);
    } else {
        client_auth(c);
    }
}
