/* spool/units.c: see units.h. Invariant: a leased unit waits; `leased` counts them. */
#include "spool/units.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

bool unit_state_valid(const struct unit_state *state)
{
    return state->status >= UNIT_PENDING && state->status <= UNIT_GIVEN_UP &&
           state->group != SPOOL_GROUP_MIXED &&
           (state->reply.n == 0 || state->reply.p != NULL);
}

/* 0 or BARID_ENOMEM; *copy_r is empty for an empty reply. */
static int copy_reply(const barid_mem *mem, barid_slice reply, barid_slice *copy_r)
{
    size_t n = reply.n < SPOOL_UNIT_REPLY_MAX ? reply.n : SPOOL_UNIT_REPLY_MAX;
    char *p;

    *copy_r = (barid_slice){NULL, 0};
    if (n == 0)
        return 0;
    if ((p = mem_alloc(mem, n)) == NULL)
        return BARID_ENOMEM;
    memcpy(p, reply.p, n);
    *copy_r = (barid_slice){p, n};
    return 0;
}

static void free_reply(const barid_mem *mem, barid_slice reply)
{
    mem_free(mem, (char *)(uintptr_t)reply.p);
}

int units_init(struct units *u, const barid_mem *mem, const struct unit_state *states, size_t n)
{
    *u = (struct units){.mem = mem};
    if (n == 0)
        return 0;
    if ((u->v = mem_array(mem, n, sizeof(*u->v))) == NULL)
        return BARID_ENOMEM;
    u->n = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        u->v[i].state = states[i];
        if (copy_reply(mem, states[i].reply, &u->v[i].state.reply) != 0) {
            units_deinit(u);
            return BARID_ENOMEM;
        }
    }
    return 0;
}

void units_deinit(struct units *u)
{
    for (uint32_t i = 0; i < u->n; i++)
        free_reply(u->mem, u->v[i].state.reply);
    mem_free(u->mem, u->v);
    *u = (struct units){.mem = u->mem};
}

static uint32_t group_bits(uint32_t group)
{
    /* Groups are hashes: any bits of them will do. */
    return 1u << (group & 31) | 1u << (group >> 5 & 31);
}

/* bits: of all groups so far; 0 = nothing was added yet. */
static void digest_add(struct units_digest *d, uint32_t *bits, const struct unit_state *u)
{
    if (!unit_waits(u->status))
        return;
    if (*bits == 0)
        d->group = u->group;
    *bits |= group_bits(u->group);
    d->is_mixed = d->is_mixed || d->group != u->group;
    d->tried = d->tried || u->attempts > 0;
    if (u->due_us < d->next_us)
        d->next_us = u->due_us;
}

struct units_digest unit_states_digest(const struct unit_state *states, size_t n)
{
    struct units_digest d = {.next_us = INT64_MAX};
    uint32_t bits = 0;

    for (size_t i = 0; i < n; i++)
        digest_add(&d, &bits, &states[i]);
    d.group = d.is_mixed ? bits : d.group;
    return d;
}

struct units_digest units_digest(const struct units *u)
{
    struct units_digest d = {.next_us = INT64_MAX};
    uint32_t bits = 0;

    for (uint32_t i = 0; i < u->n; i++)
        digest_add(&d, &bits, &u->v[i].state);
    d.group = d.is_mixed ? bits : d.group;
    return d;
}

uint32_t digest_hasten(const struct units_digest *d, uint32_t group, uint32_t hastened)
{
    uint32_t bits = group_bits(group), more;

    if (!d->tried || (d->is_mixed ? (d->group & bits) != bits : d->group != group))
        return 0;
    more = d->is_mixed ? group : SPOOL_GROUP_MIXED;
    return hastened == 0 || hastened == more ? more : SPOOL_GROUP_MIXED;
}

static bool is_hastened(const struct unit *unit, uint32_t hastened)
{
    return hastened != 0 && unit->state.attempts > 0 &&
           (hastened == SPOOL_GROUP_MIXED || unit->state.group == hastened);
}

static bool is_free(const struct unit *unit)
{
    return unit_waits(unit->state.status) && unit->lease == 0;
}

