/*
 * spool/log_replay.c: records into the index, at the start. The order of records about one
 * message does not matter: a DEL wins (ids are never reused), else the highest version. So
 * what is known of a message without its PUT is kept until all segments have been read.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "spool/io_table.h"
#include "spool/log_int.h"

#define NO_PLACE 0

/* The entry of id, made when it is the first that is heard of it. NO_PLACE: no memory. */
static uint32_t entry_for(struct store *s, uint64_t id)
{
    uint32_t place = index_find(&s->index, id);

    if (place != 0 || index_reserve(&s->index, 1) != 0)
        return place;
    place = index_insert(&s->index, id);
    index_entry(&s->index, place)->flags = ENTRY_NO_PUT;
    return place;
}

static struct log_body *body_for(struct store *s, uint64_t id)
{
    barid_slice key = {(const char *)&id, sizeof(id)};
    struct log_body *body = map_get(&s->bodies, key);

    if (body != NULL || (body = mem_zalloc(s->mem, sizeof(*body))) == NULL)
        return body;
    body->id = id;
    if (map_put(&s->bodies, key, body, NULL) == 0)
        return body;
    mem_free(s->mem, body);
    return NULL;
}

static int replay_apart(struct store *s, struct log_entry *e, const struct log_record *rec)
{
    struct log_body *body;

    if (e->extra != NULL)
        return 0; /* a copy of the PUT names the same body */
    if ((body = body_for(s, rec->body_id)) == NULL)
        return BARID_ENOMEM;
    if ((e->extra = mem_zalloc(s->mem, sizeof(*e->extra))) == NULL)
        return BARID_ENOMEM;
    e->extra->units.mem = s->mem;
    e->extra->body = body;
    body->refs++;
    body->big = (rec->flags & LOG_BIG) != 0;
    body->size = rec->body_len;
    body->crc = rec->body_crc;
    return 0;
}

static int replay_put(struct replay *r, struct log_segment *seg, uint32_t off,
                      const struct log_record *rec)
{
    uint32_t place = entry_for(r->s, rec->id);
    uint64_t size = (uint64_t)rec->header_len + 2 + rec->body_len;
    struct log_entry *e;

    if (place == NO_PLACE)
        return BARID_ENOMEM;
    e = index_entry(&r->s->index, place);
    /* Two of them: the cleaner's copy, and the old one that a crash kept. The copy must not go
     * first. */
    if (e->put_seg != 0 && e->put_seg != seg->slot)
        segment_add_after(r->s, seg, segment_at(r->s, e->put_seg)->segno);
    e->put_seg = seg->slot;
    e->put_off = off;
    e->put_len = (uint32_t)log_record_length(rec);
    e->size_low = (uint32_t)size;
    e->size_high = (uint8_t)(size >> 32);
    e->n_units = (uint16_t)rec->units;
    e->flags &= ENTRY_FLAGS & ~ENTRY_NO_PUT;
    if (e->version == 0) {
        entry_take_digest(e, rec);
        e->state = rec->state & 3u;
        e->next_us = rec->next_us;
    }
    return (rec->flags & (LOG_BIG | LOG_SHARED)) != 0 ? replay_apart(r->s, e, rec) : 0;
}

static int replay_state(struct replay *r, struct log_segment *seg, uint32_t off,
                        const struct log_record *rec)
{
    uint32_t place = entry_for(r->s, rec->id);
    struct log_entry *e;

    if (place == NO_PLACE)
        return BARID_ENOMEM;
    e = index_entry(&r->s->index, place);
    if (rec->version < e->version)
        return 0;
    e->version = rec->version;
    e->state_seg = seg->slot;
    e->state_off = off;
    e->state_len = (uint32_t)log_record_length(rec);
    e->state = rec->state & 3u;
    e->next_us = rec->next_us;
    entry_take_digest(e, rec);
    return 0;
}

static int replay_del(struct replay *r, struct log_segment *seg, uint32_t off,
                      const struct log_record *rec)
{
    uint32_t place = entry_for(r->s, rec->id);

    (void)off;
    if (place == NO_PLACE)
        return BARID_ENOMEM;
    index_entry(&r->s->index, place)->flags |= ENTRY_GONE;
    if (rec->body_len == seg->segno || (r->s->options.broken & SPOOL_BROKEN_DROP_DEL) != 0)
        return 0;
    if (r->target == NULL || r->target->segno != rec->body_len)
        r->target = segment_by_number(r->s, rec->body_len);
    if (r->target != NULL)
        segment_add_del(r->s, seg, rec->body_len);
    return 0;
}

