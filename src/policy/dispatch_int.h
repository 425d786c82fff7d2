/*
 * policy/dispatch_int.h: the insides of a policy, for the files of this folder: what a script
 * engine hangs onto it.
 */
#ifndef POLICY_DISPATCH_INT_H
#define POLICY_DISPATCH_INT_H

#include <stdatomic.h>

#include "base/arena.h"
#include "policy/dispatch.h"

struct timer;

/* What a script engine adds; every slot may be NULL. */
struct policy_script {
    void (*session_del)(void *user, struct policy_session *s);
    void (*mail_over)(void *user, struct policy_session *s, struct mail *m);
    void (*del)(void *user); /* after the last reference */
    void *user;
};

/* A script object and the registry reference that keeps it. */
struct policy_ref {
    void *object; /* NULL = none was made */
    const void *of;
    int ref;
};

struct policy_session {
    struct policy *policy;
    struct session_facts *facts;
    /* Script objects, made when a hook first gets one. */
    struct policy_ref self, mail;
    struct policy_ref *rcpts; /* of that mail, by index */
    size_t n_rcpts, cap_rcpts;
    struct policy_vars {
        struct arena arena;
        struct vars vars;
    } * vars;   /* session.vars, when used */
    char *text; /* what the last verdict's slices point into */
    size_t text_cap;
};

struct policy_counters {
    atomic_uint_fast64_t asked, errors, timeouts, waited;
    atomic_uint_fast64_t verdicts[BARID_VERDICT_KINDS];
};

struct policy_event {
    struct policy_handler *v; /* by priority, then registration */
    size_t n, cap;
};

struct policy {
    void (*released)(void *user); /* NULL = nobody wants to know */
    void *released_user;
    size_t refs;
    const barid_mem *mem;
    struct loop *loop;
    struct timer *timer; /* of the earliest deadline; NULL without a loop */
    const struct log *log;
    uint32_t hook_ms;
    uint64_t version, events;
    struct arena strings; /* of the handlers */
    struct policy_call *first,
        *last; /* that wait, earliest deadline first: all get the same time */
    struct policy_event event[BARID_EVENTS];
    struct policy_counters count[BARID_EVENTS];
    struct policy_script script;
};

/* Everything of a session but itself. */
void policy_session_clear(struct policy *p, struct policy_session *s);
/* As policy_new, allocating from mem. */
int policy_new_mem(struct policy **p_r, struct loop *loop, const struct log *log,
                   uint32_t hook_ms, uint64_t version, const barid_mem *mem);

#endif
