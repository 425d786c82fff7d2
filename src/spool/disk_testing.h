/*
 * spool/disk_testing.h: a disk in memory behind struct io_table that knows what would survive a
 * power cut: sectors written but not synced, names changed but their directory not synced. It
 * stops at the n-th change, fails at the n-th, or is full. Test code only.
 */
#ifndef SPOOL_DISK_TESTING_H
#define SPOOL_DISK_TESTING_H

#include <pthread.h>

#include "base/rng.h"
#include "spool/io_table.h"

struct disk_file;
struct disk_name;

struct disk {
    struct io_table io;
    pthread_mutex_t lock;
    struct disk_file *files; /* all there ever were */
    struct disk_name *names; /* as they are, oldest first */
    size_t n_names;
    struct disk_name
        *lasting; /* as they would be after a power cut that keeps nothing unsynced */
    size_t n_lasting;
    struct disk_change *changes; /* of names, not yet lasting, in order */
    size_t n_changes;
    struct disk_handle {
        struct disk_file *file;
        char dir[64];
        bool used;
    } handles[512];
    uint64_t n_calls; /* calls that change something, so far */
    uint64_t stop_at; /* after that many nothing works any more; 0 = never */
    uint64_t fail_at; /* that one fails, once; 0 = none */
    int fail_with;    /* errno value */
    bool stopped, failed;
    uint64_t capacity, used; /* octets allocated to files; capacity 0 = no end */
    uint64_t written;        /* octets */
    struct rng_seeded rng;
    char found[96]; /* by disk_name_at */
};

void disk_init(struct disk *d);
void disk_deinit(struct disk *d);
bool disk_stopped(struct disk *d);

/* What of the unsynced a power cut leaves. */
enum disk_fate { DISK_LOSE, DISK_KEEP, DISK_MIX, DISK_GARBLE };
/* The disk as the next start finds it: unsynced sectors lost, kept, some of each, or also
 * filled with noise. */
void disk_cut_power(struct disk *d, enum disk_fate fate, uint64_t seed);

/* Content of a file, to be damaged by a test; NULL = no such file. */
uint8_t *disk_content(struct disk *d, const char *name, size_t *size_r);
size_t disk_unlink_matching(struct disk *d, const char *ending); /* how many */
/* The k-th name that begins with prefix and ends with ending, until the next call; NULL = no
 * more. */
const char *disk_name_at(struct disk *d, const char *prefix, const char *ending, size_t k);

#endif
