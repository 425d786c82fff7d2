/* smtp/session_differential_test.c: seeded dialogues through a session and the reference; and
 * references with a mistake, each of which must be found. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/rng.h"
#include "smtp/differential_testing.h"

#define DIALOGUES 10000
#define OCTETS    400 /* at most, for one */

static size_t random_octets(struct rng_seeded *rng, uint8_t *data)
{
    size_t n = (size_t)(rng_u64(&rng->rng) % OCTETS) + 8;

    rng_fill(&rng->rng, data, n);
    /* Half of them in a server of default limits: there dialogues live longer. */
    if (rng_u64(&rng->rng) % 2 == 0)
        data[2] = 0;
    /* What is usual more often than what is not: see dialogue_testing.c. */
    for (size_t i = 4; i < n; i++)
        if (rng_u64(&rng->rng) % 3 == 0)
            data[i] = 0;
    return n;
}

static void test_agree(void **state)
{
    struct differential_count count = {0};
    struct rng_seeded rng;
    uint8_t data[OCTETS + 8];

    (void)state;
    rng_seeded_init(&rng, 1);
    for (unsigned i = 0; i < DIALOGUES; i++) {
        size_t n = random_octets(&rng, data);
        const char *why = differential_run(data, n, FAULT_NONE, &count);

        if (why != NULL)
            fail_msg("dialogue %u: %s", i, why);
    }
    /* Dialogues that lead nowhere would prove nothing. */
    assert_true(count.mails > DIALOGUES / 4);
    assert_true(count.unsure < DIALOGUES / 10);
    printf("# proof: session against reference: %zu dialogues, %zu commands, %zu replies, %zu "
           "mails, "
           "%zu not understood to the end, 0 differences\n",
           count.dialogues, count.commands, count.replies, count.mails, count.unsure);
}

static bool is_found(enum reference_fault fault)
{
    struct rng_seeded rng;
    uint8_t data[OCTETS + 8];

    rng_seeded_init(&rng, 1);
    for (unsigned i = 0; i < DIALOGUES; i++) {
        size_t n = random_octets(&rng, data);

        if (differential_run(data, n, fault, NULL) != NULL)
            return true;
    }
    return false;
}

static void test_faults_are_found(void **state)
{
    (void)state;
    for (enum reference_fault fault = FAULT_NONE + 1; fault < FAULTS; fault++)
        if (!is_found(fault))
            fail_msg("fault %d is not found", (int)fault);
    printf("# proof: session against wrong references: %d mistakes, %d found\n", FAULTS - 1,
           FAULTS - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agree),
        cmocka_unit_test(test_faults_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
