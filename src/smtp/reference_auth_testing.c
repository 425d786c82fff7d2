/* smtp/reference_auth_testing.c: AUTH of the reference (RFC 4954, RFC 4616): PLAIN, and the few
 * responses whose base64 is known by heart; see reference_testing.h. */
#include <string.h>

#include "base/slice.h"
#include "smtp/reference_words_testing.h"

#define FAILURES 3 /* the default limit of a session */

static const struct {
    const char *base64;
    unsigned code;
} known[] = {
    {"AGEAcA==", 235}, /* NUL a NUL p */
    {"AHgAcA==", 535}, /* NUL x NUL p: see reference_policy */
    {"AHkAcA==", 454}, /* NUL y NUL p */
    {"AA==", 501},     /* NUL */
    {"AAAA", 501},     /* nobody, without a password */
    {"AGEA", 501},     /* no password */
    {"", 501},         {"AGEAcA=", 501}, {"=", 501},
};

static unsigned response_code(struct server *s, barid_slice base64)
{
    size_t i = 0;

    if (slice_eq(base64, BARID_S("*")) || !reference_all_of(base64, "+/="))
        return 501;
    while (i < sizeof(known) / sizeof(known[0]) &&
           !slice_eq(base64, slice_str(known[i].base64)))
        i++;
    if (i == sizeof(known) / sizeof(known[0])) {
        reference_give_up(s);
        return 0;
    }
    if (known[i].code == 501)
        return 501;
    if (s->o->fault == FAULT_AUTH_TAKES_ALL)
        return 235;
    /* Without a policy nobody knows the password. */
    return s->o->policy ? known[i].code : 535;
}

static void judge(struct server *s, barid_slice base64)
{
    unsigned code = response_code(s, base64);

    s->user = code == 235;
    s->auth_failures += code == 535;
    reference_say(s, code);
}

/* The line that the client says after 334: not a command. */
static void take_response(struct server *s)
{
    barid_slice rest = slice_from(s->input, s->at), line;
    const char *crlf = rest.n > 0 ? memmem(rest.p, rest.n, "\r\n", 2) : NULL;

    if (crlf == NULL) {
        s->over = true;
        return;
    }
    line = slice_head(rest, (size_t)(crlf - rest.p));
    s->at += line.n + 2;
    if (line.n + 2 > REFERENCE_AUTH_LINE || slice_find(line, '\r') < line.n ||
        slice_find(line, '\n') < line.n)
        reference_say(s, 500);
    else
        judge(s, line);
}

void reference_auth(struct server *s, barid_slice arg)
{
    barid_slice response, name = slice_cut(arg, ' ', &response);

    response = slice_trim(response);
    if (s->mail || (s->o->auth && s->user)) {
        reference_say(s, 503);
    } else if (!s->o->auth) {
        reference_say(s, 502);
    } else if (s->auth_failures == FAILURES) {
        reference_hang_up(s);
    } else if (name.n == 0) {
        reference_say(s, 501);
    } else if (!slice_eq_nocase(name, BARID_S("PLAIN"))) {
        reference_say(s, 504);
    } else if (response.n > 0) {
        judge(s, slice_eq(response, BARID_S("=")) ? (barid_slice){NULL, 0} : response);
    } else {
        reference_say(s, 334);
        take_response(s);
    }
}
