/*
 * delivery/outfile.h: writing one file through a large buffer, with or without CR. The first
 * error sticks.
 */
#ifndef DELIVERY_OUTFILE_H
#define DELIVERY_OUTFILE_H

#include "barid/types.h"

#define OUTFILE_BUFFER                                                                         \
    (256u << 10) /* few system calls for a large mail; one per running delivery */

struct outfile {
    const barid_mem *mem;
    int fd;
    bool lf;       /* CRLF becomes LF */
    bool cr_waits; /* the last octet was a CR, not yet written */
    int error;     /* errno of the first failure */
    char *buf;
    size_t n;
    uint64_t size; /* octets written so far */
};

/* 0 or BARID_ENOMEM. fd is owned from here on. */
int outfile_init(struct outfile *o, const barid_mem *mem, int fd, bool lf);
void outfile_write(struct outfile *o, barid_slice s);
/* Flushes, syncs to stable storage. 0 or the first errno. */
int outfile_sync(struct outfile *o);
void outfile_close(struct outfile *o);

#endif
