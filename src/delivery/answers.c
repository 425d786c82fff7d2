/*
 * delivery/answers.c: see answers.h.
 *
 *   ask ──known──────────────────────────────────────────────▶ ready ──end of the turn──▶ done
 *    └──▶ in line ──fewer than ANSWERS_ASKING_MAX──▶ asked ──answer──▶ ready
 *
 * A name (struct name) is in one list: line, asked, or known, where the one that was wanted longest ago comes first. Who wants it (struct
 * want) is in its list until there is an answer, then in ready; n_wants keeps the name alive. An answer that is not to be kept is out of
 * the map at once and goes with the last want.
 */
#include "delivery/answers.h"

#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/slice.h"

/* Of the longest name, each octet of it written \DDD; and its type. */
#define KEY_MAX 1025

enum state { LINE, ASKED, KNOWN };

struct name {
    struct answers *home;
    struct list node; /* in line, asked or known */
    struct list wants;
    size_t n_wants; /* those in ready, too */
    enum state state;
    bool is_in_map;
    struct hosts_source source; /* ASKED: whose query it is */
    struct dns_query *query;
    uint64_t until_ms; /* KNOWN */
    struct dns_answer answer;
    void *records; /* the answer's, with their texts */
    size_t octets;
    uint16_t n_key;
    char key[];
};

struct want {
    struct name *name;
    struct list node; /* in name.wants or answers.ready */
    void (*done)(void *user, const struct dns_answer *answer);
    void *user;
};

struct answers {
    struct loop *loop;
    struct hosts_source source;
    const barid_mem *mem;
    struct map map;
    struct list line, asked, known, ready;
    size_t n_asked, octets;
    struct loop_task task; /* delivers ready */
    bool is_queued, is_deleted;
};

/* --- names --- */

static size_t key_make(barid_slice name, enum dns_type type, char key[KEY_MAX])
{
    key[0] = (char)type;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        key[i + 1] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    return name.n + 1;
}

static barid_slice key_of(const struct name *n)
{
    return slice_of(n->key, n->n_key);
}

static void take_from_map(struct name *n)
{
    if (n->is_in_map)
        map_take(&n->home->map, key_of(n));
    n->is_in_map = false;
}

static void name_free(struct name *n)
{
    struct answers *a = n->home;

    take_from_map(n);
    list_remove(&n->node);
    a->octets -= n->octets;
    mem_free(a->mem, n->records);
    mem_free(a->mem, n);
}

/* The oldest go until so much more fits. false: too much is wanted at this moment. */
static bool make_room(struct answers *a, size_t octets)
{
    LIST_EACH_SAFE(it, next, &a->known)
    {
        struct name *n = LIST_ENTRY(it, struct name, node);

        if (a->octets + octets <= ANSWERS_OCTETS_MAX)
            return true;
        if (n->n_wants == 0)
            name_free(n);
    }
    return a->octets + octets <= ANSWERS_OCTETS_MAX;
}

static struct name *name_new(struct answers *a, barid_slice key)
{
    size_t octets = sizeof(struct name) + key.n;
    struct name *n = make_room(a, octets) ? mem_zalloc(a->mem, octets) : NULL;

    if (n == NULL)
        return NULL;
    n->home = a;
    n->octets = octets;
    n->n_key = (uint16_t)key.n;
    memcpy(n->key, key.p, key.n);
    list_init(&n->node);
    list_init(&n->wants);
    if (map_put(&a->map, key_of(n), n, NULL) != 0) {
        mem_free(a->mem, n);
        return NULL;
    }
    n->is_in_map = true;
    a->octets += octets;
    list_append(&a->line, &n->node);
    return n;
}

/* --- answered --- */

static void deliver(struct loop_task *task)
{
    struct answers *a = LIST_ENTRY(task, struct answers, task);
    struct list batch;

    a->is_queued = false;
    if (a->is_deleted) {
        mem_free(a->mem, a);
        return;
    }
    list_init(&batch); /* what done asks for waits for the next turn */
    batch = a->ready;
    if (list_empty(&a->ready))
        return;
    batch.next->prev = batch.prev->next = &batch;
    list_init(&a->ready);
    while (!list_empty(&batch)) {
        struct want *w = LIST_ENTRY(batch.next, struct want, node);
        struct name *n = w->name;

        list_remove(&w->node);
        w->done(w->user, &n->answer); /* may cancel others of the batch */
        mem_free(a->mem, w);
        if (--n->n_wants == 0 && !n->is_in_map)
            name_free(n);
    }
}

