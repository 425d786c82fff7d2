/* smtp/smtp_testing.h: what the unit tests of this folder share. Test code only. */
#ifndef SMTP_SMTP_TESTING_H
#define SMTP_SMTP_TESTING_H

#include "base/buf.h"

/* A copy in a heap block of exactly its size, so that a sanitizer sees a read past it. */
struct exact {
    char *p;
    barid_slice s;
};
struct exact exact_of(barid_slice s);
void exact_free(struct exact *e);

/*
 * Published test data beside the project: the file `name` under $BARID_CONFORMANCE, else under
 * fallback (the first argument of the test program). False, with a printed line, when absent:
 * the test is skipped.
 */
bool conformance_read(const char *fallback, const char *name, struct buf *out);

#endif
