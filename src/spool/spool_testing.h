/*
 * spool/spool_testing.h: what the tests of stores share: waiting for done, making and checking
 * messages. Test code only; a helper that cannot do its work aborts the program.
 */
#ifndef SPOOL_SPOOL_TESTING_H
#define SPOOL_SPOOL_TESTING_H

#include <pthread.h>

#include "interface/spool.h"

/* One done callback, waited for. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int calls;
    int err;
};
void waiter_init(struct waiter *w);
void waiter_deinit(struct waiter *w);
void waiter_done(void *user, int err); /* a spool_done */
int waiter_wait(struct waiter *w);     /* err of the last call, then ready for the next one */

struct unit_state test_unit(int64_t due_us);
/* What unit i of a message keeps for next hops after so many attempts, at random by its seed; and whether it has that. */
void test_unit_hop(struct unit_state *unit, uint64_t seed, uint32_t attempts, size_t i);
bool test_unit_has_hop(const struct unit_state *unit, uint64_t seed, size_t i);

/* Puts a body of n octets that depend on seed, described by "meta-SEED" and "header-SEED". */
struct spool_put *test_put(struct spool *s, uint64_t seed, size_t n, enum spool_state state,
                           const struct unit_state *units, size_t n_units);
int test_commit(struct spool *s, struct spool_put **puts, size_t n); /* waits */
/* One message with one unit due at due_us; its id. */
uint64_t test_accept(struct spool *s, uint64_t seed, size_t n, int64_t due_us);

void test_fill(uint64_t seed, uint64_t offset, char *p,
               size_t n); /* octets of test_put's body */
/* 0, BARID_ENOTFOUND, or another error; BARID_ECORRUPT when something is there but is not what
 * test_put made. */
int test_verify(struct spool *s, uint64_t id, uint64_t seed, size_t n);

/* A fresh directory of its own, and its removal with all that is in it. dir holds
 * TEST_DIR_SIZE. */
#define TEST_DIR_SIZE 256
void test_dir_make(char *dir);
void test_dir_remove(const char *dir);

#endif
