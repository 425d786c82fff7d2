/*
 * spool/log_recover.c: what a start finds in seg/: spares, segments, sidecars, damage.
 *
 * Headers and OPEN records first, of all segments: they say where the segment before ends,
 * which tells damage from a torn tail, and no id below their floor is given out again. Then
 * the records of each, by its sidecar or by reading it. Nothing is ever appended to a segment
 * that was found: half a batch can never be joined with what comes later.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "spool/io_table.h"
#include "spool/log_int.h"

#define DAMAGED_FILES_MAX 256 /* of one start: damage must not fill the disk */

struct found {
    const barid_mem *mem;
    uint64_t *numbers; /* of segments */
    size_t n, cap;
    struct store *s;
    int err;
};

/* What a segment's first blocks say about the one before. */
struct before {
    uint64_t segno, end;
};

static void each_name(void *arg, const char *name)
{
    struct found *f = arg;
    struct store *s = f->s;
    char *end;
    uint64_t number;

    if (strncmp(name, "spare.", 6) == 0) {
        number = strtoull(name + 6, &end, 16);
        if (*end == '\0' && s->n_spares < LOG_SPARES_MAX)
            s->spares[s->n_spares++] = number;
        if (*end == '\0' && number > s->spare_count)
            s->spare_count = number;
        return;
    }
    number = strtoull(name, &end, 16);
    if (end != name + 16 || strcmp(end, ".log") != 0)
        return;
    if (f->n == f->cap) {
        size_t cap = f->cap == 0 ? 64 : f->cap * 2;
        uint64_t *grown = mem_realloc(f->mem, f->numbers, cap * sizeof(*grown));

        if (grown == NULL) {
            f->err = BARID_ENOMEM;
            return;
        }
        f->numbers = grown;
        f->cap = cap;
    }
    f->numbers[f->n++] = number;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void floor_of(struct store *s, uint64_t id)
{
    if (id > s->last_id)
        s->last_id = id;
}

/* A spare keeps the header of its last life: its floor still counts. False: it is shorter than a
 * segment, as the power went while it was made: there is no room behind it. */
static bool read_spare(struct store *s, const char *name)
{
    struct log_segment_header h;
    uint8_t block[LOG_BLOCK];
    uint64_t size = 0;
    bool whole;
    int fd = s->io->open(s->io->user, s->seg_dir, name, O_RDONLY, 0);

    if (fd < 0)
        return true;
    if (io_read_all(s->io, fd, block, sizeof(block), 0) == LOG_BLOCK &&
        log_header_decode(&h, block) == 0)
        floor_of(s, h.id_floor);
    whole = s->io->size(s->io->user, fd, &size) < 0 || size >= s->options.segment_size;
    s->io->close(s->io->user, fd);
    return whole;
}

static void read_spares(struct store *s)
{
    char name[LOG_NAME_SIZE];

    for (uint32_t i = s->n_spares; i-- > 0;) {
        snprintf(name, sizeof(name), "spare.%016llx", (unsigned long long)s->spares[i]);
        if (read_spare(s, name))
            continue;
        s->spares[i] = s->spares[--s->n_spares];
        if (!s->options.read_only)
            s->io->unlink(s->io->user, s->seg_dir, name);
    }
}

void damaged_keep(struct store *s, const struct log_segment *seg, uint64_t off, uint64_t len,
                  const char *what)
{
    char name[80];
    uint8_t *octets = NULL;
    int fd = -1;

    s->stats.damaged++;
    log_record(s->log, LOG_LEVEL_ERROR, "spool", what, LOG_INT("segment", seg->segno),
               LOG_INT("offset", off), LOG_INT("octets", len));
    if (s->options.read_only || s->damaged_files++ >= DAMAGED_FILES_MAX)
        return;
    snprintf(name, sizeof(name), "damaged/%016llx.%08llx", (unsigned long long)seg->segno,
             (unsigned long long)off);
    if ((octets = mem_alloc(s->mem, (size_t)len)) != NULL &&
        io_read_all(s->io, seg->fd, octets, (size_t)len, off) == (int64_t)len)
        fd = s->io->open(s->io->user, s->dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd >= 0) {
        if (io_write_block(s->io, fd, octets, (size_t)len, 0) < 0)
            log_record(s->log, LOG_LEVEL_WARN, "spool", "damaged octets could not be kept",
                       LOG_CSTR("file", name));
        s->io->close(s->io->user, fd);
    }
    mem_free(s->mem, octets);
}

/* A file that is no segment of ours at all: out of the way, for a person to look at. */
static int set_file_aside(struct store *s, uint64_t number)
{
    char from[48], to[48];

    s->stats.damaged++;
    snprintf(from, sizeof(from), "seg/%016llx.log", (unsigned long long)number);
    snprintf(to, sizeof(to), "damaged/%016llx.log", (unsigned long long)number);
    log_record(s->log, LOG_LEVEL_ERROR, "spool",
               "segment set aside: neither header nor first record is readable",
               LOG_CSTR("file", to));
    if (s->options.read_only)
        return 0;
    return s->io->rename(s->io->user, s->dir, from, to) < 0 ? BARID_EIO : 0;
}

/* Identity of a segment: its header, or when that is damaged its OPEN record. */
static int identify(struct store *s, uint64_t number, const uint8_t *blocks,
                    struct log_segment_header *h, struct before *before)
{
    struct log_record open;
    bool has_open = log_record_decode(&open, blocks + LOG_BLOCK) == 0 &&
                    open.type == LOG_OPEN && open.body_id == number;
    int rc = log_header_decode(h, blocks);

    if (rc == BARID_EVERSION)
        return rc;
    if (rc == 0 && h->segno != number)
        rc = BARID_ECORRUPT;
    if (rc != 0 && has_open) {
        s->stats.damaged++;
        log_record(s->log, LOG_LEVEL_ERROR, "spool",
                   "header damaged: taken from the first record", LOG_INT("segment", number));
        *h = (struct log_segment_header){.segno = number, .nonce = open.nonce};
        rc = 0;
    }
    if (rc != 0)
        return rc;
    floor_of(s, h->id_floor);
    *before = (struct before){0};
    if (has_open && open.nonce == h->nonce)
        *before = (struct before){(uint64_t)open.next_us, open.body_len};
    return 0;
}

static int open_segment(struct store *s, uint64_t number, struct before *before, struct err *e)
{
    uint8_t blocks[2 * LOG_BLOCK] = {0};
    struct log_segment_header h;
    struct log_segment *seg;
    char name[LOG_NAME_SIZE];
    int fd, rc;

    segment_name(number, ".log", name);
    fd =
        s->io->open(s->io->user, s->seg_dir, name, s->options.read_only ? O_RDONLY : O_RDWR, 0);
    if (fd < 0)
        return err_errno(e, BARID_EIO, -fd, "%s/seg/%s: cannot open", s->options.dir, name);
    if (io_read_all(s->io, fd, blocks, sizeof(blocks), 0) < 0) {
        s->io->close(s->io->user, fd);
        return err_set(e, BARID_EIO, "%s/seg/%s: cannot read", s->options.dir, name);
    }
    rc = identify(s, number, blocks, &h, before);
    if (number > s->last_segno)
        s->last_segno = number;
    if (rc == 0 && (rc = segment_new(s, number, h.nonce, fd, &seg)) == 0) {
        seg->sealed = true;
        return 0;
    }
    s->io->close(s->io->user, fd);
    if (rc == BARID_ECORRUPT)
        return set_file_aside(s, number);
    if (rc == BARID_EVERSION)
        return err_set(
            e, rc, "%s/seg/%s was written by a newer version: run that, or move the spool away",
            s->options.dir, name);
    return err_set(e, rc, "%s: %s", s->options.dir, barid_strerror(rc));
}

/* --- records */

static int replay_rows(struct replay *r, struct log_segment *seg, const uint8_t *rows,
                       uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct log_record rec;
        uint32_t off;
        int rc = log_sidecar_row_decode(&off, &rec, rows + (size_t)i * LOG_SIDECAR_ROW);

        if (rc == 0)
            rc = replay_record(r, seg, off, &rec);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static bool sidecar_fits(const struct log_sidecar_head *h, const struct log_segment *seg,
                         uint64_t file_size, uint64_t known_end)
{
    return h->segno == seg->segno && h->nonce == seg->nonce &&
           (known_end == 0 || h->end == known_end) &&
           file_size == LOG_SIDECAR_HEAD + (uint64_t)h->rows * LOG_SIDECAR_ROW;
}

/* True: the records were taken from it, or *rc_r says why not even that can go on. */
static bool by_sidecar(struct replay *r, struct log_segment *seg, uint64_t known_end, int *rc_r)
{
    struct store *s = r->s;
    uint8_t first[LOG_SIDECAR_HEAD], *rows = NULL;
    struct log_sidecar_head h;
    char name[LOG_NAME_SIZE];
    uint64_t size;
    bool good;
    int fd;

    segment_name(seg->segno, ".idx", name);
    fd = s->io->open(s->io->user, s->seg_dir, name, O_RDONLY, 0);
    if (fd < 0)
        return false;
    good = s->io->size(s->io->user, fd, &size) == 0 &&
           io_read_all(s->io, fd, first, sizeof(first), 0) == sizeof(first) &&
           log_sidecar_decode(&h, first) == 0 && sidecar_fits(&h, seg, size, known_end);
    size -= good ? sizeof(first) : 0;
    good = good && (rows = mem_alloc(s->mem, size > 0 ? (size_t)size : 1)) != NULL &&
           io_read_all(s->io, fd, rows, (size_t)size, sizeof(first)) == (int64_t)size &&
           crc32c(0, rows, (size_t)size) == h.rows_crc;
    s->io->close(s->io->user, fd);
    if (good) {
        *rc_r = replay_rows(r, seg, rows, h.rows);
        seg->end = h.end;
        seg->sidecar = true;
    }
    mem_free(s->mem, rows);
    return good;
}

static int replay_scan(struct replay *r, struct log_segment *seg, const uint8_t *p, size_t n,
                       uint64_t known_end)
{
    struct store *s = r->s;
    struct log_scan scan;
    struct log_record rec;
    size_t off, length;
    enum log_found found;
    int rc = 0;

    log_scan_init(&scan, p, n, seg->nonce, known_end);
    scan.trust = ((s->options.broken & SPOOL_BROKEN_NO_NONCE) != 0 ? LOG_TRUST_NONCE : 0) |
                 ((s->options.broken & SPOOL_BROKEN_NO_CRC) != 0 ? LOG_TRUST_CRC : 0);
    while (rc == 0 && (found = log_scan_next(&scan, &rec, &off, &length)) != LOG_FOUND_END) {
        if (found == LOG_FOUND_DAMAGE) {
            damaged_keep(s, seg, off, length, "damaged octets set aside");
            continue;
        }
        rc = replay_record(r, seg, (uint32_t)off, &rec);
        segment_add_row(s, seg, (uint32_t)off, &rec);
        seg->end = off + length;
    }
    return rc;
}

static int by_scan(struct replay *r, struct log_segment *seg, uint64_t known_end)
{
    struct store *s = r->s;
    uint64_t size = 0;
    uint8_t *p;
    int64_t got;
    int rc;

    if (s->io->size(s->io->user, seg->fd, &size) < 0)
        return BARID_EIO;
    if (size > UINT32_MAX)
        size = UINT32_MAX; /* offsets end there; only states longer than a segment make it longer */
    if (known_end != 0 && size > known_end)
        size = known_end; /* behind it is only what earlier lives of the file left */
    if ((p = mem_alloc(s->mem, size > 0 ? (size_t)size : 1)) == NULL)
        return BARID_ENOMEM;
    got = io_read_all(s->io, seg->fd, p, (size_t)size, 0);
    rc = got < 0 ? BARID_EIO : replay_scan(r, seg, p, (size_t)got, known_end);
    mem_free(s->mem, p);
    /* The last process may have died before its sync: what counts from now on must be on the
     * disk. */
    if (rc == 0 && known_end == 0 && seg->end > LOG_BLOCK && !s->options.read_only &&
        s->io->datasync(s->io->user, seg->fd) < 0)
        rc = BARID_EIO;
    return rc;
}

static uint64_t end_known(const struct before *before, size_t n, uint64_t segno)
{
    for (size_t i = n; i-- > 0;) {
        if (before[i].segno == segno)
            return before[i].end;
    }
    return 0;
}

static int replay_all(struct store *s, const struct before *before, size_t n)
{
    struct replay r = {.s = s};
    int rc = 0;

    /* Slots were given in order of number. */
    for (uint32_t slot = 1; slot < s->n_slots && rc == 0; slot++) {
        struct log_segment *seg = s->segments[slot];
        uint64_t end = end_known(before, n, seg->segno);

        if (!by_sidecar(&r, seg, end, &rc))
            rc = by_scan(&r, seg, end);
        if (seg->end > LOG_BLOCK) {
            s->prev_segno = seg->segno;
            s->prev_end = seg->end;
        }
    }
    return rc != 0 ? rc : replay_end(&r);
}

int recover(struct store *s, struct err *e)
{
    struct found f = {.mem = s->mem, .s = s};
    struct before *before = NULL;
    int rc = s->io->list(s->io->user, s->seg_dir, each_name, &f);

    rc = rc < 0 ? err_errno(e, BARID_EIO, -rc, "%s/seg: cannot read", s->options.dir) : f.err;
    if (rc == 0 && (before = mem_array(s->mem, f.n > 0 ? f.n : 1, sizeof(*before))) == NULL)
        rc = BARID_ENOMEM;
    if (rc == 0 && f.n > 0)
        qsort(f.numbers, f.n, sizeof(*f.numbers), by_number);
    if (rc == 0)
        read_spares(s);
    for (size_t i = 0; i < f.n && rc == 0; i++)
        rc = open_segment(s, f.numbers[i], &before[i], e);
    if (rc == 0)
        rc = replay_all(s, before, f.n);
    mem_free(s->mem, before);
    mem_free(s->mem, f.numbers);
    if (rc != 0 && (e == NULL || e->code == 0))
        err_set(e, rc, "%s: cannot recover: %s", s->options.dir, barid_strerror(rc));
    return rc;
}
