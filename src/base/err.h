/*
 * base/err.h: an error that crosses a module: a code and one line for a person that says
 * what, where, and what to do. Lives on the caller's stack; NULL is accepted and ignored.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "barid/types.h"

struct err {
    int code;       /* enum barid_err; 0 = none */
    char text[384]; /* one line, no newline */
};

/* Fills *e and returns code, so that "return err_set(e, BARID_EIO, ...)" reads well. */
int err_set(struct err *e, int code, const char *fmt, ...) BARID_PRINTF(3, 4);
/* As err_set, with ": " and strerror(errno_value) at the end. */
int err_errno(struct err *e, int code, int errno_value, const char *fmt, ...) BARID_PRINTF(4, 5);

#endif
