/*
 * smtp/dialogue_testing.h: what a client says, and to which server, made of any octets: each
 * chooses a command or a part of one, right or wrong, so that a mutator of octets moves among
 * deep states instead of spelling verbs. The same octets make the same dialogue.
 */
#ifndef SMTP_DIALOGUE_TESTING_H
#define SMTP_DIALOGUE_TESTING_H

#include "smtp/reference_testing.h"

#define DIALOGUE_SEGMENTS 64
#define DIALOGUE_MAX      200000 /* octets that the client says: three body chunks */

struct dialogue {
    struct reference_options options;
    struct buf input;
    size_t
        ends[DIALOGUE_SEGMENTS]; /* where the client waits for a handshake; the last: the end */
    size_t n_ends;
};

void dialogue_make(struct dialogue *d, const uint8_t *data, size_t size);
void dialogue_deinit(struct dialogue *d);

#endif
