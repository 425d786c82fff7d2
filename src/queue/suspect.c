/* queue/suspect.c: see suspect.h. */
#include "queue/suspect.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"
#include "message/mail.h"

/* A slot is free while id is 0. A process that is killed between the two stores leaves an id with another group: check says so. */
struct suspect_slot {
    _Atomic uint64_t id;
    uint32_t group;
    uint32_t check;
};
_Static_assert(sizeof(struct suspect_slot) == 16, "the file's format");

struct suspects {
    struct queue *queue;
    struct suspect_slot *slots;
    size_t at; /* where the search for a free one begins */
};

#define FILE_SIZE (SUSPECTS_MAX * sizeof(struct suspect_slot))
#define CHECK     0x42617269u

static uint32_t check_of(uint64_t id, uint32_t group)
{
    return (uint32_t)id ^ (uint32_t)(id >> 32) ^ group ^ CHECK;
}

/* --- the file --- */

static int map(struct suspects *s, const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    void *p = MAP_FAILED;
    int e = fd >= 0 ? posix_fallocate(fd, 0, (off_t)FILE_SIZE) : errno;

    if (e == 0 && (p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED)
        e = errno;
    if (e != 0) {
        if (fd >= 0)
            close(fd);
        return err_errno(err, BARID_EIO, e, "%s: cannot be made or mapped", path);
    }
    close(fd);
    s->slots = p;
    return 0;
}

/* --- what was left --- */

static size_t suspects_of(const struct spool_loaded *loaded, uint32_t group, struct unit_change *changes)
{
    size_t n = 0;

    for (size_t i = 0; i < loaded->n_units; i++) {
        const struct unit_state *u = &loaded->units[i];

        if (u->status != UNIT_PENDING || u->suspect || (group != SPOOL_GROUP_NONE && u->group != group))
            continue;
        changes[n] = (struct unit_change){.unit = (uint32_t)i, .state = *u};
        changes[n].state.suspect = true;
        changes[n++].state.reply = BARID_S("451 4.4.2 this server was stopped while the answer was awaited: it may have been delivered");
    }
    return n;
}

static size_t mark_units(struct queue *q, uint64_t id, uint32_t group)
{
    struct spool *s = q->o.spool;
    struct spool_loaded loaded;
    struct unit_change *changes;
    size_t n = 0;

    if (s->ops->load(s, id, &loaded) != 0)
        return 0; /* done, and recorded */
    changes = mem_array(q->o.mem, loaded.n_units, sizeof(*changes));
    if (changes != NULL)
        n = suspects_of(&loaded, group, changes);
    if (n > 0 && s->ops->change(s, id, changes, n, NULL, NULL) != 0)
        n = 0;
    mem_free(q->o.mem, changes);
    s->ops->loaded_free(&loaded);
    return n;
}

static void take_left(struct suspects *s)
{
    for (size_t i = 0; i < SUSPECTS_MAX; i++) {
        uint64_t id = atomic_load(&s->slots[i].id);
        uint32_t group = s->slots[i].group;
        char text[MAIL_ID_TEXT_SIZE];
        size_t n;

        if (id == 0 || s->slots[i].check != check_of(id, group))
            continue;
        n = mark_units(s->queue, id, group);
        mail_id_text(id, text);
        if (n > 0)
            log_record(s->queue->o.log, LOG_LEVEL_WARN, "queue",
                       "was being sent when the server was stopped: the next attempt may deliver it again",
                       LOG_CSTR("id", text), LOG_INT("units", n));
    }
    memset((void *)s->slots, 0, FILE_SIZE);
}

/* --- life --- */

int suspects_new(struct suspects **s_r, struct queue *q, const char *path, struct err *err)
{
    struct suspects *s = mem_zalloc(q->o.mem, sizeof(*s));
    int rc;

    *s_r = NULL;
    if (s == NULL)
        return err_set(err, BARID_ENOMEM, "queue: out of memory");
    s->queue = q;
    rc = map(s, path, err);
    if (rc < 0) {
        mem_free(q->o.mem, s);
        return rc;
    }
    take_left(s);
    *s_r = s;
    return 0;
}

void suspects_del(struct suspects **s_p)
{
    struct suspects *s = *s_p;

    if (s == NULL)
        return;
    *s_p = NULL;
    munmap((void *)s->slots, FILE_SIZE);
    mem_free(s->queue->o.mem, s);
}

struct suspect_slot *suspect_mark(struct suspects *s, uint64_t id, uint32_t group)
{
    for (size_t i = 0; s != NULL && i < SUSPECTS_MAX; i++) {
        struct suspect_slot *slot = &s->slots[(s->at + i) % SUSPECTS_MAX];

        if (atomic_load_explicit(&slot->id, memory_order_relaxed) != 0)
            continue;
        s->at = (s->at + i + 1) % SUSPECTS_MAX;
        slot->group = group;
        slot->check = check_of(id, group);
        atomic_store_explicit(&slot->id, id, memory_order_release);
        return slot;
    }
    return NULL;
}

void suspect_clear(struct suspect_slot *slot)
{
    if (slot != NULL)
        atomic_store_explicit(&slot->id, 0, memory_order_release);
}
