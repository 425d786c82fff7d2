/* delivery/delivery_testing.h: a temporary root, a mail with a body in memory, and reading
 * back. Test code only. */
#ifndef DELIVERY_DELIVERY_TESTING_H
#define DELIVERY_DELIVERY_TESTING_H

#include "interface/transport.h"

struct world {
    char dir[64];  /* removed by world_deinit */
    char root[80]; /* dir/root: the root that transports get; made by them */
    struct arena arena;
    struct session_facts facts;
    struct mail m;
    struct unit unit;
    size_t rcpts[2];
    barid_slice body;
    int body_error; /* given back by body_read instead of octets */
    uint64_t body_fails_at;
    struct delivery d;
};

/* Recipients anna@example.com and bert@example.com, header and body given, target
 * "example.com/anna". */
void world_init(struct world *w, const char *header, barid_slice body);
void world_deinit(struct world *w);
/* Path below dir, printf style. Static per thread until the next call. */
const char *world_path(struct world *w, const char *fmt, ...) BARID_PRINTF(2, 3);
/* The file's octets; aborts when it cannot be read. */
void read_file(const char *path, struct buf *out);
/* A delivery with each allocation failing: put off with nothing left behind, or done. open gives
 * NULL where it found no memory. */
void stands_no_memory(struct transport *(*open)(struct world *w, const barid_mem *mem),
                      const char *header, barid_slice body);
/* Regular files below a directory, recursively. */
size_t count_files(const char *path);

#endif
