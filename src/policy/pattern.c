/*
 * policy/pattern.c: the matcher of Lua patterns: backtracking, with every try counted.
 *
 * A pattern is a row of items; match() handles them one after another in a loop and calls
 * itself only where it must be able to come back (optional items, repetitions, captures), so
 * its depth is the number of such items, not the subject's length. Steps are taken by each
 * single-character comparison, so neither nested repetitions nor long subjects escape the
 * bound.
 */
#include "policy/pattern.h"

#include <ctype.h>

#include "base/slice.h"

#define ESC '%'

static const char *match(struct pattern *m, const char *s, const char *p);

static const char *fail(struct pattern *m, const char *why)
{
    if (m->error == NULL)
        m->error = why;
    return NULL;
}

static bool step(struct pattern *m)
{
    if (m->steps == 0) {
        fail(m, "pattern takes too long on this text (step limit)");
        return false;
    }
    m->steps--;
    return true;
}

static const char *subject_end(const struct pattern *m)
{
    return m->subject.p + m->subject.n;
}

static const char *text_end(const struct pattern *m)
{
    return m->text.p + m->text.n;
}

/* --- single characters ----------------------------------------------------------------------
 */

static bool in_class(int c, int letter)
{
    bool yes;

    switch (tolower(letter)) {
    case 'a':
        yes = isalpha(c);
        break;
    case 'c':
        yes = iscntrl(c);
        break;
    case 'd':
        yes = isdigit(c);
        break;
    case 'g':
        yes = isgraph(c);
        break;
    case 'l':
        yes = islower(c);
        break;
    case 'p':
        yes = ispunct(c);
        break;
    case 's':
        yes = isspace(c);
        break;
    case 'u':
        yes = isupper(c);
        break;
    case 'w':
        yes = isalnum(c);
        break;
    case 'x':
        yes = isxdigit(c);
        break;
    case 'z': /* in no manual since 5.2, and in the library to this day */
        yes = c == 0;
        break;
    default:
        return letter == c;
    }
    return isupper(letter) ? !yes : yes;
}

/* The end of the single-character item that begins at p: behind x, %x or [set]. NULL =
 * malformed. */
static const char *item_end(struct pattern *m, const char *p)
{
    const char *end = text_end(m);

    if (*p == ESC) {
        if (p + 1 == end)
            return fail(m, "malformed pattern (ends with '%')");
        return p + 2;
    }
    if (*p++ != '[')
        return p;
    if (p < end && *p == '^')
        p++;
    do { /* a ']' in the first place stands for itself */
        if (p == end)
            return fail(m, "malformed pattern (missing ']')");
        if (*p++ == ESC) {
            if (p == end)
                return fail(m, "malformed pattern (missing ']')");
            p++;
        }
    } while (p == end || *p != ']');
    return p + 1;
}

/* set points to '[', last to the closing ']'. */
static bool in_set(int c, const char *set, const char *last)
{
    bool found = true;
    const char *p = set + 1;

    if (*p == '^') {
        found = false;
        p++;
    }
    while (p < last) {
        if (*p == ESC) {
            if (in_class(c, (unsigned char)p[1]))
                return found;
            p += 2;
        } else if (p[1] == '-' && p + 2 < last) {
            if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2])
                return found;
            p += 3;
        } else {
            if ((unsigned char)*p == c)
                return found;
            p++;
        }
    }
    return !found;
}

static bool one(struct pattern *m, const char *s, const char *p, const char *ep)
{
    int c;

    if (!step(m) || s >= subject_end(m))
        return false;
    c = (unsigned char)*s;
    switch (*p) {
    case '.':
        return true;
    case ESC:
        return in_class(c, (unsigned char)p[1]);
    case '[':
        return in_set(c, p, ep - 1);
    default:
        return (unsigned char)*p == c;
    }
}

/* --- repetitions ----------------------------------------------------------------------------
 */

static const char *longest(struct pattern *m, const char *s, const char *p, const char *ep)
{
    ptrdiff_t n = 0;

    while (one(m, s + n, p, ep))
        n++;
    for (; n >= 0 && m->error == NULL; n--) {
        const char *end = match(m, s + n, ep + 1);
        if (end != NULL)
            return end;
    }
    return NULL;
}

static const char *shortest(struct pattern *m, const char *s, const char *p, const char *ep)
{
    for (;;) {
        const char *end = match(m, s, ep + 1);
        if (end != NULL || m->error != NULL)
            return end;
        if (!one(m, s, p, ep))
            return NULL;
        s++;
    }
}

/* --- captures -------------------------------------------------------------------------------
 */

static const char *capture_open(struct pattern *m, const char *s, const char *p, ptrdiff_t kind)
{
    const char *end;

    if (m->n_captures >= PATTERN_CAPTURES)
        return fail(m, "too many captures");
    m->capture[m->n_captures].p = s;
    m->capture[m->n_captures].n = kind;
    m->n_captures++;
    end = match(m, s, p);
    if (end == NULL)
        m->n_captures--;
    return end;
}

static const char *capture_close(struct pattern *m, const char *s, const char *p)
{
    unsigned i = m->n_captures;
    const char *end;

    while (i > 0 && m->capture[i - 1].n != PATTERN_UNFINISHED)
        i--;
    if (i == 0)
        return fail(m, "invalid pattern capture");
    m->capture[i - 1].n = s - m->capture[i - 1].p;
    end = match(m, s, p);
    if (end == NULL)
        m->capture[i - 1].n = PATTERN_UNFINISHED;
    return end;
}

