/* spool/put.c: see put.h. */
#include "spool/put.h"

#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "spool/units.h"

/* The first chunk holds a small mail; later ones double, so that a body of SPOOL_BODY_MEMORY is
 * about ten pieces of a write. */
#define CHUNK_FIRST 4064
#define CHUNK_MAX   262112

static struct put_body *body_new(const barid_mem *mem)
{
    struct put_body *body = mem_zalloc(mem, sizeof(*body));

    if (body == NULL)
        return NULL;
    body->mem = mem;
    body->refs = 1;
    return body;
}

int put_new(struct spool_put **put_r, struct spool *spool, const barid_mem *mem, uint64_t id)
{
    struct spool_put *put = mem_zalloc(mem, sizeof(*put));

    if (put == NULL)
        return BARID_ENOMEM;
    if ((put->body = body_new(mem)) == NULL) {
        mem_free(mem, put);
        return BARID_ENOMEM;
    }
    put->spool = spool;
    put->mem = mem;
    put->id = id;
    *put_r = put;
    return 0;
}

int put_new_share(struct spool_put **put_r, struct spool_put *first, uint64_t id)
{
    struct spool_put *put = mem_zalloc(first->mem, sizeof(*put));

    if (put == NULL)
        return BARID_ENOMEM;
    put->spool = first->spool;
    put->mem = first->mem;
    put->id = id;
    put->body = first->body;
    put->body->refs++;
    put->body->frozen = true;
    *put_r = put;
    return 0;
}

bool put_body_unref(struct put_body *body)
{
    struct put_chunk *next;

    if (--body->refs > 0)
        return false;
    for (struct put_chunk *c = body->head; c != NULL; c = next) {
        next = c->next;
        mem_free(body->mem, c);
    }
    mem_free(body->mem, body);
    return true;
}

void put_del(struct spool_put **put)
{
    if (*put == NULL)
        return;
    if ((*put)->body != NULL)
        put_body_unref((*put)->body);
    mem_free((*put)->mem, (*put)->text);
    mem_free((*put)->mem, *put);
    *put = NULL;
}

/* Room for n more octets in all: at most one new chunk, so that failing leaves the body as it
 * was. */
static int make_room(struct put_body *body, size_t n)
{
    size_t room = body->tail != NULL ? body->tail->cap - body->tail->n : 0;
    size_t cap = body->tail == NULL ? CHUNK_FIRST : 2 * body->tail->cap;
    struct put_chunk *c;

    if (n <= room)
        return 0;
    if (cap > CHUNK_MAX)
        cap = CHUNK_MAX;
    if (cap < n - room)
        cap = n - room;
    if ((c = mem_alloc(body->mem, sizeof(*c) + cap)) == NULL)
        return BARID_ENOMEM;
    c->next = NULL;
    c->n = 0;
    c->cap = cap;
    if (body->tail == NULL)
        body->head = c;
    else
        body->tail->next = c;
    if (room == 0)
        body->tail = c;
    return 0;
}

int put_append(struct spool_put *put, const void *p, size_t n)
{
    struct put_body *body = put->body;
    const char *from = p;

    if (body->frozen)
        return BARID_EINVALID;
    if (n == 0)
        return 0;
    if (make_room(body, n) != 0)
        return BARID_ENOMEM;
    body->crc = crc32c(body->crc, p, n);
    body->size += n;
    while (n > 0) {
        size_t room = body->tail->cap - body->tail->n;
        size_t part = n < room ? n : room;

        memcpy(body->tail->data + body->tail->n, from, part);
        body->tail->n += part;
        from += part;
        n -= part;
        if (n > 0)
            body->tail = body->tail->next;
    }
    return 0;
}

int put_restart(struct spool_put *put)
{
    struct put_body *body = body_new(put->mem);

    if (body == NULL)
        return BARID_ENOMEM;
    put_body_unref(put->body);
    put->body = body;
    return 0;
}

