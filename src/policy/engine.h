/*
 * policy/engine.h: the hooks of one Lua state and the objects they are given. Internal to
 * src/policy.
 *
 * A hook runs in a coroutine of a pool. All Lua work (making arguments, reading the verdict,
 * building results) happens inside it, where running out of memory is an error like any other;
 * outside of a coroutine nothing is called that may raise.
 */
#ifndef POLICY_ENGINE_H
#define POLICY_ENGINE_H

#include "base/arena.h"
#include "policy/dispatch_int.h"
#include "policy/policy_lua.h"
#include "policy/script.h"

struct class;
struct class_table;
struct timer;

enum {
    CLASS_SESSION,
    CLASS_MAIL,
    CLASS_RCPT,
    CLASS_VARS,
    CLASS_PART,
    CLASS_VERDICT,
    CLASS_CONFIG,
    CLASS_HOP,
    CLASS_RESULT,
    CLASS_REPORT,
    CLASSES
};

/* --- one hook -------------------------------------------------------------------------------
 */

struct hook {
    struct engine *engine;
    struct hook *next;
    enum barid_event_id event;
    int fn;     /* registry reference */
    int params; /* arguments that the function takes; 0 = none are made */
    int priority;
    char name[64];
    char where[128];
};

/* A coroutine and what runs in it. call NULL = free. */
struct thread {
    struct engine *engine;
    lua_State *L;
    struct thread *next; /* in the free list, or of all */
    int ref;
    struct policy_call *call;
    const struct hook *hook;
    struct policy_session *session; /* call's, or an own one where the call has none */
    bool own_session;
    uint64_t used; /* instructions before it waited */
    /* While it waits. */
    void (*cancel)(struct thread *t);
    void *waits_for;
    const void *result; /* what it waited for, while it is resumed */
    struct timer *timer;
    uint32_t hidden; /* session:hide */
    struct policy_ref about; /* the hop, result or report object of its hook */
};

#define ENGINE_ERROR_SIZE 1024
#define ENGINE_SCRATCH_MAX                                                                     \
    (256u << 20) /* C memory of one hook call: header and body copies on their way into Lua */
struct engine {
    struct script script;
    struct policy_services services;
    struct policy *policy;
    struct hook *hooks, *last_hook; /* in order of registration */
    struct thread *free;
    struct thread *running; /* NULL = no hook runs now */
    size_t n_threads;
    struct arena scratch; /* of the running hook call */
    struct class_table *classes[CLASSES];
    char error[ENGINE_ERROR_SIZE];
    char where[128];
    char *text; /* verdict texts of calls without a session */
    size_t text_cap;
};

/* Waiting hooks at once: each is a session that a peer can open; more than that are told to
 * come again. */
#define ENGINE_THREADS_MAX 20000

static inline struct engine *engine_of(lua_State *L)
{
    return script_of(L)->engine;
}
/* The hook that runs now; raises where none does (the top of the file). what: "dns.a", for the
 * message. */
struct thread *engine_running(lua_State *L, const char *what);
/* To be called, after t->cancel and t->waits_for are set, by a C function that waits: return
 * engine_wait(L, t, k). k runs when engine_resume is called, with t->result. */
int engine_wait(lua_State *L, struct thread *t, lua_KFunction k);
void engine_resume(struct thread *t, const void *result);
/* Raises unless a hook can wait here. */
void engine_can_wait(lua_State *L, const char *what);

/* Everything a hook can name besides the standard library, into the table at the top of the
 * stack. */
void engine_open(lua_State *L);

/* --- hook.c ---------------------------------------------------------------------------------
 */

void hook_open(lua_State *L);

/* --- object.c: userdata with fields resolved in C -------------------------------------------
 */

struct object {
    const struct class *class;
    void *p;     /* NULL = it is over */
    void *owner; /* session: NULL; mail: policy_session; rcpt: mail */
};

struct field {
    const char *name;
    int (*get)(lua_State *L, struct object *o);  /* pushes one value */
    void (*set)(lua_State *L, struct object *o); /* value at index 3; NULL = read-only */
    lua_CFunction method;
};
struct class
{
    const char *name;
    int id;
    const struct field *fields; /* ended by a NULL name */
    lua_CFunction index, newindex, gc, pairs,
        len; /* instead of or beside fields; NULL = none */
};

void class_open(lua_State *L, const struct class *class);
/* Pushes a new userdata of that class; size octets or more, beginning with struct object. */
void *object_new(lua_State *L, int class_id, size_t size, int values);
/* Argument arg as an object of that class that is not over; raises else. */
struct object *object_check(lua_State *L, int arg, const struct class *class);
/* Likewise, but may be over. */
struct object *object_test(lua_State *L, int arg, const struct class *class);

extern const struct class session_class, mail_class, rcpt_class, vars_class, part_class,
    verdict_class, config_class, hop_class, result_class, report_class;

/* --- the classes ----------------------------------------------------------------------------
 */

void push_session(lua_State *L, struct policy_session *s);
void push_mail(lua_State *L, struct policy_session *s, struct mail *m);
void push_rcpt(lua_State *L, struct policy_session *s, struct mail *m, struct rcpt *r);
/* A list of those recipients, by their index. */
void push_rcpts(lua_State *L, struct policy_session *s, struct mail *m, const size_t *rcpts, size_t n);
/* What an event of delivery is about; over when t's hook is. p: the part of the call. */
void push_about(lua_State *L, struct thread *t, int class_id, void *p);
/* vars of the object at index parent. */
int push_vars(lua_State *L, int parent, struct vars *vars);
int push_mime(lua_State *L, struct mail *m);

/* Objects of a session, mail or hook become invalid. Nothing here raises or allocates. */
void about_over(struct thread *t);
void session_over(struct engine *e, struct policy_session *s);
void mail_over(struct engine *e, struct policy_session *s, struct mail *m);

/* mail.c: the mail of argument 1, writable; raises when it is queued already. */
struct mail *mail_check(lua_State *L, int arg);
struct mail *mail_check_writable(lua_State *L, int arg, const char *what);
/* An address given by a script, into the mail's arena. Raises. */
void mailbox_check(lua_State *L, int arg, struct mail *m, struct mailbox *box_r, bool null_ok);
bool domain_is_local(const struct config *c, barid_slice domain);
/* Raises for a negative rc of message/. */
void check_rc(lua_State *L, int rc, const char *what);

/* A string setter's value (index 3), nil or "" as an empty slice, copied into arena. what names the field. Raises. */
barid_slice text_check(lua_State *L, struct arena *arena, const char *what, size_t max);
/* A setter's truth value, or a whole number within bounds. Raises. */
bool flag_check(lua_State *L, const char *what);
uint64_t number_check(lua_State *L, const char *what, uint64_t low, uint64_t high);

/* verdict.c */
void verdict_open(lua_State *L);
/* The value at index as the answer of the running hook. Raises when it is none. */
void verdict_take(lua_State *L, int index, struct thread *t);

void dns_open(lua_State *L);
void sleep_open(lua_State *L);
void shared_open(lua_State *L);
void log_open(lua_State *L);
void config_open(lua_State *L);
void mime_open(lua_State *L);
void delivery_open(lua_State *L); /* hop, result, report */

/* "+10m", seconds, or an RFC 5322 date -> microseconds since 1970. BARID_ESYNTAX. */
int delay_parse(barid_slice text, int64_t now_us, int64_t *until_us_r);

#endif
