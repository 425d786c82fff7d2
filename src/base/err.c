/* base/err.c: error codes and their texts. Knows nothing of who raises or prints them. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *barid_version(void)
{
    return BARID_VERSION_STRING;
}

const char *barid_strerror(int err)
{
    switch (err) {
    case BARID_OK:
        return "success";
#define X(name, value, text)                                                                   \
    case BARID_E##name:                                                                        \
        return text;
        BARID_ERR_MAP(X)
#undef X
    default:
        return "unknown error";
    }
}

/* A peer's bytes may stand in the text; it still is one line on a terminal. */
static void keep_one_line(char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c == 0x7f)
            *text = ' ';
    }
}

/* Formatted aside first, because an argument may be e->text itself (wrapping an error). */
BARID_PRINTF(4, 0)
static void fill(struct err *e, int code, const char *tail, const char *fmt, va_list args)
{
    char text[sizeof(e->text)];
    size_t n_tail = strlen(tail), n;

    if (vsnprintf(text, sizeof(text), fmt, args) < 0)
        text[0] = '\0';
    n = strlen(text);
    if (n_tail >= sizeof(text))
        n_tail = sizeof(text) - 1;
    /* The cause at the end says more than the last words before it: those are cut. */
    if (n > sizeof(text) - 1 - n_tail)
        n = sizeof(text) - 1 - n_tail;
    memcpy(text + n, tail, n_tail);
    text[n + n_tail] = '\0';
    keep_one_line(text);
    e->code = code;
    memcpy(e->text, text, n + n_tail + 1);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    va_list args;

    if (e == NULL)
        return code;
    va_start(args, fmt);
    fill(e, code, "", fmt, args);
    va_end(args);
    return code;
}

int err_errno(struct err *e, int code, int errno_value, const char *fmt, ...)
{
    char reason[128], tail[sizeof(reason) + 2];
    va_list args;

    if (e == NULL)
        return code;
    /* strerror(3) shares one buffer between threads; the GNU strerror_r does not. */
    snprintf(tail, sizeof(tail), ": %s", strerror_r(errno_value, reason, sizeof(reason)));
    va_start(args, fmt);
    fill(e, code, tail, fmt, args);
    va_end(args);
    return code;
}
