/*
 * tests/lost_updates.c: the daemon with a store that says of every fourth message that a new state is written, and writes nothing: what
 * was delivered comes again after a kill, and no mark says that it may. drain_crash_test.py must find that out.
 *
 * Linked with --wrap=spool_log_open; never part of barid.
 */
#include "spool/spool_open.h"

#define EVERY 4

int __real_spool_log_open(struct spool **spool_r, const struct spool_log_options *options,
                          struct err *e);
int __wrap_spool_log_open(struct spool **spool_r, const struct spool_log_options *options,
                          struct err *e);

/* One store a process. */
static struct spool_ops ops;
static const struct spool_ops *real;

static int lost_update(struct spool *s, uint64_t id, uint64_t lease,
                       const struct unit_change *changes, size_t n, spool_done done, void *user)
{
    if (id % EVERY != 0)
        return real->update(s, id, lease, changes, n, done, user);
    if (done != NULL)
        done(user, 0);
    return 0;
}

int __wrap_spool_log_open(struct spool **spool_r, const struct spool_log_options *options,
                          struct err *e)
{
    int rc = __real_spool_log_open(spool_r, options, e);

    if (rc < 0)
        return rc;
    real = (*spool_r)->ops;
    ops = *real;
    ops.update = lost_update;
    (*spool_r)->ops = &ops;
    return 0;
}
