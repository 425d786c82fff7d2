/*
 * queue/notice.h: telling the sender: policy is asked at `failure` or `delay`, the report is written (message/report.h) and stored as a
 * mail of its own. On the loop; written on the pool.
 */
#ifndef QUEUE_NOTICE_H
#define QUEUE_NOTICE_H

#include "queue/ask.h"

enum notice_end {
    NOTICE_SENT,   /* durable */
    NOTICE_SILENT, /* nobody wants to know */
    NOTICE_HELD,   /* policy: an operator decides */
    NOTICE_LATER   /* could not be stored now */
};

struct notice {
    struct ask ask;
    struct settling *settling;
    enum report_action action;
    size_t n;
    size_t *index; /* of outcomes it is about */
    bool *is_wanted;
    enum notice_end end;
    void (*done)(struct notice *n);

    struct policy_report asked;
    struct report report;
    struct report_rcpt *rcpts; /* of all units that it is about: made when it starts */
    struct arena arena; /* what policy sets */
    struct pool_job job;
    struct loop_task committed;
    unsigned left; /* of the two that end a store: the job and the commit */
    int store_rc;  /* 0: committed follows */
    int commit_rc;
    char *hostname; /* in arena */
    bool is_local;  /* the report's recipient is one of ours */
    uint32_t group; /* of the next hop that it goes to */
    uint64_t id;    /* of the report */
};

/* One of the recipients that it is about asked to be told so (RFC 3461 4.1). */
bool notice_is_asked_for(const struct work *w, const struct outcome *o, enum report_action action);

/* NULL: no memory. */
struct notice *notice_new(struct settling *s, enum report_action action);
void notice_del(struct notice *n);
void notice_add(struct notice *n, size_t outcome);
/* Somebody wants to know, or policy wants to be asked. */
bool notice_is_needed(const struct notice *n);
/* done follows, now or later, and deletes it. */
void notice_start(struct notice *n, void (*done)(struct notice *n));

/* notice_store.c: pool thread: the report written and given to the store. 0: commit_rc is set and committed posted, later or before; else
 * neither. */
int notice_store(struct notice *n);

#endif
