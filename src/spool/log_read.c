/*
 * spool/log_read.c: reading messages back. Places are taken under the lock, their segments
 * pinned, and the disk is read without it. Every octet given out has had its checksum looked
 * at.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "spool/io_table.h"
#include "spool/log_int.h"

void place_pin(struct store *s, const struct log_entry *e, struct log_place *p)
{
    *p = (struct log_place){
        .put_seg = segment_at(s, e->put_seg),
        .put_off = e->put_off,
        .put_len = e->put_len,
        .state_seg = e->state_seg != 0 ? segment_at(s, e->state_seg) : NULL,
        .state_off = e->state_off,
        .state_len = e->state_len,
        .version = e->version,
        .id = e->id,
        .n_units = e->n_units,
    };
    segment_pin(p->put_seg);
    if (p->state_seg != NULL)
        segment_pin(p->state_seg);
}

void place_unpin(struct store *s, struct log_place *p)
{
    segment_unpin(s, p->put_seg);
    if (p->state_seg != NULL)
        segment_unpin(s, p->state_seg);
}

static bool checks(const struct store *s)
{
    return (s->options.broken & SPOOL_BROKEN_NO_CRC) == 0;
}

/* Most records are smaller, with their body: one call of the disk for them. A system call costs more than to copy so much. */
#define READ_FIRST 4096

/* The beginning of a record as it is on the disk. */
struct first {
    uint8_t p[READ_FIRST];
    size_t n;
};

/* n octets of the record from at on. Octets read, or less than 0. */
static int64_t read_part(struct store *s, const struct log_segment *seg, uint32_t off, const struct first *f, size_t at,
                         uint8_t *p, size_t n)
{
    if (at + n > f->n)
        return io_read_all(s->io, seg->fd, p, n, off + at);
    memcpy(p, f->p + at, n);
    return (int64_t)n;
}

/* Head of the record at off, and (own block) what follows it without the body. */
static int read_head(struct store *s, const struct log_segment *seg, uint32_t off, uint32_t len,
                     uint64_t id, struct first *f, struct log_record *r, uint8_t **block_r)
{
    size_t n;
    int64_t got = io_read_all(s->io, seg->fd, f->p, len < READ_FIRST ? len : READ_FIRST, off);

    *block_r = NULL;
    if (got < 0)
        return BARID_EIO;
    f->n = (size_t)got;
    if (f->n < LOG_RECORD_SIZE || log_record_decode(r, f->p) != 0 || r->nonce != seg->nonce ||
        r->id != id || log_record_length(r) != len)
        return BARID_ECORRUPT;
    n = (size_t)r->units_len + r->meta_len + r->header_len;
    if ((*block_r = mem_alloc(s->mem, n > 0 ? n : 1)) == NULL)
        return BARID_ENOMEM;
    got = read_part(s, seg, off, f, LOG_RECORD_SIZE, *block_r, n);
    if (got == (int64_t)n && (!checks(s) || crc32c(0, *block_r, n) == r->head_crc))
        return 0;
    mem_free(s->mem, *block_r);
    *block_r = NULL;
    return got < 0 ? BARID_EIO : BARID_ECORRUPT;
}

static int units_of(const struct log_place *p, const struct log_record *r, const uint8_t *block, struct unit_state *states)
{
    if (r->units != p->n_units)
        return BARID_ECORRUPT;
    return log_units_decode(states, p->n_units, block, r->units_len);
}

int place_read_units(struct store *s, const struct log_place *p, struct unit_state *states,
                     uint8_t **block_r)
{
    struct log_record r;
    struct first f;
    int rc = p->state_seg != NULL
                 ? read_head(s, p->state_seg, p->state_off, p->state_len, p->id, &f, &r, block_r)
                 : read_head(s, p->put_seg, p->put_off, p->put_len, p->id, &f, &r, block_r);

    return rc != 0 ? rc : units_of(p, &r, *block_r, states);
}

void entry_describe(const struct log_entry *e, struct spool_message *m)
{
    struct units_digest d = entry_digest(e);

    *m = (struct spool_message){
        .id = e->id,
        .state = (enum spool_state)e->state,
        .next_due_us = e->next_us,
        .size = entry_size(e),
        .units = e->n_units,
        .group = digest_group(&d),
    };
}

