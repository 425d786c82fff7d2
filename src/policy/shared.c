/*
 * policy/shared.c: the table that all workers see. One lock: an operation is some hundred
 * nanoseconds, a worker does a handful of them per mail.
 *
 * Invariants (under the lock): every entry is in the map exactly once; entries with an expiry,
 * and only they, are in the heap, whose root expires first, and entry->at is their place in it;
 * bytes is the sum of the entries' sizes and never above max. An entry past its time is gone
 * for every caller, whether or not it was freed yet.
 */
#include "policy/shared.h"

#include <pthread.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/slice.h"

#define NO_HEAP SIZE_MAX

struct entry {
    struct var value; /* key and str point behind the struct, or str into own memory */
    char *str;        /* NULL when the value is no string */
    uint64_t expires_ms;
    size_t at, size;
};

struct shared {
    pthread_mutex_t lock;
    const struct clock *clock;
    struct map map;
    struct entry **heap;
    size_t n_heap, cap_heap;
    size_t bytes, max;
};

/* Map slot, entry, heap place: what a key costs beside its octets. */
#define ENTRY_COST (sizeof(struct entry) + 64)

int shared_new(struct shared **s_r, const struct clock *clock, size_t max_bytes,
               const uint64_t seed[2])
{
    struct shared *s = mem_zalloc(NULL, sizeof(*s));

    *s_r = NULL;
    if (s == NULL)
        return BARID_ENOMEM;
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        mem_free(NULL, s);
        return BARID_ENOMEM;
    }
    s->clock = clock != NULL ? clock : &clock_system;
    s->max = max_bytes;
    map_init(&s->map, NULL, seed);
    *s_r = s;
    return 0;
}

static void entry_free(struct entry *e)
{
    mem_free(NULL, e->str);
    mem_free(NULL, e);
}

void shared_del(struct shared **s)
{
    struct shared *gone = *s;
    struct map_iter it = {0};

    *s = NULL;
    if (gone == NULL)
        return;
    while (map_next(&gone->map, &it))
        entry_free(it.value);
    map_deinit(&gone->map);
    mem_free(NULL, gone->heap);
    pthread_mutex_destroy(&gone->lock);
    mem_free(NULL, gone);
}

/* --- the heap of expiries -------------------------------------------------------------------
 */

static void heap_place(struct shared *s, size_t at, struct entry *e)
{
    s->heap[at] = e;
    e->at = at;
}

static void heap_up(struct shared *s, size_t at)
{
    struct entry *e = s->heap[at];

    while (at > 0 && s->heap[(at - 1) / 2]->expires_ms > e->expires_ms) {
        heap_place(s, at, s->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_place(s, at, e);
}

static void heap_down(struct shared *s, size_t at)
{
    struct entry *e = s->heap[at];

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= s->n_heap)
            break;
        if (child + 1 < s->n_heap &&
            s->heap[child + 1]->expires_ms < s->heap[child]->expires_ms)
            child++;
        if (s->heap[child]->expires_ms >= e->expires_ms)
            break;
        heap_place(s, at, s->heap[child]);
        at = child;
    }
    heap_place(s, at, e);
}

static void heap_remove(struct shared *s, struct entry *e)
{
    size_t at = e->at;

    if (at == NO_HEAP)
        return;
    e->at = NO_HEAP;
    s->n_heap--;
    if (at == s->n_heap)
        return;
    heap_place(s, at, s->heap[s->n_heap]);
    heap_up(s, at);
    heap_down(s, s->heap[at]->at);
}

static int heap_reserve(struct shared *s)
{
    size_t cap = s->cap_heap == 0 ? 64 : s->cap_heap * 2;
    struct entry **heap;

    if (s->n_heap < s->cap_heap)
        return 0;
    heap = mem_realloc(NULL, s->heap, cap * sizeof(*heap));
    if (heap == NULL)
        return BARID_ENOMEM;
    s->heap = heap;
    s->cap_heap = cap;
    return 0;
}

/* --- entries --------------------------------------------------------------------------------
 */

static void entry_drop(struct shared *s, struct entry *e)
{
    heap_remove(s, e);
    map_take(&s->map, e->value.key);
    s->bytes -= e->size;
    entry_free(e);
}