bool units_hastens(const struct units *u, uint32_t hastened)
{
    for (uint32_t i = 0; i < u->n; i++) {
        if (is_free(&u->v[i]) && is_hastened(&u->v[i], hastened))
            return true;
    }
    return false;
}

int64_t units_next(const struct units *u, uint32_t hastened)
{
    int64_t next = INT64_MAX;

    for (uint32_t i = 0; i < u->n; i++) {
        const struct unit *unit = &u->v[i];
        int64_t due = is_hastened(unit, hastened) ? 0 : unit->state.due_us;

        if (is_free(unit) && due < next)
            next = due;
    }
    return next;
}

static bool status_over(enum unit_status status)
{
    return !unit_waits(status) && status != UNIT_HELD;
}

bool units_over(const struct units *u)
{
    for (uint32_t i = 0; i < u->n; i++) {
        if (!status_over(u->v[i].state.status))
            return false;
    }
    return true;
}

bool unit_states_over(const struct unit_state *states, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!status_over(states[i].status))
            return false;
    }
    return true;
}

static bool is_due(const struct unit *unit, int64_t now_us, uint32_t hastened)
{
    return is_free(unit) && (unit->state.due_us <= now_us || is_hastened(unit, hastened));
}

int units_claim(struct units *u, int64_t now_us, uint32_t hastened, uint64_t lease,
                uint32_t **list_r, size_t *n_r)
{
    size_t n = 0;

    for (uint32_t i = 0; i < u->n; i++)
        n += is_due(&u->v[i], now_us, hastened);
    if (n == 0)
        return BARID_ENOTFOUND;
    /* Plain malloc: the caller frees the list with free(3). */
    if ((*list_r = malloc(n * sizeof(**list_r))) == NULL)
        return BARID_ENOMEM;
    *n_r = 0;
    for (uint32_t i = 0; i < u->n; i++) {
        if (!is_due(&u->v[i], now_us, hastened))
            continue;
        u->v[i].lease = lease;
        (*list_r)[(*n_r)++] = i;
    }
    u->leased += (uint32_t)n;
    return 0;
}

/* Delivered since the operator looked: it is not to be delivered once more. */
static bool was_faster(const struct unit *unit, const struct unit_state *wanted)
{
    return unit->state.status == UNIT_DONE && wanted->status != UNIT_DONE;
}

static int check_changes(const struct units *u, uint64_t lease,
                         const struct unit_change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (changes[i].unit >= u->n || !unit_state_valid(&changes[i].state))
            return BARID_EINVALID;
        if (lease != 0 && u->v[changes[i].unit].lease != lease)
            return BARID_EINVALID;
        if (lease == 0 && (u->v[changes[i].unit].lease != 0 ||
                           was_faster(&u->v[changes[i].unit], &changes[i].state)))
            return BARID_EAGAIN;
    }
    return 0;
}

static void apply(struct units *u, const struct unit_change *change, barid_slice reply)
{
    struct unit *unit = &u->v[change->unit];

    free_reply(u->mem, unit->state.reply);
    unit->state = change->state;
    unit->state.reply = reply;
    if (unit->lease != 0)
        u->leased--;
    unit->lease = 0;
}

int units_change(struct units *u, uint64_t lease, const struct unit_change *changes, size_t n)
{
    barid_slice one, *replies = &one;
    int rc = check_changes(u, lease, changes, n);

    if (rc != 0 || n == 0)
        return rc;
    if (n > 1 && (replies = mem_array(u->mem, n, sizeof(*replies))) == NULL)
        return BARID_ENOMEM;
    for (size_t i = 0; i < n && rc == 0; i++) {
        if ((rc = copy_reply(u->mem, changes[i].state.reply, &replies[i])) == 0)
            continue;
        while (i-- > 0)
            free_reply(u->mem, replies[i]);
        break;
    }
    for (size_t i = 0; i < n && rc == 0; i++)
        apply(u, &changes[i], replies[i]);
    if (replies != &one)
        mem_free(u->mem, replies);
    return rc;
}

size_t units_release(struct units *u, uint64_t lease)
{
    size_t n = 0;

    for (uint32_t i = 0; i < u->n && lease != 0; i++) {
        if (u->v[i].lease != lease)
            continue;
        u->v[i].lease = 0;
        n++;
    }
    u->leased -= (uint32_t)n;
    return n;
}
