/*
 * policy/pattern.h: Lua patterns (Lua 5.4 manual, 6.4.1) with a bound on the work: the same
 * language and the same results as the standard library's, which can run for hours inside one C
 * call. Pure: no Lua state.
 */
#ifndef POLICY_PATTERN_H
#define POLICY_PATTERN_H

#include "barid/types.h"

#define PATTERN_CAPTURES 32  /* as in the standard library */
#define PATTERN_DEPTH    200 /* nested tries: bounds the C stack */

enum { PATTERN_UNFINISHED = -1, PATTERN_POSITION = -2 };

struct pattern {
    barid_slice subject, text;
    uint64_t steps;    /* left; single comparisons count one each */
    const char *error; /* static text; NULL = none */
    /* Internal while matching. */
    unsigned depth;
    /* Captures of a match. n may be PATTERN_POSITION (a position, at p) or PATTERN_UNFINISHED.
     */
    unsigned n_captures;
    struct {
        const char *p;
        ptrdiff_t n;
    } capture[PATTERN_CAPTURES];
};

/* Match text from octet at of the subject, there and nowhere else; *end_r gets where the match
 * ends. An anchor is the caller's business (text begins after it). 1 = matched, 0 = not, -1 =
 * error is set. */
int pattern_at(struct pattern *m, size_t at, size_t *end_r);
/* No character of text is special: plain search does. */
bool pattern_is_plain(barid_slice text);

#endif
