/*
 * server/locals_test.c: where aliases lead, what bounds them, and that a large one costs about
 * as many comparisons as it has targets: the linker counts them (--wrap).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/slice.h"
#include "base/testing.h"
#include "server/locals.h"

bool __real_mailbox_same(const struct mailbox *a, const struct mailbox *b);
bool __wrap_mailbox_same(const struct mailbox *a, const struct mailbox *b);

static size_t comparisons;

bool __wrap_mailbox_same(const struct mailbox *a, const struct mailbox *b)
{
    comparisons++;
    return __real_mailbox_same(a, b);
}

#define TARGETS_MAX (LOCALS_ALIAS_TARGETS + 1)

struct world {
    struct config *config;
    struct config_alias alias[LOCALS_ALIAS_DEPTH + 2];
    const char *target[LOCALS_ALIAS_DEPTH + 2][2 * TARGETS_MAX];
    char text[TARGETS_MAX][40];
    struct locals l;
    struct arena arena;
    struct mailbox *out;
    size_t n;
};

static const char *domains[] = {"Example.com", NULL};
static const uint64_t seed[2] = {1, 2};

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->config = config_default();
    assert_non_null(w->config);
    w->config->domains = (const char **)domains;
    w->config->n_domains = 1;
    w->config->aliases = w->alias;
    for (size_t i = 0; i < TARGETS_MAX; i++)
        snprintf(w->text[i], sizeof(w->text[i]), "u%zu@example.com", i);
    return w;
}

static void world_del(struct world *w)
{
    w->config->domains = NULL;
    w->config->aliases = NULL;
    config_del(&w->config);
    free(w);
}

static void add_alias(struct world *w, const char *address, size_t n,
                      const char *const *targets)
{
    struct config_alias *a = &w->alias[w->config->n_aliases];
    const char **own = w->target[w->config->n_aliases++];

    for (size_t i = 0; i < n; i++)
        own[i] = targets[i];
    *a = (struct config_alias){.address = address, .targets = own, .n = n};
}

/* The caller ends it with arena_deinit. */
static int expand(struct world *w, const char *address, const barid_mem *mem)
{
    struct mailbox box;
    struct arena own;
    int rc;

    arena_init(&own, NULL, 0);
    arena_init(&w->arena, mem, 0);
    assert_int_equal(mailbox_from_text(&box, &own, slice_str(address), '+'), 0);
    assert_int_equal(locals_init(&w->l, w->config, seed), 0);
    comparisons = 0;
    rc = locals_expand(&w->l, &box, &w->arena, &w->out, &w->n);
    locals_deinit(&w->l);
    arena_deinit(&own);
    return rc;
}

static void assert_leads(struct world *w, const char *address, const char *want)
{
    char got[1024] = "";

    assert_int_equal(expand(w, address, NULL), 0);
    for (size_t i = 0; i < w->n; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%.*s", i > 0 ? " " : "",
                 (int)w->out[i].address.n, w->out[i].address.p);
    assert_string_equal(got, want);
    arena_deinit(&w->arena);
}

static void test_chains(void **state)
{
    static const char *const one[] = {"b@example.com", "c@other.example", "B@example.com"};
    static const char *const two[] = {"a@example.com", "c@OTHER.example"};
    static const char *const all[] = {"rest@example.com"};
    static const char *const posts[] = {"PostMaster@example.com", "postmaster@Example.COM"};
    struct world *w = world_new();

    (void)state;
    add_alias(w, "A@example.com", 3, one);
    add_alias(w, "b@example.com", 2, two); /* back to a: that loop ends there */
    add_alias(w, "p@example.com", 2, posts);
    assert_leads(w, "a+tag@example.com", "a@example.com c@OTHER.example");
    assert_leads(w, "p@example.com", "PostMaster@example.com");
    assert_leads(w, "nobody@example.com", "nobody@example.com");
    assert_leads(w, "a@elsewhere.example", "a@elsewhere.example");
    add_alias(w, "@example.com", 1, all);
    assert_leads(w, "nobody@example.com", "rest@example.com");
    world_del(w);
}

static const char *const *texts(struct world *w, const char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        list[i] = w->text[i % TARGETS_MAX];
    return list;
}

/* As many as may be, each named twice. */
static void test_many_targets(void **state)
{
    static const char *list[2 * TARGETS_MAX];
    const size_t most = LOCALS_ALIAS_TARGETS;
    struct world *w = world_new();

    (void)state;
    texts(w, list, most);
    for (size_t i = 0; i < most; i++)
        list[most + i] = list[most - 1 - i];
    add_alias(w, "all@example.com", 2 * most, list);
    assert_int_equal(expand(w, "all@example.com", NULL), 0);
    assert_int_equal(w->n, most);
    for (size_t i = 0; i < most; i++)
        assert_true(slice_eq(w->out[i].address, slice_str(w->text[i])));
    assert_in_range(comparisons, most, 10 * most);
    arena_deinit(&w->arena);
    world_del(w);
}

static void test_limits(void **state)
{
    static const char *list[2 * TARGETS_MAX];
    char names[LOCALS_ALIAS_DEPTH + 2][32];
    struct world *w = world_new();

    (void)state;
    add_alias(w, "all@example.com", TARGETS_MAX, texts(w, list, TARGETS_MAX));
    assert_int_equal(expand(w, "all@example.com", NULL), BARID_ELIMIT);
    arena_deinit(&w->arena);
    w->config->n_aliases = 0;
    for (size_t i = 0; i <= LOCALS_ALIAS_DEPTH + 1; i++)
        snprintf(names[i], sizeof(names[i]), "d%zu@example.com", i);
    for (size_t i = 0; i <= LOCALS_ALIAS_DEPTH; i++)
        add_alias(w, names[i], 1, (const char *const[]){names[i + 1]});
    assert_int_equal(expand(w, names[0], NULL), BARID_ELIMIT);
    arena_deinit(&w->arena);
    assert_int_equal(expand(w, names[1], NULL), 0);
    assert_int_equal(w->n, 1);
    arena_deinit(&w->arena);
    world_del(w);
}

/* Five aliases, each of 100 times the next: a million million ways to one mailbox. */
static void test_visits(void **state)
{
    static const char *list[100];
    char names[6][32];
    struct world *w = world_new();

    (void)state;
    for (size_t i = 0; i < 6; i++)
        snprintf(names[i], sizeof(names[i]), "v%zu@example.com", i);
    for (size_t i = 0; i < 5; i++) {
        for (size_t k = 0; k < 100; k++)
            list[k] = names[i + 1];
        add_alias(w, names[i], 100, list);
    }
    assert_int_equal(expand(w, names[0], NULL), BARID_ELIMIT);
    arena_deinit(&w->arena);
    assert_int_equal(expand(w, names[4], NULL), 0);
    assert_int_equal(w->n, 1);
    arena_deinit(&w->arena);
    world_del(w);
}

static void test_no_memory(void **state)
{
    static const char *list[100];
    struct world *w = world_new();
    struct fail_mem mem = {0};

    (void)state;
    add_alias(w, "all@example.com", 100, texts(w, list, 100));
    while (fail_mem_next(&mem)) {
        int rc = expand(w, "all@example.com", &mem.mem);

        assert_int_equal(rc, mem.failed ? BARID_ENOMEM : 0);
        arena_deinit(&w->arena);
    }
    world_del(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains),    cmocka_unit_test(test_many_targets),
        cmocka_unit_test(test_limits),    cmocka_unit_test(test_visits),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
