/* delivery/outfile_test.c: line endings in any cut, large files, errors that stick. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "base/testing.h"
#include "delivery/delivery_testing.h"
#include "delivery/outfile.h"

struct run {
    struct world w;
    struct outfile o;
    const char *want;
    bool lf;
};

static void begin(void *user)
{
    struct run *r = user;
    int fd;

    world_init(&r->w, "", BARID_S(""));
    fd = open(world_path(&r->w, "file"), O_CREAT | O_WRONLY, 0600);
    assert_int_equal(outfile_init(&r->o, NULL, fd, r->lf), 0);
}

static void feed(void *user, const char *p, size_t n)
{
    struct run *r = user;

    outfile_write(&r->o, slice_of(p, n));
}

static void end(void *user)
{
    struct run *r = user;
    struct buf got;

    buf_init(&got, NULL, 0);
    assert_int_equal(outfile_sync(&r->o), 0);
    outfile_close(&r->o);
    read_file(world_path(&r->w, "file"), &got);
    assert_int_equal(got.len, strlen(r->want));
    assert_int_equal(r->o.size, got.len);
    if (got.len > 0)
        assert_memory_equal(got.p, r->want, got.len);
    buf_deinit(&got);
    world_deinit(&r->w);
}

static void test_line_endings(void **state)
{
    static const struct {
        const char *in, *lf;
    } rows[] = {
        {"", ""},
        {"a\r\nb\r\n", "a\nb\n"},
        {"\r\n", "\n"},
        {"\r\r\n\r\r\r\n", "\r\n\r\r\n"},
        {"a\rb\nc\r", "a\rb\nc\r"},
        {"\n\r", "\n\r"},
        {"\r", "\r"},
        {"\n", "\n"},
    };
    const struct cut_ops ops = {begin, feed, end};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct run r = {.want = rows[i].lf, .lf = true};

        test_cuts(&ops, &r, slice_str(rows[i].in), 5, i);
        r = (struct run){.want = rows[i].in};
        test_cuts(&ops, &r, slice_str(rows[i].in), 5, i);
    }
}

static void test_large(void **state)
{
    size_t n = 3 * OUTFILE_BUFFER + 17;
    char *text = malloc(n + 1);
    struct run r = {.want = text};

    (void)state;
    memset(text, 'x', n);
    text[n] = '\0';
    begin(&r);
    feed(&r, text, n);
    end(&r);
    free(text);
}

static void test_error_sticks(void **state)
{
    struct outfile o;
    int fd = open("/dev/full", O_WRONLY);

    (void)state;
    if (fd < 0) {
        print_message("no /dev/full here\n");
        return; /* not skip(): TAP counts that as a failure */
    }
    assert_int_equal(outfile_init(&o, NULL, fd, false), 0);
    outfile_write(&o, BARID_S("text"));
    assert_int_equal(outfile_sync(&o), ENOSPC);
    outfile_write(&o, BARID_S("more"));
    assert_int_equal(outfile_sync(&o), ENOSPC);
    assert_int_equal(o.size, 0);
    outfile_close(&o);
}

static void test_no_memory(void **state)
{
    struct fail_mem f;
    struct outfile o;

    (void)state;
    fail_mem_init(&f, 1);
    assert_int_equal(outfile_init(&o, &f.mem, -1, false), BARID_ENOMEM);
    outfile_close(&o);
    assert_int_equal(f.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_endings),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_error_sticks),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
