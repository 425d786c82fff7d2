/* spool/memory_read.c: messages read back from the store without a disk. */
#include "spool/memory_int.h"

#include <string.h>

#include "base/mem.h"

static void describe(const struct message *msg, struct spool_message *message_r)
{
    struct units_digest d = memory_digest(msg);

    *message_r = (struct spool_message){
        .id = msg->id,
        .state = msg->state,
        .next_due_us = units_next(&msg->units, msg->hastened),
        .size = msg->size,
        .units = msg->units.n,
        .group = digest_group(&d),
    };
}

static void *snapshot(struct memory *m, const struct message *msg,
                      struct spool_loaded *loaded_r)
{
    size_t n = msg->units.n,
           size = n * sizeof(struct unit_state) + msg->text->meta.n + msg->text->header.n;
    struct unit_state *states;
    char *block, *at;

    for (size_t i = 0; i < n; i++)
        size += msg->units.v[i].state.reply.n;
    if ((block = mem_alloc(m->mem, sizeof(m->mem) + size)) == NULL)
        return NULL;
    memcpy(block, &m->mem, sizeof(m->mem)); /* loaded_free has no store to ask */
    states = (struct unit_state *)(block + sizeof(m->mem));
    at = (char *)(states + n);
    loaded_r->meta = (barid_slice){at, msg->text->meta.n};
    loaded_r->header = (barid_slice){at + msg->text->meta.n, msg->text->header.n};
    if (msg->text->meta.n + msg->text->header.n > 0)
        memcpy(at, msg->text->meta.p, msg->text->meta.n + msg->text->header.n);
    at += msg->text->meta.n + msg->text->header.n;
    for (size_t i = 0; i < n; i++) {
        states[i] = msg->units.v[i].state;
        if (states[i].reply.n > 0)
            memcpy(at, states[i].reply.p, states[i].reply.n);
        states[i].reply.p = at;
        at += states[i].reply.n;
    }
    loaded_r->units = states;
    loaded_r->n_units = n;
    return block;
}

int memory_load(struct spool *s, uint64_t id, struct spool_loaded *loaded_r)
{
    struct memory *m = memory_of(s);
    struct message *msg;
    int rc = BARID_ENOTFOUND;

    *loaded_r = (struct spool_loaded){0};
    pthread_mutex_lock(&m->lock);
    if ((msg = memory_find(m, id)) != NULL) {
        describe(msg, &loaded_r->info);
        loaded_r->memory = snapshot(m, msg, loaded_r);
        rc = loaded_r->memory == NULL ? BARID_ENOMEM : 0;
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

void memory_loaded_free(struct spool_loaded *loaded)
{
    const barid_mem *mem;

    if (loaded->memory != NULL) {
        memcpy(&mem, loaded->memory, sizeof(mem));
        mem_free(mem, loaded->memory);
    }
    *loaded = (struct spool_loaded){0};
}

struct memory_body {
    struct memory *m;
    struct put_body *body;
};

int memory_body_open(struct spool *s, uint64_t id, void **body_r, uint64_t *size_r)
{
    struct memory *m = memory_of(s);
    struct memory_body *open = mem_alloc(m->mem, sizeof(*open));
    struct message *msg;

    if (open == NULL)
        return BARID_ENOMEM;
    pthread_mutex_lock(&m->lock);
    if ((msg = memory_find(m, id)) != NULL) {
        msg->body->refs++;
        *open = (struct memory_body){m, msg->body};
        *size_r = msg->body->size;
    }
    pthread_mutex_unlock(&m->lock);
    if (msg == NULL) {
        mem_free(m->mem, open);
        return BARID_ENOTFOUND;
    }
    *body_r = open;
    return 0;
}

int64_t memory_body_read(void *body, uint64_t offset, void *p, size_t n)
{
    return put_copy_out(((struct memory_body *)body)->body, offset, p, n);
}

void memory_body_close(void *body)
{
    struct memory_body *open = body;
    struct memory *m;

    if (open == NULL)
        return;
    m = open->m;
    pthread_mutex_lock(&m->lock);
    put_body_unref(open->body);
    pthread_mutex_unlock(&m->lock);
    mem_free(m->mem, open);
}

int memory_after(struct spool *s, uint64_t id, struct spool_message *message_r)
{
    struct memory *m = memory_of(s);
    size_t i;
    int rc = BARID_ENOTFOUND;

    pthread_mutex_lock(&m->lock);
    i = id == UINT64_MAX ? m->n : memory_lower_bound(m, id + 1);
    if (i < m->n) {
        describe(m->messages[i], message_r);
        rc = 0;
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}
