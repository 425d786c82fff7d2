/*
 * delivery/deposit.h: putting one message into one file, durably: written under a temporary
 * name, synced, renamed to its final name, which never replaces anything, and the directory
 * synced. What maildir and archive share.
 */
#ifndef DELIVERY_DEPOSIT_H
#define DELIVERY_DEPOSIT_H

#include "base/log.h"
#include "interface/transport.h"

#define DEPOSIT_NAME_MAX 255 /* NAME_MAX */

struct deposit {
    const barid_mem *mem;
    const struct delivery *delivery;
    barid_slice front;    /* fields in front of the header */
    barid_slice left_out; /* header fields of this name are not written; empty = none */
    bool always_blank;    /* a blank line also where the message came without one */
    bool lf;              /* CRLF becomes LF */
    int temp_dir, final_dir;
    char temp[DEPOSIT_NAME_MAX + 1], final[DEPOSIT_NAME_MAX + 1];
};

enum deposit_step { DEPOSIT_DONE = 0, DEPOSIT_BEFORE, DEPOSIT_FAILED };

/* What went wrong, for a reply. */
struct fault {
    int error;        /* errno value, or 0 when text says all */
    const char *text; /* static */
};

/* DONE; BEFORE: a file of that name and content was there; FAILED with *fault_r. */
enum deposit_step deposit(const struct deposit *p, struct fault *fault_r);
/* The final file exists already (and now durably): only where the name alone proves it. */
bool deposit_exists(const struct deposit *p, struct fault *fault_r);

/* Fills result: AGAIN, with one line that says what to do; where is the path relative to the
 * root. */
void fault_result(const struct fault *fault, const char *where, struct delivery_result *r);
void done_result(bool before, bool maybe_duplicate, const char *where,
                 struct delivery_result *r);

#endif
