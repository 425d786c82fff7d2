/*
 * policy/dispatch.h: handlers in order, verdicts merged. Lua hooks and C callbacks are both handlers.
 */
#ifndef POLICY_DISPATCH_H
#define POLICY_DISPATCH_H

#include "interface/policy.h"

struct log;
struct loop;

/* Fill call->verdict and return POLICY_ANSWERED; or keep token and return POLICY_WAITING, then call policy_resume exactly once. */
typedef enum policy_outcome (*policy_run)(void *user, struct policy_call *call);

struct policy_handler {
    const char *name;   /* "on.rcpt" or the name given to hook() */
    const char *where;  /* "policy.lua:17"; "" for C */
    enum barid_event_id event;
    int priority;       /* lower runs first; 0 is usual */
    policy_run run;
    void (*cancel)(void *user, struct policy_call *call); /* the answer is not wanted any more; may be NULL */
    void *user;
};

/* A policy without a script, for embedders and tests. loop may be NULL: then waiting handlers have no time limit. */
int policy_new(struct policy **p_r, struct loop *loop, const struct log *log, uint32_t hook_ms, uint64_t version);
/* Before the first policy_ask. Copied. 0, BARID_ENOMEM, BARID_EINVALID (no such event, or a host event). */
int policy_add(struct policy *p, const struct policy_handler *handler);
/* The answer of a handler that returned POLICY_WAITING. */
void policy_resume(struct policy *p, struct policy_call *call);

#endif
