/*
 * queue/question.h: asking the policy where a recipient belongs, at delivery: one that it put off at `recipient` while the client was
 * told 250 for others, and the recipient of a report (notice_store.c). On the loop, but for question_needed and question_deliver.
 *
 * Such a recipient is a unit of kind 0 with the verdict RCPT_TEMPFAILED in the record. When it
 * is due, the `recipient` hooks run as if the message had just come (for a report, which no client brought, after those of `message`); what
 * they decide is delivered within the same attempt, so the record never changes.
 */
#ifndef QUEUE_QUESTION_H
#define QUEUE_QUESTION_H

#include "queue/work.h"

bool question_needed(const struct work *w, uint32_t unit);

/* Asks about the first unit of the slice; work_asked follows, now or later. */
void question_start(struct work *w);
void question_del(struct work *w); /* accepts a work that asks nothing */

/* Pool thread: files that were decided, into the first outcome. */
void question_deliver(struct work *w, void *body, uint64_t body_size);
/* Then what is sent, one after the other; work_asked follows, now or later. */
void question_send(struct work *w);

#endif
