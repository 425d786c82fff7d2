/*
 * server/locals.c: domains and aliases.
 */
#include "server/locals.h"

#include <ctype.h>

#include "base/mem.h"
#include "base/slice.h"

static int put_lower(struct map *m, const char *key, const void *value)
{
    char *lower = mem_strdup(m->mem, slice_str(key));
    if (!lower)
        return BARID_ENOMEM;
    for (char *p = lower; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    int rc = map_put(m, slice_str(lower), (void *)value, NULL);
    mem_free(m->mem, lower);
    return rc;
}

int locals_init(struct locals *l, const struct config *config, const uint64_t seed[2])
{
    l->config = config;
    map_init(&l->domains, NULL, seed);
    map_init(&l->aliases, NULL, seed);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < config->n_domains; i++)
        rc = put_lower(&l->domains, config->domains[i], config->domains[i]);
    for (size_t i = 0; rc == 0 && i < config->n_aliases; i++)
        rc = put_lower(&l->aliases, config->aliases[i].address, &config->aliases[i]);
    if (rc < 0)
        locals_deinit(l);
    return rc;
}

void locals_deinit(struct locals *l)
{
    map_deinit(&l->domains);
    map_deinit(&l->aliases);
}

bool locals_has(const struct locals *l, const struct mailbox *box)
{
    return box->domain.n == 0 ? !box->null : map_get(&l->domains, box->domain) != NULL;
}

/* One expansion: what was reached so far. Final mailboxes keep their place; `seen` grows beyond
 * them. */
struct expansion {
    const struct locals *l;
    struct arena *arena;
    struct mailbox *out;
    size_t n, cap, visits;
    uint32_t *slots; /* place in out + 1 by hash, 0 = free; twice as many as cap, a power of two */
};

/* Most aliases lead to a few: room for all targets would fill a transaction's memory soon. */
#define EXPANSION_FIRST 4
/* So many are compared one by one: sooner done than hashing them. */
#define EXPANSION_FEW 16

/* The same for what mailbox_same takes for one: `domain` is in lower case already. */
static uint64_t hash_of(const struct expansion *x, const struct mailbox *box)
{
    barid_slice local = box->local;
    if (slice_eq_nocase(local, BARID_S("postmaster")))
        local = BARID_S("postmaster");
    return siphash(x->l->aliases.seed, local) + 31 * siphash(x->l->aliases.seed, box->domain);
}

/* The slot where box is, or the free one where it belongs. */
static uint32_t *slot_of(const struct expansion *x, const struct mailbox *box)
{
    const size_t mask = x->cap * 2 - 1;
    size_t i = hash_of(x, box) & mask;
    while (x->slots[i] && !mailbox_same(&x->out[x->slots[i] - 1], box))
        i = (i + 1) & mask;
    return &x->slots[i];
}

static bool is_known(const struct expansion *x, const struct mailbox *box)
{
    if (x->slots)
        return *slot_of(x, box) != 0;
    for (size_t i = 0; i < x->n; i++)
        if (mailbox_same(&x->out[i], box))
            return true;
    return false;
}

static int make_slots(struct expansion *x)
{
    if (x->cap <= EXPANSION_FEW)
        return 0;
    x->slots = arena_alloc(x->arena, x->cap * 2 * sizeof *x->slots);
    for (size_t i = 0; x->slots && i < x->n; i++)
        *slot_of(x, &x->out[i]) = (uint32_t)i + 1;
    return x->slots ? 0 : BARID_ENOMEM;
}

static int grow(struct expansion *x)
{
    size_t cap = x->cap ? x->cap * 2 : EXPANSION_FIRST;
    struct mailbox *out = arena_alloc(x->arena, cap * sizeof *out);
    if (!out)
        return BARID_ENOMEM;
    if (x->n)
        memcpy(out, x->out, x->n * sizeof *out);
    x->out = out;
    x->cap = cap;
    return make_slots(x);
}

static const struct config_alias *find(const struct locals *l, barid_slice local,
                                       barid_slice domain)
{
    char key[BARID_LOCAL_PART_MAX + BARID_DOMAIN_MAX + 2];
    size_t n = 0;
    if (local.n + domain.n + 1 > sizeof key)
        return NULL;
    for (size_t i = 0; i < local.n; i++)
        key[n++] = (char)tolower((unsigned char)local.p[i]);
    key[n++] = '@';
    if (domain.n)
        memcpy(key + n, domain.p, domain.n);
    return map_get(&l->aliases, slice_of(key, n + domain.n));
}

static const struct config_alias *alias_of(const struct locals *l, const struct mailbox *box)
{
    const struct config_alias *a = find(l, box->local, box->domain);
    if (!a && box->tag.n)
        a = find(l, box->user, box->domain);
    return a ? a : find(l, BARID_S(""), box->domain);
}

static int add(struct expansion *x, const struct mailbox *box)
{
    if (is_known(x, box))
        return 0;
    if (x->n == LOCALS_ALIAS_TARGETS)
        return BARID_ELIMIT;
    if (x->n == x->cap && grow(x) < 0)
        return BARID_ENOMEM;
    if (x->slots)
        *slot_of(x, box) = (uint32_t)x->n + 1;
    x->out[x->n++] = *box;
    return 0;
}

/* path: the aliases followed to get here; meeting one again ends the chain at this mailbox, so
 * a loop delivers instead of failing. */
static int expand(struct expansion *x, const struct mailbox *box,
                  const struct config_alias **path, size_t depth)
{
    const struct config_alias *a = locals_has(x->l, box) ? alias_of(x->l, box) : NULL;
    for (size_t i = 0; a && i < depth; i++)
        if (path[i] == a)
            a = NULL;
    if (!a)
        return add(x, box);
    if (depth == LOCALS_ALIAS_DEPTH)
        return BARID_ELIMIT;
    path[depth] = a;
    for (size_t i = 0; i < a->n; i++) {
        struct mailbox next;
        int rc = ++x->visits > LOCALS_ALIAS_VISITS ? BARID_ELIMIT : 0;
        if (rc == 0)
            rc = mailbox_from_text(&next, x->arena, slice_str(a->targets[i]),
                                   x->l->config->subaddress);
        if (rc == 0)
            rc = expand(x, &next, path, depth + 1);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int locals_expand(const struct locals *l, const struct mailbox *box, struct arena *arena,
                  struct mailbox **boxes_r, size_t *n_r)
{
    const struct config_alias *path[LOCALS_ALIAS_DEPTH];
    struct expansion x = {.l = l, .arena = arena};
    int rc = expand(&x, box, path, 0);
    *boxes_r = x.out;
    *n_r = x.n;
    return rc;
}
