/*
 * smtp/envelope.h: what MAIL and RCPT share: keyword, path and parameters of their argument.
 * Functions that return false have replied.
 */
#ifndef SMTP_ENVELOPE_H
#define SMTP_ENVELOPE_H

#include "smtp/session_int.h"

struct envelope_side {
    barid_slice keyword; /* "FROM:" */
    const char *usage;
    enum barid_reply_id syntax, utf8;
};
extern const struct envelope_side envelope_sender, envelope_recipient;

unsigned envelope_path_flags(const struct barid_session *s);
/* Keyword and path at the start of *text, which then is what follows: nothing, or a space and
 * the parameters. */
bool envelope_path(struct barid_session *s, const struct envelope_side *side, unsigned flags,
                   barid_path *path_r, barid_slice *text);
bool envelope_params_allowed(struct barid_session *s, barid_slice text);
/* The result of barid_..._params_parse. */
bool envelope_params_ok(struct barid_session *s, int rc, barid_slice bad);

#endif
