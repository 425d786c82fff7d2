/*
 * message/facts.c: names for what is known about a session. Knows no wire format.
 */
#include "message/facts.h"

/* RFC 3848 and the registry of mail transmission types (RFC 6531 4.3): there is no S or A
 * without the E, and UTF8LMTP and UTF8SMTP take the same suffixes. Index: TLS + 2 * AUTH. */
static const char *const names_esmtp[4] = {"ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"};
static const char *const names_lmtp[4] = {"LMTP", "LMTPS", "LMTPA", "LMTPSA"};
static const char *const names_utf8smtp[4] = {"UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA",
                                              "UTF8SMTPSA"};
static const char *const names_utf8lmtp[4] = {"UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA",
                                              "UTF8LMTPSA"};

const char *facts_with_protocol(const struct session_facts *f, bool utf8)
{
    size_t how = (f->tls ? 1u : 0u) + (f->user.n > 0 ? 2u : 0u);

    if (f->protocol == BARID_LMTP)
        return (utf8 ? names_utf8lmtp : names_lmtp)[how];
    if (!f->esmtp)
        return "SMTP";
    return (utf8 ? names_utf8smtp : names_esmtp)[how];
}
