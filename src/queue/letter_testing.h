/*
 * queue/letter_testing.h: mail that waits in the store of a queue that sends (relay_testing.h). Test code only; include after cmocka.h.
 */
#ifndef QUEUE_LETTER_TESTING_H
#define QUEUE_LETTER_TESTING_H

#include "queue/relay_testing.h"

struct letter {
    const char *sender;   /* NULL: the null sender */
    const char *rcpts[8]; /* addresses */
    size_t n_rcpts; /* 0: as many as there are; more: u0, u1, ... at the domain of the first */
    const char *target;
    bool pinned, is_file; /* every other recipient's unit is a file, the first included */
    bool is_asked;        /* policy has put all of them off: kind 0 */
    bool is_shared;       /* one unit serves all */
    unsigned notify, first_notify; /* of all; of the first recipient, if not 0 */
    size_t body_n;           /* 0: 6 octets */
    struct mail_retry retry;
    struct unit_state state; /* of each unit; its group is found */
};

/* Stores it; its id. */
uint64_t send_letter(struct relaying *r, const struct letter *l);
uint32_t group_of_domain(const struct relaying *r, const char *domain);

#endif
