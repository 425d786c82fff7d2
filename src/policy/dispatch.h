/*
 * policy/dispatch.h: handlers in order, verdicts merged. Lua hooks and C callbacks are both handlers.
 */
#ifndef POLICY_DISPATCH_H
#define POLICY_DISPATCH_H

#include "interface/policy.h"

struct log;
struct loop;

/*
 * Fill call->verdict (zeroed before) and return POLICY_ANSWERED; or keep call and return POLICY_WAITING, then, later and not
 * from within this function, fill call->verdict and call policy_resume exactly once, unless cancel came first. A handler that
 * cannot answer sets call->failed and call->error instead of a verdict.
 */
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

#define POLICY_HANDLERS_MAX 1000 /* of one event: a script that registers in a loop is stopped */

/* A policy without a script, for embedders and tests. loop may be NULL: then waiting handlers have no time limit. */
int policy_new(struct policy **p_r, struct loop *loop, const struct log *log, uint32_t hook_ms, uint64_t version);
/* Before the first policy_ask. Copied, its strings too. 0, BARID_ENOMEM, BARID_ELIMIT, BARID_EINVALID (no such event, or a host event). */
int policy_add(struct policy *p, const struct policy_handler *handler);
/* released is called once, after the last reference is gone and the policy with it. */
void policy_on_release(struct policy *p, void (*released)(void *user), void *user);
/* The answer of a handler that returned POLICY_WAITING. */
void policy_resume(struct policy *p, struct policy_call *call);

#endif