/* %1 to %9: the same octets again. */
static const char *back_reference(struct pattern *m, const char *s, int digit)
{
    int i = digit - '1';
    size_t n;

    if (i < 0 || i >= (int)m->n_captures || m->capture[i].n == PATTERN_UNFINISHED)
        return fail(m, "invalid capture index in pattern");
    if (m->capture[i].n < 0)
        return NULL; /* a position has no octets */
    n = (size_t)m->capture[i].n;
    if (m->steps < n / 16)
        return fail(m, "pattern takes too long on this text (step limit)");
    m->steps -= n / 16;
    if ((size_t)(subject_end(m) - s) < n || memcmp(m->capture[i].p, s, n) != 0)
        return NULL;
    return s + n;
}

/* --- %b and %f ------------------------------------------------------------------------------
 */

static const char *balanced(struct pattern *m, const char *s, const char *p)
{
    size_t open = 1;

    if (text_end(m) - p < 2)
        return fail(m, "malformed pattern (missing arguments to '%b')");
    if (s == subject_end(m) || *s != p[0])
        return NULL;
    while (++s < subject_end(m) && step(m)) {
        if (*s == p[1]) {
            if (--open == 0)
                return s + 1;
        } else if (*s == p[0]) {
            open++;
        }
    }
    return NULL;
}

/* p points behind "%f". The item's end, or NULL when it does not hold (or is malformed). */
static const char *frontier(struct pattern *m, const char *s, const char *p)
{
    const char *ep;
    int before, here;

    if (p == text_end(m) || *p != '[')
        return fail(m, "missing '[' after '%f' in pattern");
    ep = item_end(m, p);
    if (ep == NULL || !step(m))
        return NULL;
    before = s == m->subject.p ? 0 : (unsigned char)s[-1];
    here = s == subject_end(m) ? 0 : (unsigned char)*s;
    return !in_set(before, p, ep - 1) && in_set(here, p, ep - 1) ? ep : NULL;
}

/* --- the row of items -----------------------------------------------------------------------
 */

/* One plain item with what follows it. True = go on with *s_io and *p_io; false = *end_r is the
 * result. */
static bool simple_item(struct pattern *m, const char **s_io, const char **p_io,
                        const char **end_r)
{
    const char *s = *s_io, *p = *p_io, *ep = item_end(m, p);
    char suffix;

    *end_r = NULL;
    if (ep == NULL)
        return false;
    suffix = ep < text_end(m) ? *ep : '\0';
    switch (suffix) {
    case '?':
        if (one(m, s, p, ep) && (*end_r = match(m, s + 1, ep + 1)) != NULL)
            return false;
        *p_io = ep + 1;
        return m->error == NULL;
    case '+':
        *end_r = one(m, s, p, ep) ? longest(m, s + 1, p, ep) : NULL;
        return false;
    case '*':
        *end_r = longest(m, s, p, ep);
        return false;
    case '-':
        *end_r = shortest(m, s, p, ep);
        return false;
    default:
        if (!one(m, s, p, ep))
            return false;
        *s_io = s + 1;
        *p_io = ep;
        return true;
    }
}

/* The items that begin with '%' and are no single character. True = it was one, and *s_io (NULL
 * = no match), *p_io are set. */
static bool special_item(struct pattern *m, const char **s_io, const char **p_io)
{
    const char *p = *p_io, *after;

    if (*p != ESC || p + 1 == text_end(m))
        return false;
    if (p[1] == 'b') {
        *s_io = balanced(m, *s_io, p + 2);
        *p_io = p + 4;
    } else if (p[1] == 'f') {
        after = frontier(m, *s_io, p + 2);
        if (after == NULL)
            *s_io = NULL;
        else
            *p_io = after;
    } else if (isdigit((unsigned char)p[1])) {
        *s_io = back_reference(m, *s_io, p[1]);
        *p_io = p + 2;
    } else {
        return false;
    }
    return true;
}

static const char *match_items(struct pattern *m, const char *s, const char *p)
{
    const char *end = text_end(m), *result;

    while (p < end) {
        if (!step(m))
            return NULL;
        if (*p == '(') {
            bool position = p + 1 < end && p[1] == ')';
            return capture_open(m, s, p + (position ? 2 : 1),
                                position ? PATTERN_POSITION : PATTERN_UNFINISHED);
        }
        if (*p == ')')
            return capture_close(m, s, p + 1);
        if (*p == '$' && p + 1 == end)
            return s == subject_end(m) ? s : NULL;
        if (special_item(m, &s, &p)) {
            if (s == NULL)
                return NULL;
        } else if (!simple_item(m, &s, &p, &result)) {
            return result;
        }
    }
    return s;
}

static const char *match(struct pattern *m, const char *s, const char *p)
{
    const char *end;

    if (m->error != NULL)
        return NULL;
    if (m->depth == PATTERN_DEPTH)
        return fail(m, "pattern too complex");
    m->depth++;
    end = match_items(m, s, p);
    m->depth--;
    return end;
}

int pattern_at(struct pattern *m, size_t at, size_t *end_r)
{
    const char *end;

    m->n_captures = 0;
    m->depth = 0;
    m->error = NULL;
    end = match(m, m->subject.p + at, m->text.p);
    if (m->error != NULL)
        return -1;
    if (end == NULL)
        return 0;
    *end_r = (size_t)(end - m->subject.p);
    return 1;
}

bool pattern_is_plain(barid_slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\0' || strchr("^$*+?.([%-", text.p[i]) != NULL)
            return text.p[i] == '\0' && pattern_is_plain(slice_from(text, i + 1));
    }
    return true;
}
