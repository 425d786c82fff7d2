/* spool/disk_int_testing.h: the disk in memory from inside. disk_testing.c has its calls,
 * disk_change_testing.c its changes, disk_power_testing.c what a power cut leaves of it. */
#ifndef SPOOL_DISK_INT_TESTING_H
#define SPOOL_DISK_INT_TESTING_H

#include "spool/disk_testing.h"

#define SECTOR 512

struct disk_file {
    size_t number;
    uint8_t *now, *lasting; /* of cap octets */
    bool *dirty;            /* by sector */
    bool unsynced;          /* some sector is dirty */
    bool borrowed; /* now and lasting are one, and another disk's: copied before a change */
    bool is_dir;
    size_t size, lasting_size, cap;
};

struct disk_name {
    char name[DISK_NAME];
    struct disk_file *file;
};

/* from is gone, to is there; one of them may be empty. */
struct disk_change {
    char from[DISK_NAME], to[DISK_NAME];
    struct disk_file *file;
};

void *disk_grow(void *p, size_t n);
struct disk_file *disk_new_file(struct disk *d);
size_t disk_find(const struct disk_name *names, size_t n, const char *name); /* n = none */
void disk_set_name(struct disk_name **names, size_t *n, const char *name,
                   struct disk_file *file);
struct disk_file *disk_named(struct disk *d, const char *name); /* NULL = none */
void disk_drop_name(struct disk_name *names, size_t *n, const char *name);
/* Every change of the disk, also one that is played again. Lock held. */
void disk_apply(struct disk *d, const struct disk_event *e);

#endif
