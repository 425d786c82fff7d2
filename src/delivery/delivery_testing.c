/* delivery/delivery_testing.c: a temporary root and a mail. Test code only. */
#include "delivery/delivery_testing.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "base/testing.h"
#include "message/message_testing.h"

static int64_t body_read(void *user, uint64_t offset, void *p, size_t n)
{
    struct world *w = user;

    if (w->body_error != 0 && offset >= w->body_fails_at)
        return w->body_error;
    if (offset >= w->body.n)
        return 0;
    if (n > w->body.n - offset)
        n = w->body.n - offset;
    if (n > 1000) /* short reads are allowed */
        n = 1000;
    memcpy(p, w->body.p + offset, n);
    return (int64_t)n;
}

void world_init(struct world *w, const char *header, barid_slice body)
{
    *w = (struct world){.body = body};
    strcpy(w->dir, "/tmp/barid-delivery-XXXXXX");
    if (mkdtemp(w->dir) == NULL)
        abort();
    snprintf(w->root, sizeof(w->root), "%s/root", w->dir);
    arena_init(&w->arena, NULL, 0);
    if (mail_init(&w->m, &w->arena, &w->facts, INT64_C(1795173699000042)) < 0 ||
        mail_set_header(&w->m, slice_str(header), true) < 0 ||
        !test_sender(&w->m, "sender@example.org") ||
        test_rcpt(&w->m, "anna@example.com") == NULL ||
        test_rcpt(&w->m, "bert@example.com") == NULL)
        abort();
    w->m.id = 33;
    w->unit = (struct unit){.kind = DISPOSITION_STORE,
                            .target = BARID_S("example.com/anna"),
                            .rcpts = w->rcpts,
                            .n_rcpts = 1};
    w->d = (struct delivery){.mail = &w->m,
                             .unit = &w->unit,
                             .unit_index = 4,
                             .body_size = body.n,
                             .body_read = body_read,
                             .body = w,
                             .now_us = w->m.received_us};
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void world_deinit(struct world *w)
{
    arena_deinit(&w->arena);
    nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *world_path(struct world *w, const char *fmt, ...)
{
    static _Thread_local char path[1024];
    int n = snprintf(path, sizeof(path), "%s/", w->dir);
    va_list args;

    va_start(args, fmt);
    vsnprintf(path + n, sizeof(path) - (size_t)n, fmt, args);
    va_end(args);
    return path;
}

void read_file(const char *path, struct buf *out)
{
    char chunk[4096];
    int fd = open(path, O_RDONLY);
    ssize_t n;

    if (fd < 0)
        abort();
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        if (buf_append(out, slice_of(chunk, (size_t)n)) < 0)
            abort();
    close(fd);
}

static _Thread_local size_t counted;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)st;
    (void)ftw;
    counted += type == FTW_F;
    return 0;
}

size_t count_files(const char *path)
{
    counted = 0;
    nftw(path, count_one, 16, FTW_PHYS);
    return counted;
}

void stands_no_memory(struct transport *(*open)(struct world *w, const barid_mem *mem),
                      const char *header, barid_slice body)
{
    struct fail_mem f = {0};

    while (fail_mem_next(&f)) {
        struct delivery_result r = {.status = DELIVERY_AGAIN};
        struct transport *t;
        struct world w;

        world_init(&w, header, body);
        t = open(&w, &f.mem);
        if (t != NULL) {
            t->deliver(t, &w.d, &r);
            t->close(t);
        }
        assert_int_equal(r.status, f.failed ? DELIVERY_AGAIN : DELIVERY_DONE);
        assert_int_equal(count_files(w.root), f.failed ? 0 : 1);
        world_deinit(&w);
    }
}
