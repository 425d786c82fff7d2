/*
 * spool/log_group_test.c: groups, the key and hastening where only the log can go wrong: many messages, old stores, a disk that
 * fails, others at work meanwhile.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "spool/log_testing.h"

#define MANY     3000 /* several slices of the index */
#define GROUPS   7
#define LATER_US (START_US + 1000)

static uint64_t accept_units(struct spool *s, const struct unit_state *units, size_t n)
{
    struct spool_put *put = test_put(s, 1, 10, SPOOL_ACTIVE, units, n);
    uint64_t id = s->ops->put_id(put);

    assert_int_equal(test_commit(s, &put, 1), 0);
    return id;
}

/* One, two or three units each, of one group or several; how many messages a hastening of group finds. */
static size_t accept_many(struct spool *s, uint32_t group)
{
    struct spool_put *puts[MANY];
    size_t n = 0;

    for (size_t i = 0; i < MANY; i++) {
        struct unit_state units[3] = {{0}};
        bool found = false;

        for (size_t k = 0; k <= i % 3; k++) {
            units[k] = test_unit(LATER_US);
            units[k].group = SPOOL_GROUP_FIRST + (uint32_t)((i * (k + 1) + i / 5) % GROUPS);
            units[k].attempts = (i + k) % 4 != 0;
            found = found || (units[k].group == group && units[k].attempts > 0);
        }
        n += found;
        puts[i] = test_put(s, i, 1, SPOOL_ACTIVE, units, 1 + i % 3);
        assert_non_null(puts[i]);
    }
    for (size_t i = 0; i < MANY; i += 100)
        assert_int_equal(test_commit(s, puts + i, 100), 0);
    return n;
}

/* All that can be claimed now, checked; how many messages. */
static size_t claim_all(struct spool *s, uint32_t group)
{
    struct spool_claim claims[16];
    size_t n, all = 0;

    while (s->ops->claim(s, START_US, 16, claims, &n) == 0 && n > 0) {
        for (size_t i = 0; i < n; i++) {
            struct spool_loaded loaded;

            assert_int_equal(s->ops->load(s, claims[i].id, &loaded), 0);
            for (size_t k = 0; k < claims[i].n_units; k++) {
                assert_int_equal(loaded.units[claims[i].units[k]].group, group);
                assert_true(loaded.units[claims[i].units[k]].attempts > 0);
            }
            s->ops->loaded_free(&loaded);
            free(claims[i].units);
        }
        all += n;
    }
    return all;
}

/* From what was committed, from sidecars, and by reading segments. */
static void hastens_what_it_has_to_read(void **state)
{
    struct disk d;
    struct spool *s;
    size_t want, n;

    (void)state;
    disk_init(&d);
    s = open_on(&d);
    want = accept_many(s, 5);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(claim_all(s, 5), 0);
        assert_int_equal(s->ops->hasten(s, 5, &n), 0);
        assert_int_equal(n, want);
        assert_int_equal(claim_all(s, 5), want);
        s->ops->close(s);
        if (i == 1)
            disk_unlink_matching(&d, ".idx");
        s = open_on(&d);
    }
    s->ops->close(s);
    disk_deinit(&d);
    printf("# proof: hasten (log): %d messages, %zu of them of the group, 3 openings\n", MANY,
           want);
    assert_true(want > MANY / 10 && want < MANY / 2);
}

/* The meta of the first message. */
static void damage_first(struct disk *d)
{
    const char *name = disk_name_at(d, "seg/", ".log", 0);
    size_t n;
    uint8_t *p = disk_content(d, name, &n), *meta = memmem(p, n, "meta-1", 6);

    assert_non_null(meta);
    meta[2] ^= 1;
}

/* One that cannot be read is not hastened, and is no reason not to hasten the others. */
static void an_unreadable_one_is_left_out(void **state)
{
    struct unit_state units[2] = {test_unit(LATER_US), test_unit(LATER_US)};
    struct disk d;
    struct spool *s;
    size_t n;

    (void)state;
    disk_init(&d);
    s = open_on(&d);
    units[0].group = 5;
    units[1].group = 6;
    units[0].attempts = units[1].attempts = 1;
    accept_units(s, units, 2);
    accept_units(s, units, 1);
    damage_first(&d);
    assert_int_equal(s->ops->hasten(s, 5, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(claim_all(s, 5), 1);
    s->ops->close(s);
    disk_deinit(&d);
}

static void write_format(const char *dir, const char *text)
{
    char path[TEST_DIR_SIZE + 8];
    FILE *f;

    snprintf(path, sizeof(path), "%s/FORMAT", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void read_format(const char *dir, char text[256])
{
    char path[TEST_DIR_SIZE + 8];
    FILE *f;

    snprintf(path, sizeof(path), "%s/FORMAT", dir);
    f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, 255, f)] = '\0';
    fclose(f);
}

static int open_dir(const char *dir, bool read_only, struct spool **s)
{
    struct spool_log_options options = {.dir = dir,
                                        .segment_size = SEGMENT,
                                        .soft_free = 1,
                                        .hard_free = 1,
                                        .read_only = read_only};

    return spool_log_open(s, &options, NULL);
}

static void an_old_store_gets_a_key(void **state)
{
    char dir[TEST_DIR_SIZE], text[256], old[256];
    uint8_t key[16];
    struct spool *s;

    (void)state;
    test_dir_make(dir);
    assert_int_equal(open_dir(dir, false, &s), 0);
    s->ops->close(s);
    read_format(dir, text);
    strcpy(old, text);
    *strstr(old, "key ") = '\0';
    write_format(dir, old);
    assert_int_equal(open_dir(dir, true, &s), 0); /* nothing is changed */
    s->ops->close(s);
    read_format(dir, text);
    assert_string_equal(text, old);
    assert_int_equal(open_dir(dir, false, &s), 0);
    memcpy(key, s->key, sizeof(key));
    s->ops->close(s);
    read_format(dir, text);
    assert_memory_equal(text, old, strlen(old));
    assert_int_equal(open_dir(dir, true, &s), 0);
    assert_memory_equal(s->key, key, sizeof(key));
    s->ops->close(s);
    strstr(text, "key ")[5] ^= 1;
    write_format(dir, text);
    assert_int_equal(open_dir(dir, false, &s), BARID_ECORRUPT);
    strstr(text, "key ")[9] = '\0';
    write_format(dir, text);
    assert_int_equal(open_dir(dir, false, &s), BARID_ECORRUPT);
    test_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hastens_what_it_has_to_read),
        cmocka_unit_test(an_unreadable_one_is_left_out),
        cmocka_unit_test(an_old_store_gets_a_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
