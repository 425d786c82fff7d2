/*
 * spool/conformance_int_testing.h: what the files of the common suite share, and its cases. Only
 * conformance_*_testing.c include it.
 */
#ifndef SPOOL_CONFORMANCE_INT_TESTING_H
#define SPOOL_CONFORMANCE_INT_TESTING_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "spool/conformance_testing.h"
#include "spool/spool_testing.h"

#define START_US 1800000000000000

struct fixture {
    const struct conformance_backend *backend;
    void *store; /* what the backend keeps between openings */
    struct clock_fake clock;
    struct spool *s;
};

/* --- conformance_testing.c: steps of a case; each fails it when it does not end well */
void fixture_reopen(struct fixture *f);
struct spool_message fixture_info(struct fixture *f, uint64_t id);
void fixture_claim_one(struct fixture *f, int64_t now_us, struct spool_claim *claim);
void fixture_claim_none(struct fixture *f, int64_t now_us);
void fixture_update_one(struct fixture *f, const struct spool_claim *claim, uint32_t unit,
                        struct unit_state state, int want);
void fixture_set_state(struct fixture *f, uint64_t id, enum spool_state state);
void fixture_erase(struct fixture *f, uint64_t id);
struct unit_state unit_over(enum unit_status status, const char *reply);

/* --- conformance_put_testing.c */
void accepts_and_reads_back(void **state);
void put_is_not_there_before_commit(void **state);
void ids_ascend_and_never_repeat(void **state);
void body_can_be_read_before_commit(void **state);
void body_can_be_replaced(void **state);
void describes_itself(void **state);
void refuses_what_makes_no_sense(void **state);
void long_replies_are_cut(void **state);
void puts_share_a_body(void **state);
void a_sharer_may_leave(void **state);
void sharers_must_come_together(void **state);

/* --- conformance_claim_testing.c */
void claims_what_is_due_earliest_first(void **state);
void units_are_leased_and_end_alone(void **state);
void released_units_come_again(void **state);
void leases_end_with_the_process(void **state);
void tells_when_something_is_due_earlier(void **state);

/* --- conformance_group_testing.c */
void a_unit_given_up_is_claimed(void **state);
void groups_come_back(void **state);
void messages_tell_their_group(void **state);
void choosing_puts_aside(void **state);
void what_is_put_aside_comes_back(void **state);
void claims_one_by_its_id(void **state);
void a_claim_is_put_aside(void **state);
void hastens_a_group(void **state);
void hastens_one_group_of_several(void **state);
void a_restart_forgets_what_was_hastened(void **state);
void has_a_key(void **state);

/* --- conformance_operate_testing.c */
void held_messages_are_not_claimed(void **state);
void operators_change_units(void **state);
void lists_in_order_of_id(void **state);
void an_open_body_outlives_its_message(void **state);
void erasing_ends_a_lease(void **state);
void updates_without_done_arrive(void **state);
void no_changes_are_answered(void **state);
void a_thousand_units(void **state);
void stands_many_threads(void **state);

#endif