/* What load gives out is one block, and in front of it the way to free it. */
struct loaded_block {
    const barid_mem *mem;
    uint8_t *put, *state; /* records as read */
    struct unit_state *units;
    struct units copy; /* when memory knew better than the disk */
};

static void block_del(struct loaded_block *b)
{
    const barid_mem *mem = b->mem;

    mem_free(mem, b->put);
    mem_free(mem, b->state);
    mem_free(mem, b->units);
    units_deinit(&b->copy);
    mem_free(mem, b);
}

void read_loaded_free(struct spool_loaded *loaded)
{
    if (loaded->memory != NULL)
        block_del(loaded->memory);
    *loaded = (struct spool_loaded){0};
}

/* Under the lock: where it is, and its units where memory knows them. */
static int look_up(struct store *s, uint64_t id, struct spool_message *info,
                   struct log_place *p, struct loaded_block *b)
{
    uint32_t place;
    struct log_entry *e = entry_visible(s, id, &place);

    if (e == NULL)
        return BARID_ENOTFOUND;
    entry_describe(e, info);
    if (e->extra != NULL && e->extra->whole) {
        const struct units *units = &e->extra->units;
        int rc;

        for (uint32_t i = 0; i < units->n; i++)
            b->units[i] = units->v[i].state;
        if ((rc = units_init(&b->copy, s->mem, b->units, units->n)) != 0)
            return rc;
        for (uint32_t i = 0; i < units->n; i++)
            b->units[i] = b->copy.v[i].state;
    }
    place_pin(s, e, p);
    return 0;
}

static int read_records(struct store *s, const struct log_place *p, struct loaded_block *b,
                        struct spool_loaded *loaded_r)
{
    struct log_record r;
    struct first f;
    const char *text;
    int rc = read_head(s, p->put_seg, p->put_off, p->put_len, p->id, &f, &r, &b->put);

    if (rc == 0 && b->copy.n == 0 && p->n_units > 0)
        rc = p->state_seg != NULL ? place_read_units(s, p, b->units, &b->state) : units_of(p, &r, b->put, b->units);
    if (rc != 0)
        return rc;
    text = (const char *)b->put + r.units_len;
    loaded_r->meta = slice_of(text, r.meta_len);
    loaded_r->header = slice_of(text + r.meta_len, r.header_len);
    loaded_r->units = b->units;
    loaded_r->n_units = p->n_units;
    return 0;
}

int read_load(struct spool *spool, uint64_t id, struct spool_loaded *loaded_r)
{
    struct store *s = store_of(spool);
    struct loaded_block *b = mem_zalloc(s->mem, sizeof(*b));
    struct log_entry *e;
    struct log_place p;
    uint32_t place;
    size_t n = 0;
    int rc = 0;

    *loaded_r = (struct spool_loaded){0};
    if (b == NULL)
        return BARID_ENOMEM;
    b->mem = b->copy.mem = s->mem;
    pthread_mutex_lock(&s->lock);
    if ((e = entry_visible(s, id, &place)) != NULL)
        n = e->n_units; /* never changes */
    if ((b->units = mem_array(s->mem, n > 0 ? n : 1, sizeof(*b->units))) == NULL)
        rc = BARID_ENOMEM;
    if (rc == 0)
        rc = look_up(s, id, &loaded_r->info, &p, b);
    pthread_mutex_unlock(&s->lock);
    if (rc == 0) {
        rc = read_records(s, &p, b, loaded_r);
        pthread_mutex_lock(&s->lock);
        place_unpin(s, &p);
        pthread_mutex_unlock(&s->lock);
    }
    if (rc == 0)
        loaded_r->memory = b;
    else
        block_del(b);
    return rc;
}

/* --- bodies: small ones are read and checked at once, large ones are read from their file */

struct open_body {
    struct store *s;
    uint64_t size;
    uint8_t *octets; /* small */
    int fd;          /* large */
    uint32_t want, crc;
    uint64_t checked; /* octets of the crc so far: it grows while reading in order */
};

