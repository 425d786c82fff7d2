/*
 * server/admission.c: a counter for all connections and a table of counters per client key.
 *
 * The client key of IPv4 is the address, of IPv6 its /64: one customer line has at least a /64,
 * so counting single addresses would count nobody. Entries exist only while a connection of
 * theirs is open, so the table is bounded by the total limit.
 */
#include "server/admission.h"

#include <pthread.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/slice.h"

struct admission {
    pthread_mutex_t lock;
    struct map clients; /* key -> count, kept in the pointer itself */
    size_t total;
};

int admission_new(struct admission **a_r, const uint64_t seed[2])
{
    struct admission *a = mem_zalloc(NULL, sizeof *a);
    if (!a)
        return BARID_ENOMEM;
    pthread_mutex_init(&a->lock, NULL);
    map_init(&a->clients, NULL, seed);
    *a_r = a;
    return 0;
}

void admission_del(struct admission **a)
{
    if (!*a)
        return;
    map_deinit(&(*a)->clients);
    pthread_mutex_destroy(&(*a)->lock);
    mem_free(NULL, *a);
    *a = NULL;
}

static barid_slice client_key(const barid_endpoint *client, char key[9])
{
    size_t n = client->family == BARID_FAMILY_IPV4 ? 4 : 8;
    key[0] = (char)client->family;
    memcpy(key + 1, client->addr, n);
    return slice_of(key, n + 1);
}

static bool is_counted(const barid_endpoint *client)
{
    return client->family == BARID_FAMILY_IPV4 || client->family == BARID_FAMILY_IPV6;
}

enum admission_result admission_enter(struct admission *a, const barid_endpoint *client,
                                      size_t total_max, size_t client_max)
{
    enum admission_result result = ADMISSION_OK;
    char key[9];
    pthread_mutex_lock(&a->lock);
    if (total_max && a->total >= total_max) {
        result = ADMISSION_TOTAL;
    } else if (client_max && is_counted(client)) {
        barid_slice k = client_key(client, key);
        uintptr_t n = (uintptr_t)map_get(&a->clients, k);
        /* Without memory for the counter the client is refused: a limit never fails open. */
        if (n >= client_max || map_put(&a->clients, k, (void *)(n + 1), NULL) < 0)
            result = ADMISSION_CLIENT;
    }
    if (result == ADMISSION_OK)
        a->total++;
    pthread_mutex_unlock(&a->lock);
    return result;
}

void admission_leave(struct admission *a, const barid_endpoint *client, bool counted_per_client)
{
    char key[9];
    pthread_mutex_lock(&a->lock);
    a->total--;
    if (counted_per_client && is_counted(client)) {
        barid_slice k = client_key(client, key);
        uintptr_t n = (uintptr_t)map_get(&a->clients, k);
        if (n <= 1)
            map_take(&a->clients, k);
        else
            (void)map_put(&a->clients, k, (void *)(n - 1), NULL); /* replaces: cannot fail */
    }
    pthread_mutex_unlock(&a->lock);
}

size_t admission_total(const struct admission *a)
{
    struct admission *m = (struct admission *)a; /* only the lock is touched */
    pthread_mutex_lock(&m->lock);
    size_t n = m->total;
    pthread_mutex_unlock(&m->lock);
    return n;
}
