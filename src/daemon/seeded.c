/* daemon/seeded.c: rng_seeded behind a lock. */
#include "daemon/seeded.h"

#include <pthread.h>

#include "base/mem.h"

struct seeded_rng {
    struct rng rng;
    struct rng_seeded inner;
    pthread_mutex_t lock;
};

static void fill(void *user, void *p, size_t n)
{
    struct seeded_rng *r = user;

    pthread_mutex_lock(&r->lock);
    rng_fill(&r->inner.rng, p, n);
    pthread_mutex_unlock(&r->lock);
}

struct seeded_rng *seeded_rng_new(uint64_t seed)
{
    struct seeded_rng *r = xalloc(sizeof(*r));

    r->rng = (struct rng){.fill = fill, .user = r};
    rng_seeded_init(&r->inner, seed);
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

const struct rng *seeded_rng(struct seeded_rng *r)
{
    return &r->rng;
}

void seeded_rng_del(struct seeded_rng **r)
{
    if (*r != NULL)
        pthread_mutex_destroy(&(*r)->lock);
    mem_free(NULL, *r);
    *r = NULL;
}
