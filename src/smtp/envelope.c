/* smtp/envelope.c: see envelope.h. */
#include "smtp/envelope.h"

const struct envelope_side envelope_sender = {
    .keyword = {"FROM:", 5},
    .usage = "MAIL FROM:<address>",
    .syntax = BARID_REPLY_ADDRESS_SYNTAX_SENDER,
    .utf8 = BARID_REPLY_UTF8_NEEDED_SENDER,
};

const struct envelope_side envelope_recipient = {
    .keyword = {"TO:", 3},
    .usage = "RCPT TO:<address>",
    .syntax = BARID_REPLY_ADDRESS_SYNTAX_RCPT,
    .utf8 = BARID_REPLY_UTF8_NEEDED_RCPT,
};

unsigned envelope_path_flags(const struct barid_session *s)
{
    unsigned flags = 0;

    if ((session_extensions(s) & BARID_EXT_SMTPUTF8) != 0)
        flags |= BARID_PATH_UTF8_OK;
    if (s->config->switches.lenient_paths)
        flags |= BARID_PATH_LENIENT;
    if (s->config->protocol != BARID_SMTP)
        flags |= BARID_PATH_LOCAL_OK;
    return flags;
}

bool envelope_path(struct barid_session *s, const struct envelope_side *side, unsigned flags,
                   barid_path *path_r, barid_slice *text)
{
    size_t used = 0;
    int rc;

    if (!slice_starts_nocase(*text, side->keyword)) {
        reply_syntax(s, side->usage);
        return false;
    }
    /* No space is allowed after the colon (RFC 5321 3.3), and many clients send one. */
    *text = slice_trim(slice_from(*text, side->keyword.n));
    rc = barid_path_parse(*text, flags, path_r, &used);
    if (rc == BARID_EUNSUPPORTED) {
        reply(s, side->utf8);
        return false;
    }
    *text = slice_from(*text, used);
    if (rc < 0 || (text->n > 0 && text->p[0] != ' ')) {
        reply(s, side->syntax);
        return false;
    }
    return true;
}

bool envelope_params_allowed(struct barid_session *s, barid_slice text)
{
    /* RFC 5321 4.1.1.11: parameters belong to extensions, which only EHLO turns on. */
    text = slice_trim(text);
    if (text.n == 0 || s->esmtp)
        return true;
    text = slice_trim(text);
    reply_detail(s, BARID_REPLY_PARAM_UNKNOWN, slice_head(text, slice_find(text, ' ')));
    return false;
}

bool envelope_params_ok(struct barid_session *s, int rc, barid_slice bad)
{
    if (rc == 0)
        return true;
    reply_detail(s, rc == BARID_ENOTFOUND ? BARID_REPLY_PARAM_UNKNOWN : BARID_REPLY_SYNTAX,
                 bad);
    return false;
}
