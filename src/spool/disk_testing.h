/*
 * spool/disk_testing.h: a disk in memory behind struct io_table that knows what would survive a
 * power cut: sectors written but not synced, names changed but their directory not synced. It
 * stops at the n-th change, fails at the n-th call, writes short, is full. Whoever listens is
 * told every change, and may play them again on another disk. Test code only.
 *
 * The spool is the directory "spool" of the process; names are told relative to it, so that
 * its own is "../spool".
 */
#ifndef SPOOL_DISK_TESTING_H
#define SPOOL_DISK_TESTING_H

#include <pthread.h>

#include "base/rng.h"
#include "spool/io_table.h"

#define DISK_NAME 96

struct disk_file;
struct disk_name;

enum disk_op {
    DISK_MAKE,  /* an empty file under the name `to` */
    DISK_MKDIR, /* a directory */
    DISK_EMPTY, /* size 0 */
    DISK_WRITE,
    DISK_SIZE,     /* n octets of space */
    DISK_SYNC,     /* file */
    DISK_SYNC_DIR, /* the names in `to` */
    DISK_RENAME,
    DISK_UNLINK, /* from */
};

/* One change as it was made. */
struct disk_event {
    enum disk_op op;
    size_t file;
    char from[DISK_NAME], to[DISK_NAME];
    const void *p;
    size_t n;
    uint64_t offset;
};

struct disk {
    struct io_table io;
    pthread_mutex_t lock;
    struct disk_file **files; /* all there ever were, by number */
    size_t n_files;
    struct disk_name *names; /* as they are, oldest first */
    size_t n_names;
    struct disk_name
        *lasting; /* as they would be after a power cut that keeps nothing unsynced */
    size_t n_lasting;
    struct disk_change *changes; /* of names, not yet lasting, in order */
    size_t n_changes;
    struct disk_handle {
        struct disk_file *file;
        char dir[DISK_NAME];
        bool used;
    } handles[512];
    uint64_t n_calls; /* calls that change something, so far */
    uint64_t stop_at; /* after that many nothing works any more; 0 = never */
    uint64_t fail_at; /* that one fails, once; 0 = none */
    uint64_t full_at; /* from that one on no file can be made or grow; 0 = never */
    uint64_t n_touches, touch_fail_at; /* the same, of all calls that can fail */
    int fail_with;                     /* errno value */
    uint64_t short_every;              /* of writes, every that many is short; 0 = some are */
    size_t short_to;                   /* octets; 0 = half of it */
    uint64_t n_writes;
    bool stopped, failed;
    bool hides_full;         /* as with a quota: free_space knows nothing of it */
    uint64_t capacity, used; /* octets allocated to files; capacity 0 = no end */
    uint64_t written;        /* octets */
    struct rng_seeded rng;
    char found[DISK_NAME]; /* by disk_name_at */
    /* Told every change once it is made, the disk's lock held; NULL = nobody. */
    void (*record)(void *user, const struct disk_event *e);
    void *record_user;
};

void disk_init(struct disk *d);
void disk_deinit(struct disk *d);
bool disk_stopped(struct disk *d);
/* Makes a change that another disk recorded, given all that came before it there. */
void disk_play(struct disk *d, const struct disk_event *e);

/* What of the unsynced a power cut leaves. Of names DISK_MIX keeps the first ones, as a journal
 * would, DISK_GARBLE any. */
enum disk_fate { DISK_LOSE, DISK_KEEP, DISK_MIX, DISK_GARBLE };
/* The disk as the next start finds it: unsynced sectors lost, kept, some of each, or also
 * filled with noise. */
void disk_cut_power(struct disk *d, enum disk_fate fate, uint64_t seed);
/* Another disk (not yet initialized): what d would be after a power cut, names and sectors each
 * with a fate of their own. It lives off the memory of d: d must not change before it is gone. */
void disk_image(struct disk *image, struct disk *d, enum disk_fate sectors,
                enum disk_fate names, uint64_t seed);
/* What is unsynced: sectors (or sizes), names. */
void disk_unsynced(struct disk *d, bool *sectors_r, size_t *names_r);

/* Content of a file, to be damaged by a test; NULL = no such file. */
uint8_t *disk_content(struct disk *d, const char *name, size_t *size_r);
size_t disk_unlink_matching(struct disk *d, const char *ending); /* how many */
/* The k-th name that begins with prefix and ends with ending, until the next call; NULL = no
 * more. */
const char *disk_name_at(struct disk *d, const char *prefix, const char *ending, size_t k);

#endif