static void expire(struct shared *s, uint64_t now)
{
    while (s->n_heap > 0 && s->heap[0]->expires_ms <= now)
        entry_drop(s, s->heap[0]);
}

/* Room for size more: what expires soonest goes first. */
static int make_room(struct shared *s, size_t size)
{
    if (size > s->max)
        return BARID_EFULL;
    while (s->bytes > s->max - size && s->n_heap > 0)
        entry_drop(s, s->heap[0]);
    return s->bytes > s->max - size ? BARID_EFULL : 0;
}

static struct entry *entry_new(const struct var *value)
{
    struct entry *e = mem_zalloc(NULL, sizeof(*e) + value->key.n);

    if (e == NULL)
        return NULL;
    e->at = NO_HEAP;
    e->value = *value;
    e->value.key = slice_of(e + 1, value->key.n);
    if (value->key.n > 0)
        memcpy(e + 1, value->key.p, value->key.n);
    e->size = ENTRY_COST + 2 * value->key.n;
    if (value->type == VAR_STR) {
        e->str = mem_strdup(NULL, value->str);
        if (e->str == NULL) {
            mem_free(NULL, e);
            return NULL;
        }
        e->value.str = slice_of(e->str, value->str.n);
        e->size += value->str.n;
    }
    return e;
}

static int put(struct shared *s, const struct var *value, uint64_t ttl_ms, uint64_t now)
{
    struct entry *e = entry_new(value), *old;
    void *replaced;
    int rc;

    if (e == NULL)
        return BARID_ENOMEM;
    rc = make_room(s, e->size);
    if (rc == 0 && ttl_ms > 0)
        rc = heap_reserve(s);
    if (rc == 0)
        rc = map_put(&s->map, e->value.key, e, &replaced);
    if (rc < 0) {
        entry_free(e);
        return rc;
    }
    old = replaced;
    if (old != NULL) {
        heap_remove(s, old);
        s->bytes -= old->size;
        entry_free(old);
    }
    s->bytes += e->size;
    if (ttl_ms > 0) {
        e->expires_ms = ttl_ms < UINT64_MAX - now ? now + ttl_ms : UINT64_MAX;
        heap_place(s, s->n_heap++, e);
        heap_up(s, e->at);
    }
    return 0;
}

static uint64_t lock(struct shared *s)
{
    uint64_t now;

    pthread_mutex_lock(&s->lock);
    now = clock_mono_ms(s->clock);
    expire(s, now);
    return now;
}

int shared_set(struct shared *s, const struct var *value, uint64_t ttl_ms)
{
    uint64_t now = lock(s);
    int rc = put(s, value, ttl_ms, now);

    pthread_mutex_unlock(&s->lock);
    return rc;
}

int shared_get(struct shared *s, barid_slice key, struct arena *arena, struct var *value_r)
{
    const struct entry *e;
    int rc = 0;

    lock(s);
    e = map_get(&s->map, key);
    if (e == NULL) {
        rc = BARID_ENOTFOUND;
    } else {
        *value_r = e->value;
        value_r->key = key;
        if (e->value.type == VAR_STR)
            rc = arena_slice(arena, e->value.str, &value_r->str);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

void shared_remove(struct shared *s, barid_slice key)
{
    struct entry *e;

    lock(s);
    e = map_get(&s->map, key);
    if (e != NULL)
        entry_drop(s, e);
    pthread_mutex_unlock(&s->lock);
}

int shared_add(struct shared *s, barid_slice key, int64_t delta, uint64_t ttl_ms,
               int64_t *value_r)
{
    uint64_t now = lock(s);
    struct entry *e = map_get(&s->map, key);
    int rc = 0;

    if (e == NULL) {
        rc = put(s, &(struct var){.key = key, .type = VAR_INT, .num = delta}, ttl_ms, now);
        *value_r = delta;
    } else if (e->value.type != VAR_INT) {
        rc = BARID_EINVALID;
    } else if (__builtin_add_overflow(e->value.num, delta, &e->value.num)) {
        e->value.num =
            delta < 0 ? INT64_MIN : INT64_MAX; /* a counter that is full stays full */
        *value_r = e->value.num;
    } else {
        *value_r = e->value.num;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}
