/*
 * message/vars.c: the variables of a policy. Knows neither Lua nor the spool.
 *
 * Invariants: keys are unique; bytes is the sum of the lengths of all keys and texts and never
 * above VARS_MAX_BYTES. A set is small (VARS_MAX_COUNT), so a walk finds a key as fast as a
 * table would. Memory of replaced values goes back with the arena; a value of the same length
 * or shorter is written in place, so that a counter does not grow it.
 */
#include "message/vars.h"

#include <string.h>

#include "base/slice.h"

#define VARS_FIRST 8 /* slots of a first array: most mails carry a handful */

void vars_init(struct vars *vars, struct arena *arena)
{
    *vars = (struct vars){.arena = arena};
}

static struct var *find(const struct vars *vars, barid_slice key)
{
    for (size_t i = 0; i < vars->n; i++)
        if (slice_eq(vars->v[i].key, key))
            return &vars->v[i];
    return NULL;
}

const struct var *vars_get(const struct vars *vars, barid_slice key)
{
    return find(vars, key);
}

static int grow(struct vars *vars)
{
    size_t cap = vars->cap > 0 ? vars->cap * 2 : VARS_FIRST;
    struct var *v;

    if (vars->n < vars->cap)
        return 0;
    v = arena_alloc(vars->arena, cap * sizeof(*v));
    if (v == NULL)
        return BARID_ENOMEM;
    if (vars->n > 0)
        memcpy(v, vars->v, vars->n * sizeof(*v));
    vars->v = v;
    vars->cap = cap;
    return 0;
}

/* The copy of value's text: over the old one where it fits. */
static int take_text(struct vars *vars, const struct var *old, barid_slice text,
                     barid_slice *copy_r)
{
    if (old == NULL || old->type != VAR_STR || old->str.n < text.n || text.n == 0)
        return arena_slice(vars->arena, text, copy_r);
    /* The octets are the arena's, handed to us alone: const only says that readers must not
     * write. */
    memmove((char *)(uintptr_t)old->str.p, text.p, text.n);
    *copy_r = slice_of(old->str.p, text.n);
    return 0;
}

int vars_set(struct vars *vars, const struct var *value)
{
    struct var *old = find(vars, value->key);
    barid_slice text = value->type == VAR_STR ? value->str : (barid_slice){NULL, 0};
    size_t freed = old != NULL ? old->key.n + old->str.n : 0;
    struct var next = *value;
    int rc = 0;

    if (value->key.n > VARS_MAX_BYTES || text.n > VARS_MAX_BYTES ||
        vars->bytes - freed + value->key.n + text.n > VARS_MAX_BYTES)
        return BARID_ELIMIT;
    if (old == NULL && vars->n >= VARS_MAX_COUNT)
        return BARID_ELIMIT;
    next.str = (barid_slice){NULL, 0};
    if (value->type == VAR_STR)
        rc = take_text(vars, old, text, &next.str);
    if (rc == 0 && old == NULL)
        rc = arena_slice(vars->arena, value->key, &next.key);
    if (rc == 0 && old == NULL)
        rc = grow(vars);
    if (rc < 0)
        return rc;
    vars->bytes = vars->bytes - freed + value->key.n + text.n;
    if (old != NULL) {
        next.key = old->key;
        *old = next;
    } else {
        vars->v[vars->n++] = next;
    }
    return 0;
}

void vars_unset(struct vars *vars, barid_slice key)
{
    struct var *v = find(vars, key);

    if (v == NULL)
        return;
    vars->bytes -= v->key.n + v->str.n;
    memmove(v, v + 1, (size_t)(vars->v + vars->n - v - 1) * sizeof(*v));
    vars->n--;
}