int64_t put_copy_out(const struct put_body *body, uint64_t offset, void *p, size_t n)
{
    char *to = p;
    size_t done = 0;

    for (const struct put_chunk *c = body->head; c != NULL && done < n; c = c->next) {
        size_t part;

        if (offset >= c->n) {
            offset -= c->n;
            continue;
        }
        part = c->n - (size_t)offset;
        if (part > n - done)
            part = n - done;
        memcpy(to + done, c->data + offset, part);
        done += part;
        offset = 0;
    }
    return (int64_t)done;
}

static size_t reply_size(const struct unit_state *state)
{
    return state->reply.n < SPOOL_UNIT_REPLY_MAX ? state->reply.n : SPOOL_UNIT_REPLY_MAX;
}

static char *append(char *to, barid_slice s)
{
    if (s.n > 0)
        memcpy(to, s.p, s.n);
    return to + s.n;
}

static void fill_text(struct put_text *text, barid_slice meta, barid_slice header,
                      const struct unit_state *units, size_t n_units)
{
    char *at;

    text->units = (struct unit_state *)(text + 1);
    text->n_units = n_units;
    at = (char *)(text->units + n_units);
    text->meta = (barid_slice){at, meta.n};
    at = append(at, meta);
    text->header = (barid_slice){at, header.n};
    at = append(at, header);
    for (size_t i = 0; i < n_units; i++) {
        text->units[i] = units[i];
        text->units[i].reply = (barid_slice){at, reply_size(&units[i])};
        at = append(at, (barid_slice){units[i].reply.p, reply_size(&units[i])});
    }
}

int put_set_text(struct spool_put *put, enum spool_state state, barid_slice meta,
                 barid_slice header, const struct unit_state *units, size_t n_units)
{
    size_t size = sizeof(struct put_text) + n_units * sizeof(*units) + meta.n + header.n;
    struct put_text *text;

    if (state < SPOOL_ACTIVE || state > SPOOL_QUARANTINED)
        return BARID_EINVALID;
    if (n_units > SPOOL_UNITS_MAX || meta.n > UINT32_MAX / 2 || header.n > UINT32_MAX / 2)
        return BARID_ELIMIT;
    for (size_t i = 0; i < n_units; i++) {
        if (!unit_state_valid(&units[i]))
            return BARID_EINVALID;
        size += reply_size(&units[i]);
    }
    if (state == SPOOL_ACTIVE && unit_states_over(units, n_units))
        return BARID_EINVALID; /* it would be gone before it came */
    if ((text = mem_zalloc(put->mem, size)) == NULL)
        return BARID_ENOMEM;
    text->state = state;
    fill_text(text, meta, header, units, n_units);
    mem_free(put->mem, put->text);
    put->text = text;
    return 0;
}

uint64_t put_message_size(const struct spool_put *put)
{
    return put->text->header.n + 2 + put->body->size;
}

static bool sharers_present(struct spool_put *const *puts, size_t n,
                            const struct put_body *body)
{
    uint32_t found = 0;

    if (!body->frozen)
        return body->refs == 1;
    for (size_t i = 0; i < n; i++)
        found += puts[i]->body == body;
    return found == body->refs;
}

int put_check_commit(const struct spool *spool, struct spool_put *const *puts, size_t n)
{
    if (n == 0)
        return BARID_EINVALID;
    for (size_t i = 0; i < n; i++) {
        if (puts[i]->spool != spool || puts[i]->text == NULL)
            return BARID_EINVALID;
        /* Sharers stand side by side as a rule: one count for all of them. */
        if (i > 0 && puts[i]->body == puts[i - 1]->body)
            continue;
        if (!sharers_present(puts, n, puts[i]->body))
            return BARID_EINVALID;
    }
    return 0;
}

uint64_t put_next_id(uint64_t last, const struct clock *clock)
{
    int64_t wall_us = clock_wall_us(clock);
    uint64_t id = wall_us > 0 ? (uint64_t)(wall_us / 1000) << 20 : 0;

    return id > last ? id : last + 1;
}
