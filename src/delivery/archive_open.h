/*
 * delivery/archive_open.h: whole messages kept as files beneath one root.
 *
 * A unit's target is a directory below the root ("archive/%{yyyy}/%{mm}/%{dd}"), made as needed
 * (mode 0700). The file is ID.eml (mode 0600): header as committed, blank line, body, with CRLF
 * as received and nothing added. A file of that name is never replaced: with the same octets it
 * is the work of an earlier attempt; else the unit waits until somebody moves it away.
 */
#ifndef DELIVERY_ARCHIVE_OPEN_H
#define DELIVERY_ARCHIVE_OPEN_H

#include "base/err.h"
#include "base/log.h"
#include "interface/transport.h"

struct archive_options {
    const char *root;      /* absolute path; made when missing */
    const struct log *log; /* may be NULL */
    const barid_mem *mem;  /* NULL = malloc */
};

/* 0, BARID_EIO or BARID_ENOMEM with *err. Closed by its close. deliver may be called from
 * several threads at once. */
int archive_open(struct transport **t_r, const struct archive_options *o, struct err *err);

#endif
