/*
 * tests/downgrade.c: converts a message for a server that offers less (message/downgrade.h): downgrade_test.py compares what another
 * parser than ours reads in it. "7bit" or "8bit" as argument, a message in, a message out; 65: it cannot be converted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "message/downgrade.h"

#define PIECE 1000 /* octets of the source at once */

static char message[8u << 20];

static int read_body(void *user, uint64_t offset, size_t n, barid_slice *p_r)
{
    barid_slice *body = user;

    *p_r = slice_of(body->p + offset, n < PIECE ? n : PIECE);
    return 1;
}

static int run(struct downgrade *d)
{
    uint64_t offset = 0;
    bool last = false;
    struct err err;
    int rc;

    while ((rc = downgrade_prepare(d, &err)) == BARID_EAGAIN)
        ;
    if (rc < 0)
        return fprintf(stderr, "%s\n", err.text) < 0 ? 70 : 65;
    fwrite(downgrade_header(d).p, 1, downgrade_header(d).n, stdout);
    fputs("\r\n", stdout);
    while (!last) {
        barid_slice p;

        if (downgrade_body(d, offset, PIECE, &p, &last) < 0)
            return 70;
        fwrite(p.p, 1, p.n, stdout);
        offset += p.n;
    }
    return fflush(stdout) == 0 ? 0 : 74;
}

int main(int argc, char **argv)
{
    size_t n = fread(message, 1, sizeof(message) - 1, stdin), cut;
    struct downgrade_options o = {.target = argc > 1 && strcmp(argv[1], "8bit") == 0
                                                ? BARID_BODY_8BITMIME
                                                : BARID_BODY_7BIT,
                                  .body = read_body};
    const char *blank = strstr(message, "\r\n\r\n");
    struct downgrade *d;
    barid_slice body;
    int code;

    if (blank == NULL)
        return 64;
    cut = (size_t)(blank - message);
    body = slice_from(slice_of(message, n), cut + 4);
    o.header = slice_of(message, cut + 2);
    o.body_size = body.n;
    o.user = &body;
    if (downgrade_new(&d, &o) < 0)
        return 70;
    code = run(d);
    downgrade_del(&d);
    return code;
}
