/*
 * queue/outcome.h: what an attempt gave for one unit, and the state that follows from it. Pure but for the log line.
 *
 *   done    -> UNIT_DONE
 *   again   -> UNIT_PENDING at the next interval; after the last: as failed
 *   failed  -> UNIT_GIVEN_UP: the sender is to be told; UNIT_FAILED where nobody can or wants to be
 *   held    -> UNIT_HELD: somebody decides
 */
#ifndef QUEUE_OUTCOME_H
#define QUEUE_OUTCOME_H

#include "base/endpoint.h"
#include "interface/transport.h"
#include "queue/queue.h"

struct work;

#define OUTCOME_NAME_SIZE 256 /* of a host: 255 octets at most (RFC 1035 2.3.4) */

struct outcome {
    uint32_t unit; /* in the record */
    struct delivery_result r;
    const struct hop *hop; /* NULL: a file, or nothing was tried */
    uint32_t group;        /* of the next hop */
    const char *stage;     /* static; NULL with a file */
    char remote[OUTCOME_NAME_SIZE], remote_address[ENDPOINT_SIZE];
    bool is_suspect, no_connection, dsn_passed;

    /* What policy decided about it at `attempt`, or before. */
    bool is_asked;
    bool hold;
    bool limited;     /* not counted as an attempt */
    bool not_tried;   /* nothing was attempted: it was given up before */
    int64_t again_us; /* AGAIN: not by the schedule; 0 = by it */

    struct unit_state state;
};

void outcome_from_send(struct outcome *o, const struct send_result *r);
void outcome_say(struct outcome *o, enum delivery_status status, const char *fmt, ...) BARID_PRINTF(3, 4);
/* Fills state. */
void outcome_decide(const struct work *w, struct outcome *o);
void outcome_log(const struct work *w, const struct outcome *o);
void outcome_note(const struct work *w, const struct outcome *o); /* into the history */
void outcome_count(struct queue *q, const struct outcome *o);
/* The schedule of that mail. */
struct queue_retry outcome_retry(const struct work *w);

#endif
