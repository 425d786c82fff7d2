/* spool/log_index.c: see log_index.h. Priorities are a hash of the id, so none is stored. */
#include "spool/log_index.h"

#include <string.h>

#include "base/mem.h"

#define PAGE       1024
#define PLACES_MAX 0x40000000u /* 86 GB of entries: heap positions stay within 32 bits */

_Static_assert(sizeof(struct log_entry) == 80,
               "an entry is 80 octets: see the memory table in the design");

void index_init(struct log_index *x, const barid_mem *mem, uint64_t seed)
{
    *x = (struct log_index){.mem = mem, .seed = seed};
}

void index_deinit(struct log_index *x)
{
    for (uint32_t i = 0; i < x->n_pages; i++)
        mem_free(x->mem, x->pages[i]);
    mem_free(x->mem, x->pages);
    mem_free(x->mem, x->heap);
    mem_free(x->mem, x->heap_due);
    index_init(x, x->mem, x->seed);
}

struct log_entry *index_entry(const struct log_index *x, uint32_t place)
{
    return &x->pages[place / PAGE][place % PAGE];
}

static int grow_tables(struct log_index *x)
{
    uint32_t cap = x->cap_pages == 0 ? 16 : x->cap_pages * 2;
    struct log_entry **pages;
    uint32_t *heap;
    int64_t *due;

    if (cap * (uint64_t)PAGE > PLACES_MAX)
        return BARID_ELIMIT;
    if ((heap = mem_realloc(x->mem, x->heap, (size_t)cap * PAGE * sizeof(*heap))) == NULL)
        return BARID_ENOMEM;
    x->heap = heap;
    if ((due = mem_realloc(x->mem, x->heap_due, (size_t)cap * PAGE * sizeof(*due))) == NULL)
        return BARID_ENOMEM;
    x->heap_due = due;
    if ((pages = mem_realloc(x->mem, x->pages, cap * sizeof(*pages))) == NULL)
        return BARID_ENOMEM;
    x->pages = pages;
    x->cap_pages = cap;
    return 0;
}

static int add_page(struct log_index *x)
{
    uint32_t base = x->n_pages * PAGE;
    int rc = x->n_pages == x->cap_pages ? grow_tables(x) : 0;

    if (rc != 0)
        return rc;
    if ((x->pages[x->n_pages] = mem_zalloc(x->mem, PAGE * sizeof(struct log_entry))) == NULL)
        return BARID_ENOMEM;
    x->n_pages++;
    for (uint32_t i = PAGE; i-- > 0;) {
        if (base + i == 0)
            continue; /* place 0 is none */
        index_entry(x, base + i)->left = x->free_list;
        x->free_list = base + i;
        x->n_free++;
    }
    return 0;
}

int index_reserve(struct log_index *x, uint32_t n)
{
    while (x->n_free < x->reserved + n) {
        int rc = add_page(x);

        if (rc != 0)
            return rc;
    }
    x->reserved += n;
    return 0;
}

void index_unreserve(struct log_index *x, uint32_t n)
{
    x->reserved -= n;
}