static int replay_body(struct replay *r, struct log_segment *seg, uint32_t off,
                       const struct log_record *rec)
{
    struct log_body *body = body_for(r->s, rec->id);

    if (body == NULL)
        return BARID_ENOMEM;
    body->seg = seg->slot;
    body->off = off;
    body->len = (uint32_t)log_record_length(rec);
    body->located = true;
    return 0;
}

static int replay_open(struct replay *r, struct log_segment *seg, uint32_t off,
                       const struct log_record *rec)
{
    (void)r;
    (void)seg;
    (void)off;
    (void)rec; /* its floor is taken like any id */
    return 0;
}

int replay_record(struct replay *r, struct log_segment *seg, uint32_t off,
                  const struct log_record *rec)
{
    static int (*const by_type[])(struct replay *, struct log_segment *, uint32_t,
                                  const struct log_record *) = {
        [LOG_PUT] = replay_put,   [LOG_STATE] = replay_state, [LOG_DEL] = replay_del,
        [LOG_BODY] = replay_body, [LOG_OPEN] = replay_open,
    };

    if (rec->id > r->s->last_id)
        r->s->last_id = rec->id;
    return by_type[rec->type](r, seg, off, rec);
}

/* --- big bodies: files without a message go, messages without a file are set aside. A file that
 * cannot be looked at now (no descriptor left, an error of the disk) counts as there: reading it
 * will fail, or not, when it is delivered; the message must not go for that. Where octets were
 * set aside, a file without a message may be the body of what they were, and is put beside them:
 * the next start knows of no damage. */

static void remove_file(struct store *s, uint64_t id)
{
    char name[LOG_NAME_SIZE], from[48], to[48];

    segment_name(id, "", name);
    snprintf(from, sizeof(from), "big/%s", name);
    snprintf(to, sizeof(to), "damaged/%s", name);
    if (s->options.read_only)
        return;
    if (s->stats.damaged == 0)
        s->io->unlink(s->io->user, s->big_dir, name);
    else
        s->io->rename(s->io->user, s->dir, from, to);
}

static void each_file(void *arg, const char *name)
{
    struct store *s = arg;
    char *end;
    uint64_t id = strtoull(name, &end, 16), size = 0;
    barid_slice key = {(const char *)&id, sizeof(id)};
    struct log_body *body;
    int fd;

    if (end != name + 16 || *end != '\0')
        return; /* not ours */
    if (id > s->last_id)
        s->last_id = id;
    body = map_get(&s->bodies, key);
    if (body == NULL || !body->big) {
        remove_file(s, id);
        return;
    }
    body->located = true;
    if ((fd = s->io->open(s->io->user, s->big_dir, name, O_RDONLY, 0)) < 0)
        return;
    if (s->io->size(s->io->user, fd, &size) == 0)
        body->located = size == body->size;
    s->io->close(s->io->user, fd);
}

static void forget(struct store *s, uint32_t place, struct log_entry *e)
{
    if (e->extra != NULL) {
        e->extra->body->refs--;
        mem_free(s->mem, e->extra);
    }
    index_remove(&s->index, place);
}

static void settle_entry(struct store *s, uint32_t place, struct log_entry *e)
{
    if ((e->flags & (ENTRY_GONE | ENTRY_NO_PUT)) != 0) {
        forget(s, place, e);
        return;
    }
    if (e->extra != NULL && !e->extra->body->located) {
        damaged_keep(s, segment_at(s, e->put_seg), e->put_off, e->put_len,
                     "message without its body");
        forget(s, place, e);
        return;
    }
    segment_live(s, segment_at(s, e->put_seg), e->put_len);
    if (e->state_seg != 0)
        segment_live(s, segment_at(s, e->state_seg), e->state_len);
    s->stats.messages[e->state]++;
    index_due(&s->index, place, e->next_us, e->state == SPOOL_ACTIVE);
}

int replay_end(struct replay *r)
{
    struct store *s = r->s;
    struct map_iter it = {0};
    int rc = s->io->list(s->io->user, s->big_dir, each_file, s);

    for (uint32_t place = 1; place < index_places(&s->index); place++) {
        struct log_entry *e = index_entry(&s->index, place);

        if (e->id != 0)
            settle_entry(s, place, e);
    }
    while (map_next(&s->bodies, &it)) {
        struct log_body *body = it.value;

        if (body->refs > 0) {
            if (!body->big)
                segment_live(s, segment_at(s, body->seg), body->len);
            continue;
        }
        if (body->big && body->located)
            remove_file(s, body->id); /* a power cut may bring back what was removed */
        map_take(&s->bodies, it.key);
        mem_free(s->mem, body);
    }
    return rc < 0 ? store_err(rc) : 0;
}