static void wake(struct answers *a)
{
    if (a->is_queued)
        return;
    a->is_queued = true;
    a->task.run = deliver;
    loop_defer(a->loop, &a->task);
}

static uint32_t least_ttl(const struct dns_answer *answer)
{
    uint32_t ttl = ANSWERS_TTL_MAX_S;

    if (answer->status == DNS_NODATA || answer->status == DNS_NXDOMAIN)
        return answer->negative_ttl < ANSWERS_NEGATIVE_MAX_S ? answer->negative_ttl
                                                             : ANSWERS_NEGATIVE_MAX_S;
    if (answer->status != DNS_OK)
        return 0;
    for (size_t i = 0; i < answer->n; i++)
        ttl = answer->records[i].ttl < ttl ? answer->records[i].ttl : ttl;
    return ttl;
}

/* The answer with all that it points to, in one block. */
static int copy_answer(struct name *n, const struct dns_answer *answer)
{
    size_t octets = answer->n * sizeof(struct dns_record), at = octets;
    struct dns_record *records;

    n->answer = *answer;
    n->answer.records = NULL;
    n->answer.n = 0;
    for (size_t i = 0; i < answer->n; i++)
        octets += answer->records[i].text.n;
    if (answer->n == 0)
        return 0;
    n->records = records = make_room(n->home, octets) ? mem_alloc(n->home->mem, octets) : NULL;
    if (records == NULL)
        return BARID_ENOMEM;
    n->octets += octets;
    n->home->octets += octets;
    for (size_t i = 0; i < answer->n; i++) {
        records[i] = answer->records[i];
        records[i].text.p = (char *)n->records + at;
        if (records[i].text.n > 0)
            memcpy((char *)n->records + at, answer->records[i].text.p, records[i].text.n);
        at += records[i].text.n;
    }
    n->answer.records = records;
    n->answer.n = answer->n;
    return 0;
}

static void become_known(struct name *n, uint32_t ttl_s)
{
    struct answers *a = n->home;

    list_remove(&n->node);
    list_append(&a->known, &n->node);
    n->state = KNOWN;
    n->until_ms = loop_now_ms(a->loop) + ttl_s * UINT64_C(1000);
    if (ttl_s == 0)
        take_from_map(n);
    LIST_EACH_SAFE(it, next, &n->wants)
    {
        list_remove(it);
        list_append(&a->ready, it);
    }
    if (n->n_wants > 0)
        wake(a);
    else if (!n->is_in_map)
        name_free(n);
}

static void ask_next(struct answers *a);

/* The source that was asked is gone as there is another one: for who waits that is no answer. */
static bool is_orphan(const struct name *n, const struct dns_answer *answer)
{
    const struct hosts_source *now = &n->home->source;

    return answer->status == DNS_CANCELLED && n->n_wants > 0 &&
           (n->source.ask != now->ask || n->source.user != now->user);
}

static void on_answer(void *user, const struct dns_answer *answer)
{
    struct name *n = user;
    struct answers *a = n->home;
    uint32_t ttl_s = least_ttl(answer);

    n->query = NULL;
    a->n_asked--;
    if (is_orphan(n, answer)) {
        list_remove(&n->node);
        list_append(&a->line, &n->node);
        n->state = LINE;
        ask_next(a);
        return;
    }
    if (copy_answer(n, answer) != 0) {
        n->answer = (struct dns_answer){.status = DNS_SERVFAIL};
        ttl_s = 0;
    }
    become_known(n, ttl_s);
    ask_next(a);
}

/* --- asked --- */

static barid_slice text_of(const struct name *n)
{
    return slice_of(n->key + 1, (size_t)n->n_key - 1);
}

static void ask_next(struct answers *a)
{
    while (a->n_asked < ANSWERS_ASKING_MAX && !list_empty(&a->line)) {
        struct name *n = LIST_ENTRY(a->line.next, struct name, node);

        list_remove(&n->node);
        list_append(&a->asked, &n->node);
        n->state = ASKED;
        n->source = a->source;
        a->n_asked++;
        if (a->source.ask(a->source.user, text_of(n), (enum dns_type)(unsigned char)n->key[0],
                          on_answer, n, &n->query) == 0)
            continue;
        a->n_asked--;
        n->answer = (struct dns_answer){.status = DNS_SERVFAIL};
        become_known(n, 0);
    }
}

