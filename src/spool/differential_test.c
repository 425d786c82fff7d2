/*
 * spool/differential_test.c: the memory, which is simple, and the log, which survives, given the
 * same operations at random: everything that interface/spool.h has, with what it must refuse.
 * What they answer and all that they hold is compared as it goes, and after each opening of the
 * log: after a stop, a power cut, without sidecars, for reading only.
 *
 * The same with one safeguard of the log left out must find something.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "spool/twins_testing.h"

#define LIVES   6
#define STEPS   400 /* of a life */
#define COMPARE 40  /* steps between two looks at everything */

static void run_history(struct twins *t, uint64_t seed, unsigned broken)
{
    twins_init(t, seed, broken);
    for (int life = 0; life < LIVES && t->failure[0] == '\0'; life++) {
        for (int i = 1; i <= STEPS && t->failure[0] == '\0'; i++) {
            twins_play(t);
            if (i % COMPARE == 0)
                twins_compare(t);
        }
        if (t->failure[0] == '\0')
            twins_reopen(t);
    }
    twins_deinit(t);
}

static void memory_and_log_are_the_same(void **state)
{
    const char *text = getenv("SPOOL_DIFFERENTIAL_SEEDS");
    uint64_t n = text != NULL ? strtoul(text, NULL, 10) : 8, operations = 0, reopenings = 0;
    uint64_t recycled = 0, asides = 0, hastened = 0, ones = 0;
    struct twins t;

    (void)state;
    for (uint64_t seed = 1; seed <= n; seed++) {
        run_history(&t, seed, 0);
        if (t.failure[0] != '\0')
            fail_msg("seed %llu, operation %llu, opening %llu: %s", (unsigned long long)seed,
                     (unsigned long long)t.operations, (unsigned long long)t.reopenings,
                     t.failure);
        operations += t.operations;
        reopenings += t.reopenings;
        recycled += t.recycled;
        asides += t.asides;
        hastened += t.hastened;
        ones += t.ones;
    }
    printf("# proof: differential (memory and log): %llu histories, %llu operations, "
           "%llu reopenings, %llu segments recycled, %llu put aside, %llu claimed by id, %llu hastened\n",
           (unsigned long long)n, (unsigned long long)operations,
           (unsigned long long)reopenings, (unsigned long long)recycled, (unsigned long long)asides,
           (unsigned long long)ones, (unsigned long long)hastened);
    assert_true(recycled > 0 && asides > 0 && ones > 0 && hastened > 0);
}

static void finds(const char *what, unsigned broken)
{
    struct twins t;

    for (uint64_t seed = 1; seed <= 100; seed++) {
        run_history(&t, seed, broken);
        if (t.failure[0] == '\0')
            continue;
        printf("# proof: differential without a safeguard, %s: caught by history %llu (%s)\n",
               what, (unsigned long long)seed, t.failure);
        return;
    }
    fail_msg("100 histories without a safeguard, and nothing was found");
}

static void finds_missing_nonce(void **state)
{
    (void)state;
    finds("nonces not looked at", SPOOL_BROKEN_NO_NONCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_and_log_are_the_same),
        cmocka_unit_test(finds_missing_nonce),
    };

    /* Many stores come and go: their memory is kept instead of mapped anew. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