/* splitmix64: any good mixing makes the treap random enough; ids are not chosen by a peer. */
static uint64_t priority(const struct log_index *x, uint64_t id)
{
    uint64_t z = (id ^ x->seed) + 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t index_find(const struct log_index *x, uint64_t id)
{
    uint32_t at = x->root;

    while (at != 0) {
        const struct log_entry *e = index_entry(x, at);

        if (e->id == id)
            return at;
        at = id < e->id ? e->left : e->right;
    }
    return 0;
}

uint32_t index_after(const struct log_index *x, uint64_t id)
{
    uint32_t at = x->root, best = 0;

    while (at != 0) {
        const struct log_entry *e = index_entry(x, at);

        if (e->id > id)
            best = at;
        at = e->id > id ? e->left : e->right;
    }
    return best;
}

/* Parts the tree below *link into ids under id and above it. */
static void split(struct log_index *x, uint32_t at, uint64_t id, uint32_t *low, uint32_t *high)
{
    while (at != 0) {
        struct log_entry *e = index_entry(x, at);

        if (e->id < id) {
            *low = at;
            low = &e->right;
            at = e->right;
        } else {
            *high = at;
            high = &e->left;
            at = e->left;
        }
    }
    *low = *high = 0;
}

uint32_t index_insert(struct log_index *x, uint64_t id)
{
    uint32_t place = x->free_list, *link = &x->root;
    struct log_entry *e = index_entry(x, place);
    uint64_t mine = priority(x, id);

    x->free_list = e->left;
    x->n_free--;
    x->reserved--;
    *e = (struct log_entry){.id = id, .next_us = INT64_MAX};
    while (*link != 0) {
        struct log_entry *below = index_entry(x, *link);

        if (priority(x, below->id) < mine)
            break;
        link = id < below->id ? &below->left : &below->right;
    }
    split(x, *link, id, &e->left, &e->right);
    *link = place;
    return place;
}

static uint32_t join(struct log_index *x, uint32_t low, uint32_t high)
{
    uint32_t root = 0, *link = &root;

    while (low != 0 && high != 0) {
        struct log_entry *l = index_entry(x, low), *h = index_entry(x, high);

        if (priority(x, l->id) > priority(x, h->id)) {
            *link = low;
            link = &l->right;
            low = l->right;
        } else {
            *link = high;
            link = &h->left;
            high = h->left;
        }
    }
    *link = low != 0 ? low : high;
    return root;
}

void index_remove(struct log_index *x, uint32_t place)
{
    struct log_entry *e = index_entry(x, place);
    uint32_t *link = &x->root;

    index_due(x, place, INT64_MAX, false);
    while (*link != place) {
        struct log_entry *below = index_entry(x, *link);

        link = e->id < below->id ? &below->left : &below->right;
    }
    *link = join(x, e->left, e->right);
    *e = (struct log_entry){.left = x->free_list};
    x->free_list = place;
    x->n_free++;
}

/* --- the heap: four children a node, so that it is shallow and a node's children share a line
 */

struct slot {
    uint32_t place;
    int64_t due;
};

static struct slot heap_get(const struct log_index *x, uint32_t at)
{
    return (struct slot){x->heap[at], x->heap_due[at]};
}

static void heap_set(struct log_index *x, uint32_t at, struct slot s)
{
    x->heap[at] = s.place;
    x->heap_due[at] = s.due;
    index_entry(x, s.place)->heap_at = at + 1;
}

static bool is_before(const struct log_index *x, struct slot a, struct slot b)
{
    return a.due < b.due ||
           (a.due == b.due && index_entry(x, a.place)->id < index_entry(x, b.place)->id);
}

static void heap_up(struct log_index *x, uint32_t at)
{
    struct slot s = heap_get(x, at);

    while (at > 0 && is_before(x, s, heap_get(x, (at - 1) / 4))) {
        heap_set(x, at, heap_get(x, (at - 1) / 4));
        at = (at - 1) / 4;
    }
    heap_set(x, at, s);
}

static void heap_down(struct log_index *x, uint32_t at)
{
    struct slot s = heap_get(x, at);

    for (;;) {
        uint32_t child = at * 4 + 1, best = 0,
                 end = child + 4 < x->n_heap ? child + 4 : x->n_heap;
        struct slot first = s;

        for (; child < end; child++) {
            if (is_before(x, heap_get(x, child), first)) {
                first = heap_get(x, child);
                best = child;
            }
        }
        if (best == 0)
            break;
        heap_set(x, at, first);
        at = best;
    }
    heap_set(x, at, s);
}

static void heap_take_out(struct log_index *x, uint32_t at)
{
    index_entry(x, x->heap[at])->heap_at = 0;
    if (at == --x->n_heap)
        return;
    heap_set(x, at, heap_get(x, x->n_heap));
    heap_down(x, at);
    heap_up(x, at);
}

void index_due(struct log_index *x, uint32_t place, int64_t next_us, bool claimable)
{
    struct log_entry *e = index_entry(x, place);

    if (e->heap_at != 0)
        heap_take_out(x, e->heap_at - 1);
    e->next_us = next_us;
    if (next_us == INT64_MAX || !claimable)
        return;
    heap_set(x, x->n_heap++, (struct slot){place, next_us});
    heap_up(x, x->n_heap - 1);
}

uint32_t index_top(const struct log_index *x)
{
    return x->n_heap == 0 ? 0 : x->heap[0];
}

uint32_t index_places(const struct log_index *x)
{
    return x->n_pages * PAGE;
}
