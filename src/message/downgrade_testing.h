/*
 * message/downgrade_testing.h: whole messages converted at once: a source that gives the body as the test says, and what comes out. Test
 * code only; include after cmocka.h.
 */
#ifndef MESSAGE_DOWNGRADE_TESTING_H
#define MESSAGE_DOWNGRADE_TESTING_H

#include "base/buf.h"
#include "base/rng.h"
#include "message/downgrade.h"

/* Words of the tables. */
#define V  "MIME-Version: 1.0\r\n"
#define CT "Content-Type: "
#define TE "Content-Transfer-Encoding: "
#define M1 CT "multipart/mixed; boundary=b\r\n"
#define AE "\xc3\xa4" /* a umlaut */

struct source {
    barid_slice body;
    size_t piece;     /* octets at most; 0 = a random number */
    bool is_late;     /* every second call says "not now" */
    size_t fail_from; /* offset from which it fails; 0 = never */
    int failure;
    unsigned calls;
    const struct rng *rng;
    char *copy; /* the last piece, in a block of its size: a sanitizer sees who keeps it */
};

/* downgrade_options.body; free(copy) at the end. */
int read_source(void *user, uint64_t offset, size_t n, barid_slice *p_r);

struct message {
    barid_slice header, body;
};

struct message split(barid_slice text);
/* Until it is an answer. */
int prepare(struct downgrade *d, struct err *err);
/* Header, blank line and body into out, n octets of it at once; twice, and the same. */
int convert(barid_slice text, enum barid_body_type target, struct source *s, size_t n, const barid_mem *mem, struct buf *out,
            struct err *err);
/* In one piece, out is made here. */
void convert_whole(barid_slice text, enum barid_body_type target, struct buf *out);
/* To seven bits, which is refused. */
int convert_to_nothing(barid_slice text, struct err *err);

#endif