static int read_inline(struct store *s, const struct log_segment *seg, uint32_t off,
                       uint32_t len, uint64_t id, struct open_body *body)
{
    struct log_record r;
    struct first f;
    uint8_t *head;
    int64_t got;
    size_t at;
    int rc = read_head(s, seg, off, len, id, &f, &r, &head);

    if (rc != 0)
        return rc;
    mem_free(s->mem, head);
    body->size = r.body_len;
    if ((body->octets = mem_alloc(s->mem, r.body_len > 0 ? (size_t)r.body_len : 1)) == NULL)
        return BARID_ENOMEM;
    at = (size_t)LOG_RECORD_SIZE + r.units_len + r.meta_len + r.header_len;
    got = read_part(s, seg, off, &f, at, body->octets, (size_t)r.body_len);
    if (got < 0)
        return BARID_EIO;
    if (got != (int64_t)r.body_len ||
        (checks(s) && crc32c(0, body->octets, (size_t)r.body_len) != r.body_crc))
        return BARID_ECORRUPT;
    return 0;
}

static int open_file(struct store *s, const struct log_body *apart, struct open_body *body)
{
    char name[LOG_NAME_SIZE];
    uint64_t size;

    segment_name(apart->id, "", name);
    body->fd = s->io->open(s->io->user, s->big_dir, name, O_RDONLY, 0);
    if (body->fd < 0)
        return BARID_EIO;
    body->size = apart->size;
    body->want = apart->crc;
    if (s->io->size(s->io->user, body->fd, &size) < 0)
        return BARID_EIO;
    return size == apart->size ? 0 : BARID_ECORRUPT;
}

/* Lock held, given up while the disk is read. The body object is held meanwhile. */
static int open_apart(struct store *s, struct log_body *apart, struct open_body *body)
{
    struct log_segment *seg = apart->big ? NULL : segment_at(s, apart->seg);
    uint32_t off = apart->off;
    int rc;

    apart->refs++;
    if (seg != NULL)
        segment_pin(seg);
    pthread_mutex_unlock(&s->lock);
    if (seg != NULL)
        rc = read_inline(s, seg, off, apart->len, apart->id, body);
    else
        rc = open_file(s, apart, body);
    pthread_mutex_lock(&s->lock);
    if (seg != NULL)
        segment_unpin(s, seg);
    body_unref(s, apart);
    return rc;
}

static int open_own(struct store *s, const struct log_entry *e, struct open_body *body)
{
    struct log_place p;
    int rc;

    place_pin(s, e, &p);
    pthread_mutex_unlock(&s->lock);
    rc = read_inline(s, p.put_seg, p.put_off, p.put_len, p.id, body);
    pthread_mutex_lock(&s->lock);
    place_unpin(s, &p);
    return rc;
}

int read_body_open(struct spool *spool, uint64_t id, void **body_r, uint64_t *size_r)
{
    struct store *s = store_of(spool);
    struct open_body *body = mem_zalloc(s->mem, sizeof(*body));
    struct log_entry *e;
    uint32_t place;
    int rc;

    if (body == NULL)
        return BARID_ENOMEM;
    body->s = s;
    body->fd = -1;
    pthread_mutex_lock(&s->lock);
    e = entry_visible(s, id, &place);
    if (e == NULL)
        rc = BARID_ENOTFOUND;
    else if (e->extra != NULL && e->extra->body != NULL)
        rc = open_apart(s, e->extra->body, body);
    else
        rc = open_own(s, e, body);
    pthread_mutex_unlock(&s->lock);
    if (rc != 0) {
        read_body_close(body);
        return rc;
    }
    *body_r = body;
    *size_r = body->size;
    return 0;
}

int64_t read_body_read(void *user, uint64_t offset, void *p, size_t n)
{
    struct open_body *body = user;
    int64_t got;

    if (offset >= body->size)
        return 0;
    if (n > body->size - offset)
        n = (size_t)(body->size - offset);
    if (body->octets != NULL) {
        memcpy(p, body->octets + offset, n);
        return (int64_t)n;
    }
    got = io_read_all(body->s->io, body->fd, p, n, offset);
    if (got < 0)
        return BARID_EIO;
    if ((size_t)got < n)
        return BARID_ECORRUPT;
    if (offset <= body->checked && offset + n > body->checked) {
        size_t skip = (size_t)(body->checked - offset);

        body->crc = crc32c(body->crc, (char *)p + skip, n - skip);
        body->checked = offset + n;
        if (body->checked == body->size && body->crc != body->want && checks(body->s))
            return BARID_ECORRUPT;
    }
    return got;
}

void read_body_close(void *user)
{
    struct open_body *body = user;

    if (body == NULL)
        return;
    if (body->fd >= 0)
        body->s->io->close(body->s->io->user, body->fd);
    mem_free(body->s->mem, body->octets);
    mem_free(body->s->mem, body);
}
