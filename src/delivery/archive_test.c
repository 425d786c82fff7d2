/* delivery/archive_test.c: what is kept, that nothing is replaced, escapes, each allocation
 * failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"
#include "base/testing.h"
#include "delivery/archive_open.h"
#include "delivery/delivery_testing.h"

#define HEADER "Return-Path: <kept@example.net>\r\nSubject: x\r\n"
#define BODY   "bare\rcr\nlf\r\n"
#define FILE_  "root/2026/11/0000000000011.eml"

static struct transport *open_archive(struct world *w, const barid_mem *mem)
{
    const struct archive_options o = {.root = w->root, .mem = mem};
    struct transport *t = NULL;
    struct err err;

    assert_true(archive_open(&t, &o, &err) == 0 || mem != NULL);
    w->unit = (struct unit){.kind = DISPOSITION_ARCHIVE, .target = BARID_S("2026/11")};
    return t;
}

static void assert_kept(struct world *w, const char *want)
{
    struct buf got;

    buf_init(&got, NULL, 0);
    read_file(world_path(w, FILE_), &got);
    assert_true(slice_eq(buf_slice(&got), slice_str(want)));
    buf_deinit(&got);
}

static void test_keeps_the_octets(void **state)
{
    struct delivery_result r;
    struct transport *t;
    struct world w;
    struct stat st;

    (void)state;
    world_init(&w, HEADER, BARID_S(BODY));
    t = open_archive(&w, NULL);
    assert_int_equal(t->kind, DISPOSITION_ARCHIVE);
    t->deliver(t, &w.d, &r);
    assert_int_equal(r.status, DELIVERY_DONE);
    assert_string_equal(r.where, "2026/11/0000000000011.eml");
    assert_kept(&w, HEADER "\r\n" BODY);
    assert_int_equal(stat(world_path(&w, FILE_), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(count_files(w.root), 1);
    t->close(t);
    world_deinit(&w);
}

static void test_edited_header_without_blank_line(void **state)
{
    struct delivery_result r;
    struct transport *t;
    struct world w;

    (void)state;
    world_init(&w, "A: b\r\n", BARID_S(""));
    w.m.has_blank_line = false;
    assert_int_equal(header_add(&w.m.header, BARID_S("X"), BARID_S("y"), 0), 0);
    header_remove(&w.m.header, BARID_S("A"));
    t = open_archive(&w, NULL);
    t->deliver(t, &w.d, &r);
    assert_kept(&w, "X: y\r\n");
    t->close(t);
    world_deinit(&w);
}

static void test_never_replaces(void **state)
{
    struct delivery_result r;
    struct transport *t;
    struct world w;

    (void)state;
    world_init(&w, HEADER, BARID_S(BODY));
    t = open_archive(&w, NULL);
    t->deliver(t, &w.d, &r);
    t->deliver(t, &w.d, &r); /* the same again: an attempt whose report was lost */
    assert_int_equal(r.status, DELIVERY_DONE);
    assert_string_equal(r.reply, "250 2.0.0 stored by an earlier attempt");
    w.body = BARID_S("another!\r\n..");
    t->deliver(t, &w.d, &r);
    assert_int_equal(r.status, DELIVERY_AGAIN);
    assert_non_null(strstr(r.reply, "another file has this name"));
    w.d.body_size -= 4; /* a beginning of it is not the same either */
    w.body = BARID_S(BODY);
    t->deliver(t, &w.d, &r);
    assert_int_equal(r.status, DELIVERY_AGAIN);
    assert_kept(&w, HEADER "\r\n" BODY);
    assert_int_equal(count_files(w.root), 1);
    t->close(t);
    world_deinit(&w);
}

/* Where the file should go stands a link to a file outside: it is neither followed nor
 * replaced. */
static void test_link_as_file(void **state)
{
    struct delivery_result r;
    struct transport *t;
    struct world w;
    struct buf got;
    int fd;

    (void)state;
    world_init(&w, HEADER, BARID_S(BODY));
    t = open_archive(&w, NULL);
    assert_int_equal(mkdir(world_path(&w, "root/2026"), 0700), 0);
    assert_int_equal(mkdir(world_path(&w, "root/2026/11"), 0700), 0);
    fd = open(world_path(&w, "victim"), O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "safe", 4), 4);
    close(fd);
    assert_int_equal(symlink("../../../victim", world_path(&w, FILE_)), 0);
    assert_int_equal(
        symlink("../../../victim", world_path(&w, "root/2026/11/.0000000000011.part4")), 0);
    t->deliver(t, &w.d, &r);
    assert_int_equal(r.status, DELIVERY_AGAIN);
    buf_init(&got, NULL, 0);
    read_file(world_path(&w, "victim"), &got);
    assert_true(slice_eq(buf_slice(&got), BARID_S("safe")));
    buf_deinit(&got);
    t->close(t);
    world_deinit(&w);
}

static void test_escapes(void **state)
{
    static const char *const targets[] = {"../out", "link", "link/deep", "/tmp", ""};

    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
        struct delivery_result r;
        struct transport *t;
        struct world w;

        world_init(&w, HEADER, BARID_S(BODY));
        t = open_archive(&w, NULL);
        assert_int_equal(mkdir(world_path(&w, "out"), 0700), 0);
        assert_int_equal(symlink("../out", world_path(&w, "root/link")), 0);
        w.unit.target = slice_str(targets[i]);
        t->deliver(t, &w.d, &r);
        assert_int_equal(r.status, DELIVERY_AGAIN);
        assert_memory_equal(r.reply, "451 4.3.5 ", 10);
        assert_int_equal(count_files(w.dir), 0);
        t->close(t);
        world_deinit(&w);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    stands_no_memory(open_archive, HEADER, BARID_S(BODY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_the_octets),
        cmocka_unit_test(test_edited_header_without_blank_line),
        cmocka_unit_test(test_never_replaces),
        cmocka_unit_test(test_link_as_file),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
