/*
 * delivery/maildir_open.h: final delivery into Maildirs beneath one root.
 *
 * A unit's target is the Maildir's path below the root; it is made as needed (tmp, new, cur;
 * mode 0700, files 0600). On top of the message stand Return-Path (one that came with the
 * message is dropped, RFC 5321 4.4) and a Delivered-To for each recipient that the unit serves.
 * Lines end in LF, the Maildir custom on Unix, unless crlf; a message sent as BINARYMIME always
 * keeps its octets.
 *
 * The file's name is made of time of receipt, queue id and unit, so a second attempt writes the
 * same name: found in new/ (or, where an earlier attempt is possible, in cur/) it is reported
 * as delivered and not written again. If a user moved or deleted it meanwhile it is delivered
 * twice, and maybe_duplicate says so.
 */
#ifndef DELIVERY_MAILDIR_OPEN_H
#define DELIVERY_MAILDIR_OPEN_H

#include "base/err.h"
#include "base/log.h"
#include "interface/transport.h"

struct maildir_options {
    const char *root;     /* absolute path; made when missing */
    barid_slice hostname; /* in file names; copied */
    bool crlf;
    const struct log *log; /* may be NULL */
    const barid_mem *mem;  /* NULL = malloc */
};

/* 0, BARID_EIO or BARID_ENOMEM with *err. Closed by its close. deliver may be called from
 * several threads at once. */
int maildir_open(struct transport **t_r, const struct maildir_options *o, struct err *err);

#endif
