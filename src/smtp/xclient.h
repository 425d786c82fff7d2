/*
 * smtp/xclient.h: the argument of XCLIENT: attributes a trusted peer states about the client
 * it speaks for, "NAME=spike.example ADDR=IPV6:2001:db8::1". Values are xtext.
 */
#ifndef SMTP_XCLIENT_H
#define SMTP_XCLIENT_H

#include "barid/event.h"
#include "barid/types.h"

/* X(NAME, name) */
#define XCLIENT_MAP(X)                                                                     \
    X(NAME, "NAME")                                                                        \
    X(ADDR, "ADDR")                                                                        \
    X(PORT, "PORT")                                                                        \
    X(PROTO, "PROTO")                                                                      \
    X(HELO, "HELO")                                                                        \
    X(LOGIN, "LOGIN")                                                                      \
    X(DESTADDR, "DESTADDR")                                                                \
    X(DESTPORT, "DESTPORT")

enum xclient_attr {
#define X(NAME, name) XCLIENT_##NAME,
    XCLIENT_MAP(X)
#undef X
    XCLIENT_ATTRS
};

/* What the EHLO line lists after "XCLIENT". */
#define XCLIENT_EHLO "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

enum xclient_state {
    XCLIENT_ABSENT = 0,  /* not in the command: keep what was known */
    XCLIENT_VALUE,       /* given; an empty value is given too */
    XCLIENT_UNAVAILABLE, /* [UNAVAILABLE]: there is none */
    XCLIENT_TEMPUNAVAIL  /* [TEMPUNAVAIL]: could not be found out now */
};

struct xclient {
    enum xclient_state state[XCLIENT_ATTRS];
    barid_slice value[XCLIENT_ATTRS]; /* decoded, in scratch; empty unless XCLIENT_VALUE */
    barid_endpoint addr; /* ADDR with PORT: family NONE, port 0 where not given as a value */
    barid_endpoint dest; /* DESTADDR with DESTPORT */
    bool esmtp;          /* PROTO=ESMTP (or LMTP, of the same grammar); false for SMTP or absent */
};

/*
 * Parse the text after "XCLIENT ". scratch holds at least args.n octets and must live as long
 * as *x_r. 0; BARID_ESYNTAX (no attribute, a bad value, one given twice) or BARID_ENOTFOUND (an
 * attribute not in XCLIENT_MAP): then *bad_r is the offending attribute as written.
 * NAME, HELO and LOGIN values hold no control characters and no spaces afterwards.
 */
int xclient_parse(barid_slice args, char *scratch, struct xclient *x_r, barid_slice *bad_r);

#endif