static struct name *find(struct answers *a, barid_slice key)
{
    struct name *n = map_get(&a->map, key);

    if (n == NULL || n->state != KNOWN)
        return n;
    if (loop_now_ms(a->loop) < n->until_ms) {
        list_remove(&n->node);
        list_append(&a->known, &n->node);
        return n;
    }
    take_from_map(n);
    if (n->n_wants == 0)
        name_free(n);
    return NULL;
}

static int ask(void *user, barid_slice name, enum dns_type type,
               void (*done)(void *user, const struct dns_answer *answer), void *done_user,
               struct dns_query **query_r)
{
    struct answers *a = user;
    char key[KEY_MAX];
    struct want *w = name.n < KEY_MAX ? mem_zalloc(a->mem, sizeof(*w)) : NULL;
    size_t n_key;
    struct name *n;

    if (w == NULL)
        return BARID_ENOMEM;
    n_key = key_make(name, type, key);
    n = find(a, slice_of(key, n_key));
    if (n == NULL && (n = name_new(a, slice_of(key, n_key))) == NULL) {
        mem_free(a->mem, w);
        return BARID_ENOMEM;
    }
    *w = (struct want){.name = n, .done = done, .user = done_user};
    n->n_wants++;
    list_append(n->state == KNOWN ? &a->ready : &n->wants, &w->node);
    if (n->state == KNOWN)
        wake(a);
    else
        ask_next(a);
    *query_r = (struct dns_query *)(void *)w; /* a handle, and nothing else looks into it */
    return 0;
}

/* The question goes on: others will want to know. */
static void cancel(void *user, struct dns_query **query)
{
    struct answers *a = user;
    struct want *w = (struct want *)(void *)*query;
    struct name *n;

    *query = NULL;
    if (w == NULL)
        return;
    n = w->name;
    list_remove(&w->node);
    mem_free(a->mem, w);
    if (--n->n_wants == 0 && !n->is_in_map && n->state == KNOWN)
        name_free(n);
}

struct hosts_source answers_source(struct answers *a)
{
    return (struct hosts_source){.ask = ask, .cancel = cancel, .user = a};
}

/* --- life --- */

size_t answers_count(const struct answers *a)
{
    return a->map.count;
}

/* Nothing that was known is found any more; who waits for it still gets it. */
static void forget(struct list *names)
{
    LIST_EACH_SAFE(it, next, names)
    {
        struct name *n = LIST_ENTRY(it, struct name, node);

        take_from_map(n);
        if (n->n_wants == 0 && n->state == KNOWN)
            name_free(n);
    }
}

void answers_set_source(struct answers *a, const struct hosts_source *source)
{
    forget(&a->known);
    forget(&a->asked);
    a->source = *source;
}

int answers_new(struct answers **a_r, struct loop *loop, const struct hosts_source *source,
                const struct rng *rng, const barid_mem *mem)
{
    struct answers *a = mem_zalloc(mem, sizeof(*a));
    const uint64_t seed[2] = {rng_u64(rng), rng_u64(rng)};

    *a_r = a;
    if (a == NULL)
        return BARID_ENOMEM;
    a->loop = loop;
    a->source = *source;
    a->mem = mem;
    map_init(&a->map, mem, seed);
    list_init(&a->line);
    list_init(&a->asked);
    list_init(&a->known);
    list_init(&a->ready);
    return 0;
}

void answers_del(struct answers **a_p)
{
    struct answers *a = *a_p;
    struct list *lists[3];

    if (a == NULL)
        return;
    *a_p = NULL;
    lists[0] = &a->line;
    lists[1] = &a->asked;
    lists[2] = &a->known;
    for (size_t i = 0; i < 3; i++) {
        while (!list_empty(lists[i])) {
            struct name *n = LIST_ENTRY(lists[i]->next, struct name, node);

            if (n->query != NULL)
                n->source.cancel(n->source.user, &n->query);
            name_free(n);
        }
    }
    map_deinit(&a->map);
    if (a->is_queued) /* the task frees it */
        a->is_deleted = true;
    else
        mem_free(a->mem, a);
}
